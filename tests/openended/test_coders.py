"""Coders are a sample: intervals contain how other coders would differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, t

from valuestrata.stats.ppi import JudgedAnswers, corrected_difference, corrected_ratio


def corrected(ratings, judge, items, **options):
    return corrected_ratio(ratings, np.where(np.isnan(ratings), np.nan, 1.0), judge, np.ones(len(judge)), items, **options)


def test_the_variance_of_complete_ratings_is_that_of_the_coders_means():
    """Two coders with means .6 and .5: the variance due to coders is .1^2 / 2 / 2 = .05^2."""
    rng = np.random.default_rng(0)
    first = rng.permutation(np.repeat([1.0, 0.0], [12, 8]))
    second = first.copy()
    second[np.flatnonzero(first)[:2]] = 0.0
    ratings, judge, items = np.stack([first, second], axis=1), np.zeros(20), np.arange(20) % 10
    both = corrected(ratings, judge, items)
    assert both.value == pytest.approx(0.55)
    assert (both.raters, both.rater_se) == (2, pytest.approx(0.05))
    of_items = corrected(ratings.mean(axis=1), judge, items).se
    assert both.se == pytest.approx(np.hypot(of_items, 0.05))
    freedom = both.se**4 / (of_items**4 / 9 + 0.05**4 / 1)
    assert both.high - both.value == pytest.approx(t.ppf(0.975, freedom) * both.se)


def test_coders_who_agree_add_nothing_and_one_coder_has_no_share():
    rng = np.random.default_rng(1)
    values, judge, items = rng.integers(0, 2, 60).astype(float), rng.random(60), np.arange(60) % 12
    alone, agreed = corrected(values, judge, items), corrected(np.stack([values] * 3, axis=1), judge, items)
    assert agreed.rater_se == 0
    assert (agreed.value, agreed.low, agreed.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert np.isnan(alone.rater_se)
    assert alone.raters == 1


def test_leniency_towards_both_runs_cancels_in_their_difference():
    """The second coder rates every answer .2 higher: the win rates move, their difference does not."""
    rng = np.random.default_rng(2)
    items, judge = np.arange(80) % 16, np.full(80, 0.5)
    runs = [np.stack([base, base + 0.2], axis=1) for base in (rng.uniform(0.1, 0.7, 80), rng.uniform(0.0, 0.6, 80))]
    for ratings in runs:
        assert corrected(ratings, judge, items).rater_se == pytest.approx(0.1)
    found = corrected_difference(*(JudgedAnswers(ratings, judge, items) for ratings in runs))
    assert found.rater_se == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="same raters"):
        corrected_difference(JudgedAnswers(runs[0], judge, items), JudgedAnswers(runs[1][:, 0], judge, items))


def study(rng, coders, leniency, *, share, items=40, answers=8, coded=120):
    """Win rates of .55, a judge that is wrong in a fifth of cases, and coders whose leniency has a standard deviation."""
    chance = np.repeat(np.clip(rng.normal(0.55, 0.15, items), 0, 1), answers) + rng.normal(0, 0.2, items * answers)
    lenient = rng.normal(0, leniency, coders)
    ratings = np.full((len(chance), coders), np.nan)
    rows = rng.choice(len(chance), coded, replace=False)
    ratings[rows] = rng.random((coded, coders)) < chance[rows, None] + lenient
    ratings[rng.random(ratings.shape) > share] = np.nan
    judge = np.where(rng.random(len(chance)) < 0.2, rng.random(len(chance)) < 0.9, rng.random(len(chance)) < chance).astype(float)
    return ratings, judge, np.repeat(np.arange(items), answers)


@pytest.mark.slow
@pytest.mark.parametrize(("coders", "leniency", "share"), [(2, 0.0, 1.0), (2, 0.05, 1.0), (3, 0.05, 0.6), (3, 0.1, 1.0), (5, 0.1, 1.0)])
def test_the_interval_covers_the_mean_of_all_coders(coders, leniency, share):
    """The interval about the coders at hand, as of one coder with their mean, covers it too seldom where coders differ."""
    repetitions = 400
    covered = fixed = 0
    for seed in range(repetitions):
        ratings, judge, items = study(np.random.default_rng([seed, coders]), coders, leniency, share=share)
        found = corrected(ratings, judge, items)
        rated = np.isfinite(ratings)
        mean = np.where(rated, ratings, 0).sum(axis=1) / np.where(rated.any(axis=1), rated.sum(axis=1), np.nan)
        these = corrected(mean, judge, items)
        assert these.value == pytest.approx(found.value)
        covered += found.low <= 0.55 <= found.high
        fixed += these.low <= 0.55 <= these.high
    print(coders, leniency, share, fixed / repetitions, covered / repetitions)
    assert covered >= binom.ppf(0.001, repetitions, 0.95)
    if leniency:
        assert fixed < binom.ppf(0.001, repetitions, 0.95)
