"""Writing text for many prompts: their prefixes share a token tree, then each prompt continues as a row of a batch."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.constraint import Allowed
from valuestrata.respondents.local.memory import failure_of, release_memory
from valuestrata.respondents.local.runner import Runner
from valuestrata.respondents.local.tree import Ids, TokenTree


@dataclass
class WrittenText:
    """A prompt and the text written to it so far.

    Attributes:
        ids: tokens of the prompt. limit: maximum number of tokens written.
        generator: random generator of this prompt.
        forms: the forms of the options if the text is constrained, else None. allowed: those that are still possible.
        tokens: tokens written. stopped: whether the turn has ended.
    """

    prompt: Prompt
    ids: Ids
    limit: int
    generator: np.random.Generator
    forms: Allowed | None = None
    allowed: Allowed | None = None
    tokens: list[int] = field(default_factory=list[int])
    stopped: bool = False
    error: str | None = None

    def restart(self) -> None:
        """Discard what was written and reset the generator, so the text does not depend on how much memory there is."""
        bits: Any = self.generator.bit_generator
        self.generator = np.random.Generator(type(bits)(bits.seed_seq))
        self.allowed, self.stopped, self.error = self.forms, False, None
        self.tokens.clear()

    def take(self, token: int, stops: frozenset[int]) -> None:
        """Write a token, and the end of the turn if nothing else is allowed after it."""
        self.tokens.append(token)
        if self.allowed is None:
            self.stopped = token in stops
            return
        self.allowed = self.allowed.take(token)
        following = self.allowed.tokens()
        if len(following) == 1 and following[0] in stops:
            self.tokens.append(following[0])
        self.stopped = not following or self.tokens[-1] in stops

    @property
    def done(self) -> bool:
        """Whether nothing more is written."""
        return self.stopped or self.error is not None or len(self.tokens) >= self.limit


class Writer:
    """Writes answers, greedily at temperature 0, otherwise sampled with one generator per prompt."""

    def __init__(
        self,
        chat: Chat,
        prompts: Sequence[Prompt],
        stops: frozenset[int],
        *,
        limit: Callable[[Prompt], int],
        constrain: bool,
        temperature: float,
        seed: int,
    ) -> None:
        self._chat = chat
        self._stops = stops
        self._temperature = temperature
        texts = [self._new_text(prompt, limit(prompt), constrain, seed) for prompt in prompts]
        self._waiting = sorted(texts, key=lambda text: text.ids)
        self.prompt_tokens = sum(len(text.ids) for text in self._waiting)
        self.most_written = sum(text.limit for text in self._waiting)
        self.longest = max(len(text.ids) + text.limit for text in self._waiting)

    def _new_text(self, prompt: Prompt, limit: int, constrain: bool, seed: int) -> WrittenText:
        # Seeded by the prompt and not by its position, so batches and resumed runs draw the same.
        generator = np.random.default_rng(prompt_seed(seed, prompt))
        if not (constrain and prompt.elicitation == "text"):
            return WrittenText(prompt, self._chat.tokenize(prompt), limit, generator)
        tokenized = self._chat.tokenize_options(prompt, prefill="")
        forms = Allowed({form: option for option, several in zip(prompt.options, tokenized.forms, strict=True) for form in several})
        # A form includes the end of the turn, which costs no pass, so no form is cut off.
        return WrittenText(prompt, tokenized.stem, forms.longest, generator, forms, forms)

    def cost(self, runner: Runner, held: int) -> int:
        """Return how many tokens of the prompts pass through the model, without those that are written."""
        total = at = 0
        while at < len(self._waiting):
            batch = self._batch(at, held)
            tree = TokenTree()
            total += runner.cost(tree, [tree.add(text.ids)[-1] for text in batch])
            at += len(batch)
        return total

    def run(self, runner: Runner, width: int, held: int) -> Iterator[Answer]:
        """Yield the answers.

        Args:
            width: tokens of prompts per pass.
            held: maximum number of tokens whose keys and values are cached, of prompts and of what may be written.
        """
        at = 0
        while at < len(self._waiting):
            batch = self._batch(at, held)
            started = time.perf_counter()
            failure = failure_of(partial(self._write, runner, batch, width), runner.reset)
            if failure is not None and failure.out_of_memory and (len(batch) > 1 or width > 1):
                release_memory()
                # Either the pass or the cached rows were too large.
                width, held = max(1, min(width, _tokens(batch)) // 2), max(1, _tokens(batch) // 2)
                for text in batch:
                    text.restart()
                continue
            latency = (time.perf_counter() - started) / len(batch)
            for text in batch:
                if failure is not None:
                    text.error = failure.error
                yield self._answer(text, latency)
            at += len(batch)

    def _batch(self, at: int, held: int) -> list[WrittenText]:
        """Return the prompts written next: as many as `held` tokens allow, spread evenly over the remaining batches."""
        waiting = self._waiting[at:]
        share = _tokens(waiting) / math.ceil(_tokens(waiting) / held)
        batch: list[WrittenText] = []
        total = 0
        for text in waiting:
            total += len(text.ids) + text.limit
            if batch and total > held:
                break
            batch.append(text)
            if total >= share:
                break
        return batch

    def _write(self, runner: Runner, batch: Sequence[WrittenText], width: int) -> None:
        runner.reset()
        tree = TokenTree()
        ends = [tree.add(text.ids)[-1] for text in batch]
        ending_at: dict[int, list[WrittenText]] = {}
        for end, text in zip(ends, batch, strict=True):
            ending_at.setdefault(end, []).append(text)
        for first in range(0, len(tree), width):
            nodes = range(first, min(first + width, len(tree)))
            read = [node for node in nodes if node in ending_at]
            logits = runner.logits(tree, nodes, read)
            pairs = [(row, text) for row, node in enumerate(read) for text in ending_at[node]]
            if pairs:
                self._choose(logits, [row for row, _ in pairs], [text for _, text in pairs])
        active = [text for text in batch if not text.done]
        if not active:
            return
        branch = runner.branch(tree, [end for end, text in zip(ends, batch, strict=True) if not text.done])
        rows = dict(enumerate(active))
        while rows:
            logits = branch.step(list(rows), [text.tokens[-1] for text in rows.values()])
            self._choose(logits, range(len(rows)), list(rows.values()))
            rows = {row: text for row, text in rows.items() if not text.done}

    def _choose(self, logits: Any, rows: Sequence[int], texts: Sequence[WrittenText]) -> None:
        """Let each text take its next token from its row of logits."""
        best = logits.max(dim=-1)
        finite, likeliest = best.values.isfinite().tolist(), best.indices.tolist()
        cumulative = self._cumulative(logits) if self._temperature > 0 and any(text.allowed is None for text in texts) else None
        for row, text in zip(rows, texts, strict=True):
            if not finite[row]:
                text.error = "the model gave no finite number to any token"
            elif text.allowed is not None:
                text.take(self._among(logits[row], text.allowed.tokens(), text.generator), self._stops)
            else:
                text.take(likeliest[row] if cumulative is None else _draw(cumulative[row], text.generator), self._stops)

    def _among(self, logits: Any, tokens: list[int], generator: np.random.Generator) -> int:
        some = logits[tokens]
        return tokens[int(some.argmax()) if self._temperature <= 0 else _draw(self._cumulative(some), generator)]

    def _cumulative(self, logits: Any) -> Any:
        return (logits.cpu().double() / self._temperature).softmax(dim=-1).cumsum(dim=-1).numpy()

    def _answer(self, text: WrittenText, latency: float) -> Answer:
        if text.error is not None:
            return Answer(text.prompt, error=text.error, latency=latency)
        tokens = text.tokens[:-1] if text.stopped else text.tokens
        return Answer(
            text.prompt,
            # A constrained form may begin with characters of the prompt that the tokenizer merged with it.
            text=self._chat.decode(tokens) if text.allowed is None else text.allowed.option,
            finish_reason="stop" if text.stopped else "length",
            prompt_tokens=len(text.ids),
            completion_tokens=len(text.tokens),
            latency=latency,
        )


def prompt_seed(seed: int, prompt: Prompt) -> int:
    """Return the seed of one prompt, from 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.key}".encode()).digest()[:8])


def _tokens(texts: Sequence[WrittenText]) -> int:
    return sum(len(text.ids) + text.limit for text in texts)


def _draw(cumulative: Any, generator: np.random.Generator) -> int:
    """Return an index drawn in proportion to its weight, from the cumulative weights."""
    return min(int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")), len(cumulative) - 1)
