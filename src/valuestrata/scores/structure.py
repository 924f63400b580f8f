"""Agreement of a model with the gold on how items are correlated across subgroups, and on how far subgroups are apart.

Each pair has a mean position on 0..1: of the gold shares, sum_k s_k pos_k / (K - 1); of a model, that of its `option_probs`, or
else of its answer, averaged over valid responses. Nominal items are left out. Correlations are computed across the subgroups of a
stratum; `pooled` sums products within strata, so differences between strata do not count. Its subgroups overlap and are not
independent.

item_correlations       Pearson correlation, over pairs of items, between the model's and the gold's correlations of two items
                        across subgroups. It depends on the direction in which items are coded.
item_congruence         the same about 0, sum x y / sqrt(sum x^2 sum y^2) (Tucker 1951); independent of the coding direction.
item_correlations_rmse  root mean square difference of these correlations, 0 to 2, lower is better.
item_profiles           mean over items of the correlation, across subgroups, between the model's and the gold's means.

Items that do not vary in the model or in the gold, or have fewer than three subgroups, are left out and counted. Cells that the
model did not answer are left out of the gold too.

gap_inflation           median over items of the distance between the highest and the lowest subgroup, the model's over the gold's:
                        1 is right, above 1 exaggerates. Sampling noise widens the gold's distances, so the ratio is rather too low.
wrong_segment           share of items for which the subgroup that the model puts highest is not the highest in the gold, averaged with
                        the same for the lowest, because the direction of coding is arbitrary; lower is better. Ties count in parts:
                        a model that does not distinguish S subgroups has 1 - 1/S.

Both are computed within strata, for `pooled` over the items of all strata, and leave out items that do not vary in the gold. Noise
also makes the gold name a wrong subgroup: `bound` says how often half A and half B disagree.

**Bound.** `bound` is the measure between the gold of half A and of half B of the respondents: what a new survey of half the size
would reach. It is a reference, not a ceiling, because the score uses all respondents. No corrected bound is given (sqrt(r_AB),
Spearman 1904, or Spearman-Brown): these need noise that is independent between entries, but here the same people answer both
items.

**Cross-fitting.** Without a fold, `+crossfit` compares one direction: models trained on half A with the gold of half B.

**Interval.** Percentiles over resampled blocks of items (`stats.blocks`), entries of an item with a copy of its own block deleted
(vertex bootstrap, Snijders & Borgatti 1999). Noise of respondents is not included.

**Null.** `null_high` is the 95 % quantile of the measure with the model's item labels shuffled (Mantel 1967); for `wrong_segment`,
where low is better, it is the 5 % quantile. A model that only knows which items form a battery is above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import CROSSFIT, DISJOINT, Dataset, base_of
from valuestrata.errors import InputDataError, UsageError
from valuestrata.measures import TIED_POSITIONS, highest_segments, segment_gaps, wrong_segments
from valuestrata.progress import Advance, no_progress
from valuestrata.responses.run.halves import scored_responses
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.aggregate import RunLike
from valuestrata.scores.schema import STRUCTURE
from valuestrata.stats.arrays import Bools, Floats, Indices, generator
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.correlations import agreement, shuffled_agreement, usable_items, within_correlations
from valuestrata.stats.item_resampling import ItemDraws

POOLED = "pooled"
MEASURES = ("item_correlations", "item_congruence", "item_correlations_rmse", "item_profiles")
GAPS = ("gap_inflation", "wrong_segment")
# Five items have ten correlations; with fewer, a correlation of correlations is mostly noise.
MIN_ITEMS = 5
NULL_SHARE = 0.95


@dataclass(frozen=True)
class Means:
    """Mean positions of the gold of one part, (G, I) grids, NaN without a pair.

    Attributes:
        all: of the respondents scored against. half_a, half_b: of the two halves of respondents.
        strata: shape (G,), the stratum of each row. names: the strata in order.
        rows, columns: subgroup and item -> index. blocks: shape (I,), the block of each item.
    """

    all: Floats
    half_a: Floats
    half_b: Floats
    strata: NDArray[np.str_]
    names: Sequence[str]
    rows: Mapping[str, int]
    columns: Mapping[str, int]
    blocks: Indices


def structure(
    dataset: Dataset,
    runs: Sequence[RunLike],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    bootstrap: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    advance: Advance = no_progress,
) -> pl.DataFrame:
    """Compare each run's correlations between items with the gold's, by stratum and pooled.

    Args:
        dataset: the ground truth. runs: what to compare; responses to other pairs are ignored.
        split, part, fold: which pairs, as for `score`.
        bootstrap: resamples of items in blocks, 0 for no intervals. permutations: shuffles of item labels, 0 for no null.
        seed: of both. confidence: of the intervals.
        advance: called with the name of each run, and when it is done.

    Returns:
        STRUCTURE schema: a row for each run, stratum and measure, with nulls where too little varies.

    Raises:
        UsageError: negative counts, or a confidence outside 0..1.
        InputDataError: no such scheme, or no pair of an ordinal or binary item in the part.
    """
    if bootstrap < 0 or permutations < 0 or not 0 < confidence < 1:
        raise UsageError(
            f"bootstrap={bootstrap}, permutations={permutations}, confidence={confidence}: need counts >= 0 and confidence in 0..1."
        )
    both = split.endswith(CROSSFIT) and fold is None
    means = gold_means(dataset, base_of(split) + DISJOINT if both else split, part, fold)
    rows: list[dict[str, Any]] = []
    for run in runs:
        advance(0, run.name)
        responses = RESPONSES.check(scored_responses(run, split, fold), run.name)
        if both and "half" in responses.columns:
            responses = responses.filter(pl.col("half") == "B")
        model = model_means(dataset, responses, means)
        for stratum in (*means.names, POOLED):
            here = np.ones(len(means.strata), dtype=np.bool_) if stratum == POOLED else means.strata == stratum
            random = generator(seed, *stratum.encode())
            found = _measured(model[here], means, here, bootstrap, permutations, random, confidence)
            found += _gap_rows(model[here], means, here, bootstrap, permutations, generator(seed, *stratum.encode(), 1), confidence)
            place = {"run": run.name, "scheme": split, "fold": fold, "part": part, "stratum": stratum}
            rows += [{**place, **row} for row in found]
        advance(1)
    return STRUCTURE.frame(rows)


def gold_means(dataset: Dataset, split: str, part: str, fold: int | None = None) -> Means:
    """Return the gold's mean positions on a part: of the half scored against, and of halves A and B."""
    scored = dataset.scored_pairs(split, part, fold)
    items = dataset.items.filter(pl.col("level") != "nominal").join(scored, on="item", how="semi", maintain_order="left")
    scored = scored.join(items, on="item", how="semi")
    if scored.is_empty():
        where = f"the part {part!r}" + ("" if fold is None else f" of fold {fold}")
        raise InputDataError(
            f"{dataset.path or 'the data set'}: the split {split!r} has no pair of an ordinal or binary item in {where}. "
            "Other items have no positions to correlate."
        )
    subgroups = dataset.subgroups.join(scored, on="subgroup", how="semi", maintain_order="left")
    rows = {name: at for at, name in enumerate(subgroups["subgroup"])}
    columns = {name: at for at, name in enumerate(items["item"])}
    steps = pl.int_ranges(0, pl.col("shares").list.len())
    gold = dataset.gold.join(scored, on="pair_id", how="semi").select("pair_id", "item", "subgroup", "half", "shares", steps.alias("place"))
    mean = (
        gold.explode("shares", "place")
        .group_by("pair_id", "item", "subgroup", "half", maintain_order=True)
        .agg(((pl.col("shares") * pl.col("place")).sum() / (pl.len() - 1)).alias("mean"))
    )
    grids = [mean.join(scored, on=("pair_id", "half"), how="semi"), *(mean.filter(pl.col("half") == half) for half in ("A", "B"))]
    whole, half_a, half_b = (_grid(frame, rows, columns) for frame in grids)
    names = subgroups["stratum"].unique(maintain_order=True).to_list()
    return Means(
        whole,
        half_a,
        half_b,
        subgroups["stratum"].to_numpy().astype(np.str_),
        names,
        rows,
        columns,
        block_numbers(items["block"].to_list()),
    )


