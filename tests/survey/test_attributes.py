"""Attributes: missing codes do not override bands, ranges in labels, and respondents that are left out."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valuestrata.building import BuildSettings, build
from valuestrata.errors import InputDataError
from valuestrata.survey import describe, describe_dict, load_codebook, read_survey
from valuestrata.survey.describe import notices

AGES = [*range(20, 80, 5), 77, 88, 99]

HEAD = """
survey: mine
title: Mine
missing:
  dont_know: {codes: [-1, 77, 88]}
  no_answer: {codes: [99, 999]}
items:
  - {id: q, topic: T, codes: [1, 2, 3], labels: [Low, Middle, High], question: "How much?"}
"""


def codebook(folder, attribute, head=HEAD):
    path = folder / "mine.yaml"
    path.write_text(f"{head}attributes:\n  - {attribute}\n")
    return path


def csv(folder, cells, column="age"):
    path = folder / "table.csv"
    path.write_text(f"q,{column}\n" + "".join(f'{1 + place % 3},"{cell}"\n' for place, cell in enumerate(cells)))
    return path


AGE = "{name: age_group, column: age, levels: [{label: Young, band: [18, 39]}, {label: Old, band: [40, null]}]%s}"


@pytest.fixture(scope="session")
def twin():
    spec = importlib.util.spec_from_file_location("ess_twin", Path(__file__).with_name("ess_twin.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def twin_people(twin):
    data = twin.people()
    return data, twin.plain_gold(data)


@pytest.mark.parametrize("ending", [".sav", ".dta", ".csv"])
def test_gold_of_people_aged_as_a_missing_code_equals_a_plain_count(twin, twin_people, tmp_path, ending):
    data, expected = twin_people
    (tmp_path / "ess.yaml").write_text(twin.CODEBOOK)
    made = build(
        read_survey(twin.write(data, tmp_path / f"twin{ending}"), tmp_path / "ess.yaml"),
        BuildSettings(min_respondents=1, min_valid=1, draws=10),
    )
    found = {row["pair_id"]: row for row in made.gold.filter(made.gold["half"] == "all").iter_rows(named=True)}
    assert set(found) == set(expected)
    assert [pair for pair, row in found.items() if row["modes"] != expected[pair][0]] == []
    for pair, row in found.items():
        assert row["shares"] == pytest.approx(expected[pair][1], abs=1e-12)


@pytest.mark.parametrize("write", [str, "{}.0".format, " {} ".format])
def test_a_band_takes_precedence_over_missing_codes_of_the_codebook(tmp_path, write):
    found = read_survey(csv(tmp_path, [write(age) for age in [*AGES, -1, 999]]), codebook(tmp_path, AGE % ""))
    assert found.levels[:, 0].tolist() == [0] * 4 + [1] * 11 + [-1, -1]
    counted, far = found.findings.notes
    assert counted.startswith("age_group: 77 (1), 88 (1), 99 (1) are missing codes of the codebook, but lie in a band and count as values.")
    assert "add `missing: [77, 88, 99, 999]` to the attribute, else `missing: [999]`." in counted
    assert far.startswith("age_group: 999 (1) are missing codes of the codebook far outside the other values")
    (dropped,) = found.findings.dropped
    assert (dropped.respondents, dropped.total) == (2, 17)
    assert {(float(value), count) for value, count in dropped.values} == {(-1, 1), (999, 1)}


def test_few_respondents_do_not_make_an_age_a_missing_code(tmp_path):
    found = read_survey(csv(tmp_path, [20, 30, 77, 88]), codebook(tmp_path, AGE % ""))
    assert found.levels[:, 0].tolist() == [0, 0, 1, 1]


def test_years_of_education_far_below_the_missing_codes(tmp_path):
    levels = "levels: [{label: Short, band: [0, 9]}, {label: Long, band: [10, null]}]"
    found = read_survey(
        csv(tmp_path, [*range(4, 23), 77, 88, 99], "years"), codebook(tmp_path, f"{{name: education, column: years, {levels}}}")
    )
    assert found.levels[:, 0].tolist() == [0] * 6 + [1] * 13 + [-1] * 3
    assert "far outside the other values, and count as missing" in found.findings.notes[0]


def test_an_attribute_lists_its_own_missing_codes(tmp_path):
    for key, last in ((", missing: [99, 88]", [-1, -1]), (", missing: []", [1, 1])):
        found = read_survey(csv(tmp_path, AGES), codebook(tmp_path, AGE % key))
        assert found.levels[:, 0].tolist() == [0] * 4 + [1] * 9 + last
        assert found.findings.notes == ()
    levels = "levels: [{label: A, code: 1}, {label: B, code: 2}], missing: [5]"
    found = read_survey(csv(tmp_path, [1, 2, 5, 77], "group"), codebook(tmp_path, f"{{name: group, column: group, {levels}}}"))
    assert found.levels[:, 0].tolist() == [0, 1, -1, -1]
    assert found.findings.unknown_levels == (("group", (("77", 1),)),)


def test_a_level_with_a_code_beside_bands(tmp_path):
    levels = "[{label: Young, band: [18, 39]}, {label: Old, band: [40, null]}, {label: Of unknown age, code: 99}]"
    found = read_survey(csv(tmp_path, AGES), codebook(tmp_path, f"{{name: age_group, column: age, levels: {levels}}}"))
    assert found.levels[-3:, 0].tolist() == [1, 1, 2]


@pytest.mark.parametrize("declared", ["missing values", "range", "label"])
def test_metadata_of_the_file_mark_an_age_as_missing(tmp_path, declared):
    data = pd.DataFrame({"q": [1.0, 2, 3, 1], "age": [30.0, 77, 88, 98]})
    labels = {"age": {88: "Refused", 98: "No answer"}} if declared == "label" else {}
    ranges = {"missing values": {"age": [88, 98]}, "range": {"age": [{"lo": 88, "hi": 98}]}, "label": {}}[declared]
    pyreadstat.write_sav(data, tmp_path / "a.sav", variable_value_labels=labels, missing_ranges=ranges)
    found = read_survey(tmp_path / "a.sav", codebook(tmp_path, AGE % ""))
    assert found.levels[:, 0].tolist() == [0, 1, -1, -1]
    assert found.findings.notes == ()


@pytest.mark.parametrize("survey", ["gss2018", "gss2012"])
def test_ages_98_and_99_of_the_general_social_survey_are_missing(tmp_path, survey):
    item = load_codebook(survey).items[0]
    codes = [item.codes[0], item.codes[1]] * 6
    ages = [18, 25, 30, 40, 50, 60, 70, 80, 88, 89, 98, 99]
    path = tmp_path / "gss.csv"
    path.write_text(f"{item.column},age\n" + "".join(f"{code},{age}\n" for code, age in zip(codes, ages, strict=True)))
    found = read_survey(path, survey, attributes=["age"])
    assert (found.levels[:, 0] < 0).tolist() == [False] * 10 + [True] * 2


@pytest.mark.parametrize(("age", "known"), [(16, True), (99, True), (103, True), (-1, False), (-2, False), (-5, False), (15, False)])
def test_ages_of_the_world_values_survey(tmp_path, age, known):
    path = tmp_path / "wvs.csv"
    path.write_text(f"Q1,Q262\n1,{age}\n2,40\n3,41\n")
    found = read_survey(path, "wvs7", attributes=["age"])
    assert (found.levels[0, 0] >= 0) == known
    assert found.findings.dropped == () if known else found.findings.dropped[0].values == ((str(age), 1),)


def test_missing_codes_of_an_item(tmp_path):
    head = HEAD.replace("question:", "missing: {not_applicable: [77], dont_know: [7]}, question:")
    path = tmp_path / "table.csv"
    path.write_text("q,age\n1,20\n7,30\n77,40\n88,50\n3,77\n")
    found = read_survey(path, codebook(tmp_path, AGE % "", head))
    assert found.answers[:, 0].tolist() == [0, -1, -3, -1, 2]
    with pytest.raises(InputDataError, match=r"item q: the codes \[3\] are both answers and under `missing`"):
        load_codebook(codebook(tmp_path, AGE % "", HEAD.replace("question:", "missing: {no_answer: [3]}, question:")))


BANDS = "[{label: Child, band: [0, 17]}, {label: Young, band: [18, 39]}, {label: Old, band: [40, null]}]"


@pytest.mark.parametrize(
    ("cell", "level"),
    [
        ("18-24", 1),
        ("18–24", 1),
        ("18 − 24 years", 1),
        ("18 years to 24 years", 1),
        ("Aged 18 to 24", 1),
        ("(18-24)", 1),
        ("25 to under 40", 1),
        ("0-5 years", 0),
        ("<18", 0),
        ("under 18", 0),
        ("Under 5", 0),
        ("17 or younger", 0),
        ("≤17", 0),
        ("65+", 2),
        ("65 or more", 2),
        ("over 65", 2),
        ("2. 18-39", 1),
        ("age18-24", 1),
        ("[3] 40 and over", 2),
        ("10 or more", None),
        ("30-50", None),
        ("24-18", None),
        ("-5 to 3", None),
        ("1990-1994", None),
        ("2020-01-15", None),
        ("9/11", None),
        ("Post-9/11", None),
        ("Gen-18-24", None),
    ],
)
def test_ranges_in_labels(tmp_path, cell, level):
    found = read_survey(csv(tmp_path, [cell, "30"]), codebook(tmp_path, f"{{name: age_group, column: age, levels: {BANDS}}}"))
    assert found.levels.tolist() == [[-1 if level is None else level], [1]]
    assert found.findings.unknown_levels == (() if level is not None else (("age_group", ((cell, 1),)),))


@pytest.mark.parametrize(
    "cell", ["Post-9/11", "2020-01-15", "1990-1994", "18-24", "9/11", "0-5 years", "-5 to -1", "COVID-19 to 21", "<18"]
)
def test_labels_that_look_like_ranges_are_named(tmp_path, cell):
    """Neither in an item nor in an attribute do they disappear as missing answers."""
    path = tmp_path / "table.csv"
    path.write_text(f"q,r,group\n1,1,A\n2,{cell},{cell}\n3,2,B\n")
    head = HEAD + '  - {id: r, topic: T, codes: [1, 2, 3], labels: [Low, Middle, High], question: "How little?"}\n'
    levels = "levels: [{label: A, code: 1}, {label: B, code: 2}]"
    found = read_survey(path, codebook(tmp_path, f"{{name: group, column: group, {levels}}}", head))
    assert [(problem.item, problem.labels) for problem in found.findings.label_problems] == [("r", ((cell, 1),))]
    assert found.findings.unknown_levels == (("group", ((cell, 1),)),)
    assert cell in describe(found).split("Not recognised or not used")[1]


def test_an_item_and_an_attribute_with_such_a_label_in_the_codebook(tmp_path):
    head = HEAD.replace("High]", '"Post-9/11"]').replace("Low,", '"2020-01-15",')
    path = tmp_path / "table.csv"
    path.write_text("q,era\n2020-01-15,1990-1994\nMiddle,Post-9/11\nPost-9/11,Post-9/11\n")
    levels = 'levels: [{label: "1990-1994", code: 1}, {label: "Post-9/11", code: 2}]'
    found = read_survey(path, codebook(tmp_path, f"{{name: era, column: era, {levels}}}", head))
    assert found.answers[:, 0].tolist() == [0, 1, 2]
    assert found.levels[:, 0].tolist() == [0, 1, 1]


GROUPS = "{name: religion, column: group, levels: [{label: A, code: 1}, {label: B, code: 2}]}"


def test_respondents_without_a_level_are_listed_with_their_values(tmp_path):
    cells = [1] * 12 + [2] * 12 + [9] * 4 + [""] * 3 + ["Sect"] * 2 + [77]
    found = read_survey(csv(tmp_path, cells, "group"), codebook(tmp_path, GROUPS))
    (dropped,) = found.findings.dropped
    assert (dropped.attribute, dropped.respondents, dropped.total) == ("religion", 10, 34)
    assert dropped.values[0] == ("9", 4)
    assert dict(dropped.values) == {"9": 4, "empty cells": 3, "Sect": 2, "77": 1}
    document = json.loads(json.dumps(describe_dict(found)))
    assert document["attributes"][0]["left_out"] == dict(dropped.values)
    assert "left out: 10 of 34 respondents (29.4%): 9 (4)," in describe(found)
    assert [line for line in notices(found) if line.startswith("Warning: religion leaves out 10 of 34 respondents (29.4%): 9 (4)")]
    made = build(found, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    assert made.meta["findings"]["dropped"][0]["respondents"] == 10


def test_only_more_than_five_percent_is_a_warning(tmp_path):
    for lost, warned in ((5, False), (6, True)):
        found = read_survey(csv(tmp_path, [1] * (100 - lost) + [77] * lost, "group"), codebook(tmp_path, GROUPS))
        (line,) = notices(found)
        assert line.startswith("Warning: ") == warned
        assert f"religion leaves out {lost} of 100 respondents ({lost}.0%): 77 ({lost})." in line


def test_labels_of_the_file_are_shown_with_the_codes(tmp_path):
    data = pd.DataFrame({"q": [1.0, 2, 3], "group": [1.0, 9, 9]})
    pyreadstat.write_sav(data, tmp_path / "a.sav", variable_value_labels={"group": {1: "A", 9: "Refused"}})
    found = read_survey(tmp_path / "a.sav", codebook(tmp_path, GROUPS))
    assert found.findings.dropped[0].values == (("9 Refused", 2),)


def test_values_of_missing_answers_are_listed(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("q,group\n1,1\n77,1\n77,2\nNo answer; tired,2\n,1\nNA,1\n")
    found = read_survey(path, codebook(tmp_path, GROUPS))
    assert dict(found.findings.missing_values) == {
        "dont_know": (("77", 2),),
        "no_answer": (("No answer; tired", 1),),
        "other_missing": (("NA", 1), ("empty cells", 1)),
    }
    assert "values: No answer; tired (1)" in describe(found)
    assert describe_dict(found)["missing"]["dont_know"]["values"] == {"77": 2}


@pytest.mark.parametrize("style", ["{1}", "[1] ", "1 - ", "1. ", "(1) ", "1) ", "1: "])
@pytest.mark.parametrize("low", ["Competition is good", "Competition helps us all"])
def test_ends_of_a_scale_that_carry_their_codes(tmp_path, style, low):
    """The text of one end is unknown; the number of the other end is confirmed by its text."""
    number = style.replace("1", "10")
    cells = [f"{low}{{1}}", *range(2, 10), "Competition is harmful{10}"]
    if style != "{1}":
        cells = [style + low, *range(2, 10), number + "Competition is harmful"]
    scale = "range: [1, 10], ends: [Competition is good, Competition is harmful]"
    head = f'survey: a\ntitle: a\nmissing: {{}}\nitems: [{{id: q, topic: T, {scale}, question: "?"}}]\n'
    found = read_survey(
        csv(tmp_path, cells, "r"), codebook(tmp_path, "{name: x, column: q, levels: [{label: A, code: 1}]}", head.replace("id: q", "id: r"))
    )
    assert found.answers[:, 0].tolist() == list(range(10))
    assert bool(found.findings.notes) == (low != "Competition is good")


def test_labels_of_an_attribute_that_carry_their_codes(tmp_path):
    levels = "levels: [{label: Primary, code: 1}, {label: Secondary, code: 2}, {label: Tertiary, code: 3}]"
    cells = ["[1] Primary", "[2] Middle and secondary", "[3] Tertiary", "[8] Don't know", 8]
    found = read_survey(csv(tmp_path, cells, "education"), codebook(tmp_path, f"{{name: education, column: education, {levels}}}"))
    assert found.levels[:, 0].tolist() == [0, 1, 2, -1, -1]
    assert found.findings.unknown_levels == (("education", (("8", 1),)),)
    assert "'[2] Middle and secondary' as 'Secondary'" in found.findings.notes[0]


def test_label_overrides_of_attributes(tmp_path):
    overrides = tmp_path / "labels.yaml"
    overrides.write_text('religion: {Sect: A, "7": 2, Unsure: dont_know}\n"*": {"Hard to tell": dont_know}\n')
    path = csv(tmp_path, ["Sect", 7, "Unsure", "Hard to tell", "B", 77], "group")
    found = read_survey(path, codebook(tmp_path, GROUPS), labels=overrides)
    assert found.levels[:, 0].tolist() == [0, 1, -1, -1, 1, -1]
    assert found.findings.unknown_levels == ()
    overrides.write_text('age: {Thirties: Young, "77": no_answer, "999": Old}\n')
    path = csv(tmp_path, ["Thirties", 77, 999, 50])
    assert read_survey(path, codebook(tmp_path, AGE.replace("name: age_group", "name: age") % ""), labels=overrides).levels[
        :, 0
    ].tolist() == [0, -1, 1, 1]


@pytest.mark.parametrize("declared", [{"na_values": [88.0, 98.0]}, {"na_range": [88.0, 98.0]}])
def test_missing_values_declared_in_r_files(tmp_path, wvs_files, declared):
    classes = wvs_files._texts(["haven_labelled_spss", "haven_labelled", "vctrs_vctr", "double"])
    values = {name: wvs_files.np.array(numbers) for name, numbers in declared.items()}
    columns = {"q": wvs_files._Vector([1, 2, 3, 1], label="q"), "age": wvs_files._Vector([30, 77, 88, 98], **values, **{"class": classes})}
    constructors = {wvs_files._Vector: wvs_files._r_vector, wvs_files._Tibble: wvs_files._r_tibble}
    wvs_files.rdata.write_rds(tmp_path / "a.rds", wvs_files._Tibble(columns), constructor_dict=constructors)
    found = read_survey(tmp_path / "a.rds", codebook(tmp_path, AGE % ""))
    assert found.levels[:, 0].tolist() == [0, 1, -1, -1]
    assert found.findings.notes == ()


def test_tagged_missing_ages_of_stata(tmp_path):
    data = pd.DataFrame({"q": [1, 2, 3, 1], "age": [30, 77, "a", "b"]})
    labels = {"age": {"a": "Refused"}}
    pyreadstat.write_dta(data, tmp_path / "a.dta", variable_value_labels=labels, missing_user_values={"age": ["a", "b"]})
    found = read_survey(tmp_path / "a.dta", codebook(tmp_path, AGE % ""))
    assert found.levels[:, 0].tolist() == [0, 1, -1, -1]
    assert dict(found.findings.dropped[0].values) == {"a Refused": 1, "empty cells": 1}


CELLS = st.sampled_from(["1", "2", "7", "77", "99", "-1", "A", "[1] A", "B{2}", "Post-9/11", "No answer; tired", "Sect", "", "NA", "2.5"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=12), st.lists(CELLS, min_size=1, max_size=12))
def test_nobody_disappears(tmp_path, groups, answers):
    """Every respondent has a level or is listed with the value, and every cell of an item is an answer or listed."""
    rows = max(len(groups), len(answers)) + 1
    groups, answers = (groups * rows)[:rows], (["1", *answers] * rows)[:rows]
    path = tmp_path / "table.csv"
    path.write_text("q,r,group\n" + "".join(f'1,"{answer}","{group}"\n' for answer, group in zip(answers, groups, strict=True)))
    head = HEAD + '  - {id: r, topic: T, codes: [1, 2], labels: [A, B], question: "?"}\n'
    found = read_survey(path, codebook(tmp_path, GROUPS, head))
    lost = {entry.attribute: entry for entry in found.findings.dropped}
    without = int((found.levels[:, 0] < 0).sum())
    assert without == sum(count for _, count in lost["religion"].values) == lost["religion"].respondents if without else not lost
    if len(found.items) == 2:
        assert int((found.answers < 0).sum()) == sum(count for _, values in found.findings.missing_values for _, count in values)
    else:
        (problem,) = found.findings.label_problems
        assert {label for label, _ in problem.labels} <= set(answers)


def test_rows_of_an_unknown_country_are_named(tmp_path):
    path = tmp_path / "wvs.csv"
    path.write_text("Q1,Q262,B_COUNTRY\n1,30,702\n2,40,9999\n3,41,702\n")
    notes = read_survey(path, "wvs7").findings.notes
    assert "1 rows are from a country that is not in the wvs7 codebook: 9999 (1)." in notes
