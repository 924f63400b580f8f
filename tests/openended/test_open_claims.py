"""Claims about open answers: their fields by rule, and their wording by template."""

from __future__ import annotations

import pytest

from valuestrata.claims.claim import Strength
from valuestrata.claims.judges import closed_vs_open_claims, corrected_claims, own_answer_claims, shared_base_claims, win_rate_claims
from valuestrata.claims.select import select
from valuestrata.claims.templates import word
from valuestrata.openended.pairwise.win_rates import WINRATES
from valuestrata.openended.stance.closed_vs_open import AGREEMENT
from valuestrata.openended.validity.corrected import CORRECTED
from valuestrata.openended.validity.decision_rule import NOT_USABLE, USABLE, USABLE_TABLE


def usable(*rows):
    return USABLE_TABLE.frame([{"judge": judge, "criterion": criterion, "verdict": verdict} for judge, criterion, verdict in rows])


def rate(criterion, value, low, high):
    return {
        **{"run": "tuned", "reference": "base", "judge": "J", "criterion": criterion, "by": "all", "key": "all", "metric": "win_rate"},
        **{"value": value, "ci_low": low, "ci_high": high, "pairs": 60, "items": 10},
    }


@pytest.mark.parametrize(
    ("value", "low", "high", "strength", "sentence"),
    [
        (0.62, 0.55, 0.7, Strength.SHOWN, "tuned is preferred to base on value: win rate 62"),
        (0.38, 0.3, 0.45, Strength.SHOWN, "base is preferred to tuned on value: win rate 38"),
        (0.52, 0.4, 0.6, Strength.NOT_SHOWN, "The data do not show a preference between tuned and base on value"),
        (0.62, None, None, Strength.UNDETERMINED, "The data do not show a preference"),
    ],
)
def test_a_win_rate_is_stated_with_its_strength(value, low, high, strength, sentence):
    (claim,) = win_rate_claims(WINRATES.frame([rate("value", value, low, high)]), usable(("J", "value", USABLE)))
    assert (claim.run, claim.against, claim.key, claim.strength) == ("tuned", "base", "value", strength)
    assert word(claim).sentence.startswith(sentence)


def test_win_rates_of_unusable_judges_are_not_stated():
    rows = WINRATES.frame([rate("value", 0.9, 0.8, 1.0), rate("persona", 0.9, 0.8, 1.0)])
    claims = win_rate_claims(rows, usable(("J", "value", USABLE), ("J", "persona", NOT_USABLE)))
    assert [claim.key for claim in claims] == ["value"]


def test_at_most_five_claims_are_shown_and_the_largest_effects_first():
    rows = WINRATES.frame([rate(f"c{at}", 0.5 + at / 100, 0.505, 0.6) for at in range(1, 8)])
    (selection,) = select(win_rate_claims(rows, usable(*(("J", f"c{at}", USABLE) for at in range(1, 8)))))
    assert (len(selection.shown), len(selection.rest), selection.shown[0].key) == (5, 2, "c7")


def test_corrected_estimates_name_the_judge_and_its_own_value():
    row = {"judge": "J", "criterion": "value", "run": "tuned", "reference": "base", "by": "all", "key": "all", "metric": "win_rate"}
    row |= {"judge_value": 0.7, "value": 0.6, "ci_low": 0.52, "ci_high": 0.68, "coded": 80, "judged": 160}
    (claim,) = corrected_claims(CORRECTED.frame([row]))
    worded = word(claim)
    assert worded.sentence.startswith("tuned against base, value: win rate 60")
    assert "after correction for the errors of judge J" in worded.sentence
    assert worded.details[0].startswith("The judge alone gives 70")
    assert "80 answers of 160 coded by people" in worded.details[0]


def test_closed_against_open_warns_of_an_unusable_judge():
    where = {"run": "open", "closed": "closed", "judge": "J", "by": "all", "key": "all", "pairs": 50, "items": 10}
    rows = AGREEMENT.frame([{**where, "metric": "same", "value": 0.4}, {**where, "metric": "kappa", "value": 0.25}])
    (doubted,) = closed_vs_open_claims(rows, usable(("J", "stance", NOT_USABLE)))
    (fit,) = closed_vs_open_claims(rows, usable(("J", "stance", USABLE)))
    assert (doubted.strength, fit.strength) == (Strength.UNDETERMINED, Strength.SHOWN)
    assert word(doubted).sentence.startswith("Not to be used, because judge J is not usable for stances: open chooses the option")
    assert "weighted kappa .25" in word(fit).sentence


def test_a_judge_of_its_own_answers_is_named_only_if_there_are_any():
    (claim,) = own_answer_claims({"J": ["tuned"], "K": []})
    assert (claim.run, claim.notes) == ("J", ("tuned",))
    assert "judges its own answers (tuned)" in word(claim).sentence


def test_a_judge_that_shares_its_base_with_a_writer_is_named_only_if_it_does():
    (claim,) = shared_base_claims({"J": ["tuned", "base"], "K": []})
    assert (claim.run, claim.notes) == ("J", ("tuned", "base"))
    assert "Judge J has the same base model as the writer of tuned and base" in word(claim).sentence
