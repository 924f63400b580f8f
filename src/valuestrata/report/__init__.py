"""The report: one page and its tables, from a data set, runs and their scores; an audit with a page and tables of its own."""

from valuestrata.report.auditpage import write_audit
from valuestrata.report.html import write_report
from valuestrata.report.tables import audit_frames, headline_table, write_tables
from valuestrata.report.terminal import print_audit, print_headline, print_power, print_verdicts
from valuestrata.report.variance import print_variance
from valuestrata.report.view import RunLike

__all__ = [
    "RunLike",
    "audit_frames",
    "headline_table",
    "print_audit",
    "print_headline",
    "print_power",
    "print_variance",
    "print_verdicts",
    "write_audit",
    "write_report",
    "write_tables",
]
