"""Rules for claims about scores: each at its thresholds, with the fields that it must fill."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from valuestrata.claims.claim import Claim, Strength
from valuestrata.claims.closed import closed_claims
from valuestrata.claims.compared.comparisons import OUTCOMES
from valuestrata.claims.compared.part_tables import WEIGHTS, Z_POWER
from valuestrata.claims.table import from_frame, to_frame
from valuestrata.claims.templates import word
from valuestrata.claims.templates_closed import CLOSED
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.dataset.training_source import Overlap
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.plan import Thresholds
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES

MODEL = {"name": "embedded", "provider": "transformers"}
DOCS = Path(__file__).parents[2] / "docs"


def run(name, respondent, responses=None):
    return SimpleNamespace(name=name, meta={"respondent": respondent}, responses=RESPONSES.empty() if responses is None else responses)


RUNS = [
    run("m", MODEL),
    run("shuffled", {"name": "control:shuffled-persona@embedded", "provider": "control", "control": "shuffled-persona", "of": MODEL}),
    run("mode", {"name": "baseline:item-mode", "provider": "baseline"}),
    run("parent", {"name": "baseline:nearest-parent", "provider": "baseline"}),
    run("additive", {"name": "baseline:additive", "provider": "baseline"}),
    *(
        run(name, {"name": f"control:{control}@embedded", "provider": "control", "control": control, "of": MODEL})
        for name, control in (("none", "no-persona"), ("country", "country-only"))
    ),
]


def place(**row):
    return {"scheme": "paper", "part": "test", "by": "all", "key": "all", "metric": "accuracy_expected", **row}


def score(name, metric="accuracy_expected", value=0.8, **row):
    return place(run=name, metric=metric, value=value, ci_low=0.75, ci_high=0.85, pairs=3012, coverage=1.0) | row


def gap(against, difference, low, high, **row):
    se = None if low is None else (high - low) / 3.92
    plain = {"run": "m", "status": "exploratory", "pairs": 3012, "coverage": 1.0, "se": se}
    return place(against=against, difference=difference, ci_low=low, ci_high=high, **plain) | row


def standing(relative, low, high, state="ok", **row):
    ends = {"baseline": "parent", "baseline_value": 0.8, "bound": "ceiling_oracle", "bound_value": 0.9}
    figures = {"relative": relative, "relative_low": low, "relative_high": high, "state": state, "pairs": 3012}
    return place(run="m", **ends, **figures) | row


def claims_of(
    comparisons=(), *, scores=None, relative=(), leakage=None, runs=RUNS, thresholds=None, metric="accuracy_expected", overlaps=None
) -> list[Claim]:
    scores = [score(one.name) for one in runs] if scores is None else scores
    frames = (SCORES.frame(list(scores)), COMPARISONS.frame(list(comparisons)), RELATIVE.frame(list(relative)))
    leaks = LEAKAGE.empty() if leakage is None else leakage
    found = closed_claims(*frames, leaks, runs, thresholds, metric, overlaps)
    # Every claim can be worded and stored.
    assert from_frame(to_frame(found)) == found
    return found


def only(*args, **kwargs) -> Claim:
    (claim,) = claims_of(*args, **kwargs)
    return claim


def kinds(claims, name="m"):
    return [claim.kind for claim in claims if claim.run == name]


@pytest.mark.parametrize(
    ("against", "low", "high", "kind", "direction", "strength"),
    [
        ("mode", -0.03, -0.01, "below-item-mode", "worse", Strength.SHOWN),
        ("mode", 0.01, 0.03, "above-item-mode", "better", Strength.SHOWN),
        ("mode", 0.0, 0.03, "level-with-item-mode", None, Strength.UNDERPOWERED),
        ("parent", -0.03, -0.01, "below-nearest-parent", "worse", Strength.SHOWN),
        ("parent", 0.01, 0.03, "above-nearest-parent", "better", Strength.SHOWN),
        ("parent", -0.02, 0.0, "level-with-nearest-parent", None, Strength.WITHIN_MARGIN),
        ("parent", -0.0235, 0.0035, "level-with-nearest-parent", None, Strength.NOT_SHOWN),
        ("shuffled", -0.03, -0.01, "right-persona-worse", "worse", Strength.SHOWN),
        ("shuffled", 0.01, 0.03, "right-persona-better", "better", Strength.SHOWN),
        ("shuffled", -0.01, 0.01, "right-persona-level", None, Strength.WITHIN_MARGIN),
        ("shuffled", -0.01, 0.03, "right-persona-level", None, Strength.UNDERPOWERED),
        ("none", -0.03, -0.01, "with-persona-worse", "worse", Strength.SHOWN),
        ("none", 0.01, 0.03, "with-persona-better", "better", Strength.SHOWN),
        ("country", -0.01, 0.03, "with-persona-level", None, Strength.UNDERPOWERED),
    ],
)
def test_comparison_with_a_baseline_or_control(against, low, high, kind, direction, strength):
    claim = only([gap(against, (low + high) / 2, low, high)])
    assert (claim.run, claim.kind, claim.direction, claim.strength) == ("m", kind, direction, strength)
    figure = claim.estimate
    assert (figure.value, figure.low, figure.high, figure.pairs) == ((low + high) / 2, low, high, 3012)
    assert (claim.metric, claim.against, claim.status) == ("accuracy_expected", against, "exploratory")
    assert (claim.scheme, claim.part, claim.fold, claim.run_kind, claim.confidence) == ("paper", "test", None, "model", 0.95)


def test_a_lower_distance_is_a_gain():
    claim = only([gap("mode", -0.02, -0.03, -0.01, metric="w1")], metric="w1")
    assert claim.kind == "above-item-mode"
    assert (claim.estimate.value, claim.estimate.low, claim.estimate.high) == (0.02, 0.01, 0.03)


def test_a_comparison_in_the_other_direction_makes_the_same_claim():
    straight = claims_of([gap("mode", 0.02, 0.01, 0.03)])
    swapped = claims_of([gap("mode", -0.02, -0.03, -0.01) | {"run": "mode", "against": "m"}])
    assert straight == swapped
    mirror = gap("mode", -0.02, -0.03, -0.01) | {"run": "mode", "against": "m", "status": "declared"}
    for both in ([gap("mode", 0.02, 0.01, 0.03), mirror], [mirror, gap("mode", 0.02, 0.01, 0.03)]):
        claim = only(both)
        assert (claim.kind, claim.status) == ("above-item-mode", "declared")


def test_the_same_outcome_by_nmae_is_part_of_the_claim_and_another_outcome_is_not():
    rows = [gap("mode", 0.02, 0.01, 0.03), gap("mode", -0.01, -0.02, -0.004, metric="nmae"), gap("mode", 0.1, 0.0, 0.2, metric="w1")]
    claim = only(rows)
    assert claim.metrics == ("accuracy_expected", "nmae")
    assert claim.also[0].value == 0.01
    assert only([rows[0], gap("mode", 0.01, 0.004, 0.02, metric="nmae")]).also == ()


def test_correction_for_multiple_tests_limits_the_strength():
    other = gap("parent", 0.5, None, None, p_adjusted=0.5, status="declared")
    found = [
        claims_of([gap("mode", 0.02, 0.001, 0.04, p=0.02, p_adjusted=p, adjustment="holm", status="declared"), other])[0]
        for p in (0.08, 0.05)
    ]
    assert [(one.strength, one.notes) for one in found] == [(Strength.UNDETERMINED, ("not-after-correction",)), (Strength.SHOWN, ())]
    assert (found[0].correction, found[0].tests, found[0].estimate.p, found[0].estimate.p_adjusted) == ("holm", 2, 0.02, 0.08)
    assert found[0].status == "declared"


def test_exploratory_p_values_are_corrected_by_metric_and_grouping():
    rows = [gap("mode", 0.02, 0.01, 0.03, p_adjusted=0.01), gap("parent", 0.02, 0.01, 0.03, p_adjusted=0.01)]
    others = [gap("mode", 0.2, 0.1, 0.3, by="stratum", key="sex", p_adjusted=0.01), gap("mode", 0.2, 0.1, 0.3, metric="w1", p_adjusted=0.1)]
    assert {claim.tests for claim in claims_of([*rows, *others])} == {2}


def test_a_comparison_on_few_pairs_has_its_coverage():
    assert only([gap("mode", 0.02, 0.01, 0.03, coverage=0.5)]).figure("coverage").value == 0.5
    assert only([gap("mode", 0.02, 0.01, 0.03)]).figure("coverage") is None


def test_power_is_80_percent_at_the_detectable_difference():
    """The factor of the rule, compared with the power of a z test from scipy."""
    detectable = stats.norm.isf(0.025) + Z_POWER
    power = stats.norm.sf(stats.norm.isf(0.025) - detectable) + stats.norm.cdf(stats.norm.ppf(0.025) - detectable)
    assert power == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize(
    ("low", "high", "smallest", "expected"),
    [
        (-0.04, 0.04, 0.02, Strength.UNDERPOWERED),
        (-0.01, 0.01, 0.01, Strength.WITHIN_MARGIN),  # the 90 % interval is ±0.84 points
        (-0.01, 0.01, 0.008, Strength.UNDERPOWERED),
        (-0.0035, 0.0235, 0.02, Strength.NOT_SHOWN),  # a difference of 1.9 points would have been detected; 2.1 is not excluded
        (0.001, 0.08, 0.02, Strength.SHOWN),
        (0.0, 0.08, 0.02, Strength.UNDERPOWERED),
    ],
)
def test_underpowered_if_a_relevant_difference_could_have_been_missed(low, high, smallest, expected):
    claim = only([gap("mode", (low + high) / 2, low, high)], thresholds=Thresholds(smallest_gap=smallest))
    assert claim.strength is expected
    if expected is not Strength.SHOWN:
        detectable = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * (high - low) / (2 * stats.norm.isf(0.025))
        assert claim.figure("detectable").value == pytest.approx(detectable, rel=1e-4)


BETTER, WORSE, SAME, OPEN = (0.03, 0.05), (-0.05, -0.03), (-0.005, 0.005), (-0.03, 0.04)
STATES = {BETTER: "better", WORSE: "worse", SAME: "within", OPEN: "open"}
RIGHT = {
    BETTER: "Better with the right persona than with a wrong one",
    WORSE: "Worse with the right persona than with a wrong one",
    SAME: "The difference between the right persona and a wrong one is shown to be below 2.0 points",
    OPEN: "Too little data to detect a difference between the right persona and a wrong one",
}
NONE = {
    BETTER: "better than with no persona",
    WORSE: "worse than with no persona",
    SAME: "the difference from no persona is shown to be below 2.0 points",
    OPEN: "not shown to be better or worse than with no persona",
    None: "no control without a persona was asked, so whether personas add to the score is unknown",
}


@pytest.mark.parametrize("without", [BETTER, WORSE, SAME, OPEN, None])
@pytest.mark.parametrize("right", [BETTER, WORSE, SAME, OPEN, None])
def test_right_persona_against_wrong_and_against_none_in_one_sentence(right, without):
    rows = [gap(name, sum(ends) / 2, *ends) for name, ends in (("shuffled", right), ("none", without)) if ends is not None]
    found = claims_of(rows)
    assert len(found) == (1 if rows else 0)
    for claim in found:
        words = word(claim).sentence
        if right is None:
            assert claim.kind == f"with-persona-{STATES[without] if without in (BETTER, WORSE) else 'level'}"
            assert words.startswith(NONE[without][0].upper() + NONE[without][1:])
            assert "no wrong persona was asked" in words
            continue
        adds = (right, without) == (BETTER, BETTER)
        assert claim.kind == ("persona-adds" if adds else f"right-persona-{STATES[right] if right in (BETTER, WORSE) else 'level'}")
        assert words.startswith("Personas add to the score: better with the right persona than with a wrong one" if adds else RIGHT[right])
        assert NONE[without] in words
        assert ("personas add" in words.lower()) == (adds or without is None)
        assert claim.notes == (() if without is None else (f"no-persona: {STATES[without]}",))


def test_personas_that_only_beat_wrong_personas_do_not_add():
    """A model at .661 whose control without persona scores .674 and whose wrong personas score .438."""
    claim = only([gap("shuffled", 0.223, 0.20, 0.246), gap("none", -0.013, -0.02, -0.006)])
    assert (claim.kind, claim.estimate.value, claim.figure("no-persona").value) == ("right-persona-better", 0.223, -0.013)
    assert word(claim).sentence.replace("\u00a0", " ") == (
        "Better with the right persona than with a wrong one: expected accuracy 22.3 points higher (95 % CI 20.0 to 24.6); "
        "worse than with no persona (expected accuracy 1.3 points lower (95 % CI 0.6 to 2.0))."
    )
    assert "A wrong persona can mislead" in word(claim).text


def test_personas_add_only_if_every_control_without_persona_is_beaten():
    rows = [gap("shuffled", 0.2, 0.18, 0.22), gap("none", 0.1, 0.08, 0.12)]
    assert only(rows).kind == "persona-adds"
    claim = only([*rows, gap("country", 0.01, -0.02, 0.04)])
    assert (claim.kind, claim.notes) == ("right-persona-better", ("no-persona: better", "country-only: open"))
    # A declared comparison with no persona keeps a claim of its own.
    assert kinds(claims_of([rows[0], rows[1] | {"status": "declared"}])) == ["persona-adds", "with-persona-better"]


def test_findings_are_corrected_for_all_comparisons_of_the_first_screen():
    one = gap("mode", 0.02, 0.001, 0.04, p=0.02)
    assert (only([one]).strength, only([one]).page_p) == (Strength.SHOWN, 0.02)
    first, second, third = claims_of([one, gap("parent", 0.2, 0.1, 0.3, p=0.001), gap("shuffled", 0.0, -0.001, 0.001)])
    # Three tests: .06, .003, and the equivalence.
    assert (first.kind, first.strength, first.page_p) == ("above-item-mode", Strength.UNDETERMINED, pytest.approx(0.06))
    assert "not significant after correction over all comparisons shown (p = .060)" in word(first).sentence
    assert "A difference from the item-mode baseline is not certain" in word(first).sentence
    assert (second.strength, second.page_p) == (Strength.SHOWN, pytest.approx(0.003))
    assert (third.strength, third.page_p) == (Strength.WITHIN_MARGIN, pytest.approx(0, abs=1e-9))
    # An equivalence that holds alone (p = .025) but not among three.
    alone = gap("shuffled", 0.0, -0.02, 0.02)
    assert only([alone]).strength is Strength.WITHIN_MARGIN
    others = [gap("mode", 0.2, 0.1, 0.3, p=1e-6), gap("parent", 0.2, 0.1, 0.3, p=1e-6)]
    assert claims_of([alone, *others])[-1].strength is Strength.NOT_SHOWN


def test_margins_suit_the_metric():
    rows = {"accuracy": 0.02, "accuracy_expected": 0.02, "nmae": 0.01, "w1": 0.005, "rps": 0.002, "tv": 0.008, "jsd": 0.003}
    assert {metric: Thresholds().margin(metric) for metric in rows} == rows
    assert Thresholds(smallest_gap=0.03, margins={"rps": 0.004}).margin("accuracy") == 0.03
    assert Thresholds(smallest_gap=0.03, margins={"rps": 0.004}).margin("rps") == 0.004
    # A difference in RPS of .004 was negligible against .02.
    assert only([gap("mode", -0.004, -0.009, 0.001, metric="rps")], metric="rps").strength is Strength.UNDERPOWERED


def test_a_comparison_without_an_interval_cannot_be_judged():
    nothing = only([gap("mode", None, None, None, pairs=0)])
    bare = only([gap("mode", 0.02, None, None)])
    for claim in (nothing, bare):
        assert (claim.kind, claim.strength) == ("cannot-be-judged", Strength.UNDETERMINED)
    assert (nothing.estimate.value, bare.estimate.value, bare.estimate.pairs) == (None, 0.02, 3012)


def test_other_comparisons_make_claims_only_if_declared():
    exploratory = [gap("additive", 0.02, 0.01, 0.03), gap("mode", 0.2, 0.1, 0.3, by="stratum", key="sex")]
    assert claims_of(exploratory) == []
    within, other = claims_of([row | {"status": "declared"} for row in exploratory])
    assert (within.kind, within.by, within.key, within.estimate.value) == ("above-item-mode", "stratum", "sex", 0.2)
    assert (other.kind, other.against, other.by) == ("above", "additive", None)
    by_another = only([gap("mode", -0.02, -0.03, -0.01, metric="nmae", status="declared")])
    assert (by_another.kind, by_another.metric, by_another.estimate.value) == ("above-item-mode", "nmae", 0.02)


def test_baselines_are_compared_with_simpler_ones():
    found = claims_of([gap("mode", 0.02, 0.01, 0.03, run="parent"), gap("parent", -0.02, -0.03, -0.01, run="additive")])
    assert [(one.run, one.run_kind, one.kind) for one in found] == [
        ("parent", "baseline", "above-item-mode"),
        ("additive", "baseline", "below-nearest-parent"),
    ]


def test_a_control_of_another_model_supports_no_claim_about_the_persona():
    assert claims_of([gap("shuffled", 0.02, 0.01, 0.03)], runs=[run("m", {"name": "other"}), *RUNS[1:]]) == []


@pytest.mark.parametrize(
    ("relative", "low", "high", "kind"),
    [
        (0.5, 0.3, 0.7, None),
        (0.9, 0.8, 1.0, "at-the-ceiling"),
        (0.9, 0.8, 0.999, None),
        (0.5, -0.2, 1.2, "cannot-be-placed"),
        (1.4, 1.1, 1.7, "beyond-the-ceiling"),
    ],
)
def test_the_ceiling(relative, low, high, kind):
    found = claims_of(relative=[standing(relative, low, high)])
    assert kinds(found) == ([kind] if kind else [])
    if kind:
        claim = found[0]
        assert (claim.estimate.value, claim.estimate.low, claim.estimate.high) == (relative, low, high)
        baseline, bound = claim.figures
        assert (baseline.label, baseline.value, bound.label, bound.value) == ("parent", 0.8, "ceiling_oracle", 0.9)


def test_saturated_and_the_best_baseline_is_not_placed_against_itself():
    claim = only(relative=[standing(None, None, None, "saturated"), standing(0.0, -0.1, 1.1, run="parent")])
    assert (claim.run, claim.kind, claim.estimate.value, claim.against) == ("m", "saturated", 0.9, "parent")
    assert claims_of(relative=[standing(None, None, None, "no baseline", baseline=None, baseline_value=None, bound_value=None)]) == []


def test_strict_accuracy_uses_the_ceiling_of_expected_accuracy():
    claim = only(relative=[standing(0.9, 0.8, 1.1)], scores=[score(one.name, "accuracy") for one in RUNS], metric="accuracy")
    assert (claim.kind, claim.metric) == ("at-the-ceiling", "accuracy_expected")


def leaks(*rows):
    return LEAKAGE.frame(
        [{"pair_id": str(at), "scheme": scheme, "fold": fold, "shared_respondents": share} for at, (scheme, fold, share) in enumerate(rows)]
    )


def test_only_runs_trained_on_this_data_set_share_respondents():
    overlaps = {"tuned": Overlap("here"), "other survey": Overlap("elsewhere"), "imported": Overlap("unknown"), "m": Overlap("none")}
    names = ("tuned", "other survey", "imported")
    runs = [*RUNS, *(run(name, MODEL) for name in names), run("guess", {"name": "baseline:uniform", "provider": "baseline"})]
    found = claims_of(leakage=leaks(("paper", 0, 1.0), ("paper", 0, 0.5), ("other", 0, 0.1)), runs=runs, overlaps=overlaps)
    assert [(one.run, one.kind, one.estimate.value, one.estimate.pairs) for one in found] == [
        (name, "shared-respondents", 0.75, 2) for name in ("mode", "parent", "additive", "tuned")
    ]
    # A control has the training of the model inside.
    (claim,) = claims_of(leakage=leaks(("paper", 0, 0.5)), runs=[RUNS[1], *RUNS[2:3]], overlaps={"shuffled": Overlap("here")})[:1]
    assert (claim.run, claim.kind) == ("shuffled", "shared-respondents")
    summary = pl.DataFrame({"scheme": ["paper", "paper"], "shared_respondents": [1.0, 0.0], "pairs": [30, 10]})
    figure = claims_of(leakage=summary)[0].estimate
    assert (figure.value, figure.pairs) == (0.75, 40)


def test_no_shared_respondents_under_disjoint_or_without_leakage():
    assert claims_of(leakage=leaks(("paper", 0, 0.0))) == []
    disjoint = [score(one.name, scheme="paper+disjoint") for one in RUNS]
    assert claims_of(scores=disjoint, leakage=leaks(("paper", 0, 1.0), ("paper+disjoint", 0, 0.4))) == []


def test_the_train_part_is_no_test_for_runs_that_were_trained_here():
    for relation, expected in (("here", ["no-baseline", "not-a-test"]), ("none", ["no-baseline"]), ("unknown", ["no-baseline"])):
        found = claims_of(
            scores=[score("m", part="train")],
            leakage=leaks(("paper", 0, 1.0)),
            runs=[RUNS[0], RUNS[2]],
            overlaps={"m": Overlap(relation)},
        )
        assert kinds(found) == expected


def test_a_model_trained_on_the_pairs_it_is_scored_on():
    claim = only(overlaps={"m": Overlap("here", tested=0.25, pairs=40), "shuffled": Overlap("here", pairs=40)})
    assert (claim.kind, claim.estimate.value, claim.estimate.pairs) == ("taught-what-is-tested", 0.25, 40)
    assert claim.importance == 100


@pytest.mark.parametrize("low", [-0.03, -0.005, 0.02])
@pytest.mark.parametrize("voided", ["m", "shuffled"])
@pytest.mark.parametrize("overlap", [Overlap("here", tested=0.1), Overlap("here", halves="all")])
def test_comparisons_of_runs_trained_on_the_test_are_withheld(low, voided, overlap):
    rows = [gap("mode", low + 0.005, low, low + 0.01), gap("shuffled", low + 0.005, low, low + 0.01, metric="accuracy")]
    rows += [gap("shuffled", low + 0.005, low, low + 0.01)]
    found = claims_of(rows, relative=[standing(0.9, 0.85, 1.1)], overlaps={voided: overlap})
    flag = "taught-what-is-tested" if overlap.tested else "halves-not-disjoint"
    assert flag in kinds(found, voided)
    withheld = [claim for claim in found if claim.run == "m" and claim.kind == "cannot-be-judged"]
    assert [claim.against for claim in withheld] == (["mode", "shuffled"] if voided == "m" else ["shuffled"])
    for claim in withheld:
        assert claim.notes[:2] == ("trained-on", voided)
        assert (claim.estimate.value, claim.estimate.low, claim.strength) == (None, None, Strength.UNDETERMINED)
    # Only the model that was trained on the test loses its place between baseline and ceiling.
    assert ("at-the-ceiling" in kinds(found)) == (voided == "shuffled")


def test_coverage_below_the_threshold():
    scores = [score(one.name) for one in RUNS[1:]] + [score("m", coverage=0.61, pairs=1837)]
    claim = only(scores=scores)
    assert (claim.run, claim.kind, claim.estimate.value, claim.estimate.pairs) == ("m", "incomplete", 0.61, 1837)
    assert claim.figure("threshold").value == 0.95
    assert claims_of(scores=scores, thresholds=Thresholds(coverage=0.6)) == []


def test_responses_without_an_answer():
    rates = [score("m", "refusal_rate", 0.1), score("m", "invalid_rate", 0.08), score("shuffled", "refusal_rate", 0.05)]
    claim = only(scores=[*(score(one.name) for one in RUNS), *rates])
    assert (claim.run, claim.kind) == ("m", "unanswered")
    assert claim.estimate.value == pytest.approx(0.18)
    assert (claim.figure("refused").value, claim.figure("invalid").value) == (0.1, 0.08)


def test_a_score_without_a_baseline_cannot_be_judged():
    claim = only(runs=RUNS[:1])
    assert (claim.kind, claim.metric, claim.estimate.value, claim.notes) == ("no-baseline", "accuracy_expected", 0.8, ())
    guess = run("guess", {"name": "baseline:uniform", "provider": "baseline"})
    assert only(runs=[RUNS[0], guess]).notes == ("guess",)
    # A baseline on another split does not count.
    assert only(scores=[score("m"), score("mode", scheme="unseen-item")], runs=[RUNS[0], RUNS[2]]).kind == "no-baseline"


def answers(kit, rows):
    return kit.respond(
        [{"item": item, "subgroup": group, "answer": answer, "shown": shown, **more} for item, group, answer, shown, more in rows]
    )


def listed(at, *, orders=("scale", "reversed"), sizes=(3, 5), groups=10):
    """Answers at one place of every list shown: item of `size` options, each subgroup, each order."""
    rows = []
    for size in sizes:
        for g in range(groups):
            for order in orders:
                shown = list(range(1, size + 1))[:: 1 if order == "scale" else -1]
                rows.append((f"Q{size}", f"g{g}", shown[at], shown, {"order": order}))
    return rows


@pytest.mark.parametrize(("at", "place"), [(0, "first"), (-1, "last")])
def test_a_model_that_always_picks_the_same_position(kit, at, place):
    claim = only(runs=[run("m", MODEL, answers(kit, listed(at))), *RUNS[1:]])
    assert (claim.kind, claim.direction, claim.estimate.value, claim.estimate.pairs) == ("same-position", place, 1.0, 20)
    assert (claim.estimate.n, claim.figure("fewest options").n, claim.figure("most options").n) == (40, 3, 5)
    assert claim.notes == ()
    one_order = only(runs=[run("m", MODEL, answers(kit, listed(at, orders=("scale",)))), *RUNS[1:]])
    assert one_order.notes == ("one-order",)


def test_same_position_needs_lists_of_different_length_and_nearly_all_answers(kit):
    same_size = run("m", MODEL, answers(kit, listed(-1, sizes=(4,), groups=100)))
    middle = run("m", MODEL, answers(kit, listed(1)))
    rows = listed(0, groups=50)
    nearly = [(item, group, shown[1] if at < 2 else answer, shown, more) for at, (item, group, answer, shown, more) in enumerate(rows)]
    short = [(item, group, shown[1] if at < 3 else answer, shown, more) for at, (item, group, answer, shown, more) in enumerate(rows)]
    for model in (same_size, middle, run("m", MODEL, answers(kit, short))):
        assert claims_of(runs=[model, *RUNS[1:]]) == []
    # 198 of 200 is 99 %.
    assert kinds(claims_of(runs=[run("m", MODEL, answers(kit, nearly)), *RUNS[1:]])) == ["same-position"]


def test_the_same_answer_for_all_subgroups(kit):
    rows = [(f"Q{k}", f"g{g}", 2 + k % 2, [1, 2, 3, 4], {}) for k in range(4) for g in range(5)]
    model, still = run("m", MODEL, answers(kit, rows)), score("m", "spread_ratio", 0.0)
    scores = [*(score(one.name) for one in RUNS), still]
    claim = only(runs=[model, *RUNS[1:]], scores=scores)
    assert (claim.kind, claim.estimate.items, claim.estimate.pairs) == ("same-answer", 4, 20)
    # The respondents do not differ either.
    assert claims_of(runs=[model, *RUNS[1:]], scores=[*scores[:-1], still | {"value": None}]) == []
    # One nominal item answered differently for one subgroup, which the spread of ordinal items does not include.
    moved = [("Q0", "g5", 4, [1, 2, 3, 4], {}), *rows]
    assert claims_of(runs=[run("m", MODEL, answers(kit, moved)), *RUNS[1:]], scores=scores) == []


def test_an_answer_that_depends_on_the_order_only_is_the_same_for_all(kit):
    model = run("m", MODEL, answers(kit, listed(0, groups=5)))
    scores = [*(score(one.name) for one in RUNS), score("m", "spread_ratio", 0.0)]
    assert kinds(claims_of(runs=[model, *RUNS[1:]], scores=scores)) == ["same-position", "same-answer"]


def test_folds_are_used_pooled_if_possible():
    folds = [gap("mode", 0.02, 0.01, 0.03, fold=0), gap("mode", -0.02, -0.03, -0.01, fold=1)]
    pooled = only([*folds, gap("mode", 0.01, 0.001, 0.02)])
    assert (pooled.kind, pooled.fold) == ("above-item-mode", None)
    by_fold = [claim for claim in claims_of(folds, scores=[]) if claim.kind != "no-baseline"]
    assert [(one.fold, one.kind) for one in by_fold] == [(0, "above-item-mode"), (1, "below-item-mode")]


def test_bad_calls_are_named():
    with pytest.raises(UsageError, match="metric='bias': neither high nor low"):
        claims_of(metric="bias")
    with pytest.raises(InputDataError, match="'ghost', which was not given"):
        claims_of([gap("ghost", 0.1, 0.0, 0.2)])
    with pytest.raises(InputDataError, match="'shared_respondents' is missing"):
        claims_of(leakage=pl.DataFrame({"scheme": ["paper"]}))
    assert claims_of(scores=[], runs=[]) == []


finite = st.floats(-1, 1, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["mode", "parent", "shuffled"]), st.tuples(finite, finite, finite), st.sampled_from(["accuracy_expected", "nmae"]))
def test_each_comparison_makes_one_claim_that_agrees_with_its_interval(against, numbers, metric):
    low, middle, high = sorted(numbers)
    claim = only([gap(against, middle, low, high, metric=metric)], scores=[score(one.name, metric) for one in RUNS], metric=metric)
    better, worse = (low > 0, high < 0) if metric == "accuracy_expected" else (high < 0, low > 0)
    assert claim.direction == ("better" if better else "worse" if worse else None)
    assert (claim.strength is Strength.SHOWN) == (better or worse)
    assert claim.estimate.low <= claim.estimate.value <= claim.estimate.high


def test_every_kind_has_a_weight_and_is_documented():
    text = (DOCS / "verdicts.md").read_text()
    assert [kind for kind in CLOSED if f"`{kind}`" not in text] == []
    compared = {kind for outcomes in OUTCOMES.values() for kind in outcomes} | {"persona-adds"}
    assert set(CLOSED) == compared | (set(WEIGHTS) - set(OUTCOMES))
