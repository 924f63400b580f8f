"""Differences between subgroups by item and stratum: Modal Diversity Score and mean pairwise W1, with what chance alone gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.gold import unpack_share_draws
from valuestrata.dataset.landscape_null import diversity
from valuestrata.dataset.tables import LANDSCAPE, Dataset
from valuestrata.measures import mean_pairwise_w1, modal_diversity

MEASURES = ("mds", "wasserstein")
# Redraws for standard errors: their relative error is 1 / sqrt(2 * 100) = 7 %.
MOST_REDRAWS = 100
# Differences from a permuted value that are rounding: those are of single precision.
ROUNDING = 1e-6
QUANTILES = {"low": 0.025, "high": 0.975}
_NO_NULL = (
    "The data set was built by an older version, without the values that chance alone gives. Build it again to see which differences are "
    "beyond chance."
)
_PUBLISHED = (
    "Published counts do not say who answered, so respondents cannot be permuted: the values that chance alone gives are not known. Small "
    "subgroups differ by chance."
)


def measure_landscape(
    gold: pl.DataFrame,
    subgroups: pl.DataFrame,
    items: pl.DataFrame,
    mode_draws: pl.DataFrame | None = None,
    permuted: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the landscape, one row per item and stratum (LANDSCAPE schema).

    Args:
        gold: GOLD schema; only rows with half `all` are used. subgroups: SUBGROUPS schema. items: ITEMS schema.
        mode_draws: MODE_DRAWS schema, for standard errors. permuted: from `permuted_landscape`, for the null.
    """
    level_of = dict(items.select("item", "level").iter_rows())
    options_of = {item: len(codes) for item, codes in items.select("item", "codes").iter_rows()}
    pairs = (
        gold.filter(pl.col("half") == "all")
        .join(subgroups.select("subgroup", "stratum"), on="subgroup", how="left", maintain_order="left")
        .filter(pl.col("stratum") != "all")
    )
    grouped = pairs.group_by("item", "stratum", maintain_order=True).agg("mode", "shares")
    rows = [
        {
            "item": item,
            "stratum": stratum,
            "subgroups": len(modes),
            "mds": modal_diversity(modes, options_of[item]),
            "wasserstein": None if level_of[item] == "nominal" else mean_pairwise_w1(np.array(shares)),
        }
        for item, stratum, modes, shares in grouped.iter_rows()
    ]
    found = LANDSCAPE.frame(rows)
    if mode_draws is not None and not mode_draws.is_empty() and rows:
        found = _joined(found, _errors(pairs, mode_draws, options_of, level_of))
    return found if permuted is None else with_null(_joined(found, permuted))


def with_null(found: pl.DataFrame) -> pl.DataFrame:
    """Fill in mean, quantiles and p of the null from the permuted values of a frame with the measures and `_null_draws`."""
    for measure in MEASURES:
        draws = pl.col(f"{measure}_null_draws")
        reached = (draws.explode().cast(pl.Float64) >= pl.col(measure).first() - ROUNDING).sum()
        p = (reached + 1) / (draws.explode().len() + 1)
        numbered = found.with_row_index("_row")
        known = numbered.filter(draws.is_not_null() & pl.col(measure).is_not_null())
        by_row = known.group_by("_row").agg(
            draws.explode().cast(pl.Float64).mean().alias(f"{measure}_null"),
            *(draws.explode().cast(pl.Float64).quantile(q, "linear").alias(f"{measure}_null_{end}") for end, q in QUANTILES.items()),
            p.alias(f"{measure}_p"),
        )
        columns = [name for name in by_row.columns if name != "_row"]
        found = numbered.drop(columns).join(by_row, on="_row", how="left", maintain_order="left").drop("_row").select(found.columns)
    return found


def has_null(landscape: pl.DataFrame) -> bool:
    """Whether a landscape has the values that chance alone gives; False for data sets of older versions."""
    return landscape.is_empty() or landscape["mds_null"].is_not_null().any()


def without_draws(landscape: pl.DataFrame) -> pl.DataFrame:
    """Return a landscape without the columns of single permutations, as tables for readers have it."""
    return landscape.drop(f"{measure}_null_draws" for measure in MEASURES)


def no_null(dataset: Dataset) -> str:
    """Return why a data set has no values that chance alone gives."""
    return _PUBLISHED if dataset.meta.get("published") else _NO_NULL


