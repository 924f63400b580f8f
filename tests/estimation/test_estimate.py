"""Estimates from a sample of a simulated survey: the tables, the sentences and the files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.estimation.simulated import world
from tests.estimation.simulated_dataset import dataset_of, estimated
from valuestrata.errors import InputDataError, UsageError
from valuestrata.estimation.estimate import request_of
from valuestrata.estimation.estimates import ESTIMATORS, HUMAN, MODEL, MULTILEVEL, RECTIFIED, SMALL_AREA
from valuestrata.estimation.results.advice import advice, choice_of, outside_human, synthetic_pairs
from valuestrata.estimation.results.files import DOCUMENT, kept_estimates, load_estimates, write_estimate_tables
from valuestrata.estimation.results.sentences import change_sentence, opening, saving_sentence, synthetic_sentence, width_table
from valuestrata.estimation.results.table import ESTIMATES, answers_of


@pytest.fixture(scope="module")
def simulated():
    return world(11, people=1500, items=8, skill=0.8)


@pytest.fixture(scope="module")
def data(simulated):
    return simulated.draw(150, 3)


@pytest.fixture(scope="module")
def found(simulated, data):
    return estimated(simulated, data)


def test_every_pair_has_every_estimator_and_shares_sum_to_one(found, data):
    table = found.table
    assert list(table.columns) == list(ESTIMATES.columns)
    assert set(table["estimator"]) == set(ESTIMATORS)
    pairs = len(data.population.subgroups) * len(data.items.ids)
    # Small-area estimates also come without the model.
    sizes = table.group_by("estimator", "run").agg(pairs=pl.struct("subgroup", "item").n_unique())
    assert dict(zip(zip(sizes["estimator"], sizes["run"], strict=True), sizes["pairs"], strict=True)) == {
        (HUMAN, None): pairs,
        (MODEL, "model"): pairs,
        (RECTIFIED, "model"): pairs,
        (MULTILEVEL, None): pairs,
        (SMALL_AREA, "model"): pairs,
        (SMALL_AREA, None): pairs,
    }
    shares = table.filter(pl.col("code").is_not_null() & pl.col("value").is_not_null())
    sums = shares.group_by("estimator", "run", "subgroup", "item").agg(pl.col("value").sum())["value"].to_numpy()
    np.testing.assert_allclose(sums, 1, atol=1e-9)
    intervals = table.filter(pl.col("low").is_not_null() & pl.col("high").is_not_null())
    assert intervals.select(pl.col("value").is_between(pl.col("low") - 1e-9, pl.col("high") + 1e-9).all()).item()


def test_means_are_those_of_the_shares(found):
    table = found.table.filter(pl.col("value").is_not_null(), estimator=SMALL_AREA, run="model")
    shares = table.filter(pl.col("code").is_not_null()).group_by("subgroup", "item").agg(own=(pl.col("code") * pl.col("value")).sum())
    means = table.filter(pl.col("code").is_null()).join(shares, on=["subgroup", "item"])
    np.testing.assert_allclose(means["value"], means["own"], atol=1e-8)


def test_rectified_intervals_are_never_longer_than_those_of_the_sample(found):
    length = pl.col("high") - pl.col("low")
    keys = ["subgroup", "item", "code"]
    human = found.table.filter(estimator=HUMAN).select(*keys, human=length)
    both = found.table.filter(estimator=RECTIFIED).select(*keys, own=length).join(human, on=keys, nulls_equal=True)
    assert both.filter(pl.col("own") > pl.col("human") + 1e-9).is_empty()


def test_subgroups_agree_with_the_population(found, data):
    sizes = pl.DataFrame({"subgroup": list(data.population.subgroups), "size": data.population.sizes})
    shares = found.table.filter(pl.col("code").is_not_null(), estimator=SMALL_AREA, run="model").join(sizes, on="subgroup")
    sums = shares.group_by("stratum", "item", "code").agg(total=(pl.col("value") * pl.col("size")).sum())
    whole = sums.filter(stratum="all").select("item", "code", whole="total")
    for stratum in ("sex", "age", "region", "sex_x_age"):
        part = sums.filter(stratum=stratum).join(whole, on=["item", "code"])
        np.testing.assert_allclose(part["total"], part["whole"], atol=1e-6)
    assert set(found.benchmark["estimator"]) == {RECTIFIED, MULTILEVEL, SMALL_AREA}
    # A second adjustment would find nothing left to move.
    moved = found.benchmark.group_by("estimator").agg(pl.col("most_moved").max())
    assert (moved["most_moved"] > 1e-4).all()


def test_answers_are_counted_and_few_are_flagged(found, data):
    n, effective = answers_of(data)
    np.testing.assert_allclose(n, effective)
    row = found.table.filter(subgroup="region_4", item="Q1", estimator=HUMAN, code=1).row(0, named=True)
    assert row["n"] == n[data.population.subgroups.index("region_4"), 0]
    assert row["flag"] == ("few" if row["n"] < 10 else None)
    weighted = replace(data, sample=replace(data.sample, weight=np.where(np.arange(150) < 75, 1.0, 3.0)))
    _, effective = answers_of(weighted)
    assert effective[0, 0] == pytest.approx((75 + 225) ** 2 / (75 + 75 * 9))


def test_a_subgroup_without_people_is_synthetic(simulated, data):
    outside = np.flatnonzero(~data.members[:, data.population.subgroups.index("region_4")])
    cut = replace(data, sample=data.sample.of(outside), models={name: one.of(outside) for name, one in data.models.items()})
    found = estimated(simulated, cut)
    rows = found.table.filter(subgroup="region_4", item="Q2", code=1)
    assert set(rows["flag"]) == {"synthetic"}
    values = dict(rows.filter(pl.col("run").is_null()).select("estimator", "value").iter_rows())
    assert values[HUMAN] is None
    assert values[SMALL_AREA] is not None
    # region_4 and its combinations with sex and age.
    assert synthetic_pairs(found) == 7 * 8
    assert synthetic_sentence(found).startswith("56 of ")
    assert any("56 pairs" in sentence and "synthetic" in sentence for sentence in advice(found))


def test_the_answer_comes_first_and_is_short(found):
    said = opening(found)
    assert repr(found).splitlines()[1:] == [f"  {sentence}" for sentence in said]
    assert "<th" in found._repr_html_()
    assert 3 <= len(said) <= 5
    assert said[0].startswith("From 150 interviews: use ")
    assert "for subgroups" in said[0]
    assert saving_sentence(found) in said


def test_a_useless_model_is_said_to_save_nothing(simulated, data):
    rng = np.random.default_rng(5)
    one = data.models["model"]
    mixed = replace(
        simulated, simulated=np.take_along_axis(simulated.simulated, rng.permuted(np.tile(np.arange(1500), (8, 1)), axis=1).T, axis=0)
    )
    rows = np.flatnonzero(np.isin(np.arange(1500), np.arange(0, 1500, 10)))
    useless = replace(data, models={"model": replace(mixed.respondent_level(rows), people=mixed.respondent_level(rows).people)})
    assert useless.models["model"].people.shape == one.people.shape
    found = estimated(simulated, useless)
    assert saving_sentence(found).startswith("model is not shown to save interviews (")
    assert choice_of(found).population.estimator == HUMAN
    assert any(sentence.startswith("Do not count on model") for sentence in advice(found))


def test_a_model_that_is_wrong_is_outside_the_intervals(simulated, data, found):
    assert outside_human(found, "model") < 0.1
    one = data.models["model"]
    shifted = np.where(simulated.items.used, np.roll(one.pairs, 1, axis=2), 0.0)
    wrong = estimated(simulated, replace(data, models={"model": replace(one, pairs=shifted / shifted.sum(axis=2, keepdims=True))}))
    assert outside_human(wrong, "model") > 0.3
    assert any(sentence.startswith("Do not report the answers of model") for sentence in advice(wrong))


def test_without_a_model_three_estimators_remain(simulated):
    found = estimated(simulated, simulated.draw(100, 1, model=False))
    assert set(found.table["estimator"]) == {HUMAN, MULTILEVEL, SMALL_AREA}
    assert found.interviews.is_empty()
    assert "No model was given, so the estimates rest on the interviews alone." in opening(found)


def test_items_and_strata_only_choose_what_is_returned(simulated, data, found):
    part = estimated(simulated, data, items=["Q3"], strata=["age"])
    assert set(part.table["item"]) == {"Q3"}
    assert set(part.table["stratum"]) == {"all", "age"}
    both = found.table.join(part.table.select("subgroup", "item").unique(), on=["subgroup", "item"], how="semi", maintain_order="left")
    assert part.table.equals(both)
    assert set(part.interviews["item"]) <= {None, "Q3"}
    unasked = replace(
        data,
        sample=replace(data.sample, answers=data.sample.answers[:, 1:]),
        items=replace(
            data.items,
            ids=data.items.ids[1:],
            **{name: getattr(data.items, name)[1:] for name in ("options", "codes", "ordered", "blocks")},
        ),
        models={},
    )
    with pytest.raises(InputDataError, match="Nobody answered Q1"):
        estimated(simulated, unasked, items=["Q1"])


def test_the_table_of_half_widths_has_the_population_first(found):
    table = width_table(found)
    assert table["subgroup"][0] == "all"
    assert table.height == 9
    assert table.columns[:3] == ["subgroup", "answers", "the sample alone"]


def test_a_second_wave_reports_the_planted_change(simulated, data):
    moved = simulated.truth.copy()
    moved[..., 0] = np.maximum(moved[..., 0] - 0.3, 0.0)
    moved /= np.where(moved.sum(axis=2, keepdims=True) > 0, moved.sum(axis=2, keepdims=True), 1)
    wave = dataset_of(replace(simulated, truth=moved), gold=True, n=800, fingerprint="d" * 64)
    found = estimated(simulated, data, first_wave=wave)
    assert found.has_change
    assert (RECTIFIED, "first-wave") in set(found.table.select("estimator", "run").iter_rows())
    row = found.table.filter(subgroup="all", item="Q1", estimator=RECTIFIED, run="model", code=1).row(0, named=True)
    assert row["change"] == pytest.approx(row["value"] - moved[0, 0, 0])
    real = simulated.truth[0, 0, 0] - moved[0, 0, 0]
    assert row["change_low"] < real < row["change_high"]
    assert "items of the population" in change_sentence(found)
    assert len(opening(found)) <= 5
    same = estimated(simulated, data, first_wave=dataset_of(simulated, gold=True, n=800))
    assert "No change since the first wave is shown" in change_sentence(same)


def test_files_are_read_back_and_hold_no_person(found, simulated, tmp_path):
    write_estimate_tables(found, tmp_path)
    again = load_estimates(tmp_path, found.dataset)
    assert again.table.equals(found.table)
    assert opening(again) == opening(found)
    document = json.loads((tmp_path / DOCUMENT).read_text())
    assert document["people"]["interviewed"] == 150
    assert document["shareable"] is False
    assert set(document["sha256"]) == {"estimates.parquet", "interviews.parquet", "benchmark.parquet"}
    assert pl.read_csv(tmp_path / "estimates.csv").height == found.table.height


def test_the_same_request_is_kept_and_another_is_not_replaced(found, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    write_estimate_tables(found, folder)
    request = found.document["request"]
    assert kept_estimates(folder, found.dataset, request).table.equals(found.table)
    other = {**request, "options": {**request["options"], "items": ["Q1"]}}
    with pytest.raises(UsageError, match="another call"):
        kept_estimates(folder, found.dataset, other)
    assert kept_estimates(folder, found.dataset, other, overwrite=True) is None
    assert kept_estimates(tmp_path / "new", found.dataset, request) is None
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(InputDataError, match="holds no estimates"):
        kept_estimates(tmp_path / "full", found.dataset, request, overwrite=True)


def test_a_changed_table_is_refused(found, tmp_path):
    write_estimate_tables(found, tmp_path)
    found.table.head(5).write_parquet(tmp_path / "estimates.parquet")
    with pytest.raises(InputDataError, match="changed after it was written"):
        load_estimates(tmp_path, found.dataset)
    with pytest.raises(InputDataError, match="another data set"):
        load_estimates(tmp_path, replace(found.dataset, meta={**found.dataset.meta, "fingerprint": "0" * 64}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_fraction": 1.2}, "from 0 to below 1"),
        ({"sampling_fraction": -0.1}, "from 0 to below 1"),
        ({"population_size": 0}, "at least 1 person"),
        ({"population_size": 10, "sampling_fraction": 0.1}, "not both"),
        ({"items": ["Q77"]}, "no item 'Q77'"),
        ({"strata": ["sx"]}, "no stratum 'sx'"),
    ],
)
def test_wrong_options_are_refused(simulated, options, message):
    with pytest.raises(UsageError, match=message):
        request_of(dataset_of(simulated), "embedded", **options)
