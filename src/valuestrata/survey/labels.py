"""Answer labels as files really write them, matched to the codebook's without ever guessing between two.

A label is compared in tiers, from as written to ever more forgiving: letters and spaces; without punctuation and
accents; without a country prefix (`US: `); without a parenthetical tail; without both. The first tier that knows the
label decides, and a tier in which the label could mean two things decides nothing. Missing answers are recognised by
the codebook's labels, by the words surveys commonly use, and by what stands before a `;` or `:` (`Missing; Unknown`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence

from valuestrata.survey.codebook import Item, Missing, MissingRule

# Cells that hold no answer at all, whatever the survey. `None` is not among them: it is a religion.
NULL_WORDS = frozenset({"", ".", "NA", "<NA>", "N/A", "nan", "NaN", "NULL", "null", "#NULL!", "#N/A"})

_APOSTROPHES = dict.fromkeys(map(ord, "'’‘‛`´ʼʹ′＇"), "'")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_PREFIX = re.compile(r"^\s*[A-Za-z]{1,3}\s*:\s*(?=\S)")
_COUNTRY = re.compile(r"^\s*[A-Za-z]{2}\s*:\s*\S")
_TAIL = re.compile(r"\s*[(\[][^()\[\]]*[)\]]?\s*$")
_NUMBERED = re.compile(r"^\s*([+-]?\d+)(?:\s*[.:)=|-]+\s*|\s+)(?=[^\d\s])(.+)$")
_CODE_RANGE = re.compile(r"^(.*?)-\d+\s*(?::|-|/|to)\s*-?\d+\s*$")
_HEAD = re.compile(r"[;:,(/]")

# How surveys write missing answers when their codebook does not say.
_COMMON_MISSING: dict[Missing, tuple[str, ...]] = {
    Missing.DONT_KNOW: ("Don't know", "Do not know", "DK", "Can't choose", "Cannot choose"),
    Missing.NO_ANSWER: ("No answer", "Refused", "No answer/refused", "Refusal", "Refused to answer", "Prefer not to say"),
    Missing.NOT_APPLICABLE: ("Not applicable", "Inapplicable", "INAP", "IAP"),
    Missing.NOT_ASKED: ("Not asked", "Not asked in survey", "Not asked in this country", "Not asked in this survey"),
    Missing.OTHER_MISSING: ("Missing", "System missing", "Not available", "Missing value"),
}


def numbered(label: str) -> tuple[int, str] | None:
    """Return number and words of a label such as `1. Very important`, or None where it is not one."""
    parts = _NUMBERED.match(label.translate(_DASHES))
    return None if parts is None else (int(parts[1]), parts[2])


def number(text: str) -> float | None:
    """Return the number that a cell's text is (`3`, ` 3.0`, `10`, `0,98`), or None."""
    bare = text.strip().translate(_DASHES)
    return float(bare.replace(",", ".")) if _NUMBER.fullmatch(bare) else None


def as_written(label: str) -> str:
    """Return the label with spaces collapsed, quotes and dashes unified and case folded; its punctuation is kept."""
    return " ".join(label.translate(_APOSTROPHES).translate(_DASHES).casefold().split())


