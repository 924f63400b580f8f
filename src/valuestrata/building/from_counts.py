"""Build a data set from published counts."""

from __future__ import annotations

from dataclasses import replace

from valuestrata.building.assemble import Tabulated, assemble
from valuestrata.building.settings import BuildSettings
from valuestrata.dataset.published_cells import make_published_cells, tabulate_published
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option
from valuestrata.survey.counts.published import PublishedCounts


def build_counts(counts: PublishedCounts, settings: BuildSettings | None = None) -> Dataset:
    """Build the data set of published counts (see `read_counts`).

    Redraws are multinomial for each pair, and pairs count as independent, because the counts do not say who answered. For the same
    reason there are no halves of the respondents, which `+disjoint` and `+crossfit` need. If the counts are those of the whole
    population only, the population is the target.

    Args:
        counts: the counts.
        settings: as for `build`; `order`, `weighted` and `half_seed` are not used, and there is no preset.

    Raises:
        InputDataError: no subgroup or pair is above the minimum.
        UsageError: an unknown stratum.
    """
    settings = replace(settings or BuildSettings(), weighted=counts.kind == "weighted answers", preset=None)
    found = make_published_cells(counts, settings.strata, min_respondents=settings.min_respondents)
    cells = found.cells
    if len(cells.kept) == 1 and cells.dropped:
        largest = max(subgroup.n for subgroup in cells.dropped)
        raise InputDataError(
            f"{counts.survey.source.file}: no subgroup has {settings.min_respondents} respondents (the largest has {largest}); lower ",
            Option("min_respondents"),
            ".",
        )
    tables = tabulate_published(
        counts,
        found,
        min_valid=settings.min_valid,
        draws=settings.draws,
        share_draws=settings.share_draws,
        redraw_seed=settings.redraw_seed,
    )
    published = {
        "redraws": "multinomial",
        "overlap": "independent",
        "joint": found.joint,
        "everyone": found.everyone,
        "counts": counts.kind,
    }
    return assemble(counts.survey, settings, found.strata, cells, Tabulated(*tables), published=published)
