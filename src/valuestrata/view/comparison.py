"""Reports on runs that a reader chose, computed in a thread and kept while their files do not change."""

from __future__ import annotations

import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread

from valuestrata.dataset.document import NAME as DATASET
from valuestrata.errors import InputDataError, UsageError, ValuestrataError
from valuestrata.progress import reported_to
from valuestrata.reports.core.runs import check_number
from valuestrata.responses.run.folder import RUN, STORE, TABLE
from valuestrata.responses.run.store import store_size
from valuestrata.view.listing import DatasetRow, Listing, RunRow

# Finished pages that are kept, each of up to 10 MB.
_MOST_KEPT = 8
# How long a finished page waits for its reader, who asks every two seconds; later it is shown only if no file has changed since.
_WAITS_SECONDS = 10.0


@dataclass(frozen=True)
class ScoredPart:
    """The pairs on which runs are compared: split, part and fold (None for all)."""

    split: str
    part: str
    fold: int | None = None

    @property
    def text(self) -> str:
        """In words: `split paper, part test, fold 2`."""
        return f"split {self.split}, part {self.part}" + ("" if self.fold is None else f", fold {self.fold}")


@dataclass(frozen=True)
class ChosenRuns:
    """Runs to compare, all of one data set, and the pairs on which they can be compared: several if different ones were asked."""

    dataset: DatasetRow
    runs: tuple[RunRow, ...]
    scored: tuple[ScoredPart, ...]


@dataclass
class Job:
    """A report that is computed.

    Attributes:
        files: state of the files that it is about. stage: what is being done, in words. share: of the stage that is done, 0 to 1.
        page: the HTML when it is finished. error: why there is none. ended: time of the end. seen: whether the result was asked for.
    """

    files: tuple[object, ...] = ()
    stage: str = "waiting for another report"
    share: float = 0.0
    page: str | None = None
    error: str | None = None
    ended: float | None = None
    seen: bool = False

    def is_about(self, files: tuple[object, ...], now: float) -> bool:
        """Whether it is the report to show while the files are in this state.

        The files of a run that is at work change all the time, so a report on an earlier state is finished and shown once.
        """
        return files == self.files or self.ended is None or (not self.seen and now - self.ended < _WAITS_SECONDS)

    def advance(self, label: str, done: int, total: int, now: str) -> None:
        """Take a report of progress."""
        self.stage = f"{label}: {now}" if now else label
        self.share = done / total if total else 0.0


@dataclass
class Reports:
    """Computes reports one after another, and keeps the last ones. It may be used from several threads.

    Attributes:
        root: the folder that is shown. bootstrap: replicates of the intervals. clock: returns the time in seconds.
    """

    root: Path
    bootstrap: int = 1000
    clock: Callable[[], float] = time.time
    _jobs: OrderedDict[tuple[object, ...], Job] = field(default_factory=OrderedDict[tuple[object, ...], Job])
    _lock: Lock = field(default_factory=Lock)
    _working: Lock = field(default_factory=Lock)

    def job(self, chosen: ChosenRuns, scored: ScoredPart) -> Job:
        """Return the report on runs as their files are now; it is started if it was not computed before (see `Job.is_about`)."""
        key = (chosen.dataset.id, tuple(run.id for run in chosen.runs), scored)
        files = self._files(chosen)
        with self._lock:
            if (job := self._jobs.get(key)) is not None and job.is_about(files, self.clock()):
                self._jobs.move_to_end(key)
                job.seen = job.ended is not None
                return job
            job = self._jobs[key] = Job(files)
            self._jobs.move_to_end(key)
            finished = [key for key, other in self._jobs.items() if other.ended is not None]
            for old in finished[:-_MOST_KEPT]:
                del self._jobs[old]
        # It ends with the process; nothing it writes is incomplete then.
        Thread(target=self._compute, args=(job, chosen, scored), daemon=True).start()
        return job

    def _files(self, chosen: ChosenRuns) -> tuple[object, ...]:
        folders = [self.root / run.id for run in chosen.runs]
        states = [(_stamp(folder / RUN), _stamp(folder / TABLE), store_size(folder / STORE)) for folder in folders]
        return (_stamp(self.root / chosen.dataset.id / DATASET), *states)

    def _compute(self, job: Job, chosen: ChosenRuns, scored: ScoredPart) -> None:
        with self._working, reported_to(job.advance):
            try:
                job.stage = "reading the runs"
                job.page = report_text(self.root, chosen, scored, bootstrap=self.bootstrap, job=job)
            except ValuestrataError as error:
                job.error = shown_error(error, self.root)
            except Exception:  # a defect: the reader is told, and the traceback is printed where the server was started
                traceback.print_exc(file=sys.stderr)
                job.error = "The report could not be computed because of an error in valuestrata. The terminal shows the details."
            finally:
                job.ended = self.clock()


