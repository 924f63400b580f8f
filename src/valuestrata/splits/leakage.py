"""Leakage: respondents of test pairs who also contribute to training gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import DISJOINT, LEAKAGE, PARTS, SCHEMES, Dataset
from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.splits.schemes import by_reason

LEAKAGE_REPORT = Schema(
    "leakage report",
    {
        "scheme": Column(pl.String, "split scheme, with and without +disjoint"),
        "folds": Column(pl.Int64, "folds; null if the scheme is not available"),
        "train": Column(pl.Int64, "training pairs, mean of the folds"),
        "validation": Column(pl.Int64, "validation pairs, mean of the folds"),
        "test": Column(pl.Int64, "test pairs, mean of the folds"),
        "test_pairs": Column(pl.Int64, "test pairs of all folds; a pair counts once per fold"),
        "with_trained_parents": Column(pl.Float64, "share of test pairs whose subgroup is part of a training subgroup of the same item"),
        "shared_mean": Column(pl.Float64, "mean share of a test pair's respondents who contribute to training gold of its item"),
        "shared_max": Column(pl.Float64, "the largest such share"),
        "note": Column(pl.String, "why the scheme is not available, caveats and missing folds; else null"),
    },
)


def measure_leakage(
    splits: pl.DataFrame,
    subgroup_ids: Sequence[str],
    members: Sequence[NDArray[np.intp]],
    item_ids: Sequence[str],
    valid_by_joint: NDArray[np.int64],
) -> pl.DataFrame:
    """Return, for every test pair, the training subgroups that contain it and the share of its respondents in training.

    A respondent is in training for an item if they belong to the subgroup of a training pair of that item. Subgroups are
    unions of joint cells, so this is computed by joint cell. Without training pairs (`transfer`) the share is 0.

    Args:
        splits: SPLITS schema, one or more schemes and folds.
        subgroup_ids, members: subgroups and the joint cells of each.
        item_ids: the items, in the column order of `valid_by_joint`.
        valid_by_joint: valid answers, shape (joint cells, items).
    """
    within = np.zeros((valid_by_joint.shape[0], len(subgroup_ids)), dtype=np.float64)
    for index, cells in enumerate(members):
        within[cells, index] = 1.0
    contained_in = _containment(within).T
    people = within.T @ valid_by_joint
    places = splits.with_columns(
        pl.col("subgroup").replace_strict({name: i for i, name in enumerate(subgroup_ids)}, return_dtype=pl.Int64),
        pl.col("item").replace_strict({name: i for i, name in enumerate(item_ids)}, return_dtype=pl.Int64),
    )
    frames = [LEAKAGE.empty()]
    for part in places.partition_by("scheme", "fold", maintain_order=True):
        train, test = part.filter(pl.col("part") == "train"), part.filter(pl.col("part") == "test")
        trained = np.zeros(people.shape, dtype=np.bool_)
        trained[train["subgroup"].to_numpy(), train["item"].to_numpy()] = True
        covered = (within @ trained.astype(np.float64)) > 0
        shared = np.divide(within.T @ (valid_by_joint * covered), people, out=np.zeros_like(people), where=people > 0)
        s, i = test["subgroup"].to_numpy(), test["item"].to_numpy()
        rows = test.select("pair_id", "scheme", "fold").with_columns(
            _names_where(contained_in[s] & trained.T[i], subgroup_ids).alias("trained_parents"),
            pl.Series("shared_respondents", shared[s, i]),
        )
        frames.append(LEAKAGE.check(rows, "leakage"))
    return pl.concat(frames)


def leakage_report(dataset: Dataset) -> pl.DataFrame:
    """Summarise what test pairs share with training pairs: one row per scheme, and one for its `+disjoint` form.

    Under `+disjoint`, training gold comes from half A of the respondents and test gold from half B, so nothing is shared. It uses
    only pairs with the minimum of answers in both halves. `+crossfit` uses the same pairs in both directions.

    Args:
        dataset: the data set.

    Returns:
        LEAKAGE_REPORT schema. A scheme that is not available has a row with the reason.
    """
    described = dataset.meta.get("splits", {})
    built = dataset.splits["scheme"].unique(maintain_order=True).to_list()
    known = [name for name in SCHEMES if name in described or name in built]
    rows: list[dict[str, object]] = []
    for scheme in [*known, *(name for name in built if name not in known)]:
        about = described.get(scheme, {})
        pairs = dataset.splits.filter(pl.col("scheme") == scheme)
        if pairs.is_empty():
            rows.append({"scheme": scheme, "note": about.get("refused")})
            continue
        folds = pairs["fold"].n_unique()
        row: dict[str, object] = {"scheme": scheme, "folds": folds, "test_pairs": int((pairs["part"] == "test").sum())}
        row |= {part: round((pairs["part"] == part).sum() / folds) for part in PARTS}
        leaks = dataset.leakage.filter(pl.col("scheme") == scheme)
        row |= {"with_trained_parents": (leaks["trained_parents"].list.len() > 0).mean(), "note": _note(about)}
        rows.append(row | {"shared_mean": leaks["shared_respondents"].mean(), "shared_max": leaks["shared_respondents"].max()})
        if (pairs["part"] == "train").any():
            rows.append(_with_halves(dataset, scheme, leaks))
        else:
            # Without training pairs there is no +disjoint form.
            rows[-1]["note"] = "This data set has no training pairs; training uses another wave or country."
    return LEAKAGE_REPORT.frame(rows)


def _with_halves(dataset: Dataset, scheme: str, leaks: pl.DataFrame) -> dict[str, object]:
    """Return the row of `SCHEME+disjoint`: pairs with the minimum of answers in both halves, which share no respondents."""
    name = scheme + DISJOINT
    try:
        pairs = dataset.part(name, "all")
    except InputDataError as error:
        return {"scheme": name, "note": str(error)}
    folds, test = pairs["fold"].n_unique(), pairs.filter(pl.col("part") == "test")
    parents = test.join(leaks, on=["pair_id", "fold"], how="inner")["trained_parents"]
    return {
        "scheme": name,
        "folds": folds,
        **{part: round((pairs["part"] == part).sum() / folds) for part in PARTS},
        "test_pairs": test.height,
        "with_trained_parents": (parents.list.len() > 0).mean(),
        "shared_mean": 0.0,
        "shared_max": 0.0,
    }


def _note(about: Mapping[str, Any]) -> str | None:
    """Return the note of a scheme and its missing folds, as text."""
    left_out: Mapping[str, str] = about.get("left_out", {})
    lacks = f"No fold for {by_reason(left_out)}." if left_out else None
    return " ".join(sentence for sentence in (about.get("note"), lacks) if sentence) or None


def _names_where(chosen: NDArray[np.bool_], names: Sequence[str]) -> pl.Series:
    """Return the names of the chosen columns of each row, as a list."""
    rows, columns = np.nonzero(chosen)
    flat = pl.DataFrame({"row": rows, "name": pl.Series(names, dtype=pl.String).gather(columns)})
    lists = flat.group_by("row", maintain_order=True).agg("name")
    every = pl.DataFrame({"row": np.arange(len(chosen))}).join(lists, on="row", how="left", maintain_order="left")
    return every["name"].fill_null([])


def _containment(within: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a matrix: [p, s] is True if subgroup p contains subgroup s and p != s. `within`: (joint cells, subgroups)."""
    overlap = within.T @ within
    contains = overlap >= within.sum(axis=0)
    np.fill_diagonal(contains, val=False)
    return contains
