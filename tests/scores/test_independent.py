"""The same numbers from plain loops, from fairlearn, and from scipy."""

import math
from collections import defaultdict
from functools import cache, partial

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.scores.conftest import redrawn_shares
from valuestrata.scores import compare, score
from valuestrata.stats.bootstrap import shrink

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


def score_pair(gold, level, codes, mode, shares, rows):
    """Metrics of one pair, response by response. `mode`: option index compared with; `shares` as well."""
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
                found[name].append(distance(name, row["option_probs"], shares))
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


def of_gold(gold, halves, level):
    """Ceilings and floors of a pair, from its rows for all respondents and for the halves."""
    found = {name: gold[name] for name in ("ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1", "floor_rps")}
    one, two = halves
    places = [max(range(len(half["shares"])), key=lambda k: half["shares"][k]) for half in halves]
    found["ceiling_halves"] = float(places[0] == places[1])
    if level != "nominal":
        found["floor_nmae_halves"] = abs(places[0] - places[1]) / (len(one["shares"]) - 1)
        found["floor_w1_halves"] = distance("w1", one["shares"], two["shares"])
    return {name: value for name, value in found.items() if value is not None}


def loop_pairs(world, dataset, rows, draw=None, share_draw=None):
    """Metrics of every pair asked; the modes are those of a draw (None: gold), and so are the shares."""
    gold = {(g["item"], g["subgroup"], g["half"]): g for g in dataset.gold.iter_rows(named=True)}
    answers = defaultdict(list)
    for row in rows:
        answers[row["item"], row["subgroup"]].append({"status": "refused" if row["answer"] is None else "answered"} | row)
    found = {}
    for pair, given in answers.items():
        _, level, codes = world.items[pair[0]]
        codes = list(codes)
        mode = codes.index(gold[*pair, "all"]["mode"]) if draw is None else world.draws[pair][draw]
        shares = gold[*pair, "all"]["shares"] if share_draw is None else redrawn_shares(world, pair, share_draw)
        scored = score_pair(gold[*pair, "all"], level, codes, mode, shares, given)
        scored = {name: value for name, value in scored.items() if value is not None}
        if "position" in scored:
            scored["mode"] = mode / (len(codes) - 1)
        found[pair] = scored | of_gold(gold[*pair, "all"], [gold[*pair, half] for half in "AB"], level)
    return found


def sums(world, pairs, by, key, metric):
    """Sums of a metric and pairs that have it, item by item, over the pairs of a key."""
    top, bottom = dict.fromkeys(world.items, 0.0), dict.fromkeys(world.items, 0)
    for pair, found in pairs.items():
        if metric in found and belongs(by, key, pair, world):
            top[pair[0]] += found[metric]
            bottom[pair[0]] += 1
    return list(top.values()), list(bottom.values())


def loop_spread(world, pairs, by, key):
    above, below = 0.0, 0.0
    for item in world.items:
        here = [f for pair, f in pairs.items() if pair[0] == item and "position" in f and belongs(by, key, pair, world)]
        if len(here) > 1:
            above += variance([f["position"] for f in here])
            below += variance([f["mode"] for f in here])
    return above / below if below > 1e-9 else None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_metric_of_every_key_equals_plain_loops(kit, seed):
    world = kit.random_world(seed)
    dataset = kit.build(world)
    rows = kit.random_rows(world, seed)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=0)
    pairs = loop_pairs(world, dataset, rows)
    checked = 0
    for by, key, metric, value, number in scores.select("by", "key", "metric", "value", "pairs").iter_rows():
        # test_calibration.py checks the calibration errors.
        if metric in ("spread_ratio_corrected", "ece", "ece_top"):
            continue
        top, bottom = sums(world, pairs, by, key, metric)
        expected = loop_spread(world, pairs, by, key) if metric == "spread_ratio" else sum(top) / sum(bottom) if sum(bottom) else None
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-12)), (by, key, metric)
        assert metric == "spread_ratio" or number == sum(bottom)
        checked += value is not None
    assert checked > 400


