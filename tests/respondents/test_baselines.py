"""Statistical baselines: independent computations, simulated populations and degenerate data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from io import StringIO
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.progress import progress
from valuestrata.respondents.baselines import BASELINES, LADDER, JointCells, TrainingGold, make_baseline, training_gold
from valuestrata.respondents.baselines import gold as gold_module
from valuestrata.respondents.baselines.cell_models import low_rank as low_rank_module
from valuestrata.respondents.baselines.cell_models import multilevel as multilevel_module
from valuestrata.respondents.baselines.cell_models.additive import THRESHOLD_SCALE, TOLERANCE, multinomial, proportional_odds, smoothed
from valuestrata.respondents.baselines.cell_models.cells import FLOOR, Observed, TrainingCells, above_floor
from valuestrata.respondents.baselines.cell_models.ensemble import rake
from valuestrata.respondents.baselines.cell_models.low_rank import joint_shares as low_rank_shares
from valuestrata.respondents.baselines.cell_models.multilevel import joint_shares as multilevel_shares
from valuestrata.respondents.baselines.cell_models.validation import choose
from valuestrata.responses import reference_baselines as reference_module
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.folder import load_run
from valuestrata.scores import score
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant
from valuestrata.survey.simulation.truth import truth
from valuestrata.survey.survey import Survey

LOOSE = BuildSettings(min_respondents=5, min_valid=5, draws=10)
FITTED = ("additive", "additive-multinomial", "multilevel", "low-rank", "ensemble")
STATISTICAL = [kind for kind in LADDER if kind not in ("uniform", "midpoint")]
ADDITIVE = ("additive", "additive-multinomial")


def additive_slow(kinds: Iterable[str]) -> list[object]:
    """Mark the additive models, whose fits take longest, as slow."""
    return [pytest.param(kind, marks=pytest.mark.slow) if kind in ADDITIVE else kind for kind in kinds]


@cache
def simulated(main: float = 0.4, pairs: float = 0.0, items: int = 12, seed: int = 3, sample: int = 1, nominal: float = 0.2) -> Dataset:
    return build(draw_survey(plant(population_settings(main, pairs, items, seed, nominal)), sample), LOOSE)


def population_settings(main: float, pairs: float, items: int, seed: int, nominal: float) -> SimulationSettings:
    return SimulationSettings(
        respondents=500, items=items, nominal=nominal, levels=(2, 3, 3), main_effects=main, interactions=pairs, weighted=True, seed=seed
    )


def gold_from(
    shares_of: Callable[[str, tuple[str, ...]], list[float]], items: dict[str, int], attributes: dict[str, list[str]], n: float = 200
) -> TrainingGold:
    """Return the training gold of a population with `n` respondents per joint cell; single attributes and all pairs train."""
    names = list(attributes)
    cells: list[tuple[str, ...]] = [()]
    for levels in attributes.values():
        cells = [(*cell, level) for cell in cells for level in levels]
    joint = JointCells(tuple(names), tuple(cells), np.full(len(cells), n), np.full(len(cells), n))
    levels: dict[str, dict[str, str]] = {"all": {}}
    for size in (1, 2):
        for used in combinations(range(len(names)), size):
            for cell in cells:
                its = {names[a]: cell[a] for a in used}
                levels["_".join(f"{k}={v}" for k, v in its.items())] = its
    counts: dict[tuple[str, str], np.ndarray] = {}
    for item in items:
        for subgroup, its in levels.items():
            inside = [cell for cell in cells if all(cell[names.index(k)] == v for k, v in its.items())]
            if its:
                counts[item, subgroup] = np.sum([n * np.array(shares_of(item, cell)) for cell in inside], axis=0)
    total = {pair: float(c.sum()) for pair, c in counts.items()}
    return TrainingGold(
        codes={item: tuple(range(1, k + 1)) for item, k in items.items()},
        level={item: "binary" if k == 2 else "ordinal" for item, k in items.items()},
        labels={item: tuple(map(str, range(k))) for item, k in items.items()},
        question=dict.fromkeys(items, "What?"),
        topic={item: item for item in items},
        counts=counts,
        n={pair: int(value) for pair, value in total.items()},
        n_eff=total,
        levels=levels,
        singles={name: [f"{name}={level}" for level in its] for name, its in attributes.items()},
        joint=joint,
        trained_joint=joint,
        scheme="made",
        fold=None,
    )


def is_distribution(shares: np.ndarray, options: int) -> bool:
    return shares.shape == (options,) and bool((shares >= 0).all()) and abs(shares.sum() - 1) < 1e-9


# --- additive logits


def observed(shares: np.ndarray, n_eff: np.ndarray) -> Observed:
    pooled_shares = (n_eff @ shares) / n_eff.sum()
    return Observed(tuple(map(str, range(len(shares)))), shares, n_eff, pooled_shares)


def with_pseudo_answers(seen: Observed) -> np.ndarray:
    return seen.shares * seen.n_eff[:, None] + 0.5 * seen.pooled


def one_fit(
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float], np.ndarray], x: np.ndarray, seen: Observed, variance: float
) -> np.ndarray:
    """Fit one item and predict its own rows."""
    shares, answers = smoothed(seen)
    return fit(x, shares[None], answers[None], x, variance)[0]


def random_case(seed: int, options: int, rows: int = 9, effects: int = 3) -> tuple[np.ndarray, Observed]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, effects)), observed(rng.dirichlet(np.full(options, 2.0), rows), rng.uniform(30, 200, rows))


@pytest.mark.parametrize("options", [2, 3, 5])
def test_multinomial_logit_maximises_the_penalised_likelihood(options: int) -> None:
    x, seen = random_case(options, options)
    counts, variance = with_pseudo_answers(seen), 0.3

    def shares_at(flat: np.ndarray) -> np.ndarray:
        both = flat.reshape(options, -1)
        logits = x @ both[:, 1:].T + both[:, 0]
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        return likely / likely.sum(axis=1, keepdims=True)

    def loss(flat: np.ndarray) -> float:
        # With two codes there is one logit with penalised effects, otherwise one set of effects per code.
        effects = flat.reshape(options, -1)[:, 1:]
        size = np.square(effects[1] - effects[0]).sum() if options == 2 else np.square(effects).sum()
        return -float((counts * np.log(shares_at(flat))).sum()) + 0.5 / variance * float(size)

    found = minimize(loss, np.zeros(options * (x.shape[1] + 1)), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(one_fit(multinomial, x, seen, variance), shares_at(found.x), atol=2e-4)


@pytest.mark.parametrize("options", [2, 4])
def test_proportional_odds_maximises_the_penalised_likelihood(options: int) -> None:
    x, seen = random_case(10 + options, options)
    counts, variance = with_pseudo_answers(seen), 0.3
    people, below = counts.sum(axis=1), np.cumsum(counts, axis=1)[:, :-1]

    def at_most(flat: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(flat[None, : options - 1] + (x @ flat[options - 1 :])[:, None])))

    def loss(flat: np.ndarray) -> float:
        p = at_most(flat)
        return -float((below * np.log(p) + (people[:, None] - below) * np.log1p(-p)).sum()) + 0.5 / variance * float(
            np.square(flat[options - 1 :]).sum()
        )

    start = np.concatenate([np.linspace(-1, 1, options - 1), np.zeros(x.shape[1])])
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    expected = np.diff(np.hstack([np.zeros((len(x), 1)), at_most(found.x), np.ones((len(x), 1))]), axis=1)
    # The penalty on thresholds changes shares by less than the tolerance.
    np.testing.assert_allclose(one_fit(proportional_odds, x, seen, variance), expected, atol=1e-3)


def test_proportional_odds_recover_the_model() -> None:
    cuts, slope = np.array([-1.5, -0.2, 0.4, 1.6]), np.array([0.8, -0.5])
    x = np.array([[a, b] for a in (-1.0, 0.0, 1.0) for b in (-1.0, 1.0)])
    below = 1 / (1 + np.exp(-(cuts + (x @ slope)[:, None])))
    true = np.diff(np.hstack([np.zeros((6, 1)), below, np.ones((6, 1))]), axis=1)
    found = one_fit(proportional_odds, x, observed(true, np.full(6, 1e6)), 1.0)
    np.testing.assert_allclose(found, true, atol=1e-4)
    odds = np.log(np.cumsum(found, axis=1)[:, :-1] / (1 - np.cumsum(found, axis=1)[:, :-1]))
    np.testing.assert_allclose(odds - odds[0], (odds - odds[0])[:, :1] * np.ones(4), atol=1e-5)


def logistic_regression(design: np.ndarray, codes: np.ndarray, weight: np.ndarray, variance: float, **settings: bool) -> LogisticRegression:
    model = LogisticRegression(C=variance, solver="newton-cholesky", tol=TOLERANCE, **settings)
    return model.fit(design[weight > 0], codes[weight > 0], sample_weight=weight[weight > 0])


@pytest.mark.parametrize("options", [2, 3, 7])
@pytest.mark.parametrize("variance", [0.01, 1.0])
def test_items_fitted_together_equal_single_fits_of_scikit_learn(options: int, variance: float) -> None:
    """Three items, of which the second lacks answers in two subgroups, with covariates of which one is redundant."""
    rng = np.random.default_rng(options)
    x = rng.normal(size=(9, 3))
    x = np.column_stack([x, -x.sum(axis=1)])
    shares, answers = rng.dirichlet(np.full(options, 2.0), (3, 9)), rng.uniform(30, 200, (3, 9))
    answers[1, [2, 5]] = 0.0
    asked = rng.normal(size=(4, 4))
    codes = np.tile(np.arange(options), 9)
    ends = options - 1
    for item, found in enumerate(multinomial(x, shares, answers, asked, variance)):
        weight = (shares[item] * answers[item][:, None]).ravel()
        expected = logistic_regression(np.repeat(x, options, axis=0), codes, weight, variance).predict_proba(asked)
        np.testing.assert_allclose(found, expected, atol=1e-10)
    for item, found in enumerate(proportional_odds(x, shares, answers, asked, variance)):
        design = np.array([[*row, *np.eye(ends)[j] * THRESHOLD_SCALE] for row in x for j in range(ends)])
        at_most = np.cumsum(shares[item], axis=1)[:, :-1].ravel()
        weight = np.repeat(answers[item], ends)
        both = np.concatenate([weight * at_most, weight * (1 - at_most)])
        model = logistic_regression(np.vstack([design] * 2), np.repeat([1, 0], len(design)), both, variance, fit_intercept=False)
        new = np.array([[*row, *np.eye(ends)[j] * THRESHOLD_SCALE] for row in asked for j in range(ends)])
        below = model.predict_proba(new)[:, 1].reshape(-1, ends)
        np.testing.assert_allclose(np.cumsum(found, axis=1)[:, :-1], below, atol=1e-10)


# --- cells


def test_training_cells_are_mixtures_of_joint_cells() -> None:
    gold = gold_from(lambda *_: [0.5, 0.5], {"q": 2}, {"sex": ["f", "m"], "age": ["y", "o"]})
    weight = np.array([10.0, 30.0, 20.0, 40.0])  # f y, f o, m y, m o
    joint = replace(gold.joint, weight=weight)
    cells = TrainingCells.of(replace(gold, joint=joint, trained_joint=joint))
    np.testing.assert_allclose(cells.mixture["sex=f"], [0.25, 0.75, 0, 0])
    np.testing.assert_allclose(cells.mixture["age=y"], [1 / 3, 0, 2 / 3, 0])
    row = {subgroup: i for i, subgroup in enumerate(gold.levels)}
    tables = cells.poststratify(lambda _: np.array([[0.1, 0.9], [0.5, 0.5], [0.4, 0.6], [0.8, 0.2]]))
    np.testing.assert_allclose(tables["q"][row["sex=f"]], [0.4, 0.6])
    np.testing.assert_allclose(tables["q"][row["all"]], [0.1 * 0.1 + 0.3 * 0.5 + 0.2 * 0.4 + 0.4 * 0.8, 0.44], atol=1e-12)
    np.testing.assert_allclose(tables["q"][row["sex=m_age=o"]], [0.8, 0.2])


def test_shares_are_not_below_the_floor() -> None:
    everyone = np.array([0.5, 0.3, 0.2])
    found = above_floor(np.array([[0.9, 0.2, -0.1], [0.2, 0.4, 0.4]]), everyone)
    raised = np.array([0.9, 0.2, FLOOR * 0.2])
    np.testing.assert_allclose(found, [raised / raised.sum(), [0.2, 0.4, 0.4]])


# --- multilevel


def some_gold() -> TrainingGold:
    rng = np.random.default_rng(8)
    base = {"q1": rng.dirichlet(np.ones(3) * 5), "q2": rng.dirichlet(np.ones(2) * 5)}
    drawn = {
        (item, cell): rng.dirichlet(60 * base[item]).tolist()
        for item in base
        for cell in [(a, b, c) for a in "fm" for b in "yo" for c in "stu"]
    }
    return gold_from(
        lambda item, cell: drawn[item, cell], {"q1": 3, "q2": 2}, {"sex": ["f", "m"], "age": ["y", "o"], "place": ["s", "t", "u"]}, n=40
    )


def test_multilevel_gives_best_linear_unbiased_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with the mixed-model formulas for each item and code, for given variances."""
    gold = some_gold()
    variances = np.array([0.05, 0.01, 0.08, 0.02, 0.3])  # sex, age, place, pairs, cell noise
    monkeypatch.setattr(multilevel_module, "restricted_maximum_likelihood", lambda groups, kinds: variances)
    monkeypatch.setattr(multilevel_module, "MULTIPLES", (1.0,))
    monkeypatch.setattr(multilevel_module, "PRIOR", (1.0,))
    shares_of = multilevel_shares(TrainingCells.of(gold))
    joint = gold.joint
    effects: list[tuple[float, Callable[[tuple[str | None, ...]], bool]]] = []
    values = [sorted({cell[a] for cell in joint.levels}) for a in range(3)]
    for a in range(3):
        effects += [(variances[a], lambda cell, a=a, v=v: cell[a] == v) for v in values[a]]
    for a, b in combinations(range(3), 2):
        effects += [(variances[3], lambda cell, a=a, b=b, v=v, w=w: cell[a] == v and cell[b] == w) for v in values[a] for w in values[b]]
    indicator = np.array([[float(has(cell)) for _, has in effects] for cell in joint.levels])
    size = np.diag([variance for variance, _ in effects])
    for item in gold.codes:
        subgroups = gold.subgroups_of[item]
        mixture = np.array([joint.within(gold.levels[s]) / joint.within(gold.levels[s]).sum() for s in subgroups])
        noise = mixture @ np.diag(1 / joint.n) @ mixture.T
        # There is one answer per respondent, so the noise is not rescaled.
        noise = noise + variances[4] * np.diag([1 / gold.n_eff[item, s] for s in subgroups])
        z = mixture @ indicator
        covariance = z @ size @ z.T + noise
        inverse = np.linalg.inv(covariance)
        for k in range(len(gold.codes[item])):
            y = np.array([gold.counts[item, s][k] / gold.counts[item, s].sum() for s in subgroups])
            mean = inverse.sum(axis=0) @ y / inverse.sum()
            effect = size @ z.T @ inverse @ (y - mean)
            np.testing.assert_allclose(shares_of(item)[:, k], mean + indicator @ effect, atol=1e-8)


