"""The model's answers alone, shown beside the estimators that use people."""

from __future__ import annotations

import numpy as np

from valuestrata.estimation.estimates import MODEL, Estimates
from valuestrata.estimation.estimators.values import with_codes
from valuestrata.estimation.inputs import EstimationInput


def model_only(data: EstimationInput, run: str) -> Estimates:
    """Return the model's shares and their means.

    There are no intervals and no standard errors: nothing in a model's answers says how far they are from people's. Every estimate is
    `synthetic`, because no answer of a person enters. NaN where the model gave no answer.

    Raises:
        KeyError: `data` has no run of this name.
    """
    items = data.items
    answers = data.models[run].pairs
    shares = np.where(np.isnan(answers).all(axis=2, keepdims=True), np.nan, np.where(items.used, answers, 0.0))
    mean = np.where(items.ordered, with_codes(shares, items)[..., -1], np.nan)
    unknown, unknown_mean = np.full(shares.shape, np.nan), np.full(mean.shape, np.nan)
    return Estimates(
        estimator=MODEL,
        run=run,
        shares=shares,
        low=unknown,
        high=unknown,
        mse=unknown,
        mean=mean,
        mean_low=unknown_mean,
        mean_high=unknown_mean,
        mean_mse=unknown_mean,
        synthetic=~np.isnan(shares[..., 0]),
        weight=unknown_mean,
    )
