"""Coders' files: nothing is lost, nothing foreign comes in."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest

from tests.openended.judged import sample_of
from valuestrata.errors import InputDataError, UsageError
from valuestrata.openended.annotation.files import (
    CODING_COLUMNS,
    TASK_COLUMNS,
    Task,
    append_codings,
    coder_file,
    coders_of,
    load_sample,
    quoted_csv,
    read_codings,
    task_rows,
)
from valuestrata.openended.annotation.import_codes import import_codings

TASKS = [
    Task("C001", "pairwise", "persona", "Look.", "What do you think?", "A man", ("One.", "Two."), ()),
    Task("C002", "stance", "stance", "Read.", "How much?", "", ("Some.",), ("Much", "Some", "None")),
    Task("C003", "pairwise", "overall", "Look.", "And now?", "A man", ("Three.", "Four."), ()),
]


@pytest.fixture
def sample(tmp_path):
    return sample_of(tmp_path / "sample", TASKS)


def filled(sample, file, verdicts, *, delimiter=",", encoding="utf-8-sig", extra=""):
    rows = task_rows(TASKS)
    for row in rows:
        row["verdict"] = verdicts.get(row["code_id"], "")
        row["note"] = "=a note" if row["verdict"] else ""
    text = quoted_csv([row for row in rows if row["code_id"] in verdicts], TASK_COLUMNS).removeprefix("\ufeff")
    file.write_bytes((text.replace('","', f'"{delimiter}"') + extra).encode(encoding))
    return file


def test_a_sample_reads_back_as_it_was(sample):
    assert list(sample.tasks) == TASKS


def test_the_last_word_counts_and_the_first_is_kept(sample):
    file = coder_file(sample.path, "ana")
    append_codings(file, [("C001", "1", "")])
    append_codings(file, [("C002", "none", 'a, "b"\nc'), ("C001", "tie", "changed")])
    assert read_codings(sample, "ana") == {"C001": ("tie", "changed"), "C002": ("none", 'a, "b" c')}
    assert file.read_text().count("\nC001,") == 2
    assert coders_of(sample.path) == ["ana"]
    assert read_codings(sample, "ben") == {}


@pytest.mark.parametrize("torn", ["C002", "C002,1", "C002,1,a note,2026-1", 'C002,1,"half a no'])
def test_a_line_that_a_crash_cut_short_is_no_answer(sample, torn):
    file = coder_file(sample.path, "ana")
    append_codings(file, [("C001", "1", "")])
    with file.open("a") as out:
        out.write(torn)
    assert read_codings(sample, "ana") == {"C001": ("1", "")}
    append_codings(file, [("C003", "2", "")])
    assert read_codings(sample, "ana") == {"C001": ("1", ""), "C003": ("2", "")}


def test_a_whole_line_without_its_end_is_kept(sample):
    file = coder_file(sample.path, "ana")
    append_codings(file, [("C001", "1", ""), ("C002", "2", "")])
    file.write_text(file.read_text().rstrip("\n"))
    append_codings(file, [("C003", "2", "")])
    assert set(read_codings(sample, "ana")) == {"C001", "C002", "C003"}


@pytest.mark.parametrize(
    ("line", "column"), [("C009,1,,t", "code_id"), ("C001,3,,t", "verdict"), ("C002,4,,t", "verdict"), ("C002,tie,,t", "verdict")]
)
def test_a_foreign_line_names_row_and_column(sample, line, column):
    file = coder_file(sample.path, "ana")
    append_codings(file, [("C001", "1", "")])
    with file.open("a") as out:
        out.write(f"{line}\n")
    with pytest.raises(InputDataError, match=f"row 3, column '{column}'"):
        read_codings(sample, "ana")


@pytest.mark.parametrize("header", ["code_id;verdict;note;time", ",".join(TASK_COLUMNS), "C001,1,,t"])
def test_a_file_of_another_kind_among_codings_is_refused(sample, header):
    file = coder_file(sample.path, "ana")
    file.parent.mkdir()
    file.write_text(f"{header}\nC001,1,,2026-01-01T00:00:00+00:00\n")
    with pytest.raises(InputDataError, match=r"row 1: found .* expected 'code_id,verdict,note,time'.*--import"):
        read_codings(sample, "ana")


def test_a_header_that_a_crash_cut_short_is_written_again(sample):
    file = coder_file(sample.path, "ana")
    file.parent.mkdir()
    file.write_text("code_id,ver")
    assert read_codings(sample, "ana") == {}
    append_codings(file, [("C001", "1", "")])
    assert read_codings(sample, "ana") == {"C001": ("1", "")}


WRITER = """
import sys
from pathlib import Path
from valuestrata.openended.annotation.files import append_codings
for number in range(40):
    append_codings(Path(sys.argv[1]), [("C001", "1", f"{sys.argv[2]} {number}")])