def test_variances_maximise_the_restricted_likelihood() -> None:
    """Compute the restricted likelihood as the density of error contrasts, at and around the estimate."""
    cells = TrainingCells.of(training_gold(simulated()))
    groups, kinds = multilevel_module._groups(cells, _designs(cells), cells.items), len(_designs(cells)[next(iter(cells.mixture))])

    def log_likelihood(variances: np.ndarray) -> float:
        total = 0.0
        for group in groups:
            basis = np.linalg.svd(np.ones((1, len(group.subgroups))))[2][1:]
            density = multivariate_normal(np.zeros(len(basis)), basis @ group.covariance(variances) @ basis.T)
            for where in group.columns.values():
                # Scaled shares have one dimension less than codes, because shares sum to 1.
                scaled = group.scaled[:, where]
                total += sum(density.logpdf(basis @ column) for column in scaled.T) - density.logpdf(np.zeros(len(basis)))
        return float(total)

    found = multilevel_module.restricted_maximum_likelihood(groups, kinds)
    best = log_likelihood(found)
    for place in range(len(found)):
        for factor in (0.7, 1.4):
            other = found.copy()
            other[place] *= factor
            low, high = multilevel_module.NOISE_BOUNDS if place == kinds else multilevel_module.EFFECT_BOUNDS
            if low <= other[place] <= high:
                assert log_likelihood(other) < best + 1e-3


