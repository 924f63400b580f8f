"""The study of repeated samples itself: what it finds where the errors and the intervals are known."""

from dataclasses import replace

import numpy as np
import pytest

from bench.subsampling import answers_in, full_file, repeat
from bench.subsampling_models import exchanged, perfect_people, shuffled
from bench.subsampling_scores import Sums, jackknife, measured, table
from tests.estimation.simulated import world
from valuestrata.estimation.estimates import Estimates

SE = 0.05


@pytest.fixture(scope="module")
def full():
    one = world(3, people=600, items=6)
    return full_file(one.draw(600, 0))


def drawn(full, rng, *, widths=1.0, se=SE):
    """Return estimates with normal errors of a known standard error, and 95 % intervals of `widths` times the right length."""
    error = rng.normal(0, se, full.truth.shares.shape)
    shares, half = full.truth.shares + error, 1.96 * se * widths
    mean, mean_half = full.truth.mean + rng.normal(0, se, full.truth.mean.shape), 1.96 * se * widths
    flat = np.full(full.truth.mean.shape, se**2)
    none = np.zeros(full.truth.mean.shape, dtype=bool)
    return Estimates("human", None, shares, shares - half, shares + half, np.full(shares.shape, se**2), mean, mean - mean_half,
                     mean + mean_half, flat, none, flat)  # fmt: skip


def stand_ins(full, seed=0):
    """Return an estimator with right intervals, intervals 10 % too short, and half the errors with a model."""
    rng = np.random.default_rng(seed)
    return lambda _data: {
        "human": drawn(full, rng),
        "short": drawn(full, rng, widths=0.9),
        "small-area": drawn(full, rng),
        "small-area:model": drawn(full, rng, se=SE / 2),
    }


def test_truth_is_that_of_the_world(full):
    one = world(3, people=600, items=6)
    studied = full.truth.kept
    assert np.allclose(full.truth.shares[studied], one.truth[studied])
    assert studied.sum() < studied.size, "cells under 10 people are left out"


def test_a_right_interval_covers_and_one_that_is_10_percent_too_short_is_detected(full, tmp_path):
    found = table(repeat(full, 100, 0, 60, tmp_path / "sums.npz", stand_ins(full)), 100)
    whole = found.filter(answers="all").rows_by_key(["estimator", "run", "quantity"], named=True, unique=True)
    for quantity in ("share", "mean"):
        right, short = whole["human", None, quantity], whole["short", None, quantity]
        assert 0.94 < right["coverage"] < 0.96
        assert short["coverage"] == pytest.approx(0.9223, abs=0.01)
        assert short["coverage"] < 0.93
        assert short["length_ratio"] == pytest.approx(0.9)
        assert right["coverage_se"] < 0.005
        halved = whole["small-area", "model", quantity]
        assert halved["rmse_ratio"] == pytest.approx(0.5, abs=0.02)
        assert halved["against_without"] == pytest.approx(-0.5, abs=0.02)
        assert halved["repetitions_low"] < halved["against_without"] < halved["repetitions_high"] < -0.45
        assert halved["blocks_low"] < halved["against_without"] < halved["blocks_high"] < -0.4
    assert whole["human", None, "share"]["rmse"] == pytest.approx(SE, rel=0.02)


def test_chance_does_not_lower_the_coverage_of_the_worst_tenth(full, tmp_path):
    found = table(repeat(full, 400, 0, 60, tmp_path / "sums.npz", stand_ins(full)), 400)
    worst = found.filter(answers="all", quantity="share", estimator="human")["coverage_worst_tenth"][0]
    assert worst == pytest.approx(0.95, abs=0.02)


