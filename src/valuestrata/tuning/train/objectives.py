"""Training objectives: torch functions of the options' log-probabilities, one value per example.

`logp` has the shape B x K: row i holds the natural logarithm of the probability of each option of example i (whole string
and end of the turn), in scale order. `there` (B x K, bool) marks the columns that are options of the example; other columns are
ignored. `shares` (B x K) are gold shares that sum to 1 over the options. K is at least 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def log_mass(logp: Tensor, there: Tensor) -> Tensor:
    """Return the logarithm of the total probability of all options, shape (B,)."""
    return _filled(logp, there, -float("inf")).logsumexp(dim=-1)


def normalised(logp: Tensor, there: Tensor) -> Tensor:
    """Return the logarithms of the probabilities renormalised over the options, shape (B, K); 0 in other columns."""
    return _filled(logp - log_mass(logp, there)[:, None], there, 0.0)


def nll(logp: Tensor, chosen: Tensor) -> Tensor:
    """Return the negative log-likelihood of one option per example; `chosen` holds its column, shape (B,)."""
    return -logp.gather(-1, chosen[:, None])[:, 0]


def cross_entropy(logp: Tensor, shares: Tensor, there: Tensor) -> Tensor:
    """Return -sum_k q_k log p_k for gold shares q, in nats; 0 log 0 is 0."""
    return -(shares * _filled(logp, there, 0.0)).sum(dim=-1)


def kl(logp: Tensor, shares: Tensor, there: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the gold shares from the model, sum_k q_k (log q_k - log p_k), in nats."""
    import torch

    return cross_entropy(logp, shares, there) + torch.special.xlogy(shares, shares).sum(dim=-1)


def rps(logp: Tensor, shares: Tensor, there: Tensor, ordinal: Tensor) -> Tensor:
    """Return the ranked probability score sum_k (F_k - G_k)^2 / (K - 1), as `measures.rps`, of the renormalised probabilities.

    For a nominal item (`ordinal`, shape (B,), is False) it is half the Brier score, sum_k (p_k - q_k)^2 / 2. For two
    options both are equal.
    """
    gap = _gap(logp, shares, there)
    steps = gap.cumsum(dim=-1)
    ranked = (steps * steps).sum(dim=-1) / _inner(there)
    brier = (gap * gap).sum(dim=-1) / 2
    return ranked.where(ordinal, brier)


def w1(logp: Tensor, shares: Tensor, there: Tensor, ordinal: Tensor) -> Tensor:
    """Return the Wasserstein-1 distance sum_k |F_k - G_k| / (K - 1), as `measures.w1`, of the renormalised probabilities.

    For a nominal item it is the total variation distance, the W1 of equidistant options. For two options both are equal.
    """
    gap = _gap(logp, shares, there)
    moved = gap.cumsum(dim=-1).abs().sum(dim=-1) / _inner(there)
    return moved.where(ordinal, gap.abs().sum(dim=-1) / 2)


def dpo(logp: Tensor, reference: Tensor, chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Return the loss of direct preference optimisation (Rafailov et al. 2023), -log sigmoid(beta [(l_c - l_r) - (r_c - r_r)]).

    Args:
        logp, reference: log-probabilities (B x K) of the model and of the base model.
        chosen, rejected: columns of the preferred and the rejected option, shape (B,).
        beta: penalty for departing from the base model.
    """
    from torch.nn.functional import logsigmoid

    margin = (nll(logp, rejected) - nll(logp, chosen)) - (nll(reference, rejected) - nll(reference, chosen))
    return -logsigmoid(beta * margin)


def dro_step(weights: Tensor, sizes: Tensor, groups: Tensor, losses: Tensor, step: float) -> Tensor:
    """Return group weights after one batch of group-DRO (after Sagawa et al. 2020, algorithm 1), summing to 1.

    The weight of group g is multiplied by exp(step x N / (n_g B) x sum of its losses in the batch); then all are
    normalised. The factor after the step is an unbiased estimate of the group's mean loss. The published algorithm samples
    groups equally; here large groups occur more often, and the factor corrects for that.

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
    """Return p - q over the options; a row sums to 0, so cumulative sums after the last option are 0."""
    return _filled(normalised(logp, there).exp() - shares, there, 0.0)


def _inner(there: Tensor) -> Tensor:
    return there.sum(dim=-1) - 1
