"""Costs of calls whose answers are not stored yet, on disk, so that a limit holds across killed processes.

Before a call starts, the most that it can cost is written down; once the answer is in the store, it is struck out. What a
killed process leaves may have been charged without an answer, so it counts towards the limit of later calls.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from threading import Lock
from typing import Any

from valuestrata.errors import RunFailedError
from valuestrata.files import write_text

FILE = "unsettled.jsonl"
# US dollars below which a sum is a rounding error.
_ROUNDING = 1e-12


class UnsettledCalls:
    """The calls of a run that are not settled; a context manager. Open the run's store first: its lock covers this file.

    Attributes:
        lost: US dollars that calls of earlier, ended processes may have cost at most, beyond what the store records.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._lock = Lock()
        self._open: dict[str, float] = {}
        self._handle: int | None = None
        self.lost = _total_in(self._file)

    def __enter__(self) -> UnsettledCalls:
        # Without their keys: asking the same prompts again settles only the new calls.
        if self.lost:
            try:
                write_text(self._file, _line(None, self.lost))
            except OSError as error:
                raise self._unwritten(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Keep in the file what is still not settled, and nothing else; remove an empty file."""
        with self._lock:
            if self._handle is None:
                return
            os.close(self._handle)
            self._handle = None
            left = self.lost + math.fsum(cost for cost in self._open.values() if cost > _ROUNDING)
            # On a full disk the long file stays, and means the same.
            with contextlib.suppress(OSError):
                if left > _ROUNDING:
                    write_text(self._file, _line(None, left))
                else:
                    self._file.unlink()

    def add(self, key: str, dollars: float) -> None:
        """Add to what the calls of a prompt can cost, or subtract what they did not; on disk when this returns.

        Raises:
            RunFailedError: the disk cannot be written.
        """
        if not dollars:
            return
        with self._lock:
            self._append(_line(key, dollars))
            self._open[key] = self._open.get(key, 0.0) + dollars

    def settle(self, key: str) -> None:
        """Strike out a prompt: the store records what its calls cost."""
        with self._lock:
            if self._open.pop(key, None) is not None:
                self._append(_line(key, None))

    def _append(self, line: str) -> None:
        try:
            if self._handle is None:
                self._handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(self._handle, line.encode())
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> RunFailedError:
        return RunFailedError(
            f"{self._file}: could not be written ({error.strerror}). All earlier answers are kept; fix the disk and run the same command "
            "again."
        )


def _line(key: str | None, dollars: float | None) -> str:
    """Return a line: `dollars` more for a prompt (without a key: of ended processes), None if it is settled."""
    return json.dumps({"key": key, "dollars": dollars}) + "\n"


def _total_in(file: Path) -> float:
    """Return the US dollars that are not settled; lines that cannot be read (torn, or damaged) are left out."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return 0.0
    found: dict[str | None, float] = {}
    for line in lines:
        try:
            entry: Any = json.loads(line)
            key, dollars = entry["key"], entry["dollars"]
            found[key] = 0.0 if dollars is None else found.get(key, 0.0) + float(dollars)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return math.fsum(cost for cost in found.values() if cost > _ROUNDING and math.isfinite(cost))
