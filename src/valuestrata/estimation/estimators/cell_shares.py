"""Human answers by joint cell, as the multilevel regression takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.inputs import EstimationInput, HumanSample
from valuestrata.stats.arrays import Floats, Indices

# Answers added to each option when the variance of an answer is estimated.
PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class CellShares:
    """Answers by joint cell.

    Attributes:
        shares: shape (I, J, K), weighted shares of the options; 0 without answers. number: shape (I, J), effective answers.
        pooled: shape (I, K), shares in the sample with pseudo-counts, 0 behind the last option.
        centred: shape (I, K), codes minus their mean, over their standard deviation; 0 for nominal items.
    """

    shares: Floats
    number: Floats
    pooled: Floats
    centred: Floats

    @classmethod
    def of(cls, data: EstimationInput) -> CellShares:
        """Return the shares in all joint cells."""
        sample, items = data.sample, data.items
        cells, most = len(data.population.share), items.codes.shape[1]
        people, asked = np.nonzero(sample.answers >= 0)
        given, weight = sample.answers[people, asked], sample.weight[people]
        cell = asked * cells + sample.cell[people]
        sums = np.bincount(cell * most + given, weight, len(items.ids) * cells * most).reshape(-1, cells, most)
        squares = np.bincount(cell, weight**2, len(items.ids) * cells).reshape(-1, cells)
        total = sums.sum(axis=2)
        number = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
        shares = np.divide(sums, total[..., None], out=np.zeros_like(sums), where=total[..., None] > 0)
        overall = np.divide(total.sum(axis=1) ** 2, squares.sum(axis=1), out=np.zeros(len(total)), where=squares.sum(axis=1) > 0)
        counts = sums.sum(axis=1) * np.divide(overall, total.sum(axis=1), out=np.zeros(len(total)), where=overall > 0)[:, None]
        counts = np.where(items.used, counts + PSEUDO_COUNT, 0.0)
        pooled = counts / counts.sum(axis=1, keepdims=True)
        codes = np.where(items.used & items.ordered[:, None], np.nan_to_num(items.codes), 0.0)
        centred = codes - (pooled * codes).sum(axis=1, keepdims=True)
        spread = np.sqrt((pooled * centred**2).sum(axis=1, keepdims=True))
        centred = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
        return cls(shares, number, pooled, centred)

    @property
    def spread(self) -> Floats:
        """Sum over options of p_k (1 - p_k), shape (I,)."""
        return (self.pooled * (1 - self.pooled)).sum(axis=1)

    @property
    def directions(self) -> Floats:
        """Independent directions in which an item's shares vary, shape (I,): (tr S)^2 / tr S^2, S = diag(p) - p p'."""
        squares = (self.pooled**2).sum(axis=1)
        return self.spread**2 / (squares - 2 * (self.pooled**3).sum(axis=1) + squares**2)

    def values(self, items: Indices, cells: Indices) -> Floats:
        """Return shares times the square root of directions over spread, shape (S, items, K)."""
        scaled = self.shares[np.ix_(items, cells)] * np.sqrt(self.directions / self.spread)[items, None, None]
        return scaled.transpose(1, 0, 2)


@dataclass(frozen=True)
class SamePeople:
    """Items that the same people answered.

    Attributes:
        items: the items. cells: the S joint cells with answers. noise: shape (S,), 1 / n.
        units: shape (S, S), covariance from an effect of sampling units with variance 1; None without clusters.
        answered: number of people.
    """

    items: Indices
    cells: Indices
    noise: Floats
    units: Floats | None
    answered: int

    @classmethod
    def all_of(cls, data: EstimationInput, answers: CellShares) -> list[SamePeople]:
        """Return the items with answers in groups that the same people answered."""
        sample = data.sample
        given = sample.answers >= 0
        clustered = len(sample.stratum) < sample.people
        groups: dict[bytes, list[int]] = {}
        for item, column in enumerate(given.T):
            if column.any():
                groups.setdefault(column.tobytes(), []).append(item)
        found: list[SamePeople] = []
        for items in groups.values():
            cells = np.flatnonzero(answers.number[items[0]] > 0)
            units = _shared_units(sample, np.flatnonzero(given[:, items[0]]), cells) if clustered else None
            found.append(
                cls(np.array(items, dtype=np.intp), cells, 1 / answers.number[items[0], cells], units, int(given[:, items[0]].sum()))
            )
        return found


def _shared_units(sample: HumanSample, people: Indices, cells: Indices) -> Floats:
    """Return the covariance that an effect of sampling units with variance 1 gives to the cells' shares, shape (S, S)."""
    from scipy.sparse import csr_array

    place = np.searchsorted(cells, sample.cell[people])
    weight = sample.weight[people] / np.bincount(place, sample.weight[people])[place]
    part = csr_array((weight, (place, sample.unit[people])), shape=(len(cells), len(sample.stratum)))
    return (part @ part.T).toarray()
