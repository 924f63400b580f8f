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

A recipe trained with several seeds has one gain: the mean over its seeds, with the variation between seeds in its interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from valuestrata.formatting import LOWER_IS_BETTER
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.identity import Identified, run_identity
from valuestrata.scores.variance.seeds import SEED_COMPARISONS, SeededRecipe
from valuestrata.stats.multiple_testing import holm

PERSONA = "persona"
SWAPPED = "shuffled-persona"
TABLE_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")
# Gains over other baselines are exploratory and make no claims.
DECLARED_BASELINES = ("item-mode", "nearest-parent")
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
        "run": Column(pl.String, "name of the run, or of a recipe over its seeds; of a bound its metric"),
        "role": Column(pl.String, "base, tuned, recipe (mean over seeds), baseline or bound"),
        "model": Column(pl.String, "run of the base model, null for baselines and bounds"),
        "recipe": Column(pl.String, "name of the recipe, null for untuned models"),
        "control": Column(pl.String, "control during training, or null"),
        "asked_as": Column(pl.String, "persona, or the control in the prompts; null for baselines and bounds"),
        "seed": Column(pl.Int64, "training seed of a tuned run, null if the study names no seeds"),
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
        "run": Column(pl.String, "the run that is judged, or the recipe over its seeds"),
        "against": Column(pl.String, "the run it is compared with"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "improvement on the common pairs; positive is better for every metric"),
        "ci_low": Column(pl.Float64, "lower end of the paired interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "p": Column(pl.Float64, "p-value of no gain"),
        "p_adjusted": Column(pl.Float64, "p-value corrected for its family, null if not corrected"),
        "adjustment": Column(pl.String, "holm: over the gains of this metric in all splits; benjamini-hochberg: other baselines"),
        "status": Column(pl.String, "declared or exploratory"),
        "pairs": Column(pl.Int64, "pairs with a value in both runs"),
        **{name: SEED_COMPARISONS.columns[name] for name in ("seeds", "seed_sd", "seed_low", "seed_high", "included")},
    },
)


_MAKES_CLAIMS = ~pl.col("gain").str.starts_with("over:") | pl.col("gain").is_in([f"over:{kind}" for kind in DECLARED_BASELINES])


@dataclass(frozen=True, slots=True)
class TunedVariant:
    """How a run of a tuning study was trained and asked.

    Attributes:
        run: name of the run. model: run of the base model; the same for the base model itself.
        recipe: name of the recipe, None for the base model. control: control during training, or None.
        asked_as: `persona`, or the control in the prompts.
        seed: training seed, and over_seeds: name of the mean over seeds that it belongs to; None if the study names no seeds.
    """

    run: str
    model: str
    recipe: str | None = None
    control: str | None = None
    asked_as: str = PERSONA
    seed: int | None = None
    over_seeds: str | None = None

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


def seeded_recipes(variants: Sequence[TunedVariant]) -> tuple[list[TunedVariant], list[SeededRecipe]]:
    """Return the variants to be compared, with a recipe in place of its runs, and these recipes.

    Args:
        variants: all runs of language models.
    """
    kept: dict[str, TunedVariant] = {}
    runs: dict[str, dict[int, str]] = {}
    for variant in variants:
        if variant.over_seeds is None or variant.seed is None:
            kept[variant.run] = variant
        else:
            kept.setdefault(variant.over_seeds, replace(variant, run=variant.over_seeds, seed=None, over_seeds=None))
            runs.setdefault(variant.over_seeds, {})[variant.seed] = variant.run
    return list(kept.values()), [SeededRecipe(name, own) for name, own in runs.items()]


def possible_gains(variants: Sequence[TunedVariant], baselines: Mapping[str, str]) -> list[Gain]:
    """Return all gains that these runs allow.

    Args:
        variants: all runs of language models, or recipes. baselines: name of the run -> kind.
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


def generalisation_table(
    scores: pl.DataFrame, variants: Sequence[TunedVariant], runs: Iterable[Identified], seeded: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the frame of GENERALISATION of one split: every run, recipe, baseline and bound over all pairs.

    Args:
        scores: rows of SCORES. variants: runs of language models. runs: all runs, including baselines.
        seeded: rows of SEED_COMPARISONS, of which those against null are the recipes' own values.
    """
    variant_of = {variant.run: variant for variant in variants}
    whole = scores.filter((pl.col("by") == "all") & pl.col("value").is_not_null() & pl.col("against").is_null())
    rows: list[dict[str, Any]] = []
    for run in runs:
        variant = variant_of.get(run.name)
        if variant is None and not run_identity(run).is_baseline:
            continue
        role = "baseline" if variant is None else "base" if variant.recipe is None else "tuned"
        known = _described(variant)
        own = whole.filter((pl.col("run") == run.name) & pl.col("metric").is_in(TABLE_METRICS))
        rows += [{**_figures(row), "run": run.name, "role": role, **known, "metric": row["metric"]} for row in own.iter_rows(named=True)]
    values = SEED_COMPARISONS.empty() if seeded is None else seeded.filter(pl.col("against").is_null() & (pl.col("by") == "all"))
    for variant in seeded_recipes(variants)[0]:
        own = values.filter((pl.col("run") == variant.run) & pl.col("metric").is_in(TABLE_METRICS) & pl.col("difference").is_not_null())
        figures = own.rename({"difference": "value"}).iter_rows(named=True)
        rows += [{**_figures(row), "run": variant.run, "role": "recipe", **_described(variant), "metric": row["metric"]} for row in figures]
    # Bounds depend on the pairs alone; they are taken from the run with the most pairs.
    for bound in BOUNDS:
        of_bound = whole.filter(pl.col("metric") == bound).sort("pairs", descending=True, maintain_order=True).head(1)
        metric = {"floor_nmae": "nmae", "floor_w1": "w1"}.get(bound, "accuracy_expected")
        rows += [{**_figures(row), "run": bound, "role": "bound", "metric": metric} for row in of_bound.iter_rows(named=True)]
    return GENERALISATION.frame(rows)


