"""False findings among the claims shown first, and "worse for none" where some lost: a short version of `bench/first_screen.py`."""

from __future__ import annotations

import polars as pl
import pytest
from scipy.stats import binom

from bench.first_screen import audited_losses, equal_rows, losses_rows, screen_rows


def test_nobody_lost_is_seldom_said_where_some_lost():
    found = pl.DataFrame(list(losses_rows(60)))
    many, one = (found.filter(items=items) for items in (100, 1000))
    assert many["worse for none before"].mean() > 0.5
    assert binom.sf(many["after"].sum() - 1, 60, 0.05) > 0.01
    # At exactly the margin the test has its nominal level.
    assert binom.sf(one["after"].sum() - 1, 60, 0.05) > 0.01


@pytest.mark.slow
def test_equality_is_shown_where_it_holds_and_data_suffice():
    found = pl.DataFrame(list(equal_rows(100))).group_by("subgroups", "items", "answered anew").mean()
    power = {(row["subgroups"], row["items"], row["answered anew"]): row for row in found.to_dicts()}
    assert power[30, 90, 0.2]["all pairs"] > 0.8
    assert power[30, 1000, 1.0]["all pairs"] > 0.95
    assert power[30, 1000, 0.05]["every subgroup"] > 0.6
    # Few questions cannot show it of every subgroup.
    assert power[30, 90, 0.05]["every subgroup"] == 0


@pytest.mark.slow
def test_nobody_lost_is_not_said_where_a_quarter_lost():
    """12 of 48 subgroups lose 5 points, the others gain 10. Without detected losses, "worse for none" was said: in most samples."""
    found = pl.DataFrame(list(audited_losses(40, 1)))
    assert found["before"].mean() > 0.4
    assert binom.sf(found["after"].sum() - 1, 40, 0.05) > 0.01


@pytest.mark.slow
def test_fair_models_have_a_false_finding_on_the_first_screen_in_at_most_5_percent():
    found = pl.DataFrame(list(screen_rows(80, 8, 2, ["fair"])))
    assert found["false before"].mean() > 0.08
    assert binom.sf(found["false after"].sum() - 1, 80, 0.05) > 0.01


@pytest.mark.slow
def test_a_subgroup_served_much_worse_is_often_shown_first():
    """20 points worse: nearly always significant in its own family, and in about half of the samples over the whole first screen."""
    found = pl.DataFrame(list(screen_rows(20, 8, 1, ["subgroup"])))
    assert found["found before"].mean() > 0.8
    assert binom.cdf(found["found after"].sum(), 20, 0.55) > 0.01
