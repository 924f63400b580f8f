"""Files of a calibration sample: tasks for coders, the key, and codings.

sample.json          format, data set, counts
items.csv            one row per task, blinded, with empty columns `verdict` and `note` for coding in a spreadsheet
key.parquet          runs and order behind each task; not for coders
key.json             seed, folders, runs and the number of answers that tasks were drawn from; not for coders
codings/NAME.csv     codings of one coder: code_id, verdict, note, time; the last line of a task counts

Verdicts are `1`, `2` or `tie` for two answers, the number of an option or `none` for a stance, and `skip`. The key says whose answer is
answer 1.
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
from pydantic import Field

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import read_parquet, written_beside
from valuestrata.frames import Column, Schema, escaped, unescaped
from valuestrata.yaml_files import Record, read_document

FORMAT = "valuestrata-sample-1"
META, ITEMS, KEY, KEY_META, CODINGS = "sample.json", "items.csv", "key.parquet", "key.json", "codings"
SKIP, TIE, NO_STANCE = "skip", "tie", "none"
PAIRWISE_VERDICTS = ("1", "2", TIE)
CODING_COLUMNS = ("code_id", "verdict", "note", "time")
_SHOWN = ("code_id", "kind", "criterion", "instruction", "question", "persona", "answer_1", "answer_2", "answer", "options")
TASK_COLUMNS = (*_SHOWN, "verdict", "note")

Kind = Literal["pairwise", "stance"]

KEYS = Schema(
    "key.parquet",
    {
        "code_id": Column(pl.String, "task"),
        "kind": Column(pl.String, "pairwise or stance"),
        "criterion": Column(pl.String, "criterion of two answers; `stance` for one answer"),
        "run": Column(pl.String, "run of the answer"),
        "reference": Column(pl.String, "run it is compared with, null for a stance"),
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "sample of the answers"),
        "first": Column(pl.String, "whose answer is answer 1: run or reference; null for a stance"),
        "codes": Column(pl.List(pl.Int32), "scale codes of the options 1..K, null for two answers"),
        "texts_hash": Column(pl.String, "hash of the answers shown, the run's first; null if unknown"),
    },
)

_CODER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class SampledData(Record):
    """The data set of a sample."""

    fingerprint: str


class SampleFile(Record):
    """The format of `sample.json`."""

    format: Literal["valuestrata-sample-1"]
    dataset: SampledData | None = None
    tasks: int = 0
    drawn_from: int = 0
    by_criterion: dict[str, int] = Field(default_factory=dict[str, int])


class DrawnFrom(Record):
    """The number of answers of a run that a criterion's tasks were drawn from."""

    criterion: str
    run: str
    reference: str | None
    answers: int


class KeyFile(Record):
    """The format of `key.json`."""

    population: list[DrawnFrom]


@dataclass(frozen=True)
class Task:
    """One task as a coder sees it.

    Attributes:
        id: for example `C1a2b3-001`, unique to the sample. kind: pairwise or stance. criterion, instruction: what to judge.
        question: the open question for two answers, the closed one for a stance. persona: who answers, empty if not shown.
        answers: two answers, or one. options: labels in scale order for a stance, else empty.
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
        """The allowed verdicts, without `skip`."""
        if self.kind == "pairwise":
            return PAIRWISE_VERDICTS
        return (*(str(number) for number in range(1, len(self.options) + 1)), NO_STANCE)


@dataclass(frozen=True)
class Sample:
    """A calibration sample as coders see it, without its key."""

    path: Path
    meta: Mapping[str, Any]
    tasks: tuple[Task, ...]


def load_sample(path: Path) -> Sample:
    """Read the part of a sample that coders may see.

    Raises:
        InputDataError: no sample, another format, or an invalid task.
    """
    if not (path / META).is_file():
        raise InputDataError(f"{path}: not a calibration sample ({META} is missing). Draw one with: valuestrata open sample")
    meta = read_document(path / META, SampleFile, "Restore the file from a copy, or draw the sample again.")
    tasks: list[Task] = []
    for line, row in read_csv_rows(path / ITEMS):
        if missing := [name for name in _SHOWN if name not in row]:
            raise InputDataError(f"{path / ITEMS}: the column {missing[0]!r} is missing. Draw the sample again.")
        if row["kind"] not in ("pairwise", "stance"):
            raise InputDataError(f"{path / ITEMS}, row {line}, column 'kind': found {row['kind']!r}, expected pairwise or stance.")
        tasks.append(_task({name: unescaped(text) for name, text in row.items()}))
    return Sample(path, meta, tuple(tasks))


def load_key(path: Path) -> pl.DataFrame:
    """Read the key of a sample, a frame of KEYS."""
    return KEYS.check(read_parquet(path / KEY), str(path / KEY))


def task_rows(tasks: Iterable[Task]) -> list[dict[str, str]]:
    """Return the rows of items.csv."""
    rows: list[dict[str, str]] = []
    for task in tasks:
        two = task.kind == "pairwise"
        labels = (" ".join(label.split()) for label in task.options)
        rows.append(
            {
                "code_id": task.id,
                **{name: getattr(task, name) for name in ("kind", "criterion", "instruction", "question", "persona")},
                "answer_1": task.answers[0] if two else "",
                "answer_2": task.answers[1] if two else "",
                "answer": "" if two else task.answers[0],
                "options": "\n".join(f"{number} = {label}" for number, label in enumerate(labels, start=1)),
                "verdict": "",
                "note": "",
            }
        )
    return rows


def _task(row: Mapping[str, str]) -> Task:
    two = row["kind"] == "pairwise"
    return Task(
        id=row["code_id"],
        kind="pairwise" if two else "stance",
        criterion=row["criterion"],
        instruction=row["instruction"],
        question=row["question"],
        persona=row["persona"],
        answers=(row["answer_1"], row["answer_2"]) if two else (row["answer"],),
        options=tuple(line.partition(" = ")[2] for line in row["options"].splitlines()),
    )


def quoted_csv(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return rows as a CSV that Excel opens as UTF-8, with every cell quoted and escaped."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([escaped(row[name]) for name in columns] for row in rows)
    return "\ufeff" + buffer.getvalue()


def write_items(path: Path, tasks: Iterable[Task]) -> None:
    """Write items.csv."""
    with written_beside(path / ITEMS) as temporary:
        temporary.write_bytes(quoted_csv(task_rows(tasks), TASK_COLUMNS).encode())


def read_csv_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV that a spreadsheet may have saved, as (row number in the sheet, cells by column), without empty rows.

    UTF-8 with or without a byte order mark, or Windows-1252; separated by commas, semicolons or tabs.

    Raises:
        InputDataError: the file does not exist or is empty, or two columns have the same name.
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
        raise InputDataError(f"{file}: the column {doubled[0]!r} occurs twice. Keep one of them.")
    found = [(line, dict(zip(names, [*cells, *[""] * len(names)], strict=False))) for line, cells in enumerate(rows[1:], start=2)]
    return [(line, row) for line, row in found if any(cell.strip() for cell in row.values())]


def coder_file(sample: Path, coder: str) -> Path:
    """Return the file of a coder's codings; UsageError for a name that is not a plain file name."""
    if not _CODER.fullmatch(coder):
        raise UsageError(
            Option("coder", coder), ": use 1 to 40 letters, digits, dots, hyphens or underscores, beginning with a letter or digit."
        )
    return sample / CODINGS / f"{coder}.csv"


