"""Excel workbooks: which sheet is read, and cells without a usable value."""

import pytest
import xlsxwriter

from tests.survey.small_files import COLUMNS, DATA, cells, csv_text, refused, workbook
from valuestrata.cli import main
from valuestrata.errors import InputDataError, UsageError
from valuestrata.study.config import SurveySection
from valuestrata.study.data import read_study_survey
from valuestrata.survey import read_survey
from valuestrata.survey.draft import draft_codebook
from valuestrata.survey.formats.source import open_file


def test_a_hidden_sheet_is_not_preferred(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"Old": [[*DATA[0], "x"], [*DATA[1], 1]], "Data": DATA}, hidden=["Old"])
    with open_file(path) as raw:
        assert raw.header.names == tuple(COLUMNS)
        assert raw.notes([0]) == ["The sheet 'Data' was read; not 'Old' (hidden)."]
    assert len(cells(path, "Q1", sheet="old")) == 1


def test_two_sheets_that_could_be_the_data(tmp_path, mine):
    path = workbook(tmp_path / "a.xlsx", {"2022": DATA, "2023": [[*row, 1] for row in DATA[:3]]})
    expected = "2 sheets could be the data: '2022' (5 columns, 4 rows); '2023' (6 columns, 2 rows). Name one with `sheet=`"
    refused(path, expected, mine)
    assert read_survey(path, mine, sheet="2022").respondents == 4
    assert read_survey(path, mine, sheet="2023").respondents == 2
    refused(path, "there is no sheet '2024'. Did you mean '2023'?", mine, sheet="2024")


def test_only_hidden_sheets_hold_a_table(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"Cover": [["My survey"]], "Data": DATA}, hidden=["Data"])
    refused(path, "only hidden sheets hold a table ('Data')")
    assert cells(path, "Q1", sheet="Data") == ["1", "2", "1", "2"]
    refused(path, "the sheet 'Cover' does not start with a row of column names", sheet="Cover")


def test_a_sheet_with_other_columns_does_not_make_the_choice_ambiguous(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"Codebook": [["name", "label", "note"], ["Q1", "One?", ""]], "Data": DATA})
    assert cells(path, "Q1") == ["1", "2", "1", "2"]


def test_a_codebook_is_drafted_from_two_sheets_of_one_workbook(tmp_path):
    answers = [["variable", "Q1", "sex"], ["a", 1, 1], ["b", 2, 2]]
    listed = [["variable", "question", "values"], ["Q1", "One?", "1 = Agree; 2 = Disagree"], ["sex", "Sex", "1 = Male; 2 = Female"]]
    path = workbook(tmp_path / "a.xlsx", {"Data": answers, "Variables": listed})
    with pytest.raises(InputDataError, match=r"2 sheets could be the data: .* Name one with `variables_sheet=`"):
        draft_codebook(path, path)
    assert "One?" in draft_codebook(path, path, sheet="Data", variables_sheet="Variables")


def test_a_sheet_of_a_file_that_is_no_workbook(tmp_path, mine):
    path = tmp_path / "a.csv"
    path.write_text(csv_text())
    with pytest.raises(UsageError, match=r"`sheet='Data'` names a sheet, but the file is not an Excel workbook"):
        read_survey(path, mine, sheet="Data")


def test_error_cells_are_named(tmp_path, mine):
    path = workbook(tmp_path / "a.xlsx", {"My data": DATA}, formulas=[("B3", "=1/0", "#DIV/0!"), ("E2", "=1/0", "#DIV/0!")])
    survey = read_survey(path, mine)
    assert "Cells with an error were read as empty: My data!B3 #DIV/0!." in survey.findings.notes
    assert int((survey.answers[:, 1] < 0).sum()) == 1


def test_formulas_without_a_stored_result(tmp_path, mine):
    path = workbook(tmp_path / "a.xlsx", {"Data": DATA}, formulas=[("B3", "=1+0", "")])
    refused(path, "a.xlsx: Data!B3: a formula has no stored result", mine)
    # Column E is not used.
    path = workbook(tmp_path / "b.xlsx", {"Data": DATA}, formulas=[("E3", "=1+0", ""), ("B3", "=1+0", 1)])
    assert read_survey(path, mine).respondents == 4


def test_merged_cells_are_named(tmp_path, mine):
    path = tmp_path / "a.xlsx"
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet("Data")
    for number, row in enumerate(DATA):
        sheet.write_row(number, 0, row)
    sheet.merge_range("A3:A4", 2)
    sheet.merge_range("E2:E3", "x")
    book.close()
    notes = read_survey(path, mine).findings.notes
    assert "Of merged cells only the first has a value; the others were read as empty: Data!A3:A4." in notes


def test_a_cell_far_from_the_others(tmp_path):
    path = tmp_path / "a.xlsx"
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet("Data")
    sheet.write_row(0, 0, ["Q1", "Q2"])
    sheet.write(1048575, 16383, 1)
    book.close()
    refused(path, "the cells of the sheet 'Data' span 1,048,576 rows and 16,384 columns")


def test_a_study_and_the_command_line_read_the_sheet_they_name(tmp_path, mine, capsys, monkeypatch):
    path = workbook(tmp_path / "a.xlsx", {"2022": DATA, "2023": DATA[:3]})
    assert read_study_survey(SurveySection(file=str(path), codebook=str(mine), sheet="2023")).respondents == 2
    for arguments, shown in ((["--sheet", "2023"], "2 respondents"), ([], "Name one with --sheet.")):
        monkeypatch.setattr("sys.argv", ["valuestrata", "describe", str(path), "--survey", str(mine), *arguments])
        with pytest.raises(SystemExit):
            main()
        assert shown in "".join(capsys.readouterr())
