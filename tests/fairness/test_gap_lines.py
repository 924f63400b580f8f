"""The rules of lines on gaps between levels, and that they mean what the table of gaps says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fairness.lines import NOTHING_LEFT, gap, one, quiet, rules_of, said, spreads
from valuestrata.claims.fairness_gaps import explained_of, reference_level

HELD_AWAY = {"held": 0.01, "held_low": -0.05, "held_high": 0.07, "held_p_holm": 0.9}


@pytest.mark.parametrize(
    ("more", "rule", "says"),
    [
        ({}, "gap-remains", "better for Female than for Male (sex), and that remains: accuracy 10.0 points better for Female"),
        (NOTHING_LEFT, "gap-explained", "but that need not be the model's doing"),
        # One explanation leaves it, the other takes it.
        ({k: v for k, v in NOTHING_LEFT.items() if k.startswith("adjusted")}, "gap-unclear", "cannot be told"),
        # Nothing and all of it are both inside.
        (NOTHING_LEFT | {"adjusted_high": 0.12, "excess_high": 0.12}, "gap-unclear", "may be nothing or all of it"),
        ({"excess": -0.05, "excess_low": -0.09, "excess_high": -0.01}, "gap-turned", "turned round"),
        (
            {"adjusted": None, "adjusted_low": None, "adjusted_high": None, "adjusted_p_holm": None},
            "gap-unclear",
            "at equal difficulty is not known",
        ),
        ({"p_holm": 0.06}, "gap-hidden", "than the plain figures show"),
        # The other attributes of the cells take it; a gap that the baseline shows as well lies in the survey.
        (HELD_AWAY, "gap-composition", "but less, if at all, where their cells are alike in all other attributes"),
        (HELD_AWAY, "gap-composition", "with the other attributes held 1.0 points are left, which may be nothing and is less than the gap"),
        (HELD_AWAY | NOTHING_LEFT, "gap-explained", "with the other attributes held 1.0 points"),
        # Significant alone, not among all.
        ({"excess_p_holm": 0.2, "adjusted_p_holm": 0.2}, "gap-unclear", "not shown once corrected for the number of gaps"),
    ],
)
def test_what_remains_of_a_gap(more, rule, says):
    line = one(said(gaps=[gap(**more)]), rule)
    assert says in line["verdict"]
    assert "90 items, 1,800 pairs" in line["verdict"]
    assert "noise alone gives 2.4 points on average" in line["verdict"]
    assert (line["key"], line["against"], line["alike"]) == ("sex=Female", "sex=Male", 0.024)
    assert line["alike_high"] == pytest.approx(1.959964 * 0.03)


@given(
    st.sampled_from(["accuracy", "nmae"]),
    st.floats(0.02, 0.3),
    st.sampled_from([1.0, -1.0]),
)
@settings(max_examples=30, deadline=None)
def test_a_gap_is_turned_toward_who_is_served_better(metric, size, sign):
    ends = [sign * (size - 0.01), sign * (size + 0.01)]
    low, high = min(ends), max(ends)
    sides = {f"{name}_{end}": v for name in ("excess", "adjusted", "held") for end, v in (("low", low), ("high", high))}
    line = one(
        said(
            groups=[quiet(metric=metric)],
            disparity=spreads(metric=metric),
            gaps=[
                gap(metric=metric, ci_low=low, ci_high=high, **dict.fromkeys(("gap", "excess", "adjusted", "held"), sign * size), **sides)
            ],
        ),
        "gap-remains",
    )
    better = "Female" if (sign > 0) == (metric == "accuracy") else "Male"
    assert line["key"] == f"sex={better}"
    assert line["value"] == pytest.approx(size)
    assert (line["ci_low"], line["ci_high"]) == pytest.approx((size - 0.01, size + 0.01))
    assert line["verdict"].startswith(f"better for {better} than for ")


def test_rounding_is_no_gap():
    tiny = dict.fromkeys(("gap", "ci_low", "ci_high", "excess", "adjusted"), 1e-08)
    frame = said(gaps=[gap(**tiny, p_holm=0.001)])
    assert "no-gap-shown" in rules_of(frame)
    assert not [rule for rule in rules_of(frame) if rule.startswith("gap-")]


def test_gaps_not_shown_are_no_proof_and_say_what_could_have_been_seen():
    none = {"p_holm": 0.6, "excess_p_holm": 0.6, "adjusted_p_holm": 0.6}
    gaps = [
        gap(**none, gap=0.02, ci_low=-0.04, ci_high=0.08),
        gap(**none, attribute="age", level="young", against_level="old", gap=-0.03, ci_low=-0.1, ci_high=0.04, se=0.036),
    ]
    frame = said(gaps=gaps)
    line = one(frame, "no-gap-shown")
    assert "no proof" in line["verdict"]
    assert "young less old, −3.0 points (95\u00a0% interval −10.0 to 4.0" in line["verdict"]
    seen = one(frame, "underpowered")
    # z(1 - .05 / 2 / 2) + z(.8) = 2.2414 + 0.8416.
    assert seen["value"] == pytest.approx((2.241403 + 0.841621) * 0.036, rel=1e-5)
    assert "9.2 points (Female, Male) to 11.1 points (young, old)" in seen["verdict"]


def test_levels_that_differ_without_a_gap_between_two_of_them_are_said_to():
    of_sex = {"by": "attribute", "key": "sex", "population": "2 levels of sex"}
    gaps = [gap(p_holm=0.6, excess_p_holm=0.6, adjusted_p_holm=0.6)]
    differ = one(said(disparity=[*spreads(p=0.9), *spreads(**of_sex)], gaps=gaps), "no-gap-shown")
    assert differ["claim"].endswith("no proof that there is none; the levels of sex differ, but it is not shown which of them")
    alike = one(said(disparity=[*spreads(), *spreads(p=0.9, **of_sex)], gaps=gaps), "no-gap-shown")
    assert "not shown which" not in alike["verdict"]


def test_a_gap_that_would_have_been_seen_needs_no_warning():
    assert "underpowered" not in rules_of(said(gaps=[gap(p_holm=0.6, excess_p_holm=0.6, adjusted_p_holm=0.6, se=0.005)]))
    assert "underpowered" in rules_of(said(gaps=[gap(p_holm=0.6, excess_p_holm=0.6, adjusted_p_holm=0.6, se=0.009)]))


def test_levels_without_common_items_and_runs_without_a_baseline_are_said():
    frame = said(gaps=[gap(gap=None, ci_low=None, ci_high=None, p=None, p_holm=None, baseline=None, items=0, pairs=0)])
    assert "no common items (0 pairs)" in one(frame, "cannot-be-judged")["verdict"]
    assert one(frame, "no-baseline")["pairs"] == 180


def test_the_reference_is_the_level_with_most_pairs():
    rows = [
        {"level": "a", "against_level": "b", "pairs": 10},
        {"level": "a", "against_level": "c", "pairs": 20},
        {"level": "b", "against_level": "c", "pairs": 15},
    ]
    assert reference_level(rows) == "c"


def test_the_gap_with_other_attributes_held_is_said_only_where_it_is_another():
    assert "other attributes held" not in one(said(gaps=[gap()]), "gap-remains")["verdict"]
    assert "with the other attributes held 14.0 points remain" in one(said(gaps=[gap(held=0.14)]), "gap-remains")["verdict"]


FIGURES = ("gap", "excess", "adjusted", "held")
NUMBERS = st.tuples(st.floats(-0.3, 0.3), st.floats(0.001, 0.2), st.floats(0.0, 0.2))


@given(st.lists(NUMBERS, min_size=4, max_size=4), st.sampled_from(["accuracy", "nmae"]))
@settings(max_examples=60, deadline=None)
def test_lines_say_of_a_gap_what_the_table_says(figures, metric):
    """The machine's word in `remains` and the rule of the line are the same decision, at the same threshold."""
    filled = {}
    for name, (value, half, p) in zip(FIGURES, figures, strict=True):
        ends = ("ci_low", "ci_high", "p_holm") if name == "gap" else (f"{name}_low", f"{name}_high", f"{name}_p_holm")
        filled |= {name: value, **dict(zip(ends, (value - half, value + half, p), strict=True))}
    made = gap(metric=metric, **filled)
    frame = said(groups=[quiet(metric=metric)], disparity=spreads(metric=metric), gaps=[made])
    word = explained_of(made).remains(0.05)
    expected = [] if word == "not shown" else [f"gap-{word}"]
    assert [rule for rule in rules_of(frame) if rule.startswith("gap-")] == expected
    # At a stricter confidence fewer gaps are claimed, and the same function decides.
    strict = said(groups=[quiet(metric=metric)], disparity=spreads(metric=metric), gaps=[made], confidence=0.99)
    word = explained_of(made).remains(1 - 0.99)
    assert [rule for rule in rules_of(strict) if rule.startswith("gap-")] == ([] if word == "not shown" else [f"gap-{word}"])


def test_a_claim_ends_where_its_figures_begin_whatever_levels_are_called():
    line = one(said(gaps=[gap(level="SG: Malay", against_level="SG: Others")]), "gap-remains")
    assert line["claim"] == "better for SG: Malay than for SG: Others (sex), and that remains"
    assert line["verdict"].startswith(f"{line['claim']}: accuracy 10.0 points better for SG: Malay (95")
