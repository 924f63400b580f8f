"""Whether a judge may be used for a criterion: a fixed rule over a few checks, each with its number of answers and interval.

| check | source | fails where |
| --- | --- | --- |
| invalid_share | judge | over .10 of its calls gave no verdict |
| order_consistency | judge | under .70 of pairs have the same verdict in both orders |
| position_bias | judge | the answer shown first wins over .60 or under .40 of decided verdicts (.50 plus or minus .10) |
| tie_share | judge | over .90 of its verdicts are ties: it tells nothing apart |
| longer_preferred | judge | the longer answer wins, and the whole interval lies above .70 |
| same_reading | judge | over .90 of its stances stand at one and the same place of the scale |
| kappa_with_people | people | its interval holds 0 or lies below it: no better than chance |
| kappa_difference | people | judge-people less people-people: the whole interval lies below 0 |
| agreement_difference | people | the same of plain agreement, where people always say the same and have no kappa |

**What decides.** The first four are conditions on the judge as it was used, with thresholds that are conventions and not
hypotheses: the value itself decides, and the interval says how firm it is. A judge must meet them; it is not for the user to
show that it misses them. Where a comparison is made (length, people), noise alone would fail half of all judges by their value,
so that the interval decides.

**Few answers make nobody usable.** Under `ENOUGH` answers, or without an interval where one decides, a check says neither
yes nor no. A judge is *not usable* if one check fails, *too few to tell* if a check that must pass says nothing, and else *usable*;
without people's codings it is *usable without people's word*, which is less.

**Length.** People like longer answers, too, up to a point, and a better model may write more: preference for length is
evidence and no proof. Hence the far threshold, the whole interval, and only pairs whose lengths differ by a tenth or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from valuestrata.frames import Column, Schema
from valuestrata.stats.cluster_bootstrap import Estimate

ENOUGH = 50
MOST_INVALID = 0.10
LEAST_CONSISTENT = 0.70
MOST_BIAS = 0.10
MOST_TIES = 0.90
MOST_LONGER = 0.70
MOST_SAME = 0.90

NOT_USABLE, TOO_FEW, UNPROVEN, USABLE = "not usable", "too few to tell", "usable without people's word", "usable"
# The check whose row says what comes of all others.
VERDICT = "usable"

Side = Literal["judge", "people"]

VALIDITY = Schema(
    "validity",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings of one answer"),
        "by": Column(pl.String, "all, run, stratum, level, subgroup or topic; the rule is applied to `all`"),
        "key": Column(pl.String, "which one of them"),
        "check": Column(pl.String, "invalid_share, order_consistency, ...; `usable` for what comes of them"),
        "value": Column(pl.Float64, "the figure, null where it is not defined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item"),
        "ci_high": Column(pl.Float64, "upper end"),
        "n": Column(pl.Int64, "calls, pairs, verdicts or answers behind it"),
        "threshold": Column(pl.Float64, "what it is held against; null where nothing is"),
        "passed": Column(pl.Boolean, "null: too few to tell, or not held against anything"),
        "source": Column(pl.String, "judge: its verdicts alone; people: its verdicts beside codings"),
    },
)

USABLE_TABLE = Schema(
    "usable",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion, or `stance`"),
        "verdict": Column(pl.String, f"{NOT_USABLE}, {TOO_FEW}, {UNPROVEN} or {USABLE}"),
        "failed": Column(pl.List(pl.String), "checks that failed"),
        "unknown": Column(pl.List(pl.String), "checks that must pass and say nothing yet"),
        "coders": Column(pl.Boolean, "whether people's codings had their say"),
    },
)

_THRESHOLDS = {
    "invalid_share": MOST_INVALID,
    "order_consistency": LEAST_CONSISTENT,
    "position_bias": MOST_BIAS,
    "tie_share": MOST_TIES,
    "longer_preferred": MOST_LONGER,
    "same_reading": MOST_SAME,
    "kappa_with_people": 0.0,
    "kappa_difference": 0.0,
    "agreement_difference": 0.0,
}
# Those that must say yes. Others may be undefined for a good reason (no ties, texts of equal length, one coder).
PEOPLES = ("kappa_with_people", "kappa_difference")
_REQUIRED = ("invalid_share", "order_consistency", "position_bias", "same_reading", *PEOPLES)


def threshold_of(check: str) -> float | None:
    """Return what a check is held against; None for figures that are only told."""
    return _THRESHOLDS.get(check)


def passes(check: str, found: Estimate) -> bool | None:
    """Return whether a check passes; None where there is too little to tell, or nothing to hold it against."""
    if check not in _THRESHOLDS or found.n < ENOUGH or not np.isfinite(found.value):
        return None
    limit = _THRESHOLDS[check]
    if check in ("longer_preferred", "kappa_with_people", "kappa_difference", "agreement_difference"):
        if not (np.isfinite(found.low) and np.isfinite(found.high)):
            return None
        if check == "longer_preferred":
            return found.low <= limit
        return found.low > limit if check == "kappa_with_people" else found.high >= limit
    if check == "order_consistency":
        return found.value >= limit
    return abs(found.value) <= limit


def check_row(judge: str, criterion: str, by: str, key: str, check: str, found: Estimate, source: Side) -> dict[str, object]:
    """Return a row of VALIDITY; a numeric field that is not a number becomes null."""
    return {
        "judge": judge,
        "criterion": criterion,
        "by": by,
        "key": key,
        "check": check,
        "value": _known(found.value),
        "ci_low": _known(found.low),
        "ci_high": _known(found.high),
        "n": found.n,
        "threshold": threshold_of(check),
        "passed": passes(check, found),
        "source": source,
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def usable(checks: pl.DataFrame) -> pl.DataFrame:
    """Apply the rule: one row of `USABLE_TABLE` a judge and criterion, from a frame of VALIDITY."""
    rows: list[dict[str, object]] = []
    whole = checks.filter(pl.col("by") == "all", pl.col("threshold").is_not_null(), pl.col("check") != VERDICT)
    for (judge, criterion), part in whole.group_by("judge", "criterion", maintain_order=True):
        passed = dict(part.select("check", "passed").iter_rows())
        failed = [check for check, ok in passed.items() if ok is False]
        unknown = [check for check in _REQUIRED if check in passed and passed[check] is None]
        coders = all(passed.get(check) is not None for check in PEOPLES)
        rows.append(
            {
                "judge": judge,
                "criterion": criterion,
                "verdict": _verdict(failed, unknown, coders),
                "failed": failed,
                "unknown": unknown,
                "coders": coders,
            }
        )
    return USABLE_TABLE.frame(rows)


def _verdict(failed: Sequence[str], unknown: Sequence[str], coders: bool) -> str:
    if failed:
        return NOT_USABLE
    if not set(unknown) <= set(PEOPLES):
        return TOO_FEW
    return USABLE if coders else UNPROVEN


def with_verdicts(checks: pl.DataFrame) -> pl.DataFrame:
    """Return the checks with a row `usable` for each judge and criterion behind them."""
    passed = {NOT_USABLE: False, TOO_FEW: None, UNPROVEN: True, USABLE: True}
    rows = [
        check_row(row["judge"], row["criterion"], "all", "all", VERDICT, Estimate(np.nan, np.nan, np.nan, 0, 0), "judge")
        | {"passed": passed[row["verdict"]], "source": "people" if row["coders"] else "judge", "n": None}
        for row in usable(checks).iter_rows(named=True)
    ]
    return pl.concat([checks, VALIDITY.frame(rows)])
