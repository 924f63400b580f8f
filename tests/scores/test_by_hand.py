"""Tables small enough to work out on paper; the working stands beside each number."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from valuestrata import measures
from valuestrata.errors import InputDataError, UsageError
from valuestrata.scores import METRICS, SCORES, pair_scores, score

ITEMS = {"Q1": ("work", "ordinal", [1, 2, 3, 4, 5]), "Q2": ("faith", "nominal", [1, 2, 3])}
SEXES = {"sex_F": ("sex", {"sex": "F"}), "sex_M": ("sex", {"sex": "M"})}
COUNTS = {
    ("Q1", "sex_F"): [1, 2, 5, 1, 1],  # mode 3
    ("Q1", "sex_M"): [4, 4, 1, 1, 0],  # modes 1 and 2, the lower is the mode
    ("Q2", "sex_F"): [6, 3, 1],  # mode 1
    ("Q2", "sex_M"): [2, 3, 5],  # never asked
}
ROWS = [
    {"item": "Q1", "subgroup": "sex_F", "answer": 5},
    {"item": "Q1", "subgroup": "sex_M", "answer": 2, "sample": 0},
    {"item": "Q1", "subgroup": "sex_M", "answer": None, "sample": 1, "template": "third"},
    {"item": "Q2", "subgroup": "sex_F", "answer": 1},
]


def test_the_metrics_of_three_pairs(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS))
    pairs = {row["pair_id"]: row for row in pair_scores(dataset, kit.respond(ROWS)).iter_rows(named=True)}
    assert list(pairs) == ["Q1_sex_F", "Q1_sex_M", "Q2_sex_F"]
    woman = pairs["Q1_sex_F"]
    assert (woman["accuracy"], woman["accuracy_expected"], woman["accuracy_set"]) == (0, 0, 0)
    assert (woman["nmae"], woman["bias"]) == (0.5, 0.5)  # (4 - 2) / 4
    man = pairs["Q1_sex_M"]
    assert (man["responses"], man["valid"]) == (2, 1)
    assert (man["accuracy"], man["accuracy_valid"]) == (0, 0)  # 2 is tied, but not the lowest
    assert man["accuracy_set"] == 0.5  # 1 for the answer, 0 for the refusal
    assert man["accuracy_expected"] == 0.25  # (.5 + 0) / 2
    assert man["nmae"] == 0.625  # (.25 + 1) / 2
    assert (man["nmae_valid"], man["bias"]) == (0.25, 0.25)
    assert (man["refusal_rate"], man["invalid_rate"]) == (0.5, 0)
    faith = pairs["Q2_sex_F"]
    assert (faith["accuracy"], faith["accuracy_valid"]) == (1, 1)
    for metric in ("nmae", "nmae_valid", "bias", "w1", "rps", "floor_nmae"):
        assert faith[metric] is None


def test_the_table_of_scores(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS))
    scores = score(dataset, [kit.run_of("model", ROWS)], bootstrap=0)
    assert scores.columns == list(SCORES.columns)
    value = lambda *where: kit.value_of(scores, *where)  # noqa: E731
    assert value("accuracy") == pytest.approx(1 / 3)
    assert value("accuracy_set") == pytest.approx(1.5 / 3)
    assert value("accuracy_expected") == pytest.approx(1.25 / 3)
    assert value("nmae") == pytest.approx(1.125 / 2)  # two ordinal pairs
    assert value("nmae_valid") == pytest.approx(0.375)
    assert value("bias") == pytest.approx(0.375)
    assert value("refusal_rate") == pytest.approx(0.5 / 3)
    # Answers at 1 and 1/4: variance .75^2 / 2. Modes at 1/2 and 0: .5^2 / 2.
    assert value("spread_ratio") == pytest.approx(2.25)
    assert kit.value_of(scores, "accuracy", column="pairs") == 3
    assert kit.value_of(scores, "nmae", column="pairs") == 2
    assert kit.value_of(scores, "accuracy", column="coverage") == 0.75
    assert value("accuracy", "level", "sex=F") == 0.5
    assert value("accuracy", "attribute", "sex") == pytest.approx(1 / 3)
    assert value("accuracy", "stratum", "sex") == pytest.approx(1 / 3)
    assert value("accuracy", "subgroup", "sex_M") == 0
    assert kit.value_of(scores, "accuracy", "subgroup", "sex_M", "coverage") == 0.5
    assert value("accuracy", "topic", "faith") == 1
    assert value("nmae", "topic", "faith") is None
    assert value("nmae", "item", "Q1") == pytest.approx(1.125 / 2)
    assert value("spread_ratio", "subgroup", "sex_M") is None
    assert set(scores["template"]) == {"default+third"}
    assert set(scores["elicitation"]) == {"text"}
    assert scores["metric"].unique(maintain_order=True).to_list() == list(METRICS)
    assert scores["ci_low"].null_count() == len(scores)


def test_ceilings_and_floors_are_means_over_the_scored_pairs(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, p_mode={("Q1", "sex_F"): [0.0, 0.25, 0.75, 0.0, 0.0]}))
    scores = score(dataset, [kit.run_of("model", ROWS)], bootstrap=0)
    # Oracle: .75, .5 (a tie) and 1; Q2 of men was never asked. Human: .0625 + .5625, .5, 1.
    assert kit.value_of(scores, "ceiling_oracle") == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert kit.value_of(scores, "ceiling_human") == pytest.approx((0.625 + 0.5 + 1) / 3)
    # Q1: .25 * 1/4 for women; half the chance at distance 1/4 for men.
    assert kit.value_of(scores, "floor_nmae") == pytest.approx((0.0625 + 0.125) / 2)
    assert kit.value_of(scores, "floor_w1", column="pairs") == 2


def test_the_corrected_spread_takes_the_noise_of_the_modes_out(kit):
    draws = {
        ("Q1", "sex_F"): [2, 2, 2, 4],
        ("Q1", "sex_M"): [0, 1, 0, 1],
        ("Q2", "sex_F"): [0, 0, 0, 0],
        ("Q2", "sex_M"): [2, 2, 2, 2],
    }
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, draws))
    scores = score(dataset, [kit.run_of("model", ROWS)], bootstrap=0)
    # Differences women - men by draw: 1/2, 1/4, 1/2, 3/4; variance d^2 / 2: .125, .03125, .125, .28125, mean .140625.
    # Mean modes 5/8 and 1/8: variance .125. Noise .015625, denominator .125 - .015625 = .109375.
    assert kit.value_of(scores, "spread_ratio_corrected") == pytest.approx(0.28125 / 0.109375)
    assert kit.value_of(scores, "spread_ratio") == pytest.approx(2.25)
    assert kit.value_of(scores, "spread_ratio_corrected", "item", "Q1") == pytest.approx(0.28125 / 0.109375)
    fewer = score(dataset, [kit.run_of("model", ROWS)], bootstrap=3)
    assert kit.value_of(fewer, "spread_ratio_corrected") == pytest.approx(0.28125 / 0.109375)


def test_the_corrected_spread_is_null_where_the_modes_are_all_noise(kit):
    counts = {("Q1", "sex_F"): [1, 2, 5, 1, 1], ("Q1", "sex_M"): [1, 5, 1, 1, 1]}
    draws = {("Q1", "sex_F"): [0, 4, 0, 4], ("Q1", "sex_M"): [4, 0, 4, 0]}
    dataset = kit.build(kit.World({"Q1": ITEMS["Q1"]}, SEXES, counts, draws))
    scores = score(dataset, [kit.run_of("model", ROWS[:2])], bootstrap=0)
    assert kit.value_of(scores, "spread_ratio") is not None
    assert kit.value_of(scores, "spread_ratio_corrected") is None


BINARY = {"Q": ("t", "binary", [0, 1])}
ONE = {"g": ("s", {"sex": "F"})}


def test_distances_of_a_distribution(kit):
    dataset = kit.build(kit.World(BINARY, ONE, {("Q", "g"): [1, 9]}))
    asked = {"item": "Q", "subgroup": "g", "elicitation": "logprob"}
    rows = [asked | {"answer": 0, "option_probs": [0.9, 0.1], "option_mass": 0.4}]
    pair = pair_scores(dataset, kit.respond(rows)).row(0, named=True)
    assert pair["w1"] == pytest.approx(0.8)
    assert pair["rps"] == pytest.approx(0.64)
    assert pair["tv"] == pytest.approx(0.8)
    assert pair["jsd"] == pytest.approx(1 - 0.4689955936)  # H(.5, .5) - H(.1, .9)
    assert pair["option_mass"] == pytest.approx(0.4)
    # A second, refused: as far away as can be. No mass was measured there.
    pair = pair_scores(dataset, kit.respond([*rows, asked | {"answer": None, "sample": 1}])).row(0, named=True)
    assert pair["w1"] == pytest.approx((0.8 + 1) / 2)
    assert pair["jsd"] == pytest.approx((2 - 0.4689955936) / 2)
    assert pair["option_mass"] == pytest.approx(0.4)


def test_ten_samples_make_a_distribution_and_nine_do_not(kit):
    dataset = kit.build(kit.World(BINARY, ONE, {("Q", "g"): [5, 5]}))
    rows = [{"item": "Q", "subgroup": "g", "sample": n, "answer": a} for n, a in enumerate([0] * 5 + [1] * 3 + [None] * 2)]
    pair = pair_scores(dataset, kit.respond(rows)).row(0, named=True)
    # Valid answers .625 and .375 against .5 and .5: .125 for eight tenths, 1 for two tenths.
    assert pair["tv"] == pytest.approx(0.8 * 0.125 + 0.2)
    assert pair["w1"] == pytest.approx(0.3)
    assert pair["rps"] == pytest.approx(0.8 * 0.125**2 + 0.2)
    assert pair_scores(dataset, kit.respond(rows[:9])).row(0, named=True)["tv"] is None
    refused = [row | {"answer": None} for row in rows]
    assert pair_scores(dataset, kit.respond(refused)).row(0, named=True)["tv"] == 1


def test_the_excess_of_w1_from_few_samples_by_hand(kit):
    items, cells = {"Q1": ("t", "ordinal", [1, 2, 3])}, {"s_a": ("s", {"sex": "a"})}
    dataset = kit.build(kit.World(items, cells, {("Q1", "s_a"): [4, 4, 2]}))
    asked = [
        {"item": "Q1", "subgroup": "s_a", "sample": at, "answer": answer} for at, answer in enumerate([1] * 3 + [2] * 5 + [3] + [None] * 3)
    ]
    # Nine valid answers of twelve, with cumulative shares 1/3 and 8/9.
    expected = 0.75 * sum(math.sqrt(2 / math.pi * f * (1 - f) / 8) for f in (1 / 3, 8 / 9)) / 2
    (found,) = pair_scores(dataset, kit.respond(asked)).to_dicts()
    assert found["w1_sampling"] == pytest.approx(expected)
    (few,) = pair_scores(dataset, kit.respond(asked[:9])).to_dicts()
    assert few["w1_sampling"] is None
    (stated,) = pair_scores(dataset, kit.respond([asked[0] | {"option_probs": [0.2, 0.5, 0.3]}])).to_dicts()
    assert stated["w1_sampling"] is None


@pytest.mark.parametrize("apart", [0.0, 0.3, 0.8])
def test_the_excess_of_w1_from_few_samples_in_a_world_whose_truth_is_known(kit, apart):
    """The gold is known exactly, and the model's distribution is a mixture of it and of another one."""
    random = np.random.default_rng(7)
    items = {f"Q{i}": ("t", "ordinal", [1, 2, 3, 4, 5]) for i in range(40)}
    cells = {f"s_{name}": ("s", {"sex": name}) for name in "abcde"}
    shares = {(item, cell): random.multinomial(1000, random.dirichlet(np.full(5, 2.0))) / 1000 for item in items for cell in cells}
    other = {pair: random.dirichlet(np.full(5, 2.0)) for pair in shares}
    dataset = kit.build(kit.World(items, cells, {pair: (1000 * share).tolist() for pair, share in shares.items()}))
    rows, true = [], []
    for pair, share in shares.items():
        own = (1 - apart) * share + apart * other[pair]
        true.append(float(measures.w1(own, share)))
        for at, answer in enumerate(random.choice(5, 20, p=own / own.sum()) + 1):
            rows.append({"item": pair[0], "subgroup": pair[1], "sample": at, "answer": int(answer)})
    found = pair_scores(dataset, kit.respond(rows))
    excess, most = found["w1"].mean() - float(np.mean(true)), found["w1_sampling"].mean()
    assert 0 < excess < 1.08 * most
    # All of it for a model that answers as the subgroups do, and little where it is far from them.
    assert excess > 0.92 * most if apart == 0 else excess < (0.85 if apart < 0.5 else 0.6) * most


