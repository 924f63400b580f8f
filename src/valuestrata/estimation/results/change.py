"""Change since a first wave: its gold on the scales of this data set, and the change of each estimate with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, OptionText
from valuestrata.estimation.estimates import HUMAN, RECTIFIED
from valuestrata.estimation.inputs import ItemOptions, PopulationCells
from valuestrata.estimation.results.table import FEW_ANSWERS
from valuestrata.stats.arrays import NEGLIGIBLE, Floats
from valuestrata.stats.design_based.intervals import quantile_of_t, wilson
from valuestrata.stats.multiple_testing import benjamini_hochberg
from valuestrata.stats.small_area.beta_intervals import NORMAL_QUANTILE

# Name of the first wave among the models.
FIRST_WAVE = "first-wave"


@dataclass(frozen=True)
class FirstWave:
    """The gold of an earlier wave, for the subgroups and items of this one.

    Attributes:
        shares: shape (G, I, K), NaN for pairs that it lacks. effective: shape (G, I), effective number of answers.
        remarks: what the waves do not share.
    """

    shares: Floats
    effective: Floats
    remarks: tuple[OptionText, ...]


def first_wave(wave: Dataset, dataset: Dataset, items: ItemOptions, population: PopulationCells) -> FirstWave:
    """Read the gold of an earlier wave of the same survey.

    Items are matched by id and their options by label, in any order; subgroups are matched by id. The effective number of answers is
    the one that gives the standard errors of the redraws (`share_se`), where the data set holds them, otherwise `n_eff`.

    Args:
        wave: the earlier data set. dataset: this one. items, population: what is estimated.

    Raises:
        InputDataError: the two share no pair.
    """
    place, different = _places(wave, dataset, items)
    group = {name: at for at, name in enumerate(population.subgroups)}
    shares = np.full((len(group), *items.codes.shape), np.nan)
    effective = np.full(shares.shape[:2], np.nan)
    gold = wave.gold.filter(pl.col("half") == "all").select("pair_id", "item", "subgroup", "n_eff", "shares")
    errors = wave.mode_draws.filter(pl.col("half") == "all").select("pair_id", "share_se")
    for item, subgroup, n_eff, found, se in gold.join(errors, on="pair_id", how="left").drop("pair_id").iter_rows():
        if item not in place or subgroup not in group:
            continue
        i, order = place[item]
        g, values = group[subgroup], np.array(found)[order]
        shares[g, i] = 0.0
        shares[g, i, : len(order)] = values
        spread = 0.0 if se is None else float(np.square(se).sum())
        effective[g, i] = (values * (1 - values)).sum() / spread if spread > NEGLIGIBLE else n_eff
    if np.isnan(effective).all():
        raise InputDataError(
            f"{wave.path or 'The first wave'}: it has no item with the same options and no subgroup of {dataset.path or 'this data set'}. "
            f"Items must have the same id and labels. It has {', '.join(list(wave.codes_of)[:10])}, ...; build both waves alike."
        )
    return FirstWave(shares, effective, _remarks(wave, items, population, list(place), different))


def _places(wave: Dataset, dataset: Dataset, items: ItemOptions) -> tuple[dict[str, tuple[int, list[int]]], list[str]]:
    """Match the items.

    Returns:
        Item -> its position and, for each of its options, the option of the first wave with the same label; and the items whose options
        differ.
    """
    earlier, now = _labels(wave), _labels(dataset)
    place: dict[str, tuple[int, list[int]]] = {}
    different: list[str] = []
    for i, item in enumerate(items.ids):
        if item not in earlier:
            continue
        if sorted(earlier[item]) == sorted(now[item]) and len(set(now[item])) == len(now[item]):
            place[item] = (i, [earlier[item].index(label) for label in now[item]])
        else:
            different.append(item)
    return place, different


def _labels(dataset: Dataset) -> dict[str, list[str]]:
    rows = dataset.items.select("item", "labels").iter_rows()
    return {item: [" ".join(label.casefold().split()) for label in labels] for item, labels in rows}


def _remarks(
    wave: Dataset, items: ItemOptions, population: PopulationCells, shared: Sequence[str], different: Sequence[str]
) -> tuple[OptionText, ...]:
    known = set(wave.subgroups["subgroup"])
    groups = sum(name not in known for name in population.subgroups)
    said: list[str] = []
    if different:
        have = "have" if len(different) > 1 else "has"
        said.append(f"{_listed(different)} {have} other options in the first wave, so no change is given.")
    if absent := [item for item in items.ids if item not in {*shared, *different}]:
        said.append(f"The first wave lacks {_listed(absent)}.")
    if groups:
        said.append(f"The first wave lacks {groups} of {len(population.subgroups)} subgroups.")
    return tuple(OptionText(one) for one in said)


def _listed(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def with_change(table: pl.DataFrame, wave: FirstWave, items: ItemOptions, population: PopulationCells) -> pl.DataFrame:
    """Return an ESTIMATES table with the change of every estimate since the first wave.

    The samples of the two waves are independent, so variances add. The interval combines the distances d of each estimate to the ends of
    its own interval: low = change - sqrt(d_low(now)^2 + d_high(first)^2), and high the other way round (Zou and Donner 2008, Statistics
    in Medicine 27:1693-1702). Where an estimate uses the first wave as a predictor, its error and that of the first wave are positively
    correlated, so this interval is too wide rather than too narrow.

    p is that at which this interval would end at 0, with tails of Student's t with n_eff - 1 degrees of freedom for estimates of the sample
    (`human`, `rectified`) and normal ones for others. Estimates of the sample from few answers are not tested. A pair is tested by its
    mean, a nominal item by the smallest p of its options times their number. p is adjusted over all pairs of an estimator (Benjamini and
    Hochberg 1995).
    """
    keys = ["subgroup", "item", "code"]
    joined = table.drop("first", "change", "change_low", "change_high", "p_change").join(
        _first_table(wave, items, population), on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    down = (pl.col("value") - pl.col("low")).pow(2) + (pl.col("first_high") - pl.col("first")).pow(2)
    up = (pl.col("high") - pl.col("value")).pow(2) + (pl.col("first") - pl.col("first_low")).pow(2)
    moved = joined.with_columns(change=pl.col("value") - pl.col("first")).with_columns(
        change_low=pl.col("change") - down.sqrt(), change_high=pl.col("change") + up.sqrt()
    )
    above = pl.col("change") > 0
    towards = pl.when(above).then(pl.col("change") - pl.col("change_low")).otherwise(pl.col("change_high") - pl.col("change"))
    # The sample's own estimates have the degrees of freedom of the people; few people show no change.
    own = pl.col("estimator").is_in([HUMAN, RECTIFIED])
    freedom = pl.when(own).then(pl.max_horizontal(pl.col("n_eff") - 1, 1.0)).otherwise(float("inf"))
    placed = moved.select(place=pl.col("change").abs() / towards, freedom=freedom)
    tails = pl.Series("p", _two_sided(placed["place"].to_numpy(), placed["freedom"].to_numpy())).fill_nan(None)
    scored = moved.with_columns(tails).with_columns(p=pl.when(~own | (pl.col("n") >= FEW_ANSWERS)).then("p"))
    pair = ["estimator", "run", "subgroup", "item"]
    means = pl.col("p").filter(pl.col("code").is_null()).first()
    options = (pl.col("p").filter(pl.col("code").is_not_null()).min() * pl.col("code").count()).clip(upper_bound=1.0)
    pairs = scored.group_by(pair, maintain_order=True).agg(p_pair=pl.coalesce(means, options))
    adjusted = [
        part.with_columns(p_change=pl.Series(benjamini_hochberg(part["p_pair"].to_list()), dtype=pl.Float64))
        for part in pairs.partition_by("estimator", "run", maintain_order=True)
    ]
    tested = pl.concat(adjusted).drop("p_pair")
    return scored.join(tested, on=pair, how="left", nulls_equal=True, maintain_order="left").select(table.columns)


def _two_sided(place: Floats, freedom: Floats) -> Floats:
    """Return the p-value of a change that is `place` times as long as its interval reaches towards 0."""
    from scipy.special import ndtr, stdtr

    at = -quantile_of_t(freedom) * place
    infinite = np.isinf(freedom)
    return 2 * np.where(infinite, ndtr(at), stdtr(np.where(infinite, 1.0, freedom), at))


def _first_table(wave: FirstWave, items: ItemOptions, population: PopulationCells) -> pl.DataFrame:
    """Return subgroup, item, code (null for the mean), first, first_low and first_high of the pairs that the first wave has."""
    low, high = wilson(wave.shares, wave.effective[..., None], NORMAL_QUANTILE)
    codes = np.nan_to_num(items.codes)
    mean = np.where(items.ordered, (wave.shares * codes).sum(axis=2), np.nan)
    half = NORMAL_QUANTILE * np.sqrt(np.maximum((wave.shares * codes**2).sum(axis=2) - mean**2, 0.0) / wave.effective)
    triple = (
        np.concatenate([shares, means[..., None]], axis=2)
        for shares, means in ((wave.shares, mean), (low, mean - half), (high, mean + half))
    )
    first, first_low, first_high = triple
    at = np.argwhere(np.isfinite(first) & np.column_stack([items.used, items.ordered]))
    code = np.column_stack([items.codes, np.full(len(items.ids), np.nan)])[at[:, 1], at[:, 2]]
    ends = {name: part[tuple(at.T)] for name, part in (("first", first), ("first_low", first_low), ("first_high", first_high))}
    named = {"subgroup": np.array(population.subgroups)[at[:, 0]], "item": np.array(items.ids)[at[:, 1]]}
    return pl.DataFrame({**named, "code": code, **ends}).with_columns(pl.col("code").fill_nan(None).cast(pl.Int32))
