"""Scores against the best cheap baseline and on the way to the ceiling: by hand, by plain loops, and where nothing can be said."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from valuestrata.scores import RELATIVE, compare, relative, score
from valuestrata.scores.best_baseline import best_baseline
from valuestrata.scores.layout import lay_out, place
from valuestrata.scores.relative import BOUNDS

ITEMS = {f"Q{i}": ("t", "ordinal", [1, 2, 3]) for i in range(1, 5)}
ONE = {"g": ("s", {"sex": "F"})}
COUNTS = {(item, "g"): [6, 3, 1] for item in ITEMS}
P_MODE = {("Q1", "g"): [0.9, 0.1, 0.0], ("Q2", "g"): [0.6, 0.4, 0.0], ("Q3", "g"): [0.8, 0.1, 0.1], ("Q4", "g"): [0.7, 0.0, 0.3]}


def answers(places, subgroup="g", **more):
    """Answers by option index to Q1, Q2, ...; None where a pair was not asked."""
    return [
        {"item": f"Q{n}", "subgroup": subgroup, "answer": place + 1, **more} for n, place in enumerate(places, start=1) if place is not None
    ]


def row_of(table, metric, run="m", by="all", key="all"):
    rows = table.filter((pl.col("run") == run) & (pl.col("metric") == metric) & (pl.col("by") == by) & (pl.col("key") == key))
    return rows.row(0, named=True)


def test_by_hand(kit):
    dataset = kit.build(kit.World(ITEMS, ONE, COUNTS, p_mode=P_MODE))
    runs = [kit.run_of("m", answers([0, 1, 0, 0])), kit.run_of("base", answers([1, 1, 2, 2]))]
    table = relative(dataset, runs, baselines=["base"], bootstrap=0)
    assert table.columns == list(RELATIVE.columns)
    # Expected accuracy: run .9, .4, .8, .7; baseline .1, .4, .1, .3; ceiling .9, .6, .8, .7.
    row = row_of(table, "accuracy_expected")
    assert (row["value"], row["baseline_value"], row["bound_value"]) == (pytest.approx(0.7), pytest.approx(0.225), pytest.approx(0.75))
    assert (row["bound"], row["baseline"], row["pairs"], row["state"]) == ("ceiling_oracle", "base", 4, "ok")
    assert row["gain"] == pytest.approx(0.475)
    assert row["relative"] == pytest.approx(0.475 / 0.525)
    assert (row["relative_low"], row["gain_low"]) == (None, None)
    # NMAE, low is good: run 0, 1/2, 0, 0; baseline 1/2, 1/2, 1, 1; floor (.1 / 2 + .4 / 2 + .15 + .3) / 4.
    row = row_of(table, "nmae")
    assert (row["value"], row["baseline_value"], row["bound"]) == (0.125, 0.75, "floor_nmae")
    assert row["bound_value"] == pytest.approx((0.05 + 0.2 + 0.15 + 0.3) / 4)
    assert row["gain"] == pytest.approx(0.625)
    assert row["relative"] == pytest.approx(0.625 / (0.75 - 0.175))
    # Answers in text are no distributions.
    assert (row_of(table, "w1")["state"], row_of(table, "w1")["pairs"], row_of(table, "w1")["baseline"]) == ("no common pairs", 0, None)
    # The baseline against itself has gained nothing.
    row = row_of(table, "accuracy_expected", run="base")
    assert (row["gain"], row["relative"], row["state"]) == (0, 0, "ok")
    one = row_of(table, "accuracy_expected", by="item", key="Q4")
    assert one["relative"] == pytest.approx((0.7 - 0.3) / (0.7 - 0.3))


def test_like_goes_with_like_only(kit):
    assert {metric: bound for metric, (bound, _) in BOUNDS.items()} == {
        "accuracy_expected": "ceiling_oracle",
        "nmae": "floor_nmae",
        "w1": "floor_w1",
        "rps": "floor_rps",
    }
    world = kit.random_world(3, shares=3)
    dataset = kit.build(world)
    runs = [kit.run_of("m", kit.random_rows(world, 3)), kit.run_of("base", kit.random_rows(world, 4))]
    table = relative(dataset, runs, baselines=["base"], bootstrap=10)
    assert set(table.select("metric", "bound").unique().rows()) == {(metric, bound) for metric, (bound, _) in BOUNDS.items()}
    # Gains are the paired differences, turned so that more is better.
    compared = compare(dataset, runs, [("m", "base")], bootstrap=10)
    keys = ["by", "key", "metric"]
    both = table.filter(pl.col("run") == "m").join(compared.select(*keys, "difference", "ci_low", "ci_high"), on=keys, nulls_equal=True)
    assert both["gain"].drop_nulls().len() > 40
    for metric, (_, sign) in BOUNDS.items():
        rows = both.filter((pl.col("metric") == metric) & pl.col("gain").is_not_null())
        assert np.allclose(rows["gain"].to_numpy(), sign * rows["difference"].to_numpy())
        low, high = ("ci_low", "ci_high") if sign > 0 else ("ci_high", "ci_low")
        assert np.allclose(rows["gain_low"].to_numpy(), sign * rows[low].to_numpy(), atol=1e-6, equal_nan=True)
        assert np.allclose(rows["gain_high"].to_numpy(), sign * rows[high].to_numpy(), atol=1e-6, equal_nan=True)


def test_who_reaches_the_ceiling_has_one_in_every_replicate(kit):
    """The ceiling moves with the items and redraws as the run that reaches it does, so its relative score does not move."""
    rng = np.random.default_rng(0)
    items = {f"Q{i}": ("t", "ordinal", [1, 2, 3]) for i in range(1, 31)}
    pairs = [(item, "g") for item in items]
    draws = {pair: rng.choice(3, 40, p=[0.7, 0.2, 0.1]).tolist() for pair in pairs}
    p_mode = {pair: [float(np.mean(np.array(drawn) == k)) for k in range(3)] for pair, drawn in draws.items()}
    steps = {pair: [[-a - b, a, b] for a, b in rng.integers(-9, 10, (6, 2)).tolist()] for pair in pairs}
    world = kit.World(items, ONE, {pair: [6, 3, 1] for pair in pairs}, draws, p_mode, share_steps=steps)
    # It answers the likeliest mode, and states the gold shares.
    oracle = answers([0] * 30, elicitation="logprob", option_probs=[0.6, 0.3, 0.1])
    base = answers([2] * 30, elicitation="logprob", option_probs=[0.1, 0.3, 0.6])
    dataset = kit.build(world)
    # The floors of the shares are made up in these worlds; who states the gold shares has a distance of 0.
    dataset = replace(dataset, gold=dataset.gold.with_columns(floor_w1=pl.lit(0.0), floor_rps=pl.lit(0.0)))
    table = relative(dataset, [kit.run_of("m", oracle), kit.run_of("base", base)], baselines=["base"], bootstrap=200, by=("all",))
    row = row_of(table, "accuracy_expected")
    assert (row["state"], row["relative"], row["relative_low"], row["relative_high"]) == ("ok", 1, pytest.approx(1), pytest.approx(1))
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    # The floors of distances are expectations, and the run's distances vary about them.
    for metric in ("w1", "rps"):
        row = row_of(table, metric)
        assert row["relative"] == pytest.approx(1), metric
        assert row["relative_low"] < 1 < row["relative_high"], metric
    # NMAE of 0 is below the floor, which expects the mode to be redrawn: more than the whole way.
    assert row_of(table, "nmae")["relative"] > 1


def test_the_ceiling_is_redrawn_as_answers_by_the_chance_of_each_true_mode(kit):
    """A run that gives each option as often as it is likely to be the population's mode reaches the ceiling in every replicate."""
    rng = np.random.default_rng(1)
    items = {f"Q{i}": ("t", "ordinal", [1, 2, 3]) for i in range(1, 13)}
    pairs = [(item, "g") for item in items]
    draws = {pair: rng.choice(3, 40, p=[0.6, 0.3, 0.1]).tolist() for pair in pairs}
    p_mode = {pair: [float(np.mean(np.array(drawn) == k)) for k in range(3)] for pair, drawn in draws.items()}
    dataset = kit.build(kit.World(items, ONE, {pair: [6, 3, 1] for pair in pairs}, draws, p_mode))
    gold = dataset.gold.filter(pl.col("half") == "all")
    chances = [0.5, 0.5, 0.0]
    small = gold.select("pair_id", "half").with_columns(shares_shrunken=pl.lit(chances), mse=pl.lit(chances), p_true=pl.lit(chances))
    expected = (pl.col("p_mode").list.get(0) + pl.col("p_mode").list.get(1)) / 2
    dataset = replace(dataset, small_area=small, gold=dataset.gold.with_columns(ceiling_oracle=expected))
    both = [*answers([0] * 12, sample=0), *answers([1] * 12, sample=1)]
    runs = [kit.run_of("m", both), kit.run_of("base", answers([2] * 12))]
    row = row_of(relative(dataset, runs, baselines=["base"], bootstrap=100, by=("all",)), "accuracy_expected")
    assert (row["relative"], row["relative_low"], row["relative_high"]) == pytest.approx((1, 1, 1), abs=1e-9)


