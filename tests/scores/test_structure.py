"""Structure: against numpy, pandas and scipy, by hand, and on planted populations where it is known."""

from __future__ import annotations

from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from valuestrata.errors import InputDataError, UsageError
from valuestrata.measures import highest_segments, segment_gaps, wrong_segments
from valuestrata.scores.schema import SCORES, STRUCTURE
from valuestrata.scores.spread import spread_by_attribute
from valuestrata.scores.structure import GAPS, MEASURES, gold_means, model_means, structure
from valuestrata.stats.correlations import agreement, shuffled_agreement, usable_items, within_correlations

CODES = (1, 2, 3, 4, 5)
STEPS = np.arange(5)


def upper(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


# ---------------------------------------------------------------------------------------------------------- correlations


def test_one_stratum_is_the_correlation_of_numpy():
    x, y = np.random.default_rng(0).normal(size=(2, 12, 5))
    expected = np.corrcoef(x.T, y.T)[:5, 5:]
    np.testing.assert_allclose(within_correlations(x, y, np.full(12, "s")), expected, atol=1e-12)


def test_unknown_cells_are_left_out_pair_by_pair_as_pandas_does():
    random = np.random.default_rng(1)
    x = random.normal(size=(15, 6)) + 100
    x[random.random(x.shape) < 0.3] = np.nan
    expected = pd.DataFrame(x).corr(min_periods=3).to_numpy()
    np.testing.assert_allclose(within_correlations(x, x, np.full(15, "s")), expected, atol=1e-10)


def test_strata_are_centred_each_within_itself():
    """Against residuals of a regression on the strata, over the rows that both columns have."""
    random = np.random.default_rng(2)
    strata = np.repeat(["a", "b", "c"], [4, 7, 5])
    x, y = random.normal(size=(2, 16, 4)) + np.array([0, 50, -9])[np.searchsorted(["a", "b", "c"], strata)][:, None]
    x[random.random(x.shape) < 0.15] = np.nan
    dummies = (strata[:, None] == np.array(["a", "b", "c"])).astype(float)
    found = within_correlations(x, y, strata)
    for i in range(4):
        for j in range(4):
            both = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
            left, right = (v[both] - dummies[both] @ np.linalg.lstsq(dummies[both], v[both])[0] for v in (x[:, i], y[:, j]))
            assert found[i, j] == pytest.approx(left @ right / np.sqrt(left @ left * (right @ right)), abs=1e-10)


def test_too_few_rows_or_no_variation_have_no_correlation():
    x = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    found = within_correlations(x, x, np.full(3, "s"))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[[0, 1, 1], [1, 0, 1]]).all()
    assert np.isnan(within_correlations(x[:2], x[:2], np.full(2, "s"))).all()
    # Two strata of two leave two degrees of freedom: as many as one stratum of three.
    four = np.array([[0.0], [1.0], [5.0], [7.0]])
    assert within_correlations(four, four, np.array(["a", "a", "b", "b"]))[0, 0] == pytest.approx(1)


def test_items_are_dropped_until_every_entry_is_known():
    whole = np.ones((4, 4))
    broken = whole.copy()
    broken[1, 3] = broken[3, 1] = broken[1, 2] = broken[2, 1] = np.nan
    assert usable_items(whole, whole).tolist() == [0, 1, 2, 3]
    assert usable_items(whole, broken).tolist() == [0, 2, 3]
    assert usable_items(np.full((3, 3), np.nan)).tolist() == []


def test_agreement_by_hand():
    """Three items: entries .5, .1, -.3 against .4, .2, -.6."""
    x = np.array([[1, 0.5, 0.1], [0.5, 1, -0.3], [0.1, -0.3, 1]])
    y = np.array([[1, 0.4, 0.2], [0.4, 1, -0.6], [0.2, -0.6, 1]])
    pearson, congruence, rmse = astuple(agreement(x, y, np.ones((1, 3))))
    # Deviations .4, 0, -.4 and .4, .2, -.6: .4 / sqrt(.32 * .56).
    assert pearson[0] == pytest.approx(0.4 / np.sqrt(0.32 * 0.56))
    assert rmse[0] == pytest.approx(np.sqrt((0.01 + 0.01 + 0.09) / 3))
    # .2 + .02 + .18 over the root of .35 * .56.
    assert congruence[0] == pytest.approx(0.4 / np.sqrt(0.35 * 0.56))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(4, 9))
