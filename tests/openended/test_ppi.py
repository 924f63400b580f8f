"""Prediction-powered inference: closed forms, an independent library's figures, and coverage on planted errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, t

from valuestrata.stats.ppi import corrected_ratio

# Drawn once: 60 coded of 360 verdicts in half points, then what ppi-python 0.2.3 gives for them (lambda, estimate, half width at 95 %).
PEOPLE = "212212200002201202012010202111111222211210202100100121222111"
JUDGE = (
    "212211221202002202012011202110112222211211202100100121112111021010002220011012100002002021021001111221110221101112111211"
    "121112201110012012000200120110221010220210222100221001102110100211211221001110202202210112210101202112022012201222102120"
    "201102210200002200110111110002010201212222112122111200010112202222020121001120001002221021211111001221111120001002211220"
)
PEER = [(1.0, 0.4716666667, 0.0871172010), (0.0, 0.5583333333, 0.1009260834), (0.4, 0.5236666667, 0.0803909075)]
PEER_TUNED = (0.5088990985, 0.0772256821)
NORMAL = 1.959964


def corrected_mean(people, judge, items, **options):
    coded = np.where(np.isnan(people), np.nan, 1.0)
    return corrected_ratio(people, coded, judge, np.ones_like(judge), items, **options)


def halves(digits):
    return np.array([int(digit) for digit in digits]) / 2


def planted():
    judge = halves(JUDGE)
    people = np.full(len(judge), np.nan)
    people[: len(PEOPLE)] = halves(PEOPLE)
    return people, judge, np.arange(len(judge))


@pytest.mark.parametrize(("weight", "estimate", "half"), PEER)
def test_it_is_what_the_authors_library_gives(weight, estimate, half):
    found = corrected_mean(*planted(), weight=weight)
    assert found.value == pytest.approx(estimate)
    # Their variances divide by the number, ours by one less; their interval is the normal's.
    assert NORMAL * found.se == pytest.approx(half, rel=0.01)
    assert (found.coded, found.uncoded, found.items) == (60, 300, 60)
    assert found.high - found.value == pytest.approx(t.ppf(0.975, 59) * found.se)


def test_tuning_is_close_to_the_authors_library():
    """They take the variance of the judge over all answers, we take it over either part."""
    found = corrected_mean(*planted())
    assert found.value == pytest.approx(PEER_TUNED[0], abs=0.005)
    # With lambda taken as known, as they take it; the jackknife knows that it was tuned, to 60 answers.
    assert NORMAL * corrected_mean(*planted(), weight=found.weight).se == pytest.approx(PEER_TUNED[1], rel=0.02)
    assert PEER_TUNED[1] < NORMAL * found.se < 1.06 * PEER_TUNED[1]
    assert 0 < found.weight < 1


def test_the_closed_form():
    people, judge, items = planted()
    y, f, others = people[:60], judge[:60], judge[60:]
    weight = np.cov(y, f, bias=True)[0, 1] / 60 / (f.var() / 60 + others.var() / 300)
    found = corrected_mean(people, judge, items)
    assert found.weight == pytest.approx(weight)
    assert found.value == pytest.approx(weight * others.mean() + (y - weight * f).mean())
    variance = (y - weight * f).var() / 60 + weight**2 * others.var() / 300
    assert corrected_mean(people, judge, items, weight=weight).se == pytest.approx(np.sqrt(variance * 360 / 359))
    assert np.sqrt(variance) < found.se < 1.06 * np.sqrt(variance)


def test_the_jackknife_leaves_out_one_item_after_the_other():
    people, judge, items = simulated(np.random.default_rng(1), items=12, answers=8, coded=40)
    without = [corrected_mean(people[items != item], judge[items != item], items[items != item]).value for item in range(12)]
    assert corrected_mean(people, judge, items).se == pytest.approx(np.sqrt(11 / 12 * ((without - np.mean(without)) ** 2).sum()))
    taken, places = np.where(np.isnan(people), np.nan, (items % 3 > 0).astype(float)), people * (items % 3 > 0)
    inputs = (places, taken, judge * 0.7, np.where(judge > 0, 1.0, 0.5))
    parts = [corrected_ratio(*(values[items != item] for values in inputs), items[items != item]).value for item in range(12)]
    assert corrected_ratio(*inputs, items).se == pytest.approx(np.sqrt(11 / 12 * ((parts - np.mean(parts)) ** 2).sum()))


def test_clusters_by_hand():
    """Two coded answers and two others of each of five items; all of an item alike, so that its answers are one fact."""
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    judge = np.repeat([0.5, 1.0, 0.5, 0.0, 1.0], 4)
    people = np.where(np.tile([True, True, False, False], 5), np.repeat(y, 4), np.nan)
    found = corrected_mean(people, judge, np.repeat(np.arange(5), 4))
    # Coded and others have the same judge's mean within each item: nothing to gain from the judge's mean elsewhere.
    assert found.weight == 0.0
    assert found.value == pytest.approx(0.6)
    # Leaving out one of five equal clusters: (4 / 5) sum (mean without - mean)^2 = sum (y - mean)^2 / (5 x 4).
    assert found.se == pytest.approx(np.sqrt(((y - 0.6) ** 2).sum() / 20))


def test_a_perfect_judge_is_trusted_and_a_useless_one_left_aside():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 2000) / 2
    coded = np.where(np.arange(2000) < 100, truth, np.nan)
    items = np.arange(2000)
    perfect = corrected_mean(coded, truth, items)
    useless = corrected_mean(coded, rng.integers(0, 3, 2000) / 2, items)
    alone = corrected_mean(coded, truth, items, weight=0.0)
    assert perfect.weight > 0.9
    assert perfect.se < 0.35 * alone.se
    assert useless.weight < 0.25
    assert useless.se == pytest.approx(alone.se, rel=0.05)
    assert alone.items == 100


def test_a_judge_that_says_the_same_of_everything_leaves_the_peoples_mean():
    people, judge, items = planted()
    found = corrected_mean(people, np.full_like(judge, 0.5), items)
    assert (found.weight, found.value) == (0.0, pytest.approx(np.nanmean(people)))


def test_all_coded_is_the_plain_mean():
    values = np.array([0.0, 1.0, 1.0, 0.5, 1.0, 0.0])
    found = corrected_mean(values, 1 - values, np.arange(6))
    assert (found.value, found.weight, found.uncoded) == (pytest.approx(values.mean()), 0.0, 0)
    assert found.se == pytest.approx(values.std(ddof=1) / np.sqrt(6))


def test_a_ratio_by_hand():
    """Places of those who take a stance: three of four coded ones, none of them seen by a judge worth trusting."""
    place = np.array([0.2, 0.4, 0.9, 0.0, 0.6, 0.1])
    stance = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    found = corrected_ratio(place * stance, stance, np.zeros(6), np.ones(6), np.arange(6))
    assert found.value == pytest.approx(2.2 / 5)
    off = (place * stance - 0.44 * stance) / (5 / 6)
    # All are coded: the judge has no part in it, and the variance is the linearised one.
    assert found.se == pytest.approx(np.sqrt(6 / 5 * (off**2).sum()) / 6)


def test_a_mean_stays_in_its_range():
    """People say yes of all they coded, the judge of fewer there than elsewhere: corrected by as much, it would pass 1."""
    judge = np.array([0.0] * 10 + [1.0] * 20 + [1.0] * 70)
    people = np.where(np.arange(100) < 30, 1.0, np.nan)
    found = corrected_mean(people, judge, np.arange(100), weight=0.9)
    assert 0.9 * 1.0 + 1 - 0.9 * 2 / 3 > 1
    assert found.value == found.high == 1.0
    assert found.low < 1.0


def test_answers_all_alike_have_no_interval():
    people = np.where(np.arange(100) < 60, 0.0, np.nan)
    found = corrected_mean(people, np.zeros(100), np.arange(100))
    assert found.value == 0.0
    assert np.isnan([found.low, found.high]).all()


def test_a_mean_that_hangs_on_one_item_has_no_interval():
    """People took a stance in one item alone: without it there is no mean place, and no telling how much items vary."""
    items = np.repeat(np.arange(6), 4)
    coded = np.tile([True, True, False, False], 6)
    stance = np.where(coded, (items == 2).astype(float), np.nan)
    found = corrected_ratio(stance * 0.5, stance, np.full(24, 0.4), np.ones(24), items)
    assert found.value == pytest.approx(0.5)
    assert np.isnan([found.low, found.high, found.se]).all()


def test_nobody_coded_gives_nothing():
    found = corrected_mean(np.full(4, np.nan), np.zeros(4), np.arange(4))
    assert np.isnan(found.value)
    with pytest.raises(ValueError, match="lengths differ"):
        corrected_mean(np.zeros(3), np.zeros(4), np.arange(4))
    with pytest.raises(ValueError, match="fixed value"):
        corrected_mean(np.zeros(2), np.array([0.0, np.nan]), np.arange(2))


def simulated(rng, items=60, answers=10, coded=150):
    """A win rate of .45 that differs between items; the judge is wrong one time in five, and then for the run four in five times."""
    chance = np.repeat(rng.beta(4.5, 5.5, items), answers)
    truth = (rng.random(items * answers) < chance).astype(float)
    wrong = rng.random(truth.size) < 0.2
    judge = np.where(wrong, (rng.random(truth.size) < 0.8).astype(float), truth)
    people = np.full(truth.size, np.nan)
    chosen = rng.choice(truth.size, coded, replace=False)
    people[chosen] = truth[chosen]
    return people, judge, np.repeat(np.arange(items), answers)


@pytest.mark.slow
def test_planted_errors_are_missed_by_the_judge_alone_and_covered_when_corrected():
    repetitions, truth = 600, 0.45
    covered = naive = narrower = 0
    values = []
    for seed in range(repetitions):
        people, judge, items = simulated(np.random.default_rng(seed))
        found = corrected_mean(people, judge, items)
        covered += found.low <= truth <= found.high
        values.append(found.value)
        sums = np.bincount(items, judge - judge.mean()) / judge.size
        reach = t.ppf(0.975, 59) * np.sqrt(60 / 59 * (sums**2).sum())
        naive += abs(judge.mean() - truth) <= reach
        narrower += found.se < corrected_mean(people, judge, items, weight=0.0).se
    # The judge is off by .2 (.8 - .45) = .07, more than three of its standard errors.
    assert naive < 0.25 * repetitions
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(repetitions)
    low, high = binom.ppf([0.001, 0.999], repetitions, 0.95)
    assert low <= covered <= high
    assert narrower > 0.95 * repetitions
