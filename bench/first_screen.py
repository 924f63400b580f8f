"""False findings among the claims that an audit shows first, and statements that nobody lost, on simulated data with a known truth.

    python bench/first_screen.py screen --repetitions 200      # false findings on the first screen of fair models, and power
    python bench/first_screen.py losses --repetitions 300      # "worse for none" where 12 of 48 subgroups lost 5 points
    python bench/first_screen.py audits --repetitions 80       # the same from whole audits of built surveys
    python bench/first_screen.py equal --repetitions 200       # how often equality is shown where it holds

`before` is what the rules showed without the correction: the five most important claims of a run, and "worse for none" wherever no loss
was detected.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from scipy import stats

from bench.audit_claims import BASE, BATCH, FAMILIES, Answered, every, fair, labels, run_of
from bench.audit_worlds import ALPHA, ATTRIBUTE, DESIGNS, ITEM_MODE, LEVEL, Floats, World, make_world
from valuestrata.claims.claim import Claim, Strength
from valuestrata.claims.fairness.rules import audit_claims
from valuestrata.claims.select import MOST_CLAIMS, select
from valuestrata.fairness import Audit, audit
from valuestrata.fairness.estimate.changes import limits, outcome, pareto
from valuestrata.scores.plan import Thresholds
from valuestrata.stats.intervals import margin_test
from valuestrata.stats.multiple_testing import holm

SEED = 5000
FALSE = frozenset(kind for kinds in FAMILIES.values() for kind in kinds)
MARGIN = Thresholds().margin("accuracy")
NONE_WORSE = ("better for some, worse for none", "worse for none, gains not shown", "no change")
Model = Callable[[World, np.random.Generator], Sequence[Answered]]


def worse_level(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve one level of an attribute worse by 10 points, before and after."""
    chance = BASE - 0.1 * world.has(ATTRIBUTE, LEVEL)
    return [labels(world, chance, rng), labels(world, chance, rng)]


