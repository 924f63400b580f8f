"""Values of models for people and for the population, by pair and by person."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from bench import shared_surveys
from tests.estimation.simulated import one_hot as reference_one_hot
from tests.estimation.simulated import world
from valuestrata.building import BuildSettings
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, PopulationCells
from valuestrata.estimation.model_values import SimulatedPeople, one_hot, pair_values, respondent_values, values_of_pairs
from valuestrata.estimation.reading import estimation_input, input_of_survey
from valuestrata.responses.per_respondent.pairs import shares_as_responses
from valuestrata.survey import read_survey

# Cells: sex x age, the last with an unknown age.
LEVELS = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, -1]])
SHARE = np.array([0.1, 0.2, 0.3, 0.3, 0.1])
SUBGROUPS = {
    "all": ("all", None, None),
    "sex_M": ("sex", 0, None),
    "sex_F": ("sex", 1, None),
    "age_Y": ("age", None, 0),
    "age_O": ("age", None, 1),
    "sex_x_age_M_Y": ("sex_x_age", 0, 0),
    "sex_x_age_F_O": ("sex_x_age", 1, 1),
}
ITEMS = ItemOptions(
    ("Q1", "Q2"), np.array([2, 3]), np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]), np.array([True, True]), np.array(["a", "b"])
)


def hand(cell=(0, 1, 2, 3, 4), answers=None):
    """Two items, five cells, and a person in each of `cell`."""
    inside = [
        [(sex is None or level[0] == sex) and (age is None or level[1] == age) for level in LEVELS] for _, sex, age in SUBGROUPS.values()
    ]
    strata = tuple(stratum for stratum, _, _ in SUBGROUPS.values())
    population = PopulationCells(("sex", "age"), LEVELS, SHARE, tuple(SUBGROUPS), strata, np.array(inside), (("M", "F"), ("Y", "O")))
    n = len(cell)
    values = np.zeros((n, 2), dtype=np.int8) if answers is None else np.array(answers, dtype=np.int8)
    return EstimationInput(ITEMS, population, HumanSample(values, np.array(cell), np.ones(n), np.arange(n), np.zeros(n, dtype=np.intp)))


def pairs(**first):
    """Share of the first option of Q1 by subgroup, the rest on the second; NaN without an answer, and for Q2."""
    found = np.full((7, 2, 3), np.nan)
    for name, share in first.items():
        found[list(SUBGROUPS).index(name), 0] = [share, 1 - share, 0]
    return found


def test_a_cell_has_the_mean_of_the_finest_answered_subgroups_that_contain_it():
    data = hand()
    found = values_of_pairs("run", pairs(all=0.5, sex_M=0.2, sex_F=0.4, age_Y=0.6, age_O=0.8, sex_x_age_M_Y=0.9, sex_x_age_F_O=0.1), data)
    # Pairs of attributes; men who are old and women who are young only have single attributes; the last woman has no age.
    assert_allclose(found.people[:, 0, 0], [0.9, (0.2 + 0.8) / 2, (0.4 + 0.6) / 2, 0.1, 0.4])
    assert_allclose(found.people[:, 0].sum(axis=1), 1)
    assert np.isnan(found.people[:, 1]).all()
    assert not found.respondent_level


def test_the_population_mean_is_exact_from_the_cells():
    found = values_of_pairs("run", pairs(sex_M=0.2, sex_F=0.4), hand())
    assert_allclose(found.population[:, 0, 0], [0.3 * 0.2 + 0.7 * 0.4, 0.2, 0.4, (0.1 * 0.2 + 0.3 * 0.4) / 0.4, 0.32, 0.2, 0.4])
    assert np.isinf(found.simulated).all()
    # What the model said of subgroups stays as it was.
    assert np.isnan(found.pairs[0]).all()


def test_all_is_the_last_resort_and_cells_without_an_answer_have_the_mean_of_the_others():
    assert_allclose(values_of_pairs("run", pairs(all=0.7, sex_M=0.2), hand()).people[:, 0, 0], [0.2, 0.2, 0.7, 0.7, 0.7])
    lonely = values_of_pairs("run", pairs(age_Y=0.2, age_O=0.6), hand())
    assert lonely.people[4, 0, 0] == pytest.approx((0.4 * 0.2 + 0.5 * 0.6) / 0.9)
    assert lonely.population[0, 0, 0] == pytest.approx((0.4 * 0.2 + 0.5 * 0.6) / 0.9)


def test_a_subgroup_without_population_has_no_mean():
    data = hand()
    population = replace(data.population, share=np.array([0.0, 0.4, 0.3, 0.3, 0.0]))
    found = values_of_pairs("run", pairs(sex_M=0.2, sex_F=0.4), replace(data, population=population))
    assert np.isnan(found.population[5, 0]).all()
    assert found.people[0, 0, 0] == 0.2


def test_a_run_is_placed_by_item_and_subgroup(made):
    survey = read_survey(made.file, made.codebook)
    data = input_of_survey(made.dataset, survey)
    rows = pl.DataFrame(
        {
            "pair_id": ["Q1_sex_Male", "Q3_sex_x_faith_Male_None", "Q3_sex_Male"],
            "item": ["Q1", "Q3", "Q3"],
            "subgroup": ["sex_Male", "sex_x_faith_Male_None", "sex_Male"],
            "shown": [[1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]],
            "option_probs": [[0.5, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]],
            "respondents": [1, 1, 1],
        }
    )
    found = pair_values(made.dataset, FakeRun("run", {}, shares_as_responses(rows, "shares")), data)
    group = list(data.population.subgroups)
    assert_allclose(found.pairs[group.index("sex_Male"), 0], [0.5, 0.25, 0.25, 0])
    male, none = survey.levels[:, 0] == 0, survey.levels[:, 2] == 0
    assert_allclose(found.people[male & none, 2], np.tile([0.1, 0.2, 0.3, 0.4], ((male & none).sum(), 1)))
    assert_allclose(found.people[male & ~none, 2, 0], 1)
    weight = made.rows["wt"].to_numpy()
    expected = np.average((male & ~none)[male] * 1.0 + (male & none)[male] * 0.1, weights=weight[male])
    assert found.population[group.index("sex_Male"), 2, 0] == pytest.approx(expected)


@dataclass(frozen=True)
class FakeRun:
    name: str
    meta: dict
    responses: pl.DataFrame


def test_simulated_people_stand_for_their_cell():
    # Three people in the first cell (one of them chose option 2), one in each of the others.
    answers = np.array([[0, 2], [0, 2], [1, 2], [1, 0], [0, 0], [0, -1], [1, 0]], dtype=np.int8)
    cell = np.array([0, 0, 0, 1, 2, 3, 4])
    data = hand(cell=(0, 2, 3))
    found = respondent_values("model", data, answers[[0, 4, 5]], SimulatedPeople(answers, cell))
    assert found.respondent_level
    assert_allclose(found.people[:, 0], [[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert np.isnan(found.people[2, 1]).all()
    assert found.population[0, 0, 0] == pytest.approx(0.1 * 2 / 3 + 0.3 + 0.3)
    # Nobody in the fourth cell answered Q2, and the other cells stand for it.
    assert found.population[0, 1, 2] == pytest.approx(0.1 / 0.7)
    assert found.simulated[0, 0] == pytest.approx(1 / (0.1**2 / 3 + 0.2**2 + 0.3**2 + 0.3**2 + 0.1**2))
    assert found.simulated[5, 0] == pytest.approx(3)
    assert found.simulated[6, 1] == 0
    assert np.isnan(found.population[6, 1]).all()
    # A missing answer has the value of the cell.
    own = np.array([[-1, 2], [0, 0], [0, -1]], dtype=np.int8)
    assert_allclose(respondent_values("model", data, own, SimulatedPeople(answers, cell)).people[0, 0], [2 / 3, 1 / 3, 0])
    # The model's own shares are not poststratified.
    assert_allclose(found.pairs[0, 0], [4 / 7, 3 / 7, 0])


def test_weights_count_within_cells_and_reduce_the_effective_number():
    answers = np.array([[0, 0], [1, 0], [0, 0], [0, 0], [0, 0], [0, 0]], dtype=np.int8)
    simulated = SimulatedPeople(answers, np.array([0, 0, 1, 2, 3, 4]), np.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    found = respondent_values("model", hand(), answers[:5], simulated)
    assert found.population[5, 0, 0] == pytest.approx(0.75)
    assert found.simulated[5, 0] == pytest.approx(16 / 10)


def test_simulated_people_who_are_the_population_have_no_sampling_error():
    made = world(0, people=500, items=3)
    data = made.draw(100, 1)
    rows = np.flatnonzero(np.isin(np.arange(500), np.random.default_rng([1, 17]).choice(500, size=100, replace=False)))
    expected = data.models["model"]
    found = respondent_values("model", data, made.simulated[rows], SimulatedPeople(made.simulated, made.cell, everyone=True))
    assert_allclose(found.people, expected.people)
    assert_allclose(found.population, expected.population)
    assert_allclose(found.pairs, expected.pairs)
    assert (found.simulated[made.population.sizes > 0] == np.inf).all()


def test_poststratification_removes_the_bias_of_unrepresentative_simulated_people():
    made = world(3, people=4000, items=6)
    rng = np.random.default_rng(0)
    # Four times as many men as women are simulated.
    chance = np.where(made.population.levels[made.cell, 0] == 0, 4.0, 1.0)
    rows = rng.choice(4000, size=2000, replace=False, p=chance / chance.sum())
    data = made.draw(50, 0)
    found = respondent_values("model", data, data.sample.answers, SimulatedPeople(made.simulated[rows], made.cell[rows]))
    truth = made.respondent_level(np.arange(1)).population
    assert np.abs(found.population[0] - truth[0]).max() < 0.03
    assert np.abs(found.pairs[0] - truth[0]).max() > 0.05


def test_answers_as_shares_of_options():
    made = world(0, people=500, items=4)
    answers = made.answers.copy()
    answers[3, 1] = -3
    assert_allclose(one_hot(answers, made.items), reference_one_hot(answers, made.items))


@pytest.mark.slow
@pytest.mark.skipif(not shared_surveys.TWIN2K.exists(), reason="the collection twin2k is not here")
def test_three_models_of_twin2k_by_person_and_by_pair(tmp_path):
    """The mean over all simulated people is the model's share of each pair as it was imported."""
    study = shared_surveys.twin2k(tmp_path, BuildSettings(draws=2))
    folder, sample = tmp_path, tmp_path / "sample.csv"
    people = pl.read_csv(folder / "twin2k.csv", infer_schema=False)
    people[::4].write_csv(sample)
    read = estimation_input(
        study.dataset,
        sample,
        survey=folder / "twin2k.yaml",
        runs=study.runs,
        answers=[shared_surveys.TWIN2K / file for file in list(shared_surveys.MODELS.values())[1:]],
        simulated=folder / "twin2k.csv",
        fraction=200 / 799,
    )
    assert list(read.data.models) == list(shared_surveys.MODELS)
    assert [model.respondent_level for model in read.data.models.values()] == [False, True, True]
    assert read.data.sample.people == 200
    for name, run in zip(shared_surveys.MODELS, study.runs, strict=True):
        found = read.data.models[name]
        by_pair = pair_values(study.dataset, run, read.data)
        assert_allclose(found.pairs[~np.isnan(by_pair.pairs)], by_pair.pairs[~np.isnan(by_pair.pairs)], atol=1e-12)
        if found.respondent_level:
            assert_allclose(found.population, found.pairs, atol=1e-12)
            assert np.isinf(found.simulated[~np.isnan(found.pairs[..., 0])]).all()
    # The runs were imported as untaught, so there is only to say that the models also answered as people of unknown levels.
    assert ["people are not in" in str(remark) for remark in read.remarks] == [True, True]
