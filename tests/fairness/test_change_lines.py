"""The rules of lines on a run against another: who gained and lost, levelling down, spreads."""

from __future__ import annotations

import pytest

from tests.fairness.lines import change, moved, one, rules_of, said
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


def test_who_gained_and_who_lost_are_named_with_intervals():
    changes = [
        change(),
        level("Female", "better", 0.2, before=0.4, after=0.6),
        level("Male", "worse", -0.1, before=0.6, after=0.5),
        *population("better for some, worse for others: 1 gained, 1 lost, 0 not shown, of 2 levels of sex", levelling=True),
    ]
    frame = said(changes=changes)
    assert "accuracy 20.0 points better (95\u00a0% interval of the gain 15.0 to 25.0" in one(frame, "better")["verdict"]
    mixed = one(frame, "mixed")
    assert "lost: Male 10.0 points worse (95\u00a0% interval of the gain −15.0 to −5.0)" in mixed["verdict"]
    assert "gained most: Female 20.0 points better" in mixed["verdict"]
    assert "1 gained, 1 lost, 0 not shown, of 2 levels of sex" in mixed["verdict"]
    # Two levels looked at, at the 5 % level: .05 * 2 by chance one by one, .05 at most with Holm.
    over = "had nothing changed, Holm over all levels of all attributes would name even one no more than once in 20"
    chance = f"{over}, and .1 of 2 levels would seem to have changed if each were looked at alone"
    assert f"{chance}; noise moves one of them by up to 5.0 points either way" in mixed["verdict"]
    assert (mixed["value"], mixed["alike"]) == (0.0, pytest.approx(0.025))
    levelled = one(frame, "levelled-down")
    assert "from 20.0 points to 10.0 points" in levelled["verdict"]
    assert "the one served best before lost: Male 10.0 points worse" in levelled["verdict"]
    assert "not shown beyond noise" in levelled["verdict"]
    assert "were all alike, noise alone would give from 2.0 points to 1.0 point" in levelled["verdict"]
    assert levelled["alike"] == pytest.approx(-0.01)
    assert "spread-narrower" in rules_of(frame)


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ("better for all", "better-for-all"),
        ("better for some, worse for none", "better-for-some"),
        ("worse for some, better for none", "worse-for-some"),
        ("worse for all", "worse-for-all"),
        ("no change shown", "no-change-shown"),
    ],
)
def test_each_pareto_claim_has_its_rule(claim, rule):
    changes = [change(), *population(f"{claim}: counts", by="all", key="all")]
    assert rule in rules_of(said(changes=changes))


WIDE = {"ci_low": -0.5, "ci_high": 0.5}


@pytest.mark.parametrize(
    ("sd", "cv", "corrected", "cv_ends", "rule", "says"),
    [
        # Both moved, the corrected variance with them, the CV by more than its noise did (.020 to .010).
        ((0.02, 0.01), (0.2, 0.1), (4e-4, 1e-4), {}, "spread-narrower", "closer together than before: "),
        ((0.01, 0.02), (0.1, 0.2), (1e-4, 4e-4), {}, "spread-wider", "further apart than before: "),
        # The interval of the CV holds the change of noise.
        ((0.02, 0.01), (0.2, 0.1), (4e-4, 1e-4), WIDE, "spread-narrower", "in absolute terms only"),
        # The corrected variance went the other way, or did not move.
        ((0.02, 0.01), (0.2, 0.1), (1e-4, 4e-4), {}, "spread-narrower", "relative to its level only"),
        ((0.02, 0.01), (0.2, 0.1), (1e-4, 4e-4), WIDE, "spread-moved-with-noise", "subgroups fell, but a change of noise can explain it"),
        (
            (0.02, 0.01),
            (0.1, 0.2),
            (4e-4, 1e-4),
            {},
            "opposite-directions",
            "absolute fell (beyond noise) and relative rose (beyond noise)",
        ),
        (
            (0.01, 0.02),
            (0.2, 0.1),
            (4e-4, 1e-4),
            WIDE,
            "opposite-directions",
            "absolute rose (not beyond noise) and relative fell (not beyond noise)",
        ),
    ],
)
def test_a_spread_moved_only_where_it_moved_beyond_noise(sd, cv, corrected, cv_ends, rule, says):
    rows = [moved("sd", *sd, "x"), moved("cv", *cv, "x", **cv_ends), moved("variance_corrected", *corrected, "x")]
    line = one(said(changes=[change(), *rows]), rule)
    assert says in line["verdict"]
    noise = "noise alone would give a standard deviation of .020 before and .010 after and a CV of .020 before and .010 after"
    assert f"were all alike, {noise}" in line["verdict"]
    assert line["alike"] == pytest.approx(-0.01)
    # Holm over the standard deviation and the CV: .01 twice.
    assert line["p"] == pytest.approx(0.02)


