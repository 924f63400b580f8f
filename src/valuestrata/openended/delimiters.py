"""Delimiters around texts in a prompt that the texts cannot close."""

from __future__ import annotations

import re
from collections.abc import Sequence

# `<<<` and `>>>`, longer if a text contains as many in a row.
_MIN_WIDTH = 3
_RUNS = re.compile(r"<+|>+")


def delimited(texts: Sequence[str]) -> list[str]:
    """Return each text between a line of `<<<` and a line of `>>>`.

    All texts of a prompt have the same delimiters, longer than any run of `<` or `>` in them, so no text can end its own part.
    """
    longest = max((len(run) for text in texts for run in _RUNS.findall(text)), default=0)
    width = max(_MIN_WIDTH, longest + 1)
    return [f"{'<' * width}\n{text}\n{'>' * width}" for text in texts]
