"""The plan of a sample from a goal and what is known: interviews in each cell, and forms of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from valuestrata.errors import Option, OptionText, UsageError, one_of
from valuestrata.estimation.estimates import HUMAN, RECTIFIED, SMALL_AREA
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.estimation.plan.allocation import (
    PlanningCells,
    least_interviews,
    planning_cells,
    power_allocation,
    reached_scale,
    rounded_within,
    whole_interviews,
)
from valuestrata.estimation.plan.effects import CellEffects, cell_effects
from valuestrata.estimation.plan.evidence import PILOT, Evidence
from valuestrata.estimation.plan.forms import QuestionForms, make_forms
from valuestrata.estimation.plan.goal import GoalClause
from valuestrata.estimation.plan.precision import GoalRows, Precision
from valuestrata.estimation.plan.savings import SmallAreaGain, VarianceSaving, pilot_saving, small_area_gain, wave_saving
from valuestrata.formatting import count, percent
from valuestrata.overview import HasOverview, Overview
from valuestrata.stats.arrays import Floats, Indices

# Small-area estimates without and with a model.
SMALL_AREA_MODEL = "small-area-model"
PLANNED = (HUMAN, RECTIFIED, SMALL_AREA, SMALL_AREA_MODEL)
# Pilots with fewer people do not show how answers vary; the gold of the data set then does.
FEW_PEOPLE = 30
# Rounds in which the prediction from other people and the interviews are adapted to each other.
ROUNDS = 6


@dataclass(frozen=True)
class Needed:
    """Interviews in each cell, shape (C,), and the multiple of the goal's half-widths that they reach."""

    interviews: Indices
    scale: float