def _designs(cells: TrainingCells) -> dict[str, list[np.ndarray]]:
    kinds = multilevel_module._effects(cells, cells.gold.trained_joint)
    return {s: [weights @ part for part in kinds] for s, weights in cells.mixture.items()}


# --- low rank


def test_low_rank_at_full_rank_is_ridge_regression() -> None:
    gold = some_gold()
    cells = TrainingCells.of(gold)
    found = low_rank_shares(cells, 99, 25.0)
    centred = cells.centred(gold.joint)
    for item in gold.codes:
        seen = cells.observed[item]
        x = np.array([cells.mixture[s] @ centred for s in seen.subgroups])
        # Ridge regression as least squares with added rows.
        root = np.sqrt(seen.n_eff)[:, None]
        design = np.vstack([root * x, np.sqrt(25.0) * np.eye(x.shape[1])])
        target = (seen.shares - seen.pooled) / np.sqrt(seen.pooled)
        effects = np.linalg.lstsq(design, np.vstack([root * target, np.zeros((x.shape[1], target.shape[1]))]), rcond=None)[0]
        np.testing.assert_allclose(found(item), seen.pooled + np.sqrt(seen.pooled) * (centred @ effects), atol=1e-6)


def test_low_rank_finds_a_shared_pattern() -> None:
    rng = np.random.default_rng(1)
    pattern = {
        cell: 0.25 * (cell[0] == "f") - 0.15 * (cell[1] == "y") + 0.1 * (cell[2] == "s")
        for cell in [(a, b, c) for a in "fm" for b in "yo" for c in "stu"]
    }
    size = {f"q{i}": float(rng.normal(0, 0.6)) for i in range(30)}
    gold = gold_from(
        lambda item, cell: [0.5 + size[item] * pattern[cell], 0.5 - size[item] * pattern[cell]],
        dict.fromkeys(size, 2),
        {"sex": ["f", "m"], "age": ["y", "o"], "place": ["s", "t", "u"]},
        n=1e5,
    )
    cells = TrainingCells.of(gold)
    one, three = low_rank_shares(cells, 1, 1e-3), low_rank_shares(cells, 3, 1e-3)
    for item in size:
        expected = [0.5 + size[item] * pattern[cell] for cell in gold.joint.levels]
        np.testing.assert_allclose(one(item)[:, 0], expected, atol=1e-3)
        np.testing.assert_allclose(three(item)[:, 0], expected, atol=1e-3)


