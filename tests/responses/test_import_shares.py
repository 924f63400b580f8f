"""Import of shares per option."""

import polars as pl
import pytest

from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.import_shares import import_shares
from valuestrata.responses.run.folder import load_run
from valuestrata.scores.pairs import pair_scores

# Q1 has the codes 1..4, spend -1, 0, 1.
LONG = [
    ("Q1", "sex_Female", "1", "0.5"),
    ("Q1", "sex_Female", "2", "0.3"),
    ("Q1", "sex_Female", "Not very important", "0.2"),
    ("Q1", "sex_Male", "4", "1"),
    ("spend", "sex_Male", "-1", "0.25"),
    ("spend", "sex_Male", "1", "0.75"),
]
EXPECTED = {
    "Q1_sex_Female": ([0.5, 0.3, 0.2, 0.0], 1),
    "Q1_sex_Male": ([0.0, 0.0, 0.0, 1.0], 4),
    "spend_sex_Male": ([0.25, 0.0, 0.75], 1),
}


def written(folder, rows, columns=("item", "group", "option", "share"), name="shares.csv"):
    pl.DataFrame(rows, schema=list(columns), orient="row").write_csv(folder / name)
    return folder / name


def found(folder):
    rows = load_run(folder).responses
    return {row["pair_id"]: (row["option_probs"], row["answer"]) for row in rows.iter_rows(named=True)}


def test_rows_of_a_pair_and_an_option(handmade, tmp_path):
    result = import_shares(handmade, written(tmp_path, LONG), tmp_path / "run", ids=["group", "item"])
    assert {pair: (pytest.approx(shares), answer) for pair, (shares, answer) in EXPECTED.items()} == found(tmp_path / "run")
    assert (result.pairs, result.unknown, result.counts["answered"]) == (3, 0, 3)
    scores = pair_scores(handmade, load_run(tmp_path / "run").responses)
    # The gold is 2/3 and 1/3 on the first two of four codes.
    assert scores.filter(pair_id="Q1_sex_Female")["w1"][0] == pytest.approx((abs(0.5 - 2 / 3) + abs(0.8 - 1.0)) / 3)


def test_a_column_per_option(handmade, tmp_path):
    rows = [("Q1_sex_Female", "x", "50 %", "30%", "20", "0"), ("Q1_sex_Male", "y", "", "", "", "100"), ("other", "z", "", "", "", "100")]
    file = written(tmp_path, rows, ("custom_id", "model", "share_1", "share_2", "share_3", "share_4"))
    result = import_shares(handmade, file, tmp_path / "run")
    assert found(tmp_path / "run") == {pair: (pytest.approx(shares), answer) for pair, (shares, answer) in EXPECTED.items() if "Q1" in pair}
    assert (result.unknown, result.unknown_ids) == (1, ("other",))


def test_numbers_may_be_positions(handmade, tmp_path):
    rows = [("spend_sex_Male", "1", "1"), ("spend_sex_Male", "3", "0")]
    import_shares(handmade, written(tmp_path, rows, ("custom_id", "option", "share")), tmp_path / "run", numbers="position")
    assert found(tmp_path / "run") == {"spend_sex_Male": ([1.0, 0.0, 0.0], -1)}


def test_shares_may_be_off_by_rounding_and_ties_go_to_the_lowest_code(handmade, tmp_path):
    rows = [("Q1_sex_Male", "1", ".33"), ("Q1_sex_Male", "2", ".33"), ("Q1_sex_Male", "3", ".33")]
    import_shares(handmade, written(tmp_path, rows, ("custom_id", "option", "share")), tmp_path / "run")
    assert found(tmp_path / "run") == {"Q1_sex_Male": (pytest.approx([1 / 3, 1 / 3, 1 / 3, 0]), 1)}


BAD = {
    "sum": ([("1", "0.5"), ("2", "0.3")], r"the shares of Q1_sex_Male sum to 0\.8, not to 1 \(1 of 1 pairs\)"),
    "zero": ([("1", "0"), ("2", "0")], "sum to 0, not to 1"),
    "negative": ([("1", "-0.5"), ("2", "1.5")], r"Q1_sex_Male, option '1': '-0\.5' is no share \(1 such rows\)"),
    "no number": ([("1", "half"), ("2", "0.5")], "'half' is no share"),
    "infinite": ([("1", "inf"), ("2", "0.5")], "'inf' is no share"),
    "twice": ([("1", "0.5"), ("1", "0.5")], "the option '1' is given twice"),
    "number and label": ([("1", "0.5"), ("Very important", "0.5")], "is given twice"),
    "unknown option": (
        [("9", "0.5"), ("1", "0.5"), ("5", "0.5")],
        "none of '9'|a share of '9', which is not an option of Q1 .codes 1, 2, 3, 4",
    ),
    "no option": ([("a", "0.5"), ("b", "0.5")], "none of 'a', 'b' is an option of Q1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_shares_are_refused_and_nothing_is_left(handmade, tmp_path, case):
    rows, message = BAD[case]
    file = written(tmp_path, [("Q1_sex_Male", *row) for row in rows], ("custom_id", "option", "share"))
    with pytest.raises(InputDataError, match=message):
        import_shares(handmade, file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_percentages_of_some_pairs_only_are_refused(handmade, tmp_path):
    rows = [("Q1_sex_Male", "1", "100"), ("Q1_sex_Female", "1", "1"), ("Q182_sex_Male", "1", "1")]
    with pytest.raises(InputDataError, match=r"the shares of Q1_sex_Male sum to 100, not to 1 \(1 of 3 pairs\)"):
        import_shares(handmade, written(tmp_path, rows, ("custom_id", "option", "share")), tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "ids", "error", "message"),
    [
        ("shares.csv", ["custom_id"], InputDataError, "none of its 1 custom_ids is a pair of"),
        ("shares.csv", ["pair"], InputDataError, "'pair' is missing; found custom_id, option, share"),
        ("shares.csv", [], UsageError, "one or more different columns"),
        ("shares.txt", ["custom_id"], InputDataError, "shares are read from"),
    ],
)
def test_files_that_do_not_fit(handmade, tmp_path, name, ids, error, message):
    file = written(tmp_path, [("Z_sex_Male", "1", "1")], ("custom_id", "option", "share"), name)
    with pytest.raises(error, match=message):
        import_shares(handmade, file, tmp_path / "run", ids=ids)
    assert not (tmp_path / "run").exists()
