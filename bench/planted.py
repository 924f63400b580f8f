"""One simulated data set: sampled, built, answered by fixed models and baselines, and scored with intervals.

The rows made here (`COLUMNS`) contain every figure of the simulation study and of its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.gold import is_mode
from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.baselines import make_baseline
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores import compare, score
from valuestrata.scores.structure import MEASURES, POOLED, structure
from valuestrata.survey.simulation.population import Population, SimulationSettings, draw_survey, plant
from valuestrata.survey.simulation.truth import truth

SETTINGS = SimulationSettings(respondents=600, items=24, nominal=0.1, levels=(2, 4, 3))
NONE, EFFECTS, WEIGHTED = "none", "main and pairs", "main, weighted"
# Size of main effects and interactions, and whether weights correct for oversampling.
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    NONE: {"main_effects": 0.0, "interactions": 0.0},
    EFFECTS: {"main_effects": 0.3, "interactions": 0.15},
    WEIGHTED: {"main_effects": 0.3, "interactions": 0.0, "weighted": True, "oversampling": 0.4},
}
SCHEMES = ("paper", "paper+disjoint")
METRICS = ("accuracy", "accuracy_expected", "nmae", "w1")
SPREADS = ("spread_ratio", "spread_ratio_corrected")
BOUNDS = {"accuracy_expected": "ceiling_oracle", "nmae": "floor_nmae", "w1": "floor_w1"}
DISTANCES = ("nmae", "w1")
DRAWS = 100
# Share of pairs that a fixed model answers at random.
ERROR = 0.2
NATIONAL, SUBGROUP, ORACLE = "national", "subgroup", "oracle"
ITEM_MODE = "item-mode"
# Lower ends of bins: expected number of answers of an option or of all others, whichever is smaller.
SHARE_BINS = (0, 5, 15)

COLUMNS = {
    "condition": pl.String,
    "design": pl.String,
    "population": pl.Int64,
    "sample": pl.Int64,
    "scheme": pl.String,
    "what": pl.String,  # score, planted, difference, structure, share interval, recovery, bound
    "run": pl.String,
    "against": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "number": pl.Int64,
}

Key = tuple[str, tuple[str | None, ...]]
Shares = Mapping[Key, np.ndarray]


@dataclass(frozen=True)
class Task:
    """A population and a sample from it.

    Attributes:
        condition: one of CONDITIONS.
        design: `redrawn` (new items and respondents each time) or `held` (new respondents only).
        population, sample: seeds.
        baselines: kinds to fit, `item-mode` first.
        schemes: splits to score.
        settings: settings of the population; the condition sets the size of the effects.
        draws: joint redraws of the respondents.
        bootstrap: bootstrap replicates of each interval.
        structure: whether to compute measures of structure.
    """

    condition: str
    design: str
    population: int
    sample: int
    baselines: tuple[str, ...] = (ITEM_MODE,)
    schemes: tuple[str, ...] = SCHEMES
    settings: SimulationSettings = SETTINGS
    draws: int = DRAWS
    bootstrap: int = 400
    structure: bool = True


def rows_of(task: Task) -> list[dict[str, Any]]:
    """Return the rows of one data set."""
    population = plant(replace(task.settings, **CONDITIONS[task.condition], seed=task.population))
    seeds = BuildSettings(draws=task.draws, half_seed=task.sample, redraw_seed=task.sample)
    dataset = build(draw_survey(population, task.sample), seeds)
    true = true_shares(population)
    levels = levels_of(dataset)
    fixed = {name: fixed_model(true, population.settings.seed, national=name == NATIONAL) for name in (NATIONAL, SUBGROUP)}

    def predict(shares: Shares) -> Callable[[str, str], np.ndarray]:
        return lambda item, subgroup: shares[item, levels[subgroup]]

    models = {name: answered(dataset, name, predict(shares)) for name, shares in {**fixed, ORACLE: true}.items()}
    same = list(models.values())
    rows = share_rows(dataset, true, levels)
    for name, shares in fixed.items():
        rows += planted_rows(dataset, name, shares, true, levels)
    for scheme in task.schemes:
        fitted = [answered(dataset, kind, make_baseline(kind, dataset, split=scheme).predictor.shares) for kind in task.baselines]
        rows += score_rows(dataset, same, scheme, task.bootstrap)
        if task.structure:
            rows += structure_rows(dataset, models[SUBGROUP], scheme, task.bootstrap)
        against = [(SUBGROUP, NATIONAL), *((run, ITEM_MODE) for run in (*task.baselines, ORACLE) if run != ITEM_MODE)]
        rows += difference_rows(dataset, [*same, *fitted], against, scheme, task.bootstrap)
        rows += recovery_rows(dataset, fitted, true, levels, scheme)
    about = {"condition": task.condition, "design": task.design, "population": task.population, "sample": task.sample}
    return [{**about, **row} for row in rows]


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame of COLUMNS."""
    return pl.DataFrame([dict(row) for row in rows], schema=COLUMNS)


