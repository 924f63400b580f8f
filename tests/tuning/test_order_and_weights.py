"""Weights and order of training examples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valuestrata.measures import tv
from valuestrata.tuning import load_recipe
from valuestrata.tuning.data.weights import balanced_weights, departure, shift_weights
from valuestrata.tuning.train.sampler import sequence, updates_of


def recipe(**changes):
    return load_recipe("modal", **changes)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shares", "n"), [((0.5, 0.5), 60), ((0.2, 0.3, 0.5), 100), ((0.1,) * 10, 400)])
def test_the_noise_taken_off_is_the_mean_distance_of_a_sample(shares, n):
    draws = np.random.default_rng(0).multinomial(n, shares, size=4000) / n
    seen = float(tv(draws, np.array(shares)).mean())
    # A subgroup exactly as far off as its noise on average departs by nothing.
    far = np.array(shares) + seen * np.array([1, *[0] * (len(shares) - 2), -1])
    assert departure(far, shares, n) == pytest.approx(0, abs=0.02 * seen)


def test_departure_by_hand():
    # Half against half, 100 answers: noise 2 sqrt(2 * .25 / (100 pi)) / 2 = .0399; a distance of .3 leaves .2601.
    assert departure([0.8, 0.2], [0.5, 0.5], 100) == pytest.approx(0.3 - np.sqrt(0.5 / (100 * np.pi)))
    assert departure([0.51, 0.49], [0.5, 0.5], 100) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
@example([5e-324], 0.5)
@example([5e-324, 5e-324, 0.0], 0.5)
def test_shift_weights_have_the_mean_one(departures, strength):
    weights = shift_weights(departures, strength)
    assert weights.mean() == pytest.approx(1)
    assert (weights >= 0).all()


def test_shift_weights_by_hand():
    assert shift_weights([0.0, 0.1, 0.2], 0.5) == pytest.approx([0.5, 1.0, 1.5])
    assert shift_weights([0.0, 0.0], 1.0) == pytest.approx([1, 1])


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_balanced_groups_weigh_the_same(groups):
    weights = balanced_weights(groups)
    assert weights.mean() == pytest.approx(1)
    sums = {name: sum(w for w, of in zip(weights, groups, strict=True) if of == name) for name in set(groups)}
    assert list(sums.values()) == pytest.approx([len(groups) / len(sums)] * len(sums))


# --- order ------------------------------------------------------------------------------------------------------------


@given(examples=st.integers(1, 60), batch=st.integers(1, 9), epochs=st.floats(0.1, 4), together=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_every_epoch_sees_every_example_once(examples, batch, epochs, together, seed):
    keys = [example % 7 for example in range(examples)]
    how = recipe(batch=batch, epochs=epochs, together=together, data_seed=seed)
    order = sequence(how, keys)
    assert len(order) == updates_of(how, examples) * batch
    assert len(order) >= epochs * examples
    assert len(order) - epochs * examples < batch + 1
    for epoch in range(len(order) // examples):
        assert sorted(order[epoch * examples : (epoch + 1) * examples]) == list(range(examples))
    seen = Counter(order.tolist())
    assert max(seen.values()) - min(seen.get(example, 0) for example in range(examples)) <= 1


def test_examples_of_a_bundle_share_their_key():
    keys = [example // 8 for example in range(40)]
    order = sequence(recipe(together=4, epochs=2, batch=8), keys)
    bundles = [{keys[example] for example in order[at : at + 4]} for at in range(0, len(order), 4)]
    assert all(len(bundle) == 1 for bundle in bundles)
    # And they are mixed: not every bundle is followed by the rest of its key.
    assert any(bundles[at] != bundles[at + 1] for at in range(0, len(bundles) - 1, 2))


def test_the_order_depends_on_the_seed_only():
    keys = list(range(30))
    short, long = sequence(recipe(epochs=1), keys), sequence(recipe(epochs=3), keys)
    assert (long[: len(short) - 2] == short[:-2]).all()
    assert (sequence(recipe(epochs=1), keys) == short).all()
    assert (sequence(recipe(epochs=1, data_seed=1), keys) != short).any()
    assert (sequence(recipe(epochs=1, seed=1), keys) == short).all()


def test_updates_are_limited_by_max_steps():
    assert updates_of(recipe(epochs=3, batch=8), 100) == 38
    assert updates_of(recipe(epochs=3, batch=8, max_steps=5), 100) == 5
    assert updates_of(recipe(epochs=0.01, batch=8), 100) == 1
