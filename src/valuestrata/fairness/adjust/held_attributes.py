"""Gaps between levels with the other attributes held, and at equal difficulty as well.

A level may seem to be served worse because of the company its cells keep: where all Malays are Muslims, their gap is that of
the Muslims, too. And it may be hard for any predictor (`difficulty`). The model of `mixed` puts strata, all attributes and, in
a second fit, the covariates of difficulty side by side; a gap is the difference of two levels' effects, in points of the metric:

held      with items, strata and the other attributes held
adjusted  with these held, between cells of equal difficulty

A covariate of which less than `LEAST_OWN` is its own beside items, strata and levels is left out, and the result says so.

Adjusting takes difficulty as given. Where a level is hard *because* models and codebooks neglect it, that is adjusted away
as well. An adjusted gap is evidence beside the raw gap and that of a cheap baseline on the same pairs, which assumes no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from valuestrata.errors import UsageError
from valuestrata.fairness.adjust.crossed_effects import FLAT, CrossedEffectsFit, columns_of, fit
from valuestrata.fairness.adjust.difficulty import NOTHING, Difficulty
from valuestrata.stats.arrays import Floats, Singles

# A covariate enters if this share of its variance within items is its own beside strata and levels (a variance inflation of 5):
# what goes with the levels can't be told from them. Covariates that go with one another do a gap no harm, up to `LEAST_NEW`.
LEAST_OWN = 0.2
LEAST_NEW = 0.02
# With fewer subgroups than this beyond what levels take up, tau2 is often estimated as 0 where it is not: coverage of .91 where
# 3 are left and subgroups differ by .08.
FEW_SUBGROUPS = 6


@dataclass(frozen=True)
class Sampling:
    """How the posterior of the Bayesian estimate is drawn (`bayes`).

    Attributes:
        draws, tune: kept and discarded ones of each chain. chains: at least 2, so that convergence can be seen. seed: of all of them.
        target_accept: of the sampler's steps, between 0 and 1: larger is slower and safer.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 2
    seed: int = 0
    target_accept: float = 0.9

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, least in (("draws", 100), ("tune", 100), ("chains", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}; expected at least {least}.")
        if not 0 < self.target_accept < 1:
            raise UsageError(f"target_accept={self.target_accept}; expected a share between 0 and 1, such as 0.9.")


@dataclass(frozen=True)
class AdjustedGap:
    """Two levels of an attribute: level - against, in units of the metric; NaN where the data can't tell.

    Attributes:
        held, held_se, held_p, held_low, held_high: with the other attributes held.
        adjusted, se, df, p, low, high: at equal difficulty, too; two-sided p and interval from Student's t.
    """

    attribute: str
    level: str
    against: str
    held: float
    held_se: float
    held_p: float
    held_low: float
    held_high: float
    adjusted: float
    se: float
    df: float
    p: float
    low: float
    high: float

    @property
    def explained(self) -> float:
        """What difficulty takes of the gap with the other attributes held."""
        return self.held - self.adjusted


@dataclass(frozen=True)
class Adjustment:
    """All gaps of a run by one metric, with the model behind them.

    Attributes:
        gaps: every pair of levels of every attribute.
        covariates: that entered. slopes, slope_se: shape (C',), change of the metric for a change of 1.
        left_out: covariates left out, with the reason.
        subgroup_sd, residual_sd: of subgroup effects beside levels, and of what is left.
        notes: what a reader must know, in sentences.
        pairs, items: behind it.
    """

    gaps: Sequence[AdjustedGap]
    covariates: Sequence[str]
    slopes: Floats
    slope_se: Floats
    left_out: Mapping[str, str]
    subgroup_sd: float
    residual_sd: float
    notes: Sequence[str]
    pairs: int
    items: int


@dataclass(frozen=True)
class Design:
    """What enters the model of a metric. G subgroups, I items, P columns, C' covariates.

    Attributes:
        values: the metric, shape (G, I). levels: attribute -> level of each subgroup.
        columns: shape (P, G), a column a stratum and a level. names: (0 for strata or place of the attribute from 1, label) of each.
        covariates: shape (C', G, I). entered: their names. left_out: those that do not enter, with the reason.
    """

    values: Floats
    levels: Mapping[str, Sequence[str | None]]
    columns: Floats
    names: Sequence[tuple[int, str]]
    covariates: Floats
    entered: Sequence[str]
    left_out: Mapping[str, str]

    @cached_property
    def width(self) -> int:
        """Columns and covariates."""
        return len(self.columns) + len(self.covariates)

    def contrasts(self) -> Iterator[tuple[str, str, str, Floats]]:
        """Yield attribute, level, against and the contrast of the coefficients, shape (P + C',), of every pair of levels."""
        for place, (attribute, labels) in enumerate(self.levels.items(), start=1):
            for level, against in itertools.combinations(list(dict.fromkeys(label for label in labels if label is not None)), 2):
                contrast = np.zeros(self.width)
                contrast[self.names.index((place, level))], contrast[self.names.index((place, against))] = 1.0, -1.0
                yield attribute, level, against, contrast


def design_of(values: Floats, difficulty: Difficulty, levels: Mapping[str, Sequence[str | None]], strata: Sequence[str]) -> Design:
    """Return what enters the model; arguments as for `adjust_gaps`."""
    columns, names = columns_of([strata, *levels.values()])
    used, left_out = _entering(values, difficulty, columns)
    return Design(values, levels, columns, names, difficulty.values[used], [difficulty.names[place] for place in used], left_out)


def adjust_gaps(
    values: Floats,
    difficulty: Difficulty,
    levels: Mapping[str, Sequence[str | None]],
    strata: Sequence[str],
    *,
    redrawn: Singles | None = None,
    confidence: float = 0.95,
) -> Adjustment:
    """Compare every two levels of every attribute with the others held, and at equal difficulty as well.

    All attributes stand in one model, so that each gap holds the others, the stratum and the item. Only differences within
    an item enter. A gap's standard error covers other items, subgroups beside those at hand where a level has several,
    and, with redraws, other respondents.

    Args:
        values: the metric of each pair, shape (G, I), NaN for pairs left out.
        difficulty: covariates of the same pairs; one that is not known for all of them does not enter.
        levels: attribute -> level of each of the G subgroups, None where its stratum does not use the attribute.
        strata: stratum of each subgroup.
        redrawn: the metric in redraws of the respondents, shape (D, G, I). None: labels' noise beyond items does not enter.
        confidence: of the intervals.

    Raises:
        UsageError: fewer than two items with two subgroups.
    """
    design = design_of(values, difficulty, levels, strata)
    number = len(design.columns)
    plain = fit(values, design.columns, np.zeros((0, *values.shape)), redrawn)
    full = fit(values, design.columns, design.covariates, redrawn) if design.entered else plain
    gaps: list[AdjustedGap] = []
    for *names, contrast in design.contrasts():
        held, held_se, held_df = plain.contrast(contrast[:number])
        gap, se, df = full.contrast(contrast)
        held_width, width = (_quantile((1 + confidence) / 2, free) * error for free, error in ((held_df, held_se), (df, se)))
        gaps.append(
            AdjustedGap(
                *names,
                held=held,
                held_se=held_se,
                held_p=_p(held, held_se, held_df),
                held_low=held - held_width,
                held_high=held + held_width,
                adjusted=gap,
                se=se,
                df=df,
                p=_p(gap, se, df),
                low=gap - width,
                high=gap + width,
            )
        )
    slopes = [full.contrast(row) for row in np.eye(design.width)[number:]]
    return Adjustment(
        gaps=gaps,
        covariates=design.entered,
        slopes=np.array([slope for slope, _, _ in slopes]),
        slope_se=np.array([se for _, se, _ in slopes]),
        left_out=design.left_out,
        subgroup_sd=float(np.sqrt(full.tau2)),
        residual_sd=float(np.sqrt(full.sigma2)),
        notes=notes_of(full, design.left_out, gaps),
        pairs=full.pairs,
        items=full.items,
    )


def _entering(values: Floats, difficulty: Difficulty, columns: Floats) -> tuple[list[int], dict[str, str]]:
    """Return the places of the covariates that enter, and why the others do not."""
    mask = ~np.isnan(values)
    mask = mask & (mask.sum(axis=0) >= 2)
    number = np.maximum(mask.sum(axis=0), 1)

    def within(grid: Floats) -> Floats:
        return np.where(mask, grid - np.where(mask, grid, 0.0).sum(axis=0) / number, 0.0)[mask]

    exact = np.stack([within(np.broadcast_to(row[:, None], mask.shape)) for row in columns], axis=1)
    inverse = np.linalg.pinv(exact.T @ exact, rcond=FLAT, hermitian=True)
    used: list[int] = []
    left_out: dict[str, str] = {}
    before = np.zeros((len(exact), 0))
    for place, name in enumerate(difficulty.names):
        if not np.isfinite(difficulty.values[place][mask]).all():
            left_out[name] = "it is not known for all pairs"
            continue
        whole = within(difficulty.values[place])
        total = float(whole @ whole)
        if total <= NOTHING * len(whole):
            left_out[name] = "it does not differ between the subgroups of an item"
            continue
        own = whole - exact @ (inverse @ (exact.T @ whole))
        share = float(own @ own) / total
        if share < LEAST_OWN:
            left_out[name] = f"{1 - share:.0%} of its variance goes with the levels"
            continue
        rest = own - before @ (before.T @ own)
        if float(rest @ rest) < LEAST_NEW * total:
            left_out[name] = f"{', '.join(difficulty.names[at] for at in used)} tell the same"
            continue
        used.append(place)
        before = np.concatenate([before, rest[:, None] / np.linalg.norm(rest)], axis=1)
    return used, left_out


def notes_of(full: CrossedEffectsFit, left_out: Mapping[str, str], gaps: Sequence[AdjustedGap]) -> list[str]:
    """Return what a reader of the gaps must know, in sentences."""
    notes = [f"{name} is not adjusted for: {reason}." for name, reason in left_out.items()]
    if full.groups_free == 0:
        notes.append("Each level is one subgroup: that other subgroups of the level may differ is not in the standard errors.")
    elif full.groups_free < FEW_SUBGROUPS:
        notes.append(
            f"How far subgroups of one level differ is seen in {full.groups_free} of them only: if they do, intervals are too short."
        )
    if any(np.isnan(gap.adjusted) for gap in gaps):
        notes.append("Some levels have no pair in common with others, directly or through other levels: their gaps are null.")
    return notes


def _p(value: float, se: float, df: float) -> float:
    """Return the two-sided p of Student's t; NaN where nothing is known of the spread."""
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(value) / se)) if se > 0 else np.nan


def _quantile(share: float, df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, share)) if df > 0 else np.nan
