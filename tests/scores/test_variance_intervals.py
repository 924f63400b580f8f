"""Intervals of variance components: against plain loops, and over planted worlds whose components are known."""

import numpy as np
import pytest
from scipy import stats

from valuestrata.stats.item_resampling import ItemResamples, ItemValues
from valuestrata.stats.variance_components import decompose

SEED, B = 7, 200


def resampled(n: int) -> np.ndarray:
    return np.random.default_rng(SEED).multinomial(n, [1 / n] * n, size=B)


@pytest.mark.parametrize("places", [np.arange(9), np.array([0, 1, 2, 4, 5, 7, 8])])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ends_of_a_ratio_by_plain_loops(places, confidence):
    rng = np.random.default_rng(1)
    above, below = rng.exponential(size=9)[places], 1 + rng.random(9)[places]
    n, rho = len(places), above.mean() / below.mean()
    drawn, away = [], []
    for weights in resampled(9)[:, places]:
        chosen = np.repeat(np.arange(n), weights)
        if len(chosen) < 2:
            continue
        ratio = above[chosen].mean() / below[chosen].mean()
        drawn.append(ratio)
        left = above[chosen] - ratio * below[chosen]
        error = np.sqrt((left**2).sum() / (len(chosen) - 1) / len(chosen)) / below[chosen].mean()
        if error > 1e-12:
            away.append((ratio - rho) / error)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    wider = np.sqrt(n / (n - 1)) * stats.t.ppf(tails[1], n - 1) / stats.norm.ppf(tails[1])
    percentiles = rho + wider * (np.quantile(drawn, tails) - rho)
    # The standard error is that of the resampled mean of above - rho below.
    moved = [
        ((above - rho * below)[np.repeat(np.arange(n), w)]).mean() * np.sqrt(n / (n - 1)) for w in resampled(9)[:, places] if w.sum() > 1
    ]
    studentised = rho - np.quantile(away, tails[::-1]) * np.std(moved, ddof=1) / below.mean()
    expected = min(percentiles[0], studentised[0], rho), max(percentiles[1], studentised[1], rho)
    assert ItemResamples(np.arange(9), B, SEED, confidence).ratio(ItemValues(above), ItemValues(below), places) == pytest.approx(expected)


def test_ends_of_a_ratio_over_blocks_by_plain_loops():
    """Blocks of 3, 2, 1, 2, 1, 1, 2 and 2 items: all items of a drawn block enter, and the standard error is that of blocks."""
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(8), [3, 2, 1, 2, 1, 1, 2, 2])
    above, below = rng.exponential(size=14), 1 + rng.random(14)
    places, rho = np.arange(14), above.mean() / below.mean()
    drawn, away, moved = [], [], []
    for weights in np.random.default_rng([SEED, 2]).multinomial(8, [1 / 8] * 8, size=B):
        chosen = [np.flatnonzero(blocks == block) for block in np.repeat(np.arange(8), weights)]
        items = np.concatenate(chosen)
        ratio = above[items].mean() / below[items].mean()
        drawn.append(ratio)
        moved.append((above - rho * below)[items].mean())
        left = np.array([(above - ratio * below)[block].sum() for block in chosen])
        away.append((ratio - rho) / (np.sqrt((left**2).sum() * len(left) / (len(left) - 1)) / len(items) / below[items].mean()))
    n = 14**2 / (9 + 4 + 1 + 4 + 1 + 1 + 4 + 4)
    assert n == 7
    scale, tails = np.sqrt(n / (n - 1)), [0.025, 0.975]
    percentiles = rho + scale * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975) * (np.quantile(drawn, tails) - rho)
    studentised = rho - np.quantile(away, tails[::-1]) * np.std(moved, ddof=1) * scale / below.mean()
    expected = min(percentiles[0], studentised[0]), max(percentiles[1], studentised[1])
    found = ItemResamples(blocks, B, SEED, 0.95)
    assert found.ratio(ItemValues(above), ItemValues(below), places) == pytest.approx(expected)
    assert found.blocks(places) == n
    # Items of one block are resampled as if no item had one.
    alone = np.arange(3)
    assert found.blocks(alone) is None
    assert found.mean(ItemValues(above[:3]), alone) == ItemResamples(np.arange(14), B, SEED, 0.95).mean(ItemValues(above[:3]), alone)


