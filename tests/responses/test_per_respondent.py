"""Answers per respondent: layouts, aggregation to pairs like the gold, and bad input."""

import json

import numpy as np
import polars as pl
import pytest

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import load_dataset, write_dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.per_respondent.importing import import_respondents
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.pairs import pair_scores
from valuestrata.survey import read_survey

CODEBOOK = """
survey: small
title: Small
weight: wt
respondent_id: id
missing: {dont_know: {codes: [8], labels: [Don't know]}}
items:
  - {id: Q1, topic: Life, block: one, codes: [1, 2, 3], labels: [Low, Middle, High], question: "One?"}
  - {id: Q2, topic: Life, block: one, codes: [1, 2], labels: [Agree, Disagree], level: binary, question: "Two?"}
  - {id: Q3, topic: Work, column: third, codes: [0, 1, 2, 3], labels: [None, Some, Many, All], question: "Three?"}
attributes:
  - {name: sex, column: sex, role: noun, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}
  - {name: age_group, short: age, column: age, levels: [{label: Young, band: [18, 39]}, {label: Old, band: [40, null]}]}
"""
ITEMS = {"Q1": ("Q1", 1, 3), "Q2": ("Q2", 1, 2), "Q3": ("third", 0, 4)}
PEOPLE = 240


def respondents(seed=0):
    rng = np.random.default_rng(seed)
    sex, age = rng.integers(1, 3, PEOPLE), rng.integers(18, 70, PEOPLE)
    columns = {"id": [f"p{i}" for i in range(PEOPLE)], "sex": sex, "age": age, "wt": rng.uniform(0.5, 2.0, PEOPLE).round(3)}
    for column, first, options in ITEMS.values():
        answers = np.clip(rng.integers(0, options, PEOPLE) + (sex == 2), 0, options - 1) + first
        columns[column] = np.where(rng.random(PEOPLE) < 0.1, 8, answers)
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the codebook, the survey file and the data set built from it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(CODEBOOK)
    respondents().write_csv(folder / "survey.csv")
    write_dataset(build(read_survey(folder / "survey.csv", folder / "small.yaml"), BuildSettings(draws=20)), folder / "data")
    return folder


@pytest.fixture(scope="module")
def dataset(made):
    return load_dataset(made / "data")


def from_survey(made, **more):
    return {"survey": made / "small.yaml", "people": made / "survey.csv"} | more


def wide(folder, frame, name="wide.csv"):
    """The answers with a column per item, don't know left empty."""
    table = frame.select("id", pl.col("Q1", "Q2", "third").replace(8, None))
    table.write_csv(folder / name)
    return folder / name


def long(folder, frame):
    rows = pl.read_csv(wide(folder, frame), infer_schema=False).unpivot(index="id", variable_name="item", value_name="answer")
    rows.write_csv(folder / "long.csv")
    return folder / "long.csv"


def by_item(folder, frame):
    rows = pl.read_csv(wide(folder, frame), infer_schema=False)
    rows.transpose(include_header=True, header_name="item", column_names="id").write_csv(folder / "by_item.csv")
    return folder / "by_item.csv"


def as_labels(folder, frame):
    names = {"Q1": ["Low", "Middle", "High"], "Q2": ["Agree", "Disagree"], "third": ["None", "Some", "Many", "All"]}
    first = {column: start for column, start, _ in ITEMS.values()}
    labelled = frame.select(
        "id", *(pl.col(n).replace_strict({i + first[n]: label for i, label in enumerate(ls)} | {8: ""}) for n, ls in names.items())
    )
    labelled.write_csv(folder / "labels.csv")
    return folder / "labels.csv"


def as_parquet(folder, frame):
    frame.select("id", pl.col("Q1", "Q2", "third").replace(8, None).cast(pl.Float64)).write_parquet(folder / "wide.parquet")
    return folder / "wide.parquet"