# --- raking and validation


def test_raking_fits_the_margins() -> None:
    # Cells f y, f o, m y, m o of 100 respondents each; two codes. Margins .7 and .3 by sex, .6 and .4 by age.
    start = np.array([[0.6, 0.4], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    exact = np.full(2, 1e12)
    sex = (np.array([0, 0, 1, 1]), np.array([[0.7, 0.3], [0.3, 0.7]]), exact)
    age = (np.array([0, 1, 0, 1]), np.array([[0.6, 0.4], [0.4, 0.6]]), exact)
    found = rake(start, np.full(4, 100.0), [sex, age], rounds=200)
    np.testing.assert_allclose([(found[0, 0] + found[1, 0]) / 2, (found[2, 0] + found[3, 0]) / 2], [0.7, 0.3], atol=1e-6)
    np.testing.assert_allclose([(found[0, 0] + found[2, 0]) / 2, (found[1, 0] + found[3, 0]) / 2], [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_raking_ignores_a_stratum_without_answers() -> None:
    start = np.array([[0.6, 0.4], [0.5, 0.5]])
    np.testing.assert_allclose(rake(start, np.ones(2), [(np.array([-1, -1]), np.zeros((0, 2)), np.zeros(0))]), start)


def test_validation_chooses_the_best_candidate_for_held_out_strata() -> None:
    gold = some_gold()
    row = {subgroup: i for i, subgroup in enumerate(gold.levels)}
    seen: list[set[tuple[str, ...]]] = []

    def tables(cells: TrainingCells, error: float) -> dict[str, np.ndarray]:
        seen.append({tuple(cells.gold.levels[s]) for _, s in cells.gold.counts})
        found = {item: np.full((len(row), len(codes)), 1 / len(codes)) for item, codes in gold.codes.items()}
        for (item, subgroup), counts in gold.counts.items():
            found[item][row[subgroup]] = counts / counts.sum() + error
        return found

    assert choose(gold, (0.3, 0.1, 0.0, 0.2), tables) == 0.0
    assert choose(gold, (0.1, -0.1), tables) == 0.1  # a tie: the first
    # Single attributes are always in training; each pair stratum is held out as a whole in some fold.
    assert all({("sex",), ("age",), ("place",)} <= strata for strata in seen)
    assert set.intersection(*seen) == {("sex",), ("age",), ("place",)}


# --- simulated populations


def distance_to_truth(kind: str, main: float, pairs: float) -> float:
    """Return the root mean square distance of predicted to true shares over the test pairs of two populations."""
    gaps: list[np.ndarray] = []
    for seed in (3, 4):
        dataset = simulated(main, pairs, seed=seed)
        names = dataset.attributes
        table = truth(plant(population_settings(main, pairs, 12, seed, 0.2))).select("item", "shares", *names)
        true = {(item, tuple(levels)): np.array(shares) for item, shares, *levels in table.iter_rows()}
        levels = {subgroup: tuple(its) for subgroup, *its in dataset.subgroups.select("subgroup", *names).iter_rows()}
        predictor = make_baseline(kind, dataset).predictor
        gaps += [
            predictor.shares(i, s) - true[i, levels[s]] for i, s in dataset.part("paper", "test").select("item", "subgroup").iter_rows()
        ]
    return float(np.sqrt(np.mean(np.concatenate(gaps) ** 2)))


@pytest.mark.parametrize("kind", ["multilevel", *(pytest.param(k, marks=pytest.mark.slow) for k in FITTED if k != "multilevel")])
def test_effects_are_recovered(kind: str) -> None:
    assert distance_to_truth(kind, 0.4, 0.0) < 0.75 * distance_to_truth("item-mode", 0.4, 0.0)
    assert distance_to_truth(kind, 0.4, 0.0) < distance_to_truth("nearest-parent", 0.4, 0.0)


@pytest.mark.slow
def test_without_effects_the_multilevel_model_shrinks_to_national_shares() -> None:
    assert distance_to_truth("multilevel", 0.0, 0.0) < 1.15 * distance_to_truth("item-mode", 0.0, 0.0)
    assert distance_to_truth("multilevel", 0.0, 0.0) < 0.8 * distance_to_truth("nearest-parent", 0.0, 0.0)


# --- degenerate data


def degenerate(kind: str) -> TrainingGold:
    gold = training_gold(simulated(items=8))
    pairs = list(gold.counts)
    first = pairs[0][0]
    if kind == "one training pair":
        return gold.without({pair for pair in pairs if pair[0] == first and pair != pairs[0]})
    if kind == "one item":
        return gold.of_items({first})
    if kind == "single attributes only":
        return gold.without({pair for pair in pairs if len(gold.levels[pair[1]]) > 1})
    if kind == "one subgroup":
        return gold.without({pair for pair in pairs if pair[1] != pairs[0][1]})
    if kind == "unused codes":
        single_code = {pair: np.eye(len(counts))[0] * counts.sum() for pair, counts in gold.counts.items()}
        return replace(gold, counts=single_code)
    if kind == "tiny sample":
        return replace(gold, n_eff=dict.fromkeys(pairs, 1.0), n=dict.fromkeys(pairs, 1))
    if kind == "no known joint cell":
        empty = JointCells(gold.joint.attributes, (("x",) * len(gold.joint.attributes),), np.array([60.0]), np.array([60.0]))
        return replace(gold, joint=empty, trained_joint=empty)
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "case",
    [
        "one training pair",
        "one item",
        "single attributes only",
        "one subgroup",
        "unused codes",
        "tiny sample",
        "no known joint cell",
    ],
)
@pytest.mark.parametrize("kind", additive_slow(LADDER))
def test_degenerate_training_gold_gives_distributions(kind: str, case: str) -> None:
    gold = degenerate(case)
    predictor = BASELINES[kind](gold)
    for item, codes in gold.codes.items():
        for subgroup in gold.levels:
            assert is_distribution(predictor.shares(item, subgroup), len(codes)), (item, subgroup)


@pytest.mark.parametrize("options", [2, 10])
@pytest.mark.parametrize("kind", additive_slow(STATISTICAL))
def test_binary_and_ten_point_items(kind: str, options: int) -> None:
    made = SimulationSettings(respondents=300, items=5, options=(options,), levels=(2, 2, 2), main_effects=0.4, seed=options)
    dataset = build(draw_survey(plant(made), 1), LOOSE)
    baseline = make_baseline(kind, dataset)
    for item, subgroup in dataset.part("paper", "test").select("item", "subgroup").iter_rows():
        (shares,) = baseline.shares(item, subgroup)
        assert is_distribution(shares, options)


@pytest.mark.parametrize("kind", additive_slow(STATISTICAL))
def test_an_attribute_with_one_level(kind: str) -> None:
    full = draw_survey(plant(population_settings(0.4, 0.0, 6, 2, 0.2)), 1)
    same = replace(full, levels=np.where(np.arange(full.levels.shape[1]) == 2, 0, full.levels).astype(np.int16))
    dataset = build(same, LOOSE)
    baseline = make_baseline(kind, dataset)
    for item, subgroup in dataset.part("paper", "test").select("item", "subgroup").iter_rows():
        (shares,) = baseline.shares(item, subgroup)
        assert is_distribution(shares, len(dataset.codes_of[item]))


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 2), st.integers(2, 4))
def test_random_surveys_give_distributions(seed: int, effects: float, levels: int) -> None:
    made = SimulationSettings(respondents=120, items=4, nominal=0.3, levels=(2, levels, 2), main_effects=effects, weighted=True, seed=seed)
    dataset = build(draw_survey(plant(made), seed), BuildSettings(min_respondents=1, min_valid=1, draws=5))
    gold = training_gold(dataset)
    for kind in STATISTICAL:
        predictor = BASELINES[kind](gold)
        for item, codes in gold.codes.items():
            for subgroup in gold.levels:
                assert is_distribution(predictor.shares(item, subgroup), len(codes))


# --- splits and transfer


@pytest.mark.parametrize("kind", additive_slow(("item-mode", "nearest-parent", *FITTED)))
def test_unseen_items_are_predicted_by_the_item_average(kind: str) -> None:
    dataset = simulated()
    item, subgroup = dataset.part("unseen-item", "test", 0).select("item", "subgroup").row(0)
    (average,) = make_baseline("item-average", dataset, split="unseen-item", fold=0).shares(item, subgroup)
    (shares,) = make_baseline(kind, dataset, split="unseen-item", fold=0).shares(item, subgroup)
    np.testing.assert_allclose(shares, average)


# The ensemble rakes only subgroups whose levels are all in training.
@pytest.mark.parametrize("kind", additive_slow(kind for kind in FITTED if kind != "ensemble"))
def test_unseen_levels_are_ignored(kind: str) -> None:
    dataset = simulated()
    held = dataset.fold_labels("unseen-level")[0].split(" = ")
    alone = dataset.subgroups.filter(pl.col("stratum") == held[0], pl.col(held[0]) == held[1])["subgroup"][0]
    predictor = make_baseline(kind, dataset, split="unseen-level", fold=0).predictor
    for item in dataset.codes_of:
        np.testing.assert_allclose(predictor.shares(item, alone), predictor.shares(item, "all"), atol=1e-9)


def relabelled(change: Callable[[Survey], Survey]) -> Dataset:
    return build(change(draw_survey(plant(population_settings(0.4, 0.0, 12, 3, 0.2)), 9)), LOOSE)


@pytest.mark.parametrize("kinds", [("item-mode", "multilevel"), pytest.param(STATISTICAL, marks=pytest.mark.slow)])
def test_transfer_matches_items_by_codes_and_levels_by_label(kinds: Sequence[str]) -> None:
    here = simulated()

    def change(survey: Survey) -> Survey:
        first, *others = survey.items
        attribute = survey.attributes[1]
        levels = (replace(attribute.levels[0], label="another"), *attribute.levels[1:])
        return replace(
            survey,
            items=(replace(first, codes=tuple(code + 1 for code in first.codes)), *others),
            attributes=(survey.attributes[0], replace(attribute, levels=levels), *survey.attributes[2:]),
        )

    there = relabelled(change)
    gold = training_gold(here, split="transfer", train_on=there)
    lost, level = next(iter(here.codes_of)), f"{here.attributes[1]}={here.meta['attributes'][1]['levels'][0]['label']}"
    assert gold.unmatched == {"items": (lost,), "levels": (level,)}
    assert gold.disjoint
    identity = make_baseline("multilevel", here, split="transfer", train_on=there).identity()
    assert identity["trained_on"]["data_set"] == there.fingerprint
    source = {"fingerprint": there.fingerprint, "survey": there.survey_and_place}
    assert make_baseline("item-mode", here, split="transfer", train_on=there).training_data() == source
    assert make_baseline("uniform", here, split="transfer", train_on=there).training_data() is None
    assert make_baseline("item-mode", here).training_data() is None
    assert identity["trained_on"]["unmatched"] == {"items": [lost], "levels": [level]}
    # A subgroup with an unmatched level has training parents only by its other levels.
    kept = [s for s, its in gold.levels.items() if "another" not in its.values() and its]
    assert all(
        (item, s) in gold.counts
        for item in list(here.codes_of)[1:]
        for s in kept
        if f"{here.attributes[1]}={gold.levels[s].get(here.attributes[1])}" != level
    )
    for kind in kinds:
        baseline = make_baseline(kind, here, split="transfer", train_on=there)
        for item, subgroup in here.part("transfer", "test").select("item", "subgroup").iter_rows():
            assert is_distribution(baseline.shares(item, subgroup)[0], len(here.codes_of[item]))
    assert make_baseline("item-mode", here, split="transfer", train_on=there).shares(lost, "all")[0] == pytest.approx(
        make_baseline("item-average", here, split="transfer", train_on=there).shares(lost, "all")[0]
    )


def test_transfer_trains_only_on_the_other_data_set() -> None:
    here, there = simulated(), simulated(sample=2)
    gold = training_gold(here, split="transfer", train_on=there)
    rows = there.gold.filter(pl.col("half") == "all").select("item", "subgroup", "counts_weighted").iter_rows()
    expected = {(item, subgroup): counts for item, subgroup, counts in rows if subgroup != "all"}
    assert gold.counts.keys() == expected.keys()
    assert all(gold.counts[pair].tolist() == expected[pair] for pair in expected)
    assert gold.unmatched == {"items": (), "levels": ()}


def test_invalid_calls() -> None:
    here, there = simulated(), simulated(sample=2)
    with pytest.raises(UsageError, match=r"no baseline 'additiv'.*additive"):
        make_baseline("additiv", here)
    with pytest.raises(UsageError, match="no fold 99"):
        make_baseline("item-mode", here, split="unseen-item", fold=99)
    with pytest.raises(UsageError, match="each with its own predictor"):
        _ = make_baseline("item-mode", here, split="unseen-item").predictor
    with pytest.raises(InputDataError, match="train_on="):
        make_baseline("item-mode", here, split="transfer")
    with pytest.raises(UsageError, match="is also the test data set"):
        make_baseline("item-mode", here, split="transfer", train_on=here)
    with pytest.raises(UsageError, match="trains on the gold of the data set itself"):
        make_baseline("item-mode", here, split="paper", train_on=there)
    with pytest.raises(InputDataError, match="no item in common"):
        make_baseline(
            "item-mode",
            here,
            split="transfer",
            train_on=relabelled(lambda s: replace(s, items=tuple(replace(i, id=f"x{i.id}") for i in s.items))),
        )


def test_uniform_and_midpoint_need_no_training_gold() -> None:
    here = simulated()
    item, subgroup = here.part("transfer", "test").select("item", "subgroup").row(0)
    options = len(here.codes_of[item])
    (shares,) = make_baseline("uniform", here, split="transfer").shares(item, subgroup)
    np.testing.assert_allclose(shares, np.full(options, 1 / options))
    # Seven codes have one middle, four have two.
    gold = replace(training_gold(here), codes={"odd": tuple(range(7)), "even": tuple(range(4))})
    np.testing.assert_allclose(BASELINES["midpoint"](gold).shares("odd", "all"), np.eye(7)[3])
    np.testing.assert_allclose(BASELINES["midpoint"](gold).shares("even", "all"), [0, 0.5, 0.5, 0])


def test_identity_holds_the_settings_and_the_embedding() -> None:
    here = simulated()
    assert make_baseline("additive", here).identity()["settings"]["variance"] > 0
    assert set(make_baseline("ensemble", here).identity()["settings"]) == {"rank", "penalty"}
    embedded = make_baseline("item-text", here, split="unseen-item", fold=1).identity()["settings"]
    assert embedded["embedding"].split()[0] in ("wordllama", "tf-idf")
    assert 0 <= embedded["trust"] <= 1
    assert "settings" not in make_baseline("item-mode", here).identity()
    folds = make_baseline("low-rank", here, split="unseen-item").identity()
    assert len(folds["settings"]) == len(folds["trained_on"]["pairs"]) == 5
    assert folds["trained_on"]["fold"] is None


def test_answers_of_all_folds_are_stored_and_scored_by_their_mean(tmp_path: Path) -> None:
    dataset = simulated()
    baseline = make_baseline("nearest-parent", dataset, split="unseen-level")
    asked = ask(dataset, baseline, tmp_path / "run", split="unseen-level", part="test")
    rows = dataset.part("unseen-level", "test")
    assert asked.answered == rows.height > rows["pair_id"].n_unique()
    run = load_run(tmp_path / "run")
    assert run.responses.height == rows.height
    scores = score(dataset, [run], split="unseen-level", by=("all",), bootstrap=0)
    gold = dict(dataset.gold.filter(pl.col("half") == "all").select("pair_id", "p_mode").iter_rows())
    of_pair = [
        np.mean([gold[pair][int(shares.argmax())] for shares in baseline.shares(item, subgroup)])
        for pair, item, subgroup in rows.unique("pair_id").select("pair_id", "item", "subgroup").iter_rows()
    ]
    assert scores.filter(pl.col("metric") == "accuracy_expected")["value"].item() == pytest.approx(float(np.mean(of_pair)))
    again = ask(
        dataset, make_baseline("nearest-parent", dataset, split="unseen-level"), tmp_path / "run", split="unseen-level", part="test"
    )
    assert (again.asked, again.answered) == (0, rows.height)


# --- reference baselines


def test_reference_baselines_share_their_fits_and_say_which_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    shown: list[tuple[int, str | None]] = []

    def counted(module: ModuleType, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: object, **named: object) -> object:
            calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    @contextmanager
    def recorded(_label: str, _total: int) -> Iterator[Callable[..., None]]:
        yield lambda steps, now=None: shown.append((steps, now))

    counted(low_rank_module, "choose")
    counted(multilevel_module, "restricted_maximum_likelihood")
    counted(gold_module, "_answered")
    counted(reference_module, "render_prompts")
    monkeypatch.setattr(reference_module, "progress", recorded)
    kinds = ("item-mode", "multilevel", "low-rank", "ensemble")
    runs = reference_baselines(simulated(), [], kinds=kinds)
    assert [run.name for run in runs] == [f"baseline-{kind}" for kind in kinds]
    assert calls == {"choose": 1, "restricted_maximum_likelihood": 1, "_answered": 1, "render_prompts": 1}
    assert shown == [entry for kind in kinds for entry in ((0, f"baseline-{kind}"), (1, None))]


@pytest.mark.parametrize(("kind", "split"), [("uniform", "paper"), ("item-mode", "unseen-level"), ("nearest-parent", "unseen-both")])
def test_a_reference_baseline_answers_like_the_same_baseline_asked(tmp_path: Path, kind: str, split: str) -> None:
    dataset = simulated()
    (run,) = reference_baselines(dataset, [], kinds=(kind,), split=split)
    ask(dataset, make_baseline(kind, dataset, split=split), tmp_path / "run", split=split)
    asked = load_run(tmp_path / "run").responses
    order = ["item", "subgroup", "sample"]
    assert_frame_equal(run.responses.sort(order).drop("latency"), asked.sort(order).drop("latency"))


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_shows_what_is_worked_on_only_in_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    class Stream(StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress("answering with baselines", 2) as advance:
        advance(0, "baseline-additive")
        advance(1)
    text = stream.getvalue()
    assert ("answering with baselines: baseline-additive" in text) == terminal
    assert bool(text) == terminal
