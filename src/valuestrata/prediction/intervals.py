"""Intervals of predicted shares and mean positions, and the probability of each option to be the most common answer.

All three are learned from held-out pairs. The probability of option k to be the mode of the survey's answers is

    exp(b p_k / s) / sum_j exp(b p_j / s),

with p the predicted shares and s the root mean square of their scales (`error_model`), the size of a pair's likely errors; b maximises
the likelihood of the modes of held-out pairs, questions weighted as for the intervals. It is a probability, not a share: of options
with predicted shares of .45 and .40 the first may be the most common answer with probability .6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.gold import is_mode
from valuestrata.frames import list_column
from valuestrata.prediction.conformal import CONFIDENCE, Conformal, HeldOutRows, fit_conformal, weights_within
from valuestrata.prediction.error_model import Predicted, of_positions, of_shares, together
from valuestrata.stats.arrays import Bools, Floats, Indices, softmax

# Class of the whole population in a data set with other subgroups.
POPULATION = 0
_SIZES = 3


@dataclass(frozen=True)
class SizeClasses:
    """Classes of pairs by their number of answers; each has a quantile of its own.

    Attributes:
        edges: least effective number of answers of the second, third, ... class of subgroups.
    """

    edges: tuple[float, ...]

    @classmethod
    def of(cls, n: Floats) -> SizeClasses:
        """Return thirds of the pairs of subgroups, by their effective numbers of answers, shape (pairs,); fewer if these are similar."""
        cuts = np.quantile(n, [part / _SIZES for part in range(1, _SIZES)]) if len(n) else np.zeros(0)
        least = float(n.min(initial=np.inf))
        kept: list[float] = []
        for cut in np.floor(cuts):
            # A class that spans less than a factor of 1.25 adds nothing.
            if cut >= 1.25 * max([least, *kept]):
                kept.append(float(cut))
        return cls(tuple(kept))

    @property
    def number(self) -> int:
        """Number of classes, with that of the population."""
        return len(self.edges) + 2

    def place(self, n: Floats, population: Bools) -> Indices:
        """Return the class of each pair, shape (pairs,); `population` marks pairs of the whole population beside other subgroups."""
        return np.where(population, POPULATION, 1 + np.digitize(n, self.edges)).astype(np.intp)

    def title(self, one: int) -> str:
        """Return a class in words, such as `60 to 149 answers`."""
        if one == POPULATION:
            return "the population"
        low, high = (0.0, *self.edges)[one - 1], (*self.edges, np.inf)[one - 1]
        return (
            f"under {high:g} answers" if low == 0 else f"{low:g} answers or more" if high == np.inf else f"{low:g} to {high - 1:g} answers"
        )


@dataclass(frozen=True)
class Intervals:
    """Intervals fitted to held-out pairs.

    Attributes:
        shares, positions: conformal intervals of shares and of mean positions; positions None without ordinal or binary items.
        sharpness: b of the probabilities of modes.
        classes: of the numbers of answers.
    """

    shares: Conformal
    positions: Conformal | None
    sharpness: float
    classes: SizeClasses

    def add_to(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Add the columns low and high (lists), probability (list), position, position_low and position_high.

        Args:
            pairs: predicted (list of shares), n (effective answers), population and ordered (truth values); any other columns.
        """
        rows = pairs.with_row_index("row")
        made: list[pl.DataFrame] = []
        for part in _by_options(rows):
            shares, n = _matrix(part["predicted"]), part["n"].to_numpy()
            pair_size = self.classes.place(n, part["population"].to_numpy())
            options = shares.shape[1]
            low, high = self.shares.ends(of_shares(shares, n), np.repeat(pair_size, options))
            columns = {
                "low": list_column(low.reshape(shares.shape)),
                "high": list_column(high.reshape(shares.shape)),
                "probability": list_column(softmax(self.sharpness * self.contrast(shares, n))),
            }
            position = of_positions(shares, n)
            ends = (np.zeros(len(n)), np.ones(len(n))) if self.positions is None else self.positions.ends(position, pair_size)
            ordered = part["ordered"].to_numpy()
            for name, values in zip(("position", "position_low", "position_high"), (position.value, *ends), strict=True):
                columns[name] = pl.Series(np.where(ordered, values, np.nan), nan_to_null=True)
            made.append(part.with_columns(**columns))
        return pl.concat(made).sort("row").drop("row")

    def contrast(self, shares: Floats, n: Floats) -> Floats:
        """Return p / s, shape (pairs, K), for predicted shares (pairs, K) and effective answers (pairs,)."""
        scale = self.shares.error.scale(of_shares(shares, n)).reshape(shares.shape)
        return shares / np.sqrt(np.square(scale).mean(axis=1, keepdims=True))


