"""Benchmarked estimates add up to the population's and stay shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.estimation.simulated import world
from valuestrata.estimation.benchmark import COVERED, benchmarked
from valuestrata.estimation.estimates import MULTILEVEL, Estimates
from valuestrata.estimation.inputs import ItemOptions, PopulationCells

WORLD = world(2, items=4, people=1000)
STRATA = np.array(WORLD.population.strata)


def random_estimates(seed: int, error: float = 0.1) -> Estimates:
    """Return noisy shares with mean squared errors that differ between subgroups."""
    rng = np.random.default_rng(seed)
    noisy = np.where(WORLD.items.used, np.maximum(WORLD.truth + rng.normal(0, error, WORLD.truth.shape), 0.001), 0.0)
    return estimates_of(noisy / noisy.sum(axis=2, keepdims=True), seed)


def estimates_of(shares: np.ndarray, seed: int) -> Estimates:
    """Return estimates with effective numbers of answers drawn at random."""
    rng = np.random.default_rng([seed, 2])
    effective = rng.gamma(2.0, 20.0, shares.shape[:2])
    mse = np.where(WORLD.items.used, shares * (1 - shares) / effective[..., None], np.nan)
    mean = (shares * np.nan_to_num(WORLD.items.codes)).sum(axis=2)
    wide = 2 * np.sqrt(mse)
    ones = np.ones_like(mean)
    return Estimates(
        MULTILEVEL,
        None,
        shares,
        np.maximum(shares - wide, 0),
        np.minimum(shares + wide, 1),
        mse,
        mean,
        mean - 0.2,
        mean + 0.2,
        0.01 * ones,
        ones == 0,
        np.nan * ones,
    )


def added(found: Estimates, stratum: str, population: PopulationCells = WORLD.population) -> np.ndarray:
    rows = np.isin(STRATA, stratum)
    return np.einsum("g,gik->ik", population.sizes[rows], found.shares[rows]) / population.sizes[rows].sum()


def total_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    raw = np.where(WORLD.items.used, rng.gamma(1.0, 1.0, WORLD.truth.shape[1:]), 0.0)
    return raw / raw.sum(axis=1, keepdims=True)


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 10_000), zeros=st.booleans())
def test_shares_add_up_stay_shares_and_do_not_change_again(seed, zeros):
    before, total = random_estimates(seed), total_of(seed)
    if zeros:
        # Options that nobody chose, in one subgroup, in all subgroups, and in the population.
        shares = before.shares.copy()
        shares[3, 0], shares[4:9, 1] = [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]
        shares[:, 2, 0] = 0.0
        total[3, 1] = 0.0
        total /= total.sum(axis=1, keepdims=True)
        before = estimates_of(shares / shares.sum(axis=2, keepdims=True), seed)
    found = benchmarked(before, WORLD.population, total, WORLD.items)
    assert ((found.shares >= 0) & (found.shares <= 1)).all()
    assert found.shares.sum(axis=2) == pytest.approx(1.0)
    for stratum in dict.fromkeys(WORLD.population.strata):
        assert added(found, stratum) == pytest.approx(total, abs=1e-8)
    again = benchmarked(found, WORLD.population, total, WORLD.items)
    assert again.shares == pytest.approx(found.shares, abs=1e-7)
    used = np.broadcast_to(WORLD.items.used, found.shares.shape)
    assert ((found.low <= found.shares + 1e-12) & (found.shares <= found.high + 1e-12))[used].all()
    assert found.mean == pytest.approx((found.shares * np.nan_to_num(WORLD.items.codes)).sum(axis=2))


def test_the_whole_population_takes_the_total():
    found = benchmarked(random_estimates(1), WORLD.population, total_of(1), WORLD.items)
    assert found.shares[0] == pytest.approx(total_of(1), abs=1e-9)


def test_estimates_that_agree_do_not_change():
    before = estimates_of(WORLD.truth, 2)
    found = benchmarked(before, WORLD.population, WORLD.truth[0], WORLD.items)
    assert found.shares == pytest.approx(WORLD.truth, abs=1e-9)
    assert found.low == pytest.approx(before.low, abs=1e-9, nan_ok=True)


def test_a_small_change_is_that_of_the_smallest_mean_squared_error():
    before = random_estimates(3)
    rows = np.flatnonzero(STRATA == "age")
    sizes, item = WORLD.population.sizes[rows], 2
    missing = 1e-5 * np.array([1, -2, 0, 3, -2])
    total = np.einsum("g,gik->ik", sizes, before.shares[rows])
    total[item] += missing
    found = benchmarked(before, WORLD.population, total, WORLD.items)
    p = before.shares[rows, item]
    effective = (p * (1 - p)).sum(axis=1) / before.mse[rows, item].sum(axis=1)
    covariance = (np.einsum("gk,kl->gkl", p, np.eye(5)) - np.einsum("gk,gl->gkl", p, p)) / effective[:, None, None]
    b = np.linalg.pinv(np.einsum("g,gkl->kl", sizes**2, covariance)) @ missing
    expected = np.einsum("g,gkl,l->gk", sizes, covariance, b)
    assert found.shares[rows, item] - p == pytest.approx(expected, abs=1e-7)


def test_intervals_move_along_and_never_grow():
    before = random_estimates(4)
    found = benchmarked(before, WORLD.population, total_of(4), WORLD.items)
    inner = (before.low > 0) & (before.high < 1)
    assert ((found.high - found.low) <= (before.high - before.low) + 1e-12)[inner].all()
    move = found.shares - before.shares
    free = inner & (found.low > 0) & (found.high < 1)
    assert (found.low - before.low)[free] == pytest.approx(move[free])
    assert np.nanmin(found.low[before.low == 0]) == 0.0
    assert found.mse == pytest.approx(before.mse, nan_ok=True)
    mean_move = found.mean - before.mean
    free = (found.mean_low > 1) & (found.mean_high < 2)
    assert (found.mean_high - before.mean_high)[free] == pytest.approx(mean_move[free])


def test_a_stratum_that_covers_too_little_is_left_alone():
    before, total = random_estimates(5), total_of(5)
    rows = np.flatnonzero(STRATA == "region")
    gone, rare = rows[0], rows[np.argmin(WORLD.population.sizes[rows])]
    assert WORLD.population.sizes[gone] > 1 - COVERED > WORLD.population.sizes[rare]
    shares = before.shares.copy()
    shares[gone, 0] = np.nan
    shares[rare, 1] = np.nan
    before = replace(before, shares=shares)
    found = benchmarked(before, WORLD.population, total, WORLD.items)
    assert found.shares[rows, 0] == pytest.approx(shares[rows, 0], nan_ok=True)
    assert np.isnan(found.shares[rare, 1]).all()
    others = rows[rows != rare]
    sizes = WORLD.population.sizes[others] / WORLD.population.sizes[others].sum()
    assert sizes @ found.shares[others, 1] == pytest.approx(total[1])


def test_an_item_without_a_total_and_a_subgroup_without_population_are_left_alone():
    before, total = random_estimates(6), total_of(6)
    total[2] = np.nan
    share = WORLD.population.share * (WORLD.population.levels[:, 2] != 4)
    population = replace(WORLD.population, share=share / share.sum())
    empty = np.flatnonzero(population.sizes == 0)
    assert len(empty) > 1
    found = benchmarked(before, population, total, WORLD.items)
    assert found.shares[:, 2] == pytest.approx(before.shares[:, 2])
    assert found.shares[empty] == pytest.approx(before.shares[empty])
    assert added(found, "region", population)[1] == pytest.approx(total[1])


def test_estimates_without_mean_squared_errors_are_raked():
    before = random_estimates(7)
    plain = replace(before, mse=np.full_like(before.mse, np.nan))
    found = benchmarked(plain, WORLD.population, total_of(7), WORLD.items)
    rows = np.flatnonzero(STRATA == "sex")
    table = WORLD.population.sizes[rows, None] * before.shares[rows, 2]
    for _ in range(500):
        table *= total_of(7)[2] / table.sum(axis=0)
        table *= (WORLD.population.sizes[rows] / table.sum(axis=1))[:, None]
    assert found.shares[rows, 2] == pytest.approx(table / table.sum(axis=1, keepdims=True), abs=1e-8)


def test_one_subgroup_and_one_item():
    items = ItemOptions(("Q1",), np.array([2]), np.array([[0.0, 1.0]]), np.array([True]), np.array(["b"]))
    population = PopulationCells((), np.zeros((1, 0), dtype=np.intp), np.ones(1), ("all",), ("all",), np.ones((1, 1), dtype=bool), ())
    one = np.array([[[0.3, 0.7]]])
    mean = one[..., 1]
    before = Estimates(MULTILEVEL, None, one, one - 0.1, one + 0.1, one * 0, mean, mean, mean, mean, mean > 1, mean)
    found = benchmarked(before, population, np.array([[0.4, 0.6]]), items)
    assert found.shares[0, 0] == pytest.approx([0.4, 0.6])
    assert found.mean[0, 0] == pytest.approx(0.6)
