"""Text from files and servers cannot command a terminal, end the renderer of charts or become a formula."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from valuestrata.cli.output import print_json, say, show
from valuestrata.errors import InputDataError, UsageError, printable, unprintable_in
from valuestrata.frames import csv_text, unescaped
from valuestrata.reports.core.page import Page, StatusLine
from valuestrata.reports.core.render import render
from valuestrata.reports.core.section import Section
from valuestrata.reports.export.terminal import print_frame, print_line
from valuestrata.respondents.models import check_model_spec

SOURCE = Path(__file__).resolve().parents[2] / "src" / "valuestrata"
UNSAFE = [0x00, 0x01, 0x07, 0x08, 0x1B, 0x1F, 0x7F, 0x9B, 0x202E, 0x2066, 0xD800, 0xDFFF, 0xFDD0, 0xFFFE, 0xFFFF]
ATTACK = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202eb\x00"


@pytest.mark.parametrize("code", UNSAFE)
def test_unprintable_characters_are_replaced_one_by_one(code):
    assert printable(f"a{chr(code)}b") == "a\ufffdb"
    assert unprintable_in(f"a{chr(code)}b") == f"U+{code:04X}"


def test_printable_text_stays_as_it_is():
    for text in ("", "Größe, naïve\t1\n2", "日本語 العربية עברית ไทย 🙂🏽 e\u0301 ‘’“”–—… \u00a0\u200b\u200f", "a\u00adb"):
        assert printable(text) == text
    assert unprintable_in("Größe 日本語") is None
    assert unprintable_in("two\nlines") == "U+000A"


def test_line_ends_become_line_feeds():
    assert printable("a\r\nb\rc\u2028d\u2029e\x85f\x0bg") == "a\nb\nc\nd\ne\nf\ng"


def test_messages_lines_and_tables_are_cleaned(capsys):
    assert "\x1b" not in str(InputDataError("the run ", ATTACK))
    say(ATTACK)
    show(ATTACK)
    print_line(ATTACK)
    print_frame(pl.DataFrame({"run": [ATTACK], ATTACK: [1]}))
    out, err = capsys.readouterr()
    assert not re.search("[\x00\x07\x1b\x9b\u202e]", out + err)
    assert out.count("owned") == 4
    assert "owned" in err


def test_cells_cannot_break_a_table_on_a_terminal():
    screen = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    print_frame(pl.DataFrame({"run": ["a\n\x1b[2Jb\rc"], "value": [1.0]}), screen)
    text = screen.file.getvalue()
    assert "\x1b[2J" not in text
    assert "a \ufffd[2Jb c" in text


def test_json_escapes_what_it_does_not_print(capsys):
    print_json({"text": ATTACK + "\ud800\u2028ü"})
    out = capsys.readouterr().out
    assert not re.search("[\x00\x07\x1b\x9b\u202e\u2028\ud800]", out)
    assert json.loads(out)["text"] == ATTACK + "\ud800\u2028ü"
    assert "ü" in out


def test_commands_print_through_one_function():
    for file in (SOURCE / "cli").rglob("*.py"):
        if file.name != "output.py":
            assert not re.search(r"(?<![\w.])print\(", file.read_text()), f"{file.name}: use `show` of cli/output.py, not print"


def test_names_with_control_characters_are_refused():
    for spec in ("hf:org/\x1b[2Jname", "openai/gpt\n", "control:shuffled-persona@hf:a\u202eb"):
        with pytest.raises(UsageError, match=r"cannot hold the character U\+"):
            check_model_spec(spec)


def test_a_page_has_no_unprintable_character():
    section = Section("one", f"Results {ATTACK}", sentences=[ATTACK])
    page = render(Page(f"Survey {ATTACK}\ud800", [section], [("Absent", ATTACK)], [StatusLine("warning", ATTACK, ATTACK)]))
    assert page == printable(page)
    assert page.count("owned") >= 4
    page.encode()


@pytest.mark.slow
def test_charts_with_any_character_are_drawn():
    code = (
        "from valuestrata.reports.core.theme import to_svg\n"
        f"bad = ''.join(map(chr, {[*range(0x20), *UNSAFE, 0x2028, 0x2029, 0x1FFFF]}))\n"
        "y = {'field': 'y', 'type': 'nominal', 'title': bad, 'sort': [bad]}\n"
        "spec = {'mark': 'bar', 'data': {'values': [{'x': 1, 'y': bad, bad: bad}]}, 'title': bad,\n"
        "        'encoding': {'x': {'field': 'x', 'type': 'quantitative'}, 'y': y}}\n"
        "svg = to_svg(spec, 'n', bad)\n"
        "assert '\\ufffd' in svg and '\\x1b' not in svg and '\\ufffe' not in svg\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "=", "-"]


def test_csv_cells_cannot_become_formulas():
    frame = pl.DataFrame({"text": FORMULAS, "=cmd": ["x"] * len(FORMULAS), "level": pl.Series(FORMULAS, dtype=pl.Categorical)})
    read = pl.read_csv(io.StringIO(csv_text(frame)), infer_schema=False)
    assert read.columns == ["text", "'=cmd", "level"]
    for column in ("text", "level"):
        assert all(cell.startswith("'") for cell in read[column])
        assert [unescaped(cell) for cell in read[column]] == [printable(text) for text in FORMULAS]


def test_numbers_in_csv_stay_numbers():
    frame = pl.DataFrame({"value": [-1.5, 2.0, None], "count": [-3, 0, 4], "written": ["-0.5", "+3", "1e-9"], "text": ["a", None, 'b,"c"']})
    assert csv_text(frame) == frame.write_csv()


def test_every_table_is_written_through_the_guard():
    for file in SOURCE.rglob("*.py"):
        if file.name != "frames.py":
            assert ".write_csv(" not in file.read_text(), f"{file.name}: use csv_text of frames.py"
