"""Import of a filled spreadsheet as a coder's codings: checked as a whole, then written as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from valuestrata.errors import InputDataError
from valuestrata.frames import unescaped
from valuestrata.openended.annotation.files import (
    NO_STANCE,
    SKIP,
    TIE,
    Sample,
    append_codings,
    check_coding,
    coder_file,
    read_codings,
    read_csv_rows,
)

# Spreadsheets may save numbers with decimals.
_WHOLE = re.compile(r"(\d+)[.,]0+")
_SYNONYMS: Mapping[str, str] = {"t": TIE, "both": TIE, "equal": TIE, "n": NO_STANCE, "no stance": NO_STANCE, "s": SKIP}


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        coder: name of the coder. file: file of the codings.
        taken: codings written. unchanged: codings that were already there. replaced: written codings whose task had another one.
        missing: tasks of the sample that are still not coded.
    """

    coder: str
    file: Path
    taken: int
    unchanged: int
    replaced: int
    missing: int


def import_codings(sample: Sample, file: Path, coder: str) -> Imported:
    """Import the column `verdict` of a filled items.csv.

    Empty and missing rows are allowed: earlier codings of these tasks still count, and so do earlier notes if the new one is empty.
    Nothing is written unless every row is valid.

    Raises:
        InputDataError: a missing column, a task of another sample, a repeated task, or an unknown verdict; names row and column.
    """
    target = coder_file(sample.path, coder)
    before = read_codings(sample, coder)
    found = {code_id: (verdict, note or before.get(code_id, ("", ""))[1]) for code_id, (verdict, note) in _filled(sample, file).items()}
    new = [(code_id, *coding) for code_id, coding in found.items() if before.get(code_id) != coding]
    if new:
        append_codings(target, new)
    after = {**before, **found}
    return Imported(
        coder=coder,
        file=target,
        taken=len(new),
        unchanged=len(found) - len(new),
        replaced=sum(code_id in before for code_id, _, _ in new),
        missing=sum(after.get(task.id, (SKIP, ""))[0] == SKIP for task in sample.tasks),
    )


def _filled(sample: Sample, file: Path) -> dict[str, tuple[str, str]]:
    """Return the codings of a spreadsheet: code_id -> (verdict, note)."""
    allowed = {task.id: task.verdicts for task in sample.tasks}
    found: dict[str, tuple[str, str]] = {}
    seen: dict[str, int] = {}
    for line, row in read_csv_rows(file):
        for column in ("code_id", "verdict"):
            if column not in row:
                raise InputDataError(
                    f"{file}, row {line}: the column {column!r} is missing; found {', '.join(row)}. "
                    "Fill in the items.csv of the sample and save it as CSV."
                )
        code_id = row["code_id"].strip()
        if code_id in seen:
            raise InputDataError(f"{file}, row {line}, column 'code_id': {code_id!r} is also in row {seen[code_id]}. Keep one of them.")
        seen[code_id] = line
        verdict = _verdict(row["verdict"], allowed.get(code_id, ()))
        # Empty rows are checked as well: an unknown task means that this is another spreadsheet.
        check_coding(file, line, code_id, verdict or SKIP, allowed)
        if verdict:
            found[code_id] = (verdict, " ".join(unescaped(row.get("note", "")).split()))
    return found


def _verdict(text: str, allowed: Sequence[str]) -> str:
    """Return a verdict as the sample writes it: case, blanks, decimals and synonyms do not matter."""
    verdict = " ".join(unescaped(text.strip()).lower().split())
    if whole := _WHOLE.fullmatch(verdict):
        verdict = whole[1]
    synonym = _SYNONYMS.get(verdict)
    return synonym if synonym in (*allowed, SKIP) else verdict
