"""Damaged, ambiguous and hostile survey files: one message that names the place, and bounded memory."""

import bz2
import gzip
import lzma
import os
import struct
import zipfile
from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest
import rdata

from tests.survey.small_files import COLUMNS, DATA, cells, csv_text, refused, workbook
from valuestrata.errors import InputDataError
from valuestrata.files import check_file, read_json, read_parquet, sha256_of
from valuestrata.survey import read_survey
from valuestrata.survey.draft import draft_codebook
from valuestrata.survey.formats import archives
from valuestrata.survey.formats.source import Header, open_file

# Text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a,b,c", "1,2,3", "1,2", "4,5,6"], "line 3 holds 2 fields, but the header has 3 (separated by comma)"),
        (["a,b,c", "1,2,3", "1,2,3,4", "4,5,6"], "line 3 holds 4 fields, but the header has 3"),
        (["a,b,c", "1,2", "1,2", "4,5,6"], "line 2 holds 2 fields, but the header has 3 (separated by comma). 1 other lines also differ"),
        (["a,b,c", "1,2,3", "4,5"], "the last line (line 3) holds 2 of 3 fields, so the file is truncated"),
        (["a,b,c", "1;2;3", "4;5;6"], "line 2 holds 1 fields"),
        (["a,b,c", '1,"2\n2",3', "4,5", "4,5,6"], "line 4 holds 2 fields"),
        (["a,b", '1,"2', "3,4", '5,6"7', "8,9"], "the row that starts on line 2 cannot be read (',' expected after '\"')"),
        (["a,b", "1,2", '3,"4', "5,6"], "the row that starts on line 3 cannot be read (its last quotation mark is not closed)"),
        (["a,b", "1,2\x00", "3,4"], "line 2 holds a NUL character"),
        (["a,b", '"1",2', "1," + "x" * 200_000], "the row that starts on line 3 cannot be read (field larger than field limit"),
    ],
)
def test_a_row_that_does_not_fit_the_header(tmp_path, lines, expected):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    assert refused(path, expected).startswith("a.csv: ")


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_blank_lines_and_line_ends(tmp_path, quoted, ends):
    path = tmp_path / "a.csv"
    mark = '"' if quoted else ""
    path.write_bytes(ends.join([f"a,{mark}b{mark}", "", "1,2", "  ", ",", "3,4", "", ""]).encode())
    assert [cell for cell in cells(path, "b") if cell] == ["2", "4"]


def test_quotation_marks_inside_a_field_are_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,5" pipe\n2,say "yes"\n3,\n')
    assert cells(path, "b") == ['5" pipe', 'say "yes"', None]


def test_a_file_with_bytes_in_two_encodings(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("a,b\n1,é\n2,ü\n".encode() + "3,ö\n".encode("latin-1"))
    with open_file(path) as raw:
        assert raw.read([1])[0].to_list() == ["é", "ü", "\ufffd"]
        assert "1 bytes are not UTF-8" in raw.notes([1])[0]
        assert "line 4" in raw.notes([1])[0]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n", encoding=encoding)
    assert cells(path, "b") == ["2", "4"]


def test_rows_left_out_as_empty_are_counted(tmp_path, mine):
    path = tmp_path / "a.csv"
    path.write_text(csv_text() + ",,,,note\n,,,,\n\n")
    survey = read_survey(path, mine)
    assert survey.respondents == 4
    assert "Rows left out because they are empty in all columns used: 1." in survey.findings.notes
    path.write_text(csv_text() + ",,,,\n\n")
    assert not any("left out" in note for note in read_survey(path, mine).findings.notes)


def test_an_item_that_nobody_answered_is_named(tmp_path, mine):
    path = tmp_path / "a.csv"
    path.write_text(csv_text(Q2=[-1, -1, "", -1]))
    assert "Items left out because no respondent answered: Q2." in read_survey(path, mine).findings.notes


# Archives


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 1_000_000)


def test_an_archive_that_unpacks_to_too_much(tmp_path, small_limit, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "a,b\n" + "\n" * 20_000_000)
    refused(path, "a.zip: it unpacks to more than 4 MB, which is more than a survey of this size needs")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_the_limits_leave_room_for_surveys(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1_000_000)
    assert archives.most_unpacked(path) == 200 * 1_000_000
    path.write_bytes(b"x")
    assert archives.most_unpacked(path) == 64 * 2**20


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_r_files_that_decompress_to_too_much(tmp_path, small_limit, compress):
    path = tmp_path / "a.rds"
    path.write_bytes(compress(b"\0" * 20_000_000))
    refused(path, "a.rds: it unpacks to more than")
    path.write_bytes(compress(compress(b"X\n")))
    refused(path, "compressed twice")