def test_weights_are_items_repeated_and_an_item_never_meets_its_copy(seed, items):
    random = np.random.default_rng(seed)
    x, y = (part + part.T for part in random.normal(size=(2, items, items)))
    weights = random.multinomial(items, np.full(items, 1 / items)).astype(float)
    drawn = np.repeat(np.arange(items), weights.astype(int))
    pairs = [(i, j) for a, i in enumerate(drawn) for j in drawn[a + 1 :] if i != j]
    # One item drawn throughout has no pair to correlate.
    assume(pairs)
    pearson, congruence, rmse = astuple(agreement(x, y, weights[None]))
    left, right = (np.array([matrix[pair] for pair in pairs]) for matrix in (x, y))
    assert rmse[0] == pytest.approx(np.sqrt(np.mean((left - right) ** 2)))
    assert congruence[0] == pytest.approx(left @ right / np.sqrt(left @ left * (right @ right)))
    if len(set(drawn)) > 2:
        assert pearson[0] == pytest.approx(stats.pearsonr(left, right).statistic, abs=1e-9)


def test_agreement_of_what_does_not_vary_is_unknown():
    flat = np.full((4, 4), 0.3)
    other = np.random.default_rng(0).normal(size=(4, 4))
    assert np.isnan(agreement(flat, other + other.T, np.ones((1, 4))).pearson[0])
    assert np.isnan(astuple(agreement(flat, flat, np.array([[4.0, 0, 0, 0]])))).all()
    pearson, congruence = shuffled_agreement(flat, other + other.T, [np.arange(4)])
    assert np.isnan(pearson[0])
    assert not np.isnan(congruence[0])


@pytest.mark.parametrize(("items", "rows"), [(7, 7), (40, 5), (40, 120)], ids=["few items", "low rank", "full rank"])
def test_shuffling_moves_rows_and_columns_together(items, rows):
    random = np.random.default_rng(3)
    x, y = (np.corrcoef(part, rowvar=False) for part in random.normal(size=(2, rows, items)))
    orders = [random.permutation(items) for _ in range(5)]
    expected = [stats.pearsonr(upper(x[np.ix_(order, order)]), upper(y)).statistic for order in orders]
    pearson, congruence = shuffled_agreement(x, y, orders)
    np.testing.assert_allclose(pearson, expected, atol=1e-12)
    plain = agreement(x[np.ix_(orders[0], orders[0])], y, np.ones((1, items)))
    assert congruence[0] == pytest.approx(plain.congruence[0])


# ------------------------------------------------------------------------------------------------------ from the tables


def world_of(kit, counts, *, strata=None, levels=None, half_b=None):
    """A data set of counts (G, I, 5)."""
    groups, items = counts.shape[:2]
    strata = strata or ["s"] * groups
    pairs = [(f"Q{i}", f"g{g}") for g in range(groups) for i in range(items)]
    at = {pair: (int(pair[1][1:]), int(pair[0][1:])) for pair in pairs}
    level = levels or ["ordinal"] * items
    halves = {} if half_b is None else {pair: half_b[at[pair]].tolist() for pair in pairs}
    return kit.build(
        kit.World(
            {f"Q{i}": ("t", level[i], list(CODES)) for i in range(items)},
            {f"g{g}": (strata[g], {"x": f"g{g}"}) for g in range(groups)},
            {pair: counts[at[pair]].tolist() for pair in pairs},
            half_b=halves,
        )
    )


def stating(kit, name, probs):
    """A run that states probabilities (G, I, 5)."""
    groups, items = probs.shape[:2]
    rows = [
        {
            "item": f"Q{i}",
            "subgroup": f"g{g}",
            "answer": CODES[int(probs[g, i].argmax())],
            "option_probs": probs[g, i].tolist(),
            "elicitation": "logprob",
        }
        for g in range(groups)
        for i in range(items)
    ]
    return kit.run_of(name, rows)


