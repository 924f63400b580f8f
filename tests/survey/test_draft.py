"""Drafting a codebook from the labels of a file."""

from pathlib import Path

import polars as pl
import pyreadstat
import pytest

from valuestrata.building import BuildSettings, build
from valuestrata.errors import InputDataError
from valuestrata.survey import read_survey
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
    # 7 is an answer of another item.
    assert codebook.item("v2").missing == {7: Missing.OTHER_MISSING}
    assert 7 not in {code for rule in codebook.missing for code in rule.codes}
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
        ("broken.sav", "not a survey", r"broken\.sav: this is not an SPSS file"),
        ("broken.dta", "not a survey", r"broken\.dta: this is not a Stata file"),
        ("absent.sav", None, r"absent\.sav: the file does not exist"),
    ],
)
def test_an_unreadable_file_is_named_in_the_message(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputDataError, match=says):
        draft_codebook(path)


def test_missing_codes_of_items_do_not_take_people_from_age(tmp_path):
    """66 and 77 are missing answers to items, and ages; 999 is declared missing in the age variable."""
    data = pd.DataFrame({"v1": [1.0, 2, 66, 77], "v2": [1.0, 2, 66, 2], "agea": [66.0, 77, 999, 40]})
    labels = {
        "v1": {1: "Yes", 2: "No", 66: "Not applicable", 77: "Refusal"},
        "v2": {1: "Yes", 2: "No", 66: "Don't know"},
        "agea": {999: "Not available"},
    }
    pyreadstat.write_sav(data, tmp_path / "ess.sav", variable_value_labels=labels, missing_ranges={"v1": [66, 77], "agea": [999]})
    _, codebook = draft(tmp_path / "ess.sav")
    (age,) = codebook.attributes
    assert age.missing == (999,)
    assert age.levels[0].label == "18-24 years"
    assert 999 not in [code for rule in codebook.missing for code in rule.codes]
    assert codebook.item("v2").missing == {66: Missing.DONT_KNOW}
    csv = tmp_path / "ess.csv"
    data.to_csv(csv, index=False)
    for file in (tmp_path / "ess.sav", csv):
        found = read_survey(file, tmp_path / "ess.yaml")
        assert [codebook.attributes[0].levels[level].label for level in found.levels[[0, 1, 3], 0]] == ["65 and over"] * 2 + ["35-44 years"]
        assert found.levels[2, 0] == -1
        assert found.answers[2].tolist() == [Missing.NOT_APPLICABLE, Missing.DONT_KNOW]


def test_the_lowest_band_begins_with_the_youngest_respondents(tmp_path):
    data = pd.DataFrame({"v1": [1.0, 2, 1, 2], "agea": [15.0, 40, 0, 999]})
    labels = {"v1": {1: "Yes", 2: "No"}, "agea": {0: "Refusal", 999: "Not available"}}
    pyreadstat.write_sav(data, tmp_path / "ess.sav", variable_value_labels=labels)
    _, codebook = draft(tmp_path / "ess.sav")
    assert (codebook.attributes[0].levels[0].label, codebook.attributes[0].levels[0].low) == ("15-24 years", 15)
    assert read_survey(tmp_path / "ess.sav", tmp_path / "ess.yaml").levels[:, 0].tolist() == [0, 2, -1, -1]


def test_ages_with_a_few_labels_are_years(tmp_path):
    data = pd.DataFrame({"v1": [1.0, 2], "age": [30.0, 89.0]})
    labels = {"v1": {1: "Yes", 2: "No"}, "age": {15: "15 years", 89: "89 or older", 99: "No answer"}}
    pyreadstat.write_sav(data, tmp_path / "gss.sav", variable_value_labels=labels)
    _, codebook = draft(tmp_path / "gss.sav")
    assert codebook.attributes[0].banded
    assert codebook.attributes[0].missing == (99,)


