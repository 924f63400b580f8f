"""Output of commands: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import Message, RunFailedError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.assessment import Assessment
    from valuestrata.claims.claim import Claim
    from valuestrata.dataset.tables import Dataset
    from valuestrata.responses.ask.estimate import DryRun
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.batch.requests import CollectedBatch
    from valuestrata.responses.distributed.collect import CollectedShards
    from valuestrata.responses.run.folder import Run


def say(line: str | Message) -> None:
    """Print a line on stderr, next to the progress bar; options are written as flags."""
    print(line.render("cli") if isinstance(line, Message) else line, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, default=str))


def print_table(frame: pl.DataFrame) -> None:
    """Print a frame as a table."""
    from rich.console import Console

    from valuestrata.report.export.terminal import print_frame

    print_frame(frame, Console())


def headline(dataset: Dataset, runs: Any, scores: pl.DataFrame) -> None:
    """Print the headline table of scored runs."""
    from rich.console import Console

    from valuestrata.report import print_headline

    print_headline(dataset, runs, scores, Console())


def differences(found: Assessment, against: str) -> None:
    """Print the differences of all runs from one run, over all pairs."""
    import polars as pl

    rows = found.comparisons.filter((pl.col("by") == "all") & (pl.col("against") == against) & pl.col("difference").is_not_null())
    print(f"Paired differences: run minus {against}")
    print_table(rows.select("run", "metric", "difference", "ci_low", "ci_high", "p_adjusted", "pairs", "status"))


def claims(runs: Sequence[Run], found: Assessment, *, all_claims: bool = False, baseline_claims: bool = False) -> None:
    """Print the claims about runs; the five most important of each, unless all are asked for."""
    from rich.console import Console

    from valuestrata.report import print_claims

    print_claims(found.claims, Console(), runs=runs, all_claims=all_claims, baseline_claims=baseline_claims)


def claim_documents(found: Iterable[Claim], *, all_claims: bool = False) -> list[dict[str, Any]]:
    """Return claims for JSON: sentence, details and fields; the five most important of each run, unless all are asked for."""
    from valuestrata.claims.select import MOST_CLAIMS, select
    from valuestrata.claims.templates import as_json

    chosen = select(found, most=None if all_claims else MOST_CLAIMS, baselines=True)
    return [as_json(claim) for one in chosen for claim in one.shown]


def lessons(said: Mapping[str, Sequence[str]], table: pl.DataFrame, metric: str) -> None:
    """Print the results of tuning in each split."""
    from rich.console import Console

    from valuestrata.report.closed.generalisation import print_generalisation

    print_generalisation(said, table, metric, Console())


def asked(result: AskResult, as_json: bool) -> None:
    """Print the result of asking: responses by status, pairs left, and usage."""
    if as_json:
        counts = {"asked": result.asked, "answered": result.answered, "left": result.left, **result.counts}
        more = {"failures": result.failures, "usage": result.usage, "stopped": result.stopped}
        print_json({"run": str(result.run_dir), **counts, **more})
        return
    print(
        f"{result.run_dir}: " + ", ".join(f"{number:,} {status}" for status, number in result.counts.items()) + f"; {result.left:,} left."
    )
    if result.stopped is not None:
        print(f"Stopped: {result.stopped}. Run the same command again to continue.")
    if took := usage_words(result.usage):
        print(f"Usage: {took}.")


def collected(found: CollectedBatch | CollectedShards, as_json: bool) -> None:
    """Print the responses of a run after batch outputs or shards were collected."""
    if as_json:
        document = asdict(found)
        print_json({"run": str(document.pop("run_dir")), **document})
        return
    print(f"{found.run_dir}: " + ", ".join(f"{number:,} {status}" for status, number in found.counts.items()) + ".")
    if took := usage_words(found.usage):
        print(f"Usage: {took}.")


@contextlib.contextmanager
def tells_what_is_kept(run: Path) -> Generator[None]:
    """On an interrupt by the user, say that answers are kept and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Interrupted. Answers are kept in {run}; run the same command again to continue.")
        raise


def usage_words(usage: Mapping[str, Any]) -> str:
    """Return usage in words: `1,200 input tokens, 300 output tokens, $0.0042`; empty if unknown."""
    read, written, cost = (usage.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))
    parts: list[str] = []
    if read is not None:
        parts.append(f"{read:,} input tokens, {written or 0:,} output tokens")
    if cost:
        parts.append(dollars(cost))
    return ", ".join(parts)


def dollars(cost: float) -> str:
    """Return an amount with at least two significant digits: $12.30, $0.0042."""
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.2g}"


def planned(dry: DryRun, as_json: bool) -> None:
    """Print the estimate of a dry run."""
    estimate = dry.estimate
    if as_json:
        print_json({"planned": dry.planned, "answered_before": dry.kept, **asdict(estimate)})
        return
    print(f"{dry.planned:,} prompts, {dry.kept:,} of them already answered: {estimate.calls:,} calls.")
    print(f"{estimate.prompt_tokens:,} input tokens, at most {estimate.completion_tokens:,} output tokens ({estimate.basis}).")
    if estimate.computed_tokens is not None:
        print(f"{estimate.computed_tokens:,} tokens are computed; shared prefixes count once.")
    if estimate.cost is None:
        print("The cost is unknown. Give --price-in and --price-out in dollars per million tokens.")
    elif estimate.cost:
        print(f"At most {dollars(estimate.cost)}.")


def exit_if_failed(failed: int, kinds: Mapping[str, int] | None = None) -> None:
    """Exit with code 4 if any response failed, with the number of each kind."""
    if failed:
        from valuestrata.responses.run.failures import kinds_listed

        listed = kinds_listed(kinds or {})
        raise RunFailedError(
            f"{failed:,} responses failed{f' ({listed})' if listed else ''}. Run the same command again to retry only those."
        )


def words(text: str | None) -> list[str]:
    """Split a list separated by commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def say_unmatched(unmatched: Mapping[str, Sequence[str]]) -> None:
    """Report the items and levels that a baseline's training data set lacks."""
    for what, names in unmatched.items():
        if names:
            say(f"{what} missing from the training data set: {', '.join(names)}. Their answers are less well informed.")
