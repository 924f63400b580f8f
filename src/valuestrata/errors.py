"""Errors that a user can fix: what happened, where, and what to do.

Each error has the exit code of the command that meets it. Any other exception is a defect of valuestrata and keeps
its traceback. A message refers to an option with `Option`; each interface writes that option in its own form.
"""

from __future__ import annotations

import contextlib
import difflib
import operator
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Word = TypeVar("Word", bound=str)
Interface = Literal["python", "cli", "study"]
# Seeds are stored and sent as 64-bit integers.
MOST_SEED = 2**63 - 1

# Controls except tab and line feed (a terminal obeys ESC and CSI), line and paragraph separators, characters that reverse the
# direction of a text, halves of surrogate pairs and code points that are no characters (vl-convert ends the process at some).
_UNPRINTABLE = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff\\ufdd0-\\ufdef\\ufffe\\uffff]"
)
_LINE_ENDS = re.compile("\\r\\n?|[\\x0b\\x0c\\x85\\u2028\\u2029]")

# Options whose flags are not the name with hyphens.
_FLAGS: Mapping[str, str] = {"prices": "--price-in and --price-out", "address": "--on", "ids": "--id"}


def printable(text: str) -> str:
    """Return a text that may be printed or drawn, whoever wrote it: line ends become line feeds, others U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", _LINE_ENDS.sub("\n", text))


def one_line(text: str) -> str:
    """Return printable text with line feeds and tabs as spaces, for names and labels of a file."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def without_credentials(text: str) -> str:
    """Return a text with user names and passwords removed from addresses."""
    return re.sub(r"(?<=://)[^\s/]+@", "", text)


def unprintable_in(text: str) -> str | None:
    """Return the first character that `printable` would replace, as `U+001B`; None without one. A name has no line end either."""
    found = _UNPRINTABLE.search(text) or re.search(r"[\t\n]", text)
    return None if found is None else f"U+{ord(found[0]):04X}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option named in a message.

    Attributes:
        name: the Python parameter, which is also the study key; the flag is the same with hyphens.
        value: shown after the name; None shows the name alone.
    """

    name: str
    value: object = None

    def render(self, interface: Interface) -> str:
        """Return `--max-cost 5` (cli), `max_cost=5` (python) or `max_cost: 5` (study); the last two in backticks."""
        if interface == "cli":
            flag = _FLAGS.get(self.name) or "--" + self.name.replace("_", "-")
            return flag if self.value is None else f"{flag} {self.value}"
        if interface == "study":
            return f"`{self.name}:`" if self.value is None else f"`{self.name}: {self.value}`"
        return f"`{self.name}=`" if self.value is None else f"`{self.name}={self.value!r}`"


class OptionText:
    """A text that may name options, written in the form of the interface that shows it; `str` writes the Python form."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def render(self, interface: Interface) -> str:
        """Return the text with its options in the form of an interface; it can be printed as it is."""
        return printable("".join(part.render(interface) if isinstance(part, Option | OptionText) else str(part) for part in self.parts))

    def __str__(self) -> str:
        return self.render("python")


class ValuestrataError(Exception):
    """Base of all errors that a user can fix.

    The arguments are the parts of the message: text, `Option` and `OptionText`. `str(error)` writes options in the form of
    `interface`, which is Python's until `options_as` sets another.

    Attributes:
        exit_code: what the command line returns.
    """

    exit_code = 3
    interface: Interface | None = None

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)

    @property
    def message(self) -> OptionText:
        """The message with its options; use it to quote this error in another one."""
        return OptionText(*self.args)

    def render(self, interface: Interface) -> str:
        """Return the message with its options in the form of an interface."""
        return self.message.render(interface)

    def __str__(self) -> str:
        return self.render(self.interface or "python")

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses may take other arguments; errors also travel between processes.
        return _restored, (type(self), self.args, self.interface)


class UsageError(ValuestrataError):
    """A wrong call: an option, a name or a study key that does not exist (exit 2)."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A library of an optional extra is not installed; the message holds the command that installs it (exit 2)."""

    def __init__(self, feature: str | Option, extra: str, library: str, *, install: str | None = None) -> None:
        command = install or f'pip install "valuestrata[{extra}]"'
        super().__init__(feature, f" needs the library {library!r}, which is not installed. Install it with: {command}")


class InputDataError(ValuestrataError):
    """A survey file, codebook, data set, run or model file that cannot be used (exit 3)."""

    exit_code = 3


class RunFailedError(ValuestrataError):
    """A run in which some response ended `failed` (exit 4)."""

    exit_code = 4


@contextlib.contextmanager
def options_as(interface: Interface) -> Generator[None]:
    """Let errors raised inside write their options in the form of an interface; the innermost one decides."""
    try:
        yield
    except ValuestrataError as error:
        error.interface = error.interface or interface
        raise


def check_seed(seed: object, option: str = "seed") -> int:
    """Return a seed; UsageError unless it is a whole number from 0 to MOST_SEED."""
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = -1
    if not 0 <= number <= MOST_SEED:
        raise UsageError(Option(option, seed), f": a seed is a whole number from 0 to {MOST_SEED:,}.")
    return number


def one_of(word: str, known: Sequence[Word], refusal: str) -> Word:
    """Return the entry of `known` that equals `word`.

    Raises:
        UsageError: there is none; the message begins with `refusal` and suggests the closest entry.
    """
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


def _restored(kind: type[ValuestrataError], parts: tuple[object, ...], interface: Interface | None) -> ValuestrataError:
    error = kind.__new__(kind, *parts)
    error.args = parts
    error.interface = interface
    return error
