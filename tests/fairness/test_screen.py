"""Families of tests on the first screen of an audit: shares, gates, and which claims hold over the whole of it."""

from __future__ import annotations

import pytest

from tests.fairness.claim_rows import change, claims_of, gap, group, one, quiet, row, spread, spreads
from valuestrata.claims.fairness.screen import screen_of
from valuestrata.claims.select import select
from valuestrata.claims.templates import word

LEVELS = {"by": "attribute", "key": "sex"}
P_VALUES = ("p", "p_holm", "excess_p_holm", "adjusted_p_holm")


def screen(*, changed=False, rates=(), p_all=0.001, p_worst=0.02, p_sex=0.001, p_gap=0.001):
    disparity = [spread(p=p_all), spread(p=p_sex, **LEVELS), spread(p=0.5, by="attribute", key="age")]
    return screen_of(
        ["accuracy"],
        rates,
        disparity,
        [group(p_worst=p_worst), quiet("s2")],
        [gap(p=p_gap)],
        changes={"accuracy": 0.01} if changed else None,
    )


def test_families_by_hand():
    found = screen()
    # Nine tenths of the level; the gate is twice the smaller of .001 and .02.
    assert found.corrected(("alike", "accuracy")) == pytest.approx(0.002 / 0.9)
    assert found.corrected(("worst", "accuracy"), 0.02) == pytest.approx(0.02 / 0.45)
    # Two attributes: .9 / 4 each, first the levels, then their gaps.
    assert found.corrected(("levels-differ", "accuracy", "sex")) == pytest.approx(0.001 / 0.225)
    assert found.corrected(("gaps", "accuracy", "sex"), 0.0001) == pytest.approx(0.001 / 0.225)
    assert found.corrected(("gaps", "accuracy", "sex"), 0.01) == pytest.approx(0.01 / 0.225)
    assert found.corrected(("gaps", "accuracy", "age"), 0.0) == 1.0
    assert found.corrected(("overall", "accuracy"), 0.01) is None
    # Changes and missing answers share the level.
    assert screen(changed=True).corrected(("overall", "accuracy"), 0.001) == pytest.approx(0.001 / (0.45 * 0.35))
    assert screen(changed=True, rates=["refusal_rate"]).corrected(("uneven", "refusal_rate"), 0.001) == pytest.approx(0.001 / 0.15)


def test_a_second_metric_is_tested_below_the_first():
    disparity = [one for metric in ("accuracy", "nmae") for one in (spread(p=0.01, metric=metric), spread(p=0.01, metric=metric, **LEVELS))]
    groups = [group(p_worst=0.02), group(p_worst=0.02, metric="nmae")]
    found = screen_of(["accuracy", "nmae"], [], disparity, groups, [], changes={"accuracy": 0.001, "nmae": 0.001})
    assert found.corrected(("alike", "accuracy")) == pytest.approx(0.02 / 0.45)
    assert found.corrected(("worst", "accuracy"), 0.01) == pytest.approx(0.01 / (0.45 * 0.4))
    assert found.corrected(("alike", "nmae")) == pytest.approx(0.02 / (0.45 * 0.2))
    assert found.corrected(("worst", "nmae"), 0.01) == pytest.approx(0.02 / 0.09)
    assert found.corrected(("overall", "accuracy"), 0.001) == pytest.approx(0.001 / (0.45 * 0.35))
    assert found.corrected(("overall", "nmae"), 0.001) == pytest.approx(0.001 / (0.45 * 0.35 * 0.35))
    weak = screen_of(["accuracy", "nmae"], [], disparity, groups, [], changes={"accuracy": 0.5, "nmae": 0.001})
    assert weak.corrected(("overall", "nmae"), 0.001) == 1.0


