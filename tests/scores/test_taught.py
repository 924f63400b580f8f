"""What a tuned model was taught, against what it is judged on."""

from types import SimpleNamespace

import polars as pl
import pytest

from tests.tuning.planted import planted
from valuestrata.scores.train_test_overlap import training_overlap


@pytest.fixture(scope="module")
def people():
    return planted()


def run(name, dataset, pairs, *, split="paper", fold=None, control=False, fingerprint=None):
    model = {"name": "hf:M", "taught_on": {"dataset": fingerprint or dataset.fingerprint, "split": split, "fold": fold, "control": None}}
    respondent = {"name": "control:no-persona@hf:M", "provider": "control", "control": "no-persona", "of": model} if control else model
    return SimpleNamespace(name=name, meta={"respondent": respondent}, responses=pairs.select("pair_id"))


def test_the_share_is_that_of_its_own_pairs_which_trained(people):
    test, every = people.part("paper", "test"), people.part("paper", "all").unique("pair_id")
    trained = people.part("paper", "train")["pair_id"].unique()
    runs = [
        run("test", people, test),
        run("all", people, every),
        run("control", people, every, control=True),
        run("other people", people, every, fingerprint="0" * 64),
        SimpleNamespace(name="base", meta={"respondent": {"name": "hf:M"}}, responses=every.select("pair_id")),
    ]
    found = training_overlap(people, runs, split="paper", part="all")
    assert found["test"] == (0.0, test["pair_id"].n_unique())
    assert found["all"] == (pytest.approx(len(trained) / every.height), every.height)
    assert found["control"] == found["all"]
    assert set(found) == {"test", "all", "control"}


def test_another_split_is_seen_through_and_folds_that_answered_apart_are_not_blamed(people):
    test = people.part("unseen-item", "test")
    folds = sorted(test["fold"].unique())
    assert len(folds) > 1
    one = training_overlap(people, [run("one", people, test, split="unseen-item", fold=folds[0])], split="unseen-item", part="test")
    expected = test.join(people.part("unseen-item", "train", folds[0]).select("pair_id").unique(), on="pair_id", how="semi")
    assert one["one"][0] == pytest.approx(expected["pair_id"].n_unique() / test["pair_id"].n_unique())
    assert one["one"][0] > 0
    assert training_overlap(people, [run("each", people, test, split="unseen-item")], split="unseen-item", part="test") == {}
    there = training_overlap(
        people, [run("there", people, test, split="unseen-item", fold=folds[0])], split="unseen-item", part="test", fold=folds[0]
    )
    assert there["there"][0] == 0


def test_responses_without_a_pair_are_no_share(people):
    nobody = pl.DataFrame({"pair_id": []}, schema={"pair_id": pl.String})
    assert training_overlap(people, [run("none", people, nobody)], split="paper", part="test") == {}
