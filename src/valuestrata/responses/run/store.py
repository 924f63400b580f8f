"""Append-only store of a run: each response is written before the next one is awaited.

The store is one file of JSON lines. Each line is written in one call and ends with its own checksum, so a line torn by a
crash is recognised and ignored; the next process that opens the store removes a torn end. One process writes at a time,
guarded by a lock; readers need no lock. A database such as SQLite is not safe on network file systems, where the runs of a
cluster usually are; appending is.

A success is stored once. A failure is stored for the record and does not count as an answer: its key may be asked again.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.files import written_beside
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store_index import FAILED, Place, StoreIndex, line_of, rows_at

FILE = "responses.jsonl"
LOCK = "lock"
# Damaged lines that were removed from the store.
DAMAGED = "damaged.jsonl"

# Each line reaches the operating system at once, so a killed process loses none; the file is synced to disk this often.
SECONDS_BETWEEN_SYNCS = 1.0
_TAIL = 1 << 20
_ROWS_PER_BLOCK = 50_000


class Store:
    """Store of one run, open for writing; a context manager.

    Attributes:
        file: the file of JSON lines. index: keys and places of its lines.
        remarks: messages for the user about damaged lines.
    """

    def __init__(self, folder: Path) -> None:
        """Lock and open the store in `folder`, created if necessary.

        Raises:
            UsageError: another process has it open (names its id), or the file system does not support locks.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / FILE
        self.remarks: list[str] = []
        self._lock = _locked(folder / LOCK)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self._synced = time.monotonic()

    def _open(self) -> None:
        self.index = _index(self.file)
        self._size = self.index.ends.get(self.file, 0)
        # The torn end of a store is one line; this is a whole file whose line ends were converted.
        if self.file.is_file() and b'"}\r{' in _bytes_at(self.file, self._size):
            raise InputDataError(f"{self.file}: its lines end in carriage returns; convert them to line feeds (for example with tr).")
        self._handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._handle, self._size)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of keys with a success or a failure."""
        return len(self.index)

    @property
    def successes(self) -> int:
        """Number of keys with a success."""
        return self.index.successes

    @property
    def failures(self) -> int:
        """Number of keys that failed and have no success."""
        return len(self.index) - self.index.successes

    @property
    def size(self) -> int:
        """Size of the file in bytes; it grows with every appended line."""
        return self._size

    def has(self, key: str) -> bool:
        """Whether `key` has a success."""
        return self.index.has(key)

    def tried(self, key: str) -> bool:
        """Whether `key` failed and has no success."""
        return self.index.tried(key)

    def append(self, key: str, row: Mapping[str, Any]) -> bool:
        """Append a row of RESPONSES; return False without writing if `key` has a success already.

        Raises:
            RunFailedError: the disk cannot be written. Earlier rows are kept.
        """
        if self.has(key):
            return False
        line = line_of(key, row)
        try:
            written = os.write(self._handle, line)
            while written < len(line):  # a nearly full disk writes a part; the next call raises
                written += os.write(self._handle, line[written:])
        except OSError as error:
            # Remove a partly written line now if possible; otherwise the next opening does.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise self._unwritten(error) from error
        self.index.add(key, Place(self.file, self._size, len(line), row["status"] != FAILED))
        self._size += len(line)
        now = time.monotonic()
        try:
            if now - self._synced >= SECONDS_BETWEEN_SYNCS:
                os.fsync(self._handle)
                self._synced = now
        except OSError as error:
            # The line may have reached the disk; its checksum tells.
            raise self._unwritten(error) from error
        return True

    def _unwritten(self, error: OSError) -> RunFailedError:
        return RunFailedError(
            f"{self.file}: could not be written ({error.strerror}). All {self.successes:,} earlier answers are kept; "
            "fix the disk and run the same command again."
        )

    def close(self) -> None:
        """Sync to disk and release the lock."""
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)
            os.close(self._lock)

    def set_damage_aside(self) -> None:
        """Move damaged lines to the file DAMAGED next to the store. Without damaged lines nothing is written."""
        if not self.index.damage:
            return
        numbers = {line.number for line in self.index.damage}
        with written_beside(self.file) as kept, (self.file.parent / DAMAGED).open("ab") as aside:
            with self.file.open("rb") as lines, kept.open("wb") as whole:
                for number, line in enumerate(lines, start=1):
                    (aside if number in numbers else whole).write(line)
            aside.flush()
            os.fsync(aside.fileno())
        os.close(self._handle)
        self._open()

    def cost_of_replaced(self) -> float:
        """Return the cost (US dollars) of failures that were retried and are therefore not in the table."""
        retried = (place for places in self.index.retried.values() for place in places)
        return float(sum(row.get("cost") or 0.0 for row in rows_at(retried)))

    def table(self) -> pl.DataFrame:
        """Return RESPONSES: one row per key, its success or else its latest failure."""
        return _table(self.index)


def read_store(folder: Path) -> pl.DataFrame:
    """Return the table of a store without opening it for writing."""
    return _table(_index(folder / FILE))


def store_index(folder: Path) -> StoreIndex:
    """Return the index of a store without opening it for writing."""
    return _index(folder / FILE)


def spent_in(folder: Path) -> float:
    """Return what the calls in the store of a run cost so far (US dollars), those retried later included; 0 without a store."""
    index = _index(folder / FILE)
    retried = (place for places in index.retried.values() for place in places)
    return float(sum(row.get("cost") or 0.0 for places in (index.places.values(), retried) for row in rows_at(places)))


def answered_keys(folder: Path) -> frozenset[str]:
    """Return the keys with a success, without opening the store for writing; empty if there is no store."""
    return frozenset(key for key, place in _index(folder / FILE).places.items() if place.success)


def store_size(folder: Path) -> int | None:
    """Return the size of a store's file in bytes, None if there is no store."""
    try:
        return (folder / FILE).stat().st_size
    except FileNotFoundError:
        return None


