"""Stores beside a run's own: each worker that answers for it keeps one, and what they hold is brought together.

    OUT/ray/stores/ID/    the store of one worker, of the form that a run's own has (`responses.store`)

A worker writes to its own store alone, so that no two write to one file, and reads the others' before it asks anything:
what a killed worker had answered is there, whoever is given its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from valuestrata.errors import UsageError
from valuestrata.responses.run.store import FILE, Store, key_and_success

RAY = "ray"
STORES = f"{RAY}/stores"
SECONDS_TO_WAIT = 30.0
_SECONDS_BETWEEN_LOOKS = 0.5


class _Place(NamedTuple):
    """Where a row lies, and whether it is a success."""

    file: Path
    offset: int
    length: int
    success: bool


class Known:
    """The rows of several stores, read without opening them for writing, and on from where it stopped when they have grown."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        """Read nothing yet; `files` is asked for the stores' files at each `refresh`, for new ones come while others write."""
        self._files = files
        self._ends: dict[Path, int] = {}
        self._places: dict[str, _Place] = {}
        self._replaced: dict[str, list[_Place]] = {}
        self.successes = 0

    def refresh(self) -> None:
        """Take in what was written since the last time; half a line at the end of a file is left for the next."""
        for file in self._files():
            try:
                with file.open("rb") as lines:
                    self._read(file, lines)
            except FileNotFoundError:
                continue  # its worker is about to make it

    def _read(self, file: Path, lines: BinaryIO) -> None:
        offset = self._ends.get(file, 0)
        lines.seek(offset)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            start, offset = offset, offset + len(line)
            found = key_and_success(line)
            if found is not None:
                self._add(found[0], _Place(file, start, len(line), found[1]))
        self._ends[file] = offset

    def _add(self, key: str, place: _Place) -> None:
        before = self._places.get(key)
        if before is None or not before.success:
            self._places[key] = place
            self.successes += place.success
            if before is not None:
                self._replaced.setdefault(key, []).append(before)

    def __len__(self) -> int:
        """Number of identities with a success or a failure."""
        return len(self._places)

    @property
    def asked_again(self) -> int:
        """Number of identities with failures that something came after."""
        return len(self._replaced)

    def has(self, key: str) -> bool:
        """Whether some store has a success of the identity `key`."""
        place = self._places.get(key)
        return place is not None and place.success

    def row(self, key: str) -> dict[str, Any] | None:
        """Return the row of an identity: its success, else its latest failure, None where there is neither."""
        place = self._places.get(key)
        if place is None:
            return None
        with place.file.open("rb") as lines:
            return _row_at(lines, place)

    def replaced(self, key: str) -> list[dict[str, Any]]:
        """Return the failures of an identity that were asked again, in their order."""
        found: list[dict[str, Any]] = []
        for place in self._replaced.get(key, ()):
            with place.file.open("rb") as lines:
                found.append(_row_at(lines, place))
        return found

    def rows(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
        """Yield each identity that is wanted, whether it has a success, and its row."""
        with contextlib.ExitStack() as opened:
            handles: dict[Path, BinaryIO] = {}
            for key, place in self._places.items():
                if not wanted(key):
                    continue
                if place.file not in handles:
                    handles[place.file] = opened.enter_context(place.file.open("rb"))
                yield key, place.success, _row_at(handles[place.file], place)


def new_store(out: Path) -> Store:
    """Open a store of its own for a worker of the run in `out`."""
    return Store(out / STORES / uuid.uuid4().hex)


def files_of_workers(out: Path) -> list[Path]:
    """Return the stores' files of all workers that the run in `out` has or had."""
    folder = out / STORES
    return [place / FILE for place in sorted(folder.iterdir())] if folder.is_dir() else []


def busy_workers(out: Path) -> int:
    """Return how many workers hold their stores open: those of a call that has not ended yet."""
    busy = 0
    for file in files_of_workers(out):
        try:
            Store(file.parent).close()
        except UsageError:
            busy += 1
    return busy


def recover(out: Path, store: Store) -> int:
    """Bring into a run's store what the workers of a call that broke off have answered; return how many rows were new.

    Workers of a call that was killed may take a moment to notice; they are waited for.

    Raises:
        UsageError: they go on answering.
    """
    ends = time.monotonic() + SECONDS_TO_WAIT
    while busy := busy_workers(out):
        if time.monotonic() > ends:
            raise UsageError(f"{out}: {busy} Ray workers of another call are still answering in this run; end that call first.")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return gather(out, store)


def gather(out: Path, store: Store) -> int:
    """Bring what the workers of the run in `out` have stored into its own store; return how many rows were new to it.

    Of a worker that still writes, what it has written is brought. Nothing is removed, so that it may be done again.
    """
    return sum(merge(store, file) for file in files_of_workers(out))


def forget(out: Path, store: Store) -> None:
    """Remove what a call on Ray kept beside the run, once the run's own store, which has it all, is on the disk."""
    with store.file.open("rb") as written:
        os.fsync(written.fileno())
    shutil.rmtree(out / RAY, ignore_errors=True)


def merge(store: Store, file: Path) -> int:
    """Append the rows of another store's file that `store` lacks; return how many those were.

    A success is appended where `store` has none of its identity, a failure where it has neither a success nor this failure. Of
    failures that were asked again those that cost something come as well, so that no dollar is lost count of.
    """
    theirs = Known(lambda: [file])
    theirs.refresh()
    ours = Known(lambda: [store.file])
    if theirs.successes < len(theirs) or theirs.asked_again:  # only failures are compared, and most stores have none
        ours.refresh()
    new = 0
    for key, success, row in theirs.rows(lambda key: not store.has(key)):
        known = [*ours.replaced(key), ours.row(key)]
        failures = [*(failure for failure in theirs.replaced(key) if failure.get("cost")), *([] if success else [row])]
        rows = [failure for failure in failures if failure not in known] + ([row] if success else [])
        new += sum(store.append(key, one) for one in rows)
    return new


def _row_at(lines: BinaryIO, place: _Place) -> dict[str, Any]:
    lines.seek(place.offset)
    document: dict[str, Any] = json.loads(lines.read(place.length))
    del document["key"], document["crc"]
    return document
