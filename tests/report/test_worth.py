"""What a reader is told a score is worth: on which pairs, of which fold, beside which baselines, and in which order."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from tests.report.test_page import Page
from valuestrata.assessment import Assessment
from valuestrata.dataset.tables import SPLITS
from valuestrata.report import headline_table, print_headline, print_verdicts, write_report
from valuestrata.report.closed.figures import BASELINE_ORDER, shown_models
from valuestrata.report.closed.interpretation import relative_grid, worth_section
from valuestrata.report.closed.narrative import facts, verdict
from valuestrata.report.core.view import views_of
from valuestrata.report.export.terminal import print_frame
from valuestrata.respondents.baselines import LADDER
from valuestrata.scores.schema import COMPARISONS, RELATIVE, STRUCTURE, VERDICTS
from valuestrata.splits.leakage import LEAKAGE_REPORT

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def difference(run: str, against: str, value: float, low: float | None, high: float | None, **other: Any) -> dict[str, Any]:
    """One row of COMPARISONS over all pairs of the paper's test part, unless `other` says otherwise."""
    where = {"scheme": "paper", "part": "test", "by": "all", "key": "all", "metric": "accuracy", "status": "exploratory", "pairs": 152}
    return {"run": run, "against": against, "difference": value, "ci_low": low, "ci_high": high, "coverage": 0.5} | where | other


def assessed(scores: pl.DataFrame, **frames: pl.DataFrame) -> Assessment:
    """An assessment that holds the frames given and else nothing."""
    empty = {"comparisons": COMPARISONS, "relative": RELATIVE, "structure": STRUCTURE, "verdicts": VERDICTS, "leakage": LEAKAGE_REPORT}
    return Assessment(scores, **{name: schema.empty() for name, schema in empty.items()} | frames)


@pytest.fixture
def in_folds(world):
    """The everyday data set with two folds of another split: every third test pair is in fold 1, the others in fold 0."""
    pairs = world.dataset.part("paper", "test").select("pair_id", "item", "subgroup").rows()
    rows = [
        {"pair_id": p, "item": i, "subgroup": s, "scheme": "unseen-level", "fold": int(at % 3 == 0), "seed": 7, "part": "test"}
        for at, (p, i, s) in enumerate(pairs)
    ]
    data = replace(world.dataset, splits=pl.concat([world.dataset.splits, SPLITS.frame(rows)]))
    return data, {row["pair_id"] for row in rows if row["fold"] == 1}


def test_ceilings_and_floors_of_one_fold_are_those_of_its_pairs(world, in_folds):
    data, pairs = in_folds
    # Without ceilings in the scores they come from the gold.
    plain = world.scores.filter(~pl.col("metric").str.starts_with("ceiling")).with_columns(scheme=pl.lit("unseen-level"))
    scores = plain.with_columns(fold=pl.lit(1, pl.Int32))
    frame = headline_table(data, world.runs, scores)
    gold = [row for row in data.gold.iter_rows(named=True) if row["pair_id"] in pairs]
    assert 0 < len(gold) < len(data.part("unseen-level", "test"))
    bounds = frame.filter(pl.col("kind").is_in(["ceiling", "floor"]))
    assert bounds["pairs"].to_list() == [len(gold)] * 3
    assert frame["fold"].to_list() == [1] * len(frame)
    values = dict(frame.select("row", "accuracy_expected").iter_rows())
    for name in ("ceiling_oracle", "ceiling_human"):
        assert values[name] == pytest.approx(sum(row[name] for row in gold) / len(gold))
    steps = [row["floor_nmae"] for row in gold if row["floor_nmae"] is not None]
    assert frame.filter(pl.col("row") == "floor")["nmae"][0] == pytest.approx(sum(steps) / len(steps))
    views = views_of(data, world.runs, scores)
    assert views[0].title == "split unseen-level, part test, fold 1"
    said = dict(facts(data, views, world.runs))["Split unseen-level"]
    assert f"{len(gold)} pairs of an item and a subgroup in the test part of fold 1." in said
    item = gold[0]["item"]
    of_item = [row["ceiling_oracle"] for row in gold if row["item"] == item]
    assert views[0].bound("item", item, "ceiling_oracle").value == pytest.approx(sum(of_item) / len(of_item))
    out = io.StringIO()
    print_headline(data, world.runs, scores, Console(file=out, width=200))
    assert out.getvalue().startswith("Split unseen-level, part test, fold 1;")


