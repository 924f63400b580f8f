"""What a data set folder discloses about single respondents, and what an export leaves out for that reason."""

import numpy as np
import polars as pl
import pytest

from tests.core.people import attribute, item, survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.design import resample
from valuestrata.dataset.gold import unpack_share_draws
from valuestrata.errors import InputDataError
from valuestrata.export.export import ExportOptions, export_dataset
from valuestrata.export.hugging_face.folder import check_remainders
from valuestrata.export.hugging_face.rows import gold_rows
from valuestrata.export.hugging_face.subtraction import Remainders, small_remainders

PEOPLE, ITEMS = 500, 6


@pytest.fixture(scope="module")
def people():
    """Attribute levels and answers of the respondents, and their data set."""
    rng = np.random.default_rng(3)
    attributes = [attribute("sex", ["m", "f"]), attribute("age_group", list("abcde"), "age"), attribute("area", ["u", "v"])]
    levels = np.stack([rng.integers(0, len(one.levels), PEOPLE) for one in attributes], axis=1)
    answers = rng.integers(0, 4, (PEOPLE, ITEMS))
    made = survey([item(f"Q{number}", 4) for number in range(ITEMS)], attributes, answers.tolist(), levels.tolist())
    return levels, answers, build(made, BuildSettings(min_respondents=20, min_valid=20, draws=100, share_draws=100))


def test_redraws_and_their_seed_reveal_single_answers(people):
    """Each redrawn share is an equation on single answers: with the members of a subgroup known, least squares solves them."""
    levels, answers, made = people
    members = np.flatnonzero((levels[:, 0] == 0) & (levels[:, 1] == 2))
    assert made.meta["shareable"]
    seed = made.meta["settings"]["redraw_seed"]
    times_drawn = next(resample(PEOPLE, [100], np.random.default_rng(seed)))[members].T.astype(float)
    right = []
    for number in range(ITEMS):
        here = (pl.col("pair_id") == f"Q{number}_sex_x_age_m_c") & (pl.col("half") == "all")
        gold, draws = made.gold.row(by_predicate=here, named=True), made.mode_draws.row(by_predicate=here, named=True)
        shares = unpack_share_draws(np.array(draws["share_draws"], dtype=np.int8), np.array(gold["shares"]), np.array(draws["share_se"]))
        counts = shares * times_drawn.sum(axis=1, keepdims=True)
        solved = np.linalg.lstsq(times_drawn, counts, rcond=None)[0].argmax(axis=1)
        right.append((solved == answers[members, number]).mean())
    assert len(members) > 20
    assert np.mean(right) > 0.99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
def test_an_export_has_no_redraws_halves_joint_cells_or_weighted_counts(people, tmp_path):
    _, _, made = people
    folder = export_dataset(made, tmp_path / "out", to="hf").folder
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    parts = ["test", "train", "validation"]
    assert files == sorted(
        ["README.md", "croissant.json"]
        + [f"chat/{part}.{kind}" for part in parts for kind in ("jsonl", "parquet")]
        + [f"gold/{part}.parquet" for part in [*parts, "unassigned"]]
        + [f"{name}/full.parquet" for name in ("items", "splits", "subgroups")]
    )
    gold = pl.concat([pl.read_parquet(file) for file in folder.glob("gold/*.parquet")])
    assert not {"counts_raw", "counts_weighted", "share_se", "share_draws", "draws", "weight"} & set(gold.columns)
    # Each pair once, with one half of the respondents or all: the difference of a half and the whole is the other half.
    assert gold["pair_id"].is_unique().all()
    assert gold.height == made.gold["pair_id"].n_unique()
    assert gold["n"].min() >= 10
    described = (folder / "README.md").read_text() + (folder / "croissant.json").read_text()
    assert "redraw_seed" not in described
    assert "half_seed" not in described
    # More decimals would show single weights.
    assert all(abs(share * 10_000 - round(share * 10_000)) < 1e-6 for shares in gold["shares"].to_list() for share in shares)


def test_a_pair_of_a_split_by_halves_is_exported_with_one_half(people):
    _, _, made = people
    parts = dict(gold_rows(made, "paper+disjoint", None))
    assert parts["train"]["half"].unique().to_list() == ["A"]
    assert parts["test"]["half"].unique().to_list() == ["B"]
    ids = pl.concat([rows.select("pair_id") for rows in parts.values()])["pair_id"]
    assert ids.is_unique().all()


def test_small_groups_that_follow_by_subtraction_are_counted():
    # 30 men and 30 women of each age, but only 4 women of age b, who are not published.
    levels = [[0, 0]] * 30 + [[0, 1]] * 30 + [[1, 0]] * 30 + [[1, 1]] * 4
    made = survey([item("Q1", 2), item("Q2", 2)], [attribute("sex", ["m", "f"]), attribute("age", ["a", "b"])], [[0, 1]] * 94, levels)
    data = build(made, BuildSettings(min_respondents=10, min_valid=10, draws=10))
    assert "sex_x_age_f_b" not in data.subgroups["subgroup"].to_list()
    found = remainders_of(data, "transfer")
    # The whole population, the women, and the people of age b, each without the three published crossings; for two questions.
    assert (found.rests, found.pairs) == (3, 6)
    assert found.example == ("age_b", "sex_x_age", 4)


def test_an_export_from_which_small_groups_follow_is_refused_unless_allowed():
    remainders = Remainders(2, 5, ("age_b", "sex_x_age", 4))
    with pytest.raises(InputDataError, match=r"2 groups of fewer than 10 answers .* 4 answers of age_b .*allow_subtraction="):
        check_remainders(ExportOptions(), remainders)
    check_remainders(ExportOptions(allow_subtraction=True), remainders)
    check_remainders(ExportOptions(), Remainders(0, 0, None))


def test_nothing_follows_by_subtraction_from_complete_strata(people):
    assert remainders_of(people[2], "paper").example is None
    # Half of a subgroup is divided too, but never subtracted from the whole.
    assert remainders_of(people[2], "paper+disjoint").example is None


def remainders_of(data, split):
    return small_remainders(pl.concat([rows for _, rows in gold_rows(data, split, None)]), data.attributes)
