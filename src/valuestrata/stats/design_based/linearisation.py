"""Linearised variances of means of domains, as survey packages compute them.

The mean of a domain d is a ratio of two estimated totals, m = sum w a y / sum w a, with w the weight of a person and a = 1 for members of
the domain who answered. Its linearised score is z_p = w_p a_p (y_p - m) / sum w a, and with z_u the sum of the scores in sampling unit u
(Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, section 5.7; Lumley 2010, Complex Surveys, section 2.2)

    Var m = (1 - f) sum_h n_h / (n_h - 1) sum_{u in h} (z_u - mean_h z)^2,

n_h the units of stratum h. All units of the sample count: one without members of the domain has the total 0, because the number of
members in a sample is random too. The units of a stratum are taken as drawn with replacement (the ultimate-cluster variance), corrected
by 1 - f. In a stratum with one unit the deviation is taken from the mean of all units, which is 0 here (`lonely.psu="adjust"` of the R
package survey).

**Degrees of freedom** are units minus strata, counting units with a member who answered and their strata (`degf` of a subset in R).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuestrata.stats.arrays import Bools, Floats, Indices, divided


@dataclass(frozen=True)
class Domains:
    """Estimated means of D domains; NaN where nobody answered. M variables belong to I items.

    Attributes:
        mean, variance: shape (D, M), the weighted mean of each variable and its linearised variance, without finite-population correction.
        people, effective: shape (D, I), people who answered, and Kish's (sum w)^2 / sum w^2 of their weights.
        per_unit: shape (D, I), sum over units of (sum w)^2 / sum w^2: the mean number of these people in a unit, 1 without clusters.
        freedom: shape (D, I), units minus strata among units with a member who answered; -1 for a domain without any.
    """

    mean: Floats
    variance: Floats
    people: Floats
    effective: Floats
    per_unit: Floats
    freedom: Floats


def variance_of_totals(scores: Floats, unit: Indices, stratum: Indices, fraction: float = 0.0) -> Floats:
    """Return the variance of the sum of linearised scores, shape (M,).

    Args:
        scores: shape (P, M), score of each person, weight included. unit: shape (P,), the sampling unit 0..U-1 of each person.
        stratum: shape (U,), the stratum of each unit. fraction: share of the population that was sampled, 0..1.
    """
    totals = np.zeros((len(stratum), scores.shape[1]))
    np.add.at(totals, unit, scores)
    centred = totals - totals.mean(axis=0)
    squares, sums = np.zeros((2, int(stratum.max(initial=-1)) + 1, scores.shape[1]))
    np.add.at(squares, stratum, centred**2)
    np.add.at(sums, stratum, centred)
    of_squares, of_sums = factors_of_strata(stratum, fraction)
    return np.maximum(of_squares @ squares - of_sums @ sums**2, 0.0)


def domain_means(
    values: Floats, answered: Bools, item: Indices, members: Bools, weight: Floats, unit: Indices, stratum: Indices
) -> Domains:
    """Estimate the means of all variables in all domains.

    Args:
        values: shape (P, M), value of each variable; 0 where the person did not answer. answered: shape (P, I).
        item: shape (M,), the item of each variable. members: shape (P, D), who belongs to a domain. weight: shape (P,), positive.
        unit, stratum: as in `variance_of_totals`.
    """
    # Only relative weights matter; huge and tiny ones lose no digits after this. So do values far from 0 after centring.
    weight = weight / weight.mean()
    known = answered.astype(np.float64)
    centre = np.nan_to_num(divided(weight @ values, (weight @ known)[item]))
    sums = _Sums.of((values - centre) * known[:, item], known, item, members, weight)
    people = sums.inside @ known
    heavy = (sums.inside * weight**2) @ known
    per_unit = np.where(people > 0, 1.0, np.nan)
    if len(stratum) < len(weight):
        variance, units, used, together = _clustered(sums, members, unit, stratum)
        per_unit = divided(together, heavy)
    else:
        variance, units, used = _unclustered(sums, stratum[unit])
    freedom = np.where(people > 0, units - used, -1.0)
    return Domains(sums.mean + centre, np.maximum(variance, 0.0), people, divided(sums.total**2, heavy), per_unit, freedom)


@dataclass(frozen=True)
class _Sums:
    """Weighted sums in all domains.

    Attributes:
        values, known: shape (P, M) and (P, I). item: shape (M,). weight: shape (P,). inside: shape (D, P), 1 for members.
        total: shape (D, I), sum of the weights of who answered. mean: shape (D, M).
    """

    values: Floats
    known: Floats
    item: Indices
    weight: Floats
    inside: Floats
    total: Floats
    mean: Floats

    @classmethod
    def of(cls, values: Floats, known: Floats, item: Indices, members: Bools, weight: Floats) -> _Sums:
        """Sum over all people."""
        inside = members.astype(np.float64).T
        weighted = inside * weight
        total = weighted @ known
        return cls(values, known, item, weight, inside, total, divided(weighted @ values, total[:, item]))

    def of_scores(self, rows: slice | Indices) -> tuple[Floats, Floats]:
        """Return the sums of scores and of squared scores of the people at `rows`, each of shape (D, M), by matrix products."""
        values, known, total = self.values[rows], self.known[rows], self.total[:, self.item]
        weighted = self.inside[:, rows] * self.weight[rows]
        heavy = weighted * self.weight[rows]
        sums = weighted @ values - self.mean * (weighted @ known)[:, self.item]
        squares = heavy @ values**2 - 2 * self.mean * (heavy @ values) + self.mean**2 * (heavy @ known)[:, self.item]
        return divided(sums, total), divided(squares, total**2)


def _unclustered(sums: _Sums, stratum: Indices) -> tuple[Floats, Floats, Floats]:
    """Return the variances (D, M), and for each domain and item (D, I) people and strata; `stratum` is that of each person."""
    of_squares, of_sums = factors_of_strata(stratum, 0.0)
    variance = np.zeros_like(sums.mean)
    people, used = np.zeros_like(sums.total), np.zeros_like(sums.total)
    for h in range(len(of_squares)):
        rows = np.flatnonzero(stratum == h)
        first, second = sums.of_scores(rows)
        variance += of_squares[h] * second - of_sums[h] * first**2
        found = sums.inside[:, rows] @ sums.known[rows]
        people += found
        used += found > 0
    return variance, people, used


def _clustered(sums: _Sums, members: Bools, unit: Indices, stratum: Indices) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the variances (D, M), and for each domain and item (D, I) units, strata and the sum over units of (sum w)^2.

    Domains are taken one by one, each with its members only.
    """
    variance = np.full(sums.mean.shape, np.nan)
    units, used, together = (np.zeros_like(sums.total) for _ in range(3))
    of_squares, of_sums = factors_of_strata(stratum, 0.0)
    # Units of one stratum, and people of one unit, stand next to each other.
    order = np.lexsort((unit, stratum[unit]))
    for d in range(members.shape[1]):
        rows = order[members[order, d]]
        if not len(rows):
            continue
        starts = np.flatnonzero(np.diff(unit[rows], prepend=-1))
        found = stratum[unit[rows[starts]]]
        first = np.flatnonzero(np.diff(found, prepend=-1))
        weight = sums.weight[rows, None]
        answered = np.add.reduceat(sums.known[rows] * weight, starts)
        scores = np.add.reduceat(sums.values[rows] * weight, starts) - sums.mean[d] * answered[:, sums.item]
        of_stratum = np.add.reduceat(scores, first)
        total = np.where(sums.total[d] > 0, sums.total[d], np.nan)[sums.item]
        variance[d] = (of_squares[found] @ scores**2 - of_sums[found[first]] @ of_stratum**2) / total**2
        units[d] = (answered > 0).sum(axis=0)
        used[d] = (np.add.reduceat(answered, first) > 0).sum(axis=0)
        together[d] = (answered**2).sum(axis=0)
    return variance, units, used, together


def factors_of_strata(stratum: Indices, fraction: float = 0.0) -> tuple[Floats, Floats]:
    """Return the factors of the sum of squares and of the squared sum of each stratum, each of shape (strata,)."""
    units = np.bincount(stratum).astype(np.float64)
    of_squares = (1 - fraction) * np.where(units > 1, units / np.maximum(units - 1, 1), 1.0)
    return of_squares, np.where(units > 1, of_squares / np.maximum(units, 1), 0.0)
