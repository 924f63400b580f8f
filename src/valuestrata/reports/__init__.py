"""The report: one page and its tables, from a data set, runs and their scores; an audit with a page and tables of its own."""

from valuestrata.reports.closed.page import report_page, write_report
from valuestrata.reports.closed.variance import print_variance
from valuestrata.reports.core.tables import audit_frames, headline_table, write_tables
from valuestrata.reports.core.view import RunLike
from valuestrata.reports.export.terminal import print_audit, print_claims, print_headline, print_power
from valuestrata.reports.fairness.page import write_audit
from valuestrata.reports.notebook.charts import plot_scores
from valuestrata.reports.notebook.inline import InlineReport, report

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
