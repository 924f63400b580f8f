"""Drafting a codebook from the labels of a file."""

from pathlib import Path

import pyreadstat
import pytest

from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import Codebook, Missing, load_codebook
from valuestrata.survey.draft import draft_codebook

pd = pytest.importorskip("pandas", reason="pyreadstat writes test files from pandas frames")

COLUMN_LABELS = {
    "idno": "Respondent number",
    "v1": "V1: Most people can be trusted",
    "v2": "Should taxes be lower?",
    "v3": "v3. Satisfaction with life",
    "v4": "Town where you were born",
    "v5": "Sex between adults",
    "gender": "Gender",
    "age": "Age",
    "relig": "Which faith",
    "ppweight": "Post-stratification weight",
    "open": "Anything else?",
}
VALUE_LABELS = {
    "v1": {1: "Strongly agree", 2: "Agree", 3: "Disagree", -1: "Don't know", -2: "No answer/refused", -3: "Not applicable; no neighbours"},
    "v2": {1: "Yes", 5: "No", 7: "Leave it, said angrily", -1: "(VOL) DON´T KNOW"},
    "v3": {1: "Dissatisfied", 10: "Satisfied", 77: "Not asked in this version"},
    "v4": {code: f"Town {code}" for code in range(1, 14)},
    "v5": {1: "Wrong", 2: "Fine"},
    "gender": {1: "Male", 2: "Female"},
    "relig": {1: 'The "old" faith', 2: "None: neither", 3: "Refusal of all faiths", 4: "Other", 5: "Other"},
}


def frame():
    rows = {name: [1, 2, 1] for name in COLUMN_LABELS if name not in {"age", "ppweight", "open"}}
    return pd.DataFrame({**rows, "idno": [1, 2, 3], "age": [18.0, 44.0, 91.0], "ppweight": [0.5, 1.0, 1.5], "open": ["a", "b", "c"]})[
        list(COLUMN_LABELS)
    ]


def write(path: Path) -> Path:
    if path.suffix == ".sav":
        missing = {"v1": [{"lo": -9, "hi": -1}], "v2": [7, -1]}
        pyreadstat.write_sav(frame(), path, column_labels=COLUMN_LABELS, variable_value_labels=VALUE_LABELS, missing_ranges=missing)
    else:
        whole = dict.fromkeys(VALUE_LABELS, "int32")
        pyreadstat.write_dta(frame().astype(whole), path, column_labels=COLUMN_LABELS, variable_value_labels=VALUE_LABELS)
    return path


def draft(path: Path) -> tuple[str, Codebook]:
    text = draft_codebook(path)
    target = path.with_suffix(".yaml")
    target.write_text(text, encoding="utf-8")
    return text, load_codebook(target)


@pytest.fixture(params=[".sav", ".dta"])
def drafted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Codebook]:
    return draft(write(tmp_path / f"My survey{request.param}"))


def test_labelled_variables_become_items_in_file_order(drafted):
    _, codebook = drafted
    assert codebook.survey == "my-survey"
    assert [item.id for item in codebook.items] == ["v1", "v2", "v3", "v5"]
    assert {item.topic for item in codebook.items} == {"Unsorted"}
    assert {item.wording_source for item in codebook.items} == {"drafted"}


def test_labels_of_missing_answers_become_missing_classes(drafted):
    _, codebook = drafted
    trust = codebook.item("v1")
    assert trust.codes == (1, 2, 3)
    assert trust.labels == ("Strongly agree", "Agree", "Disagree")
    assert trust.level == "ordinal"
    classes = {code: rule.kind for rule in codebook.missing for code in rule.codes}
    assert classes[-1] is Missing.DONT_KNOW
    assert classes[-2] is Missing.NO_ANSWER
    assert classes[-3] is Missing.NOT_APPLICABLE
    assert classes[77] is Missing.NOT_ASKED


def test_declared_missing_codes_are_missing(tmp_path):
    _, codebook = draft(write(tmp_path / "declared.sav"))
    assert codebook.item("v2").codes == (1, 5)
    assert codebook.item("v2").level == "binary"
    assert 7 in next(rule.codes for rule in codebook.missing if rule.kind is Missing.OTHER_MISSING)
    _, undeclared = draft(write(tmp_path / "undeclared.dta"))
    assert undeclared.item("v2").codes == (1, 5, 7)


