"""Files of published counts: tables, documents, OpinionQA and GlobalOpinionQA, and what is wrong with them."""

import json

import polars as pl
import pytest

import valuestrata as vs
from valuestrata.survey.counts.documents import read_questions

QUESTIONS = """\
survey: mine
title: My survey
place: Norway
questions:
  - {item: TRUST, question: Can people be trusted?, options: ["Yes", Depends, "No"], topic: Trust, block: b1}
  - {item: SAFE, question: Are you safe?, options: [Safe, Unsafe], topic: Safety}
  - {item: COLOUR, question: Which colour?, options: [Red, Green, Blue], level: nominal}
"""
ROWS = [
    *({"item": "TRUST", "option": o, "count": c, "sex": "", "age": ""} for o, c in (("Yes", 50), ("Depends", 30), ("No", 20))),
    *({"item": "TRUST", "option": o, "count": c, "sex": "Female", "age": ""} for o, c in (("yes", 30), ("Depends", 10), ("No", 5))),
    *({"item": "TRUST", "option": o, "count": c, "sex": "Female", "age": "Old"} for o, c in (("1", 20), ("2", 8), ("3", 4))),
    *({"item": "SAFE", "option": o, "count": c, "sex": "", "age": ""} for o, c in (("Safe", 60), ("Unsafe", 40))),
]


@pytest.fixture
def questions(tmp_path):
    file = tmp_path / "questions.yaml"
    file.write_text(QUESTIONS)
    return file


def table(folder, rows, name="counts.csv"):
    file = folder / name
    frame = pl.DataFrame(rows, infer_schema_length=None)
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "xlsx": frame.write_excel}[name.split(".")[1]](file)
    return file


@pytest.mark.parametrize("name", ["counts.csv", "counts.parquet", "counts.xlsx"])
def test_a_table_has_one_row_per_option(tmp_path, questions, name):
    found = vs.read_counts(table(tmp_path, ROWS, name), questions)
    assert [item.id for item in found.survey.items] == ["TRUST", "SAFE"]
    assert found.survey.findings.unanswered_items == ("COLOUR",)
    assert found.cells.tolist() == [[-1, -1], [0, -1], [0, 0]]
    assert found.counts[0].tolist() == [[50, 30, 20], [30, 10, 5], [20, 8, 4]]
    assert found.n.tolist() == [[100, 45, 32], [100, 0, 0]]
    assert found.survey.codebook.title == "My survey"
    assert found.survey.items[1].level == "binary"


def test_questions_may_be_a_table(tmp_path):
    file = tmp_path / "questions.csv"
    file.write_text("item,question,options,level,direction\nQ1,Good?,Bad | Fair | Good,,\nQ2,Bad?,1|2,,descending\n")
    found = read_questions(file).file
    assert found.questions[0].options == ["Bad", "Fair", "Good"]
    item = found.questions[1].as_item()
    assert (item.labels, item.codes) == (("2", "1"), (2, 1))


def test_descending_options_are_stored_in_scale_order(tmp_path):
    questions = tmp_path / "q.yaml"
    questions.write_text("questions: [{item: Q, question: Q?, options: [High, Mid, Low], direction: descending}]")
    rows = [{"item": "Q", "option": option, "count": count} for option, count in (("High", 50), ("Mid", 30), ("3", 20))]
    found = vs.read_counts(table(tmp_path, rows), questions)
    assert (found.survey.items[0].labels, found.counts[0, 0].tolist()) == (("Low", "Mid", "High"), [20, 30, 50])


def test_a_document_holds_questions_and_counts(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "attributes: [{name: sex, role: noun, levels: [{label: Female, phrase: woman}, Male]}]\n"
        "questions:\n"
        "  - item: Q1\n    question: Q?\n    options: [A, B]\n    counts: [60, 40]\n"
        "    cells: [{levels: {sex: Female}, counts: [40, 10], missing: {dont_know: 3}}, {levels: {sex: Male}, counts: [20, 30]}]\n"
    )
    found = vs.read_counts(file)
    assert found.counts[0].tolist() == [[60, 40], [40, 10], [20, 30]]
    assert found.missing[0, 1].tolist() == [0, 0, 0, 0, 3]
    assert found.survey.attributes[0].levels[0].phrase == "woman"
    assert found.survey.codebook.survey == "mine"


