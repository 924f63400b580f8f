"""LaTeX tables: every special character is printed, columns are counted, and the figures are those of the audit."""

from __future__ import annotations

import re
import shutil
import subprocess
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.auditing import Audit
from valuestrata.auditing.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES
from valuestrata.report.latex import audit_latex, disparity_latex, escaped, gaps_latex, latex_table

DATASET = SimpleNamespace(meta={"attributes": [{"name": "sex", "title": "Sex & gender"}]})


def spread(run, metric, measure, value, alike, published=None):
    where = {"scheme": "paper", "part": "test", "by": "all", "key": "all", "population": "8 test subgroups of a_x_b"}
    return {"run": run, **where, "metric": metric, "measure": measure, "value": value, "alike": alike, "published": published}


def tables(published=None, changed=True):
    rows = []
    for run, step in (("base_1", 0.0), ("tuned", 0.1), ("baseline-item-mode", 0.2)):
        for metric in ("accuracy", "nmae"):
            rows += [
                spread(run, metric, m, None if m == "gini" else 0.25 + step, 0.111, published if m == "cv" else None) for m in MEASURES
            ]
    changes = [{"run": run, "against": "base_1", "measure": "sd"} for run in ("tuned", "baseline-item-mode")] if changed else []
    return Audit(DISPARITY.frame(rows), GROUPS.empty(), GAPS.empty(), CHANGES.frame(changes), EXCESS.empty(), ERRS.empty())


def body(text):
    return [line.removesuffix(r" \\").split(" & ") for line in text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()]


def test_before_and_after_stand_in_one_cell_with_what_noise_alone_gives():
    text = disparity_latex(tables(), ["base_1", "tuned"])
    rows = body(text)
    assert rows[0] == [r"base\_1", *[".250 (.111)"] * 4]
    assert rows[1] == ["tuned", *[r".250 (.111) $\rightarrow$ .350 (.111)"] * 4]
    # A baseline was compared as well, but it is nobody's after.
    assert rows[2] == ["baseline-item-mode", *[".450 (.111)"] * 4]
    assert r"8 test subgroups of a\_x\_b" in text
    assert r" & \multicolumn{2}{c}{Accuracy} & \multicolumn{2}{c}{NMAE} \\" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}" in text
    assert r"against base\_1" in text


def test_published_figures_have_columns_of_their_own():
    rows = body(disparity_latex(tables(published=0.055), ["base_1"]))
    assert rows[0] == [r"base\_1", *[".250 (.111)", "--", ".250 (.111)", ".055"] * 2]


def test_gaps_have_intervals_and_name_the_baseline():
    row = {"run": "m", "scheme": "paper", "part": "test", "attribute": "sex", "level": "50% F", "against_level": "M_1", "metric": "nmae"}
    figures = {"gap": -0.1, "ci_low": -0.2, "ci_high": 0.0, "expected_alike": 0.03, "p_holm": 0.012, "baseline": "item_mode", "items": 90}
    text = gaps_latex(DATASET, GAPS.frame([row | figures]), "m", "nmae")
    assert body(text) == [[r"Sex \& gender", r"50\% F $-$ M\_1", r"$-$.100 [$-$.200, .000]", ".030", ".012", "--", "--", "90"]]
    assert r"Baseline: item\_mode" in text
    assert "{llrrrrrr}" in text


def test_files_are_named_by_what_they_hold():
    gaps = GAPS.frame([{"run": "org/m", "attribute": "sex", "metric": "accuracy", "level": "a", "against_level": "b"}])
    found = tables()
    names = audit_latex(DATASET, Audit(**(found.tables() | {"gaps": gaps})), ["org/m"])
    assert set(names) == {"disparity", "gaps-org-m-accuracy"}


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_character_is_left_a_command(text):
    made = escaped(text)
    # What is left once the known ways of printing a special character are taken out holds no special character.
    known = r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\textless\{\}|\\textgreater\{\}|\\[{}$&#%_]"
    assert not re.search(r"[\\{}$&#%_~^<>]", re.sub(known, "", made))
    plain = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<", r"\textgreater{}": ">"}
    back = re.sub(known, lambda match: plain.get(match[0], match[0][1:]), made)
    assert back == " ".join(text.split())


@given(st.integers(1, 6), st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_every_row_has_as_many_cells_as_there_are_columns(columns, rows):
    text = latex_table(["h"] * columns, [["c&c"] * columns] * rows, caption="c", label="l")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    inner = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in inner] == [columns - 1] * rows


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: the tables are not typeset here")
def test_the_tables_can_be_typeset(tmp_path):
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", disparity_latex(tables(), ["tuned"]), r"\end{document}"]
    )
    (tmp_path / "t.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-800:]


def test_a_missing_value_is_a_dash():
    found = tables()
    empty = found.disparity.with_columns(value=pl.lit(None, pl.Float64))
    assert body(disparity_latex(Audit(**(found.tables() | {"disparity": empty})), []))[0] == [r"base\_1", *["--"] * 4]
