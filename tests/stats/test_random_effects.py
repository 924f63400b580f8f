"""Variances of effects in joint cells, and best linear unbiased predictors from them."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm, truncnorm

from valuestrata.stats.small_area.poststratified import (
    LinearPredictor,
    TargetCovariance,
    best_predictor,
    outside_predictor,
    within_zero_and_one,
)
from valuestrata.stats.small_area.random_effects import (
    PRIOR_MEDIAN,
    PRIOR_SPREAD,
    EffectKernels,
    LikelihoodColumns,
    ObservedCells,
    Projection,
    restricted_variances,
)

LEVELS = np.array(list(product(range(2), range(3), range(4))), dtype=np.intp)
SHARE = np.full(len(LEVELS), 1 / len(LEVELS))


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def kernels():
    return EffectKernels.of(LEVELS, ("sex", "age", "region"), SHARE)


def predictor(weights, kernel, number, multiple=1.0):
    target = TargetCovariance(weights.sum(axis=1), ((weights @ kernel) * weights).sum(axis=1), weights @ kernel)
    noise = np.diag(1 / number)
    return best_predictor(Projection.of(multiple * kernel + noise), target, multiple), target, noise


def test_effects_are_levels_pairs_and_cells():
    found = kernels()
    assert found.names == ("sex", "age", "region", "pairs", "cell")
    assert found.correlation[0, 0] == pytest.approx((LEVELS[:, 0] == 0).astype(float))
    same_pairs = (LEVELS == 0).astype(float)
    pairs = [same_pairs[:, a] * same_pairs[:, b] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.correlation[3, 0] == pytest.approx(np.mean(pairs, axis=0))
    # Half of the pairs of people differ in sex.
    assert found.spread[:3] == pytest.approx([1 / 2, 2 / 3, 3 / 4])


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        (np.zeros((1, 0), dtype=np.intp), ()),
        (np.zeros((1, 2), dtype=np.intp), ()),
        (np.array([[0], [1], [2]]), ("a",)),
        (np.array([[0, 5], [1, 5], [2, 5]]), ("a",)),
        (np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), ("a", "b", "pairs")),
    ],
)
def test_effects_that_cannot_be_told_apart_are_left_out(levels, names):
    attributes = ("a", "b")[: levels.shape[1]]
    assert EffectKernels.of(levels, attributes, np.full(len(levels), 1 / len(levels))).names == names


def test_balanced_cells_shrink_by_the_known_factor(rng):
    number, q, cells = 7.0, 0.3, 5
    shares = rng.random(cells)
    weights, _, _ = predictor(np.eye(cells), q * np.eye(cells), np.full(cells, number))
    factor = q / (q + 1 / number)
    assert weights @ shares == pytest.approx(shares.mean() + factor * (shares - shares.mean()))


def test_without_variance_all_cells_have_the_mean_and_with_much_their_own_share(rng):
    number, shares = rng.integers(1, 20, len(LEVELS)).astype(float), rng.random(len(LEVELS))
    kernel = kernels().correlation.sum(axis=0)
    none, _, _ = predictor(np.eye(len(LEVELS)), 1e-12 * kernel, number)
    assert none @ shares == pytest.approx(np.full(len(LEVELS), number @ shares / number.sum()))
    much, _, _ = predictor(np.eye(len(LEVELS)), 1e9 * kernel, number)
    assert much @ shares == pytest.approx(shares, abs=1e-6)


def test_predictions_and_errors_equal_generalised_least_squares_on_people(rng):
    """Henderson's mixed-model equations on single people, with effects as parameters."""
    cell = np.concatenate([np.arange(12), rng.integers(0, 12, 60)])
    answers = rng.random(72)
    own = np.eye(24)[:, cell].T
    q = np.array([0.05, 0.1, 0.02])
    designs = [(LEVELS[:, [a]] == np.arange(LEVELS[:, a].max() + 1)).astype(float) for a in range(3)]
    design = np.hstack([np.ones((24, 1)), *designs])
    penalty = np.diag(np.concatenate([[0.0], *(np.full(z.shape[1], 1 / one) for z, one in zip(designs, q, strict=True))]))
    observed = own @ design
    inverse = np.linalg.inv(observed.T @ observed + penalty)
    weights = rng.dirichlet(np.ones(24), 4)
    expected = weights @ design @ inverse @ observed.T @ answers
    error = np.diag(weights @ design @ inverse @ design.T @ weights.T)

    kernel = np.tensordot(q, kernels().correlation[:3], axes=1)
    number = np.bincount(cell, minlength=24)[:12].astype(float)
    shares = np.bincount(cell, answers, 24)[:12] / number
    target = TargetCovariance(np.ones(4), ((weights @ kernel) * weights).sum(axis=1), (weights @ kernel)[:, :12])
    noise = np.diag(1 / number)
    found = LinearPredictor.of(best_predictor(Projection.of(kernel[:12, :12] + noise), target, 1.0), target, kernel[:12, :12], noise)
    assert found.weights @ shares == pytest.approx(expected)
    assert found.between + found.within == pytest.approx(error)


