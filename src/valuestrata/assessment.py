"""Scores, comparisons, ceilings and claims of runs on one part of a split, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.closed import closed_claims
from valuestrata.claims.select import select
from valuestrata.claims.table import to_frame
from valuestrata.claims.templates import word
from valuestrata.dataset.tables import Dataset, uses_halves
from valuestrata.formatting import metric_title, number, percent
from valuestrata.overview import HasOverview, Overview
from valuestrata.progress import progress
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.per_respondent.person_scores import load_person_scores
from valuestrata.responses.reference_baselines import check_training
from valuestrata.responses.run.halves import scored_responses
from valuestrata.responses.run.identity import Answered, Identified, run_identity
from valuestrata.scores.aggregate import PlacedRuns, calibration_placed, score_placed
from valuestrata.scores.calibration.dont_know import DONT_KNOW, dont_know_rows, offers_dont_know
from valuestrata.scores.calibration.error import CALIBRATION
from valuestrata.scores.compare import SPREADS, adjust, checked_metrics, compare_placed
from valuestrata.scores.layout import BY
from valuestrata.scores.plan import Declared, DeclaredComparison, Thresholds, standard_comparisons
from valuestrata.scores.relative import relative_placed
from valuestrata.scores.structure import structure
from valuestrata.scores.train_test_overlap import training_overlap
from valuestrata.scores.variance.seeds import SEED_COMPARISONS, SeededRecipe, SeededRuns
from valuestrata.splits import leakage_report
from valuestrata.stats.variance_components import PRESENTATION

# Groupings of the comparisons. Single items are left out, because they would add thousands of tests.
GROUPINGS = ("all", "stratum", "attribute", "level", "subgroup", "topic")
# Of the overview.
_SHOWN_METRICS = ("accuracy_expected", "nmae", "w1")
_MOST_CLAIMS = 3
COMPARED_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")


@dataclass(frozen=True, repr=False)
class Assessment(HasOverview):
    """The results of `assess`.

    Attributes:
        scores: scores of every run, metric and key (SCORES).
        comparisons: differences between runs, with corrected p-values (COMPARISONS).
        relative: how far scores are on the way from a baseline to a bound (RELATIVE).
        structure: agreement with the gold on correlations between items across subgroups (STRUCTURE).
        claims: the claims that the tables support, by run.
        leakage: overlap of train and test, by scheme (LEAKAGE_REPORT).
        plan: the declared plan, None without one.
        calibration: stated probabilities against gold shares, by bin (CALIBRATION).
        dont_know: rates of "don't know" beside the share of people, of runs whose prompts offered it (DONT_KNOW).
        persons: scores by person, of imported runs with an answer per respondent (`run` and PERSON_SCORES).
        seeded: values and comparisons of recipes over their training seeds (SEED_COMPARISONS); empty without any.
    """

    scores: pl.DataFrame
    comparisons: pl.DataFrame
    relative: pl.DataFrame
    structure: pl.DataFrame
    claims: tuple[Claim, ...]
    leakage: pl.DataFrame
    plan: Declared | None = None
    seeded: pl.DataFrame = dataclass_field(default_factory=SEED_COMPARISONS.empty)
    calibration: pl.DataFrame = dataclass_field(default_factory=CALIBRATION.empty)
    dont_know: pl.DataFrame = dataclass_field(default_factory=DONT_KNOW.empty)
    persons: pl.DataFrame = dataclass_field(default_factory=lambda: load_person_scores(()))

    def overview(self) -> Overview:
        """Return the most important claim of each model, and the scores of each run over all pairs."""
        claims = [f"{found.run}: {word(found.shown[0]).sentence}" for found in select(self.claims) if found.shown]
        rows = self.scores.filter((pl.col("by") == "all") & pl.col("against").is_null() & pl.col("fold").is_null())
        rows = self.scores.filter((pl.col("by") == "all") & pl.col("against").is_null()) if rows.is_empty() else rows
        where = "no pairs" if rows.is_empty() else f"split {rows['scheme'][0]}, part {rows['part'][0]}"
        own = rows.filter(pl.col("metric").is_in(list(_SHOWN_METRICS)))
        table = [
            (str(run), *(_with_interval(scores, metric) for metric in _SHOWN_METRICS), percent(scores["coverage"][0]))
            for (run, *_), scores in own.group_by("run", "elicitation", "template", "fold", maintain_order=True)
        ]
        heads = ("Run", *(metric_title(metric) for metric in _SHOWN_METRICS), "Coverage")
        return Overview(f"Scores: {where}", claims[:_MOST_CLAIMS], heads, table, "95 % confidence intervals in brackets.")

    @cached_property
    def verdicts(self) -> pl.DataFrame:
        """The claims as a table (CLAIMS)."""
        return to_frame(self.claims)


def assess(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    against: str | None = None,
    also: Sequence[tuple[str, str]] = (),
    plan: Declared | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    recipes: Sequence[SeededRecipe] = (),
    vary: Sequence[str] = PRESENTATION,
) -> Assessment:
    """Score runs, compare them with each other and with ceilings, and derive claims.

    Args:
        dataset: the ground truth.
        runs: models, with their baselines and controls (`responses.reference_baselines` answers the baselines).
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        against: name of a run to compare all others with, in addition to the standard comparisons.
        also: further comparisons (run, against), by name.
        plan: declared plan. Its comparisons form the declared family; its thresholds and primary metric are used for claims.
        bootstrap: bootstrap replicates; 0 for no intervals and no comparisons.
        seed: seed of the bootstrap.
        recipes: recipes trained with several seeds; `plan` and `also` may name them like runs.
        vary: which of order, paraphrase and template their intervals include besides the seed, if several were asked.

    Raises:
        UsageError: as for `score` and `compare`; a plan that names a missing run; a baseline trained on another split.
        InputDataError: as for `score`.
    """
    check_training(dataset, runs, split, fold)
    thresholds = plan.plan.thresholds if plan is not None else Thresholds()
    metric = plan.plan.metric if plan is not None else "accuracy_expected"
    where: dict[str, Any] = {"split": split, "part": part, "fold": fold}
    family = [] if plan is None else plan.rows([*runs, *recipes], split, part, fold)
    wanted = list(dict.fromkeys([*standard_comparisons(runs), *((row.run, row.against) for row in family), *_with(runs, against), *also]))
    of_recipes = [pair for pair in wanted if not {recipe.name for recipe in recipes}.isdisjoint(pair)]
    pairs = [pair for pair in wanted if pair not in of_recipes]
    metrics = tuple(dict.fromkeys([*COMPARED_METRICS, metric, *(row.metric for row in family)]))
    by = (*GROUPINGS, *({"item"} & {row.by for row in family}))
    checked_metrics(runs, pairs, metrics)
    baselines = [found.name for found in map(run_identity, runs) if found.is_baseline and found.rule in CHEAP]
    confidence = thresholds.confidence
    placed = PlacedRuns(dataset, runs, by=BY, bootstrap=bootstrap, seed=seed, **where)
    with progress("scoring", 3 * len(runs) + len(pairs)) as advance:
        scores = score_placed(placed, confidence, advance)
        narrower = placed if "item" in by else placed.without_items()
        compared = compare_placed(narrower, pairs, metrics, confidence, advance)
        seeded = SEED_COMPARISONS.empty()
        if recipes:
            keys = dict.fromkeys(["all", *(row.by for row in family if (row.run, row.against) in of_recipes and row.by != "item")])
            seeded_runs = SeededRuns(PlacedRuns(dataset, runs, by=list(keys), bootstrap=bootstrap, seed=seed, **where), recipes, vary=vary)
            of_values: list[tuple[str, str | None]] = [(recipe.name, None) for recipe in recipes]
            seeded = seeded_runs.rows([*of_recipes, *of_values], [name for name in metrics if name not in SPREADS], confidence)
        compared, seeded = _adjusted(compared, seeded, family)
        found = relative_placed(narrower, baselines, confidence, advance)
        structures = structure(
            dataset, runs, bootstrap=bootstrap, permutations=bootstrap, seed=seed, confidence=confidence, advance=advance, **where
        )
    calibration = calibration_placed(placed, confidence)
    labels = {"scheme": split, "fold": fold, "part": part}
    offered = [
        dont_know_rows(narrower.resampler, run, scored_responses(run, split, fold), labels, confidence)
        for run in runs
        if offers_dont_know(run)
    ]
    overlaps = training_overlap(dataset, runs, **where)
    claims = closed_claims(scores, compared, found, _leakage_of(dataset, split, fold), runs, thresholds, metric, overlaps)
    return Assessment(
        scores,
        compared,
        found,
        structures,
        tuple(claims),
        leakage_report(dataset),
        plan,
        seeded,
        calibration,
        pl.concat([DONT_KNOW.empty(), *offered]),
        load_person_scores(runs),
    )


def _adjusted(compared: pl.DataFrame, seeded: pl.DataFrame, family: Sequence[DeclaredComparison]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adjust the comparisons of runs and of recipes together; the recipes' own values are no tests."""
    tested = seeded.filter(pl.col("against").is_not_null())
    found = adjust(pl.concat([compared, tested.select(compared.columns)]), family)
    own = found.slice(compared.height).select("p_adjusted", "adjustment", "status")
    return found.head(compared.height), pl.concat([tested.with_columns(own), seeded.filter(pl.col("against").is_null())])


def _with_interval(scores: pl.DataFrame, metric: str) -> str:
    """Return the value of a metric with its interval, in one run's scores."""
    row = scores.row(by_predicate=pl.col("metric") == metric, named=True) if metric in scores["metric"] else {}
    low, high = row.get("ci_low"), row.get("ci_high")
    return number(row.get("value")) + ("" if low is None or high is None else f" [{number(low)}, {number(high)}]")


def _with(runs: Sequence[Identified], against: str | None) -> list[tuple[str, str]]:
    return [] if against is None else [(run.name, against) for run in runs if run.name != against]


def _leakage_of(dataset: Dataset, split: str, fold: int | None) -> pl.DataFrame:
    """Return the leakage rows of a split; none under `+disjoint` and `+crossfit`, where train and test share no respondents."""
    rows = dataset.leakage.filter(pl.col("scheme") == split)
    return rows.clear() if uses_halves(split) else rows if fold is None else rows.filter(pl.col("fold") == fold)
