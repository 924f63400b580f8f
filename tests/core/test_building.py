"""Ids, strata, splits, leakage, landscape and baselines on surveys whose answers are known."""

import numpy as np
import polars as pl
import pytest

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build, paper_preset, preview
from valuestrata.dataset.landscape import by_topic
from valuestrata.dataset.subgroups import make_strata, merge_levels, pair_id
from valuestrata.dataset.tables import load_dataset, write_dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.base import Message, Prompt
from valuestrata.respondents.baselines import PARENT_PRIOR, make_baseline, nearest_parent, pooled, training_gold

LOOSE = BuildSettings(min_respondents=1, min_valid=1, draws=20)


def test_pair_ids_are_those_of_the_published_outputs():
    sex = attribute("sex", ["Male", "Female"])
    age = attribute("age_group", ["16-24 years"], "age")
    ethnicity = attribute("ethnicity", ["SG: Chinese"])
    religion = attribute("religion", ["Do not belong to a denomination"])
    made = build(
        survey([item("Q1", 4)], [sex, age, ethnicity, religion], [[0], [1], [1]], [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]), LOOSE
    )
    ids = set(made.gold["pair_id"])
    assert {
        "Q1_sex_Female",
        "Q1_age_group_16-24-years",
        "Q1_sex_x_age_Female_16-24-years",
        "Q1_ethnicity_SG:-Chinese",
        "Q1_religion_Do-not-belong-to-a-denomination",
    } <= ids


def test_strata_are_singles_and_all_pairs_in_order_and_triples_on_request():
    attributes = [attribute("sex", ["a"]), attribute("age_group", ["b"], "age"), attribute("religion", ["c"])]
    names = [s.name for s in make_strata(attributes)]
    assert names == ["all", "sex", "age_group", "religion", "sex_x_age", "sex_x_religion", "age_x_religion"]
    assert make_strata(attributes, order=3)[-1].name == "sex_x_age_x_religion"
    assert [s.name for s in make_strata(attributes, names=["religion_x_age", "age"])] == ["all", "age_group", "age_x_religion"]
    with pytest.raises(UsageError, match="Did you mean 'sex_x_age'"):
        make_strata(attributes, names=["sex_x_agee"])


def test_two_subgroups_of_one_id_are_refused():
    levels = ["a b", "a-b"]
    made = survey([item("Q1", 2)], [attribute("sex", levels)], [[0], [1]], [[0], [1]])
    with pytest.raises(InputDataError, match="sex_a-b"):
        build(made, LOOSE)


def test_subgroups_below_the_minimum_are_dropped_and_counted():
    people = random_survey(200, 1)
    settings = BuildSettings(min_respondents=40, min_valid=1, draws=10)
    made = build(people, settings)
    assert made.subgroups.filter(pl.col("stratum") != "all")["n"].min() >= 40
    table = preview(people, settings)
    assert table["cells_kept"].sum() == made.meta["counts"]["subgroups"]
    assert table["cells_dropped"].sum() == made.meta["counts"]["subgroups_dropped"]
    assert table["pairs_kept"].sum() == made.meta["counts"]["pairs"]
    with pytest.raises(InputDataError, match="no subgroup has 5000 respondents"):
        build(people, BuildSettings(min_respondents=5000))


def test_valid_answers_are_judged_by_n_eff_when_weighted():
    # 40 answers, of which one carries nearly all the weight: Kish n_eff is close to 1.
    weight = np.ones(40)
    weight[0] = 10_000
    made = survey([item("Q1", 2)], [attribute("sex", ["a", "b"])], [[i % 2] for i in range(40)], [[0]] * 40, weight)
    with pytest.raises(InputDataError, match="valid answers"):
        build(made, BuildSettings(min_respondents=30, min_valid=30, draws=10))
    assert build(made, paper_preset(BuildSettings(min_valid=30, draws=10)).__class__(weighted=False, draws=10)).meta["counts"]["pairs"] == 1


def test_equal_weights_reach_the_minimum_as_heads_do():
    # (30 * 0.7)^2 / (30 * 0.49) comes to 29.99999999999996 in floating point; the other sex keeps the weight from being constant.
    weight = [0.7] * 30 + [1.1] * 30
    made = survey([item("Q1", 2)], [attribute("sex", ["a", "b"])], [[0]] * 60, [[0]] * 30 + [[1]] * 30, weight)
    built = build(made, BuildSettings(min_respondents=30, min_valid=30, draws=10))
    assert built.gold.filter((pl.col("half") == "all") & pl.col("subgroup").str.starts_with("sex"))["n_eff"].to_list() == [30, 30]


