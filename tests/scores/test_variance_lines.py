"""What may be said of a variance table: every rule from its figures, and nothing that the intervals do not bear."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.claims.variance import AS_MUCH, RULES, standing, variance_lines
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


def said(*rows) -> dict[str, str]:
    lines = variance_lines(table(*rows))
    assert lines["rule"].is_unique().all()
    return dict(lines.select("rule", "line").iter_rows())


@pytest.mark.parametrize(
    ("difference", "ratio", "rule", "line"),
    [
        ((0.04, 0.02, 0.06), (3.0, 1.5, 6.0), "more-than-persona", "The order of the options moves the answer more than the persona"),
        ((-0.04, -0.06, -0.02), (0.3, 0.1, 0.6), "less-than-persona", "The persona moves the answer more than the order of the options"),
        (
            (0.0, -0.01, 0.01),
            (1.0, 0.6, 1.7),
            "as-much-as-persona",
            "The order of the options moves the answer about as much as the persona",
        ),
        (
            (0.0, -0.01, 0.01),
            (1.0, 0.4, 1.7),
            "cannot-tell-from-persona",
            "Whether the order of the options or the persona moves the answer more cannot be told",
        ),
        (
            (0.04, None, None),
            (3.0, None, None),
            "cannot-tell-from-persona",
            "Whether the order of the options or the persona moves the answer more cannot be told",
        ),
    ],
)
def test_the_order_beside_the_persona(difference, ratio, rule, line):
    lines = said(PERSONA, ORDER, row("order", *difference, ratio, "persona"))
    claim, _, figures = lines[rule].partition(": ")
    assert claim == line
    assert figures.startswith("variance .0600 against .0200, ")
    assert figures.endswith("24 items")


def test_a_line_holds_its_figures():
    lines = said(PERSONA, ORDER, row("order", 0.04, 0.02, 0.06, (3.0, 1.5, 6.0), "persona"))
    assert lines["more-than-persona"] == (
        "The order of the options moves the answer more than the persona: variance .0600 against .0200, 3.00 times "
        "(95\u00a0% interval 1.50 to 6.00); difference .0400 (95\u00a0% interval .0200 to .0600), 24 items"
    )
    assert lines["largest"] == (
        "Nothing is shown to be most of what moves the answer; the largest part is the order of the options: "
        "60\u00a0% of the variance within items, 95\u00a0% interval 50\u00a0% to 70\u00a0%"
    )
    assert lines["persona-moves"] == "The persona moves the answer: variance .0200 (95\u00a0% interval .0100 to .0300), 24 items"


def test_most_is_said_only_where_the_interval_of_the_share_says_so():
    surely = said(PERSONA, row("order", 0.06, 0.04, 0.08, (0.6, 0.51, 0.7)))
    assert surely["most"] == (
        "Most of what moves the answer is the order of the options: 60\u00a0% of the variance within items, "
        "95\u00a0% interval 51\u00a0% to 70\u00a0%"
    )
    without = said(PERSONA, row("order", 0.06, share=(0.9, None, None)))
    assert without["largest"].endswith("the order of the options: 90\u00a0% of the variance within items")
    # Where there is only one part it is all there is.
    assert "most" not in said(row("sample", 0.06, 0.04, 0.08, (1.0, 1.0, 1.0)))


def test_a_persona_that_is_not_seen_to_move_the_answer():
    lines = said(row("persona", 0.001, -0.001, 0.003, (0.1, 0.0, 0.3)), ORDER)
    assert lines["persona-unseen"].startswith("The persona is not seen to move the answer here: variance .0010")
    assert "persona-moves" not in lines


@pytest.mark.parametrize(
    ("gold", "words", "name"),
    [("gold", "people differ", "people"), ("gold modes", "people's commonest answers differ", "modes")],
)
@pytest.mark.parametrize(
    ("ends", "ratio", "rule", "claim"),
    [
        ((-0.02, -0.03, -0.01), (0.5, 0.3, 0.7), "less-than-{}", "The persona moves the answer less than {}"),
        ((0.02, 0.01, 0.03), (2.0, 1.3, 2.7), "more-than-{}", "The persona moves the answer more than {}"),
        ((0.0, -0.01, 0.01), (1.0, 0.8, 1.2), "as-much-as-{}", "The persona moves the answer about as much as {}"),
        (
            (0.0, -0.03, 0.03),
            (None,) * 3,
            "cannot-tell-from-{}",
            "Whether the persona moves the answer more or less than {} cannot be told",
        ),
    ],
)
def test_the_persona_beside_people(gold, words, name, ends, ratio, rule, claim):
    lines = said(PERSONA, row(gold, 0.04, 0.03, 0.05), row("persona", *ends, ratio, gold))
    assert lines[rule.format(name)].startswith(claim.format(words) + ": variance .0200 against .0400")


def test_a_joint_persona_is_called_what_it_is():
    joint = "persona + persona x presentation"
    lines = said(
        row("persona", None, note="one presentation only"),
        row(joint, 0.02, 0.01, 0.03, (0.4, 0.2, 0.5)),
        row("sample", 0.03, 0.02, 0.04, (0.6, 0.5, 0.8)),
        row("sample", 0.01, -0.01, 0.03, (1.5, 0.4, 3.0), joint),
    )
    assert lines["persona-moves"].startswith("The persona with the interplay of persona and presentation moves the answer: ")
    assert lines["cannot-tell-from-persona"].startswith("Whether chance at the same prompt or the persona with the interplay")
    assert lines["not-told"] == "What the persona explains is not known: one presentation only"


def test_a_persona_mixed_with_chance_is_no_persona():
    joint = "persona + persona x presentation + sample"
    lines = said(row("persona", None, note="x"), row(joint, 0.02, 0.01, 0.03, (1.0, 1.0, 1.0)), row("total", 0.02, 0.01, 0.03))
    assert set(lines) == {"not-told"}


def test_what_draws_nothing_is_not_said_to_be_unknown():
    lines = said(PERSONA, ORDER, row("template", None, note="one template only"), row("sample", None, note=NOTHING_DRAWN))
    assert lines["not-told"] == "What the template explains is not known: one template only"
    # A persona below nothing is no number of times anything.
    below = row("persona", -0.001, -0.003, 0.001, (0.0, 0.0, 0.1))
    beside = said(below, row("gold", 0.02, 0.01, 0.03), row("persona", -0.021, -0.03, -0.01, (-0.05, -0.3, 0.1), "gold"))
    assert "times" not in beside["less-than-people"]


def test_only_rows_over_all_items_speak_and_each_table_for_itself():
    other = [one | {"run": "n"} for one in (PERSONA, ORDER)]
    lines = variance_lines(table(PERSONA, ORDER, *other, row("persona", -1.0, -2.0, -0.5, by="topic", key="t")))
    assert lines["run"].to_list() == ["m", "m", "n", "n"]
    assert lines["value"].to_list() == [0.06, 0.02] * 2


def test_a_table_that_was_cut_is_refused():
    with pytest.raises(InputDataError, match="the row of 'gold' over all items is missing"):
        variance_lines(table(PERSONA, row("persona", 0.0, -0.1, 0.1, against="gold")))
    with pytest.raises(InputDataError, match="the column 'elicitation'"):
        variance_lines(pl.DataFrame({"run": ["m"]}))


ends = st.floats(-1, 1).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 1)))
ratios = st.none() | st.floats(0, 5).flatmap(lambda low: st.tuples(st.just(low), st.floats(low, 10)))


@given(ends, ratios)
def test_more_and_as_much_are_said_only_where_an_interval_bears_them(difference, ratio):
    low, high = ratio or (None, None)
    found = standing({"ci_low": difference[0], "ci_high": difference[1], "share_low": low, "share_high": high})
    assert found in RULES
    assert (found == "more") == (difference[0] > 0)
    assert (found == "less") == (difference[1] < 0)
    if found == "as-much":
        assert AS_MUCH[0] <= low <= high <= AS_MUCH[1]
