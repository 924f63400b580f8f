"""Claims on a run against another: who gained and lost, levelling down, spreads."""

from __future__ import annotations

import pytest

from tests.fairness.claim_rows import change, claims_of, kinds_of, moved, one
from valuestrata.fairness.context import UNEVEN


def level(key, outcome, change_, **more):
    ends = {"ci_low": change_ - 0.05, "ci_high": change_ + 0.05, "p_holm": 0.01 if outcome != "not shown" else 0.5}
    return change(by="level", key=f"sex={key}", change=change_, outcome=outcome, **ends) | more


def population(pareto, levelling=False, sd=(0.1, 0.05, "narrower"), cv=(0.2, 0.1, "narrower"), **more):
    where = {"by": "attribute", "key": "sex", **more}
    return [
        moved("sd", *sd, **where),
        moved("cv", *cv, **where),
        moved("variance_corrected", sd[0] ** 2, sd[1] ** 2, sd[2], **where),
        moved("max_min", 0.2, 0.1, pareto=pareto, levelling_down=levelling, **where),
    ]


MIXED = [
    change(),
    level("Female", "better", 0.2, before=0.4, after=0.6),
    level("Male", "worse", -0.1, before=0.6, after=0.5),
    *population("better for some, worse for others: 1 gained, 1 lost, 0 not shown, of 2 levels of sex", levelling=True),
]


def test_who_gained_and_who_lost_have_names_and_intervals():
    claims = claims_of(changes=MIXED)
    better = one(claims, "better").estimate
    assert (better.value, better.low, better.high, better.p) == (0.2, 0.15, 0.25, 0.001)
    mixed = one(claims, "mixed")
    loser, winner = mixed.figure("loser"), mixed.figure("winner")
    assert (loser.label, loser.value, loser.low, loser.high) == ("sex=Male", -0.1, pytest.approx(-0.15), pytest.approx(-0.05))
    assert (winner.label, winner.value) == ("sex=Female", 0.2)
    assert [mixed.figure(role).n for role in ("gained", "lost", "units")] == [1, 1, 2]
    assert mixed.figure("noise").value == pytest.approx(0.05)
    # Two levels, Holm at 5 %.
    assert (mixed.estimate.value, mixed.estimate.expected, mixed.tests) == (0.0, pytest.approx(0.025), 2)
    levelled = one(claims, "levelled-down")
    assert (levelled.figure("before").value, levelled.figure("after").value) == (0.2, 0.1)
    assert (levelled.figure("before").expected, levelled.figure("after").expected) == (0.02, 0.01)
    assert levelled.figure("loser").label == "sex=Male"
    assert levelled.notes == ("range-not-shown",)
    assert levelled.estimate.expected == pytest.approx(-0.01)
    assert "spread-narrower" in kinds_of(claims)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("better for all", "better-for-all"),
        ("better for some, worse for none", "better-for-some"),
        ("worse for some, better for none", "worse-for-some"),
        ("worse for all", "worse-for-all"),
        ("no change shown", "no-change-shown"),
    ],
)
def test_each_outcome_has_its_kind(outcome, kind):
    assert kind in kinds_of(claims_of(changes=[change(), *population(f"{outcome}: counts", by="all", key="all")]))


WIDE = {"ci_low": -0.5, "ci_high": 0.5}


