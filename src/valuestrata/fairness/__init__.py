"""Fairness audit: who is served worse, beyond noise and difficulty, and what a change of model changed.

- `assemble`: the audit; `options`: its options; `context`, `scores`: what the tables are computed from.
- `estimate/`: statistics on arrays. `adjust/`: gaps with other attributes held and at equal difficulty.
- `tables/`: schemas and rows. `power/`: gaps that an audit could detect, from the survey alone.
- `claims.fairness` turns the tables into claims.
"""

from __future__ import annotations

from valuestrata.fairness.adjust.held_attributes import Sampling
from valuestrata.fairness.assemble import METRICS, MIXED, Audit, audit, audit_runs, check_mixed
from valuestrata.fairness.options import Adjusting, AuditedPart, Resampling
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
    "Adjusting",
    "Audit",
    "AuditedPart",
    "Resampling",
    "Sampling",
    "audit",
    "audit_runs",
    "check_mixed",
]