WITH_MODES = {"accuracy", "accuracy_valid", "nmae", "nmae_valid", "bias"}
NOISE_OF = {"accuracy_set": "accuracy", "accuracy_expected": "accuracy"} | {m: m for m in WITH_MODES}
ITEMS_ONLY = {"ceiling_oracle", "floor_nmae", "ceiling_halves"}
EXACT = {"refusal_rate", "invalid_rate", "option_mass"}


def ends(values, share=0.1):
    known = [v for v in values if v is not None]
    return np.quantile(known, share), np.quantile(known, 1 - share)


def loop_interval(kit, world, pairs_of, by, key, metric, drawn):
    """Ends of the interval by the formulas of `stats.bootstrap` in plain loops; None where there is no interval.

    `pairs_of(draw, share_draw)` returns the pairs of `loop_pairs`.
    """
    top, bottom = sums(world, pairs_of(), by, key, metric)
    redrawn, order = None, drawn.order
    if metric in NOISE_OF:
        redrawn = [sums(world, pairs_of(d), by, key, NOISE_OF[metric])[0] for d in range(max(order) + 1)]
    elif metric in DISTANCES and any(world.share_steps.values()):
        order = drawn.share_order
        redrawn = [sums(world, pairs_of(None, d), by, key, metric)[0] for d in range(max(order) + 1)]
    elif metric not in EXACT and sum(b > 0 for b in bottom) < 2:
        return None
    made = (drawn, top, bottom, redrawn)
    means = {top[i] / bottom[i] for i in range(len(top)) if bottom[i] > 0}
    if metric not in EXACT and 1 < sum(b > 0 for b in bottom) < 5 and max(means) - min(means) < 1e-12:
        return None
    found = kit.stretched(ends(kit.additive(*made, single=by == "item", order=order)), 0.8, *made, single=by == "item")
    return kit.holding(found, sum(top) / sum(bottom))


@pytest.fixture(scope="module", params=[(25, 4), (5, 0)], ids=["25 replicates", "5 replicates"])
def resampled(kit, request):
    """25 replicates over 7 redraws of modes and 4 of shares; 5 over the first 5 of the modes, and none of shares."""
    bootstrap, shares = request.param
    world = kit.random_world(5, drop=0.05, draws=7, shares=shares)
    dataset = kit.build(world)
    rows = kit.random_rows(world, 5, asked=1.0)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=bootstrap, seed=11, confidence=0.8)
    drawn = kit.resamples(11, 6, bootstrap, min(7, bootstrap), max(shares, 1))
    return world, scores, drawn, cache(partial(loop_pairs, world, dataset, rows))


@pytest.mark.parametrize(
    ("by", "key"), [("all", "all"), ("level", "one=A1"), ("topic", "topic1"), ("item", "Q3"), ("subgroup", "one_A0"), ("stratum", "two")]
)
def test_intervals_equal_replicates_made_by_plain_loops(kit, resampled, by, key):
    world, scores, drawn, pairs_of = resampled
    checked = 0
    for metric in [*NOISE_OF, *DISTANCES, *ITEMS_ONLY, *EXACT]:
        if sum(sums(world, pairs_of(), by, key, metric)[1]) == 0:
            continue
        expected = loop_interval(kit, world, pairs_of, by, key, metric, drawn)
        found = tuple(kit.value_of(scores, metric, by, key, column) for column in ("ci_low", "ci_high"))
        if expected is None:
            assert found == (None, None), metric
            continue
        floor = -1 if metric == "bias" else 0
        # Distances to redrawn shares, and the variance counted twice, are worked out in single precision.
        assert found == (pytest.approx(max(floor, expected[0]), abs=1e-6), pytest.approx(min(1, expected[1]), abs=1e-6)), metric
        checked += 1
    assert checked >= 10


