"""False claims and power of the audit where subgroups differ by block of items, with items and with blocks as units.

Questions of one battery resemble each other, so a model may serve a subgroup better on one battery and worse on another, without serving
it worse in expectation. Data sets have the blocks of the World Values Survey; the accuracy of each subgroup on each block is drawn with a
standard deviation around one mean. Every simulated survey is audited twice: as if its items were independent, and by blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from bench.audit_claims import BASE, BATCH, CLAIMS, FAMILIES, Answered, Planted, audited_rows, every
from bench.audit_page import table
from bench.audit_worlds import ALPHA, ATTRIBUTE, LEVEL, World, accuracy, answers_of, audit_runs, by_item, make_world, on_blocks
from valuestrata.fairness.power.power import power
from valuestrata.survey.codebook import load_codebook

# Standard deviations of the effects of blocks.
SPREADS = (0.0, 0.05, 0.10)
METHODS = ("item", "block")
SUBGROUPS = 30
# How much worse one level or one subgroup is served where power is measured.
EFFECTS = {"level": (0.05, 0.10), "subgroup": (0.15, 0.20)}
# Conditions with fewer repetitions, for speed: runs with half of the pairs cannot share permutations.
SLOWER = {"half": 5, "refusing": 2}
# Mean refusal rate where refusals are audited.
REFUSED = 0.1


FALSE = {"sd": pl.Float64, "method": pl.String, **CLAIMS}
POWER = {**dict.fromkeys(("sd", "effect", "found", "predicted"), pl.Float64), **dict.fromkeys(("method", "target"), pl.String)}

TEXT = """## Blocks of items

Questions of one battery resemble each other. A model may serve a subgroup better on one battery and worse on another without
serving it worse in expectation; an audit that treats the questions as independent takes this for bias. Here the data sets
have the blocks of the World Values Survey ({described}) and 30 test subgroups. The accuracy of every subgroup on every block
is drawn around .6 with the standard deviation `sd`, so all claims are false in expectation. Each run is audited twice: with
items as units (as if the survey named no blocks) and with blocks. `fair`, `half` and `refusing` are as above, with half of the
pairs drawn at random and a refusal rate that differs by block as well. The families are those of the table above.

{false}

Power is what this costs: `found` as below, with one level or one subgroup served worse by `gap`; `predicted` is what
`valuestrata power` gives with `--block-sd` set to the true value. Where subgroups differ by block, part of what is found with
items as units would also be claimed without a gap.