def global_opinions(folder, selections=None, options="['Good', 'Fair', 'Bad', 'DK/Refused']"):
    selections = selections or "defaultdict(<class 'list'>, {'Norway': [0.2, 0.3, 0.4, 0.1], 'Chile': [0.5, 0.25, 0.25, 0.0]})"
    rows = [{"question": "How is it?", "selections": selections, "options": options, "source": "GAS"}]
    return table(folder, rows, "global.csv")


def test_global_opinions_have_countries_and_shares(tmp_path):
    found = vs.read_counts(global_opinions(tmp_path), answers_per_cell=1000)
    assert found.kind == "shares"
    assert [level.label for level in found.survey.attributes[0].levels] == ["Norway", "Chile"]
    assert found.survey.attributes[0].levels[0].phrase == "living in Norway"
    assert found.counts[0] == pytest.approx(pl.DataFrame([[200, 300, 400], [500, 250, 250]]).to_numpy().T)
    assert found.n.tolist() == [[900, 1000]]
    assert found.missing[0, 0].tolist() == [0, 0, 0, 0, 100]
    assert found.survey.items[0].level == "nominal"


def test_shares_need_the_number_of_answers(tmp_path):
    with pytest.raises(vs.InputDataError, match=r"global.csv, row 1, column 'selections', Norway.*answers_per_cell"):
        vs.read_counts(global_opinions(tmp_path))


def test_texts_of_global_opinions_are_never_executed(tmp_path):
    marker = tmp_path / "executed"
    with pytest.raises(vs.InputDataError, match="expected a dict as text"):
        vs.read_counts(global_opinions(tmp_path, f"__import__('pathlib').Path({str(marker)!r}).touch()"), answers_per_cell=100)
    assert not marker.exists()


def test_a_country_needs_a_share_for_each_option(tmp_path):
    with pytest.raises(vs.InputDataError, match="Norway: found 2 shares for 4 options"):
        vs.read_counts(global_opinions(tmp_path, "{'Norway': [0.5, 0.5]}"), answers_per_cell=100)


def changed(row, **values):
    rows = [dict(one) for one in ROWS]
    rows[row].update(values)
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(0, option="Maybe"), r"counts.csv, row 1: the question 'TRUST' has no option 'Maybe'. Known: Yes, Depends, No"),
        (changed(1, option="Yes"), r"row 2: the question 'TRUST' has the option 'Yes' twice"),
        (changed(0, count=-1), r"row 1: the question 'TRUST' has the count -1 for 'Yes'; expected a finite number of at least 0"),
        (changed(0, count=None), r"row 1: the column 'count' is empty"),
        (changed(0, item="TRUTS"), r"there is no question 'TRUTS'. Did you mean 'TRUST'"),
        (ROWS[1:], r"row 1: the question 'TRUST' has no count for the option 'Yes'"),
        ([*ROWS, ROWS[0]], r"row 12: the question 'TRUST' has the option 'Yes' twice"),
        ([{**row, "n": 99} for row in ROWS[:3]], r"the counts sum to 100, but n is 99"),
        ([{**row, "n_eff": 101} for row in ROWS[:3]], r"n_eff is 101, more than the 100 answers"),
        ([{**row, "n": n} for row, n in zip(ROWS[:3], (100, 100, 90), strict=True)], r"row 3: n or n_eff differs from that in row 1"),
        ([{"item": "TRUST", "option": "Yes"}], "neither count nor share"),
        ([{**row, "share": 0.5} for row in ROWS], "both count and share"),
        ([{"option": "Yes", "count": 1}], "the column 'item' is missing"),
        ([{"item": "TRUST", "option": o, "share": 0.2, "n": 50} for o in ("Yes", "Depends", "No")], r"the shares sum to 0.6; expected 1"),
        (changed(0, count=1e300), "found 1e.300 answers; at most 1,000,000,000"),
        (changed(0, count="inf"), "expected a finite number of at least 0"),
        ([{**row, "subgroup": "x"} for row in ROWS], "an attribute cannot have the name 'subgroup'"),
        (changed(0, count="many"), r"row 1: the column 'count' has 'many'; expected a number"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, questions, rows, message):
    file = tmp_path / "counts.csv"
    pl.DataFrame(rows, infer_schema_length=None, strict=False).write_csv(file)
    with pytest.raises(vs.InputDataError, match=message):
        vs.read_counts(file, questions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("questions: [{item: Q, question: Q?, options: [A]}]", "has 1 options; expected 2 to"),
        ("questions: [{item: Q, question: Q?, options: []}]", "has 0 options"),
        ("questions: [{item: Q, question: Q?}]", "'options' is missing"),
        ("questions: [{item: Q, question: Q?, options: [A, a]}]", "two options have the label 'a'"),
        ("questions: [{item: Q, question: Q?, options: [A, B], counts: [1]}]", "found 1 counts for the 2 options"),
        (
            "questions: [{item: Q, question: Q?, options: [A, B]}, {item: Q, question: Q?, options: [A, B]}]",
            "'Q' appears 2 times",
        ),
        (
            "attributes: [{name: sex, levels: [Female]}]\n"
            "questions: [{item: Q, question: Q?, options: [A, B], cells: [{levels: {sex: Femal}, counts: [1, 2]}]}]",
            "has no level 'Femal'. Did you mean 'Female'",
        ),
        (
            "attributes: [{name: sex, levels: [Female]}]\n"
            "questions: [{item: Q, question: Q?, options: [A, B], cells: [{levels: {age: Old}, counts: [1, 2]}]}]",
            "there is no attribute 'age'",
        ),
        (
            "questions: [{item: Q, question: Q?, options: [A, B], counts: [1, 2], cells: [{counts: [1, 2]}]}]",
            "has counts twice",
        ),
        ("questions: [{item: Q, question: Q?, options: [A, B]}]", "the file holds no counts"),
    ],
)
def test_wrong_documents_are_refused(tmp_path, text, message):
    file = tmp_path / "counts.yaml"
    file.write_text(text)
    with pytest.raises(vs.InputDataError, match=message) as caught:
        vs.read_counts(file)
    assert "counts.yaml" in str(caught.value)


