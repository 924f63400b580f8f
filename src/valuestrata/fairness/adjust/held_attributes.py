"""Gaps between levels with the other attributes held constant, and at equal difficulty.

A level may be served worse because of other attributes of its cells: where all Malays are Muslims, their gap is also that of Muslims. It
may also be hard for any predictor (`difficulty`). The model of `crossed_effects` contains strata, all attributes and, in a second fit, the
covariates of difficulty. A gap is the difference of two levels' effects, in units of the metric:

held      items, strata and the other attributes held constant
adjusted  the same, and at equal difficulty

A covariate is left out if less than `LEAST_OWN` of its variance is independent of items, strata and levels; the result says so.

Adjustment takes difficulty as given. Where a level is hard *because* models and codebooks neglect it, that is adjusted away as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from valuestrata.errors import UsageError
from valuestrata.fairness.adjust.crossed_effects import FLAT, CrossedEffectsFit, fit
from valuestrata.fairness.adjust.difficulty import Difficulty
from valuestrata.stats.arrays import Floats, Indices, Singles
from valuestrata.stats.small_area.shares import NOTHING, columns_of

# A covariate enters if this share of its variance within items is independent of strata and levels (a variance inflation of 5).
# Correlation among covariates does not harm a gap, down to a share of `LEAST_NEW`.
LEAST_OWN = 0.2
LEAST_NEW = 0.02
# With fewer residual subgroup dimensions than this, tau2 is often estimated as 0 although it is positive: coverage is .91 with 3
# dimensions and subgroups that differ by .08.
FEW_SUBGROUPS = 6


@dataclass(frozen=True)
class Sampling:
    """Sampling of the posterior of the Bayesian estimate (`bayes`).

    Attributes:
        draws, tune: kept and discarded draws per chain. chains: at least 2, to check convergence. seed: of all chains.
        target_accept: acceptance rate of the sampler, between 0 and 1; larger is slower and safer.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 2
    seed: int = 0
    target_accept: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("draws", 100), ("tune", 100), ("chains", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}; expected at least {least}.")
        if not 0 < self.target_accept < 1:
            raise UsageError(f"target_accept={self.target_accept}; expected a share between 0 and 1, such as 0.9.")


@dataclass(frozen=True)
class AdjustedGap:
    """The difference level - against of an attribute, in units of the metric; NaN where it cannot be estimated.

    Attributes:
        held, held_se, held_p, held_low, held_high: with the other attributes held constant.
        adjusted, se, df, p, low, high: also at equal difficulty; two-sided p-value and interval from Student's t.
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
        """The part of the held gap that difficulty explains."""
        return self.held - self.adjusted


@dataclass(frozen=True)
class Adjustment:
    """All gaps of one run and metric, with the fitted model.

    Attributes:
        gaps: every pair of levels of every attribute.
        covariates: those in the model. slopes, slope_se: shape (C',), change of the metric per unit. left_out: covariate -> reason.
        subgroup_sd, residual_sd: standard deviations of the subgroup effects and of the residual.
        notes: caveats, in sentences. pairs, items: sample sizes.
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
    """The design of the model of a metric. G subgroups, I items, P columns, C' covariates.

    Attributes:
        values: the metric, shape (G, I). levels: attribute -> level of each subgroup.
        columns: shape (P, G), one per stratum and level. names: of each, (0 for strata or number of the attribute from 1, label).
        covariates: shape (C', G, I). entered: their names. left_out: covariate -> reason.
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
        """Number of columns and covariates."""
        return len(self.columns) + len(self.covariates)

    def contrasts(self) -> Iterator[tuple[str, str, str, Floats]]:
        """Yield attribute, level, against and the contrast of coefficients, shape (P + C',), for every pair of levels."""
        for place, (attribute, labels) in enumerate(self.levels.items(), start=1):
            for level, against in itertools.combinations(list(dict.fromkeys(label for label in labels if label is not None)), 2):
                contrast = np.zeros(self.width)
                contrast[self.names.index((place, level))], contrast[self.names.index((place, against))] = 1.0, -1.0
                yield attribute, level, against, contrast


def design_of(values: Floats, difficulty: Difficulty, levels: Mapping[str, Sequence[str | None]], strata: Sequence[str]) -> Design:
    """Return the design; arguments as for `adjust_gaps`."""
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
    blocks: Indices | None = None,
    confidence: float = 0.95,
) -> Adjustment:
    """Compare every two levels of every attribute with the other attributes held constant, and at equal difficulty.

    One model holds all attributes; only differences within an item count. Standard errors cover other blocks of items, other subgroups of
    a level where it has several, and, with redraws, other respondents.

    Args:
        values: the metric of each pair, shape (G, I), NaN for missing pairs.
        difficulty: covariates of the same pairs; those unknown for some pair are left out.
        levels: attribute -> level of each of the G subgroups, None where its stratum does not use the attribute.
        strata: stratum of each subgroup.
        redrawn: the metric in redraws of the respondents, shape (D, G, I); None leaves out label noise beyond items.
        blocks: shape (I,), the block of each item; each item by itself if None.
        confidence: of the intervals.

    Raises:
        UsageError: fewer than two items with two subgroups.
    """
    design = design_of(values, difficulty, levels, strata)
    number = len(design.columns)
    plain = fit(values, design.columns, np.zeros((0, *values.shape)), redrawn, blocks)
    full = fit(values, design.columns, design.covariates, redrawn, blocks) if design.entered else plain
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
    """Return the positions of the covariates that enter, and the reasons why others do not."""
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
            left_out[name] = "it is unknown for some pairs"
            continue
        whole = within(difficulty.values[place])
        total = float(whole @ whole)
        if total <= NOTHING * len(whole):
            left_out[name] = "it does not differ between the subgroups of an item"
            continue
        own = whole - exact @ (inverse @ (exact.T @ whole))
        share = float(own @ own) / total
        if share < LEAST_OWN:
            left_out[name] = f"the levels explain {1 - share:.0%} of its variance"
            continue
        rest = own - before @ (before.T @ own)
        if float(rest @ rest) < LEAST_NEW * total:
            left_out[name] = f"{', '.join(difficulty.names[at] for at in used)} hold the same information"
            continue
        used.append(place)
        before = np.concatenate([before, rest[:, None] / np.linalg.norm(rest)], axis=1)
    return used, left_out


def notes_of(full: CrossedEffectsFit, left_out: Mapping[str, str], gaps: Sequence[AdjustedGap]) -> list[str]:
    """Return the caveats of the gaps, in sentences."""
    notes = [f"{name} is not adjusted for: {reason}." for name, reason in left_out.items()]
    if full.groups_free == 0:
        notes.append("Each level is one subgroup, so standard errors do not cover differences between subgroups of a level.")
    elif full.groups_free < FEW_SUBGROUPS:
        notes.append(f"Differences between subgroups of a level rest on {full.groups_free} degrees of freedom; intervals may be too short.")
    if any(np.isnan(gap.adjusted) for gap in gaps):
        notes.append("Some levels share no items with others, directly or through other levels; their gaps are null.")
    return notes


def _p(value: float, se: float, df: float) -> float:
    """Return the two-sided p-value of Student's t; NaN without a standard error."""
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(value) / se)) if se > 0 else np.nan


def _quantile(share: float, df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, share)) if df > 0 else np.nan