"""


def test_two_pages_of_one_coder_lose_nothing(sample):
    """Two processes write for one coder at once: every line of either is there, and whole."""
    file = coder_file(sample.path, "ana")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == list(CODING_COLUMNS)
    assert sorted(row[2] for row in rows) == sorted(f"{name} {number}" for name in ("a", "b") for number in range(40))


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b", "x" * 41, "a b"])
def test_a_coders_name_is_a_plain_one(sample, name):
    with pytest.raises(UsageError, match="coder="):
        coder_file(sample.path, name)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-8")])
def test_a_filled_spreadsheet_is_taken(sample, tmp_path, delimiter, encoding):
    file = filled(sample, tmp_path / "f.csv", {"C001": "1.0", "C002": "No stance", "C003": " T "}, delimiter=delimiter, encoding=encoding)
    found = import_codings(sample, file, "ana")
    assert (found.taken, found.unchanged, found.replaced, found.missing) == (3, 0, 0, 0)
    assert read_codings(sample, "ana") == {"C001": ("1", "=a note"), "C002": ("none", "=a note"), "C003": ("tie", "=a note")}


def test_missing_rows_are_counted_and_allowed(sample, tmp_path):
    append_codings(coder_file(sample.path, "ana"), [("C003", "2", ""), ("C001", "2", "")])
    file = filled(sample, tmp_path / "f.csv", {"C001": "1", "C002": ""}, extra=",,,\r\n")
    found = import_codings(sample, file, "ana")
    assert (found.taken, found.replaced, found.missing) == (1, 1, 1)
    assert read_codings(sample, "ana") == {"C001": ("1", "=a note"), "C003": ("2", "")}
    again = import_codings(sample, file, "ana")
    assert (again.taken, again.unchanged) == (0, 1)
    skipped = filled(sample, tmp_path / "g.csv", {"C002": "s"})
    assert import_codings(sample, skipped, "ana").missing == 1


def test_notes_are_kept_whatever_comes_of_the_verdict(sample, tmp_path):
    """A new note beside the old verdict is taken; a blank one beside a new verdict leaves the old note."""
    append_codings(coder_file(sample.path, "ana"), [("C001", "1", "first"), ("C003", "2", "why")])
    (tmp_path / "f.csv").write_text("code_id,verdict,note\nC001,1,second\nC003,tie,\n")
    found = import_codings(sample, tmp_path / "f.csv", "ana")
    assert (found.taken, found.replaced, found.unchanged) == (2, 2, 0)
    assert read_codings(sample, "ana") == {"C001": ("1", "second"), "C003": ("tie", "why")}
    assert import_codings(sample, tmp_path / "f.csv", "ana").unchanged == 2


def test_a_sheet_saved_over_itself_is_still_the_sample(sample):
    """A spreadsheet puts its own line ends into the cells with options."""
    file = sample.path / "items.csv"
    file.write_bytes(file.read_bytes().replace(b"1 = Much\n2 = Some\n", b"1 = Much\r\n2 = Some\r\n"))
    assert load_sample(sample.path).tasks == tuple(TASKS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("code_id,verdict\nC001,1\nC009,\n", "row 3, column 'code_id': 'C009'"),
        ("code_id,verdict\nC001,1\nC002,1\nC001,1\n", "row 4, column 'code_id': 'C001' is also in row 2"),
        ("code_id,verdict\nC001,1\nC003,3\n", "row 3, column 'verdict': found '3' for task C003; expected one of 1, 2, tie, skip"),
        ("code_id,verdict\nC002,0\n", "expected one of 1, 2, 3, none, skip"),
        ("code_id,answer\nC002,0\n", "the column 'verdict' is missing"),
        ("code_id,verdict,verdict\nC002,1,1\n", "occurs twice"),
        ("", "empty"),
    ],
)
def test_a_wrong_spreadsheet_changes_nothing(sample, tmp_path, text, told):
    append_codings(coder_file(sample.path, "ana"), [("C001", "2", "")])
    before = coder_file(sample.path, "ana").read_bytes()
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(InputDataError, match=told):
        import_codings(sample, tmp_path / "f.csv", "ana")
    assert coder_file(sample.path, "ana").read_bytes() == before
    with pytest.raises(InputDataError, match="does not exist"):
        import_codings(sample, tmp_path / "none.csv", "ana")