def test_shares_sum_to_one():
    for found in (screen(), screen(changed=True), screen(changed=True, rates=["refusal_rate", "invalid_rate"])):
        assert sum(one.share for one in found.families.values() if one.above is None) == pytest.approx(1)
        for name in found.families:
            below = [one.share for one in found.families.values() if one.above == name]
            assert sum(below) <= found.families[name].share + 1e-12


def test_a_finding_that_holds_within_its_family_only_is_not_on_the_first_screen():
    def served(p):
        return claims_of(groups=[group(p_worst=p), quiet("s2")], disparity=spreads(p=0.02))

    # The gate is .04 and .008, divided by .9.
    for p in (0.02, 0.004):
        claim = one(served(p), "served-worse")
        assert claim.page_p == pytest.approx(p / 0.45)
        assert claim.on_first_screen
    weaker = served(0.03)
    assert one(weaker, "served-worse").page_p == pytest.approx(0.03 / 0.45)
    (selected,) = select(weaker)
    assert "served-worse" not in {claim.kind for claim in selected.shown}
    assert "served-worse" in {claim.kind for claim in selected.rest}
    assert "it holds within its own family of tests only" in word(one(weaker, "served-worse")).text


def test_what_remains_of_a_gap_must_hold_too():
    disparity = [*spreads(), *spreads(**LEVELS)]
    claim = one(claims_of(disparity=disparity, gaps=[gap(p=1e-4, p_holm=1e-4)]), "gap-remains")
    # The adjusted gap has p = .02, divided by .45.
    assert claim.page_p == pytest.approx(0.02 / 0.45)
    unclear = gap(p=1e-4, p_holm=1e-4, adjusted_p_holm=0.2, adjusted_low=-0.02)
    assert one(claims_of(disparity=disparity, gaps=[unclear]), "gap-unclear").page_p == pytest.approx(0.001 / 0.45)


def test_statements_that_are_no_findings_are_always_shown():
    claims = claims_of(disparity=spreads(p=0.6), changes=[change(p=0.9, change=0.0, ci_low=-0.1, ci_high=0.1, outcome="not shown")])
    kinds = {claim.kind for claim in claims if claim.page_p is None}
    assert {"alike", "nobody-shown-worse", "no-change"} <= kinds
    assert all(claim.on_first_screen for claim in claims if claim.kind in kinds)


def test_equal_gaps_and_spreads_can_be_shown_to_be_within_the_margin():
    none = {
        "gap": 0.0,
        "ci_low": -0.01,
        "ci_high": 0.01,
        "p": 0.9,
        "p_holm": 0.9,
        "se": 0.005,
        "excess_p_holm": 0.9,
        "adjusted_p_holm": 0.9,
    }
    claim = one(claims_of(gaps=[gap(**none)], disparity=spreads(p=0.6)), "no-gap-shown")
    assert str(claim.strength) == "within the margin"
    assert word(claim).sentence.startswith("All gaps in accuracy between levels of sex are shown to be below 2.0 points")
    assert "does not show equality" not in word(claim).text
    wide = one(claims_of(gaps=[gap(**none | {"ci_low": -0.03, "ci_high": 0.03})], disparity=spreads(p=0.6)), "no-gap-shown")
    assert str(wide.strength) == "not shown"
    narrow = spreads(p=0.6, value=0.004, ci_low=0.0, ci_high=0.011)
    assert str(one(claims_of(disparity=narrow), "alike").strength) == "within the margin"
    assert str(one(claims_of(disparity=spreads(p=0.6, value=0.0, ci_low=None, ci_high=None)), "alike").strength) == "not shown"


def test_rates_that_are_zero_everywhere_take_no_share():
    rates = [row(subgroup=name, metric="refusal_rate", value=0.0, pairs=90, p_worst=None) for name in ("s1", "s2")]
    with_rates = one(claims_of(groups=[group(p_worst=0.004), quiet("s2"), *rates]), "served-worse")
    assert with_rates.page_p == one(claims_of(groups=[group(p_worst=0.004), quiet("s2")]), "served-worse").page_p
