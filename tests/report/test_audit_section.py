"""The audit page, files and terminal output: findings first, figures of the tables, everything escaped, charts."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.report.test_page import ATTACK, Page
from valuestrata.claims.select import select
from valuestrata.claims.table import from_frame
from valuestrata.claims.templates import word
from valuestrata.claims.wording import Names
from valuestrata.fairness import Audit, audit
from valuestrata.fairness.tables.schema import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS
from valuestrata.formatting import number
from valuestrata.reports import audit_frames, print_audit, write_audit, write_report, write_tables
from valuestrata.reports.core.names import subgroup_titles
from valuestrata.reports.export.latex_text import escaped
from valuestrata.reports.export.printer import Printer
from valuestrata.reports.fairness.figures import apart, gap_chart, intersection_chart, slope_chart
from valuestrata.reports.fairness.section import audit_sections, disparity_grid, gap_grid
from valuestrata.reports.fairness.subgroup_figure import subgroup_chart


def first_screen(verdicts, dataset):
    """Return the sentences that are shown first, and the others."""
    (found,) = select(from_frame(verdicts))
    names = Names(keys=subgroup_titles(dataset))
    return [[word(claim, names).sentence for claim in claims] for claims in (found.shown, found.rest)]


@pytest.fixture(scope="module")
def audited(world, fake_run):
    """The everyday world with a second model, audited against the first."""
    runs = [fake_run(world.dataset, "org/tuned", 0.6, "text", 8), *world.runs]
    base = next(run.name for run in runs if "SmolLM2" in run.name)
    found = audit(world.dataset, runs, against=base, permutations=60, bootstrap=60)
    return SimpleNamespace(dataset=world.dataset, runs=runs, audit=found, base=base)


@pytest.fixture(scope="module")
def page(audited, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    return write_audit(audited.dataset, audited.runs, audited.audit, folder, explore=False)


@pytest.fixture
def no_charts(monkeypatch):
    """Leave out the charts of the audit, which take most of the time of a page."""
    monkeypatch.setattr("valuestrata.reports.fairness.section.subgroup_chart", lambda *_: None)
    for name in ("gap_chart", "slope_chart", "intersection_chart"):
        monkeypatch.setattr(f"valuestrata.reports.fairness.figures.{name}", lambda *_: None)


def test_every_table_lies_on_disk_twice_and_is_the_same(audited, page):
    frames = audit_frames(audited.dataset, audited.runs, audited.audit)
    assert frames.keys() == {"verdicts", *audited.audit.tables()}
    for name, frame in frames.items():
        assert pl.read_parquet(page.parent / f"{name}.parquet").equals(frame)
        assert len(pl.read_csv(page.parent / f"{name}.csv", infer_schema=False)) == len(frame)
    assert (page.parent / "tex" / "disparity.tex").is_file()


def test_the_page_opens_without_a_network_and_begins_with_the_verdicts(audited, page):
    text = page.read_text()
    found = Page(text)
    assert "script" not in found.tags
    assert not re.findall(r"https?://", text)
    # One figure, then the claims; every table is folded.
    assert text.index("<figure>") < text.index("Claims about") < text.index("<table>")
    folded = re.findall(r'<details><summary>[^<]*</summary>\s*<div class="scroll"[^>]*><table>', text)
    assert len(folded) == text.count("<table>") > 0
    assert list(found.sections) == ["audit", "audit-gaps"]
    verdicts = audit_frames(audited.dataset, audited.runs, audited.audit)["verdicts"].filter(pl.col("run") == "org/tuned")
    # All claims of the model are on the page, those of the first screen before the fold.
    own = text[text.index("Claims about org/tuned") :]
    shown, rest = first_screen(verdicts, audited.dataset)
    fold = own.index(f"<summary>{len(rest)} more</summary>")
    assert max(own.index(escape(one)) for one in shown) < fold < min(own.index(escape(one)) for one in rest)
    ids = re.findall(r'id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_every_disparity_stands_beside_what_noise_alone_gives(audited):
    grid = disparity_grid(audited.dataset, audited.audit, [run.name for run in audited.runs], "accuracy")
    rows = audited.audit.disparity.filter((pl.col("metric") == "accuracy") & (pl.col("run") == "org/tuned"))
    first = {row["measure"]: row for row in rows.filter(pl.col("by") == "all").to_dicts()}
    cells = grid.rows[0].cells
    assert cells[1].text == "org/tuned"
    for place, measure in enumerate(("norm_range", "cv", "max_min", "spread_corrected")):
        value, noise = cells[2 + 2 * place], cells[3 + 2 * place]
        assert value.text == number(first[measure]["value"])
        assert noise.text == number(first[measure]["alike"])
        assert noise.small.removesuffix(" *") == f"to {number(first[measure]['alike_high'])}"
        assert noise.small.endswith("*") == (first[measure]["p"] <= 0.05)
    assert sum(span for _, span in grid.groups) == len(grid.headers)
    assert any(first["cv"]["population"] in note for note in grid.notes)


def test_published_figures_stand_beside_and_a_warning_says_where_they_do_not_belong(audited, no_charts):
    found = audit(audited.dataset, audited.runs, permutations=0, bootstrap=0, published={"org/tuned": "Qwen2.5-7B tuned"})
    grid = disparity_grid(audited.dataset, found, [run.name for run in audited.runs], "accuracy")
    assert grid.groups[-1] == ("Published", 2)
    assert [cell.text for cell in grid.rows[0].cells[-2:]] == [".169", ".055"]
    sections = audit_sections(audited.dataset, audited.runs, found)
    assert "another data set" in sections[0].warning


@pytest.mark.slow
def test_the_report_holds_the_audit_only_where_it_is_given(world, audited, tmp_path, no_charts):
    runs = world.runs
    found = audit(world.dataset, runs, permutations=20, bootstrap=20)
    text = write_report(world.dataset, runs, world.scores, tmp_path / "with.html", audit=found, explore=False).read_text()
    assert '<section id="audit"' in text
    assert (tmp_path / "tables" / "audit_verdicts.csv").is_file()
    assert (
        '<section id="audit"' not in write_report(world.dataset, runs, world.scores, tmp_path / "without.html", explore=False).read_text()
    )
    names = write_tables(world.dataset, runs, world.scores, tmp_path / "t").keys()
    assert not [name for name in names if name.startswith("audit")]


def test_hostile_names_are_escaped_everywhere(audited, tmp_path):
    def hostile(frame):
        return frame.with_columns(pl.col("run").replace({"org/tuned": ATTACK}))

    levels = {level: ATTACK + level for level in audited.audit.gaps["level"].unique()}
    tables = {name: hostile(frame) for name, frame in audited.audit.tables().items()}
    tables["gaps"] = tables["gaps"].with_columns(pl.col("level", "against_level").replace(levels), pl.lit(ATTACK).alias("baseline"))
    tables["disparity"] = tables["disparity"].with_columns(note=pl.lit(ATTACK), population=pl.lit(ATTACK))
    tables["gaps"] = tables["gaps"].with_columns(note=pl.lit(ATTACK), remains=pl.lit(ATTACK))
    runs = [replace(run, name=ATTACK) if run.name == "org/tuned" else run for run in audited.runs]
    text = write_audit(audited.dataset, runs, Audit(**tables), tmp_path, explore=False).read_text()
    assert "script" not in Page(text).tags
    assert "<img" not in text
    assert not [name for _, name, _ in Page(text).attributes if name.startswith("on")]


def test_a_note_of_many_figures_is_written_once(audited):
    runs = [run.name for run in audited.runs]
    uneven, lone = "some cells are missing", "only half was asked"
    rows = audited.audit.disparity.with_columns(
        note=pl.when(pl.col("by") == "attribute")
        .then(pl.lit(uneven))
        .when(pl.col("run") == runs[0])
        .then(pl.lit(lone))
        .otherwise(pl.lit(None))
    )
    notes = disparity_grid(audited.dataset, replace(audited.audit, disparity=rows), runs, "accuracy").notes
    attributes = rows.filter(by="attribute")["key"].n_unique()
    (said,) = [note for note in notes if uneven in note]
    assert said.endswith(f": {uneven}.")
    assert said.count("(") + said.count(",") >= attributes - 1
    assert [note for note in notes if lone in note] == [f"{runs[0]}, All subgroups: {lone}."]


def test_what_was_not_adjusted_for_stands_under_the_gaps(audited, tmp_path, no_charts):
    note = "log_n_eff is not adjusted for: 99% of its variance goes with the levels."
    gaps = audited.audit.gaps.with_columns(note=pl.when(pl.col("run") == "org/tuned").then(pl.lit(note)))
    grid = gap_grid(audited.dataset, gaps, ["org/tuned"])
    assert [line for line in grid.notes if line.endswith(note)] == [f"org/tuned, {metric}: {note}" for metric in ("Accuracy", "NMAE")]
    column = list(grid.headers).index("What remains")
    said = [row.cells[column].text for row in grid.rows]
    assert sorted(said) == sorted(gaps.filter(run="org/tuned")["remains"])
    text = write_audit(audited.dataset, audited.runs, replace(audited.audit, gaps=gaps), tmp_path, explore=False).read_text()
    assert "remains: significant relative to the baseline" in text
    assert note in text
    assert escaped(note) in (tmp_path / "tex" / "gaps-org-tuned-accuracy.tex").read_text()


def test_the_page_speaks_at_the_confidence_of_the_audit(audited, tmp_path):
    found = audit(audited.dataset, audited.runs, permutations=40, bootstrap=40, confidence=0.8, metrics=("accuracy",), against=audited.base)
    page = write_audit(audited.dataset, audited.runs, found, tmp_path, explore=False)
    text = page.read_text()
    assert "80\u00a0% CI" in text
    assert "at most .200" in text
    # The threshold of coverage in the banner is no level of confidence.
    assert "95\u00a0%" not in text.replace("at least 95\u00a0% of the pairs", "")
    lines = pl.read_parquet(tmp_path / "verdicts.parquet")
    assert (lines["confidence"] == 0.8).all()
    assert "80~\\% intervals" in (tmp_path / "tex" / "gaps-org-tuned-accuracy.tex").read_text()


def said_in(svg):
    return re.findall(r"<title>([^<]+)</title>", svg)


def test_the_plot_of_gaps_draws_each_level_raw_less_the_baseline_and_adjusted(audited):
    rows = audited.audit.gaps.filter((pl.col("run") == "org/tuned") & (pl.col("metric") == "nmae"))
    chart = gap_chart(audited.dataset, audited.audit, "org/tuned", "nmae", "x")
    assert chart is not None
    lines = said_in(chart.svg)
    levels = rows.group_by("attribute").agg(pl.concat_list("level", "against_level").list.explode().n_unique().alias("n"))
    drawn = sum(n - 1 for n in levels["n"])
    assert sum(", raw: " in line for line in lines) == drawn
    assert chart.legend[0].name == "raw"
    # A distance is turned: right of the line is better.
    line = next(line for line in lines if ", raw: " in line)
    level, reference, value = re.match(r"(.+) against (.+), raw: (\S+)", line).groups()
    one = rows.filter((pl.col("level") == level) & (pl.col("against_level") == reference))
    other = rows.filter((pl.col("level") == reference) & (pl.col("against_level") == level))
    assert value == (number(-one["gap"][0]) if len(one) else number(other["gap"][0]))


def test_slopes_have_every_level_and_their_outcome(audited):
    chart = slope_chart(audited.dataset, audited.audit, "org/tuned", "accuracy", "x")
    assert chart is not None
    rows = audited.audit.changes.filter((pl.col("by") == "level") & (pl.col("metric") == "accuracy") & (pl.col("run") == "org/tuned"))
    assert len(set(said_in(chart.svg))) == len(rows)
    assert audited.base in chart.caption
    assert slope_chart(audited.dataset, audited.audit, audited.base, "accuracy", "x") is None


def test_cells_within_noise_are_muted(audited):
    cells = audited.audit.excess.filter((pl.col("run") == "org/tuned") & (pl.col("metric") == "accuracy"))
    shown = cells.filter(pl.col("excess").is_not_null())["subgroup"][0]
    touched = cells.with_columns(
        p_holm=pl.when(pl.col("subgroup") == shown).then(0.01).otherwise(0.9),
        p_bh=pl.when(pl.col("subgroup") == shown).then(0.01).otherwise(0.9),
    )
    chart = intersection_chart(audited.dataset, replace(audited.audit, excess=touched), "org/tuned", "accuracy", "x")
    assert chart is not None
    value = touched.filter(pl.col("subgroup") == shown)["excess"][0]
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", chart.svg)
    assert texts.count(f"{number(value, 2)}*") == 1
    muted = [text for text in texts if re.fullmatch(r"\(.*\d\)", text)]
    assert len(muted) == touched["excess"].is_not_null().sum() - 1
    quiet = touched.with_columns(excess=pl.lit(None, pl.Float64))
    assert intersection_chart(audited.dataset, replace(audited.audit, excess=quiet), "org/tuned", "accuracy", "x") is None
    # Claims are drawn at the level of the audit: at 99.9 % the cell is within noise.
    strict = intersection_chart(audited.dataset, replace(audited.audit, excess=touched, confidence=0.999), "org/tuned", "accuracy", "x")
    assert strict is not None
    assert "*" not in "".join(re.findall(r"<text[^>]*>([^<]+)</text>", strict.svg))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_labels_do_not_lie_on_each_other(values):
    placed = apart(values, (0.0, 1.0), 0.1)
    assert np.all(np.diff(np.sort(placed)) >= 0.1 - 1e-9)
    order = np.argsort(values, kind="stable")
    assert list(np.argsort(placed, kind="stable")) == list(order)
    assert max(placed) <= 1.0 + 1e-9


def test_without_anything_audited_the_page_says_so(audited, tmp_path):
    empty = Audit(DISPARITY.empty(), GROUPS.empty(), GAPS.empty(), CHANGES.empty(), EXCESS.empty(), ERRS.empty())
    text = write_audit(audited.dataset, audited.runs, empty, tmp_path, explore=False).read_text()
    assert "no run was audited" in text


def test_the_terminal_prints_main_findings_then_measures(audited, capsys):
    verdicts = audit_frames(audited.dataset, audited.runs, audited.audit)["verdicts"]
    print_audit(audited.dataset, audited.runs, audited.audit, verdicts)
    narrow = capsys.readouterr().out
    print_audit(audited.dataset, audited.runs, audited.audit, verdicts, Printer(Console(), wide=True))
    out = capsys.readouterr().out
    table = narrow.split("Split paper", 1)[1].split("\n\n")[0].splitlines()[1:]
    assert max(map(len, table)) <= 100
    where = (pl.col("run") == "org/tuned") & (pl.col("measure") == "cv") & (pl.col("by") == "all")
    row = audited.audit.disparity.filter(where).row(0, named=True)
    line = next(line for line in out.splitlines() if line.startswith("org/tuned "))
    assert f"{number(row['value'])} [" in line
    assert f"{number(row['alike'])} [{number(row['alike_high'])}]" in line
    assert out.startswith("org/tuned:\n")
    assert "baseline-uniform:" not in out
    mine = verdicts.filter(pl.col("run") == "org/tuned")
    sentences, (shown, rest) = mine["verdict"], first_screen(mine, audited.dataset)
    assert len(shown) == 5
    assert all(f". {one}\n" in out for one in shown)
    assert not any(f". {one}\n" in out for one in rest)
    assert f"{len(rest)} more with --all-claims" in out
    print_audit(audited.dataset, audited.runs, audited.audit, verdicts, all_claims=True, baseline_claims=True)
    out = capsys.readouterr().out
    assert all(f". {one}\n" in out for one in sentences)
    assert "baseline-uniform:" in out


def test_the_first_figure_draws_every_subgroup_against_equal_service(audited):
    where = (pl.col("run") == "org/tuned") & (pl.col("metric") == "nmae")
    rows = audited.audit.groups.filter(where & pl.col("value").is_not_null() & pl.col("alike_low").is_not_null())
    chosen = rows["subgroup"][0]
    groups = audited.audit.groups.with_columns(worst=pl.col("subgroup") == chosen)
    chart = subgroup_chart(audited.dataset, replace(audited.audit, groups=groups), "org/tuned", "nmae", "x")
    assert chart is not None
    lines = said_in(chart.svg)
    assert len(lines) == len(rows) > 10
    titles = subgroup_titles(audited.dataset)
    row = rows.row(0, named=True)
    # A distance is turned: right of the line, which is the middle of equal service, is better.
    above = (row["alike_low"] + row["alike_high"]) / 2 - row["value"]
    half = (row["alike_high"] - row["alike_low"]) / 2
    (worse,) = [line for line in lines if line.endswith("served worse")]
    assert worse.startswith(
        f"{titles[chosen]}: {number(row['value'])}, {number(above)} from equal service; noise alone up to {number(half)}"
    )
    baseline = audited.audit.gaps.filter(where)["baseline"].drop_nulls()[0]
    assert f"best cheap baseline: {baseline.removeprefix('baseline-')}" in [one.name for one in chart.legend]
    empty = replace(audited.audit, groups=groups.with_columns(alike_low=pl.lit(None, pl.Float64)))
    assert subgroup_chart(audited.dataset, empty, "org/tuned", "nmae", "x") is None
