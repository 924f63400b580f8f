"""Overviews: short texts and escaped tables."""

from __future__ import annotations

from dataclasses import replace

from valuestrata.overview import MOST_ROWS, Overview


def test_text_is_escaped_and_rows_are_limited():
    nasty = "<script>alert('1')</script>\x1b[31m"
    shown = Overview(nasty, [nasty], ["a", nasty], [[nasty, "x" * 500]] * (MOST_ROWS + 3), nasty)
    assert "<script>" not in shown.html
    assert "\x1b" not in shown.html + shown.text
    assert shown.html.count("<tr>") == MOST_ROWS + 1
    assert "3 more rows" in shown.html
    assert "x" * 200 not in shown.html
    assert shown.text.count("\n") == 1


def test_a_data_set_describes_itself_in_a_few_lines(handmade):
    assert repr(handmade).splitlines() == [
        "Data set: Handmade, Singapore",
        "  3 items in 3 topics, 6 subgroups, 18 pairs.",
        "  Splits: paper (1 fold).",
    ]
    assert "<th" in handmade._repr_html_()
    people = replace(handmade, meta={**handmade.meta, "respondents": 1200, "place": "<b>here</b>"})
    assert "1,200 respondents" in repr(people)
    assert "<b>here" not in people._repr_html_()
