"""Multilevel regression and poststratification of the human answers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.estimation.simulated import world
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, PopulationCells

WORLD = world(3, people=1500, items=6)
OTHERS = [world(seed, people=1500, items=6) for seed in range(60, 64)]


def independent(answers, cell, weight=None, fraction=0.0):
    """Return a sample of people without clusters."""
    people = len(cell)
    weight = np.ones(people) if weight is None else weight
    return HumanSample(np.asarray(answers, np.int8), np.asarray(cell), weight, np.arange(people), np.zeros(people, np.intp), fraction)


def one_attribute(answers, cell, options, *, share=None, ordered=True, fraction=0.0):
    """Return one item, answered by people in cells that are the levels of one attribute."""
    cells = len(share) if share is not None else max(cell) + 1
    share = np.full(cells, 1 / cells) if share is None else np.asarray(share)
    levels = np.arange(cells)[:, None]
    inside = np.vstack([np.ones((1, cells), bool), np.eye(cells, dtype=bool)])
    ids = ("all", *(f"g{level}" for level in range(cells)))
    population = PopulationCells(("group",), levels, share, ids, ("all", *["group"] * cells), inside, (tuple(map(str, range(cells))),))
    items = ItemOptions(("Q1",), np.array([options]), np.arange(1.0, options + 1)[None], np.array([ordered]), np.array(["Q1"]))
    return EstimationInput(items, population, independent(np.asarray(answers)[:, None], cell, fraction=fraction))


def test_shares_sum_to_one_and_lie_in_their_intervals():
    found = multilevel(WORLD.draw(120, 1)).estimates
    used = np.broadcast_to(WORLD.items.used, found.shares.shape)
    assert found.shares.sum(axis=2) == pytest.approx(1)
    assert (found.shares[~used] == 0).all()
    assert ((found.low <= found.shares) & (found.shares <= found.high))[used].all()
    assert (found.mse[used] > 0).all()
    assert ((found.mean_low <= found.mean) & (found.mean <= found.mean_high)).all()
    assert found.mean == pytest.approx(np.nansum(found.shares * WORLD.items.codes, axis=2))


def test_subgroups_without_answers_are_synthetic():
    data = WORLD.draw(60, 4)
    found = multilevel(data).estimates
    nobody = ~data.members.any(axis=0)
    assert nobody.any()
    assert (found.synthetic == nobody[:, None]).all()
    assert np.isfinite(found.shares[nobody]).all()
    assert found.mse[nobody].mean() > found.mse[~nobody].mean()


def test_shares_of_subgroups_average_to_those_of_the_population():
    found = multilevel(WORLD.draw(1500, 1)).estimates
    places = [g for g, stratum in enumerate(WORLD.population.strata) if stratum == "age"]
    average = np.tensordot(WORLD.population.sizes[places], found.shares[places], axes=1)
    assert average == pytest.approx(found.shares[0], abs=1e-3)


def test_a_sample_of_everyone_gives_the_shares_of_the_population():
    found = multilevel(WORLD.draw(1500, 1)).estimates
    assert found.shares == pytest.approx(WORLD.truth, abs=1e-6)
    assert found.mse.max() < 1e-9


def test_equal_groups_shrink_to_the_mean_and_different_ones_keep_their_shares():
    cell = np.repeat(np.arange(6), 50)
    same = multilevel(one_attribute(np.tile([0, 1], 150), cell, 2)).estimates
    assert same.shares[:, 0, 0] == pytest.approx(np.full(7, 0.5))
    shares = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    answers = np.concatenate([np.arange(50) < 50 * share for share in shares]).astype(int)
    apart = multilevel(one_attribute(answers, cell, 2)).estimates
    assert apart.shares[1:, 0, 1] == pytest.approx(shares, abs=0.03)
    assert (np.abs(apart.shares[1:, 0, 1] - 0.5) < np.abs(shares - 0.5)).all()


def test_the_left_out_prediction_ignores_the_answers_of_the_subgroup():
    data = WORLD.draw(400, 2)
    found = multilevel(data)
    group = WORLD.population.strata.index("region") + 2
    answers = data.sample.answers.copy()
    people = np.flatnonzero(data.members[:, group])
    answers[people] = 0
    other = multilevel(replace(data, sample=replace(data.sample, answers=answers)))
    moved = np.abs(other.estimates.shares[group] - found.estimates.shares[group]).max()
    # The pooled variances still depend on the subgroup, so the predictions are close and not equal.
    assert np.abs(other.left_out[group] - found.left_out[group]).max() < 0.2 * moved
    assert np.isnan(found.left_out[0]).all()
    assert np.isfinite(found.left_out[1:]).all()
    assert (found.left_out_variance[1:] > 0).all()


def test_the_left_out_variance_is_that_of_the_true_share():
    squares, expected = 0.0, 0.0
    for seed, some in enumerate(OTHERS):
        found = multilevel(some.draw(200, seed))
        pooled = some.truth[0] * (1 - some.truth[0])
        squares += np.square(found.left_out - some.truth)[1:].sum()
        expected += (found.left_out_variance[1:, :, None] * pooled).sum()
    assert squares == pytest.approx(expected, rel=0.25)


def test_errors_are_far_below_those_of_people_alone_and_intervals_cover():
    multi, human, covered = [], [], []
    for seed, some in enumerate(OTHERS):
        data = some.draw(200, seed, model=False)
        ours, theirs = multilevel(data).estimates, human_only(data)
        size = some.population.sizes
        small = (size * 200 < 50) & (size * 1500 >= 25) & data.members.any(axis=0)
        used = np.broadcast_to(some.items.used, ours.shares.shape)[small]
        multi.append(np.square(ours.shares - some.truth)[small][used].mean())
        human.append(np.square(theirs.shares - some.truth)[small][used].mean())
        covered.append(((ours.low <= some.truth) & (some.truth <= ours.high))[small][used].mean())
    assert np.mean(multi) < 0.5 * np.mean(human)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_units_with_alike_answers_widen_intervals():
    rng = np.random.default_rng(5)
    data = replace(WORLD.draw(600, 7), models={})
    unit = rng.integers(0, 40, 600)
    answers = np.where(rng.random((600, 6)) < 0.6, data.sample.answers[unit], data.sample.answers).astype(np.int8)
    alone = replace(data, sample=replace(data.sample, answers=answers, fraction=0.0))
    clustered = replace(data, sample=HumanSample(answers, data.sample.cell, data.sample.weight, unit, np.zeros(40, np.intp)))
    found, other = multilevel(clustered), multilevel(alone)
    assert found.effects[-1] == "unit"
    # Two people of a unit have the same answer with probability 0.36 more than others.
    assert found.variances[-1] / (1 + found.variances[-1]) == pytest.approx(0.36, abs=0.12)
    assert found.estimates.mse[0].sum() > 1.5 * other.estimates.mse[0].sum()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.01, 7.0, 1e4]))
def test_the_order_of_people_and_the_scale_of_weights_do_not_matter(seed, factor):
    rng = np.random.default_rng(seed)
    data = replace(WORLD.draw(80, seed), models={})
    data = replace(data, sample=replace(data.sample, weight=rng.uniform(0.5, 2, 80)))
    order = rng.permutation(80)
    other = data.of(order)
    other = replace(other, sample=replace(other.sample, weight=factor * other.sample.weight))
    ours, theirs = multilevel(data), multilevel(other)
    assert theirs.estimates.shares == pytest.approx(ours.estimates.shares, abs=1e-6)
    assert theirs.estimates.mse == pytest.approx(ours.estimates.mse, abs=1e-6)


@pytest.mark.parametrize("options", [2, 3, 10])
def test_the_order_of_options_does_not_matter_for_nominal_items(options):
    rng = np.random.default_rng(options)
    cell, order = rng.integers(0, 5, 60), rng.permutation(options)
    answers = rng.integers(0, options, 60)
    ours = multilevel(one_attribute(answers, cell, options, ordered=False)).estimates
    theirs = multilevel(one_attribute(order[answers], cell, options, ordered=False)).estimates
    assert theirs.shares[:, 0, order] == pytest.approx(ours.shares[:, 0], abs=1e-9)
    assert np.isnan(ours.mean).all()
    assert np.isnan(ours.mean_mse).all()


def test_one_person_two_people_and_one_cell_give_estimates():
    for cell in ([0], [0, 1], [2, 2], [0, 0, 0, 0]):
        for options in (2, 7):
            data = one_attribute([0] * len(cell), cell, options, share=[0.5, 0.3, 0.2])
            found = multilevel(data).estimates
            assert found.shares.sum(axis=2) == pytest.approx(1)
            assert (found.mse > 0).all()
            assert (found.shares[:, 0].argmax(axis=1) == 0).all()


def test_without_attributes_everyone_is_in_one_cell():
    inside = np.ones((1, 1), bool)
    population = PopulationCells((), np.zeros((1, 0), np.intp), np.ones(1), ("all",), ("all",), inside, ())
    items = ItemOptions(("Q1",), np.array([2]), np.array([[0.0, 1.0]]), np.array([True]), np.array(["Q1"]))
    answers = (np.arange(100) < 30).astype(np.int8)[:, None]
    found = multilevel(EstimationInput(items, population, independent(answers, np.zeros(100, np.intp))))
    assert found.estimates.shares[0, 0] == pytest.approx([0.7, 0.3])
    assert found.estimates.mse[0, 0, 0] == pytest.approx(0.3 * 0.7 / 100, rel=0.01)
    assert found.estimates.mean_mse[0, 0] == pytest.approx(0.3 * 0.7 / 100, rel=0.01)
    assert found.effects == ()
    assert np.isnan(found.left_out).all()


def test_an_item_without_answers_is_undefined_and_does_not_disturb_others():
    data = WORLD.draw(100, 9)
    answers = data.sample.answers.copy()
    answers[:, 2] = -1
    found = multilevel(replace(data, sample=replace(data.sample, answers=answers))).estimates
    assert np.isnan(found.shares[:, 2]).all()
    assert found.synthetic[:, 2].all()
    assert np.isfinite(found.shares[:, [0, 1, 3, 4, 5]]).all()


def test_a_subgroup_without_population_has_the_weights_of_its_people_and_without_people_is_undefined():
    cell = np.array([0] * 20 + [1] * 20 + [2] * 5)
    data = one_attribute(np.arange(45) % 2, cell, 2, share=[0.6, 0.4, 0.0, 0.0])
    found = multilevel(data).estimates
    assert np.isfinite(found.shares[3]).all()
    assert np.isnan(found.shares[4]).all()
    assert np.isnan(found.low[4]).all()


def test_weights_within_a_cell_count():
    weight = np.where(np.arange(40) < 20, 3.0, 1.0)
    data = one_attribute(np.arange(40) < 20, np.zeros(40, np.intp), 2, share=[1.0])
    data = replace(data, sample=replace(data.sample, weight=weight))
    found = multilevel(data).estimates
    assert found.shares[0, 0, 1] == pytest.approx(0.75, abs=1e-3)
    assert found.mse[0, 0, 1] == pytest.approx(0.75 * 0.25 * (weight**2).sum() / weight.sum() ** 2, rel=0.05)


@pytest.mark.slow
def test_coverage_over_many_worlds():
    """Intervals cover shares in 93 to 97 % and means in at least 92 %, for samples of 50 to 400 and weak and strong effects."""
    for spread in (0.2, 0.5):
        for n in (50, 400):
            covered, means = [], []
            for seed in range(8):
                some = world(seed + 500, people=3000, items=6, options=(2, 5, 8), spread=spread)
                found = multilevel(some.draw(n, seed, model=False)).estimates
                large = some.population.sizes * 3000 >= 25
                used = np.broadcast_to(some.items.used, found.shares.shape)[large]
                covered.append(((found.low <= some.truth) & (some.truth <= found.high))[large][used].mean())
                mean = np.nansum(some.truth * some.items.codes, axis=2)
                means.append(((found.mean_low <= mean) & (mean <= found.mean_high))[large].mean())
            assert 0.93 <= np.mean(covered) <= 0.97, (spread, n)
            assert np.mean(means) >= 0.92, (spread, n)
