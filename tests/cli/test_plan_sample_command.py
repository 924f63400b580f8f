"""The command `plan-sample` on the tiny survey."""

from __future__ import annotations

import csv
import json

import pytest

GOAL = "half-width .1 in every level of sex"


@pytest.fixture
def words(data, tmp_path):
    return ["plan-sample", data, "--budget", 300, "--goal", GOAL, "-o", tmp_path / "plan"]


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_it_says_first_whether_the_budget_reaches_the_goal_and_writes_the_plan(call, words, tmp_path):
    outcome = call(*words)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("300 interviews reach the goal with the interviews alone. It needs ")
    assert lines[1].startswith("Interviews: sex_Male ")
    assert "Based on the gold of 400 people" in lines[2]
    cells = rows(tmp_path / "plan/plan.csv")
    assert [cell["cell"] for cell in cells] == ["sex_Male", "sex_Female"]
    assert sum(int(cell["interviews"]) for cell in cells) == 300
    assert sum(float(cell["weight"]) * int(cell["interviews"]) for cell in cells) == pytest.approx(300)
    expected = rows(tmp_path / "plan/expected.csv")
    assert {row["subgroup"] for row in expected} >= {"all", "sex_Male", "age_group_under-40"}
    assert all(float(row["human"]) > 0 for row in expected)
    form = rows(tmp_path / "plan/forms.csv")
    assert [(one["people"], one["Q1"], one["Q2"], one["Q3"]) for one in form] == [("300", "1", "1", "1")]
    assert json.loads((tmp_path / "plan/plan.json").read_text())["reaches"] is True


def test_a_budget_that_is_too_small_says_what_it_reaches(call, words):
    words[3] = 60
    document = json.loads(call(*words, "--json").out)
    assert document["reaches"] is False
    assert document["scale"] > 1
    assert document["needed"]["human"] > 60
    assert "60 interviews do not reach the goal" in document["sentences"][0]
    assert f"The goal needs {document['needed']['human']} interviews" in document["sentences"][0]
    reached = max(level["human"] for level in document["levels"])
    assert reached == pytest.approx(0.1 * document["scale"])


def test_a_run_that_answers_everywhere_alike_saves_nothing(call, words, data, tmp_path):
    assert call("ask", data, "--model", "baseline:uniform", "--part", "all", "-o", tmp_path / "run").code == 0
    outcome = call(*words, "--runs", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "saves nothing in any subgroup of the goal" in outcome.out
    assert "Without a pilot" in outcome.err


def test_a_pilot_and_few_questions_per_person(call, words, tiny, tmp_path):
    pilot = ["--people", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml", "--questions-per-person", 2]
    document = json.loads(call(*words, *pilot, "--json").out)
    assert document["based_on"]["source"] == "pilot"
    assert all(len(form["items"]) <= 2 for form in document["forms"])
    assert sum(form["people"] for form in document["forms"]) == 300
    assert "Each person answers 2 of 3 questions" in " ".join(document["sentences"])


def test_a_pilot_of_five_people_takes_variances_from_the_gold(call, words, tiny, tmp_path):
    lines = (tiny / "tiny.csv").read_text().splitlines()
    (tiny / "five.csv").write_text("\n".join(lines[:6]) + "\n")
    outcome = call(*words, "--people", tiny / "five.csv", "--survey", tiny / "tiny.yaml")
    assert outcome.code == 0, outcome.err
    assert "a pilot of 5 people does not show how answers vary" in outcome.err


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--budget", 0], 2, "--budget 0: a budget is a number of interviews"),
        (["--budget", 1], 2, "Raise it to at least 2"),
        (["--goal", "half-width .1 in every level of sexx"], 2, "Did you mean 'sex'?"),
        (["--goal", "half-width .1 in sex_Femal"], 2, "Did you mean 'sex_Female'?"),
        (["--estimator", "rectified"], 2, "needs a model. Name its run with --runs"),
        (["--questions-per-person", 0], 2, "at least 1 question"),
        (["--population-size", 100], 2, "fewer people than the budget"),
        (["--people", "nowhere.csv"], 3, "nowhere.csv"),
    ],
)
def test_wrong_calls_are_explained(call, words, change, code, message):
    outcome = call(*words, *change)
    assert outcome.code == code
    assert message in " ".join(outcome.err.split())


def test_a_run_of_another_data_set_is_refused(call, words, data, tiny, tmp_path):
    assert (
        call(
            "build", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml", "-o", tmp_path / "other", "--draws", 20, "--min-respondents", 40
        ).code
        == 0
    )
    assert call("ask", tmp_path / "other", "--model", "baseline:uniform", "--part", "all", "-o", tmp_path / "run").code == 0
    outcome = call(*words, "--runs", tmp_path / "run")
    assert outcome.code == 3
    assert "belongs to another data set" in outcome.err
