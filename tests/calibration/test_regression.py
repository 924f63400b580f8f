"""The regression behind the calibration methods."""

import numpy as np
import pytest
from scipy.optimize import minimize

from valuestrata.calibration.methods.regression import ScaleBlock, fitted, overdispersion, weights
from valuestrata.stats.arrays import softmax


def made(rng, pairs, options, columns, answers, theta):
    design = rng.normal(size=(pairs, options, len(columns)))
    n = np.full(pairs, float(answers))
    q = softmax(design @ theta[columns])
    return ScaleBlock(
        design, np.array(columns), np.array([rng.multinomial(answers, row) / answers for row in q]), n, np.zeros(pairs, dtype=np.intp)
    )


def test_the_fit_is_the_one_of_an_independent_optimiser():
    rng = np.random.default_rng(1)
    theta = np.array([0.5, -1.0, 0.3])
    blocks = [made(rng, 6, 3, [0, 1], 50, theta), made(rng, 5, 4, [0, 2], 80, theta)]
    penalty = np.array([1e-9, 2.0, 1e-9])

    def negative(theta):
        total = 0.5 * float(penalty @ theta**2)
        for block in blocks:
            for design, shares, n in zip(block.design, block.shares, block.answers, strict=True):
                total -= n * float(shares @ np.log(softmax(design @ theta[block.columns])))
        return total

    found = fitted(blocks, penalty, 0.0, np.zeros(3))
    assert found == pytest.approx(minimize(negative, np.zeros(3), tol=1e-12).x, abs=1e-5)


def test_weights_follow_williams():
    block = made(np.random.default_rng(0), 2, 3, [0], 100, np.zeros(1))
    assert weights(block, 0.0) == pytest.approx([100.0, 100.0])
    assert weights(block, 0.5) == pytest.approx([100 / 50.5] * 2)


def test_overdispersion_is_recovered_from_shares_that_vary_more_than_samples():
    rng = np.random.default_rng(2)
    rho, q = 0.1, np.array([0.2, 0.3, 0.5])
    shares = np.array([rng.multinomial(200, rng.dirichlet(q * (1 / rho - 1))) / 200 for _ in range(3000)])
    block = ScaleBlock(np.log(q)[None, :, None].repeat(3000, 0), np.array([0]), shares, np.full(3000, 200.0), np.zeros(3000, dtype=np.intp))
    assert overdispersion([block], np.ones(1)) == pytest.approx(rho, rel=0.05)
    assert (
        overdispersion([ScaleBlock(block.design, block.columns, softmax(block.design[:, :, 0]), block.answers, block.item)], np.ones(1))
        == 0
    )
