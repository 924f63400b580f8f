"""What commands print: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from valuestrata.errors import RunFailedError

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.dataset import Dataset
    from valuestrata.responses.run import Run
    from valuestrata.scores.assess import Assessment


def say(line: str) -> None:
    """Tell something on stderr, where it stands beside the progress bar."""
    print(line, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, default=str))


def print_table(frame: pl.DataFrame) -> None:
    """Print a frame as a table."""
    from rich.console import Console

    from valuestrata.report.terminal import print_frame

    print_frame(frame, Console())


def headline(dataset: Dataset, runs: Any, scores: pl.DataFrame) -> None:
    """Print the headline table of scored runs."""
    from rich.console import Console

    from valuestrata.report import print_headline

    print_headline(dataset, runs, scores, Console())


def differences(found: Assessment, against: str) -> None:
    """Print what every run scores above one of them, over all pairs; positive is more, which of a distance is worse."""
    import polars as pl

    rows = found.comparisons.filter((pl.col("by") == "all") & (pl.col("against") == against) & pl.col("difference").is_not_null())
    print(f"Paired differences: run less {against}")
    print_table(rows.select("run", "metric", "difference", "ci_low", "ci_high", "p_adjusted", "pairs", "status"))


def verdict_lines(runs: list[Run], found: Assessment) -> None:
    """Print what may be said of runs."""
    from rich.console import Console

    from valuestrata.report import print_verdicts

    print_verdicts(runs, found.verdicts, Console())


def exit_if_failed(failed: int) -> None:
    """End with exit code 4 if any response failed."""
    if failed:
        raise RunFailedError(f"{failed:,} responses ended failed; the same command asks only those again.")


def words(text: str | None) -> list[str]:
    """Return what stands between commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def say_unmatched(identity: Mapping[str, Any]) -> None:
    """Tell which items and levels a baseline's training data set lacks; nothing where it lacks none."""
    for what, names in (identity.get("trained_on") or {}).get("unmatched", {}).items():
        if names:
            say(f"{what} that the training data set does not have: {', '.join(names)}. They are answered from less.")