def model_means(dataset: Dataset, responses: pl.DataFrame, means: Means) -> Floats:
    """Return a run's mean positions in the grid of `means`, (G, I): of its option_probs where given, else of its answers."""
    known = responses.filter(
        (pl.col("status") == "answered") & pl.col("subgroup").is_in(list(means.rows)) & pl.col("item").is_in(list(means.columns))
    )
    scale = (
        dataset.items.filter(pl.col("level") != "nominal")
        .select("item", pl.col("codes").alias("answer"), pl.int_ranges(0, pl.col("codes").list.len()).alias("at"))
        .with_columns((pl.col("at").list.len() - 1).alias("last"))
        .explode("answer", "at")
    )
    rows = known.with_row_index("row").select("row", "item", "subgroup", "answer", "option_probs")
    chosen = rows.join(scale, on=("item", "answer"), how="left", maintain_order="left").with_columns(
        (pl.col("at") / pl.col("last")).alias("chosen")
    )
    stated = (
        rows.filter(pl.col("option_probs").is_not_null())
        .select("row", "option_probs", pl.int_ranges(0, pl.col("option_probs").list.len()).alias("at"))
        .explode("option_probs", "at")
        .group_by("row")
        .agg(((pl.col("option_probs") * pl.col("at")).sum() / (pl.len() - 1)).alias("stated"))
    )
    mean = (
        chosen.join(stated, on="row", how="left")
        .group_by("item", "subgroup")
        .agg(pl.coalesce("stated", "chosen").mean().alias("mean"))
        .filter(pl.col("mean").is_not_null())
    )
    return _grid(mean, means.rows, means.columns)


