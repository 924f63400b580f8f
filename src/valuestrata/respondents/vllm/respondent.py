"""A language model through vLLM in this process: `vllm:ORG/NAME[@REVISION][+ADAPTER]`, for a CUDA machine.

The readouts are those of `respondents.local`, and on the same weights they give the same numbers: `logprob` and
`first-token` from chosen next-token log-probabilities (`vllm_plan`), and what is written from the engine's own sampler,
each prompt with a seed of its own. Prompts are handed over in the order of their tokens, so that vLLM's prefix cache
computes a shared beginning once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuestrata.errors import UsageError
from valuestrata.respondents.base import OPEN_TOKENS, Answer, CostEstimate, Elicitation, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.tree import Ids, common_prefix
from valuestrata.respondents.vllm.engine import Engine, load_engine
from valuestrata.respondents.vllm.plan import Plan, too_long

# Prompts handed over at once: what is lost when the process is killed, against the time in which a batch runs dry.
_WINDOW = 512
# vLLM's cache keeps whole blocks of so many tokens.
_BLOCK = 16
_HOTTEST = 2.0
_SCORED: tuple[Elicitation, ...] = ("logprob", "first-token")
_NEW_TOKENS: Mapping[str, int] = {"text": 32, "stated-distribution": 256, "reasoned": 512, "open": OPEN_TOKENS}


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
        self._new_tokens = max_new_tokens
        self._seed = seed
        self._constrain = constrain

    @property
    def name(self) -> str:
        """The model as the user wrote it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return what makes this model's answers what they are: files, number type, device, engine settings, decoding, versions."""
        decoding: dict[str, Any] = {"max_new_tokens": self._new_tokens, "temperature": self._temperature, "seed": self._seed}
        return {**self._engine.identity, "decoding": decoding | ({"constrain": True} if self._constrain else {})}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt, some hundreds at a time."""
        for start in range(0, len(prompts), _WINDOW):
            window = prompts[start : start + _WINDOW]
            scored = [prompt for prompt in window if prompt.elicitation in _SCORED]
            written = [prompt for prompt in window if prompt.elicitation not in _SCORED]
            # Apart: some versions mix up the log-probabilities of a batch in which not all requests choose theirs.
            yield from self._score(scored)
            yield from self._write(written)

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return what asking `prompts` takes; nothing is computed."""
        plan = Plan(self._chat, [prompt for prompt in prompts if prompt.elicitation in _SCORED])
        written = [prompt for prompt in prompts if prompt.elicitation not in _SCORED]
        texts = sorted(self._chat.written(prompt) for prompt in written)
        return CostEstimate(
            calls=len(prompts),
            prompt_tokens=sum(len(ids) for ids in texts) + plan.prompt_tokens,
            computed_tokens=_computed([request.ids for request in plan.requests]) + _computed(texts),
            completion_tokens=sum(self._longest_text(prompt) for prompt in written),
            cost=0.0,
            basis=f"the model's own tokens; beginnings shared in blocks of {_BLOCK}, as vLLM's cache keeps them",
        )

    def _score(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        if not prompts:
            return
        started = time.perf_counter()
        plan = Plan(self._chat, prompts, self._engine.longest)
        how = [
            self._engine.sampling(temperature=0.0, max_tokens=1, logprob_token_ids=list(request.wanted), detokenize=False)
            for request in plan.requests
        ]
        found = self._engine.run([request.ids for request in plan.requests], how)
        logs = [{token: one.logprob for token, one in output.outputs[0].logprobs[0].items()} for output in found]
        yield from plan.answers(logs, time.perf_counter() - started)

    def _write(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        waiting: list[tuple[Ids, Prompt]] = []
        for prompt in prompts:
            ids = self._chat.written(prompt)
            length = len(ids) + self._longest_text(prompt)
            if self._engine.longest is not None and length > self._engine.longest:
                yield too_long(prompt, length, self._engine.longest)
            else:
                waiting.append((ids, prompt))
        if not waiting:
            return
        waiting.sort(key=lambda one: one[0])
        started = time.perf_counter()
        found = self._engine.run([ids for ids, _ in waiting], [self._how_to_write(prompt) for _, prompt in waiting])
        latency = (time.perf_counter() - started) / len(waiting)
        for (ids, prompt), output in zip(waiting, found, strict=True):
            yield self._text(prompt, ids, output.outputs[0], latency)

    def _how_to_write(self, prompt: Prompt) -> Any:
        how: dict[str, Any] = {"temperature": self._temperature, "max_tokens": self._longest_text(prompt), "detokenize": False}
        how["stop_token_ids"] = [self._chat.end]
        if self._temperature > 0:
            how["seed"] = _seed(self._seed, prompt)
        if self._constrain and prompt.elicitation == "text":
            how["structured_outputs"] = self._engine.choice(choice=[form for option in prompt.options for form in (option, f" {option}")])
        return self._engine.sampling(**how)

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

    def _longest_text(self, prompt: Prompt) -> int:
        return self._new_tokens or _NEW_TOKENS[prompt.elicitation]


def load_vllm(
    spec: str,
    *,
    temperature: float = 0.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    constrain: bool = False,
    engine: Mapping[str, Any] | None = None,
) -> VllmRespondent:
    """Load a model into vLLM's engine.

    Args:
        spec: `vllm:ORG/NAME[@REVISION]` or `vllm:FOLDER`, each with `+ADAPTER` (a folder).
        temperature: of written text; 0 takes the likeliest token.
        max_new_tokens: tokens written at most; None: 32 for text, 256 for stated-distribution, 512 for reasoned.
        seed: of sampling; each prompt's own follows from it.
        constrain: allow nothing but the options as text.
        engine: further settings of the engine, as `vllm.LLM` takes them (`tensor_parallel_size`, `quantization`, ...).

    Raises:
        UsageError: not such a word, a temperature out of range, or a setting that is not the user's or does not exist.
        MissingExtraError: vLLM is not installed.
        InputDataError: the model or adapter is absent, broken, or made for another base model.
    """
    if not 0 <= temperature <= _HOTTEST:
        raise UsageError(f"{spec}: temperature {temperature:g}; vLLM takes 0 to {_HOTTEST:g}.")
    loaded = load_engine(spec, seed=seed, options=engine or {})
    return VllmRespondent(spec, loaded, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed, constrain=constrain)


def _computed(sequences: Sequence[Ids]) -> int:
    """Return how many tokens of sorted sequences are computed where each takes what it shares with the one before from the cache."""
    total, before = 0, ()
    for ids in sequences:
        # The last token of a text is always computed: what follows it is read there.
        shared = min(common_prefix(ids, before), len(ids) - 1)
        total += len(ids) - shared // _BLOCK * _BLOCK
        before = ids
    return total


def _seed(seed: int, prompt: Prompt) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.key}".encode()).digest()[:8]) >> 1
