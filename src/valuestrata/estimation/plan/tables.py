"""Tables of a plan: interviews by cell, forms, and expected half-widths."""

from __future__ import annotations

import numpy as np
import polars as pl

from valuestrata.estimation.plan.goal import GoalClause
from valuestrata.estimation.plan.planner import SamplePlan
from valuestrata.formatting import percent
from valuestrata.frames import Column, Schema

_WIDTHS = {
    "human": "expected half-width from the interviews alone",
    "rectified": "with the interviews corrected by the model; null without a model",
    "small_area": "of the small-area estimate without the model",
    "small_area_model": "of the small-area estimate with the model; null without a model",
}
PLAN = Schema(
    "plan.csv",
    {
        "cell": Column(pl.String, "combination of the attributes of the goal"),
        "population_share": Column(pl.Float64, "share of the population"),
        "interviews": Column(pl.Int64, "people to interview"),
        "needed": Column(pl.Int64, "of these, interviews that the goal needs, or all if the budget is too small"),
        "weight": Column(pl.Float64, "weight of each person: share of the population over share of the sample"),
    },
)
EXPECTED = Schema(
    "expected.csv",
    {
        "subgroup": Column(pl.String, "subgroup id; `all` for the population"),
        "item": Column(pl.String, "item id"),
        "answers": Column(pl.Float64, "expected valid answers"),
        **{name: Column(pl.Float64, meaning) for name, meaning in _WIDTHS.items()},
    },
)
LEVELS = Schema(
    "levels",
    {
        "subgroup": Column(pl.String, "subgroup of the goal"),
        "goal": Column(pl.Float64, "half-width to reach"),
        "of": Column(pl.String, "mean of the items, or every item"),
        "interviews": Column(pl.Float64, "expected interviews"),
        "effective": Column(pl.Float64, "interviews over Kish's design effect of the plan's weights"),
        **{name: Column(pl.Float64, meaning) for name, meaning in _WIDTHS.items()},
        "saving": Column(pl.Float64, "share of the interviews that the model saves in rectified estimates, as the plan counts it"),
        "saving_low": Column(pl.Float64, "lower end of its 95 % interval"),
        "saving_high": Column(pl.Float64, "upper end"),
    },
)


def _column(estimator: str) -> str:
    return estimator.replace("-", "_")


def plan_table(plan: SamplePlan) -> pl.DataFrame:
    """Return PLAN rows."""
    cells = plan.planner.cells
    columns = (cells.names, cells.share, plan.interviews, plan.least, plan.weights)
    return pl.DataFrame(dict(zip(PLAN.columns, columns, strict=True))).cast({name: one.dtype for name, one in PLAN.columns.items()})


def forms_table(plan: SamplePlan) -> pl.DataFrame:
    """Return a row for each form: people, a column for each item with 1 where it is asked, and the people in each cell."""
    items, cells = plan.planner.evidence.items.ids, plan.planner.cells.names
    return pl.DataFrame(
        {
            "form": [f"form {number + 1}" for number in range(len(plan.forms.share))],
            "people": plan.dealt.sum(axis=0),
            **{item: plan.forms.asked[:, i].astype(np.int64) for i, item in enumerate(items)},
            **{f"people in {cell}": plan.dealt[c] for c, cell in enumerate(cells)},
        }
    )


def expected_table(plan: SamplePlan) -> pl.DataFrame:
    """Return EXPECTED rows of all subgroups with population."""
    evidence = plan.planner.evidence
    groups = np.flatnonzero(evidence.population.sizes > 0)
    items = len(evidence.items.ids)
    answers = plan.expected_interviews(groups)[:, None] * plan.forms.fraction * evidence.rate
    rows: dict[str, object] = {
        "subgroup": np.repeat([evidence.population.subgroups[g] for g in groups], items),
        "item": list(evidence.items.ids) * len(groups),
        "answers": answers.reshape(-1),
    }
    for name in plan.needed:
        rows[_column(name)] = plan.half_width(name, groups).reshape(-1)
    # A question that nobody is asked has no half-width.
    found = pl.DataFrame(rows).with_columns(pl.selectors.float().replace(float("inf"), None))
    return EXPECTED.check(_with_nulls(found, EXPECTED), "plan")


def levels_table(plan: SamplePlan) -> pl.DataFrame:
    """Return LEVELS rows: the subgroups of the goal."""
    planner, rows = plan.planner, plan.planner.rows
    of_clauses = [_items_of(one, planner.evidence.items.ids) for one in rows.clauses]
    found: dict[str, object] = {
        "subgroup": [planner.evidence.population.subgroups[g] for g in rows.subgroup],
        "goal": rows.target,
        "of": [of_clauses[c] for c in rows.clause],
        "interviews": plan.expected_interviews(rows.subgroup),
        "effective": 1 / (planner.factors @ (1 / plan.interviews)),
        **{_column(name): plan.reached(name) for name in plan.needed},
    }
    if planner.saving is not None:
        saving = planner.saving
        found["saving"] = saving.of_pairs.mean(axis=1)[rows.subgroup]
        found["saving_low"], found["saving_high"] = (np.nan_to_num(one[rows.subgroup]) for one in (saving.low, saving.high))
    return LEVELS.check(_with_nulls(pl.DataFrame(found), LEVELS), "plan")


def printed_table(plan: SamplePlan) -> pl.DataFrame:
    """Return the table of levels for a terminal: whole interviews, and the saving in percent."""
    found = levels_table(plan).drop("saving_low", "saving_high")
    whole = found.with_columns(pl.col("interviews", "effective").round().cast(pl.Int64))
    saving = [None if share is None else percent(share) for share in found["saving"]]
    kept = whole.with_columns(saving=pl.Series(saving, dtype=pl.String))
    return kept.select(one for one in kept if one.null_count() < len(one))


def _items_of(clause: GoalClause, items: tuple[str, ...]) -> str:
    if not clause.each:
        return "mean of the items"
    return "every item" if len(clause.items) == len(items) else ", ".join(items[i] for i in clause.items)


def _with_nulls(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    absent = [pl.lit(None, pl.Float64).alias(name) for name in schema.columns if name not in frame.columns]
    return frame.with_columns(absent)
