"""Contrasts against the tables of scores and comparisons, and linearity."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from valuestrata.fairness.context import context_of
from valuestrata.fairness.estimate.contrasts import Contrast, ContrastSums, contrast, contrast_sums, interval_and_p, unit_grid
from valuestrata.fairness.estimate.gaps import gap_weights, level_pairs
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.fairness.scores import ScoreCache, family_weights, score_metric, subtract
from valuestrata.scores import compare, score
from valuestrata.scores.layout import place
from valuestrata.scores.resampling import Resampler
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import interval
from valuestrata.stats.multiple_testing import holm

METRICS = ("accuracy", "nmae", "accuracy_expected", "accuracy_valid")


@pytest.fixture(scope="module")
def world(kit):
    plan = kit.random_world(4, items=12, draws=40)
    dataset = kit.build(plan)
    runs = [kit.run_of(f"run{seed}", kit.random_rows(plan, seed, asked=asked)) for seed, asked in ((1, 1.0), (2, 1.0), (3, 0.8))]
    return dataset, runs, context_of(dataset, AuditedPart(), Resampling(bootstrap=60, seed=3))


def of(context, run, metric):
    return score_metric(context, place(context.layout, run.name, run.responses).metrics[metric])


def table_of(frame, by, keys):
    rows = frame.filter(pl.col("by") == by)
    return {row["key"]: row for row in rows.iter_rows(named=True)}, keys


@pytest.mark.parametrize("metric", METRICS)
def test_units_have_the_scores_and_intervals_of_the_table_of_scores(world, metric):
    dataset, runs, context = world
    for run in runs:
        found = of(context, run, metric)
        ends = interval(found.units.replicates, 0.95, 0.0, 1.0)
        scores = score(dataset, [run], by=("subgroup", "level"), bootstrap=60, seed=3).filter(pl.col("metric") == metric)
        names = [*context.layout.subgroups, *(f"{attribute}={level}" for attribute, level in context.level_names)]
        for k, name in enumerate(names):
            row = scores.row(by_predicate=pl.col("key") == name, named=True)
            assert ends.estimate[k] == pytest.approx(row["value"], abs=1e-6)
            assert ends.low[k] == pytest.approx(row["ci_low"], abs=1e-5)
            assert ends.high[k] == pytest.approx(row["ci_high"], abs=1e-5)
            assert found.pairs[k] == row["pairs"]


@pytest.mark.parametrize("metric", METRICS)
def test_changes_are_those_of_the_table_of_comparisons(world, metric):
    dataset, runs, context = world
    for run in runs[1:]:
        difference = subtract(of(context, run, metric), of(context, runs[0], metric), ("units",))
        comparisons = compare(dataset, runs, [(run.name, "run1")], by=("all", "subgroup"), metrics=[metric], bootstrap=60, seed=3)
        ends = [interval(found.replicates, 0.95, -1.0, 1.0) for found in (difference.everyone, difference.units)]
        places = [(0, 0, "all"), *((1, k, name) for k, name in enumerate(context.layout.subgroups))]
        for which, k, key in places:
            row = comparisons.row(by_predicate=pl.col("key") == key, named=True)
            assert ends[which].estimate[k] == pytest.approx(row["difference"], abs=1e-6)
            assert ends[which].low[k] == pytest.approx(row["ci_low"], abs=1e-5)
            assert ends[which].high[k] == pytest.approx(row["ci_high"], abs=1e-5)
            assert ends[which].pairs[k] == row["pairs"]


@pytest.mark.parametrize("family", ["units", "gaps"])
def test_a_difference_of_contrasts_is_the_contrast_of_the_difference(world, family):
    _, runs, context = world
    first, second = (of(context, run, "accuracy") for run in runs[:2])
    assert (first.mask == second.mask).all()
    short = getattr(subtract(first, second, (family,)), family)
    long = getattr(score_metric(context, first.values.minus(second.values)), family)
    assert short.estimate == pytest.approx(long.estimate, abs=1e-6, nan_ok=True)
    assert short.replicates.values == pytest.approx(long.replicates.values, abs=1e-5, nan_ok=True)


def test_the_residual_variance_holds_items_and_people(world):
    _, runs, context = world
    found = of(context, runs[0], "accuracy").residuals
    residual, mask = of(context, runs[0], "accuracy").centred.residual, of(context, runs[0], "accuracy").mask
    for g in range(len(mask)):
        values = residual[g, mask[g]]
        # Resampled items: near the textbook variance of a mean.
        assert found.by_items[g] == pytest.approx(values.var(ddof=1) / len(values), rel=0.6, abs=1e-4)
    assert (found.extra >= 0).all()
    assert found.extra.max() > 0
    assert found.variance == pytest.approx(found.by_items + found.extra)


def test_without_redraws_only_items_are_resampled(kit):
    plan = kit.random_world(5, items=8)
    plan.draws = None
    dataset = kit.build(plan)
    context = context_of(dataset, AuditedPart(), Resampling(bootstrap=50))
    found = of(context, kit.run_of("a", kit.random_rows(plan, 1)), "accuracy")
    assert found.model_draws is None
    assert (found.units.extra == 0).all()
    assert found.redrawn.shape == (0, len(context.stratum))
    made = contrast(context.resampler, contrast_sums(family_weights(context, "units", found.mask), found.values, None))
    assert made.replicates.values == pytest.approx(found.units.replicates.values, nan_ok=True)


def test_the_cache_keeps_runs_that_are_needed_again_and_a_few_weights(world):
    _, runs, context = world
    values = {(at, "accuracy"): of(context, run, "accuracy").values for at, run in enumerate(runs)}
    cache = ScoreCache(context, values, {(0, "accuracy")}, 5, 0)
    assert cache.scores(0, "accuracy") is cache.scores(0, "accuracy")
    again = [cache.scores(1, "accuracy") for _ in range(2)]
    assert again[0] is not again[1]
    assert again[0].units.estimate.tolist() == again[1].units.estimate.tolist()
    mask = cache.scores(0, "accuracy").mask
    first = cache.weights("units", mask)
    assert cache.weights("units", mask) is first
    for k in range(20):
        other = mask.copy()
        other[0, k % mask.shape[1]] ^= True
        other[1, k // mask.shape[1]] ^= True
        cache.weights("units", other)
    assert cache.weights("units", mask) is not first
    assert cache.weights("units", mask).counts.tolist() == first.counts.tolist()


def test_common_pairs_are_those_of_both_runs(world):
    _, runs, context = world
    values = {(at, "accuracy"): of(context, run, "accuracy").values for at, run in enumerate(runs)}
    cache = ScoreCache(context, values, set(), 5, 0)
    first, second, partial = (cache.scores(at, "accuracy") for at in range(3))
    assert cache.on_common_pairs(first, second)[0] is first
    both = cache.on_common_pairs(first, partial)
    assert (both[0].mask == (first.mask & partial.mask)).all()
    assert (both[1].mask == both[0].mask).all()
    assert len(both[0].spreads) == len(context.populations)


def resampler_of(items, bootstrap=400, seed=0):
    """Resamples of items alone."""
    layout = SimpleNamespace(
        items=range(items), questions=np.arange(items), blocks=np.arange(items), draws=np.zeros((0, 1), dtype=np.int8), share_draws=[]
    )
    return Resampler(layout, bootstrap, seed)


def test_p_of_few_items_is_that_of_students_t_where_it_is_larger():
    rng = np.random.default_rng(0)
    values = np.array([[0.1], [-0.02]]) + rng.normal(0, 0.05, (2000, 2)).T
    replicates = Replicates(np.array([0.1, 0.02]), values.T, np.full(2, 9.0), np.ones(2, dtype=bool))
    items = np.array([9.0, 9.0])
    found = interval_and_p(Contrast(replicates, items, items, items, items), 0.95, -1, 1)
    plain = interval(replicates, 0.95, -1, 1)
    assert found.p[0] == pytest.approx(2 * stats.t.sf(0.1 / found.se[0], 8))
    assert (found.p >= plain.p).all()
    assert found.low.tolist() == plain.low.tolist()
    many = interval_and_p(Contrast(replicates, 1e6 * items, 1e6 * items, items, items), 0.95, -1, 1)
    assert many.p == pytest.approx(plain.p, rel=0.1, abs=0.01)


def test_no_gap_of_many_is_claimed_more_often_than_said_though_items_are_few():
    rng = np.random.default_rng(1)
    cells = [(a, b) for a in range(6) for b in range(5)]
    levels = {
        name: {f"{name}{k}": np.array([cell[column] == k for cell in cells]) for k in range(size)}
        for column, (name, size) in enumerate((("a", 6), ("b", 5)))
    }
    pairs = level_pairs(levels, len(cells))
    false = 0
    for world in range(200):
        grid = (rng.random((30, 20)) < rng.uniform(0.3, 0.95, 20)).astype(float)
        weights = gap_weights(pairs, ~np.isnan(grid))
        made = ContrastSums(np.einsum("kgi,gi->ki", weights.pairs, grid), weights.counts, None, None, np.zeros(0, dtype=np.intp), False)
        found = interval_and_p(contrast(resampler_of(20, seed=world), made), 0.95, -1, 1)
        assert len(found.p) == 25
        false += min(holm(found.p.tolist())) <= 0.05
    assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.01


def test_unit_grids_by_plain_loops():
    rng = np.random.default_rng(2)
    grid = rng.random((4, 5))
    grid[rng.random(grid.shape) < 0.4] = np.nan
    members = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]], dtype=float)
    found = unit_grid(members, grid)
    for u in range(3):
        for i in range(5):
            values = [grid[g, i] for g in range(4) if members[u, g] and not np.isnan(grid[g, i])]
            assert found[u, i] == pytest.approx(sum(values) / len(values)) if values else np.isnan(found[u, i])


def test_rounding_in_single_precision_is_no_difference():
    """Items of unlike size whose rows cancel up to 1e-8: nothing is there, and nothing may be claimed of it."""
    resampler = Resampler(
        SimpleNamespace(items=range(8), questions=np.arange(8), blocks=np.arange(8), draws=np.zeros((0, 8)), share_draws=[], keys=None),
        200,
        0,
    )
    rows = np.random.default_rng(1).normal(0, 1e-8, (1, 8))
    found = interval_and_p(contrast(resampler, ContrastSums(rows + 3e-9, np.ones((1, 8)), None, None, None, False)), 0.95, -1, 1)
    assert (found.estimate[0], found.low[0], found.high[0], found.p[0]) == (0, 0, 0, 1)
    small = interval_and_p(contrast(resampler, ContrastSums(1e4 * (rows + 3e-8), np.ones((1, 8)), None, None, None, False)), 0.95, -1, 1)
    assert small.p[0] < 0.05
