"""What is minimised: torch functions of options' log-probabilities, one value an example.

Throughout, `logp` has the shape B x K: row i holds the natural logarithm of the probability of each option of example i,
whole strings with the end of the turn, in scale order; `there` (B x K, bool) says which columns are options of the example,
and columns that are not are never read. `shares` (B x K) are gold shares that sum to 1 over the options. K is at least 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def log_mass(logp: Tensor, there: Tensor) -> Tensor:
    """Logarithm of the probability of all options together, shape (B,), at most 0 but for rounding."""
    return _filled(logp, there, -float("inf")).logsumexp(dim=-1)


def normalised(logp: Tensor, there: Tensor) -> Tensor:
    """Logarithms of the probabilities among the options alone, shape (B, K); 0 where there is no option."""
    return _filled(logp - log_mass(logp, there)[:, None], there, 0.0)


def nll(logp: Tensor, chosen: Tensor) -> Tensor:
    """Negative log-likelihood of one option an example; `chosen` holds its column, shape (B,)."""
    return -logp.gather(-1, chosen[:, None])[:, 0]


def cross_entropy(logp: Tensor, shares: Tensor, there: Tensor) -> Tensor:
    """-sum_k q_k log p_k of gold shares q, in nats; 0 log 0 is 0."""
    return -(shares * _filled(logp, there, 0.0)).sum(dim=-1)


def kl(logp: Tensor, shares: Tensor, there: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the gold shares from the model, sum_k q_k (log q_k - log p_k), in nats.

    The gradient is that of the cross-entropy; the value is 0 where there is nothing left to learn.
    """
    import torch

    return cross_entropy(logp, shares, there) + torch.special.xlogy(shares, shares).sum(dim=-1)


def rps(logp: Tensor, shares: Tensor, there: Tensor, ordinal: Tensor) -> Tensor:
    """Ranked probability score sum_k (F_k - G_k)^2 / (K - 1), as `measures.rps`, of the probabilities among the options.

    For a nominal item (`ordinal`, shape (B,), is False) positions mean nothing: half the Brier score, sum_k (p_k - q_k)^2 / 2,
    stands in its place. For two options the two are equal.
    """
    gap = _gap(logp, shares, there)
    steps = gap.cumsum(dim=-1)
    ranked = (steps * steps).sum(dim=-1) / _inner(there)
    brier = (gap * gap).sum(dim=-1) / 2
    return ranked.where(ordinal, brier)


def w1(logp: Tensor, shares: Tensor, there: Tensor, ordinal: Tensor) -> Tensor:
    """Wasserstein-1 distance sum_k |F_k - G_k| / (K - 1), as `measures.w1`, of the probabilities among the options.

    For a nominal item the total variation distance stands in its place, which is its W1 where all options are equally far
    from one another. For two options the two are equal.
    """
    gap = _gap(logp, shares, there)
    moved = gap.cumsum(dim=-1).abs().sum(dim=-1) / _inner(there)
    return moved.where(ordinal, gap.abs().sum(dim=-1) / 2)


def dpo(logp: Tensor, reference: Tensor, chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023), -log sigmoid(beta [(l_c - l_r) - (r_c - r_r)]).

    Args:
        logp, reference: log-probabilities (B x K) by the model and by the one that training started from.
        chosen, rejected: columns of the option that wins and of the one that loses, shape (B,).
        beta: how dear it is to leave the reference.
    """
    from torch.nn.functional import logsigmoid

    margin = (nll(logp, rejected) - nll(logp, chosen)) - (nll(reference, rejected) - nll(reference, chosen))
    return -logsigmoid(beta * margin)


def dro_step(weights: Tensor, sizes: Tensor, groups: Tensor, losses: Tensor, step: float) -> Tensor:
    """Return group weights after one batch of group-DRO (after Sagawa et al. 2020, algorithm 1), summing to 1.

    The weight of group g is multiplied by exp(step x N / (n_g B) x sum of its losses in the batch); then all are
    normalised. The factor behind the step is an unbiased estimate of the group's mean loss, over all batches. The
    algorithm draws groups alike; here large ones come more often, and would gain weight by that alone.

    Args:
        weights: shape (G,), summing to 1. sizes: training examples n_g of each group, shape (G,), N in all.
        groups: group of each example, shape (B,). losses: shape (B,). step: eta.
    """
    sums = weights.new_zeros(len(weights)).index_add(0, groups, losses.to(weights.dtype))
    share = sizes.to(weights.dtype) / sizes.sum()
    raised = weights.log() + step * sums / (share * len(groups))
    return raised.softmax(dim=0)


def _filled(values: Tensor, there: Tensor, value: float) -> Tensor:
    return values.masked_fill(~there, value)


def _gap(logp: Tensor, shares: Tensor, there: Tensor) -> Tensor:
    """Return p - q over the options. It sums to 0 over a row, so that cumulative sums behind the last option stay 0."""
    return _filled(normalised(logp, there).exp() - shares, there, 0.0)


def _inner(there: Tensor) -> Tensor:
    return there.sum(dim=-1) - 1
