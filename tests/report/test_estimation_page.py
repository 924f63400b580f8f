"""The page of estimates: the answer and the advice first, then what the model saves and the estimates; all text is escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import polars as pl
import pytest

from tests.estimation.simulated import world
from tests.estimation.simulated_dataset import NASTY, dataset_of, estimated
from valuestrata.estimation.results.advice import advice, choice_of, half_width, side_by_side
from valuestrata.estimation.results.sentences import best_run, opening, titled
from valuestrata.formatting import points
from valuestrata.reports.estimation import page as pages
from valuestrata.reports.estimation.figures import item_chart, saved_chart, shown_subgroups
from valuestrata.reports.estimation.page import estimates_page, write_estimates


@pytest.fixture(scope="module")
def simulated():
    return world(21, people=1200, items=7, skill=0.8)


@pytest.fixture(scope="module")
def found(simulated):
    wave = dataset_of(simulated, gold=True, fingerprint="d" * 64)
    return estimated(simulated, simulated.draw(120, 3), first_wave=wave)


@pytest.fixture(scope="module")
def page(found):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "MOST_CHARTS", 1)
        patch.setattr(pages, "saved_chart", lambda *_: None)
        return estimates_page(found)


def section(page: str, name: str) -> str:
    return re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)[0]


def test_the_answer_and_the_advice_come_first(page, found):
    ids = re.findall(r'<section id="([^"]+)"', page)
    assert ids == ["answer", "saved", "change", "estimates", "method"]
    header = unescape(re.search(r"<header>.*?</header>", page, re.DOTALL)[0])
    # Sentences of the banner that are not shown at once are in its details.
    for sentence in advice(found):
        assert sentence in header
    assert header.index(advice(found)[0]) < header.index("Exploratory")
    assert opening(found)[0] in unescape(section(page, "answer"))
    places = {"Change": "change", "The model": "saved", "Where it saves nothing": "saved", "Synthetic estimates": "estimates"}
    for title, sentence in list(titled(found).items())[1:]:
        assert sentence in unescape(section(page, places[title]))


def test_the_first_screen_has_three_numbers_and_the_figure_of_interviews_saved(found, monkeypatch):
    monkeypatch.setattr(pages, "item_chart", lambda *_: None)
    drawn = estimates_page(found)
    first = unescape(section(drawn, "answer"))
    assert first.count("<figure>") == 1
    assert first.index("<figure>") < first.index("<table>")
    assert "<figure>" not in section(drawn, "saved")
    values = re.findall(r"<dd><b>(.*?)</b>", first)
    best = best_run(found).rectified.population
    widths = [half_width(found, choice_of(found).population, population=True), half_width(found, choice_of(found).subgroups)]
    assert values == [*(f"±\u00a0{points(width)}" for width in widths), f"{best['estimated']:.1f}"]
    assert "<table>" not in re.sub(r"<details.*?</details>", "", drawn, flags=re.DOTALL)


def test_a_few_items_have_charts_and_all_have_tables(page, found):
    estimates = section(page, "estimates")
    assert estimates.count("<figure>") == 1
    assert estimates.count("<details>") == 7
    # The population, and one panel for each attribute.
    assert estimates.count("<svg role=") == 4
    heads = re.findall(r"<h3>(Q\d)", estimates)
    assert heads == ["Q1"]


def test_figures_show_the_values_of_the_table(found):
    shown = shown_subgroups(found.dataset, found.table["subgroup"].unique().to_list())
    assert [one.id for one in shown] == ["all", "sex_0", "sex_1", *(f"age_{k}" for k in range(4)), *(f"region_{k}" for k in range(5))]
    rows = found.table.filter(pl.col("code").is_null(), item="Q2")
    chart = item_chart(rows, shown[1:3], side_by_side(found), "x", "Mean", share=False)
    assert [entry.name for entry in chart.legend] == [
        "the sample alone",
        "the model alone (model)",
        "rectified with model",
        "multilevel",
        "small-area without a model",
        "small-area with model",
    ]
    row = rows.filter(subgroup="sex_1", estimator="rectified", run="model").row(0, named=True)
    assert (
        f"1, rectified with model: {row['value']:.2f}, 95 % interval {row['low']:.2f} to {row['high']:.2f} ({row['n']} answers)"
        in chart.svg
    )
    saved = saved_chart(found.interviews.filter(pl.col("item").is_null()), shown[:1], "y")
    assert "interviews" in saved.svg


def test_charts_show_one_item_of_each_topic_first(found, monkeypatch):
    drawn = []
    monkeypatch.setattr(pages, "item_chart", lambda rows, *_: drawn.append(rows["item"][0]))
    monkeypatch.setattr(pages, "saved_chart", lambda *_: None)
    topics = {"Q1": "B", "Q2": "B", "Q3": "A"}
    items = found.dataset.items.with_columns(topic=pl.col("item").replace_strict(topics, default="C"))
    estimates_page(replace(found, dataset=replace(found.dataset, items=items)))
    assert drawn == ["Q1", "Q3", "Q4", "Q2"]


def test_a_page_without_a_model_has_no_savings_and_no_change(simulated, monkeypatch):
    monkeypatch.setattr(pages, "item_chart", lambda *_: None)
    page = estimates_page(estimated(simulated, simulated.draw(80, 1, model=False)))
    assert re.findall(r'<section id="([^"]+)"', page) == ["answer", "estimates", "method"]


def test_text_of_the_survey_is_escaped(page):
    assert "<script>" not in page
    assert unescape(page).count(NASTY) > 0
    assert "://" not in page


def test_nominal_items_show_a_share(simulated, monkeypatch):
    drawn = []
    monkeypatch.setattr(pages, "item_chart", lambda *arguments: drawn.append(arguments[4:]))
    monkeypatch.setattr(pages, "saved_chart", lambda *_: None)
    nominal = replace(simulated, items=replace(simulated.items, ordered=np.zeros(7, dtype=bool)))
    page = estimates_page(estimated(nominal, nominal.draw(80, 1, model=False)))
    assert {share for _, share in drawn} == {True}
    assert f"Share of “{NASTY} 1”" in unescape(section(page, "estimates"))


def test_the_folder_is_complete_or_absent(found, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "estimates_page", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_estimates(found, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
