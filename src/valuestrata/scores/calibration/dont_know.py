"""How often a run says "don't know", beside the share of people who do.

Surveys record "don't know" as a missing answer, so it is in no gold and scores as missing. It is an outcome of its own where the
survey recorded it (some respondent of the item said it) and the prompt offered it (a template with `dont_know: true`, asked for
text). Of a pair,

    rate  = responses that say "don't know" / responses
    share = respondents who said it / (respondents who said it + valid answers), unweighted as the counts of missing answers are

and the gap is rate - share. Its interval resamples blocks of items. Respondents are not redrawn, because a data set holds no redraws
of missing answers; the noise of a pair's own respondents is part of the variation between items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import polars as pl

from valuestrata.frames import Column, Schema
from valuestrata.responses.parse.choice import says_dont_know
from valuestrata.responses.run.halves import response_keys
from valuestrata.scores.layout import Layout, Values
from valuestrata.scores.pairs import WRITTEN
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import PLACE
from valuestrata.stats.arrays import Floats
from valuestrata.stats.intervals import interval

DONT_KNOW = Schema(
    "dont_know",
    {
        **PLACE,
        "rate": Column(pl.Float64, 'share of responses that say "don\'t know"'),
        "share": Column(pl.Float64, "share of respondents who do, of these and valid answers"),
        "gap": Column(pl.Float64, "rate - share"),
        "gap_low": Column(pl.Float64, "lower end of its interval over items"),
        "gap_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs of items that the survey recorded it for"),
    },
)


class Asked(Protocol):
    """A run with the document of its `run.json`."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102


def offers_dont_know(run: Asked) -> bool:
    """Whether the prompts of a run offered "don't know" and asked for text."""
    return bool(run.meta.get("dont_know")) and run.meta.get("elicitation") in WRITTEN


def dont_know_rows(resampler: Resampler, run: Asked, responses: pl.DataFrame, labels: Mapping[str, Any], confidence: float) -> pl.DataFrame:
    """Return the rows of DONT_KNOW of one run, by key.

    Args:
        resampler: of the layout. run: the run, whose prompts offered it. responses: as scored, RESPONSES schema.
        labels: scheme, fold and part. confidence: of the intervals.
    """
    layout = resampler.layout
    share, rate = _share(layout), _rate(layout, responses)
    known = ~np.isnan(share) & ~np.isnan(rate)
    of = [resampler.replicates(Values(np.where(known, values, np.nan))) for values in (rate, share, rate - share)]
    found = interval(of[2], confidence, -1.0, 1.0)
    columns = {"rate": of[0].estimate, "share": of[1].estimate, "gap": found.estimate, "gap_low": found.low, "gap_high": found.high}
    rows = [
        {"run": run.name, **labels, "by": by, "key": key, "pairs": round(float(of[2].pairs[at]))}
        | {name: float(values[at]) for name, values in columns.items()}
        for at, (by, key) in enumerate(layout.keys.names)
    ]
    return DONT_KNOW.frame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _share(layout: Layout) -> Floats:
    """Return the share of respondents who said it, shape (G, I); NaN for items that nobody said it to."""
    said = layout.gold["missing"].struct.field("dont_know").fill_null(0).to_numpy().astype(np.float64)
    cells = layout.gold["cell"].to_numpy()
    share = layout.grid(cells, said / np.maximum(said + layout.gold["n"].to_numpy(), 1.0)).reshape(layout.present.shape)
    recorded = np.nansum(layout.grid(cells, said).reshape(layout.present.shape), axis=0) > 0
    return np.where(recorded, share, np.nan)


def _rate(layout: Layout, responses: pl.DataFrame) -> Floats:
    """Return the share of responses that say it, shape (G, I); NaN for pairs that were not asked."""
    refused = pl.col("status") == "refused"
    texts = responses.filter(refused).select("text").unique().drop_nulls()
    says = texts.filter(pl.Series([says_dont_know(text) for text in texts["text"]], dtype=pl.Boolean))["text"]
    keys = response_keys(responses)
    rates = responses.group_by(keys).agg((refused & pl.col("text").is_in(says.implode())).mean().alias("rate"))
    found = layout.gold.join(rates, on=keys, how="inner", maintain_order="left")
    return layout.grid(found["cell"].to_numpy(), found["rate"].to_numpy().astype(np.float64)).reshape(layout.present.shape)