def test_samples_depend_on_the_seed_the_size_and_the_repetition_only(full):
    one, again, other = full.draw(100, 0, 5), full.draw(100, 0, 5), full.draw(100, 0, 6)
    assert (one.sample.answers == again.sample.answers).all()
    assert not (one.sample.answers == other.sample.answers).all()
    assert one.sample.people == 100
    assert one.sample.fraction == pytest.approx(100 / 600)
    assert one.models["model"].people.shape[0] == 100
    everyone = full.draw(600, 0, 0)
    assert (answers_in(everyone) == answers_in(full.data)).all()


def test_an_interrupted_study_continues_with_the_next_repetition(full, tmp_path):
    calls = []

    def constant(data):
        calls.append(data.sample.answers.sum())
        return {"human": drawn(full, np.random.default_rng(int(data.sample.answers.astype(int).sum())))}

    whole = repeat(full, 80, 0, 12, tmp_path / "whole.npz", constant)
    repeat(full, 80, 0, 5, tmp_path / "parts.npz", constant)
    calls.clear()
    continued = repeat(full, 80, 0, 12, tmp_path / "parts.npz", constant)
    assert len(calls) == 1 + 7
    for name in ("by_repetition", "by_block", "cells", "cell_counts"):
        assert np.array_equal(getattr(whole, name), getattr(continued, name))


def test_sums_of_other_methods_are_refused(full, tmp_path):
    Sums(("human",), full.truth).save(tmp_path / "sums.npz")
    with pytest.raises(SystemExit, match="delete it"):
        Sums(("human", "small-area"), full.truth).load(tmp_path / "sums.npz")


def test_errors_are_averaged_over_options_and_means_are_in_lengths_of_the_scale(full):
    exact = replace(
        drawn(full, np.random.default_rng(0), se=1e-9), shares=full.truth.shares + 0.1, mean=full.truth.mean + 1.0, low=full.truth.shares
    )
    values = measured(full.truth, exact)
    kept = full.truth.kept
    assert np.allclose(values[kept][:, 0, 0], 0.01)
    options = full.truth.items.options
    assert np.allclose(values[..., 1, 0][kept], np.broadcast_to(1.0 / (options - 1.0) ** 2, kept.shape)[kept])


def test_the_interval_of_a_difference_is_that_of_the_jackknife():
    """Ratio of two means with five rows: the error from leaving out rows, worked by hand."""
    sums = np.array([[1.0, 4.0], [1.0, 4.0], [1.0, 4.0], [1.0, 4.0], [1.0, 4.0]])
    assert jackknife(sums, np.ones_like(sums), 0, 1) == pytest.approx((-0.5, -0.5, -0.5))
    sums[:, 0] = [1.0, 1.0, 1.0, 1.0, 4.0]
    estimate, low, high = jackknife(sums, np.ones_like(sums), 0, 1)
    left_out = np.sqrt([7 / 4, 7 / 4, 7 / 4, 7 / 4, 1.0]) / 2
    half = 2.7764451 * np.sqrt(4 / 5 * ((left_out - left_out.mean()) ** 2).sum())
    assert (estimate, low, high) == pytest.approx((np.sqrt(8 / 5) / 2 - 1, np.sqrt(8 / 5) / 2 - 1 - half, np.sqrt(8 / 5) / 2 - 1 + half))


def test_answers_are_exchanged_among_items_of_a_kind(full):
    source = exchanged(full.data, 0)
    options = full.data.items.options
    assert (source != np.arange(len(source))).all()
    assert sorted(source) == list(range(len(source)))
    assert (options[source] == options).all()
    useless = shuffled(full.data, full.data.models["model"], 0)
    assert np.array_equal(useless.people, full.data.models["model"].people[:, source])


def test_the_perfect_model_knows_nine_of_ten_people(full):
    model = perfect_people(full.data, 0)
    own = (full.data.sample.answers[..., None] == np.arange(5)).astype(float)
    i = 0
    correlation = np.corrcoef(own[:, i, 0], model.people[:, i, 0])[0, 1]
    assert correlation == pytest.approx(0.9, abs=0.05)
    assert np.allclose(model.population[0], model.people.mean(axis=0))
