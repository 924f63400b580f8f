"""Output of commands: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from valuestrata.cli.options import TableFormatOption, Wide
from valuestrata.errors import Option, OptionText, RunFailedError, UsageError, one_of, printable
from valuestrata.formatting import dollars

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.claims.claim import Claim
    from valuestrata.reports.export.printer import Printer
    from valuestrata.responses.ask.estimate import DryRun
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.batch.requests import CollectedBatch
    from valuestrata.responses.distributed.collect import CollectedShards

# As in `reports.export.printer`, which needs libraries that most commands do not.
TableFormat = Literal["text", "markdown", "csv", "latex"]
TABLE_FORMATS: tuple[TableFormat, ...] = ("text", "markdown", "csv", "latex")


def say(line: str | OptionText) -> None:
    """Print a line on stderr, next to the progress bar; options are written as flags."""
    print(printable(line.render("cli") if isinstance(line, OptionText) else line), file=sys.stderr, flush=True)


def show(line: str = "", *, end: str = "\n") -> None:
    """Print a line on stdout; no name, label or server can send commands to the terminal.

    With `--table-format` it is Markdown, a LaTeX comment, or, with CSV, on stderr.
    """
    if _tables_as().form == "text":
        print(printable(line), end=end)
    else:
        printer().line(line)


@dataclass
class _TablesAs:
    """How the running command prints its tables, and where, once it has printed."""

    form: TableFormat = "text"
    wide: bool = False
    printer: Printer | None = None


# Has a value while a command runs: printing functions are called far from the options.
_TABLES_AS: ContextVar[_TablesAs] = ContextVar("tables_as")


def _tables_as() -> _TablesAs:
    return _TABLES_AS.get(_TablesAs())


def printer() -> Printer:
    """Return where the tables of the running command are printed, in the format that its options choose."""
    from rich.console import Console

    from valuestrata.reports.export.printer import Printer

    how = _tables_as()
    how.printer = how.printer or Printer(Console(), how.form, how.wide)
    return how.printer


def prints_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options `--table-format` and `--wide`, which `print_table`, `show` and `printer` follow."""

    @functools.wraps(command)
    def with_options(*arguments: Any, table_format: str = "text", wide: bool = False, **options: Any) -> None:
        form = one_of(table_format, TABLE_FORMATS, "There is no format of tables")
        if options.get("as_json") and form != "text":
            raise UsageError(Option("json"), " prints one document without tables; leave out ", Option("table_format"), ".")
        token = _TABLES_AS.set(_TablesAs(form, wide))
        try:
            command(*arguments, **options)
        finally:
            _TABLES_AS.reset(token)

    signature, kind = inspect.signature(command, eval_str=True), inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter("table_format", kind, default="text", annotation=TableFormatOption),
        inspect.Parameter("wide", kind, default=False, annotation=Wide),
    ]
    vars(with_options)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), *more])
    with_options.__annotations__ = {**command.__annotations__, "table_format": TableFormatOption, "wide": Wide}
    return with_options


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; characters that are not `printable` are escaped."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    # Each letter is checked once: a document has millions of them, of few kinds.
    escaped = {ord(letter): json.dumps(letter)[1:-1] for letter in set(text) if printable(letter) != letter}
    print(text.translate(escaped) if escaped else text)


def print_table(frame: pl.DataFrame, minor: Sequence[str] = (), values: pl.DataFrame | None = None) -> None:
    """Print a frame as a table, in the format that the command's options choose.

    Args:
        frame: the table.
        minor: columns that are left out first where the table is too wide, least important first.
        values: what CSV has instead, if the frame holds texts of several figures.
    """
    from valuestrata.reports.export.terminal import print_frame

    print_frame(frame, printer(), minor, values)


def claim_documents(claims: Iterable[Claim], *, all_claims: bool = False) -> list[dict[str, Any]]:
    """Return claims for JSON: sentence, details and fields; the five most important of each run, unless all are requested."""
    from valuestrata.claims.select import MOST_CLAIMS, select
    from valuestrata.claims.templates import as_json

    chosen = select(claims, most=None if all_claims else MOST_CLAIMS, baselines=True)
    return [as_json(claim) for selection in chosen for claim in selection.shown]


