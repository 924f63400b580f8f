"""The progress bar of long jobs, on stderr if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from valuestrata.errors import printable

Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int) -> Generator[Advance]:
    """Yield a function that advances the bar by a number of steps."""
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(printable(label)), total=total)
        yield lambda steps: bar.update(task, advance=steps)
