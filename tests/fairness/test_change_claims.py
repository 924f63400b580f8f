"""Claims on a run against another: who gained and lost, levelling down, spreads."""

from __future__ import annotations

import pytest

from tests.fairness.claim_rows import change, claims_of, kinds_of, moved, one
from valuestrata.claims.claim import Strength
from valuestrata.claims.fairness.changes import PARETO
from valuestrata.claims.fairness.subject import KINDS
from valuestrata.claims.templates import word
from valuestrata.fairness.context import UNEVEN


def level(key, outcome, change_, **more):
    ends = {"ci_low": change_ - 0.05, "ci_high": change_ + 0.05, "p_holm": 0.0001 if outcome != "not shown" else 0.5}
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
    # Two levels, Holm at the level of the first screen: .05 x .45 x .1.
    assert (mixed.estimate.value, mixed.estimate.expected, mixed.tests) == (0.0, pytest.approx(0.00225 / 2), 2)
    levelled = one(claims, "levelled-down")
    assert (levelled.figure("before").value, levelled.figure("after").value) == (0.2, 0.1)
    assert (levelled.figure("before").expected, levelled.figure("after").expected) == (0.02, 0.01)
    assert levelled.figure("loser").label == "sex=Male"
    assert (levelled.notes, levelled.strength) == (("range-not-shown",), Strength.UNDETERMINED)
    assert word(levelled).sentence.startswith("Possible levelling down against before")
    assert levelled.estimate.expected == pytest.approx(-0.01)
    assert "spread-narrower" in kinds_of(claims)


def unit(at, change_, half, p_holm):
    """One subgroup with its change; `half` is half the width of its interval."""
    ends = {"ci_low": change_ - half, "ci_high": change_ + half, "p": min(1.0, p_holm), "p_holm": p_holm}
    return change(by="subgroup", key=f"s{at}", change=change_, outcome="-", pairs=2000, **ends)


GAIN, LOSS, EQUAL, OPEN = (0.2, 0.05, 1e-6), (-0.2, 0.05, 1e-6), (0.0, 0.01, 1.0), (0.0, 0.06, 1.0)
NOT_WORSE, NOT_BETTER = (0.03, 0.03, 0.2), (-0.03, 0.03, 0.2)


def claim_on(*units):
    rows = [unit(at, *one) for at, one in enumerate(units)]
    whole = {"by": "all", "key": "all"}
    return next(
        claim for claim in claims_of(changes=[change(), *rows, moved("max_min", 0.2, 0.1, **whole)]) if claim.kind in PARETO.values()
    )


@pytest.mark.parametrize(
    ("units", "kind", "words"),
    [
        ((GAIN, GAIN), "better-for-all", "accuracy is better for 2 and worse for 0 of 2 subgroups"),
        ((LOSS, LOSS), "worse-for-all", "accuracy is better for 0 and worse for 2 of 2 subgroups"),
        ((GAIN, LOSS, OPEN), "mixed", "accuracy is better for 1 and worse for 1 of 3 subgroups, 1 undetermined"),
        ((GAIN, EQUAL), "better-for-some", "accuracy is better for 1 of 2 subgroups and worse for none by more than 2.0 points"),
        ((GAIN, NOT_WORSE), "better-for-some", "accuracy is better for 1 of 2 subgroups and worse for none by more than 2.0 points"),
        (
            (GAIN, EQUAL, OPEN),
            "losses-not-excluded",
            "accuracy is better for 1 of 3 subgroups; losses of up to 8.7 points are not excluded for 1",
        ),
        ((LOSS, NOT_BETTER), "worse-for-some", "accuracy is worse for 1 of 2 subgroups and better for none by more than 2.0 points"),
        (
            (LOSS, OPEN, OPEN),
            "gains-not-excluded",
            "accuracy is worse for 1 of 3 subgroups; gains of up to 8.7 points are not excluded for 2",
        ),
        ((EQUAL, EQUAL), "unchanged", "the change in accuracy is shown to be below 2.0 points for each of 2 subgroups"),
        ((EQUAL, NOT_WORSE), "worse-for-none", "accuracy is worse for none of 2 subgroups by more than 2.0 points; no gain is shown"),
        ((EQUAL, OPEN), "no-change-shown", "no change in accuracy detected for any of 2 subgroups"),
    ],
)
def test_nobody_lost_only_if_it_is_shown_of_everyone(units, kind, words):
    """The margin is 2 points. At the level of the first screen, .05 x .9 / 2 x .1, the quantile is 2.84: .06 / 1.96 x 2.84 = .087."""
    claim = claim_on(*units)
    assert (claim.kind, claim.strength) == (kind, KINDS[kind][0])
    assert word(claim).sentence == f"Compared with before, {words}."


def test_a_subgroup_that_cannot_be_tested_may_have_lost():
    unknown = unit(1, 0.0, 0.01, 1.0) | {"p_holm": None, "p": None}
    rows = [change(), unit(0, *GAIN), unknown, moved("max_min", 0.2, 0.1, by="all", key="all")]
    claim = one(claims_of(changes=rows), "better-for-all")
    assert claim.tests == 1
    rows = [change(), unit(0, *GAIN), unit(2, *EQUAL), unknown, moved("max_min", 0.2, 0.1, by="all", key="all")]
    assert one(claims_of(changes=rows), "losses-not-excluded").figure("loss not excluded").n == 1


def test_who_changed_is_stated_at_the_level_of_the_first_screen():
    """.05 x .9 / 2 x .3 = .00675."""
    at, below = (claim_on((0.2, 0.05, p), EQUAL) for p in (0.0067, 0.0068))
    assert (at.kind, at.figure("gained").n, at.figure("screened")) == ("better-for-some", 1, None)
    assert (below.figure("gained").n, below.figure("screened").n) == (0, 1)
    assert at.page_p == pytest.approx(0.0067 / (0.45 * 0.3))
    assert at.on_first_screen
    assert "1 subgroup more changed" in word(below).text


def test_equality_over_all_pairs_needs_an_equivalence_test():
    def no_change(half):
        return one(claims_of(changes=[change(change=0.0, ci_low=-half, ci_high=half, p=0.9, outcome="not shown")]), "no-change")

    assert no_change(0.03).strength is Strength.NOT_SHOWN
    claim = no_change(0.01)
    assert claim.strength is Strength.WITHIN_MARGIN
    assert word(claim).sentence.startswith("The difference from before is shown to be below 2.0 points: accuracy 0.0 points better")
    # z = .02 / (.015 / 1.96) = 2.61, p = .0045: within the margin alone (.05), not over the first screen (.05 x .45 x .35 = .0079).
    assert no_change(0.015).strength is Strength.WITHIN_MARGIN
    assert no_change(0.0165).strength is Strength.NOT_SHOWN


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
        level("Female", "better", 0.2),
        unit(0, *GAIN),
        *population("", by="all", key="all"),
        *population(""),
    ]
    whole, part = [claim for claim in claims_of(changes=changes) if claim.kind == "better-for-all"]
    assert (whole.by, part.by) == ("all", "attribute")
    assert whole.importance > part.importance
