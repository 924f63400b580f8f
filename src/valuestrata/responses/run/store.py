"""The append-only store behind a run: every answer is on disk before the next one is awaited.

One file of JSON lines. A line is written with one call, and ends with a check sum of itself, so that after `kill -9`
at any point, or a lost power supply, every line is known to be whole or not to be one. What is not whole is ignored;
a torn end is cut off by the next process that opens the store, so that its lines start on a fresh line. A lock lets one
process write at a time; readers need none.

A failure is kept for the record and does not count as an answer: the key may be asked again. A success is kept once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.responses.run.schema import RESPONSES

FILE = "responses.jsonl"
LOCK = "lock"
FAILED = "failed"

# Lines reach the operating system one by one (a killed process loses none); the disk itself is waited for this often.
SECONDS_BETWEEN_SYNCS = 1.0
_ROWS_A_SLICE = 50_000

_HEAD = b'{"key":"'
_KEY_LENGTH = 64
_STATUS = b'","status":"'
_SUM = b',"crc":"'
_TAIL_LENGTH = len(_SUM) + 8 + len(b'"}')

Place = tuple[int, int, bool]
"""Where a line lies (offset, length) and whether it is a success."""


class Store:
    """The store of one run, open for writing; use it as a context manager.

    Attributes:
        file: the file of JSON lines.
        ignored: lines found damaged and ignored.
    """

    def __init__(self, folder: Path) -> None:
        """Lock and open the store in `folder`, made if it is not there.

        Raises:
            UsageError: another process has it open; names its id.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / FILE
        self._lock = _locked(folder / LOCK)
        try:
            self._places, self._replaced, self.ignored, self._size = _index(self.file)
            self._handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._handle, self._size)
        except BaseException:
            os.close(self._lock)
            raise
        self._synced = time.monotonic()
        self._successes = sum(success for _, _, success in self._places.values())

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of identities with a success or a failure."""
        return len(self._places)

    @property
    def successes(self) -> int:
        """Number of identities with a success."""
        return self._successes

    @property
    def failures(self) -> int:
        """Number of identities that failed and have no success."""
        return len(self._places) - self._successes

    @property
    def size(self) -> int:
        """Bytes written so far: another number than before whenever something was appended."""
        return self._size

    def has(self, key: str) -> bool:
        """Whether the identity `key` was answered; a failure does not count."""
        place = self._places.get(key)
        return place is not None and place[2]

    def append(self, key: str, row: Mapping[str, Any]) -> bool:
        """Write a row of the table of responses under its identity; return False, writing nothing, if it has a success already.

        Raises:
            RunFailedError: the disk does not take it (full, gone). What was written before stays.
        """
        if self.has(key):
            return False
        line = _line(key, row)
        try:
            _write_whole(self._handle, line)
        except OSError as error:
            # Half a line may be there: cut it off now if the disk lets us, else the next opening does.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise self._unwritten(error) from error
        success = row["status"] != FAILED
        if key in self._places:
            self._replaced.append(self._places[key])
        self._places[key] = (self._size, len(line), success)
        self._size += len(line)
        self._successes += success
        try:
            self._sync_now_and_then()
        except OSError as error:
            # The line stays: what was paid for may have reached the disk, and its check sum says whether it did.
            raise self._unwritten(error) from error
        return True

    def _unwritten(self, error: OSError) -> RunFailedError:
        return RunFailedError(
            f"{self.file}: could not be written ({error.strerror}). All {self._successes:,} answers before are kept; "
            "mend that and run the same command again."
        )

    def close(self) -> None:
        """Wait for the disk and give the lock back."""
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)
            os.close(self._lock)

    def tried(self, key: str) -> bool:
        """Whether the identity `key` was asked and failed, and has no answer."""
        place = self._places.get(key)
        return place is not None and not place[2]

    def cost_of_replaced(self) -> float:
        """Return what failures cost (US dollars) that the table no longer shows, because their prompts were asked again."""
        with self.file.open("rb") as lines:
            total = 0.0
            for offset, length, _ in self._replaced:
                lines.seek(offset)
                total += json.loads(lines.read(length)).get("cost") or 0.0
        return total

    def table(self) -> pl.DataFrame:
        """Return the table of responses: one row an identity, its success or else its latest failure."""
        return _table(self.file, self._places)

    def _sync_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._synced >= SECONDS_BETWEEN_SYNCS:
            os.fsync(self._handle)
            self._synced = now


def read_store(folder: Path) -> pl.DataFrame:
    """Return the table of responses of a store, without opening it for writing."""
    return _table(folder / FILE, _index(folder / FILE).places)


def answered_keys(folder: Path) -> frozenset[str]:
    """Return the identities that a store has a success of, without opening it for writing; none where there is no store."""
    return frozenset(key for key, (_, _, success) in _index(folder / FILE).places.items() if success)


def store_size(folder: Path) -> int | None:
    """Return the bytes of a store's file, None where there is no store."""
    try:
        return (folder / FILE).stat().st_size
    except FileNotFoundError:
        return None


