"""Exact option probabilities from one pass over a token tree."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from valuestrata.respondents.base import Answer, Prompt
from valuestrata.respondents.local.chat import Chat, Question
from valuestrata.respondents.local.memory import is_out_of_memory, release_memory, said
from valuestrata.respondents.local.runner import Runner
from valuestrata.respondents.local.tree import Ids, TokenTree

Step = tuple[int, int]

# Rows of logits summed over the vocabulary at once: a row of a large vocabulary is more than half a megabyte.
_ROWS = 64


class _Planned(NamedTuple):
    """A prompt in the tree: for each option its forms, each a list of (node, next token), and the last node it needs."""

    prompt: Prompt
    tokens: int
    options: list[list[list[Step]]]
    steps: list[Step]
    last: int


class _Failed(NamedTuple):
    """A failed pass: what it said, and whether a smaller one may do better."""

    said: str
    memory: bool


class Scorer:
    """Plans prompts as one token tree and reads the probabilities of their options slice by slice."""

    def __init__(self, chat: Chat, prompts: Sequence[Prompt]) -> None:
        questions = [chat.question(prompt) for prompt in prompts]
        self.prompt_tokens = sum(len(question.ids) for question in questions)
        self._tree = TokenTree()
        self._planned: list[_Planned] = []
        self._alike: tuple[Ids, tuple[tuple[Ids, ...], ...]] | None = None
        for at in sorted(range(len(prompts)), key=lambda at: (questions[at].ids[: questions[at].stem], questions[at].forms)):
            self._plan(prompts[at], questions[at])
        self._wanted: dict[int, set[int]] = {}
        for planned in self._planned:
            for node, token in planned.steps:
                self._wanted.setdefault(node, set()).add(token)
        self._logp: dict[Step, float] = {}
        self._errors: list[tuple[int, int, str]] = []
        self.longest = max(self._tree.depths) + 1

    def _plan(self, prompt: Prompt, question: Question) -> None:
        stem = question.ids[: question.stem]
        forms = question.forms
        if prompt.elicitation == "first-token":
            forms = tuple(tuple(dict.fromkeys(form[:1] for form in option)) for option in forms)
        if self._planned and self._alike == (stem, forms):
            # Asked twice to the last token (samples, a control without persona): computed once.
            self._planned.append(self._planned[-1]._replace(prompt=prompt))
            return
        self._alike = (stem, forms)
        root = self._tree.add_path(stem)
        steps = iter(self._tree.add_branches(root, [form for option in forms for form in option]))
        options = [[next(steps) for _ in option] for option in forms]
        every = [step for option in options for form in option for step in form]
        # Never less than what the prompt before needs, so that prompts are done in the order of the plan.
        before = self._planned[-1].last if self._planned else 0
        self._planned.append(_Planned(prompt, len(question.ids), options, every, max(before, *(node for node, _ in every))))

    def cost(self, runner: Runner) -> int:
        """Return how many tokens go through the model to score everything."""
        return runner.cost(self._tree, list(self._wanted))

    def run(self, runner: Runner, size: int, started: float) -> Iterator[Answer]:
        """Yield the answers; `size` tokens go through the model at once, fewer when its memory does not hold them."""
        waiting = iter(self._planned)
        planned = next(waiting, None)
        begin = 0
        while planned is not None:
            end = min(begin + size, len(self._tree))
            failed = self._try(runner, begin, end, size)
            if failed is not None and failed.memory and end - begin > 1:
                release_memory()
                size = (end - begin + 1) // 2
                continue
            if failed is not None:
                self._errors.append((begin, end, failed.said))
            done: list[_Planned] = []
            while planned is not None and planned.last < end:
                done.append(planned)
                planned = next(waiting, None)
            now = time.perf_counter()
            for one in done:
                yield self._answer(one, (now - started) / len(done))
            if done:
                started = time.perf_counter()
            begin = end

    def _try(self, runner: Runner, begin: int, end: int, size: int) -> _Failed | None:
        try:
            self._read(runner, begin, end, size)
        except (NotImplementedError, RecursionError):
            # Runtime errors to Python, but none that torch raises for want of memory or numbers: a defect.
            raise
        except (RuntimeError, MemoryError) as error:
            # Said here and not kept: as long as the error lives, so does all that the failed pass has computed.
            runner.reset()
            return _Failed(said(error), is_out_of_memory(error))
        return None

    def _read(self, runner: Runner, begin: int, end: int, size: int) -> None:
        missing = runner.resume(self._tree, self._tree.parents[begin])
        # After a failed pass a long path may be missing, and memory may not hold it in one piece.
        for first in range(0, len(missing), size):
            runner.logits(self._tree, missing[first : first + size], [])
        read = [node for node in range(begin, end) if node in self._wanted]
        logits = runner.logits(self._tree, range(begin, end), read)
        for first in range(0, len(read), _ROWS):
            self._store(read[first : first + _ROWS], logits[first : first + _ROWS])

    def _store(self, read: Sequence[int], logits: Any) -> None:
        import torch

        # Logarithms of float32 logits: the sum over the vocabulary is exact to 1e-6 of itself, as the logits are not.
        rows = logits.float()
        totals = torch.logsumexp(rows, dim=-1)
        steps = [(row, token) for row, node in enumerate(read) for token in self._wanted[node]]
        at = torch.tensor([row for row, _ in steps], device=rows.device)
        wanted = rows[at, torch.tensor([token for _, token in steps], device=rows.device)]
        values: list[float] = (wanted.cpu().double() - totals[at].cpu().double()).tolist()
        for (row, token), value in zip(steps, values, strict=True):
            self._logp[read[row], token] = value

    def _answer(self, planned: _Planned, latency: float) -> Answer:
        lost = next((node for node, token in planned.steps if (node, token) not in self._logp), None)
        if lost is not None:
            error = next(message for begin, end, message in self._errors if begin <= lost < end)
            return Answer(planned.prompt, error=error, latency=latency)
        logs = [_log_sum(sum(self._logp[step] for step in form) for form in option) for option in planned.options]
        total = _log_sum(logs)
        if not math.isfinite(total):
            return Answer(planned.prompt, error="the model gave no finite probability to any option", latency=latency)
        if planned.prompt.elicitation == "first-token":
            mass = math.fsum(math.exp(self._logp[step]) for step in set(planned.steps))
        else:
            mass = math.exp(total)
        return Answer(
            planned.prompt,
            option_probs=tuple(math.exp(log - total) for log in logs),
            option_mass=min(1.0, mass),
            prompt_tokens=planned.tokens,
            completion_tokens=0,
            latency=latency,
        )


def _log_sum(logs: Any) -> float:
    values: list[float] = list(logs)
    top = max(values, default=-math.inf)
    return top + math.log(math.fsum(math.exp(value - top) for value in values)) if math.isfinite(top) else top
