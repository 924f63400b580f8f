"""The grid of subgroups x items of a part, and the keys that scores are reported for.

Each key is a set of subgroups (stratum, level, ...) with all items, or all subgroups with a set of items (topic, item). Sums over
keys are therefore matrix products with one grid.

**Cross-fitting.** A split with `+crossfit` scores every pair against half A and against half B of the respondents. Its layout has a
column for each item and half. Both columns of an item belong to one block, so they are resampled together: the halves have different
respondents, but the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.gold import unpack_share_draws
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.scores.distances import GivenDistributions, ShareDraws, padded, redrawn
from valuestrata.scores.pairs import PairTable, answered_gold, gold_of, mode_index, tabulate
from valuestrata.stats.arrays import Array, Bools, Floats, Indices, Singles
from valuestrata.stats.blocks import block_numbers

BY = ("all", "stratum", "attribute", "level", "subgroup", "topic", "item")
# Metrics whose noise of respondents is taken from another metric under redrawn modes (see `resampling`).
NOISE_OF = {"accuracy_set": "accuracy", "accuracy_expected": "accuracy"}
# Metrics of the model alone, without noise of respondents.
EXACT = ("refusal_rate", "invalid_rate", "option_mass", "w1_sampling")


@dataclass(frozen=True)
class Keys:
    """The keys to report: sets of subgroups first, then topics, then single items.

    Attributes:
        names: (by, key) of each of the N = A + T + J keys.
        groups: shape (A, G): 1 where a subgroup belongs to the key.
        topics: shape (T, I): 1 where an item belongs to the topic.
        items: shape (J, C): columns of the single items; C is 2 under cross-fitting, else 1.
    """

    names: Sequence[tuple[str, str]]
    groups: Floats
    topics: Floats
    items: Indices

    def rows(self, values: Array) -> Array:
        """Sum values (..., G, I) over the subgroups of each key, by item: (..., A + T, I), without single items."""
        by_group = np.ascontiguousarray(np.moveaxis(values, -2, 0))
        # Most keys are one subgroup: copied, which is faster than the matrix product.
        several = self.groups.sum(axis=1) != 1
        result = np.empty((len(self.groups) + len(self.topics), *by_group.shape[1:]), dtype=values.dtype)
        kept = result[: len(self.groups)]
        product = self.groups[several].astype(values.dtype) @ by_group.reshape(len(by_group), -1)
        kept[several] = product.reshape(-1, *by_group.shape[1:])
        kept[~several] = by_group[self.groups[~several].argmax(axis=1)]
        everyone = values.sum(axis=-2)
        for row, topic in zip(result[len(self.groups) :], self.topics.astype(values.dtype), strict=True):
            np.multiply(everyone, topic, out=row)
        return cast(Array, np.moveaxis(result, 0, -2))

    def totals(self, values: Floats) -> Floats:
        """Sum values (..., G, I) over the pairs of each key: (..., N)."""
        return self.totals_of(values.sum(axis=-1), values.sum(axis=-2))

    def totals_of(self, by_group: Floats, by_item: Floats) -> Floats:
        """Return the sums over the pairs of each key, (..., N), from those by subgroup, (..., G), and by item, (..., I)."""
        return np.concatenate([by_group @ self.groups.T, by_item @ self.topics.T, by_item[..., self.items].sum(axis=-1)], axis=-1)


@dataclass(frozen=True)
class Layout:
    """The G subgroups x I items of a part.

    Attributes:
        gold: one row for each pair, from `pairs.gold_of`, with its index `cell` = row * I + column.
        subgroups, items: names of rows and columns. Under cross-fitting an item has two columns, side by side.
        present: shape (G, I): where the part has a pair.
        mode: shape (G * I,): option index of the gold mode, 0 where there is no pair.
        options: shape (I,). ordered: shape (I,), False for nominal items.
        questions: shape (I,): number of the item of each column, 0, 1, ...
        blocks: shape (I,): the block of each item, 0..B-1; an item without a block is a block of its own.
        blocks_named: False where no item of the data set has a block, so items are taken as independent.
        draws: int8, shape (D, G * I): redrawn modes; D = 0 without redraws in the data set.
        share_draws: redrawn shares, by number of options; empty without redraws.
        keys: the keys to report.
    """

    gold: pl.DataFrame
    subgroups: Sequence[str]
    items: Sequence[str]
    present: Bools
    mode: Indices
    options: Indices
    ordered: Bools
    questions: Indices
    blocks: Indices
    blocks_named: bool
    draws: NDArray[np.int8]
    share_draws: Sequence[ShareDraws]
    keys: Keys

    def grid(self, cells: Indices, values: Floats) -> Floats:
        """Place `values` of pairs (P, ...) at `cells` of an array (G * I, ...), NaN elsewhere."""
        placed = np.full((self.present.size, *values.shape[1:]), np.nan)
        placed[cells] = values
        return placed

    def without_items(self) -> Layout:
        """Return the same layout without the keys of single items."""
        names = self.keys.names[: len(self.keys.names) - len(self.keys.items)]
        return replace(self, keys=replace(self.keys, names=names, items=self.keys.items[:0]))

    @cached_property
    def expected(self) -> Floats:
        """Pairs of the part in each key, shape (N,)."""
        return count_pairs(self.keys, self.present)

    @property
    def halves(self) -> int:
        """In how many halves of the respondents each pair is scored: 2 under cross-fitting, else 1."""
        return len(self.questions) // max(int(self.questions.max(initial=-1)) + 1, 1)


@dataclass(frozen=True)
class Values:
    """A metric of every pair, of a run or of the difference of two, and its values under redrawn respondents.

    Attributes:
        gold: shape (G, I), NaN for pairs left out.
        by_mode: shape (G * I, largest K): the metric if option m were the mode; None where the mode does not matter.
        by_share: shape (S, G, I): the metric in each redraw of the shares; None where shares do not matter.
        exact: True for a metric without noise of respondents.
    """

    gold: Floats
    by_mode: Floats | None = None
    by_share: Singles | None = None
    exact: bool = False

    def minus(self, other: Values) -> Values:
        """Subtract pair by pair and redraw by redraw; NaN where either has no value."""
        return Values(
            gold=self.gold - other.gold,
            by_mode=None if self.by_mode is None or other.by_mode is None else self.by_mode - other.by_mode,
            by_share=None if self.by_share is None or other.by_share is None else self.by_share - other.by_share,
            exact=self.exact and other.exact,
        )

    def on(self, mask: Bools) -> Values:
        """Keep only the pairs in `mask`, shape (G, I)."""
        return Values(np.where(mask, self.gold, np.nan), self.by_mode, self.by_share, self.exact)


@dataclass(frozen=True)
class RunGrid:
    """A run's pairs in a Layout.

    Attributes:
        asked: shape (G, I).
        metrics: every metric except the spread ratios.
        position: shape (G, I), mean position of the answers on 0..1; NaN for pairs left out.
        elicitation, template: of the responses, several joined by +.
        given: the distributions of its P pairs. cells: shape (P,), their places in the grid.
    """

    name: str
    asked: Bools
    metrics: Mapping[str, Values]
    position: Floats
    elicitation: str
    template: str
    given: GivenDistributions
    cells: Indices


def count_pairs(keys: Keys, mask: Bools) -> Floats:
    """Return the number of pairs in `mask` (G, I) for each key, shape (N,)."""
    return keys.totals(mask.astype(np.float64))


def keys_of(dataset: Dataset, pairs: pl.DataFrame) -> dict[str, list[str]]:
    """Return the keys of a set of pairs, by grouping.

    Args:
        dataset: the ground truth. pairs: with the columns `item` and `subgroup`.
    """
    subgroups = dataset.subgroups.join(pairs, on="subgroup", how="semi", maintain_order="left")
    items = dataset.items.join(pairs, on="item", how="semi", maintain_order="left")
    found: dict[str, list[str]] = {by: [] for by in BY}
    for by, key in _keys(dataset.attributes, subgroups, items, BY).names:
        found[by].append(key)
    return found


def lay_out(dataset: Dataset, split: str, part: str, fold: int | None, by: Sequence[str]) -> Layout:
    """Lay out the pairs of a part of a split; without `fold`, all folds pooled, each pair once.

    Gold and redraws are those of the half of respondents that the split scores against.

    Raises:
        UsageError: an unknown `by`.
        InputDataError: no such scheme, no pair in the part, or a pair without redraws.
    """
    for name in by:
        if name not in BY:
            raise UsageError(f"by={name!r} is not a way to group scores.{did_you_mean(name, BY)}")
    gold = gold_of(dataset, dataset.scored_pairs(split, part, fold).select("pair_id", "half"))
    if gold.is_empty():
        where = f"the part {part!r}" + ("" if fold is None else f" of fold {fold}")
        raise InputDataError(f"{dataset.path or 'the data set'}: the split {split!r} has no pair with gold in {where}.")
    subgroups = dataset.subgroups.join(gold, on="subgroup", how="semi", maintain_order="left")
    items = dataset.items.join(gold, on="item", how="semi", maintain_order="left")
    rows = {name: place for place, name in enumerate(subgroups["subgroup"])}
    blocks, questions = block_numbers(items["block"].to_list()), np.arange(len(items))
    column = pl.col("item").replace_strict({name: place for place, name in enumerate(items["item"])}, return_dtype=pl.Int64)
    if gold["pair_id"].is_duplicated().any():
        items, blocks, questions = items[np.repeat(questions, 2).tolist()], np.repeat(blocks, 2), np.repeat(questions, 2)
        column = column * 2 + (pl.col("half") == "B").cast(pl.Int64)
    cell = pl.col("subgroup").replace_strict(rows, return_dtype=pl.Int64) * len(items) + column
    gold = gold.with_columns(cell.alias("cell")).sort("cell")
    cells = gold["cell"].to_numpy()
    size = len(rows) * len(items)
    present = np.zeros(size, dtype=np.bool_)
    present[cells] = True
    mode = np.zeros(size, dtype=np.intp)
    mode[cells] = mode_index(gold)
    return Layout(
        gold=gold,
        subgroups=list(rows),
        items=items["item"].to_list(),
        present=present.reshape(len(rows), len(items)),
        mode=mode,
        options=items["codes"].list.len().to_numpy().astype(np.intp),
        ordered=(items["level"] != "nominal").to_numpy(),
        questions=questions,
        blocks=blocks,
        blocks_named=dataset.items["block"].is_not_null().any(),
        draws=_draws(dataset, gold, size),
        share_draws=_share_draws(dataset, gold),
        keys=_keys(dataset.attributes, subgroups, items, by),
    )


def place(layout: Layout, name: str, responses: pl.DataFrame) -> RunGrid:
    """Score a run's responses and place its pairs in the layout; responses to other pairs are ignored.

    With a column `half`, a response is only scored against that half (`responses.run.halves`); otherwise against every half.
    """
    table: PairTable = tabulate(layout.gold, responses)
    cells = answered_gold(layout.gold, responses)["cell"].to_numpy()
    shape = layout.present.shape
    asked = np.zeros(layout.present.size, dtype=np.bool_)
    asked[cells] = True
    scored = responses.join(table.pairs, on="pair_id", how="semi")
    by_mode = {metric: layout.grid(cells, values) for metric, values in table.by_mode.items()}
    at_mode = {metric: values[np.arange(len(values)), layout.mode].reshape(shape) for metric, values in by_mode.items()}
    fixed = {metric: layout.grid(cells, values).reshape(shape) for metric, values in table.fixed.items()}
    by_share: Mapping[str, Singles] = {}
    if layout.share_draws and not np.isnan(table.distributions.constant).all():
        by_share = redrawn(table.distributions, cells, layout.share_draws, layout.present.size)
    return RunGrid(
        name=name,
        asked=asked.reshape(shape),
        metrics={
            **{metric: Values(values, by_mode[metric]) for metric, values in at_mode.items()},
            **{
                metric: Values(
                    values,
                    by_mode.get(NOISE_OF.get(metric, "")),
                    by_share[metric].reshape(-1, *shape) if metric in by_share else None,
                    exact=metric in EXACT,
                )
                for metric, values in fixed.items()
            },
        },
        position=layout.grid(cells, table.position).reshape(shape),
        elicitation="+".join(scored["elicitation"].drop_nulls().unique().sort()),
        template="+".join(scored["template"].drop_nulls().unique().sort()),
        given=table.distributions,
        cells=cells,
    )


def _draws(dataset: Dataset, gold: pl.DataFrame, size: int) -> NDArray[np.int8]:
    """Return the redrawn modes of each cell, shape (D, size)."""
    if dataset.mode_draws.is_empty():
        return np.zeros((0, size), dtype=np.int8)
    found = gold.select("pair_id", "half", "cell").join(
        dataset.mode_draws.select("pair_id", "half", "draws"), on=("pair_id", "half"), how="left", maintain_order="left"
    )
    lengths = found["draws"].list.len()
    if lengths.null_count() or lengths.n_unique() > 1:
        raise _uneven(dataset, found, lengths, "draws")
    draws = np.zeros((int(lengths[0]), size), dtype=np.int8)
    if len(draws):
        draws[:, found["cell"].to_numpy()] = found["draws"].explode().to_numpy().reshape(len(found), -1).T
    return draws


def _share_draws(dataset: Dataset, gold: pl.DataFrame) -> list[ShareDraws]:
    """Return the redrawn shares of all pairs, one entry for each number of options."""
    kept = dataset.mode_draws.filter(pl.col("share_draws").list.len() > 0).select("pair_id", "half", "share_se", "share_draws")
    if kept.is_empty():
        return []
    found = gold.select("pair_id", "half", "cell", "options", "shares").join(
        kept, on=("pair_id", "half"), how="left", maintain_order="left"
    )
    lengths = found["share_draws"].list.len() // found["options"]
    if lengths.null_count() or lengths.n_unique() > 1:
        raise _uneven(dataset, found, lengths, "share_draws")
    result: list[ShareDraws] = []
    for (options,), rows in found.sort("options", maintain_order=True).group_by("options", maintain_order=True):
        width = int(str(options))
        packed = rows["share_draws"].explode().to_numpy().reshape(len(rows), -1)
        drawn = unpack_share_draws(packed, padded(rows["shares"], width), padded(rows["share_se"], width))
        result.append(ShareDraws(rows["cell"].to_numpy(), np.ascontiguousarray(np.moveaxis(drawn, -1, 0), dtype=np.float32)))
    return result


def _uneven(dataset: Dataset, found: pl.DataFrame, lengths: pl.Series, column: str) -> InputDataError:
    number = lengths.drop_nulls().max()
    bad = found.filter(lengths.is_null() | (lengths != number))
    return InputDataError(
        f"{dataset.path or 'the data set'}: mode_draws.parquet, column {column}: {len(bad)} of {len(found)} pairs do not have {number} "
        f"draws, first {bad['pair_id'][0]!r} of half {bad['half'][0]!r}. Build the data set again."
    )


def _keys(attributes: Sequence[str], subgroups: pl.DataFrame, items: pl.DataFrame, by: Sequence[str]) -> Keys:
    members: dict[tuple[str, str], Bools] = {("all", "all"): np.ones(len(subgroups), dtype=np.bool_)}
    for stratum in subgroups["stratum"].unique(maintain_order=True):
        members["stratum", stratum] = (subgroups["stratum"] == stratum).to_numpy()
    for attribute in attributes:
        used = subgroups[attribute].is_not_null().to_numpy()
        if used.any():
            members["attribute", attribute] = used
    for attribute in attributes:
        for level in subgroups[attribute].drop_nulls().unique(maintain_order=True):
            members["level", f"{attribute}={level}"] = (subgroups[attribute] == level).fill_null(value=False).to_numpy()
    for row, subgroup in enumerate(subgroups["subgroup"]):
        members["subgroup", subgroup] = np.arange(len(subgroups)) == row
    members = {name: mask for name, mask in members.items() if name[0] in by}
    topics = items["topic"].drop_nulls().unique(maintain_order=True).to_list() if "topic" in by else []
    singles = items["item"].unique(maintain_order=True).to_list() if "item" in by else []
    columns = len(items) // max(items["item"].n_unique(), 1)
    return Keys(
        names=[*members, *(("topic", topic) for topic in topics), *(("item", item) for item in singles)],
        groups=np.array(list(members.values()), dtype=np.float64).reshape(len(members), len(subgroups)),
        topics=np.array([(items["topic"] == topic).fill_null(value=False).to_numpy() for topic in topics], dtype=np.float64).reshape(
            len(topics), len(items)
        ),
        items=np.arange(len(singles) * columns, dtype=np.intp).reshape(-1, columns),
    )