def choose(listing: Listing, ids: Sequence[str]) -> ChosenRuns:
    """Return the runs with these ids, ready to be compared.

    Raises:
        UsageError: no run, an unknown one, or too many; runs of two data sets, or without answers to closed questions.
        InputDataError: the data set is not in the folder.
    """
    if not ids:
        raise UsageError("No run was chosen. Go back, mark one or more runs, and choose Compare.")
    known = {run.id: run for run in listing.runs}
    broken = dict(listing.problems)
    for one in ids:
        if one in broken:
            raise InputDataError(f"The run {one} cannot be read. {broken[one]}")
        if one not in known:
            raise UsageError(f"There is no run {one} in this folder. It may have been moved; go back and reload the list.")
    runs = [known[one] for one in dict.fromkeys(ids)]
    check_number(len(runs))
    for run in runs:
        if not run.is_closed:
            raise UsageError(
                f"The run {run.id} holds {'readings of open answers by a judge' if run.kind == 'judge' else 'open answers'}, and this "
                "report is about closed questions. Open answers have a report of their own: valuestrata open report."
            )
    by_dataset: dict[str, list[RunRow]] = {}
    for run in runs:
        by_dataset.setdefault(run.fingerprint, []).append(run)
    if len(by_dataset) > 1:
        listed = "; ".join(f"{', '.join(run.id for run in group)} ({_about(group[0])})" for group in by_dataset.values())
        raise UsageError(f"The chosen runs belong to {len(by_dataset)} data sets, and a report compares runs of one: {listed}.")
    dataset = next((row for row in listing.datasets if row.fingerprint == runs[0].fingerprint), None)
    if dataset is None:
        raise InputDataError(
            f"The data set of these runs ({_about(runs[0])}) is not in this folder. Put it into the folder, or start "
            "`valuestrata view` with a folder that holds both."
        )
    return ChosenRuns(dataset, tuple(runs), _scored(dataset, runs))


def report_text(root: Path, chosen: ChosenRuns, scored: ScoredPart, *, bootstrap: int, job: Job) -> str:
    """Return the report on runs, with baselines, as HTML: the page of `valuestrata report`.

    Raises:
        UsageError, InputDataError: as for `load_run` and `report`.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.reports.core.render import render
    from valuestrata.reports.notebook.inline import report
    from valuestrata.responses.run.folder import load_run

    data = load_dataset(root / chosen.dataset.id)
    names = _unique_names(chosen.runs)
    runs = [replace(load_run(root / run.id), name=name) for run, name in zip(chosen.runs, names, strict=True)]
    against = names[-1] if len(names) > 1 else None
    made = report(data, runs, split=scored.split, part=scored.part, fold=scored.fold, against=against, bootstrap=bootstrap)
    job.stage, job.share = "writing the page", 0.0
    remarks = [run.remark for run in runs if run.remark is not None]
    unfinished = [run for run in chosen.runs if run.progress.state != "finished"]
    remarks += [f"The run {run.id} is not complete: {run.progress.done:,} prompts were answered." for run in unfinished]
    return render(made.page(notes=remarks, pages=[("All runs", "/")]))


def shown_error(error: ValuestrataError, root: Path) -> str:
    """Return the message of an error for a page, with paths relative to the folder that is shown."""
    return error.render("cli").replace(f"{root}/", "")


def _scored(dataset: DatasetRow, runs: Sequence[RunRow]) -> tuple[ScoredPart, ...]:
    """Return the pairs that the runs were asked, the most frequent first; a run that was asked every part is scored on the test part."""
    asked: dict[ScoredPart, int] = {}
    for run in runs:
        if run.split is not None:
            place = ScoredPart(run.split, run.part if run.part not in (None, "all") else "test", run.fold)
            asked[place] = asked.get(place, 0) + 1
    if not asked:
        usable = [name for name in dataset.splits if name != "transfer"] or list(dataset.splits)
        return (ScoredPart(usable[0] if usable else "paper", "test"),)
    return tuple(sorted(asked, key=lambda place: -asked[place]))


def _unique_names(runs: Sequence[RunRow]) -> list[str]:
    """Return the runs' names; runs of the same name are named by their folders."""
    names = [run.name for run in runs]
    return [run.id if names.count(run.name) > 1 else run.name for run in runs]


def _about(run: RunRow) -> str:
    return f"{run.survey or 'an unnamed survey'}, fingerprint {run.fingerprint[:12]}"


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
