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
from valuestrata.cli.output import prints_tables, say, show
from valuestrata.cli.predict import predict_
from valuestrata.cli.runs import collect, import_
from valuestrata.cli.score import report, score_, variance_
from valuestrata.cli.study import demo, init_, run
from valuestrata.cli.tune import card_, forgetting_, tune_
from valuestrata.cli.view import view_
from valuestrata.errors import ValuestrataError, options_as, printable

# Headings of the commands in the help, in order.
HEADINGS = ("Start", "Data", "Ask", "Score and report", "Use the answers", "Tune", "Open answers", "Share")
# Commands with the options `--table-format` and `--wide`.
_PRINT_TABLES = (
    *("demo", "run", "build", "landscape", "leakage", "score", "variance", "audit", "power"),
    *("calibrate", "predict", "estimate", "plan-sample", "tune", "forgetting"),
)
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
        context_settings={"max_content_width": 100},
    )
    codebook = typer.Typer(help="Codebooks of surveys.", no_args_is_help=True)
    codebook.command("draft", short_help="Draft a codebook from a labelled file or a variable list.")(codebook_draft)
    app.callback()(_root)
    # Each heading of the help, with its commands: name, function and summary, or a group of commands.
    for heading, commands in {
        "Start": (
            ("demo", demo, "Run a small study of the embedded survey and model."),
            ("init", init_, "Write a commented study file to start from."),
            ("run", run, "Run a whole study from a YAML file; resumable."),
        ),
        "Data": (
            ("describe", describe, "Print what was recognised in a survey file."),
            ("build", build, "Build subgroup ground truth from a survey."),
            ("landscape", landscape, "Print how much subgroups differ, by topic."),
            ("leakage", leakage, "Print sizes and overlap of train and test, by split."),
            ("simulate", simulate, "Simulate a survey with planted effects."),
            ("codebook", codebook, ""),
        ),
        "Ask": (
            ("ask", ask, "Ask a model closed questions in persona; resumable."),
            ("collect", collect, "Join the shards of a run."),
            ("import", import_, "Import answers of other tools as a run."),
        ),
        "Score and report": (
            ("score", score_, "Score runs and baselines, with intervals and claims."),
            ("variance", variance_, "Estimate variance by persona, order, template and sampling."),
            ("audit", audit_, "Test whether subgroups are served worse, beyond noise."),
            ("power", power_, "Compute which gaps an audit could detect."),
            ("report", report, "Write a report and its tables."),
            ("view", view_, "Show a folder of runs and studies in the browser."),
        ),
        "Use the answers": (
            ("calibrate", calibrate_, "Correct a run with what the training pairs show about its model."),
            ("predict", predict_, "Predict answers to new questions, with a backtest."),
            ("estimate", estimate_, "Estimate subgroups from a few interviews and models."),
            ("plan-sample", plan_sample_, "Plan how many people to interview, and which questions to ask whom."),
        ),
        "Tune": (
            ("tune", tune_, "Train an adapter on the training gold."),
            ("forgetting", forgetting_, "Check what tuning changed outside the survey."),
            ("card", card_, "Write the model card of an adapter, with scores."),
            ("tune-export", tune_export, "Export training files for other trainers."),
            ("tune-job", job_app(), ""),
        ),
        "Open answers": (("open", open_group(), ""),),
        "Share": (("export", export_, "Write a data set for Hugging Face and other tools."),),
    }.items():
        for name, command, summary in commands:
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=heading)
            else:
                made = prints_tables(command) if name in _PRINT_TABLES else command
                app.command(name, short_help=summary, rich_help_panel=heading)(made)
    for group in (app, *(entry.typer_instance for entry in app.registered_groups)):
        if group is not None:
            group.info.cls = CommandGroup
    return app


class CommandGroup(TyperGroup):
    """Commands under headings; for an unknown name, the closest is suggested, or all if none is close."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, those of each heading together."""
        sections: dict[str, list[tuple[str, Any]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None)
            sections.setdefault(heading if heading in HEADINGS else "Commands", []).append((name, command))
        widest = max(map(len, self.commands), default=0)
        for heading in [name for name in (*HEADINGS, "Commands") if name in sections]:
            rows = [(name, command.get_short_help_str(formatter.width)) for name, command in sections[heading]]
            # The summaries of all sections begin in one column.
            spacing = 2 + widest - max(len(name) for name, _ in rows)
            with formatter.section(heading):
                formatter.write_dl(rows, col_spacing=spacing)

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