def test_a_refused_text_answer_has_no_distribution_to_miss(kit):
    dataset = kit.build(kit.World(BINARY, ONE, {("Q", "g"): [5, 5]}))
    pair = pair_scores(dataset, kit.respond([{"item": "Q", "subgroup": "g", "answer": None}])).row(0, named=True)
    assert pair["tv"] is None
    assert (pair["accuracy"], pair["nmae"], pair["refusal_rate"]) == (0, 1, 1)
    assert (pair["accuracy_valid"], pair["nmae_valid"], pair["bias"]) == (None, None, None)


def test_codes_that_do_not_start_at_one_are_positions(kit):
    dataset = kit.build(kit.World({"Q": ("t", "ordinal", [-1, 0, 1])}, ONE, {("Q", "g"): [7, 2, 1]}))
    pair = pair_scores(dataset, kit.respond([{"item": "Q", "subgroup": "g", "answer": 1}])).row(0, named=True)
    assert (pair["nmae"], pair["bias"]) == (1, 1)


def test_reversed_scale_order_is_what_counts(kit):
    # Scale order 3, 1, 2: answer 2 stands two steps from 3, answer 1 one step.
    dataset = kit.build(kit.World({"Q": ("t", "ordinal", [3, 1, 2])}, ONE, {("Q", "g"): [7, 2, 1]}))
    near = pair_scores(dataset, kit.respond([{"item": "Q", "subgroup": "g", "answer": 1}])).row(0, named=True)
    far = pair_scores(dataset, kit.respond([{"item": "Q", "subgroup": "g", "answer": 2}])).row(0, named=True)
    assert (near["nmae"], far["nmae"]) == (0.5, 1)