def test_noise_that_items_of_a_block_share_is_in_the_blocks_already():
    rng = np.random.default_rng(3)
    blocks = np.repeat(np.arange(20), 3)
    values, places = rng.normal(size=20)[blocks], np.arange(60)
    own = rng.normal(0, 1, (400, 20))[:, blocks] * values.std()
    own -= own.mean(axis=0)
    found = ItemResamples(blocks, 2000, SEED, 0.95)
    alone = found.mean(ItemValues(values), places)
    assert np.diff(alone) == pytest.approx(2 * stats.t.ppf(0.975, 19) * values[::3].std(ddof=1) / np.sqrt(20), rel=0.15)
    assert np.diff(found.mean(ItemValues(values, own), places)) == pytest.approx(np.diff(alone), rel=0.1)


def test_a_mean_is_a_ratio_to_ones_and_scales_as_means_do():
    values, places, items = np.random.default_rng(2).normal(size=12), np.arange(12), ItemResamples(np.arange(12), B, SEED, 0.95)
    ends = items.mean(ItemValues(values), places)
    assert ends == items.ratio(ItemValues(values), ItemValues(np.ones(12)), places)
    assert items.mean(ItemValues(3 * values + 1), places) == pytest.approx([3 * end + 1 for end in ends])
    assert items.mean(ItemValues(-values), places) == pytest.approx([-end for end in ends[::-1]], rel=0.2)


def test_redraws_add_their_own_variance_where_items_do_not_hold_it():
    """Respondents that move all items alike are seen by redraws only: both variances add up."""
    rng = np.random.default_rng(3)
    values, shared = rng.normal(size=50), rng.normal(0, 1, 400)
    items, places = ItemResamples(np.arange(50), 2000, SEED, 0.95), np.arange(50)
    redraws = np.repeat(shared[:, None], 50, axis=1)
    alone, both = items.mean(ItemValues(values), places), items.mean(ItemValues(values, redraws), places)
    se = np.sqrt(values.var(ddof=1) / 50 + shared.var())
    assert both[1] - both[0] == pytest.approx(2 * 1.96 * se, rel=0.06)
    assert both[1] - both[0] > 3 * (alone[1] - alone[0])
    # What is each item's own is in the items already, and is not added again.
    own = rng.normal(0, 1, (400, 50)) * values.std()
    assert np.diff(items.mean(ItemValues(values, own - own.mean(axis=0)), places)) == pytest.approx(np.diff(alone), rel=0.1)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_few_items_have_wide_intervals_and_no_absurd_ones(n):
    """An item drawn again and again has no spread of its own, two nearly equal ones hardly any: no end may follow from that."""
    values = 0.1 + 0.2 * np.random.default_rng(n).random(n) / 3
    low, high = ItemResamples(np.arange(n), 500, SEED, 0.95).mean(ItemValues(values), np.arange(n))
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    assert 0.5 * half < (high - low) / 2 < 3 * half


def test_no_interval_where_nothing_can_be_resampled():
    items = ItemResamples(np.arange(6), B, SEED, 0.95)
    assert items.mean(ItemValues(np.array([0.3])), np.array([2])) is None
    # Three equal items say nothing of how items differ; six do.
    assert items.mean(ItemValues(np.zeros(3)), np.arange(3)) is None
    assert items.mean(ItemValues(np.zeros(6)), np.arange(6)) == (0, 0)
    assert items.ratio(ItemValues(np.ones(6)), ItemValues(np.zeros(6)), np.arange(6)) is None
    assert ItemResamples(np.arange(6), 0, SEED, 0.95).mean(ItemValues(np.arange(6.0)), np.arange(6)) is None


