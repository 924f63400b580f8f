"""Baselines use training pairs only: changing the gold of all other pairs does not change any answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.poison import data, poisoned
from valuestrata.dataset.tables import Dataset, half_of
from valuestrata.prompts import load_template, render_prompts
from valuestrata.respondents.baselines import LADDER, make_baseline, training_gold

# Scheme -> number of folds in this data set.
SCHEMES = {"paper": 1, "unseen-level": 6, "unseen-item": 5, "unseen-both": 5, "transfer": 1}
SPLITS = {scheme + suffix: folds for scheme, folds in SCHEMES.items() for suffix in ("", "+disjoint")}
# One fold of each split with fast models; all other folds and models are slow.
FAST = ("uniform", "item-average", "nearest-parent", "low-rank")
CASES = [
    pytest.param(kind, split, fold, marks=() if fold == 0 and kind in FAST else pytest.mark.slow)
    for kind in LADDER
    for split, folds in SPLITS.items()
    for fold in range(folds)
]


@cache
def both(split: str, fold: int) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return the data set, its poisoned copy, and the training data set of `transfer`."""
    dataset = data()
    spared = dataset.part(split, "train", fold)
    other = data(2) if split.startswith("transfer") else None
    return dataset, poisoned(dataset, spared, half_of(split, "train")), other


def without_halves(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity without the checksum of the nation's answers in half A, which names the division and trains nothing."""
    source = identity.get("trained_on")
    if not isinstance(source, dict):
        return dict(identity)
    return {**identity, "trained_on": {key: value for key, value in source.items() if key != "half_a"}}


@pytest.mark.parametrize(("kind", "split", "fold"), CASES)
def test_answers_do_not_depend_on_gold_outside_training(kind: str, split: str, fold: int) -> None:
    dataset, changed, other = both(split, fold)
    original = make_baseline(kind, dataset, split=split, fold=fold, train_on=other)
    other_answers = make_baseline(kind, changed, split=split, fold=fold, train_on=other)
    assert without_halves(original.identity()) == without_halves(other_answers.identity())
    for item, subgroup in dataset.part(split, "all", fold).select("item", "subgroup").iter_rows():
        (expected,), (found,) = original.shares(item, subgroup), other_answers.shares(item, subgroup)
        assert np.isfinite(expected).all()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [kind for kind in LADDER if kind not in ("uniform", "midpoint", "item-average")])
def test_changed_training_gold_changes_answers(kind: str) -> None:
    """Changing a single training pair changes answers, so the test above can fail."""
    dataset = data()
    train = dataset.part("paper", "train")
    target = train.filter(pl.col("subgroup").str.starts_with("sex_sex")).row(1, named=True)
    changed = poisoned(dataset, train.filter(pl.col("pair_id") != target["pair_id"]), "all")
    row = pl.col("pair_id") == target["pair_id"]
    extreme = [0.0] * (len(dataset.codes_of[target["item"]]) - 1) + [1e4]
    changed = replace(
        changed,
        gold=changed.gold.with_columns(
            pl.when(row & (pl.col("half") == "all"))
            .then(pl.lit(extreme, dtype=pl.List(pl.Float64)))
            .otherwise("counts_weighted")
            .alias("counts_weighted"),
            pl.when(row).then(1e4).otherwise("n_eff").alias("n_eff"),
        ),
    )
    asked = dataset.part("paper", "all").filter(pl.col("item") == target["item"])["subgroup"]
    original, other_answers = make_baseline(kind, dataset), make_baseline(kind, changed)
    assert max(np.abs(original.shares(target["item"], s)[0] - other_answers.shares(target["item"], s)[0]).max() for s in asked) > 0.01


def test_all_folds_are_covered() -> None:
    assert {scheme: data().part(scheme, "all")["fold"].n_unique() for scheme in SCHEMES} == SCHEMES


@pytest.mark.parametrize("split", SPLITS)
def test_training_gold_holds_only_training_pairs(split: str) -> None:
    dataset = data()
    half = half_of(split, "train")
    for fold in dataset.part(split, "all")["fold"].unique().sort():
        other = data(2) if split.startswith("transfer") else None
        gold = training_gold(dataset, split=split, fold=fold, train_on=other)
        if other is None:
            wanted = set(dataset.part(split, "train", fold).select("item", "subgroup").iter_rows())
            assert gold.counts.keys() <= wanted
            assert gold.counts.keys().isdisjoint(dataset.part(split, "test", fold).select("item", "subgroup").iter_rows())
        source = dataset if other is None else other
        rows = {
            (i, s): c for i, s, c in source.gold.filter(pl.col("half") == half).select("item", "subgroup", "counts_weighted").iter_rows()
        }
        for pair, counts in gold.counts.items():
            np.testing.assert_array_equal(counts, rows[pair])


@pytest.mark.parametrize("split", ["unseen-level", "unseen-item", "unseen-both", "unseen-level+disjoint"])
@pytest.mark.parametrize("kind", ["uniform", "item-mode", "nearest-parent", "low-rank"])
def test_each_fold_that_tests_a_pair_answers_once(kind: str, split: str) -> None:
    dataset = data()
    pooled = make_baseline(kind, dataset, split=split)
    rows = dataset.part(split, "test")
    by_fold = {fold: make_baseline(kind, dataset, split=split, fold=fold) for fold in rows["fold"].unique()}
    for item, subgroup, folds in rows.sort("fold").group_by("item", "subgroup", maintain_order=True).agg("fold").iter_rows():
        expected = [by_fold[fold].shares(item, subgroup)[0] for fold in folds]
        found = pooled.shares(item, subgroup)
        if kind == "uniform":
            expected = expected[:1]
        assert len(found) == len(expected)
        np.testing.assert_array_equal(found, expected)


def test_pairs_of_two_attributes_get_two_samples_under_unseen_level() -> None:
    dataset = data()
    pairs = dataset.part("unseen-level", "test").filter(pl.col("subgroup").str.contains("_x_"))
    one = pairs.unique("pair_id", maintain_order=True).head(1)
    (prompt,) = render_prompts(dataset, one, template=load_template("default"), elicitation="logprob")
    answers = list(make_baseline("item-mode", dataset, split="unseen-level").answer([prompt]))
    assert [answer.prompt.sample for answer in answers] == [0, 1]
    assert {answer.prompt.pair_id for answer in answers} == {prompt.pair_id}
