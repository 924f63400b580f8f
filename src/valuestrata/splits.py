"""Which pairs train and which test, and how much of a test pair's answers stands behind trained gold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset import LEAKAGE, SPLITS
from valuestrata.errors import InputDataError
from valuestrata.survey.codebook import Attribute

VALIDATION_PAIRS = 500
# A tenth at most: in a small survey 500 pairs would take most of the training set.
VALIDATION_SHARE = 0.1


def paper_split(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[Attribute], *, seed: int) -> pl.DataFrame:
    """Split as arXiv 2604.12851 does: unseen combinations of seen levels.

    Train: single-attribute strata, and pair strata that contain the anchor (sex; without it the first attribute).
    Test: the other pair strata. Larger strata take no part. 500 pairs of train (at most a tenth of it) become
    validation pairs.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema.
        attributes: the survey's attributes. seed: seed of the validation draw.

    Raises:
        InputDataError: fewer than three attributes, so that no pair stratum is without the anchor.
    """
    if len(attributes) < 3:
        found = ", ".join(a.name for a in attributes) or "none"
        raise InputDataError(
            f"The paper split needs at least three attributes (single ones and pairs with the anchor train, the other pairs "
            f"test); this data set has {len(attributes)}: {found}. Add some with --attributes."
        )
    anchor = "sex" if any(a.name == "sex" for a in attributes) else attributes[0].name
    used = {
        subgroup: [a.name for a, level in zip(attributes, levels, strict=True) if level is not None]
        for subgroup, *levels in subgroups.select("subgroup", *(a.name for a in attributes)).iter_rows()
    }
    part_of = {s: "train" if len(names) == 1 or anchor in names else "test" for s, names in used.items() if 1 <= len(names) <= 2}
    rows = (
        pairs.select("pair_id", "item", "subgroup")
        .with_columns(
            pl.col("subgroup").replace_strict(part_of, default=None, return_dtype=pl.String).alias("part"),
            pl.lit("paper").alias("scheme"),
            pl.lit(0).alias("fold"),
            pl.lit(seed).alias("seed"),
        )
        .filter(pl.col("part").is_not_null())
    )
    train = np.flatnonzero((rows["part"] == "train").to_numpy())
    count = min(VALIDATION_PAIRS, int(len(train) * VALIDATION_SHARE))
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.random.default_rng(seed).choice(train, size=count, replace=False)] = True
    rows = rows.with_columns(pl.when(pl.Series(chosen)).then(pl.lit("validation")).otherwise("part").alias("part"))
    return SPLITS.check(rows, "paper split")


def measure_leakage(
    splits: pl.DataFrame,
    subgroup_ids: Sequence[str],
    members: Sequence[NDArray[np.intp]],
    item_ids: Sequence[str],
    valid_by_joint: NDArray[np.int64],
) -> pl.DataFrame:
    """Return for every test pair the trained subgroups that contain it and the share of its people already trained on.

    A respondent is trained on for an item when some training pair of that item has them in its subgroup. Subgroups are
    unions of joint cells, so this is decided joint cell by joint cell.

    Args:
        splits: SPLITS schema, one or more schemes and folds.
        subgroup_ids, members: the subgroups and the joint cells each consists of.
        item_ids: the items, in the column order of `valid_by_joint`.
        valid_by_joint: valid answers, shape (joint cells, items).
    """
    index_of_subgroup = {subgroup: i for i, subgroup in enumerate(subgroup_ids)}
    index_of_item = {item: i for i, item in enumerate(item_ids)}
    within = np.zeros((valid_by_joint.shape[0], len(subgroup_ids)), dtype=bool)
    for index, cells in enumerate(members):
        within[cells, index] = True
    contains = _containment(within)
    rows: list[dict[str, object]] = []
    for (scheme, fold), part in splits.group_by("scheme", "fold", maintain_order=True):
        trained = np.zeros((len(subgroup_ids), len(item_ids)), dtype=bool)
        for subgroup, item in part.filter(pl.col("part") == "train").select("subgroup", "item").iter_rows():
            trained[index_of_subgroup[subgroup], index_of_item[item]] = True
        covered = (within.astype(np.float32) @ trained.astype(np.float32)) > 0
        people_covered = within.T.astype(np.float64) @ (valid_by_joint * covered)
        people = within.T.astype(np.float64) @ valid_by_joint
        for pair, subgroup, item in part.filter(pl.col("part") == "test").select("pair_id", "subgroup", "item").iter_rows():
            s, i = index_of_subgroup[subgroup], index_of_item[item]
            parents: list[int] = np.flatnonzero(contains[:, s] & trained[:, i]).tolist()
            rows.append(
                {
                    "pair_id": pair,
                    "scheme": scheme,
                    "fold": fold,
                    "trained_parents": [subgroup_ids[p] for p in parents],
                    "shared_respondents": float(people_covered[s, i] / people[s, i]) if people[s, i] else 0.0,
                }
            )
    return LEAKAGE.frame(rows)


def _containment(within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return [p, s] = subgroup p contains subgroup s and is not s, from (joint cells x subgroups) membership."""
    inside = within.astype(np.float32)
    overlap = inside.T @ inside
    contains = overlap >= inside.sum(axis=0)
    np.fill_diagonal(contains, val=False)
    return contains
