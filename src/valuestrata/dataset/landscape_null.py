"""How much subgroups would differ by chance: the landscape with respondents permuted among the subgroups of a stratum.

Both measures of the landscape are above 0 even if all subgroups answer alike, because each subgroup is a sample. The null keeps the
number of respondents of every subgroup, and a respondent's answers and weight stay together. All questions and all strata use the
same permutations, so means over questions and strata have a null too.

**Effective answers.** Permuted respondents spread missing answers, weights and sampling units evenly over subgroups, which the survey
may not. Where the effective number of answers of a pair is more than 10 % away from that of permuted respondents (`TOLERATED`), the
deviations of its permuted shares from the shares of the whole stratum are therefore multiplied by the square root of their ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.design import kish_answers
from valuestrata.dataset.gold import indicators
from valuestrata.dataset.subgroups import EVERYONE, Cells
from valuestrata.frames import list_column
from valuestrata.survey.survey import Survey

# Permutations: the standard error of the mean of the null is 10 % of its standard deviation.
PERMUTATIONS = 100
TOLERATED = 0.1
# Difference below which permuted shares, of single precision, are tied.
TIED = 1e-5
# Above every cumulative share.
LAST = 9.0
# Numbers of 4 bytes held at once for the memberships of permuted respondents.
CHUNK_NUMBERS = 4_000_000

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Diversity:
    """Both measures for the items with one number of options, each of shape (..., I); NaN where undefined."""

    mds: Singles
    wasserstein: Singles


def diversity(modes: NDArray[np.integer], shares: NDArray[np.floating], kept: NDArray[np.bool_], options: int) -> Diversity:
    """Return the Modal Diversity Score and the mean pairwise W1 of many sets of subgroups at once (see `measures`).

    Args:
        modes: shape (R, S, I), option index of the mode of each subgroup.
        shares: shape (R', S, K, I); R' may differ from R.
        kept: shape (S, I), which subgroups count. options: K.
    """
    number = kept.sum(axis=0)
    bits = np.zeros((len(modes), len(number)), dtype=np.float32)
    for option in range(options):
        share = ((modes == option) & kept).sum(axis=1, dtype=np.float32) / np.maximum(number, 1).astype(np.float32)
        bits -= share * np.log2(np.where(share > 0, share, np.float32(1)))
    most = np.minimum(number, options)
    mds = np.where(most < 2, np.nan, bits / np.log2(np.maximum(most, 2))).astype(np.float32)
    # sum_{i<j} |x_i - x_j| = sum_i (2i - S + 1) x_(i); subgroups that do not count are sorted last and have weight 0.
    place = np.arange(len(kept))[:, None]
    rank = np.where(place < number, 2.0 * place - number + 1.0, 0.0).astype(np.float32)
    total, at_most = np.zeros((len(shares), len(number)), dtype=np.float32), np.zeros_like(shares[:, :, 0])
    for option in range(options - 1):
        at_most += shares[:, :, option]
        total += np.einsum("rsi,si->ri", np.sort(np.where(kept, at_most, np.float32(LAST)), axis=1), rank)
    pairs = number * (number - 1) / 2
    return Diversity(mds, np.where(pairs > 0, total / (np.maximum(pairs, 1) * (options - 1)), np.nan).astype(np.float32))


def permuted_landscape(
    survey: Survey, cells: Cells, gold: pl.DataFrame, *, seed: int, permutations: int = PERMUTATIONS, advance: Callable[[int], None]
) -> pl.DataFrame:
    """Return the measures of every item and stratum with permuted respondents.

    Args:
        survey: the microdata. cells: its subgroups.
        gold: GOLD schema; a stratum's subgroups with a row of half `all` count for an item, with their effective answers.
        seed: of the permutations. permutations: R. advance: called once per stratum.

    Returns:
        item, stratum, mds_null_draws and wasserstein_null_draws (lists of R numbers; null for nominal items).
    """
    options = np.array([len(item.codes) for item in survey.items])
    ordered = np.array([item.level != "nominal" for item in survey.items])
    groups = [np.flatnonzero(options == k) for k in np.unique(options)]
    weight = np.ones(survey.respondents) if survey.weight is None else survey.weight
    # The columns of each group, side by side: one matrix product counts all items.
    answers = [indicators(survey.answers[:, items], int(options[items[0]])) for items in groups]
    matrix = np.hstack(answers).astype(np.float32) * weight.astype(np.float32)[:, None]
    n_eff = _effective(survey, cells, gold)
    rng = np.random.default_rng(seed)
    permutation = np.stack([rng.permutation(survey.respondents) for _ in range(permutations)]).astype(np.int32)
    frames: list[pl.DataFrame] = []
    for stratum in dict.fromkeys(s.stratum.name for s in cells.kept):
        places = np.array([at for at, s in enumerate(cells.kept) if s.stratum.name == stratum], dtype=np.intp)
        advance(1)
        if stratum == EVERYONE or len(places) < 2:
            continue
        label = _labels(cells, places)
        here = np.flatnonzero(label >= 0)
        counts = _permuted_counts(matrix[here], label[_within(permutation, label >= 0)], len(places))
        by_group = np.split(counts, np.cumsum([answer.shape[1] for answer in answers])[:-1], axis=-1)
        pooled = np.split(matrix[here].sum(axis=0, dtype=np.float64), np.cumsum([answer.shape[1] for answer in answers])[:-1])
        kish = kish_answers(weight[here], survey.answers[here] >= 0)
        for items, found, whole in zip(groups, by_group, pooled, strict=True):
            k = int(options[items[0]])
            kept = n_eff[places][:, items] > 0
            ratio = np.sqrt(_expected(label[here], len(places), kish[items], len(here)) / np.maximum(n_eff[places][:, items], 1e-9))
            counted = found.reshape(permutations, len(places), k, len(items))
            modes, shares = _rescaled(counted, whole.reshape(k, len(items)), ratio)
            measured = diversity(modes, shares, kept, k)
            frames.append(_rows(survey, items, stratum, measured, ordered))
    schema = {name: pl.List(pl.Float32) for name in ("mds_null_draws", "wasserstein_null_draws")}
    return pl.concat(frames) if frames else pl.DataFrame(schema={"item": pl.String, "stratum": pl.String, **schema})


def _effective(survey: Survey, cells: Cells, gold: pl.DataFrame) -> NDArray[np.float64]:
    """Return the effective answers of every pair with gold, shape (kept subgroups, items); 0 without gold."""
    rows = {subgroup.id: at for at, subgroup in enumerate(cells.kept)}
    columns = {item.id: at for at, item in enumerate(survey.items)}
    found = np.zeros((len(rows), len(columns)))
    for subgroup, item, n_eff in gold.filter(pl.col("half") == "all").select("subgroup", "item", "n_eff").iter_rows():
        found[rows[subgroup], columns[item]] = n_eff
    return found


def _labels(cells: Cells, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which of the subgroups at `places` each respondent is in, -1 for none; the subgroups do not overlap."""
    of_cell = np.full(len(cells.joint_n), -1, dtype=np.intp)
    for number, place in enumerate(places):
        of_cell[cells.members[place]] = number
    return of_cell[cells.joint_of_respondent]


def _within(permutation: NDArray[np.int32], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Restrict permutations of all people, shape (R, people), to those inside: each person gets the next one inside on their cycle.

    The result permutes the people inside uniformly, and differs from `permutation` only where that leads outside.

    Returns:
        Shape (R, people inside), numbers of people.
    """
    found = permutation[:, inside]
    row, column = np.nonzero(~inside[found])
    while len(row):
        found[row, column] = permutation[row, found[row, column]]
        left = ~inside[found[row, column]]
        row, column = row[left], column[left]
    return found


def _permuted_counts(matrix: Singles, drawn: NDArray[np.intp], subgroups: int) -> Singles:
    """Return the column sums of `matrix` (people, columns) over permuted subgroups, shape (R, subgroups, columns).

    Args:
        matrix: shape (people, columns). drawn: shape (R, people), the subgroup that each person is moved to.
    """
    permutations, people = drawn.shape
    counts = np.empty((permutations, subgroups, matrix.shape[1]), dtype=np.float32)
    size = max(1, CHUNK_NUMBERS // (subgroups * people))
    for start in range(0, permutations, size):
        moved = drawn[start : start + size]
        member = np.zeros((len(moved), subgroups, people), dtype=np.float32)
        member[np.arange(len(moved))[:, None], moved, np.arange(people)] = 1.0
        counts[start : start + size] = (member.reshape(-1, people) @ matrix).reshape(len(moved), subgroups, -1)
    return counts


def _expected(label: NDArray[np.intp], subgroups: int, n_eff: NDArray[np.float64], people: int) -> NDArray[np.float64]:
    """Return the effective answers that permuted respondents give each subgroup on average, shape (subgroups, I)."""
    return np.bincount(label, minlength=subgroups)[:, None] * n_eff / people


def _rescaled(counts: Singles, pooled: NDArray[np.float64], ratio: NDArray[np.float64]) -> tuple[NDArray[np.int8], Singles]:
    """Return modes (R, S, I) and shares (R, S, K, I) of permuted counts, their deviations from the pooled shares rescaled.

    Args:
        counts: shape (R, S, K, I). pooled: shape (K, I), counts of the whole stratum. ratio: shape (S, I), factor of deviations.
    """
    total = counts.sum(axis=2, keepdims=True)
    whole = (pooled / np.maximum(pooled.sum(axis=0), 1e-300)).astype(np.float32)
    shares = counts / np.maximum(total, np.float32(1e-30))
    if (total == 0).any():
        shares = np.where(total > 0, shares, whole)
    factor = np.where(np.abs(ratio - 1.0) > TOLERATED / 2, ratio, 1.0).astype(np.float32)
    if (factor != 1.0).any():
        shares -= whole
        shares *= factor[:, None]
        shares += whole
    largest, modes = shares[:, :, 0].copy(), np.zeros(shares[:, :, 0].shape, dtype=np.int8)
    for option in range(1, shares.shape[2]):
        # The lowest of tied options is the mode.
        modes[shares[:, :, option] > largest + np.float32(TIED)] = option
        np.maximum(largest, shares[:, :, option], out=largest)
    return modes, shares


def _rows(survey: Survey, items: NDArray[np.intp], stratum: str, found: Diversity, ordered: NDArray[np.bool_]) -> pl.DataFrame:
    draws = {"mds_null_draws": found.mds, "wasserstein_null_draws": np.where(ordered[items], found.wasserstein, np.nan)}
    frame = pl.DataFrame(
        {
            "item": [survey.items[item].id for item in items],
            "stratum": [stratum] * len(items),
            **{name: list_column(values.astype(np.float32).T, pl.Float32()) for name, values in draws.items()},
        }
    )
    return frame.with_columns(pl.when(pl.col(name).list.first().is_not_nan()).then(pl.col(name)).alias(name) for name in draws)
