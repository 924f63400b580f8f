"""Controls of calibration: what shuffling keeps and changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.calibration.controls import controlled_answers, equal_shares, shuffled_answers
from valuestrata.calibration.model_answers import ModelAnswers


@dataclass(frozen=True)
class Described:
    """The parts of TrainingGold that the controls read."""

    codes: dict[str, tuple[int, ...]]
    level: dict[str, str]
    subgroups_of: dict[str, tuple[str, ...]]


def described(sizes: dict[str, int], trained: set[str], nominal: frozenset[str] = frozenset()) -> Described:
    return Described(
        {item: tuple(range(k)) for item, k in sizes.items()},
        {item: "nominal" if item in nominal else "ordinal" for item in sizes},
        dict.fromkeys(trained, ("f",)),
    )


def answers_of(sizes: dict[str, int], subgroups: tuple[str, ...] = ("f", "m")) -> ModelAnswers:
    """Answers in which each pair is recognised by its first share."""
    rng = np.random.default_rng(1)
    shares = {(item, subgroup): rng.dirichlet(np.ones(k)) for item, k in sizes.items() for subgroup in subgroups}
    return ModelAnswers(shares, {pair: place + 1 for place, pair in enumerate(shares)})


def test_whole_items_move_to_items_of_the_same_kind_and_side():
    sizes = {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3, "f": 5, "g": 3}
    gold = described(sizes, {"a", "b", "c", "f"}, frozenset({"g"}))
    found = shuffled_answers(gold, answers := answers_of(sizes), seed=3)
    assert {found.source[item] for item in "abc"} == set("abc")
    assert all(found.source[item] != item for item in "abc")
    # The two test items exchange their answers; the item with five options and the nominal one have no partner.
    assert (found.source["d"], found.source["e"]) == ("e", "d")
    assert found.fixed == ("f", "g")
    for (item, subgroup), shares in found.answers.shares.items():
        assert np.array_equal(shares, answers.shares[found.source[item], subgroup])
        assert found.answers.n[item, subgroup] == answers.n[found.source[item], subgroup]
    assert found.filled == 0


def test_a_pair_that_the_other_item_lacks_gets_that_items_mean():
    shares = {("a", "f"): np.array([0.2, 0.8]), ("b", "f"): np.array([0.5, 0.5]), ("b", "m"): np.array([0.9, 0.1])}
    found = shuffled_answers(described({"a": 2, "b": 2}, set()), ModelAnswers(shares, {("a", "f"): 4, ("b", "f"): 2, ("b", "m"): 3}))
    assert found.filled == 1
    assert np.array_equal(found.answers.shares["b", "m"], [0.2, 0.8])
    assert found.answers.n["b", "m"] == 4
    assert found.answers.shares.keys() == shares.keys()


def test_no_model_leaves_equal_shares():
    answers = answers_of({"a": 4, "b": 2})
    found = equal_shares(answers)
    assert found.shares.keys() == answers.shares.keys()
    assert found.n == answers.n
    assert all(np.allclose(shares, 1 / len(shares)) for shares in found.shares.values())
    assert controlled_answers("no-model", described({"a": 4, "b": 2}, set()), answers).source == {}


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(2, 4), max_size=12), st.data(), st.integers(0, 99))
def test_shuffling_is_a_seeded_permutation_without_fixed_items_where_there_are_partners(sizes, data, seed):
    trained = {item for item in sizes if data.draw(st.booleans())}
    gold, answers = described(sizes, trained), answers_of(sizes)
    found = shuffled_answers(gold, answers, seed)
    assert sorted(found.source.values()) == sorted(sizes)
    for item, other in found.source.items():
        kind = (sizes[item], item in trained)
        assert kind == (sizes[other], other in trained)
        assert (item == other) == (sum((sizes[one], one in trained) == kind for one in sizes) == 1)
    backwards = ModelAnswers(dict(reversed(answers.shares.items())), answers.n)
    assert dict(shuffled_answers(gold, backwards, seed).source) == dict(found.source)
