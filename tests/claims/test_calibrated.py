"""What the model of a calibrated run adds to the best method without a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from valuestrata.claims.claim import Claim, Strength
from valuestrata.claims.closed import closed_claims
from valuestrata.claims.select import select
from valuestrata.claims.table import from_frame, to_frame
from valuestrata.claims.templates import word
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.plan import standard_comparisons
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES

MODEL = {"name": "embedded", "provider": "transformers"}
NO_PERSONA = {"name": "control:no-persona@embedded", "provider": "control", "control": "no-persona", "of": MODEL}
SHUFFLED = {"name": "control:shuffled-persona@embedded", "provider": "control", "control": "shuffled-persona", "of": MODEL}


def run(name: str, respondent: dict[str, Any]) -> Any:
    return SimpleNamespace(name=name, meta={"respondent": respondent}, responses=RESPONSES.empty())


def calibrated(name: str, of: dict[str, Any] = MODEL, method: str = "hybrid", control: str | None = None) -> Any:
    document = {"name": name, "provider": "calibrated", "method": method, "of": of}
    return run(name, document if control is None else document | {"control": control})


HYBRID, RAW = calibrated("hybrid"), run("raw", MODEL)
NO_MODEL = calibrated("without", control="no-model")
SCRAMBLED = calibrated("scrambled", control="shuffled-answers")
TEXT = run("baseline-item-text", {"name": "baseline:item-text", "provider": "baseline"})
MEAN = run("baseline-item-mode", {"name": "baseline:item-mode", "provider": "baseline"})
NO_ONE, WRONG_ONE = calibrated("no-one", NO_PERSONA), calibrated("wrong-one", SHUFFLED)
RUNS = [HYBRID, RAW, NO_MODEL, SCRAMBLED, NO_ONE, WRONG_ONE, TEXT, MEAN]


def gap(against: str, gain: float, half: float, metric: str = "w1", **more: Any) -> dict[str, Any]:
    """A comparison of the calibrated run by W1, whose gain is a lower distance."""
    value = -gain if metric == "w1" else gain
    row = {"run": "hybrid", "against": against, "scheme": "unseen-item", "part": "test", "by": "all", "key": "all", "metric": metric}
    ends = {"difference": value, "ci_low": value - half, "ci_high": value + half, "se": half / 1.96}
    return row | ends | {"status": "exploratory", "pairs": 3000, "coverage": 1.0} | more


def claims_of(*rows: dict[str, Any], runs: list[Any] = RUNS, metric: str = "w1") -> list[Claim]:
    plain = {"scheme": "unseen-item", "part": "test", "by": "all", "key": "all", "metric": metric, "value": 0.1, "coverage": 1.0}
    scores = SCORES.frame([{"run": one.name, **plain} for one in runs])
    found = closed_claims(scores, COMPARISONS.frame(list(rows)), RELATIVE.empty(), LEAKAGE.empty(), runs, metric=metric)
    assert from_frame(to_frame(found)) == found
    return [claim for claim in found if claim.run == "hybrid"]


def added(*rows: dict[str, Any], **more: Any) -> Claim:
    (claim,) = [claim for claim in claims_of(*rows, **more) if claim.kind.startswith("model-")]
    return claim


def test_the_model_adds_if_every_method_without_a_model_is_beaten():
    claim = added(gap(TEXT.name, 0.021, 0.009), gap(MEAN.name, 0.05, 0.01), gap("without", 0.03, 0.01), gap("scrambled", 0.03, 0.01))
    assert (claim.kind, claim.against, claim.direction, claim.strength) == ("model-adds", TEXT.name, "better", Strength.SHOWN)
    assert claim.estimate.value == pytest.approx(0.021)
    assert (claim.estimate.low, claim.estimate.high) == (pytest.approx(0.012), pytest.approx(0.03))
    worded = word(claim)
    assert worded.sentence.startswith(
        "Calibrated by hybrid, raw adds to item-text, the best method without a model: W1 .021 lower (95\u00a0% CI .012 to .030)"
    )
    assert "the same method with the model's answers shuffled among items W1 .030 lower" in worded.details[0]


def test_the_p_value_is_the_largest_of_all_methods_and_is_corrected_over_the_screen():
    # The gain over item-mode is larger but less certain.
    rows = (gap(TEXT.name, 0.02, 0.005), gap(MEAN.name, 0.03, 0.0295), gap("without", 0.03, 0.01))
    claim = added(*rows)
    assert claim.estimate.p == pytest.approx(2 * 0.02312, rel=0.01)
    # Two tests: this claim, and the comparison with item-mode.
    assert claim.page_p == pytest.approx(2 * claim.estimate.p)
    assert claim.strength is Strength.UNDETERMINED
    assert "is not certain to add to item-text" in word(claim).sentence


def test_it_is_not_shown_to_add_if_one_method_is_not_beaten():
    claim = added(gap(TEXT.name, 0.02, 0.005), gap(MEAN.name, 0.03, 0.04), gap("without", 0.03, 0.01))
    assert (claim.kind, claim.against, claim.direction) == ("model-level", TEXT.name, None)
    assert word(claim).sentence.endswith("no difference is shown from item-mode.")


def test_without_the_control_no_model_nothing_is_shown_to_be_added():
    claim = added(gap(TEXT.name, 0.021, 0.009), gap("scrambled", 0.03, 0.01))
    assert (claim.kind, claim.strength) == ("model-adds", Strength.UNDETERMINED)
    assert "the control `no-model` was not scored" in word(claim).sentence


def test_a_useless_model_adds_nothing_to_within_the_margin():
    claim = added(gap(TEXT.name, 0.0005, 0.002), gap("without", 0.0, 0.001))
    assert (claim.kind, claim.against, claim.strength) == ("model-level", "without", Strength.WITHIN_MARGIN)
    expected = (
        "raw adds nothing beyond the same method without the model's answers, the best method without a model, to within .005: W1 .000"
    )
    assert expected in word(claim).sentence
    # Far better than one of them, but equal to another: still nothing is added.
    assert added(gap(TEXT.name, 0.1, 0.01), gap("without", 0.0, 0.001)).strength is Strength.WITHIN_MARGIN
    # Equal to one of them, and perhaps worse than another.
    assert added(gap(TEXT.name, -0.006, 0.007), gap("without", 0.0, 0.001)).strength is not Strength.WITHIN_MARGIN


def test_worse_than_the_best_method_counts_all_methods():
    rows = (gap(TEXT.name, -0.02, 0.0195), gap("without", 0.03, 0.01))
    claim = added(*rows)
    # p = .044 alone; with two methods to choose from it is no finding.
    assert (claim.kind, claim.strength) == ("model-level", Strength.UNDERPOWERED)
    certain = added(gap(TEXT.name, -0.02, 0.008), gap("without", 0.03, 0.01))
    assert (certain.kind, certain.against, certain.direction, certain.strength) == ("model-below", TEXT.name, "worse", Strength.SHOWN)
    assert "raw is worse than item-text, the best method without a model: W1 .020 higher" in word(certain).sentence


def test_there_is_a_claim_by_each_metric_and_those_that_agree_are_shown_as_one():
    rows = [gap(name, 0.02, 0.005, metric) for metric in ("accuracy_expected", "w1") for name in (TEXT.name, "without")]
    found = [one for one in claims_of(*rows, metric="accuracy_expected") if one.kind == "model-adds"]
    assert [claim.metric for claim in found] == ["accuracy_expected", "w1"]
    (shown,) = select(found)[0].shown
    assert shown.metrics == ("accuracy_expected", "w1")


def test_a_calibrated_run_is_compared_with_its_source_and_with_other_personas():
    pairs = standard_comparisons(RUNS)
    others = {against for name, against in pairs if name == "hybrid"}
    assert others == {"raw", "without", "scrambled", "no-one", "wrong-one", TEXT.name, MEAN.name}
    rows = (gap(TEXT.name, 0.021, 0.004), gap("without", 0.03, 0.004), gap("raw", 0.05, 0.01), gap("no-one", 0.004, 0.002))
    found = {claim.kind: claim for claim in claims_of(*rows, gap("wrong-one", 0.01, 0.002))}
    assert found["calibration-better"].against == "raw"
    assert word(found["calibration-better"]).sentence.startswith("Better than the same answers before calibration: W1 .050 lower")
    assert (found["persona-adds"].against, found["persona-adds"].strength) == ("wrong-one", Strength.SHOWN)
    details = " ".join(word(found["model-adds"]).details)
    assert "what the personas contribute: W1 .004 lower" in details
    assert "than the same calibration with shuffled personas" in details


def test_controls_and_uncalibrated_runs_make_no_such_claim():
    rows = COMPARISONS.frame([gap("without", 0.03, 0.01), gap(TEXT.name, 0.03, 0.01)])
    for name in ("raw", "no-one", "without"):
        own = rows.with_columns(run=pl.lit(name)).filter(pl.col("against") != name)
        found = closed_claims(SCORES.empty(), own, RELATIVE.empty(), LEAKAGE.empty(), RUNS, metric="w1")
        assert not [claim for claim in found if claim.kind.startswith("model-")]


def test_the_claim_is_on_the_first_screen_whatever_it_finds():
    rows = [gap(name, 0.0, 0.02) for name in (TEXT.name, "without", "scrambled")]
    rows += [gap(MEAN.name, 0.001, 0.001), gap("raw", 0.1, 0.01), gap("no-one", 0.0, 0.001), gap("wrong-one", 0.0, 0.001)]
    assert "model-level" in [claim.kind for claim in select(claims_of(*rows))[0].shown[:2]]