def _measured(
    model: Floats, means: Means, here: Bools, bootstrap: int, permutations: int, random: np.random.Generator, confidence: float
) -> list[dict[str, Any]]:
    """Return the rows of one run in one stratum, without run, scheme, fold, part and stratum."""
    strata = means.strata[here]
    both = ~np.isnan(model) & ~np.isnan(means.all[here])
    model, gold = np.where(both, model, np.nan), np.where(both, means.all[here], np.nan)
    half_a, half_b = (np.where(both, half[here], np.nan) for half in (means.half_a, means.half_b))
    of_model, of_gold = within_correlations(model, model, strata), within_correlations(gold, gold, strata)
    kept = usable_items(of_model, of_gold)
    asked = int(np.any(~np.isnan(means.all[here]), axis=0).sum())
    counts: dict[str, Any] = {"items": len(kept), "left_out": asked - len(kept), "subgroups": int(both[:, kept].any(axis=1).sum())}
    if len(kept) < MIN_ITEMS:
        return [{"measure": measure, **counts} for measure in MEASURES]
    cut = np.ix_(kept, kept)
    of_model, of_gold = of_model[cut], of_gold[cut]
    across = within_correlations(model[:, kept], gold[:, kept], strata)
    profiles = np.diag(across)

    resampled = ItemDraws.of(means.blocks[kept], np.arange(len(kept)), bootstrap, random)
    counts["blocks"] = resampled.number
    weights = np.concatenate([np.ones((1, len(kept))), resampled.weights])
    agreed = agreement(of_model, of_gold, weights, resampled.blocks)
    mean_profile = weights @ profiles / weights.sum(axis=1)
    orders = [random.permutation(len(kept)) for _ in range(permutations)]
    at = np.arange(len(kept))
    pearson, congruence = shuffled_agreement(of_model, of_gold, orders)
    nulls = {
        "item_correlations": pearson,
        "item_congruence": congruence,
        "item_profiles": np.array([across[order, at].mean() for order in orders]),
    }
    bounds = _bounds(half_a[:, kept], half_b[:, kept], strata)
    rows: list[dict[str, Any]] = []
    for measure, values in zip(MEASURES, (agreed.pearson, agreed.congruence, agreed.rmse, mean_profile), strict=True):
        low, high = resampled.interval(values[0], values[1:], confidence, (0.0, 2.0) if measure.endswith("rmse") else (-1.0, 1.0))
        null = nulls.get(measure, np.zeros(0))
        null = null[~np.isnan(null)]
        null_high = float(np.quantile(null, NULL_SHARE)) if len(null) else None
        figures = {"value": _known(values[0]), "ci_low": low, "ci_high": high, "bound": bounds[measure], "null_high": null_high}
        rows.append({"measure": measure, **figures, **counts})
    return rows


