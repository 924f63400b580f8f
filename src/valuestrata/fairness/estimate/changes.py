"""Changes of a run against another on common pairs: outcomes, and spreads before and after.

Changes are paired: the same items and the same redraws. Both absolute spreads (sd, max_min) and relative ones (cv, norm_range) are given,
because they can move in opposite directions: if all distances halve, absolute spreads halve and relative ones stay. Plain spreads contain
noise before and after; `variance_corrected` does not.

**Levelling down**: the range fell, and the best-served before lost beyond noise.
**Pareto**: who gained and who lost (Holm over the subgroups, or over the levels of all attributes). That nobody lost is a claim of its
own: each unit must be shown not to be worse by more than a margin (non-inferiority).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valuestrata.fairness.estimate.disparity import measures
from valuestrata.stats.arrays import Floats
from valuestrata.stats.bootstrap import Replicates
from valuestrata.stats.intervals import MarginTest

SPREADS = ("sd", "norm_range", "cv", "max_min", "theil", "gini")
# Spreads in units of the metric, and relative to its level.
ABSOLUTE, RELATIVE = ("sd", "max_min"), ("cv", "norm_range")


@dataclass(frozen=True)
class SpreadChange:
    """A spread before and after.

    Attributes:
        before, after: the measure. replicates: of the change, one column.
    """

    before: float
    after: float
    replicates: Replicates


def spread_changes(before: Replicates, after: Replicates, corrected: tuple[float, float]) -> dict[str, SpreadChange]:
    """Return the change of every spread over U units, with replicates centred on it.

    Where blocks are resampled, the unit with the fewest decides the degrees of freedom.

    Args:
        before, after: replicates of the units' scores. corrected: the corrected variance before and after.
    """
    old, new = measures(before.estimate), measures(after.estimate)
    old_drawn, new_drawn = measures(before.values), measures(after.values)
    found: dict[str, SpreadChange] = {}
    blocks = np.nan
    if before.blocks is not None and not np.isnan(before.blocks).all():
        blocks = float(np.nanmin(before.blocks))
    for name in SPREADS:
        found[name] = _change(float(old[name]), float(new[name]), new_drawn[name] - old_drawn[name], blocks)
    known = ~np.isnan(before.estimate) & ~np.isnan(after.estimate)
    drawn = np.full(len(before.values), np.nan)
    if known.sum() > 1:
        drawn = after.values[:, known].var(axis=1, ddof=1) - before.values[:, known].var(axis=1, ddof=1)
    found["variance_corrected"] = _change(*corrected, drawn, blocks)
    return found


def _change(before: float, after: float, drawn: Floats, blocks: float) -> SpreadChange:
    known = drawn[~np.isnan(drawn)]
    values = after - before + drawn - (known.mean() if len(known) else 0.0)
    estimate = np.array([after - before])
    freedom = None if np.isnan(blocks) else np.array([max(blocks - 1.0, 1.0)])
    resampled = None if np.isnan(blocks) else np.array([blocks])
    return SpreadChange(before, after, Replicates(estimate, values[:, None], np.ones(1), np.array([len(known) > 1]), freedom, resampled))


def outcome(change: float, p: float, sign: int, alpha: float, words: tuple[str, str] = ("better", "worse")) -> str | None:
    """Return `words[0]` for a significant positive sign * change, `words[1]` for a negative one, else `not shown`; None without p."""
    if np.isnan(p) or np.isnan(change):
        return None
    if p > alpha or change == 0:
        return "not shown"
    return words[0] if sign * change > 0 else words[1]


def limits(test: MarginTest, sign: int, alpha: float) -> str | None:
    """Return what a change is shown not to be: `within` the margin, `not worse` or `not better` by more than it; None for neither.

    Args:
        test: of the change. sign: +1 where high is better. alpha: level of each one-sided test.
    """
    above, below = (test.above, test.below) if sign > 0 else (test.below, test.above)
    shown = (above <= alpha, below <= alpha)
    return {(True, True): "within", (True, False): "not worse", (False, True): "not better"}.get(shown)


def pareto(outcomes: Sequence[str | None], bounds: Sequence[str | None], what: str) -> str:
    """Return in words who gained and who lost.

    "Worse for none" is an intersection-union test: all units must be shown not to be worse by more than the margin, each at level alpha.
    No correction for their number is needed, because the statement is false only if it is false of some unit, and that unit alone passes
    with probability alpha (Berger 1982, Technometrics). The same holds for "better for none" and "no change".

    Args:
        outcomes: of each unit, from `outcome`. bounds: of each unit, from `limits`. what: plural name of the units.
    """
    known = [one for one in outcomes if one is not None]
    gained, lost = known.count("better"), known.count("worse")
    if not known:
        return f"unknown for all {what}"
    rest = [bound for one, bound in zip(outcomes, bounds, strict=True) if one in ("not shown", None)]
    none_worse, none_better = ({"within", word}.issuperset(rest) for word in ("not worse", "not better"))
    within = sum(one == "not shown" and bound == "within" for one, bound in zip(outcomes, bounds, strict=True))
    counts = f"{gained} gained, {lost} lost, {within} within the margin, {len(known) - gained - lost - within} not shown"
    if gained == len(known):
        head = "better for all"
    elif lost == len(known):
        head = "worse for all"
    elif gained and lost:
        head = "better for some, worse for others"
    elif gained:
        head = "better for some, worse for none" if none_worse else "better for some, losses not excluded"
    elif lost:
        head = "worse for some, better for none" if none_better else "worse for some, gains not excluded"
    elif none_worse:
        head = "no change" if none_better else "worse for none, gains not shown"
    else:
        head = "no change shown"
    return f"{head}: {counts}, of {len(known)} {what}"


def levelled_down(before: Floats, change: Floats, shown: Sequence[str | None], sign: int) -> bool | None:
    """Return whether the range fell and the best-served before lost beyond noise; None with fewer than two units.

    Args:
        before: scores of the units, shape (U,). change: their change. shown: outcome of each. sign: +1 where high is better.
    """
    known = np.flatnonzero(~np.isnan(before) & ~np.isnan(change))
    if len(known) < 2:
        return None
    after = before[known] + change[known]
    fell = np.ptp(after) < np.ptp(before[known]) - 1e-12
    best = known[int(np.argmax(sign * before[known]))]
    return bool(fell and shown[best] == "worse")


def directions_differ(changes: dict[str, SpreadChange]) -> str | None:
    """Return a note where absolute and relative spread moved in opposite directions, else None."""
    absolute, relative = (changes[name].after - changes[name].before for name in ("sd", "cv"))
    if np.isnan(absolute) or np.isnan(relative) or absolute * relative >= 0:
        return None
    return f"absolute spread {'fell' if absolute < 0 else 'rose'}, relative spread {'rose' if absolute < 0 else 'fell'}"
