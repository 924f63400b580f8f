"""Goals of a sample in words."""

import pytest

from tests.estimation.simulated import world
from valuestrata.errors import InputDataError, UsageError
from valuestrata.estimation.inputs import PopulationCells
from valuestrata.estimation.plan.goal import read_goal

ITEMS = ("Q1", "Q2", "Q3")


@pytest.fixture(scope="module")
def population():
    return world(1, people=500, items=3).population


def names(population, clause):
    return [population.subgroups[g] for g in clause.subgroups]


def test_a_goal_names_every_level_of_an_attribute(population):
    (clause,) = read_goal("half-width .05 in every level of region", population, ITEMS)
    assert clause.half_width == 0.05
    assert names(population, clause) == [f"region_{level}" for level in range(5)]
    assert clause.items.tolist() == [0, 1, 2]
    assert not clause.each


def test_clauses_are_joined_by_and(population):
    text = (
        "half-width .03 in population and half-width 7% in every subgroup of sex_x_age for every item and half-width .1 in sex_0 for Q3, Q1"
    )
    first, second, third = read_goal(text, population, ITEMS)
    assert names(population, first) == ["all"]
    assert (second.half_width, second.each, len(second.subgroups)) == (0.07, True, 8)
    assert names(population, third) == ["sex_0"]
    assert third.items.tolist() == [2, 0]


@pytest.mark.parametrize("written", ["age_x_sex", "sex_x_age", "sa"])
def test_strata_have_other_names(population, written):
    (clause,) = read_goal(f"Half width of .05 in every subgroup of {written}", population, ITEMS, names={"sa": "sex_x_age"})
    assert len(clause.subgroups) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("be precise", "expected `half-width NUMBER in SUBGROUPS`"),
        ("half-width x in population", "'x' is not a number"),
        ("half-width 5 in population", "Did you mean 0.05?"),
        ("half-width 0 in population", "between 0 and .5"),
        ("half-width .05 in every level of regoin", "Did you mean 'region'?"),
        ("half-width .05 in sex_00", "Did you mean 'sex_0'?"),
        ("half-width .05 in region", "Write `in every subgroup of region`"),
        ("half-width .05 in population for Q9", "there is no item 'Q9'"),
        ("half-width .05 in population and .03 in sex_0", "there is no subgroup 'population and .03 in sex_0'"),
    ],
)
def test_a_wrong_goal_is_explained_with_examples(population, text, message):
    with pytest.raises(UsageError) as error:
        read_goal(text, population, ITEMS)
    assert message in str(error.value)
    assert "half-width .05 in every level of ethnicity" in str(error.value)


def test_subgroups_that_the_population_lacks_are_refused_or_left_out(population):
    share = population.share * (population.levels[:, 2] != 4)
    fewer = PopulationCells(
        population.attributes,
        population.levels,
        share / share.sum(),
        population.subgroups,
        population.strata,
        population.inside,
        population.labels,
    )
    with pytest.raises(InputDataError, match="nobody in the population belongs to the subgroup 'region_4'"):
        read_goal("half-width .05 in region_4", fewer, ITEMS)
    (clause,) = read_goal("half-width .05 in every level of region", fewer, ITEMS)
    assert names(fewer, clause) == [f"region_{level}" for level in range(4)]
    assert clause.empty == ("region_4",)