@pytest.mark.parametrize(
    ("sd", "cv", "corrected", "cv_ends", "kind", "terms"),
    [
        # Both changed, the corrected variance too, the CV by more than its noise did (.020 to .010).
        ((0.02, 0.01), (0.2, 0.1), (4e-4, 1e-4), {}, "spread-narrower", ("absolute", "relative")),
        ((0.01, 0.02), (0.1, 0.2), (1e-4, 4e-4), {}, "spread-wider", ("absolute", "relative")),
        # The interval of the CV holds the change of noise.
        ((0.02, 0.01), (0.2, 0.1), (4e-4, 1e-4), WIDE, "spread-narrower", ("absolute",)),
        # The corrected variance moved the other way.
        ((0.02, 0.01), (0.2, 0.1), (1e-4, 4e-4), {}, "spread-narrower", ("relative",)),
        ((0.02, 0.01), (0.2, 0.1), (1e-4, 4e-4), WIDE, "spread-moved-with-noise", ("absolute", "relative")),
        ((0.02, 0.01), (0.1, 0.2), (4e-4, 1e-4), {}, "opposite-directions", ("absolute", "relative")),
        ((0.01, 0.02), (0.2, 0.1), (4e-4, 1e-4), WIDE, "opposite-directions", ()),
    ],
)
def test_a_spread_changed_only_where_it_changed_beyond_noise(sd, cv, corrected, cv_ends, kind, terms):
    rows = [moved("sd", *sd, "x"), moved("cv", *cv, "x", **cv_ends), moved("variance_corrected", *corrected, "x")]
    claim = one(claims_of(changes=[change(), *rows]), kind)
    assert claim.notes == terms
    assert (claim.figure("before").expected, claim.figure("relative after").expected) == (0.02, 0.01)
    assert claim.estimate.expected == pytest.approx(-0.01)
    # Holm over the standard deviation and the CV: .01 twice.
    assert claim.estimate.p_adjusted == pytest.approx(0.02)


def test_changes_of_spread_are_corrected_for_their_number():
    def rows(p, **where):
        return [
            moved(m, *v, "x", p=p, **where) for m, v in (("sd", (0.02, 0.01)), ("cv", (0.2, 0.1)), ("variance_corrected", (4e-4, 1e-4)))
        ]

    assert "spread-narrower" in kinds_of(claims_of(changes=[change(), *rows(0.02)]))
    more = [entry for key in ("sex", "age") for entry in rows(0.9, by="attribute", key=key)]
    assert "spread-not-changed" in kinds_of(claims_of(changes=[change(), *rows(0.02), *more]))


def test_attributes_without_a_shown_change_have_no_claims():
    changes = [change(), *population("no change shown: 0", sd=(0.02, 0.01, "not shown"), cv=(0.1, 0.2, "not shown"))]
    assert not {"no-change-shown", "opposite-directions", "spread-not-changed"} & set(kinds_of(claims_of(changes=changes)))


def test_a_comparison_without_common_pairs_cannot_be_judged():
    nothing = dict.fromkeys(("change", "before", "after", "ci_low", "ci_high", "p", "p_holm", "outcome"))
    claim = one(claims_of(changes=[change(**nothing, pairs=0)]), "cannot-be-judged")
    assert (claim.against, claim.notes) == ("before", ("no-change", "no pair in common"))


def test_a_change_without_a_null_has_no_expected_value():
    rows = [moved("sd", 0.02, 0.01, "x"), moved("cv", 0.2, 0.1, "x"), moved("variance_corrected", 4e-4, 1e-4, "x")]
    claim = one(claims_of(changes=[change(), *(row | {"alike_before": None, "alike_after": None} for row in rows)]), "spread-narrower")
    # The CV cannot be compared with noise; the corrected variance contains none.
    assert claim.notes == ("absolute",)
    assert (claim.estimate.expected, claim.figure("before").expected) == (None, None)


def test_levels_that_lack_cells_are_noted():
    noted = [row | {"note": f"absolute spread fell, relative spread rose; {UNEVEN}"} for row in MIXED]
    for kind in ("mixed", "levelled-down", "spread-narrower"):
        assert "uneven" not in one(claims_of(changes=MIXED), kind).notes
        assert "uneven" in one(claims_of(changes=noted), kind).notes


def test_of_two_spreads_the_one_that_moved_is_named():
    rows = [moved("sd", 0.02, 0.021), moved("cv", 0.2, 0.1, "x", **WIDE), moved("variance_corrected", 4e-4, 4e-4)]
    claim = one(claims_of(changes=[change(), *rows]), "spread-moved-with-noise")
    assert (claim.direction, claim.notes) == ("fell", ("relative",))


def test_everyone_matters_more_than_one_attribute():
    changes = [
        change(),
        *population("better for all: 12 gained, 0 lost, 0 not shown, of 12 subgroups", by="all", key="all"),
        *population("better for all: 2 gained, 0 lost, 0 not shown, of 2 levels of sex"),
    ]
    whole, part = [claim for claim in claims_of(changes=changes) if claim.kind == "better-for-all"]
    assert (whole.by, part.by) == ("all", "attribute")
    assert whole.importance > part.importance
