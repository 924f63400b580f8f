"""Unpacks ZIP archives and compressed files within limits, because a small file can unpack to more than the memory holds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO

from valuestrata.errors import InputDataError, one_line

# A file may unpack to SMALL bytes. Above that, it may grow by the factor MOST_GROWTH, up to MOST_UNPACKED bytes. Survey files
# grow by a factor of 5 to 50.
SMALL = 64 * 2**20
MOST_GROWTH = 200
MOST_UNPACKED = 2 * 2**30

_CHUNK = 2**20
# What the standard library raises for damaged archives; a struct error and OSError come from impossible positions.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError)


def most_unpacked(path: Path) -> int:
    """Return the number of bytes that a file may unpack to."""
    return min(MOST_UNPACKED, max(SMALL, MOST_GROWTH * path.stat().st_size))


def unpack(path: Path, folder: Path, endings: Collection[str]) -> Path:
    """Unpack the only survey file of a ZIP archive into a folder and return its path.

    Args:
        path: the archive.
        folder: where to write the file. Its name there is `survey` and its ending.
        endings: endings of survey files, in lower case. Files that end in `.txt` count only if there is no other.

    Raises:
        InputDataError: damaged, encrypted, larger than `most_unpacked`, or not exactly one survey file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
            candidates = [entry for entry in inside if _ending(entry) in endings and _ending(entry) not in (".zip", ".txt")]
            candidates = candidates or [entry for entry in inside if _ending(entry) == ".txt"]
            if len(candidates) != 1:
                listed = ", ".join(one_line(PurePosixPath(entry.filename).name) for entry in (candidates or inside)[:10]) or "nothing"
                raise InputDataError(
                    f"the archive must hold exactly one survey file; it holds {len(candidates)} ({listed}). Unpack it and choose one."
                )
            target = folder / f"survey{_ending(candidates[0])}"
            with archive.open(candidates[0]) as packed, target.open("wb") as unpacked:
                _copy(packed, unpacked, most_unpacked(path))
            return target
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unsupported compression
        raise InputDataError(f"the archive cannot be unpacked ({error}). Unpack it and give the path of the file inside.") from error
    except _DAMAGED as error:
        raise InputDataError(f"not a readable ZIP archive, or one cut short ({error}).") from error


def check_workbook(path: Path) -> None:
    """Raise InputDataError if a workbook (.xlsx) is damaged or its parts unpack to more than `most_unpacked`."""
    limit = most_unpacked(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > limit:
                raise _too_large(limit)
            damaged = archive.testzip()  # also finds a part that is larger than it declares
    except (RuntimeError, NotImplementedError) as error:
        raise InputDataError(f"the workbook cannot be unpacked ({error}). Save it without a password.") from error
    except _DAMAGED as error:
        raise InputDataError(f"not a readable Excel workbook, or one cut short ({error}).") from error
    if damaged is not None:
        raise InputDataError(f"not a readable Excel workbook: its part {one_line(damaged)} is damaged. Get a complete copy.")


def decompressed(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if it is a gzip, bzip2 or xz file.

    Raises:
        InputDataError: more than `most_unpacked` bytes, or compressed twice.
        OSError, EOFError, zlib.error, lzma.LZMAError: damaged.
    """
    limit = most_unpacked(path)
    with path.open("rb") as file:
        stream = _expanding(file)
        data = file.read() if stream is None else stream.read(limit + 1)
    if stream is not None and len(data) > limit:
        raise _too_large(limit)
    if stream is not None and _expanding(io.BytesIO(data)) is not None:
        raise InputDataError("the file is compressed twice. Decompress it once.")
    return data


def _expanding(file: IO[bytes]) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | None:
    """Return a stream of the decompressed bytes, or None if the file is not compressed."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if start.startswith(b"\xfd7zXZ") else None


def _copy(packed: IO[bytes], unpacked: IO[bytes], limit: int) -> None:
    size = 0
    while chunk := packed.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        unpacked.write(chunk)


def _too_large(limit: int) -> InputDataError:
    return InputDataError(
        f"it unpacks to more than {limit / 2**20:,.0f} MB, which is more than a survey of this size needs. If the file is sound, "
        "unpack it and give the path of the file inside."
    )


def _ending(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename).suffix.lower()


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")
