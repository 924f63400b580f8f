"""People of a survey as the sample of an estimation."""

import numpy as np
import pytest

from valuestrata.building import BuildSettings, build
from valuestrata.estimation.reading import input_of_survey
from valuestrata.survey import read_survey


@pytest.fixture(scope="module")
def gss():
    survey = read_survey("embedded")
    return survey, build(survey, BuildSettings(draws=5))


def test_people_of_the_embedded_survey_give_the_counts_of_its_gold(gss):
    survey, dataset = gss
    data = input_of_survey(dataset, survey)
    assert data.population.subgroups[0] == "all"
    assert set(data.population.subgroups) == set(dataset.subgroups["subgroup"])
    group = {name: place for place, name in enumerate(data.population.subgroups)}
    for item, subgroup, counts in dataset.gold.filter(dataset.gold["half"] == "all").select("item", "subgroup", "counts_raw").iter_rows():
        answers = data.sample.answers[data.members[:, group[subgroup]], data.items.ids.index(item)]
        assert np.bincount(answers[answers >= 0], minlength=len(counts)).tolist() == counts


def test_rows_are_a_subsample(gss):
    survey, dataset = gss
    data = input_of_survey(dataset, survey, rows=np.array([5, 17, 3]), fraction=0.25)
    assert data.sample.people == 3
    assert data.sample.fraction == 0.25
    assert (data.sample.answers == survey.answers[[5, 17, 3]]).all()
