"""The rules of the audit's verdict lines at their edges: spreads, subgroups, missing answers, intersections; and a real audit's lines."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tests.fairness.lines import RUNS, gap, group, one, quiet, row, rules_of, said, spread, spreads
from valuestrata.claims.fairness import AUDIT_VERDICTS, RULES, audit_verdicts, metrics_worth_auditing, rank
from valuestrata.claims.fairness_rules import Finding, Manner
from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness import DISPARITY, GROUPS, MEASURES, audit
from valuestrata.fairness.context import UNEVEN
from valuestrata.fairness.tables.rows import RATES

DOCS = Path(__file__).parents[2] / "docs"
# Lines that say what is, or that nothing can be said: noise alone gives nothing to hold them against.
FACTS = ("mostly-missing", "many-missing", "incomplete", "no-baseline", "cannot-be-judged", "missing-not-looked-at")


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


def test_a_spread_beyond_noise_stands_beside_that_of_the_baseline():
    theirs = spreads(run="baseline-item-mode", value=0.04, ci_low=0.01, ci_high=0.06)
    line = one(said(disparity=[*spreads(), *theirs], gaps=[gap(baseline="baseline-item-mode")]), "differ")
    assert "; that of the baseline item-mode is 4.0 points (95\u00a0% interval 1.0 to 6.0)" in line["verdict"]
    assert "that of the baseline" not in one(said(disparity=spreads(), gaps=[gap(baseline=None)]), "differ")["verdict"]


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
    assert "noise alone .010 on average and more than .030 once in 20; p = " in line["verdict"]


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
    uneven = gap(metric="refusal_rate", gap=-0.1, ci_low=-0.16, ci_high=-0.04, held=-0.09, held_low=-0.15, held_high=-0.03)
    frame = said(groups=[*refusing, *rates], gaps=[uneven])
    assert "missing-not-looked-at" not in rules_of(frame)
    concentrated = one(frame, "missing-concentrated")["verdict"]
    assert concentrated.startswith("s1 is refused more often than the rest: refusal rate 30.0\u00a0%")
    assert "20.0 points more than the rest of its stratum" in concentrated
    assert one(frame, "missing-uneven")["verdict"].startswith(
        "Male is refused more often than Female (sex): by 10.0 points (95\u00a0% interval 4.0 to 16.0"
    )
    assert "with the other attributes held by 9.0 points (95\u00a0% interval 3.0 to 15.0)" in one(frame, "missing-uneven")["verdict"]
    # Rates are no service: no gap line, and no spread line, speaks of them.
    assert not [r for r in rules_of(frame) if r.startswith("gap-")]
    even = said(groups=[*refusing, quiet("s1", metric="refusal_rate", value=0.2)])
    assert "missing-not-concentrated" in rules_of(even)
    assert "missing-not-concentrated" not in rules_of(said(groups=[quiet(), quiet(metric="refusal_rate", value=0.0)]))


@pytest.mark.parametrize(
    ("held", "rule", "says"),
    [
        ((0.01, -0.04, 0.06, 0.9), "missing-composition", "but less, if at all, where their cells are alike in all other attributes"),
        ((-0.1, -0.16, -0.04, 0.001), "missing-composition", "but the other way round"),
        ((0.05, -0.02, 0.12, 0.3), "missing-unclear", "whether that goes with other attributes of their cells cannot be told"),
        ((None, None, None, None), "missing-unclear", "with the other attributes held not known"),
    ],
)
def test_a_level_is_not_blamed_for_refusals_that_go_with_the_company_it_keeps(held, rule, says):
    held = dict(zip(("held", "held_low", "held_high", "held_p_holm"), held, strict=True))
    rates = [quiet(refusal_rate=0.3), quiet(metric="refusal_rate", value=0.3)]
    frame = said(groups=rates, gaps=[gap(metric="refusal_rate", **held)])
    line = one(frame, rule)
    assert line["verdict"].startswith("Female is refused more often than Male (sex)")
    assert says in line["verdict"]
    assert "missing-uneven" not in rules_of(frame)


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
        # Who reads the claim alone learns that errors at random do as much.
        assert ("as errors at random make them" in line["claim"]) == (rule == "exaggerated")


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
    assert "further off" not in worse["verdict"]
    # A cell that lies far off moves what is expected of its neighbours; of another stratum it does not.
    beside = cell("s2", value=0.7, excess=0.1, ci_low=0.05, ci_high=0.15)
    near, elsewhere = (one(said(excess=[cell(), {**beside, "stratum": stratum}]), "intersection-better") for stratum in ("a_x_b", "a_x_c"))
    assert near["verdict"].endswith("; s1 is further off the other way and moves what levels of their stratum explain")
    assert "further off" not in elsewhere["verdict"]
    distance = said(
        groups=[quiet(metric="nmae")], excess=[cell(metric="nmae", value=0.3, explained=0.1, excess=0.2, ci_low=0.1, ci_high=0.3)]
    )
    assert one(distance, "intersection-worse")["value"] == -0.2


def test_no_intersection_is_shown_and_screening_says_where_to_look():
    line = one(said(excess=[cell(p_holm=0.06, p_bh=0.04), cell("s2", p_holm=0.5, p_bh=0.5)]), "no-intersection-shown")
    assert "screening at a false discovery rate of 5\u00a0% names 1 cell" in line["verdict"]
    assert line["key"] == "s1"


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
    frame = audit_verdicts(found, runs, dataset)
    assert frame.columns == list(AUDIT_VERDICTS.columns)
    assert frame.equals(audit_verdicts(found.tables(), runs, dataset))
    # The rule of a gap's line is what the table says of it.
    for gap_row in found.gaps.filter(~pl.col("metric").is_in(RATES)).iter_rows(named=True):
        sides = [f"{gap_row['attribute']}={gap_row[name]}" for name in ("level", "against_level")]
        mine = frame.filter(
            (pl.col("run") == gap_row["run"]) & (pl.col("metric") == gap_row["metric"]) & pl.col("rule").str.starts_with("gap-")
        ).filter(pl.col("key").is_in(sides) & pl.col("against").is_in(sides))
        word = gap_row["remains"]
        assert mine["rule"].to_list() == ([] if word in ("not shown", "not known") else [f"gap-{word}"])
    assert set(frame["rule"]) <= set(RULES)
    assert {"incomplete"} <= set(frame.filter(pl.col("run") == "tuned")["rule"])
    assert {"mostly-missing"} <= set(frame.filter(pl.col("run") == "base")["rule"])
    for line in frame.iter_rows(named=True):
        assert re.search(r"\d", line["verdict"]), line
        assert "None" not in line["verdict"], line
        assert "nan" not in line["verdict"].lower().split(), line
        assert re.search(r"pairs?\b", line["verdict"]), line
        assert line["pairs"] is not None, line
        if line["rule"] not in FACTS:
            assert line["alike"] is not None or line["alike_low"] is not None, line
    for column in frame.select(pl.col(pl.Float64)).columns:
        assert not frame[column].is_nan().any(), column
    assert all(verdict.startswith(f"{claim}: ") for verdict, claim in frame.select("verdict", "claim").iter_rows())
    # Run, then metric by metric, then rule by rule.
    order = [rank(rule) for rule in frame.filter((pl.col("run") == "tuned") & (pl.col("metric") == "nmae"))["rule"]]
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


def test_lines_are_worded_at_the_confidence_of_the_audit(kit):
    plan = kit.random_world(2, items=10, draws=20)
    dataset = kit.build(plan)
    run = kit.run_of("one", kit.random_rows(plan, 1))
    found = audit(dataset, [run], permutations=60, bootstrap=60, confidence=0.9)
    assert found.confidence == 0.9
    lines = audit_verdicts(found, [run], dataset)
    assert lines["verdict"].str.contains("90\u00a0% interval").any()
    assert not lines["verdict"].str.contains("95\u00a0%").any()
    assert lines["verdict"].str.contains("once in 10").any()
    assert audit_verdicts(found.tables(), [run], dataset, confidence=0.9).equals(lines)
    with pytest.raises(UsageError, match=r"made at 0\.9"):
        audit_verdicts(found, [run], dataset, confidence=0.95)


def test_how_often_noise_goes_further_is_written_in_words():
    assert [Manner(c, {}).once for c in (0.95, 0.9, 0.99, 0.93)] == ["once in 20", "once in 10", "once in 100", "in 7\u00a0% of audits"]


def test_levels_that_lack_cells_are_not_said_to_differ_without_a_word_of_it():
    of_sex = {"by": "attribute", "key": "sex", "population": "2 levels of sex"}
    frame = said(disparity=[*spreads(p=0.5), *spreads(**of_sex, note=UNEVEN)])
    assert one(frame, "differ")["verdict"].endswith(f"{UNEVEN}: see their gaps")


def test_what_is_refused():
    with pytest.raises(UsageError, match="confidence=1"):
        said(confidence=1)
    with pytest.raises(UsageError, match="'stranger'"):
        said(groups=[quiet(run="stranger")])
    with pytest.raises(InputDataError, match="'gaps' is missing"):
        audit_verdicts({"disparity": DISPARITY.empty(), "groups": GROUPS.empty()}, RUNS)


def test_a_finding_has_the_columns_of_the_table():
    finding = Finding("rule", "for A: B is served worse", "accuracy .5: 3 pairs")
    assert finding.verdict == "for A: B is served worse: accuracy .5: 3 pairs"
    assert {*finding.columns(), "verdict"} == set(AUDIT_VERDICTS.columns) - {"run", "scheme", "fold", "part"}
