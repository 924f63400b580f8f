"""Counts against a plain loop, modes and ceilings against cases worked by hand and against closed forms."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.gold import count_answers, is_mode, redraw, shares_of
from valuestrata.dataset.population import expected_nmae
from valuestrata.dataset.subgroups import make_cells, make_strata


def counted_by_hand(made, weights):
    """Count every pair respondent by respondent: {(item, {attribute: level}): {option: weight}}."""
    counts = {}
    for person in range(made.respondents):
        for stratum in make_strata(made.attributes):
            levels = tuple(int(made.levels[person, a]) for a in stratum.attributes)
            if -1 in levels:
                continue
            for j in range(len(made.items)):
                option = int(made.answers[person, j])
                key = (j, stratum.name, levels, option)
                counts[key] = counts.get(key, 0.0) + weights[person]
    return counts


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.integers(0, 10_000))
def test_counts_equal_a_loop_over_respondents(people, seed):
    made = random_survey(people, seed)
    cells = make_cells(made, make_strata(made.attributes), min_respondents=1)
    counts = count_answers(made.answers, cells.joint_of_respondent, len(cells.joint_n), cells.members, 10, made.weight)
    expected = counted_by_hand(made, made.weight)
    found = {}
    for j in range(len(made.items)):
        for s, subgroup in enumerate(cells.kept):
            for option in range(-5, 10):
                if counts[j, s, 5 + option]:
                    found[j, subgroup.stratum.name, subgroup.levels, option] = counts[j, s, 5 + option]
    assert found == pytest.approx(expected)


def test_modes_share_the_largest_weighted_count_despite_rounding():
    # .1 + .2 and .3 differ in the last bit of a double and are still a tie.
    assert is_mode(np.array([0.1 + 0.2, 0.3, 0.1])).tolist() == [True, True, False]
    assert is_mode(np.array([3.0, 2.999, 0.0])).tolist() == [True, False, False]


def test_shares_of_nothing_are_zero():
    assert shares_of(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_expected_nmae_by_hand():
    # Gold mode at position 0 of 0..3; the best answer is 0 with .5, 1 with .3, 3 with .2: .3/3 + .2*3/3.
    assert expected_nmae(np.array([0.5, 0.3, 0.0, 0.2]), np.array(0)) == pytest.approx(0.1 + 0.2)


def test_p_mode_follows_the_binomial_law():
    """Of n unweighted people 60 % say 'yes'; how often 'yes' stays the mode in a redraw is a binomial tail."""
    n, yes, draws = 25, 15, 20_000
    answers = np.array([[0]] * yes + [[1]] * (n - yes), dtype=np.int8)
    gold = np.zeros((3, 1, 1, 2))
    gold[:, 0, 0] = [yes, n - yes]
    half = np.arange(n) % 2 == 0
    (result,) = redraw(answers, np.array([2]), [np.arange(n)], half, gold, draws=draws, share_draws=0, rng=np.random.default_rng(1))
    p = yes / n
    tail = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(13, n + 1))
    assert result.p_mode[0, 0, 0, 0] == pytest.approx(tail, abs=4 * math.sqrt(tail * (1 - tail) / draws))
    assert result.p_mode.sum(axis=-1) == pytest.approx(1)
    # The standard error of a share is sqrt(p (1 - p) / n).
    assert result.share_se[0, 0, 0, 0] == pytest.approx(math.sqrt(p * (1 - p) / n), rel=0.03)
    # With two options W1 is |redrawn share - share|, whose mean is known for a normal: se * sqrt(2 / pi).
    assert result.floor_w1[0, 0, 0] == pytest.approx(math.sqrt(p * (1 - p) / n) * math.sqrt(2 / math.pi), rel=0.05)
    # ... and RPS its square, whose mean is the variance.
    assert result.floor_rps[0, 0, 0] == pytest.approx(p * (1 - p) / n, rel=0.05)


def test_ties_in_a_redraw_are_shared_equally():
    # Two people, one of each opinion: a redraw is (2,0), (1,1), (0,2) with 1/4, 1/2, 1/4; the tie is split.
    answers = np.array([[0], [1]], dtype=np.int8)
    gold = np.ones((3, 1, 1, 2))
    (result,) = redraw(
        answers, np.array([2]), [np.arange(2)], np.array([True, False]), gold, draws=4000, share_draws=0, rng=np.random.default_rng(0)
    )
    assert result.p_mode[0, 0, 0] == pytest.approx([0.5, 0.5], abs=0.03)
    # The stored mode is the lowest among ties: code 0 in three draws of four.
    assert (result.modes[0, 0, 0] == 0).mean() == pytest.approx(0.75, abs=0.03)


def test_overlapping_subgroups_keep_their_covariance():
    """A subgroup and the same subgroup under another name must have the same mode in every redraw."""
    made = random_survey(60, 3)
    gold = np.ones((3, 4, 2, 10))
    people = np.arange(0, 40)
    half = np.arange(60) < 30
    options = np.array([len(i.codes) for i in made.items])
    for group in redraw(
        made.answers,
        options,
        [people, people.copy()],
        half,
        gold,
        draws=50,
        share_draws=20,
        rng=np.random.default_rng(0),
        weight=made.weight,
    ):
        assert (group.modes[:, :, 0] == group.modes[:, :, 1]).all()
        assert (group.share_draws[:, :, 0] == group.share_draws[:, :, 1]).all()


def test_chunks_do_not_change_the_result():
    made = random_survey(50, 5)
    gold = np.ones((3, 4, 1, 10))
    options = np.array([len(i.codes) for i in made.items])
    arguments = (made.answers, options, [np.arange(50)], np.arange(50) < 25, gold)
    whole = redraw(*arguments, draws=40, share_draws=20, rng=np.random.default_rng(9), chunk=40)
    parts = redraw(*arguments, draws=40, share_draws=20, rng=np.random.default_rng(9), chunk=7)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a.modes, b.modes)
        # Standard errors summed in another order may turn a rounding; a step is 1/32 of one.
        np.testing.assert_allclose(a.share_draws, b.share_draws, atol=1)
        np.testing.assert_allclose(a.p_mode, b.p_mode)


@pytest.fixture
def six_people():
    """Four women and two men; one item with three codes; weights that turn the women's mode from 1 to 3.

    Women answer 1, 1, 3, don't know with weights 1, 1, 3, 1; men answer 2 and refuse with weights 2 and 1.
    """
    items = [item("Q1", 3)]
    attributes = [attribute("sex", ["Male", "Female"]), attribute("age_group", ["young", "old"], "age"), attribute("religion", ["None"])]
    answers = [[0], [0], [2], [-1], [1], [-2]]
    levels = [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0], [0, -1, 0]]
    return survey(items, attributes, answers, levels, [1, 1, 3, 1, 2, 1])


def test_weighted_gold_by_hand(six_people):
    made = build(six_people, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    row = made.gold.filter((made.gold["pair_id"] == "Q1_sex_Female") & (made.gold["half"] == "all")).row(0, named=True)
    assert row["counts_raw"] == [2, 0, 1]
    assert row["counts_weighted"] == [2, 0, 3]
    assert row["shares"] == pytest.approx([0.4, 0, 0.6])
    assert (row["mode"], row["modes"]) == (3, [3])
    assert row["n"] == 3
    assert row["n_eff"] == pytest.approx(25 / 11)
    assert row["margin"] == pytest.approx(0.2)
    assert row["missing"] == {"dont_know": 1, "no_answer": 0, "not_applicable": 0, "not_asked": 0, "other_missing": 0}
    man = made.gold.filter((made.gold["pair_id"] == "Q1_sex_Male") & (made.gold["half"] == "all")).row(0, named=True)
    assert man["missing"]["no_answer"] == 1
    # His answer is the mode of every redraw, so the ceiling is the probability that it is the mode of all men.
    estimate = made.small_area.filter((pl.col("pair_id") == "Q1_sex_Male") & (pl.col("half") == "all")).row(0, named=True)
    assert man["p_mode"] == [0, 1, 0]
    assert man["ceiling_oracle"] == pytest.approx(estimate["p_true"][1])
    assert 1 / 3 < man["ceiling_oracle"] < 1


def test_unweighted_gold_by_hand(six_people):
    made = build(six_people, BuildSettings(min_respondents=1, min_valid=1, draws=10, weighted=False))
    row = made.gold.filter((made.gold["pair_id"] == "Q1_sex_Female") & (made.gold["half"] == "all")).row(0, named=True)
    assert (row["mode"], row["n_eff"]) == (1, 3)
    assert row["counts_weighted"] == [2, 0, 1]


def test_halves_add_up_to_the_whole(six_people):
    made = build(six_people, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    for _, halves in made.gold.group_by("pair_id"):
        by_half = dict(halves.select("half", "n").iter_rows())
        assert by_half["all"] == by_half.get("A", 0) + by_half.get("B", 0)


def test_a_person_of_unknown_age_counts_by_sex_but_not_by_age(six_people):
    made = build(six_people, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    sizes = dict(made.subgroups.select("subgroup", "n").iter_rows())
    assert sizes["all"] == 6
    assert sizes["sex_Male"] == 2
    assert sizes["age_group_young"] == 3
    assert sizes["sex_x_age_Male_young"] == 1