def test_changes_of_spread_are_corrected_for_how_many_were_looked_at():
    def rows(p, **where):
        return [
            moved(m, *v, "x", p=p, **where) for m, v in (("sd", (0.02, 0.01)), ("cv", (0.2, 0.1)), ("variance_corrected", (4e-4, 1e-4)))
        ]

    assert "spread-narrower" in rules_of(said(changes=[change(), *rows(0.02)]))
    more = [entry for key in ("sex", "age") for entry in rows(0.9, by="attribute", key=key)]
    assert "spread-not-changed" in rules_of(said(changes=[change(), *rows(0.02), *more]))


def test_attributes_of_which_nothing_is_shown_have_no_lines_of_their_own():
    changes = [change(), *population("no change shown: 0", sd=(0.02, 0.01, "not shown"), cv=(0.1, 0.2, "not shown"))]
    assert not {"no-change-shown", "opposite-directions", "spread-not-changed"} & set(rules_of(said(changes=changes)))


def test_a_comparison_without_common_pairs_is_said():
    line = one(
        said(changes=[change(change=None, before=None, after=None, ci_low=None, ci_high=None, p=None, p_holm=None, outcome=None, pairs=0)]),
        "cannot-be-judged",
    )
    assert "accuracy against before: no pair in common (0 pairs)" in line["verdict"]


def test_a_change_without_a_null_says_nothing_of_noise():
    rows = [moved("sd", 0.02, 0.01, "x"), moved("cv", 0.2, 0.1, "x"), moved("variance_corrected", 4e-4, 1e-4, "x")]
    rows = [row | {"alike_before": None, "alike_after": None} for row in rows]
    line = one(said(changes=[change(), *rows]), "spread-narrower")
    # The CV cannot be set against noise; the corrected variance holds none.
    assert "in absolute terms only" in line["verdict"]
    assert "were all alike" not in line["verdict"]
    assert line["alike"] is None


def test_everyone_comes_before_the_attributes_whatever_is_said_of_them():
    changes = [
        change(),
        *population("better for some, worse for none: 3 gained, 0 lost, 9 not shown, of 12 subgroups", by="all", key="all"),
        *population("better for all: 2 gained, 0 lost, 0 not shown, of 2 levels of sex"),
    ]
    rules = rules_of(said(changes=changes))
    assert rules.index("better-for-some") < rules.index("better-for-all") < rules.index("spread-narrower")


def test_levels_that_lack_cells_are_said_to_differ_in_other_attributes():
    claim = "better for some, worse for others: 1 gained, 1 lost, 0 not shown, of 2 levels of sex"
    changes = [change(), level("Female", "better", 0.2), level("Male", "worse", -0.1, before=0.6), *population(claim, levelling=True)]
    noted = [row | {"note": f"absolute spread fell, relative spread rose; {UNEVEN}"} for row in changes]
    for rule in ("mixed", "levelled-down", "spread-narrower"):
        assert UNEVEN not in one(said(changes=changes), rule)["verdict"]
        assert one(said(changes=noted), rule)["verdict"].endswith(f"; {UNEVEN}")


def test_of_two_spreads_the_one_that_moved_is_named():
    rows = [moved("sd", 0.02, 0.021), moved("cv", 0.2, 0.1, "x", **WIDE), moved("variance_corrected", 4e-4, 4e-4)]
    assert one(said(changes=[change(), *rows]), "spread-moved-with-noise")["claim"] == (
        "the spread of the subgroups fell relative to its level, but a change of noise can explain it"
    )
