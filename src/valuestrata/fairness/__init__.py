"""Who is served worse, how much of that is noise or difficulty, and what a change of model did to it.

- `disparity`, `nulls`, `contrasts`, `groups`, `gaps`, `excess`, `changes`, `errs`: statistics on arrays.
- `difficulty`, `mixed`, `adjusting`, `bayes`: gaps with other attributes held and at equal difficulty.
- `power`, `expected`: what an audit could see, from the gold alone.
- `setting`, `alike`, `*_rows`, `assemble`: data set and runs -> the tables of `schema`.
- `verdicts`, `*sentences`: the tables -> what may be said, by fixed rules.
"""

from __future__ import annotations

from valuestrata.fairness.adjust.held_attributes import Sampling
from valuestrata.fairness.assemble import METRICS, MIXED, Audit, audit, check_mixed
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES

__all__ = [
    "CHANGES",
    "DISPARITY",
    "ERRS",
    "EXCESS",
    "GAPS",
    "GROUPS",
    "MEASURES",
    "METRICS",
    "MIXED",
    "Audit",
    "Sampling",
    "audit",
    "check_mixed",
]