def test_several_gzip_members_are_one_file(tmp_path):
    data = pd.DataFrame({"Q1": np.array([1.0, 2.0])})
    data.columns = pd.Index(["Q1"], dtype=object)
    rdata.write_rds(tmp_path / "a.rds", data)
    plain = gzip.decompress((tmp_path / "a.rds").read_bytes())
    (tmp_path / "b.rds").write_bytes(gzip.compress(plain[:50]) + gzip.compress(plain[50:]))
    assert cells(tmp_path / "b.rds", "Q1") == [1.0, 2.0]


def test_workbooks_that_unpack_to_too_much(tmp_path, small_limit):
    path = workbook(tmp_path / "a.xlsx", {"Data": DATA})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", " " * 20_000_000)
    refused(path, "a.xlsx: it unpacks to more than")


def test_a_workbook_part_larger_than_it_declares(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"Data": DATA})
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 10)))
    refused(path, "its part xl/worksheets/sheet1.xml is damaged")


@pytest.mark.parametrize(
    ("inside", "expected"),
    [({"a.zip": b"PK"}, "it holds 0 (a.zip)"), ({"a\x1b[31m.csv": b"", "b.csv": b""}, "it holds 2"), ({"x.csv/": b""}, "(nothing)")],
)
def test_archives_without_one_survey_file(tmp_path, inside, expected):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    refused(path, expected)


def test_a_member_with_a_name_too_long_for_the_disk(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("n" * 400 + ".csv", csv_text())
    assert cells(path, "sex") == ["1", "2", "1", "2"]


def test_an_encrypted_archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", csv_text())
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "the archive cannot be unpacked")


# Other formats


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[1], [2], [1], [2]], "List"),
        ([timedelta(days=1)] * 4, "Duration"),
        ([b"\xff", b"2", b"1", b"2"], "Binary"),
        ([{"a": 1}] * 4, "Struct"),
    ],
)
def test_parquet_columns_that_are_neither_numbers_nor_text(tmp_path, mine, values, kind):
    path = tmp_path / "a.parquet"
    pl.DataFrame({**COLUMNS, "Q1": values}).write_parquet(path)
    assert kind in refused(path, "a.parquet: column 'Q1' holds values of the kind", mine)
    pl.DataFrame({**COLUMNS, "other": values}).write_parquet(path)
    assert read_survey(path, mine).respondents == 4


@pytest.mark.parametrize("values", [[date(2020, 1, 1)] * 4, [1e300, 2.0, 1.0, 2.0], [float("inf"), 2.0, 1.0, 2.0], [2**63, 1, 2, 1]])
def test_dates_and_huge_numbers_match_nothing(tmp_path, mine, values):
    path = tmp_path / "a.parquet"
    pl.DataFrame({**COLUMNS, "Q1": pl.Series(values, strict=False), "sex": pl.Series(values, strict=False)}).write_parquet(path)
    survey = read_survey(path, mine)
    assert [problem.item for problem in survey.findings.label_problems] == ["Q1"]
    assert survey.findings.unknown_levels[0][0] == "sex"


@pytest.mark.parametrize("column", ["Q1", "sex"])
def test_texts_longer_than_a_label_match_nothing(tmp_path, mine, column):
    path = tmp_path / "a.csv"
    for text in ("1" * 5000, "1" * 5000 + ". Agree", "-" + "1" * 5000, "1e" + "9" * 5000, "a (" * 20_000, "1 " * 50_000):
        path.write_text(csv_text(**{column: [text, 1, 2, 1]}))
        survey = read_survey(path, mine)
        assert survey.findings.label_problems or survey.findings.dropped or survey.findings.missing_values


def test_parquet_text_that_is_not_marked_as_text(tmp_path, mine):
    path = tmp_path / "a.parquet"
    pl.DataFrame({**COLUMNS, "Q1": [b"1", b"Agree", b"2", b"2"]}).write_parquet(path)
    assert read_survey(path, mine).answers[:, 0].tolist() == [0, 0, 1, 1]


def test_a_damaged_parquet_page(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame(COLUMNS).write_parquet(path)
    data = bytearray(path.read_bytes())
    data[8:60] = b"\xff" * 52
    path.write_bytes(data)
    refused(path, "not a readable Parquet file, or one cut short")


@pytest.mark.parametrize("variable", [2, 3, 99])
def test_spss_value_labels_of_a_variable_that_is_absent_or_a_text(tmp_path, variable):
    # pyreadstat ends the process on such a file.
    path = tmp_path / "a.sav"
    data = pd.DataFrame({"Q1": [1.0, 2.0], "name": ["a" * 20, "b" * 20], "Q2": [1.0, 2.0]})
    pyreadstat.write_sav(data, path, variable_value_labels={"Q2": {1: "Yes", 2: "No"}})
    start = struct.pack("<3i", 4, 1, 5)  # variables 2 to 4 are the text and its two continuations
    assert start in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(start, struct.pack("<3i", 4, 1, variable)))
    refused(path, "its list of variables is damaged")
    with pytest.raises(InputDataError, match="its list of variables is damaged"):
        draft_codebook(path)


