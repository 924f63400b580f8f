"""The report: one page and its tables, from a data set, runs and their scores."""

from valuestrata.report.html import write_report
from valuestrata.report.tables import headline_table, write_tables
from valuestrata.report.terminal import print_headline, print_verdicts
from valuestrata.report.view import RunLike

__all__ = ["RunLike", "headline_table", "print_headline", "print_verdicts", "write_report", "write_tables"]
