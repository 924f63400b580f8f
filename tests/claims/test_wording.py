"""Wording of claims about scores and variance components: the sentence of each kind, and details of some."""

import pytest

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.templates import FAMILIES, word

LOWER = Figure(metric="accuracy_expected", value=-0.032, low=-0.053, high=-0.011, pairs=1204)
HIGHER = Figure(metric="nmae", value=0.012, low=0.004, high=0.02, pairs=1204)
UNCLEAR = Figure(metric="accuracy_expected", value=0.004, low=-0.01, high=0.018, pairs=1204)
ENDS = (
    Figure(role="baseline", metric="accuracy_expected", label="parent", value=0.55),
    Figure(role="bound", metric="accuracy_expected", label="ceiling_oracle", value=0.812),
)
COUNTRY = Figure(role="country-only", metric="accuracy_expected", value=0.004, low=-0.01, high=0.018)
PLACE = Figure(metric="accuracy_expected", value=0.93, low=0.85, high=1.01)
SHARE = Figure(value=0.34, pairs=40)
VARIANCE = Figure(value=0.04, low=0.02, high=0.06, items=24)
BOTH = (Figure(role="first", value=0.06), Figure(role="second", value=0.02), Figure(role="ratio", value=3.0, low=1.5, high=6.0))
AWAY = "expected accuracy 3.2 points lower (95 % CI 1.1 to 5.3)"
NEAR = "expected accuracy 0.4 points higher (95 % CI −1.0 to 1.8)"
WAY = "93 % of the way between parent (55.0 %) and the noise ceiling (81.2 %) in expected accuracy (95 % CI 85 % to 101 %)"
RATIO = "ratio of variances 3.00 (95 % CI 1.50 to 6.00)"

CALIBRATED = (Figure(role="method", label="hybrid"), Figure(role="model", label="raw"))