def test_scores_fold_by_fold_are_shown_of_the_first_and_pooled_ones_of_all(world, in_folds):
    data, pairs = in_folds
    plain = world.scores.with_columns(scheme=pl.lit("unseen-level"))
    folds = [plain.with_columns(fold=pl.lit(fold, pl.Int32)) for fold in (1, 0)]
    everything = len(data.part("unseen-level", "test"))
    apart = views_of(data, world.runs, pl.concat(folds))[0]
    assert (apart.fold, len(apart.gold)) == (0, everything - len(pairs))
    pooled = views_of(data, world.runs, pl.concat([*folds, plain]))[0]
    assert (pooled.fold, len(pooled.gold)) == (None, everything)
    assert headline_table(data, world.runs, plain)["fold"].null_count() == len(world.runs) + 3


def test_a_run_that_skipped_pairs_stands_beside_baselines_on_common_pairs_only(world):
    half = pl.when(pl.col("run") == MODEL).then(0.5).otherwise("coverage").alias("coverage")
    own = pl.when((pl.col("run") == MODEL) & (pl.col("metric") == "ceiling_oracle")).then(0.61).otherwise("value").alias("value")
    view = views_of(world.dataset, world.runs, world.scores.with_columns(half, own))[0]
    alone = verdict(view, view.entries[0]).replace("\u00a0", " ")
    assert "so it is not compared with them here" in alone
    assert "scores" not in alone.replace("is not scored", "")
    assert "point" not in alone
    assert "It was asked 50 % of the pairs; the rest is not scored." in alone
    # Bounded by the ceiling of what it answered.
    assert "exceed 61 % here" in alone
    rows = [
        difference(MODEL, "baseline-item-mode", -0.3, -0.42, -0.18),
        difference(MODEL, "baseline-nearest-parent", 0.02, -0.031, 0.07),
        # None of these is about all pairs of this part by accuracy.
        difference(MODEL, "baseline-nearest-parent", 0.9, 0.8, 1.0, metric="nmae"),
        difference(MODEL, "baseline-nearest-parent", 0.9, 0.8, 1.0, by="topic", key="Security"),
        difference(MODEL, "baseline-nearest-parent", 0.9, 0.8, 1.0, fold=1),
        difference(MODEL, "baseline-nearest-parent", 0.9, 0.8, 1.0, part="validation"),
    ]
    for made in (rows, [difference(r["against"], r["run"], -r["difference"], -r["ci_high"], -r["ci_low"]) for r in rows[:2]]):
        said = verdict(view, view.entries[0], COMPARISONS.frame(made)).replace("\u00a0", " ")
        assert (
            "On the 152 pairs that both answered, the model is 30 points below always giving the whole population's commonest answer "
            "(95 % interval 18 to 42) and 2 points above the best cheap baseline of the part, giving the answer of the smallest larger "
            "group that contains the subgroup (95 % interval −3 to 7)."
        ) in said
        assert "It was asked 50 % of the pairs" in said


