"""Open a run folder for new responses, and write its table and counts when done."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, RunFailedError
from valuestrata.files import write_json
from valuestrata.responses.run.damage import settle_damage
from valuestrata.responses.run.folder import (
    HASH,
    RUN,
    STORE,
    TABLE,
    check_same_identity,
    counts_by_status,
    is_unchanged,
    now,
    read_meta,
    table_is_current,
    usage_of,
    with_hash,
    write_table,
)
from valuestrata.responses.run.identity import RunIdentity
from valuestrata.responses.run.store import Store
from valuestrata.responses.run.worker_stores import files_of_workers, recover


@contextlib.contextmanager
def opened_run(folder: Path, meta: dict[str, Any], *, asks: bool = True) -> Generator[Store]:
    """Open or create a run and yield its store; write its table and counts at the end, after errors too.

    Args:
        folder: of the run. meta: document of its `run.json`. asks: whether the caller asks prompts, rather than collecting answers.

    Raises:
        UsageError: another process has it open.
        InputDataError: the folder is not a run, or is a run of another identity; or many answers of a hosted model are
            damaged (see `settle_damage`).
        RunFailedError: the table cannot be written.
    """
    check_folder(folder, meta)  # before a lock or a store is created in the folder
    with Store(folder / STORE) as store:
        there = check_folder(folder, meta)
        document = meta if there is None else _continued(there, meta)
        # Answers of Ray workers of an earlier, interrupted call belong to this run.
        recover(folder, store)
        settle_damage(store, folder / TABLE, files_of_workers(folder), asks=asks, paid=_is_paid(meta))
        write_json(folder / RUN, document)
        try:
            yield store
        except BaseException:
            # Report the first error; the store has every response even if the table cannot be written.
            with contextlib.suppress(OSError):
                _close_run(folder, document, store)
            raise
        try:
            _close_run(folder, {**document, "finished": now()}, store)
        except OSError as error:
            raise RunFailedError(
                f"{error.filename or folder}: {error.strerror}. All answers are kept in {folder / STORE}; free disk space and run the "
                "same command again. Nothing is asked twice."
            ) from error


def check_folder(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the `run.json` of the folder, None if it has no run.

    Raises:
        InputDataError: the folder is not a run, or is a run of another identity than `meta`.
    """
    there = read_meta(folder)
    if there is not None:
        check_same_identity(folder, there, meta)
    elif folder.exists() and (not folder.is_dir() or any(entry.name != STORE for entry in folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another folder with -o.")
    return there


def _continued(there: Mapping[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a continued run: its first name and start, and earlier plans and versions."""
    document = {**meta, "name": there["name"], "started": there.get("started") or meta.get("started")}
    document |= {key: there[key] for key in ("shards", HASH) if key in there}
    for key in ("plan", "versions"):
        earlier = list(there.get(f"earlier_{key}") or [])
        if there.get(key) and there[key] != meta[key] and there[key] not in earlier:
            earlier.append(there[key])
        if earlier:
            document[f"earlier_{key}"] = earlier
    return document


def _is_paid(meta: Mapping[str, Any]) -> bool:
    """Whether a hosted model answers, alone or inside a control."""
    return RunIdentity.from_document(meta, str(meta.get("name"))).model.base_url is not None


def _close_run(folder: Path, document: dict[str, Any], store: Store) -> None:
    if not (table_is_current(folder) and is_unchanged(folder, document)):
        write_table(folder, store.table(), store.size)
    columns = ["status", "prompt_tokens", "completion_tokens", "cost"]
    table = pl.read_parquet(folder / TABLE, columns=columns)
    usage = usage_of(table, store.cost_of_replaced())
    write_json(folder / RUN, with_hash(folder, {**document, "counts": counts_by_status(table), "usage": usage}))
