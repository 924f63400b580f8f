"""Text patterns with `{placeholders}`. Patterns cannot run code, and inserted values are not expanded again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from string import Formatter

from valuestrata.errors import InputDataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text split at its placeholders: pieces (literal, placeholder or None)."""

    pieces: tuple[tuple[str, str | None], ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every placeholder replaced. Braces inside values are kept."""
        return "".join([literal if name is None else literal + values[name] for literal, name in self.pieces])

    def with_pattern(self, name: str, other: Pattern) -> Pattern:
        """Return the pattern with `other` substituted for the placeholder `name`."""
        pieces: list[tuple[str, str | None]] = []
        for literal, found in self.pieces:
            pieces.extend([(literal, None), *other.pieces] if found == name else [(literal, found)])
        return Pattern(tuple(pieces))

    def in_halves(self, names: Collection[str]) -> tuple[tuple[Pattern, ...], tuple[Pattern, ...]]:
        """Split the pattern at each change between the placeholders `names` and all others.

        Returns:
            Two tuples of equal length: patterns with `names` only, and patterns with the other placeholders only. The text
            alternates between them, starting with the first. A literal belongs to the placeholder before it.
        """
        halves: tuple[list[Pattern], list[Pattern]] = ([], [])
        side = 0
        run: list[tuple[str, str | None]] = []
        for literal, name in self.pieces:
            run.append((literal, None))
            if name is None:
                continue
            if (0 if name in names else 1) != side:
                halves[side].append(Pattern(tuple(run)))
                side, run = 1 - side, []
            run.append(("", name))
        halves[side].append(Pattern(tuple(run)))
        if side == 0:
            halves[1].append(Pattern(()))
        return tuple(halves[0]), tuple(halves[1])

    @property
    def names(self) -> frozenset[str]:
        """The placeholders used."""
        return frozenset(name for _, name in self.pieces if name is not None)


def read_pattern(text: str, where: str, known: Collection[str]) -> Pattern:
    """Split a text at its placeholders.

    Args:
        text: the text; newlines at its end are dropped. where: file and key, for messages. known: allowed placeholders.

    Raises:
        InputDataError: an unknown placeholder, or an unmatched brace.
    """
    pieces: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text.rstrip("\n")):
            if name is not None and name not in known:
                raise InputDataError(f"{where}: unknown placeholder {{{name}}}.{did_you_mean(name, known)}")
            if spec or conversion:
                raise InputDataError(f"{where}: the placeholder {{{name}}} must not have a format or conversion.")
            pieces.append((literal, name))
    except ValueError as error:
        raise InputDataError(f"{where}: {error}; double a brace that is not part of a placeholder: {{{{ or }}}}.") from error
    return Pattern(tuple(pieces))
