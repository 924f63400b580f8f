"""Steps that pairwise judging and reading stances share: checks of the judge, run metadata, asking and writing the table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError, ValuestrataError
from valuestrata.files import write_parquet
from valuestrata.openended.open_runs import Contestant, check_judge
from valuestrata.prompts.prompt import Elicitation
from valuestrata.respondents.base import Respondent, SupportsElicitationCheck, SupportsVersions
from valuestrata.responses.ask.loop import AskJob, AskResult, ask_prompts
from valuestrata.responses.run.folder import STORE, new_meta
from valuestrata.responses.run.store import spent_in
from valuestrata.responses.run.unsettled import UnsettledCalls


def check_judging(judge: Respondent, elicitation: Elicitation, truncate: int | None) -> None:
    """Raise UsageError for a judge that is no language model or does not support the elicitation, or a length below 1."""
    check_judge(judge)
    if truncate is not None and truncate < 1:
        raise UsageError(f"truncate is {truncate}; it must be at least 1.")
    if isinstance(judge, SupportsElicitationCheck):
        judge.check(elicitation)


def judge_meta(
    dataset: Dataset,
    judge: Respondent,
    contestants: Sequence[Contestant],
    kind: str,
    *,
    judged: Mapping[str, Any],
    template: str,
    version: str,
    elicitation: str,
    plan: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the metadata of a judge's run, without its name.

    Args:
        contestants: the judged runs, the reference included. kind: kind of the folder. judged: hashes of what is judged.
        template, version, elicitation, plan: as `run.json` records them.
    """
    meta = new_meta(
        dataset,
        "",
        kind,
        respondent={"name": judge.name, **judge.identity()},
        template=template,
        template_version=version,
        elicitation=elicitation,
        judged=dict(judged),
        contestants={one.name: one.document for one in contestants},
        plan=dict(plan),
    )
    if isinstance(judge, SupportsVersions):
        meta["versions"] |= judge.versions()
    return meta


def left_of(limit: float, run: Path, runs: Iterable[Path]) -> float:
    """Return the cost limit of one run, in US dollars, under which several runs together stay within a limit.

    Args:
        limit: of all runs together, what they cost in earlier calls and may have cost in killed processes included.
        run: folder of the run to ask.
        runs: folders of all runs; those that do not exist cost nothing.
    """
    stores = [other / STORE for other in {one.resolve() for one in runs} - {run.resolve()}]
    return max(0.0, limit - sum(spent_in(store) + UnsettledCalls(store).lost for store in stores))


def ask_judge(
    judge: Respondent,
    folder: Path,
    meta: dict[str, Any],
    work: AskJob,
    table: Path,
    rows: Callable[[], pl.DataFrame],
    *,
    max_calls: int | None,
    max_cost: float | None,
) -> AskResult:
    """Ask a judge and write the table made from its answers, also after an interruption.

    Args:
        judge, folder, meta, work, max_calls, max_cost: as for `ask_prompts`. table: Parquet file. rows: returns its content.
    """
    try:
        result = ask_prompts(judge, folder, meta, work, max_calls=max_calls, max_cost=max_cost)
    except (KeyboardInterrupt, RunFailedError):
        # Report the first error. The store is complete, and the table is made from it whenever it is read.
        with contextlib.suppress(OSError, ValuestrataError):
            write_parquet(table, rows())
        raise
    write_parquet(table, rows())
    return result
