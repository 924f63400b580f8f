"""Planted bias: false claims at their level, planted gaps found as often as predicted, difficulty not taken for bias.

A short version of `bench/audit_study.py`. Limits are those of the binomial distribution; every seed is fixed, so that the outcome
is too.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from bench.audit_claims import claim_rows
from bench.audit_claims import planted as conditions
from bench.audit_whole import NOTHING, whole_rows
from bench.audit_worlds import (
    ALPHA,
    ATTRIBUTE,
    ITEM_MODE,
    LEVEL,
    METRIC,
    accuracy,
    answers_of,
    audit_runs,
    by_item,
    knows_labels,
    knows_nation,
    make_world,
    on_blocks,
    rare_level,
)
from valuestrata.fairness import audit
from valuestrata.fairness.estimate.disparity import corrected_variance
from valuestrata.fairness.power.power import power
from valuestrata.responses.run.schema import RESPONSES

pytestmark = pytest.mark.slow

REPETITIONS = 100
BASE = 0.6
PERMUTATIONS = 400
# How often a true rate may leave its limit.
RARE = 0.01


@pytest.fixture(scope="module")
def world():
    """A data set of 8 test subgroups."""
    return make_world(8, 0, items=60, draws=100, bootstrap=500)


def fair(world, repetitions, seed=0):
    rng = np.random.default_rng(seed)
    return [knows_labels(world, np.full(len(world.context.stratum), BASE), rng) for _ in range(repetitions)]


def not_above(hits, rate):
    """So many hits of REPETITIONS could come of the rate."""
    return binom.sf(hits - 1, REPETITIONS, rate) > RARE


@pytest.mark.parametrize(("subgroups", "items"), [(8, 60), (30, 40)])
def test_where_nothing_is_planted_false_claims_keep_their_level(subgroups, items):
    world = make_world(subgroups, 1, items=items, draws=100, bootstrap=500)
    assert len(world.context.stratum) == subgroups
    claims = audit_runs(world, fair(world, REPETITIONS), PERMUTATIONS, 0)
    assert not_above(sum(one.worst.any() for one in claims), ALPHA)
    assert not_above(sum(one.any_gap("p_holm") for one in claims), ALPHA)
    assert not_above(sum(one.any_gap("adjusted_p_holm") for one in claims), ALPHA)
    assert not_above(sum(one.any_remaining("remains") for one in claims), ALPHA)
    assert not_above(sum(one.any_remaining("hidden") for one in claims), ALPHA)
    # And claims are made: a level that is never used up would hide what is there.
    assert any(one.worst.any() for one in claims) or any(one.any_gap("p_holm") for one in claims)


def test_a_gap_of_ten_points_over_a_thousand_pairs_is_found_and_so_often_as_predicted():
    world = make_world(30, 2, items=170, draws=100, bootstrap=500)
    rng = np.random.default_rng(2)
    chance = BASE - 0.1 * world.has(ATTRIBUTE, LEVEL)
    claims = audit_runs(world, [knows_labels(world, chance, rng) for _ in range(REPETITIONS)], 0, 0, gaps="plain")
    planted = power(world.dataset, effect=0.1, expected=BASE).filter(by="level", level=LEVEL)
    for other, predicted in planted.select("against", "power").iter_rows():
        hits = 0
        for one in claims:
            (row,) = (
                one.gaps.filter(attribute=ATTRIBUTE)
                .filter(pl.col("level").is_in([LEVEL, other]), pl.col("against_level").is_in([LEVEL, other]))
                .rows(named=True)
            )
            assert row["pairs"] == 2 * 6 * 170
            worse = row["gap"] < 0 if row["level"] == LEVEL else row["gap"] > 0
            hits += row["p_holm"] <= ALPHA and worse
        assert binom.cdf(hits, REPETITIONS, 0.8) > RARE
        low, high = binom.interval(1 - RARE / 4, REPETITIONS, predicted)
        assert low - 0.05 * REPETITIONS <= hits <= high + 0.05 * REPETITIONS


def test_a_subgroup_served_worse_is_found_as_often_as_predicted(world):
    rng = np.random.default_rng(3)
    chance = np.full(8, BASE)
    chance[3] -= 0.25
    claims = audit_runs(world, [knows_labels(world, chance, rng) for _ in range(REPETITIONS)], PERMUTATIONS, 0, gaps="none")
    name = world.layout.subgroups[3]
    predicted = float(power(world.dataset, effect=0.25, expected=BASE).filter(level=name)["power"][0])
    hits = sum(bool(one.worst[3]) for one in claims)
    low, high = binom.interval(1 - RARE, REPETITIONS, predicted)
    assert low - 0.05 * REPETITIONS <= hits <= high + 0.05 * REPETITIONS
    assert not_above(sum(bool(np.delete(one.worst, 3).any()) for one in claims), ALPHA)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_the_unfloored_corrected_variance_is_unbiased(world, spread):
    rng = np.random.default_rng(4)
    off = []
    for _ in range(2000):
        chance = np.clip(BASE + spread * rng.standard_normal(8), 0, 1)
        off.append(corrected_variance(knows_labels(world, chance, rng).gold).value - chance.var(ddof=1))
    error = np.std(off) / np.sqrt(len(off))
    assert abs(np.mean(off)) < 0.0002 + 3 * error
    assert error < 0.0001
    assert min(off) < 0


def test_a_gap_that_is_only_difficulty_is_claimed_raw_and_explained():
    """One level is 6 % of the people, and far from the nation; the model gives the nation's mode."""

    def change(population):
        rare = rare_level(0.06)(population)
        effect = rare.main[ATTRIBUTE].copy()
        effect[0] *= 5
        return replace(rare, main={**rare.main, ATTRIBUTE: effect})

    world = make_world(30, 5, items=90, draws=100, bootstrap=500, change=change)
    rng = np.random.default_rng(5)
    claims = audit_runs(world, [knows_nation(world, 0.9, rng) for _ in range(REPETITIONS)], 0, 0)
    raw = [one.gaps.filter((pl.col("level") == LEVEL) & (pl.col("p_holm") <= ALPHA)) for one in claims]
    assert sum(not one.is_empty() for one in raw) > 0.9 * REPETITIONS
    assert not_above(sum(one.any_remaining("remains") for one in claims), ALPHA)
    assert not_above(sum(one.any_remaining("hidden") for one in claims), ALPHA)
    means = pl.concat(one.gaps.filter(level=LEVEL) for one in claims).select(pl.col("gap", "excess", "adjusted").mean()).row(0)
    assert means[0] < -0.1
    assert abs(means[1]) < 0.3 * abs(means[0])
    assert abs(means[2]) < 0.3 * abs(means[0])
    words = pl.concat(raw)["remains"]
    # Nothing of it is laid at the model's door, and of most of it the survey itself is said to show as much.
    assert words.is_in(["explained", "composition", "unclear", "turned"]).all()
    assert (words == "explained").mean() > 0.5


