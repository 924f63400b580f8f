"""The command line: a thin face over the Python functions of the same names.

Every command prints to stdout what it is asked for (one JSON document under `--json`) and tells its progress on stderr.
Exit codes: 0; 2 wrong call; 3 bad input data; 4 if any response ended `failed`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from valuestrata.cli.ask import ask
from valuestrata.cli.audit import audit_, power_
from valuestrata.cli.data import build, codebook_draft, describe, landscape, leakage, simulate
from valuestrata.cli.open_answers import open_group
from valuestrata.cli.output import say
from valuestrata.cli.runs import collect, import_
from valuestrata.cli.score import report, score_, variance_
from valuestrata.cli.study import demo, run
from valuestrata.cli.tune import card_, forgetting_, tune_
from valuestrata.cli.tune_export import job_app, tune_export
from valuestrata.errors import ValuestrataError, options_as


def make_app() -> typer.Typer:
    """Return the command line with all of its commands, in the order in which help lists them."""
    app = typer.Typer(
        name="valuestrata",
        help="When a language model is told who it is, does it answer as such people do?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    codebook = typer.Typer(help="Codebooks of surveys.", no_args_is_help=True)
    app.callback()(_face)
    app.command(short_help="Embedded survey and model to a report.")(demo)
    app.command(short_help="Do a whole study; resume where it stopped.")(run)
    app.command(short_help="What was recognised in a file.")(describe)
    app.command(short_help="Turn a survey into subgroup ground truth.")(build)
    app.command(short_help="How far subgroups differ, by topic.")(landscape)
    app.command(short_help="What train and test share, by split.")(leakage)
    app.command(short_help="Ask a model in persona; resumable.")(ask)
    app.add_typer(open_group(), name="open")
    app.command("import", short_help="Take published outputs as a run.")(import_)
    app.command("tune", short_help="Teach a model the training gold; an adapter.")(tune_)
    app.command("forgetting", short_help="What tuning cost elsewhere, before and after.")(forgetting_)
    app.command("card", short_help="Write an adapter's card with scores.")(card_)
    app.command("tune-export", short_help="Training files for other trainers.")(tune_export)
    app.add_typer(job_app(), name="tune-job")
    app.command(short_help="Join the shards of a run.")(collect)
    app.command("score", short_help="Score runs, with intervals, baselines and verdicts.")(score_)
    app.command("variance", short_help="What moves a model's answers: persona, order, template, sampling.")(variance_)
    app.command("audit", short_help="Who is served worse, beyond noise and difficulty.")(audit_)
    app.command("power", short_help="Which gaps an audit could detect.")(power_)
    app.command(short_help="Write report.html and its tables.")(report)
    app.command(short_help="Write a survey with planted effects.")(simulate)
    codebook.command("draft", short_help="Draft one from a labelled file.")(codebook_draft)
    app.add_typer(codebook, name="codebook")
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"valuestrata {version('valuestrata')}")
        raise typer.Exit


def _face(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """When a language model is told who it is, does it answer as such people do?"""


def main() -> None:
    """Run the command line; every error the user can mend is one message on stderr and an exit code."""
    try:
        with options_as("cli"):
            make_app()()
    except ValuestrataError as error:
        say(f"valuestrata: {error}")
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        # A place that cannot be read or written: the user can mend it, and the name says where.
        if error.filename is None:
            raise
        say(f"valuestrata: {error.filename}: {error.strerror}. Choose a place that can be read and written, and has room.")
        raise SystemExit(2) from error
