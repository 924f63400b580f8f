"""The command `estimate` on the tiny survey: a sample of its people, and models that answered pairs and as single people."""

from __future__ import annotations

import csv
import json

import polars as pl
import pytest


@pytest.fixture
def people(built):
    """Sixty of the survey's people, as their own file."""
    return first_rows(built, "sample.csv", 60)


def first_rows(folder, name, number, **columns):
    with (folder / "tiny.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:number]
    for row in rows:
        row.update({key: value(row) for key, value in columns.items()})
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


@pytest.fixture
def run(call, data):
    folder = data.parent / "runs/even"
    assert call("ask", data, "--model", "baseline:uniform", "--part", "all", "-o", folder).code == 0
    return folder


@pytest.fixture
def words(data, people):
    return ["estimate", data, "--people", people, "--survey", people.parent / "tiny.yaml"]


def test_the_answer_comes_first_and_the_files_are_there(call, words, run, data):
    out = data.parent / "estimates"
    outcome = call(*words, "--runs", run, "-o", out)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("From 60 interviews: use ")
    assert "Average half-width of the 95 % intervals of shares, in points." in lines
    assert lines[-1] == f"Page: {out / 'report.html'}. Table: {out / 'estimates.csv'}."
    names = {file.name for file in out.iterdir()}
    tables = {f"{name}.{end}" for name in ("estimates", "interviews", "benchmark") for end in ("csv", "parquet")}
    assert names == tables | {"estimate.json", "report.html"}
    table = pl.read_parquet(out / "estimates.parquet")
    assert set(table["item"]) == {"Q1", "Q2", "Q3"}
    assert set(table["run"].drop_nulls()) == {"even"}
    document = json.loads((out / "estimate.json").read_text())
    assert document["request"]["files"]["people"]["file"] == "sample.csv"
    assert document["people"]["weighted"] is True
    assert not list(data.parent.glob(".*vs-tmp*"))


def test_the_same_call_again_computes_nothing_and_another_is_refused(call, words, data, monkeypatch):
    out = data.parent / "estimates"
    first = call(*words, "-o", out)
    assert first.code == 0, first.err
    with monkeypatch.context() as patch:
        patch.setattr("valuestrata.estimation.estimate.all_estimates", None)
        again = call(*words, "-o", out)
    assert (again.code, again.out) == (0, first.out)
    assert "are there already" in again.err
    other = call(*words, "--items", "Q1,Q2", "-o", out)
    assert other.code == 2
    assert "--overwrite" in other.err
    assert call(*words, "--items", "Q1,Q2", "--overwrite", "-o", out).code == 0
    full = data.parent / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    refused = call(*words, "-o", full)
    assert refused.code == 3
    assert (full / "notes.txt").read_text() == "mine"


def test_several_runs_follow_one_option(call, words, run, data):
    other = data.parent / "runs/other"
    assert call("ask", data, "--model", "baseline:uniform", "--part", "all", "-o", other).code == 0
    outcome = call(*words, "--runs", run, other, "-o", data.parent / "estimates", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["runs"] == ["even", "other"]
    assert {row["run"] for row in document["estimates"]} == {None, "even", "other"}
    assert document["report"].endswith("report.html")


def test_a_model_may_answer_as_the_people_themselves(call, words, data):
    answers = first_rows(data.parent, "simulated.csv", 60, Q1=lambda row: row["Q1"] if row["Q1"] != "-1" else "1")
    outcome = call(*words, "--id", "id", "--answers", answers, "-o", data.parent / "estimates", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["runs"] == ["simulated"]
    assert "60 interviews" in document["sentences"][0]
    # No id and no row of a person is written.
    assert "p1" not in {str(value) for row in document["estimates"] for value in row.values()}


def test_answers_of_a_model_may_be_refusals(call, words, data):
    answers = first_rows(data.parent, "simulated.csv", 60, Q1=lambda row: "88" if row["Q1"] == "-1" else row["Q1"])
    given = [*words, "--id", "id", "--answers", answers, "-o", data.parent / "estimates"]
    refused = call(*given)
    assert refused.code == 3
    assert "88" in refused.err
    assert call(*given, "--missing", "88").code == 0


def test_the_population_correction_shortens_intervals(call, words, data):
    lengths = []
    for place, more in enumerate(([], ["--population-size", 80], ["--sampling-fraction", 0.75])):
        out = data.parent / f"estimates{place}"
        assert call(*words, *more, "-o", out).code == 0
        row = pl.read_parquet(out / "estimates.parquet").filter(subgroup="all", item="Q2", estimator="human", code=1)
        lengths.append((row["high"] - row["low"]).item())
    assert lengths[1] < 0.7 * lengths[0]
    assert lengths[1] == pytest.approx(lengths[2], abs=1e-9)


def test_change_since_an_earlier_wave(call, words, data):
    # The whole survey stands for the earlier wave.
    outcome = call(*words, "--first-wave", data, "-o", data.parent / "estimates")
    assert outcome.code == 0, outcome.err
    assert "hange" in outcome.out.splitlines()[1]
    table = pl.read_parquet(data.parent / "estimates/estimates.parquet")
    known = table.filter(pl.col("change").is_not_null())
    assert (known["change"] - known["value"] + known["first"]).abs().max() < 1e-12
    assert "first-wave" in set(table["run"])


def test_a_run_that_was_taught_on_these_people_is_refused(call, data):
    folder = data.parent / "runs/taught"
    assert call("ask", data, "--model", "baseline:item-average", "--part", "all", "-o", folder).code == 0
    outcome = call(
        "estimate",
        data,
        "--people",
        data.parent / "tiny.csv",
        "--survey",
        data.parent / "tiny.yaml",
        "--runs",
        folder,
        "-o",
        data.parent / "o",
    )
    assert outcome.code == 2
    assert "taught" in outcome.err
    assert not (data.parent / "o").exists()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--sampling-fraction", 1.5], 2, "from 0 to below 1"),
        (["--population-size", 10], 2, "has more people, 60"),
        (["--population-size", 80, "--sampling-fraction", 0.1], 2, "not both"),
        (["--items", "Q9"], 2, "has no item 'Q9'"),
        (["--strata", "sx"], 2, "has no stratum 'sx'"),
        (["--numbers", "rank"], 2, "no meaning of numbers 'rank'"),
        (["--runs", "nowhere"], 3, "nowhere: no run here"),
        (["--population", "none.csv"], 3, "none.csv"),
        (["--people", "none.csv"], 3, "none.csv"),
    ],
)
def test_wrong_calls_have_one_message_and_write_nothing(call, words, data, more, code, message):
    out = data.parent / "estimates"
    outcome = call(*words, *more, "-o", out)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert not out.exists()


def test_two_runs_of_one_name_are_refused(call, words, run, data):
    outcome = call(*words, "--runs", run, run, "-o", data.parent / "estimates")
    assert outcome.code == 2
    assert "Two runs have the name 'even'" in outcome.err


def test_a_run_of_another_data_set_is_refused(call, words, run, data):
    file = run / "run.json"
    document = json.loads(file.read_text())
    document["dataset"]["fingerprint"] = "0" * 64
    file.write_text(json.dumps(document))
    outcome = call(*words, "--runs", run, "-o", data.parent / "estimates")
    assert outcome.code == 3
    assert "belongs to another data set" in outcome.err


def test_people_outside_all_subgroups_are_refused(call, data):
    strange = first_rows(data.parent, "strange.csv", 30, sex=lambda _: "9", age=lambda _: "", area=lambda _: "7")
    outcome = call("estimate", data, "--people", strange, "--survey", data.parent / "tiny.yaml", "-o", data.parent / "o")
    assert outcome.code == 3
    assert "strange.csv" in outcome.err
    assert not (data.parent / "o").exists()


def test_people_without_answers_are_refused_and_empty_items_are_said(call, data):
    empty = first_rows(data.parent, "empty.csv", 30, Q1=lambda _: "", Q2=lambda _: "", Q3=lambda _: "")
    common = ["--survey", data.parent / "tiny.yaml", "-o", data.parent / "o"]
    outcome = call("estimate", data, "--people", empty, *common)
    assert outcome.code == 3
    assert "empty.csv: no item can be used" in outcome.err
    partly = first_rows(data.parent, "partly.csv", 30, Q1=lambda _: "")
    outcome = call("estimate", data, "--people", partly, *common)
    assert outcome.code == 0, outcome.err
    assert "nobody answered are left out: Q1" in outcome.err
    assert set(pl.read_parquet(data.parent / "o/estimates.parquet")["item"]) == {"Q2", "Q3"}
