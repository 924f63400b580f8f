"""Checks the dictionary of an SPSS file, because pyreadstat ends the process on value labels that contradict the variables."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from valuestrata.errors import InputDataError

_VARIABLE, _LABELS, _LABELLED, _DOCUMENT, _EXTENSION = 2, 3, 4, 6, 7
_TEXT_FORMATS = (1, 2)  # A and AHEX
_CONTINUATION = -1
_DAMAGED = "not a readable SPSS file: its list of variables is damaged. Get a complete copy."


def check_dictionary(path: Path) -> None:
    """Raise InputDataError if a .sav or .zsav file has value labels for variables that are absent or of another type.

    Files cut short and unknown records are left to the reader, which reports them.
    """
    with path.open("rb") as file:
        start = file.read(176)
        order = next((order for order in "<>" if len(start) == 176 and struct.unpack_from(f"{order}i", start, 64)[0] in (2, 3)), None)
        if order is not None and start.startswith(b"$FL"):
            try:
                _walk(file, order)
            except (struct.error, EOFError):
                return


def _walk(file: IO[bytes], order: str) -> None:
    variables: list[tuple[int, bool]] = []  # width (0 for numbers) and whether the formats suit it
    due = 0  # continuation records that must follow a text variable
    while True:
        (kind,) = _integers(file, order, 1)
        if due and kind != _VARIABLE:
            raise InputDataError(_DAMAGED)
        if kind == _VARIABLE:
            width, has_label, missing, shown, written = _integers(file, order, 5)
            if (width == _CONTINUATION) != bool(due) or width < _CONTINUATION or width > 255:
                raise InputDataError(_DAMAGED)
            due = due - 1 if width == _CONTINUATION else (width + 7) // 8 - 1 if width else 0
            suits = all((code >> 16 & 255 in _TEXT_FORMATS) == (width > 0) for code in (shown, written))
            variables.append((width, suits))
            _skip(file, 8)
            if has_label:
                (length,) = _integers(file, order, 1)
                _skip(file, (length + 3) // 4 * 4)
            _skip(file, 8 * abs(missing))
        elif kind == _LABELS:
            (count,) = _integers(file, order, 1)
            for _ in range(count):
                _skip(file, 8)
                length = file.read(1)
                if not length:
                    return
                _skip(file, (length[0] + 8) // 8 * 8 - 1)
        elif kind == _LABELLED:
            (count,) = _integers(file, order, 1)
            places = _integers(file, order, count)
            if any(not 1 <= place <= len(variables) for place in places):
                raise InputDataError(_DAMAGED)
            labelled = [variables[place - 1] for place in places]
            # These labels are for numbers, or for texts of up to 8 characters, which have no continuation.
            if any(not 0 <= width <= 8 or not suits for width, suits in labelled) or len({width > 0 for width, _ in labelled}) > 1:
                raise InputDataError(_DAMAGED)
        elif kind == _DOCUMENT:
            _skip(file, 80 * _integers(file, order, 1)[0])
        elif kind == _EXTENSION:
            _, size, count = _integers(file, order, 3)
            _skip(file, size * count)
        else:
            return


def _integers(file: IO[bytes], order: str, count: int) -> tuple[int, ...]:
    if not 0 <= count < 1_000_000:
        raise InputDataError(_DAMAGED)
    return struct.unpack(f"{order}{count}i", file.read(4 * count))


def _skip(file: IO[bytes], size: int) -> None:
    if size < 0:
        raise InputDataError(_DAMAGED)
    file.seek(size, 1)
