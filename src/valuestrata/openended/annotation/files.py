"""The files of a calibration sample, as coders see them and fill them.

sample.json          format, data set, counts
items.csv            a row a task, blinded; blank columns `verdict` and `note` for those who code in a spreadsheet
key.parquet          which runs and which order stand behind each task: never shown to a coder
key.json             seed, folders, runs and how many answers of each the tasks were drawn from: never shown, either
codings/NAME.csv     what a coder said: code_id, verdict, note, time; a line an answer, the last one of a task counts

A verdict is written in the coder's own words: `1`, `2` or `tie` for two answers; the number of an option or `none` for
a stance; `skip` for a task passed over. What stands behind `1` is for `key.parquet` to say.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import read_json, read_parquet, written_beside
from valuestrata.frames import Column, Schema

FORMAT = "valuestrata-sample-1"
META, ITEMS, KEY, KEY_META, CODINGS = "sample.json", "items.csv", "key.parquet", "key.json", "codings"
SKIP, TIE, NO_STANCE = "skip", "tie", "none"
PAIRWISE_VERDICTS = ("1", "2", TIE)
CODING_COLUMNS = ("code_id", "verdict", "note", "time")

Kind = Literal["pairwise", "stance"]

TASK_COLUMNS = (
    "code_id",
    "kind",
    "criterion",
    "instruction",
    "question",
    "persona",
    "answer_1",
    "answer_2",
    "answer",
    "options",
    "verdict",
    "note",
)

KEYS = Schema(
    "key.parquet",
    {
        "code_id": Column(pl.String, "task"),
        "kind": Column(pl.String, "pairwise or stance"),
        "criterion": Column(pl.String, "criterion of two answers; `stance` where one answer is read"),
        "run": Column(pl.String, "run whose answer it is"),
        "reference": Column(pl.String, "run it is judged against, null for a stance"),
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "sample of the answers"),
        "first": Column(pl.String, "whose answer is answer 1: run or reference; null for a stance"),
        "codes": Column(pl.List(pl.Int32), "scale codes behind the options 1..K, null for two answers"),
        "texts_hash": Column(pl.String, "hash of the answers shown, the run's first; null where it is not known"),
    },
)

# A spreadsheet takes a cell that starts so for a formula (OWASP, CSV injection); the wide forms are what some keyboards write.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
_CODER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Task:
    """One task as a coder sees it.

    Attributes:
        id: `C1a2b3-001`, the sample's own mark in front. kind: pairwise or stance. criterion, instruction: what to look at.
        question: open question for two answers, the closed one for a stance. persona: who speaks, empty where not needed.
        answers: two answers, or one. options: labels in scale order for a stance, else none.
    """

    id: str
    kind: Kind
    criterion: str
    instruction: str
    question: str
    persona: str
    answers: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The words a coder may answer with, `skip` apart."""
        if self.kind == "pairwise":
            return PAIRWISE_VERDICTS
        return (*(str(number) for number in range(1, len(self.options) + 1)), NO_STANCE)


@dataclass(frozen=True)
class Sample:
    """A calibration sample as coders see it: without its key."""

    path: Path
    meta: Mapping[str, Any]
    tasks: tuple[Task, ...]


def load_sample(path: Path) -> Sample:
    """Read what coders may see of a sample.

    Raises:
        InputDataError: no sample there, one of another format, or a task that cannot be shown.
    """
    if not (path / META).is_file():
        raise InputDataError(f"{path}: no calibration sample here ({META} is missing). Draw one with: valuestrata open sample")
    meta = read_json(path / META)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputDataError(f"{path / META}: expected the format {FORMAT!r}; draw the sample again.")
    rows = read_csv_rows(path / ITEMS)
    tasks: list[Task] = []
    for line, row in rows:
        if missing := [name for name in TASK_COLUMNS[:-2] if name not in row]:
            raise InputDataError(f"{path / ITEMS}: the column {missing[0]!r} is missing; draw the sample again.")
        if row["kind"] not in ("pairwise", "stance"):
            raise InputDataError(f"{path / ITEMS}, row {line}, column 'kind': {row['kind']!r}, expected pairwise or stance.")
        tasks.append(_task({name: unguarded(text) for name, text in row.items()}))
    return Sample(path, meta, tuple(tasks))


