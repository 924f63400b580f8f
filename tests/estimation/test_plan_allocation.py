"""Interviews by cell: closed forms, brute force, and budgets."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.estimation.simulated import world
from valuestrata.estimation.plan.allocation import (
    least_interviews,
    planning_cells,
    power_allocation,
    reached_scale,
    rounded_within,
    whole_interviews,
)

MANY = 1e9


def bounds(cells):
    return np.ones(cells), np.full(cells, MANY), np.ones(cells)


def subgroups_of(population, *strata):
    return np.array([g for g, stratum in enumerate(population.strata) if stratum in strata])


def test_planning_cells_cross_the_attributes_of_the_goal():
    population = world(1, people=3000, items=1).population
    assert planning_cells(population, np.array([0])).names == ("all",)
    assert len(planning_cells(population, subgroups_of(population, "region")).names) == 5
    crossed = planning_cells(population, subgroups_of(population, "region", "sex"))
    assert len(crossed.names) == 10
    assert crossed.names[0] == "sex_x_region_0_0"
    np.testing.assert_allclose(crossed.share.sum(), 1)


def test_a_proportional_sample_has_as_many_effective_interviews_as_people():
    population = world(1, people=3000, items=1).population
    cells = planning_cells(population, subgroups_of(population, "sex_x_age"))
    inverse = cells.factors @ (1 / (1000 * cells.share))
    np.testing.assert_allclose(1 / inverse, 1000 * population.sizes)


def test_unequal_weights_reduce_the_effective_interviews_by_kishs_design_effect():
    population = world(1, people=3000, items=1).population
    cells = planning_cells(population, subgroups_of(population, "region"))
    interviews = np.full(5, 200.0)
    weight = np.repeat(cells.share / interviews, 200)
    kish = weight.sum() ** 2 / (weight**2).sum()
    np.testing.assert_allclose(1 / (cells.factors[0] @ (1 / interviews)), kish)


def test_disjoint_subgroups_need_one_over_their_limit():
    limit = np.array([0.01, 0.02, 0.0025])
    found = least_interviews(np.eye(3), limit, *bounds(3))
    np.testing.assert_allclose(found, 1 / limit, rtol=1e-4)


def test_one_goal_for_the_population_gives_a_proportional_sample():
    share = np.array([0.5, 0.3, 0.2])
    found = least_interviews(share[None, :] ** 2, np.array([1 / 400]), *bounds(3))
    np.testing.assert_allclose(found, 400 * share, rtol=1e-5)


def test_costs_follow_the_square_root_rule():
    share, cost = np.array([0.5, 0.5]), np.array([1.0, 4.0])
    found = least_interviews(share[None, :] ** 2, np.array([0.01]), np.ones(2), np.full(2, MANY), cost)
    np.testing.assert_allclose(found[0] / found[1], 2.0, rtol=1e-5)


def test_overlapping_goals_agree_with_a_general_solver():
    from scipy.optimize import minimize

    population = world(3, people=4000, items=1).population
    goal = subgroups_of(population, "region", "sex_x_age")
    cells = planning_cells(population, goal)
    factors, limit = cells.factors[goal], np.full(len(goal), 1 / 150)
    found = least_interviews(factors, limit, *bounds(len(cells.share)))
    assert (factors @ (1 / found) <= limit * (1 + 1e-6)).all()
    other = minimize(
        lambda logs: np.exp(logs).sum() / 1000,
        np.log(found * 1.3),
        jac=lambda logs: np.exp(logs) / 1000,
        constraints={
            "type": "ineq",
            "fun": lambda logs: 1 - factors @ np.exp(-logs) / limit,
            "jac": lambda logs: factors * np.exp(-logs) / limit[:, None],
        },
        bounds=[(0, None)] * len(found),
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert found.sum() <= 1000 * other.fun * 1.001


def test_whole_interviews_agree_with_brute_force():
    share = np.array([0.5, 0.3, 0.2])
    # Goals for the population, and for two groups of cells that overlap.
    factors = np.array([share**2, [0.39, 0.234, 0.0], [0.0, 0.36, 0.16]])
    limit = np.array([0.06, 0.14, 0.11])
    least, most, cost = np.ones(3), np.full(3, 12.0), np.ones(3)
    found = whole_interviews(least_interviews(factors, limit, least, most, cost), factors, limit, least, most, cost)
    fits = [sum(n) for n in itertools.product(range(1, 13), repeat=3) if (factors @ (1 / np.array(n)) <= limit + 1e-12).all()]
    assert (factors @ (1 / found) <= limit + 1e-9).all()
    assert found.sum() == min(fits)


def test_too_small_a_population_is_no_solution():
    assert least_interviews(np.eye(2), np.array([0.01, 0.01]), np.ones(2), np.array([100.0, 90.0]), np.ones(2)) is None
    found = least_interviews(np.array([[0.25, 0.25]]), np.array([0.01]), np.ones(2), np.array([30.0, MANY]), np.ones(2))
    assert found[0] == pytest.approx(30)
    np.testing.assert_allclose(0.25 / found[0] + 0.25 / found[1], 0.01, rtol=1e-6)


def test_power_one_is_neymans_allocation():
    # Cochran 1977, section 5.5: n_h proportional to W_h S_h.
    share, spread = np.array([0.6, 0.3, 0.1]), np.array([1.0, 2.0, 5.0])
    found = power_allocation(170, share, spread, *bounds(3), power=1.0)
    np.testing.assert_allclose(found, [60, 60, 50])


def test_what_the_goal_needs_is_kept_and_the_rest_is_spread():
    share = np.array([0.9, 0.1])
    found = power_allocation(200, share, np.ones(2), np.array([50.0, 100.0]), np.full(2, MANY), np.ones(2))
    np.testing.assert_allclose(found, [100, 100])
    capped = power_allocation(200, share, np.ones(2), np.ones(2), np.array([120.0, 30.0]), np.ones(2))
    np.testing.assert_allclose(capped, [120, 30])


@settings(max_examples=30)
@given(st.integers(20, 500), st.integers(1, 6), st.integers(0, 1000))
def test_rounding_stays_within_the_budget_and_spends_it(budget, cells, seed):
    share = np.random.default_rng(seed).dirichlet(np.ones(cells))
    least = np.ones(cells, dtype=np.intp)
    wanted = power_allocation(budget, share, np.ones(cells), *bounds(cells))
    found = rounded_within(wanted, budget, least, np.full(cells, MANY), np.ones(cells))
    assert found.sum() == budget
    assert (np.abs(found - wanted) < 1).all()


def test_the_scale_that_a_budget_reaches_is_the_root_of_needed_over_budget():
    assert reached_scale(lambda scale: 800 / scale**2, 400) == pytest.approx(np.sqrt(2), rel=1e-6)
    assert reached_scale(lambda scale: 300 / scale**2, 400) == 1
    assert reached_scale(lambda _: np.inf, 400) == np.inf