def _bytes_at(file: Path, offset: int) -> bytes:
    with file.open("rb") as handle:
        handle.seek(offset)
        return handle.read(_TAIL)


def _index(file: Path) -> StoreIndex:
    index = StoreIndex(lambda: [file])
    index.refresh()
    return index


def _locked(path: Path) -> int:
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise UsageError(
            f"{path.parent.parent}: another process (id {holder}) is asking in this run; wait for it, or choose another folder with -o."
        ) from error
    except OSError as error:
        os.close(handle)
        raise UsageError(
            f"{path}: the file system does not support file locks ({error.strerror}), which keep two processes from asking the same "
            "prompts; choose a folder on another file system with -o."
        ) from error
    os.ftruncate(handle, 0)
    with contextlib.suppress(OSError):  # on a full disk the first append reports the error
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _table(index: StoreIndex) -> pl.DataFrame:
    if not index.places:
        return RESPONSES.empty()
    schema = {name: column.dtype for name, column in RESPONSES.columns.items()}
    frames = [pl.read_ndjson(io.BytesIO(block), schema=schema) for block in _blocks(index.places.values())]
    return pl.concat(frames).sort("item", "subgroup", "template", "order", "paraphrase", "sample", maintain_order=True)


def _blocks(places: Iterable[Place]) -> Iterator[bytes]:
    """Yield the lines at places of one file, in the order of the file, several per block."""
    wanted = sorted(places, key=lambda place: place.offset)
    with wanted[0].file.open("rb") as handle:
        for first in range(0, len(wanted), _ROWS_PER_BLOCK):
            some = wanted[first : first + _ROWS_PER_BLOCK]
            start = some[0].offset
            handle.seek(start)
            block = handle.read(some[-1].offset + some[-1].length - start)
            whole = sum(place.length for place in some) == len(block)
            yield block if whole else b"".join(block[place.offset - start : place.offset - start + place.length] for place in some)
