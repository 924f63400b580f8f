"""The report: one page and its tables, from a data set, runs and their scores; an audit with a page and tables of its own."""

import sys
from types import ModuleType
from typing import Any

from valuestrata.report.closed.page import report_page, write_report
from valuestrata.report.closed.variance import print_variance
from valuestrata.report.core.tables import audit_frames, headline_table, write_tables
from valuestrata.report.core.view import RunLike
from valuestrata.report.export.terminal import print_audit, print_claims, print_headline, print_power
from valuestrata.report.fairness.page import write_audit
from valuestrata.report.notebook.charts import plot_scores
from valuestrata.report.notebook.inline import InlineReport, report

__all__ = [
    "InlineReport",
    "RunLike",
    "audit_frames",
    "headline_table",
    "plot_scores",
    "print_audit",
    "print_claims",
    "print_headline",
    "print_power",
    "print_variance",
    "report",
    "report_page",
    "write_audit",
    "write_report",
    "write_tables",
]


class _Report(ModuleType):
    """This package. `vs.report` is the package once it was imported, and the function before, so the package can be called, too."""

    def __call__(self, *args: Any, **options: Any) -> InlineReport:
        return report(*args, **options)


sys.modules[__name__].__class__ = _Report
