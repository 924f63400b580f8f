"""Decodes the distinct values of an attribute's column to level indices.

The codes of coded levels and the bands of a numeric attribute are matched to numbers, the labels of levels to text.
Missing codes of the codebook belong to its items: for a numeric attribute a band decides, unless the file declares the value
as missing, the attribute lists it under `missing`, or it lies far outside the other values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

from valuestrata.survey.codebook import Attribute, Missing
from valuestrata.survey.decode import Counts, Meanings, numbered_note, shown_value
from valuestrata.survey.formats.columns import MissingRange, ValueLabels, is_declared_missing
from valuestrata.survey.labels import (
    LONGEST_LABEL,
    LOOSE_TIERS,
    NULL_WORDS,
    STRICT_TIERS,
    LabelTable,
    MissingLabels,
    number,
    numbered,
    read_numbered,
)

UNKNOWN_LEVEL = -1

# A missing code in an open band is a value only if it is not this many times the largest bound, and, where the column has
# enough other values to tell, not this share of their span away from the nearest of them.
FAR_TIMES = 10
FAR_SHARE = 0.5
FEWEST_VALUES = 10

# The number is at the start or after a space, a bracket or `age`: `Post-9/11` is no range.
_BEFORE = r"^(?:\D*[\s(\[:]|\D*\bage[ds]?)?"
_YEARS = r"\s*(?:years?|yrs?)?\s*"
_LOW = r"(?P<low>-?\d+)"
_HIGH = r"(?P<high>-?\d+)\D*$"
_FROM_TO = re.compile(_BEFORE + _LOW + _YEARS + r"(?:-|to|and)\s*(?P<under>under|below|less than|<)?\s*" + _HIGH)
_FROM = (
    re.compile(_BEFORE + _LOW + r"\s*(?:\+|(?:years?|yrs?)?\s*(?:and|or|&)\s*(?:more|over|older|above|up)|plus\b).*$"),
    re.compile(_BEFORE + r"(?:at least|>=|≥)\s*" + _LOW + r"\D*$"),
)
_ABOVE = re.compile(_BEFORE + r"(?:over|above|more than|older than|>)\s*" + _LOW + r"\D*$")
_BELOW = re.compile(_BEFORE + r"(?:under|below|less than|younger than|<)\s*" + _HIGH)
_UP_TO = (
    re.compile(_BEFORE + r"(?:up to|at most|<=|≤)\s*" + _HIGH),
    re.compile(_BEFORE + r"(?P<high>-?\d+)" + _YEARS + r"(?:and|or|&)\s*(?:less|under|younger|below|fewer)\D*$"),
)


def _range(label: str) -> tuple[float, float] | None:
    """Return the ends of a range such as `16 to 24`, `65+` or `under 18`, or None."""
    text = " ".join(label.casefold().translate(dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")).split())
    low, high = -np.inf, np.inf
    if span := _FROM_TO.match(text):
        low, high = float(span["low"]), float(span["high"]) - bool(span["under"])
    elif span := _BELOW.match(text):
        high = float(span["high"]) - 1
    elif span := next((found for pattern in _UP_TO if (found := pattern.match(text))), None):
        high = float(span["high"])
    elif span := next((found for pattern in _FROM if (found := pattern.match(text))), None):
        low = float(span["low"])
    elif span := _ABOVE.match(text):
        low = float(span["low"]) + 1
    return (low, high) if span and low <= high else None


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
        self._codes = {code: index for index, level in enumerate(attribute.levels) for code in level.codes}

    def override(self, label: str) -> int | None:
        """Return the meaning that the user assigned to this label or number, or None."""
        return self._overrides.find(label, STRICT_TIERS)

    def find(self, label: str, code: float | None = None) -> int | None:
        """Return the level of a label, UNKNOWN_LEVEL for a missing answer, or None if nothing matches.

        Args:
            label: the label. code: the code that the file labels so, or None if the file holds the label itself.
        """
        level = self._own.find(label, STRICT_TIERS, self._among)
        if level is not None:
            return level
        if self.is_missing(label):
            return UNKNOWN_LEVEL
        parts = numbered(label)
        carried = None if parts is None else self.find_text(parts.text, in_band=parts.style >= 0)
        if parts is not None and carried is not None:
            if carried == UNKNOWN_LEVEL:
                return carried
            codes = self._attribute.levels[carried].codes if code is None else (code,)
            if not codes or parts.number in codes:
                return carried
            if parts.number in self._codes:
                return None  # number and text contradict each other
        level = self._own.find(label, LOOSE_TIERS, self._among)
        return self._band(label) if level is None and len(label) <= LONGEST_LABEL else level

    def find_text(self, text: str, *, in_band: bool = True) -> int | None:
        """Return the level of the text of a label without its number, UNKNOWN_LEVEL for a missing answer, or None.

        Args:
            text: the text. in_band: whether to read ranges.
        """
        if self.is_missing(text):
            return UNKNOWN_LEVEL
        level = self._own.find(text, STRICT_TIERS, self._among)
        return self._band(text) if level is None and in_band else level

    def is_missing(self, label: str) -> bool:
        """Whether the label is that of a missing answer and of no level."""
        return self._own.find(label, STRICT_TIERS, self._among) is None and self._missing.find(label) is not None

    def _band(self, label: str) -> int | None:
        """Return the level whose band contains a range such as `16 to 24` or `65 and more years`, or None."""
        span = _range(label) if self._attribute.banded else None
        if span is None:
            return None
        low, high = span
        bands = [
            (index, -np.inf if level.low is None else level.low, np.inf if level.high is None else level.high)
            for index, level in enumerate(self._attribute.levels)
            if level.has_band
        ]
        # "Under 25" is the band 16 to 24 if that is the lowest band: surveys exclude children.
        low = max(low, min(band[1] for band in bands)) if low == -np.inf else low
        inside = [index for index, lowest, highest in bands if lowest <= low and high <= highest]
        # `1990-1994` is not an age of 65 and over.
        return inside[0] if len(inside) == 1 and not _is_beyond(self._attribute, low) else None


def attribute_meanings(
    attribute: Attribute,
    labels: LevelLabels,
    codes: Mapping[int, Missing],
    values: Counts,
    value_labels: ValueLabels,
    declared: Sequence[MissingRange] = (),
    *,
    is_fallback: bool = False,
) -> Meanings:
    """Decode the values of an attribute's column to level indices, or UNKNOWN_LEVEL for missing answers.

    Args:
        attribute, labels: the attribute and its labels.
        codes: code -> class of missing, from the codebook. values: distinct values with counts.
        value_labels: code -> label, from the file. declared: values that the file declares as missing.
        is_fallback: whether the column is the fallback, which holds codes of levels also for a banded attribute.
    """
    found = Meanings()
    banded = attribute.banded and not is_fallback
    by_code = {code: i for i, level in enumerate(attribute.levels) for code in level.codes if not (banded and level.has_band)}
    missing = frozenset(codes) if attribute.missing is None else frozenset(attribute.missing)
    far = _far_codes(attribute, missing, values) if banded and attribute.missing is None else frozenset[float]()
    in_band: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    texts: list[str] = []
    for value, count in values:
        shown = shown_value(value)
        parsed = number(value) if isinstance(value, str) else float(value)
        meaning = labels.override(shown)
        if meaning is not None:
            pass
        elif isinstance(value, str) and value.strip() in NULL_WORDS:
            meaning = UNKNOWN_LEVEL
        elif parsed is None:
            text = value_labels.get(value.strip(), value) if isinstance(value, str) else shown
            meaning = UNKNOWN_LEVEL if is_declared_missing(value, declared) else labels.find(text)
            texts.append(shown)
        else:
            label = value_labels.get(parsed)
            if parsed in by_code:
                meaning = by_code[int(parsed)]
            elif is_declared_missing(parsed, declared) or (label is not None and labels.is_missing(label)):
                meaning = UNKNOWN_LEVEL
            elif banded and (attribute.missing is None or parsed not in missing):
                meaning = _banded(attribute, parsed)
                if meaning is not None and parsed in missing:
                    (outside if parsed in far else in_band)[shown_value(parsed)] += count
                    meaning = UNKNOWN_LEVEL if parsed in far else meaning
            if meaning is None:
                meaning = UNKNOWN_LEVEL if parsed in missing else None if label is None else labels.find(label, parsed)
            if meaning is None and parsed < 0:
                meaning = UNKNOWN_LEVEL
        found.table[value] = UNKNOWN_LEVEL if meaning is None else meaning
        if meaning is None:
            found.unknown.append((shown, count))
    _add_numbered(attribute, labels, texts, found)
    # A file that declares missing values of the column thereby says that its other values are none.
    declares = bool(declared) or any(labels.is_missing(label) for label in value_labels.values())
    found.notes += _band_notes(attribute, [] if declares else in_band.most_common(), outside.most_common())
    return found


def _add_numbered(attribute: Attribute, labels: LevelLabels, texts: Sequence[str], found: Meanings) -> None:
    """Read labels with numbers that single labels leave unclear, if the numbers are consistent over the column."""
    unclear = [label for label, _ in found.unknown]
    by_number = {code: index for index, level in enumerate(attribute.levels) for code in level.codes}
    has_codes = any(found.table[value] >= 0 for value in found.table if not isinstance(value, str) or number(value) is not None)
    read = read_numbered(unclear, texts, labels.find, labels.find_text, by_number, has_codes=has_codes)
    if not read:
        return
    found.unknown = [(label, count) for label, count in found.unknown if label not in read]
    found.table.update({value: read[shown_value(value)] for value in found.table if shown_value(value) in read})
    found.notes.append(numbered_note(attribute.name, read, [level.label for level in attribute.levels]))


def _banded(attribute: Attribute, value: float) -> int | None:
    # The ends of bands are whole numbers: 24.5 years counts as 24.
    for candidate in (value, float(np.floor(value))):
        for index, level in enumerate(attribute.levels):
            if level.has_band and (level.low is None or level.low <= candidate) and (level.high is None or candidate <= level.high):
                return index
    return None


def _bounds(attribute: Attribute) -> list[float]:
    return [bound for level in attribute.levels for bound in (level.low, level.high) if bound is not None]


def _is_beyond(attribute: Attribute, value: float) -> bool:
    """Whether a value above the bands' bounds, in an open band, is many times the largest bound (999 for an age)."""
    bounds = _bounds(attribute)
    return bool(bounds) and max(bounds) > 0 and value > FAR_TIMES * max(bounds)


