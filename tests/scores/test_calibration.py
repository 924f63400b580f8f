"""Calibration errors: by hand, against scikit-learn, and coverage of the interval."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tests.scores.conftest import World, build, run_of, value_of
from valuestrata.errors import UsageError
from valuestrata.scores import compare, score
from valuestrata.scores.aggregate import PlacedRuns, calibration_placed

ORDINAL = ("ordinal", (1, 2, 3, 4))


def world_of(counts: dict[str, tuple[int, ...]], level: tuple[str, tuple[int, ...]]) -> World:
    return World(dict.fromkeys(counts, ("topic", *level)), {"f": ("sex", {"sex": "f"})}, {(item, "f"): of for item, of in counts.items()})


def stated(item: str, *probs: float, **more: object) -> dict[str, object]:
    return {"item": item, "subgroup": "f", "answer": 1, "elicitation": "logprob", "option_probs": list(probs), **more}


def table(world: World, run: SimpleNamespace, bootstrap: int = 0, seed: int = 0) -> pl.DataFrame:
    placed = PlacedRuns(build(world), [run], split="paper", part="test", fold=None, by=("all",), bootstrap=bootstrap, seed=seed)
    return calibration_placed(placed, 0.95)


def test_the_error_is_the_weighted_gap_of_each_bin():
    world = world_of({"Q1": (4, 3, 2, 1), "Q2": (0, 0, 5, 5)}, ORDINAL)
    run = run_of("model", [stated("Q1", 0.7, 0.1, 0.1, 0.1), stated("Q2", 0.05, 0.05, 0.15, 0.75)])
    found = table(world, run).filter(pl.col("measure") == "ece")
    # Each case weighs 1/8. Bin 0: .05, .05 against 0, 0. Bin 1: .1, .1, .1, .15 against .3, .2, .1, .5. Bin 7: .7, .75 against .4, .5.
    assert found["bin"].to_list() == [None, 0, 1, 7]
    assert found["cases"].to_list() == [8, 2, 4, 2]
    assert found["stated"].to_list()[1:] == pytest.approx([0.05, 0.1125, 0.725])
    assert found["share"].to_list()[1:] == pytest.approx([0.0, 0.275, 0.45])
    assert found["error"].to_list() == pytest.approx([(0.1 + 0.65 + 0.55) / 8, 0.1 / 8, 0.65 / 8, 0.55 / 8])
    top = table(world, run).filter(pl.col("measure") == "ece_top")
    assert top["cases"].to_list() == [2, 2]
    assert top["error"][0] == pytest.approx((0.7 - 0.4 + 0.75 - 0.5) / 2)


def test_tied_likeliest_options_share_the_weight_of_the_pair():
    top = table(world_of({"Q1": (4, 3, 2, 1)}, ORDINAL), run_of("model", [stated("Q1", 0.4, 0.4, 0.1, 0.1)])).filter(
        pl.col("measure") == "ece_top"
    )
    assert (top["cases"][0], top["error"][0]) == (2, pytest.approx(0.4 - (0.4 + 0.3) / 2))


def test_distributions_of_a_pair_share_its_weight_and_missing_answers_state_nothing():
    world = world_of({"Q1": (5, 5), "Q2": (2, 8)}, ("binary", (0, 1)))
    rows = [stated("Q1", 0.9, 0.1), stated("Q1", 0.7, 0.3, order="reversed"), stated("Q2", 0.2, 0.8)]
    refused = {"item": "Q1", "subgroup": "f", "answer": None, "elicitation": "logprob", "order": "shuffled:1"}
    found = table(world, run_of("model", [*rows, refused]))
    # Q1: gaps of .4 and .2 for each option, with half the weight of Q2 each, and Q2 has none.
    assert found.filter(pl.col("bin").is_null())["error"].to_list() == pytest.approx([(0.4 + 0.2) / 2 / 2, (0.4 + 0.2) / 2 / 2])


def test_single_text_answers_have_no_calibration():
    world = world_of({"Q1": (5, 5)}, ("binary", (0, 1)))
    run = run_of("model", [{"item": "Q1", "subgroup": "f", "answer": 1}])
    assert table(world, run).is_empty()
    assert value_of(score(build(world), [run], bootstrap=0), "ece") is None
    with pytest.raises(UsageError, match="ece"):
        compare(build(world), [run, run_of("other", run.responses)], [("model", "other")], metrics=["ece"])


def random_run(seed: int, items: int = 12, people: int = 20) -> tuple[World, SimpleNamespace]:
    rng = np.random.default_rng(seed)
    yes = rng.integers(0, people + 1, items)
    world = world_of({f"Q{at}": (people - int(one), int(one)) for at, one in enumerate(yes)}, ("binary", (0, 1)))
    probs = rng.uniform(0.001, 0.999, items)
    return world, run_of("model", [stated(f"Q{at}", 1 - p, p) for at, p in enumerate(probs)])


@pytest.mark.parametrize("seed", range(3))
def test_bins_equal_those_of_scikit_learn(seed):
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    world, run = random_run(seed)
    hits, probs = list[int](), list[float]()
    for item, of in zip(run.responses["item"], run.responses["option_probs"], strict=True):
        # Every respondent and every option: was it the one chosen?
        for option, count in enumerate(world.counts[item, "f"]):
            hits += [1] * count + [0] * (sum(world.counts[item, "f"]) - count)
            probs += [of[option]] * sum(world.counts[item, "f"])
    share, given = curve(hits, probs, n_bins=10)
    found = table(world, run).filter((pl.col("measure") == "ece") & pl.col("bin").is_not_null())
    assert found["stated"].to_list() == pytest.approx(given.tolist())
    assert found["share"].to_list() == pytest.approx(share.tolist())


def test_scores_hold_the_error_with_its_interval():
    world, run = random_run(1)
    scores = score(build(world), [run], bootstrap=200)
    found = table(world, run, bootstrap=200).filter(pl.col("bin").is_null())
    for measure, value, low, high in found.select("measure", "error", "error_low", "error_high").iter_rows():
        row = scores.filter(pl.col("metric") == measure)
        assert row.select("by", "value", "ci_low", "ci_high", "pairs").rows() == [("all", value, low, high, 12)]
        assert 0 <= low <= value <= high
    assert found["expected"].min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("slope", [1.0, 1.6])
def test_intervals_cover_the_error_of_many_items(slope):
    """Stated probabilities are shares moved away from .5 by a factor, so the true error is known; shares vary between items."""

    def drawn(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray]:
        probs = np.clip(rng.uniform(0.02, 0.98, items), 0.02, 0.98)
        shares = np.clip(0.5 + (probs - 0.5) / slope + rng.normal(0, 0.1, items), 0, 1)
        return probs, np.round(shares * 1000).astype(int)

    probs, counts = drawn(np.random.default_rng(0), 400_000)
    place = np.minimum((probs * 10).astype(int), 9)
    gaps = np.bincount(place, weights=probs - counts / 1000, minlength=10) / len(probs)
    # Options 0 and 1 mirror each other.
    truth = np.abs(gaps - gaps[::-1]).sum() / 2
    inside, number = 0, 120
    for seed in range(number):
        rng = np.random.default_rng([1, seed])
        probs, counts = drawn(rng, 60)
        world = world_of({f"Q{at}": (1000 - int(one), int(one)) for at, one in enumerate(counts)}, ("binary", (0, 1)))
        run = run_of("model", [stated(f"Q{at}", 1 - p, p) for at, p in enumerate(probs)])
        row = table(world, run, bootstrap=300, seed=seed).row(0, named=True)
        inside += row["error_low"] <= truth <= row["error_high"]
    assert inside / number >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / number)
