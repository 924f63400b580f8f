"""Scores of stances: the readings of a judge become a run that is scored as closed answers are.

An answer without a stance is missing, as a refusal is: it scores 0 on accuracies and 1 on distances and counts in `refusal_rate`.
`silence` reports how often this happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema
from valuestrata.openended.files import Stances, load_stances
from valuestrata.openended.groupings import BY, groups_of
from valuestrata.openended.schema import STANCES, estimate_columns
from valuestrata.openended.stance.majority import majority
from valuestrata.openended.stance.prompts import TEMPLATE
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores import score
from valuestrata.stats.cluster_bootstrap import clustered_mean

SILENCE = Schema(
    "silence",
    {
        "run": Column(pl.String, "run whose answers were read"),
        "judge": Column(pl.String, "judge who read them"),
        **estimate_columns("no_stance, silent (refusals and empty answers, not sent to the judge), invalid or refused", "answers"),
    },
)


def stance_runs(stances: Stances) -> list[Run]:
    """Return one run for each run and judge, named `RUN read by JUDGE`, with the readings as its responses (RESPONSES).

    Its metadata is that of the run that was read, so the model that wrote the answers is known.
    """
    contestants: dict[str, Any] = dict(stances.meta.get("contestants", {}))
    found: list[Run] = []
    for (name, judge), rows in stances.stances.group_by("run", "judge", maintain_order=True):
        title = f"{name} read by {judge}"
        meta = {**contestants.get(str(name), {}), "name": title, "kind": "asked", "dataset": stances.meta.get("dataset"), "read_by": judge}
        found.append(Run(title, stances.path, meta, responses_of(rows)))
    return found


def load_stance_runs(path: str | Path) -> list[Run]:
    """Read a folder of stances as runs that can be scored and audited: one for each run and judge, and one for the judges' majority.

    Raises:
        InputDataError: there is no such folder, or it holds something else.
    """
    stances = load_stances(path)
    return stance_runs(replace(stances, stances=pl.concat([stances.stances, majority(stances.stances)])))


def responses_of(stances: pl.DataFrame) -> pl.DataFrame:
    """Return readings (STANCES) as responses (RESPONSES); an answer without a stance is `refused`."""
    rows = STANCES.check(stances, "stances")
    # Readings with distributions are scored as such: an answer without one then counts as a missing distribution.
    readout = "logprob" if rows["option_probs"].is_not_null().any() else "text"
    made = rows.with_columns(
        pl.col("status").replace("no_stance", "refused"),
        pl.lit(readout).alias("elicitation"),
        pl.lit(TEMPLATE).alias("template"),
        pl.lit("").alias("template_version"),
        pl.lit(0, dtype=pl.Int32).alias("paraphrase"),
        pl.lit("scale").alias("order"),
        pl.lit([], dtype=pl.List(pl.Int32)).alias("shown"),
        pl.col("rationale").alias("reasoning"),
        pl.lit(None, dtype=pl.Float64).alias("option_mass"),
        pl.lit(None, dtype=pl.Int64).alias("respondents"),
    )
    return RESPONSES.check(made.select(list(RESPONSES.columns)), "stances")


def score_stances(dataset: Dataset, stances: Stances, **how: Any) -> pl.DataFrame:
    """Return the scores of every run as read by every judge (SCORES), with the additional columns `answers_of` and `judge`.

    Args:
        dataset: the ground truth.
        stances: the readings.
        how: split, part, fold, by, bootstrap, seed, confidence, as for `score`.

    Raises:
        UsageError: as for `score`.
        InputDataError: as for `score`.
    """
    scores = score(dataset, stance_runs(stances), **how)
    names = stances.stances.select("run", "judge").unique(maintain_order=True)
    titles = names.select(pl.format("{} read by {}", "run", "judge").alias("title"), "run", "judge")
    return scores.with_columns(
        pl.col("run").replace_strict(dict(titles.select("title", column).iter_rows()), return_dtype=pl.String).alias(alias)
        for alias, column in (("answers_of", "run"), ("judge", "judge"))
    )


def silence(dataset: Dataset, stances: pl.DataFrame, *, by: Sequence[str] = BY, bootstrap: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Return the shares of answers without a stance, without text, and without a valid reading, a frame of SILENCE.

    `refused` is the part of `invalid` that the judge refused to read, or whose reply the service withheld.

    Args:
        dataset: describes strata, levels and topics. stances: a frame of STANCES. by: groupings.
        bootstrap, seed: number of replicates and their seed.
    """
    not_asked = (pl.col("status") == "refused") & (pl.col("attempts") == 0)
    refused = (pl.col("status") == "refused") & (pl.col("attempts") != 0)
    shares = {
        "no_stance": pl.col("status") == "no_stance",
        "silent": not_asked,
        "invalid": pl.col("status").is_in(["unparsed", "failed"]) | refused,
        "refused": refused,
    }
    rows: list[dict[str, object]] = []
    for (name, judge), part in stances.group_by("run", "judge", maintain_order=True):
        items = part["item"].to_numpy()
        blocks = dataset.blocks_of(items)
        values = {metric: part.select(share.cast(pl.Float64).alias(metric))[metric].to_numpy() for metric, share in shares.items()}
        for grouping, key, mask in groups_of(dataset, part, by):
            for metric, value in values.items():
                found = clustered_mean(value[mask], items[mask], blocks[mask], bootstrap=bootstrap, seed=seed)
                where = {"run": name, "judge": judge, "by": grouping, "key": key, "metric": metric}
                rows.append({**where, **found.columns(), "pairs": found.n, "items": found.items})
    return SILENCE.frame(rows)