def as_jsonl(folder, frame):
    rows = pl.read_csv(long(folder, frame), infer_schema=False).to_dicts()
    (folder / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "long.jsonl"


LAYOUTS = {
    "long": (long, ("id", "item")),
    "items named first": (long, ("item", "id")),
    "wide": (wide, ("id",)),
    "wide, the item column is named as well": (wide, ("id", "item")),
    "by item": (by_item, ("item", "id")),
    "labels": (as_labels, ("id",)),
    "parquet": (as_parquet, ("id",)),
    "jsonl": (as_jsonl, ("id", "item")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_survey_s_own_respondents_give_its_gold(made, dataset, tmp_path, layout):
    write, ids = LAYOUTS[layout]
    result = import_respondents(dataset, write(tmp_path, respondents()), tmp_path / "run", ids=ids, **from_survey(made))
    run = load_run(tmp_path / "run")
    gold = dataset.target_gold
    joined = gold.join(run.responses, on="pair_id", how="full", coalesce=True, maintain_order="left")
    assert len(joined) == len(gold) == result.pairs == 21
    assert joined["respondents"].to_list() == joined["n"].to_list()
    assert joined["answer"].to_list() == joined["mode"].to_list()
    for ours, theirs in zip(joined["option_probs"], joined["shares"], strict=True):
        assert ours.to_list() == pytest.approx(theirs.to_list())
    scores = pair_scores(dataset, run.responses)
    assert scores["w1"].max() < 1e-9
    assert (scores["accuracy"] == 1).all()
    assert result.empty == (respondents().select("Q1", "Q2", "third") == 8).sum().sum_horizontal()[0]


def test_shares_of_few_simulated_respondents_scatter(made, dataset, tmp_path):
    """`w1_sampling` of n respondents is that of n samples: sqrt(2 / pi) sqrt(F (1 - F) / (n - 1)), for two options."""
    import_respondents(dataset, wide(tmp_path, respondents()), tmp_path / "run", ids=["id"], **from_survey(made))
    responses = load_run(tmp_path / "run").responses
    scores = dict(pair_scores(dataset, responses).select("pair_id", "w1_sampling").iter_rows())
    row = responses.filter(pair_id="Q2_sex_Male").row(0, named=True)
    share, n = row["option_probs"][0], row["respondents"]
    assert scores["Q2_sex_Male"] == pytest.approx(np.sqrt(2 / np.pi * share * (1 - share) / (n - 1)))
    before = pair_scores(dataset, responses.drop("respondents"))
    assert before["w1_sampling"].null_count() == len(before)


def test_a_run_without_the_column_of_respondents_loads(made, dataset, tmp_path):
    import_respondents(dataset, wide(tmp_path, respondents()), tmp_path / "run", ids=["id"], **from_survey(made))
    folder = tmp_path / "run"
    table = pl.read_parquet(folder / "responses.parquet").drop("respondents")
    table.write_parquet(folder / "responses.parquet")
    document = json.loads((folder / "run.json").read_text())
    document.pop("responses_sha256")
    (folder / "run.json").write_text(json.dumps(document))
    assert load_run(folder).responses.schema == RESPONSES.empty().schema


def labels_of(frame):
    return frame.select(
        "id",
        pl.col("sex").replace_strict({1: "Male", 2: "Female"}),
        pl.when(pl.col("age") < 40).then(pl.lit("Young")).otherwise(pl.lit("Old")).alias("age_group"),
        "wt",
    )


def test_people_may_be_described_by_labels(made, dataset, tmp_path):
    labels_of(respondents()).write_csv(tmp_path / "people.csv")
    file = wide(tmp_path, respondents().rename({"third": "Q3"}).with_columns(third=pl.col("Q3")))
    pl.read_csv(file).rename({"third": "Q3"}).write_csv(file)
    how = {"ids": ["id"], "people": tmp_path / "people.csv"}
    import_respondents(dataset, file, tmp_path / "weighted", weight="wt", **how)
    survey = import_respondents(dataset, wide(tmp_path, respondents(), "again.csv"), tmp_path / "survey", ids=["id"], **from_survey(made))
    first, second = (load_run(tmp_path / name).responses for name in ("weighted", "survey"))
    assert first.equals(second)
    assert not survey.remarks
    alike = import_respondents(dataset, file, tmp_path / "alike", **how)
    assert ["count alike" in str(remark) for remark in alike.remarks] == [True]
    assert not load_run(tmp_path / "alike").responses.equals(first)


def test_ids_may_be_numbers_of_any_type(made, dataset, tmp_path):
    frame = respondents().with_columns(id=pl.int_range(pl.len()))
    frame.write_csv(tmp_path / "survey.csv")
    answers = pl.read_csv(wide(tmp_path, frame)).with_columns(pl.col("id").cast(pl.Float64))
    answers.write_parquet(tmp_path / "answers.parquet")
    how = from_survey(made, people=tmp_path / "survey.csv")
    assert import_respondents(dataset, tmp_path / "answers.parquet", tmp_path / "run", ids=["id"], **how).respondents == PEOPLE


def test_the_minimum_is_that_of_the_data_set(made, dataset, tmp_path):
    frame = respondents().head(100)
    result = import_respondents(dataset, wide(tmp_path, frame), tmp_path / "run", ids=["id"], **from_survey(made))
    found = load_run(tmp_path / "run").responses
    weight = frame.filter((pl.col("sex") == 1) & (pl.col("Q1") != 8))["wt"]
    assert (weight.sum() ** 2 / (weight**2).sum() >= 30) == (not found.filter(pair_id="Q1_sex_Male").is_empty())
    assert 0 < result.pairs < 21
    assert result.pairs + result.below + result.without == 21
    assert found["respondents"].min() >= 30
    with pytest.raises(InputDataError, match=r"no pair has the data set's minimum of 30 respondents and 30 \(effective\) valid answers"):
        import_respondents(dataset, wide(tmp_path, frame.head(20)), tmp_path / "few", ids=["id"], **from_survey(made))
    assert not (tmp_path / "few").exists()


def test_refusals_and_texts_are_counted_and_left_out(made, dataset, tmp_path):
    frame = pl.read_csv(wide(tmp_path, respondents()), infer_schema=False)
    texts = ["Answer: 1", "I cannot answer that.", "hard to put into words", "77"]
    frame = frame.with_columns(Q1=pl.Series([*texts, *frame["Q1"][4:]]))
    frame.write_csv(tmp_path / "texts.csv")
    result = import_respondents(dataset, tmp_path / "texts.csv", tmp_path / "run", ids=["id"], missing=["77"], **from_survey(made))
    assert (result.refused, result.unread) == (2, 1)
    assert any("1 answers could not be read, for example Q1: 'hard to put into words'" in str(remark) for remark in result.remarks)
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert document["per_respondent"]["refused"] == 2
    assert document["repeats"] == "people"


def test_a_value_for_refusals_must_not_be_an_answer(made, dataset, tmp_path):
    with pytest.raises(UsageError, match=r"missing='3'`: '3' is an answer of Q1 in .*wide\.csv"):
        import_respondents(dataset, wide(tmp_path, respondents()), tmp_path / "run", ids=["id"], missing=["3"], **from_survey(made))


def test_a_data_set_of_the_whole_population_needs_no_people(made, dataset, tmp_path):
    from dataclasses import replace

    whole = replace(
        dataset,
        subgroups=dataset.subgroups.filter(stratum="all"),
        gold=dataset.gold.filter(subgroup="all"),
        meta={**dataset.meta, "weighted": False, "attributes": []},
    )
    frame = respondents().rename({"third": "Q3"})
    table = pl.DataFrame({"item": ["Q1", "Q3"]} | {f"pid_{row['id']}": [row["Q1"], row["Q3"]] for row in frame.iter_rows(named=True)})
    table.write_csv(tmp_path / "answers.csv")
    result = import_respondents(whole, tmp_path / "answers.csv", tmp_path / "run", ids=["item"], missing=["8"])
    found = load_run(tmp_path / "run").responses
    assert (result.pairs, result.without, result.respondents) == (2, 1, PEOPLE)
    assert result.refused == int((frame["Q1"] == 8).sum() + (frame["Q3"] == 8).sum())
    # A table of people may still weight them.
    pl.DataFrame({"id": [f"pid_{name}" for name in frame["id"]], "wt": frame["wt"]}).write_csv(tmp_path / "weights.csv")
    how = {"ids": ["item", "id"], "missing": ["8"], "people": tmp_path / "weights.csv", "weight": "wt"}
    import_respondents(whole, tmp_path / "answers.csv", tmp_path / "weighted", **how)
    answered = frame.filter(pl.col("Q1") != 8)
    shares = [answered.filter(pl.col("Q1") == code)["wt"].sum() / answered["wt"].sum() for code in (1, 2, 3)]
    weighted = load_run(tmp_path / "weighted").responses.filter(pair_id="Q1_all")["option_probs"][0].to_list()
    assert weighted == pytest.approx(shares)
    valid = frame.filter(pl.col("Q1") != 8)["Q1"]
    assert found.filter(pair_id="Q1_all")["option_probs"][0].to_list() == pytest.approx([(valid == code).mean() for code in (1, 2, 3)])


def test_no_answer_of_a_respondent_is_stored(made, dataset, tmp_path):
    import_respondents(dataset, wide(tmp_path, respondents()), tmp_path / "run", ids=["id"], truth=made / "survey.csv", **from_survey(made))
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["people.parquet", "responses.parquet", "run.json"]
    for file in (tmp_path / "run").glob("*.parquet"):
        texts = [value for column in pl.read_parquet(file).get_columns() if column.dtype == pl.String for value in column.drop_nulls()]
        assert not {f"p{i}" for i in range(PEOPLE)}.intersection(texts)
    assert '"p1"' not in (tmp_path / "run" / "run.json").read_text()


def changed(column, values):
    frame = pl.DataFrame({"id": ["p0", "p1", "p2"], "Q1": ["1", "2", "3"]})
    return frame.with_columns(pl.Series(column, values))


BAD = {
    "nobody": (changed("id", ["x0", "x1", "x2"]), "none of its 3 respondents is in .*survey.csv .the first is 'x0', there 'p0'"),
    "twice": (changed("id", ["p0", "p0", "p2"]), "respondent 'p0' answers 'Q1' 2 times"),
    "outside": (
        changed("Q1", ["7", "7", "9"]),
        r"3 answers are outside the codes .*Q1: '7' \(2 rows\), Q1: '9' \(1 rows\).*are 1, 2, 3\..*missing='7'",
    ),
    "outside as text": (changed("Q1", ["Answer: 7", "1", "1"]), r"1 answers are outside .*'Answer: 7'"),
    "fraction": (changed("Q1", ["1.5", "1", "1"]), r"1 answers are outside .*'1.5'"),
    "no item": (pl.DataFrame({"id": ["p0"], "Z1": ["1"]}), "no column is an item of the data set .the first is 'Z1'"),
    "no column": (pl.DataFrame({"ID": ["p0"], "Q1": ["1"]}), "'id' is missing; found ID, Q1"),
    "no valid answer": (changed("Q1", ["", "", ""]), "no respondent in a subgroup of the data set has a valid answer"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_answers_are_refused_and_nothing_is_left(made, dataset, tmp_path, case):
    frame, message = BAD[case]
    frame.write_csv(tmp_path / "answers.csv")
    with pytest.raises(InputDataError, match=message):
        import_respondents(dataset, tmp_path / "answers.csv", tmp_path / "run", ids=["id"], **from_survey(made))
    assert not (tmp_path / "run").exists()


def test_two_rows_or_columns_of_one_item_are_two_answers(made, dataset, tmp_path):
    (tmp_path / "wide.csv").write_text("id,Q1,q1\np0,1,2\n")
    with pytest.raises(InputDataError, match="two columns are of the item 'Q1'"):
        import_respondents(dataset, tmp_path / "wide.csv", tmp_path / "run", ids=["id"], **from_survey(made))
    (tmp_path / "wide.csv").write_text("id,Q1,Q1\np0,1,2\n")
    with pytest.raises(InputDataError, match="two columns are named 'Q1'"):
        import_respondents(dataset, tmp_path / "wide.csv", tmp_path / "run", ids=["id"], **from_survey(made))
    (tmp_path / "rows.csv").write_text("item,p0,p1\nQ1,1,2\nQ1,1,3\n")
    with pytest.raises(InputDataError, match="two rows are of the item 'Q1'"):
        import_respondents(dataset, tmp_path / "rows.csv", tmp_path / "run", ids=["item", "id"], **from_survey(made))
    (tmp_path / "columns.csv").write_text("item,p0,p0\nQ1,1,2\n")
    with pytest.raises(InputDataError, match="two columns are named 'p0'"):
        import_respondents(dataset, tmp_path / "columns.csv", tmp_path / "run", ids=["item", "id"], **from_survey(made))


def test_subgroups_need_people(made, dataset, tmp_path):
    file = wide(tmp_path, respondents())
    with pytest.raises(UsageError, match=r"the subgroups of its respondents are not known.*people="):
        import_respondents(dataset, file, tmp_path / "run", ids=["id"])
    (tmp_path / "other.yaml").write_text(CODEBOOK.replace("survey: small", "survey: other"))
    with pytest.raises(UsageError, match="is the codebook of 'other', but the data set is of 'small'"):
        import_respondents(dataset, file, tmp_path / "run", ids=["id"], people=made / "survey.csv", survey=tmp_path / "other.yaml")
    rows = by_item(tmp_path, respondents())
    with pytest.raises(UsageError, match=r"its respondents are columns\. Name the column of their ids in .*survey\.csv"):
        import_respondents(dataset, rows, tmp_path / "run", ids=["item"], **from_survey(made))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"id": ["p0"], "sex": ["f"]}, "no person is in a subgroup .* Levels of sex in the data set: Male, Female; found: f"),
        ({"id": ["p0"], "gender": ["Female"]}, "no column named like an attribute .sex, age_group"),
        ({"id": ["p0", "p0"], "sex": ["Female", "Male"]}, "'p0' is in several rows"),
        ({"ID": ["p0"], "sex": ["Female"]}, "'id' is missing; found ID, sex"),
        ({"id": ["p0"], "sex": ["Female"], "wt": ["-1"]}, "the weights in 'wt' must be numbers of at least 0"),
    ],
)
def test_a_table_of_people_that_does_not_fit_is_refused(dataset, tmp_path, rows, message):
    pl.DataFrame(rows).write_csv(tmp_path / "people.csv")
    with pytest.raises(InputDataError, match=message):
        import_respondents(
            dataset,
            wide(tmp_path, respondents()),
            tmp_path / "run",
            ids=["id"],
            people=tmp_path / "people.csv",
            weight="wt" if "wt" in rows else None,
        )
    assert not (tmp_path / "run").exists()
