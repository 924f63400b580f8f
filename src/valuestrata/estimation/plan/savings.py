"""What share of the variance a model removes, estimated from people or cells that the model's weight was not fitted to.

**Rectified.** With the weight lambda of the model, the variance of an answer V becomes V - 2 lambda C + lambda^2 F, with C the covariance
of answers and model values within the subgroup and F the variance of the model values. The saving is
(2 lambda C - lambda^2 F) / V, and r^2 at the best lambda. In a pilot, lambda of an
item is fitted to nine tenths of the sampling units, and C and F are those of the last tenth. Without a pilot, C and F are those between
joint cells, and lambda is fitted to the items of other blocks.

**Small-area.** The gain is the share of the variance between subgroups that the model's departures from its answer for the population
explain. Their slope is fitted to the items of other blocks.

The savings of subgroups are shrunk toward their mean (empirical Bayes), as are those of items. Intervals are from the jackknife over
the parts that were held out. A saving counts only where its 95 % interval is above 0; of the gain, the lower end
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.estimation.plan.effects import TYPICAL, CellEffects
from valuestrata.estimation.plan.evidence import Evidence
from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices, generator

# Parts of people or blocks that are held out.
PARTS = 10
# A model never removes more than this share of a variance.
MOST_SAVED = 0.95


@dataclass(frozen=True)
class VarianceSaving:
    """Share of the variance of subgroups' estimates that a model removes.

    Attributes:
        of_pairs: shape (G, I), 0..MOST_SAVED; 0 where it is not shown.
        value, low, high: shape (G,), mean over items with its 95 % interval; the values of subgroups are shrunk toward their mean.
            NaN where the model has no answers.
    """

    of_pairs: Floats
    value: Floats
    low: Floats
    high: Floats


def pilot_saving(data: EstimationInput, model: ModelValues, seed: int = 0) -> VarianceSaving:
    """Return the saving of the rectified estimator among the people of a pilot."""
    sample = data.sample
    known = np.asarray((sample.answers >= 0) & ~np.isnan(model.people).any(axis=2))
    y = (sample.answers[..., None] == np.arange(model.people.shape[2])) & known[..., None]
    f = np.where(known[..., None], model.people, 0.0)
    units = len(sample.stratum)
    part = generator(seed).permutation(units)[sample.unit] % min(PARTS, units)
    shape = (len(data.population.subgroups), *f.shape[1:])
    weight = data.members * sample.weight[:, None]
    parts = [
        _ProductSums.of(weight[part == u].T, known[part == u], y[part == u].astype(np.float64), f[part == u], shape)
        for u in np.unique(part)
    ]
    whole = _ProductSums.added(parts)
    total = np.maximum(whole.total, NEGLIGIBLE)[..., None]
    y_mean, f_mean = whole.y / total, whole.f / total
    spread, covariance, of_model = (np.array(found) for found in zip(*(one.centred(y_mean, f_mean) for one in parts), strict=True))
    fitted = [np.delete(np.arange(len(parts)), u) for u in range(len(parts))]
    slope = np.array([_slope(covariance[kept].sum(axis=(0, 1)), of_model[kept].sum(axis=(0, 1))) for kept in fitted])
    number = (weight > 0).astype(np.float64).T @ known
    return _saving(spread, covariance, of_model, slope[:, None, :], number)


@dataclass(frozen=True)
class _ProductSums:
    """Weighted sums over people: total (G, I), y and f (G, I, K), and yf and ff summed over options (G, I)."""

    total: Floats
    y: Floats
    f: Floats
    yf: Floats
    ff: Floats

    @classmethod
    def of(cls, weight: Floats, known: Bools, y: Floats, f: Floats, shape: tuple[int, ...]) -> _ProductSums:
        people = weight.shape[1]
        return cls(
            weight @ known,
            (weight @ y.reshape(people, -1)).reshape(shape),
            (weight @ f.reshape(people, -1)).reshape(shape),
            weight @ (y * f).sum(axis=2).reshape(people, -1),
            weight @ (f * f).sum(axis=2).reshape(people, -1),
        )

    @classmethod
    def added(cls, parts: Sequence[_ProductSums]) -> _ProductSums:
        return cls(*(np.sum([getattr(one, name) for one in parts], axis=0) for name in ("total", "y", "f", "yf", "ff")))

    def centred(self, y_mean: Floats, f_mean: Floats) -> tuple[Floats, Floats, Floats]:
        """Return sums of squares of y, of products, and of squares of f around the means, each (G, I)."""
        n = self.total
        # The square of 0/1 values is the value itself.
        spread = self.y.sum(axis=2) - 2 * (y_mean * self.y).sum(axis=2) + n * (y_mean**2).sum(axis=2)
        products = self.yf - (y_mean * self.f).sum(axis=2) - (f_mean * self.y).sum(axis=2) + n * (y_mean * f_mean).sum(axis=2)
        squares = self.ff - 2 * (f_mean * self.f).sum(axis=2) + n * (f_mean**2).sum(axis=2)
        return np.maximum(spread, 0.0), products, np.maximum(squares, 0.0)


def wave_saving(evidence: Evidence, effects: CellEffects, cells: Floats, seed: int = 0) -> VarianceSaving:
    """Return the saving of the rectified estimator from the shares of an earlier wave.

    Args:
        cells: shape (J, I, K), the model's value for each joint cell; NaN for items without an answer.
    """
    weights = evidence.population.weights
    known = np.array([not np.isnan(own).any() for own in cells.swapaxes(0, 1)])
    p, f = effects.predicted_cells(evidence), np.where(known[:, None], np.nan_to_num(cells), 0.0)
    shape = (len(weights), *p.shape[1:])
    p_mean, f_mean = ((weights @ values.reshape(len(values), -1)).reshape(shape) for values in (p, f))
    covariance = weights @ (p * f).sum(axis=2) - (p_mean * f_mean).sum(axis=2)
    of_model = np.maximum(weights @ (f * f).sum(axis=2) - (f_mean**2).sum(axis=2), 0.0)
    size = np.maximum(evidence.number, 0.0) * known
    spread = size * (evidence.smoothed * (1 - evidence.smoothed)).sum(axis=2)
    part = _block_parts(evidence, seed)
    held = (part[None, :] == np.unique(part)[:, None])[:, None, :]
    slope = np.array([_slope((covariance * size)[:, part != u].sum(), (of_model * size)[:, part != u].sum()) for u in np.unique(part)])
    return _saving(spread * held, covariance * size * held, of_model * size * held, slope[:, None, None], evidence.number)


def _slope(covariance: Floats, of_model: Floats, most: float = 1.0) -> Floats:
    return np.clip(np.divide(covariance, of_model, out=np.zeros_like(of_model), where=of_model > NEGLIGIBLE), 0.0, most)


def _block_parts(evidence: Evidence, seed: int) -> Indices:
    """Return the held-out part of each item; the items of a block are in one part."""
    _, block = np.unique(evidence.items.blocks, return_inverse=True)
    number = int(block.max()) + 1
    return (generator(seed).permutation(number) % min(PARTS, number))[block.reshape(-1)].astype(np.intp)


def _saving(spread: Floats, covariance: Floats, of_model: Floats, slope: Floats, number: Floats) -> VarianceSaving:
    """Return savings from sums by held-out part, shape (U, G, I); slope (U, 1, I or 1) was fitted to other parts."""
    saved = 2 * slope * covariance - slope**2 * of_model
    known = spread.sum(axis=0) > NEGLIGIBLE
    value, error = _jackknife(saved.sum(axis=2), spread.sum(axis=2))
    mean, mean_error = _jackknife(saved.sum(axis=(1, 2))[:, None], spread.sum(axis=(1, 2))[:, None])
    value, error = _shrunk(value, error, float(mean[0]), float(mean_error[0]))
    wide = _quantile(len(spread)) * error
    of_items = saved.sum(axis=(0, 1)) / np.maximum(spread.sum(axis=(0, 1)), NEGLIGIBLE)
    relative = (slope**2 * of_model).sum(axis=(0, 1)) / np.maximum(spread.sum(axis=(0, 1)), NEGLIGIBLE)
    item_error = 2 * np.sqrt(relative / np.maximum(number[0], 1.0))
    of_items, _ = _shrunk(of_items, item_error, float(mean[0]), 0.0)
    shown = (value - wide > 0)[:, None] & known
    pairs = np.where(shown, np.clip(value[:, None] + of_items - mean[0], 0.0, MOST_SAVED), 0.0)
    answered = known.any(axis=1)
    return VarianceSaving(pairs, *(np.where(answered, one, np.nan) for one in (value, value - wide, value + wide)))


def _jackknife(saved: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Return the ratios of sums over parts (U, N), and their standard errors by leaving out one part at a time; inf from one part."""
    parts = len(saved)
    total = np.maximum(spread.sum(axis=0), NEGLIGIBLE)
    value = saved.sum(axis=0) / total
    if parts < 2:
        return value, np.full_like(value, np.inf)
    rest = np.maximum(total - spread, NEGLIGIBLE)
    without = (saved.sum(axis=0) - saved) / rest
    return value, np.sqrt((parts - 1) / parts * np.square(without - without.mean(axis=0)).sum(axis=0))


