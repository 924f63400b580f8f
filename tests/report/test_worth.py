"""Claims, comparisons and folds on the page and on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from tests.report.test_page import Page
from valuestrata.assessment import Assessment
from valuestrata.claims.claim import Claim, Figure
from valuestrata.dataset.tables import SPLITS
from valuestrata.reports import headline_table, print_claims, print_headline, write_report
from valuestrata.reports.closed.calibration import calibration_section
from valuestrata.reports.closed.figures import BASELINE_ORDER, shown_models
from valuestrata.reports.closed.interpretation import comparison_section, relative_grid
from valuestrata.reports.closed.narrative import facts, trained_elsewhere
from valuestrata.reports.core.view import views_of
from valuestrata.reports.export.terminal import print_frame
from valuestrata.respondents.baselines import LADDER
from valuestrata.scores.calibration.error import CALIBRATION
from valuestrata.scores.schema import COMPARISONS, RELATIVE, STRUCTURE
from valuestrata.splits.leakage import LEAKAGE_REPORT

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def difference(run: str, against: str, value: float, low: float | None, high: float | None, **other: Any) -> dict[str, Any]:
    """One row of COMPARISONS over all pairs of the paper's test part, unless `other` says otherwise."""
    where = {"scheme": "paper", "part": "test", "by": "all", "key": "all", "metric": "accuracy", "status": "exploratory", "pairs": 152}
    return {"run": run, "against": against, "difference": value, "ci_low": low, "ci_high": high, "coverage": 0.5} | where | other


def assessed(scores: pl.DataFrame, claims: tuple[Claim, ...] = (), **frames: pl.DataFrame) -> Assessment:
    """An assessment of the frames given; the others are empty."""
    empty = {"comparisons": COMPARISONS, "relative": RELATIVE, "structure": STRUCTURE, "leakage": LEAKAGE_REPORT}
    return Assessment(scores, claims=claims, **{name: schema.empty() for name, schema in empty.items()} | frames)


def claims(run: str, number_of: int, run_kind: str = "model") -> tuple[Claim, ...]:
    """Claims of decreasing importance: less accurate than b0, b1, ..."""
    return tuple(
        Claim(
            family="closed",
            kind="below",
            run=run,
            run_kind=run_kind,
            scheme="paper",
            part="test",
            against=f"b{place}",
            estimate=Figure(metric="accuracy", value=-0.1, low=-0.2, high=-0.05, pairs=152),
            importance=90 - place,
        )
        for place in range(number_of)
    )


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
    assert out.getvalue().startswith("Split unseen-level, part test, fold 1.")


def test_models_trained_on_another_survey_name_it(world):
    one = world.runs[0]
    taught = {"respondent": {"name": "embedded+a", "adapter_hash": "a", "taught_on": {"dataset": "f" * 64}}}
    known = replace(one, name="known", meta={**one.meta, **taught, "training_data": {"fingerprint": "f" * 64, "survey": "WVS 7, Japan"}})
    old = replace(one, name="old", meta={**one.meta, **taught})
    here = replace(one, name="here", meta={**one.meta, "training_data": {"fingerprint": world.dataset.fingerprint, "survey": "this"}})
    rebuilt = replace(known, name="rebuilt", meta={**known.meta, "training_data": {"survey": world.dataset.survey_and_place}})
    imported = replace(one, name="imported", meta={**one.meta, "respondent": {"name": "x", "provider": "imported"}})
    assert trained_elsewhere(world.dataset, [one, known, old, here, rebuilt, imported], "paper", "test", None) == [
        "WVS 7, Japan (data set ffffffffffff): known.",
        "a survey that is not recorded (data set ffffffffffff): old.",
        "not recorded, so it cannot be compared with the test: imported.",
    ]


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
    assert notes[0] == "W1: 0 is baseline-nearest-parent (.123), 1 is the noise floor (.050)."


