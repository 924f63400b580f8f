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

RATIO = {"raw": 0.8, "raw_low": 0.6, "raw_high": 1.0, "corrected": 0.6, "corrected_low": 0.4, "corrected_high": 0.8}
FLATTENED = row(attribute="sex", word="flattened", pairs=300, **RATIO)


@pytest.mark.parametrize(
    ("tables", "kind", "sentence"),
    [
        ({}, "differ", "Accuracy differs between subgroups beyond noise: SD 5.0 points (95 % CI 2.0 to 8.0)."),
        (
            {"disparity": spreads(p=0.5)},
            "alike",
            "No difference in accuracy detected between subgroups: SD 5.0 points (95 % CI 2.0 to 8.0).",
        ),
        (
            {"groups": [group("s1"), quiet("s2")]},
            "served-worse",
            "Women of 40 is served worse than the rest: accuracy 40.0 % (95 % CI 30.0 % to 50.0 %), 20.0 points worse than the rest.",
        ),
        (
            {"groups": [quiet(refusal_rate=0.3, invalid_rate=0.1)]},
            "mostly-missing",
            "40 % of the answers are missing and count as wrong (30 % refused, 10 % unreadable or failed).",
        ),
        (
            {"gaps": [gap()]},
            "gap-remains",
            "Better for Female than for Male (sex): accuracy 10.0 points (95 % CI 4.0 to 16.0), also relative to the baseline and at "
            "equal difficulty.",
        ),
        (
            {"gaps": [gap(**NOTHING_LEFT)]},
            "gap-explained",
            "Better for Female than for Male (sex): accuracy 10.0 points (95 % CI 4.0 to 16.0); the baseline's gap or difficulty may "
            "explain it.",
        ),
        (
            {"gaps": [gap(**NOT_SHOWN)]},
            "no-gap-shown",
            "No gap in accuracy detected between levels of sex; the largest is Female − Male, 10.0 points (95 % CI 4.0 to 16.0).",
        ),
        (
            {"gaps": [gap(**NOT_SHOWN), gap(**NOT_SHOWN | {"level": "Other", "gap": 0.02})]},
            "no-gap-shown",
            "No gap in accuracy detected between levels of sex after correction for 2 tests; the largest is Female − Male, 10.0 points "
            "(95 % CI 4.0 to 16.0).",
        ),
        ({"changes": [change()]}, "better", "Better than before: accuracy 20.0 points better (95 % CI 15.0 to 25.0)."),
        (
            {"changes": [change(change=-0.2, ci_low=-0.25, ci_high=-0.15, outcome="worse")]},
            "worse",
            "Worse than before: accuracy 20.0 points worse (95 % CI 15.0 to 25.0).",
        ),
        (
            {"changes": [change(), change(by="subgroup", key="s1", p_holm=1e-6), moved("max_min", 0.2, 0.1)]},
            "better-for-all",
            "Compared with before, accuracy is better for 1 and worse for 0 of 1 subgroups.",
        ),
        (
            {"changes": [change(), *SPREADS]},
            "spread-narrower",
            "Compared with before, subgroups are closer together in accuracy: SD .020 to .010, CV .200 to .100.",
        ),
        (
            {"errs": [FLATTENED]},
            "flattened",
            "Answers differ less between levels of sex than people do: spread ratio .600 (95 % CI .400 to .800).",
        ),
    ],
)
def test_sentences(tables, kind, sentence):
    worded = word(one(claims_of(**tables), kind), Names(keys={"s1": "Women of 40"}))
    assert worded.sentence.replace(NBSP, " ") == sentence


def test_details_hold_what_the_sentence_leaves_out():
    details = " ".join(word(one(claims_of(gaps=[gap()]), "gap-remains")).details).replace(NBSP, " ")
    assert "Relative to the baseline: 9.0 points (95 % CI 3.0 to 15.0)." in details
    assert "With the other attributes held: 10.0 points (95" in details
    assert "At equal difficulty: 8.0 points (95 % CI 2.0 to 14.0)." in details
    assert "90 items, 1,800 pairs" in details
    assert "p = .010 corrected for 1 test (Holm)" in details
    assert "Expected under no effect: 2.4 points (at most 5.9 points in 95 % of samples)." in details


def test_one_finding_in_two_metrics_is_one_sentence():
    both = [gap(), gap(metric="nmae", **dict.fromkeys(("gap", "excess", "held", "adjusted"), -0.1), ci_low=-0.16, ci_high=-0.04)]
    both[1] |= {f"{name}_{end}": value for name in ("excess", "held", "adjusted") for end, value in (("low", -0.16), ("high", -0.04))}
    claims = claims_of(groups=[quiet(), quiet(metric="nmae")], disparity=[*spreads(), *spreads(metric="nmae")], gaps=both)
    claim = one(merged(claims), "gap-remains")
    assert claim.metrics == ("accuracy", "nmae")
    worded = word(claim)
    assert worded.sentence.endswith("; the same holds for NMAE.")
    assert any(line.startswith("Also NMAE .100 better") for line in worded.details)
