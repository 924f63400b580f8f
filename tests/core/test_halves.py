"""Halves of the respondents: their balance, and the pairs that splits with halves use."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build, preview
from valuestrata.dataset.halves import halve
from valuestrata.dataset.tables import half_of
from valuestrata.errors import InputDataError, UsageError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 10_000), st.booleans())
def test_halves_of_a_joint_cell_and_of_the_survey_differ_by_at_most_one_person(people, cells, seed, weighted):
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, cells, people)
    half = halve(cell, [], seed=seed, weight=rng.uniform(0.2, 5, people) if weighted else None)
    difference = np.bincount(cell, weights=np.where(half, 1, -1))
    assert np.abs(difference).max() <= 1
    assert abs(difference.sum()) <= 1
    assert (half == halve(cell, [], seed=seed, weight=None if not weighted else np.ones(people))).all() or weighted


def test_neighbours_in_weight_go_to_different_halves():
    # One cell of 8 people. In order of weight, people 0-1, 2-3, 4-5 and 6-7 are neighbours.
    weight = np.array([1.0, 1.1, 2.0, 2.1, 5.0, 5.1, 9.0, 9.1])
    divisions = {tuple(halve(np.zeros(8, dtype=np.intp), [], seed=seed, weight=weight)) for seed in range(200)}
    for half in divisions:
        assert all(half[i] != half[i + 1] for i in range(0, 8, 2))
    # Each pair is divided at random.
    assert len(divisions) == 2**4


def test_everyone_is_as_likely_in_half_a_as_in_half_b():
    cell = np.array([0, 0, 0, 1, 2, 2, 3])
    share = np.mean([halve(cell, [], seed=seed) for seed in range(4000)], axis=0)
    # Standard error of a share of 4,000: .008.
    assert np.abs(share - 0.5).max() < 0.03


def test_people_of_one_sampling_unit_stay_together_and_strata_are_divided_equally():
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(40), 10)
    stratum = np.arange(40) // 2
    cell = rng.integers(0, 6, 400)
    members = [np.array([k], dtype=np.intp) for k in range(6)] + [np.arange(6, dtype=np.intp)]
    half = halve(cell, members, seed=0, unit=unit, stratum=stratum)
    of_unit = half.reshape(40, 10)
    assert (of_unit.all(axis=1) | ~of_unit.any(axis=1)).all()
    # Two units in each stratum: one in each half.
    assert (of_unit[:, 0].reshape(20, 2).sum(axis=1) == 1).all()
    # Of many divisions the most equal is used: better than a typical one (sd about 8 people in a cell of 67).
    assert np.abs(np.bincount(cell, weights=np.where(half, 1, -1))).max() < 8
    # Units of one person each say nothing: people are divided within cells.
    alone = halve(cell, members, seed=0, unit=np.arange(400))
    assert np.abs(np.bincount(cell, weights=np.where(alone, 1, -1))).max() <= 1


@pytest.fixture(scope="module")
def made():
    """Two attributes, 100 people in each of four cells; Q2 was answered by 45 of each cell."""
    people = np.arange(400)
    levels = np.stack([people // 200, people // 100 % 2, people % 2], axis=1)
    answers = np.stack([people % 2, np.where(people % 100 < 45, people % 2, -1)], axis=1)
    attributes = [attribute("sex", ["M", "F"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["X", "Y"])]
    return survey([item("Q1", 2), item("Q2", 2)], attributes, answers, levels)


def test_splits_with_halves_use_pairs_with_the_minimum_in_each_half(made):
    built = build(made, BuildSettings(draws=10))
    halves = built.gold.filter((pl.col("half") != "all") & (pl.col("subgroup") != "all"))
    enough = halves.group_by("pair_id").agg(pl.col("n_eff").min() >= 30).filter("n_eff")["pair_id"].to_list()
    # Q2 of an age by religion cell: 45 or so answers, so that no half has 30.
    assert {pair for pair in built.part("paper", "test")["pair_id"] if pair not in enough} == {
        f"Q2_age_x_religion_{age}_{religion}" for age in "yo" for religion in "XY"
    }
    for split in ("paper+disjoint", "paper+crossfit", "unseen-item+disjoint", "unseen-level+crossfit"):
        assert set(built.part(split, "all")["pair_id"]) <= set(enough)
        gold = built.scored_gold(split, "all")
        assert gold["n_eff"].min() >= 30
    assert set(built.part("paper+disjoint", "all")["pair_id"]) == set(built.part("paper", "all")["pair_id"]) & set(enough)
    # The dry run, the data set and the split agree on the number.
    kept = preview(made, BuildSettings(draws=10))["pairs_in_both_halves"]
    assert kept.sum() == built.meta["counts"]["pairs_in_both_halves"] == len(enough) == built.in_both_halves.height - 2
    assert [row["pairs_in_both_halves"] for row in built.meta["strata"]] == kept.to_list()


def test_a_split_whose_halves_are_all_too_small_is_refused_with_advice(made):
    built = build(made, BuildSettings(min_valid=80, draws=10))
    with pytest.raises(InputDataError, match=r"'paper\+disjoint' needs pairs with at least 80 valid answers in each half"):
        built.part("paper+disjoint", "test")
    assert not built.part("paper", "test").is_empty()


def test_crossfit_has_each_fold_in_both_directions():
    built = build(random_survey(400, 3, weighted=False), BuildSettings(min_respondents=1, min_valid=1, draws=10))
    one = built.part("unseen-level+disjoint", "all").drop("fold")
    for fold, label in enumerate(built.fold_labels("unseen-level")):
        base = built.part("unseen-level+disjoint", "all", fold).drop("fold")
        for direction, half in enumerate("AB"):
            number = 2 * fold + direction
            assert built.part("unseen-level+crossfit", "all", number).drop("fold").equals(base)
            assert built.fold_labels("unseen-level+crossfit")[number] == f"{label}; trained on half {half}"
            assert half_of("unseen-level+crossfit", "train", number) == half_of("unseen-level+crossfit", "validation", number) == half
            assert {half, half_of("unseen-level+crossfit", "test", number)} == {"A", "B"}
    assert 2 * one.height == built.part("unseen-level+crossfit", "all").height
    with pytest.raises(UsageError, match="trains on either half"):
        half_of("paper+crossfit", "train")
    # Every test pair is scored against both halves; those of one fold against the half that did not train it.
    scored = built.scored_pairs("paper+crossfit", "test")
    test = built.part("paper+disjoint", "test")["pair_id"].to_list()
    assert scored.sort("half", maintain_order=True).select("pair_id", "half").rows() == [(pair, half) for half in "AB" for pair in test]
    assert set(built.scored_pairs("paper+crossfit", "test", 0)["half"]) == {"B"}
    assert set(built.scored_pairs("paper+crossfit", "test", 1)["half"]) == {"A"}