def normalise(label: str) -> str:
    """Return the label's letters and digits: no case, accents, punctuation or doubled spaces; `<`, `>`, `+` and `%` stay.

    Only Latin-style combining marks are dropped: a vowel sign of Tamil or Thai is a letter of its word.
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
    """Return the label without its parenthetical tail, unless nothing else is left."""
    return _TAIL.sub("", label) or label


STRICT_TIERS: tuple[Callable[[str], str], ...] = (as_written, normalise)
LOOSE_TIERS: tuple[Callable[[str], str], ...] = (
    lambda label: normalise(drop_prefix(label)),
    lambda label: normalise(drop_tail(label)),
    lambda label: normalise(drop_tail(drop_prefix(label))),
)


class LabelTable:
    """Labels and what each means (an option index, a level index, a `Missing` value)."""

    def __init__(self, labels: Iterable[tuple[str, int]]) -> None:
        self._labels = list(labels)
        self._forms: dict[int, dict[str, set[int]]] = {}

    def find(
        self, label: str, tiers: Sequence[Callable[[str], str]] = (*STRICT_TIERS, *LOOSE_TIERS), among: Collection[int] = ()
    ) -> int | None:
        """Return what `label` means, or None if no tier knows it or the first that does knows two meanings.

        `among` settles a label of two meanings if exactly one of them is in it.
        """
        for tier in tiers:
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
    """Recognises the labels of missing answers and says of which class they are."""

    def __init__(self, rules: Iterable[MissingRule]) -> None:
        own = [(label, int(rule.kind)) for rule in rules for label in rule.labels]
        known = LabelTable(own)
        common = [(label, int(kind)) for kind, labels in _COMMON_MISSING.items() for label in labels]
        # The codebook's word on a label is the last one: the common meaning only fills gaps.
        self._table = LabelTable([*own, *(pair for pair in common if known.find(pair[0], STRICT_TIERS) is None)])

    def find(self, label: str) -> Missing | None:
        """Return the class of missing a label stands for, or None if it does not look like a missing answer."""
        meaning = self._table.find(label, STRICT_TIERS)
        # `DK: White` is an answer given in Denmark.
        if meaning is None and not _COUNTRY.match(label):
            head = _HEAD.split(label, maxsplit=1)[0]
            meaning = self._table.find(head, STRICT_TIERS) if head.strip() and head != label else None
        if meaning is not None:
            return Missing(meaning)
        # `Don't -9:-2`: some label exports name a whole range of negative codes.
        if spread := _CODE_RANGE.match(label.translate(_DASHES)):
            return Missing.DONT_KNOW if normalise(spread[1]).startswith(("dont", "do not")) else Missing.OTHER_MISSING
        return None


class ItemLabels:
    """What the labels of one item's column mean: an option index or a `Missing` value.

    `shown` is the item as prompts show it, whose overlaid labels are tried after the codebook's own. `settled` is
    what the user has decided of particular labels; it goes before everything.
    """

    def __init__(self, item: Item, missing: MissingLabels, shown: Item | None = None, settled: Iterable[tuple[str, int]] = ()) -> None:
        position = {code: index for index, code in enumerate(item.codes)}
        own = list(zip(item.labels, range(len(item.labels)), strict=True))
        own += [(label, position[code]) for code, labels in item.synonyms.items() if code in position for label in labels]
        own += [(label, int(Missing.OTHER_MISSING)) for label in item.off_scale.values()]
        self._own = LabelTable(own)
        self._overlaid = LabelTable(zip(shown.labels, range(len(shown.labels)), strict=True)) if shown is not None else LabelTable(())
        self._settled = LabelTable(settled)
        self._missing = missing
        self._raw = item.index_of_raw() | dict.fromkeys(item.off_scale, int(Missing.OTHER_MISSING))

    def settled(self, label: str) -> int | None:
        """Return what the user has decided of this label or number, or None."""
        return self._settled.find(label, STRICT_TIERS)

    def find(self, label: str) -> int | None:
        """Return the option index or `Missing` value of a label; None if it matches nothing, or two things."""
        meaning = self._own.find(label, STRICT_TIERS)
        if meaning is None:
            meaning = self._overlaid.find(label, STRICT_TIERS)
        if meaning is None:
            meaning = self._missing.find(label)
        if meaning is None:
            meaning = self._own.find(label, LOOSE_TIERS)
        return self._numbered(label) if meaning is None else meaning

    def _numbered(self, label: str) -> int | None:
        """`1. Very important`: the number and the words must say the same."""
        parts = numbered(label)
        if parts is None:
            return None
        missing = self._missing.find(parts[1])
        if missing is not None:
            return missing
        index = self._own.find(parts[1])
        return index if index is not None and index == self._raw.get(parts[0]) else None
