"""Change since a first wave: matching of the waves, intervals, adjusted p-values, and coverage with known change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.estimation.simulated import one_hot, world
from valuestrata.errors import InputDataError
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.inputs import PopulationCells
from valuestrata.estimation.model_values import values_of_pairs
from valuestrata.estimation.reading import item_options
from valuestrata.estimation.results.change import FIRST_WAVE, FirstWave, first_wave, with_change
from valuestrata.estimation.results.table import answers_of, estimates_table
from valuestrata.estimation.results.together import all_estimates


@pytest.fixture(scope="module")
def made():
    simulated = world(1, people=1500, items=6)
    data = simulated.draw(300, 2, model=False)
    return simulated, data, estimates_table(data, [human_only(data)])


def known(simulated, shift: float = 0.0, n: float = 500.0) -> FirstWave:
    """Return the truth as a first wave, with `shift` taken from each first option and given to the second."""
    shares = np.where(simulated.items.used, simulated.truth, 0.0)
    moved = np.minimum(shift, shares[..., 0])
    shares[..., 0] -= moved
    shares[..., 1] += moved
    return FirstWave(shares, np.full(shares.shape[:2], n), ())


def subgroups_of(dataset) -> PopulationCells:
    ids, strata = (tuple(dataset.subgroups[name]) for name in ("subgroup", "stratum"))
    return PopulationCells((), np.zeros((1, 0), dtype=np.intp), np.ones(1), ids, strata, np.ones((len(ids), 1), dtype=bool), ())


def test_intervals_of_two_waves_combine_as_worked_by_hand(made):
    simulated, data, table = made
    found = with_change(table, known(simulated), data.items, data.population)
    row = found.filter(subgroup="all", item="Q1", code=1).row(0, named=True)
    p, n, z = simulated.truth[0, 0, 0], 500, 1.959963984540054
    centre, half = (p + z**2 / n / 2) / (1 + z**2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / n**2 / 4) / (1 + z**2 / n)
    assert row["first"] == pytest.approx(p)
    assert row["change"] == pytest.approx(row["value"] - p)
    low = row["change"] - np.hypot(row["value"] - row["low"], centre + half - p)
    high = row["change"] + np.hypot(row["high"] - row["value"], p - centre + half)
    assert (row["change_low"], row["change_high"]) == (pytest.approx(low), pytest.approx(high))


def test_pairs_share_one_adjusted_p_value_and_no_change_is_not_shown(made):
    simulated, data, table = made
    found = with_change(table, known(simulated), data.items, data.population)
    assert found.group_by("subgroup", "item").agg(pl.col("p_change").n_unique())["p_change"].unique().to_list() == [1]
    assert found["p_change"].min() > 0.05
    # Fewer than ten answers show no change.
    assert found.filter(pl.col("n") < 10)["p_change"].null_count() == found.filter(pl.col("n") < 10).height > 0
    # Everybody moved by 40 points: the population's change is shown in every item.
    moved = with_change(table, known(simulated, 0.4), data.items, data.population).filter(subgroup="all")
    large = moved.filter(pl.col("code").is_null() & (pl.col("change").abs() > 0.3))
    assert large.height
    assert large["p_change"].max() < 0.001


def test_without_an_interval_there_is_no_change_shown(made):
    simulated, data, table = made
    blind = table.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    found = with_change(blind, known(simulated), data.items, data.population)
    assert found["change"].null_count() < found.height
    assert found["p_change"].null_count() == found["change_low"].null_count() == found.height


def test_nominal_items_are_tested_by_their_options(made):
    simulated, data, _ = made
    items = replace(data.items, ordered=np.zeros(6, dtype=bool))
    nominal = replace(data, items=items)
    found = with_change(estimates_table(nominal, [human_only(nominal)]), known(simulated, 0.4), items, data.population)
    assert found["code"].null_count() == 0
    assert found.filter(subgroup="all")["p_change"].min() < 0.001


def test_options_are_matched_by_label_in_any_order(handmade):
    items = handmade.items.with_columns(
        codes=pl.when(pl.col("item") == "spend").then(pl.lit([3, 2, 1], pl.List(pl.Int32))).otherwise("codes"),
        labels=pl.when(pl.col("item") == "spend")
        .then(pl.lit(["TOO LITTLE", "About  right", "Too much"], pl.List(pl.String)))
        .otherwise("labels"),
    )
    gold = handmade.gold.with_columns(
        shares=pl.when(pl.col("item") == "spend").then(pl.lit([0.2, 0.3, 0.5])).otherwise(pl.lit([0.7, 0.3]))
    ).filter(pl.col("item") != "Q182")
    other = items.with_columns(labels=pl.when(pl.col("item") == "Q1").then(pl.lit(["A", "B", "C", "D"])).otherwise("labels"))
    wave = replace(handmade, items=other.filter(pl.col("item") != "Q182"), gold=gold)
    scale, population = item_options(handmade), subgroups_of(handmade)
    found = first_wave(wave, handmade, scale, population)
    spend = scale.ids.index("spend")
    # This data set has no redraws, so the effective number is that of the gold.
    assert found.effective[:, spend].tolist() == [60.0] * 7
    assert found.shares[0, spend, :3].tolist() == [0.5, 0.3, 0.2]
    assert np.isnan(np.delete(found.shares, spend, axis=1)).all()
    said = " ".join(map(str, found.remarks))
    assert "Q1 has other options in the first wave" in said
    assert "lacks Q182" in said


def test_waves_without_a_common_pair_are_refused(handmade):
    wave = replace(handmade, gold=handmade.gold.filter(pl.col("item") == "none"))
    with pytest.raises(InputDataError, match="no item with the same options"):
        first_wave(wave, handmade, item_options(handmade), subgroups_of(handmade))


def test_intervals_of_change_cover_a_known_change():
    """Two independent samples of 400 and 150 people, 20 pairs of waves: coverage of the change in cells from 3 % to all."""
    before, after = world(5, people=2000, items=6), world(6, people=2000, items=6)
    real = after.truth - before.truth
    covered = []
    for seed in range(20):
        earlier, second = before.draw(400, seed, model=False), after.draw(150, 100 + seed, model=False)
        number, _ = answers_of(earlier)
        wave = FirstWave(human_only(earlier).shares, np.maximum(number, 1) / (1 - 400 / 2000), ())
        table = with_change(estimates_table(second, [human_only(second)]), wave, after.items, after.population)
        rows = table.filter(pl.col("code").is_not_null(), pl.col("change_low").is_not_null())
        place = {name: at for at, name in enumerate(after.population.subgroups)}
        at = (rows["subgroup"].replace_strict(place).to_numpy(), rows["item"].str.slice(1).cast(pl.Int64).to_numpy() - 1)
        truth = real[*at, rows["code"].to_numpy() - 1]
        covered.append(((rows["change_low"].to_numpy() <= truth + 1e-9) & (truth - 1e-9 <= rows["change_high"].to_numpy())).mean())
    assert 0.93 < np.mean(covered) < 0.985


@pytest.mark.slow
def test_every_estimator_covers_the_change_of_a_second_wave():
    """A first wave of 600 people and a second of 120; a third of the youngest quarter of the population changed their mind.

    Coverage of 95 % intervals of the change, over 25 pairs of samples; that of small-area estimates is meant over subgroups.
    """
    before = world(31, people=3000, items=8, skill=0.7)
    after = second_wave(before, seed=32)
    real = after.truth - before.truth
    covered: dict[tuple[str, str | None], list[float]] = {}
    found_changes, wrong_changes, pairs = 0, 0, 0
    for seed in range(25):
        earlier = before.draw(600, seed, model=False)
        number, _ = answers_of(earlier)
        wave = FirstWave(human_only(earlier).shares, number / (1 - 600 / 3000), ())
        data = after.draw(120, 500 + seed)
        one = values_of_pairs(FIRST_WAVE, np.where(number[..., None] >= 30, wave.shares, np.nan), data)
        found = all_estimates(replace(data, models={**data.models, FIRST_WAVE: one}), ["model"], earlier=[one])
        table = with_change(estimates_table(data, found.listed), wave, after.items, after.population)
        rows = table.filter(pl.col("code").is_not_null(), pl.col("change_low").is_not_null())
        place = {name: at for at, name in enumerate(after.population.subgroups)}
        at = (rows["subgroup"].replace_strict(place).to_numpy(), rows["item"].str.slice(1).cast(pl.Int64).to_numpy() - 1)
        truth = pl.Series(real[*at, rows["code"].to_numpy() - 1])
        inside = rows.with_columns(real=truth).with_columns(
            inside=pl.col("real").is_between(pl.col("change_low") - 1e-9, pl.col("change_high") + 1e-9)
        )
        for estimator, run, share in inside.group_by("estimator", "run").agg(pl.col("inside").mean()).iter_rows():
            covered.setdefault((estimator, run), []).append(share)
        mine = inside.filter(estimator="rectified", run="model")
        tested = mine.group_by("subgroup", "item").agg(pl.col("p_change").first(), real=pl.col("real").abs().max())
        found_changes += tested.filter(pl.col("p_change") < 0.05).height
        wrong_changes += tested.filter(pl.col("p_change") < 0.05, pl.col("real") < 1e-9).height
        pairs += tested.height
    means = {name: float(np.mean(shares)) for name, shares in covered.items()}
    rectified, small = (("rectified", "model"), ("rectified", FIRST_WAVE)), (("small-area", "model"), ("small-area", None))
    assert set(means) == {("human", None), *rectified, ("multilevel", None), *small}
    for name, share in means.items():
        assert 0.93 < share < 0.99, (name, share)
    assert 0 < found_changes < pairs
    assert wrong_changes <= 0.05 * found_changes + 3


def second_wave(first, seed):
    """Return the population of a world after a third of the first age group moved one option up, where there is one."""
    rng = np.random.default_rng(seed)
    young = first.population.levels[first.cell, 1] == 0
    moves = young[:, None] & (rng.random(first.answers.shape) < 1 / 3) & (first.answers < first.items.options - 1)
    answers = (first.answers + moves).astype(np.int8)
    values = one_hot(answers, first.items)
    truth = np.stack([values[inside[first.cell]].mean(axis=0) for inside in first.population.inside])
    return replace(first, answers=answers, truth=truth)
