"""What is logged about a run: parameters, metrics, tags and files, without paths, addresses and keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from valuestrata.assessment import COMPARED_METRICS, Assessment
from valuestrata.claims.select import ranked
from valuestrata.claims.templates import word
from valuestrata.files import canonical_hash
from valuestrata.frames import csv_text
from valuestrata.respondents.model_paths import without_folders
from valuestrata.responses.run.identity import Identified, RunIdentity, run_identity

KEY = "valuestrata.key"
# Characters that MLflow refuses in the name of a metric.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_\-. /:]+")
_HASH = re.compile(r"[0-9a-f]{12,}")


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A scored run, or a training, as a tracker gets it.

    Attributes:
        name: name of the run.
        key: hash of the name and the parameters. A run that is scored again has the same key.
        params: the model, how it was asked, which pairs are scored, and the data set.
        metrics: value of each metric; the ends of its 95 % interval have the suffixes `_ci_low` and `_ci_high`. Metrics of a topic begin
            with `topic/TOPIC/`; `best_baseline/`, `gain/` and `relative/` are as in the table `relative`.
        tags: key, name of the run, fingerprint of the data set, and the best baseline by metric.
        files: name -> text: all scores of the run, and its claims.
        steps: of a training, the values after each update.
    """

    name: str
    key: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, str]
    steps: Mapping[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])


def tracked_runs(runs: Sequence[Identified], found: Assessment) -> list[TrackedRun]:
    """Return what is logged about each run.

    Args:
        runs: the models' runs.
        found: the scores, comparisons and claims of these and other runs.
    """
    return [_tracked(run_identity(run), found) for run in runs]


def _tracked(identity: RunIdentity, found: Assessment) -> TrackedRun:
    scores = found.scores.filter((pl.col("run") == identity.name) & pl.col("against").is_null())
    relative = found.relative.filter((pl.col("run") == identity.name) & (pl.col("by") == "all") & pl.col("baseline").is_not_null())
    params = _params(identity, scores)
    key = canonical_hash({"name": identity.name, **params})
    tags = {KEY: key, "valuestrata.run": identity.name, "valuestrata.dataset": identity.dataset.fingerprint}
    best = {f"valuestrata.best_baseline.{row['metric']}": row["baseline"] for row in relative.iter_rows(named=True)}
    lines = [word(claim).text for claim in ranked(found.claims) if claim.run == identity.name]
    return TrackedRun(
        name=identity.name,
        key=key,
        params=params,
        metrics=dict(_metrics(scores, relative)),
        tags=known_texts(tags | best),
        files={"scores.csv": csv_text(scores), "claims.txt": "".join(f"{line}\n" for line in lines) or "No claims.\n"},
    )


def _params(identity: RunIdentity, scores: pl.DataFrame) -> dict[str, str]:
    model, place = identity.model, scores.row(0, named=True)
    weights = {"revision": model.revision, "adapter": model.adapter_hash}
    return known_texts(
        {
            "model": without_folders(model.model or model.name or identity.name),
            "specification": without_folders(identity.respondent.name or ""),
            "provider": model.provider,
            "kind": identity.kind,
            "control": identity.control,
            "calibration": identity.method,
            "temperature": (model.decoding or {}).get("temperature"),
            "template": without_folders(place["template"] or ""),
            "template_version": identity.template_version,
            "elicitation": place["elicitation"],
            "split": place["scheme"],
            "part": place["part"],
            "fold": place["fold"],
            "survey": identity.dataset.survey,
            "dataset": identity.dataset.fingerprint,
            # A revision may also be a word that the user chose.
            **{name: value for name, value in weights.items() if value and _HASH.fullmatch(value)},
        }
    )


def known_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that are known as texts."""
    return {name: str(value) for name, value in values.items() if value is not None and value != ""}


def _metrics(scores: pl.DataFrame, relative: pl.DataFrame) -> Iterator[tuple[str, float]]:
    for row in scores.iter_rows(named=True):
        if row["by"] == "all":
            yield from _with_ends(row["metric"], row, "value", "ci")
        elif row["by"] == "topic" and row["metric"] in COMPARED_METRICS:
            topic = _NOT_IN_NAMES.sub("_", row["key"].replace("/", "_"))
            yield from _with_ends(f"topic/{topic}/{row['metric']}", row, "value", "ci")
    overall = scores.row(by_predicate=(pl.col("by") == "all") & (pl.col("metric") == scores["metric"][0]), named=True)
    yield "coverage", float(overall["coverage"])
    yield "pairs", float(overall["pairs"])
    for row in relative.iter_rows(named=True):
        if row["baseline_value"] is not None:
            yield f"best_baseline/{row['metric']}", row["baseline_value"]
        yield from _with_ends(f"gain/{row['metric']}", row, "gain", "gain")
        yield from _with_ends(f"relative/{row['metric']}", row, "relative", "relative")


def _with_ends(name: str, row: Mapping[str, Any], value: str, ends: str) -> Iterator[tuple[str, float]]:
    """Return a value and the ends of its interval, those that are known."""
    columns = {name: value, f"{name}_ci_low": f"{ends}_low", f"{name}_ci_high": f"{ends}_high"}
    for metric, column in columns.items():
        if row[column] is not None:
            yield metric, row[column]
