"""Put a data set together from its subgroups and gold: frames, splits, landscape and the document."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.building.settings import BuildSettings
from valuestrata.dataset.design import design_document
from valuestrata.dataset.document import FORMAT, fingerprint_of
from valuestrata.dataset.gold_tables import FLAG_BELOW, effective_respondents
from valuestrata.dataset.landscape import measure_landscape
from valuestrata.dataset.sharing import SHAREABLE_FROM
from valuestrata.dataset.subgroups import EVERYONE, Cells, Stratum, Subgroup
from valuestrata.dataset.tables import ITEMS, Dataset
from valuestrata.errors import InputDataError, Option
from valuestrata.splits import make_splits, measure_leakage
from valuestrata.survey.codebook import Attribute
from valuestrata.survey.survey import Survey


@dataclass(frozen=True)
class Tabulated:
    """What was counted: gold, small-area estimates and mode draws (schemas of `dataset.tables`), valid answers (joint cells, items)."""

    gold: pl.DataFrame
    small_area: pl.DataFrame
    mode_draws: pl.DataFrame
    valid_by_joint: NDArray[np.int64]


def assemble(
    survey: Survey,
    settings: BuildSettings,
    strata: Sequence[Stratum],
    cells: Cells,
    tables: Tabulated,
    *,
    permuted: pl.DataFrame | None = None,
    published: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set of counted subgroups.

    Without subgroups, the whole population is the target.

    Args:
        survey: items, attributes and source; its respondents are not used.
        settings: what was asked. strata, cells: the strata and subgroups. tables: their counts.
        permuted: null of the landscape, or None. published: what is assumed about published counts; None for microdata.

    Raises:
        InputDataError: no pair has the minimum of answers, two pairs have the same id, or the preset `paper` without its split.
    """
    gold = tables.gold
    items = _items_frame(survey)
    subgroups = _subgroups_frame(survey, cells)
    is_target = (pl.col("subgroup") != EVERYONE) if len(cells.kept) > 1 else pl.lit(value=True)
    targets = gold.filter((pl.col("half") == "all") & is_target).select("pair_id", "item", "subgroup")
    if targets.is_empty():
        raise InputDataError(f"{survey.source.file}: no pair has {settings.min_valid:g} valid answers; lower ", Option("min_valid"), ".")
    if targets["pair_id"].is_duplicated().any():
        twice = targets.filter(pl.col("pair_id").is_duplicated())["pair_id"][0]
        raise InputDataError(f"{survey.source.file}: two pairs have the id {twice!r}; rename the item or the level.")
    ids = [s.id for s in cells.kept]
    item_ids = [item.id for item in survey.items]
    held = _attributes_held(survey, cells)
    splits, schemes = make_splits(targets, subgroups, items, held, seed=settings.split_seed, item_folds=settings.item_folds)
    # A data set without the paper split is usable, unless the paper preset was requested.
    if settings.preset == "paper" and (reason := schemes["paper"].get("refused")):
        raise InputDataError(f"{survey.source.file}: ", Option("preset", "paper"), f": {reason}")
    halved = gold.filter((pl.col("half") != "all") & is_target & (pl.col("n_eff") >= settings.min_valid))
    halved = targets.join(halved.filter(pl.len().over("pair_id") == 2), on="pair_id", how="semi")
    in_cell, in_halves = (dict(pairs.group_by("subgroup").len().iter_rows()) for pairs in (targets, halved))
    pairs_of = [(in_cell.get(name, 0), in_halves.get(name, 0)) for name in ids]
    described = strata_rows(survey, strata, cells, pairs_of, settings)
    meta = {
        **_meta(survey, cells, settings, gold, subgroups, (targets, halved), schemes, described),
        **({} if published is None else {"published": published}),
    }
    meta = {**meta, "fingerprint": fingerprint_of(meta, items, subgroups, gold, splits)}
    return Dataset(
        meta=meta,
        items=items,
        subgroups=subgroups,
        joint=_joint_frame(survey, cells),
        gold=gold,
        small_area=tables.small_area,
        mode_draws=tables.mode_draws,
        splits=splits,
        leakage=measure_leakage(splits, ids, cells.members, item_ids, tables.valid_by_joint),
        landscape=measure_landscape(gold, subgroups, items, tables.mode_draws, permuted),
    )


def strata_rows(
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
    schema = {**{attribute.name: pl.String for attribute in survey.attributes}, "n": pl.Int64, "weight": pl.Float64}
    return pl.DataFrame({**columns, "n": cells.joint_n, "weight": cells.joint_weight}, schema=schema)


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
    groups = max(len(cells.kept) - 1, 1)
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
        "respondents": survey.respondents or None,
        "n_eff": subgroups["n_eff"][0],
        "design": design_document(survey.design),
        "design_effect": _design_effect(gold),
        "pooling": survey.pooling,
        "counts": {
            "items": len(survey.items),
            "subgroups": groups,
            "subgroups_dropped": len(cells.dropped),
            "pairs": len(targets),
            "pairs_dropped": len(survey.items) * groups - len(targets),
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