def test_two_distant_labelled_codes_are_the_ends_of_a_scale(drafted):
    _, codebook = drafted
    life = codebook.item("v3")
    assert life.codes == tuple(range(1, 11))
    assert life.is_numeric_scale
    assert (life.labels[0], life.labels[-1]) == ("Dissatisfied", "Satisfied")
    assert life.question == "Satisfaction with life: where do you stand between 1 (Dissatisfied) and 10 (Satisfied)?"


def test_questions_omit_the_variable_name(drafted):
    _, codebook = drafted
    assert codebook.item("v1").question == "Most people can be trusted: which answer is yours?"
    assert codebook.item("v2").question == "Should taxes be lower?"


def test_demographic_variables_become_attributes(drafted):
    _, codebook = drafted
    assert [(a.name, a.short, a.column) for a in codebook.attributes] == [
        ("sex", "sex", "gender"),
        ("age_group", "age", "age"),
        ("religion", "religion", "relig"),
    ]
    sex, age, religion = codebook.attributes
    assert [(level.label, level.codes, level.phrase, level.role) for level in sex.levels] == [
        ("Male", (1,), "man", "noun"),
        ("Female", (2,), "woman", "noun"),
    ]
    assert age.banded
    assert [(level.low, level.high) for level in age.levels][::5] == [(18, 24), (65, None)]
    assert [level.label for level in religion.levels] == ['The "old" faith', "None: neither", "Other (4)", "Other (5)"]


@pytest.mark.parametrize(
    ("label", "attribute"),
    [
        ("Highest educational level: Respondent [ISCED 2011]", "education"),
        ("Religious denominations - major groups", "religion"),
        ("Respondent's sex", "sex"),
        ("Race of respondent", "ethnicity"),
        ("Sex before marriage", None),
        ("Religion: important in life", None),
        ("Race differences due to discrimination", None),
        ("Region should be governed from the capital", None),
    ],
)
def test_labels_of_demographic_variables_are_recognised(tmp_path, label, attribute):
    path = tmp_path / "one.sav"
    pyreadstat.write_sav(
        pd.DataFrame({"q1": [1], "q2": [1]}),
        path,
        column_labels={"q1": label, "q2": "Taxes"},
        variable_value_labels={"q1": {1: "A", 2: "B"}, "q2": {1: "High", 2: "Low"}},
    )
    _, codebook = draft(path)
    assert [a.name for a in codebook.attributes] == ([attribute] if attribute else [])
    assert [item.id for item in codebook.items] == (["q2"] if attribute else ["q1", "q2"])


def test_the_header_comments_list_the_guesses(drafted):
    text, codebook = drafted
    assert codebook.weight == "ppweight"
    assert codebook.respondent_id == "idno"
    head = text[: text.index("survey:")]
    for guess in ("weight: ppweight", "sex from gender", "more than 11 labelled answers: v4"):
        assert guess in head


def test_tagged_missing_values_of_stata_are_recognised_by_label(tmp_path):
    path = tmp_path / "tagged.dta"
    pyreadstat.write_dta(
        pd.DataFrame({"v": [1, 2, "a"]}),
        path,
        variable_value_labels={"v": {1: "Good", 2: "Bad", "a": "Don't know"}},
        missing_user_values={"v": ["a"]},
    )
    _, codebook = draft(path)
    assert codebook.item("v").labels == ("Good", "Bad")
    assert [(rule.kind, rule.labels) for rule in codebook.missing] == [(Missing.DONT_KNOW, ("Don't know",))]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("answers.csv", "a,b\n1,2\n", r"answers\.csv.*\.sav.*\.dta"),
        ("broken.sav", "not a survey", r"broken\.sav: not a readable"),
        ("broken.dta", "not a survey", r"broken\.dta: not a readable"),
        ("absent.sav", None, r"absent\.sav: the file does not exist"),
    ],
)
def test_an_unreadable_file_is_named_in_the_message(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputDataError, match=says):
        draft_codebook(path)


def test_a_file_without_labels_is_refused(tmp_path):
    path = tmp_path / "bare.sav"
    pyreadstat.write_sav(pd.DataFrame({"v1": [1, 2]}), path)
    with pytest.raises(InputDataError, match=r"bare\.sav: no variable has labels"):
        draft_codebook(path)
