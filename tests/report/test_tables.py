"""Tables, summaries and the order of runs, compared with cases worked by hand."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from rich.console import Console

from valuestrata.formatting import number, percent
from valuestrata.reports import headline_table, print_headline, write_tables
from valuestrata.reports.closed.heatmaps import confusion_cells, confusion_chart
from valuestrata.reports.closed.narrative import summary
from valuestrata.reports.closed.published import (
    beside_published_counts,
    beside_published_preview,
    counts_beside_published,
    is_published_setting,
    published_table,
)
from valuestrata.reports.core.names import chart_names, clipped, interval
from valuestrata.reports.core.view import Cell, views_of
from valuestrata.reports.export.printer import Printer
from valuestrata.reports.export.terminal import print_frame
from valuestrata.responses.run.identity import run_identity

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "paper_results.yaml"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8124, ".812"),
        (0.0, ".000"),
        (1.0, "1.000"),
        (0.9996, "1.000"),
        (-0.0514, "−.051"),
        (-0.0001, ".000"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_one_style(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.997, "99.7"), (0.9996, "99.9"), (1.0, "100"), (0.994, "99"), (0.31, "31"), (-0.05, "−5")])
def test_a_share_below_one_is_never_rounded_up_to_100_percent(value, text):
    assert percent(value) == f"{text}\u00a0%"


def test_intervals_with_negative_ends_can_be_read():
    assert interval(Cell(0.5, 0.4, 0.6)) == ".400–.600"
    assert interval(Cell(-0.1, -0.2, 0.01)) == "−.200 to .010"
    assert interval(Cell(0.5)) == ""


def test_long_text_is_cut_at_a_word():
    assert clipped("one two three", 20) == "one two three"
    assert clipped("one two three four", 12) == "one two…"


@pytest.mark.parametrize(
    ("name", "meta", "expected"),
    [
        ("baseline-item-mode", {"respondent": {"provider": "baseline", "model": "item-mode"}}, ("baseline", "item-mode")),
        ("x", {"model": "baseline:nearest-parent"}, ("baseline", "nearest-parent")),
        ("x", {"respondent": {"name": "control:no-persona@embedded"}}, ("control", "no-persona@embedded")),
        ("baseline-looking-name", {"respondent": {"provider": "transformers", "model": "a/b"}}, ("model", "")),
        ("imported", {}, ("model", "")),
    ],
)
def test_what_answered_is_read_from_its_identity(name, meta, expected):
    found = run_identity(SimpleNamespace(name=name, meta=meta))
    assert (found.kind, found.rule) == expected


def test_headline_puts_models_first_and_bounds_last(world):
    frame = headline_table(world.dataset, world.runs, world.scores)
    assert frame["kind"].to_list() == ["model", *["baseline"] * 4, "ceiling", "ceiling", "floor"]
    assert frame["row"].to_list()[-3:] == ["ceiling_oracle", "ceiling_human", "floor"]
    oracle = frame.filter(pl.col("row") == "ceiling_oracle")
    # The oracle bounds expected accuracy and nothing else: strict accuracy may pass it.
    assert oracle["accuracy"].to_list() == [None]
    gold = world.dataset.gold.join(world.dataset.part("paper", "test"), on="pair_id")
    assert oracle["accuracy_expected"][0] == pytest.approx(gold["ceiling_oracle"].mean())
    floor = frame.filter(pl.col("row") == "floor")
    assert floor["kind"].to_list() == ["floor"]
    # One row for both distances, each under its own floor.
    for metric in ("nmae", "w1"):
        assert floor[metric][0] == pytest.approx(gold[f"floor_{metric}"].mean())


def test_tables_round_trip_through_csv(world, tmp_path):
    paths = write_tables(world.dataset, world.runs, world.scores, tmp_path)
    assert set(paths) == {"headline", "scores", "by_subgroup", "by_topic", "by_item", "landscape", "usage", "published"}
    for path in paths.values():
        assert path.stat().st_size > 0
    scores = pl.read_csv(paths["scores"], schema_overrides=world.scores.schema)
    assert_frame_equal(scores, world.scores)
    headline = headline_table(world.dataset, world.runs, world.scores)
    assert_frame_equal(pl.read_csv(paths["headline"], schema_overrides=headline.schema), headline)
    subgroup = pl.read_csv(paths["by_subgroup"]).filter(pl.col("run") == "baseline-midpoint")
    long = world.scores.filter(pl.col("run") == "baseline-midpoint", pl.col("by") == "subgroup", pl.col("metric") == "accuracy")
    assert dict(subgroup.select("subgroup", "accuracy").iter_rows()) == dict(long.select("key", "value").iter_rows())
    assert set(subgroup["stratum"]) == {"age_x_ethnicity"}
    published = pl.read_csv(paths["published"])
    assert published.filter(pl.col("model") == "Sailor2-8B")["accuracy"].to_list() == [0.356, 0.72]


def test_a_piped_headline_is_plain_and_has_100_columns_or_all(world):
    value = world.scores.filter(pl.col("run").str.contains("SmolLM2"), pl.col("by") == "all", pl.col("metric") == "accuracy")["value"][0]
    for wide in (False, True):
        out = io.StringIO()
        print_headline(world.dataset, world.runs, world.scores, Printer(Console(file=out, width=40), wide=wide))
        text = out.getvalue()
        assert "\x1b" not in text
        lines = text.splitlines()
        row = next(place for place, line in enumerate(lines) if line.startswith("HuggingFaceTB/SmolLM2-135M-Instruct"))
        if wide:
            assert f"{number(value)} [" in lines[row]
            assert lines[row].endswith("1.000")
        else:
            assert number(value) in lines[row]
            assert max(map(len, lines[row - 3 : row + 3])) <= 100


def test_terminal_headline_takes_markup_for_text(world):
    out = io.StringIO()
    print_frame(pl.DataFrame({"name": ["[red]x[/red]"], "share": [0.25], "n": [12345]}), Console(file=out, force_terminal=True, width=80))
    assert "[red]x[/red]" in out.getvalue()
    assert ".250" in out.getvalue()
    assert "12,345" in out.getvalue()


def test_a_summary_has_the_scores_of_model_baselines_and_ceiling(world):
    rows = {
        "HuggingFaceTB/SmolLM2-135M-Instruct": {"accuracy": 0.31, "accuracy_expected": 0.30, "ceiling_oracle": 0.92},
        "baseline-item-mode": {"accuracy": 0.9, "accuracy_expected": 0.79},
        "baseline-nearest-parent": {"accuracy": 0.9, "accuracy_expected": 0.85},
    }
    made = world.scores.filter(pl.col("by") == "all").with_columns(
        value=pl.struct("run", "metric").map_elements(lambda s: rows.get(s["run"], {}).get(s["metric"]), return_dtype=pl.Float64)
    )
    view = views_of(world.dataset, world.runs, made.filter(pl.col("run").is_in(list(rows))))[0]
    text = summary(view, view.entries[0]).replace("\u00a0", " ")
    assert "has an expected accuracy of 30 % over 324 pairs" in text
    assert "The item-mode baseline (always the most common answer of the whole population) scores 79 %." in text
    assert "The nearest-parent baseline (the answer of the smallest larger group that contains the subgroup) scores 85 %." in text
    assert "The ceiling is 92 %." in text
    # Accuracy, which this ceiling does not bound, is not named.
    assert "31 %" not in text
    alone = views_of(world.dataset, world.runs[2:3], made.filter(pl.col("run") == view.entries[0].run))[0]
    assert "No baseline was scored" in summary(alone, alone.entries[0])
    # Scores on other pairs are not comparable; .997 is not 100 %.
    nearly = made.with_columns(coverage=pl.when(pl.col("run") == view.entries[0].run).then(0.997).otherwise("coverage"))
    view = views_of(world.dataset, world.runs, nearly)[0]
    text = summary(view, view.entries[0]).replace("\u00a0", " ")
    assert "baseline" not in text
    assert text.endswith("It was asked 99.7 % of the pairs; the rest is not scored.")


def test_ceiling_of_a_run_that_skipped_pairs_is_not_the_part_s(world):
    partly = world.scores.with_columns(
        coverage=pl.lit(0.5), value=pl.when(pl.col("metric") == "ceiling_oracle").then(0.123).otherwise("value")
    )
    view = views_of(world.dataset, world.runs, partly)[0]
    assert view.bound("all", "all", "ceiling_oracle").value == pytest.approx(view.gold["ceiling_oracle"].mean())


def test_confusion_counts_each_pair_once(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    entry = next(entry for entry in view.entries if entry.kind == "model")
    run = next(run for run in world.runs if run.name == entry.run)
    once = confusion_cells(view, run, entry)
    twice = confusion_cells(view, replace(run, responses=pl.concat([run.responses, run.responses])), entry)
    assert_frame_equal(once, twice)
    answered = run.responses.filter(pl.col("status") == "answered")
    assert once["weight"].sum() == pytest.approx(len(answered))
    right = answered.join(view.gold.select("pair_id", "mode"), on="pair_id").filter(pl.col("answer") == pl.col("mode"))
    assert once.filter(pl.col("gold") == pl.col("said"))["weight"].sum() == pytest.approx(len(right))


def test_confusion_shows_the_survey_s_codes(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    entry = next(entry for entry in view.entries if entry.kind == "model")
    run = next(run for run in world.runs if run.name == entry.run)

    def recoded(column: str) -> pl.Expr:
        return (pl.col(column) * 10 - 11).alias(column)

    # Code 1 becomes -1 and code 2 becomes 9; items with as many options share no labels.
    items = view.dataset.items.with_columns(
        pl.col("codes").list.eval(pl.element() * 10 - 11),
        pl.Series(
            "labels", [[f"{item} {label}" for label in labels] for item, labels in view.dataset.items.select("item", "labels").rows()]
        ),
    )
    other = replace(view, dataset=replace(view.dataset, items=items, gold=view.dataset.gold.with_columns(recoded("mode"))))
    answered = replace(run, responses=run.responses.with_columns(recoded("answer")))
    cells, before = confusion_cells(other, answered, entry), confusion_cells(view, run, entry)
    assert_frame_equal(cells.select(recoded_back("gold"), recoded_back("said"), "weight"), before.select("gold", "said", "weight"))
    chart = confusion_chart(other, answered, entry, "confusion")
    assert chart is not None
    shown = set(re.findall(r">([^<>]+)</text>", chart.svg))
    assert {"-1", "9", "19", "29"} <= shown


def recoded_back(column: str) -> pl.Expr:
    return ((pl.col(column) + 11) // 10).alias(column)


def test_names_are_short_where_that_is_enough(world):
    view = views_of(world.dataset, world.runs, world.scores)[0]
    assert list(chart_names(view.entries).values()) == ["SmolLM2-135M-Instruct", "uniform", "item-mode", "midpoint", "nearest-parent"]


def test_published_table_holds_the_paper_s_figures():
    table = published_table()
    assert len(table) == 8 * 2 + 3
    assert table.filter(pl.col("model") == "GPT-4.1")["read_in"][0].startswith("accuracy read in the abstract")
    assert table["source"].str.contains("published").all()
    if not REFERENCE.is_file():
        pytest.skip("the reference file of the paper's results is not on this machine")
    reference = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))["ood_results"]
    names = {"mean_of_seven": "Mean of the seven"}
    for model, figures in reference.items():
        rows = table.filter(pl.col("model") == names.get(model, model))
        for metric in ("accuracy", "nmae", "win_rate"):
            assert rows[metric].to_list() == figures[metric]


def test_counts_stand_beside_the_published_ones(world):
    frame = beside_published_counts(world.dataset)
    assert frame["published"].to_list() == [2012, 214, 50, 48, 10700, 10177]
    assert frame["here"].to_list() == [2012, 18, 32, 18, 32 * 18, 18 * 18]
    preview = pl.DataFrame({"stratum": ["sex", "age_x_religion"], "cells_kept": [2, 20], "pairs_kept": [428, 4280]})
    frame = beside_published_preview(preview, SimpleNamespace(respondents=2012, items=[None] * 214))
    assert frame["difference"].to_list() == [0, 0, -48, -28, 428 - 10700, 4280 - 10177]


def test_published_counts_say_whose_they_are_and_have_no_difference_to_another_survey(world):
    counts = beside_published_counts(world.dataset)
    sentence, table = counts_beside_published(counts, same=True)
    assert sentence == "Published counts: World Values Survey wave 7, Singapore (arXiv 2604.12851)."
    assert table.columns == ["count", "here", "published (Singapore)", "difference"]
    sentence, table = counts_beside_published(counts, same=False)
    assert sentence.startswith("Not comparable: the published counts are of World Values Survey wave 7, Singapore")
    assert table.columns == ["count", "here", "published (Singapore)"]


def test_only_the_published_setting_counts_as_comparable(world):
    paper = {"survey": {"name": "wvs7"}, "settings": {"preset": "paper"}, "countries": [{"alpha3": "SGP"}]}
    assert is_published_setting(replace(world.dataset, meta={**world.dataset.meta, **paper}))
    assert not is_published_setting(world.dataset)
    two = {**paper, "countries": [{"alpha3": "SGP"}, {"alpha3": "MYS"}]}
    assert not is_published_setting(replace(world.dataset, meta={**world.dataset.meta, **two}))
    assert not is_published_setting(replace(world.dataset, meta={**world.dataset.meta, **paper, "settings": {"preset": None}}))
