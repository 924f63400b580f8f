"""Runs of open answers as judges are given them: their texts, named and hashed, cut only on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import canonical_hash
from valuestrata.prompts.prompt import OPEN, Prompt
from valuestrata.respondents.base import Respondent, SupportsContextLimit
from valuestrata.respondents.controls.control import ReplacesPersonas
from valuestrata.respondents.hosted.cost_estimate import tokens_about
from valuestrata.responses.run.folder import Run, check_same_dataset, load_run
from valuestrata.responses.run.identity import RunIdentity, run_identity

# What `truncate` counts as a token, whoever judges, so that every judge reads the same text.
CHARACTERS_A_TOKEN = 4
CUT = " [...]"
# More tokens than bytes has no text, but a chat template adds some.
_TEMPLATE_TOKENS = 256
# Tokens that a judge whose own limit is not known may write.
_WRITTEN = 512
_IDENTIFIED = ("respondent", "template", "template_version")


@dataclass(frozen=True)
class Contestant:
    """A run of open answers.

    Attributes:
        run: the run. answers: pair_id, item, subgroup, sample, text, status; each pair and sample once.
    """

    run: Run
    answers: pl.DataFrame

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name

    @property
    def hash(self) -> str:
        """Hash of all it wrote, so that verdicts cannot pass for those of other texts."""
        return canonical_hash([list(row) for row in self.answers.sort("pair_id", "sample").iter_rows()])

    @property
    def document(self) -> dict[str, Any]:
        """What made the run, as `run.json` of a judge's folder keeps it."""
        return {key: self.run.meta[key] for key in _IDENTIFIED if key in self.run.meta}


def load_open_run(path: str | Path) -> Run:
    """Read a run of open answers.

    Raises:
        InputDataError: no run there, or one that holds something else.
    """
    run = load_run(path, closed=False)
    if run.meta.get("elicitation") != OPEN or "judged" in run.meta:
        raise InputDataError(f"{run.path}: not a run of open answers; make one with: valuestrata open ask DATASET --model MODEL -o RUN")
    return run


def contestants_of(dataset: Dataset, runs: Sequence[Run]) -> list[Contestant]:
    """Return runs of open answers as contestants, in the order given.

    Raises:
        UsageError: two runs of one name, for verdicts are told apart by it.
        InputDataError: a run of another data set, or without a response.
    """
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two runs are named {name!r}; verdicts are told apart by the run's name. Rename one of them.")
    found: list[Contestant] = []
    for run in runs:
        check_same_dataset(run, dataset)
        answers = run.responses.select("pair_id", "item", "subgroup", "sample", "text", "status").unique(
            ["pair_id", "sample"], keep="first", maintain_order=True
        )
        if answers.is_empty():
            raise InputDataError(f"{run.path}: run {run.name!r} holds no answer yet; ask first.")
        found.append(Contestant(run, answers))
    return found


def check_judge(judge: Respondent) -> None:
    """Refuse a judge that reads nothing.

    Raises:
        UsageError: a baseline or a control.
    """
    if isinstance(judge, ReplacesPersonas) or judge.name.startswith("baseline:"):
        raise UsageError(Option("judge", judge.name), ": a judge must be a language model, not a baseline or control.")


def own_answers(judge: Respondent, contestants: Sequence[Contestant]) -> list[str]:
    """Return the runs that the judge itself answered: a judge is no neutral reader of its own words."""
    itself = RunIdentity.from_document({"respondent": {"name": judge.name, **judge.identity()}}, judge.name)
    return [one.name for one in contestants if itself.same_weights(run_identity(one.run))]


def own_answers_note(judge: Respondent, contestants: Sequence[Contestant]) -> list[str]:
    """Return the warning where a judge judges itself; nothing where it does not."""
    own = own_answers(judge, contestants)
    return [f"Warning: {judge.name} judges answers of its own ({', '.join(own)}); models tend to prefer what they wrote."] if own else []


def truncated(text: str, tokens: int | None) -> str:
    """Return the beginning of a text, about so many tokens (4 characters each) up to a word's end, with a mark where it was cut."""
    if tokens is None or len(text) <= tokens * CHARACTERS_A_TOKEN:
        return text
    end = tokens * CHARACTERS_A_TOKEN
    head = text[:end]
    if not text[end].isspace() and any(map(str.isspace, head.rstrip())) and not head[-1].isspace():
        head = head.rsplit(None, 1)[0]
    return head.rstrip() + CUT


def check_fits(judge: Respondent, prompts: Callable[[], Iterator[Prompt]], context: int | None, truncate: int | None) -> None:
    """Refuse answers that the judge cannot read whole, before the first call.

    Tokens are the model's own where it is on this machine (`SupportsContextLimit`), else about 4 characters each.

    Args:
        judge: who reads. prompts: renders what it would be asked.
        context: tokens it can read and write; None: what a model of this machine says of itself, else no check.
        truncate: what answers were cut to, for the message.

    Raises:
        InputDataError: names the first pair that is too long, how many are, and what to do.
    """
    bounded = judge if isinstance(judge, SupportsContextLimit) else None
    most = context if context is not None else None if bounded is None else bounded.context
    if most is None:
        return
    too_long: list[tuple[str, int]] = []
    written: int | None = None
    for prompt in prompts():
        if written is None:
            # No less than what the judge may write, whatever was set.
            written = _WRITTEN if bounded is None else max(_WRITTEN, bounded.length_of(prompt))
        size = sum(len(message.content.encode("utf-8", "replace")) for message in prompt.messages)
        if size + _TEMPLATE_TOKENS + written > most:
            length = tokens_about(prompt) + _WRITTEN if bounded is None else bounded.length_of(prompt)
            if length > most:
                too_long.append((prompt.pair_id, length))
    if too_long:
        pair, length = too_long[0]
        shorter = "a smaller " if truncate is not None else ""
        raise InputDataError(
            f"{judge.name} reads and writes {most:,} tokens at most, and {len(too_long):,} prompts are longer, first that of pair "
            f"{pair!r} with {length:,}. Nothing was asked. Shorten the answers with {shorter}",
            Option("truncate", truncate),
            " (recorded), or use a judge that reads more.",
        )
