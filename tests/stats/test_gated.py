"""Tests in the order of a tree: hand-worked figures, the general graphical procedure, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.errors import UsageError
from valuestrata.stats.multiple_testing import gated

# An overall test, two families below it, and one below the second.
PARENT, SHARE = [None, 0, 0, 2], [1.0, 0.5, 0.5, 0.5]


def test_adjusted_p_values_by_hand():
    # Overall .01; .02 / .5 = .04; .04 / .5 = .08; below it at least .08.
    assert gated([0.01, 0.02, 0.04, 0.001], PARENT, SHARE) == pytest.approx([0.01, 0.04, 0.08, 0.08])
    # The overall test is not significant, so nothing is.
    assert gated([0.2, 0.001, 0.001, 0.001], PARENT, SHARE) == pytest.approx([0.2, 0.2, 0.2, 0.2])
    assert gated([0.01, None, 0.9, 0.5], PARENT, SHARE) == pytest.approx([0.01, None, 1.0, 1.0])
    assert gated([None, 0.01], [None, 0], [0.5, 0.5]) == [None, None]
    assert gated([], [], []) == []


def test_without_a_tree_it_is_the_weighted_bonferroni_procedure():
    assert gated([0.01, 0.01], [None, None], [0.8, 0.2]) == pytest.approx([0.0125, 0.05])


def test_a_fixed_sequence_keeps_the_whole_level():
    """Each test at the full level, up to the first that fails (Maurer, Hothorn and Lehmacher 1995): running maxima."""
    p = [0.01, 0.04, 0.03, 0.2, 0.001]
    assert gated(p, [None, 0, 1, 2, 3], [1.0] * 5) == pytest.approx(list(np.maximum.accumulate(p)))


@pytest.mark.parametrize(
    ("parent", "share", "message"),
    [
        ([None, None], [0.6, 0.5], "those of the roots sum to at most 1"),
        ([None, 0, 0], [0.5, 0.3, 0.3], "the children of hypothesis 0 sum to at most 0.5"),
        ([None, 1], [1.0, 1.0], "position of an earlier"),
        ([None], [0.0], "above 0"),
    ],
)
def test_trees_that_do_not_control_the_error_are_refused(parent, share, message):
    with pytest.raises(UsageError, match=message):
        gated([0.1] * len(parent), parent, share)
    with pytest.raises(UsageError, match="not between 0 and 1"):
        gated([1.1], [None], [1.0])


def graphical(p, weights, edges, alpha):
    """The general procedure of Bretz et al. (2009), algorithm 1: reject, pass the weight on, update the edges."""
    weights, edges, left = np.array(weights, dtype=float), np.array(edges, dtype=float), set(range(len(p)))
    rejected = set()
    while True:
        found = [j for j in left if weights[j] > 0 and p[j] <= weights[j] * alpha + 1e-12]
        if not found:
            return rejected
        j = found[0]
        rejected.add(j)
        left.remove(j)
        passed, new = weights.copy(), np.zeros_like(edges)
        for k in left:
            passed[k] = weights[k] + weights[j] * edges[j, k]
            for m in left - {k}:
                loop = edges[k, j] * edges[j, k]
                new[k, m] = (edges[k, m] + edges[k, j] * edges[j, m]) / (1 - loop) if loop < 1 else 0.0
        passed[j] = 0.0
        weights, edges = passed, new


trees = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.tuples(*(st.one_of(st.none(), st.integers(0, at - 1)) if at else st.none() for at in range(n))),
        st.lists(st.floats(0, 0.2), min_size=n, max_size=n),
    )
)


def even_shares(parent):
    """Divide the level evenly among roots, and that of each hypothesis among its children."""
    share = []
    for above in parent:
        limit = 1.0 if above is None else share[above]
        share.append(limit / parent.count(above))
    return share


@settings(deadline=None, max_examples=150)
@given(trees)
def test_it_rejects_what_the_graphical_procedure_rejects(tree):
    parent, p = tree
    share = even_shares(parent)
    weights = [one if above is None else 0.0 for one, above in zip(share, parent, strict=True)]
    edges = [[share[k] / share[j] if parent[k] == j else 0.0 for k in range(len(p))] for j in range(len(p))]
    expected = graphical(p, weights, edges, 0.05)
    assert {at for at, one in enumerate(gated(p, parent, share)) if one <= 0.05 + 1e-12} == expected


@settings(deadline=None, max_examples=100)
@given(trees, st.integers(0, 6), st.floats(0, 1))
def test_adjusted_values_are_at_least_p_and_grow_with_every_p(tree, at, larger):
    parent, p = tree
    share = even_shares(parent)
    found = gated(p, parent, share)
    assert all(one >= value for one, value in zip(found, p, strict=True))
    at %= len(p)
    raised = [max(value, larger) if place == at else value for place, value in enumerate(p)]
    assert all(new >= old for new, old in zip(gated(raised, parent, share), found, strict=True))


@pytest.mark.parametrize("true", [{0, 1, 2, 3, 4}, {1, 2, 3, 4}, {2, 3, 4}, {3, 4}])
def test_the_error_is_controlled_under_dependence(true):
    """True hypotheses share noise. In 2,000 samples the share of false rejections is at most 5 % and two standard errors."""
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    parent, share = [None, 0, 0, 1, 1], [1.0, 0.5, 0.5, 0.25, 0.25]
    z = 0.7 * rng.standard_normal((2000, 1)) + np.sqrt(0.51) * rng.standard_normal((2000, 5))
    z[:, [at for at in range(5) if at not in true]] += 6
    errors = sum(any(found[at] <= 0.05 for at in true) for found in (gated(row.tolist(), parent, share) for row in norm.sf(z)))
    assert errors / 2000 <= 0.06
