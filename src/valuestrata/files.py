"""Atomic writing of files and folders: written under a temporary name next to their place, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError


@contextmanager
def written_beside(path: Path) -> Generator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` on success, remove it on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named_after(path):
        handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_beside(path: Path) -> Generator[Path]:
    """Yield a temporary folder; on success it replaces `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named_after(path):
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            retired = temporary.with_name(f"{temporary.name}.old")
            if path.exists():
                path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _prefix(path: Path) -> str:
    return f".{path.name}."


@contextmanager
def _named_after(path: Path) -> Generator[None]:
    """Raise an OSError of the temporary file as one of `path`, which the user knows; others pass unchanged.

    An OSError without a file name (a full disk gives none) counts as one of `path`.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _is_temporary_of(path, error.filename):
            raise
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error


def _is_temporary_of(path: Path, name: object) -> bool:
    """Whether an error's file name is that of a temporary of `path`, or inside one."""
    beside = str((path.parent / _prefix(path)).resolve())
    return isinstance(name, (str, bytes, os.PathLike)) and str(Path(os.fsdecode(name)).resolve()).startswith(beside)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with written_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a document as indented JSON, atomically."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, sort_keys=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document; InputDataError names the file if it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputDataError(f"{path}: the file does not exist.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: not a JSON file ({error}).") from error


def write_parquet(path: Path, frame: pl.DataFrame, *, metadata: dict[str, str] | None = None) -> None:
    """Write a frame as Parquet (zstd) atomically, with `metadata` in its footer."""
    with written_beside(path) as temporary:
        try:
            frame.write_parquet(temporary, compression="zstd", metadata=metadata)
        except pl.exceptions.ComputeError as error:
            # Polars raises this for a full disk and other errors of the system.
            raise OSError(errno.EIO, f"could not be written ({str(error).splitlines()[0]})", str(temporary)) from error


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file; InputDataError names the file if it is absent or broken."""
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise InputDataError(f"{path}: the file does not exist.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputDataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_hash(document: Any) -> str:
    """Return the SHA-256 of a JSON-like document, independent of the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