def test_thousands_of_differences_are_written_with_a_comma(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    rows = [difference(MODEL, "baseline-uniform", 0.1, 0.05, 0.2, by="item", key=f"Q{i}", p=0.001, p_adjusted=0.01) for i in range(1085)]
    section = comparison_section(view, assessed(world.scores, comparisons=COMPARISONS.frame(rows)))
    heads = [name for name, _ in section.folded]
    assert heads == ["Significant differences within subsets (false discovery rate 5\u00a0%): 1,085 differences, the 40 largest"]


@pytest.mark.usefixtures("no_charts")
def test_the_page_starts_with_results_and_five_claims_of_each_model(world, tmp_path):
    compared = COMPARISONS.frame([difference(MODEL, "baseline-nearest-parent", -0.5, -0.6, -0.4, pairs=324)])
    of_baseline = claims("baseline-item-mode", 1, "baseline")
    found = assessed(world.scores, claims(MODEL, 7) + of_baseline, comparisons=compared)
    text = write_report(world.dataset, world.runs, world.scores, tmp_path / "r.html", assessment=found, explore=False).read_text(
        encoding="utf-8"
    )
    assert list(Page(text).sections)[:3] == ["results", "comparison", "by-subgroup"]
    results = text[text.index('<section id="results"') : text.index("</section>")]
    before, fold, after = results.partition("<summary>2 more</summary>")
    assert fold
    assert [f"Less accurate than b{place}:" in before for place in range(7)] == [True] * 5 + [False] * 2
    assert "Less accurate than b6:" in after
    assert results.count("Less accurate than") == 7
    # The most important claim is the sentence of the run, before the figure; the others follow it, and the tables come last.
    assert results.index("Less accurate than b0") < results.index("<figure>") < results.index("Less accurate than b1")
    assert results.index("Less accurate than b6") < results.index("<table>")
    verdicts = pl.read_csv(tmp_path / "tables" / "verdicts.csv")
    assert verdicts["run"].to_list() == [MODEL] * 7 + ["baseline-item-mode"]
    # Without models, baselines have their claims on the page.
    runs = [run for run in world.runs if run.name != MODEL]
    scores = world.scores.filter(pl.col("run") != MODEL)
    text = write_report(
        world.dataset, runs, scores, tmp_path / "b.html", assessment=assessed(scores, of_baseline), explore=False
    ).read_text("utf-8")
    assert "Less accurate than b0:" in text


def printed(*args: Any, **kwargs: Any) -> list[str]:
    out = io.StringIO()
    print_claims(*args, Console(file=out), **kwargs)
    return out.getvalue().splitlines()


def test_claims_on_the_terminal(world):
    found = claims(MODEL, 7) + claims("baseline-item-mode", 1, "baseline")
    lines = printed(found, runs=world.runs)
    assert lines[0] == f"{MODEL}:"
    assert [line.partition(":")[0] for line in lines[1:6]] == [f"  {place + 1}. Less accurate than b{place}" for place in range(5)]
    assert lines[6] == "  2 more with --all-claims."
    assert not any("baseline-item-mode" in line for line in lines)
    everything = printed(found, runs=world.runs, all_claims=True, baseline_claims=True)
    assert sum("Less accurate than" in line for line in everything) == 8
    assert "     Based on 152 pairs." in everything
    assert "baseline-item-mode:" in everything
    assert printed((), runs=[run for run in world.runs if run.name == MODEL]) == [f"{MODEL}: no claims."]
    only = [run for run in world.runs if run.name == "baseline-item-mode"]
    assert printed(found, runs=only)[0] == "baseline-item-mode:"


def drawn(frame: pl.DataFrame, width: int) -> list[str]:
    out = io.StringIO()
    print_frame(frame, Console(file=out, force_terminal=True, width=width, color_system=None))
    return out.getvalue().splitlines()


def test_the_excess_of_w1_of_sampled_runs_is_printed(world):
    def printed_with(scores: pl.DataFrame) -> str:
        out = io.StringIO()
        print_headline(world.dataset, world.runs, scores, Console(file=out, width=200))
        return out.getvalue()

    assert "too high" not in printed_with(world.scores)
    row = world.scores.filter((pl.col("run") == MODEL) & (pl.col("metric") == "accuracy") & (pl.col("by") == "all"))
    sampled = row.with_columns(metric=pl.lit("w1_sampling"), value=0.0234)
    text = printed_with(pl.concat([world.scores.filter(pl.col("metric") != "w1_sampling"), sampled]))
    assert f"W1 of {MODEL} is too high by up to .023: its shares come from a limited number of answers to each pair, which scatter." in text
    assert text.count("too high") == 1


def test_names_and_numbers_stay_whole_in_a_terminal_of_80_columns(world):
    long = "baseline-additive-multinomial"
    runs = [replace(run, name=long) if run.name == "baseline-midpoint" else run for run in world.runs if run.name != MODEL]
    scores = world.scores.filter(pl.col("run") != MODEL).with_columns(pl.col("run").replace("baseline-midpoint", long))
    # With a column of coverage there is little room.
    scores = scores.with_columns(coverage=pl.when(pl.col("run") == long).then(0.97).otherwise("coverage"))
    out = io.StringIO()
    print_headline(world.dataset, runs, scores, Console(file=out, force_terminal=True, width=80, color_system=None))
    lines = out.getvalue().splitlines()
    table = [
        line
        for line in lines
        if not line.startswith(("Split", "Accuracy: ", "NMAE: ", "NMAE and ", "W1: ", "Noise ceiling and", "Refused", "Minimum"))
    ]
    assert max(map(len, table)) <= 80
    row = next(line for line in table if line.strip().startswith(long)).split()
    accuracy = scores.filter(pl.col("run") == long, pl.col("by") == "all", pl.col("metric") == "accuracy")["value"][0]
    assert row[0] == long
    assert float(row[1]) == pytest.approx(accuracy, abs=5e-4)
    assert row[-2:] == ["324", ".970"]


def test_a_name_without_room_is_broken_where_its_parts_meet():
    lines = drawn(pl.DataFrame({"name": ["an-organization/with-a-long-name+adapter"], "share": [0.25], "n": [1234567]}), 40)
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines[2:4]] == ["an-organization/with-a-", "long-name+adapter"]
    assert lines[2].split()[1:] == [".250", "1,234,567"]


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


