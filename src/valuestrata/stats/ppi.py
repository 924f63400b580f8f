"""What people would have said of all answers, from a judge on all of them and people on some: prediction-powered inference.

A judge is cheap and wrong in ways of its own. People on a random sample measure how wrong, and the mean over everything is
put right by that much (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, Science 382:669-674). With f the judge's value
of an answer and y the people's, n answers coded and N not,

    theta(lambda) = lambda mean_N f + mean_n (y - lambda f).

Its expectation is that of y whatever the judge does and whatever lambda is. lambda is tuned to the smallest variance
(PPI++, Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453) and kept within 0 and 1: a useless judge gets 0, which leaves
the people's own mean.

**Clustered by item.** Answers to one item stand together, coded or not, so that the variance is that of sums over items.
Around the means, an item g brings

    a_g - lambda b_g,   a_g = sum_coded (y - mean y) / n,   b_g = sum_coded (f - mean_n f) / n - sum_others (f - mean_N f) / N,

    Var = G / (G - 1) sum_g (a_g - lambda b_g)^2,   lambda = sum_g a_g b_g / sum_g b_g^2.

With one answer an item this is Var(y - lambda f) / n + lambda^2 Var f / N and lambda = Cov(y, f) / ((1 + n / N) Var f), as in the
paper. The interval uses Student's t with one degree of freedom less than there are coded items.

This takes lambda as known. Tuned to few items it fits their accidents: in simulated studies intervals over 10, 20 and 60 items held
the truth in 92, 94 and 94 of 100. Up to `FEW_ITEMS` coded items a tuned estimate has the jackknife's variance instead, with theta_g the
estimate without item g, lambda tuned anew: (G - 1) / G sum_g (theta_g - mean)^2; 95, 95 and 95 of 100.

**Ratios** (a mean place on the scale over those answers that take a stance): numerator and denominator are corrected with the
same lambda, and y, f above are the numerator less ratio times denominator, over the denominator's mean (the delta method).

What must hold: the coded answers are a random sample of all of them. `valuestrata open sample` draws such a one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.stats.agreement import NOTHING
from valuestrata.stats.cluster_bootstrap import CONFIDENCE, ENOUGH_ITEMS, Floats, numbered

# Over more coded items than this, tuning adds nothing to the variance that could be seen.
FEW_ITEMS = 400
# Leaving out each of so many items takes a table of their square; beyond it the plain variance must do.
MOST_LEFT_OUT = 2000


@dataclass(frozen=True)
class Corrected:
    """An estimate corrected for the judge's errors; NaN where it is not defined.

    Attributes:
        value, low, high: the corrected mean with its 95 % interval, within the range of the mean; se: its standard error. Where
            nothing varies there is no interval: sixty answers alike do not make the next one certain.
        weight: lambda, how far the judge was relied on, 0 to 1.
        coded, uncoded: answers with people's values, and the rest. items: items with a coded answer.
    """

    value: float
    low: float
    high: float
    se: float
    weight: float
    coded: int
    uncoded: int
    items: int


def corrected_mean(
    people: Floats, judge: Floats, items: NDArray[Any], *, weight: float | None = None, low: float = 0.0, high: float = 1.0
) -> Corrected:
    """Return the mean of the people's values over all answers.

    Args:
        people: people's value of each answer, NaN where nobody coded it; shape (n + N,).
        judge: the judge's value of each answer; any number where it said nothing, for every predictor is allowed. Same shape.
        items: whose item each answer is. weight: lambda; tuned if left out, 0 for people alone, 1 for PPI without tuning.
        low, high: range of the mean, to which it and its interval are cut.

    Raises:
        ValueError: arrays of different lengths, or a judge's value that is not a number.
    """
    ones = np.ones_like(judge)
    coded = np.where(np.isnan(people), np.nan, 1.0)
    return corrected_ratio(people, coded, judge, ones, items, weight=weight, low=low, high=high)


def corrected_ratio(
    people: Floats,
    people_base: Floats,
    judge: Floats,
    judge_base: Floats,
    items: NDArray[Any],
    *,
    weight: float | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> Corrected:
    """Return sum of `people` over sum of `people_base` over all answers, from a judge's on all and people's on some.

    Args:
        people, people_base: numerator and denominator by people, NaN (both) where nobody coded the answer.
        judge, judge_base: the same by the judge, known for every answer.
        items, weight, low, high: as in `corrected_mean`.

    Raises:
        ValueError: arrays of different lengths, or a judge's value that is not a number.
    """
    if not len(people) == len(people_base) == len(judge) == len(judge_base) == len(items):
        raise ValueError(f"lengths differ: people {len(people)}, judge {len(judge)}, items {len(items)}")
    if not (np.isfinite(judge).all() and np.isfinite(judge_base).all()):
        raise ValueError("the judge's values must be numbers; put a fixed value where it said nothing")
    coded = np.isfinite(people) & np.isfinite(people_base)
    n, rest = int(coded.sum()), int((~coded).sum())
    base = float(people_base[coded].mean()) if n else 0.0
    if n == 0 or base == 0:
        return Corrected(np.nan, np.nan, np.nan, np.nan, np.nan, n, rest, 0)
    cluster = numbered(items)
    number = int(cluster.max()) + 1
    behind = int(np.unique(cluster[coded]).size)
    # The ratio of the people alone is where the tuning starts; the ratio found is where the variance is measured.
    ratio = float(people[coded].mean()) / base
    if rest == 0:
        weight = 0.0
    tuned = weight is None
    if weight is None:
        own, shared = _by_item(people, people_base, judge, judge_base, coded, cluster, number, ratio)
        moved = float((shared**2).sum())
        weight = float(np.clip((own * shared).sum() / moved, 0.0, 1.0)) if moved > 0 else 0.0
    above = _combined(people, judge, coded, weight)
    below = _combined(people_base, judge_base, coded, weight)
    value = above / below if below != 0 else np.nan
    own, shared = _by_item(people, people_base, judge, judge_base, coded, cluster, number, value)
    # Put right by more than there is room for, it stops at the end: nearer to the truth whatever the truth is.
    inside = float(np.clip(value, low, high))
    if behind < ENOUGH_ITEMS or not np.isfinite(value):
        return Corrected(inside, np.nan, np.nan, np.nan, weight, n, rest, behind)
    se = float(np.sqrt(number / (number - 1) * ((own - weight * shared) ** 2).sum())) * abs(base / below)
    if tuned and behind <= FEW_ITEMS and number <= MOST_LEFT_OUT:
        se = _jackknife(people, people_base, judge, judge_base, coded, cluster, number)
    from scipy.special import stdtrit

    reach = float(stdtrit(behind - 1.0, (1 + CONFIDENCE) / 2)) * se
    if not np.isfinite(reach) or reach < NOTHING:
        return Corrected(inside, np.nan, np.nan, np.nan, weight, n, rest, behind)
    ends = np.clip([inside - reach, inside + reach], low, high)
    return Corrected(inside, float(ends[0]), float(ends[1]), se, weight, n, rest, behind)


def _combined(people: Floats, judge: Floats, coded: NDArray[np.bool_], weight: float) -> float:
    """Return lambda mean_N f + mean_n (y - lambda f)."""
    elsewhere = float(judge[~coded].mean()) if weight and not coded.all() else 0.0
    return weight * elsewhere + float((people[coded] - weight * judge[coded]).mean())


def _by_item(
    people: Floats,
    people_base: Floats,
    judge: Floats,
    judge_base: Floats,
    coded: NDArray[np.bool_],
    cluster: NDArray[np.intp],
    number: int,
    ratio: float,
) -> tuple[Floats, Floats]:
    """Return a_g and b_g of each item, for the ratio linearised at `ratio`."""
    base = float(people_base[coded].mean())
    y = (people[coded] - ratio * people_base[coded]) / base
    f = (judge - ratio * judge_base) / base
    n = len(y)
    own = np.bincount(cluster[coded], y - y.mean(), minlength=number) / n
    shared = np.bincount(cluster[coded], f[coded] - f[coded].mean(), minlength=number) / n
    if not coded.all():
        others = f[~coded]
        shared = shared - np.bincount(cluster[~coded], others - others.mean(), minlength=number) / len(others)
    return own, shared


def _jackknife(
    people: Floats,
    people_base: Floats,
    judge: Floats,
    judge_base: Floats,
    coded: NDArray[np.bool_],
    cluster: NDArray[np.intp],
    number: int,
) -> float:
    """Return the standard error of the tuned estimate from leaving out each item in turn, tuning included.

    NaN where the estimate is not defined without one of the items: all that people have a value for is of that item.
    """

    def of_items(values: Floats, mask: NDArray[np.bool_]) -> Floats:
        return np.bincount(cluster[mask], values[mask], minlength=number).astype(np.float64, copy=False)

    ones = np.ones(len(people))
    y, y_base, f, f_base, n = (of_items(values, coded) for values in (people, people_base, judge, judge_base, ones))
    m, m_base, rest = (of_items(values, ~coded) for values in (judge, judge_base, ones))
    # One row an item left out: sums over the items that stay.
    left_y, left_y_base, left_f, left_f_base, left_n = (values.sum() - values for values in (y, y_base, f, f_base, n))
    left_m, left_m_base, left_rest = (values.sum() - values for values in (m, m_base, rest))
    stays = 1.0 - np.eye(number)
    if not (np.abs(left_y_base) > 0).all():
        return np.nan
    ratio = (left_y / left_y_base)[:, None]
    own = stays * (y - ratio * y_base) / left_n[:, None]
    coded_mean = (left_f - ratio[:, 0] * left_f_base) / left_n
    other_count = np.maximum(left_rest, 1.0)
    other_mean = (left_m - ratio[:, 0] * left_m_base) / other_count
    shared = stays * ((f - ratio * f_base - n * coded_mean[:, None]) / left_n[:, None])
    shared -= stays * ((m - ratio * m_base - rest * other_mean[:, None]) / other_count[:, None])
    moved = (shared**2).sum(axis=1)
    weight = np.clip(np.divide((own * shared).sum(axis=1), moved, out=np.zeros(number), where=moved > 0), 0.0, 1.0)
    weight = np.where(left_rest > 0, weight, 0.0)
    above = weight * left_m / other_count + (left_y - weight * left_f) / left_n
    below = weight * left_m_base / other_count + (left_y_base - weight * left_f_base) / left_n
    if not (np.abs(below) > 0).all():
        return np.nan
    found = above / below
    return float(np.sqrt((number - 1) / number * ((found - found.mean()) ** 2).sum()))