def test_disjoint_schemes_test_on_half_b_and_train_on_half_a(kit):
    world = kit.World(
        BINARY,
        {"g": ("s", {"sex": "F"}), "h": ("s", {"sex": "M"})},
        {("Q", "g"): [9, 1], ("Q", "h"): [9, 1]},
        schemes=("paper", "paper+disjoint"),
        half_b={("Q", "g"): [1, 9], ("Q", "h"): [1, 9]},
        parts={("Q", "h"): "train"},
    )
    run = kit.run_of("m", [{"item": "Q", "subgroup": s, "answer": 0} for s in ("g", "h")])
    value = lambda **where: kit.value_of(score(kit.build(world), [run], bootstrap=0, **where), "accuracy")  # noqa: E731
    assert value() == 1
    assert value(split="paper+disjoint") == 0
    assert value(split="paper+disjoint", part="train") == 1
    assert value(split="paper+disjoint", part="all") == 0.5


def test_folds_are_pooled_and_each_pair_counts_once(kit):
    counts = {("Q", "g"): [9, 1], ("Q", "h"): [1, 9]}
    subgroups = {"g": ("s", {"sex": "F"}), "h": ("s", {"sex": "M"})}
    dataset = kit.build(kit.World(BINARY, subgroups, counts, folds={("Q", "g"): [0, 1], ("Q", "h"): [1]}))
    run = kit.run_of("m", [{"item": "Q", "subgroup": s, "answer": 0} for s in ("g", "h")])
    pooled = score(dataset, [run], bootstrap=0)
    assert (kit.value_of(pooled, "accuracy"), kit.value_of(pooled, "accuracy", column="pairs")) == (0.5, 2)
    assert pooled["fold"].null_count() == len(pooled)
    first = score(dataset, [run], fold=0, bootstrap=0)
    assert (kit.value_of(first, "accuracy"), kit.value_of(first, "accuracy", column="fold")) == (1, 0)


