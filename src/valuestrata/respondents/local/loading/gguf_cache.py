"""GGUF files converted once: transformers takes a third of a minute to read even a small one.

Each file is converted into a folder in the format of transformers, with the weights as they would be computed in memory, so
that answers do not change. The folder is named after the file's hash, the number type and the versions of everything that
converts; one process converts while others wait, and a folder that is incomplete or damaged is made again. The folders may
be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
import zlib
from collections.abc import Callable, Generator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.files import folder_written_beside, read_json, write_json

FOLDER_VARIABLE = "VALUESTRATA_CACHE_DIR"
# Raise it when converted folders change.
_FORMAT = 1
_COMPLETE = "complete.json"
_BLOCK = 1 << 22


def cache_folder() -> Path:
    """Return the folder of converted models.

    `VALUESTRATA_CACHE_DIR`, else `valuestrata` in `XDG_CACHE_HOME`, else in the user's cache folder of the platform.
    """
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own).expanduser() / "gguf"
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "valuestrata" / "gguf"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "valuestrata" / "gguf"


def converted(digest: str, dtype: str, convert: Callable[[Path], None]) -> Path | None:
    """Return the folder of a converted GGUF file, converting it if necessary.

    Args:
        digest: SHA-256 of the file. dtype: number type of the weights.
        convert: writes the converted model into an empty folder.

    Returns:
        The folder; None if it cannot be written, which is warned of.
    """
    root = cache_folder()
    name = f"{digest[:32]}-{dtype}"
    place = root / f"{name}-{_FORMAT}-transformers-{version('transformers')}-gguf-{version('gguf')}"
    # Errors of reading the GGUF file are InputDataError, so those caught here are of the cache.
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f"{name}.lock"):
            if _is_complete(place):
                return place
            # Nobody else has the lock: folders of this name are damaged, of another version, or were left by a killed process.
            for old in [*root.glob(f"{name}-*"), *root.glob(f".{name}-*")]:
                shutil.rmtree(old)
            with folder_written_beside(place) as folder:
                convert(folder)
                write_json(folder / _COMPLETE, {file.name: _checksum(file) for file in sorted(folder.iterdir())})
            return place
    except OSError as error:
        warnings.warn(
            f"{error.filename or root}: the converted model could not be kept ({error.strerror or error}), so every start converts it "
            f"again. Free some disk space, or set {FOLDER_VARIABLE} to a folder that can be written.",
            stacklevel=2,
        )
        return None


def _is_complete(folder: Path) -> bool:
    """Whether a converted folder has every file as it was written."""
    try:
        listed: Mapping[str, Any] = read_json(folder / _COMPLETE)
        return bool(listed) and all(_checksum(folder / name) == checksum for name, checksum in listed.items())
    except (InputDataError, OSError, AttributeError):
        return False


def _checksum(file: Path) -> str:
    """Return size and CRC-32 of a file; against damage, a third of the time of a cryptographic hash."""
    total = size = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            total = zlib.crc32(block, total)
            size += len(block)
    return f"{size}-{total:08x}"


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold a lock between processes; it ends with the process."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
