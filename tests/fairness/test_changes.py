"""Before and after: spreads that move apart, gaps closed at the cost of the best, and who gained."""

import numpy as np
import pytest

from valuestrata.fairness.estimate.changes import directions_differ, levelled_down, limits, outcome, pareto, spread_changes
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import MarginTest


def replicates(scores, values=None):
    scores = np.array(scores)
    drawn = np.empty((0, len(scores))) if values is None else np.array(values)
    return Replicates(scores, drawn, np.ones(len(scores)), np.ones(len(scores), dtype=bool))


def test_spreads_before_and_after_by_hand():
    found = spread_changes(replicates([0.3, 0.2]), replicates([0.1, 0.05]), (0.004, 0.001))
    assert (found["max_min"].before, found["max_min"].after) == pytest.approx((0.1, 0.05))
    assert (found["norm_range"].before, found["norm_range"].after) == pytest.approx((1 / 3, 1 / 2))
    assert (found["sd"].before, found["sd"].after) == pytest.approx((0.05, 0.025))
    assert (found["cv"].before, found["cv"].after) == pytest.approx((0.2, 1 / 3))
    assert found["variance_corrected"].replicates.estimate[0] == pytest.approx(-0.003)
    assert directions_differ(found) == "absolute spread fell, relative spread rose"
    assert directions_differ(spread_changes(replicates([0.1, 0.05]), replicates([0.3, 0.2]), (0, 0))) == (
        "absolute spread rose, relative spread fell"
    )
    assert directions_differ(spread_changes(replicates([0.4, 0.2]), replicates([0.3, 0.2]), (0, 0))) is None
    assert directions_differ(spread_changes(replicates([0.4, 0.2]), replicates([0.0, 0.0]), (0, 0))) is None


def test_replicates_of_a_change_are_centred_on_it():
    rng = np.random.default_rng(0)
    before, after = np.array([0.5, 0.6, 0.7]), np.array([0.6, 0.65, 0.7])
    drawn = [before + rng.normal(0, 0.05, (500, 3)), after + rng.normal(0, 0.05, (500, 3))]
    found = spread_changes(replicates(before, drawn[0]), replicates(after, drawn[1]), (0.01, 0.0025))
    for change in found.values():
        assert change.replicates.values.mean() == pytest.approx(change.after - change.before)
    ranges = np.ptp(drawn[1], axis=1) - np.ptp(drawn[0], axis=1)
    assert found["max_min"].replicates.values.std() == pytest.approx(ranges.std())


def test_outcomes_follow_direction_and_level():
    assert outcome(0.1, 0.01, 1, 0.05) == "better"
    assert outcome(0.1, 0.01, -1, 0.05) == "worse"
    assert outcome(0.1, 0.051, 1, 0.05) == "not shown"
    assert outcome(0.1, 0.05, 1, 0.05) == "better"
    assert outcome(0.0, 0.0, 1, 0.05) == "not shown"
    assert outcome(np.nan, np.nan, 1, 0.05) is None
    assert outcome(-0.1, 0.01, -1, 0.05, ("narrower", "wider")) == "narrower"


@pytest.mark.parametrize(
    ("shown", "bounds", "head"),
    [
        (["better", "better"], [None, None], "better for all"),
        (["better", "not shown"], [None, None], "better for some, losses not excluded"),
        (["better", "not shown"], [None, "not better"], "better for some, losses not excluded"),
        (["better", "not shown"], [None, "not worse"], "better for some, worse for none"),
        (["better", "not shown"], [None, "within"], "better for some, worse for none"),
        (["better", None], [None, None], "better for all"),
        (["better", "not shown", None], [None, "within", None], "better for some, losses not excluded"),
        (["better", "worse", "not shown"], [None, None, None], "better for some, worse for others"),
        (["worse", "not shown"], [None, "not worse"], "worse for some, gains not excluded"),
        (["worse", "not shown"], [None, "not better"], "worse for some, better for none"),
        (["worse", "worse"], [None, None], "worse for all"),
        (["not shown", "not shown"], ["within", "not worse"], "worse for none, gains not shown"),
        (["not shown", "not shown"], ["within", "within"], "no change"),
        (["not shown", "not shown"], ["within", None], "no change shown"),
    ],
)
def test_pareto_in_words(shown, bounds, head):
    words = pareto(shown, bounds, "subgroups")
    assert words.startswith(f"{head}: {shown.count('better')} gained, {shown.count('worse')} lost, ")
    assert words.endswith(f"of {len([one for one in shown if one])} subgroups")


def test_counts_by_hand():
    words = pareto(["better", "not shown", "not shown", None], [None, "within", None, None], "levels of sex")
    assert words == "better for some, losses not excluded: 1 gained, 0 lost, 1 within the margin, 1 not shown, of 3 levels of sex"
    assert pareto([None], [None], "subgroups") == "unknown for all subgroups"


@pytest.mark.parametrize(
    ("above", "below", "higher", "lower"),
    [
        (0.01, 0.01, "within", "within"),
        (0.01, 0.2, "not worse", "not better"),
        (0.2, 0.01, "not better", "not worse"),
        (0.2, 0.2, None, None),
    ],
)
def test_limits_follow_the_direction_of_the_metric(above, below, higher, lower):
    test = MarginTest(above, below, -0.01, 0.01)
    assert (limits(test, 1, 0.05), limits(test, -1, 0.05)) == (higher, lower)


def test_levelling_down_is_a_gap_closed_at_the_cost_of_the_best():
    before = np.array([0.9, 0.6])
    assert levelled_down(before, np.array([-0.2, 0.0]), ["worse", "not shown"], 1) is True
    # The worst rose.
    assert levelled_down(before, np.array([0.0, 0.2]), ["not shown", "better"], 1) is False
    # The best lost, but not beyond noise.
    assert levelled_down(before, np.array([-0.02, 0.0]), ["not shown", "not shown"], 1) is False
    # All lost, and the gap stayed.
    assert levelled_down(before, np.array([-0.2, -0.2]), ["worse", "worse"], 1) is False
    # Of distances the lowest is the best.
    assert levelled_down(np.array([0.1, 0.4]), np.array([0.2, 0.0]), ["worse", "not shown"], -1) is True
    assert levelled_down(np.array([0.9, np.nan]), np.array([-0.2, np.nan]), ["worse", None], 1) is None
