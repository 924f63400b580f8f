"""A language model on this machine, through transformers: `hf:ORG/NAME`, `gguf:FILE`, `embedded`.

Readouts, which are part of the measurement and never exchanged for one another:

- `logprob`: the assistant's turn begins with the prefill (`Answer:`); an option's probability is that of its whole
  string and the end of the turn, summed over the forms ` N` and `N`. `option_mass` is the sum over all options.
- `first-token`: the probability of the first token of an option's forms. Options whose forms begin alike (`1` and `10`
  where `10` is two tokens, or all options where ` N` begins with a token of its own for the blank) share that part of
  it; `option_mass` counts every first token once.
- `text`: what the model writes without a prefill, up to the end of its turn; with `constrain`, nothing but one of the
  forms ` N` and `N` and the end of the turn, each token the likeliest (or drawn) among those that lead to one.
- `stated-distribution`, `reasoned`, `open`: written as `text` is, never constrained.

A prompt's `latency` is its share of the time that its batches took, so that latencies add up to the time of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from valuestrata.respondents.base import OPEN_TOKENS, Answer, CostEstimate, Elicitation, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.generate import Writer
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.runner import PlainRunner, Runner, TreeRunner, fit_of, window_of
from valuestrata.respondents.local.score import Scorer

# Prompts planned together. Sharing is lost only where a window ends; memory is bounded by it.
_WINDOW = 8192

# On a processor, larger slices make matrix products no faster.
_CPU_SLICE = 1024

_SCORED: frozenset[Elicitation] = frozenset({"logprob", "first-token"})

# Keys and values kept while text is written may take a quarter of what the weights take, or this many bytes: many rows write
# at little more cost than few, for a step reads all weights once. They are those of this many passes at most; fewer where one
# mask lets every prompt of a pass look over all that is kept.
_HELD_BYTES = 1 << 30
_HELD_PASSES = 8
_HELD_PASSES_MASKED = 2

# Tokens written at most, where the user sets none.
_NEW_TOKENS: Mapping[Elicitation, int] = {"text": 32, "reasoned": 512, "stated-distribution": 256, "open": OPEN_TOKENS}


class TokenCount(NamedTuple):
    """What asking takes of a model, in tokens.

    Attributes:
        prompts: tokens of all prompts, each counted in full.
        computed: tokens that go through the model before anything is written, shared beginnings once.
        written: the most that may be written.
    """

    prompts: int
    computed: int
    written: int


class LocalRespondent:
    """A transformers model that answers prompts; `load_local` makes one."""

    def __init__(
        self,
        name: str,
        loaded: Loaded,
        *,
        batch_tokens: int = 4096,
        max_new_tokens: int | None = None,
        constrain: bool = False,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> None:
        self._name = name
        self._loaded = loaded
        self._chat = Chat(loaded.tokenizer, name)
        self._max_new_tokens = max_new_tokens
        self._constrain = constrain
        self._seed = seed
        self._temperature = temperature
        self._batch_tokens = max(1, batch_tokens)
        self._window = window_of(loaded.model.config)
        self._fit = fit_of(loaded.model)
        self._stops = _end_tokens(loaded, self._chat.end)
        self.prompt_tokens = 0
        self.forwarded_tokens = 0

    @property
    def name(self) -> str:
        """The model as the user wrote it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return what makes this model's answers what they are: files by their hashes, number type, device, decoding, versions."""
        decoding = {"max_new_tokens": self._max_new_tokens, "temperature": self._temperature, "seed": self._seed}
        return {**self._loaded.identity, "decoding": decoding | ({"constrain": True} if self._constrain else {})}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt as batches finish, in the order of the prompts' shared beginnings."""
        import torch

        for scored, written in _windows(prompts):
            for asked, answers in ((scored, self._score), (written, self._write)):
                if not asked:
                    continue
                iterator = answers(asked)
                while True:
                    # Around each step and not around the loop: the mode must not leak into the caller between two answers.
                    with torch.inference_mode():
                        answer = next(iterator, None)
                    if answer is None:
                        break
                    yield answer

    def count_tokens(self, prompts: Sequence[Prompt]) -> TokenCount:
        """Return how many tokens asking `prompts` takes if memory suffices; nothing goes through the model."""
        total = TokenCount(0, 0, 0)
        for scored, written in _windows(prompts):
            if scored:
                scorer = Scorer(self._chat, scored)
                cost = scorer.cost(self._runner(scorer.longest))
                total = TokenCount(total.prompts + scorer.prompt_tokens, total.computed + cost, total.written)
            if written:
                writer = self._writer(written)
                cost = writer.cost(self._runner(writer.longest), self._held())
                total = TokenCount(total.prompts + writer.prompt_tokens, total.computed + cost, total.written + writer.most_written)
        return total

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return what asking `prompts` takes; nothing goes through the model and nothing is paid."""
        count = self.count_tokens(prompts)
        return CostEstimate(len(prompts), count.prompts, count.computed, count.written, 0.0, "the model's own tokenizer")

    @property
    def context(self) -> int | None:
        """Positions that the model was made for; None where its settings do not say."""
        most = getattr(self._loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return int(most) if most else None

    def length_of(self, prompt: Prompt) -> int:
        """Return the tokens of a prompt and the most that may be written to it."""
        if prompt.elicitation in _SCORED:
            question = self._chat.question(prompt)
            return question.stem + max(len(form) for forms in question.forms for form in forms)
        return len(self._chat.written(prompt)) + (self._max_new_tokens or _NEW_TOKENS[prompt.elicitation])

    def _runner(self, longest: int) -> Runner:
        if self._fit.shares and (self._window is None or longest < self._window):
            return TreeRunner(self._loaded.model, by_segments=self._fit.by_segments)
        return PlainRunner(self._loaded.model)

    def _slice(self) -> int:
        return min(self._batch_tokens, _CPU_SLICE) if self._loaded.model.device.type == "cpu" else self._batch_tokens

    def _held(self) -> int:
        most = (_HELD_PASSES if self._fit.by_segments else _HELD_PASSES_MASKED) * self._batch_tokens
        if not self._fit.bytes_a_token:
            return most
        weights = sum(weight.nbytes for weight in self._loaded.model.parameters())
        return max(1, min(most, max(_HELD_BYTES, weights // 4) // self._fit.bytes_a_token))

    def _writer(self, prompts: Sequence[Prompt]) -> Writer:
        return Writer(
            self._chat,
            prompts,
            self._stops,
            most=lambda prompt: _NEW_TOKENS[prompt.elicitation] if self._max_new_tokens is None else self._max_new_tokens,
            constrain=self._constrain,
            temperature=self._temperature,
            seed=self._seed,
        )

    def _score(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        started = time.perf_counter()
        scorer = Scorer(self._chat, prompts)
        runner = self._runner(scorer.longest)
        self.prompt_tokens += scorer.prompt_tokens
        yield from self._counted(runner, scorer.run(runner, self._slice(), started))

    def _write(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        writer = self._writer(prompts)
        runner = self._runner(writer.longest)
        self.prompt_tokens += writer.prompt_tokens
        yield from self._counted(runner, writer.run(runner, self._slice(), self._held()))

    def _counted(self, runner: Runner, answers: Iterator[Answer]) -> Iterator[Answer]:
        before = 0
        for answer in answers:
            self.forwarded_tokens += runner.meter.forwarded - before
            before = runner.meter.forwarded
            yield answer


def load_local(
    spec: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int = 4096,
    max_new_tokens: int | None = None,
    constrain: bool = False,
    seed: int = 0,
    temperature: float = 0.0,
) -> LocalRespondent:
    """Load a model of this machine.

    Args:
        spec: `hf:ORG/NAME[@REVISION]`, `hf:FOLDER`, `gguf:FILE` or `embedded`, each with `+ADAPTER` (a folder).
        device: `cuda`, `mps` or `cpu`; the first of them that the machine has by default.
        dtype: number type; bfloat16 on CUDA and float32 elsewhere by default.
        batch_tokens: tokens in one pass at most; fewer for the rest of a call when memory runs out.
        max_new_tokens: tokens written at most; None: 32 of text, 256 of a stated distribution, 512 of reasoning, 400 of an open answer.
        constrain: let `text` be nothing but one of the options.
        seed, temperature: how text is written; temperature 0 takes the likeliest token.

    Raises:
        MissingExtraError: a library is not installed.
        InputDataError: the model or adapter is absent or broken, or the adapter was made for another model.
        UsageError: a spec, device or number type that does not exist.
    """
    loaded = load_model(spec, device=device, dtype=dtype)
    return LocalRespondent(
        spec,
        loaded,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        constrain=constrain,
        seed=seed,
        temperature=temperature,
    )


def _windows(prompts: Sequence[Prompt]) -> Iterator[tuple[list[Prompt], list[Prompt]]]:
    """Yield prompts planned together: those that are scored, and those that are answered in words."""
    for start in range(0, len(prompts), _WINDOW):
        window = prompts[start : start + _WINDOW]
        scored = [prompt for prompt in window if prompt.elicitation in _SCORED]
        yield scored, [prompt for prompt in window if prompt.elicitation not in _SCORED]


def _end_tokens(loaded: Loaded, end: int) -> frozenset[int]:
    """Return the tokens that stop writing: the template's end of turn and whatever the model's own settings list."""
    listed: Any = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    several: list[Any] = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in (end, loaded.tokenizer.eos_token_id, *several) if token is not None)
