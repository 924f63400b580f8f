"""Rules for claims about variance components: each from its figures and intervals."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.claims.claim import Claim, Strength
from valuestrata.claims.table import from_frame, to_frame
from valuestrata.claims.variance import AS_MUCH, comparison, variance_claims, variance_lines
from valuestrata.errors import InputDataError
from valuestrata.scores.variance.table import NOTHING_DRAWN, VARIANCE


def row(component, variance, low=None, high=None, share=(None, None, None), against=None, **more):
    where = {"run": "m", "elicitation": "text", "by": "all", "key": "all", "items": 24, "responses": 960, "missing": 0}
    shares = dict(zip(("share", "share_low", "share_high"), share, strict=True))
    figures = {"component": component, "against": against, "variance": variance, "ci_low": low, "ci_high": high}
    return where | figures | shares | more


def table(*rows):
    return VARIANCE.frame(list(rows))


PERSONA = row("persona", 0.02, 0.01, 0.03, (0.2, 0.1, 0.3))
ORDER = row("order", 0.06, 0.04, 0.08, (0.6, 0.5, 0.7))


def claims_of(*rows) -> dict[str, Claim]:
    found = variance_claims(table(*rows))
    assert from_frame(to_frame(found)) == found
    assert len({claim.kind for claim in found}) == len(found)
    return {claim.kind: claim for claim in found}


@pytest.mark.parametrize(
    ("difference", "ratio", "kind"),
    [
        ((0.04, 0.02, 0.06), (3.0, 1.5, 6.0), "more-than-persona"),
        ((-0.04, -0.06, -0.02), (0.3, 0.1, 0.6), "less-than-persona"),
        ((0.0, -0.01, 0.01), (1.0, 0.6, 1.7), "as-much-as-persona"),
        ((0.0, -0.01, 0.01), (1.0, 0.4, 1.7), "cannot-tell-from-persona"),
        ((0.04, None, None), (3.0, None, None), "cannot-tell-from-persona"),
    ],
)
def test_comparison_with_the_persona(difference, ratio, kind):
    claim = claims_of(PERSONA, ORDER, row("order", *difference, ratio, "persona"))[kind]
    assert (claim.by, claim.key, claim.against, claim.elicitation) == ("component", "order", "persona", "text")
    assert (claim.estimate.value, claim.estimate.low, claim.estimate.high, claim.estimate.items) == (*difference, 24)
    assert (claim.figure("first").value, claim.figure("second").value) == (0.06, 0.02)
    assert (claim.figure("ratio").value, claim.figure("ratio").low, claim.figure("ratio").high) == ratio
    assert (claim.strength is Strength.UNDETERMINED) == kind.startswith("cannot-tell")


def test_largest_source_and_persona():
    claims = claims_of(PERSONA, ORDER, row("order", 0.04, 0.02, 0.06, (3.0, 1.5, 6.0), "persona"))
    share = claims["largest"].figure("share")
    assert (claims["largest"].key, share.value, share.low, share.high) == ("order", 0.6, 0.5, 0.7)
    persona = claims["persona-moves"].estimate
    assert (persona.value, persona.low, persona.high, persona.items) == (0.02, 0.01, 0.03, 24)


def test_most_needs_an_interval_above_one_half():
    assert claims_of(PERSONA, row("order", 0.06, 0.04, 0.08, (0.6, 0.51, 0.7)))["most"].key == "order"
    assert claims_of(PERSONA, row("order", 0.06, share=(0.9, None, None)))["largest"].figure("share").low is None
    # A single component is all there is.
    assert "most" not in claims_of(row("sample", 0.06, 0.04, 0.08, (1.0, 1.0, 1.0)))


def test_a_persona_without_a_detected_effect():
    claims = claims_of(row("persona", 0.001, -0.001, 0.003, (0.1, 0.0, 0.3)), ORDER)
    assert claims["persona-unseen"].strength is Strength.NOT_SHOWN
    assert "persona-moves" not in claims


@pytest.mark.parametrize(("gold", "name"), [("gold", "people"), ("gold modes", "modes")])
@pytest.mark.parametrize(
    ("ends", "ratio", "kind"),
    [
        ((-0.02, -0.03, -0.01), (0.5, 0.3, 0.7), "less-than-{}"),
        ((0.02, 0.01, 0.03), (2.0, 1.3, 2.7), "more-than-{}"),
        ((0.0, -0.01, 0.01), (1.0, 0.8, 1.2), "as-much-as-{}"),
        ((0.0, -0.03, 0.03), (None,) * 3, "cannot-tell-from-{}"),
    ],
)
def test_comparison_with_respondents(gold, name, ends, ratio, kind):
    claim = claims_of(PERSONA, row(gold, 0.04, 0.03, 0.05), row("persona", *ends, ratio, gold))[kind.format(name)]
    assert (claim.key, claim.against, claim.figure("first").value, claim.figure("second").value) == ("persona", gold, 0.02, 0.04)


def test_joint_components():
    joint = "persona + persona x presentation"
    claims = claims_of(
        row("persona", None, note="one presentation only"),
        row(joint, 0.02, 0.01, 0.03, (0.4, 0.2, 0.5)),
        row("sample", 0.03, 0.02, 0.04, (0.6, 0.5, 0.8)),
        row("sample", 0.01, -0.01, 0.03, (1.5, 0.4, 3.0), joint),
    )
    assert claims["persona-moves"].key == joint
    assert claims["cannot-tell-from-persona"].against == joint
    assert claims["not-told"].notes == ("one presentation only",)
    # Together with sampling it is not an effect of the persona.
    mixed = "persona + persona x presentation + sample"
    claims = claims_of(row("persona", None, note="x"), row(mixed, 0.02, 0.01, 0.03, (1.0, 1.0, 1.0)), row("total", 0.02, 0.01, 0.03))
    assert set(claims) == {"not-told"}


def test_a_component_without_draws_is_not_unknown_and_a_negative_ratio_is_left_out():
    claims = claims_of(PERSONA, ORDER, row("template", None, note="one template only"), row("sample", None, note=NOTHING_DRAWN))
    assert claims["not-told"].key == "template"
    below = row("persona", -0.001, -0.003, 0.001, (0.0, 0.0, 0.1))
    claims = claims_of(below, row("gold", 0.02, 0.01, 0.03), row("persona", -0.021, -0.03, -0.01, (-0.05, -0.3, 0.1), "gold"))
    assert claims["less-than-people"].figure("ratio") is None


def test_only_rows_over_all_items_count_and_each_run_has_its_claims():
    other = [one | {"run": "n"} for one in (PERSONA, ORDER)]
    lines = variance_lines(table(PERSONA, ORDER, *other, row("persona", -1.0, -2.0, -0.5, by="topic", key="t")))
    assert lines["run"].to_list() == ["m", "m", "n", "n"]
    assert lines["value"].to_list() == [0.06, 0.02] * 2
    assert lines["component"].to_list() == ["order", "persona"] * 2


def test_an_incomplete_table_is_refused():
    with pytest.raises(InputDataError, match="the row of 'gold' over all items is missing"):
        variance_claims(table(PERSONA, row("persona", 0.0, -0.1, 0.1, against="gold")))
    with pytest.raises(InputDataError, match="the column 'elicitation'"):
        variance_claims(pl.DataFrame({"run": ["m"]}))


ends = st.floats(-1, 1).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 1)))
ratios = st.none() | st.floats(0, 5).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 10)))


@given(ends, ratios)
def test_a_comparison_follows_its_intervals(difference, ratio):
    low, high = ratio or (None, None)
    found = comparison({"ci_low": difference[0], "ci_high": difference[1], "share_low": low, "share_high": high})
    assert (found == "more") == (difference[0] > 0)
    assert (found == "less") == (difference[1] < 0)
    if found == "as-much":
        assert AS_MUCH[0] <= low <= high <= AS_MUCH[1]
