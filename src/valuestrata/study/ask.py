"""Ask one model of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from valuestrata.errors import RunFailedError
from valuestrata.respondents.controls.control import ReplacesPersonas
from valuestrata.responses.ask.loop import AskResult, ask_planned
from valuestrata.responses.ask.plan import Asking
from valuestrata.responses.run.failures import failure_kinds, kinds_listed
from valuestrata.responses.run.folder import counts_by_status, load_run, read_meta, usage_of
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.study.context import StudyContext
from valuestrata.study.preflight import PreparedModel
from valuestrata.study.resume import write_record


@dataclass(frozen=True)
class ModelResult(AskResult):
    """Result of asking one model of a study.

    Attributes:
        skipped: whether the run was already complete, so the model was not asked.
        error: why asking failed, None if it did not.
    """

    skipped: bool = False
    error: str | None = None

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.run_dir.name

    @property
    def has_results(self) -> bool:
        """Whether there is a response to score. Refusals count, failures do not."""
        return sum(self.counts.values()) > self.counts["failed"]

    @property
    def problem(self) -> str | None:
        """One line on the error and the failures of the run, None without any."""
        failed = f"{self.failed:,} responses failed ({kinds_listed(self.failures)})" if self.failed else ""
        if self.error is not None:
            return f"{self.run}: ended by an error, {self.left:,} prompts left{f'; {failed}' if failed else ''}"
        return f"{self.run}: {failed}" if failed else None

    @property
    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run": self.run,
            "kept": self.skipped,
            "answered": self.answered,
            "failed": self.failed,
            "failures": dict(self.failures),
            "left": self.left,
            "stopped": self.stopped,
            "error": self.error,
            "usage": dict(self.usage),
        }


def ask_model(context: StudyContext, prepared: PreparedModel) -> ModelResult:
    """Ask one model of a study, unless its run is complete.

    If the model cannot be reached, its earlier answers are kept and the result holds the error; the study continues.

    Raises:
        RunFailedError: the answers cannot be written to disk; this would affect every other model too.
        UsageError, InputDataError, MissingExtraError: from loading the model and opening its run.
    """
    say, name = context.say, prepared.name
    if prepared.complete:
        say(f"{name}: already complete, skipped")
        return _stored(prepared, skipped=True)
    say(f"asking {name}")
    respondent = prepared.respondent or context.respondent(prepared.model)
    if isinstance(respondent, ReplacesPersonas) and respondent.note:
        say(f"{name}: {respondent.note}")
    write_record(context.folder, name, prepared.record)
    max_calls = prepared.model.max_calls or context.study.ask.max_calls
    try:
        found = ask_planned(context.dataset, respondent, prepared.run, prepared.asking, max_calls=max_calls, max_cost=prepared.max_cost)
    except RunFailedError as error:
        if isinstance(error.__cause__, OSError):
            raise
        message = error.render("study")
        say(f"{name}: {message}")
        return _stored(prepared, error=message)
    for remark in found.remarks:
        say(f"{name}: {remark}")
    result = ModelResult(**vars(found))
    if result.problem:
        say(result.problem)
    if result.left > result.failed:
        reason = "" if result.stopped is None else f" ({result.stopped})"
        say(f"{name}: stopped, {result.left:,} prompts left{reason}; run the same command again to continue")
    if not result.failed and not result.left:
        write_record(context.folder, name, replace(prepared.record, complete=True))
    return result


def _stored(prepared: PreparedModel, *, skipped: bool = False, error: str | None = None) -> ModelResult:
    """Return the result that the responses on disk give, without asking."""
    meta = read_meta(prepared.run)
    table = RESPONSES.empty() if meta is None else load_run(prepared.run, closed=False).responses
    planned = _planned(table, prepared.asking)
    kept = planned.filter(pl.col("status") != "failed").height
    usage: Mapping[str, int | float | None] = (meta or {}).get("usage") or usage_of(table)
    return ModelResult(
        run_dir=prepared.run,
        asked=0,
        kept=kept,
        counts=counts_by_status(table),
        failures=failure_kinds(planned),
        left=prepared.asking.planned - kept,
        usage=usage,
        skipped=skipped,
        error=error,
    )


def _planned(table: pl.DataFrame, asking: Asking) -> pl.DataFrame:
    """Return the responses of the plan; the run may hold others, of an earlier plan."""
    return table.join(asking.pairs.select("pair_id"), on="pair_id", how="semi").filter(
        pl.col("order").is_in(list(asking.orders))
        & pl.col("paraphrase").is_in(list(asking.paraphrases))
        & (pl.col("sample") < asking.samples)
    )
