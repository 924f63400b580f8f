"""A language model through vLLM in this process: `vllm:ORG/NAME[@REVISION][+ADAPTER]`, for a CUDA machine.

The elicitations are those of `respondents.local`, with the same numbers on the same weights: `logprob` and `first-token`
from chosen next-token log-probabilities (`vllm.plan`), and text from the engine's sampler, with one seed per prompt.
Prompts are sorted by their tokens, so vLLM's prefix cache computes shared prefixes once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuestrata.errors import UsageError
from valuestrata.respondents.base import Answer, CostEstimate, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.generate import prompt_seed
from valuestrata.respondents.local.respondent import NEW_TOKENS, decoding_of, split_by_elicitation
from valuestrata.respondents.local.tree import Ids, common_prefix
from valuestrata.respondents.vllm.engine import Engine, load_engine
from valuestrata.respondents.vllm.plan import RequestPlan, too_long

# Prompts per call of the engine: more lose more when the process is killed, fewer keep the engine less busy.
_WINDOW = 512
# vLLM caches whole blocks of this many tokens.
_BLOCK = 16
_MOST_TEMPERATURE = 2.0


class VllmRespondent:
    """A model in vLLM's engine that answers prompts; `load_vllm` makes one."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        *,
        temperature: float = 0.0,
        max_new_tokens: int | None = None,
        seed: int = 0,
        constrain: bool = False,
    ) -> None:
        self._name = name
        self._engine = engine
        self._chat = Chat(engine.tokenizer, name)
        self._temperature = temperature
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._constrain = constrain

    @property
    def name(self) -> str:
        """The model specification as the user wrote it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return everything that determines the answers: files, number type, device, engine settings, decoding, versions."""
        return {**self._engine.identity, "decoding": decoding_of(self._max_new_tokens, self._temperature, self._seed, self._constrain)}

    def training_data(self) -> Mapping[str, str] | None:
        """Return the data set that the adapter was trained on; None without one, or if it does not say."""
        return self._engine.training

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt, some hundreds at a time."""
        for start in range(0, len(prompts), _WINDOW):
            scored, written = split_by_elicitation(prompts[start : start + _WINDOW])
            # Separately, because some versions confuse the log-probabilities of a batch in which not all requests choose tokens.
            yield from self._score(scored)
            yield from self._write(written)

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return the expected cost of `prompts`, without running the model."""
        scored, written = split_by_elicitation(prompts)
        plan = RequestPlan(self._chat, scored)
        texts = sorted(self._chat.tokenize(prompt) for prompt in written)
        return CostEstimate(
            calls=len(prompts),
            prompt_tokens=sum(len(ids) for ids in texts) + plan.prompt_tokens,
            computed_tokens=_computed([request.ids for request in plan.requests]) + _computed(texts),
            completion_tokens=sum(self._new_tokens(prompt) for prompt in written),
            cost=0.0,
            basis=f"the model's own tokens; prefixes shared in blocks of {_BLOCK}, as in vLLM's cache",
        )

    def _score(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        if not prompts:
            return
        started = time.perf_counter()
        plan = RequestPlan(self._chat, prompts, self._engine.longest)
        sampling = [
            self._engine.sampling(temperature=0.0, max_tokens=1, logprob_token_ids=list(request.wanted), detokenize=False)
            for request in plan.requests
        ]
        found = self._engine.run([request.ids for request in plan.requests], sampling)
        logs = [{token: one.logprob for token, one in output.outputs[0].logprobs[0].items()} for output in found]
        yield from plan.answers(logs, time.perf_counter() - started)

    def _write(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        waiting: list[tuple[Ids, Prompt]] = []
        for prompt in prompts:
            ids = self._chat.tokenize(prompt)
            length = len(ids) + self._new_tokens(prompt)
            if self._engine.longest is not None and length > self._engine.longest:
                yield too_long(prompt, length, self._engine.longest)
            else:
                waiting.append((ids, prompt))
        if not waiting:
            return
        waiting.sort(key=lambda one: one[0])
        started = time.perf_counter()
        found = self._engine.run([ids for ids, _ in waiting], [self._sampling(prompt) for _, prompt in waiting])
        latency = (time.perf_counter() - started) / len(waiting)
        for (ids, prompt), output in zip(waiting, found, strict=True):
            yield self._text(prompt, ids, output.outputs[0], latency)

    def _sampling(self, prompt: Prompt) -> Any:
        settings: dict[str, Any] = {"temperature": self._temperature, "max_tokens": self._new_tokens(prompt), "detokenize": False}
        settings["stop_token_ids"] = [self._chat.end]
        if self._temperature > 0:
            # vLLM takes seeds below 2^63.
            settings["seed"] = prompt_seed(self._seed, prompt) >> 1
        if self._constrain and prompt.elicitation == "text":
            forms = [form for option in prompt.options for form in (option, f" {option}")]
            settings["structured_outputs"] = self._engine.choice(choice=forms)
        return self._engine.sampling(**settings)

    def _text(self, prompt: Prompt, ids: Ids, output: Any, latency: float) -> Answer:
        tokens = list(output.token_ids)
        stopped = output.finish_reason == "stop"
        return Answer(
            prompt,
            # The token that ends the turn is among those written.
            text=self._chat.decode(tokens[:-1] if stopped else tokens),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=len(ids),
            completion_tokens=len(tokens),
            latency=latency,
        )

    def _new_tokens(self, prompt: Prompt) -> int:
        return self._max_new_tokens or NEW_TOKENS[prompt.elicitation]


def load_vllm(
    spec: str,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    engine: Mapping[str, Any] | None = None,
    known_as: str | None = None,
    **settings: Any,
) -> VllmRespondent:
    """Load a model into vLLM's engine.

    Args:
        spec: `vllm:ORG/NAME[@REVISION]` or `vllm:FOLDER`, each with `+ADAPTER` (a folder).
        temperature: of written text; 0 takes the most likely token. seed: of sampling; each prompt's seed is derived from it.
        engine: further settings of the engine, as for `vllm.LLM` (`tensor_parallel_size`, `quantization`, ...).
        known_as: the name that its runs record; by default `spec`.
        settings: `max_new_tokens` and `constrain`, as for `load_local`.

    Raises:
        UsageError: the specification, temperature or a setting is invalid.
        MissingExtraError: vLLM is not installed.
        InputDataError: the model or adapter is missing or broken, or the adapter was made for another base model.
    """
    if not 0 <= temperature <= _MOST_TEMPERATURE:
        raise UsageError(f"{spec}: temperature {temperature:g}; vLLM takes 0 to {_MOST_TEMPERATURE:g}.")
    loaded = load_engine(spec, seed=seed, options=engine or {})
    return VllmRespondent(known_as or spec, loaded, temperature=temperature, seed=seed, **settings)


def _computed(sequences: Sequence[Ids]) -> int:
    """Return how many tokens of sorted sequences are computed, if each shares cached blocks with the one before it."""
    total, before = 0, ()
    for ids in sequences:
        # The last token of a text is always computed, because the next token is read there.
        shared = min(common_prefix(ids, before), len(ids) - 1)
        total += len(ids) - shared // _BLOCK * _BLOCK
        before = ids
    return total
