"""Reads published counts of any supported format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import check_file, sha256_of
from valuestrata.survey.counts.documents import DOCUMENTS, QuestionsRead, read_questions
from valuestrata.survey.counts.published import PublishedCounts, collect
from valuestrata.survey.counts.tables import read_table
from valuestrata.survey.survey import Source


def read_counts(
    file: str | Path,
    questions: str | Path | None = None,
    *,
    survey: str | None = None,
    answers_per_cell: float | None = None,
    sheet: str | None = None,
) -> PublishedCounts:
    """Read counts of answers per question and subgroup, as a survey published them.

    Args:
        file: a table (.csv, .tsv, .xlsx, .parquet) with the columns `item`, `option`, `count` or `share`, optionally `n` and `n_eff`,
            and a column per attribute; a .yaml or .json file with questions and counts; or a file of OpinionQA or GlobalOpinionQA.
        questions: .yaml, .json or table that describes the questions; replaces what `file` says about them.
        survey: name of the survey; None for the name in the file, or the file's name.
        answers_per_cell: number of answers behind the shares of each cell, for shares published without it.
        sheet: the sheet of an Excel workbook.

    Raises:
        UsageError: a table without `questions`.
        InputDataError: a file cannot be used; the message names the file, the place and the remedy.
    """
    path = Path(file)
    check_file(path)
    described = None if questions is None else read_questions(Path(questions))
    if described is not None and described.cells:
        raise InputDataError(f"{questions}: ", Option("questions"), " describes questions, but this file also holds counts. Remove them.")
    if path.suffix.lower() in DOCUMENTS:
        if sheet is not None:
            raise UsageError(Option("sheet", sheet), " names a sheet, but the file is not an Excel workbook.")
        found = read_questions(path)
        kind = "yaml" if path.suffix.lower() != ".json" else "json"
    else:
        found, kind = read_table(path, described, sheet)
    used = found if described is None else _described_by(described, found)
    codebook = used.file.codebook(path.stem)
    source = Source(path.name, kind, sha256_of(path), 0, 0)
    return collect(
        source,
        codebook if survey is None else replace(codebook, survey=survey, title=used.file.title or survey),
        bool(used.file.attributes),
        used.cells,
        answers_per_cell=answers_per_cell,
        notes=used.notes,
    )


def _described_by(described: QuestionsRead, found: QuestionsRead) -> QuestionsRead:
    """Return the counts of a file with the questions of another."""
    return QuestionsRead(described.file, found.cells, found.notes)