@dataclass(frozen=True)
class Planner:
    """What a plan rests on: the goal, how answers vary, and what a model saves.

    Attributes:
        evidence: of the pilot or wave. effects: of its cells. rows: the goal. cells: the planning cells.
        saving, gain: of the model; None without one. personal: whether it answers as single people.
        simulated: shape (G, I), see `Precision`.
        design_effect: of weights and clusters. least, most, cost: shape (C,), bounds and cost of interviews.
    """

    evidence: Evidence
    effects: CellEffects
    rows: GoalRows
    cells: PlanningCells
    saving: VarianceSaving | None
    gain: SmallAreaGain | None
    personal: bool
    simulated: Floats
    design_effect: float
    most: Floats

    @cached_property
    def least(self) -> Floats:
        """One interview in each cell, because weights of empty cells are not defined."""
        return np.ones(len(self.cells.share))

    @cached_property
    def cost(self) -> Floats:
        """All interviews cost the same."""
        return np.ones(len(self.cells.share))

    @property
    def factors(self) -> Floats:
        """a_gc of the goal's rows, shape (R, C)."""
        return self.cells.factors[self.rows.subgroup]

    def precision(self, estimator: str, interviews: Floats, fraction: Floats, subgroups: Indices) -> Precision:
        """Return what decides the half-widths of an estimator; small-area estimates borrow from the other interviews."""
        evidence = self.evidence
        shape = evidence.uncertainty.shape
        outside = np.full(shape[0], np.inf)
        # Small-area estimates use the answers of a model as single people like rectified ones.
        used = estimator == RECTIFIED or (estimator == SMALL_AREA_MODEL and self.personal)
        saving = self.saving.of_pairs if used and self.saving is not None else np.zeros(shape)
        if estimator in (SMALL_AREA, SMALL_AREA_MODEL):
            gain = self.gain.counted if estimator == SMALL_AREA_MODEL and self.gain is not None else 0.0
            effects = self.effects.scaled(1 - gain)
            share = np.where(self.cells.cell_of >= 0, evidence.population.share, 0.0)
            per_share = np.append(interviews / self.cells.share, 0.0)[self.cells.cell_of]
            effective = per_share * share * float((fraction * evidence.rate / (1 - saving[0])).mean()) / self.design_effect
            borrow = subgroups[subgroups > 0]
            outside[borrow] = effects.outside_variance(evidence.population, effective, borrow)
        return Precision(evidence.uncertainty, self.design_effect / evidence.rate, saving, outside, self.simulated)

    def needed(self, estimator: str, fraction: Floats) -> Needed | None:
        """Return the least interviews that reach the goal; None if the population is too small."""
        found: Floats = np.maximum(self.cells.share * 1000, self.least)
        limit = np.zeros(len(self.rows.clause))
        for _ in range(ROUNDS):
            precision = self.precision(estimator, found, fraction, np.unique(self.rows.subgroup))
            limit = self.rows.limits(precision, fraction)
            solved = least_interviews(self.factors, limit, self.least, self.most, self.cost) if (limit > 0).all() else None
            if solved is None:
                return None
            settled = np.abs(solved.sum() - found.sum()) < 0.002 * found.sum()
            found = solved
            if settled or estimator not in (SMALL_AREA, SMALL_AREA_MODEL):
                break
        return Needed(whole_interviews(found, self.factors, limit, self.least, self.most, self.cost), 1.0)

    def within(self, estimator: str, fraction: Floats, budget: int) -> Needed:
        """Return interviews that cost at most the budget and reach the least multiple of the goal's half-widths."""
        found: Floats = power_allocation(budget, self.cells.share, np.ones(len(self.least)), self.least, self.most, self.cost)
        for _ in range(1 if estimator in (HUMAN, RECTIFIED) else 3):
            precision = self.precision(estimator, found, fraction, np.unique(self.rows.subgroup))

            def solved(scale: float, precision: Precision = precision) -> Floats | None:
                limit = self.rows.limits(precision, fraction, scale)
                return least_interviews(self.factors, limit, self.least, self.most, self.cost) if (limit > 0).all() else None

            def total(scale: float) -> float:
                interviews = solved(scale)
                return np.inf if interviews is None else float(self.cost @ interviews)

            scale = reached_scale(total, budget)
            if not np.isfinite(scale):
                break
            interviews = solved(scale)
            assert interviews is not None
            found = interviews
        number = rounded_within(found, budget, self.least.astype(np.intp), self.most, self.cost)
        return Needed(number, self.scale(estimator, number, fraction))

    def scale(self, estimator: str, interviews: Indices, fraction: Floats) -> float:
        """Return the largest half-width relative to its goal."""
        return float((self.reached(estimator, interviews, fraction) / self.rows.target).max())

    def reached(self, estimator: str, interviews: Indices, fraction: Floats) -> Floats:
        """Return the half-width of each row of the goal, shape (R,)."""
        return self.rows.reached(self.half_width(estimator, interviews, fraction, self.rows.subgroup))

    def half_width(self, estimator: str, interviews: Indices, fraction: Floats, subgroups: Indices) -> Floats:
        """Return the expected half-width of each item, shape (len(subgroups), I)."""
        precision = self.precision(estimator, interviews.astype(np.float64), fraction, np.unique(subgroups))
        return precision.half_width(self.cells.factors[subgroups] @ (1 / interviews), fraction, subgroups)

    def spread_of_cells(self) -> Floats:
        """Return the standard deviation of an answer in each planning cell, averaged over items, shape (C,)."""
        found = self.effects.predicted_cells(self.evidence)
        live = self.cells.cell_of >= 0
        weight = np.zeros((len(self.cells.share), len(live)))
        weight[self.cells.cell_of[live], np.flatnonzero(live)] = self.evidence.population.share[live]
        mean = (weight / weight.sum(axis=1, keepdims=True) @ found.reshape(len(live), -1)).reshape(-1, *found.shape[1:])
        return np.sqrt((mean * (1 - mean)).sum(axis=2).mean(axis=1))