def test_the_column_of_countries_is_recognised(tmp_path):
    answers, listed = tmp_path / "answers.csv", tmp_path / "list.csv"
    answers.write_text("cntry,q,gndr\nAT,1,1\nCH,2,2\nCH,1,1\n")
    listed.write_text(
        "variable,question,values\nq,Good?,1=Yes;2=No\ngndr,Gender,1=Male;2=Female\ncntry,Country,AT=Austria;CH=Switzerland\n"
    )
    (tmp_path / "mine.yaml").write_text(draft_codebook(answers, listed))
    assert [item.id for item in load_codebook(tmp_path / "mine.yaml").items] == ["q"]
    assert read_survey(answers, tmp_path / "mine.yaml", countries=["CH"]).respondents == 2


def test_repeated_labels_of_an_item_are_told_apart(tmp_path):
    pyreadstat.write_sav(pd.DataFrame({"v1": [1.0]}), tmp_path / "a.sav", variable_value_labels={"v1": {1: "Other", 2: "No", 3: "other"}})
    assert draft(tmp_path / "a.sav")[1].item("v1").labels == ("Other (1)", "No", "other (3)")


LONG = """variable,question,code,label,missing,section
trust,Can people be trusted?,1,Always,,Trust
trust,,2,Sometimes,,Trust
trust,,3,Never,,Trust
trust,,8,Too hard,dont_know,Trust
trust,,9,No answer,,Trust
life,How satisfied are you?,0,Not at all,,Mood
,,10,Entirely,,
vote,Did you vote?,Y,Yes,,Politics
vote,,N,No,,Politics
gender,Gender,1,Man,,
gender,,2,Woman,,
age,Age,,,,
absent,Not in the file,1,Yes,,
weight,Design weight,,,,
"""
WIDE = """Variable name;Question text;Response options
trust;Can people be trusted?;1 = Always | 2 = Sometimes | 3 = Never | 8 = Don't know | 9 = No answer
life;How satisfied are you?;"0, Not at all | 10, Entirely"
vote;Did you vote?;Y=Yes | N=No
gender;Gender;[1] Man | [2] Woman
age;Age;numeric
weight;Design weight;
"""


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.csv"
    rows = [f"{i},{(1, 2, 3, 8)[i % 4]},{i % 11},{'YN'[i % 2]},{1 + i // 2 % 2},{16 + i},{0.5 + i % 3},ZZ" for i in range(80)]
    path.write_text("\n".join(["id,trust,life,vote,gender,age,weight,other", *rows]) + "\n")
    return path


ESS_LIKE = """Name,Label,Value,Category
trust,Can people be trusted?,1,Always
trust,Can people be trusted?,2,Sometimes
trust,Can people be trusted?,3,Never
trust,Can people be trusted?,8,Don't know
life,How satisfied are you?,0,Not at all
life,How satisfied are you?,10,Entirely
vote,Did you vote?,Y,Yes
vote,Did you vote?,N,No
gender,Gender,1,Man
gender,Gender,2,Woman
age,Age,999,Not available
weight,Design weight,,
"""
LOOK_FOR = """pos,variable,label,col_type,missing,values
1,trust,Can people be trusted?,dbl+lbl,3,[1] Always; [2] Sometimes; [3] Never; [8] Don't know
2,life,How satisfied are you?,dbl+lbl,0,[0] Not at all; [10] Entirely
3,vote,Did you vote?,chr,0,Y=Yes; N=No
4,gender,Gender,dbl+lbl,0,[1] Man; [2] Woman
5,age,Age,dbl,0,
6,weight,Design weight,dbl,0,
"""


