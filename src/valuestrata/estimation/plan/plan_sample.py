"""Plan a sample for a goal: how many people to interview in each subgroup and which questions to ask whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Option, OptionText
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ModelValues
from valuestrata.estimation.model_values import pair_values
from valuestrata.estimation.plan.evidence import Evidence, evidence_of_pilot, evidence_of_wave
from valuestrata.estimation.plan.goal import GoalClause, read_goal
from valuestrata.estimation.plan.planner import FEW_PEOPLE, SamplePlan, is_small, plan_from
from valuestrata.estimation.reading import estimation_input
from valuestrata.responses.run.folder import Run, check_same_dataset, load_run
from valuestrata.responses.run.identity import run_identity

_NAMED = 5


def plan_sample(
    dataset: Dataset,
    goal: str,
    budget: int,
    *,
    run: Run | str | Path | None = None,
    people: str | Path | None = None,
    estimator: str | None = None,
    questions_per_person: int | None = None,
    population_size: int | None = None,
    design_effect: float | None = None,
    seed: int = 0,
    **reading: Any,
) -> SamplePlan:
    """Plan how many people to interview in each subgroup and which questions to ask whom.

    Args:
        dataset: items, subgroups and population. Without `people` its gold is the earlier wave.
        goal: see `goal`; for example `half-width .05 in every level of ethnicity`.
        budget: number of interviews.
        run: a run of the data set, whose savings count; None to plan without a model.
        people: file of a pilot, read as by `estimate`; None to plan from the gold.
        estimator: the estimates that must reach the goal: human, rectified (the default with a run), small-area, or
            small-area-model.
        questions_per_person: most questions that a person answers; None for all.
        population_size: people in the population, an upper bound of the interviews in each cell.
        design_effect: of weights and clusters; None to estimate it. It does not include the weights that the plan itself makes.
        seed: of held-out parts and of the order in which forms are dealt.
        reading: of the pilot, as for `estimation_input`: survey, ids, weight, psu, strata, levels, population, answers, ...

    Raises:
        UsageError: a goal that cannot be read, a budget below one interview per cell, or another number outside its range.
        InputDataError: nobody in the population belongs to a subgroup of the goal, a run of another data set, or an unusable file.
    """
    loaded = None if run is None else run if isinstance(run, Run) else load_run(run)
    if loaded is not None:
        check_same_dataset(loaded, dataset)
    remarks: list[OptionText] = []
    pilot: EstimationInput | None = None
    if people is None:
        evidence = evidence_of_wave(dataset)
        model = None if loaded is None else pair_values(dataset, loaded, _cells_as_people(evidence))
        remarks += _wave_remarks(dataset, loaded)
    else:
        read = estimation_input(dataset, people, runs=[] if loaded is None else [loaded], **reading)
        pilot, evidence = read.data, evidence_of_pilot(read.data)
        remarks += read.remarks
        model = next(iter(read.data.models.values()), None)
        if is_small(evidence):
            remarks.append(
                OptionText(
                    f"{people}: a pilot of {evidence.people} people does not show how answers vary (at least {FEW_PEOPLE} do), so their "
                    "variance is that of the data set's gold. What the model saves is that in the pilot, and counts only where it is shown."
                )
            )
            evidence = evidence_of_wave(dataset, evidence.items, evidence.population)
    clauses = read_goal(goal, evidence.population, evidence.items.ids, names=_other_names(dataset))
    remarks += [*_goal_remarks(clauses), *_model_remarks(model, evidence)]
    found = plan_from(
        evidence,
        clauses,
        budget,
        goal=goal,
        pilot=pilot,
        model=model,
        estimator=estimator,
        questions=questions_per_person,
        population_size=population_size,
        design_effect=design_effect,
        seed=seed,
    )
    return replace(found, remarks=tuple(remarks))


def _other_names(dataset: Dataset) -> dict[str, str]:
    """Return the short names of attributes."""
    return {one["short"]: one["name"] for one in dataset.meta["attributes"] if one.get("short")}


def _cells_as_people(evidence: Evidence) -> EstimationInput:
    """Return an input with one person without answers in each joint cell."""
    cells = np.arange(len(evidence.population.share))
    answers = np.full((len(cells), len(evidence.items.ids)), -1, dtype=np.int8)
    sample = HumanSample(answers, cells, np.ones(len(cells)), cells, np.zeros(len(cells), dtype=np.intp))
    return EstimationInput(evidence.items, evidence.population, sample)


def _wave_remarks(dataset: Dataset, run: Run | None) -> list[OptionText]:
    if run is None:
        return []
    found = [
        OptionText(
            "Without a pilot, the saving of the rectified estimator is that between cells. A model with an answer for each person may save "
            "more; give a pilot with ",
            Option("people"),
            " to see it.",
        )
    ]
    if run_identity(run).respondent.trained_on is not None:
        found.append(
            OptionText(
                f"The run {run.name!r} was taught on survey answers. If these are among the gold of {dataset.path or 'the data set'}, it "
                "saves less in a new sample than this plan says. Give a pilot with ",
                Option("people"),
                ".",
            )
        )
    return found


def _goal_remarks(clauses: Sequence[GoalClause]) -> list[OptionText]:
    empty = list(dict.fromkeys(name for one in clauses for name in one.empty))
    if not empty:
        return []
    return [OptionText(f"Nobody in the population belongs to {_listed(empty)}; left out of the goal.")]


def _model_remarks(model: ModelValues | None, evidence: Evidence) -> list[OptionText]:
    if model is None:
        return []
    answers = zip(evidence.items.ids, model.people.swapaxes(0, 1), strict=True)
    lacking = [name for name, own in answers if np.isnan(own).all()]
    if not lacking:
        return []
    return [OptionText(f"The run {model.name!r} has no answer to {len(lacking)} items, where it saves nothing: {_listed(lacking)}.")]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
