"""Compare the half-widths that plans of samples promise with those that the estimators reach, in simulated populations.

    python bench/plan_promises.py [--repetitions 6] [--seed 1]

Each line: a population of 60,000 people, a pilot, a plan from it, and samples drawn by the plan. `ratio` is the mean half-width of the most
uncertain option (its true share is closest to one half) over that promised; `error` is 1.96 times the root mean squared error over it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from tests.estimation.simulated import World, world
from tests.estimation.test_plan_savings import drawn
from valuestrata.estimation.estimates import HUMAN, RECTIFIED, SMALL_AREA, Estimates
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.estimators.small_area import small_area_estimates
from valuestrata.estimation.inputs import EstimationInput
from valuestrata.estimation.model_values import values_of_pairs
from valuestrata.estimation.plan.evidence import evidence_of_pilot
from valuestrata.estimation.plan.goal import read_goal
from valuestrata.estimation.plan.planner import SMALL_AREA_MODEL, plan_from


@dataclass(frozen=True)
class Case:
    """One plan. `model`: `person` (own answers), `noisy` (shares of pairs with errors of .08) or `shuffled` (those of other items)."""

    goal: str
    budget: int
    pilot: int
    questions: int | None = None
    skill: float = 0.6
    model: str = "person"
    items: int = 20


CASES = (
    Case("half-width .05 in every level of region", 1500, 300),
    Case("half-width .05 in every level of region", 600, 300, questions=8),
    Case("half-width .08 in every subgroup of sex_x_age and half-width .04 in population", 1200, 200, model="noisy"),
    Case("half-width .08 in every subgroup of age_x_region", 1200, 400, model="shuffled", items=15),
    Case("half-width .08 in every subgroup of sex_x_age", 600, 80, skill=0.3),
)


def with_model(simulated: World, data: EstimationInput, model: str) -> EstimationInput:
    """Replace the model's answers as people by answers to pairs."""
    if model == "person":
        return data
    rng = np.random.default_rng(3)
    shares = simulated.truth[:, rng.permutation(len(simulated.items.ids))]
    if model == "noisy":
        shares = np.clip(simulated.truth + rng.normal(0, 0.08, simulated.truth.shape), 0.001, 1) * simulated.items.used
    return replace(data, models={"model": values_of_pairs("model", shares / shares.sum(axis=2, keepdims=True), data)})


def estimates_of(data: EstimationInput) -> dict[str, Estimates]:
    """Return the four estimates that a plan promises."""
    human, fit = human_only(data), multilevel(data)
    return {
        HUMAN: human,
        RECTIFIED: rectified(data, "model", human),
        SMALL_AREA: small_area_estimates(data, [], fit, human),
        SMALL_AREA_MODEL: small_area_estimates(data, ["model"], fit, human),
    }


def show(case: Case, repetitions: int, seed: int) -> None:
    """Print promised and reached half-widths of a case."""
    simulated = world(seed, people=60_000, items=case.items, skill=case.skill)
    pilot = with_model(simulated, simulated.draw(case.pilot, seed + 6), case.model)
    pilot = replace(pilot, sample=replace(pilot.sample, fraction=0.0))
    evidence = evidence_of_pilot(pilot)
    clauses = read_goal(case.goal, evidence.population, evidence.items.ids)
    plan = plan_from(evidence, clauses, case.budget, pilot=pilot, model=pilot.models["model"], questions=case.questions)
    groups = plan.planner.rows.subgroup
    option = (simulated.truth[groups] * (1 - simulated.truth[groups])).argmax(axis=2)[..., None]
    print(f"{case}\n    scale {plan.scale:.2f}, needed {dict(plan.needed)}")
    widths: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for repetition in range(repetitions):
        sample = drawn(simulated, plan, 99 + seed + repetition)
        for name, one in estimates_of(with_model(simulated, sample, case.model)).items():
            widths.setdefault(name, []).append(float(np.take_along_axis((one.high - one.low)[groups] / 2, option, 2).mean()))
            errors.setdefault(name, []).append(
                float(np.square(np.take_along_axis((one.shares - simulated.truth)[groups], option, 2)).mean())
            )
    for name, found in widths.items():
        promised = float(plan.half_width(name, groups).mean())
        error = 1.96 * float(np.sqrt(np.mean(errors[name])))
        print(f"    {name:17} promised {promised:.4f}  ratio {np.mean(found) / promised:.2f}  error {error / promised:.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for one in CASES:
        show(one, asked.repetitions, asked.seed)
