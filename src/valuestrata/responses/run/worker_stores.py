"""Stores of Ray workers, and merging them into the store of their run.

    OUT/ray/stores/ID/    store of one worker, in the format of a run's own (`run.store`)

Each worker writes its own store and reads those of the others, so answers of a killed worker are not asked again.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path

from valuestrata.errors import UsageError
from valuestrata.responses.run.damage import WORKERS
from valuestrata.responses.run.store import FILE, Store
from valuestrata.responses.run.store_index import StoreIndex

RAY = "ray"
STORES = f"{RAY}/{WORKERS}"
SECONDS_TO_WAIT = 30.0
_SECONDS_BETWEEN_CHECKS = 0.5


def new_store(out: Path) -> Store:
    """Open a new store for a worker of the run in `out`."""
    return Store(out / STORES / uuid.uuid4().hex)


def files_of_workers(out: Path) -> list[Path]:
    """Return the store files of all workers of the run in `out`, past and present."""
    folder = out / STORES
    return [place / FILE for place in sorted(folder.iterdir())] if folder.is_dir() else []


def busy_workers(out: Path) -> int:
    """Return the number of workers that have their stores open."""
    busy = 0
    for file in files_of_workers(out):
        try:
            Store(file.parent).close()
        except UsageError:
            busy += 1
    return busy


def recover(out: Path, store: Store) -> int:
    """Merge the stores of an interrupted call's workers into `store`, once they have ended; return the number of new rows.

    Raises:
        UsageError: the workers are still answering after SECONDS_TO_WAIT.
    """
    ends = time.monotonic() + SECONDS_TO_WAIT
    while busy := busy_workers(out):
        if time.monotonic() > ends:
            raise UsageError(f"{out}: {busy} Ray workers of another call are still answering in this run; end that call first.")
        time.sleep(_SECONDS_BETWEEN_CHECKS)
    return gather(out, store)


def gather(out: Path, store: Store) -> int:
    """Merge all worker stores of the run in `out` into `store`; return the number of new rows. Safe to repeat."""
    return sum(merge(store, file) for file in files_of_workers(out))


def forget(out: Path, store: Store) -> None:
    """Remove the worker stores, once the run's own store is on the disk."""
    with store.file.open("rb") as written:
        os.fsync(written.fileno())
    shutil.rmtree(out / RAY, ignore_errors=True)


def merge(store: Store, file: Path) -> int:
    """Append the rows of another store's file that `store` lacks; return their number.

    Appended are successes of keys without a success, and failures of such keys that `store` lacks. Failures that were retried
    are appended if they cost something, so that the total cost stays correct.
    """
    theirs = StoreIndex(lambda: [file])
    theirs.refresh()
    new = 0
    for key, success, row in theirs.rows(lambda key: not store.has(key)):
        failures = [failure for failure in theirs.earlier_failures(key) if failure.get("cost")] + ([] if success else [row])
        known = [*store.index.earlier_failures(key), store.index.row(key)] if failures else []
        rows = [failure for failure in failures if failure not in known] + ([row] if success else [])
        new += sum(store.append(key, one) for one in rows)
    return new
