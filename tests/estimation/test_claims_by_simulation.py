"""What the estimators promise, in simulated worlds whose truth is known: coverage, what a useless model costs and a perfect one gains.

`bench/subsampling.py` is the same study of real surveys.
"""

import math
from dataclasses import replace

import polars as pl
import pytest

from bench.subsampling import five_estimates, full_file, repeat
from bench.subsampling_models import perfect_people, shuffled
from bench.subsampling_scores import table
from tests.estimation.simulated import world
from valuestrata.estimation.model_values import values_of_pairs

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")]
REPETITIONS = 30
# A model that gives the own answer of 6 in 10 people is far better than those of docs/fewer-interviews.md. With few answers, the gain
# from it is overestimated: coverage found.
TOO_SHORT = {
    ("small-area", "model", 100, "share"): 0.916,
    ("small-area", "model", 300, "share"): 0.923,
    ("small-area", "model", 100, "mean"): 0.924,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the table of a world with a model of some skill, a useless, a perfect respondent-level and a perfect pair-level one."""
    tables = []
    made = world(21, people=1500, items=12)
    data = made.draw(len(made.cell), 0)
    known = {
        "shuffled": shuffled(data, data.models["model"], 0),
        "perfect": perfect_people(data, 0),
        "perfect-pairs": values_of_pairs("perfect-pairs", made.truth, data),
    }
    full = full_file(replace(data, models={**data.models, **known}))
    for n in (100, 300):
        sums = repeat(full, n, 0, REPETITIONS, tmp_path_factory.mktemp("sums") / f"{n}.npz", five_estimates)
        tables.append(table(sums, n))
    return pl.concat(tables, how="diagonal")


def row(results, n, estimator, run=None, *, quantity="share", answers="all"):
    return (
        results.filter(n=n, estimator=estimator, quantity=quantity, answers=answers)
        .filter(pl.col("run").eq_missing(run))
        .row(0, named=True)
    )


@pytest.mark.parametrize("n", [100, 300])
@pytest.mark.parametrize("quantity", ["share", "mean"])
@pytest.mark.parametrize(
    ("estimator", "run"),
    [
        ("human", None),
        ("rectified", "model"),
        ("rectified", "shuffled"),
        ("small-area", None),
        ("small-area", "model"),
        ("small-area", "shuffled"),
    ],
)
def test_intervals_cover_the_truth_in_95_percent(request, results, n, estimator, run, quantity):
    if known := TOO_SHORT.get((estimator, run, n, quantity)):
        request.applymarker(pytest.mark.xfail(reason=f"covers {known:.1%}", strict=True))
    answers = "all" if quantity == "share" or estimator == "small-area" else "50+"
    assert 0.93 < row(results, n, estimator, run, quantity=quantity, answers=answers)["coverage"] < 0.97


@pytest.mark.parametrize("n", [100, 300])
def test_a_useless_model_costs_at_most_2_percent(results, n):
    rectified = row(results, n, "rectified", "shuffled")
    assert rectified["length_ratio"] <= 1.0 + 1e-9
    assert rectified["rmse_ratio"] < 1.02
    small_area = row(results, n, "small-area", "shuffled")
    assert small_area["length_against_without"] < 0.02
    assert small_area["against_without"] < 0.02


def test_a_perfect_respondent_level_model_leaves_the_variance_that_theory_says(results):
    """The correlation of the model's answer with the person's own is .9, so 1 - .9^2 of the variance is left."""
    found = row(results, 300, "rectified", "perfect", answers="50+")
    assert found["rmse_ratio"] == pytest.approx(math.sqrt(1 - 0.9**2), rel=0.1)
    assert found["length_ratio"] == pytest.approx(math.sqrt(1 - 0.9**2), rel=0.1)


@pytest.mark.parametrize(("run", "gain"), [("perfect", 0.5), ("perfect-pairs", 0.4)])
def test_a_perfect_model_takes_a_large_part_off_the_error_of_small_area_estimates(results, run, gain):
    assert row(results, 300, "small-area", run)["against_without"] < -gain


def test_no_interval_of_a_rectified_estimate_is_longer_than_that_of_the_sample_alone(results):
    for n in (100, 300):
        for run in ("model", "shuffled", "perfect", "perfect-pairs"):
            assert row(results, n, "rectified", run)["length_ratio"] <= 1.0 + 1e-9