def true_shares(population: Population) -> dict[Key, np.ndarray]:
    """Return (item, level of every attribute or None) -> true shares."""
    names = [attribute.name for attribute in population.attributes]
    table = truth(population).select("item", "shares", *names)
    return {(item, tuple(levels)): np.array(shares) for item, shares, *levels in table.iter_rows()}


def levels_of(dataset: Dataset) -> dict[str, tuple[str | None, ...]]:
    """Return subgroup -> level of every attribute or None."""
    return {subgroup: tuple(levels) for subgroup, *levels in dataset.subgroups.select("subgroup", *dataset.attributes).iter_rows()}


def fixed_model(true: Shares, seed: int, *, national: bool) -> dict[Key, np.ndarray]:
    """Return shares that do not depend on the sample: the nation's or the subgroup's, random for some pairs."""
    rng = np.random.default_rng([seed, 10 + national])
    made: dict[Key, np.ndarray] = {}
    for (item, levels), shares in true.items():
        errs, random = rng.random() < ERROR, rng.dirichlet(np.ones(len(shares)))
        made[item, levels] = random if errs else true[item, (None,) * len(levels)] if national else shares
    return made


def answered(dataset: Dataset, name: str, shares: Callable[[str, str], np.ndarray]) -> SimpleNamespace:
    """Return a run with these shares for every test pair; its answers are their modes."""
    rows: list[dict[str, Any]] = []
    for pair, item, subgroup in dataset.part("paper", "test").select("pair_id", "item", "subgroup").iter_rows():
        given = shares(item, subgroup)
        chosen = dataset.codes_of[item][int(is_mode(given).argmax())]
        rows.append({"pair_id": pair, "item": item, "subgroup": subgroup, "answer": chosen, "option_probs": given.tolist()})
    plain = {"elicitation": "logprob", "template": "none", "order": "scale", "sample": 0, "status": "answered"}
    return SimpleNamespace(name=name, responses=RESPONSES.frame([{**plain, **row} for row in rows]))


def score_rows(dataset: Dataset, runs: list[SimpleNamespace], scheme: str, bootstrap: int) -> list[dict[str, Any]]:
    """Return the scores of runs with intervals, and the ceilings and floors of the test pairs."""
    table = score(dataset, runs, split=scheme, by=("all",), bootstrap=bootstrap)
    kept = [*METRICS, *SPREADS, *BOUNDS.values()]
    found = table.filter(pl.col("metric").is_in(kept)).select("run", "metric", "value", "ci_low", "ci_high")
    rows: list[dict[str, Any]] = []
    for run, metric, value, low, high in found.iter_rows():
        bound = metric in BOUNDS.values()
        if not bound or run == ORACLE:
            what = "bound" if bound else "score"
            rows.append({"scheme": scheme, "what": what, "run": run, "metric": metric, "value": value, "low": low, "high": high})
    return rows


