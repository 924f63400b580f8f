"""The backtest: a method predicts the survey's own questions, topic by topic, from the questions of the other topics.

Each topic is left out once. The method is fitted again to the gold of the other topics and predicts every pair of this one; so do the
baselines that need no model. The same held-out predictions give the errors in the report and the scores of the intervals. Intervals of
a left-out topic in the backtest use the scores of other topics only, or of other items where these are the exchangeable units (see
`conformal`). These scores come from fits that contain the topic, as in CV+ (Barber, Candes, Ramdas and Tibshirani 2021, Predictive
inference with the jackknife+, Annals of Statistics 49:486-507).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.calibration.model_answers import CalibrationFit, ModelAnswers
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.measures import w1
from valuestrata.prediction.completion import completed
from valuestrata.prediction.conformal import units_of_items
from valuestrata.prediction.intervals import Intervals, SizeClasses, covered, fit_intervals
from valuestrata.progress import Advance, no_progress
from valuestrata.respondents.baselines.gold import TrainingGold, survey_gold
from valuestrata.respondents.baselines.kinds import BASELINES
from valuestrata.respondents.baselines.predictor import Floats
from valuestrata.splits.schemes import deal
from valuestrata.stats.cluster_bootstrap import clustered_mean

# None for a pair that is not predicted.
Predict = Callable[[str, str], Floats | None]
# Names of predictors besides baselines.
RAW = "model as answered"
WITHOUT_MODEL = ("item-average", "item-text")
MOST_FOLDS = 20
# With fewer topics, blocks are left out, and items with fewer blocks.
_ENOUGH_GROUPS = 3
_METRICS = ("w1", "accuracy_expected", "accuracy")

BACKTEST = Schema(
    "backtest.parquet",
    {
        "predictor": Column(pl.String, "the method, `model as answered`, or a baseline without a model"),
        "fold": Column(pl.Int32, "fold in which the pair was left out"),
        "held_out": Column(pl.String, "what the fold leaves out: topics, blocks or items"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "target": Column(pl.Boolean, "counted in the errors: all subgroups but `all`, where there are others"),
        "n": Column(pl.Float64, "effective answers of the survey"),
        "found": Column(pl.List(pl.Float64), "shares found by the survey, scale order"),
        "predicted": Column(pl.List(pl.Float64), "predicted shares"),
        "low": Column(pl.List(pl.Float64), "lower ends of the 90 % intervals, from other questions; null unless of the method"),
        "high": Column(pl.List(pl.Float64), "upper ends"),
        "probability": Column(pl.List(pl.Float64), "probability of each option to be the most common answer, from other questions"),
        "covered": Column(pl.Float64, "share of the options whose found share is inside its interval"),
        "position_covered": Column(pl.Float64, "1 if the mean position is inside its interval, else 0; null for nominal items"),
        "size": Column(pl.Int32, "class of the number of answers: 0 the population, then subgroups from small to large"),
        "w1": Column(pl.Float64, "Wasserstein distance; null for nominal items"),
        "accuracy_expected": Column(pl.Float64, "probability that a redrawn survey has the predicted mode"),
        "accuracy": Column(pl.Float64, "1 if the predicted mode is the mode found, else 0"),
    },
)


@dataclass(frozen=True)
class Held:
    """What each fold leaves out. `unit`: topic, block or item. `folds`: items of each fold. `labels`: names of what they leave out."""

    unit: str
    folds: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Backtest:
    """Held-out predictions of a survey's own questions.

    Attributes:
        method: the method's name. held: the folds. pairs: BACKTEST schema.
        errors: predictor, metric, value, ci_low, ci_high, pairs; then difference (the method minus the predictor, on common pairs) with
            difference_low and difference_high; 95 % intervals over blocks.
        coverage: size (class), title, pairs, coverage of shares, and of mean positions.
        best: the baseline without a model that has the smallest error in this backtest.
        intervals: fitted to all folds, for new questions.
        units, by_block: number of exchangeable units behind the intervals, and whether they are blocks rather than items.
    """

    method: str
    held: Held
    pairs: pl.DataFrame
    errors: pl.DataFrame
    coverage: pl.DataFrame
    best: str
    intervals: Intervals
    units: int
    by_block: bool

    def error(self, predictor: str, metric: str) -> dict[str, float | None]:
        """Return the row of `errors` of a predictor and metric; all None if there is none."""
        found = self.errors.filter((pl.col("predictor") == predictor) & (pl.col("metric") == metric))
        return found.row(0, named=True) if found.height else dict.fromkeys(self.errors.columns)

    @property
    def metric(self) -> str:
        """`w1`, or `accuracy_expected` in a survey of nominal items only."""
        return "w1" if "w1" in self.errors["metric"] else "accuracy_expected"


def held_out_folds(items: Sequence[str], topics: Mapping[str, str], blocks: Mapping[str, str], most: int = MOST_FOLDS) -> Held:
    """Return the folds: one for each topic; with fewer than three topics for each block; with fewer than three blocks for each item.

    More than `most` groups are dealt to that many folds.

    Raises:
        InputDataError: fewer than three items.
    """
    if len(items) < _ENOUGH_GROUPS:
        raise InputDataError(
            f"The backtest leaves out questions of the survey, and the model answered {len(items)} of them. Expected at least "
            f"{_ENOUGH_GROUPS}; ask the model more of the survey's questions."
        )
    for unit, of in (("topic", topics), ("block", blocks), ("item", {item: item for item in items})):
        groups = Counter(of[item] for item in items)
        if len(groups) >= _ENOUGH_GROUPS:
            dealt = deal(groups, most, seed=0)
            folds = tuple(tuple(item for item in items if of[item] in hand) for hand in dealt)
            return Held(unit, folds, tuple("; ".join(name.removeprefix("block ") for name in hand) for hand in dealt))
    raise AssertionError("items are groups of their own")


def run_backtest(
    dataset: Dataset,
    answers: ModelAnswers,
    method: str,
    fit: CalibrationFit,
    *,
    subgroups: Sequence[str] = (),
    baselines: Sequence[str] = WITHOUT_MODEL,
    bootstrap: int = 1000,
    seed: int = 0,
    advance: Advance = no_progress,
) -> Backtest:
    """Predict the survey's own questions, each from the questions of other topics.

    Args:
        dataset: the survey. answers: of the model to its questions; items that the model did not answer are not held out.
        method, fit: name and function of the calibration method.
        subgroups: use only the gold of these; all if empty. baselines: predictors without a model to compare with.
        bootstrap, seed: of the intervals of errors. advance: called after each fold, of `len(held_out_folds(...).folds)`.

    Raises:
        InputDataError: too few items, or what the method raises.
    """
    gold = gold_of_subgroups(dataset, subgroups)
    known = {pair: shares for pair, shares in answers.shares.items() if pair[0] in gold.codes}
    given = ModelAnswers(known, {pair: answers.n[pair] for pair in known})
    answers = completed(dataset, given, subgroups or dataset.subgroups["subgroup"].to_list())
    answered = {item for item, _ in answers.shares}
    items = [item for item in gold.subgroups_of if item in answered]
    held = held_out_folds(items, gold.topic, dataset.block_names)
    truth = _truth(dataset, items, subgroups)
    own = gold.of_items(items)
    rows: dict[str, list[tuple[int, str, str, Floats]]] = {}
    for number, fold in enumerate(held.folds):
        out = truth.filter(pl.col("item").is_in(fold)).select("item", "subgroup").rows()
        for name, predict in _predictors(gold, own, set(fold), answers, method, fit, baselines).items():
            for item, subgroup in out:
                if (shares := predict(item, subgroup)) is not None:
                    rows.setdefault(name, []).append((number, item, subgroup, shares))
        advance(1, held.labels[number])
    unit, by_block = units_of_items([dataset.block_names[item] for item in items])
    numbers = pl.DataFrame({"item": items, "unit": unit, "item_number": np.arange(len(items)), "group": _groups(items, held, by_block)})
    frames = {name: _scored(truth, found) for name, found in rows.items()}
    # Sizes differ between questions only where the population is the only subgroup.
    classes = SizeClasses(()) if dataset.has_only_everyone else SizeClasses.of(truth.filter(pl.col("target"))["n"].to_numpy())
    mine = frames[method].join(numbers, on="item", how="left", maintain_order="left")
    intervals, crossed = fit_intervals(mine, classes), _cross_fitted(mine, classes)
    labels = pl.DataFrame({"fold": range(len(held.folds)), "held_out": held.labels}, schema_overrides={"fold": pl.Int32})
    named = [(crossed if name == method else frame).with_columns(predictor=pl.lit(name)) for name, frame in frames.items()]
    whole = pl.concat(named, how="diagonal")
    pairs = BACKTEST.check(whole.join(labels, on="fold", how="left", maintain_order="left"), "backtest").select(list(BACKTEST.columns))
    errors = _errors(dataset, pairs, method, bootstrap, seed)
    best = _best(errors, [name for name in baselines if name in frames])
    coverage = _coverage(pairs.filter(pl.col("predictor") == method), classes)
    return Backtest(method, held, pairs, errors, coverage, best, intervals, int(unit.max()) + 1, by_block)


def gold_of_subgroups(dataset: Dataset, subgroups: Sequence[str] = ()) -> TrainingGold:
    """Return the gold of all pairs of some subgroups, all if none are named; see `survey_gold`."""
    gold, wanted = survey_gold(dataset), set(subgroups)
    return gold.without({pair for pair in gold.counts if pair[1] not in wanted}) if wanted else gold


def _predictors(
    gold: TrainingGold,
    own: TrainingGold,
    fold: set[str],
    answers: ModelAnswers,
    method: str,
    fit: CalibrationFit,
    baselines: Sequence[str],
) -> dict[str, Predict]:
    """Return name -> function of item and subgroup, fitted without a fold; `own` is the gold of the items that the model answered."""
    train = gold.of_items([item for item in gold.subgroups_of if item not in fold])
    calibrated = train if own.counts.keys() == gold.counts.keys() else own.of_items([item for item in own.subgroups_of if item not in fold])
    found: dict[str, Predict] = {method: fit(calibrated, answers).shares}
    found[RAW] = lambda item, subgroup: answers.shares.get((item, subgroup))
    return found | {name: train.once(BASELINES[name]).shares for name in baselines}


def _truth(dataset: Dataset, items: Sequence[str], subgroups: Sequence[str]) -> pl.DataFrame:
    """Return the gold of some items and subgroups (all if none are named) with what the backtest needs of it."""
    rows = dataset.gold.filter((pl.col("half") == "all") & pl.col("item").is_in(items) & (pl.col("counts_weighted").list.sum() > 0))
    if subgroups:
        rows = rows.filter(pl.col("subgroup").is_in(subgroups))
    population = (pl.col("subgroup") == EVERYONE) & pl.lit(not dataset.has_only_everyone)
    joined = rows.join(dataset.items.select("item", "level", "codes"), on="item", how="left", maintain_order="left")
    return joined.select(
        "item",
        "subgroup",
        pl.col("n_eff").alias("n"),
        pl.col("shares").alias("found"),
        "p_mode",
        pl.struct("mode", "codes").map_elements(lambda row: row["codes"].index(row["mode"]), return_dtype=pl.Int64).alias("mode"),
        population.alias("population"),
        (~population).alias("target"),
        (pl.col("level") != "nominal").alias("ordered"),
    )


def _scored(truth: pl.DataFrame, found: Sequence[tuple[int, str, str, Floats]]) -> pl.DataFrame:
    """Return predictions beside the gold, with their metrics."""
    fold, item, subgroup, shares = zip(*found, strict=True)
    columns = {"fold": pl.Series(fold, dtype=pl.Int32), "item": item, "subgroup": subgroup, "predicted": [one.tolist() for one in shares]}
    frame = pl.DataFrame(columns).join(truth, on=("item", "subgroup"), how="left", maintain_order="left")
    ordered, gold, p_mode, mode = (frame[name].to_list() for name in ("ordered", "found", "p_mode", "mode"))
    answer = [int(one.argmax()) for one in shares]
    return frame.with_columns(
        w1=pl.Series([float(w1(p, q)) if at else None for p, q, at in zip(shares, gold, ordered, strict=True)], dtype=pl.Float64),
        accuracy_expected=pl.Series([row[place] for row, place in zip(p_mode, answer, strict=True)], dtype=pl.Float64),
        accuracy=pl.Series([float(place == at) for place, at in zip(answer, mode, strict=True)], dtype=pl.Float64),
    )


def _groups(items: Sequence[str], held: Held, by_block: bool) -> list[int]:
    """Return the group of each item whose intervals use the other groups only.

    It is the item's fold. Where items are the exchangeable units, items are dealt to groups whatever their fold: these intervals hold
    for questions like those of the survey's blocks.
    """
    hands = held.folds if by_block else deal(dict.fromkeys(items, 1), MOST_FOLDS, seed=0)
    number = {item: place for place, hand in enumerate(hands) for item in hand}
    return [number[item] for item in items]


def _cross_fitted(pairs: pl.DataFrame, classes: SizeClasses) -> pl.DataFrame:
    """Return the pairs with intervals and probabilities that were fitted without their own group."""
    made: list[pl.DataFrame] = []
    for group in pairs["group"].unique().sort():
        out, others = pairs.filter(pl.col("group") == group), pairs.filter(pl.col("group") != group)
        with_ends = fit_intervals(others, classes).add_to(out)
        found = with_ends["found"].to_list()
        position = [float(np.dot(one, np.linspace(0, 1, len(one)))) for one in found]
        held = with_ends.with_columns(
            covered=pl.Series(covered(with_ends["low"].to_list(), with_ends["high"].to_list(), found)),
            found_position=pl.Series(position),
            size=pl.Series(classes.place(with_ends["n"].to_numpy(), with_ends["population"].to_numpy()), dtype=pl.Int32),
        )
        between = pl.col("found_position").is_between(pl.col("position_low") - 1e-9, pl.col("position_high") + 1e-9)
        made.append(held.with_columns(position_covered=pl.when(pl.col("ordered")).then(between.cast(pl.Float64))))
    return pl.concat(made)


def _errors(dataset: Dataset, pairs: pl.DataFrame, method: str, bootstrap: int, seed: int) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    mine = pairs.filter((pl.col("predictor") == method) & pl.col("target"))
    for name in pairs["predictor"].unique(maintain_order=True):
        own = pairs.filter((pl.col("predictor") == name) & pl.col("target"))
        both = own.join(mine, on=("item", "subgroup"), how="inner", maintain_order="left", suffix="_method")
        blocks, common = dataset.blocks_of(own["item"].to_list()), dataset.blocks_of(both["item"].to_list())
        for metric in _METRICS:
            values = own[metric].cast(pl.Float64).to_numpy().astype(np.float64)
            if not np.isfinite(values).any():
                continue
            found = clustered_mean(values, own["item"].to_list(), blocks, bootstrap=bootstrap, seed=seed)
            row: dict[str, object] = {"predictor": name, "metric": metric, **found.columns(), "pairs": found.n}
            if name != method:
                gap = (both[f"{metric}_method"] - both[metric]).to_numpy().astype(np.float64)
                gained = clustered_mean(gap, both["item"].to_list(), common, bootstrap=bootstrap, seed=seed, low=-1.0)
                ends = gained.columns()
                row |= {"difference": ends["value"], "difference_low": ends["ci_low"], "difference_high": ends["ci_high"]}
            rows.append(row)
    numbers = ("value", "ci_low", "ci_high", "difference", "difference_low", "difference_high")
    return pl.DataFrame(
        rows,
        schema={"predictor": pl.String, "metric": pl.String, **dict.fromkeys(numbers[:3], pl.Float64), "pairs": pl.Int64}
        | dict.fromkeys(numbers[3:], pl.Float64),
    )


def _best(errors: pl.DataFrame, baselines: Sequence[str]) -> str:
    of_w1 = errors.filter((pl.col("metric") == "w1") & pl.col("predictor").is_in(baselines)).sort("value")
    if of_w1.height:
        return str(of_w1["predictor"][0])
    of_accuracy = errors.filter((pl.col("metric") == "accuracy_expected") & pl.col("predictor").is_in(baselines))
    return str(of_accuracy.sort("value", descending=True)["predictor"][0])


def _coverage(pairs: pl.DataFrame, classes: SizeClasses) -> pl.DataFrame:
    """Return the coverage by class of numbers of answers, and over all subgroups (size null)."""
    made: list[dict[str, object]] = []
    for size in (None, *(range(1, classes.number) if classes.edges else ()), 0):
        rows = pairs.filter(pl.col("target") if size is None else pl.col("size") == size)
        if rows.height:
            title = "all subgroups" if size is None else classes.title(size)
            found = {"coverage": rows["covered"].mean(), "position_coverage": rows["position_covered"].mean()}
            made.append({"size": size, "title": title, "pairs": rows.height, **found})
    schema = {"size": pl.Int32, "title": pl.String, "pairs": pl.Int64, "coverage": pl.Float64, "position_coverage": pl.Float64}
    return pl.DataFrame(made, schema=schema)
