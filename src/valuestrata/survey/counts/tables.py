"""Tables of published counts: one row per option of a question and subgroup, or the table of GlobalOpinionQA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.survey.counts.documents import QuestionsRead, as_text
from valuestrata.survey.counts.global_opinions import is_global_opinions, read_global_opinions
from valuestrata.survey.counts.published import PublishedCell
from valuestrata.survey.formats.source import open_file

# Columns that are no attributes.
_COUNTS = ("item", "option", "count", "share", "n", "n_eff")


def read_table(path: Path, described: QuestionsRead | None, sheet: str | None = None) -> tuple[QuestionsRead, str]:
    """Read a table of counts: one row per item, option and subgroup. An empty attribute is not used by the row's subgroup.

    Args:
        path: the table. described: the questions; needed unless the table is that of GlobalOpinionQA. sheet: sheet of a workbook.

    Returns:
        The questions with their counts, and the format of the file.
    """
    with open_file(path, sheet) as raw:
        names = [name.strip() for name in raw.header.names]
        columns = {name: series.to_list() for name, series in zip(names, raw.read(range(len(names))), strict=True)}
        kind = raw.format
        if is_global_opinions(names):
            return read_global_opinions(columns, path.name), kind
        value = _value_column(names)
    if described is None:
        raise UsageError(
            f"{path.name}: a table of counts does not hold the texts of its questions. Give them with ", Option("questions"), "."
        )
    return QuestionsRead(described.file, _cells(columns, value, path.name)), kind


def _value_column(names: Sequence[str]) -> str:
    """Return `count` or `share`; InputDataError if the columns are not those of a table of counts."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputDataError(f"the column {twice[0]!r} appears {names.count(twice[0])} times. Keep one of them.")
    shown = ", ".join(names)
    for name in ("item", "option"):
        if name not in names:
            raise InputDataError(f"the column {name!r} is missing; found {shown}. A table of counts has item, option and count (or share).")
    values = [name for name in ("count", "share") if name in names]
    if len(values) != 1:
        found = "both count and share" if values else "neither count nor share"
        raise InputDataError(f"the table has {found}; found {shown}. Keep one column of numbers.")
    return values[0]


def _cells(columns: Mapping[str, Sequence[Any]], value: str, file: str) -> list[PublishedCell]:
    attributes = [name for name in columns if name not in _COUNTS]
    counts: dict[tuple[str, ...], dict[str, float]] = {}
    stated: dict[tuple[str, ...], tuple[float | None, float | None]] = {}
    rows: dict[tuple[str, ...], int] = {}
    for row in range(len(columns["item"])):
        where = f"{file}, row {row + 1}"
        item, option = (_text(columns[name][row]) for name in ("item", "option"))
        for name, found in (("item", item), ("option", option)):
            if not found:
                raise InputDataError(f"{where}: the column {name!r} is empty. Name the {name}, or remove the row.")
        key = (item, *(_text(columns[name][row]) for name in attributes))
        number = _number(columns[value][row], value, where)
        if number is None:
            raise InputDataError(f"{where}: the column {value!r} is empty. Write a number; 0 if nobody chose the option.")
        options = counts.setdefault(key, {})
        if option in options:
            raise InputDataError(
                f"{where}: the question {item!r} has the option {option!r} twice in this subgroup. Remove one of the rows."
            )
        options[option] = number
        n, n_eff = (_number(columns[name][row], name, where) if name in columns else None for name in ("n", "n_eff"))
        if stated.setdefault(key, (n, n_eff)) != (n, n_eff):
            raise InputDataError(
                f"{where}: n or n_eff differs from that in row {rows[key]} of the same question and subgroup. Write the same in each row."
            )
        rows.setdefault(key, row + 1)
    return [
        PublishedCell(
            item=key[0],
            levels={name: label for name, label in zip(attributes, key[1:], strict=True) if label},
            counts=options,
            where=f"{file}, row {rows[key]}",
            n=stated[key][0],
            n_eff=stated[key][1],
            is_share=value == "share",
        )
        for key, options in counts.items()
    ]


def _text(value: Any) -> str:
    # Some readers return whole numbers as floats.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(as_text(value)).strip()


def _number(value: Any, name: str, where: str) -> float | None:
    """Return a cell as a number, None if it is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return float(value)
    except ValueError as error:
        raise InputDataError(f"{where}: the column {name!r} has {value!r}; expected a number.") from error
