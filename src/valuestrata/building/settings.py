"""Settings of a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valuestrata.errors import Option, UsageError, check_seed
from valuestrata.splits.schemes import ITEM_FOLDS

# Redraws whose shares are stored. They give intervals of distances between distributions, for which 100 are enough: the
# relative error of a standard error from S draws is 1 / sqrt(2 S), here 7 %.
SHARE_DRAWS = 100


@dataclass(frozen=True)
class BuildSettings:
    """Settings of a data set.

    Attributes:
        strata: names of the strata to build; empty for all.
        order: largest number of attributes crossed (1 to 3).
        min_respondents: fewest respondents of a subgroup.
        min_valid: fewest valid answers of a pair, on n_eff when weighted.
        weighted: use the survey's weight if it has one.
        draws: joint redraws of the respondents.
        share_draws: number of redraws whose shares are stored.
        half_seed: seed of the halves of the respondents.
        redraw_seed: seed of the redraws.
        split_seed: seed of the splits.
        item_folds: folds of the split `unseen-item`, at least 2. With as many as there are topics, each fold leaves one topic out.
        preset: `paper`, or None.
    """

    strata: tuple[str, ...] = ()
    order: int = 2
    min_respondents: int = 30
    min_valid: float = 30.0
    weighted: bool = True
    draws: int = 1000
    share_draws: int = SHARE_DRAWS
    half_seed: int = 0
    redraw_seed: int = 0
    split_seed: int = 42
    preset: str | None = None
    item_folds: int = ITEM_FOLDS

    def __post_init__(self) -> None:
        # 30 and 30.0 must give the same fingerprint.
        object.__setattr__(self, "min_valid", float(self.min_valid))
        for name in ("half_seed", "redraw_seed", "split_seed"):
            check_seed(getattr(self, name), name)
        if self.item_folds < 2:
            raise UsageError(Option("item_folds", self.item_folds), ": a split needs at least 2 folds.")


def paper_preset(settings: BuildSettings) -> BuildSettings:
    """Return the settings with the rules of arXiv 2604.12851: unweighted, 30 respondents, 1 valid answer.

    Args:
        settings: settings whose other values are kept; None for the defaults.
    """
    return replace(settings, weighted=False, min_respondents=30, min_valid=1, preset="paper")
