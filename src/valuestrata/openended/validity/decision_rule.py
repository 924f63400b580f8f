"""The decision rule: whether a judge may be used for a criterion, from checks with fixed thresholds.

| check | source | fails if |
| --- | --- | --- |
| invalid_share | judge | more than .10 of its calls gave no verdict |
| order_consistency | judge | less than .70 of pairs have the same verdict in both orders |
| position_bias | judge | the answer shown first wins more than .60 or less than .40 of decided verdicts |
| tie_share | judge | more than .90 of its verdicts are ties |
| longer_preferred | judge | the longer answer wins and the whole interval is above .70 |
| same_reading | judge | more than .90 of its stances are at one position of the scale |
| kappa_with_people | people | the interval contains 0 or is below it |
| kappa_difference | people | judge-people minus people-people: the whole interval is below 0 |
| agreement_difference | people | the same for plain agreement, if people always agree and have no kappa |

Conditions on the judge itself (the first four and `same_reading`) are decided by the estimate: their thresholds are conventions, and a
wide interval must not excuse a judge. Comparisons (length, people) are decided by the interval: by the estimate alone, half of all good
judges would fail.

With fewer than `MIN_ANSWERS` answers, or without an interval where one decides, a check is undetermined. A judge is *not usable* if any
check fails, has *too few data* if a required check of its own verdicts is undetermined, and is *usable* otherwise. Without people's
codings it is *usable, not validated*.

People also prefer longer answers up to a point, so preference for length has a high threshold, is decided by the whole interval, and uses
only pairs whose lengths differ by a tenth or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from valuestrata.frames import Column, Schema
from valuestrata.stats.cluster_bootstrap import ClusterEstimate

MIN_ANSWERS = 50
MAX_INVALID = 0.10
MIN_CONSISTENCY = 0.70
MAX_POSITION_BIAS = 0.10
MAX_TIES = 0.90
MAX_LONGER = 0.70
MAX_SAME_READING = 0.90

NOT_USABLE, TOO_FEW, NOT_VALIDATED, USABLE = "not usable", "too few data", "usable, not validated", "usable"
# Verdicts that forbid using the judge.
UNFIT = (NOT_USABLE, TOO_FEW)
# The check whose row is the verdict from all others.
VERDICT = "usable"

Source = Literal["judge", "people"]

VALIDITY = Schema(
    "validity",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion of verdicts; `stance` for readings"),
        "by": Column(pl.String, "all, run, stratum, level, subgroup or topic; the rule uses `all`"),
        "key": Column(pl.String, "value of the grouping"),
        "check": Column(pl.String, "invalid_share, order_consistency, ...; `usable` for the verdict"),
        "value": Column(pl.Float64, "the estimate, null if undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item"),
        "ci_high": Column(pl.Float64, "upper end"),
        "n": Column(pl.Int64, "number of calls, pairs, verdicts or answers"),
        "threshold": Column(pl.Float64, "threshold of the check, null without one"),
        "passed": Column(pl.Boolean, "null: undetermined, or no threshold"),
        "source": Column(pl.String, "judge: its own verdicts; people: comparison with codings"),
    },
)

USABLE_TABLE = Schema(
    "usable",
    {
        "judge": Column(pl.String, "the judge"),
        "criterion": Column(pl.String, "criterion, or `stance`"),
        "verdict": Column(pl.String, f"{NOT_USABLE!r}, {TOO_FEW!r}, {NOT_VALIDATED!r} or {USABLE!r}"),
        "failed": Column(pl.List(pl.String), "checks that failed"),
        "unknown": Column(pl.List(pl.String), "required checks that are undetermined"),
        "coders": Column(pl.Boolean, "whether people's codings decided as well"),
    },
)

THRESHOLDS = {
    "invalid_share": MAX_INVALID,
    "order_consistency": MIN_CONSISTENCY,
    "position_bias": MAX_POSITION_BIAS,
    "tie_share": MAX_TIES,
    "longer_preferred": MAX_LONGER,
    "same_reading": MAX_SAME_READING,
    "kappa_with_people": 0.0,
    "kappa_difference": 0.0,
    "agreement_difference": 0.0,
}
# Required checks must pass. Others can be undefined for a good reason (no ties, texts of equal length, one coder).
PEOPLE_CHECKS = ("kappa_with_people", "kappa_difference")
_REQUIRED = ("invalid_share", "order_consistency", "position_bias", "same_reading", *PEOPLE_CHECKS)
_BY_INTERVAL = ("longer_preferred", *PEOPLE_CHECKS, "agreement_difference")


def passes(check: str, found: ClusterEstimate) -> bool | None:
    """Return whether a check passes, None if it is undetermined or has no threshold."""
    if check not in THRESHOLDS or found.n < MIN_ANSWERS or not np.isfinite(found.value):
        return None
    limit = THRESHOLDS[check]
    if check in _BY_INTERVAL:
        if not (np.isfinite(found.low) and np.isfinite(found.high)):
            return None
        if check == "longer_preferred":
            return found.low <= limit
        return found.low > limit if check == "kappa_with_people" else found.high >= limit
    if check == "order_consistency":
        return found.value >= limit
    return abs(found.value) <= limit


def check_row(judge: str, criterion: str, by: str, key: str, check: str, found: ClusterEstimate, source: Source) -> dict[str, object]:
    """Return a row of VALIDITY."""
    where = {"judge": judge, "criterion": criterion, "by": by, "key": key, "check": check}
    rule = {"threshold": THRESHOLDS.get(check), "passed": passes(check, found), "source": source}
    return {**where, **found.columns(), "n": found.n, **rule}


def usable(checks: pl.DataFrame) -> pl.DataFrame:
    """Apply the rule to a frame of VALIDITY: one row of USABLE_TABLE for each judge and criterion."""
    rows: list[dict[str, object]] = []
    whole = checks.filter(pl.col("by") == "all", pl.col("threshold").is_not_null(), pl.col("check") != VERDICT)
    for (judge, criterion), part in whole.group_by("judge", "criterion", maintain_order=True):
        passed = dict(part.select("check", "passed").iter_rows())
        failed = [check for check, ok in passed.items() if ok is False]
        unknown = [check for check in _REQUIRED if check in passed and passed[check] is None]
        coders = all(passed.get(check) is not None for check in PEOPLE_CHECKS)
        verdict = _verdict(failed, unknown, coders)
        rows.append({"judge": judge, "criterion": criterion, "verdict": verdict, "failed": failed, "unknown": unknown, "coders": coders})
    return USABLE_TABLE.frame(rows)


def _verdict(failed: Sequence[str], unknown: Sequence[str], coders: bool) -> str:
    if failed:
        return NOT_USABLE
    if not set(unknown) <= set(PEOPLE_CHECKS):
        return TOO_FEW
    return USABLE if coders else NOT_VALIDATED


def with_verdicts(checks: pl.DataFrame) -> pl.DataFrame:
    """Return the checks followed by a row `usable` for each judge and criterion."""
    passed = {NOT_USABLE: False, TOO_FEW: None, NOT_VALIDATED: True, USABLE: True}
    rows: list[dict[str, object]] = [
        {
            "judge": row["judge"],
            "criterion": row["criterion"],
            "by": "all",
            "key": "all",
            "check": VERDICT,
            "passed": passed[row["verdict"]],
            "source": "people" if row["coders"] else "judge",
        }
        for row in usable(checks).iter_rows(named=True)
    ]
    return pl.concat([checks, VALIDITY.frame(rows)])
