"""Tables of gold and of mode draws, for the whole survey and for both halves of the respondents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.design import design_effects, respondent_effects
from valuestrata.dataset.gold import Redraws, count_answers, is_mode, redraw, shares_of
from valuestrata.dataset.halves import halve
from valuestrata.dataset.population import PopulationShares, estimate_shares
from valuestrata.dataset.subgroups import Cells, pair_id
from valuestrata.dataset.tables import GOLD, MISSING_CLASSES, MODE_DRAWS, SMALL_AREA
from valuestrata.frames import list_column
from valuestrata.measures import entropy
from valuestrata.progress import progress
from valuestrata.stats.small_area.shares import SmallArea
from valuestrata.survey.survey import Survey

HALVES = ("all", "A", "B")
# Pairs with fewer answers are flagged as small (NCHS practice for 30 to 59).
FLAG_BELOW = 60
# Bounds the memory of a chunk of redraws to about 200 MB.
RESAMPLE_CELLS = 25_000_000


def effective_answers(survey: Survey, cells: Cells, half_seed: int) -> NDArray[np.float64]:
    """Return the effective number of valid answers of every pair, of all respondents and of both halves.

    Returns:
        Shape (3, items, kept subgroups), in the order of `HALVES`.
    """
    return np.stack([counts.n_eff for counts in _by_half(survey, cells, half_seed)[1]])


def _by_half(survey: Survey, cells: Cells, half_seed: int) -> tuple[NDArray[np.bool_], list[CountedPairs]]:
    """Halve the respondents and count their answers: who is in half A, and the counts in the order of `HALVES`."""
    unit = None if survey.design is None else survey.design.unit
    stratum = None if survey.design is None else survey.design.stratum
    half = halve(cells.joint_of_respondent, cells.members, seed=half_seed, weight=survey.weight, unit=unit, stratum=stratum)
    widest = max(len(item.codes) for item in survey.items)
    # Joint cells are doubled, one per half: one pass then counts the whole survey and both halves.
    joint_cells = len(cells.joint_n)
    doubled = cells.joint_of_respondent + np.where(half, 0, joint_cells)
    of_a = list(cells.members)
    of_b = [members + joint_cells for members in cells.members]
    both = [np.concatenate(pair) for pair in zip(of_a, of_b, strict=True)]
    every = CountedPairs.of(survey, doubled, 2 * joint_cells, [*both, *of_a, *of_b], widest)
    subgroups = len(cells.kept)
    return half, [_slice(every, slice(h * subgroups, (h + 1) * subgroups)) for h in range(len(HALVES))]


@dataclass(frozen=True)
class CountedPairs:
    """Counts of every pair: raw and weighted, shape (items, subgroups, options); missing classes; n and n_eff, shape (items, subgroups).

    n_eff is Kish's number for the weights, divided by the design effect of clusters if the survey's design is known.
    """

    raw: NDArray[np.float64]
    weighted: NDArray[np.float64]
    missing: NDArray[np.float64]
    n: NDArray[np.float64]
    n_eff: NDArray[np.float64]

    @classmethod
    def of(
        cls, survey: Survey, joint: NDArray[np.intp], joint_cells: int, members: Sequence[NDArray[np.intp]], options: int
    ) -> CountedPairs:
        """Count the answers of respondents; arguments as for `count_answers`."""

        def count(weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
            return count_answers(survey.answers, joint, joint_cells, members, options, weight)

        classes = len(MISSING_CLASSES)
        heads = count(None)
        raw = heads[..., classes:]
        n = raw.sum(axis=-1)
        if survey.weight is None:
            return cls(raw, raw, heads[..., :classes], n, _of_design(survey, n, joint, joint_cells, members))
        weighted = count(survey.weight)[..., classes:]
        squares = count(survey.weight**2)[..., classes:].sum(axis=-1)
        total = weighted.sum(axis=-1)
        # Equal weights make n_eff a whole number, which rounding would put just below a minimum.
        n_eff = np.divide(total * total, squares, out=np.zeros_like(total), where=squares > 0).round(9)
        n_eff = _of_design(survey, n_eff, joint, joint_cells, members)
        return cls(raw, weighted, heads[..., :classes], n, n_eff)


def effective_respondents(survey: Survey, cells: Cells) -> NDArray[np.float64]:
    """Return the effective number of respondents of each kept subgroup: Kish's, divided by the design effect of clusters."""
    kish = np.array([subgroup.n_eff for subgroup in cells.kept])
    if survey.design is None:
        return kish
    inside = _respondents_of(cells.joint_of_respondent, len(cells.joint_n), cells.members)
    return (kish / respondent_effects(survey, kish, inside)).round(9)