def fit_intervals(pairs: pl.DataFrame, classes: SizeClasses, confidence: float = CONFIDENCE) -> Intervals:
    """Return the intervals that held-out pairs support.

    Args:
        pairs: predicted and found (lists of shares), n, population, ordered, and the numbers unit, item_number and group (fold).
        classes: of the numbers of answers. confidence: share of numbers to cover.
    """
    shares = _held_out(pairs, classes, positions=False)
    ordered = pairs.filter(pl.col("ordered"))
    positions = None if ordered.is_empty() else fit_conformal(_held_out(ordered, classes, positions=True), classes.number, confidence)
    fitted = Intervals(fit_conformal(shares, classes.number, confidence), positions, 1.0, classes)
    return Intervals(fitted.shares, positions, _sharpness(fitted, pairs), classes)


def _sharpness(fitted: Intervals, pairs: pl.DataFrame) -> float:
    """Return the b that maximises the likelihood of the found modes, ties shared."""
    from scipy.optimize import minimize_scalar

    parts: list[tuple[Floats, Floats, Floats]] = []
    weight = weights_within(pairs["unit"].to_numpy(), pairs["item_number"].to_numpy())
    for part in _by_options(pairs.with_columns(weight=pl.Series(weight))):
        modes = is_mode(_matrix(part["found"])).astype(np.float64)
        contrast = fitted.contrast(_matrix(part["predicted"]), part["n"].to_numpy())
        parts.append((contrast, modes / modes.sum(axis=1, keepdims=True), part["weight"].to_numpy()))

    def loss(sharpness: float) -> float:
        # One observation with the mode among equal options keeps the maximum finite.
        total = 0.5 * sharpness**2 * 1e-3
        for contrast, modes, own in parts:
            utility = sharpness * (contrast - contrast.max(axis=1, keepdims=True))
            total += float(own @ (np.log(np.exp(utility).sum(axis=1)) - (modes * utility).sum(axis=1)))
        return total

    found: Any = minimize_scalar(loss, bounds=(0.0, 20.0), method="bounded")
    return float(found.x)


def _held_out(pairs: pl.DataFrame, classes: SizeClasses, *, positions: bool) -> HeldOutRows:
    predicted: list[Predicted] = []
    values: list[Floats] = []
    numbers: list[Indices] = []
    for part in _by_options(pairs):
        shares, found, n = _matrix(part["predicted"]), _matrix(part["found"]), part["n"].to_numpy()
        each = 1 if positions else shares.shape[1]
        predicted.append(of_positions(shares, n) if positions else of_shares(shares, n))
        values.append(found @ np.linspace(0.0, 1.0, shares.shape[1]) if positions else found.ravel())
        size = classes.place(n, part["population"].to_numpy())
        own = [part[name].to_numpy().astype(np.intp) for name in ("unit", "item_number", "group")]
        numbers.append(np.repeat(np.stack([*own, size]), each, axis=1))
    unit, item, group, size = np.concatenate(numbers, axis=1)
    return HeldOutRows(together(predicted), np.concatenate(values), unit, item, group, size)


def _by_options(pairs: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the pairs with as many options, for each number of options."""
    yield from pairs.with_columns(options=pl.col("predicted").list.len()).partition_by("options", maintain_order=True, include_key=False)


def _matrix(lists: pl.Series) -> Floats:
    return lists.list.to_array(len(lists[0])).to_numpy().astype(np.float64).reshape(len(lists), -1)


def covered(low: Sequence[Floats], high: Sequence[Floats], found: Sequence[Floats]) -> Floats:
    """Return the share of found numbers inside their intervals, by pair; arguments are lists of shares by pair."""
    flat = [np.concatenate([np.asarray(one, dtype=np.float64) for one in rows]) for rows in (low, high, found)]
    inside = (flat[2] >= flat[0] - 1e-9) & (flat[2] <= flat[1] + 1e-9)
    starts = np.cumsum([0, *(len(one) for one in found)])[:-1]
    return np.add.reduceat(inside.astype(np.float64), starts) / [len(one) for one in found]