def around(centres, spread=0.9):
    """Distributions over five options with these centres on 0..4."""
    weights = np.exp(-(((STEPS - centres[..., None]) / spread) ** 2) / 2)
    return weights / weights.sum(axis=-1, keepdims=True)


def planted(seed, *, groups=18, items=14, factors=2, people=400):
    """True distributions with items that go together by `factors`, counts of a survey, and those of another half."""
    random = np.random.default_rng(seed)
    centres = 2 + 0.7 * random.normal(size=(groups, factors)) @ random.normal(size=(factors, items))
    truth = around(np.clip(centres, 0.3, 3.7))
    return truth, random.multinomial(people, truth), random.multinomial(people, truth)


def row_of(frame, run, measure, stratum="pooled"):
    return frame.filter((pl.col("run") == run) & (pl.col("measure") == measure) & (pl.col("stratum") == stratum)).row(0, named=True)


def test_position_means_by_hand(kit):
    counts = np.array([[[4, 0, 0, 0, 0], [1, 1, 1, 1, 4]], [[0, 0, 2, 2, 0], [0, 0, 0, 0, 3]]])
    dataset = world_of(kit, counts, levels=["ordinal", "binary"])
    means = gold_means(dataset, "paper", "test")
    # (0 + 1 + 2 + 3 + 16) / 8 / 4 = .6875; (2 + 3) / 2 / 4 = .625
    np.testing.assert_allclose(means.all, [[0, 0.6875], [0.625, 1]])
    run = kit.run_of(
        "m",
        [
            {"item": "Q0", "subgroup": "g0", "answer": 2},
            {"item": "Q0", "subgroup": "g0", "answer": 5, "sample": 1},
            {"item": "Q0", "subgroup": "g0", "answer": None, "sample": 2},
            {"item": "Q1", "subgroup": "g0", "answer": 1, "option_probs": [0.5, 0.0, 0.0, 0.0, 0.5]},
            {"item": "Q1", "subgroup": "g1", "answer": None},
        ],
    )
    # (1/4 + 1) / 2 over the valid answers; .5 of the distribution and not 0 of its mode; nothing; nothing.
    np.testing.assert_allclose(model_means(dataset, run.responses, means), [[0.625, 0.5], [np.nan, np.nan]])


def test_nominal_items_take_no_part(kit):
    _, counts, _ = planted(0)
    dataset = world_of(kit, counts, levels=["nominal"] * 2 + ["ordinal"] * 12)
    frame = structure(dataset, [stating(kit, "m", planted(0)[0])], bootstrap=0, permutations=0)
    assert set(frame["items"]) == {12}
    assert frame["left_out"].to_list() == [0] * 12
    only = world_of(kit, counts, levels=["nominal"] * 14)
    with pytest.raises(InputDataError, match="no pair of an ordinal or binary item"):
        structure(only, [])


def test_planted_structure_is_recovered_and_the_figures_are_those_of_numpy(kit):
    truth, counts, other = planted(1)
    frame = structure(world_of(kit, counts, half_b=other), [stating(kit, "truth", truth)], bootstrap=300, permutations=200)
    gold, half_b, model = (part @ STEPS / part.sum(axis=-1) / 4 for part in (counts, other, truth))
    of_model, of_gold, of_b = (upper(np.corrcoef(part.T)) for part in (model, gold, half_b))
    expected = {
        "item_correlations": (stats.pearsonr(of_model, of_gold).statistic, stats.pearsonr(of_gold, of_b).statistic),
        "item_congruence": tuple(part @ of_gold / np.sqrt(part @ part * (of_gold @ of_gold)) for part in (of_model, of_b)),
        "item_correlations_rmse": (np.sqrt(np.mean((of_model - of_gold) ** 2)), np.sqrt(np.mean((of_gold - of_b) ** 2))),
        "item_profiles": tuple(np.mean([stats.pearsonr(part[:, i], gold[:, i]).statistic for i in range(14)]) for part in (model, half_b)),
    }
    for measure, (value, bound) in expected.items():
        row = row_of(frame, "truth", measure)
        assert row["value"] == pytest.approx(value)
        assert row["bound"] == pytest.approx(bound)
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert (row["items"], row["left_out"], row["subgroups"]) == (14, 0, 18)
    assert row_of(frame, "truth", "item_correlations")["value"] > 0.95 > row_of(frame, "truth", "item_correlations")["null_high"]
    assert row_of(frame, "truth", "item_profiles")["value"] > 0.9 > row_of(frame, "truth", "item_profiles")["null_high"]
    # One stratum: pooled is the stratum, but for the shuffles and resamples drawn.
    fixed = ["measure", "value", "bound", "items", "left_out", "subgroups"]
    alone, pooled = (frame.filter(pl.col("stratum") == name).select(fixed) for name in ("s", "pooled"))
    assert alone.equals(pooled)


