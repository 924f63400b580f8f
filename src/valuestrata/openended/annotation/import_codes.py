"""A filled spreadsheet taken as a coder's answers: checked as a whole, then written as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from valuestrata.errors import InputDataError
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
    unguarded,
)

# A spreadsheet writes what it took for a number back with a decimal.
_WHOLE = re.compile(r"(\d+)[.,]0+")
# What people write for the same thing.
_SYNONYMS: Mapping[str, str] = {"t": TIE, "both": TIE, "equal": TIE, "n": NO_STANCE, "no stance": NO_STANCE, "s": SKIP}


@dataclass(frozen=True)
class Imported:
    """What came of a filled spreadsheet.

    Attributes:
        coder: whose answers. file: where they are kept.
        taken: answers written. unchanged: answers that stood there before. replaced: those of the answers taken whose task had one
            before, with another verdict or note.
        missing: tasks of the sample that the coder has not answered now, in the spreadsheet or before.
    """

    coder: str
    file: Path
    taken: int
    unchanged: int
    replaced: int
    missing: int


def import_codings(sample: Sample, file: Path, coder: str) -> Imported:
    """Take the column `verdict` of a filled items.csv as the answers of a coder.

    Rows left blank and rows that are gone are allowed, and counted. Nothing is written unless every row is right; what the coder
    said before is kept in the file and counts where the spreadsheet says nothing, a note where its note is blank.

    Raises:
        InputDataError: a column that is missing, a task of another sample, a task twice, or an unknown verdict; names row and column.
    """
    into = coder_file(sample.path, coder)
    before = read_codings(sample, coder)
    found = {code_id: (verdict, note or before.get(code_id, ("", ""))[1]) for code_id, (verdict, note) in _filled(sample, file).items()}
    new = [(code_id, *said) for code_id, said in found.items() if before.get(code_id) != said]
    if new:
        append_codings(into, new)
    after = {**before, **found}
    return Imported(
        coder=coder,
        file=into,
        taken=len(new),
        unchanged=len(found) - len(new),
        replaced=sum(code_id in before for code_id, _, _ in new),
        missing=sum(after.get(task.id, (SKIP, ""))[0] == SKIP for task in sample.tasks),
    )


def _filled(sample: Sample, file: Path) -> dict[str, tuple[str, str]]:
    """Read the answers of a spreadsheet: code_id -> (verdict, note)."""
    rows = read_csv_rows(file)
    allowed = {task.id: task.verdicts for task in sample.tasks}
    found: dict[str, tuple[str, str]] = {}
    seen: dict[str, int] = {}
    for line, row in rows:
        for column in ("code_id", "verdict"):
            if column not in row:
                raise InputDataError(
                    f"{file}, row {line}: no column {column!r}; found {', '.join(row)}. "
                    "Fill in the items.csv of the sample and save it as CSV."
                )
        code_id = row["code_id"].strip()
        if code_id in seen:
            raise InputDataError(f"{file}, row {line}, column 'code_id': {code_id!r} stands in row {seen[code_id]}, too. Keep one of them.")
        seen[code_id] = line
        verdict = _word(row["verdict"], allowed.get(code_id, ()))
        # A foreign row is refused even where it is blank: it tells of the wrong spreadsheet.
        check_coding(file, line, code_id, verdict or SKIP, allowed)
        if verdict:
            found[code_id] = (verdict, " ".join(unguarded(row.get("note", "")).split()))
    return found


def _word(text: str, allowed: Sequence[str]) -> str:
    """Return a verdict as the sample writes it: case, blanks and a spreadsheet's decimals do not matter."""
    word = " ".join(unguarded(text.strip()).lower().split())
    if whole := _WHOLE.fullmatch(word):
        word = whole[1]
    synonym = _SYNONYMS.get(word)
    return synonym if synonym in (*allowed, SKIP) else word