CLOSED = {
    "no-baseline": (
        {"estimate": Figure(metric="accuracy_expected", value=0.612)},
        "Expected accuracy of 61.2 % cannot be judged without an item-mode or nearest-parent baseline",
    ),
    "below-item-mode": ({"estimate": LOWER}, f"Less accurate than the item-mode baseline: {AWAY}"),
    "level-with-item-mode": ({"estimate": UNCLEAR}, f"The data do not show a difference from the item-mode baseline: {NEAR}"),
    "above-item-mode": ({"estimate": HIGHER}, "Better than the item-mode baseline: NMAE .012 lower (95 % CI .004 to .020)"),
    "below-nearest-parent": ({"estimate": LOWER}, f"Less accurate than the nearest-parent baseline: {AWAY}"),
    "level-with-nearest-parent": (
        {"estimate": UNCLEAR, "strength": Strength.UNDERPOWERED},
        f"Too little data to detect a difference from the nearest-parent baseline: {NEAR}",
    ),
    "above-nearest-parent": ({"estimate": HIGHER}, "Better than the nearest-parent baseline: NMAE .012 lower (95 % CI .004 to .020)"),
    "right-persona-level": (
        {"estimate": UNCLEAR},
        f"The data do not show a difference between the right persona and a wrong one: {NEAR}; "
        "no control without a persona was asked, so whether personas add to the score is unknown",
    ),
    "right-persona-worse": (
        {"estimate": LOWER, "direction": "worse", "notes": ("country-only: open",), "figures": (COUNTRY,)},
        f"Worse with the right persona than with a wrong one: {AWAY}; not shown to be better or worse than with the country alone ({NEAR})",
    ),
    "right-persona-better": (
        {"estimate": HIGHER, "direction": "better", "strength": Strength.UNDETERMINED, "notes": ("not-over-screen",), "page_p": 0.06},
        "A difference between the right persona and a wrong one is not certain: NMAE .012 lower (95 % CI .004 to .020); not significant "
        "after correction over all comparisons shown (p = .060); "
        "no control without a persona was asked, so whether personas add to the score is unknown",
    ),
    "persona-adds": (
        {
            "estimate": HIGHER,
            "direction": "better",
            "notes": ("no-persona: better",),
            "figures": (Figure(role="no-persona", metric="nmae", value=0.03, low=0.02, high=0.04),),
        },
        "Personas add to the score: better with the right persona than with a wrong one: NMAE .012 lower (95 % CI .004 to .020); "
        "better than with no persona (NMAE .030 lower (95 % CI .020 to .040))",
    ),
    **{
        f"with-persona-{end}": (
            {
                "estimate": figure,
                "direction": direction,
                "notes": ("no-wrong-persona",),
                "figures": (Figure(role="control", label="no-persona"),),
            },
            f"{words} ({difference}); no wrong persona was asked, so any persona may do as well",
        )
        for end, figure, direction, words, difference in (
            ("worse", LOWER, "worse", "Worse than with no persona", AWAY),
            ("level", UNCLEAR, None, "Not shown to be better or worse than with no persona", NEAR),
            ("better", HIGHER, "better", "Better than with no persona", "NMAE .012 lower (95 % CI .004 to .020)"),
        )
    },
    **{
        kind: (
            {"estimate": figure, "figures": (*CALIBRATED, Figure(role="rival", label="item-text=m2", low=0.001))},
            f"Calibrated by hybrid, raw {words} item-text, the best method without a model: {difference}",
        )
        for kind, figure, words, difference in (
            ("model-adds", HIGHER, "adds to", "NMAE .012 lower (95 % CI .004 to .020)"),
            ("model-level", UNCLEAR, "is not shown to add to", NEAR),
            ("model-below", LOWER, "is worse than", AWAY),
        )
    },
    **{
        f"calibration-{end}": ({"estimate": figure}, f"{words} the same answers before calibration: {difference}")
        for end, figure, words, difference in (
            ("worse", LOWER, "Less accurate than", AWAY),
            ("level", UNCLEAR, "The data do not show a difference from", NEAR),
            ("better", HIGHER, "Better than", "NMAE .012 lower (95 % CI .004 to .020)"),
        )
    },
    "below": (
        {"estimate": LOWER, "by": "stratum", "key": "sex", "figures": (Figure(role="coverage", value=0.5),)},
        f"Less accurate than m2 (in stratum sex): {AWAY}; based on only 50 % of the pairs",
    ),
    "level": ({"estimate": UNCLEAR}, f"The data do not show a difference from m2: {NEAR}"),
    "above": (
        {"estimate": Figure(metric="w1", value=0.02, low=0.001, high=0.04, p_adjusted=0.08), "notes": ("not-after-correction",)},
        "Better than m2: W1 .020 lower (95 % CI .001 to .040); not significant after correction for multiple tests (p = .080)",
    ),
    "cannot-be-judged": (
        {"estimate": Figure(metric="accuracy", value=0.02)},
        "The comparison with m2 has no interval, so it is inconclusive: accuracy 2.0 points higher (no interval)",
    ),
    "saturated": (
        {"estimate": PLACE, "figures": ENDS},
        "The remaining gap between parent (55.0 %) and the noise ceiling (81.2 %) is within sampling noise in expected accuracy",
    ),
    "at-the-ceiling": ({"estimate": PLACE, "figures": ENDS}, f"At the limit that sampling noise sets: {WAY}"),
    "beyond-the-ceiling": (
        {"estimate": PLACE, "figures": ENDS},
        f"Better than sampling noise allows, so the model may have seen the test answers: {WAY}",
    ),
    "cannot-be-placed": (
        {"estimate": PLACE, "figures": ENDS},
        f"Too imprecise to place between the best cheap baseline and the noise limit: {WAY}",
    ),
    "halves-not-disjoint": (
        {"notes": ("all respondents, including those scored",)},
        "Training and test respondents are not disjoint: the model was trained on all respondents, including those scored",
    ),
    "taught-what-is-tested": (
        {"estimate": SHARE},
        "The model was trained on 34 % of the pairs it is scored on, so the score does not measure generalisation",
    ),
    "shared-respondents": (
        {"estimate": SHARE},
        "Train and test share respondents: on average, 34 % of a test pair's respondents also count in a training pair of its item",
    ),
    "not-a-test": ({"part": "train"}, "The train part is not a test set: models and baselines are trained on its pairs"),
    "incomplete": (
        {"estimate": Figure(value=0.997), "figures": (Figure(role="threshold", value=0.999),)},
        "Only 99.7 % of the pairs were asked (at least 99.9 % is needed), so the score may not represent this part of the split",
    ),
    "unanswered": (
        {"estimate": Figure(value=0.18), "figures": (Figure(role="refused", value=0.1), Figure(role="invalid", value=0.08))},
        "18 % of the responses contain no answer and count as wrong (10 % refused, 8 % invalid or failed)",
    ),
    "same-position": (
        {
            "estimate": Figure(value=0.99, n=40),
            "direction": "first",
            "figures": (Figure(role="fewest options", n=3), Figure(role="most options", n=5)),
        },
        "Picks the first option in the list in 99 % of 40 answers, whatever the question (items with 3 to 5 options)",
    ),
    "same-answer": (
        {"estimate": Figure(items=4)},
        "Gives every subgroup the same answer on all 4 items, although real subgroups differ",
    ),
}
ORDER = {"estimate": VARIANCE, "key": "order", "against": "persona", "figures": BOTH}
PERSONA = {"estimate": VARIANCE, "key": "persona", "figures": BOTH}
PART = {"estimate": VARIANCE, "key": "order", "figures": (Figure(role="share", value=0.6, low=0.51, high=0.7),)}
MEANS, MODES = "the mean answers of real subgroups", "the most common answers of real subgroups"
COMPARED = {
    "more": "The persona changes the answers more than {} differ",
    "less": "The persona changes the answers less than {} differ",
    "as-much": "The persona changes the answers about as much as {} differ",
    "cannot-tell": "The data do not show whether the persona changes the answers more or less than {} differ",
}
VARIANCES = {
    "most": (PART, "Most of the variance within items comes from the order of the options: 60 % (95 % CI 51 % to 70 %)"),
    "largest": (
        PART,
        "The largest source of variance within items is the order of the options: 60 % (95 % CI 51 % to 70 %); no source is shown to "
        "exceed half",
    ),
    "persona-moves": (PERSONA, "The persona changes the answers: variance .0400 (95 % CI .0200 to .0600)"),
    "persona-unseen": (PERSONA, "The data do not show that the persona changes the answers: variance .0400 (95 % CI .0200 to .0600)"),
    "more-than-persona": (ORDER, f"The order of the options changes the answers more than the persona: {RATIO}"),
    "less-than-persona": (ORDER, f"The persona changes the answers more than the order of the options: {RATIO}"),
    "as-much-as-persona": (ORDER, f"The order of the options changes the answers about as much as the persona: {RATIO}"),
    "cannot-tell-from-persona": (
        ORDER,
        f"The data do not show whether the order of the options or the persona changes the answers more: {RATIO}",
    ),
    **{
        f"{outcome}-{link}-{other}": ({**PERSONA, "against": gold}, f"{COMPARED[outcome].format(people)}: {RATIO}")
        for other, gold, people in (("people", "gold", MEANS), ("modes", "gold modes", MODES))
        for outcome, link in (("more", "than"), ("less", "than"), ("as-much", "as"), ("cannot-tell", "from"))
    },
    "not-told": (
        {"key": "template", "notes": ("one template only",)},
        "The variance due to the template is unknown: one template only",
    ),
}
ALL = [("closed", kind, *case) for kind, case in CLOSED.items()] + [("variance", kind, *case) for kind, case in VARIANCES.items()]


