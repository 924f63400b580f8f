"""What estimates tell a reader: which estimator to use, how short its intervals are, and when not to use the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.estimation.estimate import EstimateResult
from valuestrata.estimation.estimates import HUMAN, MODEL, MULTILEVEL, RECTIFIED, SMALL_AREA
from valuestrata.estimation.results.table import FEW, FEW_ANSWERS, SYNTHETIC, half_widths
from valuestrata.formatting import count, number, percent

# Weights of the model up to this count as no use of it.
NO_WEIGHT = 0.05
# Human intervals miss the truth in 5 % of pairs. A model whose answers are outside twice as often has errors of its own.
MOST_OUTSIDE = 0.10
# With fewer sampling units, or people without units, estimated variances are rough.
FEW_UNITS = 30
_TITLES = {HUMAN: "the sample alone", MODEL: "the model alone", RECTIFIED: "rectified", MULTILEVEL: "multilevel", SMALL_AREA: "small-area"}


@dataclass(frozen=True)
class EstimatorChoice:
    """An estimator and its run, None without a model."""

    estimator: str
    run: str | None

    @property
    def name(self) -> str:
        """The estimator in words, such as `rectified with embedded`."""
        title = _TITLES[self.estimator]
        if self.estimator == MODEL:
            return f"{title} ({self.run})"
        if self.run is not None:
            return f"{title} with {self.run}"
        return f"{title} without a model" if self.estimator == SMALL_AREA else title


@dataclass(frozen=True)
class BestChoice:
    """The estimators to use for the population and for subgroups."""

    population: EstimatorChoice
    subgroups: EstimatorChoice


@dataclass(frozen=True)
class SavedSubgroups:
    """In which subgroups a model is shown to save interviews.

    Attributes:
        choice: estimator and run. shown, other: ids of the subgroups with and without a saving that is shown, without the population.
        population: the INTERVIEWS row of the population over all items.
        costs: ids of the subgroups in which the model is shown to make estimates worse.
    """

    choice: EstimatorChoice
    shown: list[str]
    other: list[str]
    costs: list[str]
    population: dict[str, Any]


@dataclass(frozen=True)
class RunWorth:
    """What a run saves: `rectified` for the population, and `small_area` for subgroups, each beside the same estimator without it."""

    run: str
    rectified: SavedSubgroups
    small_area: SavedSubgroups

    @property
    def is_shown(self) -> bool:
        """Whether it is shown to save an interview anywhere."""
        return any(one.shown or one.population["shown"] for one in (self.rectified, self.small_area))


ALONE = EstimatorChoice(HUMAN, None)


def choice_of(result: EstimateResult) -> BestChoice:
    """Choose estimators.

    A model is used where it is shown to save interviews: for the population with `rectified`, for subgroups with `small-area`. Otherwise
    the population has the estimate of the sample alone, and subgroups the small-area estimate without a model if its intervals are
    shorter than those of the sample alone.
    """
    population, small = ALONE, EstimatorChoice(SMALL_AREA, None)
    whole = [one for one in savings(result, RECTIFIED) if one.population["shown"]]
    if whole:
        population = max(whole, key=lambda one: one.population["saved"]).choice
    # A few of many subgroups do not decide for all.
    most = [one for one in savings(result, SMALL_AREA) if len(one.shown) > len(one.other)]
    if most:
        small = max(most, key=lambda one: len(one.shown)).choice
    alone, shorter = half_width(result, ALONE), half_width(result, small)
    return BestChoice(population, small if alone is not None and shorter is not None and shorter < alone else population)


def side_by_side(result: EstimateResult) -> list[EstimatorChoice]:
    """Return the five estimators, with the run that is recommended or else the first, and small-area estimates also without a model."""
    chosen = choice_of(result)
    run = chosen.population.run or chosen.subgroups.run or next(iter(result.runs), None)
    model = [] if run is None else [EstimatorChoice(MODEL, run), EstimatorChoice(RECTIFIED, run)]
    small = [EstimatorChoice(SMALL_AREA, one) for one in dict.fromkeys((None, run))]
    return [ALONE, *model, EstimatorChoice(MULTILEVEL, None), *small]


def savings(result: EstimateResult, estimator: str) -> list[SavedSubgroups]:
    """Return what each run saves with an estimator, in the order of the runs."""
    rows = result.interviews.filter(pl.col("item").is_null(), pl.col("estimator") == estimator)
    found: list[SavedSubgroups] = []
    for run in rows["run"].unique(maintain_order=True):
        mine = rows.filter(run=run)
        groups = mine.filter(pl.col("subgroup") != EVERYONE, pl.col("estimated").is_not_null())
        costs = groups.filter(pl.col("high") < 0)["subgroup"].to_list()
        parts = [groups.filter(part)["subgroup"].to_list() for part in (pl.col("shown"), ~pl.col("shown"))]
        whole = mine.filter(subgroup=EVERYONE).row(0, named=True)
        found.append(SavedSubgroups(EstimatorChoice(estimator, run), parts[0], parts[1], costs, whole))
    return found


def worth_of_runs(result: EstimateResult) -> list[RunWorth]:
    """Return what each run is worth, in the order of the runs."""
    small = {one.choice.run: one for one in savings(result, SMALL_AREA)}
    found = [(one.choice.run, one) for one in savings(result, RECTIFIED)]
    return [RunWorth(run, one, small[run]) for run, one in found if run is not None]


def half_width(result: EstimateResult, choice: EstimatorChoice, *, population: bool = False) -> float | None:
    """Return the average half-width of the intervals of shares, for the population or over all subgroups; None without intervals."""
    rows = half_widths(result.table).filter(
        (pl.col("subgroup") == EVERYONE) == population, pl.col("estimator") == choice.estimator, pl.col("run").eq_missing(choice.run)
    )
    return None if rows.is_empty() else float(rows.select((pl.col("half_width") * pl.col("pairs")).sum() / pl.col("pairs").sum()).item())


def advice(result: EstimateResult) -> list[str]:
    """Return when not to use the model, or to be careful, from these results: one sentence for each rule that applies."""
    said: list[str] = []
    for one in worth_of_runs(result):
        run = one.run
        if not one.is_shown:
            said.append(f"Do not count on {run}: it is not shown to save an interview in the population or in any subgroup.")
        if costs := {*one.rectified.costs, *one.small_area.costs}:
            said.append(f"{run} is shown to make estimates worse in {count(len(costs), 'subgroup')}; use estimates without a model there.")
        low = _share(result, RECTIFIED, run, pl.col("weight") <= NO_WEIGHT)
        if low is not None and low > 0.5:
            said.append(
                f"The weight of {run} is {number(NO_WEIGHT, 2)} or less in {percent(low)} of the pairs, where the rectified estimate is "
                "that of the sample alone."
            )
        outside = outside_human(result, run)
        if outside is not None and outside > MOST_OUTSIDE:
            said.append(
                f"Do not report the answers of {run} as they are: they are outside the 95 % interval of the sample in {percent(outside)} "
                "of the shares. A model without error would be outside in about 5 %."
            )
    synthetic = synthetic_pairs(result)
    if synthetic:
        said.append(
            f"{count(synthetic, 'pair')} of a subgroup and an item are synthetic: nobody in the subgroup answered. Their estimates rest on "
            "other people and on the model. Do not report them as answers of the subgroup."
        )
    few = result.table.filter(estimator=HUMAN, flag=FEW).select("subgroup", "item").n_unique()
    if few:
        said.append(
            f"{count(few, 'pair')} have fewer than {FEW_ANSWERS} answers (flag {FEW}). Do not publish their estimates from the sample "
            "alone, which may show what single people answered."
        )
    units = result.document["people"]["sampling_units"]
    if units < FEW_UNITS:
        said.append(f"The sample has only {count(units, 'sampling unit')}: all intervals are rough.")
    return said


def _share(result: EstimateResult, estimator: str, run: str | None, condition: pl.Expr) -> float | None:
    """Return the share of an estimator's pairs that fulfil a condition; None without pairs."""
    rows = result.table.filter(pl.col("estimator") == estimator, pl.col("run").eq_missing(run), pl.col("weight").is_not_null())
    pairs = rows.unique(["subgroup", "item"])
    return None if pairs.is_empty() else float(pairs.select(condition.mean()).item())


def outside_human(result: EstimateResult, run: str) -> float | None:
    """Return the share of options whose model share is outside the interval of the sample, in pairs with enough answers."""
    keys = ["subgroup", "item", "code"]
    shares = result.table.filter(pl.col("code").is_not_null(), pl.col("value").is_not_null())
    human = shares.filter(estimator=HUMAN).filter(pl.col("n") >= FEW_ANSWERS).select(*keys, "low", "high")
    both = shares.filter(estimator=MODEL, run=run).select(*keys, "value").join(human, on=keys)
    return None if both.is_empty() else float(both.select(1 - pl.col("value").is_between("low", "high").mean()).item())


def synthetic_pairs(result: EstimateResult) -> int:
    """Return the number of pairs in which nobody in the subgroup answered, although they have an estimate."""
    rows = result.table.filter(pl.col("flag") == SYNTHETIC, pl.col("value").is_not_null())
    return rows.select("subgroup", "item").n_unique()
