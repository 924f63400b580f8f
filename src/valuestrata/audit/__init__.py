"""Who is served worse, how much of that is noise or difficulty, and what a change of model did to it.

- `disparity`, `nulls`, `contrasts`, `groups`, `gaps`, `excess`, `changes`, `errs`: statistics on arrays.
- `difficulty`, `mixed`: gaps at equal difficulty. `power`: what an audit could see, from the gold alone.
- `setting`, `*_rows`, `assemble`: data set and runs -> the tables of `schema`.
- `verdicts`, `*sentences`: the tables -> what may be said, by fixed rules.

The room and its function share a name: `vs.audit(...)` calls the function whether or not this module was imported before.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from valuestrata.audit.assemble import METRICS, Audit, audit
from valuestrata.audit.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES
from valuestrata.audit.verdicts import AUDIT_VERDICTS, audit_verdicts, metrics_worth_auditing

__all__ = [
    "AUDIT_VERDICTS",
    "CHANGES",
    "DISPARITY",
    "ERRS",
    "EXCESS",
    "GAPS",
    "GROUPS",
    "MEASURES",
    "METRICS",
    "Audit",
    "audit",
    "audit_verdicts",
    "metrics_worth_auditing",
]


class _Room(ModuleType):
    """Importing a submodule binds its name on the package, so that `valuestrata.audit` is this module and never the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Audit:
        return audit(*arguments, **options)


sys.modules[__name__].__class__ = _Room
