"""Expected half-widths of the estimators at a planned number of interviews.

With A_g of `allocation` (one over the effective interviews of subgroup g), the share f_i of the people who are asked item i, V the
p (1 - p) of its most uncertain option, d the design effect and v the share of people with a valid answer, the variance is

    D = V d A_g / (f_i v)                      human only,
    D (1 - saving S / (S + 1 / A_g))            rectified, with S simulated people behind the model's share of the population,
    1 / (1 / D + 1 / (V outside_g))            small-area, with `outside_g` the error of the prediction from other people over V.

Half-widths are 1.96 standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.plan.goal import GoalClause
from valuestrata.stats.arrays import Bools, Floats, Indices

QUANTILE = 1.959964
# A subgroup of a goal has at least this many effective interviews: with fewer, standard errors cannot be estimated.
LEAST_EFFECTIVE = 10


@dataclass(frozen=True)
class Precision:
    """What decides the half-widths of an estimator.

    Attributes:
        uncertainty: shape (G, I), V. effect: shape (I,), d / v. saving: shape (G, I), 0..1.
        outside: shape (G,), infinite without borrowed strength. simulated: shape (G, I), S, infinite if the model's share is exact.
    """

    uncertainty: Floats
    effect: Floats
    saving: Floats
    outside: Floats
    simulated: Floats

    def half_width(self, inverse: Floats, fraction: Floats, subgroups: Indices) -> Floats:
        """Return the half-width of each item, shape (R, I); infinite for items that nobody is asked, unless others inform them.

        Args:
            inverse: shape (R,), A_g of `subgroups`. fraction: shape (I,), f_i.
        """
        used = self.saving[subgroups] / (1 + 1 / (inverse[:, None] * self.simulated[subgroups]))
        with np.errstate(divide="ignore", invalid="ignore"):
            direct = self.effect * (1 - used) * inverse[:, None] / fraction
            relative = 1 / (1 / direct + 1 / self.outside[subgroups][:, None])
            found = QUANTILE * np.sqrt(self.uncertainty[subgroups] * relative)
        return np.where(self.uncertainty[subgroups] > 0, found, 0.0)


@dataclass(frozen=True)
class GoalRows:
    """The R pairs of a clause and one of its subgroups.

    Attributes:
        clauses: the clauses. clause, subgroup: shape (R,). target: shape (R,), half-width of the clause.
    """

    clauses: tuple[GoalClause, ...]
    clause: Indices
    subgroup: Indices
    target: Floats

    @classmethod
    def of(cls, clauses: Sequence[GoalClause]) -> GoalRows:
        """Return the rows of clauses, in their order."""
        clause = np.concatenate([np.full(len(one.subgroups), c, dtype=np.intp) for c, one in enumerate(clauses)])
        return cls(
            tuple(clauses), clause, np.concatenate([one.subgroups for one in clauses]), np.array([clauses[c].half_width for c in clause])
        )

    def reached(self, half_width: Floats) -> Floats:
        """Return the half-width that counts for each row, shape (R,): the mean or the largest over the clause's items."""
        found = np.empty(len(self.clause))
        for c, one in enumerate(self.clauses):
            rows = self.clause == c
            own = half_width[np.ix_(rows, one.items)]
            found[rows] = own.max(axis=1) if one.each else own.mean(axis=1)
        return found

    def limits(self, precision: Precision, fraction: Floats, scale: float = 1.0) -> Floats:
        """Return the largest A_g at which each row has at most `scale` times its half-width, shape (R,); 0 where no number suffices."""
        low, high = np.full(len(self.clause), -40.0), np.full(len(self.clause), -np.log(LEAST_EFFECTIVE))

        def enough(logs: Floats) -> Bools:
            return self.reached(precision.half_width(np.exp(logs), fraction, self.subgroup)) <= scale * self.target

        done = enough(high)
        for _ in range(60):
            middle = (low + high) / 2
            fits = enough(middle)
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        found = np.where(done, 1 / LEAST_EFFECTIVE, np.exp(low))
        return np.where(low <= -39.0, 0.0, found)

    def importance(self, precision: Precision, items: int) -> Floats:
        """Return the largest half-width of each item over its goals, relative to them, shape (I,); 0 for items in no goal."""
        widths = precision.half_width(np.full(len(self.clause), 0.01), np.ones(items), self.subgroup) / self.target[:, None]
        wanted = np.zeros(widths.shape, dtype=bool)
        for row, c in enumerate(self.clause):
            wanted[row, self.clauses[c].items] = True
        return np.where(wanted, widths, 0.0).max(axis=0)
