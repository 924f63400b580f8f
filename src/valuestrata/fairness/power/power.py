"""Power of an audit from the survey alone, before a model is asked.

The assumed model (`expected_model`) is equally good everywhere, except for the level or subgroup served worse, whose scores vary as those
of a model that is worse by `effect`. Standard errors are estimated from the items, as in the audit: a test statistic is divided by the
root of a chi-square over its degrees of freedom and compared with Student's t.

**Levels.** level - against on common items, two-sided, Holm over all gaps of the metric, as in the audit. `power` is the probability to
claim the gap where one level is `effect` below all others of its attribute, from `SIMULATIONS` joint normal draws, because Holm's later
steps depend on the other gaps. `power_alone` is that of this gap as a single declared test.
**Subgroups.** Subgroup minus the rest of its
stratum, one-sided, max-T over all subgroups of the part, as in the audit. `detectable` is the gap found with probability `TARGET`; for
levels at Holm's first step, a conservative value.

A model whose answers hardly differ between subgroups has less noise and finds smaller gaps; one that fails by topic has more. Answers
sampled several times have less noise. Scores near 0 or 1 vary less than those near .5.

**Blocks.** Where the survey names blocks of items, the audit resamples and permutes these, and a model that serves a subgroup better on
one block than on another makes gaps harder to show. How much models differ by block is unknown before one is asked: `BLOCK_SD` is
assumed, or the argument `block_sd`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import CROSSFIT, DISJOINT, Dataset, base_of
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.fairness.context import refuse_without_subgroups
from valuestrata.fairness.power.expected_model import BlockEffects, Expectation, covariances, expectation_of, freedom
from valuestrata.formatting import number
from valuestrata.frames import Column, Schema
from valuestrata.scores.layout import Layout, lay_out
from valuestrata.stats.arrays import Floats, generator
from valuestrata.stats.blocks import ENOUGH_BLOCKS, effective_blocks

# Default expected scores: near the worst case of an accuracy, and a usual NMAE.
EXPECTED: Mapping[str, float] = {"accuracy": 0.6, "nmae": 0.2}
# Probability with which the detectable gap is found.
TARGET = 0.8
# Assumed standard deviation of a subgroup's expected score between blocks of items.
BLOCK_SD = 0.05
# Joint draws behind a power: its standard error is at most .005.
SIMULATIONS = 10_000

POWER = Schema(
    "power",
    {
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "metric": Column(pl.String, "accuracy or nmae"),
        "expected": Column(pl.Float64, "mean score the plan assumes"),
        "by": Column(pl.String, "level: against another level; subgroup: against the rest of its stratum"),
        "attribute": Column(pl.String, "attribute, or the stratum of the subgroup"),
        "level": Column(pl.String, "the level or subgroup served worse"),
        "against": Column(pl.String, "the other level, or `the rest`"),
        "items": Column(pl.Int64, "items both have, after `items`"),
        "pairs": Column(pl.Int64, "pairs of both on them; of a subgroup, its own"),
        "se": Column(pl.Float64, "standard error of the gap where all are served alike"),
        "effect": Column(pl.Float64, "gap asked about"),
        "power": Column(pl.Float64, "chance to claim it among all gaps that the audit looks at"),
        "power_alone": Column(pl.Float64, "chance if it were the only one"),
        "detectable": Column(pl.Float64, "gap found with chance .8 among all"),
        "expected_alike": Column(pl.Float64, "mean absolute gap that noise alone gives"),
        "family": Column(pl.Int64, "gaps tested together"),
        "note": Column(pl.String, "why a number is missing or needs care, or null"),
    },
)


def power(
    dataset: Dataset,
    *,
    items: int | None = None,
    effect: float = 0.05,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    alpha: float = 0.05,
    metric: str = "accuracy",
    expected: float | None = None,
    block_sd: float = BLOCK_SD,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the gaps between levels, and of subgroups to the rest, that an audit could detect.

    Args:
        dataset: the ground truth; no run is needed.
        items: how many items will be asked, drawn at random from those of the part; None for all.
        effect: gap asked about, in units of the metric.
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        alpha: level of the claims.
        metric: accuracy or nmae.
        expected: mean score of the model, see EXPECTED.
        block_sd: standard deviation of a subgroup's expected score between blocks of items, where the survey names these.
        seed: of the simulation.

    Returns:
        POWER: every ordered pair of levels of each attribute, then every subgroup.

    Raises:
        UsageError: an argument out of its range, an unknown metric, or an expected score that no such model has.
        InputDataError: no such split, or no pair in the part.
    """
    if metric not in EXPECTED:
        raise UsageError(f"metric={metric!r}: power is available for {' and '.join(EXPECTED)}.{did_you_mean(metric, EXPECTED)}")
    if not 0 < effect < 1:
        raise UsageError(f"effect={effect}; expected a gap between 0 and 1, such as 0.05.")
    if not 0 < alpha < 1:
        raise UsageError(f"alpha={alpha}; expected a level between 0 and 1, such as 0.05.")
    if not 0 <= block_sd < 0.5:
        raise UsageError(f"block_sd={block_sd}; expected a standard deviation of at least 0 and below 0.5, such as {BLOCK_SD}.")
    refuse_without_subgroups(dataset)
    # Both directions of cross-fitting ask the same questions: the power of one is a lower bound.
    laid_out = base_of(split) + DISJOINT if split.endswith(CROSSFIT) and fold is None else split
    layout = lay_out(dataset, laid_out, part, fold, ("all",))
    present = layout.present & (np.ones(len(layout.items), dtype=np.bool_) if metric == "accuracy" else layout.ordered)
    available = int(present.any(axis=0).sum())
    if available == 0:
        where = dataset.path or "the data set"
        raise InputDataError(f"{where}: all items of the part {part!r} are nominal, and {metric} is not defined for them.")
    if items is not None and not 2 <= items <= available:
        raise UsageError(f"items={items}; expected 2 to {available}, the items of the part {part!r} that have {metric}.")
    share = 1.0 if items is None else items / available
    assumed = EXPECTED[metric] if expected is None else expected
    expectation = expectation_of(layout, present, metric, assumed)
    subgroups = dataset.subgroups.join(pl.DataFrame({"subgroup": layout.subgroups}), on="subgroup", how="right", maintain_order="right")
    direction = -1.0 if metric == "accuracy" else 1.0
    about = {"scheme": split, "fold": fold, "part": part, "metric": metric, "expected": assumed, "effect": effect}
    effects, of_blocks = _blocks_of(layout, present, block_sd)
    about["note"] = of_blocks if len(expectation.labels) > 1 else f"{of_blocks}; no redraws: label noise is not included"
    # Additional variance, over answers and labels, of a score where the model is worse.
    low, high = expectation.range
    worse = min(max(assumed + effect * direction, low), high)
    more = expectation_of(layout, present, metric, worse).cumulants[0] - expectation.cumulants[0]
    rng = generator(seed)
    rows = _level_rows(dataset.attributes, subgroups, present, expectation, effects, more, share, effect * direction, alpha, rng)
    rows += _subgroup_rows(subgroups, present, expectation, effects, more, share, effect, alpha, rng)
    return POWER.frame([{**about, **row, "note": row.get("note", about["note"])} for row in rows])