def _of_design(
    survey: Survey, n_eff: NDArray[np.float64], joint: NDArray[np.intp], joint_cells: int, members: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Return effective answers, shape (items, subgroups), divided by the design effect of clusters or replicate weights."""
    if survey.design is None:
        return n_eff
    effective = n_eff / design_effects(survey, n_eff, _respondents_of(joint, joint_cells, members))
    # One answer is one effective answer, also with the common effect of replicate weights.
    return np.maximum(effective, np.minimum(n_eff, 1.0)).round(9)


def _respondents_of(joint: NDArray[np.intp], joint_cells: int, members: Sequence[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    """Return the indices of the respondents in each set of joint cells."""
    found: list[NDArray[np.intp]] = []
    for cells in members:
        inside = np.zeros(joint_cells, dtype=np.bool_)
        inside[cells] = True
        found.append(np.flatnonzero(inside[joint]))
    return found


def tabulate(
    survey: Survey, cells: Cells, *, min_valid: float, draws: int, share_draws: int, half_seed: int, redraw_seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, NDArray[np.int64]]:
    """Count and redraw every pair.

    Args:
        survey: the microdata. cells: its subgroups.
        min_valid: fewest effective valid answers of a pair; the nation is kept from one answer on.
        draws: joint redraws. share_draws: how many of them also keep the shares.
        half_seed, redraw_seed: seeds of the halving and of the redraws.

    Returns:
        The gold (GOLD schema), the small-area estimates (SMALL_AREA), the mode draws (MODE_DRAWS), and the valid answers by joint
        cell and item.
    """
    people = survey.respondents
    options = np.array([len(item.codes) for item in survey.items], dtype=np.intp)
    widest = int(options.max())
    half, counts = _by_half(survey, cells, half_seed)
    joint_cells, subgroups = len(cells.joint_n), len(cells.kept)

    respondents_of = _respondents_of(cells.joint_of_respondent, joint_cells, cells.members)
    chunk = int(np.clip(RESAMPLE_CELLS // people, 10, 250))
    chunks = -(-draws // chunk)
    with progress("resampling respondents", subgroups * chunks) as advance:
        redraws = redraw(
            survey.answers,
            options,
            respondents_of,
            half,
            np.stack([c.weighted for c in counts]),
            draws=draws,
            share_draws=share_draws,
            rng=np.random.default_rng(redraw_seed),
            weight=survey.weight,
            design=survey.design,
            advance=advance,
            chunk=chunk,
        )
    keep = counts[0].n_eff >= min_valid
    keep[:, 0] |= counts[0].n_eff[:, 0] > 0
    halves = (np.ones(people, dtype=np.bool_), half, ~half)
    squares = np.ones(people) if survey.weight is None else np.square(survey.weight)
    in_joint = [np.bincount(cells.joint_of_respondent, weights=squares * who, minlength=joint_cells).astype(float) for who in halves]
    estimates = [estimate_shares(survey, cells, of, c.weighted, c.n_eff) for of, c in zip(in_joint, counts, strict=True)]
    gold, small_area = gold_frames(survey, cells, counts, estimates, redraws, keep)
    mode_draws = draws_frame(survey, cells, counts, redraws, keep)
    singles: list[NDArray[np.intp]] = [np.array([cell], dtype=np.intp) for cell in range(joint_cells)]
    by_joint = count_answers(survey.answers, cells.joint_of_respondent, joint_cells, singles, widest)
    valid_by_joint = by_joint[..., len(MISSING_CLASSES) :].sum(axis=-1).T.astype(np.int64)
    return gold, small_area, mode_draws, valid_by_joint


def _slice(counts: CountedPairs, which: slice) -> CountedPairs:
    return CountedPairs(
        counts.raw[:, which], counts.weighted[:, which], counts.missing[:, which], counts.n[:, which], counts.n_eff[:, which]
    )


def gold_frames(
    survey: Survey,
    cells: Cells,
    counts: Sequence[CountedPairs],
    estimates: Sequence[SmallArea],
    redraws: Sequence[Redraws],
    keep: NDArray[np.bool_],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the gold and the small-area estimates, in the same order."""
    frames: list[pl.DataFrame] = []
    small: list[pl.DataFrame] = []
    ids = np.array([s.id for s in cells.kept], dtype=object)
    for group in redraws:
        k = group.p_mode.shape[-1]
        for h, (name, counted) in enumerate(zip(HALVES, counts, strict=False)):
            i, s = _with_gold(group, counted, keep)
            if not len(i):  # no valid answers in this half for items with k options
                continue
            item = group.items[i]
            here = _at(counted, item, s, k)
            population = PopulationShares.at(estimates[h], item, s, k, here.n_eff)
            frames.append(_gold_rows(survey, item, ids[s], name, here, _Drawn.at(group, h, i, s), population))
            small.append(population.rows(frames[-1]["pair_id"].to_list(), name))
    if not frames:
        return GOLD.empty(), SMALL_AREA.empty()
    order = {item.id: position for position, item in enumerate(survey.items)}
    rank = {subgroup.id: position for position, subgroup in enumerate(cells.kept)}
    gold = pl.concat(frames).sort(
        pl.col("item").replace_strict(order, return_dtype=pl.Int32),
        pl.col("subgroup").replace_strict(rank, return_dtype=pl.Int32),
        pl.col("half").replace_strict({name: h for h, name in enumerate(HALVES)}, return_dtype=pl.Int32),
    )
    sorted_rows = gold.select("pair_id", "half").join(pl.concat(small), on=("pair_id", "half"), how="left", maintain_order="left")
    return GOLD.check(gold, "gold"), SMALL_AREA.check(sorted_rows, "small area")


def _with_gold(group: Redraws, counts: CountedPairs, keep: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs that have gold in a half: index of the item within the group, index of the subgroup."""
    # n_eff is 0 if all answers have weight 0.
    i, s = np.nonzero(keep[group.items] & (counts.n_eff[group.items] > 0))
    return i, s


def _at(counts: CountedPairs, item: NDArray[np.intp], s: NDArray[np.intp], k: int) -> CountedPairs:
    return CountedPairs(
        counts.raw[item, s, :k], counts.weighted[item, s, :k], counts.missing[item, s], counts.n[item, s], counts.n_eff[item, s]
    )


@dataclass(frozen=True)
class _Drawn:
    p_mode: NDArray[np.float64]
    floor_w1: NDArray[np.float64]
    floor_rps: NDArray[np.float64]

    @classmethod
    def at(cls, group: Redraws, h: int, i: NDArray[np.intp], s: NDArray[np.intp]) -> _Drawn:
        return cls(group.p_mode[h, i, s], group.floor_w1[h, i, s], group.floor_rps[h, i, s])


def _gold_rows(
    survey: Survey,
    item: NDArray[np.intp],
    subgroup: NDArray[Any],
    half: str,
    counts: CountedPairs,
    drawn: _Drawn,
    population: PopulationShares,
) -> pl.DataFrame:
    shares = shares_of(counts.weighted)
    tied = is_mode(counts.weighted)
    mode = tied.argmax(axis=-1)
    top_two = -np.sort(-shares, axis=-1)[:, :2]
    codes = np.array([survey.items[j].codes for j in item], dtype=np.int32).reshape(shares.shape)
    ordered = pl.Series([survey.items[j].level != "nominal" for j in item], dtype=pl.Boolean)
    names = [survey.items[j].id for j in item]
    bounds = population.bounds(drawn.p_mode, mode)
    # Redraws of a survey design are already rescaled.
    correction = population.correction() if survey.design is None else np.ones(len(item))
    frame = pl.DataFrame(
        {
            "pair_id": [pair_id(name, s) for name, s in zip(names, subgroup, strict=True)],
            "item": names,
            "subgroup": subgroup.tolist(),
            "half": [half] * len(item),
            "n": counts.n,
            "n_eff": counts.n_eff,
            "counts_raw": list_column(counts.raw),
            "counts_weighted": list_column(counts.weighted),
            "shares": list_column(shares),
            "mode": codes[np.arange(len(item)), mode],
            "modes": _lists_where(codes, tied),
            "mode_share": shares.max(axis=-1),
            "p_mode": list_column(drawn.p_mode),
            "margin": top_two[:, 0] - top_two[:, 1],
            "entropy": entropy(shares),
            **bounds,
            "floor_w1": drawn.floor_w1 * np.sqrt(correction),
            "floor_rps": drawn.floor_rps * correction,
            "small": counts.n_eff < FLAG_BELOW,
            "missing": _missing(counts.missing),
        },
        strict=False,
    )
    return frame.with_columns(
        *(pl.when(ordered).then(pl.col(name)).alias(name) for name in ("floor_nmae", "floor_w1", "floor_rps")),
        pl.when("small").then(pl.lit("small")).alias("flag"),
    ).drop("small")


def _missing(counts: NDArray[np.float64]) -> pl.Series:
    # Class -1 is the last column of the counts (see `count_answers`) and the first field of the struct.
    ordered = counts[:, ::-1].astype(np.int64)
    return pl.DataFrame({name: ordered[:, c] for c, name in enumerate(MISSING_CLASSES)}).to_struct("missing")


def _lists_where(values: NDArray[Any], chosen: NDArray[np.bool_]) -> pl.Series:
    """Return the chosen values of each row as a list. Every row needs at least one."""
    rows = pl.DataFrame({"row": np.nonzero(chosen)[0], "value": values[chosen]})
    return rows.group_by("row", maintain_order=True).agg("value")["value"]


def draws_frame(
    survey: Survey, cells: Cells, counts: Sequence[CountedPairs], redraws: Sequence[Redraws], keep: NDArray[np.bool_]
) -> pl.DataFrame:
    """Return the mode draws of the kept pairs."""
    frames: list[pl.DataFrame] = []
    for group in redraws:
        flat = group.share_draws.reshape(*group.share_draws.shape[:3], math.prod(group.share_draws.shape[3:]))
        for h, (name, counted) in enumerate(zip(HALVES, counts, strict=False)):
            i, s = _with_gold(group, counted, keep)
            if not len(i):
                continue
            frames.append(
                pl.DataFrame(
                    {
                        "pair_id": [pair_id(survey.items[group.items[a]].id, cells.kept[b].id) for a, b in zip(i, s, strict=True)],
                        "half": [name] * len(i),
                        "draws": list_column(group.modes[h, i, s], pl.Int8()),
                        "share_se": list_column(group.share_se[h, i, s]),
                        "share_draws": list_column(flat[h, i, s], pl.Int8()),
                    }
                )
            )
    return MODE_DRAWS.check(pl.concat(frames), "mode draws") if frames else MODE_DRAWS.empty()
