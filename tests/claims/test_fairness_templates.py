"""Sentences of the claims of an audit."""

from __future__ import annotations

import pytest

from tests.fairness.claim_rows import NOTHING_LEFT, change, claims_of, gap, group, moved, one, quiet, row, spreads
from valuestrata.claims.fairness.subject import RULES
from valuestrata.claims.select import merged
from valuestrata.claims.templates import FAMILIES, word
from valuestrata.claims.wording import Names

NBSP = "\u00a0"


def test_every_kind_has_a_template():
    assert set(FAMILIES["fairness"]) == set(RULES)


NOT_SHOWN = {"p_holm": 0.6, "excess_p_holm": 0.6, "adjusted_p_holm": 0.6}
PARETO = "better for some, worse for none: 3 gained, 0 lost, 1 not shown, of 4 subgroups"
SPREADS = [moved("sd", 0.02, 0.01, "x"), moved("cv", 0.2, 0.1, "x"), moved("variance_corrected", 4e-4, 1e-4, "x")]


@pytest.mark.parametrize(
    ("tables", "kind", "sentence"),
    [
        (
            {},
            "differ",
            "The subgroups differ beyond noise in accuracy: standard deviation without noise 5.0 points (95 % CI 2.0 to "
            "8.0; noise alone gives 1.0 points on average).",
        ),
        (
            {"disparity": spreads(p=0.5)},
            "alike",
            "No difference between the subgroups beyond noise was detected in accuracy (this does not show equality): "
            "standard deviation without noise 5.0 points (95 % CI 2.0 to 8.0; noise alone gives 1.0 points on average).",
        ),
        (
            {"groups": [group("s1"), quiet("s2")]},
            "served-worse",
            "Women of 40 is served worse than the rest: accuracy 40.0 % (95 % CI 30.0 % to 50.0 %), 20.0 points worse than "
            "the rest of its stratum.",
        ),
        (
            {"groups": [quiet(refusal_rate=0.3, invalid_rate=0.1)]},
            "mostly-missing",
            "40 % of the answers are missing (30 % refused, 10 % unreadable or failed) and count as wrong, so gaps reflect "
            "non-response as well as accuracy.",
        ),
        (
            {"gaps": [gap()]},
            "gap-remains",
            "Better for Female than for Male (sex): accuracy 10.0 points (95 % CI 4.0 to 16.0); the gap remains relative "
            "to the baseline and at equal difficulty.",
        ),
        (
            {"gaps": [gap(**NOTHING_LEFT)]},
            "gap-explained",
            "Better for Female than for Male (sex): accuracy 10.0 points (95 % CI 4.0 to 16.0); the baseline's gap or "
            "difficulty may explain it.",
        ),
        (
            {"gaps": [gap(**NOT_SHOWN)]},
            "no-gap-shown",
            "No gap between levels of sex beyond noise was detected in accuracy (this does not show equality); the largest "
            "is Female − Male, 10.0 points (95 % CI 4.0 to 16.0; noise alone gives 2.4 points on average).",
        ),
        ({"changes": [change()]}, "better", "Better than before over all pairs: accuracy 20.0 points better (95 % CI 15.0 to 25.0)."),
        (
            {"changes": [change(), moved("max_min", 0.2, 0.1, pareto=PARETO)]},
            "better-for-some",
            "Compared with before, accuracy is better for some subgroups and worse for none: 0 improved, 0 worsened, 0 undetermined of 0.",
        ),
        (
            {"changes": [change(), *SPREADS]},
            "spread-narrower",
            "Compared with before, the subgroups are closer together: accuracy standard deviation .020 before, .010 after; "
            "CV .200 before, .100 after.",
        ),
        (
            {
                "errs": [
                    row(
                        attribute="sex",
                        word="flattened",
                        raw=0.8,
                        raw_low=0.6,
                        raw_high=1.0,
                        corrected=0.6,
                        corrected_low=0.4,
                        corrected_high=0.8,
                        pairs=300,
                    )
                ]
            },
            "flattened",
            "Answers differ less between levels of sex than people do: spread ratio without noise .600 (95 % CI .400 to "
            ".800; 1 means as much as people).",
        ),
    ],
)
def test_sentences(tables, kind, sentence):
    worded = word(one(claims_of(**tables), kind), Names(keys={"s1": "Women of 40"}))
    assert worded.sentence.replace(NBSP, " ") == sentence


def test_details_hold_what_the_sentence_leaves_out():
    details = " ".join(word(one(claims_of(gaps=[gap()]), "gap-remains")).details).replace(NBSP, " ")
    assert "Relative to the baseline: 9.0 points remain (95 % CI 3.0 to 15.0)." in details
    assert "With the other attributes held: 10.0 points remain" in details
    assert "At equal difficulty: 8.0 points remain (95 % CI 2.0 to 14.0)." in details
    assert "90 items, 1,800 pairs" in details
    assert "p = .010 corrected for 1 test (Holm)" in details
    assert "Expected under no effect: 2.4 points" in details


def test_one_finding_in_two_metrics_is_one_sentence():
    both = [gap(), gap(metric="nmae", **dict.fromkeys(("gap", "excess", "held", "adjusted"), -0.1), ci_low=-0.16, ci_high=-0.04)]
    both[1] |= {f"{name}_{end}": value for name in ("excess", "held", "adjusted") for end, value in (("low", -0.16), ("high", -0.04))}
    claims = claims_of(groups=[quiet(), quiet(metric="nmae")], disparity=[*spreads(), *spreads(metric="nmae")], gaps=both)
    claim = one(merged(claims), "gap-remains")
    assert claim.metrics == ("accuracy", "nmae")
    worded = word(claim)
    assert worded.sentence.endswith("; the same holds for NMAE.")
    assert any(line.startswith("Also NMAE .100 better") for line in worded.details)
