"""Asking one model of a study: what came of it is told, whatever came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError
from valuestrata.respondents.controls.control import ReplacesPersonas
from valuestrata.responses.ask.loop import AskResult, ask_planned
from valuestrata.responses.ask.plan import Asking
from valuestrata.responses.run.failures import failure_kinds, kinds_listed
from valuestrata.responses.run.folder import counts_by_status, load_run, read_meta, usage_of
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.study.config import Study
from valuestrata.study.preflight import Prepared, respondent_of
from valuestrata.study.resume import write_mark


@dataclass(frozen=True)
class Asked:
    """What became of one model of a study.

    Attributes:
        run: name of its run.
        kept: whether the run was complete before, and nothing was asked.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> prompts that were asked and ended failed; the next call asks them again.
        left: prompts of the plan without an answer.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run; None where no response says.
        stopped: why no more calls were started, None if nothing stopped them.
        error: why asking broke off, None if it did not.
    """

    run: str
    kept: bool
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    left: int
    usage: Mapping[str, int | float | None]
    stopped: str | None = None
    error: str | None = None

    @property
    def answered(self) -> int:
        """Responses that hold an answer."""
        return self.counts["answered"]

    @property
    def failed(self) -> int:
        """Prompts that were asked and ended failed."""
        return sum(self.failures.values())

    @property
    def has_results(self) -> bool:
        """Whether there is a response to score; a refusal is one, a failure is not."""
        return sum(self.counts.values()) > self.counts["failed"]

    @property
    def problem(self) -> str | None:
        """What went wrong in one line: run, number and kinds of failures; None if nothing did."""
        failed = f"{self.failed:,} responses ended failed ({kinds_listed(self.failures)})" if self.failed else ""
        if self.error is not None:
            return f"{self.run}: broke off, {self.left:,} prompts left{f'; {failed}' if failed else ''}"
        return f"{self.run}: {failed}" if failed else None

    @property
    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "run": self.run,
            "kept": self.kept,
            "answered": self.answered,
            "failed": self.failed,
            "failures": dict(self.failures),
            "left": self.left,
            "stopped": self.stopped,
            "error": self.error,
            "usage": dict(self.usage),
        }


def ask_prepared(study: Study, one: Prepared, dataset: Dataset, train_on: Dataset | None, say: Callable[[str], None]) -> Asked:
    """Ask one model and return what came of it.

    A run that this very request completed is not opened again: loading a model only to find nothing to ask takes long. One
    whose model cannot be reached does not end the study: what it answered is kept, and the others are asked.

    Raises:
        RunFailedError: the disk does not take the answers; no other model's would be kept either.
        UsageError, InputDataError, MissingExtraError: what loading a model and opening its run raise.
    """
    if one.kept:
        say(f"{one.name}: asked before, kept")
        return _found(one, kept=True)
    say(f"asking {one.name}")
    respondent = one.respondent or respondent_of(study, one.model, dataset, train_on)
    if isinstance(respondent, ReplacesPersonas) and respondent.note:
        say(f"{one.name}: {respondent.note}")
    write_mark(study.folder, one.name, one.mark)
    limits: dict[str, Any] = {"max_calls": one.model.max_calls or study.ask.max_calls, "max_cost": one.max_cost}
    try:
        result = ask_planned(dataset, respondent, one.run, one.asking, **limits)
    except RunFailedError as error:
        if isinstance(error.__cause__, OSError):
            raise
        said = error.render("study")
        say(f"{one.name}: {said}")
        return _found(one, error=said)
    asked = _of_result(one.name, result)
    if asked.problem:
        say(asked.problem)
    if result.left > asked.failed:
        why = "" if result.stopped is None else f" ({result.stopped})"
        say(f"{one.name}: stopped, {result.left:,} prompts left{why}; the same command goes on with them")
    if not result.failed and not result.left:
        write_mark(study.folder, one.name, replace(one.mark, complete=True))
    return asked


def _of_result(name: str, result: AskResult) -> Asked:
    return Asked(name, False, result.counts, result.failures, result.left, result.usage, result.stopped)


def _found(one: Prepared, *, kept: bool = False, error: str | None = None) -> Asked:
    """Return what a run holds that was not asked to its end now."""
    meta = read_meta(one.run)
    table = RESPONSES.empty() if meta is None else load_run(one.run, closed=False).responses
    mine = _of(table, one.asking)
    usage: Mapping[str, int | float | None] = (meta or {}).get("usage") or usage_of(table)
    left = one.asking.planned - mine.filter(pl.col("status") != "failed").height
    return Asked(one.name, kept, counts_by_status(table), failure_kinds(mine), left, usage, error=error)


def _of(table: pl.DataFrame, asking: Asking) -> pl.DataFrame:
    """Return the responses that belong to what is asked; a run may hold more, from when more was asked."""
    return table.join(asking.pairs.select("pair_id"), on="pair_id", how="semi").filter(
        pl.col("order").is_in(list(asking.orders))
        & pl.col("paraphrase").is_in(list(asking.paraphrases))
        & (pl.col("sample") < asking.samples)
    )
