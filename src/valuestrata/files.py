"""Atomic writing of files and folders: written under a temporary name next to their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, did_you_mean


def check_file(path: Path) -> None:
    """Raise InputDataError unless the path leads to a regular file: reading a pipe or a device may never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = did_you_mean(path.name, siblings)
        raise InputDataError(f"{path}: the file does not exist.{close if 'Did you' in close else ''}") from error
    except ValueError as error:
        raise InputDataError(f"{str(path)!r}: a path cannot hold a NUL character.") from error
    except OSError as error:
        reason = "its symbolic links form a loop" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise InputDataError(f"{path}: the file cannot be read ({reason}).") from error
    if stat.S_ISDIR(mode):
        raise InputDataError(f"{path}: this is a folder; give the path of a file.")
    if not stat.S_ISREG(mode):
        raise InputDataError(f"{path}: this is a pipe or a device, not a file. Save its content to a file first.")


# Of text files: codebooks, studies and the JSON files of data sets and runs.
MAX_BYTES = 16 << 20
MAX_DEPTH = 100
# Leaves room for the names of temporary files, within the 255 bytes of common file systems.
_LONGEST_NAME = 200
_SEPARATORS = "/\\" if os.name == "posix" else '/\\<>:"|?*'
_TEMPORARY, _RETIRED = ".vs-tmp", ".old"
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]{1,10})-(?P<machine>[0-9a-f]{8})-[a-z0-9_]{8}\.vs-tmp(?P<retired>\.old)?", re.DOTALL)
# How long temporary files of another machine are kept.
_KEPT_SECONDS = 7 * 24 * 3600
_NOT_TEXT = re.compile(r"[\x00\ud800-\udfff]")


def name_problem(name: str) -> str | None:
    """Return why a text cannot be the name of a file or folder inside another, for a message; None if it can."""
    if not name.strip() or not name.strip(". "):
        return "a name needs a character that is neither a dot nor a space"
    if wrong := next((sign for sign in name if sign in _SEPARATORS or not sign.isprintable()), None):
        return f"a name must not contain {wrong!r}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        return f"a name has at most {_LONGEST_NAME} bytes"
    return None


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, with its symbolic links followed, is a folder or inside it; neither needs to exist."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


@contextmanager
def written_beside(path: Path) -> Generator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` on success, remove it on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named_after(path):
        remove_leftovers(path.parent)
        handle, name = tempfile.mkstemp(prefix=f"{_prefix(path)}{_owner()}-", suffix=_TEMPORARY, dir=path.parent)
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
        remove_leftovers(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f"{_prefix(path)}{_owner()}-", suffix=_TEMPORARY, dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            retired = temporary.with_name(f"{temporary.name}{_RETIRED}")
            if path.exists():
                path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Yield a folder among the system's temporary files; it is removed in the end, or by a later process if this one is killed."""
    parent = Path(tempfile.gettempdir())
    remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=f".valuestrata.{_owner()}-", suffix=_TEMPORARY, dir=parent) as folder:
        yield Path(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in a folder.

    Their names hold the process that made them. Those of running processes are kept, and those of other machines for a week. If a
    process was killed while it replaced a folder, the earlier folder is put back.
    """
    try:
        names = [entry.name for entry in folder.iterdir() if entry.name.endswith((_TEMPORARY, _TEMPORARY + _RETIRED))]
    except OSError:
        return  # the folder cannot be listed, or does not exist yet
    for match in filter(None, map(_LEFTOVER.fullmatch, names)):
        entry, place = folder / match[0], folder / match["name"]
        # Another process may remove it at the same time.
        with contextlib.suppress(OSError):
            if _is_running(int(match["pid"]), match["machine"], entry):
                continue
            if match["retired"] and not place.exists():
                entry.rename(place)
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def _is_running(pid: int, machine: str, entry: Path) -> bool:
    """Whether the process that made a temporary file may still use it."""
    if os.name != "posix" or machine != _machine():
        return time.time() - entry.lstat().st_mtime < _KEPT_SECONDS
    try:
        os.kill(pid, 0)  # no signal is sent
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _owner() -> str:
    return f"{os.getpid()}-{_machine()}"


@cache
def _machine() -> str:
    """Return 8 characters that differ between machines, and between containers, whose processes have numbers of their own."""
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return hashlib.sha256(f"{platform.node()} {processes}".encode()).hexdigest()[:8]


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
    """Read a JSON document of at most 16 MiB.

    Raises:
        InputDataError: the file is absent, not UTF-8 or not JSON, has a key twice, is nested more than 100 levels deep, or holds text
            that cannot be written (NUL characters and halves of surrogate pairs).
    """
    try:
        document = json.loads(read_utf8(path), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InputDataError(f"{path}: not a JSON file ({error}).") from error
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        if wrong := next((one for one in level if isinstance(one, str) and _NOT_TEXT.search(one)), None):
            raise InputDataError(f"{path}: the text {wrong[:40]!a} holds a character that cannot be written.")
        inner = (value for one in level if isinstance(one, dict) for pair in one.items() for value in pair)
        level = [*inner, *(value for one in level if isinstance(one, list) for value in one)]
        if not level:
            return document
    raise InputDataError(f"{path}: not a file of this program: it is nested more than {MAX_DEPTH} levels deep.")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return made


def read_utf8(path: Path) -> str:
    """Read a text file of at most 16 MiB; InputDataError if it is absent, another kind of file, too large or not UTF-8."""
    check_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputDataError(f"{path}: the file cannot be read ({error.strerror}).") from error
    if len(raw) > MAX_BYTES:
        raise InputDataError(f"{path}: the file is larger than {MAX_BYTES >> 20} MiB, the most that is read.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputDataError(
            f"{path}, line {line}: not a UTF-8 text file: found the byte 0x{raw[error.start]:02x}. Save the file as UTF-8."
        ) from error


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
    check_file(path)
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputDataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex; InputDataError if it is absent or not a regular file."""
    check_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_hash(document: Any) -> str:
    """Return the SHA-256 of a JSON-like document, independent of the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
