"""Stances scored as closed answers are: a judge's readings of a run become a run that the scores room takes.

An answer that takes no stance is missing, as a refusal is: it scores 0 on accuracies and 1 on distances, and counts in
`refusal_rate`. How often that is so, and how often nothing was written to read, stands beside (`silence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.files import Stances
from valuestrata.openended.schema import STANCES
from valuestrata.openended.score_keys import BY, keys_of_rows
from valuestrata.openended.stance.prompts import TEMPLATE
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores import score
from valuestrata.stats.cluster_bootstrap import mean

SILENCE = Schema(
    "silence",
    {
        "run": Column(pl.String, "run whose answers were read"),
        "judge": Column(pl.String, "who read them"),
        "by": Column(pl.String, "all, stratum, attribute, level, subgroup or topic"),
        "key": Column(pl.String, "which one of them"),
        "metric": Column(pl.String, "no_stance, silent (refused or empty answers, not put to the judge) or invalid"),
        "value": Column(pl.Float64, "share of the answers"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by item; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "answers"),
        "items": Column(pl.Int64, "items they belong to"),
    },
)
# A stance is scored as the readout it was drawn out with: where the judge gave distributions, one that is missing counts as that.
_READOUTS = ("text", "logprob")


def stance_runs(stances: Stances) -> list[Run]:
    """Return one run for every run and judge, named `RUN read by JUDGE`, with the readings as its responses (RESPONSES).

    Its document is that of the run that was read, so that it is known which model wrote the answers.
    """
    contestants: dict[str, Any] = dict(stances.meta.get("contestants", {}))
    found: list[Run] = []
    for (name, judge), rows in stances.stances.group_by("run", "judge", maintain_order=True):
        title = f"{name} read by {judge}"
        meta = {**contestants.get(str(name), {}), "name": title, "kind": "asked", "dataset": stances.meta.get("dataset"), "read_by": judge}
        found.append(Run(title, stances.path, meta, responses_of(rows)))
    return found


def responses_of(stances: pl.DataFrame) -> pl.DataFrame:
    """Return readings (STANCES) as responses (RESPONSES): no stance is `refused`, for it is an answer that is missing."""
    rows = STANCES.check(stances, "stances")
    has_probabilities = bool(rows["option_probs"].is_not_null().any())
    made = rows.with_columns(
        pl.when(pl.col("status") == "no_stance").then(pl.lit("refused")).otherwise(pl.col("status")).alias("status"),
        pl.lit(_READOUTS[has_probabilities]).alias("elicitation"),
        pl.lit(TEMPLATE).alias("template"),
        pl.lit("").alias("template_version"),
        pl.lit(0, dtype=pl.Int32).alias("paraphrase"),
        pl.lit("scale").alias("order"),
        pl.lit([], dtype=pl.List(pl.Int32)).alias("shown"),
        pl.col("rationale").alias("reasoning"),
        pl.lit(None, dtype=pl.Float64).alias("option_mass"),
    )
    return RESPONSES.check(made.select(list(RESPONSES.columns)), "stances")


def score_stances(dataset: Dataset, stances: Stances, **how: Any) -> pl.DataFrame:
    """Return the scores of every run as every judge read it (SCORES), with the columns `answers_of` and `judge` behind.

    Args:
        dataset: the ground truth. stances: the readings. how: split, part, fold, by, bootstrap, seed, confidence, as `score` takes them.

    Raises:
        UsageError, InputDataError: as for `score`.
    """
    runs = stance_runs(stances)
    scores = score(dataset, runs, **how)
    names = stances.stances.select("run", "judge").unique(maintain_order=True).rows()
    titles = {f"{name} read by {judge}": (name, judge) for name, judge in names}
    return scores.with_columns(
        pl.col("run").replace_strict({title: name for title, (name, _) in titles.items()}, return_dtype=pl.String).alias("answers_of"),
        pl.col("run").replace_strict({title: judge for title, (_, judge) in titles.items()}, return_dtype=pl.String).alias("judge"),
    )


def silence(dataset: Dataset, stances: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Return how often an answer takes no stance, holds nothing to read, or was read in no way that counts (SILENCE).

    Args:
        dataset: for strata, levels and topics. stances: a frame of STANCES. by: groupings. bootstrap, seed: of the intervals.
    """
    shares = {
        "no_stance": pl.col("status") == "no_stance",
        "silent": (pl.col("status") == "refused") & (pl.col("attempts") == 0),
        "invalid": pl.col("status").is_in(["unparsed", "failed"]) | ((pl.col("status") == "refused") & (pl.col("attempts") != 0)),
    }
    rows: list[dict[str, object]] = []
    for (name, judge), part in stances.group_by("run", "judge", maintain_order=True):
        items = part["item"].to_numpy()
        for grouping, key, mask in keys_of_rows(dataset, part, tuple(by)):
            for metric, expression in shares.items():
                values = part.select(expression.cast(pl.Float64).alias("share"))["share"].to_numpy()
                found = mean(values[mask], items[mask], bootstrap=bootstrap, seed=seed)
                ends = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
                known = {end: None if np.isnan(number) else number for end, number in ends.items()}
                rows.append({"run": name, "judge": judge, "by": grouping, "key": key, "metric": metric, **known})
                rows[-1] |= {"pairs": found.n, "items": found.items}
    return SILENCE.frame(rows)
