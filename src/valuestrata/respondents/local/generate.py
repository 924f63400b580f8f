"""Writing text, many prompts at a time: they share their beginnings on a token tree, then each writes on in a row of its own."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat
from valuestrata.respondents.local.constraint import Allowed
from valuestrata.respondents.local.memory import is_out_of_memory, release_memory, said
from valuestrata.respondents.local.runner import Runner
from valuestrata.respondents.local.tree import Ids, TokenTree


@dataclass
class _Writing:
    """A prompt while it is answered.

    Attributes:
        ids: tokens of the prompt. most: tokens that may be written.
        forms: what may be written where it is constrained, else None; allowed: what of it is left.
    """

    prompt: Prompt
    ids: Ids
    most: int
    chance: Any
    forms: Allowed | None = None
    allowed: Allowed | None = None
    tokens: list[int] = field(default_factory=list[int])
    stopped: bool = False
    error: str | None = None

    def restart(self) -> None:
        """Forget what was written; a generator that has drawn would make the answer depend on the memory of the machine."""
        self.chance = type(self.chance)(type(self.chance.bit_generator)(self.chance.bit_generator.seed_seq))
        self.allowed, self.stopped, self.error = self.forms, False, None
        self.tokens.clear()

    def take(self, token: int, stops: frozenset[int]) -> None:
        """Write a token, and the end of turn behind it where nothing else is allowed."""
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
        return self.stopped or self.error is not None or len(self.tokens) >= self.most


class Writer:
    """Writes answers, greedily at temperature 0, else sampled with a generator of each prompt's own."""

    def __init__(
        self,
        chat: Chat,
        prompts: Sequence[Prompt],
        stops: frozenset[int],
        *,
        most: Callable[[Prompt], int],
        constrain: bool,
        temperature: float,
        seed: int,
    ) -> None:
        self._chat = chat
        self._stops = stops
        self._temperature = temperature
        writings = [self._writing(prompt, most(prompt), constrain, seed) for prompt in prompts]
        self._waiting = sorted(writings, key=lambda writing: writing.ids)
        self.prompt_tokens = sum(len(writing.ids) for writing in self._waiting)
        self.most_written = sum(writing.most for writing in self._waiting)
        self.longest = max(len(writing.ids) + writing.most for writing in self._waiting)

    def _writing(self, prompt: Prompt, most: int, constrain: bool, seed: int) -> _Writing:
        # Seeded by the prompt and not by its place, so that batches and resumed runs draw the same.
        chance = np.random.default_rng(_seed(seed, prompt))
        if not (constrain and prompt.elicitation == "text"):
            return _Writing(prompt, self._chat.written(prompt), most, chance)
        question = self._chat.question(prompt, prefill="")
        forms = Allowed({form: option for option, several in zip(prompt.options, question.forms, strict=True) for form in several})
        # The end of turn is part of a form and costs no pass, so a form is never cut off.
        return _Writing(prompt, question.ids[: question.stem], forms.longest, chance, forms, forms)

    def cost(self, runner: Runner, held: int) -> int:
        """Return how many tokens of the prompts go through the model; what is written comes on top."""
        total = at = 0
        while at < len(self._waiting):
            batch = self._batch(at, held)
            tree = TokenTree()
            total += runner.cost(tree, [tree.add_path(writing.ids) for writing in batch])
            at += len(batch)
        return total

    def run(self, runner: Runner, width: int, held: int) -> Iterator[Answer]:
        """Yield the answers.

        Args:
            runner: what runs the model.
            width: tokens of prompts that go through the model at once.
            held: tokens whose keys and values are kept at once, those of the prompts and those that may be written.
        """
        at = 0
        while at < len(self._waiting):
            batch = self._batch(at, held)
            started = time.perf_counter()
            error, memory = self._try(runner, batch, width)
            if memory and (len(batch) > 1 or width > 1):
                release_memory()
                # It is not said whether the prompts were too much for one pass, or the rows to be kept.
                width, held = max(1, min(width, _tokens(batch)) // 2), max(1, _tokens(batch) // 2)
                for writing in batch:
                    writing.restart()
                continue
            latency = (time.perf_counter() - started) / len(batch)
            for writing in batch:
                yield Answer(writing.prompt, error=error, latency=latency) if error else self._answer(writing, latency)
            at += len(batch)

    def _batch(self, at: int, held: int) -> list[_Writing]:
        """Return the prompts written next: as many as `held` tokens allow, evenly spread over the batches still needed."""
        waiting = self._waiting[at:]
        share = _tokens(waiting) / math.ceil(_tokens(waiting) / held)
        batch: list[_Writing] = []
        total = 0
        for writing in waiting:
            total += len(writing.ids) + writing.most
            if batch and total > held:
                break
            batch.append(writing)
            if total >= share:
                break
        return batch

    def _try(self, runner: Runner, batch: Sequence[_Writing], width: int) -> tuple[str | None, bool]:
        """Write a batch; return what went wrong, and whether it was want of memory."""
        try:
            self._write(runner, batch, width)
        except (NotImplementedError, RecursionError):
            raise
        except (RuntimeError, MemoryError) as error:
            # Said here and not kept: as long as the error lives, so does all that the failed pass has computed.
            runner.reset()
            return said(error), is_out_of_memory(error)
        return None, False

    def _write(self, runner: Runner, batch: Sequence[_Writing], width: int) -> None:
        runner.reset()
        tree = TokenTree()
        ends = [tree.add_path(writing.ids) for writing in batch]
        at: dict[int, list[_Writing]] = {}
        for end, writing in zip(ends, batch, strict=True):
            at.setdefault(end, []).append(writing)
        for first in range(0, len(tree), width):
            nodes = range(first, min(first + width, len(tree)))
            read = [node for node in nodes if node in at]
            logits = runner.logits(tree, nodes, read)
            rows = [(row, writing) for row, node in enumerate(read) for writing in at[node]]
            if rows:
                self._choose(logits, [row for row, _ in rows], [writing for _, writing in rows])
        active = [row for row, writing in enumerate(batch) if not writing.done]
        if not active:
            return
        branch = runner.branch(tree, [ends[row] for row in active])
        rows = dict(enumerate(batch[row] for row in active))
        while rows:
            logits = branch.step(list(rows), [writing.tokens[-1] for writing in rows.values()])
            self._choose(logits, range(len(rows)), list(rows.values()))
            rows = {row: writing for row, writing in rows.items() if not writing.done}

    def _choose(self, logits: Any, rows: Sequence[int], writings: Sequence[_Writing]) -> None:
        """Let each writing take its next token from its row of logits."""
        best = logits.max(dim=-1)
        finite, likeliest = best.values.isfinite().tolist(), best.indices.tolist()
        drawn_from = self._weights(logits) if self._temperature > 0 and any(writing.allowed is None for writing in writings) else None
        for row, writing in zip(rows, writings, strict=True):
            if not finite[row]:
                writing.error = "the model gave no finite number to any token"
            elif writing.allowed is not None:
                writing.take(self._among(logits[row], writing.allowed.tokens(), writing.chance), self._stops)
            else:
                token = likeliest[row] if drawn_from is None else _drawn(drawn_from[row], writing.chance)
                writing.take(token, self._stops)

    def _among(self, logits: Any, tokens: list[int], chance: Any) -> int:
        some = logits[tokens]
        return tokens[int(some.argmax()) if self._temperature <= 0 else _drawn(self._weights(some), chance)]

    def _weights(self, logits: Any) -> Any:
        return (logits.cpu().double() / self._temperature).softmax(dim=-1).cumsum(dim=-1).numpy()

    def _answer(self, writing: _Writing, latency: float) -> Answer:
        if writing.error is not None:
            return Answer(writing.prompt, error=writing.error, latency=latency)
        words = writing.tokens[:-1] if writing.stopped else writing.tokens
        # A form is one of ` N` and `N`, after whatever of the turn's beginning the tokenizer merges with it: the option is meant.
        text = self._chat.decode(words) if writing.allowed is None else writing.allowed.option
        return Answer(
            writing.prompt,
            text=text,
            finish_reason="stop" if writing.stopped else "length",
            prompt_tokens=len(writing.ids),
            completion_tokens=len(writing.tokens),
            latency=latency,
        )


def _tokens(writings: Sequence[_Writing]) -> int:
    return sum(len(writing.ids) + writing.most for writing in writings)


def _drawn(cumulated: Any, chance: Any) -> int:
    """Return an index drawn by its weight, from the weights added up."""
    return min(int(np.searchsorted(cumulated, chance.random() * cumulated[-1], side="right")), len(cumulated) - 1)


def _seed(seed: int, prompt: Prompt) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.key}".encode()).digest()[:8])
