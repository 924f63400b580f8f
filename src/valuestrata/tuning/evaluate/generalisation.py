"""What teaching was worth, and of what: did a model learn the questions, or the people?

A tuned model that answers unseen subgroups better may only have learned what is usually answered to each question. What
tells the two apart is the same model taught the same answers without a persona, taught with the personas' labels permuted,
or tested with them swapped. A gain is a paired difference of two runs on the pairs that both answered:

| gain | run | against |
| --- | --- | --- |
| `taught` | the tuned model | the model before |
| `control:KIND` | the model tuned under a control | the model before |
| `beyond:KIND` | the tuned model | the model tuned under the control |
| `swapped` | the tuned model | the same asked as another subgroup of the stratum |
| `over:KIND` | the tuned model | a baseline |

`taught` = `control:no-persona` + `beyond:no-persona`: the gain without any persona, and what personas add to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from valuestrata.formatting import LOWER_IS_BETTER, count, ends, level, size, title
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.identity import Identified, run_identity

PERSONA = "persona"
SWAPPED = "shuffled-persona"
TABLE_METRICS = ("accuracy", "accuracy_expected", "nmae", "w1", "rps")
BOUNDS = ("ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1")

GENERALISATION = Schema(
    "generalisation",
    {
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "run": Column(pl.String, "name of the run; of a bound its metric"),
        "role": Column(pl.String, "base, tuned, baseline or bound"),
        "model": Column(pl.String, "run of the model before it was taught, null of baselines and bounds"),
        "recipe": Column(pl.String, "name of the recipe, null where nothing was taught"),
        "control": Column(pl.String, "control it was taught under, or null"),
        "asked_as": Column(pl.String, "persona, or the control it was asked under; null of baselines and bounds"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "the metric over all pairs"),
        "ci_low": Column(pl.Float64, "lower end of its interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, "pairs scored"),
    },
)

GAINS = Schema(
    "gains",
    {
        "scheme": Column(pl.String, "split scheme"),
        "fold": Column(pl.Int32, "fold, null when folds are pooled"),
        "part": Column(pl.String, "train, validation, test or all"),
        "model": Column(pl.String, "run of the model before it was taught"),
        "recipe": Column(pl.String, "name of the recipe"),
        "gain": Column(pl.String, "taught, control:KIND, beyond:KIND, swapped or over:KIND"),
        "run": Column(pl.String, "the run that is judged"),
        "against": Column(pl.String, "the run it is compared with"),
        "metric": Column(pl.String, "accuracy, accuracy_expected, nmae, w1 or rps"),
        "value": Column(pl.Float64, "improvement on the common pairs, positive is better whatever the metric"),
        "ci_low": Column(pl.Float64, "lower end of the paired interval"),
        "ci_high": Column(pl.Float64, "upper end"),
        "p_adjusted": Column(pl.Float64, "p within its family, null where not adjusted"),
        "status": Column(pl.String, "declared or exploratory"),
        "pairs": Column(pl.Int64, "pairs both have a value for"),
    },
)


@dataclass(frozen=True, slots=True)
class Pupil:
    """Who stands behind a run of a study that teaches.

    Attributes:
        run: name of the run. model: run of the model before it was taught; its own where it was not.
        recipe: name of the recipe, None of a model as it is. control: what it was taught under, or None.
        asked_as: `persona`, or the control under which it was asked.
    """

    run: str
    model: str
    recipe: str | None = None
    control: str | None = None
    asked_as: str = PERSONA

    @property
    def is_judged(self) -> bool:
        """Whether it was taught by a recipe as it stands and asked as who it is to be: the runs that the table is about."""
        return self.recipe is not None and self.control is None and self.asked_as == PERSONA


def gains_wanted(pupils: Sequence[Pupil], baselines: Mapping[str, str]) -> list[tuple[Pupil, str, str, str]]:
    """Return (tuned model, gain, run, against) of all gains that these runs allow.

    Args:
        pupils: all runs of language models. baselines: name of the run -> kind.
    """
    found: list[tuple[Pupil, str, str, str]] = []
    for one in (pupil for pupil in pupils if pupil.is_judged):
        mine = [other for other in pupils if (other.model, other.recipe) == (one.model, one.recipe) and other is not one]
        found.append((one, "taught", one.run, one.model))
        for other in mine:
            if other.control is None:
                found.append((one, "swapped", one.run, other.run))
            else:
                found.append((one, f"control:{other.control}", other.run, one.model))
                found.append((one, f"beyond:{other.control}", one.run, other.run))
        found += [(one, f"over:{kind}", one.run, run) for run, kind in baselines.items()]
    return found


def generalisation_table(scores: pl.DataFrame, pupils: Sequence[Pupil], runs: Iterable[Identified]) -> pl.DataFrame:
    """Return the frame of GENERALISATION of one split: every run, baseline and bound over all pairs.

    Args:
        scores: rows of SCORES. pupils: who stands behind the runs. runs: all runs, baselines among them.
    """
    who = {pupil.run: pupil for pupil in pupils}
    whole = scores.filter((pl.col("by") == "all") & pl.col("value").is_not_null() & pl.col("against").is_null())
    rows: list[dict[str, Any]] = []
    for run in runs:
        pupil = who.get(run.name)
        if pupil is None and not run_identity(run).is_baseline:
            continue
        role = "baseline" if pupil is None else "base" if pupil.recipe is None else "tuned"
        known = {"model": None, "recipe": None, "control": None, "asked_as": None}
        if pupil is not None:
            known = {"model": pupil.model, "recipe": pupil.recipe, "control": pupil.control, "asked_as": pupil.asked_as}
        mine = whole.filter((pl.col("run") == run.name) & pl.col("metric").is_in(TABLE_METRICS))
        rows += [{**_figures(row), "run": run.name, "role": role, **known, "metric": row["metric"]} for row in mine.iter_rows(named=True)]
    # Bounds are of the pairs, whoever answered them; they are taken from the run that answered most.
    for bound in BOUNDS:
        of_bound = whole.filter(pl.col("metric") == bound).sort("pairs", descending=True, maintain_order=True).head(1)
        metric = {"floor_nmae": "nmae", "floor_w1": "w1"}.get(bound, "accuracy_expected")
        rows += [{**_figures(row), "run": bound, "role": "bound", "metric": metric} for row in of_bound.iter_rows(named=True)]
    return GENERALISATION.frame(rows)


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("scheme", "fold", "part", "value", "ci_low", "ci_high", "pairs")}


def gains_of(comparisons: pl.DataFrame, pupils: Sequence[Pupil], baselines: Mapping[str, str]) -> pl.DataFrame:
    """Return the frame of GAINS of one split, for each metric that the comparisons hold.

    Args:
        comparisons: rows of COMPARISONS. pupils: who stands behind the runs. baselines: name of the run -> kind.
    """
    whole = comparisons.filter((pl.col("by") == "all") & pl.col("difference").is_not_null() & pl.col("metric").is_in(TABLE_METRICS))
    there: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in whole.iter_rows(named=True):
        there.setdefault((row["run"], row["against"]), []).append(row)
    rows: list[dict[str, Any]] = []
    for pupil, gain, run, against in gains_wanted(pupils, baselines):
        for row in there.get((run, against), ()):
            turned = row["metric"] in LOWER_IS_BETTER
            low, high = (row["ci_low"], row["ci_high"]) if not turned else (_less(row["ci_high"]), _less(row["ci_low"]))
            kept = {name: row[name] for name in ("scheme", "fold", "part", "run", "against", "metric", "p_adjusted", "status", "pairs")}
            value = -row["difference"] if turned else row["difference"]
            rows.append(
                {**kept, "model": pupil.model, "recipe": pupil.recipe, "gain": gain, "value": value, "ci_low": low, "ci_high": high}
            )
    return GAINS.frame(rows)


def _less(value: float | None) -> float | None:
    return None if value is None else -value


# --- sentences --------------------------------------------------------------------------------------------------------


def lessons(table: pl.DataFrame, gains: pl.DataFrame, metric: str, confidence: float = 0.95) -> list[str]:
    """Say by fixed rules what each recipe taught each model in one split, and whether that is about questions or about people.

    Args:
        table: rows of GENERALISATION of the split. gains: rows of GAINS of the split.
        metric: by which. confidence: of the intervals.
    """
    said: list[str] = []
    of_metric = gains.filter(pl.col("metric") == metric)
    scores = {row["run"]: row["value"] for row in table.filter(pl.col("metric") == metric).iter_rows(named=True)}
    for (model, recipe), rows in of_metric.group_by("model", "recipe", maintain_order=True):
        found = {row["gain"]: row for row in rows.iter_rows(named=True)}
        said += _of_one(str(model), str(recipe), found, scores, metric, f"{100 * confidence:g} %")
    return said


def _of_one(
    model: str, recipe: str, found: Mapping[str, Mapping[str, Any]], scores: Mapping[str, float], metric: str, confidence: str
) -> list[str]:
    said: list[str] = []
    if "taught" in found:
        row = found["taught"]
        way = {1: "improves on", -1: "is worse than", 0: "cannot be told apart from"}[_sign(row)]
        before, after = (f"{level(metric, scores[name])}" for name in (row["against"], row["run"]))
        said.append(
            f"{model} taught by {recipe} {way} {model} as it was: {title(metric)} {before} before and {after} after, a gain of "
            f"{_gain(row, metric, f'{confidence} interval ')}."
        )
    said += _questions(found, metric)
    if "beyond:shuffled-persona" in found:
        row = found["beyond:shuffled-persona"]
        so = {
            1: "which answers were shown under which persona mattered",
            -1: "the wrong labels served it better than the right ones",
            0: "that the labels were right made no difference that can be told from noise",
        }[_sign(row)]
        said.append(f"{recipe}, against the same with the personas' labels shuffled in training: {_gain(row, metric)}; {so}.")
    if "swapped" in found:
        row = found["swapped"]
        so = {
            1: "it answers by who it is told to be",
            -1: "it does better as somebody else",
            0: "who it is told to be makes no difference that can be told from noise",
        }[_sign(row)]
        said.append(f"{recipe}, against the same model asked as another subgroup of the stratum: {_gain(row, metric)}; {so}.")
    for gain in (name for name in ("over:item-mode", "over:nearest-parent") if name in found):
        row = found[gain]
        where = {1: "above", -1: "below", 0: "not told apart from"}[_sign(row)]
        said.append(f"{recipe} is {where} the {gain.removeprefix('over:')} baseline, which needs no language model: {_gain(row, metric)}.")
    return said


def _questions(found: Mapping[str, Mapping[str, Any]], metric: str) -> list[str]:
    """Say what of a gain comes without a persona, and what personas add."""
    alone, beyond = found.get("control:no-persona"), found.get("beyond:no-persona")
    if alone is None or beyond is None:
        return []
    so = {
        1: "part of what it learned is about these people",
        -1: "the personas are in its way: without them it has learned the questions better",
        0: "what it learned is, as far as this test can see, what is usually answered to each question",
    }[_sign(beyond)]
    return [
        f"Taught the same answers with nobody in the prompt, and asked so, {beyond['model']} gains {_gain(alone, metric)}; personas in "
        f"training and test add {_gain(beyond, metric)}: {so}."
    ]


def _sign(row: Mapping[str, Any]) -> int:
    """Return 1 or -1 where the interval is above or below 0, else 0; without an interval nothing is known."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return 0
    return 1 if row["ci_low"] > 0 else -1 if row["ci_high"] < 0 else 0


def _gain(row: Mapping[str, Any], metric: str, before: str = "") -> str:
    low, high = row["ci_low"], row["ci_high"]
    around = "no interval" if low is None or high is None else f"{before}{ends(metric, low, high)}"
    return f"{size(metric, row['value'])} ({around}; {count(row['pairs'], 'pair')})"
