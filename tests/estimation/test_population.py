"""The population's cells: from a data set's weights, or from a table of sizes."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from valuestrata.building import BuildSettings
from valuestrata.building.from_counts import build_counts
from valuestrata.errors import InputDataError
from valuestrata.estimation.inputs import HumanSample
from valuestrata.estimation.population import dataset_population, place_people, population_of_table, population_remarks
from valuestrata.survey.counts.read import read_counts


def table(made, rows, name="population.csv"):
    pl.DataFrame(rows).write_csv(made.folder / name)
    return made.folder / name


def crossed(sizes):
    """Rows of all combinations of two levels of sex and age, with one faith."""
    return {
        "sex": ["Male", "Male", "Female", "Female"],
        "age_group": ["Young", "Old", "Young", "Old"],
        "faith": ["None"] * 4,
        "n": sizes,
    }


def test_shares_are_the_weights_of_the_data_set(made):
    found = dataset_population(made.dataset)
    rows = made.rows
    expected = rows.filter((pl.col("sex") == 2) & (pl.col("faith") == 2))["wt"].sum() / rows["wt"].sum()
    sizes = dict(zip(found.subgroups, found.sizes, strict=True))
    assert found.subgroups[0] == found.strata[0] == "all"
    assert sizes["all"] == pytest.approx(1)
    assert sizes["sex_x_faith_Female_Muslim"] == pytest.approx(expected)
    assert set(found.subgroups) == set(made.dataset.subgroups["subgroup"])
    assert found.labels[2] == ("None", "Christian", "Muslim")


def test_an_unweighted_data_set_counts_people(made):
    found = dataset_population(replace(made.dataset, meta=dict(made.dataset.meta) | {"weighted": False}))
    sizes = dict(zip(found.subgroups, found.sizes, strict=True))
    assert sizes["sex_Male"] == pytest.approx((made.rows["sex"] == 1).mean())


def test_all_comes_first_whatever_the_order_of_the_data_set(made):
    turned = replace(made.dataset, subgroups=made.dataset.subgroups.reverse())
    found = dataset_population(turned)
    assert found.subgroups[0] == "all"
    assert found.inside[0].all()
    assert found.sizes[found.subgroups.index("sex_Male")] == pytest.approx(
        dataset_population(made.dataset).sizes[dataset_population(made.dataset).subgroups.index("sex_Male")]
    )


def test_a_table_gives_the_sizes_and_adds_equal_rows(made):
    rows = crossed([10, 20, 30, 40])
    twice = {name: [*values, values[0]] for name, values in rows.items()}
    found = population_of_table(made.dataset, table(made, twice))
    sizes = dict(zip(found.subgroups, found.sizes, strict=True))
    assert sizes["sex_Male"] == pytest.approx(40 / 110)
    assert sizes["sex_x_age_Female_Old"] == pytest.approx(40 / 110)
    assert sizes["faith_Muslim"] == 0
    assert (found.weights[found.subgroups.index("faith_Muslim")] == 0).all()


def test_a_blank_level_is_in_no_subgroup_of_its_attribute(made):
    rows = crossed([10, 20, 30, 40]) | {"age_group": ["Young", "Old", "Young", ""]}
    found = population_of_table(made.dataset, table(made, rows))
    sizes = dict(zip(found.subgroups, found.sizes, strict=True))
    assert sizes["age_group_Young"] + sizes["age_group_Old"] == pytest.approx(0.6)
    assert sizes["sex_Female"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faith": None}, r"the column 'faith' is missing.*each combination of sex, age_group, faith; sizes of single attributes"),
        ({"n": None}, "no column 'weight' or 'n'"),
        ({"n": [1, 2, -3, 4]}, "row 3: n is '-3'; sizes are numbers of at least 0"),
        ({"n": ["1", "2", "many", "4"]}, "row 3: n is 'many'"),
        ({"n": [0, 0, 0, 0]}, "the sizes in 'n' are all 0"),
        ({"sex": ["Male", "Mal", "Female", "Female"]}, "row 2: 'Mal' is no level of sex. Did you mean 'Male'"),
        ({"sex": ["Male", "Female", "", ""], "age_group": ["", "", "Young", "Old"], "faith": [""] * 4}, "at most one attribute.*margins"),
    ],
)
def test_bad_tables_are_refused_with_the_remedy(made, change, message):
    rows = {name: value for name, value in (crossed([1, 2, 3, 4]) | change).items() if value is not None}
    with pytest.raises(InputDataError, match=message):
        population_of_table(made.dataset, table(made, rows))


def test_people_outside_the_population_get_cells_without_a_share(made):
    population = population_of_table(made.dataset, table(made, crossed([1, 2, 3, 4])))
    placed = place_people(made.dataset, population, np.array([[1, 0, 0], [1, 0, 2], [-1, 1, 0], [1, 0, 2]], dtype=np.int16))
    assert len(placed.population.share) == len(population.share) + 2
    assert placed.population.share[placed.cell].tolist() == [pytest.approx(0.3), 0, 0, 0]
    assert placed.cell[1] == placed.cell[3]
    assert (placed.population.levels[placed.cell] == [[1, 0, 0], [1, 0, 2], [-1, 1, 0], [1, 0, 2]]).all()
    members = {name: placed.population.inside[g, placed.cell].tolist() for g, name in enumerate(population.subgroups)}
    assert members["sex_x_faith_Female_Muslim"] == [False, True, False, True]
    assert members["age_group_Old"] == [False, False, True, False]
    assert (placed.population.inside[:, : len(population.share)] == population.inside).all()
    assert placed.population.sizes == pytest.approx(population.sizes)


def people(made, population, levels, weight):
    placed = place_people(made.dataset, population, levels)
    number = np.arange(len(levels))
    sample = HumanSample(np.zeros((len(levels), 1), dtype=np.int8), placed.cell, weight, number, np.zeros_like(number))
    return [str(remark) for remark in population_remarks(placed.population, sample)]


def test_a_sample_unlike_the_population_is_named_with_its_shares(made):
    population = population_of_table(made.dataset, table(made, crossed([1, 1, 1, 1])))
    levels = np.zeros((1000, 3), dtype=np.int16)
    levels[:, 0], levels[:, 1] = np.arange(1000) < 300, np.arange(1000) % 2
    (remark,) = people(made, population, levels, np.ones(1000))
    assert remark.startswith("sex: the weighted sample and the population differ (Male: 70")
    assert "50" in remark
    # With weights that correct for it there is nothing to say.
    assert people(made, population, levels, np.where(levels[:, 0] == 1, 7.0, 3.0)) == []


def test_a_difference_that_chance_explains_is_not_named(made):
    population = population_of_table(made.dataset, table(made, crossed([1, 1, 1, 1])))
    levels = np.zeros((20, 3), dtype=np.int16)
    levels[:, 0], levels[:, 1] = np.arange(20) < 12, np.arange(20) % 2
    assert people(made, population, levels, np.ones(20)) == []


def test_unknown_levels_and_combinations_without_population_are_named(made):
    population = population_of_table(made.dataset, table(made, crossed([1, 1, 1, 1])))
    levels = np.array([[0, 0, 0], [1, 1, -1], [0, 1, 0], [1, 0, 0]], dtype=np.int16)
    found = people(made, population, levels, np.ones(4))
    assert [remark.split(";")[0] for remark in found] == [
        "The faith of 1 of 4 people is not known, or is no level of the data set",
        "1 of 4 people have a combination of levels that nobody in the population has. They count in estimates from the sample",
    ]


def test_counts_of_the_whole_population_are_one_cell(tmp_path):
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"Q1": {"question": "Agree?", "options": ["Yes", "No"], "human_counts": [30, 10], "refused": 0}}))
    dataset = build_counts(read_counts(file), BuildSettings(draws=5))
    found = dataset_population(dataset)
    assert found.subgroups == ("all",)
    assert found.share.tolist() == [1]
    assert place_people(dataset, found, np.zeros((3, 0), dtype=np.int16)).cell.tolist() == [0, 0, 0]