def by_topic(landscape: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Average the landscape by topic: over the items of a topic within a stratum, then over strata.

    Returns:
        Columns topic, items, then for mds and wasserstein: the mean, its mean by chance (`_null`), the quantiles of the mean by
        chance (`_null_low`, `_null_high`) and `_excess`, the mean minus its mean by chance. In descending order of the excess of
        mds, or of mds without a null.
    """
    topics = landscape.join(items.select("item", "topic"), on="item", how="left", maintain_order="left")
    merged = averaged(topics, ["topic"])
    merged = merged.with_columns((pl.col(name) - pl.col(f"{name}_null")).alias(f"{name}_excess") for name in MEASURES)
    return merged.sort(pl.coalesce("mds_excess", "mds"), "topic", descending=[True, False], nulls_last=True)


def averaged(landscape: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Average a landscape over the items of each stratum, then over strata.

    Args:
        landscape: LANDSCAPE schema with further columns. keys: columns that form groups; may contain `stratum`.

    Returns:
        The keys, items, and for each measure its mean, `_null`, `_null_low` and `_null_high`, in the order of the landscape.
    """
    merged = landscape.group_by(keys, maintain_order=True).agg(pl.col("item").n_unique().alias("items"))
    for measure in MEASURES:
        names = [measure, f"{measure}_null"]
        defined = landscape.filter(pl.col(measure).is_not_null())
        within = defined.group_by(list(dict.fromkeys([*keys, "stratum"]))).agg(pl.col(names).mean())
        means = within.group_by(keys).agg(pl.col(names).mean())
        merged = merged.join(means, on=keys, how="left", maintain_order="left")
        merged = merged.join(_null_of_means(defined, keys, measure), on=keys, how="left", maintain_order="left")
    return merged


def _null_of_means(defined: pl.DataFrame, keys: list[str], measure: str) -> pl.DataFrame:
    """Return the quantiles of the means of `averaged` by chance. Items and strata share the permutations."""
    names = {f"{measure}_null_{end}": q for end, q in QUANTILES.items()}
    draws = f"{measure}_null_draws"
    rows: list[dict[str, object]] = []
    for key, part in defined.filter(pl.col(draws).is_not_null()).group_by(keys, maintain_order=True):
        strata = [np.mean(within[draws].to_list(), axis=0, dtype=np.float64) for _, within in part.group_by("stratum", maintain_order=True)]
        mean = np.mean(strata, axis=0)
        rows.append({**dict(zip(keys, key, strict=True)), **{name: float(np.quantile(mean, q)) for name, q in names.items()}})
    return pl.DataFrame(rows, schema={**{key: defined.schema[key] for key in keys}, **dict.fromkeys(names, pl.Float64)})


def _joined(found: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    columns = [name for name in more.columns if name not in ("item", "stratum")]
    joined = found.drop(columns).join(more, on=["item", "stratum"], how="left", maintain_order="left")
    return LANDSCAPE.check(joined, "landscape").select(list(LANDSCAPE.columns))


def _errors(pairs: pl.DataFrame, mode_draws: pl.DataFrame, options_of: Mapping[str, int], level_of: Mapping[str, str]) -> pl.DataFrame:
    """Return the standard deviation of both measures over redraws of the respondents: item, stratum, mds_se, wasserstein_se."""
    few = mode_draws.filter(pl.col("half") == "all").select("pair_id", "share_se", "share_draws", pl.col("draws").list.head(MOST_REDRAWS))
    drawn = pairs.select("pair_id", "item", "subgroup", "stratum", "shares").join(few, on="pair_id", how="inner", maintain_order="left")
    options = drawn["item"].replace_strict(options_of, return_dtype=pl.Int64)
    rows: list[pl.DataFrame] = []
    for k in options.unique(maintain_order=True):
        part = drawn.filter(options == k)
        modes, packed = _redrawn(part["draws"]), _redrawn(part["share_draws"].list.head(MOST_REDRAWS * k))
        shares, errors = (part[name].explode().to_numpy().reshape(-1, k) for name in ("shares", "share_se"))
        redrawn = unpack_share_draws(packed, shares, errors).astype(np.float32)
        names = {name: part[name].to_numpy() for name in ("stratum", "subgroup", "item")}
        for stratum in dict.fromkeys(names["stratum"]):
            here = np.flatnonzero(names["stratum"] == stratum)
            (subgroups, row), (items, column) = (np.unique(names[name][here], return_inverse=True) for name in ("subgroup", "item"))
            kept = np.zeros((len(subgroups), len(items)), dtype=np.bool_)
            kept[row, column] = True
            grid = np.zeros((modes.shape[1], *kept.shape), dtype=np.int8)
            grid[:, row, column] = modes[here].T
            placed = np.zeros((redrawn.shape[1], len(subgroups), k, len(items)), dtype=np.float32)
            # The numbered axes come first: (pairs, redraws, options).
            placed[:, row, :, column] = redrawn[here]
            nominal = np.array([level_of[item] == "nominal" for item in items])
            found = diversity(grid, placed, kept, k)
            errors_of = {"mds_se": _deviation(found.mds), "wasserstein_se": np.where(nominal, np.nan, _deviation(found.wasserstein))}
            named = {name: pl.Series(values, dtype=pl.Float64, nan_to_null=True) for name, values in errors_of.items()}
            rows.append(pl.DataFrame({"item": items.tolist(), "stratum": [str(stratum)] * len(items), **named}))
    return pl.concat(rows)


def _redrawn(lists: pl.Series) -> NDArray[np.int8]:
    """Return lists of equal length as an array, shape (rows, length)."""
    flat = lists.explode().drop_nulls().to_numpy()
    return flat.reshape(len(lists), -1)


def _deviation(draws: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the standard deviation over the first axis; NaN below two draws."""
    return draws.std(axis=0, ddof=1, dtype=np.float64) if len(draws) > 1 else np.full(draws.shape[1:], np.nan)
