"""Commands on open-ended answers: the group `open`."""

from __future__ import annotations

import typer

from valuestrata.cli.open.ask import open_ask_
from valuestrata.cli.open.judge import open_judge_
from valuestrata.cli.open.report import open_report_, texts_
from valuestrata.cli.open.stance import open_stance_
from valuestrata.cli.open.validity import code_, sample_, validity_
from valuestrata.cli.output import prints_tables


def open_group() -> typer.Typer:
    """Return the commands as a group."""
    group = typer.Typer(help="Open-ended answers: ask, judge, read, check.", no_args_is_help=True)
    group.command("ask", short_help="Ask open questions in persona; resumable.")(open_ask_)
    group.command("judge", short_help="Let a judge compare runs with a reference, in both orders.")(prints_tables(open_judge_))
    group.command("stance", short_help="Let judges place open answers on the scales of their items.")(prints_tables(open_stance_))
    group.command("sample", short_help="Draw judged answers for people to code, blinded.")(sample_)
    group.command("code", short_help="Code a sample on a local page, or from a spreadsheet.")(code_)
    group.command("validity", short_help="Assess whether a judge may be used, by criterion.")(prints_tables(validity_))
    group.command("texts", short_help="Check texts without a judge: refusals, leakage, stereotypes, similarity.")(prints_tables(texts_))
    group.command("report", short_help="Write a report on open answers, with its tables.")(prints_tables(open_report_))
    return group