def test_a_half_whose_answers_weigh_nothing_has_no_gold():
    made = survey([item("Q1", 2)], [attribute("sex", ["a"])], [[0], [1]], [[0], [0]], [1.0, 0.0])
    gold = build(made, LOOSE).gold.filter(pl.col("subgroup") == "sex_a")
    assert gold["half"].to_list() in (["all", "A"], ["all", "B"])
    assert gold["modes"].to_list() == [[1], [1]]


def test_a_half_that_answered_no_item_of_a_kind_has_no_gold_of_it():
    # Q2, the only item of three codes, has one answer: one half has none.
    made = survey([item("Q1", 2), item("Q2", 3)], [attribute("sex", ["a"])], [[0, 2], [1, -1], [0, -1]], [[0]] * 3)
    built = build(made, LOOSE)
    halves = built.gold.filter((pl.col("item") == "Q2") & (pl.col("subgroup") == "sex_a"))["half"].to_list()
    assert halves in (["all", "A"], ["all", "B"])
    assert len(built.mode_draws) == len(built.gold)


def test_a_survey_that_nobody_answered_is_refused():
    made = survey([item("Q1", 2), item("Q2", 3)], [attribute("sex", ["a"])], [[-1, -2]] * 3, [[0]] * 3)
    with pytest.raises(InputDataError, match="no pair has 1 valid answers"):
        build(made, LOOSE)


def test_one_published_cell_under_ten_answers_is_not_shareable():
    levels = [[i % 2] for i in range(200)]
    everyone = survey([item("Q1", 2)], [attribute("sex", ["a", "b"])], [[0]] * 200, levels)
    assert build(everyone, BuildSettings(draws=10)).meta["shareable"]
    # Q2 has no pair, but what nine people said stands in the row of the nation.
    few = survey([item("Q1", 2), item("Q2", 2)], [attribute("sex", ["a", "b"])], [[0, 0 if i < 9 else -1] for i in range(200)], levels)
    built = build(few, BuildSettings(draws=10))
    assert built.gold.filter((pl.col("item") == "Q2") & (pl.col("half") == "all"))["subgroup"].to_list() == ["all"]
    assert not built.meta["shareable"]


def test_a_data_set_survives_the_disk(tmp_path):
    made = build(random_survey(120, 2), LOOSE)
    write_dataset(made, tmp_path / "data")
    back = load_dataset(tmp_path / "data")
    for name in ("items", "subgroups", "gold", "mode_draws", "splits", "leakage", "landscape", "joint"):
        assert getattr(back, name).equals(getattr(made, name)), name
    assert back.fingerprint == made.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_no_respondent_and_no_absolute_path_leaves_the_room(tmp_path):
    write_dataset(build(random_survey(120, 2), LOOSE), tmp_path / "data")
    text = (tmp_path / "data" / "dataset.json").read_text()
    assert str(tmp_path) not in text
    assert pl.read_parquet(tmp_path / "data" / "joint.parquet").columns == ["sex", "age_group", "religion", "n", "weight"]


