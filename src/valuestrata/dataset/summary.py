"""The overview of a data set: survey, sizes, strata and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from valuestrata.formatting import NONE, count
from valuestrata.overview import Overview

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset


def overview_of(dataset: Dataset) -> Overview:
    """Return the overview of a data set, with a row for each stratum."""
    people = dataset.meta.get("respondents")
    gold = dataset.target_gold
    sizes = [
        *([] if people is None else [count(people, "respondent")]),
        *(["built from published counts"] if dataset.meta.get("published") else []),
        f"{count(dataset.items.height, 'item')} in {count(dataset.items['topic'].n_unique(), 'topic')}",
        count(gold["subgroup"].n_unique(), "subgroup"),
        count(gold.height, "pair"),
    ]
    folds = dict(dataset.splits.group_by("scheme", maintain_order=True).agg(pl.col("fold").n_unique()).iter_rows())
    splits = ", ".join(f"{name} ({count(number, 'fold')})" for name, number in folds.items()) or "none"
    sized = gold.join(dataset.subgroups.select("subgroup", "stratum", size="n"), on="subgroup", maintain_order="left")
    of_stratum = sized.group_by("stratum", maintain_order=True)
    rows = [
        (str(stratum), count(groups), count(pairs), NONE if smallest is None else count(smallest))
        for stratum, groups, pairs, smallest in of_stratum.agg(
            groups=pl.col("subgroup").n_unique(), pairs=pl.len(), smallest=pl.col("size").min()
        ).iter_rows()
    ]
    place = "not written to a folder" if dataset.path is None else f"folder {dataset.path}"
    return Overview(
        f"Data set: {dataset.survey_and_place}",
        (f"{', '.join(sizes)}.", f"Splits: {splits}."),
        ("Stratum", "Subgroups", "Pairs", "Respondents of the smallest"),
        rows,
        f"Fingerprint {dataset.fingerprint[:12]}, {place}.",
    )