@pytest.mark.parametrize("text", [LONG, WIDE, ESS_LIKE, LOOK_FOR])
def test_from_a_csv_file_and_a_variable_list_to_a_data_set(tmp_path, answers, text):
    listed, target = tmp_path / "list.csv", tmp_path / "mine.yaml"
    listed.write_text(text)
    target.write_text(draft_codebook(answers, listed))
    codebook = load_codebook(target)
    assert (codebook.weight, codebook.respondent_id) == ("weight", "id")
    assert [item.id for item in codebook.items] == ["trust", "life", "vote"]
    trust, life, vote = codebook.items
    assert (trust.codes, trust.labels, trust.question) == ((1, 2, 3), ("Always", "Sometimes", "Never"), "Can people be trusted?")
    assert (life.codes, life.labels[0], life.labels[-1]) == (tuple(range(11)), "Not at all", "Entirely")
    assert vote.synonyms == {1: ("Y",), 2: ("N",)}
    assert [a.name for a in codebook.attributes] == ["sex", "age_group"]
    assert codebook.attributes[1].levels[0].label == "16-24 years"
    survey = read_survey(answers, target, strict=True)
    assert survey.answers[:4, 0].tolist() == [0, 1, 2, Missing.DONT_KNOW]
    assert survey.answers[:3, 2].tolist() == [0, 1, 0]
    assert survey.findings.dropped == ()
    made = build(survey, BuildSettings(min_respondents=5, min_valid=1, draws=10))
    row = made.gold.row(by_predicate=(pl.col("pair_id") == "vote_sex_Woman") & (pl.col("half") == "all"), named=True)
    assert row["counts_raw"] == [20, 20]
    if text == LONG:
        assert [item.topic for item in codebook.items] == ["Trust", "Mood", "Politics"]
        assert "in list.csv but not in the file: absent" in target.read_text()


def test_a_variable_list_in_a_workbook(tmp_path, answers):
    rows = [line.split(",") for line in ESS_LIKE.strip().splitlines()]
    pl.DataFrame(rows[1:], schema=rows[0], orient="row").write_excel(tmp_path / "list.xlsx")
    target = tmp_path / "mine.yaml"
    target.write_text(draft_codebook(answers, tmp_path / "list.xlsx"))
    assert [item.id for item in load_codebook(target).items] == ["trust", "life", "vote"]


def test_a_variable_list_for_a_file_with_labels(tmp_path):
    answers, listed = tmp_path / "answers.csv", tmp_path / "list.csv"
    answers.write_text("q,region,mark\nAgree,North,0\nDisagree,South,2\nDon't know,North,1\n")
    listed.write_text("name,label,levels\nq,Hard work pays off,Disagree|Neither|Agree\nmark,How good?,Poor|Fair|Good\n")
    target = tmp_path / "mine.yaml"
    target.write_text(draft_codebook(answers, listed))
    codebook = load_codebook(target)
    assert codebook.item("q").labels == ("Disagree", "Neither", "Agree")
    assert codebook.item("mark").codes == (0, 1, 2)  # the file counts from 0
    assert [level.label for level in codebook.attribute("region").levels] == ["North", "South"]
    found = read_survey(answers, target, attributes=["region"])
    assert found.answers.tolist() == [[2, 0], [0, 2], [Missing.DONT_KNOW, 1]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("question,label\nTrust?,Yes\n", r"list\.csv: a variable list needs the columns `variable`.*found question, label"),
        ("variable,question\ntrust,Trust?\n", r"list\.csv: a variable list needs the columns"),
        ("variable,code,label\ntrust,1,Yes\ntrust,1,No\n", r"list\.csv: row 3: the variable 'trust' has the code 1 twice"),
        ("variable,code,label\ntrust,99999999999999999999,Yes\n", r"list\.csv: row 2: the code 9+ of 'trust' has more than nine digits"),
        ("variable,code,label,missing\ntrust,1,Yes,perhaps\n", r"list\.csv: row 2: the column `missing` holds 'perhaps'"),
        (
            "variable,code,label\nTrsut,1,Yes\nTrsut,2,No\n",
            r"answers\.csv: none of the 1 variables of list\.csv \(Trsut, \.\.\.\) is a column",
        ),
        ("variable,code,label\ntrust,1,Yes\n", r"list\.csv: no variable has labels for 2 to 11 answers"),
    ],
)
def test_an_unusable_variable_list_is_named_in_the_message(tmp_path, answers, text, says):
    listed = tmp_path / "list.csv"
    listed.write_text(text)
    with pytest.raises(InputDataError, match=says):
        draft_codebook(answers, listed)


def test_a_file_without_labels_is_refused(tmp_path):
    path = tmp_path / "bare.sav"
    pyreadstat.write_sav(pd.DataFrame({"v1": [1, 2]}), path)
    with pytest.raises(InputDataError, match=r"bare\.sav: no variable has labels"):
        draft_codebook(path)
