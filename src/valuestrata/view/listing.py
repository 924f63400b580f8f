"""What the index shows: a row for every data set, run and study in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from valuestrata.dataset.document import read_dataset_document
from valuestrata.dataset.tables import survey_and_place
from valuestrata.errors import InputDataError
from valuestrata.openended.files import READ
from valuestrata.prompts.prompt import OPEN
from valuestrata.responses.run.folder import RUN, read_meta
from valuestrata.responses.run.identity import RunIdentity
from valuestrata.view.folders import STUDY, Found, find, parents_of
from valuestrata.view.run_progress import ProgressReader, RunProgress
from valuestrata.yaml_files import read_yaml

Clock = Callable[[], float]


@dataclass(frozen=True)
class DatasetRow:
    """A data set in the index.

    Attributes:
        id: its folder, relative to the one shown. title: survey and place. fingerprint: of the data set.
        items, subgroups, pairs, respondents: sizes; None if they are not recorded.
        splits: names of the splits that can be used. changed: time of the last change, seconds since 1970.
    """

    id: str
    title: str
    fingerprint: str
    items: int | None
    subgroups: int | None
    pairs: int | None
    respondents: int | None
    splits: tuple[str, ...]
    changed: float


@dataclass(frozen=True)
class RunRow:
    """A run in the index.

    Attributes:
        id: its folder, relative to the one shown. name: of the run. model: who answered.
        kind: model, control, baseline, calibrated, open answers, or judge (of open answers).
        survey: its survey, as the run records it. fingerprint: of its data set. dataset: id of that data set in this folder, or None.
        split, part, fold: what was asked, None if the run does not record it. progress: how far it is.
    """

    id: str
    name: str
    model: str
    kind: str
    survey: str
    fingerprint: str
    dataset: str | None
    split: str | None
    part: str | None
    fold: int | None
    progress: RunProgress

    @property
    def is_closed(self) -> bool:
        """Whether it holds answers to closed questions, which a report can score."""
        return self.kind not in ("open answers", "judge")

    @property
    def asked(self) -> str:
        """What was asked, in words: `paper, test, fold 2`."""
        fold = "" if self.fold is None else f"fold {self.fold}"
        return ", ".join(part for part in (self.split, self.part, fold) if part)


@dataclass(frozen=True)
class StudyRow:
    """A study in the index: its folder's id, its name, how many of its runs are finished, and its pages (title, id of the file)."""

    id: str
    name: str
    runs: int
    finished: int
    pages: tuple[tuple[str, str], ...]
    changed: float


@dataclass(frozen=True)
class Listing:
    """What a folder holds, each list with the newest first.

    Attributes:
        pages: (id, time of the last change) of HTML files outside studies.
        problems: (id, message) of folders that cannot be read.
        cut: whether folders were left out because there are too many or they are too deep.
    """

    datasets: tuple[DatasetRow, ...]
    runs: tuple[RunRow, ...]
    studies: tuple[StudyRow, ...]
    pages: tuple[tuple[str, float], ...]
    problems: tuple[tuple[str, str], ...]
    cut: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.datasets or self.runs or self.studies or self.pages or self.problems)