def test_on_the_same_pairs_the_distance_has_the_interval_of_the_comparison(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    frame = COMPARISONS.frame([difference(MODEL, "baseline-nearest-parent", -0.54, -0.6, -0.48, pairs=324)])
    said = verdict(view, view.entries[0], frame)
    assert "the model is 54 points below it (95 % interval 48 to 60)." in said
    assert "that both answered" not in said
    without = verdict(view, view.entries[0], COMPARISONS.frame([difference(MODEL, "baseline-nearest-parent", 0.001, None, None)]))
    assert "the model is level with it." in without


def relative_row(run: str, metric: str, value: float | None, baseline_value: float | None, pairs: int) -> dict[str, Any]:
    """One row of RELATIVE over all pairs of the paper's test part."""
    where = {"scheme": "paper", "part": "test", "by": "all", "key": "all", "metric": metric, "pairs": pairs}
    bound = {"bound": f"floor_{metric}", "bound_value": None if value is None else 0.05}
    baseline = {"baseline": "baseline-nearest-parent", "baseline_value": baseline_value}
    return {"run": run, "value": value, "state": "no common pairs" if value is None else "ok"} | where | bound | baseline


def test_the_note_on_the_baseline_is_taken_from_a_run_that_has_the_metric(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    frame = RELATIVE.frame(
        [
            relative_row(MODEL, "w1", None, None, 0),
            relative_row("baseline-uniform", "w1", 0.3, 0.111, 20),
            relative_row("baseline-item-mode", "w1", 0.2, 0.123, 324),
        ]
    )
    notes = relative_grid(view, frame).notes
    assert notes[0] == "W1: best cheap baseline baseline-nearest-parent .123, floor_w1 .050."


def test_thousands_of_differences_are_written_with_a_comma(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    rows = [difference(MODEL, "baseline-uniform", 0.1, 0.05, 0.2, by="item", key=f"Q{i}", p=0.001, p_adjusted=0.01) for i in range(1085)]
    lines = VERDICTS.frame([{"run": MODEL, "scheme": "paper", "part": "test", "rule": "r", "verdict": "a verdict"}])
    section = worth_section(view, assessed(world.scores, comparisons=COMPARISONS.frame(rows), verdicts=lines))
    heads = [name for name, _ in section.folded]
    assert heads == ["Where runs differ, screened at a false discovery rate of 5 %: 1,085 differences, the 40 largest"]


def test_what_scores_are_worth_stands_before_the_scores(world, tmp_path):
    lines = VERDICTS.frame([{"run": MODEL, "scheme": "paper", "part": "test", "rule": "r", "verdict": "a verdict of note"}])
    compared = COMPARISONS.frame([difference(MODEL, "baseline-nearest-parent", -0.5, -0.6, -0.4, pairs=324)])
    found = assessed(world.scores, verdicts=lines, comparisons=compared)
    text = write_report(world.dataset, world.runs, world.scores, tmp_path / "r.html", assessment=found).read_text(encoding="utf-8")
    page = Page(text)
    assert list(page.sections)[:3] == ["what", "worth", "headline"]
    assert [cell for row in page.sections["worth"] for cell in row if "of note" in cell] == ["a verdict of note"]
    assert "50 points below it (95 % interval 40 to 60)" in text


def test_a_run_without_verdicts_says_why(world):
    none, out = VERDICTS.empty(), io.StringIO()
    baselines = [run for run in world.runs if run.name.startswith("baseline")]
    print_verdicts(baselines, none, Console(file=out))
    assert out.getvalue().splitlines() == [f"{run.name}: a baseline: nothing is claimed of it." for run in baselines]
    out = io.StringIO()
    print_verdicts(world.runs, none, Console(file=out))
    assert out.getvalue() == f"{MODEL}: no rule applies.\n"


def drawn(frame: pl.DataFrame, width: int) -> list[str]:
    out = io.StringIO()
    print_frame(frame, Console(file=out, force_terminal=True, width=width, color_system=None))
    return out.getvalue().splitlines()


def test_names_and_numbers_stay_whole_in_a_terminal_of_80_columns(world):
    long = "baseline-additive-multinomial"
    runs = [replace(run, name=long) if run.name == "baseline-midpoint" else run for run in world.runs if run.name != MODEL]
    scores = world.scores.filter(pl.col("run") != MODEL).with_columns(pl.col("run").replace("baseline-midpoint", long))
    # With a column of coverage there is little room.
    scores = scores.with_columns(coverage=pl.when(pl.col("run") == long).then(0.97).otherwise("coverage"))
    out = io.StringIO()
    print_headline(world.dataset, runs, scores, Console(file=out, force_terminal=True, width=80, color_system=None))
    lines = out.getvalue().splitlines()
    table = [line for line in lines if not line.startswith(("Split", "Refused", "Minimum"))]
    assert max(map(len, table)) <= 80
    row = next(line for line in table if line.strip().startswith(long)).split()
    accuracy = scores.filter(pl.col("run") == long, pl.col("by") == "all", pl.col("metric") == "accuracy")["value"][0]
    assert row[0] == long
    assert float(row[1]) == pytest.approx(accuracy, abs=5e-4)
    assert row[-2:] == ["324", ".970"]


def test_a_name_without_room_is_broken_where_its_parts_meet():
    lines = drawn(pl.DataFrame({"name": ["an-organization/with-a-long-name+adapter"], "share": [0.25], "n": [1234567]}), 40)
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines[3:5]] == ["an-organization/with-", "a-long-name+adapter"]
    assert lines[3].split()[1:] == [".250", "1,234,567"]


def test_charts_of_baselines_alone_show_those_that_matter(world, fake_run, scored):
    assert sorted(BASELINE_ORDER) == sorted(LADDER)
    rules = ["uniform", "midpoint", "item-average", "item-mode", "nearest-parent", "additive", "ensemble"]
    runs = [fake_run(world.dataset, f"baseline:{rule}", 0.5, "stated-distribution", at) for at, rule in enumerate(rules)]
    scores = scored(world.dataset, runs, intervals=False)
    view = views_of(world.dataset, runs, scores)[0]
    assert [entry.rule for entry in shown_models(view)] == ["nearest-parent", "item-mode", "ensemble", "additive"]
    few = views_of(world.dataset, world.runs, world.scores.filter(pl.col("run") != MODEL))[0]
    assert [entry.rule for entry in shown_models(few)] == ["nearest-parent", "item-mode", "midpoint", "uniform"]
    everyone = views_of(world.dataset, world.runs, world.scores)[0]
    assert [entry.run for entry in shown_models(everyone)] == [MODEL]