def test_predictions_equal_those_of_statsmodels(rng):
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    group = np.repeat(np.arange(8), rng.integers(3, 15, 8))
    answers = rng.normal(size=8)[group] + rng.normal(size=len(group))
    fitted = mixed.MixedLM(answers, np.ones((len(group), 1)), groups=group).fit(reml=True)
    q = float(fitted.cov_re[0, 0] / fitted.scale)
    number = np.bincount(group).astype(float)
    weights, _, _ = predictor(np.eye(8), q * np.eye(8), number)
    expected = [fitted.fe_params[0] + float(fitted.random_effects[g].iloc[0]) for g in range(8)]
    assert weights @ (np.bincount(group, answers) / number) == pytest.approx(expected, abs=1e-6)


def test_predictors_from_outside_equal_those_without_the_cells(rng):
    found = kernels()
    kernel = np.tensordot(rng.uniform(0.01, 0.2, 5), found.correlation, axes=1)
    seen = np.sort(rng.choice(24, 15, replace=False))
    noise = np.diag(1 / rng.integers(1, 9, 15).astype(float))
    inside = np.array([LEVELS[:, a] == level for a in range(3) for level in range(2)] + [np.ones(24, bool), np.arange(24) == seen[3]])
    weights = inside / inside.sum(axis=1, keepdims=True)
    target = TargetCovariance(np.ones(8), ((weights @ kernel) * weights).sum(axis=1), (weights @ kernel)[:, seen])
    result = outside_predictor(Projection.of(1.7 * kernel[np.ix_(seen, seen)] + noise), target, 1.7, inside[:, seen])
    assert np.isnan(result[6]).all()
    for g in (0, 1, 2, 3, 4, 5, 7):
        kept = np.flatnonzero(~inside[g, seen])
        rest = np.ix_(seen[kept], seen[kept])
        alone = TargetCovariance(target.total[[g]], target.own[[g]], target.seen[[g]][:, kept])
        expected = best_predictor(Projection.of(1.7 * kernel[rest] + noise[np.ix_(kept, kept)]), alone, 1.7)[0]
        assert result[g, kept] == pytest.approx(expected, abs=1e-10)
        assert (result[g, inside[g, seen]] == 0).all()


def observed(rng, found, q, items):
    """Draw shares of many items in cells from the model."""
    number = rng.integers(2, 30, len(LEVELS)).astype(float)
    covariance = (np.tensordot(q, found.correlation, axes=1) + np.diag(1 / number)) / (1 + q @ found.spread)
    values = np.linalg.cholesky(covariance) @ rng.normal(size=(len(LEVELS), items))
    return ObservedCells(np.arange(len(LEVELS)), 1 / number, found.correlation, values, float(items)), covariance


def test_the_likelihood_is_that_of_contrasts_between_cells(rng):
    found = kernels()
    q = np.array([0.1, 0.05, 0.2, 0.03, 0.02])
    group, covariance = observed(rng, found, q, 3)
    contrasts = np.linalg.svd(np.eye(24) - 1 / 24)[0][:, :23]
    columns = LikelihoodColumns(group.values, np.arange(3), np.ones(3))
    scale = 1 / (1 + q @ found.spread)
    got = columns.log_likelihood(covariance / scale, scale)
    expected = [multivariate_normal.logpdf(contrasts.T @ one, cov=contrasts.T @ covariance @ contrasts) for one in group.values.T]
    assert got - got[0] == pytest.approx(np.array(expected) - expected[0])


def test_variances_maximise_likelihood_times_prior(rng):
    found = kernels()
    group, _ = observed(rng, found, np.array([0.1, 0.05, 0.2, 0.03, 0.02]), 5)
    contrasts = np.linalg.svd(np.eye(24) - 1 / 24)[0][:, :23]

    def negative(logs):
        q = np.exp(logs)
        covariance = (np.tensordot(q, found.correlation, axes=1) + np.diag(group.noise)) / (1 + q @ found.spread)
        log_density = multivariate_normal.logpdf((contrasts.T @ group.values).T, cov=contrasts.T @ covariance @ contrasts).sum()
        return -log_density - norm.logpdf(logs, np.log([PRIOR_MEDIAN[kind] for kind in found.kinds]), PRIOR_SPREAD).sum()

    result = np.log(restricted_variances([group], found.kinds, found.spread))
    best = minimize(negative, result, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 2000})
    assert negative(result) == pytest.approx(best.fun, abs=1e-3)


def test_variances_of_many_items_are_recovered(rng):
    found = kernels()
    q = np.array([0.1, 0.05, 0.2, 0.1, 0.05])
    group, _ = observed(rng, found, q, 400)
    assert restricted_variances([group], found.kinds, found.spread) == pytest.approx(q, rel=0.25)


def test_without_effects_there_is_no_variance():
    assert restricted_variances([], (), np.zeros(0)).shape == (0,)


def test_truncation_gives_the_mean_of_the_truncated_normal():
    predicted, variance = np.array([[-0.05, 1.05], [0.3, 0.7]]), np.full((2, 2), 0.04)
    expected = truncnorm.mean(-predicted / 0.2, (1 - predicted) / 0.2, loc=predicted, scale=0.2)
    assert within_zero_and_one(predicted, variance) == pytest.approx(expected)
    assert within_zero_and_one(np.array([0.25, 0.75]), np.zeros(2)) == pytest.approx([0.25, 0.75])
    assert within_zero_and_one(np.array([-0.2, 0.4, 0.8]), np.zeros(3)) == pytest.approx([0, 1 / 3, 2 / 3])
