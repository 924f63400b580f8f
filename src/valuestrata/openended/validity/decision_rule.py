"""The decision rule: whether a judge may be used for a criterion, from checks with fixed thresholds.

| check | source | passes if the whole interval is | fails if |
| --- | --- | --- | --- |
| invalid_share | judge | at most .10: calls without a verdict | the estimate is above |
| order_consistency | judge | at least .70: pairs with the same verdict in both orders | the estimate is below |
| position_bias | judge | within .10 of 0: decided verdicts for the answer shown first, minus .5 | the estimate is outside |
| tie_share | judge | at most .90: ties among its verdicts | the estimate is above |
| same_reading | judge | at most .90: its stances at one position of the scale | the estimate is above |
| longer_preferred | judge | at most .70: decided pairs won by the longer answer | the whole interval is above |
| kappa_with_people | people | above 0 | it contains 0 or is below |
| kappa_difference | people | above -.10: kappa judge-people minus people-people | it reaches below -.10, and is below 0 |
| agreement_difference | people | above -.05: the same for plain agreement, if people always agree | it reaches below -.05, and is below 0 |

A judge is *usable* only if every check is shown to pass, so a wide interval never makes a judge usable. The comparison with people is a
non-inferiority test: the lower end of the 95 % interval must be above minus the margin (one-sided level 2.5 %; Piaggio et al. 2012, JAMA
308:2594-2604). A judge that is only *not shown* to be worse than people has not passed it.

With fewer than `MIN_ANSWERS` answers, without an interval, or with an interval that neither passes nor fails, a check is undetermined. A
judge is *not usable* if any check fails, has *too few data* if a check of its own verdicts is undetermined, and is *usable, not validated*
if its own verdicts pass but a comparison with people is missing or undetermined. Checks that are undefined for a good reason (no decided
pairs with texts of different length) do not count.

People also prefer longer answers up to a point, so preference for length has a high threshold and uses only pairs whose lengths differ by
a tenth or more.
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
# How much worse than people a judge may be: published kappas among people are .3 to .6 for such criteria.
KAPPA_MARGIN = 0.10
AGREEMENT_MARGIN = 0.05

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
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by block of items"),
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
    "kappa_difference": -KAPPA_MARGIN,
    "agreement_difference": -AGREEMENT_MARGIN,
}
PEOPLE_CHECKS = ("kappa_with_people", "kappa_difference")
_ALL_PEOPLE_CHECKS = (*PEOPLE_CHECKS, "agreement_difference")
# Required checks must pass. Others can be undefined for a good reason (no ties, texts of equal length, one coder).
_REQUIRED = ("invalid_share", "order_consistency", "position_bias", "same_reading", *PEOPLE_CHECKS)


def passes(check: str, found: ClusterEstimate) -> bool | None:
    """Return whether a check passes, None if it is undetermined or has no threshold."""
    if check not in THRESHOLDS or found.n < MIN_ANSWERS or not np.isfinite(found.value):
        return None
    limit, known = THRESHOLDS[check], bool(np.isfinite(found.low) and np.isfinite(found.high))
    low, high = (found.low, found.high) if known else (-np.inf, np.inf)
    if check == "kappa_with_people":
        return low > limit if known else None
    if check in _ALL_PEOPLE_CHECKS:
        passed, failed = low > limit, high < 0
    elif check == "longer_preferred":
        passed, failed = high <= limit, low > limit
    elif check == "order_consistency":
        passed, failed = low >= limit, found.value < limit
    else:
        passed, failed = max(abs(low), abs(high)) <= limit, abs(found.value) > limit
    return True if passed else False if failed else None


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
        pending = part.filter(pl.col("passed").is_null())
        # An optional check is undetermined if it has enough answers and an estimate; without them it is undefined.
        wide = pending.filter(pl.col("value").is_not_null(), pl.col("n") >= MIN_ANSWERS)["check"].to_list()
        unknown = [check for check in pending["check"] if check in _REQUIRED or check in wide]
        coders = all(passed.get(check) is not None for check in PEOPLE_CHECKS)
        verdict = _verdict(failed, unknown, coders)
        rows.append({"judge": judge, "criterion": criterion, "verdict": verdict, "failed": failed, "unknown": unknown, "coders": coders})
    return USABLE_TABLE.frame(rows)


def _verdict(failed: Sequence[str], unknown: Sequence[str], coders: bool) -> str:
    if failed:
        return NOT_USABLE
    if not set(unknown) <= set(_ALL_PEOPLE_CHECKS):
        return TOO_FEW
    return USABLE if coders and not unknown else NOT_VALIDATED


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