def test_compact_vectors_of_r_that_expand_to_too_much(tmp_path):
    path = tmp_path / "a.rds"
    # serialize(1:1e12): an ALTREP of class compact_intseq with the state (1e12, 1, 1)
    symbols = b"".join(struct.pack(">4i", 2, 1, 9 | 64 << 12, len(name)) + name for name in (b"compact_intseq", b"base"))
    class_ = symbols + struct.pack(">5i", 2, 13, 1, 13, 254)
    state = struct.pack(">2i3d", 14, 3, 1e12, 1, 1)
    head = b"X\n" + struct.pack(">4i", 3, 0x040300, 0x030500, 5) + b"UTF-8"
    path.write_bytes(head + struct.pack(">i", 238) + class_ + state + struct.pack(">i", 254))
    refused(path, "its compact vectors hold more than 100,000,000 numbers")


# Weights


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        (1e308, "not between 1e-100 and 1e+100"),
        (1e-200, "not between"),
        (-1, "negative"),
        ("", "missing"),
        ("inf", "missing"),
        ("1e999", "infinite"),
    ],
)
def test_weights_that_no_sum_can_hold(tmp_path, mine, weight, problem):
    path = tmp_path / "a.csv"
    path.write_text(csv_text(wt=[weight, 1, 2, 1]))
    refused(path, f"a.csv: column 'wt': the weight is {problem}", mine)
    path = tmp_path / "a.parquet"
    if not isinstance(weight, str):
        pl.DataFrame({**COLUMNS, "wt": [weight, 1, 2, 1]}, strict=False).write_parquet(path)
        refused(path, f"a.parquet: column 'wt': the weight is {problem}", mine)


def test_weights_of_millions_are_used(tmp_path, mine):
    path = tmp_path / "a.csv"
    path.write_text(csv_text(wt=[1e6, 2e6, 1e-6, 0]))
    assert read_survey(path, mine).weight.tolist() == [1e6, 2e6, 1e-6, 0]


# Control characters


CONTROLS = ["\x1b", "\x07", "\x85", "\u2028", "\ufffe", "\u202e", "\ud800"]


@pytest.mark.parametrize("letter", CONTROLS)
def test_names_are_kept_without_control_characters(letter):
    header = Header([f"Q1{letter}[31m: Life", f"{letter}Q2{letter}", "Q3"])
    assert all(name.isprintable() for name in header.names)
    assert header.find(f"{letter}Q2{letter}") == 1


def test_joiners_of_persian_names_are_kept():
    assert Header(["می\u200cخواهم"]).names == ("می\u200cخواهم",)


def test_control_characters_of_a_file_reach_no_message(tmp_path, mine):
    path = tmp_path / "a\x1b[31m.csv"
    path.write_text(csv_text(Q1=["Agr\x1b[31mee\ufffe", 1, 2, 1], sex=["M\u2028ale?", 1, 2, "x\x07"]).replace("other", "oth\x1ber"))
    survey = read_survey(path, mine)
    texts = [survey.source.file, *survey.findings.ignored_columns, *survey.findings.notes]
    texts += [label for problem in survey.findings.label_problems for label, _ in problem.labels]
    texts += [value for _, values in survey.findings.unknown_levels for value, _ in values]
    texts += [value for dropped in survey.findings.dropped for value, _ in dropped.values]
    assert len(texts) > 4
    assert all(text.isprintable() for text in texts), texts


def test_value_labels_are_kept_without_control_characters(tmp_path):
    path = tmp_path / "a.sav"
    pyreadstat.write_sav(pd.DataFrame({"Q1": [1.0, 2.0]}), path, variable_value_labels={"Q1": {1: "Yes\x1b[31m", 2: "N\u2028o"}})
    with open_file(path) as raw:
        assert raw.value_labels(0) == {1.0: "Yes\ufffd[31m", 2.0: "N o"}


# Paths


@pytest.mark.parametrize("read", [check_file, read_json, read_parquet, sha256_of, lambda path: read_survey(path, "wvs7")])
def test_paths_that_are_no_regular_files(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "absent.csv")
    for name, expected in [
        ("pipe.csv", "this is a pipe or a device"),
        ("loop.csv", "its symbolic links form a loop"),
        ("link.csv", "the file does not exist"),
        ("", "this is a folder"),
        ("a\x00.csv", "a path cannot hold a NUL character"),
    ]:
        with pytest.raises(InputDataError, match=expected):
            read(tmp_path / name)
