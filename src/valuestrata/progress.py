"""The progress of long jobs: a bar on stderr if that is a terminal, or a report to whoever started the job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from valuestrata.errors import printable

# Receives label, steps done, steps in all, and what is being worked on.
Listener = Callable[[str, int, int, str], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("progress", default=None)


class Advance(Protocol):
    """Advances a progress bar by a number of steps; `now` says what is being worked on."""

    def __call__(self, steps: int, now: str | None = None, /) -> None:
        """Advance the bar."""
        ...


def no_progress(_steps: int, _now: str | None = None, /) -> None:
    """Show nothing."""


@contextmanager
def reported_to(listener: Listener) -> Generator[None]:
    """Report the progress of jobs inside, in this thread, to a function instead of the terminal."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def progress(label: str, total: int) -> Generator[Advance]:
    """Yield a function that advances the bar by a number of steps, and shows what is being worked on after the label."""
    listener = _LISTENER.get()
    if listener is not None:
        yield _reporting(listener, label, total)
        return
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


def _reporting(listener: Listener, label: str, total: int) -> Advance:
    done = 0

    def advance(steps: int, now: str | None = None, /) -> None:
        nonlocal done
        done += steps
        listener(label, done, total, now or "")

    advance(0)
    return advance