def worse_subgroup(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve the first subgroup worse by 20 points, before and after."""
    chance = BASE - 0.2 * (np.arange(len(world.context.stratum)) == 0)
    return [labels(world, chance, rng), labels(world, chance, rng)]


def all_better(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike, and all better by 5 points after."""
    return [labels(world, BASE, rng), labels(world, BASE + 0.05, rng)]


def losers(world: World, rng: np.random.Generator) -> list[Answered]:
    """Let 12 subgroups lose 5 points, and the others gain 10."""
    change = np.where(np.arange(len(world.context.stratum)) % 4 == 0, -0.05, 0.10)
    return [labels(world, BASE, rng), labels(world, BASE + change, rng)]


# Condition -> model, kinds whose claims are false, kinds that find the effect.
GAPS = ("gap-remains", "gap-unclear", "gap-explained", "gap-composition")
CONDITIONS: Mapping[str, tuple[Model, frozenset[str], tuple[str, ...]]] = {
    "fair": (fair, FALSE, ()),
    "level": (worse_level, frozenset(), GAPS),
    "subgroup": (worse_subgroup, frozenset(), ("served-worse",)),
    "better": (all_better, frozenset(), ("better",)),
}


def audited(world: World, model: Model, repetitions: int, rng: np.random.Generator, metrics: Sequence[str]) -> Iterator[tuple[Audit, Any]]:
    """Yield audits of batches of comparisons, each with its claims by run."""
    baseline = run_of(world, ITEM_MODE, every(world, world.baseline_answers), "baseline:item-mode")
    for start in range(0, repetitions, BATCH):
        both = [model(world, rng) for _ in range(min(BATCH, repetitions - start))]
        runs = [run_of(world, f"{at} {place}", one) for at, pair in enumerate(both) for place, one in enumerate(pair)]
        earlier = {f"{at} 1": f"{at} 0" for at in range(len(both))}
        options = {"permutations": 1000, "bootstrap": 500, "seed": SEED, "confidence": 1 - ALPHA}
        found = audit(world.dataset, [*runs, baseline], against=earlier, metrics=metrics, **options)
        claims = audit_claims(found, [*runs, baseline])
        yield found, {name: [claim for claim in claims if claim.run == name] for name in earlier}


def finding(claim: Claim) -> bool:
    """Whether a claim states a result of a test."""
    return claim.strength in (Strength.SHOWN, Strength.WITHIN_MARGIN)


def screen_rows(repetitions: int, subgroups: int, worlds: int, conditions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a row per comparison: false findings among all claims and among those shown before and after; the same of true effects."""
    for name in conditions:
        model, false, effects = CONDITIONS[name]
        for seed in range(SEED, SEED + worlds):
            world = make_world(subgroups, seed)
            rng = np.random.default_rng([seed, *name.encode()])
            for _, by_run in audited(world, model, repetitions // worlds, rng, ("accuracy", "nmae")):
                for claims in by_run.values():
                    old = sorted(claims, key=lambda one: -one.importance)[:MOST_CLAIMS]
                    (new,) = select(claims)
                    row = {"condition": name, "subgroups": subgroups}
                    for what, shown in (("all", claims), ("before", old), ("after", new.shown)):
                        kinds = {one.kind for one in shown if finding(one)}
                        row[f"false {what}"] = None if not false else bool(kinds & false)
                        row[f"found {what}"] = None if not effects else bool(kinds & set(effects))
                    yield row


def audited_losses(repetitions: int, worlds: int) -> Iterator[dict[str, Any]]:
    """Yield a row per comparison in which 12 of 48 subgroups lost 5 points: whether it is said that none lost."""
    for seed in range(SEED, SEED + worlds):
        world = make_world(48, seed, items=100)
        rng = np.random.default_rng([seed, 48])
        for found, by_run in audited(world, losers, repetitions // worlds, rng, ("accuracy",)):
            scores = found.changes.filter(measure="score", by="subgroup")
            for name, claims in by_run.items():
                mine = scores.filter(run=name)["outcome"].to_list()
                kinds = {one.kind for one in claims if one.by == "all"}
                yield {"before": "better" in mine and "worse" not in mine, "after": bool(kinds & {"better-for-some", "worse-for-none"})}


def paired(items: int, anew: float, changes: Floats, rng: np.random.Generator) -> tuple[bool, bool, bool]:
    """Compare two simulated models with the tests of the audit, one pair of answers per subgroup and item.

    Args:
        items: number of items. anew: share of the pairs answered anew. changes: true change of accuracy of each subgroup, where anew.

    Returns:
        Whether gains but no losses were detected ("worse for none" without a test); whether it is shown that none lost more than the
        margin; whether the difference over all pairs is shown to be within it.
    """
    shape = (len(changes), items)
    before = rng.random(shape) < BASE
    after = np.where(rng.random(shape) < anew, rng.random(shape) < BASE + changes[:, None], before)
    apart = after.astype(np.float64) - before
    mean, se = apart.mean(axis=1), apart.std(axis=1, ddof=1) / np.sqrt(items)
    quantile = stats.t.isf(ALPHA / 2, items - 1)
    p = np.where(se > 0, 2 * stats.t.sf(np.abs(mean) / np.where(se > 0, se, 1.0), items - 1), 1.0)
    outcomes = [outcome(one, adjusted, 1, ALPHA) for one, adjusted in zip(mean, holm(p.tolist()), strict=True)]
    tests = [margin_test(one, one - half, one + half, 1 - ALPHA, MARGIN, items) for one, half in zip(mean, quantile * se, strict=True)]
    head = pareto(outcomes, [limits(test, 1, ALPHA) for test in tests], "subgroups").partition(":")[0]
    whole, half = float(apart.mean()), quantile * apart.mean(axis=0).std(ddof=1) / np.sqrt(items)
    within = margin_test(whole, whole - half, whole + half, 1 - ALPHA, MARGIN, apart.size).within <= ALPHA
    return "better" in outcomes and "worse" not in outcomes, head in NONE_WORSE, bool(within)


def losses_rows(repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield a row per comparison in which subgroups lost: 12 of 48 by 5 points, or one by exactly the margin with more items."""
    for name, items, changes in (
        ("12 of 48 lost 5 points", 100, np.where(np.arange(48) % 4 == 0, -0.05, 0.10)),
        ("1 of 48 lost the margin", 1000, np.where(np.arange(48) == 0, -MARGIN, 0.10)),
    ):
        rng = np.random.default_rng([SEED, items])
        for _ in range(repetitions):
            before, after, _ = paired(items, 1.0, changes, rng)
            yield {"condition": name, "items": items, "worse for none before": before, "after": after}


def equal_rows(repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield a row per comparison of models of equal accuracy: whether it is shown over all pairs, and of every subgroup."""
    for subgroups, items in ((8, 90), (30, 90), (30, 240), (30, 1000)):
        for anew in (1.0, 0.2, 0.05):
            rng = np.random.default_rng([SEED, subgroups, items, round(100 * anew)])
            for _ in range(repetitions):
                _, every_one, whole = paired(items, anew, np.zeros(subgroups), rng)
                yield {"subgroups": subgroups, "items": items, "answered anew": anew, "all pairs": whole, "every subgroup": every_one}


def main() -> int:
    """Run one study and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("screen", "losses", "audits", "equal"))
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--subgroups", type=int, choices=tuple(DESIGNS), default=30)
    parser.add_argument("--worlds", type=int, default=5, help="data sets; repetitions are divided among them")
    parser.add_argument("--conditions", nargs="+", choices=tuple(CONDITIONS), default=list(CONDITIONS), help="of `screen`")
    given = parser.parse_args()
    rows = {
        "screen": lambda: screen_rows(given.repetitions, given.subgroups, given.worlds, given.conditions),
        "losses": lambda: losses_rows(given.repetitions),
        "audits": lambda: audited_losses(given.repetitions, given.worlds),
        "equal": lambda: equal_rows(given.repetitions),
    }[given.study]()
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    keys = [name for name in ("condition", "subgroups", "items", "answered anew") if name in frame.columns]
    shares = pl.exclude(keys).cast(pl.Float64).mean()
    counted = (
        frame.group_by(keys, maintain_order=True).agg(pl.len().alias("n"), shares) if keys else frame.select(pl.len().alias("n"), shares)
    )
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, fmt_str_lengths=30):
        print(counted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
