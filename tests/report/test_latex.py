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

from valuestrata.fairness import Audit
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES
from valuestrata.reports.export.latex import audit_latex, disparity_latex, gaps_latex, latex_table
from valuestrata.reports.export.latex_text import escaped

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
    assert rows[0] == [r"\raggedright base\_1", *[".250 (.111)"] * 4]
    assert r"\end{tabular} \\[2pt]" in text
    rows[1][-1] = rows[1][-1].removesuffix(r" \\[2pt]")
    both = r"\begin{tabular}[t]{@{}r@{}}.250 (.111)\\$\rightarrow$ .350 (.111)\end{tabular}"
    assert rows[1] == [r"\raggedright tuned", *[both] * 4]
    # A baseline was compared as well, but it is nobody's after.
    assert rows[2] == [r"\raggedright baseline-item-mode", *[".450 (.111)"] * 4]
    assert r"8 test subgroups of a\_x\_b" in text
    assert r" & \multicolumn{2}{c}{Accuracy} & \multicolumn{2}{c}{NMAE} \\" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}" in text
    assert r"against base\_1" in text


def test_published_figures_stand_under_those_they_are_of():
    rows = body(disparity_latex(tables(published=0.055), ["base_1"]))
    cv = r"\begin{tabular}[t]{@{}r@{}}.250 (.111)\\publ. .055\end{tabular}"
    assert rows[0] == [r"\raggedright base\_1", ".250 (.111)", cv, ".250 (.111)", cv + r" \\[2pt]"]


def gap_row(level="50% F", against="M_1", **more):
    row = {"run": "m", "scheme": "paper", "part": "test", "attribute": "sex", "level": level, "against_level": against, "metric": "nmae"}
    figures = {"gap": -0.1, "ci_low": -0.2, "ci_high": 0.0, "expected_alike": 0.03, "p_holm": 0.012, "baseline": "item_mode", "items": 90}
    return row | figures | {"remains": "unclear"} | more


def gap_tables(rows):
    return Audit(**(tables().tables() | {"gaps": GAPS.frame(rows)}))


def test_gaps_have_intervals_and_name_the_baseline():
    text = gaps_latex(DATASET, gap_tables([gap_row()]), "m", "nmae")
    heading, row = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert heading == r"\addlinespace\multicolumn{7}{l}{\emph{Sex \& gender}} \\"
    raw = r"\begin{tabular}[t]{@{}r@{}}$-$.100 (.030)\\\scriptsize {}[$-$.200, .000]\end{tabular}"
    assert row.removesuffix(r" \\[2pt]").split(" & ") == [r"\raggedright 50\% F $-$ M\_1", raw, ".012", "--", "--", "unclear", "90"]
    assert r"Baseline: item\_mode" in text
    assert r"95~\% intervals" in text


def test_more_gaps_than_a_page_holds_stand_in_several_tables():
    # Two lines each, 46 a page.
    rows = [gap_row(f"level {k}", note="entropy is not adjusted for.") for k in range(26)]
    text = gaps_latex(DATASET, gap_tables(rows), "m", "nmae")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert "Part 2 of 2." in text
    assert r"\label{tab:gaps-m-nmae}" in text
    assert r"\label{tab:gaps-m-nmae-2}" in text
    first, second = text.split(r"\end{table}")[:2]
    assert first.count("level ") == 23
    assert second.count("level ") == 3
    # What was not adjusted for stands under the last one.
    assert "not adjusted" in second
    assert "not adjusted" not in first


def test_files_are_named_by_what_they_hold():
    gaps = GAPS.frame([{"run": "org/m", "attribute": "sex", "metric": "accuracy", "level": "a", "against_level": "b"}])
    found = tables()
    names = audit_latex(DATASET, Audit(**(found.tables() | {"gaps": gaps})), ["org/m"])
    assert set(names) == {"disparity", "gaps-org-m-accuracy"}


