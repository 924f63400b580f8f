"""Runs of open answers as input for judges: loading, hashing, truncating, and checks of the judge."""

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
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.controls.control import ReplacesPersonas
from valuestrata.responses.ask.length import check_length
from valuestrata.responses.run.base_models import share_base
from valuestrata.responses.run.folder import Run, check_same_dataset, load_run
from valuestrata.responses.run.identity import RunIdentity, run_identity

# `truncate` counts tokens of this length for every judge, so all judges read the same text.
CHARACTERS_PER_TOKEN = 4
CUT = " [...]"
# Tokens reserved for the reply of a judge that does not report its own limit.
_REPLY_TOKENS = 512
_IDENTITY_KEYS = ("respondent", "template", "template_version")


@dataclass(frozen=True)
class Contestant:
    """A run of open answers.

    Attributes:
        run: the run. answers: pair_id, item, subgroup, sample, text, status; one row per pair and sample.
    """

    run: Run
    answers: pl.DataFrame

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name

    @property
    def hash(self) -> str:
        """Hash of all answers, which ties verdicts to their texts."""
        return canonical_hash([list(row) for row in self.answers.sort("pair_id", "sample").iter_rows()])

    @property
    def document(self) -> dict[str, Any]:
        """Respondent and template of the run, as the `run.json` of a judge's folder keeps them."""
        return {key: self.run.meta[key] for key in _IDENTITY_KEYS if key in self.run.meta}


def load_open_run(path: str | Path) -> Run:
    """Read a run of open answers.

    Args:
        path: folder of the run.

    Raises:
        InputDataError: there is no run, or one that holds something else.
    """
    run = load_run(path, closed=False)
    if run.meta.get("elicitation") != OPEN or "judged" in run.meta:
        raise InputDataError(f"{run.path}: not a run of open answers. Make one with: valuestrata open ask DATASET --model MODEL -o RUN")
    return run


def contestants_of(dataset: Dataset, runs: Sequence[Run]) -> list[Contestant]:
    """Return runs of open answers as contestants, in the order given.

    Raises:
        UsageError: two runs of one name.
        InputDataError: a run of another data set, or without a response.
    """
    names = [run.name for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two runs are named {twice!r}, but tables identify runs by name. Rename the folder of one.")
    found: list[Contestant] = []
    for run in runs:
        check_same_dataset(run, dataset)
        answers = run.responses.select("pair_id", "item", "subgroup", "sample", "text", "status").unique(
            ["pair_id", "sample"], keep="first", maintain_order=True
        )
        if answers.is_empty():
            raise InputDataError(f"{run.path}: run {run.name!r} has no answers yet. Run `valuestrata open ask` first.")
        found.append(Contestant(run, answers))
    return found


def check_judge(judge: Respondent) -> None:
    """Raise UsageError if the judge is a baseline or a control."""
    if isinstance(judge, ReplacesPersonas) or judge.name.startswith("baseline:"):
        raise UsageError(Option("judge", judge.name), ": a judge must be a language model, not a baseline or control.")


def judge_notes(judge: Respondent, contestants: Sequence[Contestant]) -> list[str]:
    """Return warnings if the judge, or another model on the same base, wrote some of the answers, whatever its decoding."""
    itself = RunIdentity.from_document({"respondent": {"name": judge.name, **judge.identity()}}, judge.name)
    own = [one.name for one in contestants if itself.same_weights(run_identity(one.run))]
    near = [one.name for one in contestants if one.name not in own and share_base(itself, run_identity(one.run))]
    notes = [f"Warning: {judge.name} judges its own answers ({', '.join(own)}); models tend to prefer their own text."] if own else []
    if near:
        notes.append(
            f"Warning: {judge.name} has the same base model as the writer of {', '.join(near)}; models tend to prefer text like their own. "
            "Use a judge of another family, or let people code a sample of its verdicts."
        )
    return notes


def truncated(text: str, tokens: int | None) -> str:
    """Return the first `tokens` tokens of a text (4 characters each), cut at the end of a word and marked if cut."""
    if tokens is None or len(text) <= tokens * CHARACTERS_PER_TOKEN:
        return text
    end = tokens * CHARACTERS_PER_TOKEN
    head = text[:end]
    if not text[end].isspace() and any(map(str.isspace, head.rstrip())) and not head[-1].isspace():
        head = head.rsplit(None, 1)[0]
    return head.rstrip() + CUT


def check_fits(judge: Respondent, prompts: Callable[[], Iterator[Prompt]], context: int | None, truncate: int | None) -> None:
    """Refuse prompts longer than the judge's context, before the first call; see `check_length`.

    Args:
        judge: the judge. prompts: renders its prompts.
        context: context length in tokens; None: as a local model reports it, else no check.
        truncate: length to which answers were cut, for the message.

    Raises:
        InputDataError: names the first pair that is too long, the number of such prompts, and the option to use.
    """
    smaller = "a smaller " if truncate else ""
    remedy = (f"Shorten the answers with {smaller}", Option("truncate", truncate), ", or use a judge with a longer context.")
    check_length(judge, prompts, remedy, context=context, reply=_REPLY_TOKENS)