def planted_rows(
    dataset: Dataset, name: str, shares: Shares, true: Shares, levels: Mapping[str, tuple[str | None, ...]]
) -> list[dict[str, Any]]:
    """Return the scores of a model on the test pairs against the true shares and modes."""
    nominal = set(dataset.items.filter(pl.col("level") == "nominal")["item"])
    found: dict[str, list[float]] = {"accuracy": [], "nmae": [], "w1": []}
    for item, subgroup in dataset.part("paper", "test").select("item", "subgroup").iter_rows():
        given, planted = shares[item, levels[subgroup]], true[item, levels[subgroup]]
        answer, mode = int(given.argmax()), int(planted.argmax())
        found["accuracy"].append(float(answer == mode))
        if item not in nominal:
            found["nmae"].append(abs(answer - mode) / (len(planted) - 1))
            found["w1"].append(float(np.abs(np.cumsum(given - planted)).sum()) / (len(planted) - 1))
    return [
        {"what": "planted", "run": name, "metric": metric, "value": float(np.mean(values)), "number": len(values)}
        for metric, values in found.items()
    ]


def structure_rows(dataset: Dataset, run: SimpleNamespace, scheme: str, bootstrap: int) -> list[dict[str, Any]]:
    """Return the measures of structure of a run, pooled over strata."""
    table = structure(dataset, [run], split=scheme, bootstrap=bootstrap, permutations=0)
    pooled = table.filter(pl.col("stratum") == POOLED, pl.col("measure").is_in(MEASURES))
    return [
        {"scheme": scheme, "what": "structure", "run": run.name, "metric": measure, "value": value, "low": low, "high": high}
        for measure, value, low, high in pooled.select("measure", "value", "ci_low", "ci_high").iter_rows()
    ]


def difference_rows(
    dataset: Dataset, runs: list[SimpleNamespace], pairs: list[tuple[str, str]], scheme: str, bootstrap: int
) -> list[dict[str, Any]]:
    """Return paired differences, run minus the other, with intervals."""
    table = compare(dataset, runs, pairs, split=scheme, by=("all",), metrics=METRICS, bootstrap=bootstrap)
    columns = ("run", "against", "metric", "difference", "ci_low", "ci_high")
    return [
        {"scheme": scheme, "what": "difference", "run": run, "against": other, "metric": metric, "value": value, "low": low, "high": high}
        for run, other, metric, value, low, high in table.select(columns).iter_rows()
    ]


def share_rows(dataset: Dataset, true: Shares, levels: Mapping[str, tuple[str | None, ...]]) -> list[dict[str, Any]]:
    """Return the share of true shares within gold +- 1.96 share_se, by expected answers of the rarer side."""
    gold = dataset.gold.filter(pl.col("half") == "all").join(dataset.mode_draws.filter(pl.col("half") == "all"), on="pair_id")
    inside: dict[int, list[bool]] = {low: [] for low in SHARE_BINS}
    for item, subgroup, n, shares, error in gold.select("item", "subgroup", "n_eff", "shares", "share_se").iter_rows():
        for planted, found, se in zip(true[item, levels[subgroup]], shares, error, strict=True):
            fewest = n * min(planted, 1 - planted)
            inside[max(low for low in SHARE_BINS if low <= fewest)].append(abs(found - planted) <= 1.96 * se)
    return [
        {"what": "share interval", "metric": f"{low}", "value": float(np.mean(hits)), "number": len(hits)}
        for low, hits in inside.items()
        if hits
    ]


def recovery_rows(
    dataset: Dataset, runs: list[SimpleNamespace], true: Shares, levels: Mapping[str, tuple[str | None, ...]], scheme: str
) -> list[dict[str, Any]]:
    """Return the root mean square error of predicted and observed shares over options of test pairs."""
    half = "B" if scheme.endswith("+disjoint") else "all"
    pairs = dataset.part(scheme, "test").select("pair_id")
    observed = dataset.gold.filter(pl.col("half") == half).join(pairs, on="pair_id", how="semi").select("item", "subgroup", "shares")
    tables = {run.name: run.responses.select("item", "subgroup", "option_probs") for run in runs} | {"observed": observed}
    rows: list[dict[str, Any]] = []
    for name, table in tables.items():
        gaps = [np.array(shares) - true[item, levels[subgroup]] for item, subgroup, shares in table.iter_rows()]
        value = float(np.sqrt(np.mean(np.concatenate(gaps) ** 2)))
        rows.append({"scheme": scheme, "what": "recovery", "run": name, "metric": "rmse", "value": value, "number": len(gaps)})
    return rows
