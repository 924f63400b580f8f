"""Rectified means and regression coefficients beside those of the package ppi-python.

    pip install ppi-python "valuestrata"
    python bench/rectified_vs_ppi.py

Prints the largest relative difference of point estimates, standard errors and lambda over 40 simulated data sets, and the numbers of
ppi-python for the data set of `example`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from valuestrata.stats.arrays import Floats
from valuestrata.stats.design_based.rectified_ols import RectifiedCoefficients, RegressionSample, rectified_ols

LABELLED = 12


@dataclass(frozen=True)
class Answers:
    """Predictors x (age group 0..3), answers y of all people and the model's values f; people know y of the first `LABELLED` only."""

    x: Floats
    y: Floats
    f: Floats

    def design(self, *, slope: bool) -> Floats:
        """Return a column of ones, and x if wanted; shape (people, d)."""
        return np.stack([np.ones(len(self.x)), self.x], axis=1) if slope else np.ones((len(self.x), 1))


def example() -> Answers:
    """Return 12 people with answers on a scale 1 to 5, and 20 without."""
    x = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    y = [2, 1, 3, 4, 2, 3, 3, 5, 1, 2, 4, 4, *([0] * 20)]
    f = [2, 2, 3, 3, 3, 3, 2, 5, 1, 2, 4, 3, 1, 2, 2, 3, 1, 2, 3, 2, 2, 4, 3, 3, 2, 4, 3, 3, 5, 4, 4, 3]
    return Answers(np.array(x, float), np.array(y, float), np.array(f, float))


def ours(answers: Answers, *, slope: bool, labelled: int = LABELLED, weight: float | None = None) -> RectifiedCoefficients:
    """Return our estimates; standard errors of means divide by n, as those of ppi-python do."""
    x = answers.design(slope=slope)
    sample, others = RegressionSample(x[:labelled], answers.f[:labelled]), RegressionSample(x[labelled:], answers.f[labelled:])
    return rectified_ols(sample, answers.y[:labelled], others, weight=weight, ddof=int(slope))


def theirs(answers: Answers, *, slope: bool, labelled: int = LABELLED, weight: float | None = None) -> RectifiedCoefficients:
    """Return the estimates of ppi-python; its lambda is NaN unless it was given."""
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate, ppi_ols_ci, ppi_ols_pointestimate

    x = answers.design(slope=slope)
    data = (answers.y[:labelled], answers.f[:labelled])
    if slope:
        value = ppi_ols_pointestimate(x[:labelled], *data, x[labelled:], answers.f[labelled:], lam=weight)
        low, high = ppi_ols_ci(x[:labelled], *data, x[labelled:], answers.f[labelled:], lam=weight, alpha=0.05)
    else:
        value = ppi_mean_pointestimate(*data, answers.f[labelled:], lam=weight)
        low, high = ppi_mean_ci(*data, answers.f[labelled:], lam=weight, alpha=0.05)
    se = (np.asarray(high) - np.asarray(low)) / 2 / NormalDist().inv_cdf(0.975)
    return RectifiedCoefficients(np.atleast_1d(value), np.atleast_1d(se), np.nan if weight is None else weight)


def largest_difference(seed: int) -> float:
    """Return the largest relative difference on one simulated data set, for means and slopes, tuned and with fixed lambdas."""
    rng = np.random.default_rng(seed)
    n, people = int(rng.integers(20, 200)), int(rng.integers(300, 2000))
    x = rng.integers(0, 4, people).astype(np.float64)
    y = 2 + 0.3 * x + rng.normal(0, 1, people)
    f = rng.uniform(-0.3, 0.9) * y + rng.normal(0, rng.uniform(0.2, 1), people)
    found = [0.0]
    for slope in (False, True):
        tuned = ours(Answers(x, y, f), slope=slope, labelled=n)
        found.append(float(np.abs(tuned.value / theirs(Answers(x, y, f), slope=slope, labelled=n).value - 1).max()))
        # ppi_ols_ci tunes lambda a second time, at the tuned coefficients, so intervals are compared at the same lambda.
        for weight in (tuned.weight, 0.0, 0.5, 1.0):
            mine, other = (one(Answers(x, y, f), slope=slope, labelled=n, weight=weight) for one in (ours, theirs))
            found += [float(np.abs(a / b - 1).max()) for a, b in ((mine.value, other.value), (mine.se, other.se))]
        if not slope:
            found.append(float(np.abs(tuned.se / theirs(Answers(x, y, f), slope=False, labelled=n).se - 1).max()))
    return max(found)


def main() -> None:
    """Print the agreement and the reference numbers."""
    print(f"largest relative difference: {max(largest_difference(seed) for seed in range(40)):.1e}")
    for slope in (False, True):
        for weight in (None, 1.0):
            found, mine = (one(example(), slope=slope, weight=weight) for one in (theirs, ours))
            print(f"slope {slope}, lambda {weight}: {found.value.tolist()}, se {found.se.tolist()}; our lambda {mine.weight!r}")


if __name__ == "__main__":
    main()
