"""Who is worse than the rest: differences and shrinkage by hand, claims against brute force and in worlds without bias."""

import numpy as np
import pytest
from scipy import stats

from valuestrata.fairness.estimate.contrasts import Contrast
from valuestrata.fairness.estimate.groups import residual_weights, shrunken, worst
from valuestrata.fairness.estimate.nulls import centre, permute
from valuestrata.stats.bootstrap import Replicates

ONE = np.zeros(4, dtype=np.intp)


def without_people(groups, extra=0.0):
    nothing = np.zeros(groups)
    return Contrast(Replicates(nothing, np.zeros((0, groups)), nothing, nothing > 0), nothing, nothing, nothing, np.full(groups, extra))


def claims(grid, strata, permutations=999, sign=-1, seed=0, extra=0.0):
    centred = centre(grid, strata)
    return worst(centred, without_people(len(grid), extra), permute([centred], strata, permutations, seed)[0], sign)


@pytest.mark.parametrize("seed", range(4))
def test_residual_weights_take_the_stratum_out_item_by_item(seed):
    rng = np.random.default_rng(seed)
    grid = rng.random((5, 6))
    grid[rng.random(grid.shape) < 0.3] = np.nan
    strata = np.array([0, 0, 0, 1, 1])
    weights = residual_weights(~np.isnan(grid), strata)
    found = np.einsum("kgi,gi->ki", weights.pairs, np.nan_to_num(grid))
    assert found == pytest.approx(centre(grid, strata).residual, abs=1e-6)
    assert weights.counts.tolist() == (~np.isnan(grid)).astype(float).tolist()


def test_the_difference_to_the_rest_by_hand():
    grid = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, np.nan]])
    found = claims(grid, np.zeros(3, dtype=np.intp))
    # Item 0: 1 - (1 + 0) / 2. Item 1: 0 - 1.
    assert found.rest == pytest.approx([(0.5 - 1) / 2, (0.5 + 1) / 2, -1.0])


def test_the_rest_is_that_of_the_own_stratum():
    grid = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    found = claims(grid, np.array([0, 0, 1, 2]))
    assert found.rest[:2] == pytest.approx([1 / 3, -1 / 3])
    assert np.isnan(found.rest[2:]).all()
    assert np.isnan(found.p[2:]).all()


def test_claims_are_those_of_brute_force():
    rng = np.random.default_rng(1)
    grid = rng.integers(0, 2, (4, 12)).astype(float)
    grid[0] = rng.random(12) < 0.1
    grid[2, 3] = np.nan
    found = claims(grid, ONE, 4000, seed=2)

    def t_of(values):
        mean = np.nanmean(values, axis=0)
        scores = []
        for row in values:
            r = (row - mean)[~np.isnan(row)]
            scores.append(-r.mean() / np.sqrt(r.var(ddof=1) / len(r)))
        return scores

    largest = []
    for _ in range(4000):
        drawn = grid.copy()
        for i in range(12):
            there = np.flatnonzero(~np.isnan(grid[:, i]))
            drawn[there, i] = rng.permutation(grid[there, i])
        largest.append(max(t_of(drawn)))
    seen = t_of(grid)
    assert found.t == pytest.approx(seen)
    for p, t in zip(found.p, seen, strict=True):
        expected = np.mean(np.array(largest) >= t - 1e-9)
        assert p == pytest.approx(expected, abs=5 * np.sqrt(max(expected * (1 - expected), 1e-3) / 4000) + 1e-3)


def test_a_high_distance_is_worse_and_a_low_accuracy_is():
    grid = np.full((4, 30), 0.5) + np.random.default_rng(2).normal(0, 0.05, (4, 30))
    grid[1] += 0.3
    assert claims(grid, ONE, sign=1).p[1] == pytest.approx(1 / 1000)
    assert claims(grid, ONE, sign=-1).p[1] == 1
    assert claims(1 - grid, ONE, sign=-1).p[1] == pytest.approx(1 / 1000)


def test_a_subgroup_that_is_always_the_only_one_wrong_is_found_though_nothing_varies():
    grid = np.ones((4, 10))
    grid[3] = 0
    found = claims(grid, ONE)
    assert found.t[3] == np.inf
    assert found.p[3] == pytest.approx(1 / 1000)
    assert claims(np.ones((4, 10)), ONE).p == pytest.approx(np.ones(4))


def test_labels_that_are_wrong_together_only_make_a_claim_harder():
    rng = np.random.default_rng(3)
    grid = (rng.random((4, 40)) < np.array([0.45, 0.7, 0.7, 0.7])[:, None]).astype(float)
    plain, wide = claims(grid, ONE), claims(grid, ONE, extra=0.01)
    assert wide.p[0] > plain.p[0]
    assert wide.rest == pytest.approx(plain.rest)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [8, 30])
def test_false_claims_are_as_rare_as_said_in_any_family(groups):
    rng = np.random.default_rng(groups)
    strata = np.arange(groups) % 2
    false = 0
    for world in range(200):
        # Items differ in difficulty and subgroups in which items they have.
        grid = (rng.random((groups, 40)) < rng.uniform(0.3, 0.95, 40)).astype(float)
        grid[rng.random(grid.shape) < 0.1] = np.nan
        false += bool((claims(grid, strata, 199, seed=world).p <= 0.05).any())
    assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.01


