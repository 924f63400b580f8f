"""Folders of verdicts and of stances on disk.

A folder of verdicts is a run whose respondent is the judge: `run.json`, the store, `responses.parquet`, and `verdicts.parquet` made from
them. A folder of stances holds one such run per judge under `judges/`, and `stances.parquet` made from them. Tables are made from the
stores when a folder is loaded, so an interrupted judge has lost nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from valuestrata.errors import InputDataError
from valuestrata.files import read_parquet
from valuestrata.openended.pairwise.prompts import FIRST, SECOND, TIE
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.responses.run.folder import RUN, STORE, JudgedRuns, Run, load_run, read_meta
from valuestrata.yaml_files import Record, checked

JUDGED = "judged"
READ = "read"
JUDGES = "judges"
# Code of "no stance" in a judge's run; no survey uses it.
NO_STANCE = -999_999
_RESTORE = "Restore the file from a copy, or judge again in another folder."
_CALL = ("error", "attempts", "finish_reason", "prompt_hash", "text", "prompt_tokens", "completion_tokens", "cost", "latency")


class JudgeName(Record):
    """The judge of a folder."""

    name: str


class JudgedPairs(Record):
    """What a judge of two answers judged."""

    runs: dict[str, str] = Field(min_length=1)
    reference: dict[str, str] = Field(min_length=1)
    criteria: dict[str, str]
    truncate: int | None = None


class JudgedFile(Record):
    """The keys of the `run.json` of verdicts."""

    respondent: JudgeName
    judged: JudgedPairs


class ReadFile(Record):
    """The keys of the `run.json` of stances."""

    judged: JudgedRuns


@dataclass(frozen=True)
class Judgements:
    """A folder of verdicts.

    Attributes:
        path: the folder. meta: its `run.json`. verdicts: a frame of VERDICTS.
    """

    path: Path
    meta: Mapping[str, Any]
    verdicts: pl.DataFrame


@dataclass(frozen=True)
class Stances:
    """A folder of stances.

    Attributes:
        path: the folder. meta: its `run.json`. stances: a frame of STANCES.
    """

    path: Path
    meta: Mapping[str, Any]
    stances: pl.DataFrame


def load_judgements(path: str | Path) -> Judgements:
    """Read a folder of verdicts, complete or not.

    Args:
        path: a folder that `open_judge` wrote.

    Raises:
        InputDataError: there is no such folder, or it holds something else; names the command that makes one.
    """
    folder = Path(path)
    meta = _meta(folder, JUDGED, "verdicts", f"valuestrata open judge DATASET RUN... --against REFERENCE --judge MODEL -o {folder}")
    if (folder / STORE).is_dir():
        return Judgements(folder, meta, verdicts_of(load_run(folder, closed=False)))
    file = folder / VERDICTS.name
    return Judgements(folder, meta, VERDICTS.check(read_parquet(file), str(file)))


def load_stances(path: str | Path) -> Stances:
    """Read a folder of stances, complete or not.

    Args:
        path: a folder that `open_stance` wrote.

    Raises:
        InputDataError: there is no such folder, or it holds something else; names the command that makes one.
    """
    folder = Path(path)
    meta = _meta(folder, READ, "stances", f"valuestrata open stance DATASET RUN... --judge MODEL -o {folder}")
    if (folder / JUDGES).is_dir():
        return Stances(folder, meta, stances_in(folder))
    file = folder / STANCES.name
    return Stances(folder, meta, STANCES.check(read_parquet(file), str(file)))


def verdicts_of(run: Run) -> pl.DataFrame:
    """Return the responses of a judge's run as verdicts (VERDICTS)."""
    reference = next(iter(run.meta["judged"]["reference"]))
    first = pl.when(pl.col("order") == "run-first").then(pl.lit("run")).otherwise(pl.lit("reference"))
    second = pl.when(pl.col("order") == "run-first").then(pl.lit("reference")).otherwise(pl.lit("run"))
    decided = pl.col("status") == "answered"
    verdict = pl.when(pl.col("answer") == TIE).then(pl.lit("tie")).when(pl.col("answer") == FIRST).then(first)
    status = pl.when(decided & (pl.col("attempts") == 0)).then(pl.lit("by_rule")).when(pl.col("status") == "invalid_code")
    made = run.responses.select(
        "pair_id",
        "item",
        "subgroup",
        "sample",
        _contestant(run).alias("run"),
        pl.lit(reference).alias("reference"),
        pl.lit(run.meta["respondent"]["name"]).alias("judge"),
        "order",
        pl.col("template").alias("criterion"),
        pl.when(decided).then(verdict.when(pl.col("answer") == SECOND).then(second)).alias("verdict"),
        pl.col("reasoning").alias("rationale"),
        status.then(pl.lit("unparsed")).otherwise(pl.col("status")).alias("status"),
        *_CALL,
    )
    return VERDICTS.check(made, str(run.path))


