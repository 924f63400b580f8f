"""Stances of open answers are audited as the same answers given closed."""

import json
import shutil

import polars as pl
import pytest

from tests.openended.protocol import Speaks
from tests.openended.protocol import open_run as asked_openly
from valuestrata.dataset.tables import load_dataset
from valuestrata.fairness import audit
from valuestrata.openended.files import load_stances
from valuestrata.openended.open_runs import load_open_run
from valuestrata.openended.stance.read import open_stance, plan_stance
from valuestrata.openended.stance.scores import load_stance_runs
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.folder import load_run

FEW = {"bootstrap": 40, "permutations": 40}


def said(prompt) -> str:
    """Townspeople say the second option, the others the first, but have no opinion on one item."""
    if "Town" not in prompt.subgroup and prompt.item == "Q2":
        return "none"
    return "second" if "Town" in prompt.subgroup else "first"


class Chooses(Speaks):
    """Chooses closed what `said` says openly; without an opinion it refuses."""

    def __init__(self):
        places = {"first": 0, "second": 1}
        super().__init__(
            lambda prompt: f"Answer: {prompt.options[places[said(prompt)]]}" if said(prompt) in places else "No answer.", "fake:w"
        )


def reader(prompt) -> str:
    """A judge that reads what was said."""
    text = prompt.messages[-1].content
    return f"Answer: {prompt.options[0 if 'first' in text else 1 if 'second' in text else -1]}"


@pytest.fixture(scope="module")
def folder(built_tiny, tmp_path_factory):
    """Closed answers, open answers and their stances of one model on the tiny data set."""
    home, dataset = tmp_path_factory.mktemp("audited"), load_dataset(built_tiny)
    ask(dataset, Chooses(), home / "closed", elicitation="text")
    run = asked_openly(dataset, home / "openly", said, "fake:w")
    for judge in ("fake:one", "fake:two"):
        open_stance(plan_stance(dataset, [run], Speaks(reader, judge), elicitation="text"), home / "stances")
    return home


def test_an_audit_of_stances_is_that_of_the_same_closed_answers(built_tiny, folder):
    dataset = load_dataset(built_tiny)
    closed = load_run(folder / "closed")
    read = load_stance_runs(folder / "stances")
    assert [run.name for run in read] == [
        "openly read by fake:one",
        "openly read by fake:two",
        "openly read by majority of 2 judges",
    ]
    assert set(read[0].responses["status"]) == set(closed.responses["status"]) == {"answered", "refused"}
    found = audit(dataset, [closed, *read], metrics=("accuracy", "nmae", "refusal_rate"), **FEW)
    for name, table in found.tables().items():
        mine = table.filter(pl.col("run") == "closed").drop("run")
        assert mine.height > 0 or name in ("changes", "excess")
        for run in read:
            theirs = table.filter(pl.col("run") == run.name).drop("run")
            if "note" in mine.columns:
                assert all("read from open answers by" in note for note in theirs["note"].drop_nulls()) or name != "disparity"
            hidden = [column for column in ("note", "elicitation", "template") if column in mine.columns]
            assert theirs.drop(hidden).equals(mine.drop(hidden)), (name, run.name)
    changed = audit(dataset, [closed, read[0]], against="closed", metrics=("accuracy",), **FEW).changes
    assert changed["change"].drop_nulls().abs().max() == 0


@pytest.mark.slow
def test_the_command_audits_stances_and_says_who_read_them(call, built_tiny, folder):
    words = ("audit", built_tiny, folder / "stances", folder / "closed", "--baselines", "none", "--bootstrap", 40, "--permutations", 40)
    outcome = call(*words, "--json", "-o", folder / "out")
    assert outcome.code == 0, outcome.err
    assert "openly read by fake:one" in outcome.err
    assert "valuestrata open validity DATASET" in outcome.err
    document = json.loads(outcome.out)
    assert {row["run"] for row in document["groups"]} >= {"openly read by fake:one", "closed"}
    notes = {row["note"] for row in document["disparity"] if row["run"] == "openly read by fake:one"}
    assert all("read from open answers by fake:one; errors of the judge may differ between subgroups" in note for note in notes)
    assert "refusal_rate" in {row["metric"] for row in document["disparity"]}, "answers without a stance are missing answers"
    assert "read from open answers by fake:one" in (folder / "out" / "audit.html").read_text()
    assert "not usable" not in outcome.err
    dataset = load_dataset(built_tiny)
    run = load_open_run(folder / "openly")
    always = Speaks(lambda prompt: "no idea at all", "fake:lost")
    open_stance(plan_stance(dataset, [run], always, elicitation="text"), folder / "lost")
    many = pl.concat([load_stances(folder / "lost").stances.with_columns(sample=pl.lit(at, pl.Int32)) for at in range(9)])
    shutil.rmtree(folder / "lost" / "judges")
    many.write_parquet(folder / "lost" / "stances.parquet")
    outcome = call("audit", built_tiny, folder / "lost", *words[4:])
    assert "Warning: fake:lost is not usable for stances (invalid_share failed)" in outcome.err
    outcome = call("audit", built_tiny, folder / "openly")
    assert outcome.code == 3
    assert "valuestrata open stance" in outcome.err
