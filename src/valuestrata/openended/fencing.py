"""Texts to be judged, between marks that they do not hold themselves: no answer can end its own part of a prompt and begin another."""

from __future__ import annotations

import re
from collections.abc import Sequence

# `<<<` and `>>>`, unless a text holds as many in a row.
_SHORTEST = 3
_RUNS = re.compile(r"<+|>+")


def fenced(texts: Sequence[str]) -> list[str]:
    """Return each text between a line of `<<<` and one of `>>>`.

    The marks of all texts of a prompt are the same, and longer than any row of `<` or `>` in any of them, so that what reads like
    the end of a text stands inside it.
    """
    longest = max((len(run) for text in texts for run in _RUNS.findall(text)), default=0)
    width = max(_SHORTEST, longest + 1)
    return [f"{'<' * width}\n{text}\n{'>' * width}" for text in texts]
