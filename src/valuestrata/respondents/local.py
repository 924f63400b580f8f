"""A language model on this machine, through transformers: `hf:ORG/NAME`, `gguf:FILE`, `embedded`.

Readouts, which are part of the measurement and never exchanged for one another:

- `logprob`: the assistant's turn begins with the prefill (`Answer:`); an option's probability is that of its whole
  string and the end of the turn, summed over the forms ` N` and `N`. `option_mass` is the sum over all options.
- `first-token`: the probability of the first token of an option's forms. Options whose forms begin alike (`1` and `10`
  where `10` is two tokens, or all options where ` N` begins with a token of its own for the blank) share that part of
  it; `option_mass` counts every first token once.
- `text` (and `distribution`): what the model writes without a prefill, up to the end of its turn.

A prompt's `latency` is its share of the time that its batches took, so that latencies add up to the time of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuestrata.respondents._chat import Chat
from valuestrata.respondents._load import Loaded, load_model
from valuestrata.respondents._score import Scorer
from valuestrata.respondents._tree import PlainRunner, Runner, TreeRunner, fits_a_tree, window_of
from valuestrata.respondents._write import Writer
from valuestrata.respondents.base import Answer, Prompt

# Prompts planned together. Sharing is lost only where a window ends; memory is bounded by it.
_WINDOW = 8192

# On a processor, larger slices make attention dearer and matrix products no faster.
_CPU_SLICE = 320


class LocalRespondent:
    """A transformers model that answers prompts; `load_local` makes one."""

    def __init__(
        self,
        name: str,
        loaded: Loaded,
        *,
        batch_tokens: int = 4096,
        max_new_tokens: int = 32,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> None:
        self._name = name
        self._loaded = loaded
        self._chat = Chat(loaded.tokenizer, name)
        self._decoding: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        self._batch_tokens = max(1, batch_tokens)
        self._window = window_of(loaded.model.config)
        self._shares = fits_a_tree(loaded.model)
        self._stops = _end_tokens(loaded, self._chat.end)
        self.prompt_tokens = 0
        self.forwarded_tokens = 0

    @property
    def name(self) -> str:
        """The model as the user wrote it."""
        return self._name

    def identity(self) -> Mapping[str, Any]:
        """Return what makes this model's answers what they are: files by their hashes, number type, device, decoding, versions."""
        return {**self._loaded.identity, "decoding": dict(self._decoding)}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Yield one Answer for each prompt as batches finish, in the order of the prompts' shared beginnings."""
        import torch

        for start in range(0, len(prompts), _WINDOW):
            window = prompts[start : start + _WINDOW]
            scored = [prompt for prompt in window if prompt.elicitation in {"logprob", "first-token"}]
            written = [prompt for prompt in window if prompt.elicitation not in {"logprob", "first-token"}]
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

    def _runner(self, longest: int) -> Runner:
        fits = self._shares and (self._window is None or longest < self._window)
        return TreeRunner(self._loaded.model) if fits else PlainRunner(self._loaded.model)

    def _slice(self) -> int:
        return min(self._batch_tokens, _CPU_SLICE) if self._loaded.model.device.type == "cpu" else self._batch_tokens

    def _score(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        started = time.perf_counter()
        scorer = Scorer(self._chat, prompts)
        runner = self._runner(scorer.longest)
        self.prompt_tokens += scorer.prompt_tokens
        before = 0
        for answer in scorer.run(runner, self._slice(), started):
            self.forwarded_tokens += runner.forwarded - before
            before = runner.forwarded
            yield answer

    def _write(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        writer = Writer(self._chat, prompts, self._stops, **self._decoding)
        runner = self._runner(writer.longest)
        self.prompt_tokens += writer.prompt_tokens
        before = 0
        for answer in writer.run(runner, self._batch_tokens):
            self.forwarded_tokens += runner.forwarded - before
            before = runner.forwarded
            yield answer


def load_local(
    spec: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int = 4096,
    max_new_tokens: int = 32,
    seed: int = 0,
    temperature: float = 0.0,
) -> LocalRespondent:
    """Load a model of this machine.

    Args:
        spec: `hf:ORG/NAME[@REVISION]`, `hf:FOLDER`, `gguf:FILE` or `embedded`, each with `+ADAPTER` (a folder).
        device: `cuda`, `mps` or `cpu`; the first of them that the machine has by default.
        dtype: number type; bfloat16 on CUDA and float32 elsewhere by default.
        batch_tokens: tokens in one pass at most; halved for the rest of a call when memory runs out.
        max_new_tokens, seed, temperature: how text is written; temperature 0 takes the likeliest token.

    Raises:
        MissingExtraError: a library is not installed.
        InputDataError: the model or adapter is absent or broken.
        UsageError: a spec, device or number type that does not exist.
    """
    loaded = load_model(spec, device=device, dtype=dtype)
    return LocalRespondent(spec, loaded, batch_tokens=batch_tokens, max_new_tokens=max_new_tokens, seed=seed, temperature=temperature)


def _end_tokens(loaded: Loaded, end: int) -> frozenset[int]:
    """Return the tokens that stop writing: the template's end of turn and whatever the model's own settings list."""
    listed: Any = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    several: list[Any] = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in (end, loaded.tokenizer.eos_token_id, *several) if token is not None)