def test_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputDataError, match="not a valuestrata data set"):
        write_dataset(build(random_survey(60, 2), LOOSE), tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_what_is_not_a_data_set_is_refused(tmp_path):
    with pytest.raises(InputDataError, match=r"dataset\.json is missing"):
        load_dataset(tmp_path)
    write_dataset(build(random_survey(60, 2), LOOSE), tmp_path / "data")
    (tmp_path / "data" / "gold.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputDataError, match=r"gold\.parquet"):
        load_dataset(tmp_path / "data")


def test_the_paper_split_trains_on_singles_and_anchored_pairs():
    made = build(random_survey(300, 4), LOOSE)
    rows = made.splits.filter(pl.col("scheme") == "paper")
    strata = rows.join(made.subgroups.select("subgroup", "stratum"), on="subgroup")
    part_of = {stratum: set(part) for stratum, part in strata.group_by("stratum").agg("part").iter_rows()}
    for stratum in ("sex", "age_group", "religion", "sex_x_age", "sex_x_religion"):
        assert part_of[stratum] <= {"train", "validation"}
    assert part_of["age_x_religion"] == {"test"}
    assert "all" not in part_of
    trained = rows.filter(pl.col("part") != "test")
    assert (trained["part"] == "validation").sum() == len(trained) // 10


def test_the_paper_split_needs_three_attributes():
    two = random_survey(100, 4, attributes=2)
    with pytest.raises(InputDataError, match="at least three attributes"):
        build(two, paper_preset(BuildSettings(draws=10)))
    with pytest.raises(InputDataError, match="the split 'paper' is not available"):
        build(two, LOOSE).part("paper", "test")


def test_every_answer_behind_a_test_pair_is_trained_on_through_its_parents():
    made = build(random_survey(300, 4), LOOSE)
    assert len(made.leakage) == (made.splits["part"] == "test").sum()
    validation = set(made.part("paper", "validation")["pair_id"])
    for row in made.leakage.filter(pl.col("scheme") == "paper").iter_rows(named=True):
        item_id = row["pair_id"].split("_")[0]
        if not any(v.startswith(f"{item_id}_") for v in validation):
            assert row["shared_respondents"] == 1
            assert len(row["trained_parents"]) == 2
    assert made.leakage["shared_respondents"].is_between(0, 1).all()


def test_landscape_by_hand():
    """Two sexes that disagree and two religions that agree, over one item of two codes."""
    attributes = [attribute("sex", ["M", "F"]), attribute("religion", ["X", "Y"])]
    answers = [[0], [0], [0], [1], [1], [1], [1]]
    levels = [[0, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 1], [1, 1]]
    made = build(survey([item("Q1", 2)], attributes, answers, levels), LOOSE)
    found = {stratum: (mds, w1) for stratum, mds, w1 in made.landscape.select("stratum", "mds", "wasserstein").iter_rows()}
    assert found["sex"] == (pytest.approx(1), pytest.approx(1))
    # X: one 1 and two 2; Y: two of each, a tie that goes to the lower code 1. Shares 1/3 against 1/2.
    assert found["religion"] == (pytest.approx(1), pytest.approx(1 / 6))
    assert by_topic(made.landscape, made.items)["topic"].to_list() == ["Topic"]


def test_levels_merge(tmp_path):
    made = survey([item("Q1", 2)], [attribute("religion", ["Catholic", "Protestant", "None"])], [[0], [1], [0], [1]], [[0], [1], [2], [-1]])
    (tmp_path / "levels.yaml").write_text("religion:\n  Christian: {levels: [Catholic, Protestant], phrase: Christian, role: adjective}\n")
    merged = merge_levels(made, tmp_path / "levels.yaml")
    assert [level.label for level in merged.attributes[0].levels] == ["Christian", "None"]
    assert merged.levels[:, 0].tolist() == [0, 0, 1, -1]
    (tmp_path / "wrong.yaml").write_text("religion:\n  Christian: [Catholik]\n")
    with pytest.raises(UsageError, match="Did you mean 'Catholic'"):
        merge_levels(made, tmp_path / "wrong.yaml")


def prompt_for(dataset, item_id, subgroup):
    codes = dataset.codes_of[item_id]
    options = tuple(str(c) for c in codes)
    return Prompt(pair_id(item_id, subgroup), item_id, subgroup, (Message("user", "?"),), "Answer:", options, codes, "logprob", "t", "1")


@pytest.fixture
def nation():
    """Sixty people; sex has most respondents. Counts are small enough to add up on paper (see the tests)."""
    attributes = [attribute("sex", ["M", "F"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["X", "Y"])]
    answers, levels = [], []
    for sex, age, religion, option, count in [
        (0, 0, 0, 0, 10), (0, 1, 1, 0, 10), (0, 0, 1, 1, 5), (1, 0, 0, 1, 10), (1, 1, 0, 2, 15), (1, 1, 1, 2, 10),
    ]:  # fmt: skip
        answers += [[option]] * count
        levels += [[sex, age, religion]] * count
    return build(survey([item("Q1", 3)], attributes, answers, levels), BuildSettings(min_respondents=1, min_valid=1, draws=10))


def test_item_mode_pools_one_stratum(nation):
    gold = training_gold(nation)
    # Everyone has a sex: 20 say 1, 15 say 2, 25 say 3. (Pooling all strata would count each person many times.)
    assert pooled(gold, "Q1").tolist() == [20, 15, 25]
    (answer,) = make_baseline("item-mode", nation).answer([prompt_for(nation, "Q1", "age_x_religion_y_X")])
    assert answer.choice == 3
    assert answer.option_probs == pytest.approx((20 / 60, 15 / 60, 25 / 60))


def test_nearest_parent_takes_the_smaller_parent_shrunk_toward_the_pool(nation):
    # y: 25 people (10, 15, 0); X: 35 people (10, 10, 15). The smaller is y; its own parents are the pool.
    expected = (np.array([10, 15, 0]) + PARENT_PRIOR * np.array([20, 15, 25]) / 60) / (25 + PARENT_PRIOR)
    assert nearest_parent(training_gold(nation), "Q1", "age_x_religion_y_X") == pytest.approx(expected)
    (answer,) = make_baseline("nearest-parent", nation).answer([prompt_for(nation, "Q1", "age_x_religion_y_X")])
    assert answer.choice == 2


def test_item_mode_adds_up_weighted_counts():
    # F was oversampled tenfold: weighted, the nation says 1 (30 against 10); by effective answers it would say 2.
    attributes = [attribute("sex", ["M", "F"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["X", "Y"])]
    levels = [[0, i % 2, i // 2 % 2] for i in range(30)] + [[1, i % 2, i // 2 % 2] for i in range(100)]
    made = survey([item("Q1", 2)], attributes, [[0]] * 30 + [[1]] * 100, levels, [1.0] * 30 + [0.1] * 100)
    built = build(made, BuildSettings(min_respondents=1, min_valid=1, draws=10))
    assert pooled(training_gold(built), "Q1") == pytest.approx([30, 10])


def test_nearest_parent_is_the_one_with_fewest_respondents():
    # X has 20 people of equal weight, y has 30 whose weights are worth fewer effective answers: X is still the smaller.
    attributes = [attribute("sex", ["M"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["X", "Y"])]
    levels = [[0, 0, 0]] * 5 + [[0, 1, 0]] * 15 + [[0, 0, 1]] * 25
    weight = [1.0] * 20 + [100.0] + [0.5] * 24
    made = survey([item("Q1", 2)], attributes, [[0]] * 20 + [[1]] * 25, levels, weight)
    gold = training_gold(build(made, BuildSettings(min_respondents=1, min_valid=1, draws=10)))
    assert gold.n_eff["Q1", "age_group_y"] < gold.n_eff["Q1", "religion_X"] == 20
    assert nearest_parent(gold, "Q1", "age_x_religion_y_X").argmax() == 0


def test_a_baseline_trains_on_one_fold_and_on_half_a_where_halves_are_disjoint(nation):
    half_a = nation.gold.filter((pl.col("half") == "A") & (pl.col("subgroup") == "sex_M"))["counts_raw"][0].to_list()
    assert training_gold(nation, split="paper+disjoint").counts["Q1", "sex_M"].tolist() == half_a
    assert training_gold(nation).counts["Q1", "sex_M"].tolist() == [20, 5, 0] != half_a
    # Two levels each of sex, age and religion.
    with pytest.raises(UsageError, match="6 folds"):
        training_gold(nation, split="unseen-level")
    for fold, label in enumerate(nation.fold_labels("unseen-level")):
        trained = training_gold(nation, split="unseen-level", fold=fold).counts
        assert trained
        assert not any(label.split(" = ")[1] in subgroup.split("_") for _, subgroup in trained)


def test_a_baseline_does_not_see_test_gold(nation):
    """Poisoned test gold must change nothing that a baseline says."""
    poisoned_rows = nation.gold.with_columns(
        pl.when(pl.col("subgroup").str.starts_with("age_x_religion"))
        .then(pl.lit([0.0, 1.0, 0.0], dtype=pl.List(pl.Float64)))
        .otherwise("shares")
        .alias("shares")
    ).with_columns(
        pl.when(pl.col("subgroup").str.starts_with("age_x_religion")).then("shares").otherwise("counts_weighted").alias("counts_weighted")
    )
    assert not poisoned_rows.equals(nation.gold)
    poisoned = nation.__class__(**{**{f: getattr(nation, f) for f in nation.__dataclass_fields__}, "gold": poisoned_rows})
    prompts = [prompt_for(nation, "Q1", s) for s in nation.part("paper", "test")["subgroup"]]
    for kind in ("uniform", "midpoint", "item-mode", "nearest-parent"):
        clean = [(a.choice, a.option_probs) for a in make_baseline(kind, nation).answer(prompts)]
        assert clean == [(a.choice, a.option_probs) for a in make_baseline(kind, poisoned).answer(prompts)]


def test_uniform_answers_every_code_once_and_midpoint_the_middle(nation):
    prompt = prompt_for(nation, "Q1", "age_x_religion_y_X")
    assert [a.choice for a in make_baseline("uniform", nation).answer([prompt])] == [1, 2, 3]
    assert [a.choice for a in make_baseline("midpoint", nation).answer([prompt])] == [2]


def test_unknown_baseline_is_refused_with_a_suggestion(nation):
    with pytest.raises(UsageError, match="Did you mean 'item-mode'"):
        make_baseline("item-mod", nation)
