"""Opening survey files: formats, separators, encodings and headers."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest
import rdata

from valuestrata.errors import InputDataError
from valuestrata.survey.formats.columns import _series
from valuestrata.survey.formats.source import Header, open_file, sniff


def cells(path, *names):
    with open_file(path) as raw:
        places = [raw.header.find(name) for name in names]
        return [series.to_list() for series in raw.read(places)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separated_text(tmp_path, separator, encoding):
    path = tmp_path / "a.csv"
    rows = [["Q1: Vie, famille", "Q2", "W"], ["Très important", "2", "0.5"], ["", "-1", "1.5"]]
    path.write_text("\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows), encoding=encoding)
    weight, answers = cells(path, "W", "q1")
    assert weight == ["0.5", "1.5"]
    assert answers[0] == "Très important"
    assert not answers[1]


def test_unquoted_commas_in_the_titles_of_a_semicolon_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Q94: Member, church, or religion;Q95: Sport, leisure\n1;2\n0;1\n")
    assert cells(path, "Q94", "Q95") == [["1", "0"], ["2", "1"]]


def test_a_quoted_field_over_two_lines_is_one_field(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('Q1,"Q2: two\nlines",Q3\n1,"a\nb",3\n')
    assert cells(path, "Q2", "Q3") == [["a\nb"], ["3"]]


@pytest.mark.parametrize(
    ("header", "wanted"), [("Q1", "Q1"), (" q1 ", "Q1"), ("Q1: Family", "q1"), ("Q1. Family", "Q1"), ("Q1 - Family", "Q1")]
)
def test_column_names_are_matched_loosely(header, wanted):
    assert Header(["Q10", "Q1_2", header]).find(wanted) == 2


def test_an_exact_name_takes_precedence():
    assert Header(["q1: old", "Q1"]).find("Q1") == 1
    assert Header(["Q11", "Q1a", "Q1.2"]).find("Q1") is None
    with pytest.raises(InputDataError, match="'Q1' appears 2 times"):
        Header(["Q1: a", "Q1: b"]).find("Q1")


def test_declared_missing_codes_of_spss_are_kept(tmp_path):
    path = tmp_path / "a.sav"
    data = pd.DataFrame({"Q1": [1.0, -1.0, np.nan], "name": ["a", "", "c"], "rest": [1.0, 2.0, 3.0]})
    pyreadstat.write_sav(data, path, variable_value_labels={"Q1": {-1: "Don't know"}}, missing_ranges={"Q1": [{"lo": -9, "hi": -1}]})
    assert cells(path, "Q1", "name") == [[1.0, -1.0, None], ["a", "", "c"]]
    with open_file(path) as raw:
        assert raw.value_labels(0) == {-1.0: "Don't know"}


def test_tagged_missing_values_of_stata_are_empty_unless_labelled():
    column = pd.Series(np.array([1.0, "a", "b", None], dtype=object), dtype=object)
    assert _series("Q1", column, {"a": "Don't know", 1.0: "Yes"}).to_list() == ["1.0", "a", None, None]
    assert _series("name", pd.Series(np.array(["a", "b"], dtype=object), dtype=object), {}).to_list() == ["a", "b"]


def test_empty_cells_of_r_factors_are_kept(tmp_path):
    factor = pd.Categorical.from_codes([0, -1, 1], categories=pd.Index(["No", "Yes"], dtype=object))
    data = pd.DataFrame({"Q1": factor, "Q2": np.array([1, 2, 3], dtype="int32"), "Q3": np.array([1.5, np.nan, -1])})
    data.columns = pd.Index(list(data.columns), dtype=object)
    rdata.write_rds(tmp_path / "a.rds", data)
    assert cells(tmp_path / "a.rds", "Q1", "Q2", "Q3") == [["No", None, "Yes"], [1, 2, 3], [1.5, None, -1]]


def test_labels_of_haven_are_value_labels(written):
    with open_file(written["rds haven"]) as raw:
        place = raw.header.find("Q1")
        assert raw.value_labels(place)[1.0] == "Very important"
        assert raw.value_labels(raw.header.find("N_TOWN")) == {}


def test_an_r_file_with_two_data_frames_is_an_error(tmp_path):
    data = pd.DataFrame({"Q1": np.array([1.0, 2.0])})
    data.columns = pd.Index(["Q1"], dtype=object)
    rdata.write_rda(tmp_path / "a.rda", {"one": data, "two": data})
    with pytest.raises(InputDataError, match=r"a\.rda: .*2 data frames \(one, two\)"), open_file(tmp_path / "a.rda"):
        pass


def test_parquet_categories_and_booleans(tmp_path):
    data = pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical), "b": [True, False], "c": [1.0, float("nan")]})
    data.write_parquet(tmp_path / "a.parquet")
    assert cells(tmp_path / "a.parquet", "a", "b", "c") == [["x", "y"], [1, 0], [1.0, None]]


def test_formats_are_recognised_by_the_first_bytes(written, tmp_path):
    kinds = {
        "csv comma": "csv",
        "excel labels": "excel",
        "sav": "sav",
        "dta": "dta",
        "rds": "r",
        "rdata factors": "r",
        "parquet": "parquet",
    }
    for name, kind in kinds.items():
        assert sniff(written[name]) == kind
    (tmp_path / "page.csv").write_text("\n<!DOCTYPE html><html>")
    assert sniff(tmp_path / "page.csv") == "page"


@pytest.mark.parametrize("inside", [{}, {"a.csv": "x,y\n1,2\n", "b.sav": ""}, {"readme.pdf": ""}])
def test_an_archive_must_hold_one_survey_file(tmp_path, inside):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in inside.items():
            archive.writestr(name, text)
    with pytest.raises(InputDataError, match=r"a\.zip: the archive must hold exactly one survey file"), open_file(path):
        pass


def test_unpacked_archives_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.csv", "Q1,Q2\n1,2\n")
    assert cells(path, "Q2") == [["2"]]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_a_gzip_file_that_is_not_an_r_file(tmp_path):
    with gzip.open(tmp_path / "a.rds", "wb") as file:
        file.write(b"Q1,Q2\n")
    with pytest.raises(InputDataError, match=r"a\.rds: not a readable R data file"), open_file(tmp_path / "a.rds"):
        pass


def test_the_sheet_with_most_columns_is_read(tmp_path):
    path = tmp_path / "a.xlsx"
    with pd.ExcelWriter(path, engine="xlsxwriter") as book:
        pd.DataFrame({"World Values Survey": ["Read this first"], "Wave 7": ["x"]}).to_excel(book, sheet_name="Read me", index=False)
        pd.DataFrame({"Q1": [1, 4], "Q2": [2, 3], "Q3": [3, 2]}).to_excel(book, sheet_name="Data", index=False)
    assert cells(path, "Q1", "Q3") == [["1", "4"], ["3", "2"]]
