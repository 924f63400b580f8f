"""Means over training seeds: variance sources by the analysis of variance, intervals in closed form, values by hand, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.seed_study import SEEDS, study
from tests.scores.conftest import World, build, run_of
from valuestrata.scores.aggregate import PlacedRuns
from valuestrata.scores.compare import compare
from valuestrata.scores.variance.seeds import SeededRecipe, SeededRuns
from valuestrata.stats.intervals import Interval, widened
from valuestrata.stats.variance_components import sources_of_mean


def cells(seeds: int, orders: int = 1) -> np.ndarray:
    return np.array([(seed, order, 0, 0) for seed in range(seeds) for order in range(orders)], dtype=np.intp)


@given(st.integers(2, 5), st.integers(2, 8), st.integers(0, 10_000))
@settings(max_examples=25)
def test_seeds_and_items_are_the_two_way_analysis_of_variance(seeds, items, draw):
    rng = np.random.default_rng(draw)
    y = rng.normal(size=(seeds, items)) + rng.normal(size=(seeds, 1))
    of_seed, of_item = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    rest = ((y - of_seed - of_item + y.mean()) ** 2).sum() / ((seeds - 1) * (items - 1))
    of_seeds = items * of_seed.var(ddof=1)
    [source] = sources_of_mean(cells(seeds), y / items, np.full(items, 1 / items)) or []
    assert source.variance == pytest.approx(max(0.0, (of_seeds - rest) / (seeds * items)), abs=1e-12)
    assert source.freedom == seeds - 1


def test_orders_are_a_source_beside_the_seeds():
    # Two seeds by three orders, the same in every item: seeds at 0 and 2 (variance 2), orders at 0, 3, 6 (variance 9).
    y = np.array([0.0, 3, 6, 2, 5, 8])
    found = sources_of_mean(cells(2, 3), np.outer(y, [0.5, 0.5]), np.array([0.5, 0.5])) or []
    assert [(sorted(source.block), round(source.variance, 9), source.freedom) for source in found] == [
        (["persona"], 1.0, 1),
        (["order"], 3.0, 2),
        (["persona x presentation"], 0.0, 2),
    ]


def test_one_block_holds_no_interaction_with_blocks():
    [source] = sources_of_mean(cells(3), np.array([[1.0], [2.0], [3.0]]), np.array([1.0])) or []
    assert source.variance == pytest.approx(1 / 3)
    assert sources_of_mean(cells(1), np.array([[0.2, 0.3]]), np.array([0.5, 0.5])) == []


def test_a_factor_that_cannot_be_told_apart_gives_no_variance():
    # Two seeds, of which the second was asked in other orders and wordings than the first.
    factors = np.array([(0, 0, 0, 0), (1, 0, 1, 0), (1, 1, 0, 0)], dtype=np.intp)
    assert sources_of_mean(factors, np.ones((3, 2)) / 2, np.array([0.5, 0.5])) is None


def around(estimate: float, half: float, se: float) -> Interval:
    one = np.ones(1)
    return Interval(estimate * one, (estimate - half) * one, (estimate + half) * one, se * one, 0.01 * one, 10 * one, np.nan * one)


def test_an_interval_is_widened_by_students_t_of_each_source():
    se, z = 0.02, stats.norm.ppf(0.975)
    sources = [(np.array([0.0004]), np.array([2.0])), (np.array([0.0001]), np.array([1.0]))]
    found = widened(around(0.1, z * se, se), np.array([np.inf]), sources, 0.95, -1, 1)
    half = np.sqrt((z * se) ** 2 + stats.t.ppf(0.975, 2) ** 2 * 0.0004 + stats.t.ppf(0.975, 1) ** 2 * 0.0001)
    assert (found.low[0], found.high[0]) == pytest.approx((0.1 - half, 0.1 + half))
    assert found.se[0] == pytest.approx(np.sqrt(se**2 + 0.0005))


@given(st.floats(0.001, 0.4), st.floats(1e-6, 0.01), st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([np.inf, 23.0]))
@settings(max_examples=30)
def test_p_is_small_exactly_where_the_interval_excludes_no_difference(estimate, variance, freedom, items):
    se = 0.02
    half = se * (stats.norm.ppf(0.975) if np.isinf(items) else stats.t.ppf(0.975, items))
    found = widened(around(estimate, half, se), np.array([items]), [(np.array([variance]), np.array([freedom]))], 0.95, -1, 1)
    assert (found.p[0] < 0.05) == (found.low[0] > 0)


def test_without_a_further_variance_nothing_changes_and_an_unknown_one_leaves_no_interval():
    base, freedom = around(0.1, 0.04, 0.02), np.array([np.inf])
    same = widened(base, freedom, [(np.zeros(1), np.ones(1))], 0.95, -1, 1)
    assert (same.low[0], same.high[0], same.p[0]) == (base.low[0], base.high[0], base.p[0])
    unknown = widened(base, freedom, [(np.array([np.nan]), np.ones(1))], 0.95, -1, 1)
    assert np.isnan([unknown.low[0], unknown.high[0], unknown.p[0]]).all()
    assert unknown.estimate[0] == 0.1


WORLD = World(
    dict.fromkeys(("Q1", "Q2", "Q3"), ("topic", "binary", (0, 1))),
    {name: ("sex", {"sex": name}) for name in ("f", "m")},
    # Code 1 is the mode everywhere.
    {(item, group): (2, 8) for item in ("Q1", "Q2", "Q3") for group in ("f", "m")},
)
PAIRS = list(WORLD.counts)


def answers(name: str, *right: int, orders: tuple[str, ...] = ("scale",)):
    """A run that is right on the first pairs, one number for each order."""
    return run_of(
        name,
        [
            {"item": item, "subgroup": group, "answer": int(at < count), "order": order}
            for order, count in zip(orders, right, strict=True)
            for at, (item, group) in enumerate(PAIRS)
        ],
    )


def seeded(runs, recipes, names, **settings_):
    placed = PlacedRuns(build(WORLD), runs, split="paper", part="test", fold=None, by=("all",), bootstrap=200, seed=0)
    return SeededRuns(placed, recipes, **settings_).rows(names, ["accuracy"], 0.95)


def test_a_recipe_is_the_mean_of_its_seeds():
    runs = [answers("base", 1), answers("a", 2), answers("b", 4), answers("alone-a", 1), answers("alone-b", 5), answers("item-mode", 6)]
    recipes = [SeededRecipe("recipe", {1: "a", 2: "b"}), SeededRecipe("alone", {2: "alone-b", 1: "alone-a", 3: "base"})]
    found = seeded(runs, recipes, [("recipe", "base"), ("recipe", "alone"), ("recipe", "item-mode"), ("recipe", None)])
    kept = found.select("difference", "seeds", "seed_sd", "seed_low", "seed_high", "included").rows()
    sixth, spread = 1 / 6, np.sqrt(2)
    expected = [
        # (2, 4) - 1, then by seed (2 - 1, 4 - 5), then against a run without seeds, then the mean itself.
        (2 * sixth, 2, spread * sixth, 1 * sixth, 3 * sixth),
        (0.0, 2, spread * sixth, -1 * sixth, 1 * sixth),
        (-3 * sixth, 2, spread * sixth, -4 * sixth, -2 * sixth),
        (3 * sixth, 2, spread * sixth, 2 * sixth, 4 * sixth),
    ]
    for row, (value, count, sd, low, high) in zip(kept, expected, strict=True):
        assert row[1] == count
        assert (row[0], *row[2:5]) == pytest.approx((value, sd, low, high))
        assert row[5] == "seed"
    assert found["p"].is_null().to_list() == [False, False, False, True]
    assert found["ci_high"][0] <= 1


def test_one_seed_has_the_interval_of_its_run():
    runs = [answers("base", 1), answers("a", 4)]
    found = seeded(runs, [SeededRecipe("recipe", {7: "a"})], [("recipe", "base")]).row(0, named=True)
    plain = compare(build(WORLD), runs, [("a", "base")], by=("all",), metrics=["accuracy"], bootstrap=200).row(0, named=True)
    assert {name: found[name] for name in ("difference", "ci_low", "ci_high", "se", "p", "pairs", "coverage")} == {
        name: plain[name] for name in ("difference", "ci_low", "ci_high", "se", "p", "pairs", "coverage")
    }
    assert (found["seeds"], found["seed_sd"], found["included"]) == (1, None, "")


def test_orders_are_included_unless_they_are_fixed():
    orders = ("scale", "reversed")
    runs = [answers("base", 1, 1, orders=orders), answers("a", 2, 6, orders=orders), answers("b", 3, 5, orders=orders)]
    recipe = [SeededRecipe("recipe", {1: "a", 2: "b"})]
    wide, fixed = (seeded(runs, recipe, [("recipe", "base")], **how).row(0, named=True) for how in ({}, {"vary": ()}))
    assert (wide["included"], fixed["included"]) == ("seed+order", "seed")
    assert wide["difference"] == fixed["difference"]
    assert wide["ci_low"] < fixed["ci_low"]


def test_pairs_that_a_seed_lacks_are_left_out():
    short = run_of("b", answers("b", 4).responses.head(4))
    found = seeded([answers("base", 0), answers("a", 6), short], [SeededRecipe("recipe", {1: "a", 2: "b"})], [("recipe", "base")])
    assert found.select("pairs", "difference").row(0) == (4, 1.0)
    assert found["coverage"][0] == pytest.approx(4 / 6)


def test_a_metric_without_values_and_no_replicates_leave_nulls():
    runs = [answers("base", 1), answers("a", 2), answers("b", 4)]
    recipe = [SeededRecipe("recipe", {1: "a", 2: "b"})]
    placed = PlacedRuns(build(WORLD), runs, split="paper", part="test", fold=None, by=("all", "level"), bootstrap=0, seed=0)
    found = SeededRuns(placed, recipe).rows([("recipe", "base")], ["accuracy", "w1"], 0.95)
    rows = {(row["key"], row["metric"]): row for row in found.iter_rows(named=True)}
    assert rows["all", "accuracy"]["difference"] == pytest.approx(1 / 3)
    assert rows["sex=f", "accuracy"]["pairs"] == 3
    for row in rows.values():
        assert (row["ci_low"], row["ci_high"], row["p"]) == (None, None, None)
        assert row["metric"] == "accuracy" or (row["difference"], row["seed_sd"], row["seed_low"], row["pairs"]) == (None, None, None, 0)


@pytest.mark.slow
def test_intervals_cover_the_gain_of_a_recipe_with_two_to_five_seeds():
    number = 100
    rows = study(number, 1, sds=(0.0, 0.03), gains=(0.0,))
    # Three standard errors of a rate of 95 % or 5 %.
    apart = 3 * np.sqrt(0.95 * 0.05 / number)
    for row in rows:
        if row.seeds > 1:
            assert row.covered["after"] >= 0.95 - apart, row
        assert row.claims["after"] <= 0.05 + apart, row
    one = next(row for row in rows if row.sd == 0.03 and row.seeds == SEEDS[0])
    assert one.covered["before"] < 0.95 - apart
    assert (one.claims["before"] > 0.05 + apart, one.claims["after"]) == (True, 0.0)
