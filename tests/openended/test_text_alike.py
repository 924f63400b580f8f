"""Sameness of answers across levels: vectors with planted structure, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.openended.text import similarity as textchecks_alike
from valuestrata.openended.text.similarity import Vectors, level_similarity, similarity, vectors_of

ATTRIBUTES = ["sex", "age"]
NO_BLOCKS = {f"q{item}": f"item q{item}" for item in range(20)}
CELLS = [(sex, age) for sex in "FM" for age in "YO"]
SUBGROUPS = pl.DataFrame(
    [("sex_F", "sex", "F", None), ("sex_M", "sex", "M", None)] + [(f"both_{sex}_{age}", "both", sex, age) for sex, age in CELLS],
    schema=["subgroup", "stratum", *ATTRIBUTES],
    orient="row",
)


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, dtype=float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(by_sex: float, by_age: float, *, items: int = 12, samples: int = 1, seed: int = 0, noise: float = 1.0):
    """Vectors that are the item's, moved by sex and age, plus noise."""
    rng = np.random.default_rng(seed)
    of_sex, of_age = (dict(zip(levels, rng.normal(size=(2, 30)), strict=True)) for levels in ("FM", "YO"))
    rows, vectors = [], []
    for item in range(items):
        own = 3 * rng.normal(size=30)
        for subgroup, _, sex, age in SUBGROUPS.iter_rows():
            for _ in range(samples):
                rows.append(("r", f"q{item}", subgroup))
                moved = by_sex * of_sex[sex] + (by_age * of_age[age] if age else 0)
                vectors.append(own + moved + noise * rng.normal(size=30))
    return pl.DataFrame(rows, schema=["run", "item", "subgroup"], orient="row"), Vectors("planted", unit(vectors))


def found(by_sex: float, by_age: float, **options) -> dict[str, dict]:
    frame, vectors = planted(by_sex, by_age, **options)
    return {row["key"]: row for row in similarity(frame, vectors, SUBGROUPS, ATTRIBUTES, NO_BLOCKS, permutations=200, seed=1).to_dicts()}


def test_means_against_plain_loops():
    rng = np.random.default_rng(5)
    vectors = unit(rng.normal(size=(6, 4)))
    level, subgroup = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 3, 4])
    result = level_similarity(vectors @ vectors.T, level, np.zeros(6, dtype=np.intp), subgroup, 50, rng)
    pairs = {kind: [] for kind in ("across", "within", "same")}
    for i, j in itertools.combinations(range(6), 2):
        kind = "across" if level[i] != level[j] else "within" if subgroup[i] != subgroup[j] else "same"
        pairs[kind].append(float(vectors[i] @ vectors[j]))
    assert result is not None
    for kind, values in pairs.items():
        assert getattr(result, kind) == pytest.approx(np.mean(values))
    assert result.shuffled.shape == (50,)


def test_all_deals_of_four_answers_have_the_known_mean():
    # Two levels of two answers: the three ways to deal them, so that the mean across is that of all pairs.
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(4, 3)))
    likeness = vectors @ vectors.T
    result = level_similarity(likeness, np.array([0, 0, 1, 1]), np.zeros(4, dtype=np.intp), np.array([0, 0, 1, 1]), 4000, rng)
    deals = [(half, sorted(set(range(4)) - set(half))) for half in ((0, 1), (0, 2), (0, 3))]
    means = {round(float(np.mean([likeness[i, j] for i in half for j in rest])), 9) for half, rest in deals}
    assert {round(value, 9) for value in result.shuffled.tolist()} == means
    assert result.shuffled.mean() == pytest.approx(np.mean(likeness[np.triu_indices(4, 1)]), abs=0.02)


def test_what_differs_by_sex_is_found_for_sex_alone():
    rows = found(1.0, 0.0)
    assert rows["sex"]["gap_low"] > 0.01
    assert rows["sex"]["p"] < 0.01
    assert rows["sex"]["within"] > rows["sex"]["across"]
    assert rows["age"]["gap_low"] < 0 < rows["age"]["gap_high"]


def test_the_other_attribute_does_not_pass_for_this_one():
    # Young and old differ, men and women do not. Dealing sex over everybody would find them more alike than chance.
    rows = found(0.0, 2.0, noise=0.3)
    assert rows["age"]["gap_low"] > 0
    assert abs(rows["sex"]["gap"]) < 0.01
    assert rows["sex"]["gap_low"] <= 0 <= rows["sex"]["gap_high"]


@pytest.mark.slow
def test_where_persona_makes_no_difference_p_is_level():
    values = [found(0.0, 0.0, items=4, seed=seed)["sex"]["p"] for seed in range(40)]
    assert 0.0 < np.mean(np.array(values) <= 0.1) <= 0.22


def test_one_answer_a_level_has_nothing_to_deal():
    frame, vectors = planted(1.0, 0.0)
    rows = frame["subgroup"].is_in(["sex_F", "sex_M"]).arg_true().to_numpy()
    row = similarity(frame[rows], Vectors("planted", vectors.rows[rows]), SUBGROUPS, ATTRIBUTES, NO_BLOCKS).row(0, named=True)
    assert row["across"] is not None
    assert (row["shuffled"], row["gap"], row["p"], row["same"]) == (None, None, None, None)


def test_samples_say_what_is_left_when_nothing_differs():
    rows = found(1.0, 1.0, samples=3)
    assert rows["all"]["same"] > rows["all"]["across"] > rows["all"]["elsewhere"]
    assert rows["all"]["gap_low"] > 0
    assert rows["sex"]["items"] == 12


def test_elsewhere_against_plain_loops():
    frame, vectors = planted(0.5, 0.5, items=3)
    rows = frame.with_row_index("row").filter(pl.col("subgroup").str.starts_with("both")).to_dicts()
    expected = [
        float(vectors.rows[a["row"]] @ vectors.rows[b["row"]])
        for a, b in itertools.combinations(rows, 2)
        if a["subgroup"] == b["subgroup"] and a["item"] != b["item"]
    ]
    found_rows = similarity(frame, vectors, SUBGROUPS, ["age"], NO_BLOCKS, permutations=0)
    assert found_rows["elsewhere"][0] == pytest.approx(np.mean(expected))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_renaming_the_levels_changes_nothing(seed):
    frame, vectors = planted(0.5, 0.2, items=3, seed=seed)
    other = SUBGROUPS.with_columns(pl.col("sex").replace({"F": "M", "M": "F"}))
    one, two = (similarity(frame, vectors, groups, ["sex"], NO_BLOCKS, permutations=0).row(0, named=True) for groups in (SUBGROUPS, other))
    assert one == pytest.approx(two)


@pytest.mark.parametrize("installed", [True, False])
def test_texts_become_vectors(installed, monkeypatch):
    if installed:
        pytest.importorskip("wordllama")
    else:
        monkeypatch.setattr(textchecks_alike, "find_spec", lambda _name: None)
    texts = ["I love my family", "I love my family", "taxes are far too high", "my family matters"]
    vectors = vectors_of(texts)
    assert vectors.method.startswith("wordllama" if installed else "tf-idf")
    likeness = vectors.similarities(np.arange(4))
    assert likeness[0, 1] == pytest.approx(1.0)
    assert likeness[0, 3] > likeness[0, 2]
    assert vectors.total(np.array([0, 1])) == pytest.approx(2 * vectors.total(np.array([0])))
