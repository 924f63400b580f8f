"""Gaps with the other attributes held: a level is not blamed for the company its cells keep."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from valuestrata.claims.fairness.rules import audit_verdicts
from valuestrata.errors import UsageError
from valuestrata.fairness import audit
from valuestrata.fairness.adjust.difficulty import Difficulty, nothing_known
from valuestrata.fairness.adjust.held_attributes import Sampling, adjust_gaps, design_of

# Young people have cells in two religions only, one of which is served worse.
CELLS = [(age, faith) for age in ("young", "middle", "old") for faith in ("x", "y", "z", "w") if age != "young" or faith in ("x", "y")]
LEVELS = {"age": [age for age, _ in CELLS], "religion": [faith for _, faith in CELLS]}
STRATA = ["age_x_religion"] * len(CELLS)


def served(items, rng, noise):
    worse = np.array([0.4 * (faith == "x") for _, faith in CELLS])
    return 0.8 - worse[:, None] - 0.2 * rng.random(items) + noise * rng.standard_normal((len(CELLS), items))


def gap_of(adjustment, level, against):
    return next(gap for gap in adjustment.gaps if (gap.level, gap.against) == (level, against))


def test_what_another_attribute_does_is_not_laid_at_a_levels_door():
    values = served(20, np.random.default_rng(0), 0.0)
    found = adjust_gaps(values, nothing_known(values.shape), LEVELS, STRATA)
    # Raw, the young lie (.4 / 2 - .4 / 4) below the others; of their religion's gap nothing is theirs.
    rows = {age: values[[cell[0] == age for cell in CELLS]].mean() for age in ("young", "old")}
    assert rows["young"] - rows["old"] == pytest.approx(-0.1)
    assert gap_of(found, "young", "old").held == pytest.approx(0.0, abs=1e-9)
    assert gap_of(found, "x", "z").held == pytest.approx(-0.4)
    # Nothing else was known of the cells: both fits are one.
    gap = gap_of(found, "young", "middle")
    assert (gap.held, gap.held_se, gap.held_low, gap.held_high) == (gap.adjusted, gap.se, gap.low, gap.high)


def test_intervals_of_gaps_held_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        values = served(25, rng, 0.3)
        gap = gap_of(adjust_gaps(values, nothing_known(values.shape), LEVELS, STRATA, confidence=0.9), "young", "old")
        inside += gap.held_low <= 0 <= gap.held_high
        assert gap.held_p == pytest.approx(1.0, abs=0.999)
        assert (gap.held_p <= 0.1) == (not gap.held_low <= 0 <= gap.held_high)
    assert inside / 200 > 0.86


def test_a_level_without_any_cell_beside_others_cannot_be_told_from_its_company():
    levels = {"age": ["young", "old", "old"], "religion": ["x", "y", "z"]}
    values = np.random.default_rng(2).random((3, 12))
    found = adjust_gaps(values, nothing_known(values.shape), levels, ["s"] * 3)
    assert np.isnan(gap_of(found, "young", "old").held)
    assert gap_of(found, "y", "z").held == pytest.approx((values[1] - values[2]).mean())


def test_the_design_names_its_columns_and_contrasts():
    values = served(8, np.random.default_rng(3), 0.2)
    grid = np.random.default_rng(4).random((1, *values.shape))
    design = design_of(values, Difficulty(["hard"], grid, grid), LEVELS, STRATA)
    assert design.width == len(design.columns) + 1 == len(design.names) + 1
    contrasts = {names[1:]: contrast for *names, contrast in design.contrasts() for names in [tuple(names)]}
    contrast = contrasts["young", "old"]
    assert contrast[design.names.index((1, "young"))] == 1
    assert contrast[design.names.index((1, "old"))] == -1
    assert np.abs(contrast).sum() == 2
    assert len(contrasts) == 3 + 6


@pytest.fixture(scope="module")
def refusing(kit):
    """A model that refuses half of what one religion is asked, and hardly anything else."""
    rng = np.random.default_rng(5)
    items = {f"Q{i}": ("t", "binary", [1, 2]) for i in range(60)}
    subgroups = {f"age_x_religion_{age}_{faith}": ("age_x_religion", {"age": age, "religion": faith}) for age, faith in CELLS}
    counts = {(item, subgroup): [30, 10] for item in items for subgroup in subgroups}
    dataset = kit.build(kit.World(items, subgroups, counts))

    def answer(item, subgroup):
        refused = rng.random() < (0.5 if subgroup.endswith("_x") else 0.02)
        row = {"item": item, "subgroup": subgroup, "answer": None if refused else 1}
        return row | ({"status": "refused"} if refused else {})

    run = kit.run_of("model", [answer(*pair) for pair in counts])
    return dataset, run, audit(dataset, [run], metrics=("accuracy", "refusal_rate"), permutations=200, bootstrap=400)


def test_rates_of_missing_answers_are_held_and_not_adjusted_for_difficulty(refusing):
    _, _, found = refusing
    gaps = found.gaps.filter(metric="refusal_rate")
    assert gaps["adjusted"].null_count() == len(gaps)
    assert gaps["held"].null_count() == 0
    young = gaps.filter(level="young", against_level="old").row(0, named=True)
    # .5 in half of their cells against .5 in a quarter.
    assert young["gap"] == pytest.approx(0.12, abs=0.06)
    assert young["held"] == pytest.approx(0.0, abs=0.06)


def test_refusals_of_a_religion_are_not_attributed_to_an_age(refusing):
    dataset, run, found = refusing
    lines = audit_verdicts(found, [run], dataset).filter(metric="refusal_rate")
    of_age = lines.filter(pl.col("key").str.starts_with("age=") & pl.col("rule").str.starts_with("missing-"))
    assert set(of_age["rule"]) == {"missing-composition", "missing-unclear"}
    of_religion = lines.filter(pl.col("key") == "religion=x", pl.col("rule").str.starts_with("missing-"))
    assert of_religion["rule"].to_list() == ["missing-uneven"] * 3


@pytest.mark.parametrize("options", [{"draws": 10}, {"tune": 0}, {"chains": 1}, {"target_accept": 1.0}])
def test_sampling_that_cannot_be_meant_is_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Sampling(**options)