# Planted worlds. An item's own components are its sizes times what a random item of this kind has: `WHOLE` on average.
WORLDS, FEW_WORLDS, PLANTED_ITEMS, PERSONAS, ORDERS, SAMPLES = 240, 20, 24, 8, 4, 2
WHOLE = {"persona": 0.02, "order": 0.01, "persona x presentation": 0.01, "sample": 0.05}
FACTORS = np.array([(g, o, 0, 0) for g in range(PERSONAS) for o in range(ORDERS) for _ in range(SAMPLES)])
RARE = 0.001


def world(seed: int) -> dict[str, ItemValues]:
    """Components of 24 items whose true ones vary from item to item, by a factor between .2 and 1.8."""
    rng = np.random.default_rng([20, seed])
    found: dict[str, list[float]] = {name: [] for name in WHOLE}
    for _ in range(PLANTED_ITEMS):
        persona, order, both, sample = (np.sqrt(size * rng.uniform(0.2, 1.8)) for size in WHOLE.values())
        mean = persona * rng.normal(size=(PERSONAS, 1)) + order * rng.normal(size=ORDERS) + both * rng.normal(size=(PERSONAS, ORDERS))
        answers = mean.ravel().repeat(SAMPLES) + sample * rng.normal(size=len(FACTORS))
        parts = decompose(FACTORS, answers[:, None], drawn=True)
        for name, values in found.items():
            values.append(parts.values[name])
    return {name: ItemValues(np.array(values)) for name, values in found.items()}


def study(number: int):
    """Estimates of every world, and whether each interval holds what was planted; `narrow`: half as wide about its middle."""
    places, whole = np.arange(PLANTED_ITEMS), sum(WHOLE.values())
    estimates: dict[str, list[float]] = {name: [] for name in WHOLE}
    held: dict[str, list[bool]] = {}
    narrow: dict[str, list[bool]] = {}
    for seed in range(number):
        columns, items = world(seed), ItemResamples(np.arange(PLANTED_ITEMS), 400, seed, 0.95)
        total = ItemValues(np.sum([column.values for column in columns.values()], axis=0))
        intervals = {name: (items.mean(column, places), WHOLE[name]) for name, column in columns.items()}
        intervals |= {f"share of {name}": (items.ratio(column, total, places), WHOLE[name] / whole) for name, column in columns.items()}
        less = columns["order"].minus(columns["persona"])
        intervals["order less persona"] = items.mean(less, places), WHOLE["order"] - WHOLE["persona"]
        for name, ((low, high), truth) in intervals.items():
            middle, half = (low + high) / 2, (high - low) / 2
            held.setdefault(name, []).append(low <= truth <= high)
            narrow.setdefault(name, []).append(abs(truth - middle) <= half / 2)
        for name, column in columns.items():
            estimates[name].append(column.mean)
    return estimates, held, narrow


@pytest.fixture(scope="module")
def worlds():
    return study(WORLDS)


@pytest.fixture(scope="module")
def few_worlds():
    return study(FEW_WORLDS)


def check_unbiased(estimates, component):
    away = (np.mean(estimates[component]) - WHOLE[component]) / (np.std(estimates[component]) / np.sqrt(len(estimates[component])))
    assert abs(away) < stats.norm.isf(RARE / 2)


@pytest.mark.parametrize("component", WHOLE)
def test_components_are_unbiased_over_a_few_planted_worlds(few_worlds, component):
    estimates, held, _ = few_worlds
    check_unbiased(estimates, component)
    assert sum(held[component]) >= stats.binom.ppf(RARE, FEW_WORLDS, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("component", WHOLE)
def test_components_are_unbiased_over_planted_worlds(worlds, component):
    check_unbiased(worlds[0], component)


@pytest.mark.slow
@pytest.mark.parametrize("what", [*WHOLE, *(f"share of {name}" for name in WHOLE), "order less persona"])
def test_intervals_hold_what_was_planted_as_a_binomial_test_allows(worlds, what):
    _, held, narrow = worlds
    fewest = stats.binom.ppf(RARE, WORLDS, 0.95)
    assert sum(held[what]) >= fewest
    # The test would tell: intervals of half the width fail it.
    assert sum(narrow[what]) < fewest
