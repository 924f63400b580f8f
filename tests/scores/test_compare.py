"""Runs against runs: differences by hand, runs that are incomplete, and what p promises."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from valuestrata import assessment
from valuestrata.assessment import COMPARED_METRICS, GROUPINGS, assess
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.folder import Run
from valuestrata.scores import COMPARISONS, METRICS, adjust, aggregate, compare, relative, score

ITEMS = {"Q1": ("work", "ordinal", [1, 2, 3, 4, 5]), "Q2": ("faith", "binary", [0, 1]), "Q3": ("faith", "binary", [0, 1])}
SEXES = {"sex_F": ("sex", {"sex": "F"}), "sex_M": ("sex", {"sex": "M"})}
COUNTS = {
    ("Q1", "sex_F"): [1, 2, 5, 1, 1],  # mode 3
    ("Q1", "sex_M"): [6, 2, 1, 1, 0],  # mode 1
    ("Q2", "sex_F"): [9, 1],
    ("Q2", "sex_M"): [2, 8],
    ("Q3", "sex_F"): [7, 3],
    ("Q3", "sex_M"): [6, 4],
}
DRAWS = {pair: [place, place, 0, 1] for pair, place in zip(COUNTS, (2, 0, 0, 1, 0, 0), strict=True)}


def answers(pairs):
    return [{"item": item, "subgroup": subgroup, "answer": answer} for (item, subgroup), answer in pairs.items()]


LEFT = {("Q1", "sex_F"): 3, ("Q1", "sex_M"): 2, ("Q2", "sex_F"): 0, ("Q2", "sex_M"): 1, ("Q3", "sex_F"): None}
RIGHT = {("Q1", "sex_F"): 5, ("Q1", "sex_M"): 1, ("Q2", "sex_F"): 1, ("Q3", "sex_F"): 0, ("Q3", "sex_M"): 0}


def cell(table, metric, column="difference", by="all", key="all", run=None):
    rows = table.filter((pl.col("metric") == metric) & (pl.col("by") == by) & (pl.col("key") == key))
    rows = rows if run is None else rows.filter(pl.col("run") == run)
    assert len(rows) == 1
    return rows[column][0]


def test_differences_on_common_pairs_by_hand(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, DRAWS))
    runs = [kit.run_of("l", answers(LEFT)), kit.run_of("r", answers(RIGHT))]
    table = compare(dataset, runs, [("l", "r")], bootstrap=20)
    assert table.columns == list(COMPARISONS.columns)
    # Common: Q1 of both, Q2 and Q3 of women. Right answers: left 1, 0, 1 and a refusal; right 0, 1, 0, 1.
    assert cell(table, "accuracy") == 0
    assert cell(table, "accuracy", "pairs") == 4
    assert cell(table, "accuracy", "coverage") == pytest.approx(4 / 6)
    # Valid on both sides: three pairs, 2 right against 1.
    assert cell(table, "accuracy_valid") == pytest.approx(1 / 3)
    assert cell(table, "accuracy_valid", "pairs") == 3
    # Distances 0, 1/4, 0, 1 against 1/2, 0, 1, 0.
    assert cell(table, "nmae") == pytest.approx((0 + 0.25 + 0 + 1 - 0.5 - 0 - 1 - 0) / 4)
    assert cell(table, "bias") == pytest.approx((0.25 - 0.5 - 1) / 3)
    assert cell(table, "refusal_rate") == 0.25
    assert cell(table, "accuracy", by="level", key="sex=M") == -1
    assert cell(table, "accuracy", "coverage", by="level", key="sex=M") == pytest.approx(1 / 3)
    assert cell(table, "accuracy", by="topic", key="faith") == 0
    # Spread over Q1 alone, where both answered both valid: .25^2 / 2 and 1 / 2, against .5^2 / 2 of the modes.
    assert cell(table, "spread_ratio") == pytest.approx(0.25 - 4)
    assert set(table["status"]) == {"exploratory"}
    assert table["p_adjusted"].null_count() == len(table)


def test_what_both_runs_share_drops_out_of_the_interval(kit):
    """Equal wherever noise is: the difference is the same in every redraw, whatever the noise of each."""
    rng = np.random.default_rng(1)
    pairs = [(f"Q{i}", "g") for i in range(30)]
    draws = {pair: rng.integers(0, 2, 50).tolist() for pair in pairs[:15]} | {pair: [0] * 50 for pair in pairs[15:]}
    world = kit.World({i: ("t", "binary", [0, 1]) for i, _ in pairs}, {"g": ("s", {"x": "1"})}, {pair: [9, 1] for pair in pairs}, draws)
    base = dict.fromkeys(pairs, 0)
    runs = [kit.run_of("m", answers(base)), kit.run_of("n", answers(base | dict.fromkeys(pairs[15:20], 1)))]
    dataset = kit.build(world)
    alone = score(dataset, runs, by=("all",), bootstrap=400)
    table = compare(dataset, runs, [("m", "n")], by=("all",), bootstrap=400)
    # Five of thirty items differ by 1, the others not at all, and only items move it: variance (5/30)(25/30)/29.
    assert cell(table, "accuracy") == pytest.approx(5 / 30)
    assert cell(table, "accuracy", "se") == pytest.approx(np.sqrt(5 / 30 * 25 / 30 / 29), rel=0.1)
    low, high = (kit.value_of(alone, "accuracy", column=column, run="m") for column in ("ci_low", "ci_high"))
    assert high - low > 0.05


def test_a_run_that_answers_half_of_the_pairs_says_so_everywhere(kit):
    world = kit.random_world(3, items=8, drop=0.0)
    dataset = kit.build(world)
    rng = np.random.default_rng(0)
    whole = {(i, s): int(rng.choice(world.items[i][2])) for i, s in world.counts}
    half = dict(list(whole.items())[::2])
    runs = [kit.run_of("whole", answers(whole)), kit.run_of("half", answers(half))]
    scores = score(dataset, runs, bootstrap=50)
    assert kit.value_of(scores, "accuracy", column="coverage", run="half") == 0.5
    assert kit.value_of(scores, "accuracy", column="pairs", run="half") == len(half)
    table = compare(dataset, runs, [("whole", "half")], bootstrap=50)
    # The same answers on the common pairs: no difference, whatever the other pairs hold.
    assert cell(table, "accuracy") == 0
    assert cell(table, "accuracy", "p") == 1
    assert cell(table, "accuracy", "pairs") == len(half)
    assert cell(table, "accuracy", "coverage") == 0.5
    found = relative(dataset, runs, baselines=["half"], bootstrap=50, by=("all",))
    row = found.filter((pl.col("run") == "whole") & (pl.col("metric") == "nmae")).row(0, named=True)
    assert (row["baseline"], row["gain"]) == ("half", 0)
    assert row["pairs"] == sum(world.items[i][1] != "nominal" for i, _ in half)


def test_runs_without_a_common_pair_have_nulls_and_never_nan(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, DRAWS))
    women = {pair: answer for pair, answer in LEFT.items() if pair[1] == "sex_F"}
    men = {pair: answer for pair, answer in RIGHT.items() if pair[1] == "sex_M"}
    runs = [kit.run_of("women", answers(women)), kit.run_of("men", answers(men)), kit.run_of("nobody", kit.respond([]))]
    for bootstrap in (0, 30):
        table = compare(dataset, runs, [("women", "men"), ("men", "nobody")], bootstrap=bootstrap)
        assert set(table["pairs"]) == {0}
        assert set(table["coverage"]) == {0.0}
        for column in ("difference", "ci_low", "ci_high", "se", "p"):
            assert table[column].null_count() == len(table), column
        found = relative(dataset, runs, baselines=["women"], bootstrap=bootstrap)
        alone = found.filter(pl.col("run") == "men")
        assert set(alone["state"]) == {"no common pairs"}
        assert set(alone["pairs"]) == {0}
        for column in ("value", "gain", "gain_low", "gain_high", "relative", "relative_low", "relative_high"):
            assert alone[column].null_count() == len(alone), column


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_no_table_ever_holds_nan(kit, seed):
    world = kit.random_world(seed, drop=0.5)
    dataset = kit.build(world)
    runs = [kit.run_of(str(n), kit.random_rows(world, seed + n, asked=0.4, missing=0.5)) for n in range(3)]
    for bootstrap in (0, 1, 2, 15):
        for table in (
            score(dataset, runs, bootstrap=bootstrap),
            compare(dataset, runs, [("0", "1"), ("2", "1")], bootstrap=bootstrap),
            relative(dataset, runs, baselines=["1", "2"], bootstrap=bootstrap),
        ):
            assert not table.is_empty()
            for column in table.select(pl.col(pl.Float64)):
                assert not column.is_nan().any(), column.name
                assert not column.is_infinite().any(), column.name


def test_rows_follow_the_comparisons_and_metrics_can_be_chosen(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, DRAWS))
    runs = [kit.run_of(name, answers(LEFT if name == "b" else RIGHT)) for name in "abc"]
    table = compare(dataset, runs, [("b", "a"), ("a", "b"), ("b", "c")], metrics=("nmae", "accuracy"), by=("all",), bootstrap=10)
    assert table.select("run", "against", "metric").rows() == [
        *[("b", "a", "accuracy"), ("b", "a", "nmae"), ("a", "b", "accuracy"), ("a", "b", "nmae")],
        *[("b", "c", "accuracy"), ("b", "c", "nmae")],
    ]
    # A comparison is the same whatever stands beside it.
    alone = compare(dataset, runs[:2], [("b", "a")], by=("all",), bootstrap=10)
    assert alone.filter(pl.col("metric").is_in(["accuracy", "nmae"])).equals(table[:2])
    every = set(alone["metric"])
    assert every == {metric for metric in METRICS if not metric.startswith(("ceiling", "floor", "w1_sampling", "ece"))}
    assert compare(dataset, runs, []).is_empty()


def test_what_is_refused(kit):
    world = kit.World(ITEMS, SEXES, COUNTS, DRAWS)
    dataset = kit.build(world)
    runs = [kit.run_of("model", answers(LEFT)), kit.run_of("base", answers(RIGHT))]
    with pytest.raises(UsageError, match=r"no run is named 'modle'.*model"):
        compare(dataset, runs, [("modle", "base")])
    with pytest.raises(UsageError, match="compared with itself"):
        compare(dataset, runs, [("base", "base")])
    with pytest.raises(UsageError, match="named twice"):
        compare(dataset, runs, [("model", "base"), ("model", "base")])
    with pytest.raises(UsageError, match=r"metrics='acuracy' cannot be compared.*accuracy"):
        compare(dataset, runs, [("model", "base")], metrics=("acuracy",))
    with pytest.raises(UsageError, match="ceiling_oracle"):
        compare(dataset, runs, [("model", "base")], metrics=("ceiling_oracle",))
    with pytest.raises(UsageError, match="confidence"):
        compare(dataset, runs, [("model", "base")], confidence=0)
    with pytest.raises(UsageError, match=r"baselines='bsae'.*base"):
        relative(dataset, runs, baselines=["bsae"])


def test_a_split_with_an_empty_side_says_which(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, DRAWS, parts=dict.fromkeys(COUNTS, "train")))
    runs = [kit.run_of("model", answers(LEFT)), kit.run_of("base", answers(RIGHT))]
    for call in (
        lambda: score(dataset, runs),
        lambda: compare(dataset, runs, [("model", "base")]),
        lambda: relative(dataset, runs, baselines=["base"]),
    ):
        with pytest.raises(InputDataError, match="the split 'paper' has no pair with gold in the part 'test'"):
            call()


@pytest.mark.slow
def test_p_is_uniform_where_two_runs_are_equally_good(kit):
    """Each is right in two thirds of 40 pairs by its own chance: 250 comparisons, and 5 % of intervals leave 0 out."""
    pairs = [(f"Q{i}", "g") for i in range(40)]
    world = kit.World({i: ("t", "binary", [0, 1]) for i, _ in pairs}, {"g": ("s", {"x": "1"})}, {pair: [9, 1] for pair in pairs})
    dataset = kit.build(world)
    rng = np.random.default_rng(0)
    p, out = [], 0
    for seed in range(10):
        chosen = (rng.random((50, 40)) > 2 / 3).astype(int).tolist()
        runs = [kit.run_of(str(n), answers(dict(zip(pairs, mine, strict=True)))) for n, mine in enumerate(chosen)]
        which = [(str(n), str(n + 25)) for n in range(25)]
        table = compare(dataset, runs, which, by=("all",), metrics=("accuracy",), bootstrap=300, seed=seed)
        p += table["p"].to_list()
        out += table.filter((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).height
    assert len(p) == 250
    assert stats.binomtest(out, 250, 0.05).pvalue > 0.001, out
    assert stats.binomtest(sum(value <= 0.05 for value in p), 250, 0.05).pvalue > 0.001
    # Differences are multiples of 1/40, so that p is uniform up to its steps (the largest is at 0: about a tenth of all).
    for level in (0.1, 0.2, 0.5):
        assert sum(value <= level for value in p) / 250 == pytest.approx(level, abs=0.12)


def test_p_says_what_the_interval_says(kit):
    """p <= .05 where the 95 % interval leaves 0 out, up to one replicate; and small p are not stopped by few replicates."""
    pairs = [(f"Q{i}", "g") for i in range(60)]
    world = kit.World({i: ("t", "binary", [0, 1]) for i, _ in pairs}, {"g": ("s", {"x": "1"})}, {pair: [9, 1] for pair in pairs})
    dataset = kit.build(world)
    runs = [kit.run_of("base", answers(dict.fromkeys(pairs, 0)))]
    runs += [kit.run_of(f"m{wrong}", answers(dict.fromkeys(pairs, 0) | dict.fromkeys(pairs[:wrong], 1))) for wrong in (1, 3, 6, 12, 50)]
    table = compare(dataset, runs, [(run.name, "base") for run in runs[1:]], by=("all",), metrics=("accuracy",), bootstrap=500)
    for run, difference, high, p in table.select("run", "difference", "ci_high", "p").iter_rows():
        wrong = int(run[1:])
        assert difference == pytest.approx(-wrong / 60)
        assert (p <= 0.05) == (high < 0), run
    assert table["p"].is_sorted(descending=True)
    z = (50 / 60) / np.sqrt(50 / 60 * 10 / 60 / 59)
    assert np.log10(table["p"][4]) == pytest.approx(np.log10(2 * stats.t.sf(z, 59)), rel=0.15)


@pytest.mark.parametrize("pairs_kept", [1, 10**6])
def test_an_assessment_equals_its_tables_made_one_by_one(kit, monkeypatch, pairs_kept):
    monkeypatch.setattr(aggregate, "KEPT_CELLS", pairs_kept)
    world = kit.random_world(5, items=8, levels=4, draws=30, shares=10)
    dataset = kit.build(world)
    runs = [
        Run(name, Path(name), {"respondent": {"provider": kind, "model": name.removeprefix("baseline-"), "trained_on": None}}, responses)
        for seed, (name, kind) in enumerate({"m": "hf", "baseline-uniform": "baseline", "baseline-midpoint": "baseline"}.items())
        for responses in [kit.run_of(name, kit.random_rows(world, seed)).responses]
    ]
    shown = []

    @contextmanager
    def recorded(label, total):
        shown.append((label, total))
        yield lambda steps, now=None: shown.append((steps, now))

    monkeypatch.setattr(assessment, "progress", recorded)
    found = assess(dataset, runs, bootstrap=20, seed=3)
    how = {"bootstrap": 20, "seed": 3}
    assert_frame_equal(found.scores, score(dataset, runs, **how))
    names = list(found.comparisons.select("run", "against").unique(maintain_order=True).iter_rows())
    compared = compare(dataset, runs, names, by=GROUPINGS, metrics=COMPARED_METRICS, **how)
    assert_frame_equal(found.comparisons, adjust(compared, []))
    cheap = [run.name for run in runs if run.name != "m"]
    assert_frame_equal(found.relative, relative(dataset, runs, baselines=cheap, by=GROUPINGS, **how))
    # The bar names each run in each table, and its steps add up to its length.
    (label, total), *steps = shown
    assert label == "scoring"
    assert sum(step for step, _ in steps) == total
    said = [now for _, now in steps if now is not None]
    assert said == [*(run.name for run in runs), *(" against ".join(pair) for pair in names), *(2 * [run.name for run in runs])]
