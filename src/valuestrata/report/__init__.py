"""The report: one page and its tables, from a data set, runs and their scores; an audit with a page and tables of its own."""

from valuestrata.report.closed.page import report_page, write_report
from valuestrata.report.closed.variance import print_variance
from valuestrata.report.core.tables import audit_frames, headline_table, write_tables
from valuestrata.report.core.view import RunLike
from valuestrata.report.export.terminal import print_audit, print_claims, print_headline, print_power
from valuestrata.report.fairness.page import write_audit

__all__ = [
    "RunLike",
    "audit_frames",
    "headline_table",
    "print_audit",
    "print_claims",
    "print_headline",
    "print_power",
    "print_variance",
    "report_page",
    "write_audit",
    "write_report",
    "write_tables",
]
