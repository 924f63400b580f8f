"""The progress bar of long jobs, on stderr if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from valuestrata.errors import printable


class Advance(Protocol):
    """Advances a progress bar by a number of steps; `now` says what is being worked on."""

    def __call__(self, steps: int, now: str | None = None, /) -> None:
        """Advance the bar."""
        ...


def no_progress(_steps: int, _now: str | None = None, /) -> None:
    """Show nothing."""


@contextmanager
def progress(label: str, total: int) -> Generator[Advance]:
    """Yield a function that advances the bar by a number of steps, and shows what is being worked on after the label."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(printable(label)), total=total)

        def advance(steps: int, now: str | None = None, /) -> None:
            bar.update(task, advance=steps, description=None if now is None else escape(printable(f"{label}: {now}")))

        yield advance