def coders_of(sample: Path) -> list[str]:
    """Return the coders with a file, in alphabetical order."""
    folder = sample / CODINGS
    return sorted(file.stem for file in folder.glob("*.csv")) if folder.is_dir() else []


def check_coder_name(name: str) -> str:
    """Return the name of a file among the codings.

    Raises:
        InputDataError: not the name of a coder, for example a copy made by a file manager.
    """
    if not _CODER.fullmatch(name):
        raise InputDataError(
            f"{CODINGS}/{name}.csv: not a coder's file; names contain letters, digits, dots, hyphens and underscores only. "
            "Rename it, or move it out of the folder."
        )
    return name


def read_codings(sample: Sample, coder: str) -> dict[str, tuple[str, str]]:
    """Return a coder's codings: code_id -> (verdict, note), from the last line of each task.

    An incomplete last line is ignored.

    Raises:
        InputDataError: another kind of file, an unknown task, or an unknown verdict; names row and column.
    """
    file = coder_file(sample.path, coder)
    if not file.is_file():
        return {}
    allowed = {task.id: task.verdicts for task in sample.tasks}
    found: dict[str, tuple[str, str]] = {}
    text = _complete_lines(file.read_bytes()).decode("utf-8-sig", errors="replace")
    for line, cells in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        if line == 1 and tuple(cells) != CODING_COLUMNS:
            raise InputDataError(
                f"{file}, row 1: found {','.join(cells)!r}, expected {','.join(CODING_COLUMNS)!r}. Do not edit this file; import a filled "
                "spreadsheet with `valuestrata open code SAMPLE --coder NAME --import FILE.csv`."
            )
        if line == 1 or not cells:
            continue
        code_id, verdict, note = (*cells, "", "", "")[:3]
        check_coding(file, line, code_id, verdict, allowed)
        found[code_id] = (verdict, unescaped(note))
    return found


def check_coding(file: Path, line: int, code_id: str, verdict: str, allowed: Mapping[str, Sequence[str]]) -> None:
    """Raise InputDataError for an unknown task or verdict; names row and column."""
    if code_id not in allowed:
        raise InputDataError(f"{file}, row {line}, column 'code_id': {code_id!r} is not a task of this sample. Remove the row.")
    if verdict not in allowed[code_id] and verdict != SKIP:
        expected = ", ".join((*allowed[code_id], SKIP))
        raise InputDataError(
            f"{file}, row {line}, column 'verdict': found {verdict!r} for task {code_id}; expected one of {expected}, or nothing."
        )


def append_codings(file: Path, codings: Sequence[tuple[str, str, str]]) -> None:
    """Append (code_id, verdict, note) to a coder's file; they are on disk when this returns. Processes wait for each other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    # One line per coding, so an incomplete write loses one coding at most.
    writer.writerows((code_id, verdict, escaped(" ".join(note.split())), now) for code_id, verdict, note in codings)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
        _lock(out.fileno())
        existing = out.read()
        complete = _complete_lines(existing)
        header = b"" if complete else ",".join(CODING_COLUMNS).encode() + b"\n"
        out.seek(min(len(complete), len(existing)))
        out.truncate()
        out.write((b"\n" if len(complete) > len(existing) else header) + buffer.getvalue().encode())
        out.flush()
        os.fsync(out.fileno())


def _lock(handle: int) -> None:
    """Lock a file until it is closed."""
    import fcntl

    # Some network file systems do not support locks; one page per coder works without.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)


def _complete_lines(raw: bytes) -> bytes:
    """Return a coder's file without an incomplete last line; a complete one without a line end gets it."""
    cut = raw.rfind(b"\n") + 1
    if cut == len(raw):
        return raw
    cells = next(csv.reader([raw[cut:].decode(errors="replace")]))
    try:
        datetime.fromisoformat(cells[3])
    except (IndexError, ValueError):
        return raw[:cut]
    return raw + b"\n"
