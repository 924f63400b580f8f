"""Adjustments for many comparisons: published and hand-worked values, scipy, and what they promise under the null."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valuestrata.errors import UsageError
from valuestrata.scores import COMPARISONS, adjust
from valuestrata.scores.plan import DeclaredComparison
from valuestrata.stats.multiple_testing import benjamini_hochberg, holm

# Benjamini and Hochberg (1995), section 3.2: 15 hypotheses on thrombolysis after infarction. At .05 Bonferroni (and Holm)
# reject three, their procedure the first four.
THROMBOLYSIS = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
PS = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def test_holm_by_hand():
    # In order .005, .01, .03, .04, times 4, 3, 2, 1: .02, .03, .06, .04, and none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.7]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_benjamini_hochberg_by_hand():
    # In order .005, .01, .03, .04, times 4/1, 4/2, 4/3, 4/4: .02, .02, .04, .04.
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    # .04 * 3/2 = .06 is above what .05 gets, and a smaller p is never adjusted to more than a larger one.
    assert benjamini_hochberg([0.05, 0.04, 0.9]) == pytest.approx([0.075, 0.075, 0.9])
    assert benjamini_hochberg([]) == []


def test_the_published_example():
    assert sum(p <= 0.05 for p in holm(THROMBOLYSIS)) == 3
    adjusted = benjamini_hochberg(THROMBOLYSIS)
    assert sum(p <= 0.05 for p in adjusted) == 4
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert holm(THROMBOLYSIS)[2] == pytest.approx(0.0019 * 13)


@given(PS)
def test_scipy_agrees_and_nulls_count_for_nothing(p):
    found = benjamini_hochberg(p)
    known = [value for value in p if value is not None]
    assert [value is None for value in found] == [value is None for value in p]
    if known:
        assert [v for v in found if v is not None] == pytest.approx(stats.false_discovery_control(known).tolist(), abs=1e-12)


@given(PS, st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, level):
    """Reject the smallest p as long as p <= level / (hypotheses left); the adjusted p says the same at every level."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    rejected = set()
    for left, (value, place) in zip(range(len(known), 0, -1), known, strict=True):
        if value * left > level:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(holm(p)) if value is not None and value <= level} == rejected


@given(PS)
def test_holm_lies_between_p_and_bonferroni(p):
    number = sum(value is not None for value in p)
    for raw, step, screened in zip(p, holm(p), benjamini_hochberg(p), strict=True):
        if raw is not None:
            assert raw <= screened + 1e-12 <= step + 2e-12 <= min(1, number * raw) + 3e-12


def test_what_they_promise_under_the_null():
    """Twelve tests that depend on one another as subgroups of the same pairs do: 2,000 families."""
    rng = np.random.default_rng(0)
    z = 0.6 * rng.normal(size=(2000, 1)) + 0.8 * rng.normal(size=(2000, 12))
    false = sum(min(holm(list(row))) <= 0.05 for row in 2 * stats.norm.sf(np.abs(z)))
    assert stats.binomtest(false, 2000, 0.05, alternative="greater").pvalue > 0.001, false
    # Four real effects beside eight nulls: the share of false among the rejected, 0 where nothing is rejected.
    z[:, :4] += 4
    shares = []
    for row in 2 * stats.norm.sf(np.abs(z)):
        rejected = np.array(benjamini_hochberg(list(row))) <= 0.05
        shares.append(rejected[4:].sum() / max(rejected.sum(), 1))
    assert np.mean(shares) < 0.05
    assert np.mean(shares) > 0.01


@pytest.mark.parametrize("method", [holm, benjamini_hochberg])
@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_a_p_that_is_none_is_refused(method, bad):
    with pytest.raises(UsageError, match="not between 0 and 1"):
        method([0.1, bad])


def table(rows):
    """COMPARISONS with what a test says of each row: run, metric, by, key, p."""
    plain = {"against": "base", "scheme": "paper", "part": "test", "pairs": 9, "coverage": 1.0, "status": "exploratory"}
    return COMPARISONS.frame([plain | dict(zip(("run", "metric", "by", "key", "p"), row, strict=True)) for row in rows])


ROWS = [
    ("a", "accuracy", "all", "all", 0.01),
    ("b", "accuracy", "all", "all", 0.03),
    ("a", "nmae", "all", "all", 0.04),
    ("a", "accuracy", "level", "sex=F", 0.02),
    ("a", "accuracy", "level", "sex=M", 0.02),
    ("b", "accuracy", "level", "sex=F", 0.5),
    ("b", "nmae", "all", "all", None),
]


def test_declared_rows_are_one_family_and_the_others_are_screened_by_metric_and_grouping():
    declared = [
        DeclaredComparison("a", "base", "accuracy"),
        DeclaredComparison("a", "base", "nmae"),
        DeclaredComparison("a", "base", "accuracy", "level", "sex=F"),
    ]
    found = adjust(table(ROWS), declared)
    assert found.select("run", "metric", "by", "key", "p").rows() == table(ROWS).select("run", "metric", "by", "key", "p").rows()
    # Declared: .01, .02, .04 times 3, 2, 1. Screened: accuracy over all has b alone; accuracy by level .02 and .5 times 2/1, 2/2.
    assert found["p_adjusted"][:6].to_list() == pytest.approx([0.03, 0.03, 0.04, 0.04, 0.04, 0.5])
    assert found["p_adjusted"][6] is None
    assert found["status"].to_list() == ["declared", "exploratory", "declared", "declared", "exploratory", "exploratory", "exploratory"]
    holms = ["holm", "benjamini-hochberg", "holm", "holm", "benjamini-hochberg", "benjamini-hochberg", None]
    assert found["adjustment"].to_list() == holms


def test_a_declared_row_without_p_stays_declared_and_is_not_counted():
    found = adjust(table(ROWS), [DeclaredComparison("b", "base", "nmae"), DeclaredComparison("a", "base", "nmae")])
    row = found.row(6, named=True)
    assert (row["status"], row["p_adjusted"], row["adjustment"]) == ("declared", None, None)
    assert found["p_adjusted"][2] == 0.04


def test_nothing_declared_and_nothing_compared():
    found = adjust(table(ROWS))
    assert set(found["status"]) == {"exploratory"}
    assert found["p_adjusted"].to_list()[:3] == pytest.approx([0.02, 0.03, 0.04])
    assert adjust(COMPARISONS.empty()).is_empty()


def test_what_is_declared_must_be_among_the_comparisons_once():
    with pytest.raises(UsageError, match=r"w1 of 'a' against 'base'.*is not among the comparisons made"):
        adjust(table(ROWS), [DeclaredComparison("a", "base", "w1")])
    with pytest.raises(UsageError, match="declared twice"):
        adjust(table(ROWS), [DeclaredComparison("a", "base", "nmae"), DeclaredComparison("a", "base", "nmae", "all", "all")])
    twice = pl.concat([table(ROWS), table(ROWS[:1]).with_columns(pl.lit("unseen-item").alias("scheme"))])
    with pytest.raises(UsageError, match="is 2 times among the comparisons"):
        adjust(twice, [DeclaredComparison("a", "base", "accuracy")])
