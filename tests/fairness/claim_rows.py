"""Hand-written rows of an audit's tables, and the claims that they support."""

from __future__ import annotations

from types import SimpleNamespace

from valuestrata.claims.claim import Claim
from valuestrata.claims.fairness.rules import audit_claims
from valuestrata.fairness import CHANGES, DISPARITY, ERRS, EXCESS, GAPS, GROUPS, MEASURES

RUNS = [
    SimpleNamespace(name="m", meta={"respondent": {"name": "embedded", "provider": "transformers"}}),
    SimpleNamespace(name="before", meta={"respondent": {"name": "embedded", "provider": "transformers"}}),
    SimpleNamespace(name="mode", meta={"respondent": {"name": "baseline:item-mode", "provider": "baseline"}}),
]


def row(**more):
    return {"run": "m", "scheme": "paper", "part": "test", "metric": "accuracy", **more}


def spread(measure="spread_corrected", **more):
    plain = {"by": "all", "key": "all", "population": "8 test subgroups of a_x_b", "measure": measure, "value": 0.05, "ci_low": 0.02}
    noise = {"ci_high": 0.08, "alike": 0.01, "alike_high": 0.03, "p": 0.001, "subgroups": 8, "items": 90, "pairs": 720}
    return row(**plain, **noise) | more


def spreads(**more):
    """Every measure of one population; `more` goes to all of them."""
    return [spread(measure, **more) for measure in MEASURES]


def group(subgroup="s1", **more):
    plain = {"stratum": "a_x_b", "subgroup": subgroup, "value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "rest": -0.2, "p_worst": 0.001}
    noise = {"worst": True, "alike_low": 0.52, "alike_high": 0.68, "n": 120, "pairs": 90, "refusal_rate": 0.0, "invalid_rate": 0.0}
    return row(**plain, **noise) | more


def quiet(subgroup="s1", **more):
    return group(subgroup, **{"value": 0.6, "rest": -0.02, "p_worst": 0.6, "worst": False, **more})


def gap(**more):
    plain = {"attribute": "sex", "level": "Female", "against_level": "Male", "gap": 0.10, "ci_low": 0.04, "ci_high": 0.16, "se": 0.03}
    test = {"p": 0.001, "p_holm": 0.01, "items": 90, "pairs": 1800, "expected_alike": 0.024, "baseline": "mode", "gap_baseline": 0.01}
    excess = {"excess": 0.09, "excess_low": 0.03, "excess_high": 0.15, "excess_p": 0.002, "excess_p_holm": 0.01}
    held = {"held": 0.10, "held_low": 0.04, "held_high": 0.16, "held_p": 0.001, "held_p_holm": 0.01}
    adjusted = {"adjusted": 0.08, "adjusted_low": 0.02, "adjusted_high": 0.14, "adjusted_p": 0.004, "adjusted_p_holm": 0.02}
    return row(**plain, **test, **excess, **held, **adjusted) | more


NOTHING_LEFT = {
    "adjusted": 0.01,
    "adjusted_low": -0.03,
    "adjusted_high": 0.05,
    "adjusted_p_holm": 0.9,
    "excess": 0.0,
    "excess_low": -0.04,
    "excess_high": 0.04,
    "excess_p_holm": 1.0,
}


def change(**more):
    where = {"against": "before", "by": "all", "key": "all", "measure": "score", "before": 0.4, "after": 0.6, "change": 0.2}
    test = {"ci_low": 0.15, "ci_high": 0.25, "p": 0.001, "p_holm": 0.001, "outcome": "better", "pairs": 720}
    return row(**where, **test) | more


def moved(measure, before, after, outcome="not shown", **more):
    p = 0.3 if outcome == "not shown" else 0.01
    ends = {"ci_low": after - before - 0.01, "ci_high": after - before + 0.01, "p": p, "p_holm": None, "subgroups": 2}
    ends |= {"alike_before": 0.02, "alike_after": 0.01}
    return change(measure=measure, before=before, after=after, change=after - before, outcome=outcome, **ends) | more


def claims_of(*, disparity=None, groups=None, gaps=(), changes=(), excess=(), errs=(), **more) -> list[Claim]:
    """Return the claims about the run m."""
    tables = {
        "disparity": DISPARITY.frame(spreads() if disparity is None else list(disparity)),
        "groups": GROUPS.frame([quiet("s1"), quiet("s2")] if groups is None else list(groups)),
        "gaps": GAPS.frame(list(gaps)),
        "changes": CHANGES.frame(list(changes)),
        "excess": EXCESS.frame(list(excess)),
        "errs": ERRS.frame(list(errs)),
    }
    return [claim for claim in audit_claims(tables, RUNS, **more) if claim.run == "m"]


def one(claims: list[Claim], kind: str) -> Claim:
    """Return the only claim of a kind."""
    found = [claim for claim in claims if claim.kind == kind]
    assert len(found) == 1, kinds_of(claims)
    return found[0]


def kinds_of(claims: list[Claim]) -> list[str]:
    return [claim.kind for claim in claims]
