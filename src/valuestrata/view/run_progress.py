"""How far a run is: responses, failures, cost and last change, read without opening its store for writing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from valuestrata.responses.run.damage import STORE
from valuestrata.responses.run.folder import RUN, TABLE
from valuestrata.responses.run.store import FILE, LOCK
from valuestrata.responses.run.store_index import FAILED, StoreIndex
from valuestrata.responses.run.worker_stores import files_of_workers

State = Literal["running", "finished", "partial", "stopped"]
# A run without an end counts as running for this long after its last answer if its process is unknown (another machine), and for this
# long if a process with its number exists: numbers are used again.
_UNKNOWN_SECONDS = 120.0
_KNOWN_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        done: prompts with a response; a refusal is one. failed: prompts whose calls failed.
        planned: prompts of the plan; None if the run does not record it.
        cost: US dollars, None if no response records it. changed: time of the last change, seconds since 1970.
        damaged: lines of the store that cannot be read.
        state: finished; running; partial (ended with prompts left); or stopped (interrupted).
    """

    done: int
    failed: int
    planned: int | None
    cost: float | None
    changed: float
    damaged: int
    state: State


class ProgressReader:
    """Reads the progress of one run again and again; of a store it reads only what was appended since the last time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reset()

    def _reset(self) -> None:
        self._index = StoreIndex(self._files)
        self._cost: float | None = None

    def _files(self) -> list[Path]:
        return [self._folder / STORE / FILE, *files_of_workers(self._folder)]

    def read(self, meta: Mapping[str, Any], clock: Callable[[], float]) -> RunProgress:
        """Return the progress of the run with this `run.json` at the time of the clock (seconds since 1970)."""
        changed = max((time for file in (RUN, TABLE) if (time := _changed(self._folder / file)) is not None), default=0.0)
        changed = max([changed, *(time for file in self._files() if (time := _changed(file)) is not None)])
        planned = meta.get("planned")
        finished = meta.get("finished") is not None or not (self._folder / STORE).is_dir()
        if finished and meta.get("counts") is not None:
            counts: Mapping[str, int] = meta["counts"]
            failed = counts.get(FAILED, 0)
            done = sum(counts.values()) - failed
            state: State = "partial" if planned is not None and done < planned else "finished"
            return RunProgress(done, failed, planned, (meta.get("usage") or {}).get("cost"), changed, 0, state)
        self._refresh()
        done = self._index.successes
        state = "running" if self._is_running(clock() - changed) else "stopped"
        return RunProgress(done, len(self._index) - done, planned, self._cost, changed, self._index.damaged, state)

    def _refresh(self) -> None:
        """Read what was appended to the stores; all of it if one was written anew."""
        if any((_size(file) or 0) < end for file, end in self._index.ends.items()):
            self._reset()
        before = dict(self._index.ends)
        self._index.refresh()
        for file, end in self._index.ends.items():
            if end > (start := before.get(file, 0)):
                self._add_costs(file, start, end)

    def _add_costs(self, file: Path, start: int, end: int) -> None:
        with file.open("rb") as lines:
            lines.seek(start)
            left = end - start
            for line in lines:  # one at a time, because a store may hold gigabytes
                if (left := left - len(line)) < 0:
                    break
                # Models on this machine cost nothing; their lines need no parsing.
                if b'"cost":null' not in line and (cost := _cost_of(line)) is not None:
                    self._cost = (self._cost or 0.0) + cost

    def _is_running(self, idle: float) -> bool:
        if idle < _UNKNOWN_SECONDS:
            return True
        return idle < _KNOWN_SECONDS and any(_is_process(file.with_name(LOCK)) for file in self._files())


def _cost_of(line: bytes) -> float | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None  # a damaged line, which the index counts
    cost = document.get("cost") if isinstance(document, dict) else None
    return float(cost) if isinstance(cost, int | float) else None


def _is_process(lock: Path) -> bool:
    """Whether the process that wrote a lock file exists. The lock itself is not touched: a run that starts now must get it."""
    if os.name != "posix":
        return False
    try:
        os.kill(int(lock.read_text(encoding="ascii")), 0)  # no signal is sent
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _changed(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