def test_a_subgroup_that_is_served_much_worse_is_found_and_no_other():
    rng = np.random.default_rng(4)
    found = []
    for world in range(40):
        grid = (rng.random((8, 90)) < np.array([0.35, *[0.6] * 7])[:, None]).astype(float)
        found.append(claims(grid, np.zeros(8, dtype=np.intp), 199, seed=world).p <= 0.05)
    hits = np.array(found)
    assert hits[:, 0].mean() > 0.8
    assert hits[:, 1:].any(axis=1).mean() < 0.1


def test_shrinkage_by_hand():
    scores, base = np.array([0.8, 0.6, 0.4]), np.full(3, 0.6)
    # tau^2 = .08 / 2 - .01 = .03: three quarters of each difference are kept.
    found = shrunken(scores, base, np.full(3, 0.01), np.zeros(3, dtype=np.intp))
    assert found == pytest.approx([0.75, 0.6, 0.45])
    # Nothing beyond noise: everyone is drawn to the mean.
    assert shrunken(scores, base, np.full(3, 0.05), np.zeros(3, dtype=np.intp)) == pytest.approx(base)
    # A noisier subgroup is drawn further: tau^2 = .04 - .02.
    uneven = shrunken(scores, base, np.array([0.01, 0.01, 0.04]), np.zeros(3, dtype=np.intp))
    assert uneven == pytest.approx([0.6 + 0.2 * 0.02 / 0.03, 0.6, 0.6 - 0.2 * 0.02 / 0.06])


def test_a_subgroup_alone_in_its_stratum_is_not_shrunken():
    assert shrunken(np.array([0.8, 0.4]), np.array([0.8, 0.4]), np.full(2, 0.1), np.array([0, 1])) == pytest.approx([0.8, 0.4])
    assert np.isnan(shrunken(np.array([np.nan, 0.4]), np.array([0.8, 0.4]), np.full(2, 0.1), np.array([0, 0]))[0])


def test_shrunken_scores_are_closer_to_the_truth_on_average():
    rng = np.random.default_rng(5)
    raw, drawn = 0.0, 0.0
    for _ in range(100):
        skill = 0.6 + rng.normal(0, 0.03, 20)
        grid = (rng.random((20, 60)) < skill[:, None]).astype(float)
        scores, base = grid.mean(axis=1), np.full(20, grid.mean())
        found = shrunken(scores, base, grid.var(axis=1, ddof=1) / 60, np.zeros(20, dtype=np.intp))
        raw += ((scores - skill) ** 2).sum()
        drawn += ((found - skill) ** 2).sum()
    assert drawn < 0.6 * raw


def test_with_blocks_the_standard_error_is_that_of_a_ratio_of_block_sums():
    rng = np.random.default_rng(6)
    blocks = np.repeat(np.arange(6), [5, 4, 3, 2, 2, 1])
    grid = rng.random((4, len(blocks)))
    grid[0, 3] = grid[2, 10] = np.nan
    centred = centre(grid, ONE, blocks)
    found = worst(centred, without_people(4), permute([centred], ONE, 500, 0)[0], 1)
    for g in range(4):
        there = centred.mask[g]
        mean = centred.residual[g, there].mean()
        sums, sizes = (np.array([x[there & (blocks == b)].sum() for b in range(6)]) for x in (centred.residual[g], there))
        n = sizes.sum()
        k = n**2 / (sizes**2).sum()
        se = np.sqrt(((sums - sizes * mean) ** 2).sum() / n**2 * k / (k - 1))
        assert found.t[g] == pytest.approx(mean / se)
    # And with items as blocks it is the standard error of a mean.
    assert claims(grid, ONE, 20).t[1] == pytest.approx(-centred.residual[1].mean() / stats.sem(centred.residual[1]))


def test_subgroups_of_few_blocks_are_not_tested():
    grid = np.random.default_rng(7).random((4, 24))
    for number, tested in ((3, False), (6, True)):
        centred = centre(grid, ONE, np.arange(24) % number)
        found = worst(centred, without_people(4), permute([centred], ONE, 50, 0)[0], 1)
        assert np.isnan(found.p).all() != tested


@pytest.mark.slow
def test_false_claims_are_rare_where_subgroups_differ_by_block():
    """12 equal subgroups, 10 blocks of 8 items; each subgroup is served better on some blocks and worse on others."""
    rng = np.random.default_rng(8)
    strata, blocks = np.arange(12) % 2, np.repeat(np.arange(10), 8)
    false = {"block": 0, "item": 0}
    for world in range(120):
        chance = np.clip(0.6 + 0.2 * rng.standard_normal((12, 10)), 0, 1)[:, blocks]
        grid = (rng.random(chance.shape) < chance).astype(float)
        for name, of in (("block", blocks), ("item", None)):
            centred = centre(grid, strata, of)
            found = worst(centred, without_people(12), permute([centred], strata, 99, world)[0], -1)
            false[name] += bool((found.p <= 0.05).any())
    assert stats.binomtest(false["block"], 120, 0.05, alternative="greater").pvalue > 0.01
    assert false["item"] > 0.2 * 120