@pytest.mark.parametrize(("family", "kind", "fields", "sentence"), ALL, ids=[f"{family}-{kind}" for family, kind, *_ in ALL])
def test_sentence(family, kind, fields, sentence):
    defaults = {"against": "m2", "strength": Strength.NOT_SHOWN if "level" in kind or kind.endswith("nothing") else Strength.SHOWN}
    if family == "variance":
        defaults = {"by": "component"}
    worded = word(Claim(family=family, kind=kind, run="m", **(defaults | fields)))
    assert worded.sentence.replace("\u00a0", " ") == f"{sentence}."


def test_every_kind_is_tested():
    assert set(FAMILIES["closed"]) == set(CLOSED)
    assert set(FAMILIES["variance"]) == set(VARIANCES)


def test_details_of_an_undetected_difference():
    estimate = Figure(metric="accuracy", value=0.004, low=-0.01, high=0.018, p=0.2, p_adjusted=0.4, pairs=1204, expected=0.001)
    claim = Claim(
        family="closed",
        kind="level",
        run="m",
        against="m2",
        estimate=estimate,
        figures=(Figure(role="detectable", metric="accuracy", value=0.031),),
        strength=Strength.UNDERPOWERED,
        correction="holm",
        tests=4,
        status="declared",
    )
    assert [line.replace("\u00a0", " ") for line in word(claim).details] == [
        "Compared with m2.",
        "Only a difference of 3.1 points or more would be detected (80 % power).",
        "This does not show equality.",
        "Based on 1,204 pairs.",
        "p = .400 corrected for 4 tests (Holm); uncorrected p = .200.",
        "Expected under no effect: 0.1 points.",
        "Declared in advance.",
    ]


def test_a_ratio_without_an_interval_is_replaced_by_the_difference():
    claim = Claim(family="variance", kind="more-than-persona", run="m", by="component", **{**ORDER, "figures": ()})
    assert word(claim).sentence.replace("\u00a0", " ").endswith(": difference in variance .0400 (95 % CI .0200 to .0600).")
