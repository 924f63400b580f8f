"""Linear readouts of hidden states: principal components, the basis of the options, and ridge regression.

Hidden states are standardised over all pairs of a run and expressed in their principal components; ridge regression is the same in
both, except that the least important components are left out. A readout predicts coefficients of the options' logits in a basis:

- ordinal and binary items: orthogonal polynomials of degree 1 to 3 in the position of the option, so one readout serves any number of
  options. The first moves answers along the scale, the second towards its ends.
- nominal items: the logits themselves, which the readout makes more or less extreme.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valuestrata.calibration.methods.scales import ItemScale, orthogonal_polynomials
from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices, Singles

# Largest number of principal components, and of pairs that they are computed from.
COMPONENTS = 128
SAMPLE = 1000
# Eigenvalues below this share of the largest are rounding errors.
REAL = 1e-6
DEGREES = 3
# Number of coefficients: of the polynomials, then that of nominal items.
COEFFICIENTS = DEGREES + 1


def principal_components(states: Singles) -> Floats:
    """Return the principal components of standardised states, shape (n, q), q at most COMPONENTS; the largest first.

    Args:
        states: shape (n, size). Dimensions that do not vary are left out. The directions are those of at most SAMPLE rows, at equal
            distances.
    """
    centred = states - states.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    kept = spread > NEGLIGIBLE * max(1.0, float(np.abs(states).max(initial=0.0)))
    standard = (centred[:, kept] / spread[kept]).astype(np.float32)
    step = max(1, -(-len(standard) // SAMPLE))
    sample = standard[::step]
    wide = sample.shape[1] > sample.shape[0]
    # The smaller of both products has the same eigenvalues and is faster to decompose than the sample itself.
    values, vectors = np.linalg.eigh((sample @ sample.T if wide else sample.T @ sample).astype(np.float64))
    largest = np.flatnonzero(values > REAL * values.max(initial=0.0))[::-1][:COMPONENTS]
    directions = vectors[:, largest]
    if wide:
        directions = sample.T @ directions / np.sqrt(values[largest])
    return (standard @ directions.astype(np.float32)).astype(np.float64)


def degrees_of(scale: ItemScale) -> Indices:
    """Return which of the coefficients items of a scale have."""
    return np.array([DEGREES]) if scale.level == "nominal" else np.arange(min(DEGREES, scale.options - 1))


def option_basis(scale: ItemScale, logits: Floats) -> Floats:
    """Return the basis of the options, shape (n, K, number of `degrees_of`); columns have mean 0 and mean square 1 (or are all 0).

    Args:
        logits: of the pairs, shape (n, K); they are the basis of nominal items.
    """
    n, options = logits.shape
    if scale.level == "nominal":
        centred = logits - logits.mean(axis=1, keepdims=True)
        size = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
        return np.divide(centred, size, out=np.zeros_like(centred), where=size > NEGLIGIBLE)[:, :, None]
    basis = orthogonal_polynomials(options, DEGREES).T
    return np.broadcast_to(basis, (n, *basis.shape))


def ridge(gram: Floats, moments: Floats, penalties: Sequence[float]) -> Floats:
    """Return the coefficients (X'WX + penalty I)^-1 X'Wy for each penalty, shape (penalties, q, columns).

    Args:
        gram: X'WX, shape (q, q). moments: X'Wy, shape (q, columns). penalties: positive; infinite gives 0.
    """
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ moments
    shrunk = np.stack([rotated / (np.maximum(values, 0.0) + penalty)[:, None] for penalty in penalties])
    return vectors @ shrunk
