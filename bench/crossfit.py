"""Check of splits with halves of the respondents on simulated surveys without differences between subgroups.

    python bench/crossfit.py [SURVEYS]

Every survey has new questions and new people. Nothing can be learnt about subgroups, so the baseline nearest-parent, which uses them,
has no real advantage over item-mode. Printed are, for `paper`, `paper+disjoint` and `paper+crossfit`: the mean scores of both baselines
and the advantage (nearest-parent minus item-mode), the share of 95 % intervals that contain the mean over all surveys, and their
mean width.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.population import four_option_survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.scores.aggregate import PlacedRuns, score_placed
from valuestrata.scores.compare import compare_placed
from valuestrata.survey.survey import Survey

ITEMS, PEOPLE = 24, 1000
LEVELS = {"sex": 2, "age_group": 3, "religion": 3}
SPLITS = ("paper", "paper+disjoint", "paper+crossfit")
BASELINES = ("item-mode", "nearest-parent")
METRICS = ("accuracy", "w1")


def simulated(seed: int) -> Survey:
    """Return a survey in which answers are unrelated to the attributes; people differ, so questions are correlated."""
    rng = np.random.default_rng(seed)
    levels = np.stack([rng.integers(0, size, PEOPLE) for size in LEVELS.values()], axis=1)
    latent = rng.normal(size=(PEOPLE, 1)) * 0.7 + rng.normal(size=(PEOPLE, ITEMS))
    cuts = np.sort(rng.normal(size=(ITEMS, 3)), axis=1)
    answers = (latent[:, :, None] > cuts).sum(axis=-1)
    return four_option_survey(answers, levels, LEVELS, None)


def results(dataset: Dataset, split: str, bootstrap: int) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Return (baseline or `advantage`, metric) -> estimate and interval; the advantage is nearest-parent minus item-mode."""
    runs = reference_baselines(dataset, [], kinds=BASELINES, split=split)
    placed = PlacedRuns(dataset, runs, split=split, part="test", fold=None, by=("all",), bootstrap=bootstrap, seed=0)
    scores = score_placed(placed, 0.95).filter(pl.col("metric").is_in(METRICS))
    compared = compare_placed(placed, [("baseline-nearest-parent", "baseline-item-mode")], METRICS, 0.95)
    found = {
        (run.removeprefix("baseline-"), metric): (value, low, high)
        for run, metric, value, low, high in scores.select("run", "metric", "value", "ci_low", "ci_high").iter_rows()
    }
    for metric, difference, low, high in compared.select("metric", "difference", "ci_low", "ci_high").iter_rows():
        found["advantage", metric] = (difference, low, high)
    return found


def study(surveys: int, seed: int = 0, bootstrap: int = 200) -> pl.DataFrame:
    """Return, by split, score and metric, the mean over surveys, how often intervals contain it, and their mean width."""
    rows: list[dict[str, object]] = []
    for number in range(surveys):
        dataset = build(simulated(seed + number), BuildSettings(draws=100, share_draws=50, half_seed=number, redraw_seed=number))
        for split in SPLITS:
            for (of, metric), (value, low, high) in results(dataset, split, bootstrap).items():
                rows.append({"split": split, "of": of, "metric": metric, "value": value, "low": low, "high": high})
    groups = pl.DataFrame(rows).group_by("split", "of", "metric", maintain_order=True)
    expected = pl.col("value").mean()
    return groups.agg(
        expected.alias("mean"),
        (pl.col("value").std() / pl.len().sqrt()).alias("se"),
        ((pl.col("low") <= expected) & (expected <= pl.col("high"))).mean().alias("covered"),
        (pl.col("high") - pl.col("low")).mean().alias("width"),
    )


if __name__ == "__main__":
    with pl.Config(tbl_rows=-1, tbl_formatting="NOTHING", float_precision=4):
        print(study(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
