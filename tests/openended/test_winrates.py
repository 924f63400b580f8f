"""Win rates against hand-worked verdicts, and intervals that hold a planted truth as often as they say."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from valuestrata.errors import UsageError
from valuestrata.openended.pairwise.diagnostics import units_of
from valuestrata.openended.pairwise.win_rates import win_differences, winrates
from valuestrata.openended.schema import VERDICTS
from valuestrata.openended.validity.judge_checks import pairwise_checks


def verdict(item, subgroup, order, said, *, run="tuned", sample=0, status="answered", criterion="value"):
    return {
        **{"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": sample, "run": run, "reference": "gpt"},
        **{"judge": "judge", "order": order, "criterion": criterion, "verdict": said, "status": status, "attempts": 1},
    }


def both(item, subgroup, first, second, **more):
    return [verdict(item, subgroup, "run-first", first, **more), verdict(item, subgroup, "reference-first", second, **more)]


def table(*units):
    return VERDICTS.frame([row for rows in units for row in rows])


def figure(frame, metric, by="all", key="all", **more):
    wanted = frame.filter(pl.col("metric") == metric, pl.col("by") == by, pl.col("key") == key)
    for name, value in more.items():
        wanted = wanted.filter(pl.col(name) == value)
    return wanted.row(0, named=True)


MALAY, OTHERS = "age_x_ethnicity_16-24-years_SG:-Malay", "age_x_ethnicity_35-44-years_SG:-Others"


def test_win_rates_against_a_table_worked_by_hand(handmade):
    verdicts = table(
        both("Q1", MALAY, "run", "run"),  # 1
        both("Q1", OTHERS, "run", "reference"),  # .5, names the first both times
        both("Q182", MALAY, "tie", "run"),  # .75
        both("Q182", OTHERS, "reference", None),  # left out
        both("spend", MALAY, "run", "run", status="by_rule"),  # 1
    )
    verdicts = verdicts.with_columns(
        pl.when(pl.col("verdict").is_null()).then(pl.lit("unparsed")).otherwise("status").alias("status"),
    )
    rates = winrates(handmade, verdicts, bootstrap=0)
    assert figure(rates, "win_rate") | {"ci_low": None} == {
        **{"run": "tuned", "reference": "gpt", "judge": "judge", "criterion": "value", "by": "all", "key": "all", "metric": "win_rate"},
        **{"value": pytest.approx((1 + 0.5 + 0.75 + 1) / 4), "ci_low": None, "ci_high": None, "pairs": 4, "items": 3},
    }
    assert figure(rates, "consistency")["value"] == pytest.approx(1 / 3)
    # Decided: run, run | run, reference | run of the reference-first order: the first shown is named in 1 of 2, 2 of 2, 0 of 1.
    assert figure(rates, "position_bias")["value"] == pytest.approx(3 / 5 - 0.5)
    assert figure(rates, "tie_rate")["value"] == pytest.approx(1 / 6)
    assert figure(rates, "invalid_rate")["value"] == pytest.approx(1 / 8)
    assert figure(rates, "by_rule_rate")["value"] == pytest.approx(1 / 5)
    assert figure(rates, "left_out")["value"] == pytest.approx(1 / 5)
    assert figure(rates, "win_rate", "level", "ethnicity=SG: Malay")["value"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert figure(rates, "win_rate", "topic", "Economy")["value"] == 1
    assert figure(rates, "win_rate", "subgroup", OTHERS)["pairs"] == 1
    assert figure(rates, "win_rate", "stratum", "age_x_ethnicity")["pairs"] == 4
    assert figure(rates, "win_rate", "attribute", "age_group")["pairs"] == 4


def test_a_pair_is_the_mean_of_its_samples_and_a_verdict_counts_once(handmade):
    verdicts = table(
        both("Q1", MALAY, "run", "run"), both("Q1", MALAY, "reference", "reference", sample=1), both("Q182", MALAY, "run", "run")
    )
    doubled = pl.concat([verdicts, verdicts])
    assert units_of(doubled).equals(units_of(verdicts))
    assert figure(winrates(handmade, doubled, bootstrap=0), "win_rate")["value"] == pytest.approx((0.5 + 1) / 2)


def test_a_difference_is_of_common_pairs(handmade):
    verdicts = table(
        both("Q1", MALAY, "run", "run"),
        both("Q182", MALAY, "run", "tie"),
        both("Q1", MALAY, "tie", "tie", run="base"),
        both("Q182", MALAY, "reference", "reference", run="base"),
        both("spend", MALAY, "run", "run", run="base"),
    )
    found = win_differences(handmade, verdicts, [("tuned", "base")], by=("all",))
    assert found.select("run", "against", "value", "pairs").rows() == [("tuned", "base", pytest.approx((0.5 + 0.75) / 2), 2)]
    with pytest.raises(UsageError, match=r"There are no verdicts on a run 'tund'. Did you mean 'tuned'"):
        win_differences(handmade, verdicts, [("tund", "base")])
    with pytest.raises(UsageError, match="by='itm'"):
        winrates(handmade, verdicts, by=("itm",))


ITEMS, SUBGROUPS = 40, 6
NOBODY = SimpleNamespace(
    attributes=[],
    subgroups=pl.DataFrame({"subgroup": [f"s{number}" for number in range(SUBGROUPS)], "stratum": "all"}),
    items=pl.DataFrame({"item": [f"i{number}" for number in range(ITEMS)], "topic": "one"}),
    blocks_of=lambda items: np.asarray(items, dtype=np.str_),
)


def drawn(chance, share, run, *, position, error, items=ITEMS):
    """Verdicts of a judge with planted errors over answers of which a share, varying by item, is better than the reference's."""
    of_item = chance.beta(8 * share, 8 * (1 - share), items)
    better = chance.random((items, SUBGROUPS)) < of_item[:, None]
    sees = [np.where(chance.random(better.shape) < error, ~better, better) for _ in range(2)]
    first = [chance.random(better.shape) < position for _ in range(2)]
    says = [np.where(first[0], True, sees[0]), np.where(first[1], False, sees[1])]
    size = items * SUBGROUPS
    names = np.repeat([f"i{number}" for number in range(items)], SUBGROUPS)
    subgroups = np.tile([f"s{number}" for number in range(SUBGROUPS)], items)
    frames = [
        pl.DataFrame({"item": names, "subgroup": subgroups, "order": order, "verdict": np.where(said.ravel(), "run", "reference")})
        for order, said in zip(("run-first", "reference-first"), says, strict=True)
    ]
    assert size == frames[0].height
    constant = {"run": run, "reference": "gpt", "judge": "judge", "criterion": "value", "status": "answered"}
    frame = pl.concat(frames).with_columns(
        pl.format("{}_{}", "item", "subgroup").alias("pair_id"),
        pl.lit(0, pl.Int32).alias("sample"),
        *(pl.lit(value).alias(name) for name, value in constant.items()),
    )
    return frame.with_columns(
        pl.lit(None).cast(column.dtype).alias(name) for name, column in VERDICTS.columns.items() if name not in frame.columns
    )


