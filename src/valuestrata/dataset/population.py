"""What is known about the population behind the gold: shrunken shares, the true mode, and the bounds of scores.

A ceiling or floor is the expected score of someone who knows the population but not these respondents, given the gold. With pi the
probability of each option to be the population's mode (`stats.small_area`), m the gold mode and K options in scale order,

- ceiling_oracle = sum_k pi_k p_mode_k: expected accuracy of the true mode.
- ceiling_human = sum_k f_k p_mode_k, with f the probability of each option to be the mode of a fresh sample of the same size. It is the
  expected accuracy of such a sample: a reference, not a bound.
- floor_nmae = sum_k rho_k |k - m| / (K - 1), with rho the probability of each option to be the best answer: the median of the modes of
  fresh samples. It is the true mode unless such modes lie on both sides of it.
- floor_w1, floor_rps: expected distance of the true shares to the gold shares, from redraws. A redraw has the variance p (1 - p) / n of
  the gold shares, which is too small by 1 / n on average; the floors are corrected for it (survey designs: by the redraws themselves).

A score can exceed a bound by chance, or because its model was fitted to the same respondents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.gold import shares_of
from valuestrata.dataset.subgroups import Cells
from valuestrata.frames import list_column
from valuestrata.stats.small_area.modes import fresh_mode, median_mode, mode_chances
from valuestrata.stats.small_area.shares import SmallArea, columns_of, overlap_of, small_area
from valuestrata.survey.survey import Survey

Floats = NDArray[np.float64]
# Most that the floors of distances are raised, at two effective answers.
LARGEST_CORRECTION = 2.0


def estimate_shares(survey: Survey, cells: Cells, in_joint: Floats, weighted: Floats, n_eff: Floats) -> SmallArea:
    """Estimate the shares of every pair from the answers of some respondents.

    Args:
        survey: its items and attributes. cells: its subgroups.
        in_joint: shape (joint cells,), sum of the squared weights of the respondents whose answers are counted.
        weighted: shape (items, subgroups, options), weighted counts. n_eff: shape (items, subgroups).
    """
    labels: list[list[str | None]] = [[None] * len(cells.kept) for _ in survey.attributes]
    for place, subgroup in enumerate(cells.kept):
        for attribute, level in zip(subgroup.stratum.attributes, subgroup.levels, strict=True):
            labels[attribute][place] = str(level)
    levels = columns_of(labels)[0] if labels else np.zeros((0, len(cells.kept)))
    ordered = np.array([item.level != "nominal" for item in survey.items])
    return small_area(shares_of(weighted).swapaxes(0, 1), n_eff.T, levels, overlap_of(cells.members, in_joint), ordered)


@dataclass(frozen=True)
class PopulationShares:
    """Estimates for N pairs with K options: shares, mean squared errors and chances of the mode (N, K), effective answers (N,).

    Attributes:
        p_true: probability of each option to be the mode of the population.
        p_fresh: probability of each option to be the mode of a fresh sample of the same size.
        p_median: probability of each option to be the median mode of fresh samples (`median_mode`).
    """

    shares: Floats
    mse: Floats
    p_true: Floats
    p_fresh: Floats
    p_median: Floats
    n_eff: Floats

    @classmethod
    def at(cls, estimates: SmallArea, item: NDArray[np.intp], subgroup: NDArray[np.intp], options: int, n_eff: Floats) -> PopulationShares:
        """Pick pairs, whose items have `options` options."""
        shares, variance = estimates.shares[subgroup, item, :options], estimates.variance[subgroup, item]
        chances = mode_chances(shares, variance)
        fresh = fresh_mode(shares, variance, n_eff)
        median = median_mode(shares, variance, n_eff, chances, fresh)
        return cls(shares, estimates.mse[subgroup, item, :options], chances, fresh, median, n_eff)

    def bounds(self, p_mode: Floats, mode: NDArray[np.intp]) -> dict[str, Floats]:
        """Return both ceilings and floor_nmae. p_mode: shape (N, K). mode: shape (N,), option index of the gold mode."""
        ceilings = {"ceiling_oracle": self.p_true, "ceiling_human": self.p_fresh}
        return {
            **{name: (chances * p_mode).sum(axis=1) for name, chances in ceilings.items()},
            "floor_nmae": expected_nmae(self.p_median, mode),
        }

    def correction(self) -> Floats:
        """Return n / (n - 1), which makes variances from redraws unbiased; at most 2."""
        return np.clip(self.n_eff / np.maximum(self.n_eff - 1, 1 / LARGEST_CORRECTION), 1.0, LARGEST_CORRECTION)

    def rows(self, pair_id: Sequence[str], half: str) -> pl.DataFrame:
        """Return SMALL_AREA rows."""
        columns = {"shares_shrunken": list_column(self.shares), "mse": list_column(self.mse), "p_true": list_column(self.p_true)}
        return pl.DataFrame({"pair_id": pair_id, "half": [half] * len(pair_id), **columns})


def expected_nmae(answer: Floats, mode: NDArray[np.intp]) -> Floats:
    """Return the expected NMAE of a random answer: sum_k answer_k |k - mode| / (K - 1).

    Args:
        answer: shape (..., K), probabilities of the answers. mode: shape (...), option index of the gold mode.
    """
    options = answer.shape[-1]
    return (answer * np.abs(np.arange(options) - mode[..., None])).sum(axis=-1) / (options - 1)
