"""The landscape under no difference: closed forms, uniform p-values, and data sets without it."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.landscape import averaged, by_topic, has_null, measure_landscape
from valuestrata.dataset.landscape_null import _within, diversity, permuted_landscape
from valuestrata.dataset.subgroups import make_cells, make_strata
from valuestrata.dataset.tables import LANDSCAPE, load_dataset, write_dataset
from valuestrata.measures import mean_pairwise_w1, modal_diversity
from valuestrata.openended.questions import chosen_items

SMALL = BuildSettings(min_respondents=1, min_valid=1, draws=20, share_draws=20)


def permuted(made, built, permutations, seed=0):
    cells = make_cells(made, make_strata(made.attributes), min_respondents=1)
    return permuted_landscape(made, cells, built.gold, seed=seed, permutations=permutations, advance=lambda _: None)


def test_two_subgroups_and_two_options_follow_the_hypergeometric_distribution():
    # 4 of 9 people say 2. A permutation gives x of them to the 4 men: x is hypergeometric. Men: mode 2 if x >= 3 (2 of 4 is a tie,
    # and the lower code is the mode); women have 4 - x of 5: mode 2 if 4 - x >= 3.
    answers = [[1]] * 4 + [[0]] * 5
    made = survey([item("Q1", 2)], [attribute("sex", ["m", "f"])], answers, [[0]] * 4 + [[1]] * 5)
    chance = {x: math.comb(4, x) * math.comb(5, 4 - x) / math.comb(9, 4) for x in range(5)}
    differ = sum(p for x, p in chance.items() if (x >= 3) != (4 - x >= 3))
    distance = sum(p * abs(x / 4 - (4 - x) / 5) for x, p in chance.items())
    found = permuted(made, build(made, SMALL), 20_000).filter(stratum="sex")
    mds, wasserstein = (np.array(found[f"{name}_null_draws"][0].to_list()) for name in ("mds", "wasserstein"))
    # Standard errors of 20,000 permutations: below .0035.
    assert mds.mean() == pytest.approx(differ, abs=0.012)
    assert wasserstein.mean() == pytest.approx(distance, abs=0.006)
    # All men say 2, all women 1: one of the 126 ways, and the most extreme one.
    shown = build(made, SMALL).landscape.filter(stratum="sex").row(0, named=True)
    assert (shown["mds"], shown["wasserstein"]) == (1.0, 1.0)
    assert np.mean(wasserstein >= 1 - 1e-6) == pytest.approx(1 / 126, abs=0.003)
    assert shown["wasserstein_p"] <= 3 / 101


def test_many_sets_of_subgroups_at_once_equal_the_formulas():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), size=(6, 5, 3)).swapaxes(2, 3).astype(np.float32)
    kept = rng.random((5, 3)) < 0.7
    kept[:2] = True
    kept[1:, 2] = False
    modes = shares.argmax(axis=2)
    found = diversity(modes, shares, kept, 4)
    for r in range(6):
        for i in range(3):
            here = kept[:, i]
            if here.sum() < 2:
                assert np.isnan(found.mds[r, i])
                assert np.isnan(found.wasserstein[r, i])
                continue
            assert found.mds[r, i] == pytest.approx(modal_diversity(modes[r, here, i], 4), abs=1e-6)
            assert found.wasserstein[r, i] == pytest.approx(mean_pairwise_w1(shares[r, here, :, i]), abs=1e-6)


def test_the_permuted_respondents_keep_their_weights_and_the_cells_their_sizes():
    """The mean over all permutations of a share is the weighted share of everyone; here by hand for four people."""
    made = survey([item("Q1", 2)], [attribute("sex", ["m", "f"])], [[0], [1], [1], [0]], [[0], [0], [1], [1]], [1.0, 1.0, 2.0, 3.0])
    # The 6 ways to choose two men, and the difference of the shares of answer 2 between men and women.
    weight, said = np.array([1.0, 1.0, 2.0, 3.0]), np.array([0, 1, 1, 0])
    ways = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    by_way = []
    for way in ways:
        men = np.isin(np.arange(4), way)
        by_way.append(abs((weight * said)[men].sum() / weight[men].sum() - (weight * said)[~men].sum() / weight[~men].sum()))
    built = build(made, SMALL)
    gold = built.gold.with_columns(n_eff=pl.lit(2 * (7**2 / 15) / 4))  # what permuted respondents give on average
    draws = np.array(permuted(made, replace(built, gold=gold), 3000).filter(stratum="sex")["wasserstein_null_draws"][0].to_list())
    assert set(draws.round(5)) == set(np.round(by_way, 5))
    assert draws.mean() == pytest.approx(np.mean(by_way), abs=0.02)


def test_fewer_effective_answers_than_permuted_respondents_have_widen_the_null():
    made = random_survey(300, 1, weighted=False)
    built = build(made, SMALL)
    quarter = built.gold.with_columns(pl.col("n_eff") / 4)
    plain, wider = (
        np.array(permuted(made, replace(built, gold=gold), 50).filter(stratum="sex", item="A2")["wasserstein_null_draws"][0].to_list())
        for gold in (built.gold, quarter)
    )
    # A quarter of the answers: twice the standard error.
    assert wider == pytest.approx(2 * plain, rel=0.1)


def test_tables_hold_mean_range_and_p_of_the_permutations():
    built = build(random_survey(400, 2), SMALL)
    for row in built.landscape.iter_rows(named=True):
        for measure in ("mds", "wasserstein"):
            draws = row[f"{measure}_null_draws"]
            if row[measure] is None:
                assert row[f"{measure}_null"] is row[f"{measure}_p"] is None
                continue
            assert row[f"{measure}_null"] == pytest.approx(np.mean(draws))
            assert row[f"{measure}_null_low"] == pytest.approx(np.quantile(draws, 0.025))
            assert row[f"{measure}_null_high"] == pytest.approx(np.quantile(draws, 0.975))
            assert row[f"{measure}_p"] == pytest.approx((1 + sum(draw >= row[measure] - 1e-6 for draw in draws)) / 101)
            assert row[f"{measure}_se"] >= 0
    assert built.landscape.filter(pl.col("item") == "A4")["wasserstein_null_draws"].null_count() == built.landscape["stratum"].n_unique()
    # By topic: means of the means, and quantiles of the mean over items of the same permutation.
    topic = by_topic(built.landscape, built.items).row(0, named=True)
    strata = built.landscape.group_by("stratum").agg(pl.col("mds", "mds_null").mean())
    assert topic["mds"] == pytest.approx(strata["mds"].mean())
    assert topic["mds_null"] == pytest.approx(strata["mds_null"].mean())
    assert topic["mds_excess"] == pytest.approx(topic["mds"] - topic["mds_null"])
    assert topic["mds_null_low"] <= topic["mds_null"] <= topic["mds_null_high"]
    one = averaged(built.landscape.filter(stratum="sex"), ["stratum"]).row(0, named=True)
    means = np.mean(built.landscape.filter(stratum="sex")["mds_null_draws"].to_list(), axis=0)
    assert one["mds_null_high"] == pytest.approx(np.quantile(means, 0.975))


def test_items_are_ranked_by_what_exceeds_chance():
    rows = [
        {"item": "A1", "stratum": "sex", "subgroups": 2, "mds": 0.5, "mds_null": 0.45, "wasserstein": 0.3, "wasserstein_null": 0.1},
        {"item": "A2", "stratum": "sex", "subgroups": 2, "mds": 0.4, "mds_null": 0.1, "wasserstein": 0.1, "wasserstein_null": 0.1},
        {"item": "A3", "stratum": "sex", "subgroups": 2, "mds": 0.1, "mds_null": 0.2, "wasserstein": 0.1, "wasserstein_null": 0.1},
    ]
    built = build(random_survey(60, 1), SMALL)
    ranked = replace(built, landscape=LANDSCAPE.frame(rows))
    assert chosen_items(ranked, most_divided=1) == ["A2"]
    assert chosen_items(ranked, most_divided=2) == ["A1", "A2"]
    # A value below chance is still above an item without any.
    assert chosen_items(ranked, most_divided=3) == ["A1", "A2", "A3"]


def test_a_data_set_of_an_older_version_is_read_without_the_null(tmp_path):
    built = build(random_survey(120, 2), SMALL)
    old = built.landscape.select("item", "stratum", "subgroups", "mds", "wasserstein")
    write_dataset(replace(built, landscape=LANDSCAPE.check(old, "landscape")), tmp_path / "data")
    old.write_parquet(tmp_path / "data" / "landscape.parquet")
    document = (tmp_path / "data" / "dataset.json").read_text()
    assert "landscape.parquet" in document
    # A folder of that time has no hashes.

    meta = {key: value for key, value in json.loads(document).items() if key != "sha256"}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(meta))
    back = load_dataset(tmp_path / "data")
    assert not has_null(back.landscape)
    assert has_null(built.landscape)
    topic = by_topic(back.landscape, back.items).row(0, named=True)
    assert topic["mds_null"] is topic["mds_excess"] is None
    assert topic["mds"] == pytest.approx(by_topic(built.landscape, built.items)["mds"][0])
    assert chosen_items(back, most_divided=1)


def test_one_subgroup_and_no_redraws_have_no_null_and_no_error():
    made = survey([item("Q1", 3)], [attribute("sex", ["m"])], [[0], [1], [2]], [[0]] * 3)
    built = build(made, SMALL)
    row = built.landscape.row(0, named=True)
    assert row["mds"] is row["mds_null"] is row["wasserstein_p"] is row["mds_se"] is None
    plain = measure_landscape(built.gold, built.subgroups, built.items)
    assert plain.select("item", "stratum", "subgroups", "mds", "wasserstein").equals(
        built.landscape.select("item", "stratum", "subgroups", "mds", "wasserstein")
    )


@pytest.mark.parametrize("inside", [{0, 1, 2, 3}, {0, 2, 3}, {1}])
def test_permutations_within_a_stratum_are_uniform_and_follow_those_of_everyone(inside):
    everyone = np.array(list(itertools.permutations(range(4))), dtype=np.int32)
    mask = np.isin(np.arange(4), list(inside))
    found = _within(everyone, mask)
    ways, counts = np.unique(found, axis=0, return_counts=True)
    # Each order of those inside comes from as many permutations of everyone.
    assert len(ways) == math.factorial(len(inside))
    assert len(set(counts)) == 1
    stays = np.isin(everyone[:, mask], list(inside))
    assert (found == everyone[:, mask])[stays].all()
