"""A run folder held open for answers: its identity is checked first, its table and counts are written at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, RunFailedError
from valuestrata.files import write_json
from valuestrata.responses.distributed.worker_store import recover
from valuestrata.responses.run.folder import (
    RUN,
    STORE,
    TABLE,
    check_same_identity,
    counts_by_status,
    now,
    read_meta,
    table_is_current,
    usage_of,
    write_table,
)
from valuestrata.responses.run.store import Store


@contextlib.contextmanager
def opened_run(folder: Path, meta: dict[str, Any]) -> Generator[Store]:
    """Open the run of identity `meta` for answers and yield its store; write its table and counts, whatever ends it.

    Raises:
        UsageError: another process has it open.
        InputDataError: the folder holds something else, or a run of another identity.
        RunFailedError: the disk does not take the table.
    """
    check_folder(folder, meta)  # before a lock or a store is made in a folder that is not ours
    with Store(folder / STORE) as store:
        there = check_folder(folder, meta)
        document = meta if there is None else _continued(there, meta)
        write_json(folder / RUN, document)
        # What workers of a call that broke off have answered belongs to this run before anything is asked again.
        recover(folder, store)
        try:
            yield store
        except BaseException:
            # The first error is the one to tell; a full disk will not take the table either, and the store has it all.
            with contextlib.suppress(OSError):
                _close_run(folder, document, store)
            raise
        try:
            _close_run(folder, {**document, "finished": now()}, store)
        except OSError as error:
            raise RunFailedError(
                f"{error.filename or folder}: {error.strerror}. All answers are kept in {folder / STORE}; make room and run the same "
                "command again, which asks nothing twice."
            ) from error


def check_folder(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the document of the run that lies there, None where there is none.

    Raises:
        InputDataError: the folder holds something else, or a run of another identity than `meta`.
    """
    there = read_meta(folder)
    if there is not None:
        check_same_identity(folder, there, meta)
    elif folder.exists() and (not folder.is_dir() or any(entry.name != STORE for entry in folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
    return there


def _continued(there: Mapping[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The document of a run that goes on: its first name and start, and what was different about the asking before."""
    document = {**meta, "name": there["name"], "started": there["started"]}
    if "shards" in there:
        document["shards"] = there["shards"]
    for key in ("plan", "versions"):
        earlier = list(there.get(f"earlier_{key}", []))
        if there[key] != meta[key] and there[key] not in earlier:
            earlier.append(there[key])
        if earlier:
            document[f"earlier_{key}"] = earlier
    return document


def _close_run(folder: Path, document: dict[str, Any], store: Store) -> None:
    if not table_is_current(folder):
        write_table(folder, store.table(), store.size)
    columns = ["status", "prompt_tokens", "completion_tokens", "cost"]
    table = pl.read_parquet(folder / TABLE, columns=columns)
    usage = usage_of(table, store.cost_of_replaced())
    write_json(folder / RUN, {**document, "counts": counts_by_status(table), "usage": usage})
