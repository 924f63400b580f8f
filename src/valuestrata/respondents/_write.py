"""Writing text, many prompts at a time on one token tree: the prompts share their beginnings, and each grows its own branch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from valuestrata.respondents._chat import Chat
from valuestrata.respondents._score import is_out_of_memory, release_memory, said
from valuestrata.respondents._tree import Ids, Runner, TokenTree, common_prefix
from valuestrata.respondents.base import Answer, Prompt


@dataclass
class _Writing:
    """A prompt while it is answered: the node it stands at and what it has written."""

    prompt: Prompt
    ids: Ids
    chance: Any
    node: int = -1
    tokens: list[int] = field(default_factory=list[int])
    stopped: bool = False


class Writer:
    """Writes answers, greedily at temperature 0, else sampled with a generator of each prompt's own."""

    def __init__(
        self, chat: Chat, prompts: Sequence[Prompt], stops: frozenset[int], *, max_new_tokens: int, temperature: float, seed: int
    ) -> None:
        self._chat = chat
        self._stops = stops
        self._new = max_new_tokens
        self._temperature = temperature
        self._waiting = sorted(
            # Seeded by the prompt and not by its place, so that batches and resumed runs draw the same.
            (_Writing(prompt, chat.written(prompt), np.random.default_rng(_seed(seed, prompt))) for prompt in prompts),
            key=lambda writing: writing.ids,
        )
        self.prompt_tokens = sum(len(writing.ids) for writing in self._waiting)
        self.longest = max(len(writing.ids) for writing in self._waiting) + max_new_tokens

    def run(self, runner: Runner, size: int) -> Iterator[Answer]:
        """Yield the answers; prompts are taken together as long as they and what they may write fit `size` tokens."""
        at = 0
        while at < len(self._waiting):
            batch = self._batch(at, size)
            started = time.perf_counter()
            try:
                self._write(runner, batch)
                error = None
            except (NotImplementedError, RecursionError):
                raise
            except RuntimeError as failure:
                if is_out_of_memory(failure) and len(batch) > 1:
                    release_memory()
                    size = max(1, size // 2)
                    for writing in batch:
                        self._restart(writing)
                    continue
                error = said(failure)
            latency = (time.perf_counter() - started) / len(batch)
            for writing in batch:
                yield Answer(writing.prompt, error=error, latency=latency) if error else self._answer(writing, latency)
            at += len(batch)

    def _batch(self, at: int, size: int) -> list[_Writing]:
        batch: list[_Writing] = []
        total, before = 0, ()
        for writing in self._waiting[at:]:
            total += len(writing.ids) - common_prefix(writing.ids, before) + self._new
            if batch and total > size:
                break
            batch.append(writing)
            before = writing.ids
        return batch

    def _write(self, runner: Runner, batch: Sequence[_Writing]) -> None:
        runner.reset()
        tree = TokenTree()
        for writing in batch:
            writing.node = tree.add_path(writing.ids)
        fresh: list[int] = list(range(len(tree)))
        active = list(batch)
        for turn in range(self._new):
            read = list(dict.fromkeys(writing.node for writing in active))
            logits = runner.logits(tree, fresh, read)
            rows = {node: row for row, node in enumerate(read)}
            for writing, token in zip(active, self._choose(logits, [rows[writing.node] for writing in active], active), strict=True):
                writing.tokens.append(token)
                writing.stopped = token in self._stops
            active = [writing for writing in active if not writing.stopped]
            if not active or turn + 1 == self._new:
                return
            for writing in active:
                writing.node = tree.append(writing.node, writing.tokens[-1])
            fresh = [writing.node for writing in active]

    def _choose(self, logits: Any, rows: Sequence[int], active: Sequence[_Writing]) -> list[int]:
        if self._temperature <= 0:
            best: list[int] = logits.argmax(dim=-1).tolist()
            return [best[row] for row in rows]
        weights = (logits.cpu().double() / self._temperature).softmax(dim=-1).cumsum(dim=-1).numpy()
        chosen: list[int] = []
        for row, writing in zip(rows, active, strict=True):
            draw = writing.chance.random() * weights[row, -1]
            chosen.append(min(int(np.searchsorted(weights[row], draw, side="right")), weights.shape[1] - 1))
        return chosen

    def _restart(self, writing: _Writing) -> None:
        # A generator that has drawn would make the answer depend on the memory of the machine.
        writing.chance = type(writing.chance)(type(writing.chance.bit_generator)(writing.chance.bit_generator.seed_seq))
        writing.node, writing.stopped = -1, False
        writing.tokens.clear()

    def _answer(self, writing: _Writing, latency: float) -> Answer:
        words = writing.tokens[:-1] if writing.stopped else writing.tokens
        return Answer(
            writing.prompt,
            text=self._chat.decode(words),
            finish_reason="stop" if writing.stopped else "length",
            prompt_tokens=len(writing.ids),
            completion_tokens=len(writing.tokens),
            latency=latency,
        )


def _seed(seed: int, prompt: Prompt) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.key}".encode()).digest()[:8])