def _bounds(half_a: Floats, half_b: Floats, strata: NDArray[np.str_]) -> dict[str, float | None]:
    """Return the measures of half A against half B, over the items that vary in both."""
    of_a, of_b = within_correlations(half_a, half_a, strata), within_correlations(half_b, half_b, strata)
    kept = usable_items(of_a, of_b)
    if len(kept) < MIN_ITEMS:
        return dict.fromkeys(MEASURES)
    cut = np.ix_(kept, kept)
    agreed = agreement(of_a[cut], of_b[cut], np.ones((1, len(kept))))
    profiles = np.diag(within_correlations(half_a[:, kept], half_b[:, kept], strata))
    known = profiles[~np.isnan(profiles)]
    profile = np.array([known.mean() if len(known) else np.nan])
    figures = [_known(values[0]) for values in (agreed.pearson, agreed.congruence, agreed.rmse, profile)]
    return dict(zip(MEASURES, figures, strict=True))


@dataclass(frozen=True)
class _SegmentGaps:
    """Distances between subgroups of a model and of the gold; an entry is an item of one stratum whose gold varies.

    Attributes:
        ratios, wrong: shape (E, I): distance of the model's item j over that of the gold's entry e, and `measures.wrong_segments` of the
            two. Items j other than that of the entry serve the null.
        item: shape (E,), the item of each entry.
    """

    ratios: Floats
    wrong: Floats
    item: Indices

    @classmethod
    def of(cls, model: Floats, gold: Floats, strata: NDArray[np.str_]) -> _SegmentGaps:
        """Compare two grids (G, I) within strata; cells unknown in either are left out."""
        both = ~np.isnan(model) & ~np.isnan(gold)
        model, gold = np.where(both, model, np.nan), np.where(both, gold, np.nan)
        ratios: list[Floats] = []
        wrong: list[Floats] = []
        items: list[Indices] = []
        for stratum in dict.fromkeys(strata.tolist()):
            here = strata == stratum
            distance = segment_gaps(gold[here])
            ends = [(highest_segments(sign * model[here]), highest_segments(sign * gold[here])) for sign in (1, -1)]
            kept = np.flatnonzero(np.nan_to_num(distance) > TIED_POSITIONS)
            ratios.append(segment_gaps(model[here]) / distance[kept, None])
            # The highest and the lowest subgroup, so the direction of coding does not matter.
            both_ends = [wrong_segments(answers[:, None, :], truth[:, kept, None]) for answers, truth in ends]
            wrong.append(np.mean(both_ends, axis=0))
            items.append(kept)
        return cls(np.concatenate(ratios), np.concatenate(wrong), np.concatenate(items))

    def values(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weighted median ratio and mean share of wrong segments, each (B,), for weights of items (B, I)."""
        entries = np.arange(len(self.item))
        return _median_and_mean(self.ratios[entries, self.item], self.wrong[entries, self.item], weights[:, self.item])

    def shuffled(self, orders: Indices) -> tuple[Floats, Floats]:
        """Return the same with the model's items in other orders (P, I), each (P,)."""
        entries, items = np.arange(len(self.item)), orders[:, self.item]
        ratios, wrong = self.ratios[entries, items], self.wrong[entries, items]
        # Other items of the model may lack a cell, and then have no distance.
        whole = not (np.isnan(ratios).any() or np.isnan(wrong).any())
        return (np.median(ratios, axis=1), wrong.mean(axis=1)) if whole else (np.nanmedian(ratios, axis=1), np.nanmean(wrong, axis=1))


def _median_and_mean(ratios: Floats, wrong: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weighted medians of `ratios` and weighted means of `wrong`, both (E,), for weights (B, E); NaN without weight."""
    order = np.argsort(ratios, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    half, last = reached[:, -1:] / 2, len(order) - 1
    # The mean of the lower and the upper median, as for an even number of values.
    lower, upper = ((beyond.sum(axis=1)) for beyond in (reached < half, reached <= half))
    medians = (ratios[order[np.minimum(lower, last)]] + ratios[order[np.minimum(upper, last)]]) / 2
    total = weights.sum(axis=1)
    means = np.divide(weights @ wrong, total, out=np.full(len(weights), np.nan), where=total > 0)
    return np.where(total > 0, medians, np.nan), means


def _gap_rows(
    model: Floats, means: Means, here: Bools, bootstrap: int, permutations: int, random: np.random.Generator, confidence: float
) -> list[dict[str, Any]]:
    """Return the rows of `GAPS` of one run in one stratum, as `_measured` does for the others."""
    strata, gold = means.strata[here], means.all[here]
    found = _SegmentGaps.of(model, gold, strata)
    number = len(np.unique(found.item))
    asked = int(np.any(~np.isnan(gold), axis=0).sum())
    known = ~np.isnan(model) & ~np.isnan(gold)
    counts: dict[str, Any] = {
        "items": number,
        "left_out": asked - number,
        "subgroups": int(known[:, np.unique(found.item)].any(axis=1).sum()),
    }
    if number < MIN_ITEMS:
        return [{"measure": measure, **counts} for measure in GAPS]
    items = model.shape[1]
    every = np.ones((1, items))
    resampled = ItemDraws.of(means.blocks, np.unique(found.item), bootstrap, random)
    counts["blocks"] = resampled.number
    values, replicates = found.values(every), found.values(resampled.weights)
    bounds = _SegmentGaps.of(means.half_a[here], means.half_b[here], strata)
    bound = bounds.values(every) if len(bounds.item) else (np.full(1, np.nan),) * 2
    shuffled = found.shuffled(random.permuted(np.tile(np.arange(items), (permutations, 1)), axis=1))
    rows: list[dict[str, Any]] = []
    for place, measure in enumerate(GAPS):
        low, high = resampled.interval(values[place][0], replicates[place], confidence, (0.0, np.inf if place == 0 else 1.0))
        null = shuffled[place]
        extreme = NULL_SHARE if measure == "gap_inflation" else 1 - NULL_SHARE
        null_high = _known(float(np.nanquantile(null, extreme))) if len(null) and not np.isnan(null).all() else None
        figures = {"value": _known(values[place][0]), "ci_low": low, "ci_high": high, "bound": _known(bound[place][0])}
        rows.append({"measure": measure, **figures, "null_high": null_high, **counts})
    return rows


def _grid(frame: pl.DataFrame, rows: Mapping[str, int], columns: Mapping[str, int]) -> Floats:
    """Place the column `mean` of (subgroup, item) rows in a grid, NaN elsewhere."""
    grid = np.full((len(rows), len(columns)), np.nan)
    if not frame.is_empty():
        places = (frame[name].replace_strict(at, return_dtype=pl.Int64).to_numpy() for name, at in (("subgroup", rows), ("item", columns)))
        grid[tuple(places)] = frame["mean"].to_numpy()
    return grid


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
