"""Printing tables: fitted into a width, and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import io

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from valuestrata.reports.export.layout import fitted
from valuestrata.reports.export.printer import Printer
from valuestrata.reports.export.terminal import print_frame, print_line

HEADERS = ["run", "Accuracy", "A header of several words", "note", "pairs"]
ROWS = [
    ["a-model", ".512 [.480–.545]", ".1", "A remark that is much longer than any number in this table.", "1,234"],
    ["another-model-with-a-name", ".498 [.461–.535]", ".25", "", "98"],
]
NUMERIC = [False, True, True, False, True]
EVIL = "50 % of a|b_c & {d} $e$ #f ~g^h \\i <script> `x` *y* [z](w)"


def printed(frame: pl.DataFrame, form="text", **settings) -> str:
    out = io.StringIO()
    print_frame(frame, Printer(Console(file=out, width=300), form, **settings))
    return out.getvalue()


def lines_at(width: int | None) -> tuple[list[str], list[str]]:
    table = fitted(HEADERS, ROWS, NUMERIC, width)
    return [*table.header_lines(), *table.body_lines()], table.left_out


@pytest.mark.parametrize("width", range(30, 140, 5))
def test_a_table_fits_and_its_numbers_and_texts_stay_whole(width):
    lines, left_out = lines_at(width)
    assert max(map(len, lines)) <= width
    table = fitted(HEADERS, ROWS, NUMERIC, width)
    assert [header.replace("\n", " ") for header in table.headers] == [header for header in HEADERS if header not in left_out]
    for place, header in enumerate(HEADERS):
        if header not in left_out and header != "run":
            column = [row[table.headers.index(next(h for h in table.headers if h.replace("\n", " ") == header))] for row in table.rows]
            assert ["".join(cell.split()) for cell in column] == ["".join(row[place].split()) for row in ROWS]
            # No number is broken: only spaces and the dash of an interval separate lines.
            if NUMERIC[place]:
                broken = {line for cell in column for line in cell.split("\n")}
                whole = " ".join(row[place] for row in ROWS)
                assert all(line in whole and (line == whole or not line[-1].isdigit() or f"{line} " in f"{whole} ") for line in broken)


def test_a_table_is_unchanged_where_there_is_room():
    lines, left_out = lines_at(None)
    assert left_out == []
    assert len(lines) == 3
    assert lines_at(200) == (lines, [])


def test_the_least_important_columns_are_left_out_first_and_named():
    assert lines_at(80)[1] == []
    assert lines_at(58)[1] == ["pairs"]
    wide = pl.DataFrame([dict(zip(HEADERS, row, strict=True)) for row in ROWS]).with_columns(more=pl.lit("x" * 24), other=pl.lit("y" * 30))
    text = printed(wide, wide=False)
    assert "Left out to fit 100 columns: pairs" in text
    assert "--wide shows everything." in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Left out" not in printed(wide, wide=True)


def test_a_printer_names_its_least_important_columns():
    table = fitted(HEADERS, ROWS, NUMERIC, 75, minor=[2, 1])
    assert table.left_out == ["A header of several words"]


def test_csv_read_back_is_the_frame():
    frame = pl.DataFrame(
        {
            "run": ["a", EVIL, 'with "quotes", commas'],
            "value": [0.1 + 0.2, None, -1e-9],
            "pairs": [1234567, 0, -3],
            "usable": [True, None, False],
        }
    )
    assert_frame_equal(pl.read_csv(io.StringIO(printed(frame, "csv"))), frame)


def test_csv_keeps_text_off_stdout(capsys):
    out = io.StringIO()
    print_line("A remark.", Printer(Console(file=out), "csv"))
    assert out.getvalue() == ""
    assert capsys.readouterr().err == "A remark.\n"


def test_lists_are_one_cell_of_csv():
    assert printed(pl.DataFrame({"run": ["a"], "words": [["x", "y"]]}), "csv") == "run,words\na,x; y\n"


def test_an_empty_line_separates_tables_of_csv():
    out = io.StringIO()
    printer = Printer(Console(file=out, width=300), "csv")
    for name in ("a", "b"):
        print_frame(pl.DataFrame({name: [1]}), printer)
    assert out.getvalue() == "a\n1\n\nb\n1\n"


def test_markdown_escapes_pipes_and_markup():
    lines = printed(pl.DataFrame({"a|b": [EVIL, "two"], "n": [1, 2]}), "markdown").splitlines()
    assert lines[0] == "| a\\|b | n |"
    assert lines[1] == "| --- | --- |"
    # As a reader of Markdown splits cells: at pipes without a backslash.
    cells = lines[2].replace("\\|", "\0").strip("| ").split("|")
    assert len(cells) == 2
    for mark in ("\\`", "\\*", "\\[", "\\#", "\\$", "\\\\i", "&lt;script"):
        assert mark in lines[2], mark


def test_latex_escapes_text_and_uses_booktabs():
    text = printed(pl.DataFrame({"run": [EVIL], "the_value": ["x"], "n": [1]}), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llr}"):
        assert part in text
    assert r"50 \% of a\textbar{}b\_c \& \{d\} \$e\$ \#f \textasciitilde{}g\textasciicircum{}h \textbackslash{}i \textless{}script" in text
    out = io.StringIO()
    print_line("100 % of all.\nNext.", Printer(Console(file=out, width=300), "latex"))
    assert out.getvalue() == "% 100 % of all.\n% Next.\n"


def test_titles_are_captions_of_latex():
    out = io.StringIO()
    Printer(Console(file=out, width=300), "latex").table(["run", "x"], [["a_b", ".5 [.4–.6]"]], title="Gaps & more")
    text = out.getvalue()
    assert r"\caption{Gaps \& more}" in text
    assert r"\label{tab:gaps---more}" in text
    # An interval is set below its value.
    assert r".5\\\scriptsize {}[.4--.6]" in text
