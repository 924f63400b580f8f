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
        n: (item, subgroup) -> number of valid responses behind the shares.
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
    codes = dataset.codes_of
    valid = responses.filter(pl.col("option_probs").is_not_null() | pl.col("answer").is_not_null())
    sums: dict[Pair, dict[str, list[Floats]]] = {}
    for item, subgroup, order, answer, probs in valid.select("item", "subgroup", "order", "answer", "option_probs").iter_rows():
        given = np.array(probs, dtype=np.float64) if probs is not None else np.equal(codes[item], answer).astype(np.float64)
        sums.setdefault((item, subgroup), {}).setdefault(order, []).append(given)
    shares = {pair: np.mean([np.mean(given, axis=0) for given in orders.values()], axis=0) for pair, orders in sums.items()}
    return ModelAnswers(shares, {pair: sum(len(given) for given in orders.values()) for pair, orders in sums.items()})
