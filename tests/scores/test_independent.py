"""The same numbers from plain loops, from fairlearn, and from scipy."""

import math
from collections import defaultdict

import numpy as np
import polars as pl
import pytest

from valuestrata.scores import compare, score

DISTANCES = ("w1", "rps", "tv", "jsd")


def bits(p):
    return -sum(x * math.log2(x) for x in p if x > 0)


def distance(name, p, q):
    steps = len(p) - 1
    gaps = [sum(p[: k + 1]) - sum(q[: k + 1]) for k in range(steps)]
    return {
        "w1": sum(abs(g) for g in gaps) / steps,
        "rps": sum(g * g for g in gaps) / steps,
        "tv": sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
        "jsd": bits([(a + b) / 2 for a, b in zip(p, q, strict=True)]) - (bits(p) + bits(q)) / 2,
    }[name]


def mean(values):
    return sum(values) / len(values) if values else None


def score_pair(gold, level, codes, mode, rows):
    """Metrics of one pair, response by response. `mode`: option index compared with."""
    steps = len(codes) - 1
    found = defaultdict(list)
    for row in rows:
        valid = row["status"] == "answered"
        k = codes.index(row["answer"]) if valid else None
        found["accuracy"].append(float(k == mode))
        found["accuracy_expected"].append(gold["p_mode"][k] if valid else 0)
        found["accuracy_set"].append(float(valid and row["answer"] in gold["modes"]))
        found["refusal_rate"].append(float(row["status"] == "refused"))
        found["invalid_rate"].append(float(row["status"] in ("unparsed", "invalid_code", "failed")))
        if level != "nominal":
            found["nmae"].append(abs(k - mode) / steps if valid else 1)
        if valid:
            found["accuracy_valid"].append(float(k == mode))
            if level != "nominal":
                found["nmae_valid"].append(abs(k - mode) / steps)
                found["bias"].append((k - mode) / steps)
                found["position"].append(k / steps)
        if row.get("option_mass") is not None:
            found["option_mass"].append(row["option_mass"])
        for name in DISTANCES:
            if name in ("w1", "rps") and level == "nominal":
                continue
            if row.get("option_probs") is not None:
                found[name].append(distance(name, row["option_probs"], gold["shares"]))
            elif not valid and row.get("elicitation") == "logprob":
                found[name].append(1)
    return {name: mean(values) for name, values in found.items()}


def belongs(by, key, pair, world):
    item, subgroup = pair
    stratum, levels = world.subgroups[subgroup]
    return {
        "all": True,
        "stratum": stratum == key,
        "attribute": key in levels,
        "level": key in [f"{a}={b}" for a, b in levels.items()],
        "subgroup": subgroup == key,
        "topic": world.items[item][0] == key,
        "item": item == key,
    }[by]


def variance(values):
    centre = sum(values) / len(values)
    return sum((v - centre) ** 2 for v in values) / (len(values) - 1)


def loop_scores(world, dataset, rows, by, key, weights, draw):
    """All metrics of one key: items weighted, modes those of a draw (None: gold)."""
    gold = {(g["item"], g["subgroup"]): g for g in dataset.gold.filter(pl.col("half") == "all").iter_rows(named=True)}
    answers = defaultdict(list)
    for row in rows:
        answers[row["item"], row["subgroup"]].append({"status": "refused" if row["answer"] is None else "answered"} | row)
    top, bottom = defaultdict(float), defaultdict(float)
    positions, modes = defaultdict(list), defaultdict(list)
    for pair, given in answers.items():
        if not belongs(by, key, pair, world):
            continue
        _, level, codes = world.items[pair[0]]
        codes = list(codes)
        mode = codes.index(gold[pair]["mode"]) if draw is None else world.draws[pair][draw]
        found = score_pair(gold[pair], level, codes, mode, given)
        weight = 1 if by == "item" else weights[pair[0]]
        for name, value in found.items():
            if value is not None:
                top[name] += weight * value
                bottom[name] += weight
        if found.get("position") is not None:
            positions[pair[0]].append(found["position"])
            modes[pair[0]].append(mode / (len(codes) - 1))
    result = {name: top[name] / bottom[name] for name in top if bottom[name] > 0 and name != "position"}
    usable = [item for item in positions if len(positions[item]) > 1]
    between = sum((1 if by == "item" else weights[i]) * variance(modes[i]) for i in usable)
    if between > 1e-9:
        result["spread_ratio"] = sum((1 if by == "item" else weights[i]) * variance(positions[i]) for i in usable) / between
    return result


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_metric_of_every_key_equals_plain_loops(kit, seed):
    world = kit.random_world(seed)
    dataset = kit.build(world)
    rows = kit.random_rows(world, seed)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=0)
    ones = dict.fromkeys(world.items, 1)
    skipped = {"spread_ratio_corrected", "ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1", "floor_rps"}
    checked = 0
    for (by, key), table in scores.group_by("by", "key"):
        expected = loop_scores(world, dataset, rows, by, key, ones, None)
        for metric, value in table.select("metric", "value").iter_rows():
            if metric not in skipped:
                assert value == (None if expected.get(metric) is None else pytest.approx(expected[metric], abs=1e-12)), (by, key, metric)
                checked += value is not None
    assert checked > 300


