"""Attributes that the audited part cannot show, audited on a part that can.

The test part of `paper` holds pairs of attributes without the anchor, which is sex in most surveys, so differences between men and women
cannot be audited there. The training part has them. It is as good a part for a model that was not trained on it; for one that was, figures
there are no test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from valuestrata.dataset.tables import PARTS, Dataset
from valuestrata.fairness.assemble import Audit, audit_runs
from valuestrata.fairness.options import Adjusting, AuditedPart, Resampling
from valuestrata.formatting import count
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity, trained_here


@dataclass(frozen=True)
class Elsewhere:
    """Attributes without a subgroup in a part.

    Attributes:
        attributes: their names. part: part with subgroups of all of them, None without one.
        strata: strata of that part that contain any of them. subgroups: names of the subgroups of these strata.
    """

    attributes: tuple[str, ...]
    part: str | None
    strata: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()


def unaudited(dataset: Dataset, split: str, part: str, fold: int | None = None) -> Elsewhere | None:
    """Return the attributes that a part of a split cannot show and another can; None if there are none."""

    def subgroups_of(name: str) -> pl.DataFrame:
        return dataset.subgroups.join(dataset.part(split, name, fold), on="subgroup", how="semi", maintain_order="left")

    def known(frame: pl.DataFrame) -> set[str]:
        return {name for name in dataset.attributes if frame[name].n_unique() > 1 + frame[name].has_nulls()}

    missing = [name for name in dataset.attributes if name in known(subgroups_of("all")) - known(subgroups_of(part))]
    if not missing:
        return None
    for other in sorted((name for name in PARTS if name != part), key=lambda name: name != "train"):
        there = subgroups_of(other)
        if set(missing) <= known(there):
            rows = there.filter(pl.any_horizontal(pl.col(*missing).is_not_null()))
            return Elsewhere(tuple(missing), other, tuple(rows["stratum"].unique(maintain_order=True)), tuple(rows["subgroup"]))
    return Elsewhere(tuple(missing), None)


def with_elsewhere(
    dataset: Dataset,
    runs: Sequence[Run],
    found: Audit,
    of: AuditedPart,
    resampling: Resampling,
    *,
    adjusting: Adjusting | None = None,
    metrics: Sequence[str],
    against: str | None = None,
    train_on: Dataset | None = None,
) -> Audit:
    """Add the attributes that the audited part cannot show, from a part that can, and notes that say so.

    Only rows about these attributes are added: spread between their levels, gaps, changes and spread ratios, with the other part in `part`.

    Args:
        dataset: the ground truth. runs: those audited, with their baselines, which answer the other part anew. found: their audit.
        of, resampling, adjusting, metrics, against: as for that audit. train_on: data set that baselines are fitted to, if another.
    """
    where = unaudited(dataset, of.split, of.part, of.fold)
    if where is None:
        return found
    names = " and ".join(where.attributes)
    notes = [f"The part {of.part} of the split {of.split} has no two subgroups that differ in {names}, so {names} cannot be audited there"]
    if where.part is None:
        return replace(found, notes=(*found.notes, f"{notes[0]}, and no other part has them."))
    inside = pl.col("subgroup").is_in(list(where.subgroups))
    part = dataset.part(of.split, where.part, of.fold).filter(inside)
    asked = [run for run in runs if run.responses.join(part, on="pair_id", how="semi").height]
    answered = {run.name for run in asked}
    silent = [run.name for run in runs if run.name not in answered and not run_identity(run).is_baseline]
    if silent:
        how = f"ask with part {where.part} and strata {', '.join(where.strata)}"
        verb = "has" if len(silent) == 1 else "have"
        notes.append(f"{', '.join(silent)} {verb} no answers to pairs with {names}: to audit {names}, {how}")
    if not asked:
        return replace(found, notes=(*found.notes, *(f"{note}." for note in notes)))
    notes.append(f"{names} is audited on the part {where.part} instead, in {count(len(where.subgroups), 'subgroup')}")
    if trained := [run.name for run in asked if trained_here(run_identity(run))]:
        notes.append(f"{', '.join(trained)}: trained on pairs of this data set, so figures on the part {where.part} are no test")
    kinds = [kind for kind in CHEAP if any(run_identity(run).is_baseline and run_identity(run).rule == kind for run in runs)]
    only = replace(dataset, splits=dataset.splits.filter(inside))
    others = (
        reference_baselines(dataset, asked, kinds=tuple(kinds), split=of.split, part=where.part, fold=of.fold, train_on=train_on)
        if kinds
        else []
    )
    there = replace(of, part=where.part, attributes=where.attributes)
    known = against if against in answered else None
    more = audit_runs(only, [*asked, *others], there, resampling, adjusting or Adjusting(), metrics, known, {})
    return replace(_joined(found, more, where.attributes), notes=(*found.notes, *(f"{note}." for note in notes)))


def _joined(found: Audit, more: Audit, attributes: Sequence[str]) -> Audit:
    """Return an audit with the rows of another one that are about some attributes."""
    of_attribute = (pl.col("by") == "attribute") & pl.col("key").is_in(list(attributes))
    of_level = (pl.col("by") == "level") & pl.col("key").str.split("=").list.first().is_in(list(attributes))
    chosen = {"gaps": pl.lit(value=True), "disparity": of_attribute, "changes": of_attribute | of_level}
    chosen["errs"] = pl.col("attribute").is_in(list(attributes))
    return replace(found, **{name: getattr(found, name).vstack(getattr(more, name).filter(rows)) for name, rows in chosen.items()})
