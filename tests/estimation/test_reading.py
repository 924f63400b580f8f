"""People of survey files, tables and microdata in memory as the sample of an estimation, and bad input."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from valuestrata.building import BuildSettings, build
from valuestrata.building.from_counts import build_counts
from valuestrata.errors import InputDataError, UsageError
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.people.interviewed import people_of_survey
from valuestrata.estimation.population import dataset_population
from valuestrata.estimation.reading import estimation_input, input_of_survey, sample_input
from valuestrata.responses.per_respondent.importing import import_respondents
from valuestrata.survey import read_survey
from valuestrata.survey.counts.read import read_counts
from valuestrata.survey.simulation.population import SimulationSettings, plant
from valuestrata.survey.simulation.sav_file import write_simulated
from valuestrata.survey.survey import ReplicateWeights


def read(made, file, **how):
    return estimation_input(made.dataset, file, survey=made.codebook, **how)


def said(found):
    return " | ".join(str(remark) for remark in found.remarks)


# Microdata in memory.


def test_people_of_the_embedded_survey_give_the_counts_of_its_gold():
    survey = read_survey("embedded", items=["natheal", "natfare", "polviews"], attributes=["sex", "ethnicity", "education"])
    dataset = build(survey, BuildSettings(draws=2))
    data = input_of_survey(dataset, survey)
    group = {name: place for place, name in enumerate(data.population.subgroups)}
    for item, subgroup, counts in dataset.gold.filter(pl.col("half") == "all").select("item", "subgroup", "counts_raw").iter_rows():
        answers = data.sample.answers[data.members[:, group[subgroup]], data.items.ids.index(item)]
        assert np.bincount(answers[answers >= 0], minlength=len(counts)).tolist() == counts
    part = input_of_survey(dataset, survey, rows=np.array([5, 17, 3]), fraction=0.25)
    assert part.sample.fraction == 0.25
    assert (part.sample.answers == survey.answers[[5, 17, 3]]).all()
    assert part.sample.cell.tolist() == data.sample.cell[[5, 17, 3]].tolist()


def test_items_and_levels_are_matched_by_name_whatever_their_order(made):
    survey = read_survey(made.file, made.codebook)
    turned = replace(survey, items=survey.items[::-1], answers=survey.answers[:, ::-1], attributes=survey.attributes[::-1])
    turned = replace(turned, levels=survey.levels[:, ::-1])
    one, other = input_of_survey(made.dataset, survey), input_of_survey(made.dataset, turned)
    assert (one.sample.answers == other.sample.answers).all()
    assert (one.members == other.members).all()


def test_people_with_weight_0_are_left_out_of_rows_and_models(made):
    survey = read_survey(made.file, made.codebook)
    weight = survey.weight.copy()
    weight[[0, 2]] = 0
    zeroed = replace(survey, weight=weight)
    full = input_of_survey(made.dataset, survey)
    rows = np.array([4, 2, 1, 0])
    found = input_of_survey(made.dataset, zeroed, rows=rows)
    assert (found.sample.answers == survey.answers[[4, 1]]).all()
    assert found.sample.weight.tolist() == weight[[4, 1]].tolist()
    assert full.sample.people == 600


# Files.


def test_a_survey_file_brings_weights_units_and_strata(made):
    found = read(made, made.sample())
    sample, rows = found.data.sample, made.rows[::4]
    assert sample.weight.tolist() == rows["wt"].to_list()
    assert len(np.unique(sample.unit)) == rows["psu"].n_unique()
    assert [len(set(rows["psu"].to_numpy()[sample.unit == u])) for u in range(3)] == [1, 1, 1]
    assert len(np.unique(sample.stratum)) == 4
    # Q3 has a column of another name.
    assert sample.answers[:, 2].tolist() == [-1 if code == 8 else code for code in rows["third"]]
    assert found.data.items.ids == ("Q1", "Q2", "Q3")
    assert found.data.items.ordered.tolist() == [True, True, False]
    assert_allclose(found.data.items.codes[1], [1, 2, np.nan, np.nan])
    assert found.data.items.blocks.tolist() == ["block one", "block one", "item Q3"]
    assert found.remarks == ()


def test_a_table_by_column_or_by_row_gives_the_same_people(made):
    survey = read(made, made.sample()).data
    how = {"ids": "id", "weight": "wt", "psu": "psu", "strata": "region"}
    renamed = made.rows.rename({"third": "Q3"})[::4].with_columns(third=pl.col("Q3"))
    wide = pl.read_csv(made.table(rows=renamed), infer_schema=False).drop("third").with_columns(pl.col("Q3").replace("8", None))
    wide.write_csv(made.folder / "wide.csv")
    keep = ["id", "sex", "age_group", "faith", "wt", "psu", "region"]
    long = wide.unpivot(index=keep, on=["Q1", "Q2", "Q3"], variable_name="item", value_name="answer")
    long.write_csv(made.folder / "long.csv")
    found = estimation_input(made.dataset, made.folder / "wide.csv", **how)
    rows = estimation_input(made.dataset, made.folder / "long.csv", **(how | {"ids": ("id", "item")}))
    # Columns of these names need no option.
    named = long.rename({"id": "respondent"})
    named.write_csv(made.folder / "named.csv")
    default = estimation_input(made.dataset, made.folder / "named.csv", weight="wt", psu="psu", strata="region")
    for data in (found.data, rows.data, default.data):
        assert (np.maximum(data.sample.answers, -1) == np.maximum(survey.sample.answers, -1)).all()
        assert (data.members == survey.members).all()
        assert (data.sample.weight == survey.sample.weight).all()
        assert (data.sample.unit == survey.sample.unit).all()
        assert (data.sample.stratum == survey.sample.stratum).all()
    assert said(found) == said(rows) == ""


def test_people_without_a_sampling_unit_are_units_of_their_own(made):
    table = pl.read_csv(made.table(), infer_schema=False).with_columns(psu=pl.when(pl.int_range(pl.len()) >= 3).then("psu"))
    table.write_csv(made.folder / "blank.csv")
    found = estimation_input(made.dataset, made.folder / "blank.csv", weight="wt", psu="psu", strata="region")
    assert "3 of 150 respondents have no sampling unit (psu); each counts as a unit of its own." in said(found)
    assert np.bincount(found.data.sample.unit)[found.data.sample.unit[:3]].tolist() == [1, 1, 1]


def test_other_files_than_tables_need_a_codebook(made):
    file = made.folder / "people.json"
    file.write_text("[]")
    with pytest.raises(InputDataError, match=r"people.json: people are read from a survey file with its codebook, or from a table \(.csv"):
        estimation_input(made.dataset, file)


def test_a_table_without_ids_is_one_person_a_row(made):
    found = estimation_input(made.dataset, made.table(drop=("id", "third")), weight="wt")
    assert found.data.sample.people == 150
    assert found.data.items.ids == ("Q1", "Q2")
    assert "Items of the data set that nobody answered are left out: Q3 (1)." in said(found)


def test_a_sav_file_of_a_simulation_with_units_and_weights(tmp_path):
    import pyreadstat

    population = plant(SimulationSettings(survey="wvs7", respondents=400, items=12, weighted=True))
    file = write_simulated(population, 1, tmp_path / "wave.sav").sav
    dataset = build(read_survey(file, "wvs7"), BuildSettings(draws=2))
    columns, about = pyreadstat.read_sav(file)
    columns["I_PSU"], columns["N_REGION_WVS"] = np.arange(400) // 10, 702_000 + np.arange(400) // 100
    people = tmp_path / "people.sav"
    pyreadstat.write_sav(columns.iloc[:300], people, variable_value_labels=about.variable_value_labels)
    found = estimation_input(dataset, people)
    sample = found.data.sample
    assert sample.people == 300
    assert sample.weight.tolist() == columns["W_WEIGHT"].iloc[:300].tolist()
    assert sample.unit.tolist() == (np.arange(300) // 10).tolist()
    assert len(np.unique(sample.stratum)) == 3
    sexes = [found.data.population.subgroups.index(name) for name in ("sex_Male", "sex_Female")]
    assert found.data.members[:, sexes].argmax(axis=1).tolist() == (columns["Q260"].iloc[:300] - 1).tolist()
    survey = read_survey(file, "wvs7")
    assert (np.maximum(sample.answers, -1) == np.maximum(survey.answers[:300], -1)).all()
    assert found.data.items.ids == tuple(item.id for item in survey.items)


def test_nothing_of_a_person_is_written(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people = made.sample()
    model = made.rows.select("id", "Q1", "Q2", "third").write_csv(made.folder / "model.csv") or made.folder / "model.csv"
    before = {file: file.stat().st_mtime_ns for file in made.folder.rglob("*")}
    found = read(made, people, answers={"model": model}, simulated=made.file, missing=("8",))
    assert {file: file.stat().st_mtime_ns for file in made.folder.rglob("*")} == before
    assert list(tmp_path.iterdir()) == []
    assert not any(person in said(found) for person in made.rows["id"])


def test_options_that_nobody_chose_have_the_share_0(made):
    rows = made.rows[::4].with_columns(Q1=pl.lit(2))
    estimates = human_only(read(made, made.sample("same.csv", rows=rows)).data)
    assert_allclose(estimates.shares[0, 0, :3], [0, 1, 0])
    assert (estimates.high[0, 0, :3] > 0).all()


# Answers of models as people.


def test_answers_by_person_are_matched_by_id(made):
    shuffled = made.rows.sample(fraction=1.0, shuffle=True, seed=3).select("id", "Q1", "Q2", "third")
    shuffled.filter(~pl.col("id").is_in([made.rows["id"][4]])).write_csv(made.folder / "model.csv")
    found = read(made, made.sample(), answers=[made.folder / "model.csv"], simulated=made.file, missing=("8",))
    model = found.data.models["model"]
    human = found.data.sample.answers
    known = (human >= 0) & (np.arange(150) != 1)[:, None]
    assert (model.people.argmax(axis=2)[known] == human[known]).all()
    assert (model.people.max(axis=2)[known] == 1).all()
    # Without an answer a person has the value of their cell.
    alike = found.data.sample.cell == found.data.sample.cell[1]
    assert (model.people[1] < 1).all()
    assert alike.sum() > 5
    assert "has no answers for 1 of 150 people of the sample" in said(found)
    assert "It is not recorded what the model of" in said(found)
    assert np.isfinite(model.simulated[0, 0])
    assert model.simulated[0, 0] > 150
    exact = read(made, made.sample(), answers=[made.folder / "model.csv"], simulated=made.file, missing=("8",), fraction=150 / 599)
    assert np.isinf(exact.data.models["model"].simulated[0, 0])


def test_a_run_that_was_imported_from_the_answers_keeps_its_name(made):
    file = made.folder / "answers.csv"
    made.rows.select("id", "Q1", "Q2", "third").write_csv(file)
    out = made.folder / "imported"
    how = {"ids": ["id"], "people": made.file, "survey": made.codebook, "missing": ["8"], "trained_on": "none"}
    import_respondents(made.dataset, file, out, overwrite=True, **how)
    found = read(made, made.sample(), runs=[out], answers=[file], simulated=made.file, missing=("8",))
    assert {name: model.respondent_level for name, model in found.data.models.items()} == {"imported": True}
    assert said(found) == ""
    assert not read(made, made.sample(), runs=[out]).data.models["imported"].respondent_level


def test_ids_that_match_nobody_are_shown(made):
    made.rows.select(pl.col("id") + "x", "Q1").write_csv(made.folder / "strange.csv")
    with pytest.raises(InputDataError, match=r"none of its 600 people is in .*sample.csv \(the first is 'p0-0x', there 'p0-0'\).*`ids=`"):
        read(made, made.sample(), answers=[made.folder / "strange.csv"], missing=("8",))


def test_a_model_that_only_answered_as_the_sample_is_named(made):
    made.rows.select("id", "Q1").write_csv(made.folder / "few.csv")
    found = read(made, made.sample(), answers=[made.folder / "few.csv"], missing=("8",))
    assert "450 of its 600 people are not in" in said(found)
    assert "few answered only as people of the sample" in said(found)


def test_without_subgroups_everybody_as_whom_a_model_answered_counts(tmp_path):
    questions = {name: {"question": f"{name}?", "options": ["Yes", "No"], "human_counts": [30, 10], "refused": 0} for name in ("Q1", "Q2")}
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    dataset = build_counts(read_counts(tmp_path / "questions.json"), BuildSettings(draws=2))
    model = pl.DataFrame({"respondent": range(50), "Q1": ["Yes"] * 20 + ["No"] * 30, "Q2": ["Yes"] * 50})
    model.write_csv(tmp_path / "model.csv")
    model.head(10).write_csv(tmp_path / "people.csv")
    found = estimation_input(dataset, tmp_path / "people.csv", answers=[tmp_path / "model.csv"]).data
    assert found.population.subgroups == ("all",)
    assert found.models["model"].population[0, :, 0].tolist() == [0.4, 1.0]
    assert found.models["model"].simulated.tolist() == [[50, 50]]
    assert_allclose(human_only(found).shares[0, :, 0], 1)


def test_replicate_weights_are_named_as_unused(made):
    survey = read_survey(made.file, made.codebook)
    replicates = ReplicateWeights(np.ones((600, 4)), np.full(4, 0.25), "bootstrap")
    people = people_of_survey(made.dataset, replace(survey, design=replace(survey.design, replicates=replicates)))
    found = sample_input(made.dataset, people, dataset_population(made.dataset))
    assert said(found) == "The replicate weights of survey.csv are not used; standard errors are those of the sampling units and strata."


# Bad input.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wt": -1.0}, "the weight is negative for 150 of 150 respondents"),
        ({"wt": ""}, "the weight is missing for 150 of 150"),
        ({"wt": 0.0}, "the weight is 0 for all 150"),
        ({"Q1": 8, "Q2": 8, "third": 8}, "no item can be used"),
        ({"sex": 9, "age": 5, "faith": 9}, r"no person is in a subgroup of the data set. Levels of sex in the data set: Male, Female"),
    ],
)
def test_survey_files_that_cannot_be_used(made, change, message):
    with pytest.raises(InputDataError, match=message):
        read(made, made.sample("bad.csv", **change))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"weight": "wgt"}, InputDataError, "the column 'wgt' of the weights is missing"),
        ({"psu": "cluster"}, InputDataError, "the column 'cluster' is missing or has fewer than two different values.*`psu=`"),
        ({"strata": "wave"}, InputDataError, "the column 'wave' is missing or has fewer"),
        ({"ids": "person"}, InputDataError, "the column 'person' of the respondents is missing"),
        ({"fraction": 1.0}, UsageError, "from 0 to below 1"),
        ({"runs": ["nowhere"]}, InputDataError, "no run here"),
    ],
)
def test_wrong_calls(made, how, error, message):
    with pytest.raises(error, match=message):
        read(made, made.sample(), **how)


def test_a_weighted_data_set_needs_weights_of_the_people(made):
    file = made.sample("unweighted.csv", rows=made.rows[::4].drop("wt"))
    found = read(made, file)
    assert found.data.sample.weight.tolist() == [1.0] * 150
    assert "The data set is weighted, and the people of" in said(found)
    assert "`weight=`" in said(found)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (lambda f: f.drop("Q1", "Q2", "third"), "no column is an item of the data set"),
        (lambda f: f.with_columns(Q1=pl.lit(7)), "150 answers are outside the codes of their item: Q1: '7'"),
        (
            lambda f: f.with_columns(wt=pl.lit("heavy")),
            "must be numbers of at least 0 and at most 1e.100; found 'heavy'",
        ),
        (lambda f: f.with_columns(wt=pl.lit("1e300")), "found '1e300'"),
        (lambda f: f.head(0), "it has no rows"),
        (lambda f: f.with_columns(wt=pl.lit("0")), "the weights in 'wt' are all 0"),
        (lambda f: f.with_columns(sex=pl.lit("1"), age_group=pl.lit("x"), faith=pl.lit("y")), "no person is in a subgroup of the data set"),
        (lambda f: f.with_columns(id=pl.lit("a")), "id 'a' is in several rows"),
        (lambda f: f.drop("sex", "age_group", "faith"), "no column named like an attribute"),
    ],
)
def test_tables_that_cannot_be_used(made, frame, message):
    file = made.folder / "bad_table.csv"
    frame(pl.read_csv(made.table(), infer_schema=False)).write_csv(file)
    with pytest.raises(InputDataError, match=message):
        estimation_input(made.dataset, file, ids="id", weight="wt")


def test_an_item_with_other_codes_is_refused(made):
    other = made.folder / "other.yaml"
    shorter = "codes: [1, 2], labels: [Low, High]"
    other.write_text(made.codebook.read_text().replace("codes: [1, 2, 3], labels: [Low, Middle, High]", shorter))
    with pytest.raises(InputDataError, match=r"gives Q1 the codes \(1, 2\), and the data set has \(1, 2, 3\)"):
        estimation_input(made.dataset, made.sample(rows=made.rows[::4].with_columns(Q1=pl.lit(1))), survey=other)


def test_people_of_an_attribute_that_is_not_in_the_file(made):
    found = read(made, made.sample("nofaith.csv", rows=made.rows[::4].drop("faith")))
    assert "does not have faith, so its people are in no subgroup of it" in said(found)
    groups = [place for place, name in enumerate(found.data.population.strata) if "faith" in name]
    assert not found.data.members[:, groups].any()
