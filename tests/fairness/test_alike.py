"""What noise alone gives: the wider of two nulls, permutations on common pairs, and which levels keep other company."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from valuestrata.fairness import audit
from valuestrata.fairness.context import UNEVEN, context_of
from valuestrata.fairness.estimate.null_spread import SpreadNulls
from valuestrata.fairness.options import AuditedPart, Resampling

FEW = {"permutations": 80, "bootstrap": 60}


def test_the_wider_null_is_the_one_with_the_larger_outer_point():
    narrow, wide = np.linspace(0.3, 0.4, 50), np.linspace(0.0, 0.6, 50)
    found = SpreadNulls({"cv": narrow}, {"cv": wide}, 0.95).wider("cv")
    assert (found.mean, found.high) == pytest.approx((0.3, np.quantile(wide, 0.95)))
    # Near the middle of both the narrow one reaches further.
    assert SpreadNulls({"cv": narrow}, {"cv": wide}, 0.5).wider("cv").mean == pytest.approx(0.35)
    assert SpreadNulls({"cv": narrow}, {}, 0.95).wider("cv").high == pytest.approx(np.quantile(narrow, 0.95))
    nothing = SpreadNulls({}, {"cv": np.full(3, np.nan)}, 0.95)
    assert len(nothing.wider("cv").values) == 0
    assert np.isnan([nothing.wider("cv").mean, nothing.wider("cv").high, *nothing.means("cv")]).all()
    assert SpreadNulls({"cv": narrow}, {"cv": wide}, 0.95).means("cv") == pytest.approx((0.35, 0.3))


def test_noise_before_and_after_is_that_of_the_common_pairs(kit):
    """On the same pairs it is what the table of disparities holds; where a run lacks pairs, what both have counts."""
    plan = kit.random_world(3, items=12, draws=30)
    dataset = kit.build(plan)
    rows = kit.random_rows(plan, 1, missing=0, asked=1.0)
    there = {(row["item"], row["subgroup"]) for row in rows[: len(rows) // 2]}
    half = [row for row in kit.random_rows(plan, 4, missing=0, asked=1.0) if (row["item"], row["subgroup"]) in there]
    runs = [kit.run_of("base", rows), kit.run_of("same", kit.random_rows(plan, 2, missing=0, asked=1.0)), kit.run_of("part", half)]
    found = audit(dataset, runs, against="base", metrics=("accuracy",), **FEW)
    disparity = {(row["run"], row["key"], row["measure"]): row["alike"] for row in found.disparity.iter_rows(named=True)}
    changes = found.changes.filter(pl.col("measure").is_in(["cv", "max_min", "variance_corrected"]))
    whole = changes.filter(run="same").to_dicts()
    assert whole
    for row in whole:
        assert row["alike_before"] == pytest.approx(disparity["base", row["key"], row["measure"]], nan_ok=True)
        assert row["alike_after"] == pytest.approx(disparity["same", row["key"], row["measure"]], nan_ok=True)
    part = {row["measure"]: row for row in changes.filter(run="part", key="all").to_dicts()}
    # Fewer pairs, more noise.
    assert part["cv"]["alike_before"] > 1.1 * disparity["base", "all", "cv"]
    answered = {(row["item"], row["subgroup"]) for row in half}
    both = [row for row in rows if (row["item"], row["subgroup"]) in answered]
    alone = audit(dataset, [kit.run_of("base", both)], metrics=("accuracy",), **FEW).disparity
    assert part["cv"]["alike_before"] == pytest.approx(alone.filter(key="all", measure="cv")["alike"].item())
    assert found.changes.filter(measure="score")["alike_before"].null_count() == len(found.changes.filter(measure="score"))


@pytest.mark.parametrize(("left_out", "uneven"), [(None, []), (("A1", "B2"), ["one", "two"])])
def test_levels_that_lack_cells_differ_in_other_attributes_and_figures_over_them_say_so(kit, left_out, uneven):
    questions = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(6)}
    cells = [(f"A{a}", f"B{b}") for a in range(2) for b in range(3) if (f"A{a}", f"B{b}") != left_out]
    subgroups = {f"one_x_two_{a}_{b}": ("one_x_two", {"one": a, "two": b}) for a, b in cells}
    counts = {(item, subgroup): [7, 3] for item in questions for subgroup in subgroups}
    dataset = kit.build(kit.World(questions, subgroups, counts))
    context = context_of(dataset, AuditedPart(), Resampling(bootstrap=0))
    assert [attribute for attribute in context.attributes if context.uneven(attribute)] == uneven
    rng = np.random.default_rng(0)
    run = kit.run_of("a", [{"item": item, "subgroup": subgroup, "answer": int(rng.integers(1, 3))} for item, subgroup in counts])
    notes = audit(dataset, [run], metrics=("accuracy",), **FEW).disparity.filter(measure="cv")
    assert notes.filter(pl.col("note").fill_null("").str.contains(UNEVEN))["key"].to_list() == uneven