class Catalogue:
    """Reads a folder again and again. Files that did not change are not read twice. It may be used from several threads.

    Attributes:
        root: the folder. clock: returns the time, seconds since 1970.
    """

    def __init__(self, root: Path, clock: Clock = time.time) -> None:
        self.root = root.resolve()
        self.clock = clock
        self._lock = Lock()
        self._documents: dict[Path, tuple[tuple[int, int], Mapping[str, Any]]] = {}
        self._readers: dict[Path, ProgressReader] = {}

    def read(self) -> Listing:
        """Return what the folder holds now.

        Raises:
            InputDataError: the folder is gone or cannot be read.
        """
        with self._lock:
            return self._read(find(self.root))

    def runs(self, ids: Collection[str]) -> list[RunRow]:
        """Return the runs with these ids as they are now, without reading the rest of the folder.

        Others are left out, and so are runs that cannot be read any more: `read` names those with the reason.
        """
        rows: list[RunRow | None] = []
        with self._lock:
            for folder in self._readers:
                if self._id(folder) in ids:
                    with suppress(InputDataError, OSError):
                        rows.append(self._run(folder, {}))
        return [row for row in rows if row is not None]

    def _read(self, found: Found) -> Listing:
        problems: list[tuple[str, str]] = []

        def rows(folders: Sequence[Path], row_of: Callable[[Path], Any]) -> list[Any]:
            made: list[Any] = []
            for folder in folders:
                try:
                    made.append(row_of(folder))
                except (InputDataError, OSError) as error:
                    problems.append((self._id(folder), str(error).replace(f"{self.root}/", "")))
            return made

        problems += [(self._id(path), "Its name is not UTF-8 text. Rename it to see it here.") for path in sorted(found.unnamed)]
        datasets: list[DatasetRow] = rows(found.datasets, self._dataset)
        datasets.sort(key=lambda row: -row.changed)
        places = {row.fingerprint: row.id for row in reversed(datasets)}
        # A folder of stances holds a run for each of its judges, which are listed.
        runs = [row for row in rows(found.runs, lambda folder: self._run(folder, places)) if row is not None]
        of_studies, pages = self._pages(found)
        studies: list[StudyRow] = rows(found.studies, lambda folder: self._study(folder, runs, of_studies[folder]))
        runs.sort(key=lambda row: (-row.progress.changed, row.id))
        studies.sort(key=lambda row: -row.changed)
        return Listing(tuple(datasets), tuple(runs), tuple(studies), pages, tuple(problems), found.cut)

    def _dataset(self, folder: Path) -> DatasetRow:
        file = folder / "dataset.json"
        meta = self._document(file, lambda: read_dataset_document(folder))
        counts = meta.get("counts") or {}
        splits = tuple(name for name, about in (meta.get("splits") or {}).items() if "folds" in about)
        sizes = (counts.get("items"), counts.get("subgroups"), counts.get("pairs"), meta.get("respondents"))
        title = survey_and_place(meta.get("survey"), meta.get("place"))
        return DatasetRow(self._id(folder), title, str(meta["fingerprint"]), *sizes, splits, file.stat().st_mtime)

    def _run(self, folder: Path, places: Mapping[str, str]) -> RunRow | None:
        meta = self._document(folder / RUN, lambda: read_meta(folder) or {})
        if meta.get("kind") == READ:
            return None
        identity = RunIdentity.from_document(meta, str(meta["name"]), str(folder / RUN))
        progress = self._readers.setdefault(folder, ProgressReader(folder)).read(meta, self.clock)
        fingerprint = str(identity.dataset.fingerprint)
        split, part = (value if isinstance(value := identity.plan.get(key), str) else None for key in ("split", "part"))
        fold = value if isinstance(value := identity.plan.get("fold"), int) else None
        survey = str(identity.dataset.survey or "")
        about = (identity.name, _model_of(identity), _kind_of(identity), survey, fingerprint, places.get(fingerprint))
        return RunRow(self._id(folder), *about, split, part, fold, progress)

    def _study(self, folder: Path, runs: Sequence[RunRow], pages: Sequence[Path]) -> StudyRow:
        name = read_yaml(folder / STUDY).mapping().get("name")
        mine = [run for run in runs if folder in parents_of(self.root / run.id, self.root)]
        changed = [(folder / STUDY).stat().st_mtime, *(page.stat().st_mtime for page in pages), *(run.progress.changed for run in mine)]
        finished = sum(run.progress.state == "finished" for run in mine)
        titled = tuple((page.relative_to(folder).as_posix(), self._id(page)) for page in pages)
        return StudyRow(self._id(folder), str(name or folder.name), len(mine), finished, titled, max(changed))

    def _pages(self, found: Found) -> tuple[dict[Path, list[Path]], tuple[tuple[str, float], ...]]:
        """Return the pages of each study, those nearest to its folder first, and the other pages."""
        of_studies: dict[Path, list[Path]] = {folder: [] for folder in found.studies}
        others: list[tuple[str, float]] = []
        for page in sorted(found.pages, key=lambda page: (len(page.parts), page)):
            study = next((folder for folder in parents_of(page, self.root) if folder in of_studies), None)
            if study is not None:
                of_studies[study].append(page)
            else:
                others.append((self._id(page), page.stat().st_mtime))
        return of_studies, tuple(sorted(others, key=lambda page: -page[1]))

    def _document(self, file: Path, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return a JSON document, read again only if its file changed."""
        about = file.stat()
        stamp = (about.st_mtime_ns, about.st_size)
        kept = self._documents.get(file)
        if kept is None or kept[0] != stamp:
            kept = (stamp, read())
            self._documents[file] = kept
        return kept[1]

    def _id(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _model_of(identity: RunIdentity) -> str:
    """Return who answered, as the user named it."""
    return identity.respondent.name or identity.model.name or identity.respondent.model or identity.rule or identity.name


def _kind_of(identity: RunIdentity) -> str:
    if identity.judged:
        return "judge"
    if identity.elicitation == OPEN:
        return "open answers"
    return "calibrated" if identity.method is not None and identity.control is None else identity.kind