def _blocks_of(layout: Layout, present: NDArray[np.bool_], sd: float) -> tuple[BlockEffects | None, str]:
    """Return the blocks that the audit would resample, None for single items, and a note on them."""
    there = np.asarray(present.any(axis=0), dtype=np.float64)[None]
    effective = float(effective_blocks(there, layout.blocks)[0])
    if not layout.blocks_named:
        return None, "the survey names no blocks of items: items are taken as independent"
    if effective < ENOUGH_BLOCKS:
        return None, f"the items form {effective:.1f} effective blocks, too few to resample: other items of the same blocks"
    blocks = np.unique(layout.blocks[there[0] > 0])
    what = f"{int(there.sum())} items in {len(blocks)} blocks, as good as {effective:.0f} of equal size"
    return BlockEffects(
        layout.blocks, sd
    ), f"{what}; a subgroup's score is assumed to differ between blocks (standard deviation {number(sd)})"


def level_contrasts(present: NDArray[np.bool_], labels: Sequence[str | None]) -> tuple[list[tuple[str, str]], Floats]:
    """Return the pairs of levels that have items in common and their weights, shape (K, G, I): mean of level - mean of against.

    Each level's mean over its pairs of an item comes first, then the mean over the items both levels have.
    """
    names = list(dict.fromkeys(label for label in labels if label is not None))
    members = {name: np.array([label == name for label in labels])[:, None] & present for name in names}
    kept: list[tuple[str, str]] = []
    weights: list[Floats] = []
    for level, against in itertools.combinations(names, 2):
        numbers = [members[name].sum(axis=0) for name in (level, against)]
        common = (numbers[0] > 0) & (numbers[1] > 0)
        if common.any():
            kept.append((level, against))
            parts = [np.where(common, members[name] / np.maximum(n, 1), 0.0) for name, n in zip((level, against), numbers, strict=True)]
            weights.append((parts[0] - parts[1]) / common.sum())
    return kept, np.array(weights).reshape(len(weights), *present.shape)