@pytest.mark.slow
def test_intervals_hold_the_planted_rate_and_difference_as_often_as_they_say():
    repeats, share, base, position, error = 200, 0.7, 0.55, 0.3, 0.1
    # What both orders make of a share p: half of the position's verdicts fall to either side.
    truth = [position / 2 + (1 - position) * (p * (1 - error) + (1 - p) * error) for p in (share, base)]
    held, apart, biased = 0, 0, 0
    for seed in range(repeats):
        chance = np.random.default_rng(seed)
        verdicts = pl.concat([drawn(chance, p, run, position=position, error=error) for p, run in ((share, "tuned"), (base, "base"))])
        rates = winrates(NOBODY, verdicts, by=("all",), bootstrap=400, seed=seed)
        row = figure(rates, "win_rate", run="tuned")
        held += row["ci_low"] <= truth[0] <= row["ci_high"]
        gain = win_differences(NOBODY, verdicts, [("tuned", "base")], by=("all",), bootstrap=400, seed=seed).row(0, named=True)
        apart += gain["ci_low"] <= truth[0] - truth[1] <= gain["ci_high"]
        bias = figure(rates, "position_bias", run="tuned")
        biased += bias["ci_low"] <= position / 2 <= bias["ci_high"]
    for hits in (held, apart, biased):
        assert stats.binomtest(hits, repeats, 0.95).pvalue > 0.001, (held, apart, biased)


@pytest.mark.slow
def test_intervals_over_few_items_are_a_little_short_and_not_more():
    repeats, held = 200, 0
    for seed in range(repeats):
        verdicts = drawn(np.random.default_rng(seed), 0.7, "tuned", position=0.3, error=0.1, items=6)
        row = figure(winrates(NOBODY, verdicts, by=("all",), bootstrap=400, seed=seed), "win_rate")
        held += row["ci_low"] <= 0.15 + 0.7 * (0.7 * 0.9 + 0.3 * 0.1) <= row["ci_high"]
    assert stats.binomtest(held, repeats, 0.93).pvalue > 0.001, held


def test_failed_calls_count_as_invalid_in_win_rates_and_in_the_judges_checks(handmade):
    verdicts = table(both("Q1", MALAY, "run", "run"), both("Q182", MALAY, None, None, status="failed"), both("spend", MALAY, "tie", "run"))
    rates = winrates(handmade, verdicts, by=("all",), bootstrap=0)
    assert (figure(rates, "invalid_rate")["value"], figure(rates, "failed_rate")["value"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    checks = pairwise_checks(handmade, verdicts, None, bootstrap=0, seed=0).filter(pl.col("by") == "all")
    values = dict(checks.select("check", "value").iter_rows())
    for check, metric in (("invalid_share", "invalid_rate"), ("order_consistency", "consistency"), ("tie_share", "tie_rate")):
        assert values[check] == pytest.approx(figure(rates, metric)["value"])
