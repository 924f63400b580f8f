"""Build a data set from a survey: subgroups, gold, landscape and splits."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from valuestrata.building.assemble import Tabulated, assemble, strata_rows
from valuestrata.building.settings import BuildSettings
from valuestrata.dataset.gold_tables import effective_answers, tabulate
from valuestrata.dataset.landscape_null import permuted_landscape
from valuestrata.dataset.subgroups import make_cells, make_strata
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option
from valuestrata.progress import progress
from valuestrata.survey.sample.weights import pooling_needed
from valuestrata.survey.survey import Survey


def build(survey: Survey, settings: BuildSettings | None = None) -> Dataset:
    """Build the data set of a survey. It holds aggregates only.

    Args:
        survey: the survey, from `read_survey`.
        settings: minimums, strata, seeds and redraws; None for the defaults.

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
    with progress("permuting respondents", len(strata)) as advance:
        permuted = permuted_landscape(survey, cells, gold, seed=settings.redraw_seed, advance=advance)
    return assemble(survey, settings, strata, cells, Tabulated(gold, small_area, draws, valid_by_joint), permuted=permuted)


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
    rows = strata_rows(survey, strata, cells, list(pairs_of), settings)
    return pl.DataFrame(rows, schema_overrides={"smallest_kept": pl.Int64, "note": pl.String})
