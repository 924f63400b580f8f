"""The Bayesian estimate at equal difficulty: agrees with the penalised one, reads its draws rightly, and says where they are too few."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from bench.audit_claims import every, fair_once, run_of
from bench.audit_worlds import make_world
from valuestrata.errors import MissingExtraError, UsageError
from valuestrata.fairness import audit
from valuestrata.fairness.adjust import bayes
from valuestrata.fairness.adjust.bayes import Drawn, draw, fit_bayes
from valuestrata.fairness.adjust.difficulty import Difficulty
from valuestrata.fairness.adjust.held_attributes import Sampling, adjust_gaps, design_of

GROUPS, ITEMS = 24, 30


def planted(seed):
    """Four ages x six religions; the first age is served worse by .25, and what makes a pair hard costs .3."""
    rng = np.random.default_rng(seed)
    age = np.arange(GROUPS) % 4
    levels = {"age": [f"age {k}" for k in age], "religion": [f"faith {k // 4}" for k in range(GROUPS)]}
    hard = rng.random((GROUPS, ITEMS))
    values = 0.7 - 0.25 * (age == 0)[:, None] - 0.3 * hard + 0.2 * rng.standard_normal(ITEMS) + 0.25 * rng.standard_normal((GROUPS, ITEMS))
    values[rng.random(values.shape) < 0.1] = np.nan
    redrawn = rng.normal(0, 0.05, (20, GROUPS, ITEMS)).astype(np.float32)
    return values, Difficulty(["hard"], hard[None], hard[None]), levels, ["age_x_religion"] * GROUPS, redrawn


def drawn_about(values, difficulty, levels, strata, scale=1.0):
    """Draws about known coefficients: a fit on planted values gives them."""
    design = design_of(values, difficulty, levels, strata)
    rng = np.random.default_rng(1)
    centre = rng.normal(0, 0.1, design.width)
    coefficients = centre + scale * rng.normal(0, 0.02, (2, 500, design.width))
    spread = np.full((2, 500), 0.1)
    return design, centre, Drawn(coefficients, spread, 3 * spread, 0.0)


def test_draws_are_read_as_gaps_with_the_noise_of_labels_added(monkeypatch):
    values, difficulty, levels, strata, redrawn = planted(0)
    design, centre, drawn = drawn_about(values, difficulty, levels, strata)
    monkeypatch.setattr(bayes, "draw", lambda *_: drawn)
    pytest.importorskip("arviz")
    plain = fit_bayes(values, difficulty, levels, strata, confidence=0.9)
    wide = fit_bayes(values, difficulty, levels, strata, redrawn=redrawn + redrawn.mean(axis=2, keepdims=True) * 5, confidence=0.9)
    penalised = adjust_gaps(values, difficulty, levels, strata, confidence=0.9)
    for gap, wider, other, (*_, contrast) in zip(plain.gaps, wide.gaps, penalised.gaps, design.contrasts(), strict=True):
        assert gap.adjusted == pytest.approx(contrast @ centre, abs=0.005)
        assert gap.se == pytest.approx(0.02 * 2**0.5, rel=0.1)
        assert (gap.high - gap.low) / gap.se == pytest.approx(2 * 1.645, rel=0.1)
        assert (gap.held, gap.held_low, gap.held_p) == (other.held, other.held_low, other.held_p)
        assert wider.adjusted == pytest.approx(gap.adjusted)
        assert wider.se > gap.se
        assert wider.high - wider.low > gap.high - gap.low
    assert plain.slopes == pytest.approx(centre[len(design.columns) :], abs=0.01)
    assert not any("chains" in note and "too short" in note for note in plain.notes)


def test_chains_that_disagree_and_steps_that_diverge_are_said(monkeypatch):
    pytest.importorskip("arviz")
    values, difficulty, levels, strata, _ = planted(0)
    _, _, drawn = drawn_about(values, difficulty, levels, strata)
    apart = drawn.coefficients + np.array([0.0, 1.0])[:, None, None] * np.random.default_rng(0).normal(0, 1, drawn.coefficients.shape[2])
    monkeypatch.setattr(bayes, "draw", lambda *_: Drawn(apart, drawn.subgroup_sd, drawn.residual_sd, 0.05))
    notes = " ".join(fit_bayes(values, difficulty, levels, strata).notes)
    assert "The chains are too short" in notes
    assert "5.0% of the sampler's steps diverged" in notes
    assert "2 chains of 1,000 draws, seed 0" in notes


@pytest.mark.slow
def test_a_posterior_agrees_with_the_penalised_estimate():
    """Real draws: means lie near one another, and deviations are of one size."""
    pytest.importorskip("bambi")
    values, difficulty, levels, strata, _ = planted(2)
    sampling = Sampling(draws=300, tune=300, seed=3)
    found = fit_bayes(values, difficulty, levels, strata, sampling=sampling)
    other = adjust_gaps(values, difficulty, levels, strata)
    assert len(found.gaps) == len(other.gaps) == 6 + 15
    for gap, penalised in zip(found.gaps, other.gaps, strict=True):
        assert (gap.attribute, gap.level, gap.against) == (penalised.attribute, penalised.level, penalised.against)
        assert abs(gap.adjusted - penalised.adjusted) < 0.5 * penalised.se
        assert 0.5 < gap.se / penalised.se < 2.5
    ratios = [gap.se / penalised.se for gap, penalised in zip(found.gaps, other.gaps, strict=True)]
    assert 0.8 < np.median(ratios) < 1.6
    worse = [gap for gap in found.gaps if gap.level == "age 0"]
    assert all(gap.low < -0.25 < gap.high and gap.high < 0 for gap in worse)
    assert found.slopes == pytest.approx([-0.3], abs=0.1)
    assert found.residual_sd == pytest.approx(0.25, abs=0.03)
    # Draws are those of the seed.
    again = draw(design_of(values, difficulty, levels, strata), sampling)
    assert again.coefficients.shape == (2, 300, 4 + 6 + 1 + 1)


@pytest.fixture(scope="module")
def small():
    """A real data set, whose nation is known, with a model and a baseline."""
    world = make_world(8, 0, items=20, draws=20, bootstrap=20)
    rng = np.random.default_rng(0)
    return world.dataset, [
        run_of(world, "model", fair_once(world, rng)[0]),
        run_of(world, "base", every(world, world.baseline_answers), "baseline:item-mode"),
    ]


def test_an_audit_asks_for_the_posterior_of_models_only(small, monkeypatch):
    dataset, runs = small
    asked = []

    def instead(*arguments, sampling, **options):
        asked.append(sampling)
        return adjust_gaps(*arguments, **options)

    monkeypatch.setattr(bayes, "fit_bayes", instead)
    monkeypatch.setattr("valuestrata.fairness.assemble.find_spec", lambda _: object())
    few = {"permutations": 0, "bootstrap": 20, "metrics": ("accuracy", "refusal_rate")}
    found = audit(dataset, runs, mixed="bayes", seed=7, **few)
    # One model, one metric that is adjusted for difficulty; the audit's own seed.
    assert asked == [Sampling(seed=7)]
    audit(dataset, runs, mixed="bayes", sampling=Sampling(draws=200, seed=1), **few)
    assert asked[1:] == [Sampling(draws=200, seed=1)]
    penalised = audit(dataset, runs, seed=7, **few).gaps
    assert found.gaps.equals(penalised)


def test_without_the_library_the_extra_is_named_before_anything_is_worked_out(small, monkeypatch):
    dataset, runs = small
    monkeypatch.setattr("valuestrata.fairness.assemble.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"valuestrata\[bayes\]"):
        audit(dataset, runs, mixed="bayes")
    with pytest.raises(UsageError, match="Did you mean 'bayes'"):
        audit(dataset, runs, mixed="bays")
    monkeypatch.setitem(sys.modules, "bambi", None)
    values, difficulty, levels, strata, _ = planted(0)
    with pytest.raises(MissingExtraError, match="bambi"):
        fit_bayes(values, difficulty, levels, strata)


def test_several_models_have_a_before_of_their_own(kit):
    plan = kit.random_world(5, items=8, draws=10)
    dataset = kit.build(plan)
    runs = [kit.run_of(name, kit.random_rows(plan, seed)) for seed, name in enumerate(("a0", "a1", "b0", "b1"))]
    few = {"permutations": 20, "bootstrap": 20, "metrics": ("accuracy",)}
    both = audit(dataset, runs, against={"a1": "a0", "b1": "b0"}, **few).changes
    assert set(both.select("run", "against").unique().rows()) == {("a1", "a0"), ("b1", "b0")}
    for run, before in (("a1", "a0"), ("b1", "b0")):
        alone = audit(dataset, [one for one in runs if one.name in (run, before)], against=before, **few).changes
        assert both.filter(pl.col("run") == run).equals(alone)
    with pytest.raises(UsageError, match="compared with itself"):
        audit(dataset, runs, against={"a1": "a1"}, **few)
    with pytest.raises(UsageError, match="No run is named 'x'"):
        audit(dataset, runs, against={"a1": "x"}, **few)


def test_with_blocks_the_model_has_effects_of_subgroups_and_levels_on_each_block(monkeypatch):
    values, difficulty, levels, strata, _ = planted(2)
    made = {}

    class StoppedError(Exception):
        pass

    def model(formula, frame, **kept):
        made.update(formula=formula, frame=frame, priors=kept["priors"])
        raise StoppedError

    library = SimpleNamespace(Prior=lambda *_, **__: None, Model=model)
    monkeypatch.setattr(bayes, "_bambi", lambda: library)
    design = design_of(values, difficulty, levels, strata)
    blocks = np.arange(ITEMS) // 3
    for given, effects in ((blocks, {"level_0_block", "level_1_block", "subgroup_block"}), (np.arange(ITEMS), set()), (None, set())):
        with pytest.raises(StoppedError):
            draw(design, Sampling(), given)
        terms = {term.strip("() ").removeprefix("1 | ") for term in made["formula"].split(" + ")}
        assert {term for term in terms if term.endswith("_block")} == effects
        assert all(f"1|{term}" in made["priors"] for term in effects)
    # 24 subgroups and 4 ages on 10 blocks.
    with pytest.raises(StoppedError):
        draw(design, Sampling(), blocks)
    assert made["frame"]["subgroup_block"].nunique() == GROUPS * 10
    assert made["frame"]["level_0_block"].nunique() == 4 * 10