def result_document(result: AskResult) -> dict[str, Any]:
    """Return the result of asking for JSON: run, counts, failures and usage."""
    counts = {"asked": result.asked, "answered": result.answered, "left": result.left, **result.counts}
    return {"run": str(result.run_dir), **counts, "failures": result.failures, "usage": result.usage, "stopped": result.stopped}


def print_result(result: AskResult, *, as_json: bool = False) -> None:
    """Print the result of asking: responses by status, pairs left, and usage."""
    for remark in result.remarks:
        say(remark)
    if as_json:
        print_json(result_document(result))
        return
    show(f"{result.run_dir}: {counts_text(result.counts)}; {result.left:,} left.")
    if result.stopped is not None:
        show(f"Stopped: {result.stopped}. Run the same command again to continue.")
    _print_usage(result.usage)


def print_collected(found: CollectedBatch | CollectedShards, *, as_json: bool) -> None:
    """Print the responses of a run after batch outputs or shards were collected."""
    if as_json:
        document = asdict(found)
        print_json({"run": str(document.pop("run_dir")), **document})
        return
    show(f"{found.run_dir}: {counts_text(found.counts)}.")
    _print_usage(found.usage)


def estimate_document(dry: DryRun) -> dict[str, Any]:
    """Return the estimate of a dry run for JSON."""
    return {"planned": dry.planned, "answered_before": dry.kept, **asdict(dry.estimate)}


def print_estimate(dry: DryRun, *, as_json: bool = False) -> None:
    """Print the estimate of a dry run."""
    if dry.remark is not None:
        say(dry.remark)
    estimate = dry.estimate
    if as_json:
        print_json(estimate_document(dry))
        return
    show(f"{dry.planned:,} prompts, {dry.kept:,} of them already answered: {estimate.calls:,} calls.")
    show(f"{estimate.prompt_tokens:,} input tokens, at most {estimate.completion_tokens:,} output tokens ({estimate.basis}).")
    if estimate.computed_tokens is not None:
        show(f"{estimate.computed_tokens:,} tokens are computed; shared prefixes count once.")
    if estimate.cost is None:
        show("The cost is unknown. Give --price-in and --price-out in dollars per million tokens.")
    elif estimate.cost:
        show(f"At most {dollars(estimate.cost)}.")


@contextlib.contextmanager
def reports_interrupt(run: Path) -> Generator[None]:
    """On an interrupt by the user, say that answers are kept and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Interrupted. Answers are kept in {run}; run the same command again to continue.")
        raise


def exit_if_failed(failed: int, kinds: Mapping[str, int] | None = None) -> None:
    """Exit with code 4 if any response failed, with the number of each kind."""
    if failed:
        from valuestrata.respondents.hosted.readout import AMBIGUOUS
        from valuestrata.responses.run.failures import kinds_listed

        listed = kinds_listed(kinds or {})
        counted = f"{failed:,} responses failed{f' ({listed})' if listed else ''}. "
        if AMBIGUOUS not in (kinds or {}):
            raise RunFailedError(f"{counted}Run the same command again to retry only those.")
        raise RunFailedError(
            f"{counted}An ambiguous first token is the beginning of several options, such as the 1 of 1 and 10; the column `error` of the "
            "responses names them. Asking again fails in the same way. Ask in another folder, with ",
            Option("elicitation", "logprob"),
            " (probabilities of whole options, where the server supports it) or ",
            Option("elicitation", "text"),
            ".",
        )


def say_unmatched(unmatched: Mapping[str, Sequence[str]]) -> None:
    """Report the items and levels that a baseline's training data set lacks."""
    for what, names in unmatched.items():
        if names:
            say(f"{what} missing from the training data set: {', '.join(names)}. Their answers are less well informed.")


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts by status as text: `10 answered, 2 refused`."""
    return ", ".join(f"{number:,} {status}" for status, number in counts.items())


def _print_usage(usage: Mapping[str, Any]) -> None:
    """Print the tokens and the cost that are known."""
    read, written, cost = (usage.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))
    parts = [] if read is None else [f"{read:,} input tokens, {written or 0:,} output tokens"]
    if cost:
        parts.append(dollars(cost))
    if parts:
        show(f"Usage: {', '.join(parts)}.")
