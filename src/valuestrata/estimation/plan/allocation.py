"""How many people to interview in each planning cell.

A planning cell is a combination of the levels of the attributes that the goals name. With n_c interviews in cell c, everyone's weight is
the cell's share of the population W_c divided by n_c. A weighted mean over subgroup g, in which V is the variance of an answer, has the
variance

    V A_g,   A_g = sum_c a_gc / n_c,   a_gc = s_gc W_c / S_g^2,

with s_gc the population's share in both g and c, and S_g that in g. 1 / A_g is the effective number of interviews of g: the expected
number over Kish's design effect of the weights (Kish 1965, Survey Sampling, 11.7). The least interviews with A_g <= limit_g are a
convex problem. Its optimum is n_c = sqrt(sum_g m_g a_gc / cost_c) with a multiplier m_g >= 0 for each subgroup (Chatterjee 1968,
Communications in Statistics 18:81-95; Huddleston, Claypool and Hocking 1970, Applied Statistics 19:273-278), which is solved in the dual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.estimation.inputs import PopulationCells
from valuestrata.stats.arrays import NEGLIGIBLE, Floats, Indices

# Bankier's power of the cells' sizes: between equal numbers (0) and Neyman's allocation for the population (1).
POWER = 0.5
# Relative excess over a limit that is rounding.
ROUNDING = 1e-9
# Half-widths are at most this many times the goal.
LARGEST_SCALE = 1e3


@dataclass(frozen=True)
class PlanningCells:
    """The C planning cells of a population.

    Attributes:
        names: ids of the cells, such as `sex_x_age_Female_16-24-years`.
        cell_of: shape (J,), cell of each joint cell; -1 without population.
        share: shape (C,), share of the population. factors: shape (G, C), a_gc of the module, 0 for a subgroup without population.
    """

    names: tuple[str, ...]
    cell_of: Indices
    share: Floats
    factors: Floats


def planning_cells(population: PopulationCells, subgroups: Indices) -> PlanningCells:
    """Return the crossing of the attributes of the strata of `subgroups`, an unknown level being a level of its own."""
    used = _used_attributes(population, subgroups)
    live = np.flatnonzero(population.share > 0)
    levels, place = np.unique(population.levels[live][:, used], axis=0, return_inverse=True)
    cell_of = np.full(len(population.share), -1, dtype=np.intp)
    cell_of[live] = place.reshape(-1)
    mass = np.zeros((len(population.subgroups), len(levels)))
    np.add.at(mass.T, cell_of[live], (population.inside[:, live] * population.share[live]).T)
    share = np.bincount(cell_of[live], population.share[live], len(levels)).astype(np.float64)
    sizes = np.square(mass.sum(axis=1, keepdims=True))
    factors = np.divide(mass * share, sizes, out=np.zeros_like(mass), where=sizes > 0)
    stratum = "_x_".join(population.attributes[a] for a in used)
    names = ["_".join([stratum, *_labels(population, used, row)]).replace(" ", "-") if used else "all" for row in levels]
    return PlanningCells(tuple(names), cell_of, share, factors)


def _labels(population: PopulationCells, attributes: Sequence[int], levels: Indices) -> list[str]:
    return [population.labels[a][level] if level >= 0 else "unknown" for a, level in zip(attributes, levels, strict=True)]


def _used_attributes(population: PopulationCells, subgroups: Indices) -> list[int]:
    """Return the attributes of the strata of `subgroups`: those of which every subgroup of the stratum has a single level."""
    used: set[int] = set()
    strata = np.array(population.strata)
    for stratum in {population.strata[g] for g in subgroups} - {population.strata[0]}:
        cells = [np.flatnonzero(population.inside[g]) for g in np.flatnonzero(strata == stratum)]
        for a in range(len(population.attributes)):
            if all(len(np.unique(population.levels[inside, a])) <= 1 for inside in cells):
                used.add(a)
    return sorted(used)


def least_interviews(factors: Floats, limit: Floats, least: Floats, most: Floats, cost: Floats) -> Floats | None:
    """Return the interviews (C,) of least cost with sum_c factors / n <= limit, as real numbers; None if `most` are too few.

    Args:
        factors: shape (R, C), at least 0. limit: shape (R,), positive, may be infinite. least, most: shape (C,), bounds, least > 0.
        cost: shape (C,), of an interview.
    """
    from scipy.optimize import minimize

    bound = np.isfinite(limit)
    needed = factors[bound] / limit[bound, None]
    if (needed @ (1 / most) > 1 + ROUNDING).any():
        return None
    needed = needed[needed @ (1 / least) > 1]
    if not len(needed):
        return least.astype(np.float64)
    # Multiplier of each subgroup if it were alone.
    alone = np.square(np.sqrt(needed * cost).sum(axis=1))

    def interviews(multiplier: Floats) -> Floats:
        return np.clip(np.sqrt((multiplier * alone) @ needed / cost), least, most)

    def dual(multiplier: Floats) -> tuple[float, Floats]:
        found = interviews(multiplier)
        used = needed @ (1 / found) - 1
        return -float(cost @ found + (multiplier * alone) @ used) / scale, -alone * used / scale

    scale = float(alone.max())
    start = np.full(len(needed), 1 / len(needed))
    best = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(needed), options={"maxiter": 2000, "ftol": 1e-14})
    return _enough(interviews(np.asarray(best.x, dtype=np.float64)), needed, least, most)


def _enough(found: Floats, needed: Floats, least: Floats, most: Floats) -> Floats:
    """Return interviews raised by the smallest common factor that meets every limit, within the bounds."""
    low, high = 1.0, 1.0
    while (needed @ (1 / np.clip(found * high, least, most)) > 1 + ROUNDING).any() and high < 1e6:
        high *= 2
    for _ in range(50 if high > 1 else 0):
        middle = (low + high) / 2
        if (needed @ (1 / np.clip(found * middle, least, most)) > 1 + ROUNDING).any():
            low = middle
        else:
            high = middle
    return np.clip(found * high, least, most)


def whole_interviews(found: Floats, factors: Floats, limit: Floats, least: Floats, most: Floats, cost: Floats) -> Indices:
    """Return whole numbers of interviews near `found` that meet every limit: floors, then raised where that helps most for its cost."""
    bound = np.isfinite(limit)
    needed = factors[bound] / limit[bound, None]
    number = np.clip(np.floor(found + 1e-6), np.ceil(least), np.floor(most))
    while len(needed):
        excess = np.maximum(needed @ (1 / number) - 1 - ROUNDING, 0.0)
        open_cells = number < np.floor(most)
        if not (excess > 0).any() or not open_cells.any():
            break
        drop = needed * (1 / number - 1 / (number + 1))
        gain = np.where(open_cells, np.minimum(drop, excess[:, None]).sum(axis=0) / cost, 0.0)
        if gain.max() <= 0:
            break
        number[int(gain.argmax())] += 1
    for cell in np.argsort(-cost, kind="stable"):
        fewer = number.copy()
        fewer[cell] -= 1
        if fewer[cell] >= np.ceil(least[cell]) and not (needed @ (1 / fewer) > 1 + ROUNDING).any():
            number = fewer
    return number.astype(np.intp)


def power_allocation(
    budget: float, share: Floats, spread: Floats, least: Floats, most: Floats, cost: Floats, power: float = POWER
) -> Floats:
    """Return interviews max(least, k W^power S / sqrt(cost)) that cost the budget, at most `most`.

    With power 1 that is Neyman's allocation (Neyman 1934, Journal of the Royal Statistical Society 97:558-625) for the population, with
    less a compromise between the population and its cells (Bankier 1988, The American Statistician 42:174-177).

    Args:
        share: shape (C,), W. spread: shape (C,), S, standard deviation of an answer in a cell.
    """
    size = share**power * spread / np.sqrt(cost)
    spent = float(cost @ np.minimum(least, most))
    if spent >= budget or not (size > 0).any():
        return np.minimum(least, most)
    high = 1.0
    while cost @ np.clip(high * size, least, most) < budget and high < 1e15:
        high *= 2
    low = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        if cost @ np.clip(middle * size, least, most) > budget:
            high = middle
        else:
            low = middle
    return np.clip(low * size, least, most)


def rounded_within(found: Floats, budget: float, least: Indices, most: Floats, cost: Floats) -> Indices:
    """Round interviews to whole numbers that cost at most the budget: down to `least` or more, then up by the largest remainders."""
    number = np.maximum(np.floor(found + 1e-9), least)
    for cell in np.argsort(number - found, kind="stable"):
        if number[cell] < found[cell] - NEGLIGIBLE and number[cell] + 1 <= most[cell] and cost @ number + cost[cell] <= budget + ROUNDING:
            number[cell] += 1
    return number.astype(np.intp)


def reached_scale(needed: Callable[[float], float], budget: float) -> float:
    """Return the least multiple (1 or more) of all half-widths whose interviews cost at most the budget, inf beyond LARGEST_SCALE.

    Args:
        needed: cost of the interviews at a multiple, decreasing; infinite if the population is too small.
    """
    low = high = 1.0
    while needed(high) > budget:
        if high >= LARGEST_SCALE:
            return np.inf
        low, high = high, high * 2
    for _ in range(40 if high > 1 else 0):
        middle = float(np.sqrt(low * high))
        if needed(middle) > budget:
            low = middle
        else:
            high = middle
    return high
