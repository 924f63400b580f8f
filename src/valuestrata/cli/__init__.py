"""The command line.

Commands print results on stdout (with `--json`, one JSON document) and progress on stderr.
Exit codes: 0 success, 2 wrong usage, 3 invalid input data, 4 failed responses.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from valuestrata.cli.ask import ask
from valuestrata.cli.audit import audit_, power_
from valuestrata.cli.calibrate import calibrate_
from valuestrata.cli.data import build, codebook_draft, describe, landscape, leakage, simulate
from valuestrata.cli.estimation.estimate import estimate_
from valuestrata.cli.estimation.plan_sample import plan_sample_
from valuestrata.cli.exports.export import export_
from valuestrata.cli.exports.tune_export import job_app, tune_export
from valuestrata.cli.open import open_group
from valuestrata.cli.output import say, show
from valuestrata.cli.predict import predict_
from valuestrata.cli.runs import collect, import_
from valuestrata.cli.score import report, score_, variance_
from valuestrata.cli.study import demo, init_, run
from valuestrata.cli.tune import card_, forgetting_, tune_
from valuestrata.cli.view import view_
from valuestrata.errors import ValuestrataError, options_as, printable

_ABOUT = "Test how closely language models, prompted with personas, match the survey answers of subgroups."


def make_app() -> typer.Typer:
    """Return the command line, with its commands in the order of the help."""
    app = typer.Typer(
        name="valuestrata",
        help=_ABOUT,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    codebook = typer.Typer(help="Codebooks of surveys.", no_args_is_help=True)
    app.callback()(_root)
    app.command(short_help="Run a small study of the embedded survey and model.")(demo)
    app.command("init", short_help="Write a commented study file to start from.")(init_)
    app.command(short_help="Run a whole study from a YAML file; resumable.")(run)
    app.command(short_help="Print what was recognised in a survey file.")(describe)
    app.command(short_help="Build subgroup ground truth from a survey.")(build)
    app.command(short_help="Print how much subgroups differ, by topic.")(landscape)
    app.command(short_help="Print sizes and overlap of train and test, by split.")(leakage)
    app.command(short_help="Ask a model closed questions in persona; resumable.")(ask)
    app.add_typer(open_group(), name="open")
    app.command("import", short_help="Import published outputs as a run.")(import_)
    app.command("tune", short_help="Train an adapter on the training gold.")(tune_)
    app.command("forgetting", short_help="Check what tuning changed outside the survey.")(forgetting_)
    app.command("card", short_help="Write the model card of an adapter, with scores.")(card_)
    app.command("tune-export", short_help="Export training files for other trainers.")(tune_export)
    app.add_typer(job_app(), name="tune-job")
    app.command(short_help="Join the shards of a run.")(collect)
    app.command("calibrate", short_help="Correct a run by what the training pairs show about its model.")(calibrate_)
    app.command("predict", short_help="Predict answers to new questions, with a backtest.")(predict_)
    app.command("estimate", short_help="Estimate subgroups from a few interviews and models.")(estimate_)
    app.command("plan-sample", short_help="Plan how many people to interview, and which questions to ask whom.")(plan_sample_)
    app.command("score", short_help="Score runs and baselines, with intervals and claims.")(score_)
    app.command("variance", short_help="Estimate variance by persona, order, template and sampling.")(variance_)
    app.command("audit", short_help="Test whether subgroups are served worse, beyond noise.")(audit_)
    app.command("power", short_help="Compute which gaps an audit could detect.")(power_)
    app.command(short_help="Write a report and its tables.")(report)
    app.command("export", short_help="Write a data set for Hugging Face and other tools.")(export_)
    app.command("view", short_help="Show a folder of runs and studies in the browser.")(view_)
    app.command(short_help="Simulate a survey with planted effects.")(simulate)
    codebook.command("draft", short_help="Draft a codebook from a labelled file or a variable list.")(codebook_draft)
    app.add_typer(codebook, name="codebook")
    for group in (app, *(entry.typer_instance for entry in app.registered_groups)):
        if group is not None:
            group.info.cls = CommandGroup
    return app


class CommandGroup(TyperGroup):
    """Commands of which one is suggested for an unknown name: the closest, or all if none is close."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            close = get_close_matches(args[0], self.commands, n=1)
            hint = f"Did you mean '{ctx.command_path} {close[0]}'?" if close else f"Commands: {', '.join(self.commands)}."
            ctx.fail(printable(f"No such command {args[0]!r}. {hint}"))
        return super().resolve_command(ctx, args)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        show(f"valuestrata {version('valuestrata')}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


# Options whose value may be left out, with that value.
_OPTIONAL_VALUES = {"--show-prompt": "1"}
# Commands and those of their options that take several values: `--runs A B` is `--runs A --runs B`.
_SEVERAL_VALUES = {"estimate": ("--runs", "--answers"), "plan-sample": ("--runs",), "export": ("--runs",)}


def _with_values(words: Sequence[str]) -> list[str]:
    """Return the words of a command with the values of `_OPTIONAL_VALUES` that were left out, and one value for each option."""
    found: list[str] = []
    several, last = _SEVERAL_VALUES.get(words[0] if words else "", ()), ""
    for place, word in enumerate(words):
        if last and not word.startswith("-") and words[place - 1] != last:
            found.append(last)
        elif word.startswith("-"):
            last = word if word in several else ""
        found.append(word)
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in _OPTIONAL_VALUES and not following.isdigit():
            found.append(_OPTIONAL_VALUES[word])
    return found


def main() -> None:
    """Run the command line. An error that the user can fix is one message on stderr and an exit code."""
    _clean_warnings()
    try:
        with options_as("cli"):
            make_app()(args=_with_values(sys.argv[1:]))
    except ValuestrataError as error:
        say(f"valuestrata: {error}")
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        if error.filename is None:
            raise
        say(f"valuestrata: {error.filename}: {error.strerror}. Check that the path can be read and written and that the disk has space.")
        raise SystemExit(2) from error


def _clean_warnings() -> None:
    """Let warnings name files and models without sending commands to the terminal."""
    written = warnings.formatwarning

    def cleaned(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        return printable(written(message, category, filename, lineno, line))

    warnings.formatwarning = cleaned
