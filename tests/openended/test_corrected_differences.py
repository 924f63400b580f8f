"""Differences of win rates between two runs, corrected for the judge's errors: closed forms, and coverage of planted differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, t

from tests.openended.judged import coded, contests, drawn_key, made_up, verdicts
from valuestrata.claims.judges import corrected_difference_claims
from valuestrata.claims.templates import word
from valuestrata.formatting import points
from valuestrata.openended.annotation.sample import pairwise_units
from valuestrata.openended.schema import STANCES
from valuestrata.openended.validity.corrected_differences import corrected_differences
from valuestrata.openended.validity.judge_validity import Codings, judge_validity
from valuestrata.openended.validity.units import coded_places, judged_pairs
from valuestrata.reports.open.judges import judges_section
from valuestrata.stats.ppi import JudgedAnswers, corrected_difference, corrected_ratio

DATASET = made_up()
FEW = {"bootstrap": 50, "seed": 0}


def answers(rng, chance, items=40, per_item=8, share=0.3, error=0.25, toward=0.85):
    """Answers with a chance of a win by item, wrongly judged for the run; the same items for every run."""
    truth = (rng.random(items * per_item) < np.repeat(np.broadcast_to(chance, items), per_item)).astype(float)
    wrong = rng.random(truth.size) < error
    judge = np.where(wrong, (rng.random(truth.size) < toward).astype(float), truth)
    people = np.where(rng.random(truth.size) < share, truth, np.nan)
    return JudgedAnswers(people, judge, np.repeat(np.arange(items), per_item)), truth


def test_the_difference_is_that_of_the_corrected_means_and_of_plain_means_where_all_are_coded():
    rng = np.random.default_rng(0)
    (one, _), (other, _) = answers(rng, 0.6), answers(rng, 0.4)
    means = [
        corrected_ratio(a.people, np.where(np.isnan(a.people), np.nan, 1.0), a.judge, np.ones(320), a.items).value for a in (one, other)
    ]
    found = corrected_difference(one, other)
    assert found.value == pytest.approx(means[0] - means[1])
    back = corrected_difference(other, one)
    assert (back.value, back.se, back.p) == (pytest.approx(-found.value), pytest.approx(found.se), pytest.approx(found.p))
    (one, truth), (other, others) = answers(rng, 0.6, share=1.0), answers(rng, 0.4, share=1.0)
    plain = corrected_difference(one, other)
    by_item = (truth - others - (truth - others).mean()).reshape(40, 8).sum(axis=1) / 320
    assert plain.se == pytest.approx(np.sqrt(40 / 39 * (by_item**2).sum()))
    assert plain.p == pytest.approx(2 * t.sf(abs(plain.value) / plain.se, 39))


def test_the_jackknife_leaves_out_an_item_with_the_answers_of_both_runs():
    rng = np.random.default_rng(1)
    (one, _), (other, _) = answers(rng, 0.5, items=10), answers(rng, 0.5, items=10)

    def without(item):
        parts = [JudgedAnswers(a.people[a.items != item], a.judge[a.items != item], a.items[a.items != item]) for a in (one, other)]
        return corrected_difference(*parts).value

    found = np.array([without(item) for item in range(10)])
    assert corrected_difference(one, other).se == pytest.approx(np.sqrt(9 / 10 * ((found - found.mean()) ** 2).sum()))


def test_runs_that_answer_alike_are_compared_more_precisely_than_unrelated_ones():
    """Items differ much, in both runs alike: the difference has no part in that."""
    rng = np.random.default_rng(2)
    chance = rng.choice([0.1, 0.9], 40)
    (one, _), (other, _) = answers(rng, chance, share=0.5), answers(rng, chance, share=0.5)
    moved = JudgedAnswers(other.people, other.judge, other.items + 100)
    assert corrected_difference(one, other).se < 0.75 * corrected_difference(one, moved).se


def test_too_few_coded_items_give_no_interval():
    rng = np.random.default_rng(3)
    (one, _), (other, _) = answers(rng, 0.5), answers(rng, 0.5)
    few = JudgedAnswers(np.where(other.items < 4, other.judge, np.nan), other.judge, other.items)
    found = corrected_difference(one, few)
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert found.items == 4
    nobody = JudgedAnswers(np.full(320, np.nan), other.judge, other.items)
    assert np.isnan(corrected_difference(one, nobody).value)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(0.55, 0.55), (0.65, 0.45)])
def test_planted_differences_are_covered_and_those_of_the_judge_are_not(first, second):
    """The judge is in favour of the first run only, so it sees a difference where there is none."""
    repetitions, covered, naive, found_one = 600, 0, 0, 0
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        shared = rng.normal(0, 0.15, 40)
        one, _ = answers(rng, np.clip(first + shared, 0, 1), toward=0.95)
        other, _ = answers(rng, np.clip(second + shared, 0, 1), toward=0.3)
        found = corrected_difference(one, other)
        covered += found.low <= first - second <= found.high
        found_one += found.p < 0.05
        by_item = (one.judge - other.judge).reshape(40, 8).mean(axis=1)
        reach = t.ppf(0.975, 39) * by_item.std(ddof=1) / np.sqrt(40)
        naive += abs(by_item.mean() - (first - second)) <= reach
    low, high = binom.ppf([0.001, 0.999], repetitions, 0.95)
    assert low <= covered <= high, covered / repetitions
    assert naive < 0.5 * repetitions
    if first == second:
        assert repetitions - high <= found_one <= repetitions - low


def studied(chances, share=150):
    """Verdicts of a judge that errs for `run`, and codings of a sample, for runs with these chances of win, tie and loss."""
    runs = {name: contests(DATASET, seed=at, run=name, chances=chance) for at, (name, chance) in enumerate(chances.items())}
    table = pl.concat([verdicts(planted, seed=at, error=0.2, toward=0.9) for at, planted in enumerate(runs.values())])
    key = drawn_key(DATASET, pairwise_units(table), share * len(runs))
    said = {}
    for planted in runs.values():
        mine = key.filter(pl.col("run") == planted.rows[0]["run"])
        said |= coded(mine, planted, 0)
    return runs, table, Codings(key, {"x": said}, {})


GOOD, BAD = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)


def differences_of(table, codings, pairs=None):
    """The corrected differences alone, without the checks of the judge."""
    units = pairwise_units(table).with_columns(judge=pl.lit("fake"))
    people = coded_places(codings.key, codings.verdicts)
    return corrected_differences(DATASET, units, judged_pairs(table), people, pairs=pairs, **FEW)


@pytest.fixture(scope="module")
def three():
    """Three runs with their verdicts and codings."""
    return studied({"a": GOOD, "b": BAD, "c": BAD}, share=120)


def test_the_table_has_every_two_runs_with_corrected_p_values(three):
    runs, table, codings = three
    found = differences_of(table, codings)
    whole = found.filter(pl.col("by") == "all")
    assert whole.select("run", "against").rows() == [("b", "a"), ("c", "a"), ("c", "b")]
    assert whole["tests"].to_list() == [3, 3, 3]
    assert (whole["p_adjusted"] >= whole["p"]).all()
    for row in whole.iter_rows(named=True):
        truth = runs[row["run"]].truth.mean() - runs[row["against"]].truth.mean()
        assert row["ci_low"] - 0.03 <= truth <= row["ci_high"] + 0.03
        assert row["judged"] == 160
        assert row["coded"] <= row["judged"]
    assert found.filter(pl.col("by") == "topic", pl.col("value").is_not_null()).height > 0
    only = differences_of(table, codings, pairs=[("a", "b")])
    row = only.filter(pl.col("by") == "all").row(0, named=True)
    assert (row["run"], row["against"], row["tests"]) == ("a", "b", 1)
    assert row["value"] == pytest.approx(-whole["value"][0])
    assert row["p_adjusted"] == row["p"]


def test_a_difference_is_compared_on_common_answers_only():
    _, table, codings = studied({"a": GOOD, "b": BAD})
    less = table.filter((pl.col("run") != "b") | pl.col("item").is_in([f"Q{number}" for number in range(1, 16)]))
    row = differences_of(less, codings).filter(pl.col("by") == "all")
    assert row["judged"].item() == 15 * 8
    assert row["items"].item() == 15


def test_claims_say_which_run_has_the_higher_win_rate_after_correction(three):
    _, table, codings = three
    found = differences_of(table, codings)
    first, _, last = (word(claim) for claim in corrected_difference_claims(found))
    assert first.sentence.startswith("a has a higher win rate against base on overall than b: b minus a is −")
    assert "after correction for the errors of judge fake" in first.sentence
    assert any("corrected for 3 tests (Holm)" in line for line in first.details)
    assert last.sentence.startswith("The data do not show a difference in win rate against base on overall between c and b: ")


def test_the_report_shows_them_beside_those_of_the_judge_and_of_people():
    _, table, codings = studied({"a": GOOD, "b": BAD})
    validity = judge_validity(DATASET, table, STANCES.empty(), codings=codings, pairs=[("a", "b")], **FEW)
    found = SimpleNamespace(validity=validity, verdicts=table, stances=STANCES.empty(), judges={}, runs=[])
    tables = dict(judges_section(DATASET, found).tables)
    (row,) = tables["Differences of win rates, corrected for the judges' errors"].rows
    difference = validity.corrected_differences.filter(pl.col("by") == "all")
    texts = [cell.text for cell in row.cells]
    assert texts[:4] == ["fake", "Overall", "a minus b", "base"]
    assert texts[4:7] == [points(difference[name].item()) for name in ("judge_value", "people_value", "value")]
    assert texts[7] == "p < .001"


def test_without_codings_there_are_none():
    _, table, _ = studied({"a": GOOD, "b": BAD})
    assert judge_validity(DATASET, table, STANCES.empty(), **FEW).corrected_differences.is_empty()
