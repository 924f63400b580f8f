"""The Fay-Herriot model against published results, closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.stats.arrays import Floats
from valuestrata.stats.small_area.fay_herriot import Areas, Method, bootstrap_mse, fay_herriot

# Expenditure on milk in 43 areas of the United States, with standard errors, and four major areas (Arora and Lahiri 1997,
# Statistica Sinica 7:1053-1063; data set `milk` of the R package sae). The results are those of its functions `eblupFH` and
# `mseFH` (Molina and Marhuenda 2015, The R Journal 7:81-98). `bench/fay_herriot_vs_samplics.py` compares to more digits.
MILK = [
    1.099,
    1.075,
    1.105,
    0.628,
    0.753,
    0.981,
    1.257,
    1.095,
    1.405,
    1.356,
    0.615,
    1.46,
    1.338,
    0.854,
    1.176,
    1.111,
    1.257,
    1.43,
    1.278,
    1.292,
    1.002,
    1.183,
    1.044,
    1.267,
    1.193,
    0.791,
    0.795,
    0.759,
    0.796,
    0.565,
    0.886,
    0.952,
    0.807,
    0.582,
    0.684,
    0.787,
    0.44,
    0.759,
    0.77,
    0.8,
    0.756,
    0.865,
    0.64,
]
ERROR = [
    0.163,
    0.08,
    0.083,
    0.109,
    0.119,
    0.141,
    0.202,
    0.127,
    0.168,
    0.178,
    0.1,
    0.201,
    0.148,
    0.143,
    0.149,
    0.145,
    0.135,
    0.172,
    0.137,
    0.163,
    0.125,
    0.247,
    0.14,
    0.171,
    0.106,
    0.121,
    0.121,
    0.259,
    0.106,
    0.089,
    0.225,
    0.205,
    0.119,
    0.067,
    0.106,
    0.126,
    0.092,
    0.132,
    0.1,
    0.113,
    0.083,
    0.121,
    0.129,
]
MAJOR = [1] * 7 + [2] * 7 + [3] * 11 + [4] * 18
REML = [
    1.0219703,
    1.0476018,
    1.0679513,
    0.760817,
    0.8461574,
    0.9743727,
    1.0584523,
    1.0977762,
    1.2215449,
    1.1951455,
    0.7852155,
    1.2139456,
    1.2096593,
    0.9834967,
    1.1864247,
    1.1556982,
    1.2263411,
    1.2856486,
    1.2363247,
    1.23496,
    1.0903019,
    1.1923057,
    1.121647,
    1.2230296,
    1.1938054,
    0.7627195,
    0.764955,
    0.7338443,
    0.7699294,
    0.6134418,
    0.7695558,
    0.795825,
    0.7723187,
    0.6102302,
    0.7001782,
    0.7592787,
    0.5298867,
    0.7434466,
    0.7548996,
    0.7701918,
    0.7481164,
    0.8040773,
    0.681087,
]
REML_MSE = [
    0.01346022,
    0.005372876,
    0.00570199,
    0.00854174,
    0.009579594,
    0.011670632,
    0.015926137,
    0.010586518,
    0.014184043,
    0.014901472,
    0.007694262,
    0.016336469,
    0.012562726,
    0.012117378,
    0.012031229,
    0.011709147,
    0.01085978,
    0.01369086,
    0.011034674,
    0.013079686,
    0.009948636,
    0.017243977,
    0.011292325,
    0.013625297,
    0.008065787,
    0.009205133,
    0.009205133,
    0.016476912,
    0.007800626,
    0.006098668,
    0.015441564,
    0.014657866,
    0.009024699,
    0.003870786,
    0.007800626,
    0.009646139,
    0.006404335,
    0.010155645,
    0.007209937,
    0.008470277,
    0.00548486,
    0.009205133,
    0.009903626,
]
FH = [
    1.017975,
    1.044963,
    1.06448,
    0.770692,
    0.852512,
    0.973826,
    1.050856,
    1.096165,
    1.210505,
    1.18564,
]
FH_MSE = [
    0.012757016,
    0.005314467,
    0.005632201,
    0.008323471,
    0.00928352,
    0.011178151,
    0.014867662,
    0.010252709,
    0.013470878,
    0.014094867,
]
ML = [
    1.0161733,
    1.0436968,
    1.0628168,
    0.7753489,
    0.8554903,
    0.9735857,
    1.0474786,
    1.0953436,
    1.2054092,
    1.1812565,
]
ML_MSE = [
    0.013579953,
    0.005512868,
    0.005850584,
    0.008735454,
    0.009774528,
    0.011840745,
    0.015934511,
    0.010821811,
    0.014345961,
    0.015036089,
]


def milk() -> Areas:
    major = np.array(MAJOR)
    predictors = np.column_stack([np.ones(len(major)), *(major == k for k in (2, 3, 4))]).astype(float)
    return Areas.of(np.array(MILK), predictors, np.array(ERROR) ** 2)


@pytest.mark.parametrize(
    ("method", "estimate", "mse"), [("reml", REML, REML_MSE), ("fh", FH, FH_MSE), ("ml", ML, ML_MSE)], ids=["reml", "fh", "ml"]
)
def test_agrees_with_published_estimates_and_errors(method: Method, estimate: list[float], mse: list[float]) -> None:
    fit = fay_herriot(milk(), method)
    assert np.abs(fit.estimate[: len(estimate)] - estimate).max() < 1e-6
    assert np.abs(fit.mse[: len(mse)] - mse).max() < 1e-6


def test_agrees_with_published_coefficients() -> None:
    fit = fay_herriot(milk())
    assert fit.coefficients == pytest.approx([0.9681890, 0.1327801, 0.2269462, -0.2413011], abs=1e-6)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx([0.06936208, 0.10300072, 0.09232981, 0.08161707], abs=1e-6)


@pytest.mark.parametrize("method", ["reml", "fh", "ml"])
def test_equal_variances_give_a_closed_form(method: Method) -> None:
    """With a common mean and equal D, s + D is the mean square around the mean, and the weight is that of James and Stein."""
    y = np.array([1.0, 2.0, 4.0, 7.0, 3.0, 0.0])
    fit = fay_herriot(Areas.of(y, np.ones((6, 1)), np.full(6, 0.5)), method)
    square = ((y - y.mean()) ** 2).sum() / (6 if method == "ml" else 5)
    assert fit.sigma2 == pytest.approx(square - 0.5, rel=1e-7)
    assert fit.estimate == pytest.approx(y.mean() + (1 - 0.5 / square) * (y - y.mean()), rel=1e-7)
    # g1 + g2 + 2 g3, with Var s = 2 (s + D)^2 / M, and the bias of s for maximum likelihood.
    weight = 1 - 0.5 / square
    spread = 2 * square**2 / 6
    mse = weight * 0.5 + (1 - weight) ** 2 * square / 6 + 2 * (1 - weight) ** 2 / square * spread
    assert fit.mse == pytest.approx(mse + (square / 6 * (1 - weight) ** 2 if method == "ml" else 0.0), rel=1e-6)


@pytest.mark.parametrize("method", ["reml", "fh", "ml"])
def test_no_variance_between_areas_leaves_the_regression(method: Method) -> None:
    x = np.column_stack([np.ones(8), np.arange(8.0)])
    fit = fay_herriot(Areas.of(1 + 2 * np.arange(8.0), x, np.ones(8)), method)
    assert fit.sigma2 == 0
    assert fit.weight == pytest.approx(0)
    assert fit.coefficients == pytest.approx([1, 2])


def test_an_exact_direct_estimate_is_kept_and_a_missing_one_is_synthetic() -> None:
    y, variance = np.array([1.0, 5.0, 2.0, 9.0, np.nan]), np.array([0.0, 1.0, 1.0, 1.0, np.inf])
    fit = fay_herriot(Areas.of(y, np.ones((5, 1)), variance))
    assert fit.estimate[0] == 1
    assert fit.mse[0] == pytest.approx(0)
    assert fit.estimate[4] == fit.synthetic[4] == pytest.approx(fit.coefficients[0])
    assert fit.mse[4] == pytest.approx(fit.sigma2 + fit.covariance[0, 0])


def test_known_and_scaled_variances() -> None:
    """A known part of the variance counts like sampling variance in the fit, and is kept in the weight."""
    rng = np.random.default_rng(1)
    y, d, known = rng.normal(0, 2, 30), np.full(30, 0.5), np.full(30, 1.5)
    plain, split = fay_herriot(Areas.of(y, np.ones((30, 1)), d + known)), fay_herriot(Areas.of(y, np.ones((30, 1)), d, known=known))
    assert split.sigma2 == pytest.approx(plain.sigma2)
    assert split.weight == pytest.approx((plain.sigma2 + 1.5) / (plain.sigma2 + 2))
    scaled = fay_herriot(Areas.of(y, np.ones((30, 1)), d, scale=np.full(30, 4.0)))
    assert scaled.sigma2 * 4 == pytest.approx(fay_herriot(Areas.of(y, np.ones((30, 1)), d)).sigma2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variance": np.array([1.0, -1.0, 1.0])}, "negative"),
        ({"variance": np.ones(2)}, "3 areas"),
        ({"direct": np.array([1.0, np.nan, 2.0])}, "finite"),
        ({"variance": np.array([1.0, np.inf, np.inf])}, "1 predictors need more than 1"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Floats], message: str) -> None:
    given = {"direct": np.array([1.0, 2.0, 3.0]), "predictors": np.ones((3, 1)), "variance": np.ones(3)} | change
    with pytest.raises(ValueError, match=message):
        Areas.of(**given)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), shift=st.floats(-5, 5), factor=st.floats(0.01, 100))
def test_estimates_follow_the_scale_of_the_data(seed: int, shift: float, factor: float) -> None:
    rng = np.random.default_rng(seed)
    d = rng.uniform(0.2, 2, 12)
    y, x = rng.normal(0, 1, 12) + rng.normal(0, np.sqrt(d)), np.column_stack([np.ones(12), rng.normal(size=12)])
    one, other = fay_herriot(Areas.of(y, x, d)), fay_herriot(Areas.of(shift + factor * y, x, factor**2 * d))
    assert other.estimate == pytest.approx(shift + factor * one.estimate, rel=1e-4, abs=1e-4 * factor)
    assert other.mse == pytest.approx(factor**2 * one.mse, rel=1e-3)


def test_mean_squared_errors_hold_in_simulation() -> None:
    """The mean of the second-order formula and of the bootstrap is the true mean squared error."""
    rng = np.random.default_rng(5)
    d, x = np.repeat([0.3, 1.0, 3.0], 10), np.column_stack([np.ones(30), rng.normal(size=30)])
    errors, formula = np.zeros(30), np.zeros(30)
    for _ in range(200):
        theta = x @ [1.0, 0.5] + rng.normal(size=30)
        fit = fay_herriot(Areas.of(theta + rng.normal(size=30) * np.sqrt(d), x, d))
        errors += (fit.estimate - theta) ** 2 / 200
        formula += fit.mse / 200
    ratio = formula.reshape(3, 10).mean(axis=1) / errors.reshape(3, 10).mean(axis=1)
    assert ratio == pytest.approx(np.ones(3), abs=0.12)


def test_the_bootstrap_agrees_with_the_formula() -> None:
    fit = fay_herriot(milk())
    ratio = bootstrap_mse(milk(), fit, 100, 3) / fit.mse
    assert ratio.mean() == pytest.approx(1, abs=0.1)