def _locked(path: Path) -> int:
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise UsageError(
            f"{path.parent.parent}: another process (id {holder}) is asking in this run; wait for it or choose another folder with -o."
        ) from error
    except OSError as error:
        os.close(handle)
        raise UsageError(
            f"{path}: the file system does not lock files ({error.strerror}), and two processes would ask the same; choose a folder on "
            "another one with -o."
        ) from error
    os.ftruncate(handle, 0)
    with contextlib.suppress(OSError):  # a full disk: who holds the lock is for the eye, and the first answer will say it better
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _write_whole(handle: int, line: bytes) -> None:
    written = os.write(handle, line)
    while written < len(line):  # a nearly full disk takes a part; the next call says why
        written += os.write(handle, line[written:])


def _line(key: str, row: Mapping[str, Any]) -> bytes:
    # Key and status come first and have no escapes, so that resuming reads them without parsing JSON.
    if len(key) != _KEY_LENGTH:
        raise ValueError(f"a key is {_KEY_LENGTH} hexadecimal digits, not {key!r}")
    document = {"key": key, "status": row["status"], **{name: value for name, value in row.items() if name != "status"}}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = text[:-1].encode("utf-8")
    return body + _SUM + f"{zlib.crc32(body):08x}".encode() + b'"}\n'


class _Index(NamedTuple):
    """Where the rows lie by key, where failures lie that were asked again, damaged lines, bytes to the end of the last whole line."""

    places: dict[str, Place]
    replaced: list[Place]
    damaged: int
    size: int


def _index(file: Path) -> _Index:
    places: dict[str, Place] = {}
    replaced: list[Place] = []
    damaged = 0
    offset = 0
    if not file.is_file():
        return _Index(places, replaced, 0, 0)
    with file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            start, offset = offset, offset + len(line)
            parts = key_and_success(line)
            if parts is None:
                damaged += 1
                continue
            key, success = parts
            known = places.get(key)
            if known is None or not known[2]:
                places[key] = (start, len(line), success)
                if known is not None:
                    replaced.append(known)
    return _Index(places, replaced, damaged, offset)


def key_and_success(line: bytes) -> tuple[str, bool] | None:
    """Return the identity of a stored line and whether it is a success; None of a line that is not whole."""
    body = line[: -_TAIL_LENGTH - 1]
    after = len(_HEAD) + _KEY_LENGTH
    if not line.startswith(_HEAD) or line[after : after + len(_STATUS)] != _STATUS:
        return None
    if line[len(body) :] != _SUM + b'%08x"}\n' % zlib.crc32(body):
        return None
    status = line[after + len(_STATUS) :]
    return line[len(_HEAD) : after].decode("ascii"), not status.startswith(FAILED.encode() + b'"')


def _table(file: Path, places: Mapping[str, Place]) -> pl.DataFrame:
    if not places:
        return RESPONSES.empty()
    frames = [_parsed(lines) for lines in _slices(file, places)]
    return pl.concat(frames).sort("item", "subgroup", "template", "order", "paraphrase", "sample", maintain_order=True)


def _slices(file: Path, places: Mapping[str, Place]) -> Iterator[bytes]:
    wanted = sorted((offset, length) for offset, length, _ in places.values())
    with file.open("rb") as handle:
        for first in range(0, len(wanted), _ROWS_A_SLICE):
            some = wanted[first : first + _ROWS_A_SLICE]
            start = some[0][0]
            handle.seek(start)
            block = handle.read(some[-1][0] + some[-1][1] - start)
            whole = sum(length for _, length in some) == len(block)
            yield block if whole else b"".join(block[offset - start : offset - start + length] for offset, length in some)


def _parsed(lines: bytes) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in RESPONSES.columns.items()}
    return pl.read_ndjson(io.BytesIO(lines), schema=schema)
