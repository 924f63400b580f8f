"""The contract of the bootstrap: shapes, NaN, infinity, `known` and `freedom`, as the module's docstring defines them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from valuestrata.stats.bootstrap import Noise, Replicates, ResampledMean, ResampledSum, freedom_of, scale_of, shrink, variance
from valuestrata.stats.intervals import interval, percentile_ends, stretch
from valuestrata.stats.ratios import ratio

B, D, ITEMS = 400, 50, 12
NAN, INF = np.nan, np.inf


def replicates(values, estimate=0.0, known=True, freedom=None):
    column = np.asarray(values, dtype=float)[:, None]
    number = None if freedom is None else np.array([float(freedom)])
    return Replicates(np.array([estimate]), column, np.ones(1), np.array([known]), number)


def ends(found):
    return found.low[0], found.high[0]


def resampled(values, people=None, exact=False):
    """The mean of `values` over items as key 0, and of the first item alone as key 1."""
    rng = np.random.default_rng(0)
    values = np.asarray(values, dtype=float)
    weights = rng.multinomial(len(values), [1 / len(values)] * len(values), size=B).astype(float)
    by_items = (weights @ values / len(values) - values.mean())[:, None] * scale_of(np.array([float(len(values))]))
    number = np.array([float(len(values)), 1.0])
    counts = np.ones((1, len(values)))
    return ResampledMean(np.array([values.mean(), values[0]]), number, by_items, people, values[None], number, number, counts, exact)


def redrawn(deviations):
    """Noise of respondents from deviations by item, shape (D, I)."""
    deviations = deviations - deviations.mean(axis=0)
    sums = np.stack([deviations.sum(axis=1), deviations[:, 0]], axis=1)
    order = np.random.default_rng(1).permutation(np.arange(B) % len(sums))
    return Noise(sums, deviations[:, None].astype(np.float32), order)


def test_a_missing_estimate_has_no_interval():
    found = interval(replicates(np.linspace(-1, 1, 99), estimate=NAN), 0.95, -INF, INF)
    assert np.isnan([found.low, found.high, found.se, found.p]).all()


def test_missing_replicates_are_left_out():
    values = np.linspace(-1, 1, 101)
    whole = interval(replicates(values), 0.9, -INF, INF)
    holes = interval(replicates([*values, NAN, NAN, NAN]), 0.9, -INF, INF)
    for field in ("low", "high", "se", "p"):
        assert getattr(holes, field) == pytest.approx(getattr(whole, field))
    assert variance(np.array([[1.0], [NAN], [3.0]])) == pytest.approx([2.0])
    assert variance(np.array([[1.0], [NAN]])) == pytest.approx([0.0])


def test_infinite_replicates_count_and_leave_no_ends_where_the_interval_reaches_them():
    values = np.linspace(0, 1, 100)
    few = interval(replicates([*values, INF], estimate=0.5), 0.9, 0.0, INF)
    assert np.isfinite(ends(few)).all()
    assert ends(few)[1] > interval(replicates(values, estimate=0.5), 0.9, 0.0, INF).high[0]
    assert np.isnan([few.se[0], few.p[0]]).all()
    many = interval(replicates([*values, *[INF] * 20], estimate=0.5), 0.9, 0.0, INF)
    assert np.isnan(ends(many)).all()
    assert np.isinf(replicates([1.0, INF]).minus(replicates([INF, 2.0])).values).all()


def test_unknown_keys_have_no_interval_whatever_the_replicates():
    found = interval(replicates(np.linspace(-1, 1, 99), known=False), 0.95, -INF, INF)
    assert np.isnan([found.low, found.high, found.se, found.p]).all()
    assert not replicates([0.0, 1.0]).minus(replicates([0.0, 1.0], known=False)).known[0]


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_degrees_of_freedom_widen_the_interval_but_not_se(confidence):
    values = np.random.default_rng(2).normal(0.3, 1, 500)
    plain, infinite, few = (
        interval(replicates(values, estimate=0.3, freedom=freedom), confidence, -INF, INF) for freedom in (None, INF, 4)
    )
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    assert ends(plain) == ends(infinite) == pytest.approx(tuple(np.quantile(values, tails)))
    wider = stats.t.ppf(tails[1], 4) / stats.norm.ppf(tails[1])
    assert stretch(np.array([4.0]), confidence) == pytest.approx([wider])
    assert ends(few) == pytest.approx(tuple(0.3 + wider * (np.quantile(values, tails) - 0.3)))
    assert plain.se == few.se == pytest.approx([values.std(ddof=1)])
    assert plain.p[0] < few.p[0]
    assert percentile_ends(0.3, values, wider, confidence) == pytest.approx(ends(few))


def test_intervals_contain_the_estimate_and_stay_in_range():
    found = interval(replicates(np.linspace(0.5, 2, 99), estimate=0.2), 0.95, 0.0, 1.0)
    assert ends(found) == (0.2, 1.0)
    assert np.isnan(interval(replicates([], estimate=0.2), 0.95, 0.0, 1.0).low[0])


def test_a_single_item_moves_only_with_the_redraws():
    values = np.random.default_rng(3).normal(size=ITEMS)
    alone = resampled(values).replicates()
    assert alone.known.tolist() == [True, False]
    assert np.ptp(alone.values[:, 1]) == 0
    assert resampled(values, exact=True).replicates().known.all()
    both = resampled(values, redrawn(np.random.default_rng(4).normal(size=(D, ITEMS)))).replicates()
    assert both.known.all()
    assert np.ptp(both.values[:, 1]) > 0
    assert both.freedom[1] == INF


def test_a_few_identical_items_say_nothing_and_many_do():
    for number, known in ((1, False), (4, False), (5, True)):
        assert resampled(np.ones(number)).replicates().known[0] == known
    assert resampled(np.ones(4), exact=True).replicates().known[0]


def test_replicates_are_centred_and_noise_common_to_both_ways_counts_once():
    rng = np.random.default_rng(5)
    values = rng.normal(size=200)
    # Independent noise by item is already in the variation between items; noise common to all items is not.
    for common, own in ((0.0, 1.0), (0.3, 0.0)):
        noise = common * rng.normal(size=(D, 1)) + own * rng.normal(size=(D, 200))
        made = resampled(values, redrawn(noise)).replicates()
        people = redrawn(noise).sums[:, 0].var(ddof=1) / 200**2
        expected = values.var(ddof=1) / 200 + (people if common else 0.0)
        assert made.values[:, 0].var() == pytest.approx(expected, rel=0.25)
        assert made.values[:, 0].mean() == pytest.approx(values.mean(), abs=4 * np.sqrt(expected / B))
        assert made.freedom[0] >= 199
    assert shrink(np.array([1.0]), np.array([2.0]), np.array([1.0])) == pytest.approx([np.sqrt(0.5)])
    assert shrink(np.array([1.0]), np.array([0.0]), np.array([0.0])) == pytest.approx([1.0])
    assert freedom_of(np.array([5.0, 5.0]), np.array([1.0, 0.0]), np.array([1.0, 1.0])).tolist() == [16.0, INF]


def test_a_ratio_is_infinite_where_its_denominator_is_not_above_zero():
    def total(estimate, by_items):
        return ResampledSum(np.array([estimate]), np.ones(1), np.array(by_items)[:, None], None, np.full((1, 3), estimate / 3))

    items = np.array([3.0])
    found = ratio(total(1.0, [0.5, -0.5, 0.0]), total(2.0, [-2.0, 1.0, NAN]), items, items)
    assert found.estimate == pytest.approx([0.5])
    assert found.values[:, 0].tolist() == [INF, pytest.approx(1 / 6), pytest.approx(NAN, nan_ok=True)]
    assert found.freedom is None
    assert np.isnan(ratio(total(1.0, [0.0]), total(0.0, [1.0]), items, items).estimate[0])
