"""The Fay-Herriot model beside the package samplics: expenditure on milk, and simulated areas.

    pip install samplics "valuestrata[dev]"
    python bench/fay_herriot_vs_samplics.py

Prints the largest difference of estimates and of mean squared errors for each method; samplics stops its iteration at the given relative
change of the variance.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.stats.test_fay_herriot import milk
from valuestrata.stats.small_area.fay_herriot import Areas, fay_herriot

ACCURACY = 1e-12


def simulated(areas: int, seed: int) -> Areas:
    """Return areas with two predictors and sampling variances from .1 to 2."""
    rng = np.random.default_rng(seed)
    predictors = np.column_stack([np.ones(areas), rng.normal(size=(areas, 2))])
    variance = rng.uniform(0.1, 2, areas)
    truth = predictors @ [1.0, 0.5, -0.5] + rng.normal(size=areas)
    return Areas.of(truth + rng.normal(size=areas) * np.sqrt(variance), predictors, variance)


def main() -> None:
    """Print the agreement."""
    from samplics.sae import EblupAreaModel
    from samplics.utils.types import FitMethod

    for name, areas in (("milk", milk()), ("60 simulated areas", simulated(60, 1)), ("15 simulated areas", simulated(15, 2))):
        for method, theirs in (("reml", FitMethod.reml), ("ml", FitMethod.ml), ("fh", FitMethod.fh)):
            number = np.arange(len(areas.direct))
            model = EblupAreaModel(method=theirs)
            model.fit(areas.direct, areas.predictors, number, np.sqrt(areas.variance), intercept=False, tol=ACCURACY, maxiter=1000)
            model.predict(areas.predictors, number, intercept=False)
            estimate, mse = (np.array([float(np.ravel(one)[0]) for one in found.values()]) for found in (model.area_est, model.area_mse))
            ours = fay_herriot(areas, method)
            away, of_mse = np.abs(ours.estimate - estimate).max(), np.abs(ours.mse - mse).max()
            their_s = float(np.ravel(model.re_std)[0]) ** 2
            print(f"{name}, {method}: s {ours.sigma2:.8f} and {their_s:.8f}; estimates differ by {away:.1e}, mse by {of_mse:.1e}")


if __name__ == "__main__":
    main()