def test_only_the_part_asked_for_is_scored(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS, parts={("Q1", "sex_F"): "train"}))
    scores = score(dataset, [kit.run_of("m", ROWS)], part="train", bootstrap=0, by=("all", "item"))
    assert scores["key"].unique().sort().to_list() == ["Q1", "all"]
    assert kit.value_of(scores, "nmae") == 0.5


def test_a_run_that_answered_nothing_of_the_part_is_a_row_of_nulls(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS))
    scores = score(dataset, [kit.run_of("m", kit.respond([]))], bootstrap=20)
    assert scores["value"].null_count() == len(scores)
    assert set(scores["pairs"]) == {0}
    assert set(scores["coverage"]) == {0.0}


def test_a_longer_scale_that_was_never_asked_leaves_the_others_alone(kit):
    items = {"Q0": ("t", "ordinal", [1, 2, 3, 4, 5, 6, 7, 8, 9]), "Q1": ("t", "binary", [0, 1]), "Q2": ("t", "binary", [0, 1])}
    counts = {("Q0", "g"): [0, 0, 1, 0, 0, 0, 0, 0, 1], ("Q1", "g"): [1, 9], ("Q2", "g"): [9, 1]}
    draws = {("Q0", "g"): [8, 2], ("Q1", "g"): [1, 1], ("Q2", "g"): [0, 0]}
    dataset = kit.build(kit.World(items, ONE, counts, draws))
    scores = score(dataset, [kit.run_of("m", [{"item": q, "subgroup": "g", "answer": 1} for q in ("Q1", "Q2")])], bootstrap=20)
    assert kit.value_of(scores, "accuracy") == 0.5
    assert kit.value_of(scores, "accuracy", "item", "Q1", "ci_low") == 1
    assert kit.value_of(scores, "accuracy", "item", "Q0") is None


