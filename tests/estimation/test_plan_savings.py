"""What a pilot and a wave say about variances and the savings of a model, and whether plans keep their promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.estimation.simulated import World, world
from valuestrata.estimation.estimates import HUMAN, RECTIFIED, SMALL_AREA
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.estimators.multilevel import multilevel
from valuestrata.estimation.estimators.rectified import rectified
from valuestrata.estimation.estimators.small_area import small_area_estimates
from valuestrata.estimation.inputs import EstimationInput, HumanSample
from valuestrata.estimation.model_values import values_of_pairs
from valuestrata.estimation.plan.effects import cell_effects
from valuestrata.estimation.plan.evidence import evidence_of_pilot
from valuestrata.estimation.plan.goal import read_goal
from valuestrata.estimation.plan.planner import SMALL_AREA_MODEL, SamplePlan, plan_from
from valuestrata.estimation.plan.savings import pilot_saving, small_area_gain, wave_saving


@pytest.fixture(scope="module")
def skilled():
    return world(1, people=6000, items=12, skill=0.7)


def cells_of(data: EstimationInput, pairs):
    """Return the values of each joint cell of a model with these answers to pairs."""
    cells = np.arange(len(data.population.share))
    sample = replace(data.sample, cell=cells, answers=np.full((len(cells), len(data.items.ids)), -1, dtype=np.int8))
    return values_of_pairs("model", pairs, replace(data, sample=sample)).people


def test_the_saving_in_a_pilot_is_the_squared_correlation(skilled):
    data = skilled.draw(500, 1)
    saving = pilot_saving(data, data.models["model"])
    assert saving.low[0] < 0.7**2 < saving.high[0] + 0.03
    assert saving.of_pairs[0].mean() == pytest.approx(0.7**2, abs=0.06)


@pytest.mark.parametrize("people", [5, 60, 400])
def test_a_model_whose_answers_are_of_other_people_saves_nothing(skilled, people):
    shown = []
    for seed in range(4):
        data = skilled.draw(people, seed)
        model = data.models["model"]
        order = np.random.default_rng(seed).permutation(people)
        useless = replace(model, people=model.people[order], pairs=model.pairs[:, ::-1], population=model.population)
        shown.append(pilot_saving(data, useless).of_pairs[:12].mean())
    assert np.mean(shown) < 0.01


def test_a_model_with_the_answers_of_other_items_saves_nothing_in_a_wave(skilled):
    data = skilled.draw(5000, 1)
    evidence = evidence_of_pilot(data)
    effects = cell_effects(evidence)
    # Items 0, 3, 6 and 9 have the same number of options.
    pairs = skilled.truth[:, [3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2]]
    saving = wave_saving(evidence, effects, cells_of(data, pairs))
    gain = small_area_gain(evidence, effects, values_of_pairs("model", pairs, data))
    assert saving.of_pairs.mean() < 0.01
    assert gain.counted < 0.1


def test_pilot_and_wave_agree_on_a_model_that_knows_the_subgroups(skilled):
    data = skilled.draw(5000, 1)
    evidence = evidence_of_pilot(data)
    effects = cell_effects(evidence)
    model = values_of_pairs("model", skilled.truth, data)
    pilot, wave = pilot_saving(data, model), wave_saving(evidence, effects, cells_of(data, skilled.truth))
    assert wave.value[0] == pytest.approx(pilot.value[0], abs=0.03)
    assert pilot.low[0] > 0.03
    assert small_area_gain(evidence, effects, model).counted > 0.8


def test_effects_are_found_and_cells_predicted(skilled):
    data = skilled.draw(5000, 2)
    evidence = evidence_of_pilot(data)
    effects = cell_effects(evidence)
    assert (effects.variance[:3] > 0.01).all()
    predicted = effects.predicted_cells(evidence)
    weights = skilled.population.weights
    np.testing.assert_allclose(np.einsum("gj,jik->gik", weights, predicted)[:11], skilled.truth[:11], atol=0.035)


def test_more_people_outside_predict_better_and_no_less_than_their_number_allows(skilled):
    effects = cell_effects(evidence_of_pilot(skilled.draw(1000, 1)))
    groups, share = np.arange(1, 8), skilled.population.share
    few, many = (effects.outside_variance(skilled.population, n * share, groups) for n in (100.0, 10_000.0))
    assert (few > many).all()
    assert (many > 0).all()
    assert np.isinf(effects.outside_variance(skilled.population, 100 * share, np.array([0]))).all()


def test_the_interviews_of_one_attribute_have_a_closed_form(skilled):
    data = skilled.draw(2000, 1)
    evidence = evidence_of_pilot(data)
    clauses = read_goal("half-width .05 in every level of region", evidence.population, evidence.items.ids)
    plan = plan_from(evidence, clauses, 10_000)
    deviation = np.sqrt(evidence.uncertainty[clauses[0].subgroups] * evidence.design_effect / evidence.rate)
    expected = np.square(1.959964 * deviation.mean(axis=1) / 0.05)
    np.testing.assert_allclose(plan.least, expected, atol=1.01)
    # Its representation says what it reaches, without its arrays.
    shown = repr(replace(plan, goal="half-width .05 in every level of region")).splitlines()
    assert shown[0] == "Sample plan: half-width .05 in every level of region"
    assert shown[1].startswith("  10,000 interviews reach the goal with the interviews alone.")
    assert len(shown) <= 6
    assert "array" not in repr(plan)
    html = plan._repr_html_()
    assert all(f">{n:,}<" in html for n in plan.interviews)
    twice = plan_from(evidence, clauses, 10_000, design_effect=2.0)
    np.testing.assert_allclose(twice.least, 2 * expected, atol=1.01)
    every = read_goal("half-width .05 in every level of region for every item", evidence.population, evidence.items.ids)
    largest = np.square(1.959964 * deviation.max(axis=1) / 0.05)
    np.testing.assert_allclose(plan_from(evidence, every, 10_000).least, largest, atol=1.01)


def test_clusters_and_weights_give_a_design_effect(skilled):
    data = skilled.draw(600, 1)
    weight = np.where(np.arange(600) % 2, 3.0, 1.0)
    weighted = evidence_of_pilot(replace(data, sample=replace(data.sample, weight=weight)))
    assert weighted.design_effect == pytest.approx(1.25, rel=0.1)
    rows = np.repeat(np.arange(600), 2)
    twins = HumanSample(data.sample.answers[rows], data.sample.cell[rows], np.ones(1200), rows, np.zeros(600, dtype=np.intp))
    assert evidence_of_pilot(replace(data, sample=twins)).design_effect == pytest.approx(2.0, rel=0.1)


def drawn(simulated: World, plan: SamplePlan, seed: int) -> EstimationInput:
    """Draw people as a plan says, who answer the questions of their form."""
    rng = np.random.default_rng(seed)
    cell = plan.planner.cells.cell_of[simulated.cell]
    rows = [rng.choice(np.flatnonzero(cell == c), size=n, replace=False) for c, n in enumerate(plan.interviews)]
    forms = np.concatenate([rng.permutation(np.repeat(np.arange(len(dealt)), dealt)) for dealt in plan.dealt])
    weight, people = np.repeat(plan.weights, plan.interviews), np.concatenate(rows)
    answers = simulated.answers[people].copy()
    answers[~plan.forms.asked[forms]] = -1
    sample = HumanSample(answers, simulated.cell[people], weight, np.arange(len(people)), np.zeros(len(people), dtype=np.intp))
    return EstimationInput(simulated.items, simulated.population, sample, {"model": simulated.respondent_level(people)})


def achieved(simulated: World, plan: SamplePlan, repetitions: int) -> dict[str, float]:
    """Return the mean half-width of the most uncertain option over draws, subgroups of the goal and items, over the promised one."""
    groups = plan.planner.rows.subgroup
    option = (simulated.truth[groups] * (1 - simulated.truth[groups])).argmax(axis=2)[..., None]
    found: dict[str, list[float]] = {}
    for seed in range(repetitions):
        data = drawn(simulated, plan, seed)
        human = human_only(data)
        estimates = {HUMAN: human, RECTIFIED: rectified(data, "model", human)}
        fit = multilevel(data)
        estimates[SMALL_AREA] = small_area_estimates(data, [], fit, human)
        estimates[SMALL_AREA_MODEL] = small_area_estimates(data, ["model"], fit, human)
        for name, one in estimates.items():
            found.setdefault(name, []).append(float(np.take_along_axis((one.high - one.low)[groups] / 2, option, 2).mean()))
    return {name: float(np.mean(widths)) / float(plan.half_width(name, groups).mean()) for name, widths in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("goal", "budget", "questions"),
    [
        ("half-width .05 in every level of region", 1500, None),
        ("half-width .05 in every level of region", 800, 6),
        ("half-width .08 in every subgroup of sex_x_age and half-width .04 in population", 900, None),
    ],
)
def test_estimators_deliver_the_half_widths_of_the_plan(goal, budget, questions):
    simulated = world(4, people=15_000, items=12, skill=0.6)
    pilot = simulated.draw(300, 9)
    pilot = replace(pilot, sample=replace(pilot.sample, fraction=0.0))
    evidence = evidence_of_pilot(pilot)
    clauses = read_goal(goal, evidence.population, evidence.items.ids)
    plan = plan_from(evidence, clauses, budget, pilot=pilot, model=pilot.models["model"], questions=questions)
    ratio = achieved(simulated, plan, 5)
    for name in (HUMAN, RECTIFIED, SMALL_AREA):
        assert 0.9 < ratio[name] < 1.1, (name, ratio)
    # The plan counts on the lower end of what the model explains, and not on what it tells of the level of an item.
    assert 0.7 < ratio[SMALL_AREA_MODEL] < 1.1, ratio