def test_a_model_that_knows_the_items_apart_but_not_together(kit):
    """Right variance of every item, subgroups shuffled item by item: no profile, no structure."""
    truth, counts, _ = planted(2, groups=40)
    random = np.random.default_rng(0)
    shuffled = np.stack([truth[random.permutation(40), i] for i in range(14)], axis=1)
    frame = structure(world_of(kit, counts), [stating(kit, "m", shuffled)], bootstrap=200, permutations=300)
    for measure in ("item_correlations", "item_congruence", "item_profiles"):
        row = row_of(frame, "m", measure)
        assert row["value"] < row["null_high"]
    assert row_of(frame, "m", "item_correlations_rmse")["value"] > 3 * row_of(frame, "m", "item_correlations_rmse")["bound"]


@pytest.mark.slow
def test_noise_passes_the_null_as_often_as_it_may(kit):
    """Sixty noise models: those above the 95 % point are no more than a binomial allows, and there are not suspiciously few."""
    _, counts, _ = planted(3)
    dataset = world_of(kit, counts)
    random = np.random.default_rng(1)
    runs = [stating(kit, f"noise{n}", around(2 + 0.7 * random.normal(size=counts.shape[:2]))) for n in range(60)]
    frame = structure(dataset, runs, bootstrap=0, permutations=200).filter(pl.col("stratum") == "pooled")
    for measure in ("item_correlations", "item_congruence", "item_profiles"):
        rows = frame.filter(pl.col("measure") == measure)
        above = int((rows["value"] > rows["null_high"]).sum())
        assert above <= stats.binom.ppf(0.999, 60, 0.05)
        assert abs(rows["value"].mean()) < 0.1


def test_strata_that_differ_make_no_structure_in_the_pool(kit):
    """Items move together from stratum to stratum and not at all within: pooled, the gold has no structure to agree with."""
    random = np.random.default_rng(4)
    strata = ["a"] * 15 + ["b"] * 15
    shift = np.where(np.array(strata) == "a", -0.9, 0.9)[:, None] * np.ones(12)
    shift[:, ::2] *= -1
    counts = random.multinomial(300, around(2 + shift + 0.3 * random.normal(size=(30, 12))))
    model = around(2 + shift + 0.3 * random.normal(size=(30, 12)))
    frame = structure(world_of(kit, counts, strata=strata), [stating(kit, "m", model)], bootstrap=0, permutations=200)
    assert frame["stratum"].unique(maintain_order=True).to_list() == ["a", "b", "pooled"]
    row = row_of(frame, "m", "item_correlations")
    assert row["value"] < max(0.3, row["null_high"])
    # Not centred, the same data would have agreed nearly perfectly.
    plain = [upper(np.corrcoef((part @ STEPS / part.sum(axis=-1)).T)) for part in (counts, model)]
    assert stats.pearsonr(*plain).statistic > 0.9


def correlations(frame):
    """The rows that correlate items; the others are distances between subgroups."""
    return frame.filter(pl.col("measure").is_in(MEASURES))