def test_what_is_refused(kit):
    dataset = kit.build(kit.World(ITEMS, SEXES, COUNTS))
    run = kit.run_of("m", ROWS)
    with pytest.raises(UsageError, match="topic"):
        score(dataset, [run], by=("topics",))
    with pytest.raises(UsageError, match="named 'm'"):
        score(dataset, [run, run])
    with pytest.raises(UsageError, match="confidence"):
        score(dataset, [run], confidence=95)
    with pytest.raises(UsageError, match="negative"):
        score(dataset, [run], bootstrap=-1)
    with pytest.raises(UsageError, match=r"no split 'papr'\. Did you mean 'paper'"):
        score(dataset, [run], split="papr")
    with pytest.raises(InputDataError, match="no pair with gold in the part 'validation'"):
        score(dataset, [run], part="validation")
    with pytest.raises(InputDataError, match="Q9_sex_F"):
        pair_scores(dataset, kit.respond([{"item": "Q9", "subgroup": "sex_F", "answer": 1}]))
    # A pair that nobody of half B answered has no gold there; that is not a run of another data set.
    halved = replace(dataset, gold=dataset.gold.filter((pl.col("half") != "B") | (pl.col("pair_id") != "Q1_sex_F")))
    one = kit.respond([{"item": "Q1", "subgroup": "sex_F", "answer": 1}])
    assert pair_scores(halved, one, half="B").is_empty()
    assert len(pair_scores(halved, one, half="A")) == 1
    with pytest.raises(InputDataError, match="9 is not a code of the item 'Q1'"):
        pair_scores(dataset, kit.respond([{"item": "Q1", "subgroup": "sex_F", "answer": 9}]))
    with pytest.raises(InputDataError, match="None is not a code"):
        pair_scores(dataset, kit.respond([{"item": "Q1", "subgroup": "sex_F", "answer": None, "status": "answered"}]))
    with pytest.raises(InputDataError, match="2 probabilities, the item has 5 options"):
        pair_scores(dataset, kit.respond([{"item": "Q1", "subgroup": "sex_F", "answer": 1, "option_probs": [0.5, 0.5]}]))
    with pytest.raises(InputDataError, match="'status'"):
        score(dataset, [kit.run_of("m", run.responses.drop("status"))])
    lame = kit.build(kit.World(ITEMS, SEXES, COUNTS, {("Q1", "sex_F"): [1, 1]}))
    with pytest.raises(InputDataError, match=r"mode_draws\.parquet, column draws: 3 of 4 pairs do not have 2 draws"):
        score(lame, [run])


def test_no_runs_give_an_empty_table(kit):
    scores = score(kit.build(kit.World(ITEMS, SEXES, COUNTS)), [])
    assert isinstance(scores, pl.DataFrame)
    assert scores.columns == list(SCORES.columns)
    assert scores.is_empty()
