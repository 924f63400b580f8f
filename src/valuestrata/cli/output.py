"""Output of commands: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import Option, OptionText, RunFailedError, printable
from valuestrata.formatting import dollars

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.claims.claim import Claim
    from valuestrata.responses.ask.estimate import DryRun
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.batch.requests import CollectedBatch
    from valuestrata.responses.distributed.collect import CollectedShards


def say(line: str | OptionText) -> None:
    """Print a line on stderr, next to the progress bar; options are written as flags."""
    print(printable(line.render("cli") if isinstance(line, OptionText) else line), file=sys.stderr, flush=True)


def show(line: str = "", *, end: str = "\n") -> None:
    """Print a line on stdout; no name, label or server can send commands to the terminal."""
    print(printable(line), end=end)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; characters that are not `printable` are escaped."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    # Each letter is checked once: a document has millions of them, of few kinds.
    escaped = {ord(letter): json.dumps(letter)[1:-1] for letter in set(text) if printable(letter) != letter}
    print(text.translate(escaped) if escaped else text)


def print_table(frame: pl.DataFrame) -> None:
    """Print a frame as a table."""
    from valuestrata.report.export.terminal import print_frame

    print_frame(frame)


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
