"""Judgements of a judge and of coders on one scale from 0 to 1.

A verdict over two answers is 0 (the reference is better), .5 (no difference) or 1 (the run is better). A stance is the position of its
option, index / (K - 1), or null without a stance.

A judge sees two answers in both orders, a coder in one. The judge's verdict of a unit is the side preferred by the mean of both orders,
a tie if they cancel out; `score` is that mean, as in the win rate. Units without a verdict in both orders are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.openended.annotation.files import NO_STANCE, SKIP, TIE
from valuestrata.openended.annotation.sample import STANCE, UNIT
from valuestrata.openended.groupings import groups_of
from valuestrata.openended.pairwise.diagnostics import units_of

IDENTITY = tuple(name for name in UNIT if name != "kind")
# Groupings with fewer answers are left out: their kappa would be mostly noise.
MIN_SHOWN = 20


def preferred_side(score: pl.Expr) -> pl.Expr:
    """Return 1 for a score above .5, 0 below, .5 for a tie."""
    return pl.when(score > 0.5).then(1.0).when(score < 0.5).then(0.0).otherwise(0.5)


def judged_pairs(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the units that a judge decided in both orders: `IDENTITY`, judge, score (mean of both orders), place."""
    units = units_of(verdicts).filter(~pl.col("ruled")).drop_nulls("win")
    score = pl.col("win").alias("score")
    return units.select(*IDENTITY, "judge", score, preferred_side(pl.col("win")).alias("place")).sort(*IDENTITY, "judge")


def judged_stances(stances: pl.DataFrame, codes_of: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """Return the valid readings: `IDENTITY`, judge, place (null without a stance)."""
    valid = stances.filter(pl.col("status").is_in(["answered", "no_stance"]))
    places = {(item, code): index / max(len(codes) - 1, 1) for item, codes in codes_of.items() for index, code in enumerate(codes)}
    found = [None if answer is None else places[item, answer] for item, answer in valid.select("item", "answer").iter_rows()]
    alone = [pl.lit(STANCE).alias("criterion"), "run", pl.lit(None, pl.String).alias("reference")]
    return valid.select(*alone, "pair_id", "item", "subgroup", "sample", "judge", pl.Series("place", found, pl.Float64))


def coded_places(key: pl.DataFrame, codings: Mapping[str, Mapping[str, tuple[str, str]]]) -> pl.DataFrame:
    """Return the codings without skipped tasks: `UNIT`, coder, place (null without a stance).

    Args:
        key: a frame of KEYS. codings: coder -> code_id -> (verdict, note).
    """
    tasks = {row["code_id"]: row for row in key.iter_rows(named=True)}
    found: list[dict[str, Any]] = []
    for coder, verdicts in codings.items():
        for code_id, (verdict, _) in verdicts.items():
            if verdict != SKIP:
                task = tasks[code_id]
                found.append({name: task[name] for name in UNIT} | {"coder": coder, "place": _coded_place(verdict, task)})
    types = {name: key.schema[name] for name in UNIT}
    return pl.DataFrame(found, schema={**types, "coder": pl.String, "place": pl.Float64}, orient="row")


def _coded_place(verdict: str, task: Mapping[str, object]) -> float | None:
    """Return a coder's verdict as a place; the key says whose answer was answer 1."""
    if task["kind"] == "pairwise":
        if verdict == TIE:
            return 0.5
        return 1.0 if (verdict == "1") == (task["first"] == "run") else 0.0
    if verdict == NO_STANCE:
        return None
    codes = task["codes"]
    assert isinstance(codes, list)
    return (int(verdict) - 1) / max(len(codes) - 1, 1)


def grouped(dataset: Dataset, frame: pl.DataFrame, minimum: int = MIN_SHOWN) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield (by, key, mask) over a frame with item, subgroup, run and reference: all, then by run, stratum, level, subgroup and topic.

    Keys other than `all` with fewer rows than `minimum`, and those with all rows, are left out.
    """
    yield "all", "all", np.ones(len(frame), dtype=np.bool_)
    both = pl.format("{} against {}", "run", "reference")
    contests = frame.select(pl.when(pl.col("reference").is_null()).then("run").otherwise(both).alias("contest"))["contest"]
    runs = [("run", str(key), (contests == key).to_numpy()) for key in contests.unique().sort()]
    for by, key, mask in (*runs, *groups_of(dataset, frame, ("stratum", "level", "subgroup", "topic"))):
        if minimum <= mask.sum() < len(mask):
            yield by, key, mask