def _shrunk(value: Floats, error: Floats, mean: float, mean_error: float) -> tuple[Floats, Floats]:
    """Return values shrunk toward their mean, with standard errors (empirical Bayes; Morris 1983, JASA 78:47-55)."""
    finite = np.isfinite(error) & (error > 0)
    spread = max(float((np.square(value - mean) - np.square(error))[finite].mean()), 0.0) if finite.any() else 0.0
    weight = spread / (spread + np.square(error) + NEGLIGIBLE)
    kept = np.sqrt(weight * np.square(np.where(np.isfinite(error), error, 0.0)) + np.square((1 - weight) * mean_error))
    return mean + weight * (value - mean), np.where(np.isfinite(error), kept, np.inf)


def _quantile(parts: int) -> float:
    """Return the 97.5 % quantile of Student's t for a jackknife over parts."""
    from scipy.stats import t

    return float(t.ppf(0.975, max(parts - 1, 1)))


@dataclass(frozen=True)
class SmallAreaGain:
    """Share of the variance between subgroups that a model explains, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def counted(self) -> float:
        """The gain that a plan counts on: the lower end of the interval, because a small sample learns less of it than a pilot shows."""
        return float(np.clip(self.low, 0.0, MOST_SAVED))


def small_area_gain(evidence: Evidence, effects: CellEffects, model: ModelValues, seed: int = 0) -> SmallAreaGain:
    """Return the share of the variance between subgroups that the model explains."""
    weights = evidence.population.weights
    departure = model.pairs - model.population[0]
    known = (evidence.number > 0) & ~np.isnan(departure).any(axis=2)
    known[0] = False
    f = np.where(known[..., None], departure, 0.0)
    s = np.where(known[..., None], evidence.deviation, 0.0)
    contrast = weights - weights[0]
    between = np.square(contrast @ effects.columns) @ effects.of_columns + effects.variance[-1] * np.square(contrast).sum(axis=1)
    precision = 1 / (1 / np.maximum(evidence.number, 1.0) + TYPICAL)
    products, squares = (precision * (s * f).sum(axis=2)).sum(axis=0), (precision * (f * f).sum(axis=2)).sum(axis=0)
    true = (precision * known * between[:, None]).sum(axis=0) * evidence.spread_of_items
    part = _block_parts(evidence, seed)
    held = part[None, :] == np.unique(part)[:, None]
    # A model that flattens subgroups has a slope above 1.
    slope = np.array([_slope(products[part != u].sum(), squares[part != u].sum(), np.inf) for u in np.unique(part)])[:, None]
    if not known.any() or true.sum() <= NEGLIGIBLE:
        return SmallAreaGain(0.0, 0.0, 0.0)
    saved = (2 * slope * products - slope**2 * squares) * held
    value, error = _jackknife(saved.sum(axis=1)[:, None], (true * held).sum(axis=1)[:, None])
    wide = _quantile(len(held)) * float(error[0])
    return SmallAreaGain(float(value[0]), float(value[0]) - wide, float(value[0]) + wide)
