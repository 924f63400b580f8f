"""What an audit claims where bias was planted, and where there is none: false claims, power, bias of the corrected spread.

    python bench/audit_study.py --repetitions 1000 -o docs/auditing-proven.md

The page is written whole by this command. Seeds are numbers of data sets and conditions, so that the same command gives the same
figures; `--rows FILE` keeps the rows behind them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# One core, whatever the machine has: set before numpy is loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import audit_page
import numpy as np
import polars as pl
from audit_worlds import (
    ALPHA,
    ATTRIBUTE,
    LEVEL,
    Change,
    World,
    audit_runs,
    far_level,
    is_person,
    knows_labels,
    knows_nation,
    knows_truth,
    make_world,
    rare_level,
)

from valuestrata.auditing.disparity import corrected_variance
from valuestrata.auditing.power import power
from valuestrata.scores.layout import Values

BASE = 0.6
# Of the data sets: others than those on which the audit was written.
FIRST_SEED = 1000
# Standard deviation of the accuracies of subgroups, where a spread is planted.
SPREAD = 0.05
Answer = Callable[[World, np.random.Generator], Values]


@dataclass(frozen=True)
class Condition:
    """What is planted, and how it is looked at.

    Attributes:
        name: of the condition. subgroups: of the design. items: asked. worlds: data sets, among which repetitions divide.
        answer: a model's answers. effect: by which the planted level or subgroup is served worse; 0 for none.
        target: `level` or `subgroup`, where a power is measured. change, people, main_effects: of the population (`make_world`).
        parts: what of the audit is run: `worst`, `gaps`, `adjusted` (gaps with baseline and difficulty).
    """

    name: str
    subgroups: int
    answer: Answer
    items: int = 90
    worlds: int = 20
    effect: float = 0.0
    target: str | None = None
    change: Change | None = None
    people: int | None = None
    main_effects: float = 0.3
    parts: tuple[str, ...] = ("worst", "gaps", "adjusted")


def fair(world: World, rng: np.random.Generator) -> Values:
    """Answer all subgroups alike."""
    return knows_labels(world, np.full(len(world.setting.stratum), BASE), rng)


def worse_level(effect: float) -> Answer:
    """Return a model that serves one level worse than all others."""

    def answer(world: World, rng: np.random.Generator) -> Values:
        return knows_labels(world, BASE - effect * world.has(ATTRIBUTE, LEVEL), rng)

    return answer


def worse_subgroup(effect: float) -> Answer:
    """Return a model that serves the first subgroup worse than all others."""

    def answer(world: World, rng: np.random.Generator) -> Values:
        return knows_labels(world, BASE - effect * (np.arange(len(world.setting.stratum)) == 0), rng)

    return answer


def conditions() -> list[Condition]:
    """Return all conditions, in the order of the page."""
    hard: Mapping[str, Any] = {"parts": ("gaps", "adjusted"), "worlds": 25}
    level: Mapping[str, Any] = {"target": "level", "parts": ("gaps",), "worlds": 10}
    group: Mapping[str, Any] = {"target": "subgroup", "parts": ("worst",), "worlds": 10}
    return [
        *(Condition("fair", subgroups, fair) for subgroups in (8, 30, 60)),
        Condition("level", 30, worse_level(0.10), items=170, effect=0.10, **level),
        Condition("level", 8, worse_level(0.10), effect=0.10, **level),
        Condition("level", 8, worse_level(0.20), effect=0.20, **level),
        Condition("level", 30, worse_level(0.10), effect=0.10, **level),
        Condition("level", 60, worse_level(0.05), effect=0.05, **level),
        Condition("level", 60, worse_level(0.10), effect=0.10, **level),
        Condition("subgroup", 8, worse_subgroup(0.20), effect=0.20, **group),
        Condition("subgroup", 30, worse_subgroup(0.20), effect=0.20, **group),
        Condition("subgroup", 60, worse_subgroup(0.25), effect=0.25, **group),
        Condition("nation", 30, lambda world, rng: knows_nation(world, 0.9, rng), change=far_level(6), **hard),
        Condition("person", 30, is_person, change=far_level(4), **hard),
        Condition("labels", 30, lambda world, rng: knows_truth(world, 0.8, rng), change=rare_level(0.06), main_effects=0.15, **hard),
    ]


def rows_of(condition: Condition, repetitions: int, permutations: int) -> Iterator[dict[str, Any]]:
    """Yield one row a repetition."""
    worlds = min(condition.worlds, repetitions)
    for place, seed in enumerate(range(FIRST_SEED, FIRST_SEED + worlds)):
        world = make_world(
            condition.subgroups,
            seed,
            items=condition.items,
            people=condition.people,
            main_effects=condition.main_effects,
            change=condition.change or (lambda population: population),
        )
        if "adjusted" not in condition.parts:
            world = replace(world, setting=replace(world.setting, difficulty=None), baseline=None)
        number = repetitions // worlds + (place < repetitions % worlds)
        rng = np.random.default_rng([seed, condition.subgroups, round(100 * condition.effect)])
        runs = [condition.answer(world, rng) for _ in range(number)]
        predicted = _predicted(world, condition)
        about = {"condition": condition.name, "subgroups": condition.subgroups, "items": condition.items, "effect": condition.effect}
        for claims in audit_runs(world, runs, permutations if "worst" in condition.parts else 0, seed, gaps="gaps" in condition.parts):
            row = {**about, "world": seed, "predicted": predicted, "variance": claims.variance}
            if "worst" in condition.parts:
                row |= {"worst": bool(claims.worst.any()), "first": bool(claims.worst[0])}
            if "gaps" in condition.parts:
                row |= _gap_row(claims.gaps)
            if "adjusted" in condition.parts:
                row |= {"any_adjusted": claims.any_gap("adjusted_p_holm"), "bias": claims.bias}
            yield row


def spread_rows(subgroups: int, repetitions: int, spread: float) -> Iterator[dict[str, Any]]:
    """Yield the corrected variance beside the planted one; one world, since labels do not enter."""
    world = make_world(subgroups, FIRST_SEED)
    rng = np.random.default_rng([FIRST_SEED, subgroups])
    for _ in range(repetitions):
        chance = np.clip(BASE + spread * rng.standard_normal(len(world.setting.stratum)), 0, 1)
        found = corrected_variance(knows_labels(world, chance, rng).gold)
        yield {"condition": "spread", "subgroups": subgroups, "effect": spread, "variance": found.value, "planted": chance.var(ddof=1)}


def _predicted(world: World, condition: Condition) -> float | None:
    """Return the mean power that `power` predicts for what is planted."""
    if condition.target is None:
        return None
    table = power(world.dataset, effect=condition.effect, expected=BASE, alpha=ALPHA)
    name = LEVEL if condition.target == "level" else world.layout.subgroups[0]
    return float(table.filter(pl.col("by") == condition.target, pl.col("level") == name)["power"].mean())


def _gap_row(gaps: pl.DataFrame) -> dict[str, Any]:
    """Return what is said of the planted level against the others, turned so that a negative gap is worse for it."""
    inside = pl.col("attribute") == ATTRIBUTE
    turned = pl.when(pl.col("level") == LEVEL).then(1.0).otherwise(-1.0)
    mine = gaps.filter(inside, (pl.col("level") == LEVEL) | (pl.col("against_level") == LEVEL)).with_columns(
        (pl.col(name) * turned).alias(name) for name in ("gap", "excess", "adjusted")
    )
    found = (mine["p_holm"] <= ALPHA) & (mine["gap"] < 0)
    return {
        "any_gap": bool((gaps["p_holm"] <= ALPHA).any()),
        "found": float(found.mean()),
        "pairs": float(mine["pairs"].mean()) / 2,
        **{name: mine[name].mean() for name in ("gap", "excess", "adjusted")},
    }


COLUMNS = {
    "condition": pl.String,
    "subgroups": pl.Int64,
    "items": pl.Int64,
    "effect": pl.Float64,
    "world": pl.Int64,
    "predicted": pl.Float64,
    "variance": pl.Float64,
    "planted": pl.Float64,
    "worst": pl.Boolean,
    "first": pl.Boolean,
    "any_gap": pl.Boolean,
    "found": pl.Float64,
    "pairs": pl.Float64,
    "gap": pl.Float64,
    "excess": pl.Float64,
    "adjusted": pl.Float64,
    "any_adjusted": pl.Boolean,
    "bias": pl.Boolean,
}


def main() -> int:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="of each condition")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--rows", type=Path, help="also keep the rows behind the figures (.parquet)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    started = time.process_time()
    rows: list[dict[str, Any]] = []
    for subgroups in (8, 30, 60):
        for spread in (0.0, SPREAD):
            rows += spread_rows(subgroups, given.repetitions, spread)
    for condition in conditions():
        rows += rows_of(condition, given.repetitions, given.permutations)
        print(
            f"{condition.name} {condition.subgroups} {condition.effect:g}: {time.process_time() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        frame = pl.DataFrame(rows, schema=COLUMNS)
        if given.rows:
            frame.write_parquet(given.rows)
    minutes = (time.process_time() - started) / 60
    frame = pl.DataFrame(rows, schema=COLUMNS)
    given.output.write_text(audit_page.document(frame, given.repetitions, given.permutations, minutes), encoding="utf-8")
    print(f"{given.output}: {minutes:.1f} minutes of one core.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
