"""Build a data set from a survey: subgroups, gold, landscape and splits."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from valuestrata.dataset.design import design_document
from valuestrata.dataset.document import FORMAT, fingerprint_of
from valuestrata.dataset.gold_tables import FLAG_BELOW, effective_answers, effective_respondents, tabulate
from valuestrata.dataset.landscape import measure_landscape
from valuestrata.dataset.landscape_null import permuted_landscape
from valuestrata.dataset.subgroups import EVERYONE, Cells, Stratum, Subgroup, make_cells, make_strata
from valuestrata.dataset.tables import ITEMS, Dataset
from valuestrata.errors import InputDataError, Option, check_seed
from valuestrata.progress import progress
from valuestrata.splits import make_splits, measure_leakage
from valuestrata.survey.codebook import Attribute
from valuestrata.survey.sample.weights import pooling_needed
from valuestrata.survey.survey import Survey

# Smaller published cells could identify respondents.
SHAREABLE_FROM = 10
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
        half_seed, redraw_seed, split_seed: seeds of the halves, the redraws and the splits.
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

    def __post_init__(self) -> None:
        # 30 and 30.0 must give the same fingerprint.
        object.__setattr__(self, "min_valid", float(self.min_valid))
        for name in ("half_seed", "redraw_seed", "split_seed"):
            check_seed(getattr(self, name), name)


def paper_preset(settings: BuildSettings) -> BuildSettings:
    """Return the settings with the rules of arXiv 2604.12851: unweighted, 30 respondents, 1 valid answer."""
    return replace(settings, weighted=False, min_respondents=30, min_valid=1, preset="paper")


def build(survey: Survey, settings: BuildSettings | None = None) -> Dataset:
    """Build the data set of a survey. It holds aggregates only.

    Raises:
        InputDataError: no items, attributes or respondents, no subgroup or pair above the minimum, or several countries without a
            pooling weight or a choice (`pooling` of `read_survey`).
        UsageError: an unknown stratum.
    """
    settings = settings or BuildSettings()
    survey = _usable(survey, weighted=settings.weighted)
    strata = make_strata(survey.attributes, order=settings.order, names=settings.strata)
    cells = make_cells(survey, strata, min_respondents=settings.min_respondents)
    if len(cells.kept) < 2:
        largest = max((s.n for s in cells.dropped), default=0)
        raise InputDataError(
            f"{survey.source.file}: no subgroup has {settings.min_respondents} respondents (the largest has {largest}); lower ",
            Option("min_respondents"),
            " or select more respondents.",
        )
    gold, small_area, draws, valid_by_joint = tabulate(
        survey,
        cells,
        min_valid=settings.min_valid,
        draws=settings.draws,
        share_draws=settings.share_draws,
        half_seed=settings.half_seed,
        redraw_seed=settings.redraw_seed,
    )
    items = _items_frame(survey)
    subgroups = _subgroups_frame(survey, cells)
    targets = gold.filter((pl.col("half") == "all") & (pl.col("subgroup") != EVERYONE)).select("pair_id", "item", "subgroup")
    if targets.is_empty():
        raise InputDataError(f"{survey.source.file}: no pair has {settings.min_valid:g} valid answers; lower ", Option("min_valid"), ".")
    if targets["pair_id"].is_duplicated().any():
        twice = targets.filter(pl.col("pair_id").is_duplicated())["pair_id"][0]
        raise InputDataError(f"{survey.source.file}: two pairs have the id {twice!r}; rename the item or the level.")
    ids = [s.id for s in cells.kept]
    item_ids = [item.id for item in survey.items]
    splits, schemes = make_splits(targets, subgroups, items, _attributes_held(survey, cells), seed=settings.split_seed)
    # A data set without the paper split is usable, unless the paper preset was requested.
    if settings.preset == "paper" and (reason := schemes["paper"].get("refused")):
        raise InputDataError(f"{survey.source.file}: ", Option("preset", "paper"), f": {reason}")
    halved = gold.filter((pl.col("half") != "all") & (pl.col("subgroup") != EVERYONE) & (pl.col("n_eff") >= settings.min_valid))
    halved = targets.join(halved.filter(pl.len().over("pair_id") == 2), on="pair_id", how="semi")
    in_cell, in_halves = (dict(pairs.group_by("subgroup").len().iter_rows()) for pairs in (targets, halved))
    pairs_of = [(in_cell.get(name, 0), in_halves.get(name, 0)) for name in ids]
    described = _strata_rows(survey, strata, cells, pairs_of, settings)
    meta = _meta(survey, cells, settings, gold, subgroups, (targets, halved), schemes, described)
    with progress("permuting respondents", len(strata)) as advance:
        permuted = permuted_landscape(survey, cells, gold, seed=settings.redraw_seed, advance=advance)
    meta = {**meta, "fingerprint": fingerprint_of(meta, items, subgroups, gold, splits)}
    return Dataset(
        meta=meta,
        items=items,
        subgroups=subgroups,
        joint=_joint_frame(survey, cells),
        gold=gold,
        small_area=small_area,
        mode_draws=draws,
        splits=splits,
        leakage=measure_leakage(splits, ids, cells.members, item_ids, valid_by_joint),
        landscape=measure_landscape(gold, subgroups, items, draws, permuted),
    )


def _usable(survey: Survey, *, weighted: bool) -> Survey:
    """Return the survey, without its weight if `weighted` is false; InputDataError if no data set can be built from it."""
    if not survey.items or not survey.attributes or survey.respondents == 0:
        lacks = "items" if not survey.items else "attributes" if not survey.attributes else "respondents"
        raise InputDataError(f"{survey.source.file}: no {lacks} were recognised, so no data set can be built (see `valuestrata describe`).")
    if not weighted:
        # Unweighted answers count each respondent once, whatever the country.
        return replace(survey, weight=None, pooling="equal-per-respondent" if len(survey.countries) > 1 else None)
    if len(survey.countries) > 1 and survey.pooling is None:
        raise InputDataError(f"{survey.source.file}: ", pooling_needed(len(survey.countries)))
    return survey


def preview(survey: Survey, settings: BuildSettings) -> pl.DataFrame:
    """Return what a build would keep, one row per stratum.

    Columns: stratum, cells_kept, cells_dropped (non-empty cells below the minimum), smallest_kept (respondents, or null),
    pairs_kept, pairs_dropped, pairs_in_both_halves (those with the minimum in each half of the respondents, which `+disjoint`
    and `+crossfit` use), note (why the stratum has no pairs, or that an attribute has a single level; or null).
    `meta["strata"]` of a data set holds the same rows.

    Raises:
        InputDataError: no items, attributes or respondents, or several countries without a choice.
        UsageError: an unknown stratum.
    """
    survey = _usable(survey, weighted=settings.weighted)
    strata = make_strata(survey.attributes, order=settings.order, names=settings.strata)
    cells = make_cells(survey, strata, min_respondents=settings.min_respondents)
    whole, of_a, of_b = effective_answers(survey, cells, settings.half_seed) >= settings.min_valid
    pairs_of = zip(whole.sum(axis=0).tolist(), (whole & of_a & of_b).sum(axis=0).tolist(), strict=True)
    rows = _strata_rows(survey, strata, cells, list(pairs_of), settings)
    return pl.DataFrame(rows, schema_overrides={"smallest_kept": pl.Int64, "note": pl.String})


def _strata_rows(
    survey: Survey, strata: Sequence[Stratum], cells: Cells, pairs_of: Sequence[tuple[int, int]], settings: BuildSettings
) -> list[dict[str, Any]]:
    """Return the rows of `preview`, without `all`. `pairs_of`: pairs of each kept subgroup, and those in both halves."""
    seen = _levels_kept(survey, cells)
    rows: list[dict[str, Any]] = []
    for stratum in strata:
        if stratum.name == EVERYONE:
            continue
        kept = [i for i, s in enumerate(cells.kept) if s.stratum.name == stratum.name]
        dropped = [s.n for s in cells.dropped if s.stratum.name == stratum.name]
        pairs, in_halves = (sum(pairs_of[i][which] for i in kept) for which in (0, 1))
        if not kept and not dropped:
            note = "no respondent has a known level of all its attributes"
        elif not kept:
            note = f"no cell has {settings.min_respondents} respondents (the largest of {len(dropped)} has {max(dropped)})"
        elif not pairs:
            note = f"no pair has {settings.min_valid:g} valid answers"
        else:
            alone = [f"{survey.attributes[a].name}: {seen[a][0]!r}" for a in stratum.attributes if len(seen[a]) == 1]
            note = f"one level only ({'; '.join(alone)}): it cannot distinguish subgroups" if alone else None
        rows.append(
            {
                "stratum": stratum.name,
                "cells_kept": len(kept),
                "cells_dropped": len(dropped),
                "smallest_kept": min((cells.kept[i].n for i in kept), default=None),
                "pairs_kept": pairs,
                "pairs_dropped": len(kept) * len(survey.items) - pairs,
                "pairs_in_both_halves": in_halves,
                "note": note,
            }
        )
    return rows


def _levels_kept(survey: Survey, cells: Cells) -> list[list[str]]:
    """Return, for each attribute, the labels of the levels that occur in kept subgroups."""
    levels: list[set[int]] = [set() for _ in survey.attributes]
    for subgroup in cells.kept:
        for a, level in zip(subgroup.stratum.attributes, subgroup.levels, strict=True):
            levels[a].add(level)
    return [[attribute.levels[level].label for level in sorted(kept)] for attribute, kept in zip(survey.attributes, levels, strict=True)]


def _attributes_held(survey: Survey, cells: Cells) -> list[Attribute]:
    """Return the attributes without levels that no respondent has: a codebook may list the levels of all countries."""
    held = [set(cells.joint_levels[:, a].tolist()) for a in range(len(survey.attributes))]
    return [
        replace(attribute, levels=tuple(level for number, level in enumerate(attribute.levels) if number in seen))
        for attribute, seen in zip(survey.attributes, held, strict=True)
    ]


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

    sizes = zip(cells.kept, effective_respondents(survey, cells).tolist(), strict=True)
    rows = [{"subgroup": s.id, "stratum": s.stratum.name, "n": s.n, "n_eff": n_eff, **labels(s)} for s, n_eff in sizes]
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


def _meta(
    survey: Survey,
    cells: Cells,
    settings: BuildSettings,
    gold: pl.DataFrame,
    subgroups: pl.DataFrame,
    pairs: tuple[pl.DataFrame, pl.DataFrame],
    schemes: Mapping[str, Any],
    strata: Sequence[Mapping[str, Any]],
) -> Mapping[str, Any]:
    targets, halved = pairs
    codebook = survey.codebook
    findings = asdict(survey.findings)
    # There can be hundreds of unused columns; their number is enough here.
    findings["ignored_columns"] = len(survey.findings.ignored_columns)
    # Includes the halves and the nation, which are published too.
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
        "flag_below": FLAG_BELOW,
        "weighted": survey.weight is not None,
        "respondents": survey.respondents,
        "n_eff": subgroups["n_eff"][0],
        "design": design_document(survey.design),
        "design_effect": _design_effect(gold),
        "pooling": survey.pooling,
        "counts": {
            "items": len(survey.items),
            "subgroups": len(cells.kept) - 1,
            "subgroups_dropped": len(cells.dropped),
            "pairs": len(targets),
            "pairs_dropped": len(survey.items) * (len(cells.kept) - 1) - len(targets),
            "pairs_in_both_halves": len(halved),
            "parts": _parts(schemes),
        },
        "strata": strata,
        "splits": schemes,
        "findings": findings,
        "shareable": fewest >= SHAREABLE_FROM and settings.preset != "paper",
        "versions": {name: importlib.metadata.version(name) for name in ("valuestrata", "numpy", "polars")},
    }
    return document


def _design_effect(gold: pl.DataFrame) -> dict[str, float]:
    """Return the median of n / n_eff over the items of the nation, and over the pairs of all subgroups."""
    whole = gold.filter((pl.col("half") == "all") & (pl.col("n_eff") > 0)).with_columns(effect=pl.col("n") / pl.col("n_eff"))
    nation = pl.col("subgroup") == EVERYONE
    found = {"nation": whole.filter(nation)["effect"].median(), "pairs": whole.filter(~nation)["effect"].median()}
    return {name: round(float(value), 6) for name, value in found.items() if isinstance(value, float)}


def _parts(schemes: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of pairs of each part of the paper split, or of `transfer` if there is no paper split."""
    first = schemes["paper"] if "folds" in schemes["paper"] else schemes["transfer"]
    return {part: number for part, number in sorted(first["pairs"][0].items()) if number}
