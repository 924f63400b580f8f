"""The layouts of files with one answer per respondent and item.

======== ======================================= ====================================
layout   a row per                               named columns (`ids`)
======== ======================================= ====================================
long     respondent and item                     respondent and item, and the answer
wide     respondent, with a column per item      respondent
by item  item, with a column per respondent      item
======== ======================================= ====================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.responses.import_files import as_text, check_column, read_outputs, read_table

# The column of people without ids: the number of their row, from 1.
ROW = "row number"
# How polars renames a second column of one name.
_REPEATED_COLUMN = re.compile(r"(.*)_duplicated_\d+")


def ids_of(column: pl.Expr) -> pl.Expr:
    """Return ids of respondents as text that is the same in all files: a whole number may be stored as `12` or `12.0`."""
    return column.cast(pl.String).str.strip_chars().str.replace(r"\.0$", "").fill_null("")


def with_ids(file: Path, table: pl.DataFrame, person: str | None) -> pl.DataFrame:
    """Return a table that has the column of the ids: `ROW`, the number of each row, if `person` is None.

    Raises:
        InputDataError: the column is absent.
    """
    if person is None:
        return table.with_row_index(ROW, offset=1)
    check_column(file, person, table.columns)
    return table


class ItemNames:
    """Finds items by id, or by the column that a codebook names; regardless of case where that is unambiguous."""

    def __init__(self, items: Iterable[str], columns: Mapping[str, str]) -> None:
        """Take the item ids, and column -> item id."""
        ids = list(items)
        self._names = {column: item for column, item in columns.items() if item in ids} | {item: item for item in ids}
        lower: dict[str, list[str]] = {}
        for name, item in self._names.items():
            lower.setdefault(name.casefold(), []).append(item)
        self._lower = {name: found[0] for name, found in lower.items() if len(set(found)) == 1}

    def of(self, name: str | None) -> str | None:
        """Return the item of a name, None if there is none."""
        shown = (name or "").strip()
        return self._names.get(shown) or self._lower.get(shown.casefold())

    def among(self, names: Iterable[str | None]) -> dict[str, str]:
        """Return name -> item, for the names of items."""
        return {name: item for name in names if name is not None and (item := self.of(name)) is not None}

    def hint(self, name: str) -> str:
        """Return a suggestion for a name that is no item's."""
        return did_you_mean(name, self._names)


def read_long(file: Path, ids: Sequence[str], answer: str, names: ItemNames) -> tuple[pl.DataFrame, str | None]:
    """Return the answers of a file of any layout as rows, and the name of the column of the respondents, None if it has none.

    Args:
        file: the file. answer: column of the answers, in the long layout. names: finds the items.
        ids: the named columns, see the table above; empty if each row is a respondent without an id, who gets the row's number.

    Returns:
        `person`, `item` (as in the data set, null if it has no such item), `named` (as in the file), `text` (null where empty) and
        `error` (of a failed call).

    Raises:
        InputDataError: unreadable, a named column is absent, no item of the data set is in it, or a column or row occurs twice.
        UsageError: more than two columns are named, or one twice.
    """
    if not len(set(ids)) == len(ids) <= 2:
        raise UsageError(Option("ids", ",".join(ids)), ": name the column of the respondents, of the items, or both.")
    if file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        if len(ids) < 2:
            raise UsageError(
                Option("ids", ",".join(ids) or None), f": {file} has one answer per entry; name the keys of the respondent and the item."
            )
        return _from_long(file, ids, answer, names)
    table = read_table(file)
    if not ids:
        table, ids = with_ids(file, table, None), (ROW,)
    present = [name for name in ids if name in table.columns]
    if not present:
        check_column(file, ids[0], table.columns)
    if len(present) == 2:
        return _from_long(file, ids, answer, names)
    _refuse_repeated_columns(file, table.columns)
    keys = as_text(table, present, str(file)).to_series()
    columns = names.among(name for name in table.columns if name != present[0])
    rows = names.among(keys.unique())
    if not columns and not rows:
        others = next((name for name in table.columns if name != present[0]), "")
        either = "" if present[0] == ROW else f", and {present[0]} holds none either"
        raise InputDataError(f"{file}: no column is an item of the data set (the first is {others!r}){either}.{names.hint(others)}")
    if len(columns) >= len(rows):
        return _from_wide(file, table, present[0], columns), present[0]
    other = next((name for name in ids if name != present[0]), None)
    return _from_columns(file, table, present[0], rows), other


def _refuse_repeated_columns(file: Path, columns: Sequence[str]) -> None:
    for name in columns:
        if (found := _REPEATED_COLUMN.fullmatch(name)) and found[1] in columns:
            raise InputDataError(f"{file}: two columns are named {found[1]!r}; keep one of them.")


def _from_long(file: Path, ids: Sequence[str], answer: str, names: ItemNames) -> tuple[pl.DataFrame, str | None]:
    rows = read_outputs(file, ids, answer)
    known = [names.among(rows[f"id{place}"].unique()) for place in range(2)]
    place = 0 if len(known[0]) > len(known[1]) else 1
    if not known[place]:
        first = str(rows[f"id{place}"][0]) if len(rows) else ""
        found = f" The first value of {ids[place]} is {first!r}.{names.hint(first)}" if first else " It has no rows."
        raise InputDataError(f"{file}: no value of {' or '.join(ids)} is an item of the data set.{found}")
    shown = rows.select(ids_of(pl.col(f"id{1 - place}")).alias("person"), pl.col(f"id{place}").alias("named"), pl.col("text", "error"))
    return _with_items(shown, known[place]), ids[1 - place]


def _from_wide(file: Path, table: pl.DataFrame, person: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows of a table with a column per item."""
    _refuse_repeated(file, list(columns.values()), "columns")
    texts = as_text(table, [person, *columns], str(file))
    long = texts.unpivot(index=person, variable_name="named", value_name="text")
    return _with_items(long.select(ids_of(pl.col(person)).alias("person"), "named", "text"), columns)


def _from_columns(file: Path, table: pl.DataFrame, item: str, rows: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows of a table with a column per respondent."""
    persons = [name for name in table.columns if name != item]
    texts = as_text(table, [item, *persons], str(file))
    _refuse_repeated(file, [rows[name] for name in texts[item] if name in rows], "rows")
    long = texts.unpivot(index=item, variable_name="person", value_name="text")
    return _with_items(long.select("person", pl.col(item).alias("named"), "text"), rows)


def _refuse_repeated(file: Path, items: Sequence[str], what: str) -> None:
    if len(set(items)) < len(items):
        twice = next(item for place, item in enumerate(items) if item in items[:place])
        raise InputDataError(f"{file}: two {what} are of the item {twice!r}, so its respondents answer it twice. Keep one of them.")


def _with_items(rows: pl.DataFrame, items: Mapping[str, str]) -> pl.DataFrame:
    found = pl.DataFrame({"named": list(items), "item": list(items.values())}, schema={"named": pl.String, "item": pl.String})
    joined = rows.join(found, on="named", how="left", maintain_order="left")
    return joined if "error" in joined.columns else joined.with_columns(error=pl.lit(None, dtype=pl.String))
