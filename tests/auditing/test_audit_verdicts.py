"""Every rule of the audit at its edges, on rows written by hand, and that each line holds what an auditor needs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.auditing import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES, audit
from valuestrata.auditing.gap_sentences import reference_level
from valuestrata.auditing.sentences import Finding
from valuestrata.auditing.verdicts import AUDIT_VERDICTS, RULES, audit_verdicts, metrics_worth_auditing
from valuestrata.errors import InputDataError, UsageError

DOCS = Path(__file__).parents[2] / "docs"
RUNS = [
    SimpleNamespace(name="m", meta={"respondent": {"name": "embedded", "provider": "transformers"}}),
    SimpleNamespace(name="before", meta={"respondent": {"name": "embedded", "provider": "transformers"}}),
    SimpleNamespace(name="mode", meta={"respondent": {"name": "baseline:item-mode", "provider": "baseline"}}),
]


def row(**more):
    return {"run": "m", "scheme": "paper", "part": "test", "metric": "accuracy", **more}


def spread(measure="spread_corrected", **more):
    plain = {"by": "all", "key": "all", "population": "8 test subgroups of a_x_b", "measure": measure, "value": 0.05, "ci_low": 0.02}
    noise = {"ci_high": 0.08, "alike": 0.01, "alike_high": 0.03, "p": 0.001, "subgroups": 8, "items": 90, "pairs": 720}
    return row(**plain, **noise) | more


def spreads(**more):
    """Every measure of one population; `more` goes to all of them."""
    return [spread(measure, **more) for measure in MEASURES]


def group(subgroup="s1", **more):
    plain = {"stratum": "a_x_b", "subgroup": subgroup, "value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "rest": -0.2, "p_worst": 0.001}
    noise = {"worst": True, "alike_low": 0.52, "alike_high": 0.68, "n": 120, "pairs": 90, "refusal_rate": 0.0, "invalid_rate": 0.0}
    return row(**plain, **noise) | more


def quiet(subgroup="s1", **more):
    return group(subgroup, **{"value": 0.6, "rest": -0.02, "p_worst": 0.6, "worst": False, **more})


def gap(**more):
    plain = {"attribute": "sex", "level": "Female", "against_level": "Male", "gap": 0.10, "ci_low": 0.04, "ci_high": 0.16, "se": 0.03}
    test = {"p": 0.001, "p_holm": 0.01, "items": 90, "pairs": 1800, "expected_alike": 0.024, "baseline": "mode", "gap_baseline": 0.01}
    excess = {"excess": 0.09, "excess_low": 0.03, "excess_high": 0.15, "excess_p": 0.002, "excess_p_holm": 0.01}
    adjusted = {"adjusted": 0.08, "adjusted_low": 0.02, "adjusted_high": 0.14, "adjusted_p": 0.004, "adjusted_p_holm": 0.02}
    return row(**plain, **test, **excess, **adjusted) | more


NOTHING_LEFT = {
    "adjusted": 0.01,
    "adjusted_low": -0.03,
    "adjusted_high": 0.05,
    "adjusted_p_holm": 0.9,
    "excess": 0.0,
    "excess_low": -0.04,
    "excess_high": 0.04,
    "excess_p_holm": 1.0,
}


def change(**more):
    where = {"against": "before", "by": "all", "key": "all", "measure": "score", "before": 0.4, "after": 0.6, "change": 0.2}
    test = {"ci_low": 0.15, "ci_high": 0.25, "p": 0.001, "p_holm": 0.001, "outcome": "better", "pairs": 720}
    return row(**where, **test) | more


def moved(measure, before, after, outcome="not shown", **more):
    p = 0.3 if outcome == "not shown" else 0.01
    ends = {"ci_low": after - before - 0.01, "ci_high": after - before + 0.01, "p": p, "p_holm": None, "subgroups": 2}
    return change(measure=measure, before=before, after=after, change=after - before, outcome=outcome, **ends) | more


def said(*, disparity=None, groups=None, gaps=(), changes=(), excess=(), errs=(), **more):
    tables = {
        "disparity": DISPARITY.frame(spreads() if disparity is None else list(disparity)),
        "groups": GROUPS.frame([quiet("s1"), quiet("s2")] if groups is None else list(groups)),
        "gaps": GAPS.frame(list(gaps)),
        "changes": CHANGES.frame(list(changes)),
        "excess": EXCESS.frame(list(excess)),
        "errs": ERRS.frame(list(errs)),
    }
    return audit_verdicts(tables, RUNS, **more)


def one(frame, rule):
    rows = frame.filter((pl.col("rule") == rule) & (pl.col("run") == "m")).to_dicts()
    assert len(rows) == 1, frame["rule"].to_list()
    return rows[0]


def rules_of(frame):
    return frame.filter(pl.col("run") == "m")["rule"].to_list()


# How far apart.


@pytest.mark.parametrize(("p", "rule"), [(0.05, "differ"), (0.0501, "alike")])
def test_spread_is_called_by_its_p(p, rule):
    line = one(said(disparity=spreads(p=p)), rule)
    assert (line["value"], line["ci_low"], line["ci_high"], line["alike"], line["alike_high"], line["pairs"]) == (
        0.05,
        0.02,
        0.08,
        0.01,
        0.03,
        720,
    )
    assert (
        "5.0 points (95\u00a0% interval 2.0 to 8.0; noise alone leaves 1.0 points on average and more than 3.0 points once in 20"
        in line["verdict"]
    )
    assert "8 test subgroups of a_x_b; 90 items, 720 pairs" in line["verdict"]
    assert ("no proof" in line["verdict"]) == (rule == "alike")


def test_spread_is_corrected_for_how_many_populations_were_looked_at():
    of_sex = {"by": "attribute", "key": "sex", "population": "2 levels of sex"}
    # .03 alone would be shown; of two, Holm asks for .025 of the smaller.
    frame = said(disparity=[*spreads(p=0.03), *spreads(p=0.5, **of_sex)])
    assert rules_of(frame).count("differ") == 0
    lines = frame.filter(pl.col("rule") == "alike").to_dicts()
    assert [line["p"] for line in lines] == pytest.approx([0.06, 0.5])
    assert "p = .060 corrected for 2 populations" in lines[0]["verdict"]
    assert one(said(disparity=[*spreads(p=0.025), *spreads(p=0.5, **of_sex)]), "differ")["by"] == "all"


def test_levels_that_do_not_differ_share_a_line_with_each_figure():
    more = [
        {"by": "attribute", "key": key, "population": f"levels of {key}", "p": 0.5, "value": v}
        for key, v in (("sex", 0.012), ("age", 0.034))
    ]
    frame = said(disparity=[*spreads(), *(entry for m in more for entry in spreads(**m))])
    line = frame.filter((pl.col("rule") == "alike") & (pl.col("key") == "sex, age")).to_dicts()[0]
    assert "sex 1.2 points" in line["verdict"]
    assert "age 3.4 points" in line["verdict"]


@pytest.mark.parametrize(
    ("p_range", "p_cv", "rule", "says"),
    [
        (0.5, 0.5, "paper-figures-noise", "are no more than noise alone can give"),
        (0.5, 0.01, "paper-figures-beyond-noise", "beyond noise only in CV"),
        (0.01, 0.5, "paper-figures-beyond-noise", "beyond noise only in norm. range"),
        (0.01, 0.01, "paper-figures-beyond-noise", "are more than noise alone gives"),
    ],
)
def test_the_papers_measures_stand_beside_noise_and_beside_what_was_published(p_range, p_cv, rule, says):
    p = {"norm_range": p_range, "cv": p_cv}
    published = {"norm_range": 0.256, "cv": 0.089}
    rows = [spread(m, p=p.get(m, 0.5), published=published.get(m)) for m in MEASURES]
    line = one(said(disparity=rows), rule)
    assert says in line["verdict"]
    assert "published .256" in line["verdict"]
    assert "published .089" in line["verdict"]
    assert "noise alone .010 on average, up to .030" in line["verdict"]


def test_an_undefined_measure_is_named_with_its_reason():
    rows = [spread(m, value=None if m in ("cv", "norm_range") else 0.0, note="all zero: every nmae is 0; 40 % missing") for m in MEASURES]
    line = one(said(disparity=rows), "cannot-be-judged")
    assert "norm range, cv of accuracy" in line["verdict"]
    assert "all zero: every nmae is 0 (720 pairs)" in line["verdict"]
    assert "40 %" not in line["verdict"]


def test_without_a_null_nothing_is_claimed_of_the_spread():
    frame = said(disparity=spreads(p=None, alike=None, alike_high=None))
    assert "nothing says what noise alone gives" in one(frame, "cannot-be-judged")["verdict"]
    assert not {"differ", "alike", "paper-figures-noise"} & set(rules_of(frame))


# Who is served worse.


def test_a_subgroup_served_worse_is_said_with_its_family_and_the_baseline():
    groups = [group("s1"), quiet("s2"), quiet("s3", p_worst=None, worst=None), group("s1", run="mode", rest=-0.05), quiet("s2", run="mode")]
    frame = said(groups=groups, gaps=[gap(p_holm=0.5)], names={"s1": "Women of 40"})
    line = one(frame, "served-worse")
    assert line["verdict"].startswith(
        "Women of 40 is served worse than the rest: accuracy 40.0\u00a0% (95\u00a0% interval 30.0\u00a0% to 50.0\u00a0%)"
    )
    assert "20.0 points worse than the rest of its stratum on the same items" in line["verdict"]
    assert "were all alike, 52.0\u00a0% to 68.0\u00a0% would be usual" in line["verdict"]
    assert "p = .001 looking at 2 subgroups together, max-T; 120 respondents, 90 pairs" in line["verdict"]
    assert "the baseline mode is 5.0 points worse there" in line["verdict"]
    assert (line["key"], line["alike_low"], line["alike_high"], line["p"]) == ("s1", 0.52, 0.68, 0.001)


def test_where_nobody_is_shown_worse_the_nearest_is_named():
    line = one(
        said(groups=[quiet("s1", p_worst=0.4), quiet("s2", p_worst=0.06), quiet("s3", p_worst=None, worst=None)]), "nobody-shown-worse"
    )
    assert line["key"] == "s2"
    assert "1 subgroup could not be tested" in line["verdict"]


def test_a_distance_is_worse_when_it_is_higher():
    line = one(said(groups=[group(metric="nmae", value=0.3, rest=0.1)]), "served-worse")
    assert "NMAE .300" in line["verdict"]
    assert ".100 worse than the rest" in line["verdict"]


def test_two_pairs_have_no_interval():
    line = one(said(groups=[quiet(pairs=2, value=0.0, ci_low=0.0, ci_high=0.0)]), "nobody-shown-worse")
    assert line["ci_low"] is None
    assert "too few pairs for an interval: 2" in line["verdict"]


def test_subgroups_that_cannot_be_tested_are_said():
    assert "no subgroup could be tested" in one(said(groups=[quiet(p_worst=None, worst=None)]), "cannot-be-judged")["verdict"]


# Gaps between levels.


@pytest.mark.parametrize(
    ("more", "rule", "says"),
    [
        ({}, "gap-remains", "better for Female than for Male (sex), and that remains: accuracy 10.0 points better for Female"),
        (NOTHING_LEFT, "gap-explained", "but explained without the model"),
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
    sides = {f"{name}_{end}": v for name in ("excess", "adjusted") for end, v in (("low", low), ("high", high))}
    line = one(
        said(
            groups=[quiet(metric=metric)],
            disparity=spreads(metric=metric),
            gaps=[gap(metric=metric, gap=sign * size, ci_low=low, ci_high=high, excess=sign * size, adjusted=sign * size, **sides)],
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


# How it answers.


@pytest.mark.parametrize(("rate", "rule"), [(0.1, None), (0.11, "many-missing"), (1 / 3, "mostly-missing")])
def test_missing_answers_are_said_from_a_tenth_and_louder_from_a_third(rate, rule):
    frame = said(groups=[quiet(refusal_rate=rate / 2, invalid_rate=rate / 2)])
    assert ({"many-missing", "mostly-missing"} & set(rules_of(frame))) == ({rule} if rule else set())
    if rule:
        assert one(frame, rule)["value"] == pytest.approx(rate)
        assert rules_of(frame)[0] == rule


def test_where_answers_are_missing_is_asked_for_or_said():
    refusing = [quiet("s1", refusal_rate=0.3), quiet("s2", refusal_rate=0.1)]
    assert "audit the metric refusal_rate" in one(said(groups=refusing), "missing-not-looked-at")["verdict"]
    rates = [group("s1", metric="refusal_rate", value=0.3, rest=0.2), quiet("s2", metric="refusal_rate", value=0.1)]
    uneven = gap(metric="refusal_rate", gap=-0.1, ci_low=-0.16, ci_high=-0.04)
    frame = said(groups=[*refusing, *rates], gaps=[uneven])
    assert "missing-not-looked-at" not in rules_of(frame)
    assert one(frame, "missing-concentrated")["verdict"].startswith("s1 is refused more often than the rest: refusal rate 30.0\u00a0%")
    assert one(frame, "missing-uneven")["verdict"].startswith(
        "Male is refused more often than Female (sex): by 10.0 points (95\u00a0% interval 4.0 to 16.0"
    )
    # Rates are no service: no gap line, and no spread line, speaks of them.
    assert not [r for r in rules_of(frame) if r.startswith("gap-")]
    even = said(groups=[*refusing, quiet("s1", metric="refusal_rate", value=0.2)])
    assert "missing-not-concentrated" in rules_of(even)
    assert "missing-not-concentrated" not in rules_of(said(groups=[quiet(), quiet(metric="refusal_rate", value=0.0)]))


def test_metrics_join_where_a_model_leaves_answers_out():
    def run(name, statuses, provider="hf", subgroups=None):
        responses = pl.DataFrame({"status": statuses, "subgroup": subgroups or ["all of them"] * len(statuses)})
        return SimpleNamespace(name=name, meta={"respondent": {"name": name, "provider": provider}}, responses=responses)

    fine = ["answered"] * 49
    assert metrics_worth_auditing([run("a", [*fine, "refused"])], ["nmae"]) == ("nmae",)
    assert metrics_worth_auditing([run("a", [*fine[1:], "refused", "refused"])], ["nmae"]) == ("nmae", "refusal_rate")
    assert metrics_worth_auditing([run("a", ["answered"] * 9 + ["failed"])], ["accuracy"]) == ("accuracy", "invalid_rate")
    assert metrics_worth_auditing([run("baseline:x", ["refused"], "baseline")], ["accuracy"]) == ("accuracy",)
    # One in a hundred of all, and one in five of a subgroup; not of one that was asked next to nothing.
    few, groups = ["refused"] * 2 + ["answered"] * 198, ["s1"] * 10 + ["s2"] * 190
    assert metrics_worth_auditing([run("a", few, subgroups=groups)], ["nmae"]) == ("nmae", "refusal_rate")
    assert metrics_worth_auditing([run("a", few, subgroups=["s1"] * 5 + ["s2"] * 195)], ["nmae"]) == ("nmae",)


@pytest.mark.parametrize(("pull", "items", "shown"), [(0.5, 90, True), (0.5, 9, False), (0.33, 5000, False)])
def test_pull_is_claimed_over_items_and_only_where_it_is_large(pull, items, shown):
    groups = [quiet(pull=pull, pull_expected=0.3, value=0.4), quiet("s2", pull=pull, pull_expected=0.3, value=0.4)]
    frame = said(groups=groups, disparity=spreads(items=items))
    assert ("pulled-to-nation" in rules_of(frame)) == shown
    if shown:
        line = one(frame, "pulled-to-nation")
        half = 1.959964 * (0.25 / 90) ** 0.5
        assert (line["value"], line["alike"], line["ci_low"], line["ci_high"]) == pytest.approx((0.5, 0.3, 0.5 - half, 0.5 + half))
        assert "108 wrong answers" in line["verdict"]


@pytest.mark.parametrize("word", ["flattened", "exaggerated", "indistinguishable from 1", "not known"])
def test_spread_ratios_have_a_line_where_they_leave_1(word):
    ratio = {"raw": 1.4, "raw_low": 1.2, "raw_high": 1.6, "corrected": 0.6, "corrected_low": 0.4, "corrected_high": 0.8, "pairs": 300}
    frame = said(errs=[row(attribute="sex", word=word, **ratio)])
    found = {"flattened", "exaggerated"} & set(rules_of(frame))
    assert found == {word} & {"flattened", "exaggerated"}
    for rule in found:
        line = one(frame, rule)
        assert line["value"] == (0.6 if rule == "flattened" else 1.4)
        assert ("err at random" in line["verdict"]) == (rule == "exaggerated")


# Intersections.


def cell(subgroup="s1", **more):
    plain = {"stratum": "a_x_b", "subgroup": subgroup, "value": 0.4, "explained": 0.6, "excess": -0.2, "ci_low": -0.3, "ci_high": -0.1}
    return row(**plain, p=0.001, p_holm=0.01, p_bh=0.01, items=90) | more


def test_intersections_worse_and_better_than_explained():
    frame = said(excess=[cell(), cell("s2", value=0.8, excess=0.2, ci_low=0.1, ci_high=0.3), cell("s3", p_holm=0.5)])
    worse = one(frame, "intersection-worse")
    assert (
        "accuracy 40.0\u00a0% where 60.0\u00a0% is explained, 20.0 points worse (95\u00a0% interval of the gain −30.0 to −10.0"
        in worse["verdict"]
    )
    assert "corrected for 3 cells; 90 items" in worse["verdict"]
    assert worse["alike"] == pytest.approx((2 / np.pi) ** 0.5 * 0.1 / 1.959964)
    assert one(frame, "intersection-better")["key"] == "s2"
    distance = said(
        groups=[quiet(metric="nmae")], excess=[cell(metric="nmae", value=0.3, explained=0.1, excess=0.2, ci_low=0.1, ci_high=0.3)]
    )
    assert one(distance, "intersection-worse")["value"] == -0.2


def test_no_intersection_is_shown_and_screening_says_where_to_look():
    line = one(said(excess=[cell(p_holm=0.06, p_bh=0.04), cell("s2", p_holm=0.5, p_bh=0.5)]), "no-intersection-shown")
    assert "screening at a false discovery rate of 5\u00a0% names 1 cell" in line["verdict"]
    assert line["key"] == "s1"


# Before and after.


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
    levelled = one(frame, "levelled-down")
    assert "from 20.0 points to 10.0 points" in levelled["verdict"]
    assert "the one served best before lost: Male 10.0 points worse" in levelled["verdict"]
    assert "not shown beyond noise" in levelled["verdict"]
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
        ((0.02, 0.01), (0.2, 0.1), (1e-4, 4e-4), WIDE, "spread-moved-with-noise", "fell, but a change of noise can explain it"),
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
    noise = [*spreads(), *spreads(run="before", alike=0.02)]
    rows = [moved("sd", *sd, "x"), moved("cv", *cv, "x", **cv_ends), moved("variance_corrected", *corrected, "x")]
    line = one(said(disparity=noise, changes=[change(), *rows]), rule)
    assert says in line["verdict"]
    assert "noise alone would give a CV of .020 before and .010 after" in line["verdict"]
    # Holm over the standard deviation and the CV: .01 twice.
    assert line["p"] == pytest.approx(0.02)


def test_changes_of_spread_are_corrected_for_how_many_were_looked_at():
    def rows(p, **where):
        return [
            moved(m, *v, "x", p=p, **where) for m, v in (("sd", (0.02, 0.01)), ("cv", (0.2, 0.1)), ("variance_corrected", (4e-4, 1e-4)))
        ]

    noise = [*spreads(), *spreads(run="before", alike=0.02)]
    assert "spread-narrower" in rules_of(said(disparity=noise, changes=[change(), *rows(0.02)]))
    more = [entry for key in ("sex", "age") for entry in rows(0.9, by="attribute", key=key)]
    assert "spread-not-changed" in rules_of(said(disparity=noise, changes=[change(), *rows(0.02), *more]))


def test_attributes_of_which_nothing_is_shown_have_no_lines_of_their_own():
    changes = [change(), *population("no change shown: 0", sd=(0.02, 0.01, "not shown"), cv=(0.1, 0.2, "not shown"))]
    assert not {"no-change-shown", "opposite-directions", "spread-not-changed"} & set(rules_of(said(changes=changes)))


def test_a_comparison_without_common_pairs_is_said():
    line = one(
        said(changes=[change(change=None, before=None, after=None, ci_low=None, ci_high=None, p=None, p_holm=None, outcome=None, pairs=0)]),
        "cannot-be-judged",
    )
    assert "accuracy against before: no pair in common (0 pairs)" in line["verdict"]


# The whole table.


def test_every_rule_is_in_the_documentation_and_every_line_of_a_real_audit_holds_its_figures(kit):
    text = (DOCS / "auditing.md").read_text()
    assert [rule for rule in RULES if f"`{rule}`" not in text] == []
    plan = kit.random_world(1, items=10, draws=20)
    dataset = kit.build(plan)
    runs = [
        kit.run_of("base", kit.random_rows(plan, 1, missing=0.5)),
        kit.run_of("tuned", kit.random_rows(plan, 2)[:-12]),
        kit.run_of("baseline-item-mode", kit.random_rows(plan, 3, missing=0), respondent={"name": "baseline:item-mode"}),
    ]
    metrics = metrics_worth_auditing(runs, ["accuracy", "nmae"])
    assert "refusal_rate" in metrics
    found = audit(dataset, runs, against="base", metrics=metrics, permutations=60, bootstrap=60)
    frame = audit_verdicts(found.tables(), runs, dataset)
    assert frame.columns == list(AUDIT_VERDICTS.columns)
    assert frame.equals(audit_verdicts(found.tables(), runs, dataset))
    assert set(frame["rule"]) <= set(RULES)
    assert {"incomplete"} <= set(frame.filter(pl.col("run") == "tuned")["rule"])
    assert {"mostly-missing"} <= set(frame.filter(pl.col("run") == "base")["rule"])
    for line in frame.iter_rows(named=True):
        assert re.search(r"\d", line["verdict"]), line
        assert "None" not in line["verdict"], line
        assert "nan" not in line["verdict"].lower().split(), line
        assert re.search(r"pairs?\b", line["verdict"]), line
        assert line["pairs"] is not None, line
    for column in frame.select(pl.col(pl.Float64)).columns:
        assert not frame[column].is_nan().any(), column
    # Run, then metric by metric, then rule by rule.
    order = [RULES.index(rule) for rule in frame.filter((pl.col("run") == "tuned") & (pl.col("metric") == "nmae"))["rule"]]
    assert order == sorted(order)


@pytest.mark.parametrize("items", [1, 10])
def test_bad_input_is_said_in_the_lines(kit, items):
    """One subgroup of a stratum, and runs that are always right, leave measures undefined: the lines say so and claim nothing."""
    names = {"one_A0": ("one", {"one": "A0"}), "all": ("all", {})}
    questions = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(items)}
    counts = {(i, s): [30, 10] for i in questions for s in names}
    plan = kit.World(questions, names, counts, draws={pair: [0] * 20 for pair in counts}, parts={(i, "all"): "none" for i in questions})
    run = kit.run_of("right", [{"item": i, "subgroup": "one_A0", "answer": 1} for i in questions])
    dataset = kit.build(plan)
    found = audit(dataset, [run], permutations=20, bootstrap=20)
    frame = audit_verdicts(found.tables(), [run], dataset)
    assert set(frame["rule"]) == {"cannot-be-judged"}
    assert frame.filter(pl.col("verdict").str.contains("one subgroup")).height > 0


def test_what_is_refused():
    with pytest.raises(UsageError, match="confidence=1"):
        said(confidence=1)
    with pytest.raises(UsageError, match="'stranger'"):
        said(groups=[quiet(run="stranger")])
    with pytest.raises(InputDataError, match="'gaps' is missing"):
        audit_verdicts({"disparity": DISPARITY.empty(), "groups": GROUPS.empty()}, RUNS)


def test_a_finding_has_the_columns_of_the_table():
    assert set(Finding._fields) == set(AUDIT_VERDICTS.columns) - {"run", "scheme", "fold", "part"}