def load_key(path: Path) -> pl.DataFrame:
    """Read the key of a sample, a frame of `KEYS`."""
    return KEYS.check(read_parquet(path / KEY), str(path / KEY))


def task_rows(tasks: Iterable[Task]) -> list[dict[str, str]]:
    """Return the rows of items.csv."""
    rows: list[dict[str, str]] = []
    for task in tasks:
        two = task.kind == "pairwise"
        rows.append(
            {
                "code_id": task.id,
                "kind": task.kind,
                "criterion": task.criterion,
                "instruction": task.instruction,
                "question": task.question,
                "persona": task.persona,
                "answer_1": task.answers[0] if two else "",
                "answer_2": task.answers[1] if two else "",
                "answer": "" if two else task.answers[0],
                "options": "\n".join(f"{number} = {label}" for number, label in enumerate(map(_one_line, task.options), start=1)),
                "verdict": "",
                "note": "",
            }
        )
    return rows


def _task(row: Mapping[str, str]) -> Task:
    two = row["kind"] == "pairwise"
    options = tuple(line.partition(" = ")[2] for line in row["options"].splitlines())
    answers = (row["answer_1"], row["answer_2"]) if two else (row["answer"],)
    told = (row["criterion"], row["instruction"], row["question"], row["persona"])
    return Task(row["code_id"], "pairwise" if two else "stance", *told, answers, options)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def guarded(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: one `'` more in front of what looks like one."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Undo `guarded`."""
    return text[1:] if _GUARDED.match(text) else text


def csv_text(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return rows as a CSV that Excel opens as UTF-8, every cell quoted and guarded."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([guarded(row[name]) for name in columns] for row in rows)
    return "\ufeff" + buffer.getvalue()


def write_items(path: Path, tasks: Iterable[Task]) -> None:
    """Write items.csv."""
    with written_beside(path / ITEMS) as temporary:
        temporary.write_bytes(csv_text(task_rows(tasks), TASK_COLUMNS).encode())


def read_csv_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV as a spreadsheet may have written it: row number in the sheet, and cells by column.

    UTF-8 with or without its mark, or Windows' western encoding; commas, semicolons or tabs. Empty rows are left out.

    Raises:
        InputDataError: no such file, no header, or two columns of one name.
    """
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise InputDataError(f"{file}: the file does not exist.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputDataError(f"{file}: not a CSV file ({error}).") from error
    if not rows:
        raise InputDataError(f"{file}: the file is empty; expected a header with the columns code_id and verdict.")
    names = [name.strip() for name in rows[0]]
    if doubled := [name for name in names if name and names.count(name) > 1]:
        raise InputDataError(f"{file}: the column {doubled[0]!r} stands there twice; keep one of them.")
    found = [(line, dict(zip(names, [*cells, *[""] * len(names)], strict=False))) for line, cells in enumerate(rows[1:], start=2)]
    return [(line, row) for line, row in found if any(cell.strip() for cell in row.values())]


def coder_file(sample: Path, coder: str) -> Path:
    """Return where a coder's answers are kept.

    Raises:
        UsageError: a name that is no plain file name.
    """
    if not _CODER.fullmatch(coder):
        raise UsageError(
            Option("coder", coder),
            ": a coder's name has 1 to 40 letters, digits, dots, hyphens or underscores and starts with a letter or digit.",
        )
    return sample / CODINGS / f"{coder}.csv"


def coders_of(sample: Path) -> list[str]:
    """Return the coders who have a file, in alphabetical order."""
    folder = sample / CODINGS
    return sorted(file.stem for file in folder.glob("*.csv")) if folder.is_dir() else []


def coder_name(name: str) -> str:
    """Return the name of a coder found in a folder of codings.

    Raises:
        InputDataError: it is none: a copy that a program made, or a spreadsheet put there by hand.
    """
    if not _CODER.fullmatch(name):
        raise InputDataError(
            f"{CODINGS}/{name}.csv: not the file of a coder, whose names are letters, digits, dots, hyphens and underscores. "
            "Rename it if it is one, else move it out of the folder; nothing was changed."
        )
    return name


def read_codings(sample: Sample, coder: str) -> dict[str, tuple[str, str]]:
    """Return what a coder said: code_id -> (verdict, note), the last line of each task.

    A line that was cut short by a crash is left out.

    Raises:
        InputDataError: a file of another kind, a task that is not of this sample, or a verdict that it does not know; names row
            and column.
    """
    file = coder_file(sample.path, coder)
    if not file.is_file():
        return {}
    allowed = {task.id: task.verdicts for task in sample.tasks}
    found: dict[str, tuple[str, str]] = {}
    text = _whole_lines(file.read_bytes()).decode("utf-8-sig", errors="replace")
    for line, cells in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        if line == 1 and tuple(cells) != CODING_COLUMNS:
            raise InputDataError(
                f"{file}, row 1: found {','.join(cells)!r}, expected {','.join(CODING_COLUMNS)!r}. Take a filled spreadsheet with "
                "`valuestrata open code SAMPLE --coder NAME --import FILE.csv`; this file is not for editing."
            )
        if line == 1 or not cells:
            continue
        code_id, verdict, note = (*cells, "", "", "")[:3]
        check_coding(file, line, code_id, verdict, allowed)
        found[code_id] = (verdict, unguarded(note))
    return found


def check_coding(file: Path, line: int, code_id: str, verdict: str, allowed: Mapping[str, Sequence[str]]) -> None:
    """Refuse a coding of a task that is not there or with a word that the task does not know; names row and column."""
    if code_id not in allowed:
        raise InputDataError(f"{file}, row {line}, column 'code_id': {code_id!r} is no task of this sample. Take out the row.")
    if verdict not in allowed[code_id] and verdict != SKIP:
        words = ", ".join((*allowed[code_id], SKIP))
        raise InputDataError(f"{file}, row {line}, column 'verdict': {verdict!r} of task {code_id}; expected one of {words}, or nothing.")


def append_codings(file: Path, codings: Sequence[tuple[str, str, str]]) -> None:
    """Write (code_id, verdict, note) behind a coder's file and return when the disk has them; what stands there stays.

    Two processes may write for one coder: each waits for the other, and both are kept.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    # One line an answer: a torn file then loses one answer at most.
    writer.writerows((code_id, verdict, guarded(" ".join(note.split())), now) for code_id, verdict, note in codings)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
        _wait_for(out.fileno())
        there = out.read()
        whole = _whole_lines(there)
        ahead = b"" if whole else ",".join(CODING_COLUMNS).encode() + b"\n"
        out.seek(min(len(whole), len(there)))
        out.truncate()
        out.write((b"\n" if len(whole) > len(there) else ahead) + buffer.getvalue().encode())
        out.flush()
        os.fsync(out.fileno())


def _wait_for(handle: int) -> None:
    """Hold the file until it is closed."""
    import fcntl

    # A file system that does not lock serves one page a coder as well.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)


def _whole_lines(raw: bytes) -> bytes:
    """Return a coder's file without a last line that a crash cut short; a whole one without its line end gets it."""
    cut = raw.rfind(b"\n") + 1
    if cut == len(raw):
        return raw
    cells = next(csv.reader([raw[cut:].decode(errors="replace")]))
    try:
        datetime.fromisoformat(cells[3])
    except (IndexError, ValueError):
        return raw[:cut]
    return raw + b"\n"
