"""What must hold whatever the data."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.scores import compare, pair_scores, score
from valuestrata.scores.layout import Keys

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=25, deadline=None)
SHORT = ("all", "stratum", "level", "topic", "item")


def values(kit, dataset, rows, **options):
    options = {"bootstrap": 0, "by": SHORT} | options
    return score(dataset, [kit.run_of("m", rows)], **options)


@FEW
@given(seed=SEEDS)
def test_metrics_and_intervals_lie_in_their_ranges_and_hold_the_estimate(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    scores = values(kit, kit.build(world), kit.random_rows(world, seed), bootstrap=30)
    low = pl.when(pl.col("metric") == "bias").then(-1.0).otherwise(0.0) - 1e-12
    high = pl.when(pl.col("metric").str.starts_with("spread")).then(np.inf).otherwise(1.0) + 1e-12
    for column in ("value", "ci_low", "ci_high"):
        assert scores.filter(~pl.col(column).is_between(low, high)).is_empty()
    means = scores.filter(~pl.col("metric").str.starts_with("spread"))
    assert means.filter(pl.col("ci_low") > pl.col("ci_high")).is_empty()
    assert not scores["value"].is_nan().any()
    assert scores.filter((pl.col("value").is_not_null()) & (pl.col("pairs") == 0)).is_empty()
    assert means.filter(pl.col("value").is_null() & (pl.col("pairs") > 0)).is_empty()


@FEW
@given(seed=SEEDS)
def test_expected_accuracy_is_at_most_that_of_the_likeliest_modes_in_every_key(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    scores = values(kit, kit.build(world), kit.random_rows(world, seed))
    wide = scores.pivot(on="metric", index=["by", "key"], values="value")
    # The ceilings of these worlds are the largest p_mode.
    assert wide.filter(pl.col("accuracy_expected") > pl.col("ceiling_oracle") + 1e-12).is_empty()
    assert wide.filter(pl.col("accuracy") > pl.col("accuracy_set") + 1e-12).is_empty()
    assert wide.filter(pl.col("rps") > pl.col("w1") + 1e-12).is_empty()


@FEW
@given(seed=SEEDS)
def test_the_order_of_rows_and_pairs_does_not_matter(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    dataset = kit.build(world)
    responses = kit.respond(kit.random_rows(world, seed))
    shuffled = SimpleNamespace(name="m", responses=responses.sample(fraction=1.0, shuffle=True, seed=seed))
    a = score(dataset, [SimpleNamespace(name="m", responses=responses)], bootstrap=10, by=SHORT)
    b = score(dataset, [shuffled], bootstrap=10, by=SHORT)
    keys = ["by", "key", "metric", "pairs", "coverage"]
    assert a.select(keys).equals(b.select(keys))
    for column in ("value", "ci_low", "ci_high"):
        assert np.allclose(a[column].to_numpy(), b[column].to_numpy(), atol=1e-12, equal_nan=True)


@FEW
@given(seed=SEEDS, leading=st.sampled_from([(), (3,), (2, 2)]), single=st.booleans())
def test_sums_by_key_are_sums_over_their_pairs(seed: int, leading: tuple[int, ...], single: bool):
    """Keys of no subgroup, of one and of several; topics; single items; in either precision."""
    rng = np.random.default_rng(seed)
    groups = np.concatenate([rng.integers(0, 2, (3, 4)), np.eye(4, dtype=int)[:2], np.zeros((1, 4), dtype=int)]).astype(float)
    topics = rng.integers(0, 2, (2, 5)).astype(float)
    items = np.array([4, 0])
    keys = Keys([("level", str(n)) for n in range(10)], groups, topics, items[:, None])
    values = rng.integers(-9, 9, (*leading, 4, 5)).astype(np.float32 if single else np.float64)
    rows = keys.rows(values)
    assert rows.dtype == values.dtype
    assert rows.shape == (*leading, 8, 5)
    totals = keys.totals(values.astype(np.float64))
    for place in np.ndindex(*leading):
        for key, members in enumerate(groups):
            expected = [sum(values[(*place, g, i)] for g in range(4) if members[g]) for i in range(5)]
            assert rows[(*place, key)].tolist() == expected
            assert totals[(*place, key)] == sum(expected)
        for key, of_topic in enumerate(topics):
            expected = [sum(values[(*place, g, i)] for g in range(4)) * of_topic[i] for i in range(5)]
            assert rows[(*place, 6 + key)].tolist() == expected
            assert totals[(*place, 6 + key)] == sum(expected)
        assert totals[(*place, 8)] == values[place][:, 4].sum()


@FEW
@given(seed=SEEDS)
def test_each_code_once_scores_one_over_k(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    rows = [
        {"item": item, "subgroup": subgroup, "sample": n, "answer": code}
        for item, subgroup in world.counts
        for n, code in enumerate(world.items[item][2])
    ]
    pairs = pair_scores(kit.build(world), kit.respond(rows))
    for item, accuracy, expected in pairs.select("item", "accuracy", "accuracy_expected").iter_rows():
        k = len(world.items[item][2])
        assert accuracy == pytest.approx(1 / k)
        assert expected == pytest.approx(1 / k)


@FEW
@given(seed=SEEDS, status=st.sampled_from(["refused", "unparsed", "invalid_code", "failed"]))
def test_refusing_never_helps_and_never_drops_a_pair(kit: SimpleNamespace, seed: int, status: str):
    world = kit.random_world(seed)
    dataset = kit.build(world)
    rows = kit.random_rows(world, seed, missing=0.0)
    rng = np.random.default_rng(seed)
    lost = [row | {"answer": None, "status": status, "option_probs": None} if rng.random() < 0.4 else row for row in rows]
    before, after = (pair_scores(dataset, kit.respond(each)) for each in (rows, lost))
    assert before["pair_id"].equals(after["pair_id"])
    assert before["responses"].equals(after["responses"])
    for metric in ("accuracy", "accuracy_expected", "accuracy_set"):
        assert (after[metric] <= before[metric] + 1e-12).all()
    for metric in ("nmae", "w1", "rps", "tv", "jsd"):
        assert (after[metric] >= before[metric] - 1e-12).all()
        assert after[metric].is_null().equals(before[metric].is_null())


@FEW
@given(seed=SEEDS)
def test_a_run_compared_with_a_copy_of_itself_differs_by_nothing(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    rows = kit.random_rows(world, seed)
    runs = [kit.run_of("a", rows), kit.run_of("b", rows)]
    table = compare(kit.build(world), runs, [("a", "b")], bootstrap=20, by=SHORT)
    means = table.filter(~pl.col("metric").str.starts_with("spread")).drop_nulls("difference")
    for column in ("difference", "ci_low", "ci_high", "se"):
        assert (means[column].drop_nulls().abs() < 1e-12).all()
    assert (means["p"].drop_nulls() == 1).all()
    assert means["p"].is_null().equals(means["ci_low"].is_null())
    assert set(table["against"]) == {"b"}


@pytest.mark.slow
@FEW
@given(seed=SEEDS)
def test_turning_a_comparison_round_turns_its_signs(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    runs = [kit.run_of(str(n), kit.random_rows(world, seed + n)) for n in range(2)]
    table = compare(kit.build(world), runs, [("0", "1"), ("1", "0")], bootstrap=30, by=SHORT)
    there, back = (table.filter(pl.col("run") == name) for name in "01")
    turned = (("difference", "difference", -1), ("ci_low", "ci_high", -1), ("se", "se", 1), ("p", "p", 1), ("pairs", "pairs", 1))
    for left, right, sign in turned:
        assert np.allclose(there[left].to_numpy(), sign * back[right].to_numpy(), atol=1e-9, equal_nan=True), left


@pytest.mark.slow
@FEW
@given(seed=SEEDS)
def test_scoring_runs_together_or_alone_is_the_same(kit: SimpleNamespace, seed: int):
    world = kit.random_world(seed)
    dataset = kit.build(world)
    runs = [kit.run_of(str(n), kit.random_rows(world, n)) for n in range(3)]
    together = score(dataset, runs, bootstrap=15, by=SHORT)
    alone = pl.concat([score(dataset, [run], bootstrap=15, by=SHORT) for run in runs])
    assert together.equals(alone)


def test_answering_the_mode_everywhere_is_perfect(kit: SimpleNamespace):
    world = kit.random_world(3)
    dataset = kit.build(world)
    gold = dataset.gold.filter(pl.col("half") == "all")
    rows = [{"item": i, "subgroup": s, "answer": m} for i, s, m in gold.select("item", "subgroup", "mode").iter_rows()]
    scores = values(kit, dataset, rows)
    assert kit.value_of(scores, "accuracy") == 1
    assert kit.value_of(scores, "nmae") == 0
    assert kit.value_of(scores, "bias") == 0
    assert kit.value_of(scores, "spread_ratio") == pytest.approx(1)


def test_one_answer_for_all_subgroups_has_no_spread(kit: SimpleNamespace):
    world = kit.random_world(3)
    rows = [{"item": i, "subgroup": s, "answer": world.items[i][2][0]} for i, s in world.counts]
    scores = values(kit, kit.build(world), rows, bootstrap=50)
    assert kit.value_of(scores, "spread_ratio") == 0
    assert kit.value_of(scores, "spread_ratio", column="ci_high") == 0
