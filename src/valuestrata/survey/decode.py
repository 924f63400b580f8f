"""Decodes the distinct values of a column to option indices, level indices or missing classes.

A number, or text that is a number, is a code; other text is a label. A code that is not in the codebook is looked up in
the value labels of the file. Without a label, a negative code is a missing answer and a positive code is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.survey.codebook import Attribute, Codebook, Item, Missing
from valuestrata.survey.formats.columns import ValueLabels
from valuestrata.survey.labels import LOOSE_TIERS, NULL_WORDS, STRICT_TIERS, ItemLabels, LabelTable, MissingLabels, number, numbered

Value = float | str
Counts = Sequence[tuple[Value, int]]

UNKNOWN_LEVEL = -1

_OPEN_ABOVE = re.compile(r"^\D*(\d+)\s*(?:\+|(?:years?|yrs?)?\s*(?:and|or|&)\s*(?:more|over|older|above|up)|plus\b).*$")
_OPEN_BELOW = re.compile(r"^(?:under|below|less than|younger than|<)\s*(\d+)\D*$|^up to (\d+)\D*$")
_FROM_TO = re.compile(r"^\D*(\d+)\s*(?:-|to|and)\s*(\d+)\D*$")


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


def item_meanings(item: Item, labels: ItemLabels, codes: Mapping[int, Missing], values: Counts, value_labels: ValueLabels) -> Meanings:
    """Decode the values of an item's column to option indices or `Missing` values.

    Args:
        item, labels: the item and its labels.
        codes: code -> class of missing. values: distinct values with counts.
        value_labels: code -> label, from the file.
    """
    found = Meanings()
    raw = item.index_of_raw()
    from_number: set[int] = set()  # options that occur as a number
    unmatched: list[tuple[Value, int]] = []
    for value, count in values:
        shown = _shown(value)
        override = labels.override(shown)
        parsed = number(value) if isinstance(value, str) else value
        if override is not None:
            found.table[value] = override
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            found.table[value] = Missing.OTHER_MISSING
        elif parsed is None:
            meaning = labels.find(value_labels.get(value.strip(), value) if isinstance(value, str) else shown)
            if meaning is None:
                unmatched.append((value, count))
            else:
                found.table[value] = meaning
        elif not parsed.is_integer() if isinstance(parsed, float) else False:
            found.unknown.append((shown, count))
        else:
            code = int(parsed)
            meaning = _code_meaning(code, count, item, labels, codes, raw, value_labels, found)
            if meaning is None:
                found.unknown.append((shown, count))
            else:
                found.table[value] = meaning
                from_number.add(meaning)
    if (end := _missing_end(item, from_number, set(found.table.values()))) is not None and len(unmatched) == 1:
        (value, count) = unmatched.pop()
        found.table[value] = end
        found.notes.append(
            f"{item.id}: the label {_shown(value)!r} ({count} rows) was read as code {item.codes[end]}, "
            "the only end of the scale without a value in the column."
        )
    found.unknown += [(_shown(value), count) for value, count in unmatched]
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
        labelled = labels.find(value_labels[code]) if code in value_labels else None
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
        meaning = labels.find(label)
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


class LevelLabels:
    """Matches the labels of an attribute's column to level indices, or UNKNOWN_LEVEL for missing answers.

    Args:
        attribute: the attribute.
        missing: labels of missing answers.
        overrides: labels assigned by the user, with their meanings.
        among: levels to prefer where several have the same label (`SG: Chinese` and `MY: Chinese` in a file of Singapore).
    """

    def __init__(
        self, attribute: Attribute, missing: MissingLabels, overrides: Sequence[tuple[str, int]] = (), among: Collection[int] = ()
    ) -> None:
        self._attribute = attribute
        own = [(label, index) for index, level in enumerate(attribute.levels) for label in (level.label, *level.synonyms)]
        self._own = LabelTable(own)
        self._overrides = LabelTable(overrides)
        self._missing = missing
        self._among = among

    def override(self, label: str) -> int | None:
        """Return the meaning that the user assigned to this label or number, or None."""
        return self._overrides.find(label, STRICT_TIERS)

    def find(self, label: str) -> int | None:
        """Return the level of a label, UNKNOWN_LEVEL for a missing answer, or None if nothing matches."""
        level = self._own.find(label, STRICT_TIERS, self._among)
        if level is not None:
            return level
        if self._missing.find(label) is not None:
            return UNKNOWN_LEVEL
        level = self._own.find(label, LOOSE_TIERS, self._among)
        if level is None and self._attribute.banded:
            level = self._band(label)
        return self._numbered(label) if level is None else level

    def _numbered(self, label: str) -> int | None:
        """Return the level of a label such as `1. Male`, or None if its number contradicts the codes of the level."""
        parts = numbered(label)
        if parts is None:
            return None
        if self._missing.find(parts[1]) is not None:
            return UNKNOWN_LEVEL
        level = self._own.find(parts[1], STRICT_TIERS, self._among)
        codes = () if level is None else self._attribute.levels[level].codes
        return level if not codes or parts[0] in codes else None

    def _band(self, label: str) -> int | None:
        """Return the level whose band contains a range such as `16 to 24` or `65 and more years`, or None."""
        text = label.casefold().translate(dict.fromkeys(map(ord, "–—‑"), "-")).strip()
        if span := _FROM_TO.match(text):
            low, high = float(span[1]), float(span[2])
        elif span := _OPEN_ABOVE.match(text):
            low, high = float(span[1]), np.inf
        elif span := _OPEN_BELOW.match(text):
            low, high = -np.inf, float(span[1]) - 1 if span[1] else float(span[2])
        else:
            return None
        bands = [(-np.inf if x.low is None else x.low, np.inf if x.high is None else x.high) for x in self._attribute.levels]
        # "Under 25" is the band 16 to 24 if that is the lowest band: surveys exclude children.
        low = max(low, min(band[0] for band in bands)) if low == -np.inf else low
        inside = [index for index, band in enumerate(bands) if band[0] <= low and high <= band[1]]
        return inside[0] if len(inside) == 1 else None


def attribute_meanings(
    attribute: Attribute,
    labels: LevelLabels,
    codes: Mapping[int, Missing],
    values: Counts,
    value_labels: ValueLabels,
    *,
    is_fallback: bool = False,
) -> Meanings:
    """Decode the values of an attribute's column to level indices, or UNKNOWN_LEVEL for missing answers.

    Args:
        attribute, labels: the attribute and its labels.
        codes: code -> class of missing. values: distinct values with counts.
        value_labels: code -> label, from the file.
        is_fallback: whether the column is the fallback, which holds codes of levels also for a banded attribute.
    """
    found = Meanings()
    by_code = {code: index for index, level in enumerate(attribute.levels) for code in level.codes}
    for value, count in values:
        shown = _shown(value)
        parsed = number(value) if isinstance(value, str) else float(value)
        meaning = labels.override(shown)
        if meaning is not None:
            pass
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            meaning = UNKNOWN_LEVEL
        elif parsed is None:
            meaning = labels.find(value_labels.get(value.strip(), value) if isinstance(value, str) else shown)
        elif parsed in codes and parsed not in by_code:
            meaning = UNKNOWN_LEVEL
        elif attribute.banded and not is_fallback:
            meaning = _banded(attribute, parsed)
        else:
            meaning = by_code.get(int(parsed)) if parsed.is_integer() else None
        if meaning is None and parsed is not None and (label := value_labels.get(parsed)):
            meaning = labels.find(label)
        if meaning is None and parsed is not None and parsed < 0:
            meaning = UNKNOWN_LEVEL
        found.table[value] = UNKNOWN_LEVEL if meaning is None else meaning
        if meaning is None:
            found.unknown.append((shown, count))
    return found


def _banded(attribute: Attribute, value: float) -> int | None:
    # The ends of bands are whole numbers: 24.5 years counts as 24.
    for candidate in (value, float(np.floor(value))):
        for index, level in enumerate(attribute.levels):
            if (level.low is None or level.low <= candidate) and (level.high is None or candidate <= level.high):
                return index
    return None


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    return str(int(value)) if float(value).is_integer() else str(value)