@dataclass(frozen=True, repr=False)
class SamplePlan(HasOverview):
    """A plan: interviews in each cell, and the questions of each form.

    Attributes:
        planner: what it rests on. goal: as written. budget: interviews. estimator: one of `PLANNED`. run: name of the model's run, or None.
        interviews, least: shape (C,), planned, and those that the goal needs (or reaches within the budget).
        scale: largest half-width relative to its goal with `least`; at most 1 if the budget reaches the goal.
        needed: estimator -> interviews that the goal needs; None if no number of interviews in the population suffices.
        forms: questions. dealt: shape (C, F), people per cell and form. seed: of the forms. remarks: for the user.
    """

    planner: Planner
    goal: str
    budget: int
    estimator: str
    run: str | None
    interviews: Indices
    least: Indices
    scale: float
    needed: Mapping[str, int | None]
    forms: QuestionForms
    dealt: Indices
    seed: int
    remarks: tuple[OptionText, ...] = field(default=())

    def overview(self) -> Overview:
        """Return whether the budget reaches the goal, what the plan rests on, and the interviews in each cell."""
        from valuestrata.estimation.plan.sentences import opening
        from valuestrata.estimation.plan.tables import plan_table

        heads = ("Cell", "Share of the population", "Interviews", "Needed by the goal")
        rows = [(cell, percent(share), f"{n:,}", f"{least:,}") for cell, share, n, least, _ in plan_table(self).iter_rows()]
        return Overview(f"Sample plan: {self.goal or count(self.budget, 'interview')}", opening(self), heads, rows)

    @property
    def reaches(self) -> bool:
        """Whether the budget reaches the goal."""
        return self.scale <= 1 + 1e-9

    @property
    def weights(self) -> Floats:
        """Weight of each person of a cell: share of the population over share of the sample, shape (C,)."""
        return self.planner.cells.share / (self.interviews / self.interviews.sum())

    def half_width(self, estimator: str, subgroups: Indices) -> Floats:
        """Return the expected half-width of each item with an estimator, shape (len(subgroups), I)."""
        return self.planner.half_width(estimator, self.interviews, self.forms.fraction, subgroups)

    def reached(self, estimator: str) -> Floats:
        """Return the expected half-width of each row of the goal with an estimator, shape (R,)."""
        return self.planner.reached(estimator, self.interviews, self.forms.fraction)

    def expected_interviews(self, subgroups: Indices) -> Floats:
        """Return the expected number of interviews of subgroups, shape (len(subgroups),)."""
        population, cells = self.planner.evidence.population, self.planner.cells
        share = population.inside[subgroups] * population.share
        per_share = np.append(self.interviews / cells.share, 0.0)[cells.cell_of]
        return share @ per_share