@pytest.mark.parametrize(("by", "key"), [("all", "all"), ("level", "one=A1"), ("topic", "topic1"), ("item", "Q3"), ("subgroup", "one_A0")])
def test_intervals_equal_replicates_made_by_plain_loops(kit, by, key):
    """25 replicates over 7 redraws (so that they are cycled), items weighted by the documented multinomial draw."""
    world = kit.random_world(5, drop=0.05)
    dataset = kit.build(world)
    rows = kit.random_rows(world, 5, asked=1.0)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=25, seed=11, confidence=0.8)
    drawn = np.random.default_rng(11).multinomial(6, [1 / 6] * 6, size=25)
    replicates = [
        (
            loop_scores(world, dataset, rows, by, key, dict(zip(world.items, weights, strict=True)), b % 7),
            loop_scores(world, dataset, rows, by, key, dict(zip(world.items, weights, strict=True)), None),
        )
        for b, weights in enumerate(drawn.tolist())
    ]
    estimate = loop_scores(world, dataset, rows, by, key, dict.fromkeys(world.items, 1), None)
    redrawn = {"accuracy", "accuracy_valid", "nmae", "nmae_valid", "bias"}
    for metric in redrawn | {"accuracy_expected", "accuracy_set", "tv", "jsd", "w1", "refusal_rate"}:
        if metric not in estimate:
            continue
        values = [pair[0 if metric in redrawn else 1].get(metric) for pair in replicates]
        values = np.array([v for v in values if v is not None])
        low, high = (estimate[metric] + np.quantile(values, q) - values.mean() for q in (0.1, 0.9))
        floor = -1 if metric == "bias" else 0
        assert kit.value_of(scores, metric, by, key, "ci_low") == pytest.approx(max(floor, low), abs=1e-12), metric
        assert kit.value_of(scores, metric, by, key, "ci_high") == pytest.approx(min(1, high), abs=1e-12), metric


def test_differences_equal_replicates_made_by_plain_loops(kit):
    world = kit.random_world(8, drop=0.05)
    dataset = kit.build(world)
    every = [kit.random_rows(world, seed, asked=0.8, missing=0.0) for seed in (8, 9)]
    common = {(r["item"], r["subgroup"]) for r in every[0]} & {(r["item"], r["subgroup"]) for r in every[1]}
    assert len(common) < len(world.counts) * 0.8
    left, right = ([r for r in rows if (r["item"], r["subgroup"]) in common] for rows in every)
    table = compare(dataset, kit.run_of("l", every[0]), kit.run_of("r", every[1]), bootstrap=25, seed=2, confidence=0.8)
    drawn = np.random.default_rng(2).multinomial(6, [1 / 6] * 6, size=25)
    for by, key in (("all", "all"), ("stratum", "one_x_two"), ("item", "Q0")):
        ones = dict.fromkeys(world.items, 1)
        for metric in ("accuracy", "nmae", "bias", "spread_ratio"):
            a, b = (loop_scores(world, dataset, rows, by, key, ones, None)[metric] for rows in (left, right))
            assert kit.value_of(table, metric, by, key) == pytest.approx(a - b), metric
        differences = []
        for b, weights in enumerate(drawn.tolist()):
            here = dict(zip(world.items, weights, strict=True))
            one, two = (loop_scores(world, dataset, rows, by, key, here, b % 7)["nmae"] for rows in (left, right))
            differences.append(one - two)
        value = kit.value_of(table, "nmae", by, key)
        for column, q in (("ci_low", 0.1), ("ci_high", 0.9)):
            expected = value + np.quantile(differences, q) - np.mean(differences)
            assert kit.value_of(table, "nmae", by, key, column) == pytest.approx(expected, abs=1e-12)


def test_fairlearn_gives_the_same_accuracy_by_subgroup_and_item(kit):
    metrics = pytest.importorskip("fairlearn.metrics")
    world = kit.random_world(4)
    dataset = kit.build(world)
    rows = kit.random_rows(world, 4, missing=0.0, samples=1)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=0)
    mode = {(i, s): m for i, s, m in dataset.gold.filter(pl.col("half") == "all").select("item", "subgroup", "mode").iter_rows()}
    for feature in ("subgroup", "item"):
        frame = metrics.MetricFrame(
            metrics=lambda y_true, y_pred: float((np.asarray(y_true) == np.asarray(y_pred)).mean()),
            y_true=[mode[row["item"], row["subgroup"]] for row in rows],
            y_pred=[row["answer"] for row in rows],
            sensitive_features=np.array([row[feature] for row in rows]),
        )
        for key, value in frame.by_group.items():
            assert kit.value_of(scores, "accuracy", feature, key) == pytest.approx(value)
        assert kit.value_of(scores, "accuracy") == pytest.approx(frame.overall)