def test_the_part_counted_twice_is_taken_out_and_nothing_more(kit):
    """Limits of k: nothing in common, all in common, and no noise of respondents at all."""
    assert kit.shrunk(1.0, 1.0, 0.0) == 1
    assert shrink(np.array([1.0, 4.0, 1.0, 1.0]), np.array([1.0, 1.0, 4.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(
        [1.0, 0.0, math.sqrt(3 / 4), 1.0]
    )
    # Never less than either way alone, however much is said to be shared.
    assert shrink(np.array([1.0]), np.array([4.0]), np.array([9.0])) == pytest.approx([math.sqrt(3 / 4)])


def test_differences_equal_replicates_made_by_plain_loops(kit):
    world = kit.random_world(8, drop=0.05)
    dataset = kit.build(world)
    every = [kit.random_rows(world, seed, asked=0.8, missing=0.1) for seed in (8, 9)]
    asked = [{(r["item"], r["subgroup"]) for r in rows} for rows in every]
    assert len(asked[0] & asked[1]) < len(world.counts) * 0.8
    runs = [kit.run_of("l", every[0]), kit.run_of("r", every[1])]
    table = compare(dataset, runs, [("l", "r")], bootstrap=25, seed=2, confidence=0.8)
    drawn = kit.resamples(2, 6, 25, 7)

    both_of = [cache(partial(loop_pairs, world, dataset, rows)) for rows in every]

    def difference(metric, draw):
        left, right = (pairs_of(draw) for pairs_of in both_of)
        return {
            pair: {metric: left[pair][metric] - right[pair][metric]}
            for pair in left
            if pair in right and metric in left[pair] and metric in right[pair]
        }

    for by, key in (("all", "all"), ("stratum", "one_x_two"), ("item", "Q0")):
        for metric in ("accuracy", "accuracy_valid", "nmae", "bias", "tv"):
            top, bottom = sums(world, difference(metric, None), by, key, metric)
            assert kit.value_of(table, metric, by, key, "difference") == pytest.approx(sum(top) / sum(bottom)), metric
            assert kit.value_of(table, metric, by, key, "pairs") == sum(bottom)
            if metric == "tv" and by == "item":
                assert kit.value_of(table, metric, by, key, "ci_low") is None
                continue
            noise = [sums(world, difference(metric, d), by, key, metric)[0] for d in range(7)] if metric in WITH_MODES else None
            values = kit.additive(drawn, top, bottom, noise, single=by == "item")
            found = kit.stretched(ends(values), 0.8, drawn, top, bottom, noise, single=by == "item")
            low, high = kit.holding(found, sum(top) / sum(bottom))
            assert kit.value_of(table, metric, by, key, "ci_low") == pytest.approx(low, abs=1e-6)
            assert kit.value_of(table, metric, by, key, "ci_high") == pytest.approx(high, abs=1e-6)
            assert kit.value_of(table, metric, by, key, "se") == pytest.approx(math.sqrt(kit.sample_variance(values)), abs=1e-6)
            if kit.value_of(table, metric, by, key, "se") < 1e-12:  # One item whose difference is the same in every redraw.
                assert by == "item"
                assert kit.value_of(table, metric, by, key, "p") is None
                continue
            wider = kit.stretched(values, 0.8, drawn, top, bottom, noise, single=by == "item")
            beyond = min(sum(v <= 1e-12 for v in wider), sum(v >= -1e-12 for v in wider))
            counted = min(1.0, 2 * (beyond + 1) / 26)
            z = abs(kit.value_of(table, metric, by, key, "difference")) / kit.value_of(table, metric, by, key, "se")
            degrees = kit.freedom(drawn, top, bottom, noise, single=by == "item")
            expected = min(counted, 2 * stats.t.sf(z, degrees)) if beyond < 10 else counted
            assert kit.value_of(table, metric, by, key, "p") == pytest.approx(expected, abs=1e-6)
    common = asked[0] & asked[1]
    left, right = (loop_pairs(world, dataset, [r for r in rows if (r["item"], r["subgroup"]) in common], None) for rows in every)
    both = {pair for pair in common if "position" in left[pair] and "position" in right[pair]}
    for by, key in (("all", "all"), ("stratum", "one_x_two"), ("item", "Q0")):
        a, b = (loop_spread(world, {pair: found[pair] for pair in both}, by, key) for found in (left, right))
        assert kit.value_of(table, "spread_ratio", by, key, "difference") == pytest.approx(a - b)


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