# The known ways of printing what LaTeX takes for a command.
KNOWN = (
    r"\\text(?:backslash|asciitilde|asciicircum|asciigrave|less|greater|bar)\{\}"
    r"|\\[{}$&#%_]|^\{\}(?=[\[*])"
)
PLAIN = {"backslash": "\\", "asciitilde": "~", "asciicircum": "^", "asciigrave": "`", "less": "<", "greater": ">", "bar": "|"}


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_character_is_left_a_command(text):
    # A double quote has none of its own: it is two single ones.
    text = text.replace('"', "")
    made = escaped(text)
    assert not re.search(r"[\\{}$&#%_~^<>|`]", re.sub(KNOWN, "", made))

    def plain(match):
        name = re.fullmatch(r"\\text(\w+)\{\}", match[0])
        return PLAIN[name[1]] if name else "" if match[0] == "{}" else match[0][1:]

    assert re.sub(KNOWN, plain, made) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Año", r"A\~{n}o"),
        ("naïve", r"na\"{\i}ve"),
        ("Łódź", r"\L{}\'{o}d\'{z}"),
        ("Straße", r"Stra\ss{}e"),
        ("中", r"\anyletter{中}{[U+4E2D]}"),
        # A mark that the old fonts lack, or a second one, is lost under pdfLaTeX only.
        ("ą", r"\anyletter{ą}{a}"),
        ("ế", r"\anyletter{ế}{\^{e}}"),
        ("[x] *y", "{}[x] *y"),
        ("a\tb\n c", "a b c"),
        ("“q” ‘r’", "``{}q''{} `{}r'{}"),
    ],
)
def test_letters_of_every_language_are_printed(text, made):
    assert escaped(text) == made


@given(st.integers(1, 6), st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_every_row_has_as_many_cells_as_there_are_columns(columns, rows):
    text = latex_table(["h"] * columns, [["c&c"] * columns] * rows, caption="c", label="l", wrapped=0.2)
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    inner = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in inner] == [columns - 1] * rows


HARD = "100% A & B_1 #3 $x^2~ {y} <z> \\w | Año Łódź ą ế 中 “q” `r`"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed: the tables are not typeset here")
def test_every_table_is_typeset_and_none_is_wider_than_the_page(tmp_path):
    """Every kind of table, with the hardest names, in the narrow column of LaTeX's own article class."""
    rows = [
        gap_row(HARD, "[old] *", held=0.1, excess=-0.123, excess_low=-0.456, excess_high=-0.001, adjusted=-0.1, remains="composition"),
        *(gap_row(f"35-44 years of {k}", "Do not belong to a denomination", note=HARD) for k in range(24)),
    ]
    found = tables(published=0.055)
    disparity = found.disparity.with_columns(run=pl.col("run").replace("tuned", HARD), note=pl.lit(HARD))
    changes = CHANGES.frame([{"run": HARD, "against": "base_1", "measure": "sd"}])
    audit = Audit(**(found.tables() | {"disparity": disparity, "gaps": GAPS.frame(rows), "changes": changes}))
    made = audit_latex(DATASET, audit, ["m", HARD])
    assert len(made) == 2
    inside = "\n\\clearpage\n".join(made.values())
    document = "\n".join([r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", inside, r"\end{document}"])
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-800:]
    log = (tmp_path / "t.log").read_text(errors="replace")
    assert "Missing character" not in log
    assert "Float too large" not in log
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(wide, default=0.0) < 3
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", "t.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for word in ("100%", "#3", "{y}", "[U+4E2D]", "[old]", "composition"):
            assert word in text


def test_a_missing_value_is_a_dash():
    found = tables()
    empty = found.disparity.with_columns(value=pl.lit(None, pl.Float64))
    assert body(disparity_latex(Audit(**(found.tables() | {"disparity": empty})), []))[0] == [r"\raggedright base\_1", *["--"] * 4]