def test_intervals_equal_replicates_made_by_plain_loops(kit):
    """Expected accuracy: run, baseline and ceiling redrawn as accuracy of the run, the baseline and the likeliest mode."""
    rng = np.random.default_rng(2)
    items = {f"Q{i}": ("t", "ordinal", [1, 2, 3]) for i in range(1, 9)}
    subgroups = {"g": ("s", {"sex": "F"}), "h": ("s", {"sex": "M"})}
    pairs = [(item, subgroup) for item in items for subgroup in subgroups if (item, subgroup) != ("Q2", "h")]
    draws = {pair: rng.choice(3, 9, p=[0.7, 0.2, 0.1]).tolist() for pair in pairs}
    p_mode = {pair: [0.7, 0.2, 0.1] for pair in pairs}
    world = kit.World(items, subgroups, {pair: [6, 3, 1] for pair in pairs}, draws, p_mode)
    chosen = {name: {pair: int(rng.choice(3, p=p)) for pair in pairs} for name, p in (("m", [0.6, 0.2, 0.2]), ("base", [0.1, 0.4, 0.5]))}
    runs = [
        kit.run_of(name, [{"item": i, "subgroup": s, "answer": place + 1} for (i, s), place in mine.items()])
        for name, mine in chosen.items()
    ]
    table = relative(kit.build(world), runs, baselines=["base"], bootstrap=40, seed=3, confidence=0.8, by=("all", "subgroup"))
    drawn = kit.resamples(3, 8, 40, 9)
    for by, key in (("all", "all"), ("subgroup", "g")):
        mine = [pair for pair in pairs if by == "all" or pair[1] == key]

        def sums(value, mine=mine):
            return [sum(value(pair) for pair in mine if pair[0] == item) for item in items]

        def gained(pair, draw=None):
            if draw is None:
                return p_mode[pair][chosen["m"][pair]] - p_mode[pair][chosen["base"][pair]]
            return (chosen["m"][pair] == draws[pair][draw]) - (chosen["base"][pair] == draws[pair][draw])

        def left(pair, draw=None):
            if draw is None:
                return 0.7 - p_mode[pair][chosen["base"][pair]]
            return (draws[pair][draw] == 0) - (chosen["base"][pair] == draws[pair][draw])

        redrawn = tuple([sums(lambda pair, d=d, of=of: of(pair, d)) for d in range(9)] for of in (gained, left))
        counts = sums(lambda pair: 1)
        row = row_of(table, "accuracy_expected", by=by, key=key)
        room = kit.additive(drawn, sums(left), counts, redrawn[1])
        assert np.quantile(room, 0.1) > 0
        values = kit.ratio_replicates(drawn, sums(gained), sums(left), redrawn, counts)
        assert row["state"] == "ok"
        assert row["relative"] == pytest.approx(sum(sums(gained)) / sum(sums(left)))
        assert row["relative_low"] == pytest.approx(np.quantile(values, 0.1), abs=1e-5)
        assert row["relative_high"] == pytest.approx(np.quantile(values, 0.9), abs=1e-5)
        gains = kit.additive(drawn, sums(gained), counts, redrawn[0])
        low, high = kit.stretched(np.quantile(gains, (0.1, 0.9)), 0.8, drawn, sums(gained), counts, redrawn[0])
        assert row["gain_low"] == pytest.approx(low, abs=1e-5)
        assert row["gain_high"] == pytest.approx(high, abs=1e-5)


