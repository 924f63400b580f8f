"""Damaged lines of a run's stores: report them, restore their answers, and stop before many are asked again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from valuestrata.errors import InputDataError, Option
from valuestrata.prompts.prompt import prompt_key
from valuestrata.responses.run.failures import numbers_listed
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store import DAMAGED, FILE, Store, store_index
from valuestrata.responses.run.store_index import FAILED, DamagedLine, StoreIndex

# A paid run with more lost answers is not continued unless the user allows it.
MOST_ASKED_AGAIN = 5
STORE = "store"
# Folder of the stores of Ray workers.
WORKERS = "stores"
_MOVED = f"The lines were moved to {DAMAGED} in the same folder."
_HOW = ("elicitation", "template", "template_version", "order", "paraphrase", "sample")


def settle_damage(store: Store, table: Path, others: Sequence[Path], *, asks: bool, paid: bool) -> None:
    """Restore answers of damaged lines from the run's table, and add remarks to the store.

    With `asks`, damaged lines are then moved to the file DAMAGED next to the store.

    Args:
        store: of the run, with the answers of all workers. table: the run's `responses.parquet`, which may be absent.
        others: store files of the run's workers. asks: whether the caller asks prompts. paid: whether they cost money.

    Raises:
        InputDataError: the run is paid, and more than MOST_ASKED_AGAIN answers are lost; nothing is removed.
    """
    workers = StoreIndex(lambda: others)
    workers.refresh()
    damage = [*store.index.damage, *workers.damage]
    if not damage:
        return
    restored = _restore(store, table)
    lost = _lost(damage, store, restored)
    if asks and paid and lost > MOST_ASKED_AGAIN:
        raise InputDataError(
            f"{_where(damage)}. {lost:,} paid answers cannot be read and would be asked and paid again. Restore the file from a copy. To "
            "ask them again, remove these lines from the file; ",
            Option("ask_again"),
            " does so.",
        )
    back = f"; {restored:,} answers were restored from {table.name}" if restored else ""
    if not asks:
        store.remarks.append(f"{_where(damage)}{back}{f'; {lost:,} answers are lost' if lost else ''}.")
        return
    again = f"; {lost:,} answers are lost and are asked again if they are planned" if lost else ""
    store.remarks.append(f"{_where(damage)}{back}{again}. {_MOVED}")
    store.set_damage_aside()
    for file in {line.file for line in workers.damage}:
        with Store(file.parent) as theirs:
            theirs.set_damage_aside()


def allow_asking_again(out: Path) -> list[str]:
    """Move the damaged lines of all stores in a run's folder to DAMAGED, so that their prompts may be asked again; return remarks.

    Raises:
        UsageError: another process has a store open.
    """
    remarks: list[str] = []
    for file in sorted(out.rglob(FILE)):
        is_store = file.parent.name == STORE or file.parent.parent.name == WORKERS
        if is_store and store_index(file.parent).damage:
            with Store(file.parent) as store:
                remarks.append(f"{_where(store.index.damage)}. {_MOVED}")
                store.set_damage_aside()
    return remarks


def damage_of(folder: Path) -> str | None:
    """Return a remark about the damaged lines of a store, None if it has none. Nothing is changed."""
    damage = store_index(folder).damage
    return f"{_where(damage)}; their answers are missing. Ask again in this folder to restore or repeat them." if damage else None


def _lost(damage: Sequence[DamagedLine], store: Store, restored: int) -> int:
    """Return how many damaged lines had an answer that the store lacks; a line without a readable key counts as one."""
    keys = {line.key for line in damage if line.key is not None}
    unread = sum(line.key is None for line in damage)
    missing = sum(not store.has(key) for key in keys)
    return missing + max(0, unread - max(0, restored - (len(keys) - missing)))


def _restore(store: Store, table: Path) -> int:
    """Append the answers of the run's table that the store lacks; return their number."""
    if not table.is_file():
        return 0
    try:
        rows = RESPONSES.check(pl.read_parquet(table), str(table))
    except (pl.exceptions.PolarsError, OSError, InputDataError):
        return 0  # The table may be damaged too; it is written again.
    restored = 0
    for row in rows.filter((pl.col("status") != FAILED) & pl.col("prompt_hash").is_not_null()).iter_rows(named=True):
        key = prompt_key(row["pair_id"], row["prompt_hash"], tuple(str(row[name]) for name in _HOW))
        restored += store.append(key, row)
    return restored


def _where(damage: Sequence[DamagedLine]) -> str:
    """Return the places of damaged lines: `FILE: 3 damaged lines (2, 5-6)`."""
    places: list[str] = []
    for file in dict.fromkeys(line.file for line in damage):
        numbers = [line.number for line in damage if line.file == file]
        places.append(f"{file}: {len(numbers):,} damaged {'line' if len(numbers) == 1 else 'lines'} ({numbers_listed(numbers)})")
    return "; ".join(places)
