"""Pull toward the nation's answer, by hand."""

import numpy as np
import pytest

from valuestrata.fairness.estimate.national_pull import nation_of, pull, row_means
from valuestrata.scores.layout import lay_out, place


def world_of(kit, national=True):
    items = {"Q1": ("t", "ordinal", [1, 2, 3]), "Q2": ("t", "nominal", [1, 2, 3])}
    subgroups = {"sex_M": ("sex", {"sex": "M"}), "sex_F": ("sex", {"sex": "F"})}
    counts = {
        ("Q1", "sex_M"): [6, 3, 1],  # mode 1; of the four outside three give the nation's 2
        ("Q2", "sex_M"): [1, 8, 1],  # the nation's mode is its own
        ("Q1", "sex_F"): [2, 5, 3],
        ("Q2", "sex_F"): [5, 4, 1],  # mode 1; of five outside four give the nation's 2
    }
    if national:
        subgroups |= {"all": ("all", {})}
        counts |= {("Q1", "all"): [8, 9, 4], ("Q2", "all"): [6, 12, 2]}
    parts = {(item, "all"): "none" for item in items}
    return kit.build(kit.World(items, subgroups, counts, parts=parts))


def run_of(kit, **answers):
    return kit.run_of("a", [{"item": key[:2], "subgroup": f"sex_{key[2]}", "answer": answer} for key, answer in answers.items()])


def test_pull_by_hand(kit):
    dataset = world_of(kit)
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    run = run_of(kit, Q1M=2, Q2M=3, Q1F=2, Q2F=3)
    found, expected = pull(layout, place(layout, "a", run.responses), nation_of(dataset, layout))
    # Men err twice, once to the nation's answer; of people outside of the mode 3 in 4 do on Q1 and nobody can on Q2.
    assert found[0] == pytest.approx(1 / 2)
    assert expected[0] == pytest.approx((3 / 4 + 0) / 2)
    # Women err on Q2 only, and not to the nation's answer; 4 in 5 would.
    assert (found[1], expected[1]) == pytest.approx((0, 4 / 5))


def test_without_an_error_there_is_no_pull(kit):
    dataset = world_of(kit)
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    run = run_of(kit, Q1M=1, Q2M=2, Q1F=None, Q2F=1)
    found, expected = pull(layout, place(layout, "a", run.responses), nation_of(dataset, layout))
    assert np.isnan(found).all()
    assert np.isnan(expected).all()


def test_several_answers_to_a_pair_count_as_shares(kit):
    dataset = world_of(kit)
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    rows = [{"item": "Q1", "subgroup": "sex_M", "sample": k, "answer": a} for k, a in enumerate([1, 2, 3, None])]
    found, expected = pull(layout, place(layout, "a", kit.respond(rows)), nation_of(dataset, layout))
    # Half of the asked were valid errors, half of these the nation's.
    assert (found[0], expected[0]) == pytest.approx((1 / 2, 3 / 4))


def test_without_the_nations_gold_nothing_is_said(kit):
    dataset = world_of(kit, national=False)
    layout = lay_out(dataset, "paper", "test", None, ("all",))
    run = run_of(kit, Q1M=2, Q2M=3, Q1F=2, Q2F=3)
    found, expected = pull(layout, place(layout, "a", run.responses), nation_of(dataset, layout))
    assert np.isnan(found).all()
    assert np.isnan(expected).all()


def test_means_of_rows_leave_out_what_is_not_there():
    assert row_means(np.array([[1.0, np.nan, 2.0], [np.nan] * 3])) == pytest.approx([1.5, np.nan], nan_ok=True)