def test_saturated_where_the_interval_of_the_way_left_includes_0(kit):
    """The baseline misses the likeliest mode in one of twelve items: some is left, but not more than items alone could do."""
    items = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(1, 13)}
    world = kit.World(items, ONE, {(item, "g"): [9, 1] for item in items}, p_mode={(item, "g"): [0.9, 0.1] for item in items})
    dataset = kit.build(world)
    runs = [kit.run_of("m", answers([0] * 12)), kit.run_of("base", answers([1] + [0] * 11)), kit.run_of("far", answers([1] * 10 + [0] * 2))]
    row = row_of(relative(dataset, runs, baselines=["base"], bootstrap=400), "accuracy_expected")
    assert row["bound_value"] - row["baseline_value"] == pytest.approx(0.8 / 12)
    # Resampled items leave Q1 out in a third of all cases, so that the interval of what is left starts at 0.
    assert (row["state"], row["relative"], row["relative_low"], row["relative_high"]) == ("saturated", None, None, None)
    assert row["gain"] == pytest.approx(0.8 / 12)
    assert row["gain_low"] <= 0 < row["gain_high"]
    # Against a baseline that is far from the ceiling the same run has come the whole way.
    row = row_of(relative(dataset, runs, baselines=["far"], bootstrap=400), "accuracy_expected")
    assert (row["state"], row["relative"]) == ("ok", pytest.approx(1))
    # At the ceiling, or beyond a floor, nothing is left, with or without resampling.
    for bootstrap in (0, 50):
        assert row_of(relative(dataset, runs, baselines=["m"], bootstrap=bootstrap), "accuracy_expected")["state"] == "saturated"
        beyond = row_of(relative(dataset, runs, baselines=["m"], bootstrap=bootstrap), "nmae", run="far")
        assert (beyond["state"], beyond["relative"]) == ("saturated", None)
        assert beyond["baseline_value"] < beyond["bound_value"]