def test_the_reliability_plot_and_its_errors_are_of_runs_with_probabilities(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    model, baseline = view.of_kind("model")[0], next(entry for entry in view.of_kind("baseline") if entry.rule == "item-mode")

    def rows(run: str, error: float) -> list[dict[str, Any]]:
        known = {"run": run, "scheme": view.scheme, "part": view.part, "measure": "ece"}
        whole = {"error": error, "error_low": 0.05, "error_high": 0.4, "expected": 0.02, "cases": 30}
        return [known | whole, known | {"bin": 3, "stated": 0.34, "share": 0.21, "share_low": None, "share_high": None, "cases": 30}]

    found = assessed(world.scores, calibration=CALIBRATION.frame([*rows(model.run, 0.123), *rows(baseline.run, 0.045)]))
    section = calibration_section(view, found)
    assert not isinstance(section, tuple)
    [(_, chart)] = section.figures
    assert "stated .340, share .210, 30 options" in chart.svg
    assert len(chart.legend) == 2
    [(_, grid)] = section.folded
    assert [[cell.text for cell in row.cells[1:]] for row in grid.rows] == [[".123", ".020", "–", "–"], [".045", ".020", "–", "–"]]
    without = calibration_section(view, assessed(world.scores, calibration=CALIBRATION.frame(rows(baseline.run, 0.045))))
    assert isinstance(without, tuple)
