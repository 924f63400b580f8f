"""Gains of tuned models over their base models, controls and baselines.

A tuned model that answers unseen subgroups better may only have learned the usual answer to each question. Controls show
whether personas contributed. A gain is a paired difference of two runs on the pairs that both answered:

| gain | run | against |
| --- | --- | --- |
| `taught` | the tuned model | the base model |
| `control:KIND` | the model tuned under a control | the base model |
| `beyond:KIND` | the tuned model | the model tuned under the control |
| `swapped` | the tuned model | the same model asked as another subgroup of the stratum |
| `over:KIND` | the tuned model | a baseline |

`taught` = `control:no-persona` + `beyond:no-persona`: the gain without personas and what personas add.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.formatting import LOWER_IS_BETTER
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.identity import Identified, run_identity

PERSONA = "persona"
SWAPPED = "shuffled-persona"
TABLE_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")
BOUNDS = ("ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1")

_SPLIT = {
    "scheme": Column(pl.String, "split scheme"),
    "fold": Column(pl.Int32, "fold, null when folds are pooled"),
    "part": Column(pl.String, "train, validation, test or all"),
}
GENERALISATION = Schema(
    "generalisation",
    _SPLIT
    | {
        "run": Column(pl.String, "name of the run; of a bound its metric"),
        "role": Column(pl.String, "base, tuned, baseline or bound"),
        "model": Column(pl.String, "run of the base model, null for baselines and bounds"),
        "recipe": Column(pl.String, "name of the recipe, null for untuned models"),
        "control": Column(pl.String, "control during training, or null"),
        "asked_as": Column(pl.String, "persona, or the control in the prompts; null for baselines and bounds"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "the metric over all pairs"),
        "ci_low": Column(pl.Float64, "lower end of its interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs scored"),
    },
)
GAINS = Schema(
    "gains",
    _SPLIT
    | {
        "model": Column(pl.String, "run of the base model"),
        "recipe": Column(pl.String, "name of the recipe"),
        "gain": Column(pl.String, "taught, control:KIND, beyond:KIND, swapped or over:KIND"),
        "run": Column(pl.String, "the run that is judged"),
        "against": Column(pl.String, "the run it is compared with"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "improvement on the common pairs; positive is better for every metric"),
        "ci_low": Column(pl.Float64, "lower end of the paired interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "p_adjusted": Column(pl.Float64, "p-value corrected for its family, null if not corrected"),
        "status": Column(pl.String, "declared or exploratory"),
        "pairs": Column(pl.Int64, "pairs with a value in both runs"),
    },
)


@dataclass(frozen=True, slots=True)
class TunedVariant:
    """How a run of a tuning study was trained and asked.

    Attributes:
        run: name of the run. model: run of the base model; the same for the base model itself.
        recipe: name of the recipe, None for the base model. control: control during training, or None.
        asked_as: `persona`, or the control in the prompts.
    """

    run: str
    model: str
    recipe: str | None = None
    control: str | None = None
    asked_as: str = PERSONA

    @property
    def is_main(self) -> bool:
        """Whether it was tuned and asked without any control."""
        return self.recipe is not None and self.control is None and self.asked_as == PERSONA


@dataclass(frozen=True, slots=True)
class Gain:
    """A comparison of two runs: `run` against `against`, for the tuned model `variant`; `name` as in GAINS."""

    variant: TunedVariant
    name: str
    run: str
    against: str


def possible_gains(variants: Sequence[TunedVariant], baselines: Mapping[str, str]) -> list[Gain]:
    """Return all gains that these runs allow.

    Args:
        variants: all runs of language models. baselines: name of the run -> kind.
    """
    found: list[Gain] = []
    for one in (variant for variant in variants if variant.is_main):
        found.append(Gain(one, "taught", one.run, one.model))
        for other in variants:
            if (other.model, other.recipe) != (one.model, one.recipe) or other is one:
                continue
            if other.control is None:
                found.append(Gain(one, "swapped", one.run, other.run))
            else:
                found.append(Gain(one, f"control:{other.control}", other.run, one.model))
                found.append(Gain(one, f"beyond:{other.control}", one.run, other.run))
        found += [Gain(one, f"over:{kind}", one.run, run) for run, kind in baselines.items()]
    return found


def generalisation_table(scores: pl.DataFrame, variants: Sequence[TunedVariant], runs: Iterable[Identified]) -> pl.DataFrame:
    """Return the frame of GENERALISATION of one split: every run, baseline and bound over all pairs.

    Args:
        scores: rows of SCORES. variants: runs of language models. runs: all runs, including baselines.
    """
    variant_of = {variant.run: variant for variant in variants}
    whole = scores.filter((pl.col("by") == "all") & pl.col("value").is_not_null() & pl.col("against").is_null())
    rows: list[dict[str, Any]] = []
    for run in runs:
        variant = variant_of.get(run.name)
        if variant is None and not run_identity(run).is_baseline:
            continue
        role = "baseline" if variant is None else "base" if variant.recipe is None else "tuned"
        known = {name: None if variant is None else getattr(variant, name) for name in ("model", "recipe", "control", "asked_as")}
        own = whole.filter((pl.col("run") == run.name) & pl.col("metric").is_in(TABLE_METRICS))
        rows += [{**_figures(row), "run": run.name, "role": role, **known, "metric": row["metric"]} for row in own.iter_rows(named=True)]
    # Bounds depend on the pairs alone; they are taken from the run with the most pairs.
    for bound in BOUNDS:
        of_bound = whole.filter(pl.col("metric") == bound).sort("pairs", descending=True, maintain_order=True).head(1)
        metric = {"floor_nmae": "nmae", "floor_w1": "w1"}.get(bound, "accuracy_expected")
        rows += [{**_figures(row), "run": bound, "role": "bound", "metric": metric} for row in of_bound.iter_rows(named=True)]
    return GENERALISATION.frame(rows)


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("scheme", "fold", "part", "value", "ci_low", "ci_high", "pairs")}


def gains_of(comparisons: pl.DataFrame, variants: Sequence[TunedVariant], baselines: Mapping[str, str]) -> pl.DataFrame:
    """Return the frame of GAINS of one split, for each metric in the comparisons.

    Args:
        comparisons: rows of COMPARISONS. variants: runs of language models. baselines: name of the run -> kind.
    """
    whole = comparisons.filter((pl.col("by") == "all") & pl.col("difference").is_not_null() & pl.col("metric").is_in(TABLE_METRICS))
    by_runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in whole.iter_rows(named=True):
        by_runs.setdefault((row["run"], row["against"]), []).append(row)
    rows: list[dict[str, Any]] = []
    for gain in possible_gains(variants, baselines):
        for row in by_runs.get((gain.run, gain.against), ()):
            value, low, high = row["difference"], row["ci_low"], row["ci_high"]
            if row["metric"] in LOWER_IS_BETTER:
                value, low, high = -value, None if high is None else -high, None if low is None else -low
            kept = {name: row[name] for name in ("scheme", "fold", "part", "run", "against", "metric", "p_adjusted", "status", "pairs")}
            of_model = {"model": gain.variant.model, "recipe": gain.variant.recipe, "gain": gain.name}
            rows.append({**kept, **of_model, "value": value, "ci_low": low, "ci_high": high})
    return GAINS.frame(rows)