def _far_codes(attribute: Attribute, codes: Collection[int], values: Counts) -> frozenset[float]:
    """Return the missing codes above or below all bounds that are far from every other value, and so no values themselves."""
    bounds = _bounds(attribute)
    if not bounds:
        return frozenset()
    parsed = [number(value) if isinstance(value, str) else float(value) for value, _ in values]
    present = sorted({value for value in parsed if value is not None})
    others = [value for value in present if value not in codes and _banded(attribute, value) is not None]
    far = {value for value in present if value in codes and (_is_beyond(attribute, value) or value < 0 <= min(bounds))}
    if len(others) >= FEWEST_VALUES:
        limit = FAR_SHARE * (others[-1] - others[0])
        far.update(_after_gap(others[-1], [value for value in present if value > others[-1]], limit))
        far.update(_after_gap(others[0], [value for value in reversed(present) if value < others[0]], limit))
    return frozenset(value for value in far if value in codes and not min(bounds) <= value <= max(bounds))


def _after_gap(start: float, outwards: Sequence[float], limit: float) -> Sequence[float]:
    """Return the values after the first gap wider than `limit`. A code next to a value is a value, and so may be the next one."""
    for place, (before, value) in enumerate(pairwise((start, *outwards))):
        if abs(value - before) > limit:
            return outwards[place:]
    return ()


def _band_notes(attribute: Attribute, counted: Sequence[tuple[str, int]], left_out: Sequence[tuple[str, int]]) -> list[str]:
    notes: list[str] = []
    far = [value for value, _ in left_out]
    if counted:
        codes = [*(value for value, _ in counted), *far]
        notes.append(
            f"{attribute.name}: {values_text(counted)} are missing codes of the codebook, but lie in a band and count as values. "
            f"If they are missing answers in column {attribute.column!r}, add `missing: [{', '.join(codes)}]` to the attribute, "
            f"else `missing: [{', '.join(far)}]`."
        )
    if left_out:
        notes.append(
            f"{attribute.name}: {values_text(left_out)} are missing codes of the codebook far outside the other values, and count as "
            f"missing. If they are values of column {attribute.column!r}, give the attribute's own codes under `missing`."
        )
    return notes


def values_text(values: Sequence[tuple[str, int]], most: int = 5) -> str:
    """Return values with their counts as text: `77 (12), 88 (5), and 3 more`."""
    rest = [f"and {len(values) - most} more"] if len(values) > most else []
    return ", ".join([*(f"{value} ({count:,})" for value, count in values[:most]), *rest])
