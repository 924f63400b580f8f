"""Line format of the store, and an index of the lines of one or more store files."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

FAILED = "failed"

_HEAD = b'{"key":"'
_KEY_LENGTH = 64
_STATUS = b'","status":"'
_SUM = b',"crc":"'
_KEY = re.compile(rb'\{"key":"([0-9a-f]{64})"')
BOM = b"\xef\xbb\xbf"
_TAIL_LENGTH = len(_SUM) + 8 + len(b'"}')


def line_of(key: str, row: Mapping[str, Any]) -> bytes:
    """Return the stored line of a row."""
    # Key and status come first and have no escapes, so resuming reads them without parsing JSON.
    if len(key) != _KEY_LENGTH:
        raise ValueError(f"a key must have {_KEY_LENGTH} hexadecimal digits, not {key!r}")
    document = {"key": key, "status": row["status"], **{name: value for name, value in row.items() if name != "status"}}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = text[:-1].encode("utf-8")
    return body + _SUM + f"{zlib.crc32(body):08x}".encode() + b'"}\n'


def key_and_success(line: bytes) -> tuple[str, bool] | None:
    """Return the key of a stored line and whether it is a success; None for a damaged line.

    Other line ends and a byte order mark, as an editor or a version control system writes them, are no damage.
    """
    if not line.endswith(b'"}\n') or not line.startswith(_HEAD):
        line = line.removeprefix(BOM).rstrip() + b"\n"
    body = line[: -_TAIL_LENGTH - 1]
    after = len(_HEAD) + _KEY_LENGTH
    if not line.startswith(_HEAD) or line[after : after + len(_STATUS)] != _STATUS:
        return None
    if line[len(body) :] != _SUM + b'%08x"}\n' % zlib.crc32(body):
        return None
    status = line[after + len(_STATUS) :]
    return line[len(_HEAD) : after].decode("ascii"), not status.startswith(FAILED.encode() + b'"')


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A damaged line of a store: its file, its number from 1, and its key if that can be read."""

    file: Path
    number: int
    key: str | None


def damaged_line(file: Path, number: int, line: bytes) -> DamagedLine:
    """Return the description of a damaged line."""
    found = _KEY.match(line)
    return DamagedLine(file, number, None if found is None else found[1].decode("ascii"))


# Not frozen: there is one per line, and frozen instances take three times as long to create.
@dataclass(slots=True)
class Place:
    """Place of a stored line: file, offset and length in bytes; and whether it is a success."""

    file: Path
    offset: int
    length: int
    success: bool


class StoreIndex:
    """Index of store files, read without a lock. Of each key it keeps the success, else the latest failure.

    Attributes:
        places: place of each key's line.
        retried: earlier failures of each key that was retried.
        ends: size of each file up to the last complete line read.
        successes: number of keys with a success.
        damage: the damaged lines.
    """

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        """Create an empty index; each `refresh` reads the `files()` that exist then."""
        self._files = files
        self.places: dict[str, Place] = {}
        self.retried: dict[str, list[Place]] = {}
        self.ends: dict[Path, int] = {}
        self.successes = 0
        self.damage: list[DamagedLine] = []
        self._lines: dict[Path, int] = {}

    def refresh(self) -> None:
        """Read what was appended since the last call; an incomplete last line is left for the next call."""
        for file in self._files():
            with contextlib.suppress(FileNotFoundError), file.open("rb") as lines:
                self._read(file, lines)

    def _read(self, file: Path, lines: BinaryIO) -> None:
        offset = self.ends.get(file, 0)
        number = self._lines.get(file, 0)
        lines.seek(offset)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            start, offset, number = offset, offset + len(line), number + 1
            found = key_and_success(line)
            if found is not None:
                if line.startswith(BOM):
                    start += len(BOM)
                self.add(found[0], Place(file, start, offset - start, found[1]))
            elif line.strip():
                self.damage.append(damaged_line(file, number, line))
        self.ends[file], self._lines[file] = offset, number

    @property
    def damaged(self) -> int:
        """Number of damaged lines."""
        return len(self.damage)

    def add(self, key: str, place: Place) -> None:
        """Add a line; a line after a success is ignored."""
        before = self.places.get(key)
        if before is None or not before.success:
            self.places[key] = place
            self.successes += place.success
            if before is not None:
                self.retried.setdefault(key, []).append(before)

    def __len__(self) -> int:
        """Number of keys with a success or a failure."""
        return len(self.places)

    def has(self, key: str) -> bool:
        """Whether `key` has a success."""
        place = self.places.get(key)
        return place is not None and place.success

    def tried(self, key: str) -> bool:
        """Whether `key` failed and has no success."""
        place = self.places.get(key)
        return place is not None and not place.success

    def row(self, key: str) -> dict[str, Any] | None:
        """Return the row of a key: its success, else its latest failure; None if it has neither."""
        place = self.places.get(key)
        return None if place is None else next(rows_at([place]))

    def earlier_failures(self, key: str) -> list[dict[str, Any]]:
        """Return the failures of a key that were retried, oldest first."""
        return list(rows_at(self.retried.get(key, ())))

    def rows(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
        """Yield each wanted key, whether it has a success, and its row."""
        kept = {key: place for key, place in self.places.items() if wanted(key)}
        for (key, place), row in zip(kept.items(), rows_at(kept.values()), strict=True):
            yield key, place.success, row


def rows_at(places: Iterable[Place]) -> Iterator[dict[str, Any]]:
    """Yield the rows at some places, in their order."""
    with contextlib.ExitStack() as opened:
        handles: dict[Path, BinaryIO] = {}
        for place in places:
            if place.file not in handles:
                handles[place.file] = opened.enter_context(place.file.open("rb"))
            handles[place.file].seek(place.offset)
            document: dict[str, Any] = json.loads(handles[place.file].read(place.length))
            del document["key"], document["crc"]
            yield document
