"""Rules for claims about variance components (docs/variance.md lists them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.claims.table import to_frame
from valuestrata.claims.templates_variance import VARIANCE_KINDS
from valuestrata.errors import InputDataError
from valuestrata.scores.variance.table import GOLD, NOTHING_DRAWN, PERSON, REPEAT, REPETITION, TOTAL, VARIANCE
from valuestrata.stats.variance_components import COMBINATION, COMPONENTS

# One component changes the answers about as much as another if the interval of their ratio is within these bounds.
AS_MUCH = (0.5, 2.0)
# Weight of a kind for `importance`.
WEIGHTS: Mapping[str, float] = {
    "most": 95,
    "largest": 90,
    "persona-moves": 88,
    "persona-unseen": 88,
    "people": 86,
    "modes": 84,
    "persona": 80,
    "not-told": 50,
}


def variance_claims(table: pl.DataFrame, confidence: float = 0.95) -> list[Claim]:
    """Return the claims that a table's rows over all items support, for each run and elicitation.

    Args:
        table: VARIANCE rows. confidence: of their intervals.

    Raises:
        InputDataError: a table that lacks columns, or rows of components that others are compared with.
    """
    rows = VARIANCE.check(table, "variance").filter(pl.col("by") == "all")
    found: list[Claim] = []
    for (run, elicitation), part in rows.group_by("run", "elicitation", maintain_order=True):
        plain = part.filter(pl.col("against").is_null())["component"].to_list()
        for name in part.filter(pl.col("against").is_not_null()).select(pl.concat_list("component", "against").explode()).to_series():
            if name not in plain:
                raise InputDataError(
                    f"variance: {run}, {elicitation}: the row of {name!r} over all items is missing; give the whole table."
                )
        found += [replace(claim, run=str(run), elicitation=str(elicitation), confidence=confidence) for claim in _claims(part.to_dicts())]
    return found


def variance_lines(table: pl.DataFrame, confidence: float = 0.95) -> pl.DataFrame:
    """Return `variance_claims` as a table: CLAIMS, with the sentence in `line` and the component in `component`."""
    return to_frame(variance_claims(table, confidence)).rename({"verdict": "line", "key": "component"})


def _claims(rows: Sequence[Mapping[str, Any]]) -> Iterator[Claim]:
    plain = {row["component"]: row for row in rows if row["against"] is None}
    known = [row for name, row in plain.items() if name not in (TOTAL, *GOLD) and row["variance"] is not None]
    largest = max(known, key=lambda row: row["share"] or 0.0, default=None)
    # A share of 1 is that of an only component.
    if largest is not None and largest["share"] is not None and largest["share"] < 1:
        most = largest["share_low"] is not None and largest["share_low"] > 0.5
        yield _claim("most" if most else "largest", largest, figures=(_share(largest, "share"),))
    for row in known:
        members = row["component"].split(" + ")
        if "persona" in members and not set(members) & set(REPETITION) and row["ci_low"] is not None:
            moves = row["ci_low"] > 0
            yield _claim("persona-moves" if moves else "persona-unseen", row, Strength.SHOWN if moves else Strength.NOT_SHOWN)
    for row in (row for row in rows if row["against"] is not None):
        other = {GOLD[0]: "people", GOLD[1]: "modes"}.get(row["against"], "persona")
        outcome = comparison(row)
        figures = (_variance(plain[row["component"]], "first"), _variance(plain[row["against"]], "second"))
        # A negative ratio means only that a variance is estimated below 0.
        if row["share"] is not None and row["share"] >= 0:
            figures += (_share(row, "ratio"),)
        strength = Strength.UNDETERMINED if outcome == "cannot-tell" else Strength.SHOWN
        yield _claim(VARIANCE_KINDS[outcome].format(other), row, strength, weight=other, direction=outcome, figures=figures)
    for name in (*COMPONENTS, REPEAT, PERSON):
        if name in plain and plain[name]["variance"] is None and name != COMBINATION and plain[name]["note"] != NOTHING_DRAWN:
            yield _claim("not-told", plain[name], Strength.UNDETERMINED, notes=(plain[name]["note"],))


def comparison(row: Mapping[str, Any]) -> str:
    """Return `more`, `less`, `as-much` or `cannot-tell`, from the intervals of a difference and of a ratio."""
    if row["ci_low"] is not None and row["ci_low"] > 0:
        return "more"
    if row["ci_high"] is not None and row["ci_high"] < 0:
        return "less"
    low, high = row["share_low"], row["share_high"]
    return "as-much" if low is not None and high is not None and low >= AS_MUCH[0] and high <= AS_MUCH[1] else "cannot-tell"


def _claim(kind: str, row: Mapping[str, Any], strength: Strength = Strength.SHOWN, *, weight: str | None = None, **fields: Any) -> Claim:
    return Claim(
        family="variance",
        kind=kind,
        run=row["run"],
        by="component",
        key=row["component"],
        against=row["against"],
        estimate=_variance(row, "estimate"),
        strength=strength,
        importance=importance(WEIGHTS[weight or kind], strength),
        **fields,
    )


def _variance(row: Mapping[str, Any], role: str) -> Figure:
    return Figure(role=role, value=row["variance"], low=row["ci_low"], high=row["ci_high"], items=row["items"])


def _share(row: Mapping[str, Any], role: str) -> Figure:
    return Figure(role=role, value=row["share"], low=row["share_low"], high=row["share_high"])
