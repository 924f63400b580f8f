"""Two-way intervals: which items happened to be asked, and which respondents happened to be surveyed.

**Replicates** are additive. With I_b the metric under item weights b against the gold as it is, and R_d the metric with every
item once against redraw d of the respondents,

    replicate_b = estimate + (I_b - mean I) + k (R_d(b) - mean R).

Items are drawn with replacement, as multinomial weights over all items of the part. Respondents were redrawn when the data
set was built: `mode_draws` holds, for each joint redraw of all respondents, the mode that each pair would have had, and for
the first of them the shares. A seeded random pairing d(b) uses every redraw equally often. Weights, redraws and pairing are the
same for every key, metric and run, so that comparisons are paired.

- accuracy, nmae, bias, their `_valid` forms and the spread: redrawn modes.
- w1, rps, tv, jsd: redrawn shares.
- accuracy_set, accuracy_expected: the redraws of accuracy. For accuracy_expected they are centred on it up to ties (the mean
  of 1[a = mode_d] over draws is p_mode(a)); p_mode smooths what a single redraw decides, so that this bounds its noise from above.
- ceilings, floors: items only. What the model did (refusals, option mass) has no noise of respondents.
- A data set without redraws: items only, too narrow where many items share respondents.

**Centring.** A redrawn mode carries the noise of the first sample and that of the redraw. A model that answers the gold mode
everywhere is right in each redraw only as often as the mode repeats itself: a shift, not a spread, hence the two means above.
The interval says how far the score would move with other items and other respondents, and not what it would be against labels
without noise: that is what the ceilings are for.

**Variance.** Let C be the covariance of an item's noise with itself and with other items' over redraws (means over items), and
n the items. Resampling items sees the variation between items and (C_own - C_other) / n of the noise; the redraws see
C_own / n + C_other (1 - 1/n). The sum of both counts S = (C_own - C_other) / n twice: two-way resampling is wide (Owen 2007,
The pigeonhole bootstrap, Annals of Applied Statistics 1:386-411). S is the variance that resampling items would find in the
redraws' own deviations, and is measured there, with the first `SHARED_DRAWS` draws. k <= 1 is such that

    Var = max(Var_I, Var_R, Var_I + Var_R - S).

The largest of three estimates errs on the wide side: by 6 % of a standard error in simulations where people have next to nothing
in common over items. A key of one item has no Var_I and k = 1; without redraws either, its interval is null.

**Few items.** Var_I of n items is (n - 1) / n of what it should be; it is scaled up accordingly. It is also known from n items only:
the whole variance has about (n - 1) (Var / Var_I)^2 degrees of freedom (Satterthwaite 1946, Biometrics Bulletin 2:110-114, that of
redraws taken as known), and `intervals` stretches the percentiles to Student's t. Without it intervals over 24 items hold the
truth in 93.8 % of surveys instead of 95. Ratios (spread, relative scores) go without.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

import numpy as np
from numpy.typing import NDArray

from valuestrata.scores.distances import Array, Singles
from valuestrata.scores.layout import Layout, Values
from valuestrata.scores.pairs import Floats, Indices

# Numbers held at once for a chunk of draws, 8 bytes each: small enough for a cache, large enough to be worth a call.
CHUNK_NUMBERS = 200_000
# The variance counted twice is a mean over items, for which few draws are enough.
SHARED_DRAWS = 100
# Tables of redrawn sums kept: three metrics share that of accuracy, and runs that refuse nothing have twins.
KEPT_TABLES = 6
# Fewer items than this that are all equal have no interval.
ENOUGH_ITEMS = 5
# A difference or a variance below this is rounding.
NOTHING = 1e-12


@dataclass(frozen=True)
class Noise:
    """How a sum over pairs moves when respondents are redrawn.

    Attributes:
        sums: shape (D, N): deviations of each key's sum from their mean over the draws.
        by_item: shape (D', A + T, I): the same item by item, for the first draws; single items left out.
        order: shape (B,): which draw goes with which replicate.
    """

    sums: Floats
    by_item: Singles
    order: Indices


@dataclass(frozen=True)
class Sampled:
    """A metric for every key, with what moves it.

    Attributes:
        estimate: shape (N,), NaN where nothing is scored.
        pairs: shape (N,): pairs it is a mean of.
        items: shape (N,): items with such a pair.
        by_items: shape (B, A + T): I_b - mean I, scaled for few items; NaN where nothing was drawn. Single items have none.
        people: deviations of the sums, or None without noise of respondents.
        rows: shape (A + T, I), sums of the metric by item. counts: the same of ones.
        exact: as in `Values`.
    """

    estimate: Floats
    pairs: Floats
    items: Floats
    by_items: Floats
    people: Noise | None
    rows: Floats
    counts: Floats
    exact: bool

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (N,): keys for which something was resampled, or which have no noise."""
        return (self.items > 1) | (self.people is not None) | self.exact

    def redraws(self) -> Floats:
        """Return R_d - mean R, shape (D, N)."""
        if self.people is None:
            return np.zeros((1, len(self.estimate)))
        return self.people.sums / np.maximum(self.pairs, 1.0)


@dataclass(frozen=True)
class Replicates:
    """Estimates and their replicates.

    Attributes:
        estimate: shape (N,). values: shape (B, N), NaN for replicates that say nothing.
        pairs: shape (N,). known: shape (N,), False where no interval can be given.
        freedom: shape (N,), degrees of freedom of their variance; None where it is not worked out.
    """

    estimate: Floats
    values: Floats
    pairs: Floats
    known: NDArray[np.bool_]
    freedom: Floats | None = None

    def minus(self, other: Replicates) -> Replicates:
        """Subtract replicate by replicate. A ratio that is infinite on either side leaves the difference without bound."""
        unbounded = np.isinf(self.values) | np.isinf(other.values)
        values = np.full(self.values.shape, np.inf)
        np.subtract(self.values, other.values, out=values, where=~unbounded)
        return Replicates(self.estimate - other.estimate, values, self.pairs, self.known & other.known)


class Resampler:
    """Resamples of one layout, shared by all keys, metrics and runs."""

    def __init__(self, layout: Layout, bootstrap: int, seed: int) -> None:
        """Draw `bootstrap` resamples of items by `seed`, and pair them with the redraws of respondents."""
        rng = np.random.default_rng(seed)
        items = len(layout.items)
        self.layout = layout
        self.count = bootstrap
        self.weights: Floats = rng.multinomial(items, np.full(items, 1.0 / items), size=bootstrap).astype(np.float64)
        # More draws than replicates would not be used.
        self.modes = layout.draws[:bootstrap]
        self.mode_order = _paired(rng, bootstrap, len(self.modes))
        shares = layout.share_draws[0].shares.shape[2] if layout.share_draws else 0
        self.share_order = _paired(rng, bootstrap, min(shares, bootstrap))
        self._counts: dict[bytes, tuple[Floats, Floats, Floats]] = {}
        self._redrawn: dict[bytes, Noise] = {}

    def sample(self, values: Values) -> Sampled:
        """Resample the mean over pairs of a metric."""
        keys = self.layout.keys
        mask = ~np.isnan(values.gold)
        filled = np.where(mask, values.gold, 0.0)
        counts, drawn, items = self._counted(mask)
        rows = keys.rows(filled)
        pairs = keys.totals(mask.astype(np.float64))
        estimate = np.divide(keys.totals(filled), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        by_items = self.weights @ rows.T
        by_items = np.divide(by_items, drawn, out=np.full(by_items.shape, np.nan), where=drawn > 0)
        by_items = centred(by_items) * scale_of(items[: len(counts)])
        people = self._noise(values, mask) if self.count else None
        return Sampled(estimate, pairs, items, by_items, people, rows, counts, values.exact)

    def replicate(self, sampled: Sampled) -> Replicates:
        """Combine both ways of resampling."""
        number = len(sampled.counts)
        values = np.zeros((self.count, len(sampled.estimate)))
        values += sampled.estimate
        between, people = np.zeros(len(sampled.estimate)), np.zeros(len(sampled.estimate))
        between[:number] = variance(sampled.by_items)
        if sampled.people is not None:
            redraws = sampled.redraws()
            shared = np.zeros(len(sampled.estimate))
            here = sampled.people.by_item
            pairs = np.maximum(sampled.pairs[:number], 1.0)
            shared[:number] = shared_variance(here, here, sampled.counts) / pairs**2 * scale_of(sampled.items[:number]) ** 2
            redraws *= shrink(between, variance(redraws), shared)
            values += redraws[sampled.people.order]
            people = variance(redraws)
        values[:, :number] += sampled.by_items
        # A few items that happen to be equal say nothing of how items differ.
        alike = (sampled.items > 1) & (sampled.items < ENOUGH_ITEMS) & (between <= NOTHING**2) & ~np.bool_(sampled.exact)
        freedom = freedom_of(sampled.items, between, people)
        return Replicates(sampled.estimate, values, sampled.pairs, sampled.known & ~alike, freedom)

    def _counted(self, mask: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Return pairs by key and item (A + T, I), pairs of each resample (B, A + T), and items of each key (N,)."""
        digest = np.packbits(mask).tobytes()
        if digest not in self._counts:
            keys = self.layout.keys
            counts = keys.rows(mask.astype(np.float64))
            items = np.concatenate([(counts > 0).sum(axis=1), (mask.sum(axis=0) > 0)[keys.items]]).astype(np.float64)
            if len(self._counts) >= KEPT_TABLES:
                self._counts.pop(next(iter(self._counts)))
            self._counts[digest] = (counts, self.weights @ counts.T, items)
        return self._counts[digest]

    def _noise(self, values: Values, mask: NDArray[np.bool_]) -> Noise | None:
        keys = self.layout.keys
        if values.by_share is not None:
            drawn: Singles = np.where(mask, values.by_share[: self.count], np.float32(0))
            sums = keys.totals(drawn.astype(np.float64))
            return Noise(sums - sums.mean(axis=0), centred(keys.rows(drawn[:SHARED_DRAWS])), self.share_order)
        if values.by_mode is None or len(self.modes) == 0:
            return None
        table = np.where(mask.ravel()[:, None] & ~np.isnan(values.by_mode), values.by_mode, 0.0)
        digest = blake2b(table.tobytes(), digest_size=16).digest()
        if digest not in self._redrawn:
            if len(self._redrawn) >= KEPT_TABLES:
                self._redrawn.pop(next(iter(self._redrawn)))
            self._redrawn[digest] = self._redraw(table)
        return self._redrawn[digest]

    def _redraw(self, table: Floats) -> Noise:
        """Look up a table (G * I, largest K) at every redrawn mode."""
        keys, shape = self.layout.keys, self.layout.present.shape
        flat, starts = table.ravel(), np.arange(len(table)) * table.shape[1]
        size = max(1, CHUNK_NUMBERS // len(table))
        sums = np.empty((len(self.modes), len(keys.names)))
        for start in range(0, len(self.modes), size):
            values = np.take(flat, self.modes[start : start + size] + starts).reshape(-1, *shape)
            sums[start : start + size] = keys.totals(values)
        first: Singles = np.take(flat.astype(np.float32), self.modes[:SHARED_DRAWS] + starts).reshape(-1, *shape)
        return Noise(sums - sums.mean(axis=0), centred(keys.rows(first)), self.mode_order)


def shared_variance(left: Singles, right: Singles, rows: Floats) -> Floats:
    """Return what resampling items and redrawing respondents both count, for a ratio of sums: shape (A + T,).

    With x_di an item's deviation in draw d and w_i its part of the denominator, the residual x_di - w_i sum_i x_di / sum_i w_i
    is what is left of the noise once it is taken to be common to all items; its squares summed over items, averaged over
    draws, are returned (its products, where left and right differ).

    Args:
        left, right: shape (D', A + T, I), deviations of sums by item, centred over draws.
        rows: shape (A + T, I), the denominator by item.
    """
    draws = len(left)
    if draws < 2:
        return np.zeros(len(rows))
    weights = rows.astype(np.float32)
    total = weights.sum(axis=1)
    total = np.where(np.abs(total) > NOTHING, total, np.inf)
    squares = np.einsum("ki,ki->k", weights, weights) / total**2
    sums = [x.sum(axis=2) for x in (left, right)]
    crossed = [np.einsum("dki,ki->dk", x, weights) / total for x in (left, right)]
    products = np.einsum("dki,dki->dk", left, right)
    products += sums[0] * sums[1] * squares - sums[0] * crossed[1] - sums[1] * crossed[0]
    return products.sum(axis=0).astype(np.float64) / (draws - 1)


def shrink(items: Floats, people: Floats, shared: Floats) -> Floats:
    """Return k, shape (N,), in 0..1: by how much the redraws enter, so that what is counted twice is counted once.

    Args:
        items, people: shape (N,), variances of the two ways of resampling. shared: what both of them hold.
    """
    target = np.maximum(np.maximum(items, people), items + people - shared)
    part = np.divide(target - items, people, out=np.ones_like(people), where=people > NOTHING**2)
    return np.sqrt(np.clip(part, 0.0, 1.0))


def scale_of(items: Floats) -> Floats:
    """Return sqrt(n / (n - 1)) for resamples of n items; 0 for a single item, which cannot be resampled."""
    return np.sqrt(np.where(items > 1, items / np.maximum(items - 1.0, 1.0), 0.0))


def freedom_of(items: Floats, between: Floats, people: Floats) -> Floats:
    """Return the degrees of freedom of a sum of variances, shape (N,): (n - 1) ((between + people) / between)^2.

    Args:
        items: shape (N,), items behind each. between: variance from n items. people: variance that is known without them.
    """
    share = np.divide(between, between + people, out=np.zeros_like(between), where=between > NOTHING**2)
    return np.where(share > 0, np.maximum(items - 1.0, 1.0) / np.maximum(share, 1e-6) ** 2, np.inf)


def variance(values: Floats) -> Floats:
    """Return the variance over the first axis of what is not NaN; 0 where fewer than two values are left."""
    known = ~np.isnan(values)
    number = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    squares = np.square(np.where(known, filled - mean, 0.0)).sum(axis=0)
    return np.where(number > 1, squares / np.maximum(number - 1, 1), 0.0)


def centred(values: Array) -> Array:
    """Return values less their mean over the first axis, NaN left out."""
    known = ~np.isnan(values)
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return cast(Array, np.subtract(values, mean, dtype=values.dtype))


def _paired(rng: np.random.Generator, replicates: int, draws: int) -> Indices:
    return rng.permutation(np.arange(replicates) % max(draws, 1)).astype(np.intp)
