"""Levels that are alike on average but err on different items, over cells that hold the same people in two strata."""

import numpy as np
import pytest
from scipy import stats

from valuestrata.fairness.context import context_of
from valuestrata.fairness.estimate.contrasts import unit_grid
from valuestrata.fairness.estimate.disparity import measures, tail
from valuestrata.fairness.estimate.gaps import gap_weights
from valuestrata.fairness.estimate.nulls import unit_scores
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.fairness.scores import permute_scores, score_metric
from valuestrata.fairness.tables.subgroup_rows import disparity_rows
from valuestrata.scores.layout import Values

ITEMS, WORLDS, PERMUTATIONS = 30, 150, 99


@pytest.fixture(scope="module")
def context(kit):
    items = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(ITEMS)}
    attributes = {"one": 4, "two": 3, "three": 3}
    subgroups = {}
    for first, second in (("one", "two"), ("one", "three")):
        for a in range(attributes[first]):
            for b in range(attributes[second]):
                subgroups[f"{first}_x_{second}_{a}_{b}"] = (f"{first}_x_{second}", {first: f"{first}{a}", second: f"{second}{b}"})
    counts = {(item, subgroup): [6, 4] for item in items for subgroup in subgroups}
    return context_of(kit.build(kit.World(items, subgroups, counts)), AuditedPart(), Resampling(bootstrap=0))


def answers(context, rng, gap=0.0):
    """Right or wrong by a chance of the item and the level of `one`; `gap` lowers one level on all items."""
    chance = rng.choice([0.25, 0.95], (4, ITEMS))
    level = context.levels[:, context.attributes.index("one")]
    grid = rng.random((len(level), ITEMS)) < chance[level] - gap * (level == 0)[:, None]
    return Values(grid.astype(float), exact=True)


def rows_of(context, values, seed):
    (permuted,) = permute_scores(context, [values.gold], PERMUTATIONS, seed)
    found = score_metric(context, values, permuted=permuted)
    return disparity_rows(found, "accuracy", None), found, permuted.cells


@pytest.mark.slow
def test_levels_that_err_on_other_items_are_called_unequal_as_rarely_as_said(context):
    rng = np.random.default_rng(0)
    claimed, naive = 0, 0
    for world in range(WORLDS):
        rows, found, permuted = rows_of(context, answers(context, rng), world)
        row = next(row for row in rows if row["key"] == "one" and row["measure"] == "max_min")
        claimed += row["p"] <= 0.05
        # Permuting cells instead of levels takes cells of one level for unrelated.
        members = context.pairs.members[context.attribute_of == context.attributes.index("one")]
        null = measures(unit_scores(members, found.centred, permuted.sums))["max_min"]
        naive += tail(null, row["value"]) <= 0.05
    assert stats.binomtest(claimed, WORLDS, 0.05, alternative="greater").pvalue > 0.01
    assert naive > 3 * 0.05 * WORLDS


def test_a_level_that_is_served_worse_on_all_items_is_still_found(context):
    rng = np.random.default_rng(1)
    hits = 0
    for world in range(40):
        rows, _, _ = rows_of(context, answers(context, rng, gap=0.45), world)
        hits += next(row for row in rows if row["key"] == "one" and row["measure"] == "variance_corrected")["p"] <= 0.05
    assert hits > 28


def test_the_weights_of_gaps_and_level_means_agree(context):
    values = answers(context, np.random.default_rng(2))
    weights = gap_weights(context.pairs, np.ones(values.gold.shape, dtype=bool))
    found = np.einsum("kgi,gi->k", weights.pairs, values.gold) / weights.counts.sum(axis=1)
    means = unit_grid(context.pairs.members, values.gold).mean(axis=1)
    assert found == pytest.approx(means[context.pairs.first] - means[context.pairs.second], abs=1e-6)
