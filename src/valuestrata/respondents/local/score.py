"""Exact option probabilities from one pass over a token tree."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat, Forms
from valuestrata.respondents.local.options import OptionSteps, scored_forms
from valuestrata.respondents.local.runner import Runner, in_slices
from valuestrata.respondents.local.tree import Ids, Step, TokenTree

# Rows of logits reduced over the vocabulary at once; a row of a large vocabulary takes more than half a megabyte.
_ROWS = 64


class Scorer:
    """Puts prompts into one token tree and reads the probabilities of their options slice by slice."""

    def __init__(self, chat: Chat, prompts: Sequence[Prompt]) -> None:
        tokenized = [chat.tokenize_options(prompt) for prompt in prompts]
        self.prompt_tokens = sum(len(one.ids) for one in tokenized)
        self._tree = TokenTree()
        self._planned: list[OptionSteps[Step]] = []
        before: tuple[Ids, Forms] | None = None
        for at in sorted(range(len(prompts)), key=lambda at: (tokenized[at].stem, tokenized[at].forms)):
            stem, forms = tokenized[at].stem, scored_forms(tokenized[at].forms, prompts[at])
            if before == (stem, forms):
                # Identical tokens (samples, a control without persona) are computed once.
                self._planned.append(replace(self._planned[-1], prompt=prompts[at]))
                continue
            before = (stem, forms)
            end = self._tree.add(stem)[-1]
            # Added in sorted order, so the nodes are in depth-first order.
            steps = {form: self._tree.add_form(form, end) for form in sorted({form for option in forms for form in option})}
            options = [[steps[form] for form in option] for option in forms]
            self._planned.append(OptionSteps(prompts[at], len(tokenized[at].ids), options))
        numbers = self._tree.sort()
        if not isinstance(numbers, range):
            self._planned = [
                replace(one, options=[[[(numbers[node], token) for node, token in form] for form in option] for option in one.options])
                for one in self._planned
            ]
        self._wanted: dict[int, set[int]] = {}
        # The last node that each prompt needs, at least that of the prompt before: prompts finish in this order.
        self._last: list[int] = []
        for planned in self._planned:
            for node, token in planned.steps:
                self._wanted.setdefault(node, set()).add(token)
            self._last.append(max([*self._last[-1:], *(node for node, _ in planned.steps)]))
        self._logp: dict[Step, float] = {}
        self._errors: list[tuple[range, str]] = []
        self.longest = max(self._tree.depths) + 1

    def cost(self, runner: Runner) -> int:
        """Return how many tokens pass through the model to score everything."""
        return runner.cost(self._tree, list(self._wanted))

    def run(self, runner: Runner, size: int, started: float) -> Iterator[Answer]:
        """Yield the answers.

        Args:
            runner: runs the model. size: tokens per pass; halved whenever memory is exhausted.
            started: `time.perf_counter()` when planning began.
        """
        done = 0
        for nodes, error in in_slices(runner, self._tree, size, partial(self._read, runner)):
            if error is not None:
                self._errors.append((nodes, error))
            first = done
            while done < len(self._planned) and self._last[done] < nodes.stop:
                done += 1
            now = time.perf_counter()
            for planned in self._planned[first:done]:
                yield self._answer(planned, (now - started) / (done - first))
            if done > first:
                started = time.perf_counter()

    def _read(self, runner: Runner, nodes: range) -> None:
        read = [node for node in nodes if node in self._wanted]
        logits = runner.logits(self._tree, nodes, read)
        for first in range(0, len(read), _ROWS):
            self._store(read[first : first + _ROWS], logits[first : first + _ROWS])

    def _store(self, read: Sequence[int], logits: Any) -> None:
        import torch

        # The sum over the vocabulary in float32 has a relative error of 1e-6, less than that of the logits.
        rows = logits.float()
        totals = torch.logsumexp(rows, dim=-1)
        steps = [(row, token) for row, node in enumerate(read) for token in self._wanted[node]]
        at = torch.tensor([row for row, _ in steps], device=rows.device)
        wanted = rows[at, torch.tensor([token for _, token in steps], device=rows.device)]
        values: list[float] = (wanted.cpu().double() - totals[at].cpu().double()).tolist()
        for (row, token), value in zip(steps, values, strict=True):
            self._logp[read[row], token] = value

    def _answer(self, planned: OptionSteps[Step], latency: float) -> Answer:
        lost = next((step[0] for step in planned.steps if step not in self._logp), None)
        if lost is None:
            return planned.answer(self._logp, latency)
        error = next(message for nodes, message in self._errors if lost in nodes)
        return Answer(planned.prompt, error=error, latency=latency)
