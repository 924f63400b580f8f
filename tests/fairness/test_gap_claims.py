"""Claims on gaps between levels: which are made, and that they agree with the table of gaps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fairness.claim_rows import NOTHING_LEFT, claims_of, gap, kinds_of, one, quiet, spreads
from valuestrata.claims.claim import Strength
from valuestrata.claims.fairness.gaps import explained_of, reference_level

HELD_AWAY = {"held": 0.01, "held_low": -0.05, "held_high": 0.07, "held_p_holm": 0.9}
NOT_SHOWN = {"p_holm": 0.6, "excess_p_holm": 0.6, "adjusted_p_holm": 0.6}


@pytest.mark.parametrize(
    ("more", "kind", "left"),
    [
        ({}, "gap-remains", {"excess": "remains", "adjusted": "remains"}),
        (NOTHING_LEFT, "gap-explained", {"excess": "explained", "adjusted": "explained"}),
        # One explanation leaves the gap, the other removes it.
        ({k: v for k, v in NOTHING_LEFT.items() if k.startswith("adjusted")}, "gap-unclear", {"excess": "remains"}),
        # Intervals that hold both zero and the whole gap.
        (NOTHING_LEFT | {"adjusted_high": 0.12, "excess_high": 0.12}, "gap-unclear", {"excess": "untold", "adjusted": "untold"}),
        ({"excess": -0.05, "excess_low": -0.09, "excess_high": -0.01}, "gap-turned", {"excess": "turned"}),
        ({"adjusted": None, "adjusted_low": None, "adjusted_high": None, "adjusted_p_holm": None}, "gap-unclear", {"adjusted": "unknown"}),
        ({"p_holm": 0.06}, "gap-hidden", {"excess": "remains"}),
        (HELD_AWAY, "gap-composition", {"held": "explained"}),
        (HELD_AWAY | NOTHING_LEFT, "gap-explained", {"held": "explained"}),
        # Significant alone, not after correction.
        ({"excess_p_holm": 0.2, "adjusted_p_holm": 0.2}, "gap-unclear", {"excess": "alone", "adjusted": "alone"}),
    ],
)
def test_what_remains_of_a_gap(more, kind, left):
    claim = one(claims_of(gaps=[gap(**more)]), kind)
    assert {role: claim.figure(role).label for role in left} == left
    figure = claim.estimate
    assert (claim.by, claim.key, claim.against) == ("level", "sex=Female", "sex=Male")
    assert (figure.expected, figure.items, figure.pairs) == (0.024, 90, 1800)
    assert figure.expected_high == pytest.approx(1.959964 * 0.03)
    assert (claim.correction, claim.strength) == ("holm", Strength.SHOWN)


@given(st.sampled_from(["accuracy", "nmae"]), st.floats(0.02, 0.3), st.sampled_from([1.0, -1.0]))
@settings(max_examples=30, deadline=None)
def test_a_gap_is_about_the_level_that_is_served_better(metric, size, sign):
    ends = [sign * (size - 0.01), sign * (size + 0.01)]
    low, high = min(ends), max(ends)
    sides = {f"{name}_{end}": v for name in ("excess", "adjusted", "held") for end, v in (("low", low), ("high", high))}
    values = dict.fromkeys(("gap", "excess", "adjusted", "held"), sign * size)
    made = gap(metric=metric, ci_low=low, ci_high=high, **values, **sides)
    claim = one(claims_of(groups=[quiet(metric=metric)], disparity=spreads(metric=metric), gaps=[made]), "gap-remains")
    assert claim.key == f"sex={'Female' if (sign > 0) == (metric == 'accuracy') else 'Male'}"
    assert claim.estimate.value == pytest.approx(size)
    assert (claim.estimate.low, claim.estimate.high) == pytest.approx((size - 0.01, size + 0.01))


def test_rounding_is_not_a_gap():
    tiny = dict.fromkeys(("gap", "ci_low", "ci_high", "excess", "adjusted"), 1e-08)
    kinds = kinds_of(claims_of(gaps=[gap(**tiny, p_holm=0.001)]))
    assert "no-gap-shown" in kinds
    assert not [kind for kind in kinds if kind.startswith("gap-")]


def test_gaps_not_shown_name_the_largest_and_what_could_have_been_detected():
    gaps = [
        gap(**NOT_SHOWN, gap=0.02, ci_low=-0.04, ci_high=0.08),
        gap(**NOT_SHOWN, attribute="age", level="young", against_level="old", gap=-0.03, ci_low=-0.1, ci_high=0.04, se=0.036),
    ]
    claims = claims_of(gaps=gaps)
    largest, power = one(claims, "no-gap-shown"), one(claims, "underpowered")
    assert (largest.strength, largest.key) == (Strength.NOT_SHOWN, "sex, age")
    assert (largest.estimate.label, largest.estimate.value, largest.estimate.low) == ("young − old", -0.03, -0.1)
    # z(1 - .05 / 2 / 2) + z(.8) = 2.2414 + 0.8416.
    assert power.strength == Strength.UNDERPOWERED
    assert power.estimate.value == pytest.approx((2.241403 + 0.841621) * 0.036, rel=1e-5)
    assert power.figure("smallest").value == pytest.approx((2.241403 + 0.841621) * 0.03, rel=1e-5)
    assert power.figure("smallest").label == "Female − Male"


def test_levels_that_differ_without_a_single_gap_are_noted():
    of_sex = {"by": "attribute", "key": "sex", "population": "2 levels of sex"}
    differ = one(claims_of(disparity=[*spreads(p=0.9), *spreads(**of_sex)], gaps=[gap(**NOT_SHOWN)]), "no-gap-shown")
    assert differ.notes == ("sex",)
    assert one(claims_of(disparity=[*spreads(), *spreads(p=0.9, **of_sex)], gaps=[gap(**NOT_SHOWN)]), "no-gap-shown").notes == ()


@pytest.mark.parametrize(("se", "wanted"), [(0.005, False), (0.009, True)])
def test_underpowered_only_where_a_relevant_gap_could_be_missed(se, wanted):
    assert ("underpowered" in kinds_of(claims_of(gaps=[gap(**NOT_SHOWN, se=se)]))) == wanted


def test_levels_without_common_items_and_runs_without_a_baseline():
    claims = claims_of(gaps=[gap(gap=None, ci_low=None, ci_high=None, p=None, p_holm=None, baseline=None, items=0, pairs=0)])
    unjudged = one(claims, "cannot-be-judged")
    assert unjudged.notes == ("untested-gaps", "sex", "no common items")
    assert (unjudged.strength, unjudged.estimate.n) == (Strength.UNDETERMINED, 1)
    assert one(claims, "no-baseline").estimate.pairs == 180


def test_the_reference_is_the_level_with_most_pairs():
    rows = [
        {"level": "a", "against_level": "b", "pairs": 10},
        {"level": "a", "against_level": "c", "pairs": 20},
        {"level": "b", "against_level": "c", "pairs": 15},
    ]
    assert reference_level(rows) == "c"


FIGURES = ("gap", "excess", "adjusted", "held")
NUMBERS = st.tuples(st.floats(-0.3, 0.3), st.floats(0.001, 0.2), st.floats(0.0, 0.2))


@given(st.lists(NUMBERS, min_size=4, max_size=4), st.sampled_from(["accuracy", "nmae"]), st.sampled_from([0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_claims_agree_with_the_table_at_any_confidence(figures, metric, confidence):
    filled = {}
    for name, (value, half, p) in zip(FIGURES, figures, strict=True):
        ends = ("ci_low", "ci_high", "p_holm") if name == "gap" else (f"{name}_low", f"{name}_high", f"{name}_p_holm")
        filled |= {name: value, **dict(zip(ends, (value - half, value + half, p), strict=True))}
    made = gap(metric=metric, **filled)
    claims = claims_of(groups=[quiet(metric=metric)], disparity=spreads(metric=metric), gaps=[made], confidence=confidence)
    remains = explained_of(made).remains(1 - confidence)
    assert [kind for kind in kinds_of(claims) if kind.startswith("gap-")] == ([] if remains == "not shown" else [f"gap-{remains}"])
