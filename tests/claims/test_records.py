"""Claim records: importance, selection, the table and the outputs of a worded claim."""

import json

import polars as pl
import pytest

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.claims.select import MOST_CLAIMS, merged, select
from valuestrata.claims.table import CLAIMS, from_frame, to_frame
from valuestrata.claims.templates import as_json, word
from valuestrata.claims.wording import Names


def below(metric="accuracy_expected", run="m", value=-0.032, importance=50, **fields) -> Claim:
    estimate = Figure(metric=metric, value=value, low=value - 0.021, high=value + 0.021, pairs=1204)
    return Claim(
        **{"family": "closed", "kind": "below-item-mode", "direction": "worse", "against": "mode", "status": "declared", **fields},
        run=run,
        scheme="paper",
        part="test",
        estimate=estimate,
        importance=importance,
    )


def test_importance_grows_with_weight_strength_and_effect():
    assert importance(80, Strength.SHOWN) == 80
    assert importance(80, Strength.SHOWN, 0.0) == 64
    assert importance(80, Strength.SHOWN, -0.05) == 72
    assert importance(80, Strength.SHOWN, 0.9) == 80
    assert [importance(100, one) for one in Strength] == [100, 90, 75, 60, 70]


def test_one_finding_in_two_metrics_is_one_claim():
    first, *others = merged([below(), below("nmae", importance=60), below("w1", kind="above-item-mode", direction="better")])
    assert first.metrics == ("accuracy_expected", "nmae")
    assert first.importance == 60
    assert [one.metrics for one in others] == [("w1",)]
    assert len(merged([below(against="mode"), below(against="other")])) == 2


def test_at_most_five_claims_per_run_and_none_of_baselines():
    many = [below(against=f"b{n}", importance=n) for n in range(8)]
    base = [below(run="mode", run_kind="baseline")]
    model, baseline = select([*base, *many])[::-1]
    assert [one.importance for one in model.shown] == [7, 6, 5, 4, 3]
    assert len(model.shown) == MOST_CLAIMS
    assert [one.importance for one in model.rest] == [2, 1, 0]
    assert baseline.shown == ()
    assert len(baseline.rest) == 1
    assert len(select(base, baselines=True)[0].shown) == 1
    assert len(select(many, most=None)[0].shown) == 8


def test_a_claim_comes_back_from_its_table():
    whole = below(
        fold=2,
        by="stratum",
        key="sex_x_age",
        correction="holm",
        tests=4,
        notes=("a", "b"),
        figures=(Figure(role="coverage", value=0.4),),
        also=(Figure(metric="nmae", value=-0.01, p=0.2),),
        strength=Strength.UNDERPOWERED,
    )
    frame = to_frame([whole, below()])
    assert frame.columns == list(CLAIMS.columns)
    assert from_frame(frame) == [whole, below()]
    assert frame["verdict"][1] == "Less accurate than the item-mode baseline: expected accuracy 3.2 points lower (95\u00a0% CI 1.1 to 5.3)."
    assert to_frame([]).schema == frame.schema
    corrected = Claim(**{**vars(below()), "estimate": Figure(p=0.01, p_adjusted=0.04), "correction": "holm"})
    row = to_frame([corrected])
    assert row.select("p", "p_unadjusted").row(0) == (0.04, 0.01)
    assert from_frame(row) == [corrected]


def test_outputs_of_a_worded_claim():
    claim = below(fold=1, against="my_mode", kind="below", also=(Figure(metric="nmae", value=-0.012, low=-0.02, high=-0.004),))
    worded = word(claim, Names(runs={"my_mode": "my <mode>"}))
    assert worded.sentence == (
        "Fold 1: Less accurate than my <mode>: expected accuracy 3.2 points lower (95\u00a0% CI 1.1 to 5.3); the same holds for NMAE."
    )
    assert worded.details == (
        "Compared with my <mode>.",
        "Based on 1,204 pairs.",
        "Also NMAE .012 higher (95\u00a0% CI .004 to .020).",
        "Declared in advance.",
    )
    document = json.loads(json.dumps(as_json(claim)))
    assert document["estimate"]["value"] == pytest.approx(-0.032)
    assert document["also"][0]["metric"] == "nmae"
    assert "key" not in document


def test_a_frame_without_the_fields_is_refused():
    with pytest.raises(Exception, match="claims"):
        from_frame(pl.DataFrame({"run": ["m"]}))
