"""Simulation study of the audit: false claims, power, and bias of the corrected spread.

    python bench/audit_study.py -o docs/auditing-proven.md

writes the whole page. Seeds depend on the data set and the condition only, so the figures are the same with any number of
processes. `--rows FOLDER` stores the rows; an interrupted study continues from them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Use one core. This must be set before numpy is loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

from bench import audit_blocks, audit_page
from bench.audit_claims import BASE, CLAIMS, claim_rows, planted
from bench.audit_whole import whole_rows
from bench.audit_worlds import (
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
from valuestrata.fairness.estimate.disparity import corrected_variance
from valuestrata.fairness.power.power import power
from valuestrata.files import write_text
from valuestrata.scores.layout import Values

# Seeds of data sets that were not used while the audit was developed.
FIRST_SEED = 1000
# Numbers of subgroups and standard deviations of their accuracies in the study of the spread.
SPREADS = tuple((subgroups, spread) for subgroups in (8, 30, 60) for spread in (0.0, 0.05))
# Number of audits of a survey of full size.
WHOLE = 10
# Data sets with blocks, and repetitions of the study for one comparison of two runs on each.
BLOCK_WORLDS, BLOCK_SHARE = 4, 20
# Permutations of audits of surveys with blocks, for speed.
BLOCK_PERMUTATIONS = 400
Answer = Callable[[World, np.random.Generator], Values]


@dataclass(frozen=True)
class Condition:
    """A condition of the study: the population, the model, and the parts of the audit to run.

    Attributes:
        name: name of the condition.
        subgroups: number of test subgroups of the design.
        answer: draws a model's answers.
        items: number of items.
        worlds: number of data sets; repetitions are divided among them.
        effect: how much worse the affected level or subgroup is served; 0 for none.
        target: `level` or `subgroup` if power is measured.
        change, people, main_effects: arguments of `make_world`.
        parts: parts of the audit: `worst`, `gaps`, `adjusted` (gaps relative to the baseline and at equal difficulty).
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
    """Serve all subgroups alike."""
    return knows_labels(world, np.full(len(world.context.stratum), BASE), rng)


def worse_level(effect: float) -> Answer:
    """Return a model that serves one level worse than all others."""

    def answer(world: World, rng: np.random.Generator) -> Values:
        return knows_labels(world, BASE - effect * world.has(ATTRIBUTE, LEVEL), rng)

    return answer


def worse_subgroup(effect: float) -> Answer:
    """Return a model that serves the first subgroup worse than all others."""

    def answer(world: World, rng: np.random.Generator) -> Values:
        return knows_labels(world, BASE - effect * (np.arange(len(world.context.stratum)) == 0), rng)

    return answer


def conditions() -> list[Condition]:
    """Return the conditions that are evaluated from tables instead of claims, in the order of the page."""
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
        Condition("bias", 30, worse_level(0.15), effect=0.15, items=170, **hard),
    ]


def world_rows(condition: Condition, seed: int, repetitions: int, permutations: int) -> Iterator[dict[str, Any]]:
    """Yield one row per repetition on the data set of a seed."""
    changed: dict[str, Any] = {} if condition.change is None else {"change": condition.change}
    world = make_world(
        condition.subgroups, seed, items=condition.items, people=condition.people, main_effects=condition.main_effects, **changed
    )
    gaps = "explained" if "adjusted" in condition.parts else "plain" if "gaps" in condition.parts else "none"
    rng = np.random.default_rng([seed, condition.subgroups, round(100 * condition.effect)])
    runs = [condition.answer(world, rng) for _ in range(repetitions)]
    predicted = _predicted(world, condition)
    about = {"condition": condition.name, "subgroups": condition.subgroups, "items": condition.items, "effect": condition.effect}
    for claims in audit_runs(world, runs, permutations if "worst" in condition.parts else 0, seed, gaps=gaps):
        row = {**about, "world": seed, "predicted": predicted, "variance": claims.variance}
        if "worst" in condition.parts:
            row |= {"worst": bool(claims.worst.any()), "first": bool(claims.worst[0])}
        if "gaps" in condition.parts:
            row |= _gap_row(claims.gaps)
        if "adjusted" in condition.parts:
            found = {kind: claims.any_remaining(kind) for kind in ("remains", "hidden")}
            row |= {"any_adjusted": claims.any_gap("adjusted_p_holm"), **found, "waved": _waved(claims.gaps)}
        yield row


def spread_rows(subgroups: int, spread: float, repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield the corrected and the true variance. One data set suffices, because labels are not used."""
    world = make_world(subgroups, FIRST_SEED)
    rng = np.random.default_rng([FIRST_SEED, subgroups])
    for _ in range(repetitions):
        chance = np.clip(BASE + spread * rng.standard_normal(len(world.context.stratum)), 0, 1)
        found = corrected_variance(knows_labels(world, chance, rng).gold)
        yield {"condition": "spread", "subgroups": subgroups, "effect": spread, "variance": found.value, "planted": chance.var(ddof=1)}


def _predicted(world: World, condition: Condition) -> float | None:
    """Return the mean power that `power` predicts for the effect of the condition."""
    if condition.target is None:
        return None
    table = power(world.dataset, effect=condition.effect, expected=BASE, alpha=ALPHA)
    name = LEVEL if condition.target == "level" else world.layout.subgroups[0]
    return float(table.filter(pl.col("by") == condition.target, pl.col("level") == name)["power"].mean())


def _gap_row(gaps: pl.DataFrame) -> dict[str, Any]:
    """Return the gaps of the affected level against the others, signed so that negative is worse for that level."""
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


def _waved(gaps: pl.DataFrame) -> float | None:
    """Return the share of the affected level's claimed gaps that are explained away; None without a claimed gap."""
    mine = gaps.filter((pl.col("level") == LEVEL) | (pl.col("against_level") == LEVEL), pl.col("p_holm") <= ALPHA)
    return None if mine.is_empty() else float(mine["remains"].is_in(["explained", "composition", "turned"]).mean())


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
    "remains": pl.Boolean,
    "hidden": pl.Boolean,
    "waved": pl.Float64,
}
LINES = {
    **dict.fromkeys(("condition", "run", "rule", "metric", "claim", "planted"), pl.String),
    **dict.fromkeys(("subgroups", "repetition"), pl.Int64),
    **dict.fromkeys(("value", "true", "seconds"), pl.Float64),
}