def test_one_item_without_redraws_cannot_rule_saturation_out(kit):
    dataset = kit.build(kit.World(ITEMS, ONE, COUNTS, p_mode=P_MODE))
    runs = [kit.run_of("m", answers([0, 1, 0, 0])), kit.run_of("base", answers([1, 1, 2, 2]))]
    table = relative(dataset, runs, baselines=["base"], bootstrap=20)
    row = row_of(table, "accuracy_expected", by="item", key="Q1")
    assert (row["state"], row["relative"], row["gain"], row["gain_low"]) == ("no interval", None, pytest.approx(0.8), None)


def test_the_best_baseline_is_chosen_metric_by_metric_on_common_pairs(kit):
    dataset = kit.build(kit.World(ITEMS, ONE, COUNTS, p_mode=P_MODE))
    runs = [
        kit.run_of("m", answers([0, 0, 0, 0])),
        # Expected accuracy .6 + .9 + .1 + .3 of 4, distances 0, 0, 2, 2.
        kit.run_of("often", answers([0, 0, 2, 2])),
        # .1 + .4 + .1 + .0, distances 1, 1, 1, 1 (of 2): worse by accuracy and as good by NMAE; the first of equals is taken.
        kit.run_of("near", answers([1, 1, 1, 1])),
        # Perfect where it answered, but that is half of the pairs: passed over.
        kit.run_of("half", answers([0, None, 0, None])),
    ]
    table = relative(dataset, runs, baselines=["near", "often", "half"], bootstrap=0, by=("all",))
    assert row_of(table, "accuracy_expected")["baseline"] == "often"
    # Runs in the order given, `often` stands before `near` there.
    assert row_of(table, "nmae")["baseline"] == "often"
    assert row_of(relative(dataset, runs, baselines=["near"], bootstrap=0), "nmae")["baseline"] == "near"
    # Alone it is the baseline all the same, and what is judged is the common half.
    row = row_of(relative(dataset, runs, baselines=["half"], bootstrap=0, by=("all",)), "accuracy_expected")
    assert (row["baseline"], row["pairs"], row["value"]) == ("half", 2, pytest.approx(0.85))
    none = relative(dataset, runs, baselines=[], bootstrap=5, by=("all",))
    assert set(none.filter(pl.col("pairs") > 0)["state"]) == {"no baseline"}
    assert none["gain"].null_count() == len(none)
    assert row_of(none, "accuracy_expected")["value"] == pytest.approx(0.75)


