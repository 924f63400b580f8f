"""Decodes the distinct values of an item's column to option indices or missing classes.

A number, or text that is a number, is a code; other text is a label. A code that is not in the codebook is looked up in
the value labels of the file. Without a label, a negative code is a missing answer and a positive code is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import one_line
from valuestrata.survey.codebook import Codebook, Item, Missing
from valuestrata.survey.formats.columns import MissingRange, ValueLabels, is_declared_missing
from valuestrata.survey.labels import LONGEST_LABEL, NULL_WORDS, ItemLabels, number, read_numbered

Value = float | str
Counts = Sequence[tuple[Value, int]]


@dataclass
class Meanings:
    """The decoded values of a column.

    Attributes:
        table: value -> option or level index, or a negative value for missing answers.
        unknown: values that could not be decoded, with counts.
        negative_codes: negative codes counted as missing because the codebook lacks them, with counts.
        notes: messages about decisions the user should check.
    """

    table: dict[Value, int] = field(default_factory=dict[Value, int])
    unknown: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    negative_codes: dict[int, int] = field(default_factory=dict[int, int])
    notes: list[str] = field(default_factory=list[str])


def distinct(series: pl.Series) -> list[tuple[Value, int]]:
    """Return the non-null values of a column with their counts, most frequent first."""
    counts = series.alias("value").drop_nulls().value_counts().sort(["count", "value"], descending=[True, False])
    return list(zip(counts["value"].to_list(), counts["count"].to_list(), strict=True))


def decode_column(series: pl.Series, meanings: Meanings, null: int, dtype: type[np.int8 | np.int16]) -> NDArray[np.int8 | np.int16]:
    """Return the decoded column, with `null` for empty cells and unknown values."""
    kind = pl.Int8 if dtype is np.int8 else pl.Int16
    if not meanings.table:
        return np.full(len(series), null, dtype=dtype)
    old = pl.Series(list(meanings.table), dtype=series.dtype)
    new = pl.Series(list(meanings.table.values()), dtype=kind)
    return series.replace_strict(old, new, default=null, return_dtype=kind).fill_null(null).to_numpy()


def missing_codes(codebook: Codebook) -> dict[int, Missing]:
    """Return code -> class of missing."""
    return {code: rule.kind for rule in codebook.missing for code in rule.codes}


def item_meanings(
    item: Item,
    labels: ItemLabels,
    codes: Mapping[int, Missing],
    values: Counts,
    value_labels: ValueLabels,
    declared: Sequence[MissingRange] = (),
) -> Meanings:
    """Decode the values of an item's column to option indices or `Missing` values.

    Args:
        item, labels: the item and its labels.
        codes: code -> class of missing, of the whole codebook. values: distinct values with counts.
        value_labels: code -> label, from the file. declared: values that the file declares as missing.
    """
    found = Meanings()
    codes = {**codes, **item.missing}
    raw = item.index_of_raw()
    texts: list[str] = []
    from_number: set[int] = set()  # options that occur as a number
    unmatched: list[tuple[Value, int]] = []
    for value, count in values:
        shown = shown_value(value)
        override = labels.override(shown)
        parsed = number(value) if isinstance(value, str) else value
        if override is not None:
            found.table[value] = override
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            found.table[value] = Missing.OTHER_MISSING
        elif parsed is None:
            text = value_labels.get(value.strip(), value) if isinstance(value, str) else shown
            meaning = Missing.OTHER_MISSING if is_declared_missing(value, declared) else labels.find(text)
            texts.append(shown)
            if meaning is None:
                unmatched.append((value, count))
            else:
                found.table[value] = meaning
        elif not parsed.is_integer() if isinstance(parsed, float) else False:
            found.unknown.append((shown, count))
        else:
            code = int(parsed)
            meaning = _code_meaning(code, count, item, labels, codes, raw, value_labels, found)
            if meaning is None and is_declared_missing(code, declared):
                meaning = Missing.OTHER_MISSING
            if meaning is None:
                found.unknown.append((shown, count))
            else:
                found.table[value] = meaning
                from_number.add(meaning)
    by_number = {**codes, **dict.fromkeys(item.off_scale, Missing.OTHER_MISSING), **raw}
    unclear = [shown_value(value) for value, _ in unmatched]
    if read := read_numbered(unclear, texts, labels.find, labels.find_text, by_number, has_codes=bool(from_number)):
        found.table.update({value: read[shown_value(value)] for value, _ in unmatched if shown_value(value) in read})
        unmatched = [(value, count) for value, count in unmatched if shown_value(value) not in read]
        found.notes.append(numbered_note(item.id, read, item.labels))
    if (end := _missing_end(item, from_number, set(found.table.values()))) is not None and len(unmatched) == 1:
        (value, count) = unmatched.pop()
        found.table[value] = end
        found.notes.append(
            f"{item.id}: the label {shown_value(value)!r} ({count} rows) was read as code {item.codes[end]}, "
            "the only end of the scale without a value in the column."
        )
    found.unknown += [(shown_value(value), count) for value, count in unmatched]
    return found


def _code_meaning(
    code: int,
    count: int,
    item: Item,
    labels: ItemLabels,
    codes: Mapping[int, Missing],
    raw: Mapping[int, int],
    value_labels: ValueLabels,
    found: Meanings,
) -> int | None:
    if code in raw:
        labelled = labels.find(value_labels[code], code) if code in value_labels else None
        if labelled is not None and labelled >= 0 and labelled != raw[code]:
            found.notes.append(
                f"{item.id}: the file labels code {code} {value_labels[code]!r}, which is code {item.codes[labelled]} in the codebook. "
                "The codebook was followed; check the coding of the file."
            )
        return raw[code]
    if code in codes:
        return codes[code]
    if code in item.off_scale:
        return Missing.OTHER_MISSING
    if label := value_labels.get(code):
        meaning = labels.find(label, code)
        if meaning is not None:
            if meaning >= 0:
                found.notes.append(
                    f"{item.id}: code {code} ({count} rows) is not in the codebook and was read by its label in the file, {label!r}."
                )
            return meaning
    if code < 0:
        found.negative_codes[code] = count
        return Missing.OTHER_MISSING
    return None


def _missing_end(item: Item, from_number: set[int], seen: set[int]) -> int | None:
    """Return the only end of a numeric scale without a value, if all points between occur as numbers."""
    last = len(item.codes) - 1
    if not item.is_numeric_scale or not from_number.issuperset(range(1, last)):
        return None
    absent = {0, last} - seen
    return absent.pop() if len(absent) == 1 else None


def numbered_note(name: str, read: Mapping[str, int], labels: Sequence[str]) -> str:
    """Return the note on labels that were read by `read_numbered`; `labels`: those of the codebook."""
    pairs = ", ".join(f"{label!r} as {labels[meaning]!r}" for label, meaning in read.items() if meaning >= 0)
    return f"{name}: labels with numbers were read by comparing all labels of the column: {pairs}. Check them."


def shown_value(value: Value) -> str:
    """Return a value as text: `3` for 3.0; text without control characters, with single spaces and at most as long as a label."""
    if isinstance(value, str):
        text = " ".join(one_line(value).split())
        return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 3] + "..."
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)
