"""What the distinct values of one column mean, so that a column of any length is decided a few values at a time.

A number, or text that is one, is a raw code; other text is a label. Codes that are neither answers nor known missing
codes are looked up in the file's own value labels; a negative one that nobody explains is a missing answer, a
positive one a problem. Everything decided here is applied to the whole column at once by `decoded`.
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
    """Distinct value -> option or level index, or a negative value; with what could not be decided.

    `unknown` are values with their counts that mean nothing known; `odd_codes` negative codes taken as missing;
    `notes` are sentences about decisions a reader may doubt.
    """

    table: dict[Value, int] = field(default_factory=dict[Value, int])
    unknown: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    odd_codes: dict[int, int] = field(default_factory=dict[int, int])
    notes: list[str] = field(default_factory=list[str])


def distinct(series: pl.Series) -> list[tuple[Value, int]]:
    """Return the values of a column with their counts, most frequent first; nulls are not among them."""
    counts = series.alias("value").drop_nulls().value_counts().sort(["count", "value"], descending=[True, False])
    return list(zip(counts["value"].to_list(), counts["count"].to_list(), strict=True))


def decoded(series: pl.Series, meanings: Meanings, null: int, dtype: type[np.int8 | np.int16]) -> NDArray[np.int8 | np.int16]:
    """Return the column with every value replaced by its meaning; `null` for empty cells and unknown values."""
    kind = pl.Int8 if dtype is np.int8 else pl.Int16
    if not meanings.table:
        return np.full(len(series), null, dtype=dtype)
    old = pl.Series(list(meanings.table), dtype=series.dtype)
    new = pl.Series(list(meanings.table.values()), dtype=kind)
    return series.replace_strict(old, new, default=null, return_dtype=kind).fill_null(null).to_numpy()


def missing_codes(codebook: Codebook) -> dict[int, Missing]:
    """Return raw code -> class of missing."""
    return {code: rule.kind for rule in codebook.missing for code in rule.codes}


def item_meanings(item: Item, labels: ItemLabels, codes: Mapping[int, Missing], values: Counts, value_labels: ValueLabels) -> Meanings:
    """Return what the values of an item's column mean: option indices, or `Missing` values.

    `codes` are the survey's missing codes, `value_labels` the file's own labels of this column.
    """
    found = Meanings()
    raw = item.index_of_raw()
    bare: set[int] = set()  # options met as a bare number
    stray: list[tuple[Value, int]] = []  # unmatched labels
    for value, count in values:
        shown = _shown(value)
        settled = labels.settled(shown)
        parsed = number(value) if isinstance(value, str) else value
        if settled is not None:
            found.table[value] = settled
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            found.table[value] = Missing.OTHER_MISSING
        elif parsed is None:
            meaning = labels.find(value_labels.get(value.strip(), value) if isinstance(value, str) else shown)
            if meaning is None:
                stray.append((value, count))
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
                bare.add(meaning)
    if (end := _missing_end(item, bare, set(found.table.values()))) is not None and len(stray) == 1:
        (value, count) = stray.pop()
        found.table[value] = end
        found.notes.append(
            f"{item.id}: the label {_shown(value)!r} ({count} rows) was taken as code {item.codes[end]}, "
            "the one end of the scale that no other value of the column stands for."
        )
    found.unknown += [(_shown(value), count) for value, count in stray]
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
        told = labels.find(value_labels[code]) if code in value_labels else None
        if told is not None and told >= 0 and told != raw[code]:
            found.notes.append(
                f"{item.id}: the file labels code {code} {value_labels[code]!r}, which the codebook calls code {item.codes[told]}. "
                "The codebook's reading was kept: check that the file is coded as the codebook says."
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
                    f"{item.id}: code {code} ({count} rows), which the codebook lacks, was read by the file's own label {label!r}."
                )
            return meaning
    if code < 0:
        found.odd_codes[code] = count
        return Missing.OTHER_MISSING
    return None


def _missing_end(item: Item, bare: set[int], seen: set[int]) -> int | None:
    """Return the end of a numeric scale that no value stands for, if all points between are there as bare numbers."""
    last = len(item.codes) - 1
    if not item.is_numeric_scale or not bare.issuperset(range(1, last)):
        return None
    absent = {0, last} - seen
    return absent.pop() if len(absent) == 1 else None


class LevelLabels:
    """What the labels of an attribute's column mean: a level index, or UNKNOWN_LEVEL for a missing answer.

    `among` are the levels to prefer where two carry the same label (`SG: Chinese` and `MY: Chinese` in a Singapore
    file that says `Chinese`).
    """

    def __init__(
        self, attribute: Attribute, missing: MissingLabels, settled: Sequence[tuple[str, int]] = (), among: Collection[int] = ()
    ) -> None:
        self._attribute = attribute
        own = [(label, index) for index, level in enumerate(attribute.levels) for label in (level.label, *level.synonyms)]
        self._own = LabelTable(own)
        self._settled = LabelTable(settled)
        self._missing = missing
        self._among = among

    def settled(self, label: str) -> int | None:
        """Return what the user has decided of this label or number, or None."""
        return self._settled.find(label, STRICT_TIERS)

    def find(self, label: str) -> int | None:
        """Return the level of a label, UNKNOWN_LEVEL if it stands for a missing answer, None if it means nothing."""
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
        """`1. Male`: the number and the words must say the same, where the level has numbers."""
        parts = numbered(label)
        if parts is None:
            return None
        if self._missing.find(parts[1]) is not None:
            return UNKNOWN_LEVEL
        level = self._own.find(parts[1], STRICT_TIERS, self._among)
        codes = () if level is None else self._attribute.levels[level].codes
        return level if not codes or parts[0] in codes else None

    def _band(self, label: str) -> int | None:
        """`16 to 24`, `65 and more years`: the one level whose band holds it."""
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
        # "Under 25" is the band 16 to 24 when nothing lies below it: no survey asks the very young.
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
    cut: bool = False,
) -> Meanings:
    """Return what the values of an attribute's column mean: level indices, or UNKNOWN_LEVEL for missing answers.

    `cut` says that the column is the attribute's fallback, whose codes are those of the levels even where the main
    column is a number to be banded.
    """
    found = Meanings()
    by_code = {code: index for index, level in enumerate(attribute.levels) for code in level.codes}
    for value, count in values:
        shown = _shown(value)
        parsed = number(value) if isinstance(value, str) else float(value)
        meaning = labels.settled(shown)
        if meaning is not None:
            pass
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            meaning = UNKNOWN_LEVEL
        elif parsed is None:
            meaning = labels.find(value_labels.get(value.strip(), value) if isinstance(value, str) else shown)
        elif parsed in codes and parsed not in by_code:
            meaning = UNKNOWN_LEVEL
        elif attribute.banded and not cut:
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
    # Bands are written in whole numbers: 24.5 years is still 24.
    for candidate in (value, float(np.floor(value))):
        for index, level in enumerate(attribute.levels):
            if (level.low is None or level.low <= candidate) and (level.high is None or candidate <= level.high):
                return index
    return None


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    return str(int(value)) if float(value).is_integer() else str(value)