def tasks(repetitions: int) -> list[tuple[str, int, int, int]]:
    """Return independent tasks: (part of the study, number of the condition, seed of the data set, repetitions)."""
    made = [("spread", place, FIRST_SEED, repetitions) for place in range(len(SPREADS))]
    made.append(("whole", 0, 0, min(WHOLE, repetitions)))
    for part in ("blocks", "power"):
        for place in range(len(audit_blocks.SPREADS)):
            made += [(part, place, FIRST_SEED + world, max(repetitions // BLOCK_SHARE, 1)) for world in range(BLOCK_WORLDS)]
    for part, found in (("arrays", conditions()), ("claims", planted())):
        for place, condition in enumerate(found):
            worlds = min(condition.worlds, repetitions)
            for world in range(worlds):
                made.append((part, place, FIRST_SEED + world, repetitions // worlds + (world < repetitions % worlds)))
    return made


def done(task: tuple[str, int, int, int], permutations: int, kept: Path | None) -> tuple[str, list[dict[str, Any]], float]:
    """Run a task, or read its stored result; return its part, its rows and its processor seconds."""
    path = None if kept is None else kept / f"{'-'.join(map(str, task))}-{permutations}.json"
    if path is not None and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        return task[0], found["rows"], found["seconds"]
    rows, seconds = _rows(task, permutations)
    if path is not None:
        write_text(path, json.dumps({"seconds": seconds, "rows": rows}))
    return task[0], rows, seconds


def _rows(task: tuple[str, int, int, int], permutations: int) -> tuple[list[dict[str, Any]], float]:
    part, place, seed, repetitions = task
    started = time.process_time()
    if part == "spread":
        rows = list(spread_rows(*SPREADS[place], repetitions))
    elif part == "whole":
        rows = [row | {"condition": "whole", "subgroups": 0} for row in whole_rows(repetitions)]
    elif part == "blocks":
        rows = list(audit_blocks.false_rows(audit_blocks.SPREADS[place], seed, repetitions, min(permutations, BLOCK_PERMUTATIONS)))
    elif part == "power":
        rows = list(audit_blocks.power_rows(audit_blocks.SPREADS[place], seed, repetitions, min(permutations, BLOCK_PERMUTATIONS)))
    elif part == "arrays":
        rows = list(world_rows(conditions()[place], seed, repetitions, permutations))
    else:
        rows = list(claim_rows(planted()[place], seed, repetitions, permutations))
    return rows, time.process_time() - started


def results(given: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, Any]], float]]:
    """Yield the result of every task, in order, with any number of processes."""
    work = tasks(given.repetitions)
    if given.only:
        work = [task for task in work if task[0] == given.only]
    one = partial(done, permutations=given.permutations, kept=None if given.rows is None else given.rows / "tasks")
    if given.processes == 1:
        yield from map(one, work)
        return
    # Polars has its own threads, so processes must not be forked.
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, work)


def main() -> int:
    """Run the study and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400, help="repetitions of each condition")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1, help="number of processes; figures do not depend on it")
    parser.add_argument("--rows", type=Path, help="store rows in this folder, and reuse those already there")
    parser.add_argument(
        "--only",
        choices=("spread", "arrays", "claims", "whole", "blocks", "power"),
        help="run one part of the study; the page lacks the others",
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    schemas = {"arrays": COLUMNS, "claims": CLAIMS, "whole": LINES, "blocks": audit_blocks.FALSE, "power": audit_blocks.POWER}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in schemas}
    seconds, last = 0.0, ""
    for part, found, took in results(given):
        rows["arrays" if part == "spread" else part] += found
        seconds += took
        at = " ".join(str(found[0][name]) for name in ("condition", "target", "subgroups", "sd") if name in found[0])
        at = f"{part} {at}"
        if at != last:
            print(f"{at} ({seconds:.0f} s so far)", file=sys.stderr, flush=True)
        last = at
    frames = {name: pl.DataFrame(found, schema=schemas[name]) for name, found in rows.items()}
    if given.rows:
        for name, frame in frames.items():
            frame.write_parquet(given.rows / f"{name}.parquet")
    false, planted_gaps = frames.pop("blocks"), frames.pop("power")
    text = audit_page.document(
        **frames,
        repetitions=given.repetitions,
        permutations=given.permutations,
        minutes=seconds / 60,
        by_block=false.filter(pl.col("method") == "block"),
        blocks=audit_blocks.section(false, planted_gaps),
    )
    given.output.write_text(text, encoding="utf-8")
    print(f"{given.output}: {seconds / 60:.1f} minutes on one core.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