def test_items_without_variation_are_left_out_and_counted(kit):
    truth, counts, other = planted(5)
    same = truth.copy()
    same[:, :3] = same[0, :3]
    frame = correlations(structure(world_of(kit, counts, half_b=other), [stating(kit, "m", same)], bootstrap=10, permutations=10))
    assert set(zip(frame["items"], frame["left_out"], strict=True)) == {(11, 3)}
    nothing = correlations(structure(world_of(kit, counts), [stating(kit, "m", np.broadcast_to(truth[0], truth.shape))]))
    assert set(zip(nothing["items"], nothing["left_out"], strict=True)) == {(0, 14)}
    for column in ("value", "ci_low", "ci_high", "bound", "null_high"):
        assert nothing[column].null_count() == len(nothing)
    assert nothing["measure"].to_list() == [*MEASURES, *MEASURES]


def test_a_run_of_half_of_the_pairs_is_compared_on_what_it_answered(kit):
    truth, counts, _ = planted(6)
    run = stating(kit, "m", truth)
    half = SimpleNamespace(name="m", responses=run.responses.filter(pl.col("subgroup").is_in([f"g{g}" for g in range(9)])))
    frame = structure(world_of(kit, counts), [half], bootstrap=0, permutations=0)
    gold, model = (part[:9] @ STEPS / part[:9].sum(axis=-1) for part in (counts, truth))
    row = row_of(frame, "m", "item_correlations")
    assert row["value"] == pytest.approx(stats.pearsonr(upper(np.corrcoef(gold.T)), upper(np.corrcoef(model.T))).statistic)
    assert row["subgroups"] == 9
    assert row["ci_low"] is None
    assert row["null_high"] is None


def test_small_strata_have_rows_without_figures(kit):
    truth, counts, _ = planted(7, groups=14)
    strata = ["tiny"] * 2 + ["s"] * 12
    frame = structure(world_of(kit, counts, strata=strata), [stating(kit, "m", truth)], bootstrap=20, permutations=20)
    tiny = correlations(frame).filter(pl.col("stratum") == "tiny")
    assert tiny["value"].to_list() == [None] * 4
    assert tiny["left_out"].to_list() == [14] * 4
    assert row_of(frame, "m", "item_profiles")["subgroups"] == 14
    assert frame.columns == list(STRUCTURE.columns)
    assert not any(frame.select(pl.col(pl.Float64).is_nan().any()).row(0))


def test_disjoint_splits_are_scored_against_half_b(kit):
    truth, counts, other = planted(8)
    dataset = world_of(kit, counts, half_b=other)
    frame = structure(dataset, [stating(kit, "m", truth)], split="paper+disjoint", bootstrap=0, permutations=0)
    half_b, model = (part @ STEPS / part.sum(axis=-1) for part in (other, truth))
    expected = stats.pearsonr(upper(np.corrcoef(half_b.T)), upper(np.corrcoef(model.T))).statistic
    assert row_of(frame, "m", "item_correlations")["value"] == pytest.approx(expected)


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 1000))
def test_names_scale_and_polarity_change_nothing(kit, seed):
    """Items and subgroups in another order, a model half as far from the middle, and some items coded the other way round.

    Turning items round moves the Pearson correlation of the entries, which is why congruence stands beside it.
    """
    random = np.random.default_rng(seed)
    counts = random.multinomial(60, np.full(5, 0.2), size=(8, 7))
    probs = random.dirichlet(np.ones(5), size=(8, 7))
    rows, columns = random.permutation(8), random.permutation(7)

    def values(turned):
        found = []
        for part in (counts, 0.5 * probs + 0.1):
            found.append(np.where(turned[None, :, None], part[..., ::-1], part)[rows][:, columns])
        frame = structure(world_of(kit, found[0]), [stating(kit, "m", found[1])], bootstrap=0, permutations=0)
        return frame.filter(pl.col("stratum") == "pooled")["value"].to_numpy()

    plain = structure(world_of(kit, counts), [stating(kit, "m", probs)], bootstrap=0, permutations=0)
    # Only the distances are halved.
    halved = np.array([0.5 if measure == "gap_inflation" else 1.0 for measure in (*MEASURES, *GAPS)])
    plain = plain.filter(pl.col("stratum") == "pooled")["value"].to_numpy() * halved
    np.testing.assert_allclose(values(np.zeros(7, dtype=bool)), plain, atol=1e-9)
    np.testing.assert_allclose(values(random.random(7) < 0.5)[1:], plain[1:], atol=1e-9)


