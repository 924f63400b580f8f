"""Objectives compared with scipy, the score measures and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy, wasserstein_distance

from valuestrata import measures

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from valuestrata.tuning.train import objectives  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")


def world(seed: int, sizes=(2, 3, 7, 4)):
    """Return log-probabilities that sum to less than 1, gold shares and columns, padded with numbers that must not matter."""
    draw = np.random.default_rng(seed)
    width = max(sizes)
    logp, shares, there = draw.normal(size=(len(sizes), width)) * 50, np.zeros((len(sizes), width)), np.zeros((len(sizes), width), bool)
    for row, size in enumerate(sizes):
        logp[row, :size] = np.log(softmax(draw.normal(size=size)) * draw.uniform(0.01, 0.9))
        shares[row, :size] = draw.dirichlet(np.ones(size))
        there[row, :size] = True
    return torch.from_numpy(logp), torch.from_numpy(shares), torch.from_numpy(there)


def rows(logp, shares, there):
    """Yield the probabilities among the options and the gold shares of each example, unpadded, as numpy arrays."""
    for one, gold, known in zip(logp.numpy(), shares.numpy(), there.numpy(), strict=True):
        yield softmax(one[known]), gold[known]


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_objectives_equal_scipy_and_the_measures(seed):
    logp, shares, there = world(seed)
    ordinal, nominal = torch.ones(len(logp), dtype=torch.bool), torch.zeros(len(logp), dtype=torch.bool)
    among = objectives.normalised(logp, there)
    found = {
        "cross_entropy": objectives.cross_entropy(among, shares, there),
        "kl": objectives.kl(among, shares, there),
        "rps": objectives.rps(logp, shares, there, ordinal),
        "w1": objectives.w1(logp, shares, there, ordinal),
        "brier": objectives.rps(logp, shares, there, nominal),
        "tv": objectives.w1(logp, shares, there, nominal),
        "mass": objectives.log_mass(logp, there),
    }
    for row, (p, q) in enumerate(rows(logp, shares, there)):
        places = np.arange(len(p))
        assert found["cross_entropy"][row] == pytest.approx(entropy(q) + entropy(q, p))
        assert found["kl"][row] == pytest.approx(entropy(q, p))
        assert found["rps"][row] == pytest.approx(float(measures.rps(p, q)))
        assert found["w1"][row] == pytest.approx(wasserstein_distance(places, places, p, q) / (len(p) - 1))
        assert found["w1"][row] == pytest.approx(float(measures.w1(p, q)))
        assert found["brier"][row] == pytest.approx(float(np.sum((p - q) ** 2) / 2))
        assert found["tv"][row] == pytest.approx(float(measures.tv(p, q)))
        assert math.exp(found["mass"][row]) == pytest.approx(float(np.exp(logp.numpy()[row][there.numpy()[row]]).sum()))


def test_worked_by_hand():
    # Probabilities .9 and .1 against shares .1 and .9: W1 is .8 and RPS .64; of two options, positions or not.
    logp = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log()
    shares, there = torch.tensor([[0.1, 0.9]], dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    for ordinal in (True, False):
        kind = torch.tensor([ordinal])
        assert objectives.w1(logp, shares, there, kind).item() == pytest.approx(0.8)
        assert objectives.rps(logp, shares, there, kind).item() == pytest.approx(0.64)
    assert objectives.nll(logp, torch.tensor([1])).item() == pytest.approx(math.log(10))


def test_cross_entropy_over_all_strings_is_that_among_options_less_log_mass():
    # What a recipe with mass_weight 1 minimises is the plain cross-entropy of the gold against everything the model may write.
    logp, shares, there = world(3)
    whole = objectives.cross_entropy(logp, shares, there)
    among = objectives.cross_entropy(objectives.normalised(logp, there), shares, there)
    torch.testing.assert_close(whole, among - objectives.log_mass(logp, there))


@pytest.mark.parametrize("name", ["nll", "cross_entropy", "kl", "rps", "w1", "rps nominal", "w1 nominal", "dpo", "log_mass"])
def test_gradients_are_those_of_finite_differences_and_ignore_padding(name):
    logp, shares, there = world(5)
    mode, other = shares.argmax(-1), (shares.argmax(-1) + 1) % there.sum(-1)
    kind = torch.full((len(logp),), not name.endswith("nominal"))
    reference = logp.roll(1, 0).clamp(-5, 0)
    call = {
        "nll": lambda x: objectives.nll(x, mode),
        "cross_entropy": lambda x: objectives.cross_entropy(objectives.normalised(x, there), shares, there),
        "kl": lambda x: objectives.kl(objectives.normalised(x, there), shares, there),
        "rps": lambda x: objectives.rps(x, shares, there, kind),
        "w1": lambda x: objectives.w1(x, shares, there, kind),
        "dpo": lambda x: objectives.dpo(x, reference, mode, other, 0.3),
        "log_mass": lambda x: objectives.log_mass(x, there),
    }[name.split()[0]]
    start = logp.clone().requires_grad_()
    assert torch.autograd.gradcheck(call, (start,))
    call(start).sum().backward()
    assert (start.grad[~there] == 0).all()
    assert torch.isfinite(start.grad).all()
    changed = logp.masked_fill(~there, 123.0)
    torch.testing.assert_close(call(changed), call(logp))


def test_kl_is_zero_with_zero_gradient_at_the_gold_shares():
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    there = torch.ones_like(shares, dtype=torch.bool)
    start = (shares + 1e-12).log().requires_grad_()
    value = objectives.kl(objectives.normalised(start, there), shares, there)
    value.sum().backward()
    assert value.detach().numpy() == pytest.approx([0, 0], abs=1e-9)
    assert start.grad.numpy() == pytest.approx(np.zeros((2, 3)), abs=1e-9)


def test_dpo_is_log_two_where_nothing_was_learned_and_falls_with_the_margin():
    logp, _, _ = world(1)
    mode, other = torch.zeros(len(logp), dtype=torch.long), torch.ones(len(logp), dtype=torch.long)
    assert objectives.dpo(logp, logp, mode, other, 0.1).numpy() == pytest.approx(np.full(len(logp), math.log(2)))
    better = logp.clone()
    better[:, 0] += 2.0
    # A margin of 2 at beta .5: -log sigmoid(1).
    assert objectives.dpo(better, logp, mode, other, 0.5).numpy() == pytest.approx(np.full(len(logp), math.log1p(math.exp(-1))))


def test_group_weights_by_hand():
    # Of 12 examples groups 0 and 2 have 6 and 2; group 1 is not in the batch and keeps its share of the rest.
    weights, sizes = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64), torch.tensor([6, 4, 2])
    found = objectives.dro_step(weights, sizes, torch.tensor([0, 2, 0]), torch.tensor([2.0, 1.0, 4.0]), step=0.1)
    raised = np.array([0.25 * math.exp(0.1 * 12 / (6 * 3) * 6), 0.5, 0.25 * math.exp(0.1 * 12 / (2 * 3))])
    assert found.numpy() == pytest.approx(raised / raised.sum())


def test_a_group_gains_no_weight_by_its_size_alone():
    # One epoch in batches of 4; every example is as badly served, and one group has three times the examples.
    groups = torch.tensor([0] * 12 + [1] * 4)[torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    weights, losses = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.full((4,), 1.5)
    for batch in groups.split(4):
        weights = objectives.dro_step(weights, torch.tensor([12, 4]), batch, losses, step=0.3)
    assert weights.numpy() == pytest.approx([0.5, 0.5])
    # The exponents of an epoch are step x batches x the group's mean loss: here 0.3 x 4 x (1 and 2).
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for batch in groups.split(4):
        weights = objectives.dro_step(weights, torch.tensor([12, 4]), batch, 1.0 + batch, step=0.3)
    assert float(weights[1] / weights[0]) == pytest.approx(math.exp(1.2))
