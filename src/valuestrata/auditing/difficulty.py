"""Gaps between levels, adjusted for what makes a pair hard whoever answers it.

A model may serve a level worse because the level is hard: its answers are divided, its cells are small and their labels
often wrong, its mode is not the nation's. Any predictor would fail there. The model of `mixed` puts such covariates
beside the levels; the adjusted gap is the difference of two levels' effects at equal difficulty, in points of the metric.

=============== ========================================================================== =====
modal_share     share of the label among the subgroup's people (*)                          0..1
off_nation      1 where the label is not the nation's usual answer                          0, 1
distance        of the label to the nation's: abs(m - nation) / (K - 1), nominal 0 or 1     0..1
label_certainty chance that the label is the true mode (*)                                  0..1
entropy         entropy of the subgroup's shares / log2 K (*)                               0..1
log_n_eff       log of the effective answers                                                > 0
=============== ========================================================================== =====

The number of codes is the item's and is absorbed with it.

**Errors in covariates.** Shares come from few respondents, and the label is the largest of them: taken as they are, small cells
look clearer than they are, and slopes are too flat. (*) are therefore expectations given the data (regression calibration):
the shares of a cell are drawn toward what its levels' other cells say of the item, by a Dirichlet prior whose strength the
cells themselves show (`posterior`). If what a model answers depends linearly on a cell's true share, on whether its label is
right or on whether it is the nation's, its expected score given the data is linear in these covariates. What depends
otherwise stays in the gap, as does what the prior gets wrong.

**What size does** comes through `label_certainty`: a small cell is hard because its label may be wrong, and that differs from
item to item. `log_n_eff` itself is nearly the sum of what two levels contribute, hence cannot be told apart from them. A
covariate of which less than `LEAST_OWN` is its own beside items, strata and levels is left out, and the result says so.

Adjusting takes difficulty as given. Where a level is hard *because* models and codebooks neglect it, that is adjusted away
as well. An adjusted gap is evidence beside the raw gap and that of a cheap baseline on the same pairs, which assumes no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.auditing.errs import nation_of
from valuestrata.auditing.mixed import FLAT, Fit, columns_of, fit
from valuestrata.dataset import Dataset
from valuestrata.scores.distances import padded
from valuestrata.scores.layout import Layout
from valuestrata.scores.pairs import Floats

# In the order in which they enter: of two that tell the same, the earlier one does.
COVARIATES = ("modal_share", "off_nation", "distance", "label_certainty", "entropy", "log_n_eff")
# A covariate enters if this share of its variance within items is its own beside strata and levels (a variance inflation of 5):
# what goes with the levels can't be told from them. Covariates that go with one another do a gap no harm, up to `LEAST_NEW`.
LEAST_OWN = 0.2
LEAST_NEW = 0.02
# A variance below this is rounding.
NOTHING = 1e-12
# With fewer subgroups than this beyond what levels take up, tau2 is often estimated as 0 where it is not: coverage of .91 where
# 3 are left and subgroups differ by .08.
FEW_SUBGROUPS = 6
# An item's own spread between cells counts as that of its cells, the pooled spread of all items as that of so many more.
POOLED_CELLS = 10
# Between no prior (every cell for itself) and one that leaves a cell no say.
CONCENTRATION = (1e-3, 1e6)


@dataclass(frozen=True)
class Difficulty:
    """What makes each pair of a layout hard. C covariates, G subgroups, I items.

    Attributes:
        names: of the covariates. values: shape (C, G, I), NaN where there is no pair or it is not known.
        observed: the same from the gold as it stands, for tables.
    """

    names: Sequence[str]
    values: Floats
    observed: Floats

    def means(self, mask: NDArray[np.bool_]) -> Floats:
        """Return the mean of each observed covariate over the pairs of each subgroup in `mask` (G, I), shape (C, G); NaN without a pair."""
        number = mask.sum(axis=1)
        total = np.where(mask, self.observed, 0.0).sum(axis=2)
        return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


@dataclass(frozen=True)
class AdjustedGap:
    """Two levels of an attribute: level - against, in units of the metric; NaN where the data can't tell.

    Attributes:
        raw, raw_se, raw_p: the gap in the same model without covariates, so with the other attributes held.
        adjusted, se, df, p, low, high: with covariates; two-sided p and interval from Student's t.
        explained: raw - adjusted.
    """

    attribute: str
    level: str
    against: str
    raw: float
    raw_se: float
    raw_p: float
    adjusted: float
    se: float
    df: float
    p: float
    low: float
    high: float

    @property
    def explained(self) -> float:
        """What difficulty takes of the raw gap."""
        return self.raw - self.adjusted


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


def difficulty_of(dataset: Dataset, layout: Layout) -> Difficulty:
    """Return the covariates of a layout's pairs, from its gold and the nation's mode; NaN where the nation's is not known."""
    gold, shape = layout.gold, layout.present.shape
    cells = gold["cell"].to_numpy()
    options = gold["options"].to_numpy().astype(np.intp)
    mode, nation = layout.mode[cells], nation_of(dataset, layout).mode[cells]
    apart = np.where(layout.ordered[cells % shape[1]], np.abs(mode - nation) / (options - 1), (mode != nation).astype(np.float64))
    n_eff = gold["n_eff"].to_numpy().astype(np.float64)
    shares = padded(gold["shares"], int(options.max(initial=2)))
    rows = dataset.subgroups.join(pl.DataFrame({"subgroup": list(layout.subgroups)}), on="subgroup", how="right", maintain_order="right")
    exact, _ = columns_of([rows["stratum"].to_list(), *(rows[name].to_list() for name in dataset.attributes)])
    calibrated, certainty = np.empty_like(shares), np.empty(len(gold))
    grid, number = layout.grid(cells, shares), layout.grid(cells, n_eff)
    strengths = concentrations(grid.reshape(*shape, -1), number.reshape(shape), exact)
    for item in range(shape[1]):
        here = np.flatnonzero(cells % shape[1] == item)
        k = int(layout.options[item])
        means = strengths.fitted[cells[here] // shape[1], item, :k]
        calibrated[here], certainty[here] = 0.0, 0.0
        calibrated[here, :k], certainty[here] = posterior(shares[here, :k], n_eff[here], means, strengths.concentration[item], mode[here])
    always = {
        "off_nation": np.where(nation < 0, np.nan, (mode != nation).astype(np.float64)),
        "distance": np.where(nation < 0, np.nan, apart),
        "log_n_eff": np.log(n_eff),
    }
    pair = np.arange(len(gold))
    found = {"modal_share": calibrated[pair, mode], "label_certainty": certainty, "entropy": _bits(calibrated) / np.log2(options)}
    seen = {
        "modal_share": shares[pair, mode],
        "label_certainty": gold["ceiling_oracle"].to_numpy().astype(np.float64),
        "entropy": _bits(shares) / np.log2(options),
    }
    values, observed = (
        np.stack([layout.grid(cells, columns[name]).reshape(shape) for name in COVARIATES]) for columns in (always | found, always | seen)
    )
    return Difficulty(COVARIATES, values, observed)


@dataclass(frozen=True)
class Strengths:
    """Priors of the shares.

    Attributes:
        fitted: shape (G, I, K), what strata and levels say of each cell's shares, each at least 0, sum 1; NaN without a pair.
        concentration: shape (I,), how many answers that is worth: large where cells hardly differ beyond their levels.
    """

    fitted: Floats
    concentration: Floats


def concentrations(shares: Floats, number: Floats, exact: Floats) -> Strengths:
    """Return what levels say of each cell's shares, and what it is worth against the cell's own answers.

    Shares are fitted by strata and levels, item by item, weighted by the answers. If a cell's true shares are Dirichlet(a m) about
    the fitted m, observed ones of n answers have the variance m (1 - m) (1 / n + (1 - 1 / n) r), r = 1 / (1 + a). r of an item is the
    residual sum of squares less what noise gives, over what r = 1 would give, pooled with that of all items (`POOLED_CELLS`).

    Args:
        shares: shape (G, I, K), NaN where there is no pair, 0 behind an item's last option. number: shape (G, I), effective answers.
        exact: shape (P, G), columns of strata and levels.
    """
    items = shares.shape[1]
    fitted = np.full_like(shares, np.nan)
    above, below, free = np.zeros(items), np.zeros(items), np.zeros(items)
    for item in range(items):
        rows = np.flatnonzero(~np.isnan(number[:, item]))
        s, n = shares[rows, item], number[rows, item]
        root = np.sqrt(n)[:, None]
        basis, sizes, _ = np.linalg.svd(root * exact[:, rows].T, full_matrices=False)
        basis = basis[:, sizes > FLAT * max(float(sizes.max(initial=0.0)), NOTHING)]
        m = np.maximum(basis @ (basis.T @ (root * s)) / root, 0.0)
        m /= m.sum(axis=1, keepdims=True)
        fitted[rows, item] = m
        left = 1.0 - np.square(basis).sum(axis=1)
        spread = (m * (1 - m)).sum(axis=1)
        # Weighted residuals n (s - m)^2 have the expectation (1 - leverage) m (1 - m) (1 + (n - 1) r), leverage near enough.
        above[item] = (n * np.square(s - m).sum(axis=1)).sum() - (left * spread).sum()
        below[item] = (left * spread * np.maximum(n - 1, 0.0)).sum()
        free[item] = left.sum()
    # Where every cell is a level of its own nothing is left to tell what its levels' other cells are worth: no prior then.
    pooled = above.sum() / below.sum() if below.sum() > NOTHING and free.sum() > 1e-6 else 1.0
    own = np.divide(above, below, out=np.full(items, pooled), where=below > NOTHING)
    weight = free / (free + POOLED_CELLS)
    r = np.clip(weight * own + (1 - weight) * pooled, 1 / (1 + CONCENTRATION[1]), 1 / (1 + CONCENTRATION[0]))
    return Strengths(fitted, 1 / r - 1)


def posterior(shares: Floats, number: Floats, means: Floats, concentration: float, label: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the expected shares of N cells given their answers, (N, K), and the chance that `label` is the true mode, (N,).

    Dirichlet(a m) with n answers of shares s gives Dirichlet(a m + n s): mean (a m + n s) / (a + n). The difference of two of its
    shares p, q has the variance (p + q - (p - q)^2) / (a + n + 1); the chance is the product over the other options of the
    normal chances that the label's share is larger.

    Args:
        shares, means: shape (N, K). number: shape (N,). concentration: a. label: shape (N,), option index.
    """
    from scipy.special import ndtr

    total = (concentration + number)[:, None]
    found = (concentration * means + number[:, None] * shares) / total
    rows = np.arange(len(found))
    own = found[rows, label][:, None]
    deviation = np.sqrt(np.maximum(own + found - np.square(own - found), 0.0) / (total + 1))
    ahead = np.divide(own - found, deviation, out=np.zeros_like(found), where=deviation > 0)
    chance = ndtr(ahead)
    chance[rows, label] = 1.0
    return found, chance.prod(axis=1)


def _bits(shares: Floats) -> Floats:
    return -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)


def adjust_gaps(
    values: Floats,
    difficulty: Difficulty,
    levels: Mapping[str, Sequence[str | None]],
    strata: Sequence[str],
    *,
    redrawn: NDArray[np.floating] | None = None,
    confidence: float = 0.95,
) -> Adjustment:
    """Compare every two levels of every attribute at equal difficulty.

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
    exact, names = columns_of([strata, *levels.values()])
    plain = fit(values, exact, np.zeros((0, *values.shape)), redrawn)
    used, left_out = _entering(values, difficulty, exact)
    full = fit(values, exact, difficulty.values[used], redrawn)
    gaps: list[AdjustedGap] = []
    for place, (attribute, labels) in enumerate(levels.items(), start=1):
        for level, against in itertools.combinations(list(dict.fromkeys(label for label in labels if label is not None)), 2):
            contrast = np.zeros(len(exact) + len(used))
            contrast[names.index((place, level))], contrast[names.index((place, against))] = 1.0, -1.0
            raw, raw_se, raw_df = plain.contrast(contrast[: len(exact)])
            gap, se, df = full.contrast(contrast)
            width = _quantile((1 + confidence) / 2, df) * se
            gaps.append(
                AdjustedGap(
                    attribute, level, against, raw, raw_se, _p(raw, raw_se, raw_df), gap, se, df, _p(gap, se, df), gap - width, gap + width
                )
            )
    entered = [difficulty.names[place] for place in used]
    slopes = [full.contrast(row) for row in np.eye(len(exact) + len(used))[len(exact) :]]
    return Adjustment(
        gaps=gaps,
        covariates=entered,
        slopes=np.array([slope for slope, _, _ in slopes]),
        slope_se=np.array([se for _, se, _ in slopes]),
        left_out=left_out,
        subgroup_sd=float(np.sqrt(full.tau2)),
        residual_sd=float(np.sqrt(full.sigma2)),
        notes=_notes(full, left_out, gaps),
        pairs=full.pairs,
        items=full.items,
    )


def _entering(values: Floats, difficulty: Difficulty, exact: Floats) -> tuple[list[int], dict[str, str]]:
    """Return the places of the covariates that enter, and why the others do not."""
    mask = ~np.isnan(values)
    mask = mask & (mask.sum(axis=0) >= 2)
    number = np.maximum(mask.sum(axis=0), 1)

    def within(grid: Floats) -> Floats:
        return np.where(mask, grid - np.where(mask, grid, 0.0).sum(axis=0) / number, 0.0)[mask]

    columns = np.stack([within(np.broadcast_to(row[:, None], mask.shape)) for row in exact], axis=1)
    inverse = np.linalg.pinv(columns.T @ columns, rcond=FLAT, hermitian=True)
    used: list[int] = []
    left_out: dict[str, str] = {}
    before = np.zeros((len(columns), 0))
    for place, name in enumerate(difficulty.names):
        if not np.isfinite(difficulty.values[place][mask]).all():
            left_out[name] = "it is not known for all pairs"
            continue
        whole = within(difficulty.values[place])
        total = float(whole @ whole)
        if total <= NOTHING * len(whole):
            left_out[name] = "it does not differ between the subgroups of an item"
            continue
        own = whole - columns @ (inverse @ (columns.T @ whole))
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


def _notes(full: Fit, left_out: Mapping[str, str], gaps: Sequence[AdjustedGap]) -> list[str]:
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
