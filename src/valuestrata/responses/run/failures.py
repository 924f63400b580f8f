"""Kinds of failure in a run, counted and listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import polars as pl

_KIND_LENGTH = 80
_KINDS_LISTED = 3
_EXAMPLE_LENGTH = 300


def failure_kinds(table: pl.DataFrame) -> dict[str, int]:
    """Return kind of failure -> number of responses, most frequent first; see `kinds_of`.

    Args:
        table: frame with the columns `status` and `error` of RESPONSES.
    """
    return kinds_of(_errors(table))


def kinds_of(errors: Iterable[str | None]) -> dict[str, int]:
    """Return kind of failure -> number of errors, most frequent first. The kind is the text before the first colon."""
    return dict(Counter(_kind(error or "unknown") for error in errors).most_common())


def kinds_listed(kinds: Mapping[str, int]) -> str:
    """Return the kinds on one line: `3 timeout, 1 server error`."""
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.items())


def failures_listed(table: pl.DataFrame) -> str:
    """Return the most frequent failures on one line, each with its number and its first message."""
    errors = _errors(table)
    kinds = failure_kinds(table)
    shown = [
        f"{number:,} x {next(error for error in errors if _kind(error) == kind)[:_EXAMPLE_LENGTH]}"
        for kind, number in list(kinds.items())[:_KINDS_LISTED]
    ]
    return "; ".join(shown) + (f"; and {len(kinds) - _KINDS_LISTED} other kinds" if len(kinds) > _KINDS_LISTED else "")


def numbers_listed(numbers: Iterable[int]) -> str:
    """Return numbers in order, ranges shortened: `2, 5-7`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _errors(table: pl.DataFrame) -> list[str]:
    return table.filter(pl.col("status") == "failed")["error"].fill_null("unknown").to_list()


def _kind(error: str) -> str:
    return error.partition(":")[0].strip()[:_KIND_LENGTH]