def test_seeds_are_explicit_and_bad_calls_named(kit):
    truth, counts, _ = planted(9, groups=8, items=8)
    dataset, runs = world_of(kit, counts), [stating(kit, "m", truth)]
    first, again, other = (structure(dataset, runs, bootstrap=50, permutations=50, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)
    with pytest.raises(UsageError):
        structure(dataset, runs, bootstrap=-1)
    with pytest.raises(UsageError):
        structure(dataset, runs, confidence=1.0)


# --------------------------------------------------------------------------------------------------------------- spread


@pytest.mark.parametrize(
    ("raw", "corrected", "word"),
    [
        ((0.5, 0.4, 0.6), (0.7, 0.6, 0.9), "flattened"),
        # Below 1 only before the noise of the labels is taken out.
        ((0.5, 0.4, 0.6), (0.9, 0.7, 1.1), "indistinguishable from 1"),
        ((1.5, 1.2, 1.8), (1.9, 1.6, 2.2), "exaggerated"),
        # Above 1 only after.
        ((1.1, 0.9, 1.3), (1.5, 1.2, 1.8), "indistinguishable from 1"),
        ((0.5, None, None), (0.7, None, None), "not known"),
        ((1.5, 1.2, 1.8), (None, None, None), "exaggerated"),
        ((0.5, 0.4, 0.6), (None, None, None), "not known"),
    ],
)
def test_spread_by_attribute(raw, corrected, word):
    plain = {"run": "m", "scheme": "paper", "part": "test", "by": "attribute", "key": "sex", "pairs": 10}
    rows = [
        plain | {"metric": metric} | dict(zip(("value", "ci_low", "ci_high"), figures, strict=True))
        for metric, figures in (("spread_ratio", raw), ("spread_ratio_corrected", corrected))
    ]
    elsewhere = [rows[0] | {"by": "all", "key": "all"}, rows[0] | {"key": "age", "against": "x"}]
    frame = spread_by_attribute(SCORES.frame([*rows, *elsewhere]))
    assert frame.select("run", "attribute", "raw", "corrected", "pairs", "word").rows() == [("m", "sex", raw[0], corrected[0], 10, word)]


# ------------------------------------------------------------------------------------------------ distances of subgroups


def test_distances_and_highest_segments_by_hand():
    """Three segments and four items: one tie for the highest, one unknown cell, one item without a second segment."""
    positions = np.array([[0.2, 0.5, np.nan, 0.4], [0.8, 0.5, 0.1, np.nan], [0.5, 0.0, 0.3, np.nan]])
    np.testing.assert_allclose(segment_gaps(positions), [0.6, 0.5, 0.2, np.nan])
    np.testing.assert_array_equal(highest_segments(positions), [[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]])
    gold = highest_segments(np.array([[0.1, 0.9, 0.2, 0.3], [0.2, 0.1, 0.3, 0.4], [0.1, 0.3, 0.3, 0.2]]))
    # Right; one of the two tied is right; one of the gold's two tied; wrong.
    np.testing.assert_allclose(wrong_segments(highest_segments(positions), gold), [0, 0.5, 0, 1])
    np.testing.assert_allclose(wrong_segments(highest_segments(np.zeros((3, 4))), gold), [2 / 3, 2 / 3, 1 / 3, 2 / 3])


def ends_differ(first, second):
    """How often two grids without ties differ on the highest and the lowest subgroup."""
    return np.mean([one.argmax(axis=0) != other.argmax(axis=0) for one, other in ((first, second), (-first, -second))])


def gap_rows(frame, run="m", stratum="pooled"):
    rows = frame.filter(pl.col("measure").is_in(GAPS), pl.col("run") == run, pl.col("stratum") == stratum)
    return {row["measure"]: row for row in rows.iter_rows(named=True)}


def test_a_model_that_doubles_the_distances_names_the_right_segments(kit):
    _, counts, _ = planted(9)
    means = counts @ STEPS / counts.sum(axis=-1)
    doubled = around(means.mean(axis=0) + 1.5 * (means - means.mean(axis=0)))
    frame = structure(world_of(kit, counts), [stating(kit, "m", doubled)], bootstrap=200, permutations=100)
    wide, model = gap_rows(frame), doubled @ STEPS
    assert wide["gap_inflation"]["value"] == pytest.approx(np.median(np.ptp(model, axis=0) / np.ptp(means, axis=0)))
    assert wide["gap_inflation"]["ci_low"] <= wide["gap_inflation"]["value"] <= wide["gap_inflation"]["ci_high"]
    assert wide["gap_inflation"]["value"] > 1.2
    assert wide["wrong_segment"]["value"] == ends_differ(model, means) < wide["wrong_segment"]["null_high"]


def test_a_model_without_personas_has_no_distances_and_is_right_by_chance(kit):
    truth, counts, _ = planted(10)
    flat = np.broadcast_to(truth[0], truth.shape)
    strata = ["a"] * 6 + ["b"] * 12
    rows = gap_rows(structure(world_of(kit, counts, strata=strata), [stating(kit, "m", flat)], bootstrap=50, permutations=20))
    assert (rows["gap_inflation"]["value"], rows["gap_inflation"]["items"]) == (0, 14)
    # Half of the entries are of a stratum of 6 subgroups, half of one of 12.
    # A few of the gold's subgroups tie, and then more than one is right.
    assert 1 - (1 / 6 + 1 / 12) / 2 - 0.01 < rows["wrong_segment"]["value"] <= 1 - (1 / 6 + 1 / 12) / 2


def test_the_bound_of_segments_is_the_disagreement_of_the_halves(kit):
    truth, counts, other = planted(11)
    rows = gap_rows(structure(world_of(kit, counts, half_b=other), [stating(kit, "m", truth)], bootstrap=0, permutations=0))
    first, second = (part @ STEPS / part.sum(axis=-1) for part in (counts, other))
    assert rows["wrong_segment"]["bound"] == ends_differ(first, second)
    assert rows["gap_inflation"]["bound"] == pytest.approx(np.median(np.ptp(first, axis=0) / np.ptp(second, axis=0)))
    assert rows["wrong_segment"]["ci_low"] is None


def test_entries_between_copies_of_a_block_are_deleted():
    """A resample that contains blocks 0, 0 and 1: items of the two copies of block 0 are not paired with each other."""
    rng = np.random.default_rng(8)
    blocks = np.array([0, 1, 0, 1, 2])
    x, y = (np.corrcoef(rng.normal(size=(5, 9))) for _ in range(2))
    copies = [(0, (0, 2)), (1, (0, 2)), (2, (1, 3))]
    drawn = [(copy, item) for copy, items in copies for item in items]
    pairs = [
        (i, j)
        for a, (copy, i) in enumerate(drawn)
        for b, (other, j) in enumerate(drawn)
        if a != b and (copy == other or blocks[i] != blocks[j])
    ]
    left, right = (np.array([matrix[pair] for pair in pairs]) for matrix in (x, y))
    found = agreement(x, y, np.array([[2.0, 1.0, 2.0, 1.0, 0.0]]), blocks)
    assert found.pearson[0] == pytest.approx(np.corrcoef(left, right)[0, 1])
    assert found.congruence[0] == pytest.approx((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum()))
    assert found.rmse[0] == pytest.approx(np.sqrt(np.mean((left - right) ** 2)))
    single = agreement(x, y, np.array([[2.0, 1.0, 0.0, 1.0, 1.0]]), np.arange(5))
    assert single.pearson == pytest.approx(agreement(x, y, np.array([[2.0, 1.0, 0.0, 1.0, 1.0]])).pearson)
