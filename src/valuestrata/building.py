"""From a survey to a data set: subgroups, gold, landscape and splits in one pass."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset import FORMAT, GOLD, ITEMS, MISSING_CLASSES, MODE_DRAWS, Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash
from valuestrata.gold import Redraws, count_answers, floor_nmae, is_mode, redraw, shares_of
from valuestrata.landscape import measure_landscape
from valuestrata.measures import entropy
from valuestrata.progress import progress
from valuestrata.splits import measure_leakage, paper_split
from valuestrata.subgroups import EVERYONE, Cells, Subgroup, make_cells, make_strata, n_eff_of, pair_id
from valuestrata.survey.survey import Survey

HALVES = ("all", "A", "B")
# A pair between the minimum and twice the minimum is kept but flagged (NCHS practice: 30 to 59).
FLAG_BELOW_MINIMA = 2.0
SHAREABLE_FROM = 10
# Below this many answers a share is read with care whatever minimum was chosen.
SMALL_CELL = 30
# So that a redraw chunk stays near 200 MB whatever the size of the survey.
RESAMPLE_CELLS = 25_000_000


@dataclass(frozen=True)
class BuildSettings:
    """What a user may choose about a data set.

    Attributes:
        strata: names of the strata to build; empty for single attributes and all their pairs.
        order: largest number of attributes crossed (3 adds triples).
        min_respondents: fewest respondents of a subgroup.
        min_valid: fewest valid answers of a pair, on n_eff when weighted.
        weighted: use the survey's weight if it has one.
        draws: joint redraws of the respondents.
        half_seed, redraw_seed, split_seed: seeds of the halving, the redraws and the validation draw.
        preset: `paper` for unweighted, 30 respondents and 1 valid answer; else None.
    """

    strata: tuple[str, ...] = ()
    order: int = 2
    min_respondents: int = 30
    min_valid: float = 30
    weighted: bool = True
    draws: int = 1000
    half_seed: int = 0
    redraw_seed: int = 0
    split_seed: int = 42
    preset: str | None = None


def paper_preset(settings: BuildSettings) -> BuildSettings:
    """Return the settings with the choices of arXiv 2604.12851: unweighted, 30 respondents, 1 valid answer."""
    return replace(settings, weighted=False, min_respondents=30, min_valid=1, preset="paper")


def build(survey: Survey, settings: BuildSettings | None = None) -> Dataset:
    """Build the data set of a survey: aggregates only.

    Raises:
        InputDataError: no item, no attribute, or no subgroup reaches the minimum.
        UsageError: a stratum that does not exist.
    """
    settings = settings or BuildSettings()
    survey = _usable(survey if settings.weighted else replace(survey, weight=None))
    strata = make_strata(survey.attributes, order=settings.order, names=settings.strata)
    cells = make_cells(survey, strata, min_respondents=settings.min_respondents)
    if len(cells.kept) < 2:
        largest = max((s.n for s in cells.dropped), default=0)
        raise InputDataError(
            f"{survey.source.file}: no subgroup has {settings.min_respondents} respondents (the largest has {largest}); "
            f"lower --min-respondents or select more respondents."
        )
    gold, draws, valid_by_joint = _measure(survey, cells, settings)
    items = _items_frame(survey)
    subgroups = _subgroups_frame(survey, cells)
    targets = gold.filter((pl.col("half") == "all") & (pl.col("subgroup") != EVERYONE)).select("pair_id", "item", "subgroup")
    if targets.is_empty():
        raise InputDataError(f"{survey.source.file}: no pair has {settings.min_valid:g} valid answers; lower --min-valid.")
    if targets["pair_id"].is_duplicated().any():
        twice = targets.filter(pl.col("pair_id").is_duplicated())["pair_id"][0]
        raise InputDataError(f"{survey.source.file}: two pairs would both be called {twice!r}; rename the item or the level.")
    ids = [s.id for s in cells.kept]
    item_ids = [item.id for item in survey.items]
    # With fewer attributes than the paper's split needs the data set is still good for everything else.
    if len(survey.attributes) >= 3 or settings.preset == "paper":
        splits = paper_split(targets, subgroups, survey.attributes, seed=settings.split_seed)
    else:
        splits = _everything_tests(targets, settings.split_seed)
    meta = _meta(survey, cells, settings, gold, targets, splits)
    return Dataset(
        meta=meta,
        items=items,
        subgroups=subgroups,
        joint=_joint_frame(survey, cells),
        gold=gold,
        mode_draws=draws,
        splits=splits,
        leakage=measure_leakage(splits, ids, cells.members, item_ids, valid_by_joint),
        landscape=measure_landscape(gold, subgroups, items),
    )


def _usable(survey: Survey) -> Survey:
    if not survey.items or not survey.attributes or survey.respondents == 0:
        lacks = "items" if not survey.items else "attributes" if not survey.attributes else "respondents"
        raise InputDataError(f"{survey.source.file}: nothing to build from: no {lacks} were recognised (see `valuestrata describe`).")
    return survey


def preview(survey: Survey, settings: BuildSettings) -> pl.DataFrame:
    """Return what a build would keep: stratum, cells kept and dropped, pairs kept and dropped, smallest kept cell."""
    survey = _usable(survey if settings.weighted else replace(survey, weight=None))
    strata = make_strata(survey.attributes, order=settings.order, names=settings.strata)
    cells = make_cells(survey, strata, min_respondents=settings.min_respondents)
    enough = _enough_answers(survey, cells, settings)
    rows: list[dict[str, Any]] = []
    for stratum in strata:
        kept = [i for i, s in enumerate(cells.kept) if s.stratum.name == stratum.name]
        if stratum.name == EVERYONE:
            continue
        pairs = int(enough[:, kept].sum())
        rows.append(
            {
                "stratum": stratum.name,
                "cells_kept": len(kept),
                "cells_dropped": sum(s.stratum.name == stratum.name for s in cells.dropped),
                "smallest_kept": min((cells.kept[i].n for i in kept), default=None),
                "pairs_kept": pairs,
                "pairs_dropped": len(kept) * len(survey.items) - pairs,
            }
        )
    return pl.DataFrame(rows)


def _enough_answers(survey: Survey, cells: Cells, settings: BuildSettings) -> NDArray[np.bool_]:
    options = np.array([len(item.codes) for item in survey.items], dtype=np.intp)
    counts = _Counts.of(survey, cells, cells.joint_of_respondent, len(cells.joint_n), cells.members, int(options.max()))
    return counts.n_eff >= settings.min_valid


@dataclass(frozen=True)
class _Counts:
    """Raw and weighted counts, shape (items, subgroups, options); missing classes; n and n_eff, shape (items, subgroups)."""

    raw: NDArray[np.float64]
    weighted: NDArray[np.float64]
    missing: NDArray[np.float64]
    n: NDArray[np.float64]
    n_eff: NDArray[np.float64]

    @classmethod
    def of(
        cls, survey: Survey, cells: Cells, joint: NDArray[np.intp], joint_cells: int, members: Sequence[NDArray[np.intp]], options: int
    ) -> _Counts:
        def count(weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
            return count_answers(survey.answers, joint, joint_cells, members, options, weight)

        classes = len(MISSING_CLASSES)
        heads = count(None)
        raw = heads[..., classes:]
        n = raw.sum(axis=-1)
        if survey.weight is None:
            return cls(raw, raw, heads[..., :classes], n, n)
        weighted = count(survey.weight)[..., classes:]
        squares = count(survey.weight**2)[..., classes:].sum(axis=-1)
        total = weighted.sum(axis=-1)
        # Equal weights make n_eff a whole number, which rounding would put just below a minimum.
        n_eff = np.divide(total * total, squares, out=np.zeros_like(total), where=squares > 0).round(9)
        return cls(raw, weighted, heads[..., :classes], n, n_eff)


def _measure(survey: Survey, cells: Cells, settings: BuildSettings) -> tuple[pl.DataFrame, pl.DataFrame, NDArray[np.int64]]:
    """Count all pairs in the whole survey and both halves, redraw, and lay the results out as frames."""
    people = survey.respondents
    options = np.array([len(item.codes) for item in survey.items], dtype=np.intp)
    widest = int(options.max())
    half = np.zeros(people, dtype=bool)
    half[np.random.default_rng(settings.half_seed).permutation(people)[: people // 2]] = True

    # Joint cells are doubled, one for each half, so that all three halves come from the same pass.
    joint_cells = len(cells.joint_n)
    doubled = cells.joint_of_respondent + np.where(half, 0, joint_cells)
    of_a = list(cells.members)
    of_b = [members + joint_cells for members in cells.members]
    both = [np.concatenate(pair) for pair in zip(of_a, of_b, strict=True)]
    every = _Counts.of(survey, cells, doubled, 2 * joint_cells, [*both, *of_a, *of_b], widest)
    subgroups = len(cells.kept)
    counts = [_slice(every, slice(h * subgroups, (h + 1) * subgroups)) for h in range(len(HALVES))]

    respondents_of = [np.flatnonzero(np.isin(cells.joint_of_respondent, members)) for members in cells.members]
    chunk = int(np.clip(RESAMPLE_CELLS // people, 10, 250))
    chunks = -(-settings.draws // chunk)
    with progress("resampling respondents", subgroups * chunks) as advance:
        redraws = redraw(
            survey.answers,
            options,
            respondents_of,
            half,
            np.stack([c.weighted for c in counts]),
            draws=settings.draws,
            rng=np.random.default_rng(settings.redraw_seed),
            weight=survey.weight,
            advance=advance,
            chunk=chunk,
        )
    keep = counts[0].n_eff >= settings.min_valid
    keep[:, 0] |= counts[0].n_eff[:, 0] > 0
    gold = _gold_frame(survey, cells, counts, redraws, keep, settings)
    draws = _draws_frame(survey, cells, redraws, keep)
    singles: list[NDArray[np.intp]] = [np.array([cell], dtype=np.intp) for cell in range(joint_cells)]
    by_joint = count_answers(survey.answers, cells.joint_of_respondent, joint_cells, singles, widest)
    valid_by_joint = by_joint[..., len(MISSING_CLASSES) :].sum(axis=-1).T.astype(np.int64)
    return gold, draws, valid_by_joint


def _slice(counts: _Counts, which: slice) -> _Counts:
    return _Counts(counts.raw[:, which], counts.weighted[:, which], counts.missing[:, which], counts.n[:, which], counts.n_eff[:, which])


def _gold_frame(
    survey: Survey,
    cells: Cells,
    counts: Sequence[_Counts],
    redraws: Sequence[Redraws],
    keep: NDArray[np.bool_],
    settings: BuildSettings,
) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    ids = np.array([s.id for s in cells.kept], dtype=object)
    for group in redraws:
        k = group.p_mode.shape[-1]
        for h, name in enumerate(HALVES):
            # Answers that all weigh nothing say as little as none.
            chosen = keep[group.items] & (counts[h].n_eff[group.items] > 0)
            i, s = np.nonzero(chosen)
            item = group.items[i]
            frames.append(_gold_rows(survey, item, ids[s], name, _at(counts[h], item, s, k), _Drawn.at(group, h, i, s), settings))
    order = {item.id: position for position, item in enumerate(survey.items)}
    rank = {subgroup.id: position for position, subgroup in enumerate(cells.kept)}
    gold = pl.concat(frames).sort(
        pl.col("item").replace_strict(order, return_dtype=pl.Int32),
        pl.col("subgroup").replace_strict(rank, return_dtype=pl.Int32),
        pl.col("half").replace_strict({name: h for h, name in enumerate(HALVES)}, return_dtype=pl.Int32),
    )
    return GOLD.check(gold, "gold")


def _at(counts: _Counts, item: NDArray[np.intp], s: NDArray[np.intp], k: int) -> _Counts:
    return _Counts(counts.raw[item, s, :k], counts.weighted[item, s, :k], counts.missing[item, s], counts.n[item, s], counts.n_eff[item, s])


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
    counts: _Counts,
    drawn: _Drawn,
    settings: BuildSettings,
) -> pl.DataFrame:
    shares = shares_of(counts.weighted)
    tied = is_mode(counts.weighted)
    mode = tied.argmax(axis=-1)
    top_two = -np.sort(-shares, axis=-1)[:, :2]
    codes = np.array([survey.items[j].codes for j in item], dtype=np.int32).reshape(shares.shape)
    ordered = pl.Series([survey.items[j].level != "nominal" for j in item], dtype=pl.Boolean)
    names = [survey.items[j].id for j in item]
    frame = pl.DataFrame(
        {
            "pair_id": [pair_id(name, s) for name, s in zip(names, subgroup, strict=True)],
            "item": names,
            "subgroup": subgroup.tolist(),
            "half": [half] * len(item),
            "n": counts.n,
            "n_eff": counts.n_eff,
            "counts_raw": _lists(counts.raw),
            "counts_weighted": _lists(counts.weighted),
            "shares": _lists(shares),
            "mode": codes[np.arange(len(item)), mode],
            "modes": pl.Series([row[is_in].tolist() for row, is_in in zip(codes, tied, strict=True)], dtype=pl.List(pl.Int32)),
            "mode_share": shares.max(axis=-1) if len(item) else [],
            "p_mode": _lists(drawn.p_mode),
            "margin": top_two[:, 0] - top_two[:, 1] if len(item) else [],
            "entropy": entropy(shares),
            "ceiling_oracle": drawn.p_mode.max(axis=-1) if len(item) else [],
            "ceiling_human": np.square(drawn.p_mode).sum(axis=-1),
            "floor_nmae": floor_nmae(drawn.p_mode, mode),
            "floor_w1": drawn.floor_w1,
            "floor_rps": drawn.floor_rps,
            "small": counts.n_eff < max(settings.min_valid, SMALL_CELL) * FLAG_BELOW_MINIMA,
            "missing": _missing(counts.missing),
        },
        strict=False,
    )
    return frame.with_columns(
        *(pl.when(ordered).then(pl.col(name)).alias(name) for name in ("floor_nmae", "floor_w1", "floor_rps")),
        pl.when("small").then(pl.lit("small")).alias("flag"),
    ).drop("small")


def _missing(counts: NDArray[np.float64]) -> pl.Series:
    # Class -1 is counted last (see count_answers), the struct lists it first.
    ordered = counts[:, ::-1].astype(np.int64)
    return pl.DataFrame({name: ordered[:, c] for c, name in enumerate(MISSING_CLASSES)}).to_struct("missing")


def _lists(values: NDArray[Any]) -> pl.Series:
    return pl.Series(np.ascontiguousarray(values), dtype=pl.Array(pl.Float64, values.shape[-1])).arr.to_list()


def _draws_frame(survey: Survey, cells: Cells, redraws: Sequence[Redraws], keep: NDArray[np.bool_]) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    for group in redraws:
        i, s = np.nonzero(keep[group.items])
        modes = np.ascontiguousarray(group.modes[i, s])
        frames.append(
            pl.DataFrame(
                {
                    "pair_id": [pair_id(survey.items[group.items[a]].id, cells.kept[b].id) for a, b in zip(i, s, strict=True)],
                    "draws": pl.Series(modes, dtype=pl.Array(pl.Int8, modes.shape[-1])).arr.to_list(),
                    "share_se": _lists(group.share_se[i, s]),
                }
            )
        )
    return MODE_DRAWS.check(pl.concat(frames), "mode draws")


def _items_frame(survey: Survey) -> pl.DataFrame:
    return ITEMS.frame(
        [
            {
                "item": item.id,
                "topic": item.topic,
                "block": item.block,
                "level": item.level,
                "codes": list(item.codes),
                "labels": list(item.labels),
                "question": item.question,
                "open_question": item.open_question,
                "wording_source": item.wording_source,
            }
            for item in survey.items
        ]
    )


def _subgroups_frame(survey: Survey, cells: Cells) -> pl.DataFrame:
    def labels(subgroup: Subgroup) -> dict[str, str]:
        pairs = zip(subgroup.stratum.attributes, subgroup.levels, strict=True)
        return {survey.attributes[a].name: survey.attributes[a].levels[level].label for a, level in pairs}

    rows = [{"subgroup": s.id, "stratum": s.stratum.name, "n": s.n, "n_eff": s.n_eff, **labels(s)} for s in cells.kept]
    schema = {"subgroup": pl.String, "stratum": pl.String, "n": pl.Int64, "n_eff": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, **{a.name: pl.String for a in survey.attributes}})


def _joint_frame(survey: Survey, cells: Cells) -> pl.DataFrame:
    columns: dict[str, Any] = {}
    for a, attribute in enumerate(survey.attributes):
        labels = [level.label for level in attribute.levels]
        columns[attribute.name] = [labels[level] if level >= 0 else None for level in cells.joint_levels[:, a]]
    schema = {attribute.name: pl.String for attribute in survey.attributes}
    frame = pl.DataFrame(columns, schema=schema)
    return frame.with_columns(pl.Series("n", cells.joint_n), pl.Series("weight", cells.joint_weight))


def _everything_tests(targets: pl.DataFrame, seed: int) -> pl.DataFrame:
    return targets.with_columns(
        pl.lit("none").alias("scheme"),
        pl.lit(0, pl.Int32).alias("fold"),
        pl.lit(seed, pl.Int64).alias("seed"),
        pl.lit("test").alias("part"),
    )


def _meta(
    survey: Survey, cells: Cells, settings: BuildSettings, gold: pl.DataFrame, targets: pl.DataFrame, splits: pl.DataFrame
) -> Mapping[str, Any]:
    codebook = survey.codebook
    findings = asdict(survey.findings)
    # The columns nobody asked for can run into hundreds; their number is enough here.
    findings["ignored_columns"] = len(survey.findings.ignored_columns)
    # Halves and the nation are published too.
    fewest = min(gold["n"].to_list(), default=0)
    document: dict[str, Any] = {
        "format": FORMAT,
        "survey": {"name": codebook.survey, "title": codebook.title, "version": codebook.version, "citation": codebook.citation},
        "source": asdict(survey.source),
        "countries": [asdict(country) for country in survey.countries],
        "place": survey.place,
        "attributes": [
            {
                "name": a.name,
                "short": a.short,
                "title": a.title,
                "role": a.role,
                "levels": [{"label": level.label, "phrase": level.phrase, "role": level.role} for level in a.levels],
            }
            for a in survey.attributes
        ],
        "settings": asdict(settings),
        "weighted": survey.weight is not None,
        "respondents": survey.respondents,
        "n_eff": n_eff_of(survey),
        "counts": {
            "items": len(survey.items),
            "subgroups": len(cells.kept) - 1,
            "subgroups_dropped": len(cells.dropped),
            "pairs": len(targets),
            "pairs_dropped": len(survey.items) * (len(cells.kept) - 1) - len(targets),
            "parts": dict(splits.group_by("part").len().sort("part").iter_rows()),
        },
        "findings": findings,
        "shareable": fewest >= SHAREABLE_FROM and settings.preset != "paper",
        "versions": {name: importlib.metadata.version(name) for name in ("valuestrata", "numpy", "polars")},
    }
    wording = [(i.id, i.codes, i.labels, i.question) for i in survey.items]
    identity = [document[key] for key in ("survey", "source", "settings", "attributes", "countries")]
    document["fingerprint"] = canonical_hash([identity, wording])
    return document
