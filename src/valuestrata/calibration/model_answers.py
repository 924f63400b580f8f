"""What a model answered to each pair: one distribution, averaged over option orders, wordings and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Predictor

Floats = NDArray[np.float64]
Pair = tuple[str, str]


@dataclass(frozen=True)
class ModelAnswers:
    """Distributions of a model's answers.

    Attributes:
        shares: (item, subgroup) -> shares of the options, shape (K,), scale order, sum 1. Pairs without a valid answer are absent.
        n: (item, subgroup) -> number of valid responses behind the shares; of a response that stands for simulated respondents,
            their number.
    """

    shares: Mapping[Pair, Floats]
    n: Mapping[Pair, int]


CalibrationFit = Callable[[TrainingGold, ModelAnswers], Predictor]
"""A calibration method. It may use all of the model's answers, and only the gold of training pairs."""


def model_answers(dataset: Dataset, responses: pl.DataFrame) -> ModelAnswers:
    """Return the mean distribution of each pair.

    Responses are averaged within each option order and then over orders, so every order has the same weight. A response without
    `option_probs` counts as its answer with probability 1. Responses without a valid answer are left out.

    Args:
        dataset: the data set of the run. responses: RESPONSES schema.
    """
    valid = responses.filter(pl.col("option_probs").is_not_null() | pl.col("answer").is_not_null())
    weight = pl.col("respondents").fill_null(1) if "respondents" in valid.columns else pl.lit(1, dtype=pl.Int64)
    rows = valid.select("item", "subgroup", "order", "answer", "option_probs", n=weight).join(_options(dataset), on="item", how="left")
    shares: dict[Pair, Floats] = {}
    n: dict[Pair, int] = {}
    # In the order of the responses within each number of options.
    for one in rows.partition_by("options", maintain_order=True):
        options = int(one["options"][0])
        names = [f"share_{k}" for k in range(options)]
        given = pl.col("option_probs").list
        chosen = (pl.col("codes").list.get(k) == pl.col("answer") for k in range(options))
        columns = [
            pl.when(pl.col("option_probs").is_not_null()).then(given.get(k, null_on_oob=True)).otherwise(own.cast(pl.Float64)).alias(name)
            for (k, name), own in zip(enumerate(names), chosen, strict=True)
        ]
        pair = ["item", "subgroup"]
        by_order = one.select(*pair, "order", "n", *columns).group_by(*pair, "order", maintain_order=True)
        means = by_order.agg(pl.col(names).mean(), pl.col("n").sum()).group_by(pair, maintain_order=True)
        found = means.agg(pl.col(names).mean(), pl.col("n").sum())
        pairs = list(found.select(pair).iter_rows())
        shares.update(zip(pairs, found.select(names).to_numpy(), strict=True))
        n.update(zip(pairs, found["n"].to_list(), strict=True))
    return ModelAnswers(shares, n)


def _options(dataset: Dataset) -> pl.DataFrame:
    codes = dataset.codes_of
    listed = pl.Series("codes", [list(own) for own in codes.values()], dtype=pl.List(pl.Int32))
    return pl.DataFrame({"item": list(codes), "codes": listed, "options": [len(own) for own in codes.values()]})
