"""Do the intervals hold what they promise? Planted populations, and scipy for the part that scipy can do."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from valuestrata.scores import compare, score
from valuestrata.scores.layout import Keys, Layout, Values
from valuestrata.scores.resampling import ChangedModes, Resampler
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import interval

ITEMS, SUBGROUPS, PEOPLE, DRAWS = 24, 3, 21, 40


def survey(rng, items, *, shared, difficulty):
    """Yes/no answers (subgroups, people, items). `shared`: how strongly a person answers all items alike."""
    person = shared * rng.normal(size=(SUBGROUPS, PEOPLE, 1))
    item = rng.normal(0.3, difficulty, items)
    return person + item + rng.normal(size=(SUBGROUPS, PEOPLE, items)) > 0


def majority(yes, people):
    return (2 * yes > people).astype(int)


def planted_accuracy(**how):
    """Expected accuracy of always answering yes, over many items and many people."""
    rng = np.random.default_rng(123)
    return float(np.mean([majority(survey(rng, 200, **how).sum(axis=1), PEOPLE).mean() for _ in range(400)]))


def interval_of(kit, seed, *, redraw, **how):
    rng = np.random.default_rng(seed)
    answers = survey(rng, ITEMS, **how)
    yes = answers.sum(axis=1)
    weights = rng.multinomial(PEOPLE, [1 / PEOPLE] * PEOPLE, size=(DRAWS, SUBGROUPS)).astype(float)
    redrawn = majority(np.einsum("dgn,gni->dgi", weights, answers.astype(float)), PEOPLE)
    pairs = [(i, g) for g in range(SUBGROUPS) for i in range(ITEMS)]
    world = kit.World(
        {f"Q{i}": ("t", "binary", [0, 1]) for i in range(ITEMS)},
        {f"g{g}": ("s", {"x": f"g{g}"}) for g in range(SUBGROUPS)},
        {(f"Q{i}", f"g{g}"): [int(PEOPLE - yes[g, i]), int(yes[g, i])] for i, g in pairs},
        {(f"Q{i}", f"g{g}"): redrawn[:, g, i].tolist() for i, g in pairs} if redraw else None,
    )
    rows = [{"item": f"Q{i}", "subgroup": f"g{g}", "answer": 1} for i, g in pairs]
    scores = score(kit.build(world), [kit.run_of("yes", rows)], by=("all",), bootstrap=200, seed=seed)
    return tuple(kit.value_of(scores, "accuracy", column=column) for column in ("ci_low", "ci_high"))


def covered(kit, replications, *, redraw, **how):
    truth = planted_accuracy(**how)
    ends = [interval_of(kit, seed, redraw=redraw, **how) for seed in range(replications)]
    return sum(low <= truth <= high for low, high in ends)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say(kit):
    """Most of the variation between items, as between survey questions: 95 % of 200, as a binomial test at .001 allows."""
    hits = covered(kit, 200, redraw=True, shared=0.2, difficulty=0.6)
    assert stats.binomtest(hits, 200, 0.95).pvalue > 0.001, hits


@pytest.mark.slow
def test_items_alone_are_not_enough_where_the_same_people_answer_all_of_them(kit):
    """People who lean one way on everything: two-way stays near 95 %, resampling items alone misses most of the time."""
    how = {"shared": 1.5, "difficulty": 0.3}
    two_way = covered(kit, 100, redraw=True, **how)
    items_only = covered(kit, 100, redraw=False, **how)
    # Three subgroups of 21 and a majority vote are hard for any bootstrap: a few points below nominal are expected.
    assert two_way >= 84, two_way
    assert items_only <= 70, items_only


def normal_layout(items, blocks=None):
    """One subgroup answering `items` items, and nothing that redraws it: the worlds below bring their own redraws."""
    keys = Keys([("all", "all")], np.ones((1, 1)), np.zeros((0, items)), np.zeros((0, 1), dtype=np.intp))
    return Layout(
        gold=pl.DataFrame(),
        subgroups=["g"],
        items=[f"Q{i}" for i in range(items)],
        present=np.ones((1, items), dtype=bool),
        mode=np.zeros(items, dtype=np.intp),
        options=np.full(items, 2),
        ordered=np.ones(items, dtype=bool),
        questions=np.arange(items),
        blocks=np.arange(items) if blocks is None else blocks,
        blocks_named=blocks is not None,
        draws=np.zeros((0, items), dtype=np.int8),
        # Only how many redraws there are is read of it.
        share_draws=[SimpleNamespace(shares=np.zeros((2, items, REDRAWS), dtype=np.float32))],
        keys=keys,
    )


WORLDS, SAMPLE, QUESTIONS, REDRAWS = 600, 40, 40, 150


def normal_world(rng, *, between, person, own):
    """A metric of every item that is a mean over people: mu = 0, items, persons and their own noise, with bootstrapped people.

    Its variance is between^2 / items + person^2 / people + own^2 / (people items).
    """
    answers = between * rng.normal(size=QUESTIONS) + person * rng.normal(size=(SAMPLE, 1)) + own * rng.normal(size=(SAMPLE, QUESTIONS))
    counts = rng.multinomial(SAMPLE, [1 / SAMPLE] * SAMPLE, size=REDRAWS) / SAMPLE
    return Values(answers.mean(axis=0)[None], by_share=(counts @ answers)[:, None].astype(np.float32))


def three_ways(seed, **how):
    """p-values of mu = 0, which is true, by items alone, two-way, and by the plain sum of both; and the two-way interval."""
    rng = np.random.default_rng(seed)
    resampler = Resampler(normal_layout(QUESTIONS), 400, seed)
    values = normal_world(rng, **how)
    both = resampler.sample(values)
    alone = resampler.sample(Values(values.gold))
    naive = both.estimate + both.by_items + both.redraws()[both.people.order]
    made = (alone.replicates(), both.replicates(), Replicates(both.estimate, naive, both.pairs, alone.replicates().known))
    return [interval(replicates, 0.95, -np.inf, np.inf) for replicates in made]


def misses(found):
    return sum(not one.low[0] <= 0 <= one.high[0] for one in found)


def test_standard_errors_in_a_world_whose_truth_is_known():
    """A short version of the study below: the mean variance of each way, without its coverage."""
    how = {"between": 0.2, "person": 1.0, "own": 6.0}
    items, two_way, naive = zip(*(three_ways(seed, **how) for seed in range(25)), strict=True)
    between, person, own = how["between"] ** 2 / QUESTIONS, how["person"] ** 2 / SAMPLE, how["own"] ** 2 / (QUESTIONS * SAMPLE)
    expected = ((items, between + own), (two_way, between + person + own), (naive, between + person + 2 * own))
    for found, variance in expected:
        assert np.mean([one.se[0] ** 2 for one in found]) == pytest.approx(variance, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "wrong"), [({"between": 0.2, "person": 1.0, "own": 6.0}, "items"), ({"between": 0.2, "person": 0.2, "own": 6.0}, "naive")]
)
def test_coverage_in_a_world_whose_truth_is_known(how, wrong):
    """Items and people both random. Items alone do not see the noise that the people have in common over items.

    The sum of both ways counts twice what each answer has of its own. Two-way with k is right in both worlds.
    """
    items, two_way, naive = zip(*(three_ways(seed, **how) for seed in range(WORLDS)), strict=True)
    assert stats.binomtest(misses(two_way), WORLDS, 0.05).pvalue > 0.001, misses(two_way)
    between, person, own = how["between"] ** 2 / QUESTIONS, how["person"] ** 2 / SAMPLE, how["own"] ** 2 / (QUESTIONS * SAMPLE)
    for found, variance in ((items, between + own), (naive, between + person + 2 * own)):
        assert np.mean([one.se[0] ** 2 for one in found]) == pytest.approx(variance, rel=0.1)
    # The largest of three estimates is a little too large where people have next to nothing in common.
    assert 0.95 < np.mean([one.se[0] ** 2 for one in two_way]) / (between + person + own) < 1.2
    if wrong == "items":
        assert stats.binomtest(misses(items), WORLDS, 0.05, alternative="greater").pvalue < 1e-4, misses(items)
    else:
        assert stats.binomtest(misses(naive), WORLDS, 0.05, alternative="less").pvalue < 1e-4, misses(naive)
    # Where the interval is right, p is uniform under the null.
    assert stats.kstest([one.p[0] for one in two_way], "uniform").pvalue > 0.001
    assert stats.kstest([one.p[0] for one in (items if wrong == "items" else naive)], "uniform").pvalue < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"between": 0.6, "person": 0.0, "own": 0.5}, {"between": 0.05, "person": 1.0, "own": 0.3}])
def test_coverage_where_one_kind_of_noise_is_nearly_all(how):
    """Nearly all of the variation between items, or nearly all of it shared by the people."""
    two_way = [three_ways(seed, **how)[1] for seed in range(300)]
    assert stats.binomtest(misses(two_way), 300, 0.05).pvalue > 0.001, misses(two_way)
    assert stats.kstest([one.p[0] for one in two_way], "uniform").pvalue > 0.001


# Items of each block. The second one is that of the WVS-7 codebook: 42 blocks of 239 items.
STRUCTURES = {
    "no blocks": [1] * 40,
    "WVS-7": [19, 18, 12, 11, 11, 9, 9, *[8] * 5, 7, *[6] * 5, *[5] * 5, *[4] * 3, *[3] * 8, 2, 2, 2, 2, 1, 1, 1, 1],
    "20 of 6": [6] * 20,
    "8 of 6": [6] * 8,
    "5 of 6": [6] * 5,
    "3 of 6": [6] * 3,
    "8 unequal": [18, 10, 6, 4, 3, 2, 1, 1],
}


def block_world(rng, sizes, block_sd):
    """A metric of items that share a block effect, measured on 40 people: mu = 0, items have a standard deviation of .2."""
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    effects = block_sd * rng.normal(size=len(sizes))[blocks] + 0.2 * rng.normal(size=len(blocks))
    answers = effects + 0.1 * rng.normal(size=(SAMPLE, 1)) + rng.normal(size=(SAMPLE, len(blocks)))
    counts = rng.multinomial(SAMPLE, [1 / SAMPLE] * SAMPLE, size=REDRAWS) / SAMPLE
    return Values(answers.mean(axis=0)[None], by_share=(counts @ answers)[:, None].astype(np.float32))


def block_study(structure, block_sd, worlds, *, named):
    """Count intervals that miss 0, the true mean, of a score and of a difference of two runs, p <= .01, and mean the half widths."""
    sizes = STRUCTURES[structure]
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    found = np.zeros(4)
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 77])
        layout = normal_layout(len(blocks), blocks if named else None)
        layout = replace(layout, share_draws=[SimpleNamespace(shares=np.zeros((2, len(blocks), REDRAWS), dtype=np.float32))])
        one, other = block_world(rng, sizes, block_sd), block_world(rng, sizes, block_sd)
        resampler = Resampler(layout, 400, seed)
        score_, difference = (interval(resampler.replicates(v), 0.95, -np.inf, np.inf) for v in (one, one.minus(other)))
        found += [
            *(not ends.low[0] <= 0 <= ends.high[0] for ends in (score_, difference)),
            difference.p[0] <= 0.01,
            (score_.high[0] - score_.low[0]) / 2 / worlds,
        ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_coverage_where_items_of_a_block_resemble_each_other(structure):
    """Blocks as large as items vary: intervals over blocks hold what they promise, those over items miss far too often."""
    worlds = 200
    score_, difference, small, _ = block_study(structure, 0.2, worlds, named=True)
    for missed, rate in ((score_, 0.05), (difference, 0.05), (small, 0.01)):
        # Three points more than nominal are allowed, as for the few redraws of other studies here.
        assert stats.binomtest(int(missed), worlds, rate + 0.03, alternative="greater").pvalue > 0.001, missed
    if structure != "no blocks":
        items = block_study(structure, 0.2, worlds, named=False)
        assert items[0] > max(1.5 * score_, 0.1 * worlds), (items, score_)


def test_without_blocks_nothing_changes_and_with_blocks_intervals_follow_them():
    """A short version of the study above: widths, not coverage."""
    assert (block_study("no blocks", 0.0, 3, named=True) == block_study("no blocks", 0.0, 3, named=False)).all()
    by_blocks, by_items = (block_study("20 of 6", 0.4, 10, named=named)[3] for named in (True, False))
    # Variances of the mean: blocks .4^2 / 20, items .2^2 / 120, people (.1^2 + 1 / 120) / 40.
    expected = stats.t.ppf(0.975, 22) * np.sqrt(0.16 / 20 + 0.04 / 120 + (0.01 + 1 / 120) / 40)
    assert by_blocks == pytest.approx(expected, rel=0.15)
    assert by_items < 0.75 * by_blocks


def test_without_centring_a_perfect_model_would_lie_outside_of_its_own_interval(kit):
    """Ten near ties: every redraw flips about half of the modes, the estimate is 1. The interval must hold it."""
    rng = np.random.default_rng(0)
    pairs = [(f"Q{i}", "g") for i in range(10)]
    draws = {pair: rng.integers(0, 2, 200).tolist() for pair in pairs}
    world = kit.World({i: ("t", "binary", [0, 1]) for i, _ in pairs}, {"g": ("s", {"x": "1"})}, {pair: [11, 10] for pair in pairs}, draws)
    rows = [{"item": i, "subgroup": g, "answer": 0} for i, g in pairs]
    scores = score(kit.build(world), [kit.run_of("m", rows)], bootstrap=200)
    low, value, high = (kit.value_of(scores, "accuracy", column=column) for column in ("ci_low", "value", "ci_high"))
    assert (value, high) == (1, 1)
    assert 0.5 < low < 1


def test_an_item_only_metric_has_the_interval_that_scipy_gives(kit):
    world = kit.random_world(21, items=40, drop=0.0)
    world = replace(world, items={i: (t, "ordinal", c) for i, (t, _, c) in world.items.items()})
    rows = [row | {"sample": 0} for row in kit.random_rows(world, 21, asked=1.0, missing=0.1, samples=1)]
    # Without redraws nothing but items is resampled.
    dataset = kit.build(replace(world, draws=None))
    scores = score(dataset, [kit.run_of("m", rows)], by=("all", "item"), bootstrap=4000, seed=1)
    for metric in ("accuracy_expected", "nmae", "refusal_rate"):
        by_item = scores.filter((pl.col("by") == "item") & (pl.col("metric") == metric))
        # A full grid: the mean over pairs is the mean over items.
        theirs = stats.bootstrap(
            (by_item["value"].to_numpy(),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(5)
        ).confidence_interval
        low, high = (kit.value_of(scores, metric, column=column) for column in ("ci_low", "ci_high"))
        width = theirs.high - theirs.low
        assert low == pytest.approx(theirs.low, abs=0.08 * width), metric
        assert high == pytest.approx(theirs.high, abs=0.08 * width), metric
        # A single item cannot be resampled. What the model did on it is a fact, what people would answer again is not known.
        if metric == "refusal_rate":
            assert by_item["ci_low"].equals(by_item["value"])
        else:
            assert by_item["ci_low"].null_count() == len(by_item) == 40


def test_a_paired_difference_is_narrower_than_two_scores_suggest(kit):
    """Two runs that differ in one answer out of 40 pairs: the interval of the difference is about that answer."""
    rng = np.random.default_rng(3)
    pairs = [(f"Q{i}", "g") for i in range(40)]
    counts = {pair: ([9, 1] if rng.random() < 0.5 else [1, 9]) for pair in pairs}
    world = kit.World({i: ("t", "binary", [0, 1]) for i, _ in pairs}, {"g": ("s", {"x": "1"})}, counts)
    rows = [{"item": i, "subgroup": g, "answer": 0} for i, g in pairs]
    changed = [rows[0] | {"answer": 1}, *rows[1:]]
    dataset = kit.build(world)
    one, two = kit.run_of("one", rows), kit.run_of("two", changed)
    alone = score(dataset, [one], by=("all",))
    difference = compare(dataset, [one, two], [("one", "two")], by=("all",))

    def width(table):
        return kit.value_of(table, "accuracy", column="ci_high") - kit.value_of(table, "accuracy", column="ci_low")

    assert abs(kit.value_of(difference, "accuracy", column="difference")) == pytest.approx(1 / 40)
    assert width(difference) < width(alone) / 3


def test_seeds_decide_and_repeat(kit):
    world = kit.random_world(6)
    dataset, run = kit.build(world), kit.run_of("m", kit.random_rows(world, 6))
    first, again, other = (score(dataset, [run], bootstrap=50, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert first["value"].equals(other["value"])
    assert not first["ci_low"].equals(other["ci_low"])
    wide, narrow = (score(dataset, [run], bootstrap=200, by=("all",), confidence=c) for c in (0.95, 0.5))
    both = wide.join(narrow, on="metric", suffix="_narrow").drop_nulls("ci_low")
    assert (both["ci_low"] <= both["ci_low_narrow"]).all()
    assert (both["ci_high"] >= both["ci_high_narrow"]).all()


def test_chunks_do_not_show(kit, monkeypatch):
    world = kit.random_world(7)
    dataset, run = kit.build(world), kit.run_of("m", kit.random_rows(world, 7))
    whole = score(dataset, [run], bootstrap=40)
    for module in ("resampling", "spread"):
        monkeypatch.setattr(f"valuestrata.scores.{module}.CHUNK_NUMBERS", 300)
    pieces = score(dataset, [run], bootstrap=40)
    for column in ("value", "ci_low", "ci_high"):
        assert np.allclose(whole[column].to_numpy(), pieces[column].to_numpy(), atol=1e-12, equal_nan=True)


def test_sums_over_redraws_equal_a_look_up_of_every_pair():
    random = np.random.default_rng(4)
    draws, groups, items, options = 50, 6, 9, 4
    mode = random.integers(0, options, groups * items).astype(np.int8)
    drawn = np.where(random.random((draws, mode.size)) < 0.3, random.integers(0, options, (draws, mode.size)), mode).astype(np.int8)
    table = random.normal(size=(mode.size, options))
    values = table[np.arange(mode.size), drawn].reshape(draws, groups, items)
    by_group, by_item = ChangedModes.of(drawn, mode, (groups, items), options).sums(table)
    np.testing.assert_allclose(by_group, values.sum(axis=2), atol=1e-12)
    np.testing.assert_allclose(by_item, values.sum(axis=1), atol=1e-12)