def plan_from(
    evidence: Evidence,
    clauses: Sequence[GoalClause],
    budget: int,
    *,
    goal: str = "",
    pilot: EstimationInput | None = None,
    model: ModelValues | None = None,
    estimator: str | None = None,
    questions: int | None = None,
    population_size: int | None = None,
    design_effect: float | None = None,
    seed: int = 0,
) -> SamplePlan:
    """Plan a sample from what a pilot or a wave shows; `plan_sample` reads that from files.

    Args:
        evidence: how answers vary. clauses, goal: the goal, read and as written. budget: interviews.
        pilot: the people of the pilot, with the same items as `evidence`; None to plan from a wave.
        model: values of a model, whose `people` are those of the pilot, or else one for each joint cell.
        estimator: one of `PLANNED`; None for rectified with a model, else human. questions: per person; None for all.
        population_size: people in the population; None if unknown. design_effect: of weights and clusters; None for that of the evidence.
        seed: of held-out parts and forms.

    Raises:
        UsageError: the budget has no interview for each cell; an estimator that needs a model; a number outside its range.
    """
    chosen = one_of(estimator or (HUMAN if model is None else RECTIFIED), PLANNED, "There is no estimator to plan for named")
    if model is None and chosen in (RECTIFIED, SMALL_AREA_MODEL):
        raise UsageError(
            Option("estimator", chosen), " needs a model. Name its run with ", Option("runs"), ", or choose human or small-area."
        )
    items = len(evidence.items.ids)
    _check(budget, questions, population_size, design_effect)
    cells = planning_cells(evidence.population, np.concatenate([one.subgroups for one in clauses]))
    most = np.maximum(np.floor(cells.share * population_size + 1e-9), 1.0) if population_size else np.full(len(cells.share), 1e9)
    if budget < len(cells.share):
        raise UsageError(
            Option("budget", budget),
            f": the attributes of the goal have {len(cells.share)} combinations in the population, and each needs an interview. Raise "
            f"it to at least {len(cells.share)}, or name fewer attributes in the goal.",
        )
    effects = cell_effects(evidence)
    planner = Planner(
        evidence,
        effects,
        GoalRows.of(clauses),
        cells,
        _saving_of(evidence, effects, pilot, model, seed),
        None if model is None else small_area_gain(evidence, effects, model, seed),
        model is not None and pilot is not None and model.respondent_level,
        np.full(evidence.number.shape, np.inf) if model is None else np.nan_to_num(model.simulated, nan=1.0, posinf=np.inf),
        evidence.design_effect if design_effect is None else design_effect,
        most,
    )
    everyone = planner.precision(chosen, cells.share * budget, np.ones(items), np.unique(planner.rows.subgroup))
    worst = all(one.each for one in clauses)
    forms = make_forms(planner.rows.importance(everyone, items), list(evidence.items.blocks), questions or items, worst=worst)
    compared = PLANNED if model is not None else (HUMAN, SMALL_AREA)
    needed = {name: planner.needed(name, forms.fraction) for name in compared}
    best = needed[chosen]
    if best is None or best.interviews.sum() > budget:
        best = planner.within(chosen, forms.fraction, budget)
    else:
        best = replace(best, scale=planner.scale(chosen, best.interviews, forms.fraction))
        best = _raised(planner, chosen, best, forms.fraction, budget)
    spread = planner.spread_of_cells()
    wanted = power_allocation(budget, cells.share, spread, best.interviews.astype(np.float64), most, planner.cost)
    interviews = rounded_within(wanted, budget, best.interviews, most, planner.cost)
    return SamplePlan(
        planner=planner,
        goal=goal,
        budget=budget,
        estimator=chosen,
        run=None if model is None else model.name,
        interviews=interviews,
        least=best.interviews,
        scale=best.scale,
        needed={name: None if one is None else int(one.interviews.sum()) for name, one in needed.items()},
        forms=forms,
        dealt=forms.dealt(interviews, seed),
        seed=seed,
    )


def _raised(planner: Planner, estimator: str, best: Needed, fraction: Floats, budget: int) -> Needed:
    """Return interviews raised by steps of half a percent until they reach the goal: what others lend changed a little with rounding."""
    while best.scale > 1 + 1e-9 and best.interviews.sum() < budget:
        more = np.minimum(np.ceil(best.interviews * 1.005), planner.most)
        number = rounded_within(more, budget, best.interviews, planner.most, planner.cost)
        if (number == best.interviews).all():
            break
        best = Needed(number, planner.scale(estimator, number, fraction))
    return best


def _saving_of(
    evidence: Evidence, effects: CellEffects, pilot: EstimationInput | None, model: ModelValues | None, seed: int
) -> VarianceSaving | None:
    if model is None:
        return None
    return wave_saving(evidence, effects, model.people, seed) if pilot is None else pilot_saving(pilot, model, seed)


def _check(budget: int, questions: int | None, population_size: int | None, design_effect: float | None) -> None:
    if budget < 1:
        raise UsageError(Option("budget", budget), ": a budget is a number of interviews, at least 1.")
    if questions is not None and questions < 1:
        raise UsageError(Option("questions_per_person", questions), ": each person answers at least 1 question.")
    if population_size is not None and population_size < budget:
        raise UsageError(
            Option("population_size", population_size), f": the population has fewer people than the budget of {budget:,} interviews."
        )
    if design_effect is not None and not 0.1 <= design_effect <= 50:
        raise UsageError(Option("design_effect", design_effect), ": expected a number from .1 to 50; 1 is a simple random sample.")


def is_small(evidence: Evidence) -> bool:
    """Return whether a pilot has too few people to show how answers vary."""
    return evidence.source == PILOT and evidence.people < FEW_PEOPLE
