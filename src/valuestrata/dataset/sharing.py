"""What of a data set may leave this machine: only aggregates in which every cell has enough answers."""

from __future__ import annotations

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option

# Smaller published cells could identify respondents.
SHAREABLE_FROM = 10
# A minimum at which the halves of a pair usually have enough answers too.
_ENOUGH = 30


def check_shareable(dataset: Dataset, otherwise: str = "do not share it") -> None:
    """Check that a data set may be shared: what its document says, and the number of answers of every cell.

    Args:
        dataset: the data set. otherwise: what else can be done, for the end of the message.

    Raises:
        InputDataError: it may not be shared; the message names the smallest cell if it is too small.
    """
    small = [
        f"{row['pair_id']} has {row['n']} answers{'' if row['half'] == 'all' else ' in half ' + row['half']}"
        for row in dataset.gold.filter(pl.col("n") < SHAREABLE_FROM).sort("n").head(1).iter_rows(named=True)
    ]
    small += [
        f"the subgroup {row['subgroup']} has {row['n']} respondents"
        for row in dataset.subgroups.filter(pl.col("n") < SHAREABLE_FROM).sort("n").head(1).iter_rows(named=True)
    ]
    if dataset.meta.get("shareable") and not small:
        return
    reason = "; ".join(small) or "it was built with the paper's preset, which allows such cells, or by an early version"
    raise InputDataError(
        f"{dataset.path or 'The data set'} may not be shared: some of its cells have fewer than {SHAREABLE_FROM} answers ({reason}). "
        "Build it again with a higher minimum (",
        Option("min_valid", _ENOUGH),
        f"), or {otherwise}.",
    )
