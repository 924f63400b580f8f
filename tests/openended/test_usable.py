"""The rule by which a judge is usable or not, on judges with planted faults."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from tests.openended.judged import coded, contests, drawn_key, made_up, stances, verdicts
from valuestrata.claims.judges import judge_claims
from valuestrata.claims.templates import word
from valuestrata.openended.annotation.sample import pairwise_units
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.openended.validity.decision_rule import NOT_USABLE, NOT_VALIDATED, TOO_FEW, USABLE, VALIDITY, passes, usable
from valuestrata.openended.validity.human_agreement import Ratings, measured
from valuestrata.openended.validity.judge_checks import longer_won
from valuestrata.openended.validity.judge_validity import Codings, judge_validity
from valuestrata.openended.validity.units import judged_pairs
from valuestrata.stats.cluster_bootstrap import ClusterEstimate

DATASET = made_up()
PLANTED = contests(DATASET)
FEW = {"bootstrap": 300, "seed": 0}


def validity(table, **more):
    return judge_validity(DATASET, table, STANCES.empty(), **FEW, **more)


def check(found, name, by="all", key="all"):
    return found.checks.filter(pl.col("check") == name, pl.col("by") == by, pl.col("key") == key).row(0, named=True)


def verdict(found):
    return found.usable["verdict"].to_list(), found.usable["failed"].to_list()


def answers_of(lengths):
    """Texts of given lengths: pair -> (the run's, the reference's)."""
    rows = [
        {"run": run, "pair_id": pair, "sample": 0, "text": "x" * n}
        for pair, two in lengths.items()
        for run, n in zip(("tuned", "base"), two, strict=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"sample": pl.Int32})


def test_a_sound_judge_without_people_is_only_unproven():
    found = validity(verdicts(PLANTED, error=0.1))
    assert verdict(found) == ([NOT_VALIDATED], [[]])
    assert check(found, "order_consistency")["value"] == 1.0
    assert abs(check(found, "position_bias")["value"]) < 1e-9
    assert check(found, "usable")["passed"] is True
    (claim,) = judge_claims(found)
    assert (claim.kind, claim.run, claim.key, claim.notes) == ("not-validated", "fake", "overall", ("no-codings",))
    assert "no sample has been coded by people" in word(claim).sentence


def test_checks_by_hand():
    """Two pairs, both orders: one says run twice, one says what is first twice; a third has one order."""
    row = {"item": "Q1", "subgroup": "sex_Male", "sample": 0, "run": "r", "reference": "b", "judge": "j", "criterion": "overall"}
    said = [("a", 0, "run"), ("a", 1, "run"), ("b", 0, "run"), ("b", 1, "reference"), ("c", 0, "tie"), ("c", 1, None)]
    orders = ("run-first", "reference-first")
    rows = [
        {**row, "pair_id": pair, "order": orders[order], "verdict": word, "status": "answered" if word else "refused"}
        for pair, order, word in said
    ]
    rows += [{**row, "pair_id": "d", "order": order, "verdict": "run", "status": "by_rule"} for order in orders]
    found = judge_validity(DATASET, VERDICTS.frame(rows), STANCES.empty(), **FEW)
    got = {name: (check(found, name)["value"], check(found, name)["n"]) for name in ("invalid_share", "order_consistency", "tie_share")}
    assert got == {"invalid_share": (1 / 6, 6), "order_consistency": (0.5, 2), "tie_share": (0.0, 4)}
    assert (check(found, "position_bias")["value"], check(found, "position_bias")["n"]) == (0.25, 4)
    assert verdict(found) == ([TOO_FEW], [[]])


@pytest.mark.parametrize(
    ("faults", "failed"),
    [
        ({"first": 0.7}, ["order_consistency", "position_bias"]),
        ({"first": 1.0}, ["order_consistency", "position_bias"]),
        ({"invalid": 0.2}, ["invalid_share"]),
        ({"invalid": 1.0}, ["invalid_share"]),
    ],
)
def test_a_judge_with_a_fault_is_caught_by_it(faults, failed):
    found = validity(verdicts(PLANTED, **faults))
    assert verdict(found) == ([NOT_USABLE], [failed])
    (claim,) = judge_claims(found)
    assert (claim.kind, [figure.role for figure in claim.figures]) == ("not-usable", failed)
    assert word(claim).sentence.startswith("Judge fake is not usable for overall: ")
    assert check(found, "usable")["passed"] is False


def test_a_judge_that_always_says_tie_is_caught_though_it_is_consistent():
    table = verdicts(PLANTED).with_columns(verdict=pl.lit("tie"))
    found = validity(table)
    assert verdict(found) == ([NOT_USABLE], [["tie_share"]])
    assert check(found, "order_consistency")["passed"] is True


def test_a_judge_of_longer_texts_is_caught_by_their_lengths():
    rng = np.random.default_rng(0)
    pairs = [row["pair_id"] for row in PLANTED.rows]
    lengths = {pair: (100, 200) if rng.random() < 0.5 else (200, 100) for pair in pairs}
    longer = {pair: "run" if two[0] > two[1] else "reference" for pair, two in lengths.items()}
    found = validity(verdicts(PLANTED, longer=longer), answers=answers_of(lengths))
    assert verdict(found) == ([NOT_USABLE], [["longer_preferred"]])
    fair = validity(verdicts(PLANTED), answers=answers_of(lengths))
    assert check(fair, "longer_preferred")["passed"] is True
    assert not [note for note in fair.notes if "texts of the answers were not given" in note]
    assert [note for note in validity(verdicts(PLANTED)).notes if "texts of the answers were not given" in note]


def test_lengths_that_hardly_differ_say_nothing():
    pairs = [row["pair_id"] for row in PLANTED.rows]
    judged = judged_pairs(verdicts(PLANTED))
    assert longer_won(judged, answers_of(dict.fromkeys(pairs, (100, 91)))).is_empty()
    won = longer_won(judged, answers_of(dict.fromkeys(pairs, (100, 90))))
    assert len(won) == int((PLANTED.truth != 0.5).sum())
    assert won["value"].sum() == (PLANTED.truth == 1.0).sum()


def test_few_pairs_make_no_judge_usable_and_none_unusable():
    few = PLANTED.rows[:48]
    some = verdicts(PLANTED).filter(pl.col("pair_id").is_in([row["pair_id"] for row in few]))
    found = validity(some)
    assert verdict(found) == ([TOO_FEW], [[]])
    (claim,) = judge_claims(found)
    assert claim.kind == "too-few-data"
    assert "is based on 48 pairs" in word(claim).sentence
    assert word(claim).sentence.endswith("but 50 are required.")


@pytest.mark.parametrize(
    ("check", "found", "passed"),
    [
        ("order_consistency", (0.81, 0.72, 0.9, 60), True),
        ("order_consistency", (0.71, 0.5, 0.9, 60), None),
        ("order_consistency", (0.69, 0.5, 0.9, 60), False),
        ("order_consistency", (0.1, 0.0, 0.2, 49), None),
        ("order_consistency", (0.9, np.nan, np.nan, 60), None),
        ("position_bias", (-0.05, -0.1, 0.0, 60), True),
        ("position_bias", (-0.05, -0.2, 0.1, 60), None),
        ("position_bias", (-0.11, -0.2, 0.0, 60), False),
        ("longer_preferred", (0.6, 0.5, 0.7, 60), True),
        ("longer_preferred", (0.8, 0.69, 0.9, 60), None),
        ("longer_preferred", (0.8, 0.71, 0.9, 60), False),
        ("kappa_difference", (0.0, -0.09, 0.09, 60), True),
        ("kappa_difference", (-0.05, -0.09, -0.01, 60), True),
        ("kappa_difference", (0.0, -0.11, 0.11, 60), None),
        ("kappa_difference", (-0.2, -0.3, -0.01, 60), False),
        ("kappa_difference", (-0.2, np.nan, np.nan, 60), None),
        ("agreement_difference", (-0.02, -0.04, 0.0, 60), True),
        ("agreement_difference", (-0.02, -0.06, 0.02, 60), None),
        ("kappa_with_people", (0.1, 0.01, 0.2, 60), True),
        ("kappa_with_people", (0.1, -0.01, 0.2, 60), False),
        ("kappa_among_people", (0.1, -0.01, 0.2, 60), None),
    ],
)
def test_a_check_passes_only_if_its_whole_interval_does(check, found, passed):
    value, low, high, n = found
    assert passes(check, ClusterEstimate(value, low, high, n, 10)) is passed


def test_an_optional_check_that_is_too_wide_leaves_the_judge_undetermined():
    """Three in five won by the longer text: with 60 pairs, an interval beyond .70; with nothing to compare, no check."""
    row = {"judge": "j", "criterion": "c", "by": "all", "key": "all", "source": "judge", "ci_low": 0.0, "ci_high": 0.05}
    rows = [{**row, "check": name, "value": 0.02, "n": 60, "threshold": 0.1, "passed": True} for name in ("invalid_share", "position_bias")]
    wide = {**row, "check": "longer_preferred", "value": 0.6, "ci_low": 0.45, "ci_high": 0.75, "n": 60, "threshold": 0.7, "passed": None}
    undefined = {**wide, "value": None, "ci_low": None, "ci_high": None, "n": 0}
    (open_,) = usable(VALIDITY.frame([*rows, wide])).iter_rows(named=True)
    assert (open_["verdict"], open_["unknown"]) == (TOO_FEW, ["longer_preferred"])
    (without,) = usable(VALIDITY.frame([*rows, undefined])).iter_rows(named=True)
    assert (without["verdict"], without["unknown"]) == (NOT_VALIDATED, [])


def people(table, errors, *, share=1.0):
    """A sample of 160 answers coded by as many people as there are errors."""
    key = drawn_key(DATASET, pairwise_units(table), 160)
    said = {f"coder{n}": coded(key, PLANTED, n, error=error, share=share) for n, error in enumerate(errors)}
    return Codings(key, said, {})


@pytest.mark.parametrize(
    ("error", "people_error", "expected"),
    [(0.1, 0.2, (USABLE, [])), (0.9, 0.1, (NOT_USABLE, ["kappa_difference"])), (1.0, 0.6, (NOT_USABLE, ["kappa_with_people"]))],
)
def test_people_have_the_last_word(error, people_error, expected):
    table = verdicts(PLANTED, error=error)
    found = validity(table, codings=people(table, [people_error] * 3))
    assert found.usable["coders"].to_list() == [True]
    assert found.usable["verdict"][0] == expected[0]
    assert set(expected[1]) <= set(found.usable["failed"][0])
    if expected[1]:
        assert "eighted kappa with people is" in word(judge_claims(found)[0]).text


def test_one_coder_or_few_codings_leave_it_unproven():
    table = verdicts(PLANTED, error=0.1)
    alone = validity(table, codings=people(table, [0.1]))
    assert verdict(alone) == ([NOT_VALIDATED], [[]])
    assert check(alone, "kappa_with_people")["passed"] is True
    assert "(0 answers rated by the judge and two coders" in word(judge_claims(alone)[0]).sentence
    few = validity(table, codings=people(table, [0.1, 0.1], share=0.3))
    assert verdict(few) == ([NOT_VALIDATED], [[]])


def test_people_who_always_say_the_same_have_no_kappa_and_still_a_say():
    table = verdicts(PLANTED, error=0.1)
    codings = people(table, [0.0, 0.0])
    same = {coder: dict.fromkeys(said, ("tie", "")) for coder, said in codings.verdicts.items()}
    first = dict(codings.key.select("code_id", "first").iter_rows())
    always = {
        coder: {code_id: ("1" if first[code_id] == "run" else "2", "") for code_id in said} for coder, said in codings.verdicts.items()
    }
    # A judge that says what they say but of six pairs of one item: its kappa with them is 0, and no fault of its own.
    near = table.with_columns(verdict=pl.when(pl.col("pair_id").str.starts_with("Q1_sex_")).then(pl.lit("tie")).otherwise(pl.lit("run")))
    found = validity(near, codings=Codings(codings.key, always, {}))
    assert verdict(found) == ([NOT_VALIDATED], [[]])
    assert check(found, "kappa_with_people")["value"] is None
    # Six of 160 answers, all of one item: the judge is not shown to be within the margin of people.
    assert check(found, "agreement_difference")["passed"] is None
    assert "the codings do not show that its agreement with people is at most 5" in word(judge_claims(found)[0]).sentence
    # One that says something else in half of the cases is caught all the same, and a judge who never differs where people do.
    worse = validity(table, codings=Codings(codings.key, same, {}))
    assert verdict(worse) == ([NOT_USABLE], [["agreement_difference"]])
    assert "below theirs for " in word(judge_claims(worse)[0]).sentence
    stubborn = validity(table.with_columns(verdict=pl.lit("run")), codings=codings)
    assert "kappa_with_people" in stubborn.usable["failed"][0]


def rated(seed, errors, items=20, answers=8):
    """Ratings of answers to some items by raters who say something by chance in the given shares, the judge in front."""
    rng, number = np.random.default_rng(seed), items * answers
    truth = rng.choice(3, size=number, p=(0.3, 0.2, 0.5))
    codes = np.stack([np.where(rng.random(number) < error, rng.integers(0, 3, number), truth) for error in errors], axis=1)
    return Ratings(
        codes,
        np.array([0.0, 0.5, 1.0]),
        np.repeat(np.arange(items), answers),
        np.repeat(np.arange(items), answers),
        np.ones(number, dtype=bool),
    )


@pytest.mark.slow
def test_a_judge_as_good_as_people_is_seldom_called_worse_and_a_worse_one_mostly():
    def worse(errors):
        found = [measured(rated(seed, errors), "kappa_quadratic", bootstrap=200, seed=0)["difference"][0] for seed in range(200)]
        return sum(passes("kappa_difference", one) is False for one in found)

    # One tail of a 95 % interval.
    assert worse((0.3, 0.3, 0.3, 0.3)) <= binom.ppf(0.999, 200, 0.025)
    assert worse((0.8, 0.3, 0.3, 0.3)) > 190


@pytest.mark.slow
def test_a_judge_at_the_margin_is_seldom_called_usable_and_a_good_one_mostly_with_enough_codings():
    """A judge that guesses 45 % of the time has a kappa .10 below that among people, who guess 30 %."""

    def passing(judge, items, answers):
        studies = [rated(seed, (judge, 0.3, 0.3, 0.3), items, answers) for seed in range(200)]
        found = [measured(study, "kappa_quadratic", bootstrap=200, seed=0)["difference"][0] for study in studies]
        not_shown_worse = sum(one.high >= 0 for one in found)
        return sum(passes("kappa_difference", one) is True for one in found), not_shown_worse

    shown, before = passing(0.45, 20, 8)
    assert shown <= binom.ppf(0.999, 200, 0.05)
    assert before > 100
    assert passing(0.3, 60, 15)[0] > 180


def test_a_reader_of_stances_that_always_says_the_same_is_caught():
    _, table = stances(DATASET, PLANTED)
    sound = judge_validity(DATASET, VERDICTS.empty(), table, **FEW)
    assert verdict(sound) == ([NOT_VALIDATED], [[]])
    same = table.with_columns(answer=pl.lit(2, pl.Int32), status=pl.lit("answered"))
    found = judge_validity(DATASET, VERDICTS.empty(), same, **FEW)
    assert verdict(found) == ([NOT_USABLE], [["same_reading"]])
    silent = table.with_columns(attempts=pl.lit(0, pl.Int32), status=pl.lit("refused"), answer=pl.lit(None, pl.Int32))
    assert check(judge_validity(DATASET, VERDICTS.empty(), pl.concat([table, silent]), **FEW), "invalid_share")["value"] == 0.0


def test_judges_and_criteria_are_told_apart():
    tables = [
        verdicts(PLANTED, judge=judge, criterion=name, first=first)
        for judge, name, first in (("a", "value", 0.0), ("b", "value", 1.0), ("a", "persona", 1.0))
    ]
    found = validity(pl.concat(tables))
    told = {(row["judge"], row["criterion"]): row["verdict"] for row in found.usable.iter_rows(named=True)}
    assert told == {("a", "value"): NOT_VALIDATED, ("b", "value"): NOT_USABLE, ("a", "persona"): NOT_USABLE}
    assert check(found, "order_consistency", "level", "sex=Female")["n"] > 0
    assert set(found.checks["by"]) >= {"all", "stratum", "level", "subgroup", "topic"}
