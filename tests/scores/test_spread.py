"""The spread ratio: a model that is right about subgroups has 1, whatever noise the survey adds to the labels."""

import numpy as np
import pytest

from valuestrata.scores import compare, score

CODES = [1, 2, 3, 4, 5]


def modes_of(answers):
    """Option index of the mode over the people, lowest among ties; (..., people, items) -> (..., items)."""
    return np.stack([(answers == k).sum(axis=-2) for k in range(5)], axis=-1).argmax(axis=-1)


def planted(kit, *, groups=12, items=30, people=25, draws=60, seed=0):
    """A world of subgroups whose true modes are known, surveyed with few people."""
    rng = np.random.default_rng(seed)
    centre = 2 + 0.8 * rng.normal(size=(groups, items))

    def ask(number):
        return np.clip(np.round(centre[:, None, :] + rng.normal(size=(groups, number, items))), 0, 4).astype(int)

    truth, answers = modes_of(ask(4000)), ask(people)
    counts = np.stack([(answers == k).sum(axis=1) for k in range(5)], axis=-1)
    picked = rng.integers(0, people, (draws, groups, people))
    redrawn = np.stack([modes_of(np.take_along_axis(answers, one[:, :, None], axis=1)) for one in picked])
    pairs = [(g, i) for g in range(groups) for i in range(items)]
    world = kit.World(
        {f"Q{i}": ("t", "ordinal", CODES) for i in range(items)},
        {f"g{g}": ("s", {"x": f"g{g}"}) for g in range(groups)},
        {(f"Q{i}", f"g{g}"): counts[g, i].tolist() for g, i in pairs},
        {(f"Q{i}", f"g{g}"): redrawn[:, g, i].tolist() for g, i in pairs},
    )
    resurveyed = [modes_of(ask(people)) for _ in range(20)]
    return world, truth, modes_of(answers), redrawn, resurveyed


def answering(kit, name, places):
    groups, items = places.shape
    return kit.run_of(
        name, [{"item": f"Q{i}", "subgroup": f"g{g}", "answer": CODES[places[g, i]]} for g in range(groups) for i in range(items)]
    )


@pytest.mark.slow
def test_what_noise_in_the_labels_does_to_a_model_without_fault(kit):
    """Who answers what surveys of that size find on average has 1 after correction; who answers the population's mode lies between."""
    average, raw, corrected = [], [], []
    for seed in range(8):
        world, truth, _, _, resurveyed = planted(kit, seed=seed)
        dataset = kit.build(world)
        rows = [
            {"item": f"Q{i}", "subgroup": f"g{g}", "sample": n, "answer": CODES[one[g, i]]}
            for n, one in enumerate(resurveyed)
            for g in range(one.shape[0])
            for i in range(one.shape[1])
        ]
        runs = [kit.run_of("average", rows), answering(kit, "truth", truth)]
        scores = score(dataset, runs, by=("all",), bootstrap=0)
        average.append(kit.value_of(scores, "spread_ratio_corrected", run="average"))
        raw.append(kit.value_of(scores, "spread_ratio", run="truth"))
        corrected.append(kit.value_of(scores, "spread_ratio_corrected", run="truth"))
    assert np.mean(average) == pytest.approx(1, abs=0.1)
    assert np.mean(raw) < 0.95
    assert np.mean(corrected) > 1.05


def test_halving_the_answers_quarters_the_ratio(kit):
    world, _, gold, _, _ = planted(kit)
    even = np.where(gold % 2 == 1, 2, gold)  # only 0, 2 and 4
    # 0, 2, 4 become 1, 2, 3
    halved = np.where(even == 0, 1, np.where(even == 4, 3, 2))
    dataset = kit.build(world)
    full, half = (score(dataset, [answering(kit, "m", p)], bootstrap=0, by=("all",)) for p in (even, halved))
    assert kit.value_of(half, "spread_ratio") == pytest.approx(kit.value_of(full, "spread_ratio") / 4)