def test_the_study_audits_as_audit_does(world):
    """Claims on arrays are those of the public call on the same answers."""
    layout = world.layout
    rng = np.random.default_rng(6)
    chance = BASE - 0.3 * world.has(ATTRIBUTE, LEVEL)
    values = knows_labels(world, chance, rng)
    answers = np.nan_to_num(values.by_mode).argmax(axis=1)
    runs = [run_of(world, "planted", answers), run_of(world, ITEM_MODE, None)]
    (claims,) = audit_runs(world, [values], PERMUTATIONS, 0)
    found = audit(world.dataset, runs, metrics=(METRIC,), permutations=PERMUTATIONS, bootstrap=500, seed=0)
    groups = found.groups.filter(run="planted")
    assert groups["subgroup"].to_list() == list(layout.subgroups)
    assert groups["worst"].to_list() == claims.worst.tolist()
    assert any(claims.worst)
    gaps = found.gaps.filter(run="planted")
    for column in ("gap", "p_holm", "excess", "excess_p_holm", "adjusted", "adjusted_p_holm"):
        np.testing.assert_allclose(gaps[column].to_numpy(), claims.gaps[column].to_numpy(), rtol=1e-6, atol=1e-9)
    assert gaps["remains"].to_list() == claims.gaps["remains"].to_list()
    variance = found.disparity.filter(run="planted", by="all", measure="variance_corrected")["value"].item()
    assert variance == pytest.approx(claims.variance)


