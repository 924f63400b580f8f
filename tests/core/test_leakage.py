"""What train and test share, counted person by person, and the report of it."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import LEAKAGE
from valuestrata.splits import SCHEMES, leakage_report
from valuestrata.splits.leakage import LEAKAGE_REPORT
from valuestrata.splits.schemes import by_reason

LOOSE = BuildSettings(min_respondents=1, min_valid=1, draws=5)


def people_in(made, dataset):
    """Return subgroup -> the respondents in it, found by comparing labels."""
    names = [a.name for a in made.attributes]
    found = {}
    for row in dataset.subgroups.iter_rows(named=True):
        found[row["subgroup"]] = {
            person
            for person in range(made.respondents)
            if all(
                row[name] is None or (made.levels[person, a] >= 0 and made.attributes[a].levels[made.levels[person, a]].label == row[name])
                for a, name in enumerate(names)
            )
        }
    return found


def leaks_by_hand(made, dataset):
    """Return (scheme, fold, pair) -> trained parents and share, by loops over pairs and people."""
    inside = people_in(made, dataset)
    column = {i.id: j for j, i in enumerate(made.items)}
    found = {}
    for (scheme, fold), rows in dataset.splits.group_by("scheme", "fold", maintain_order=True):
        train = [tuple(pair) for pair in rows.filter(pl.col("part") == "train").select("item", "subgroup").iter_rows()]
        for pair, item_id, subgroup in rows.filter(pl.col("part") == "test").select("pair_id", "item", "subgroup").iter_rows():
            answered = {person for person in inside[subgroup] if made.answers[person, column[item_id]] >= 0}
            trained = {other for trained_item, other in train if trained_item == item_id}
            behind = {person for person in answered if any(person in inside[other] for other in trained)}
            parents = {other for other in trained if other != subgroup and inside[subgroup] <= inside[other]}
            found[scheme, fold, pair] = (parents, len(behind) / len(answered))
    return found


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@example(8, 907, 2)  # one half without any answer to A1
@given(st.integers(8, 70), st.integers(0, 10_000), st.integers(2, 4))
def test_shares_equal_a_loop_over_people(people, seed, attributes):
    made = random_survey(people, seed, attributes=attributes)
    dataset = build(made, LOOSE)
    expected = leaks_by_hand(made, dataset)
    assert len(dataset.leakage) == len(expected) == (dataset.splits["part"] == "test").sum()
    for pair, scheme, fold, parents, share in dataset.leakage.select(*LEAKAGE.columns).iter_rows():
        their_parents, their_share = expected[scheme, fold, pair]
        assert set(parents) == their_parents
        assert len(parents) == len(set(parents))
        assert share == pytest.approx(their_share)


@pytest.fixture
def nation():
    """Twelve people, two of each sex, age and religion known to all but the last four, whose sex nobody knows; one item."""
    attributes = [attribute("sex", ["m", "f"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["a", "b"])]
    levels = [[s, g, r] for s in (0, 1) for g in (0, 1) for r in (0, 1)] + [[-1, g, r] for g in (0, 1) for r in (0, 1)]
    return build(survey([item("Q1", 2)], attributes, [[i % 2] for i in range(12)], levels), LOOSE)


def test_the_paper_split_by_hand(nation):
    """18 pairs train less one for validation; every person of age x religion stands behind the gold of age and of religion."""
    rows = nation.leakage.filter(pl.col("scheme") == "paper")
    assert sorted(rows["pair_id"]) == sorted(f"Q1_age_x_religion_{g}_{r}" for g in "yo" for r in "ab")
    assert rows["shared_respondents"].to_list() == [1, 1, 1, 1]
    (validation,) = nation.part("paper", "validation")["subgroup"].to_list() or [None]
    for pair, parents in rows.select("pair_id", "trained_parents").iter_rows():
        age, religion = pair.split("_")[-2:]
        assert set(parents) == {f"age_group_{age}", f"religion_{religion}"} - {validation}


def test_people_stay_behind_when_a_level_is_held_out(nation):
    """Without any cell of religion a its men are still in sex m, in their ages, and in the cells of both."""
    label = nation.fold_labels("unseen-level").index("religion = a")
    trained = set(nation.part("unseen-level", "train", label)["subgroup"])
    rows = nation.leakage.filter((pl.col("scheme") == "unseen-level") & (pl.col("fold") == label))
    found = {
        pair: (set(parents), share) for pair, parents, share in rows.select("pair_id", "trained_parents", "shared_respondents").iter_rows()
    }
    assert len(found) == 5
    assert found["Q1_sex_x_religion_m_a"] == ({"sex_m"} & trained, 1)
    # Of six people of religion a two are of unknown sex; each stands behind gold if the own age trains (one pair validates).
    assert found["Q1_religion_a"] == (set(), pytest.approx((4 + len({"age_group_y", "age_group_o"} & trained)) / 6))


def test_unseen_items_share_nobody_and_transfer_trains_nothing():
    dataset = build(random_survey(80, 3), LOOSE)
    for scheme in ("unseen-item", "unseen-both", "transfer"):
        rows = dataset.leakage.filter(pl.col("scheme") == scheme)
        assert len(rows) == len(dataset.part(scheme, "test"))
        assert len(rows)
        assert rows["shared_respondents"].to_list() == [0.0] * len(rows)
        assert rows["trained_parents"].list.len().sum() == 0
    assert dataset.part("transfer", "train").is_empty()
    assert len(dataset.part("transfer", "test")) == dataset.meta["counts"]["pairs"]


def test_someone_with_an_unknown_attribute_is_not_behind_its_training_gold():
    """Two people in the cell age y x religion a. With strata `sex` and `age_x_religion` only, who has no known sex is unseen."""
    attributes = [attribute("sex", ["m", "f"]), attribute("age_group", ["y"], "age"), attribute("religion", ["a"])]
    levels = [[0, 0, 0], [-1, 0, 0], [1, -1, -1]]
    made = survey([item("Q1", 2)], attributes, [[0], [1], [1]], levels)
    dataset = build(made, BuildSettings(strata=("sex", "age_x_religion"), min_respondents=1, min_valid=1, draws=5))
    (row,) = dataset.leakage.filter(pl.col("scheme") == "paper").to_dicts()
    assert row["shared_respondents"] == 0.5
    # The only trained subgroup that touches the cell, sex m, holds the one and not the other.
    assert row["trained_parents"] == []


def test_the_report_sums_up_every_scheme_and_its_disjoint_form():
    dataset = build(random_survey(150, 5), LOOSE)
    report = leakage_report(dataset)
    assert report.columns == list(LEAKAGE_REPORT.columns)
    named = [name for scheme in SCHEMES if scheme != "transfer" for name in (scheme, f"{scheme}+disjoint")]
    assert report["scheme"].to_list() == [*named, "transfer"]
    for row in report.iter_rows(named=True):
        scheme = row["scheme"].removesuffix("+disjoint")
        parts = dataset.part(row["scheme"], "all")
        kept = parts.filter(pl.col("part") == "test").select("pair_id", "fold")
        leaks = dataset.leakage.filter(pl.col("scheme") == scheme).join(kept, on=["pair_id", "fold"], how="semi").to_dicts()
        folds = len(dataset.fold_labels(scheme))
        assert row["folds"] == folds
        for part in ("train", "validation", "test"):
            assert row[part] == round((parts["part"] == part).sum() / folds)
        assert row["test_pairs"] == len(leaks) == (parts["part"] == "test").sum()
        assert row["with_trained_parents"] == pytest.approx(np.mean([bool(leak["trained_parents"]) for leak in leaks]))
        shares = [0.0] if row["scheme"].endswith("+disjoint") else [leak["shared_respondents"] for leak in leaks]
        assert row["shared_mean"] == pytest.approx(np.mean(shares))
        assert row["shared_max"] == max(shares)
    note = dict(report.select("scheme", "note").iter_rows())
    assert note["paper"] is None
    assert note["unseen-level"] is None
    assert note["unseen-item"].startswith("Folds are by item, not by topic")
    assert note["transfer"] == "This data set has no training pairs; training uses another wave or country."


def test_the_report_says_why_a_scheme_is_not_there():
    report = leakage_report(build(random_survey(100, 4, attributes=2), LOOSE))
    rows = {row["scheme"]: row for row in report.iter_rows(named=True)}
    assert list(rows) == [
        "paper",
        "unseen-level",
        "unseen-level+disjoint",
        "unseen-item",
        "unseen-item+disjoint",
        "unseen-both",
        "transfer",
    ]
    assert "paper+disjoint" not in rows
    for scheme in ("paper", "unseen-both"):
        assert "at least three attributes" in rows[scheme]["note"]
        assert {name for name, value in rows[scheme].items() if value is not None} == {"scheme", "note"}


def test_the_report_names_the_folds_that_are_missing():
    attributes = [attribute("sex", ["m", "f"]), attribute("age_group", ["y", "o"], "age"), attribute("religion", ["a", "b"])]
    people = survey([item("Q1", 2)], attributes, [[i % 2] for i in range(20)], [[i % 2, i // 2 % 2, 0] for i in range(20)])
    note = dict(leakage_report(build(people, LOOSE)).select("scheme", "note").iter_rows())
    missing = "No fold for religion = a: no other level of religion has pairs, so no training pair would use the attribute."
    assert note["unseen-level"] == missing
    # Said once a scheme.
    assert note["unseen-level+disjoint"] is None
    assert note["paper"].startswith("Only one level has pairs in religion (a): 2 of 2 test pairs")


def test_the_note_names_only_levels_that_somebody_has_and_five_of_them():
    """Of twelve ethnicities three people each have e0 and e1, one each has e2 to e8, and nobody the last three."""
    names = [f"e{i}" for i in range(12)]
    attributes = [attribute("sex", ["m", "f"]), attribute("age_group", ["y", "o"], "age"), attribute("ethnicity", names)]
    ethnicity = [0, 0, 0, 1, 1, 1, *range(2, 9)]
    levels = [[i % 2, i // 2 % 2, e] for i, e in enumerate(ethnicity)]
    made = survey([item("Q1", 2)], attributes, [[i % 2] for i in range(len(levels))], levels)
    dataset = build(made, BuildSettings(min_respondents=2, min_valid=1, draws=5))
    why = "no subgroup of this level has a pair"
    assert dataset.meta["splits"]["unseen-level"]["left_out"] == {f"ethnicity = e{i}": why for i in range(2, 9)}
    note = dict(leakage_report(dataset).select("scheme", "note").iter_rows())
    five = ", ".join(f"ethnicity = e{i}" for i in range(2, 7))
    assert note["unseen-level"] == f"No fold for {five} and 2 more: {why}."
    # A level that only the codebook knows is still one of the data set's: a persona may be of it.
    assert [level["label"] for level in dataset.meta["attributes"][2]["levels"]] == names


def test_refused_schemes_stand_in_their_place_with_the_text_of_the_build():
    made = survey([item("Q1", 2)], [attribute("sex", ["m", "f"])], [[i % 2] for i in range(8)], [[i // 2 % 2] for i in range(8)])
    dataset = build(made, LOOSE)
    rows = {row["scheme"]: row for row in leakage_report(dataset).iter_rows(named=True)}
    assert list(rows) == ["paper", "unseen-level", "unseen-level+disjoint", "unseen-item", "unseen-both", "transfer"]
    for scheme in ("paper", "unseen-item", "unseen-both"):
        assert rows[scheme]["note"] == dataset.meta["splits"][scheme]["refused"]
        assert rows[scheme]["test_pairs"] is None
    assert "at least two items" in rows["unseen-item"]["note"]


def test_reasons_name_five_labels_and_count_the_rest():
    reasons = dict.fromkeys("abcde", "small") | {"x": "none"}
    assert by_reason(reasons) == "a, b, c, d, e: small; x: none"
    assert by_reason(reasons | {"f": "small"}) == "a, b, c, d, e and 1 more: small; x: none"