def rest_contrasts(present: NDArray[np.bool_], strata: Sequence[str]) -> Floats:
    """Return the weights of each subgroup less the rest of its stratum, on its items that the rest has too; (G, G, I)."""
    weights = np.zeros((len(present), *present.shape))
    for row, stratum in enumerate(strata):
        others = np.array([name == stratum and at != row for at, name in enumerate(strata)])[:, None] & present
        number = others.sum(axis=0)
        common = present[row] & (number > 0)
        if common.any():
            weights[row] = -np.where(common, others / np.maximum(number, 1), 0.0) / common.sum()
            weights[row, row] = common / common.sum()
    return weights


def holm_rejects(z: Floats, alpha: float) -> NDArray[np.bool_]:
    """Return which of K two-sided tests Holm's procedure rejects, for each of S sets: z and result of shape (S, K)."""
    from scipy.special import ndtri

    tests = z.shape[1]
    limits = -ndtri(alpha / 2 / np.arange(tests, 0, -1))
    size = np.abs(z)
    ordered = -np.sort(-size, axis=1)
    passed = np.logical_and.accumulate(ordered >= limits, axis=1).sum(axis=1)
    last = np.where(passed > 0, np.take_along_axis(ordered, np.maximum(passed - 1, 0)[:, None], axis=1)[:, 0], np.inf)
    return size >= last[:, None]


