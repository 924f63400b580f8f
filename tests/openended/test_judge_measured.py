"""A judge with planted faults behind a real server: what the protocol takes out, what people take out, what is caught."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from tests.hosted.server import Act, Server, said
from tests.openended.judged import coded, drawn_key, made_up, open_run
from tests.openended.judged import contests as planted_contests
from tests.openended.protocol import chance_of, hosted_judge
from valuestrata.openended.annotation.sample import hash_of, pairwise_units
from valuestrata.openended.files import load_judgements
from valuestrata.openended.pairwise.judge import open_judge, plan_judging
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.openended.schema import STANCES
from valuestrata.openended.sources import load_sources
from valuestrata.openended.validity.corrected import corrected_table
from valuestrata.openended.validity.decision_rule import NOT_USABLE, NOT_VALIDATED
from valuestrata.openended.validity.judge_validity import Codings, judge_validity
from valuestrata.openended.validity.units import coded_places, judged_pairs

DATASET = made_up()
PLANTED = planted_contests(DATASET, chances=(0.5, 0.0, 0.5), samples=1)
TEXTS = re.compile(r"Answer (\d):\n<<<\n(.*?)\n>>>", re.DOTALL)
FEW = {"bootstrap": 300, "seed": 0}


def wrote(who):
    """The better answer of each pair weighs more; how long it is has nothing to do with it; the run has a way of its own to talk."""
    truth = {(row["pair_id"], row["sample"]): value for row, value in zip(PLANTED.rows, PLANTED.truth, strict=True)}

    def text(row):
        better = (truth[row["pair_id"], row["sample"]] == 1.0) == (who == "tuned")
        more = " and so on" * int(8 * chance_of("length", who, row["pair_id"], row["sample"]))
        own = "Indeed, m" if who == "tuned" else "M"
        return f"{own}y view of {row['pair_id']} {row['sample']} has weight {2 if better else 1}{more}."

    return text


def weighs(*, position=0.0, fooled=0.0, nonsense=0.0, refuses=0.0, longer=False):
    """A judge that prefers the weightier answer.

    Planted shares: of calls in which it names the first, babbles or refuses; of pairs in which it is `fooled`, in both orders alike,
    by who says `indeed`. Or it takes the longer one.
    """

    def behave(request):
        texts = dict(TEXTS.findall(request.body["messages"][-1]["content"]))
        dice = {kind: chance_of(kind, request.identity) for kind in ("position", "nonsense", "refuses")}
        if dice["nonsense"] < nonsense:
            return Act(document=said("Both are about something, and the weather is fine."))
        if dice["refuses"] < refuses:
            return Act(document=said("I'm sorry, but I can't help with comparing these."))
        if longer:
            chosen = max(texts, key=lambda number: len(texts[number]))
        elif dice["position"] < position:
            chosen = "1"
        elif chance_of("fooled", *sorted(texts.values())) < fooled:
            chosen = next(number for number, text in texts.items() if "Indeed" in text)
        else:
            chosen = next(number for number, text in texts.items() if "weight 2" in text)
        return Act(document=said(f"One of them is better.\nVerdict: {chosen}"))

    return behave


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A function that has a judge with such faults judge the two runs; returns the folder's sources."""
    home = tmp_path_factory.mktemp("judged")
    tuned, base = (open_run(home / who, DATASET, PLANTED, text=wrote(who)) for who in ("tuned", "base"))

    def judged(**faults):
        out = home / "_".join(["out", *(f"{name}-{share}" for name, share in faults.items())])
        with Server(weighs(**faults)) as server:
            plan = plan_judging(DATASET, [tuned], base, hosted_judge(server.url), criteria=load_criteria(["overall"]))
            assert open_judge(plan, out).asked == 320
        assert load_judgements(out).verdicts.height == 320
        return load_sources(DATASET, [out])

    return judged


def sampled(units, seed, n=80):
    return drawn_key(DATASET, units, n, seed)


def verdict(found):
    return found.usable["verdict"].to_list(), found.usable["failed"].to_list()