def test_the_interval_equals_replicates_worked_out_apart(kit):
    """Numerators and denominators move with the items, denominators with redraws too; percentiles of the ratios are the interval."""
    world, truth, gold, redrawn, _ = planted(kit, groups=5, items=8, draws=9, people=80)
    dataset = kit.build(world)
    run = answering(kit, "m", truth)
    scores = score(dataset, [run], bootstrap=30, seed=4, confidence=0.8, by=("all", "item"))
    answers = np.var(truth / 4, axis=0, ddof=1)
    of_gold = np.var(gold / 4, axis=0, ddof=1)
    of_draw = np.var(redrawn / 4, axis=1, ddof=1)
    noise = of_draw.mean(axis=0) - np.var(redrawn.mean(axis=0) / 4, axis=0, ddof=1)
    drawn = kit.resamples(4, 8, 30, 9)
    assert kit.value_of(scores, "spread_ratio") == pytest.approx(answers.sum() / of_gold.sum())
    assert kit.value_of(scores, "spread_ratio_corrected") == pytest.approx(answers.sum() / (of_gold - noise).sum())
    for metric, below in (("spread_ratio", of_gold), ("spread_ratio_corrected", of_gold - noise)):
        values = kit.ratio_replicates(drawn, answers.tolist(), below.tolist(), (None, of_draw.tolist()))
        assert min(values) > 0
        # The variance counted twice is added up in single precision.
        assert kit.value_of(scores, metric, column="ci_low") == pytest.approx(np.quantile(values, 0.1), rel=1e-5)
        assert kit.value_of(scores, metric, column="ci_high") == pytest.approx(np.quantile(values, 0.9), rel=1e-5)
    excess = of_draw.mean(axis=0) - of_gold
    of_item = [answers[3] / (of_draw[d, 3] - excess[3]) for d in drawn.order]
    assert min(of_item) > 0
    assert kit.value_of(scores, "spread_ratio", "item", "Q3", "ci_low") == pytest.approx(np.quantile(of_item, 0.1))


def test_an_interval_that_reaches_labels_without_spread_has_no_ends(kit):
    counts = {("Q", "g"): [9, 8], ("Q", "h"): [8, 9]}
    draws = {("Q", "g"): [0, 1, 0, 1], ("Q", "h"): [0, 1, 1, 0]}
    world = kit.World({"Q": ("t", "binary", [0, 1])}, {s: ("s", {"x": s}) for s in "gh"}, counts, draws)
    rows = [{"item": "Q", "subgroup": "g", "answer": 0}, {"item": "Q", "subgroup": "h", "answer": 1}]
    dataset = kit.build(world)
    scores = score(dataset, [kit.run_of("m", rows)], bootstrap=40)
    # Draws vary by .5, or not at all; on average .25 less than the gold modes do, so that no replicate is without spread.
    assert kit.value_of(scores, "spread_ratio") == 1
    assert kit.value_of(scores, "spread_ratio", column="ci_low") == pytest.approx(0.5 / 0.75)
    assert kit.value_of(scores, "spread_ratio", column="ci_high") == pytest.approx(0.5 / 0.25)
    # With the noise of .25 taken off, half of the replicates have none left.
    assert kit.value_of(scores, "spread_ratio_corrected", column="ci_high") is None
    twice = compare(dataset, [kit.run_of("m", rows), kit.run_of("n", rows)], [("m", "n")], bootstrap=40)
    assert kit.value_of(twice, "spread_ratio", column="difference") == 0
    assert kit.value_of(twice, "spread_ratio_corrected", column="ci_low") is None


def test_nominal_items_and_lone_subgroups_have_no_spread(kit):
    items = {"N": ("t", "nominal", [1, 2, 3]), "O": ("t", "ordinal", [1, 2, 3])}
    counts = {("N", "g"): [9, 1, 1], ("N", "h"): [1, 9, 1], ("O", "g"): [9, 1, 1]}
    world = kit.World(items, {s: ("s", {"x": s}) for s in "gh"}, counts, {pair: [0, 1] for pair in counts})
    rows = [{"item": i, "subgroup": s, "answer": 1} for i, s in counts]
    scores = score(kit.build(world), [kit.run_of("m", rows)], bootstrap=10)
    assert scores.filter(scores["metric"].str.starts_with("spread"))["value"].null_count() == 2 * scores.select("by", "key").n_unique()