def test_attributes_without_counts_are_left_out(tmp_path):
    file = tmp_path / "counts.yaml"
    file.write_text("attributes: [{name: sex, levels: [F, M]}]\nquestions: [{item: Q, question: Q?, options: [A, B], counts: [40, 60]}]")
    found = vs.read_counts(file)
    assert (found.survey.attributes, found.survey.findings.absent_attributes) == ((), ("sex",))
    assert vs.build_counts(found, vs.BuildSettings(draws=20)).has_only_everyone


def test_a_table_needs_its_questions(tmp_path):
    with pytest.raises(vs.UsageError, match=r"does not hold the texts of its questions. Give them with `questions=`"):
        vs.read_counts(table(tmp_path, ROWS))


def test_a_file_of_questions_describes_opinionqa_again(tmp_path):
    counts = {"A_W1": {"question": "A?", "options": ["x", "y"], "human_counts": [30, 70], "refused": 0}}
    file = tmp_path / "oqa.json"
    file.write_text(json.dumps(counts))
    described = tmp_path / "q.yaml"
    described.write_text("questions: [{item: A_W1, question: Better?, options: [y, x], level: nominal, topic: T, block: B}]")
    found = vs.read_counts(file, described)
    assert found.counts[0, 0].tolist() == [70, 30]
    assert (found.survey.items[0].topic, found.survey.items[0].block, found.survey.items[0].question) == ("T", "B", "Better?")


def test_weighted_counts_have_whole_numbers_that_sum_to_n(tmp_path, questions):
    rows = [{"item": "TRUST", "option": o, "count": c, "n": 100} for o, c in (("Yes", 33.3), ("Depends", 33.3), ("No", 33.9))]
    found = vs.read_counts(table(tmp_path, rows), questions)
    assert (found.kind, found.n[0, 0], found.n_eff[0, 0]) == ("weighted answers", 100, 100)
    data = vs.build_counts(found, vs.BuildSettings(draws=20))
    assert data.gold["counts_raw"][0].to_list() == [33, 33, 34]
    assert data.gold["shares"][0].to_list() == pytest.approx([33.3 / 100.5, 33.3 / 100.5, 33.9 / 100.5])
