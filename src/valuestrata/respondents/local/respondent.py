"""A local language model, through transformers: `hf:ORG/NAME`, `gguf:FILE`, `embedded`.

Elicitations measure different things and are never substituted for one another:

- `logprob`: the assistant's turn begins with the prefill (`Answer:`). The probability of an option is that of its whole
  string and the end of the turn, summed over the forms ` N` and `N`. `option_mass` is the sum over all options.
- `first-token`: the probability of the first token of an option's forms. Options whose forms begin with the same token
  (`1` and `10` if `10` is two tokens; all options if the blank of ` N` is a token) share its probability; `option_mass`
  counts every first token once.
- `text`: free text without a prefill, up to the end of the turn. With `constrain`, only the forms ` N` and `N` and the end
  of the turn are possible; each token is the most likely (or drawn) among those that lead to a form.
- `stated-distribution`, `reasoned`, `open`: free text, never constrained.

The latency of a prompt is its share of the time of its batch, so latencies add up to the time of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.respondents.base import OPEN_TOKENS, Answer, CostEstimate, Elicitation, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.generate import Writer
from valuestrata.respondents.local.hidden.reader import Floats32, StateReader
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.runner import PlainRunner, Runner, TreeRunner, choose_runner
from valuestrata.respondents.local.score import Scorer

# Prompts planned together. This bounds memory; prefixes are not shared between windows.
_WINDOW = 8192

# On a CPU, larger slices do not make matrix products faster.
_CPU_SLICE = 1024

# Elicitations that are scored; all others are written.
SCORED: frozenset[Elicitation] = frozenset({"logprob", "first-token"})

# Memory for the keys and values of texts being written: a quarter of the weights, but at least this many bytes. Many rows
# cost little more than few, because a step reads all weights once. At most this many passes; fewer under one mask, where
# every prompt of a pass is compared with everything in the cache.
_HELD_BYTES = 1 << 30
_HELD_PASSES = 8
_HELD_PASSES_MASKED = 2

# Default maximum number of tokens written.
NEW_TOKENS: Mapping[Elicitation, int] = {"text": 32, "reasoned": 512, "stated-distribution": 256, "open": OPEN_TOKENS}


@dataclass(frozen=True)
class TokenCount:
    """What asking some prompts takes, in tokens.

    Attributes:
        prompts: tokens of all prompts, without sharing.
        computed: tokens that pass through the model before anything is written, shared prefixes once.
        written: maximum number of tokens written.
    """

    prompts: int = 0
    computed: int = 0
    written: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(
            prompts=self.prompts + other.prompts, computed=self.computed + other.computed, written=self.written + other.written
        )


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
        from valuestrata.respondents.local.transformers_internals import attention_window

        self._name = name
        self._loaded = loaded
        self._chat = Chat(loaded.tokenizer, name)
        self._max_new_tokens = max_new_tokens
        self._constrain = constrain
        self._seed = seed
        self._temperature = temperature
        self._batch_tokens = max(1, batch_tokens)
        self._attention_window = attention_window(loaded.model.config)
        self._choice = choose_runner(loaded.model)
        self._stops = _end_tokens(loaded, self._chat.end)
        self.prompt_tokens = 0
        self.forwarded_tokens = 0

    @property
    def name(self) -> str:
        """The model specification as the user wrote it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return everything that determines the answers: file hashes, number type, device, decoding, versions."""
        return {**self._loaded.identity, "decoding": decoding_of(self._max_new_tokens, self._temperature, self._seed, self._constrain)}

    def training_data(self) -> Mapping[str, str] | None:
        """Return the data set that the adapter was trained on; None without one, or if it does not say."""
        return self._loaded.training

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt as batches finish, in the order of the prompts' shared prefixes."""
        import torch

        for scored, written in _windows(prompts):
            for asked, answers in ((scored, self._score), (written, self._write)):
                if not asked:
                    continue
                iterator = answers(asked)
                while True:
                    # Around each step and not around the loop, so the mode does not apply to the caller between answers.
                    with torch.inference_mode():
                        answer = next(iterator, None)
                    if answer is None:
                        break
                    yield answer

    @property
    def layers(self) -> int:
        """Number of layers of the model."""
        return int(self._loaded.model.config.get_text_config().num_hidden_layers)

    def hidden_states(self, prompts: Sequence[Prompt], layers: Sequence[int]) -> Floats32:
        """Return the hidden states at the answer position of each prompt, shape (prompts, layers, size).

        Args:
            prompts: computed together, so their number bounds memory.
            layers: 0 for the embedding, then 1 to `layers`; the last is normalised.

        Raises:
            UsageError: an elicitation without an answer position.
            RunFailedError: a pass failed.
        """
        import torch

        reader = StateReader(self._chat, prompts)
        with torch.inference_mode():
            return reader.run(self._runner(reader.longest), self._slice(), layers)

    def count_tokens(self, prompts: Sequence[Prompt]) -> TokenCount:
        """Return how many tokens asking `prompts` takes if memory suffices, without running the model."""
        total = TokenCount()
        for scored, written in _windows(prompts):
            if scored:
                scorer = Scorer(self._chat, scored)
                total += TokenCount(scorer.prompt_tokens, scorer.cost(self._runner(scorer.longest)))
            if written:
                writer = self._writer(written)
                cost = writer.cost(self._runner(writer.longest), self._held())
                total += TokenCount(writer.prompt_tokens, cost, writer.most_written)
        return total

    def estimate(self, prompts: Sequence[Prompt]) -> CostEstimate:
        """Return the expected cost of `prompts`, without running the model."""
        count = self.count_tokens(prompts)
        return CostEstimate(len(prompts), count.prompts, count.computed, count.written, 0.0, "the model's own tokenizer")

    @property
    def context(self) -> int | None:
        """Number of positions of the model; None if its settings do not say."""
        most = getattr(self._loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return int(most) if most else None

    def length_of(self, prompt: Prompt) -> int:
        """Return the tokens of a prompt plus the maximum of its completion."""
        if prompt.elicitation in SCORED:
            tokenized = self._chat.tokenize_options(prompt)
            return len(tokenized.stem) + max(len(form) for forms in tokenized.forms for form in forms)
        return len(self._chat.tokenize(prompt)) + (self._max_new_tokens or NEW_TOKENS[prompt.elicitation])

    def _runner(self, longest: int) -> Runner:
        if self._choice.uses_tree and (self._attention_window is None or longest < self._attention_window):
            return TreeRunner(self._loaded.model, by_segments=self._choice.by_segments)
        return PlainRunner(self._loaded.model)

    def _slice(self) -> int:
        return min(self._batch_tokens, _CPU_SLICE) if self._loaded.model.device.type == "cpu" else self._batch_tokens

    def _held(self) -> int:
        most = (_HELD_PASSES if self._choice.by_segments else _HELD_PASSES_MASKED) * self._batch_tokens
        if not self._choice.bytes_per_token:
            return most
        weights = sum(weight.nbytes for weight in self._loaded.model.parameters())
        return max(1, min(most, max(_HELD_BYTES, weights // 4) // self._choice.bytes_per_token))

    def _writer(self, prompts: Sequence[Prompt]) -> Writer:
        return Writer(
            self._chat,
            prompts,
            self._stops,
            limit=lambda prompt: NEW_TOKENS[prompt.elicitation] if self._max_new_tokens is None else self._max_new_tokens,
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
    spec: str, *, device: str | None = None, dtype: str | None = None, known_as: str | None = None, **settings: Any
) -> LocalRespondent:
    """Load a local model.

    Args:
        spec: `hf:ORG/NAME[@REVISION]`, `hf:FOLDER`, `gguf:FILE` or `embedded`, each with `+ADAPTER` (a folder).
        device: `cuda`, `mps` or `cpu`; by default the first that is available.
        dtype: number type; by default bfloat16 on CUDA and float32 elsewhere.
        known_as: the name that its runs record; by default `spec`.
        settings: of `LocalRespondent`. `batch_tokens`: maximum number of tokens per pass (fewer once memory is exhausted).
            `max_new_tokens`: maximum number of tokens written (None: 32 for text, 256 for a stated distribution, 512 for
            reasoning, 400 for an open answer). `constrain`: restrict `text` to the options. `seed`, `temperature`: of
            sampling; temperature 0 takes the most likely token.

    Raises:
        MissingExtraError: a library is not installed.
        InputDataError: the model or adapter is missing or broken, or the adapter was made for another model.
        UsageError: the specification, device or number type is invalid.
    """
    return LocalRespondent(known_as or spec, load_model(spec, device=device, dtype=dtype), **settings)


def decoding_of(max_new_tokens: int | None, temperature: float, seed: int, constrain: bool) -> dict[str, Any]:
    """Return the decoding settings as a run's identity records them; `constrain` only if it is on."""
    decoding = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    return decoding | ({"constrain": True} if constrain else {})


def _windows(prompts: Sequence[Prompt]) -> Iterator[tuple[list[Prompt], list[Prompt]]]:
    """Yield prompts planned together: those that are scored, and those that are answered in free text."""
    for start in range(0, len(prompts), _WINDOW):
        yield split_by_elicitation(prompts[start : start + _WINDOW])


def split_by_elicitation(prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """Return the prompts that are scored, and those that are answered in free text."""
    scored = [prompt for prompt in prompts if prompt.elicitation in SCORED]
    return scored, [prompt for prompt in prompts if prompt.elicitation not in SCORED]


def _end_tokens(loaded: Loaded, end: int) -> frozenset[int]:
    """Return the tokens that end the text: the template's end of turn and those in the model's own settings."""
    listed: Any = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    several: list[Any] = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in (end, loaded.tokenizer.eos_token_id, *several) if token is not None)
