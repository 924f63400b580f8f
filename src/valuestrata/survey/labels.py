"""Matches answer labels of a file to those of the codebook.

Labels are compared in tiers: ignoring case and spaces; ignoring punctuation and accents; without a country prefix
(`US: `); without a parenthetical tail; without both. The first tier with a match decides; an ambiguous match is no match.
Missing answers are recognised by the codebook's labels, by common labels, and by the text before `;` or `:`
(`Missing; Unknown`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from valuestrata.survey.codebook import Item, Missing, MissingRule

# Cells without an answer in any survey. `None` is excluded because it can be an answer (a religion).
NULL_WORDS = frozenset({"", ".", "NA", "<NA>", "N/A", "nan", "NaN", "NULL", "null", "#NULL!", "#N/A"})

# Longer texts are no labels: they are open answers, on which the patterns below would take minutes.
LONGEST_LABEL = 1000

_APOSTROPHES = dict.fromkeys(map(ord, "'’‘‛`´ʼʹ′＇"), "'")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_PREFIX = re.compile(r"^\s*[A-Za-z]{1,3}\s*:\s*(?=\S)")
_COUNTRY = re.compile(r"^\s*[A-Za-z]{2}\s*:\s*\S")
_TAIL = re.compile(r"\s*[(\[][^()\[\]]*[)\]]?\s*$")
# `1. Agree`, `1 - Agree`, `[1] Agree`, `Agree {1}`; and, only where the text confirms it, `1 Agree`.
_STYLES = (
    (0, re.compile(r"^\s*(?P<number>[+-]?\d{1,18})\s*[.:)=|-]+\s*(?=[^\W\d]|[^\w\s.:)=|-])(?P<text>.+)$")),
    (0, re.compile(r"^\s*(?P<number>[+-]?\d{1,18})\s*[.:)=|]\s+(?=\d)(?P<text>.+)$")),
    (1, re.compile(r"^\s*[\[({]\s*(?P<number>[+-]?\d{1,18})\s*[\])}][\s.:=-]*(?=[^\s.:=-])(?P<text>.+)$")),
    (2, re.compile(r"^(?P<text>.*[^\s([{].*?)\s*[\[({]\s*(?P<number>[+-]?\d{1,18})\s*[\])}]\s*$")),
    (-1, re.compile(r"^\s*(?P<number>[+-]?\d{1,18})\s+(?:-\s+(?=\d)|(?=[^\d\s.:)=|-]))(?P<text>.+)$")),
)
_CODE_RANGE = re.compile(r"^(.*\S)\s+-\d+\s*(?::|/|to)\s*-\d+\s*$")
_HEAD = re.compile(r"[;:,(/]")

# Common labels of missing answers, used in addition to those of the codebook.
_COMMON_MISSING: dict[Missing, tuple[str, ...]] = {
    Missing.DONT_KNOW: ("Don't know", "Do not know", "DK", "Can't choose", "Cannot choose"),
    Missing.NO_ANSWER: ("No answer", "Refused", "No answer/refused", "Refusal", "Refused to answer", "Prefer not to say"),
    Missing.NOT_APPLICABLE: ("Not applicable", "Inapplicable", "INAP", "IAP"),
    Missing.NOT_ASKED: ("Not asked", "Not asked in survey", "Not asked in this country", "Not asked in this survey"),
    Missing.OTHER_MISSING: ("Missing", "System missing", "Not available", "Missing value"),
}


@dataclass(frozen=True)
class NumberedLabel:
    """A label that carries a number: `1. Very important` or `Very important {1}`.

    Attributes:
        style: how the number is written; -1 if it may belong to the text (`1 Very important`, `3 - 5 times a week`).
    """

    number: int
    text: str
    style: int


def numbered(label: str) -> NumberedLabel | None:
    """Return the number and the text of a label such as `1. Very important` or `[1] Very important`, or None."""
    if len(label) > LONGEST_LABEL:
        return None
    plain = label.translate(_DASHES)
    for style, pattern in _STYLES:
        if parts := pattern.match(plain):
            return NumberedLabel(int(parts["number"]), parts["text"].strip(), style)
    return None


def read_numbered(
    unclear: Sequence[str],
    labels: Sequence[str],
    by_label: Callable[[str], int | None],
    by_text: Callable[[str], int | None],
    by_number: Mapping[int, int],
    *,
    has_codes: bool = False,
) -> dict[str, int]:
    """Return the meanings of the unclear labels of a column that carry numbers, if the numbers are consistent over the column.

    They are if every label of an answer carries a number in one style, the numbers are distinct, and either
    - the text of every label is known, so the text decides; or
    - no known text contradicts its number, and the numbers of known texts, or all codes of the scale, confirm them, so the
      number decides for the others.

    Args:
        unclear: labels to read. labels: all labels of the column.
        by_label, by_text: meaning of a label, and of its text without the number; negative for missing answers.
        by_number: code -> meaning.
        has_codes: whether the column also holds numbers without a label.
    """
    answers = [label for label in labels if (meaning := by_label(label)) is None or meaning >= 0]
    parts = {label: found for label in answers if (found := numbered(label)) is not None and found.style >= 0}
    numbers = {found.number for found in parts.values()}
    one_style = len({found.style for found in parts.values()}) == 1
    unclear = [label for label in unclear if label in parts]
    if not unclear or len(parts) < len(answers) or len(numbers) < len(parts) or not one_style:
        return {}
    texts = {label: by_text(found.text) for label, found in parts.items()}
    coded = {label: by_number.get(found.number) for label, found in parts.items()}
    if None not in texts.values():
        known = [meaning for meaning in texts.values() if meaning is not None and meaning >= 0]
        # Numbers of the file's own need several labels, and no other numbers that would be codes.
        if len(set(known)) < len(known) or len(parts) < 2 or has_codes:
            return {}
        return {label: meaning for label in unclear if (meaning := texts[label]) is not None}
    agrees = [coded[label] == meaning for label, meaning in texts.items() if meaning is not None]
    if not all(agrees) or None in coded.values() or not (agrees or {m for m in by_number.values() if m >= 0} <= set(coded.values())):
        return {}
    return {label: meaning for label in unclear if (meaning := coded[label]) is not None}


def number(text: str) -> float | None:
    """Return the number in a text cell (`3`, ` 3.0`, `10`, `0,98`), or None."""
    stripped = text.strip().translate(_DASHES)
    return float(stripped.replace(",", ".")) if _NUMBER.fullmatch(stripped) else None


def as_written(label: str) -> str:
    """Return the label in lower case, with single spaces and uniform quotes and dashes."""
    return " ".join(label.translate(_APOSTROPHES).translate(_DASHES).casefold().split())


def normalise(label: str) -> str:
    """Return the label in lower case, without accents and punctuation except `<`, `>`, `+` and `%`.

    Only the combining marks U+0300 to U+036F are removed: in Tamil or Thai, vowel signs distinguish words.
    """
    text = unicodedata.normalize("NFKD", as_written(label).replace("'", ""))
    kept = (
        character if character.isalnum() or character in "<>+%" or unicodedata.category(character).startswith("M") else " "
        for character in text
        if not "\u0300" <= character <= "\u036f"
    )
    return " ".join("".join(kept).casefold().split())


def drop_prefix(label: str) -> str:
    """Return the label without a prefix of one to three letters and a colon (`US: White` -> `White`)."""
    return _PREFIX.sub("", label)


def drop_tail(label: str) -> str:
    """Return the label without its parenthetical tail, unless the rest is empty."""
    return _TAIL.sub("", label) or label


STRICT_TIERS: tuple[Callable[[str], str], ...] = (as_written, normalise)
LOOSE_TIERS: tuple[Callable[[str], str], ...] = (
    lambda label: normalise(drop_prefix(label)),
    lambda label: normalise(drop_tail(label)),
    lambda label: normalise(drop_tail(drop_prefix(label))),
)


class LabelTable:
    """Labels with their meanings: option indices, level indices or `Missing` values."""

    def __init__(self, labels: Iterable[tuple[str, int]]) -> None:
        self._labels = list(labels)
        self._forms: dict[int, dict[str, set[int]]] = {}

    def find(
        self, label: str, tiers: Sequence[Callable[[str], str]] = (*STRICT_TIERS, *LOOSE_TIERS), among: Collection[int] = ()
    ) -> int | None:
        """Return the meaning of a label, or None if no tier matches or the first match is ambiguous.

        Args:
            label: the label.
            tiers: normalisations to try, in order.
            among: meanings to prefer if a label has several.
        """
        for tier in tiers if len(label) <= LONGEST_LABEL else ():
            meanings = self._table(tier).get(tier(label), set())
            if len(meanings) > 1 and among:
                meanings = meanings.intersection(among) or meanings
            if meanings:
                return next(iter(meanings)) if len(meanings) == 1 else None
        return None

    def _table(self, tier: Callable[[str], str]) -> dict[str, set[int]]:
        if id(tier) not in self._forms:
            forms: dict[str, set[int]] = {}
            for label, meaning in self._labels:
                if form := tier(label):
                    forms.setdefault(form, set()).add(meaning)
            self._forms[id(tier)] = forms
        return self._forms[id(tier)]


class MissingLabels:
    """Recognises labels of missing answers and their class."""

    def __init__(self, rules: Iterable[MissingRule]) -> None:
        own = [(label, int(rule.kind)) for rule in rules for label in rule.labels]
        known = LabelTable(own)
        common = [(label, int(kind)) for kind, labels in _COMMON_MISSING.items() for label in labels]
        # Common labels are used only where the codebook does not define the label.
        self._table = LabelTable([*own, *(pair for pair in common if known.find(pair[0], STRICT_TIERS) is None)])

    def find(self, label: str) -> Missing | None:
        """Return the class of missing of a label, or None if it is not a missing answer."""
        if len(label) > LONGEST_LABEL:
            return None
        meaning = self._table.find(label, STRICT_TIERS)
        # `DK: White` is an answer in Denmark.
        if meaning is None and not _COUNTRY.match(label):
            head = _HEAD.split(label, maxsplit=1)[0]
            meaning = self._table.find(head, STRICT_TIERS) if head.strip() and head != label else None
        if meaning is not None:
            return Missing(meaning)
        # `Don't -9:-2`: some exports label a range of negative codes. Other ranges, such as `Post-9/11`, are no missing answers.
        if spread := _CODE_RANGE.match(label.translate(_DASHES)):
            if normalise(spread[1]) in ("dont", "do not"):
                return Missing.DONT_KNOW
            known = self._table.find(spread[1], STRICT_TIERS)
            return None if known is None else Missing(known)
        return None


class ItemLabels:
    """Matches the labels of an item's column to option indices or `Missing` values.

    Args:
        item: the item of the codebook.
        missing: labels of missing answers.
        shown: the item with the labels of a wording file, which are tried after those of the codebook; or None.
        overrides: labels assigned by the user, with their meanings. They take precedence.
    """

    def __init__(self, item: Item, missing: MissingLabels, shown: Item | None = None, overrides: Iterable[tuple[str, int]] = ()) -> None:
        position = {code: index for index, code in enumerate(item.codes)}
        own = list(zip(item.labels, range(len(item.labels)), strict=True))
        own += [(label, position[code]) for code, labels in item.synonyms.items() if code in position for label in labels]
        own += [(label, int(Missing.OTHER_MISSING)) for label in item.off_scale.values()]
        self._own = LabelTable(own)
        self._shown = LabelTable(zip(shown.labels, range(len(shown.labels)), strict=True)) if shown is not None else LabelTable(())
        self._overrides = LabelTable(overrides)
        self._missing = missing
        self._raw = item.index_of_raw() | dict.fromkeys(item.off_scale, int(Missing.OTHER_MISSING))

    def override(self, label: str) -> int | None:
        """Return the meaning that the user assigned to this label or number, or None."""
        return self._overrides.find(label, STRICT_TIERS)

    def find(self, label: str, code: float | None = None) -> int | None:
        """Return the option index or `Missing` value of a label, or None if nothing matches or the match is ambiguous.

        Args:
            label: the label. code: the code that the file labels so, or None if the file holds the label itself.
        """
        meaning = self._known(label)
        if meaning is None and (parts := numbered(label)) is not None:
            missing = self._missing.find(parts.text)
            if missing is not None:
                return missing
            meaning = self.find_text(parts.text)
            if meaning is not None and not (meaning == self._raw.get(parts.number) if code is None else parts.number == code):
                # The number contradicts the text, unless it is not a code, such as that of a footnote.
                return None if parts.number in self._raw else self._own.find(label, LOOSE_TIERS)
        return self._own.find(label, LOOSE_TIERS) if meaning is None else meaning

    def find_text(self, text: str) -> int | None:
        """Return the meaning of the text of a label without its number, or None."""
        meaning = self._known(text)
        return self._own.find(text, LOOSE_TIERS) if meaning is None else meaning

    def _known(self, label: str) -> int | None:
        for table in (self._own, self._shown):
            if (meaning := table.find(label, STRICT_TIERS)) is not None:
                return meaning
        return self._missing.find(label)
