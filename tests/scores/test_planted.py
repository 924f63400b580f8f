"""Over planted populations: intervals cover, and the strongest baseline finds what was planted and nothing else.

A short version of `bench/simulation_study.py`: fewer populations, items and redraws. Limits are those of the binomial
distribution; every seed is fixed, so that the outcome is too.
"""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from bench import planted
from bench.planted import EFFECTS, ERROR, ITEM_MODE, NATIONAL, NONE, ORACLE, SUBGROUP, Task
from valuestrata.survey.simulation.population import SimulationSettings

pytestmark = pytest.mark.slow

# Under each condition. Those of one condition share no seed with those of another: all rates are of independent trials.
POPULATIONS = 50
FIRST_SEED = {NONE: 0, EFFECTS: 1000}
STRONGEST = "ensemble"
# Test labels are those of people who train nothing: what is found there was planted.
SCHEME = "paper+disjoint"
SMALL = SimulationSettings(respondents=600, items=24, nominal=0.1, levels=(2, 3, 3))
# How often a true rate may leave its limits, half of it on either side.
RARE = 0.001


@pytest.fixture(scope="module")
def rows():
    found = []
    for condition, first in FIRST_SEED.items():
        for seed in range(first, first + POPULATIONS):
            task = Task(
                condition, "redrawn", seed, seed, (ITEM_MODE, STRONGEST), (SCHEME,), SMALL, draws=50, bootstrap=200, structure=False
            )
            found += planted.rows_of(task)
    return planted.frame_of(found)


def one(rows, condition, run, metric, against=None, what=None):
    """The rows of one figure, a population each."""
    what = what or ("score" if against is None else "difference")
    found = rows.filter(
        pl.col("condition") == condition,
        pl.col("what") == what,
        pl.col("run") == run,
        pl.col("metric") == metric,
        pl.col("against").eq_missing(pl.lit(against, dtype=pl.String)),
    )
    assert found["population"].to_list() == list(range(FIRST_SEED[condition], FIRST_SEED[condition] + POPULATIONS))
    return found


def inside(found, narrower=1.0):
    """Which intervals hold the mean over the populations, made narrower about their middle by a factor."""
    middle, half = (found["low"] + found["high"]) / 2, (found["high"] - found["low"]) / 2
    return (abs(found["value"].mean() - middle) <= narrower * half).to_numpy()


def fewest(number, rate):
    return stats.binom.ppf(RARE / 2, number, rate)


def most(number, rate):
    return stats.binom.isf(RARE / 2, number, rate)


@pytest.mark.parametrize(("run", "against"), [(NATIONAL, None), (SUBGROUP, None), (SUBGROUP, NATIONAL)])
@pytest.mark.parametrize("metric", ["accuracy", "accuracy_expected", "nmae", "w1"])
def test_intervals_cover_as_a_binomial_test_allows(rows, run, against, metric):
    found = [one(rows, condition, run, metric, against) for condition in (NONE, EFFECTS)]
    held = np.concatenate([inside(part) for part in found])
    assert len(held) == 2 * POPULATIONS
    assert held.sum() >= fewest(len(held), 0.95)
    # Not by being too wide: the widths are those that the spread of the scores themselves calls for.
    widths = [(part["high"] - part["low"]).mean() / (2 * 1.96 * part["value"].std()) for part in found]
    assert 0.8 < np.mean(widths) < 1.3
    # The test would tell: intervals of half the width fail it.
    assert sum(inside(part, 0.5).sum() for part in found) < fewest(len(held), 0.95)


def test_a_model_of_known_accuracy_has_it(rows):
    # Right unless it errs, and then by chance: one of the options that items are drawn from.
    exact = 1 - ERROR + ERROR * np.mean([1 / options for options in SMALL.options])
    assert exact == pytest.approx(0.8553, abs=1e-4)
    for condition in (NONE, EFFECTS):
        values = one(rows, condition, SUBGROUP, "accuracy", what="planted")["value"]
        assert abs(values.mean() - exact) < 3.5 * values.std() / np.sqrt(POPULATIONS)
    # The nation's modes are as good where subgroups do not differ, and only there.
    alike, apart = (one(rows, condition, NATIONAL, "accuracy", what="planted")["value"] for condition in (NONE, EFFECTS))
    assert abs(alike.mean() - exact) < 3.5 * alike.std() / np.sqrt(POPULATIONS)
    assert apart.mean() < exact - 0.1


def test_two_equal_models_are_told_apart_by_chance_only(rows):
    for metric in ("accuracy", "accuracy_expected", "nmae", "w1"):
        found = one(rows, NONE, SUBGROUP, metric, NATIONAL)
        assert ((found["low"] > 0) | (found["high"] < 0)).sum() <= most(POPULATIONS, 0.05)


def test_the_planted_truth_beats_the_nation_where_subgroups_differ(rows):
    better, nearer = (one(rows, EFFECTS, ORACLE, metric, ITEM_MODE) for metric in ("accuracy_expected", "w1"))
    assert (better["low"] > 0).sum() >= fewest(POPULATIONS, 0.95)
    assert (nearer["high"] < 0).sum() >= fewest(POPULATIONS, 0.95)


def test_the_strongest_baseline_finds_planted_effects(rows):
    nearer = one(rows, EFFECTS, STRONGEST, "w1", ITEM_MODE)
    assert (nearer["high"] < 0).sum() >= fewest(POPULATIONS, 0.95)
    better = one(rows, EFFECTS, STRONGEST, "accuracy_expected", ITEM_MODE)
    # Modes tell less than shares, and half of 600 respondents little: often, though not always.
    assert (better["low"] > 0).sum() >= fewest(POPULATIONS, 0.5)
    assert stats.ttest_1samp(better["value"], 0).pvalue < 1e-6
    assert better["value"].mean() > 0.02


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("accuracy_expected", 1), ("nmae", -1), ("w1", -1)])
def test_the_strongest_baseline_finds_nothing_where_nothing_was_planted(rows, metric, sign):
    found = one(rows, NONE, STRONGEST, metric, ITEM_MODE)
    beats = found["low"] > 0 if sign > 0 else found["high"] < 0
    assert beats.sum() <= most(POPULATIONS, 0.025)
    assert sign * found["value"].mean() < 0.005


def test_the_strongest_baseline_is_nearer_to_the_planted_shares_than_the_sample_is(rows):
    def error(condition, run):
        return one(rows, condition, run, "rmse", what="recovery")["value"].mean()

    assert error(EFFECTS, STRONGEST) < 0.9 * error(EFFECTS, ITEM_MODE)
    assert error(EFFECTS, STRONGEST) < 0.9 * error(EFFECTS, "observed")
    # Where nothing was planted nothing comes nearer than the nation's own shares.
    assert error(NONE, ITEM_MODE) < error(NONE, STRONGEST) < error(NONE, "observed")
