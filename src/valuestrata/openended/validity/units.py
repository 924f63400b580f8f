"""What judges and people said of the same answers, as places on one scale from 0 to 1.

A verdict over two answers is 0 (the reference is better), .5 (no difference) or 1 (the run is better); a stance is the place
of its option, index / (K - 1), or null where none is taken. Rows with nothing said are not there.

A judge sees two answers in both orders and a person in one. The judge's verdict of such a *unit* is the side that the mean of
its two orders leans to, and a tie where they cancel out; its `score` is that mean, as in the win rate. A unit without a valid
verdict in both orders is not there.
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
from valuestrata.openended.schema import WINS
from valuestrata.openended.score_keys import keys_of_rows

IDENTITY = tuple(name for name in UNIT if name != "kind")
# Under so many answers a stratum, level or subgroup is not shown: its kappa would be an accident.
ENOUGH_SHOWN = 20


def judged_pairs(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return units with a valid verdict in both orders: `IDENTITY`, judge, score (mean of the orders), place."""
    valid = verdicts.filter(pl.col("status") == "answered", pl.col("verdict").is_not_null())
    scored = valid.with_columns(pl.col("verdict").replace_strict(WINS, return_dtype=pl.Float64).alias("_win"))
    units = scored.group_by(*IDENTITY, "judge").agg(pl.col("_win").mean().alias("score"), pl.col("order").n_unique().alias("_orders"))
    place = pl.when(pl.col("score") > 0.5).then(1.0).when(pl.col("score") < 0.5).then(0.0).otherwise(0.5).alias("place")
    return units.filter(pl.col("_orders") == 2).select(*IDENTITY, "judge", "score", place).sort(*IDENTITY, "judge")


def judged_stances(stances: pl.DataFrame, codes_of: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """Return readings of one answer: `IDENTITY`, judge, place (null where no stance is taken)."""
    valid = stances.filter(pl.col("status").is_in(["answered", "no_stance"]))
    places = {(item, code): place for item, codes in codes_of.items() for code, place in _places(codes).items()}
    found = [places[item, answer] if answer is not None else None for item, answer in valid.select("item", "answer").iter_rows()]
    alone = [pl.lit(STANCE).alias("criterion"), "run", pl.lit(None, pl.String).alias("reference")]
    return valid.select(*alone, "pair_id", "item", "subgroup", "sample", "judge", pl.Series("place", found, pl.Float64))


def coded_places(key: pl.DataFrame, codings: Mapping[str, Mapping[str, tuple[str, str]]]) -> pl.DataFrame:
    """Return what people said: `IDENTITY`, kind, coder, place (null where no stance is taken); skipped tasks are not there.

    Args:
        key: a frame of `coding_files.KEYS`. codings: coder -> code_id -> (verdict, note).
    """
    rows = {row["code_id"]: row for row in key.iter_rows(named=True)}
    found: list[dict[str, Any]] = []
    for coder, said in codings.items():
        for code_id, (verdict, _) in said.items():
            if verdict != SKIP:
                row = rows[code_id]
                found.append({name: row[name] for name in UNIT} | {"coder": coder, "place": _coded(verdict, row)})
    types = {name: key.schema[name] for name in UNIT}
    return pl.DataFrame(found, schema={**types, "coder": pl.String, "place": pl.Float64}, orient="row")


def _coded(verdict: str, row: Mapping[str, object]) -> float | None:
    """Return a coder's word as a place: `1` is the run's answer or the reference's, as the key says."""
    if row["kind"] == "pairwise":
        if verdict == TIE:
            return 0.5
        return 1.0 if (verdict == "1") == (row["first"] == "run") else 0.0
    if verdict == NO_STANCE:
        return None
    codes = row["codes"]
    assert isinstance(codes, list)
    return (int(verdict) - 1) / max(len(codes) - 1, 1)


def _places(codes: Sequence[int]) -> dict[int, float]:
    return {code: place / max(len(codes) - 1, 1) for place, code in enumerate(codes)}


def keyed(frame: pl.DataFrame, dataset: Dataset, least: int = ENOUGH_SHOWN) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield (by, key, rows) of a frame with the columns item, subgroup, run, reference: all, then by run, stratum, level, ...

    Keys other than `all` with fewer rows than `least`, and those that hold every row, are left out.
    """
    yield "all", "all", np.ones(len(frame), dtype=np.bool_)
    contests = contest(frame)
    runs = [("run", str(key), (contests == key).to_numpy()) for key in contests.unique().sort()]
    for by, key, mask in (*runs, *keys_of_rows(dataset, frame, ("stratum", "level", "subgroup", "topic"))):
        if least <= mask.sum() < len(mask):
            yield by, key, mask


def contest(frame: pl.DataFrame) -> pl.Series:
    """Return what a row is about: `tuned against base`, or the run alone where there is no reference."""
    both = pl.format("{} against {}", "run", "reference")
    return frame.select(pl.when(pl.col("reference").is_null()).then("run").otherwise(both).alias("contest"))["contest"]
