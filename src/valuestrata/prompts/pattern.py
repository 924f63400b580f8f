"""Text with `{placeholders}`: there is nothing in it to run, and a value is never filled again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from string import Formatter

from valuestrata.errors import InputDataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text cut at its placeholders: (literal, placeholder or None) pieces."""

    pieces: tuple[tuple[str, str | None], ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every placeholder replaced, once: braces inside a value stay as they are."""
        return "".join([literal if name is None else literal + values[name] for literal, name in self.pieces])

    def with_pattern(self, name: str, other: Pattern) -> Pattern:
        """Return the pattern with `other` in the place of the placeholder `name`."""
        pieces: list[tuple[str, str | None]] = []
        for literal, found in self.pieces:
            pieces.extend([(literal, None), *other.pieces] if found == name else [(literal, found)])
        return Pattern(tuple(pieces))

    def in_halves(self, names: Collection[str]) -> tuple[tuple[Pattern, ...], tuple[Pattern, ...]]:
        """Cut the pattern where it changes between the placeholders `names` and all others.

        Returns:
            Two rows of as many patterns: those with `names` alone and those with the others alone, such that the text is
            first, other, first, other, ... A literal goes with what stands before it.
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
    """Cut a text at its placeholders.

    Args:
        text: what the file says; a line end at its end is none of the text. where: file and key. known: the placeholders
            that may stand here.

    Raises:
        InputDataError: a placeholder that is not known here, or a brace that belongs to none.
    """
    pieces: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text.rstrip("\n")):
            if name is not None and (spec or conversion or name not in known):
                raise InputDataError(f"{where}: the placeholder {{{name}}} is not known here.{did_you_mean(name, known)}")
            pieces.append((literal, name))
    except ValueError as error:
        raise InputDataError(f"{where}: {error}; write a brace that is not a placeholder twice, as {{{{ or }}}}.") from error
    return Pattern(tuple(pieces))