def test_a_baseline_that_misses_a_few_pairs_is_measured_on_what_all_have(kit):
    """Twenty items; `most` misses one that it would have got wrong. It is not better for that."""
    items = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(1, 21)}
    dataset = kit.build(kit.World(items, ONE, {(item, "g"): [9, 1] for item in items}))
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    places = {"whole": [0] * 18 + [0, 1], "most": [0] * 18 + [1, None]}
    grids = {name: place(layout, name, kit.respond(answers(mine))) for name, mine in places.items()}
    # On the nineteen pairs both have: 19 right against 18, although 19 of 20 is no better than 18 of 19 by much.
    assert best_baseline("accuracy_expected", grids) == "whole"
    assert best_baseline("accuracy_expected", {"most": grids["most"]}) == "most"
    assert best_baseline("w1", grids) is None
    assert best_baseline("nmae", {}) is None


def test_states_add_up_and_bounds_agree_with_the_scores(kit):
    world = kit.random_world(6, shares=3)
    dataset = kit.build(world)
    runs = [kit.run_of(str(n), kit.random_rows(world, n, asked=1.0)) for n in range(3)]
    table = relative(dataset, runs, baselines=["1", "2"], bootstrap=30)
    assert table.select("run", "by", "key", "metric").is_unique().all()
    assert set(table["state"]) <= {"ok", "saturated", "no common pairs", "no interval"}
    assert table.filter(pl.col("relative").is_null() == (pl.col("state") == "ok")).is_empty()
    assert (table.filter(pl.col("pairs") == 0)["state"] == "no common pairs").all()
    # The best baseline beside itself has all its pairs, so that its values are those of `score`.
    scores = score(dataset, runs, bootstrap=0)
    compared = 0
    for metric, (bound, _) in BOUNDS.items():
        best = row_of(table, metric, run="0")["baseline"]
        mine = row_of(table, metric, run=best)
        assert (mine["gain"], mine["value"]) == (0, pytest.approx(kit.value_of(scores, metric, run=best)))
        assert mine["pairs"] == kit.value_of(scores, metric, column="pairs", run=best)
        if mine["pairs"] == kit.value_of(scores, bound, column="pairs", run=best):
            assert mine["bound_value"] == pytest.approx(kit.value_of(scores, bound, run=best))
            compared += 1
    assert compared >= 2
    assert relative(dataset, [], baselines=[]).is_empty()
