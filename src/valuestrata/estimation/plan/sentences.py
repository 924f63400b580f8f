"""What a plan says first: whether the budget reaches the goal, interviews by level, and what the model saves."""

from __future__ import annotations

import numpy as np

from valuestrata.estimation.estimates import HUMAN, RECTIFIED, SMALL_AREA
from valuestrata.estimation.plan.evidence import PILOT
from valuestrata.estimation.plan.planner import SMALL_AREA_MODEL, SamplePlan
from valuestrata.formatting import count, number, percent

NAMES = {
    HUMAN: "the interviews alone",
    RECTIFIED: "rectified estimates",
    SMALL_AREA: "small-area estimates without the model",
    SMALL_AREA_MODEL: "small-area estimates with the model",
}
_NAMED = 6


def opening(plan: SamplePlan) -> list[str]:
    """Return at most five sentences, the answer first."""
    found = [_goal_sentence(plan), _levels_sentence(plan), _model_sentence(plan), _questions_sentence(plan), _basis_sentence(plan)]
    return [sentence for sentence in found if sentence]


def _goal_sentence(plan: SamplePlan) -> str:
    """Write whether the budget reaches the goal, or what it does reach."""
    needed, name = plan.needed[plan.estimator], NAMES[plan.estimator]
    budget = f"{count(plan.budget, 'interview')}"
    if plan.reaches and needed is not None:
        rest = plan.budget - int(plan.least.sum())
        more = f", and the other {rest:,} make half-widths smaller" if rest else ""
        return f"{budget} reach the goal with {name}. It needs {int(plan.least.sum()):,}{more}."
    widths = sorted({one.half_width for one in plan.planner.rows.clauses})
    if not np.isfinite(plan.scale):
        reached = "some half-width of the goal is not defined, because nobody is asked the question"
    else:
        grown = ", ".join(f"{number(width)} becomes {number(width * plan.scale)}" for width in widths)
        reached = f"the half-widths are up to {plan.scale:.2f} times as large ({grown})"
    asked = "No number of interviews in this population reaches it" if needed is None else f"The goal needs {needed:,} interviews"
    return f"{budget} do not reach the goal with {name}: {reached}. {asked}."


def _levels_sentence(plan: SamplePlan) -> str:
    """Write the interviews in the subgroups of the goal."""
    rows = list(dict.fromkeys(int(g) for g in plan.planner.rows.subgroup))
    names = plan.planner.evidence.population.subgroups
    expected = plan.expected_interviews(np.array(rows, dtype=np.intp))
    listed = [f"{names[g]} {n:,.0f}" for g, n in zip(rows, expected, strict=True)]
    more = f" and {count(len(listed) - _NAMED, 'other subgroup')} (plan.csv)" if len(listed) > _NAMED else ""
    return f"Interviews: {', '.join(listed[:_NAMED])}{more}."


def _model_sentence(plan: SamplePlan) -> str:
    """Write what the model saves, and where it saves nothing."""
    planner = plan.planner
    if planner.saving is None or planner.gain is None:
        return ""
    groups = list(dict.fromkeys(int(g) for g in planner.rows.subgroup))
    names = planner.evidence.population.subgroups
    saved = planner.saving.of_pairs.mean(axis=1)
    without = [names[g] for g in groups if saved[g] <= 0]
    some = [saved[g] for g in groups if saved[g] > 0]
    if not some:
        said = f"The model {plan.run} saves nothing in any subgroup of the goal with rectified estimates"
    else:
        low, high = min(some), max(some)
        share = percent(low) if percent(low) == percent(high) else f"{percent(low)} to {percent(high)}"
        said = f"With rectified estimates the model {plan.run} saves {share} of the interviews"
        if without:
            more = f" and {count(len(without) - _NAMED, 'other subgroup')}" if len(without) > _NAMED else ""
            said += f"; it saves nothing in {', '.join(without[:_NAMED])}{more}"
    gain = planner.gain
    interval = f"[{percent(gain.low)}, {percent(gain.high)}]"
    if not gain.counted:
        return f"{said}, and nothing with small-area estimates, because it is not shown to explain how subgroups differ."
    return f"{said}; it explains {percent(gain.value)} {interval} of what subgroups differ; small-area plans count the lower end."


def _questions_sentence(plan: SamplePlan) -> str:
    """Write how questions are divided among people."""
    asked, items = plan.forms.asked, plan.planner.evidence.items.ids
    if len(asked) == 1 and asked.all():
        return ""
    fraction = plan.forms.fraction
    ends = dict.fromkeys(percent(float(end)) for end in (fraction.min(), fraction.max()))
    said = (
        f"Each person answers {int(asked.sum(axis=1).max())} of {len(items)} questions, from one of {count(len(asked), 'form')}; a "
        f"question goes to {' to '.join(ends)} of the people"
    )
    none = [item for item, share in zip(items, fraction, strict=True) if share <= 0]
    return f"{said}, and {count(len(none), 'question')} to nobody ({', '.join(none[:_NAMED])})." if none else f"{said}."


def _basis_sentence(plan: SamplePlan) -> str:
    """Write what the plan rests on."""
    planner = plan.planner
    evidence = planner.evidence
    source = f"a pilot of {evidence.people:,} people" if evidence.source == PILOT else f"the gold of {evidence.people:,} people"
    return f"Based on {source}; the design effect of weights and clusters is {planner.design_effect:.2f}."
