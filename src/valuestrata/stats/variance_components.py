"""Variance components of one item's answers over personas, option orders, paraphrases and templates.

**Model.** A prompt is one cell of persona g and presentation c = (order j, paraphrase l, template m). Its s-th answer is a
vector y (one number, or one for each code) with

    y = mean + persona_g + order_j + paraphrase_l + template_m + combination_c + (persona x presentation)_gc + sample_gcs,

effects uncorrelated, variances summed over the vector. `combination` contains the interactions of order, paraphrase and template;
`persona x presentation` contains every interaction of the persona with them.

**Estimator.** With a the mean of the n_a answers to a prompt and s_a^2 their variance,

    d_ab = (|a - b|^2 - s_a^2 / n_a - s_b^2 / n_b) / 2,    E d_ab = sum of the variances of all effects that differ between a and b.

Least squares of d over all pairs of prompts on the effects that differ gives the components (Koch 1967, Technometrics 9:93-118,
and 1968, 10:551-558; the same equations as MINQUE with the identity as prior, Rao 1971, Journal of Multivariate Analysis
1:257-275). It is unbiased for any set of prompts and equals the analysis of variance for a balanced design. `sample` is the mean
of s_a^2 over the prompts answered more than once; a prompt answered once is given that mean. Negative estimates are kept: cutting
them at 0 would bias means over items.

**Confounded effects.** Effects that always differ together form a block. The block has an estimate, its members have none: with
one presentation, `persona + persona x presentation`; with one answer to each prompt, `persona x presentation + sample`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from valuestrata.stats.arrays import NEGLIGIBLE, Bools, Floats, Indices

FACTORS = ("persona", "order", "paraphrase", "template")
PRESENTATION = FACTORS[1:]
COMBINATION = "combination"
INTERACTION = "persona x presentation"
SAMPLE = "sample"
COMPONENTS = (*FACTORS, COMBINATION, INTERACTION, SAMPLE)
# Entries of a projection matrix below this are 0.
TINY = 1e-9

Block = frozenset[str]


@dataclass(frozen=True)
class Components:
    """The variance components of one item.

    Attributes:
        values: component -> one solution of the equations; meaningful alone only where the component is a block of its own.
        blocks: the finest sums of components that the design identifies, in the order of `COMPONENTS`.
        unknown: components that vary but are in no identified sum.
        levels: component -> number of levels: personas, orders, ...; presentations; prompts; answers per prompt.
        responses: answers used.
    """

    values: Mapping[str, float]
    blocks: tuple[Block, ...]
    unknown: Block
    levels: Mapping[str, float]
    responses: int

    @property
    def varying(self) -> Block:
        """The components that vary in the design, identified or not."""
        return self.unknown.union(*self.blocks)

    def of(self, block: Iterable[str]) -> float:
        """Return the variance of a set of components; those that do not vary add 0."""
        return sum(self.values.get(name, 0.0) for name in block)


def name_of(block: Iterable[str]) -> str:
    """Return the components joined by +, in the order of `COMPONENTS`."""
    held = set(block)
    return " + ".join(name for name in COMPONENTS if name in held)


def decompose(factors: Indices, answers: Floats, *, drawn: bool) -> Components:
    """Split the variance of one item's answers into components.

    Args:
        factors: shape (N, 4), levels of `FACTORS` as numbers from 0.
        answers: shape (N, D), one vector for each answer.
        drawn: whether answers are sampled. False for probabilities, which are the same each time: there is no `sample` then.
    """
    cells = _Cells.of(factors, answers, drawn=drawn)
    varies = cells.factors.max(axis=0) > 0 if len(cells.factors) else np.zeros(len(FACTORS), dtype=np.bool_)
    names = [name for name, does in zip(FACTORS, varies, strict=True) if does]
    names += [COMBINATION] if varies[1:].sum() > 1 else []
    names += [INTERACTION] if len(cells.size) > 1 else []
    differ, weight, value = _patterns(cells, np.flatnonzero(varies))
    design = _design(differ, names)
    found, free = _solve(design, weight, value)
    blocks, unknown = _blocks(names, free)
    values = dict(zip(names, np.where(np.abs(found) < NEGLIGIBLE, 0.0, found).tolist(), strict=True))
    if cells.sampling is not None:
        values[SAMPLE] = cells.sampling
        blocks.append(frozenset({SAMPLE}))
    elif drawn:
        # The variance within a prompt was not subtracted: it is part of every difference between prompts.
        blocks = [block | {SAMPLE} if INTERACTION in block else block for block in blocks]
        if INTERACTION in unknown or INTERACTION not in names:
            unknown |= {SAMPLE}
    levels = {name: float(count) for name, count in zip(FACTORS, cells.factors.max(axis=0, initial=-1) + 1, strict=True)}
    levels[COMBINATION] = float(len(np.unique(cells.factors[:, 1:], axis=0)))
    levels[INTERACTION] = float(len(cells.size))
    levels[SAMPLE] = len(factors) / max(len(cells.size), 1)
    return Components(values, tuple(sorted(blocks, key=_place)), unknown, levels, len(factors))


@dataclass(frozen=True)
class SourceOfMean:
    """A source of variation of a mean over prompts, beyond what resampling items shows.

    Attributes:
        block: the components, confounded if there are several. variance: of the mean. freedom: its degrees of freedom.
    """

    block: Block
    variance: float
    freedom: float


def sources_of_mean(factors: Indices, parts: Floats, weights: Floats) -> list[SourceOfMean] | None:
    """Return the variance of the mean of N cells that comes from each factor, as if its levels were drawn from many.

    The components of the cells' means contain, besides their own variance, their interaction with the items, which resampling
    items contains as well. That part is estimated from the items' deviations and subtracted, so it counts once: with S levels and
    I equal items this is MS_level / (S I) - MS_residual / (S I), at least 0, and the sum with the variance from items is that of
    the two-way random-effects analysis of variance.

    Args:
        factors: shape (N, 4), levels of `FACTORS` as numbers from 0; "persona" may hold any further factor, such as the seed.
        parts: shape (N, I), what each item (or block of items) adds to the cell's mean: their sum is the mean.
        weights: shape (I,), the items' shares of the mean, with sum 1.

    Returns:
        A source for each identified block, empty for one cell; None if a component varies and is not identified.
    """
    means = parts.sum(axis=1)
    found = decompose(factors, means[:, None], drawn=False)
    with_items = decompose(factors, parts - weights * means[:, None], drawn=False)
    if found.unknown:
        return None
    left = 1.0 - float(np.square(weights).sum())
    scale = 1.0 / left if left > NEGLIGIBLE else 0.0
    levels = found.levels
    freedom = {name: levels[name] - 1 for name in FACTORS}
    freedom[COMBINATION] = levels[COMBINATION] - 1 - sum(freedom[name] for name in PRESENTATION)
    freedom[INTERACTION] = freedom["persona"] * (levels[COMBINATION] - 1)
    return [
        SourceOfMean(
            block,
            max(0.0, found.of(block) - scale * with_items.of(block)) / min(levels[name] for name in block if levels[name] > 1),
            min((freedom[name] for name in block if freedom[name] > 0), default=1.0),
        )
        for block in found.blocks
    ]


def merged(structures: Iterable[tuple[Block, ...]]) -> tuple[Block, ...]:
    """Return the finest blocks that are unions of blocks in each of several structures over the same components."""
    result: list[Block] = []
    for block in (block for structure in structures for block in structure):
        touching = [other for other in result if other & block]
        result = [other for other in result if not other & block]
        result.append(block.union(*touching))
    return tuple(sorted(result, key=_place))


def allows(finer: tuple[Block, ...], coarser: tuple[Block, ...]) -> bool:
    """Whether both contain the same components and each block of `coarser` is a union of blocks of `finer`."""
    same = frozenset[str]().union(*finer) == frozenset[str]().union(*coarser)
    return same and all(any(block <= whole for whole in coarser) for block in finer)


@dataclass(frozen=True)
class _Cells:
    """The C prompts of an item.

    Attributes:
        factors: shape (C, 4), numbered from 0 without gaps. mean: shape (C, D). noise: shape (C,), s_a^2 / n_a, 0 where unknown.
        size: shape (C,), answers. sampling: mean of s_a^2; None where no prompt was answered twice or answers are not sampled.
    """

    factors: Indices
    mean: Floats
    noise: Floats
    size: Floats
    sampling: float | None

    @classmethod
    def of(cls, factors: Indices, answers: Floats, *, drawn: bool) -> _Cells:
        dense = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1).astype(np.intp)
        kept, cell = np.unique(_numbered(dense), return_inverse=True)
        first = np.zeros(len(kept), dtype=np.intp)
        first[cell[::-1]] = np.arange(len(cell))[::-1]
        size = np.bincount(cell, minlength=len(kept)).astype(np.float64)
        # Centred to keep digits where differences of large sums are taken.
        centred = answers - answers.mean(axis=0) if len(answers) else answers
        mean = _sums(cell, centred, len(kept)) / size[:, None]
        squares = np.bincount(cell, weights=np.square(centred - mean[cell]).sum(axis=1), minlength=len(kept))
        several = size > 1
        if not drawn or not several.any():
            return cls(dense[first], mean, np.zeros(len(kept)), size, None)
        within = np.divide(squares, size - 1, out=np.zeros_like(squares), where=several)
        sampling = float(within[several].mean())
        noise = np.where(several, within, sampling) / size
        return cls(dense[first], mean, noise, size, 0.0 if sampling < NEGLIGIBLE else sampling)


def _patterns(cells: _Cells, varying: Indices) -> tuple[Bools, Floats, Floats]:
    """Summarise all pairs of prompts by which factors differ.

    Sums over pairs that agree in at least a set of factors come from groups, without forming pairs; those that agree in exactly
    that set follow by inclusion and exclusion.

    Returns:
        differ: shape (M, 4), patterns with at least one pair. weight: shape (M,), pairs. value: shape (M,), mean of d_ab.
    """
    sets = [held for size in range(len(varying), -1, -1) for held in combinations(varying.tolist(), size)]
    exact: dict[tuple[int, ...], tuple[float, float]] = {}
    for held in sets:
        number, total = _within(cells, held)
        for larger, (pairs, sum_) in exact.items():
            if set(held) < set(larger):
                number, total = number - pairs, total - sum_
        exact[held] = (number, total)
    rows = [(held, number, total) for held, (number, total) in exact.items() if number > 0.5]
    differ = np.array([[place in varying and place not in held for place in range(len(FACTORS))] for held, _, _ in rows], dtype=np.bool_)
    weight = np.array([number for _, number, _ in rows])
    value = np.array([total / number for _, number, total in rows])
    return differ.reshape(len(rows), len(FACTORS)), weight, value


def _within(cells: _Cells, held: tuple[int, ...]) -> tuple[float, float]:
    """Return the number of pairs of prompts that agree in the factors `held`, and the sum of d over these pairs.

    Over the m prompts of a group, the sum over pairs of |a - b|^2 is m sum |a|^2 - |sum a|^2.
    """
    _, group = np.unique(_numbered(cells.factors[:, list(held)]), return_inverse=True)
    groups = int(group.max(initial=-1)) + 1
    size = np.bincount(group, minlength=groups).astype(np.float64)
    squares = np.bincount(group, weights=np.square(cells.mean).sum(axis=1), minlength=groups)
    sums = np.square(_sums(group, cells.mean, groups)).sum(axis=1)
    noise = np.bincount(group, weights=cells.noise, minlength=groups)
    return float((size * (size - 1)).sum() / 2), float((size * squares - sums - (size - 1) * noise).sum() / 2)


def _design(differ: Bools, names: list[str]) -> Floats:
    """Return which components differ under each pattern, shape (M, number of names)."""
    several = differ[:, 1:].any(axis=1, keepdims=True)
    every = np.hstack([differ, several, np.ones((len(differ), 1), dtype=np.bool_)])
    return every[:, [COMPONENTS.index(name) for name in names]].astype(np.float64)


def _solve(design: Floats, weight: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Return the minimum-norm least-squares solution and the projection on the null space of the design."""
    count = design.shape[1]
    if not len(design):
        return np.zeros(count), np.eye(count)
    root = np.sqrt(weight / weight.sum())
    found = np.linalg.lstsq(design * root[:, None], value * root, rcond=None)[0]
    # Identification depends on the patterns, not on their weights; entries of 0 and 1 make the rank clear.
    return found, np.eye(count) - np.linalg.pinv(design) @ design


def _blocks(names: list[str], free: Floats) -> tuple[list[Block], Block]:
    """Return the blocks with an identified sum, and the components in no such block."""
    structure = merged([tuple(frozenset({name, other}) for at, name in enumerate(names) for other in _tied(names, free, at))])
    known = [block for block in structure if np.abs(free @ np.array([name in block for name in names], dtype=np.float64)).max() < TINY]
    return known, frozenset(names).difference(*known)


def _tied(names: list[str], free: Floats, at: int) -> list[str]:
    """Return the component and those confounded with it."""
    return [name for place, name in enumerate(names) if place == at or abs(free[at, place]) > TINY]


def _numbered(columns: Indices) -> Indices:
    """Return one number for each row of non-negative integers, equal where rows are equal."""
    number = np.zeros(len(columns), dtype=np.intp)
    for column in columns.T:
        number *= int(column.max(initial=0)) + 1
        number += column
    return number


def _sums(group: Indices, values: Floats, groups: int) -> Floats:
    result = np.empty((groups, values.shape[1]))
    for place, column in enumerate(values.T):
        result[:, place] = np.bincount(group, weights=column, minlength=groups)
    return result


def _place(block: Block) -> int:
    return min(COMPONENTS.index(name) for name in block)