@pytest.mark.slow
def test_the_protocol_takes_out_the_position_and_people_the_errors(judge):
    """First named in 15 % of calls, fooled for the run in 30 % of the other pairs: neither shows in the corrected figure."""
    sources = judge(position=0.15, fooled=0.3)
    verdicts, truth = sources.verdicts, PLANTED.truth.mean()
    wins = dict(verdicts.group_by("order").agg((pl.col("verdict") == "run").mean()).iter_rows())
    # The better one, or the run where it is fooled: .7 x truth + .3 in both orders, .15 of either end for the place.
    seen = 0.7 * truth + 0.3
    assert wins["run-first"] - wins["reference-first"] == pytest.approx(0.15, abs=0.06)
    score = judged_pairs(verdicts)["score"].mean()
    assert score == pytest.approx(0.85 * seen + 0.15 / 2, abs=0.05)
    assert verdict(judge_validity(DATASET, verdicts, STANCES.empty(), answers=sources.answers, **FEW)) == ([NOT_VALIDATED], [[]])
    units = pairwise_units(verdicts).with_columns(judge=pl.lit(verdicts["judge"][0]))
    covered, values, repetitions = 0, [], 120
    for seed in range(repetitions):
        key = sampled(units.drop("judge"), seed)
        people = coded_places(key, {"x": coded(key, PLANTED, seed)})
        row = (
            corrected_table(DATASET, units, judged_pairs(verdicts), people, bootstrap=50, seed=0)
            .filter(pl.col("by") == "all")
            .row(0, named=True)
        )
        covered += row["ci_low"] <= truth <= row["ci_high"]
        values.append(row["value"])
        assert row["judge_low"] > truth
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(repetitions))
    # The texts are the same ones in every study, so that an interval which reckons with other items holds the truth more often.
    assert covered >= binom.ppf(0.001, repetitions, 0.95)


def test_people_tell_a_judge_that_is_fooled(judge):
    """Its own verdicts speak for it, two people who agree with each other do not."""
    sources = judge(fooled=0.6)
    key = sampled(pairwise_units(sources.verdicts), 0, n=160)
    told = {name: coded(key, PLANTED, seed, error=0.1) for seed, name in enumerate(("x", "y"))}
    found = judge_validity(DATASET, sources.verdicts, STANCES.empty(), answers=sources.answers, codings=Codings(key, told, {}), **FEW)
    assert verdict(found) == ([NOT_USABLE], [["kappa_difference"]])


@pytest.mark.parametrize(
    ("faults", "failed"),
    [
        ({"nonsense": 0.2}, ["invalid_share"]),
        pytest.param({"refuses": 0.2}, ["invalid_share"], marks=pytest.mark.slow),
        ({"longer": True}, ["longer_preferred"]),
        ({"position": 0.8}, ["order_consistency", "position_bias"]),
    ],
)
def test_faults_that_need_no_people_are_caught(judge, faults, failed):
    sources = judge(**faults)
    found = judge_validity(DATASET, sources.verdicts, STANCES.empty(), answers=sources.answers, **FEW)
    assert verdict(found) == ([NOT_USABLE], [failed])


def test_what_was_shown_is_what_was_judged(judge):
    """The hash in a key is that of the very texts the sources hold."""
    sources = judge(fooled=0.1)
    texts = {(row["run"], row["pair_id"], row["sample"]): row["text"] for row in sources.answers.iter_rows(named=True)}
    key = sampled(pairwise_units(sources.verdicts), 0, n=5)
    hashes = [hash_of(texts[run, row["pair_id"], row["sample"]] for run in ("tuned", "base")) for row in key.iter_rows(named=True)]
    codings = Codings(key.with_columns(pl.Series("texts_hash", hashes)), {"x": coded(key, PLANTED, 0)}, {})
    assert judge_validity(DATASET, sources.verdicts, STANCES.empty(), answers=sources.answers, codings=codings, **FEW).agreed.height > 0