def run_of(world, name, answers):
    """A run that answers every test pair with these option indices, or as the world's baseline did."""
    layout = world.layout
    if answers is None:
        answers = np.nan_to_num(world.baseline.values.by_mode).argmax(axis=1)
    plain = {"elicitation": "text", "template": "default", "order": "scale", "sample": 0, "status": "answered"}
    rows = [
        {**plain, "pair_id": pair, "item": item, "subgroup": subgroup, "answer": codes[answers[cell]]}
        for pair, item, subgroup, codes, cell in layout.gold.select("pair_id", "item", "subgroup", "codes", "cell").iter_rows()
    ]
    meta = {"respondent": f"baseline:{ITEM_MODE}" if name == ITEM_MODE else "planted"}
    return SimpleNamespace(name=name, meta=meta, responses=RESPONSES.frame(rows))


@pytest.mark.parametrize(
    ("condition", "families"),
    [
        ("fair", ("differ", "paper", "worst", "gap", "remains", "hidden", "cell", "change", "who", "levels", "levelled", "spread")),
        ("refusing", ("refused", "uneven")),
    ],
)
def test_lines_claim_what_is_not_there_as_rarely_as_they_say(condition, families):
    """The whole audit and its lines, in small: each family of claims keeps its level."""
    planted = replace(next(one for one in conditions() if one.name == condition), subgroups=8)
    rows = [row for seed in (1, 2) for row in claim_rows(planted, seed, REPETITIONS // 2, 100, items=30, replicates=200)]
    frame = pl.DataFrame(rows)
    for family in families:
        found = frame[family].drop_nulls()
        assert len(found) >= REPETITIONS, family
        assert binom.sf(int(found.sum()) - 1, len(found), ALPHA) > RARE / 2, family


def test_a_level_is_not_blamed_for_the_company_it_keeps():
    planted = next(one for one in conditions() if one.name == "company")
    frame = pl.DataFrame(list(claim_rows(planted, 3, 12, 0, items=60, replicates=200)))
    assert frame["gap"].mean() > 0.5
    for family in ("remains", "hidden"):
        assert binom.sf(int(frame[family].sum()) - 1, len(frame), ALPHA) > RARE


def test_what_two_models_do_to_a_survey_of_full_size_is_said_and_little_else():
    """Every claim of one audit of two models is held against the planted scores."""
    rows = pl.DataFrame(list(whole_rows(1)))
    claims = rows.filter(pl.col("true").is_not_null())
    assert len(claims) > 50
    # What makes no claim of a subgroup, a level or a change has no truth to be held against.
    assert rows.filter(pl.col("true").is_null())["rule"].is_in(["served-worse", "gap-remains", "better", "spread-wider"]).sum() == 0
    assert (claims["true"] <= NOTHING).sum() <= 2
    after = claims.filter(run="after")
    assert after.filter(pl.col("claim").str.contains("than for 25-34 years"), rule="gap-remains").height >= 3
    assert after.filter(pl.col("claim").str.contains("^Muslim is refused more often"), rule="missing-uneven").height == 3
    assert {"better", "intersection-worse", "served-worse", "spread-wider"} <= set(after["rule"])
    assert "gap-remains" not in claims.filter(run="before")["rule"].to_list()


def test_subgroups_that_differ_by_block_are_not_said_to_be_served_worse():
    """One survey with the blocks of wvs7, scaled down; with items as units, false claims are several times as frequent."""
    blocks = [f"block {place}" for place, size in enumerate([12, 10, 7, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1]) for _ in range(size)]
    world = make_world(8, 7, items=len(blocks), draws=50, bootstrap=300, blocks=blocks)
    rng = np.random.default_rng(7)
    runs = [accuracy(world.layout, answers_of(world.layout.mode, on_blocks(world, BASE, 0.15, rng), world.options, rng)) for _ in range(80)]
    claimed = {
        name: [
            sum(one.worst.any() for one in claims),
            sum(one.any_gap("p_holm") for one in claims),
            sum(one.any_gap("adjusted_p_holm") for one in claims),
        ]
        for name, claims in ((name, audit_runs(of, runs, 200, 0)) for name, of in (("block", world), ("item", by_item(world))))
    }
    for hits in claimed["block"]:
        assert binom.sf(hits - 1, 80, ALPHA) > RARE
    assert sum(claimed["item"]) > 2 * sum(claimed["block"])
    assert binom.sf(claimed["item"][0] - 1, 80, ALPHA) < RARE
