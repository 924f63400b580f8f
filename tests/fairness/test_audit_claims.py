"""Claims of an audit at their thresholds: spreads, subgroups, missing answers, intersections; and those of a real audit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tests.fairness.claim_rows import RUNS, claims_of, gap, group, kinds_of, one, quiet, row, spread, spreads
from valuestrata.claims.claim import Strength
from valuestrata.claims.fairness.rules import audit_claims, audit_verdicts, metrics_worth_auditing
from valuestrata.claims.fairness.subject import RULES
from valuestrata.claims.select import MOST_CLAIMS, select
from valuestrata.claims.table import CLAIMS, from_frame
from valuestrata.claims.templates import word
from valuestrata.errors import InputDataError, UsageError
from valuestrata.fairness import DISPARITY, GROUPS, MEASURES, audit
from valuestrata.fairness.context import UNEVEN
from valuestrata.fairness.tables.rows import RATES

DOCS = Path(__file__).parents[2] / "docs"
OF_SEX = {"by": "attribute", "key": "sex", "population": "2 levels of sex"}


@pytest.mark.parametrize(("p", "kind", "strength"), [(0.05, "differ", Strength.SHOWN), (0.0501, "alike", Strength.NOT_SHOWN)])
def test_a_spread_is_judged_by_its_p_value(p, kind, strength):
    claim = one(claims_of(disparity=spreads(p=p)), kind)
    figure = claim.estimate
    assert (figure.value, figure.low, figure.high, figure.expected, figure.expected_high) == (0.05, 0.02, 0.08, 0.01, 0.03)
    assert (figure.items, figure.pairs, claim.strength) == (90, 720, strength)


def test_spreads_are_corrected_for_the_number_of_populations():
    # .03 alone would be shown; Holm over two requires .025 of the smaller.
    claims = claims_of(disparity=[*spreads(p=0.03), *spreads(p=0.5, **OF_SEX)])
    alike = [claim for claim in claims if claim.kind == "alike"]
    assert [claim.estimate.p_adjusted for claim in alike] == pytest.approx([0.06, 0.5])
    assert [(claim.correction, claim.tests) for claim in alike] == [("holm", 2)] * 2
    assert one(claims_of(disparity=[*spreads(p=0.025), *spreads(p=0.5, **OF_SEX)]), "differ").by == "all"


def test_a_spread_is_shown_with_that_of_the_baseline():
    theirs = spreads(run="mode", value=0.04, ci_low=0.01, ci_high=0.06)
    claim = one(claims_of(disparity=[*spreads(), *theirs], gaps=[gap(baseline="mode")]), "differ")
    baseline = claim.figure("baseline")
    assert (baseline.label, baseline.value, baseline.low, baseline.high) == ("mode", 0.04, 0.01, 0.06)
    assert one(claims_of(gaps=[gap(baseline=None)]), "differ").figure("baseline") is None


def test_levels_that_do_not_differ_share_a_claim():
    more = [(key, value) for key, value in (("sex", 0.012), ("age", 0.034))]
    rows = [entry for key, value in more for entry in spreads(**(OF_SEX | {"key": key, "p": 0.5, "value": value}))]
    claim = next(claim for claim in claims_of(disparity=[*spreads(), *rows]) if claim.kind == "alike")
    assert claim.key == "sex, age"
    assert {claim.estimate.value, claim.figure("population").value} == {0.012, 0.034}


@pytest.mark.parametrize(
    ("p_range", "p_cv", "beyond"), [(0.5, 0.5, ()), (0.5, 0.01, ("cv",)), (0.01, 0.5, ("norm_range",)), (0.01, 0.01, ("norm_range", "cv"))]
)
def test_the_papers_measures_are_compared_with_noise_and_published_figures(p_range, p_cv, beyond):
    p, published = {"norm_range": p_range, "cv": p_cv}, {"norm_range": 0.256, "cv": 0.089}
    rows = [spread(m, p=p.get(m, 0.5), published=published.get(m)) for m in MEASURES]
    claim = one(claims_of(disparity=rows), "paper-figures-beyond-noise" if beyond else "paper-figures-noise")
    assert claim.notes[1:] == beyond
    assert {one.label: one.value for one in claim.figures if one.role == "published"} == published


def test_an_undefined_measure_is_named_with_its_reason():
    rows = [spread(m, value=None if m in ("cv", "norm_range") else 0.0, note="all zero: every nmae is 0; 40 % missing") for m in MEASURES]
    notes = one(claims_of(disparity=rows), "cannot-be-judged").notes
    assert notes == ("undefined", "norm range, cv", "8 test subgroups of a_x_b", "all zero: every nmae is 0")


def test_without_a_null_no_spread_is_claimed():
    claims = claims_of(disparity=spreads(p=None, alike=None, alike_high=None))
    assert one(claims, "cannot-be-judged").notes == ("no-null",)
    assert not {"differ", "alike", "paper-figures-noise"} & set(kinds_of(claims))


def test_levels_that_lack_cells_are_noted():
    assert "uneven" in one(claims_of(disparity=[*spreads(p=0.5), *spreads(**OF_SEX, note=UNEVEN)]), "differ").notes


# Who is served worse.


def test_a_subgroup_served_worse_has_its_family_and_the_baseline():
    groups = [group("s1"), quiet("s2"), quiet("s3", p_worst=None, worst=None), group("s1", run="mode", rest=-0.05), quiet("s2", run="mode")]
    claim = one(claims_of(groups=groups, gaps=[gap(p_holm=0.5)]), "served-worse")
    figure = claim.estimate
    assert (claim.key, claim.correction, claim.tests) == ("s1", "max-T", 2)
    assert (figure.value, figure.low, figure.high, figure.p_adjusted) == (0.4, 0.3, 0.5, 0.001)
    assert (figure.expected_low, figure.expected_high, figure.respondents, figure.pairs) == (0.52, 0.68, 120, 90)
    assert (claim.figure("rest").value, claim.figure("baseline").value) == (-0.2, -0.05)


def test_where_nobody_is_served_worse_the_closest_is_named():
    claim = one(
        claims_of(groups=[quiet("s1", p_worst=0.4), quiet("s2", p_worst=0.06), quiet("s3", p_worst=None, worst=None)]),
        "nobody-shown-worse",
    )
    assert (claim.key, claim.estimate.label, claim.notes, claim.strength) == (None, "s2", ("untested 1",), Strength.NOT_SHOWN)


def test_a_distance_is_worse_when_it_is_higher():
    assert one(claims_of(groups=[group(metric="nmae", value=0.3, rest=0.1)]), "served-worse").figure("rest").value == -0.1


def test_two_pairs_have_no_interval():
    assert one(claims_of(groups=[quiet(pairs=2, value=0.0, ci_low=0.0, ci_high=0.0)]), "nobody-shown-worse").estimate.low is None


def test_untested_subgroups_cannot_be_judged():
    assert one(claims_of(groups=[quiet(p_worst=None, worst=None)]), "cannot-be-judged").notes == ("no-rest",)


def test_repeated_claims_of_a_kind_matter_less():
    first, second = [c for c in claims_of(groups=[group("s1", p_worst=0.04), group("s2")]) if c.kind == "served-worse"]
    assert (first.key, second.key) == ("s2", "s1")
    assert second.importance < first.importance


# How it answers.


@pytest.mark.parametrize(("rate", "kind"), [(0.1, None), (0.11, "many-missing"), (1 / 3, "mostly-missing")])
def test_missing_answers_are_claimed_from_a_tenth(rate, kind):
    claims = claims_of(groups=[quiet(refusal_rate=rate / 2, invalid_rate=rate / 2)])
    assert ({"many-missing", "mostly-missing"} & set(kinds_of(claims))) == ({kind} if kind else set())
    if kind:
        assert one(claims, kind).estimate.value == pytest.approx(rate)


def test_missing_answers_by_subgroup_and_level():
    refusing = [quiet("s1", refusal_rate=0.3), quiet("s2", refusal_rate=0.1)]
    assert one(claims_of(groups=refusing), "missing-not-looked-at").metric == "refusal_rate"
    rates = [group("s1", metric="refusal_rate", value=0.3, rest=0.2), quiet("s2", metric="refusal_rate", value=0.1)]
    uneven = gap(metric="refusal_rate", gap=-0.1, ci_low=-0.16, ci_high=-0.04, held=-0.09, held_low=-0.15, held_high=-0.03)
    claims = claims_of(groups=[*refusing, *rates], gaps=[uneven])
    assert "missing-not-looked-at" not in kinds_of(claims)
    assert one(claims, "missing-concentrated").key == "s1"
    level = one(claims, "missing-uneven")
    assert (level.key, level.against, level.estimate.value) == ("sex=Male", "sex=Female", 0.1)
    assert level.figure("held").value == 0.09
    # Rates are not service: no gap or spread claims.
    assert not [claim for claim in claims if claim.metric == "refusal_rate" and not claim.kind.startswith("missing")]
    even = claims_of(groups=[*refusing, quiet("s1", metric="refusal_rate", value=0.2)])
    assert "missing-not-concentrated" in kinds_of(even)
    assert "missing-not-concentrated" not in kinds_of(claims_of(groups=[quiet(), quiet(metric="refusal_rate", value=0.0)]))


@pytest.mark.parametrize(
    ("held", "kind", "note"),
    [
        ((0.01, -0.04, 0.06, 0.9), "missing-composition", "explained"),
        ((-0.1, -0.16, -0.04, 0.001), "missing-composition", "turned"),
        ((0.05, -0.02, 0.12, 0.3), "missing-unclear", "untold"),
        ((None, None, None, None), "missing-unclear", "unknown"),
    ],
)
def test_other_attributes_may_explain_refusals(held, kind, note):
    held = dict(zip(("held", "held_low", "held_high", "held_p_holm"), held, strict=True))
    rates = [quiet(refusal_rate=0.3), quiet(metric="refusal_rate", value=0.3)]
    claims = claims_of(groups=rates, gaps=[gap(metric="refusal_rate", **held)])
    assert one(claims, kind).notes == (note,)
    assert "missing-uneven" not in kinds_of(claims)


def test_rates_are_audited_where_a_model_leaves_answers_out():
    def run(name, statuses, provider="hf", subgroups=None):
        responses = pl.DataFrame({"status": statuses, "subgroup": subgroups or ["all of them"] * len(statuses)})
        return SimpleNamespace(name=name, meta={"respondent": {"name": name, "provider": provider}}, responses=responses)

    fine = ["answered"] * 49
    assert metrics_worth_auditing([run("a", [*fine, "refused"])], ["nmae"]) == ("nmae",)
    assert metrics_worth_auditing([run("a", [*fine[1:], "refused", "refused"])], ["nmae"]) == ("nmae", "refusal_rate")
    assert metrics_worth_auditing([run("a", ["answered"] * 9 + ["failed"])], ["accuracy"]) == ("accuracy", "invalid_rate")
    assert metrics_worth_auditing([run("baseline:x", ["refused"], "baseline")], ["accuracy"]) == ("accuracy",)
    # One in a hundred of all, and one in five of a subgroup with enough pairs.
    few, groups = ["refused"] * 2 + ["answered"] * 198, ["s1"] * 10 + ["s2"] * 190
    assert metrics_worth_auditing([run("a", few, subgroups=groups)], ["nmae"]) == ("nmae", "refusal_rate")
    assert metrics_worth_auditing([run("a", few, subgroups=["s1"] * 5 + ["s2"] * 195)], ["nmae"]) == ("nmae",)


@pytest.mark.parametrize(("pull", "items", "shown"), [(0.5, 90, True), (0.5, 9, False), (0.33, 5000, False)])
def test_pull_is_claimed_over_items_and_only_where_it_is_large(pull, items, shown):
    groups = [quiet(pull=pull, pull_expected=0.3, value=0.4), quiet("s2", pull=pull, pull_expected=0.3, value=0.4)]
    claims = claims_of(groups=groups, disparity=spreads(items=items))
    assert ("pulled-to-nation" in kinds_of(claims)) == shown
    if shown:
        claim = one(claims, "pulled-to-nation")
        half = 1.959964 * (0.25 / 90) ** 0.5
        figure = claim.estimate
        assert (figure.value, figure.expected, figure.low, figure.high) == pytest.approx((0.5, 0.3, 0.5 - half, 0.5 + half))
        assert claim.figure("wrong").n == 108
        # The same items in as many blocks as 40 of equal size have a wider interval; in 9, none is shown.
        some, few = (claims_of(groups=groups, disparity=spreads(items=items, blocks=blocks)) for blocks in (40.0, 9.0))
        assert one(some, "pulled-to-nation").estimate.low == pytest.approx(0.5 - 1.959964 * (0.25 / 40) ** 0.5)
        assert "pulled-to-nation" not in kinds_of(few)


@pytest.mark.parametrize("kind", ["flattened", "exaggerated", "indistinguishable from 1", "not known"])
def test_spread_ratios_are_claimed_where_they_differ_from_1(kind):
    ratio = {"raw": 1.4, "raw_low": 1.2, "raw_high": 1.6, "corrected": 0.6, "corrected_low": 0.4, "corrected_high": 0.8, "pairs": 300}
    claims = claims_of(errs=[row(attribute="sex", word=kind, **ratio)])
    found = {"flattened", "exaggerated"} & set(kinds_of(claims))
    assert found == {kind} & {"flattened", "exaggerated"}
    for name in found:
        assert one(claims, name).estimate.value == (0.6 if name == "flattened" else 1.4)


# Intersections.


def cell(subgroup="s1", **more):
    plain = {"stratum": "a_x_b", "subgroup": subgroup, "value": 0.4, "explained": 0.6, "excess": -0.2, "ci_low": -0.3, "ci_high": -0.1}
    return row(**plain, p=0.001, p_holm=0.01, p_bh=0.01, items=90) | more


def test_intersections_worse_and_better_than_predicted():
    claims = claims_of(excess=[cell(), cell("s2", value=0.8, excess=0.2, ci_low=0.1, ci_high=0.3), cell("s3", p_holm=0.5)])
    worse = one(claims, "intersection-worse")
    assert (worse.key, worse.tests, worse.notes) == ("s1", 3, ())
    assert (worse.estimate.value, worse.estimate.low, worse.estimate.high) == (-0.2, -0.3, -0.1)
    assert worse.estimate.expected == pytest.approx((2 / np.pi) ** 0.5 * 0.1 / 1.959964)
    assert (worse.figure("score").value, worse.figure("predicted").value) == (0.4, 0.6)
    assert one(claims, "intersection-better").key == "s2"
    # A larger opposite deviation shifts its neighbours of the same stratum only.
    beside = cell("s2", value=0.7, excess=0.1, ci_low=0.05, ci_high=0.15)
    near, elsewhere = (
        one(claims_of(excess=[cell(), {**beside, "stratum": stratum}]), "intersection-better") for stratum in ("a_x_b", "a_x_c")
    )
    assert (near.notes, elsewhere.notes) == (("opposite", "s1"), ())
    distance = claims_of(
        groups=[quiet(metric="nmae")], excess=[cell(metric="nmae", value=0.3, explained=0.1, excess=0.2, ci_low=0.1, ci_high=0.3)]
    )
    assert one(distance, "intersection-worse").estimate.value == -0.2


def test_without_a_shown_intersection_the_closest_is_named():
    claim = one(claims_of(excess=[cell(p_holm=0.06, p_bh=0.04), cell("s2", p_holm=0.5, p_bh=0.5)]), "no-intersection-shown")
    assert (claim.key, claim.estimate.label, claim.notes) == (None, "s1", ("screened 1",))


# All claims of an audit.


def test_a_real_audit(kit):
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
    claims = audit_claims(found, runs, dataset)
    # The kind of a gap claim is what the table says of the gap.
    for gap_row in found.gaps.filter(~pl.col("metric").is_in(RATES)).iter_rows(named=True):
        sides = {f"{gap_row['attribute']}={gap_row[name]}" for name in ("level", "against_level")}
        mine = [
            claim.kind
            for claim in claims
            if claim.run == gap_row["run"] and claim.metric == gap_row["metric"] and {claim.key, claim.against} == sides
        ]
        remains = gap_row["remains"]
        assert mine == ([] if remains in ("not shown", "not known") else [f"gap-{remains}"])
    assert {claim.kind for claim in claims} <= set(RULES)
    assert "incomplete" in {claim.kind for claim in claims if claim.run == "tuned"}
    assert "mostly-missing" in {claim.kind for claim in claims if claim.run == "base"}
    for claim in claims:
        assert claim.estimate.pairs is not None or claim.kind == "cannot-be-judged", claim
        text = word(claim).text
        assert "None" not in text, text
        assert "nan" not in text.lower().split(), text
    frame = audit_verdicts(found, runs, dataset)
    assert frame.columns == list(CLAIMS.columns)
    assert frame.equals(audit_verdicts(found.tables(), runs, dataset))
    for run, rows in frame.group_by("run"):
        assert rows["importance"].is_sorted(descending=True), run
    by_run = {one.run: one for one in select(from_frame(frame))}
    assert {run: len(one.shown) for run, one in by_run.items()} == {"base": MOST_CLAIMS, "tuned": MOST_CLAIMS, "baseline-item-mode": 0}


def test_every_kind_is_documented():
    text = (DOCS / "auditing.md").read_text()
    assert [kind for kind in RULES if f"`{kind}`" not in text] == []


@pytest.mark.parametrize("items", [1, 10])
def test_undefined_measures_support_no_claim(kit, items):
    """One subgroup of a stratum, and runs that are always right."""
    names = {"one_A0": ("one", {"one": "A0"}), "all": ("all", {})}
    questions = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(items)}
    counts = {(i, s): [30, 10] for i in questions for s in names}
    plan = kit.World(questions, names, counts, draws={pair: [0] * 20 for pair in counts}, parts={(i, "all"): "none" for i in questions})
    run = kit.run_of("right", [{"item": i, "subgroup": "one_A0", "answer": 1} for i in questions])
    claims = audit_claims(audit(kit.build(plan), [run], permutations=20, bootstrap=20), [run])
    assert {claim.kind for claim in claims} == {"cannot-be-judged"}
    assert any("one subgroup" in claim.notes for claim in claims)


def test_claims_are_made_at_the_confidence_of_the_audit(kit):
    plan = kit.random_world(2, items=10, draws=20)
    dataset = kit.build(plan)
    run = kit.run_of("one", kit.random_rows(plan, 1))
    found = audit(dataset, [run], permutations=60, bootstrap=60, confidence=0.9)
    assert found.confidence == 0.9
    claims = audit_claims(found, [run], dataset)
    assert {claim.confidence for claim in claims} == {0.9}
    assert audit_claims(found.tables(), [run], dataset, confidence=0.9) == claims
    with pytest.raises(UsageError, match=r"made at 0\.9"):
        audit_claims(found, [run], dataset, confidence=0.95)


def test_what_is_refused():
    with pytest.raises(UsageError, match="confidence=1"):
        claims_of(confidence=1)
    with pytest.raises(UsageError, match="'stranger'"):
        claims_of(groups=[quiet(run="stranger")])
    with pytest.raises(InputDataError, match="'gaps' is missing"):
        audit_claims({"disparity": DISPARITY.empty(), "groups": GROUPS.empty()}, RUNS)