{power}"""


def wvs_blocks() -> list[str]:
    """Return the block of each item of the World Values Survey; an item without a block has its own name."""
    return [item.block or item.id for item in load_codebook("wvs7").items if item.default]


def block_world(seed: int, blocks: Sequence[str] | None = None) -> World:
    """Return a data set of 30 test subgroups with the blocks of the World Values Survey."""
    names = wvs_blocks() if blocks is None else list(blocks)
    return make_world(SUBGROUPS, seed, items=len(names), draws=100, bootstrap=500, blocks=names)


def conditions(spread: float) -> list[Planted]:
    """Return the runs audited at one standard deviation: before and after, after with half of the pairs, and one that refuses."""

    def fair(world: World, rng: np.random.Generator) -> list[Answered]:
        return [_answered(world, spread, rng), _answered(world, spread, rng)]

    def half(world: World, rng: np.random.Generator) -> list[Answered]:
        before, after = fair(world, rng)
        return [before, replace(after, asked=after.asked & (rng.random(after.asked.shape) < 0.5))]

    def refusing(world: World, rng: np.random.Generator) -> list[Answered]:
        one = _answered(world, spread, rng)
        return [replace(one, refused=one.asked & (rng.random(one.asked.shape) < on_blocks(world, REFUSED, spread, rng)))]

    return [
        Planted("fair", SUBGROUPS, fair),
        Planted("half", SUBGROUPS, half),
        Planted("refusing", SUBGROUPS, refusing, ("refusal_rate",)),
    ]


def _answered(world: World, spread: float, rng: np.random.Generator) -> Answered:
    chance = on_blocks(world, BASE, spread, rng)
    return every(world, answers_of(world.layout.mode, chance, world.options, rng))


def false_rows(
    spread: float, seed: int, repetitions: int, permutations: int, blocks: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one row per method and run: which families make a false claim, as `audit_claims.claim_rows`."""
    world = block_world(seed, blocks)
    worlds = {"item": by_item(world), "block": world}
    for condition in conditions(spread):
        rng = np.random.default_rng([seed, round(1000 * spread), *condition.name.encode()])
        wanted = max(repetitions // SLOWER.get(condition.name, 1), 1)
        for start in range(0, wanted, BATCH):
            answered = [condition.model(world, rng) for _ in range(min(BATCH, wanted - start))]
            for method in METHODS:
                for row in audited_rows(condition, worlds[method], answered, permutations, seed):
                    yield {"sd": spread, "method": method, **row}


def power_rows(spread: float, seed: int, repetitions: int, permutations: int) -> Iterator[dict[str, Any]]:
    """Yield one row per method, target and repetition: the share of the target's true gaps found, and what `power` predicts."""
    world = block_world(seed)
    worlds = {"item": by_item(world), "block": world}
    groups = len(world.context.stratum)
    worse = {"level": world.has(ATTRIBUTE, LEVEL), "subgroup": np.arange(groups) == 0}
    for target, effects in EFFECTS.items():
        for effect in effects:
            rng = np.random.default_rng([seed, round(1000 * spread), round(1000 * effect)])
            moved = np.repeat(effect * worse[target], len(world.layout.items))
            runs = [
                accuracy(
                    world.layout,
                    answers_of(world.layout.mode, np.clip(on_blocks(world, BASE, spread, rng) - moved, 0, 1), world.options, rng),
                )
                for _ in range(repetitions)
            ]
            for method in METHODS:
                mine = worlds[method]
                table = power(mine.dataset, effect=effect, expected=BASE, alpha=ALPHA, block_sd=spread)
                name = LEVEL if target == "level" else mine.layout.subgroups[0]
                predicted = float(table.filter(pl.col("by") == target, pl.col("level") == name)["power"].mean())
                of = "plain" if target == "level" else "none"
                for claims in audit_runs(mine, runs, permutations if target == "subgroup" else 0, seed, gaps=of):
                    found = float(claims.worst[0]) if target == "subgroup" else _found(claims.gaps)
                    yield {"sd": spread, "method": method, "target": target, "effect": effect, "found": found, "predicted": predicted}


def _found(gaps: pl.DataFrame) -> float:
    """Return the share of the level's gaps that are claimed with the right sign."""
    mine = gaps.filter(pl.col("attribute") == ATTRIBUTE, (pl.col("level") == LEVEL) | (pl.col("against_level") == LEVEL))
    below = pl.when(pl.col("level") == LEVEL).then(pl.col("gap") < 0).otherwise(pl.col("gap") > 0)
    return float(mine.select((below & (pl.col("p_holm") <= ALPHA)).mean()).item())


def section(false: pl.DataFrame, power: pl.DataFrame) -> str:
    """Return the part of the page on blocks, from the rows of `false_rows` and `power_rows`; empty without rows."""
    if false.is_empty() and power.is_empty():
        return ""
    return TEXT.format(described=described(), false=_false(false), power=_power(power))


def _false(rows: pl.DataFrame) -> str:
    lines = []
    for (spread, condition, method), part in rows.group_by("sd", "condition", "method", maintain_order=True):
        rates = ["–" if part[family].is_null().all() else f"{part[family].mean():.3f}" for family in (*FAMILIES, "any")]
        lines.append([f"{spread:.2f}", str(condition), str(method), f"{len(part):,}", *rates])
    return table(["sd", "run", "units", "runs", *FAMILIES, "any"], sorted(lines, key=lambda line: (line[0], line[1])))


def _power(rows: pl.DataFrame) -> str:
    lines = []
    for (spread, target, effect), part in rows.group_by("sd", "target", "effect", maintain_order=True):
        of = {str(method): one for (method,), one in part.group_by("method")}
        error = 2 * float(of["block"]["found"].std() or 0.0) / len(of["block"]) ** 0.5
        found = [f"{of['item']['found'].mean():.3f}", f"{of['block']['found'].mean():.3f} ± {error:.3f}"]
        lines.append(
            [f"{spread:.2f}", str(target), f"{effect:.2f}", *found, f"{of['block']['predicted'].mean():.3f}", str(len(of["block"]))]
        )
    return table(["sd", "served worse", "gap", "found by item", "found by block", "predicted", "repetitions"], lines)


def described() -> str:
    """Return the blocks in words."""
    sizes = sorted(Counter(wvs_blocks()).values(), reverse=True)
    effective = sum(sizes) ** 2 / sum(size**2 for size in sizes)
    return f"{sum(sizes)} items in {len(sizes)} blocks of up to {sizes[0]}, equivalent to {effective:.0f} blocks of equal size"