def _level_rows(
    attributes: Sequence[str],
    subgroups: pl.DataFrame,
    present: NDArray[np.bool_],
    expectation: Expectation,
    effects: BlockEffects | None,
    more: Floats,
    share: float,
    shift: float,
    alpha: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    from scipy.special import ndtr, ndtri, stdtrit

    found = {attribute: level_contrasts(present, subgroups[attribute].to_list()) for attribute in attributes}
    names = [(attribute, *pair) for attribute, (pairs, _) in found.items() for pair in pairs]
    if not names:
        return []
    weights = np.concatenate([contrasts for _, contrasts in found.values()])
    alike = covariances(weights, expectation, effects).with_items(share)
    items = (weights != 0).any(axis=1).sum(axis=1) * share
    se, draws = np.sqrt(np.diag(alike)), _Draws.of(freedom(weights, expectation, share, effects), rng)
    # The audit uses Student's t with items (or blocks) - 1 degrees of freedom: its quantiles, and their ratio to normal ones.
    degrees = np.maximum((items if effects is None else effects.units(weights, share)) - 1.0, 1.0)
    first, alone = (-stdtrit(degrees, alpha / 2 / number) for number in (len(names), 1))
    stretch = first / -ndtri(alpha / 2 / len(names))
    rows: list[dict[str, Any]] = []
    for attribute, level in dict.fromkeys((name, level) for name, *pair in names for level in pair):
        cells = (subgroups[attribute] == level).fill_null(value=False).to_numpy()
        spread, noise = draws.scaled(alike + _more(weights, more, cells) / share)
        moved = shift * weights[:, cells].sum(axis=(1, 2)) / spread
        claimed = (noise + moved) / draws.estimated / stretch
        rejected = holm_rejects(claimed, alpha)
        for place, (name, one, other) in enumerate(names):
            if name != attribute or level not in (one, other):
                continue
            right = rejected[:, place] & (claimed[:, place] * moved[place] > 0)
            rows.append(
                {
                    "by": "level",
                    "attribute": attribute,
                    "level": level,
                    "against": other if level == one else one,
                    "items": round(float(items[place])),
                    "pairs": round((weights[place] != 0).sum() * share),
                    "se": float(se[place]),
                    "power": float(right.mean()),
                    "power_alone": float(ndtr(abs(moved[place]) - alone[place])),
                    "detectable": float((first[place] + ndtri(TARGET)) * se[place]),
                    "expected_alike": float(se[place] * np.sqrt(2 / np.pi)),
                    "family": len(names),
                }
            )
    return rows


def _subgroup_rows(
    subgroups: pl.DataFrame,
    present: NDArray[np.bool_],
    expectation: Expectation,
    effects: BlockEffects | None,
    more: Floats,
    share: float,
    effect: float,
    alpha: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    from scipy.special import ndtr, ndtri

    weights = rest_contrasts(present, subgroups["stratum"].to_list())
    tested = np.flatnonzero((weights != 0).any(axis=(1, 2)))
    about = [
        {"by": "subgroup", "attribute": stratum, "level": name, "against": "the rest", "pairs": round(int(number) * share)}
        for name, stratum, number in zip(subgroups["subgroup"], subgroups["stratum"], present.sum(axis=1), strict=True)
    ]
    rows = [row | {"items": 0, "family": len(tested), "note": "no other subgroup of its stratum has its items"} for row in about]
    if not len(tested):
        return rows
    weights = weights[tested]
    alike = covariances(weights, expectation, effects).with_items(share)
    items = (weights != 0).any(axis=1).sum(axis=1) * share
    se, draws = np.sqrt(np.diag(alike)), _Draws.of(freedom(weights, expectation, share, effects), rng)
    # Permutations estimate the standard errors, as in the audit.
    critical = float(np.quantile((draws.scaled(alike)[1] / draws.estimated).max(axis=1), 1 - alpha))
    for at, place in enumerate(tested):
        own = weights[at : at + 1, place : place + 1]
        spread = float(np.sqrt(alike[at, at] + (own**2 * more[place]).sum() / share))
        claimed = (draws.normal[:, at] + effect / spread) / draws.estimated[:, at]
        rows[place] = about[place] | {
            "items": round(float(items[at])),
            "se": float(se[at]),
            "power": float((claimed > critical).mean()),
            "power_alone": float(ndtr(effect / spread + ndtri(alpha))),
            "detectable": float((critical + ndtri(TARGET)) * se[at]),
            "expected_alike": float(se[at] * np.sqrt(2 / np.pi)),
            "family": len(tested),
        }
    return rows


def _more(weights: Floats, more: Floats, cells: NDArray[np.bool_]) -> Floats:
    """Return the covariances (K, K) that additional variances (G, I) of some subgroups (G,) contribute."""
    here = weights[:, cells].reshape(len(weights), -1)
    return (here * more[cells].ravel()) @ here.T


@dataclass(frozen=True)
class _Draws:
    """SIMULATIONS draws of K contrasts, the same for all gaps, each of shape (S, K).

    Attributes:
        normal: independent standard normal ones. estimated: standard errors as estimated, over the true ones.
    """

    normal: Floats
    estimated: Floats

    @classmethod
    def of(cls, degrees: Floats, rng: np.random.Generator) -> _Draws:
        shape = (SIMULATIONS, len(degrees))
        return cls(rng.standard_normal(shape), np.sqrt(rng.chisquare(degrees, shape) / degrees))

    def scaled(self, covariance: Floats) -> tuple[Floats, Floats]:
        """Return standard errors (K,), and normal draws of variance 1 with the contrasts' correlations, (S, K)."""
        roots, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(roots, 0.0))
        se = np.sqrt(np.square(root).sum(axis=1))
        return se, self.normal @ (root / np.where(se > 0, se, np.inf)[:, None]).T
