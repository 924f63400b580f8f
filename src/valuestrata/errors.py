"""What the user can mend, said in one voice: what happened, where, what to do.

Every error carries the exit code of the command that meets it. Anything that is not one of these is a defect
of valuestrata and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

Word = TypeVar("Word", bound=str)


class ValuestrataError(Exception):
    """Base of all errors a user can mend; `exit_code` is what the command line returns."""

    exit_code = 3


class UsageError(ValuestrataError):
    """A wrong call: an option, a name or a study key that does not exist (exit 2)."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A library of an optional extra is not installed; the message holds the command that installs it (exit 2)."""

    def __init__(self, feature: str, extra: str, library: str) -> None:
        super().__init__(
            f'{feature} needs the library {library!r}, which is not installed. Install it with: pip install "valuestrata[{extra}]"'
        )


class InputDataError(ValuestrataError):
    """A survey file, codebook, data set, run or model file that cannot be used as it is (exit 3)."""

    exit_code = 3


class RunFailedError(ValuestrataError):
    """A run in which some response ended `failed` (exit 4)."""

    exit_code = 4


def one_of(word: str, known: Sequence[Word], refusal: str) -> Word:
    """Return the known word that `word` is; UsageError, which begins with `refusal` and ends with a suggestion, if there is none."""
    for name in known:
        if name == word:
            return name
    raise UsageError(f"{refusal} {word!r}.{did_you_mean(word, known)}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest known word, else the list of known words, for the end of a message."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f" Known: {shown}."
