"""Find the data sets, runs, studies and pages in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from valuestrata.dataset.document import NAME as DATASET
from valuestrata.errors import InputDataError
from valuestrata.files import is_inside
from valuestrata.responses.run.folder import RUN

STUDY = "study.yaml"
# Folders below the one that is shown, and how many of them are read: a home folder must not take minutes.
MOST_DEPTH = 8
MOST_FOLDERS = 20_000
# Judges of `open stance` are runs inside the folder of the stances.
_INSIDE_RUN = ("judges",)


@dataclass
class Found:
    """What a folder holds; paths are inside it and sorted.

    Attributes:
        datasets, runs, studies: folders. pages: HTML files.
        unnamed: files and folders that are left out because their names are not UTF-8 text, so no address can name them.
        cut: whether folders were left out because there are too many or they are too deep.
    """

    datasets: list[Path] = field(default_factory=list[Path])
    runs: list[Path] = field(default_factory=list[Path])
    studies: list[Path] = field(default_factory=list[Path])
    pages: list[Path] = field(default_factory=list[Path])
    unnamed: list[Path] = field(default_factory=list[Path])
    cut: bool = False


def find(root: Path, *, most_depth: int = MOST_DEPTH, most_folders: int = MOST_FOLDERS) -> Found:
    """Return what a folder holds. Symbolic links to folders and hidden folders are not followed.

    A folder is recognised by its files: `dataset.json`, `run.json` or `study.yaml`. What is inside a data set (its baselines) or a run
    belongs to it and is not listed.

    Raises:
        InputDataError: `root` is not a folder, or cannot be read.
    """
    if not root.is_dir():
        raise InputDataError(f"{root}: there is no such folder. Give a folder that holds data sets, runs or studies.")
    found, seen = Found(), 0
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        seen += 1
        files, folders = _entries(folder, is_root=folder == root)
        found.unnamed += [folder / name for name in (*files, *folders) if not _is_text(name)]
        files, inner = {name for name in files if _is_text(name)}, sorted(filter(_is_text, folders), reverse=True)
        if DATASET in files:
            found.datasets.append(folder)
            inner = []
        elif RUN in files:
            found.runs.append(folder)
            inner = [name for name in inner if name in _INSIDE_RUN]
        else:
            if STUDY in files:
                found.studies.append(folder)
            found.pages += [folder / name for name in sorted(files) if name.endswith(".html")]
        if inner and (depth == most_depth or seen + len(waiting) + len(inner) > most_folders):
            found.cut, inner = True, []
        waiting += [(folder / name, depth + 1) for name in inner]
    return found


def served_file(root: Path, relative: str) -> Path | None:
    """Return a page inside a folder that may be shown, None for any other file.

    Only HTML files are shown, because a folder may also hold keys, models and survey files, some of which are tables. Hidden files and
    files outside the folder are never shown. All this also holds for what a symbolic link leads to.
    """
    parts = relative.split("/")
    if not all(parts) or any(part.startswith(".") or "\\" in part or "\x00" in part for part in parts):
        return None
    file = root.joinpath(*parts)
    if not is_inside(file, root):
        return None
    for place in (Path(*parts), Path(os.path.realpath(file)).relative_to(os.path.realpath(root))):
        if place.suffix != ".html" or any(part.startswith(".") for part in place.parts):
            return None
    # Path.is_file raises an error on names that are too long.
    return file if os.path.isfile(file) else None  # noqa: PTH113


def _entries(folder: Path, *, is_root: bool) -> tuple[set[str], list[str]]:
    """Return the names of the files and folders in a folder, without hidden ones; nothing of one that cannot be read."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            return {entry.name for entry in shown if entry.is_file()}, [e.name for e in shown if e.is_dir(follow_symlinks=False)]
    except OSError as error:
        if is_root:
            raise InputDataError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
        return set(), []


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8 text: Python stands for other bytes by surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def parents_of(path: Path, root: Path) -> Iterator[Path]:
    """Yield the folders around a path, from the nearest to `root`."""
    for parent in path.parents:
        if not parent.is_relative_to(root):
            return
        yield parent
