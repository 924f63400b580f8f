"""How far a run is, read while it works, with a clock of the test."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.responses.asked import Writes
from valuestrata.dataset.tables import load_dataset
from valuestrata.errors import RunFailedError
from valuestrata.respondents.base import Answer
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import read_meta
from valuestrata.view.run_progress import ProgressReader

# A process that does not exist: Linux and macOS have no larger numbers.
NO_PROCESS = 2**22 + 1


def reading(run, *, seconds_later=0.0):
    """Return the progress, at a time after the last change of the run."""
    reader = ProgressReader(run)
    changed = reader.read(read_meta(run), lambda: 0.0).changed
    return ProgressReader(run).read(read_meta(run), lambda: changed + seconds_later)


def test_finished_and_partial_runs(folder):
    whole = reading(folder / "runs" / "twos")
    assert (whole.done, whole.failed, whole.state) == (whole.planned, 0, "finished")
    part = reading(folder / "runs" / "ones")
    assert (part.done, part.planned, part.state) == (5, whole.planned, "partial")


def test_a_run_is_followed_while_it_works(folder):
    dataset = load_dataset(folder / "data")
    run, seen = folder / "runs" / "new", []
    reader = ProgressReader(run)

    def watched(prompt):
        if run.joinpath("run.json").is_file():
            seen.append(reader.read(read_meta(run), lambda: 0.0))
        failed = len(seen) == 3
        return Answer(prompt, error="timeout: no answer", cost=0.5) if failed else Answer(prompt, text="Answer: 1", cost=0.25)

    ask(dataset, Writes(watched), run, elicitation="text")
    assert [progress.done for progress in seen[:5]] == [0, 1, 2, 2, 3]
    assert [progress.failed for progress in seen[:5]] == [0, 0, 0, 1, 1]
    assert seen[4].cost == pytest.approx(3 * 0.25 + 0.5)
    assert {progress.state for progress in seen} == {"running"}
    end = reader.read(read_meta(run), lambda: 0.0)
    assert (end.done, end.failed, end.state) == (end.planned - 1, 1, "partial")
    assert end.cost == pytest.approx(0.25 * end.done + 0.5)


def test_a_killed_run_stops_being_at_work(folder):
    run = folder / "runs" / "twos"
    meta = {key: value for key, value in read_meta(run).items() if key not in ("finished", "counts", "usage")}
    reader = ProgressReader(run)
    changed = reader.read(meta, lambda: 0.0).changed
    lock = run / "store" / "lock"
    states = {}
    for process in (os.getpid(), NO_PROCESS):
        lock.write_text(f"{process}\n")
        states[process] = [reader.read(meta, lambda later=later: changed + later).state for later in (60, 3600, 48 * 3600)]
    assert states[os.getpid()] == ["running", "running", "stopped"]
    assert states[NO_PROCESS] == ["running", "stopped", "stopped"]
    # The lock is not taken: a run can start while it is watched.
    dataset = load_dataset(folder / "data")
    assert ask(dataset, Writes("Answer: 2", name="writer"), run, elicitation="text").asked == 0


def test_damaged_lines_and_a_store_that_was_written_anew(folder):
    run = folder / "runs" / "twos"
    meta = {key: value for key, value in read_meta(run).items() if key not in ("finished", "counts", "usage")}
    store = run / "store" / "responses.jsonl"
    reader = ProgressReader(run)
    before = reader.read(meta, lambda: 0.0)
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join([*lines, b'{"key":"broken\n']))
    assert reader.read(meta, lambda: 0.0).damaged == 1
    store.write_bytes(b"".join(lines[:3]))
    after = reader.read(meta, lambda: 0.0)
    assert (before.done, after.done, after.damaged) == (len(lines), 3, 0)


def test_a_run_that_only_failed(folder):
    dataset = load_dataset(folder / "data")
    failing = Writes(lambda prompt: replace(Answer(prompt, text=""), error="refused: no key", text=None))
    with pytest.raises(RunFailedError):
        ask(dataset, failing, folder / "runs" / "failed", elicitation="text")
    progress = reading(folder / "runs" / "failed")
    assert progress.done == 0
    assert progress.failed == progress.planned