def stances_of(run: Run) -> pl.DataFrame:
    """Return the responses of a judge's run as stances (STANCES)."""
    none = (pl.col("status") == "answered") & (pl.col("answer") == NO_STANCE)
    status = pl.when(none).then(pl.lit("no_stance")).when(pl.col("status") == "invalid_code").then(pl.lit("unparsed"))
    # The last probability is that of no stance.
    on_scale = pl.col("option_probs").list.head(pl.col("option_probs").list.len() - 1)
    made = run.responses.with_columns(on_scale.alias("_probs")).select(
        "pair_id",
        "item",
        "subgroup",
        "sample",
        _contestant(run).alias("run"),
        pl.lit(run.meta["respondent"]["name"]).alias("judge"),
        pl.when(~none).then("answer").alias("answer"),
        status.otherwise(pl.col("status")).alias("status"),
        pl.col("reasoning").alias("rationale"),
        pl.when(pl.col("_probs").list.sum() > 0).then(pl.col("_probs").list.eval(pl.element() / pl.element().sum())).alias("option_probs"),
        *_CALL,
    )
    return STANCES.check(made, str(run.path))


def stances_in(folder: Path) -> pl.DataFrame:
    """Return the stances of all judges of a folder, in the order in which they started."""
    runs = [load_run(entry, closed=False) for entry in sorted((folder / JUDGES).iterdir()) if (entry / RUN).is_file()]
    return pl.concat([STANCES.empty(), *(stances_of(run) for run in sorted(runs, key=lambda run: run.meta.get("started") or ""))])


def judges_of(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the judges' runs of a folder of stances with their metadata."""
    within = folder / JUDGES
    found = [(entry, read_meta(entry)) for entry in sorted(within.iterdir())] if within.is_dir() else []
    return [(entry, meta) for entry, meta in found if meta is not None]


def named(meta: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the `run.json` of a folder as it will be read back: metadata with the name of the folder."""
    return json.loads(json.dumps({**meta, "name": folder.resolve().name}, ensure_ascii=False))


def _contestant(run: Run) -> pl.Expr:
    """Return the name of the run that a row is about; rows store its index among the sorted names."""
    names = sorted(run.meta["judged"]["runs"])
    return pl.col("paraphrase").replace_strict(dict(enumerate(names)), return_dtype=pl.String)


def _meta(folder: Path, kind: str, content: str, command: str) -> dict[str, Any]:
    meta = read_meta(folder) if (folder / RUN).is_file() else None
    if meta is None:
        raise InputDataError(f"{folder}: holds no {content} ({RUN} is missing). Make them with: {command}")
    if meta.get("kind") == kind:
        checked(JudgedFile if kind == JUDGED else ReadFile, meta, str(folder / RUN), _RESTORE)
    else:
        raise InputDataError(f"{folder}: holds no {content} (its {RUN} has kind {meta.get('kind')!r}). Make them with: {command}")
    return meta