def _described(variant: TunedVariant | None) -> dict[str, Any]:
    names = ("model", "recipe", "control", "asked_as", "seed")
    return {name: None if variant is None else getattr(variant, name) for name in names}


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("scheme", "fold", "part", "value", "ci_low", "ci_high", "pairs")}


def gains_of(comparisons: pl.DataFrame, variants: Sequence[TunedVariant], baselines: Mapping[str, str]) -> pl.DataFrame:
    """Return the frame of GAINS of one split, for each metric in the comparisons.

    Args:
        comparisons: rows of COMPARISONS, of single seeds, or of SEED_COMPARISONS.
        variants: runs of language models. baselines: name of the run -> kind.
    """
    whole = comparisons.filter((pl.col("by") == "all") & pl.col("difference").is_not_null() & pl.col("metric").is_in(TABLE_METRICS))
    by_runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in whole.iter_rows(named=True):
        by_runs.setdefault((row["run"], row["against"]), []).append(row)
    rows: list[dict[str, Any]] = []
    for gain in possible_gains(seeded_recipes(variants)[0], baselines):
        for row in by_runs.get((gain.run, gain.against), ()):
            sign = -1.0 if row["metric"] in LOWER_IS_BETTER else 1.0
            value, ends, seeds = row["difference"], (row["ci_low"], row["ci_high"]), (row.get("seed_low"), row.get("seed_high"))
            known = {name: row.get(name) for name in GAINS.columns}
            low, high = _turned(ends, sign)
            seed_low, seed_high = _turned(seeds, sign)
            known |= {"value": sign * value, "ci_low": low, "ci_high": high, "seed_low": seed_low, "seed_high": seed_high}
            known |= {"seeds": row.get("seeds") or 1, "included": row.get("included") or ""}
            rows.append({**known, "model": gain.variant.model, "recipe": gain.variant.recipe, "gain": gain.name})
    return GAINS.frame(rows)


def corrected_gains(gains: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Return the gains of all splits of a study with p-values corrected by Holm over the grid of claims.

    The family of a metric is every gain of every model and recipe in every split. Only gains over baselines other than
    `DECLARED_BASELINES`, which make no claims, keep their own correction.

    Args:
        gains: rows of GAINS, a frame for each split.
    """
    corrected: list[pl.DataFrame] = [frame.with_row_index("row").with_columns(pl.lit(at).alias("split")) for at, frame in enumerate(gains)]
    found: list[pl.DataFrame] = []
    for of_metric in pl.concat(corrected).partition_by("metric") if corrected else ():
        tested, other = of_metric.filter(_MAKES_CLAIMS), of_metric.filter(~_MAKES_CLAIMS)
        adjusted = pl.Series("p_adjusted", holm(tested["p"].to_list()), dtype=pl.Float64)
        found += [tested.with_columns(adjusted, pl.when(pl.col("p").is_not_null()).then(pl.lit("holm")).alias("adjustment")), other]
    if not found:
        return list(gains)
    together = pl.concat(found).sort("split", "row")
    return [together.filter(pl.col("split") == at).select(list(GAINS.columns)) for at in range(len(gains))]


def family_size(gains: Sequence[pl.DataFrame], metric: str) -> int:
    """Return the number of tests that `corrected_gains` corrects a metric for."""
    return sum(frame.filter(_MAKES_CLAIMS & (pl.col("metric") == metric) & pl.col("p").is_not_null()).height for frame in gains)


def _turned(ends: tuple[float | None, float | None], sign: float) -> tuple[float | None, float | None]:
    low, high = (None if end is None else sign * end for end in ends)
    return (high, low) if sign < 0 else (low, high)
