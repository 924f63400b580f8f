"""The table of all splits, and their description in dataset.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import PARTS, SPLITS
from valuestrata.splits.schemes import ITEM_FOLDS, Fold, Mask, Scheme, paper, transfer, unseen_both, unseen_item, unseen_level
from valuestrata.survey.codebook import Attribute

VALIDATION_PAIRS = 500
# An upper limit: in a small survey 500 pairs would be most of the training pairs.
VALIDATION_SHARE = 0.1


def make_splits(
    pairs: pl.DataFrame,
    subgroups: pl.DataFrame,
    items: pl.DataFrame,
    attributes: Sequence[Attribute],
    *,
    seed: int,
    item_folds: int = ITEM_FOLDS,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the rows of every available scheme, and a description of all schemes.

    In each fold, 500 training pairs (at most a tenth of them) become validation pairs.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema with one column per attribute.
        items: ITEMS schema. attributes: the survey's attributes, in their order.
        seed: seed of the assignment of items to folds and of the validation pairs.
        item_folds: folds of `unseen-item` and `unseen-both`.

    Returns:
        SPLITS rows, and scheme -> {folds (labels), held_out, pairs (counts by part and fold), left_out, note} or
        {refused, left_out}.
    """
    schemes = (
        paper(pairs, subgroups, attributes),
        unseen_level(pairs, subgroups, attributes),
        unseen_item(pairs, items, seed=seed, folds=item_folds),
        unseen_both(pairs, subgroups, attributes, items, seed=seed, folds=item_folds),
        transfer(pairs),
    )
    frames = [SPLITS.empty()]
    described: dict[str, Any] = {}
    for scheme in schemes:
        rows = [_rows(pairs, scheme.name, number, fold, seed) for number, fold in enumerate(scheme.folds)]
        frames += rows
        described[scheme.name] = _description(scheme, rows)
    return pl.concat(frames), described


def _rows(pairs: pl.DataFrame, scheme: str, number: int, fold: Fold, seed: int) -> pl.DataFrame:
    part = np.where(fold.test, PARTS.index("test"), PARTS.index("train")).astype(np.uint32)
    part[_validation(fold.train, seed, number)] = PARTS.index("validation")
    taken = fold.train | fold.test
    rows = pairs.filter(pl.Series(taken)).select(
        "pair_id",
        "item",
        "subgroup",
        pl.lit(scheme).alias("scheme"),
        pl.lit(number).alias("fold"),
        pl.lit(seed).alias("seed"),
        pl.Series("part", PARTS).gather(part[taken]),
    )
    return SPLITS.check(rows, f"split {scheme}")


def _validation(train: Mask, seed: int, fold: int) -> NDArray[np.intp]:
    candidates = np.flatnonzero(train)
    count = min(VALIDATION_PAIRS, int(len(candidates) * VALIDATION_SHARE))
    return np.random.default_rng([seed, fold]).choice(candidates, size=count, replace=False)


def _description(scheme: Scheme, rows: Sequence[pl.DataFrame]) -> Mapping[str, Any]:
    left_out = {"left_out": dict(scheme.left_out)} if scheme.left_out else {}
    if scheme.refused is not None:
        return {"refused": scheme.refused, **left_out}
    counts = [dict(frame.group_by("part").len().iter_rows()) for frame in rows]
    return {
        "folds": [fold.label for fold in scheme.folds],
        "held_out": [dict(fold.held_out) for fold in scheme.folds],
        "pairs": [{part: count.get(part, 0) for part in PARTS} for count in counts],
        **left_out,
        **({"note": scheme.note} if scheme.note else {}),
    }
