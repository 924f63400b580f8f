"""False claims of whole audits on simulated data with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.audit_worlds import ALPHA, ATTRIBUTE, ITEM_MODE, Change, Floats, Indices, World, answers_of, by_pair, make_world
from valuestrata.claims.fairness.rules import audit_claims
from valuestrata.claims.table import to_frame
from valuestrata.fairness import audit
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.survey.simulation.population import Population

BASE = 0.6
# Half of the default number of bootstrap replicates, for speed.
REPLICATES = 500
# Runs audited in one call share permutations and replicates. More runs need more memory.
BATCH = 40
GAPS = ("gap-remains", "gap-unclear", "gap-explained", "gap-composition", "gap-turned")
WHO = ("better-for-all", "better-for-some", "losses-not-excluded", "mixed", "worse-for-some", "gains-not-excluded", "worse-for-all")
# Family of claims -> its rules. The audit controls the error rate within each family. `who` covers subgroups, `levels` levels.
FAMILIES: Mapping[str, Sequence[str]] = {
    "differ": ("differ",),
    "paper": ("paper-figures-beyond-noise",),
    "worst": ("served-worse",),
    "gap": GAPS,
    "remains": ("gap-remains",),
    "hidden": ("gap-hidden",),
    "cell": ("intersection-worse", "intersection-better"),
    "refused": ("missing-concentrated",),
    "uneven": ("missing-uneven", "missing-unclear", "missing-composition"),
    "change": ("better", "worse"),
    "who": WHO,
    "levels": WHO,
    "levelled": ("levelled-down",),
    "spread": ("spread-narrower", "spread-wider", "opposite-directions"),
    "noise": ("spread-moved-with-noise",),
}
CHANGES = ("change", "who", "levels", "levelled", "spread", "noise")
# Columns of the rows.
CLAIMS = {
    **dict.fromkeys(("condition", "metric"), pl.String),
    **dict.fromkeys(("subgroups", "world"), pl.Int64),
    **dict.fromkeys((*FAMILIES, "any"), pl.Boolean),
}
# Families tested on rates of missing answers only.
RATES = ("refused", "uneven")


@dataclass(frozen=True)
class Answered:
    """Answers of a model, each of shape (P,): option indices, whether the pair was asked, whether it was refused."""

    answers: Indices
    asked: NDArray[np.bool_]
    refused: NDArray[np.bool_]


Model = Callable[[World, np.random.Generator], Sequence[Answered]]


@dataclass(frozen=True)
class Planted:
    """A condition: a simulated model, and which claims are counted.

    Attributes:
        name: name of the condition.
        subgroups: number of test subgroups of the design.
        model: returns one run, or two (before and after).
        metrics: audited metrics.
        true: families that are not counted, because their claims are true.
        worlds: number of data sets.
        change: changes the population.
        blamed: count claims about the levels of the affected attribute, which differ only because of another attribute.
    """

    name: str
    subgroups: int
    model: Model
    metrics: Sequence[str] = ("accuracy",)
    true: Sequence[str] = field(default=())
    worlds: int = 20
    change: Change | None = None
    blamed: bool = False


def every(world: World, answers: Indices) -> Answered:
    """Return answers to all pairs without refusals."""
    there = world.layout.present.ravel()
    return Answered(answers, there, np.zeros_like(there))


def labels(world: World, chance: Floats | float, rng: np.random.Generator) -> Answered:
    """Give the label with a probability: one for all subgroups, or one for each."""
    spread = by_pair(world, np.broadcast_to(np.asarray(chance, dtype=np.float64), (len(world.context.stratum),)))
    return every(world, answers_of(world.layout.mode, spread, world.options, rng))


def fair(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike, before and after."""
    return [labels(world, BASE, rng), labels(world, BASE, rng)]


def fair_once(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike."""
    return [labels(world, BASE, rng)]


def half(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike; after, ask half of the pairs, with a probability that differs between items and subgroups."""
    before, after = fair(world, rng)
    shape = world.layout.present.shape
    share = np.clip(0.5 + 0.25 * rng.standard_normal((shape[0], 1)) + 0.25 * rng.standard_normal(shape[1]), 0.1, 0.9)
    return [before, replace(after, asked=after.asked & (rng.random(shape) < share).ravel())]


def near(world: World, rng: np.random.Generator) -> list[Answered]:
    """Miss the label by one step, so that all subgroups have the same expected distance on an item."""
    mode, options = world.layout.mode, world.options
    step = np.where(rng.random(mode.shape) < 0.5, 1, -1)
    step = np.where(mode == 0, 1, np.where(mode == options - 1, -1, step))
    return [every(world, np.where(rng.random(mode.shape) < BASE, mode, mode + step))]


def lifted(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike, and all better after."""
    return [labels(world, 0.5, rng), labels(world, 0.65, rng)]


def unequal(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve some subgroups better than others, in the same way before and after (regression to the mean)."""
    chance = np.clip(BASE + 0.08 * rng.standard_normal(len(world.context.stratum)), 0.2, 0.95)
    return [labels(world, chance, rng), labels(world, chance, rng)]


def refusing(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve all subgroups alike and refuse one answer in ten, more on some items."""
    (one,) = fair_once(world, rng)
    shape = world.layout.present.shape
    rate = np.broadcast_to(rng.beta(1.0, 9.0, shape[1]), shape)
    return [replace(one, refused=one.asked & (rng.random(shape) < rate).ravel())]


def company(world: World, rng: np.random.Generator) -> list[Answered]:
    """Serve one religion much worse and refuse it often. The first age level has few subgroups of other religions."""
    inside = world.has("religion", "religion 1")
    one = labels(world, BASE - 0.4 * inside, rng)
    rate = by_pair(world, np.where(inside, 0.5, 0.05))
    return [replace(one, refused=one.asked & (rng.random(rate.shape) < rate))]


def few_religions(population: Population) -> Population:
    """Restrict the first age level to the first two religions; too few of its people remain elsewhere to form a subgroup."""
    names = [attribute.name for attribute in population.attributes]
    age, religion = (population.cells[:, names.index(name)] for name in (ATTRIBUTE, "religion"))
    joint = np.where((age == 0) & (religion > 1), 0.001, 1.0) * population.joint
    joint = joint / joint.sum()
    return replace(population, joint=joint, sampling=joint)


def planted() -> list[Planted]:
    """Return all conditions in the order of the page."""
    return [
        Planted("fair", 8, fair),
        Planted("fair", 30, fair),
        Planted("fair", 60, fair_once),
        Planted("half", 30, half),
        Planted("near", 30, near, ("nmae",)),
        Planted("refusing", 30, refusing, ("refusal_rate",)),
        Planted("lifted", 30, lifted, true=("change", "who", "levels")),
        Planted("unequal", 8, unequal, true=("differ", "paper", "worst", "gap", "remains", "hidden", "cell")),
        Planted("company", 30, company, ("accuracy", "refusal_rate"), change=few_religions, blamed=True),
    ]


def claim_rows(
    condition: Planted, seed: int, repetitions: int, permutations: int, *, items: int = 90, replicates: int = REPLICATES
) -> Iterator[dict[str, Any]]:
    """Yield one row per run and metric of a data set: which families make a false claim; null for families not tested."""
    changed: dict[str, Any] = {} if condition.change is None else {"change": condition.change}
    world = make_world(condition.subgroups, seed, items=items, **changed)
    rng = np.random.default_rng([seed, condition.subgroups, *condition.name.encode()])
    for start in range(0, repetitions, BATCH):
        answered = [condition.model(world, rng) for _ in range(min(BATCH, repetitions - start))]
        yield from audited_rows(condition, world, answered, permutations, seed, replicates)


def audited_rows(
    condition: Planted, world: World, answered: Sequence[Sequence[Answered]], permutations: int, seed: int, replicates: int = REPLICATES
) -> Iterator[dict[str, Any]]:
    """Audit runs, or pairs of runs before and after; yield the rows of `claim_rows`."""
    baseline = run_of(world, ITEM_MODE, every(world, world.baseline_answers), "baseline:item-mode")
    runs = [run_of(world, f"{at} {place}", one) for at, both in enumerate(answered) for place, one in enumerate(both)]
    earlier = {f"{at} 1": f"{at} 0" for at, both in enumerate(answered) if len(both) > 1}
    found = audit(
        world.dataset,
        [*runs, baseline],
        against=earlier,
        metrics=condition.metrics,
        permutations=permutations,
        bootstrap=replicates,
        seed=seed,
        confidence=1 - ALPHA,
    )
    lines = to_frame(audit_claims(found, [*runs, baseline]))
    for run in runs:
        for metric in condition.metrics:
            mine = lines.filter((pl.col("run") == run.name) & (pl.col("metric") == metric))
            row = {"condition": condition.name, "subgroups": condition.subgroups, "metric": metric, "world": seed}
            yield row | (_blamed(mine) if condition.blamed else _claims(mine, condition, changed=run.name in earlier))


def _claims(lines: pl.DataFrame, condition: Planted, *, changed: bool) -> dict[str, bool | None]:
    of_subgroups = set(lines.filter(pl.col("by").fill_null("") != "attribute")["rule"])
    of_attributes = set(lines.filter(by="attribute")["rule"])
    rate = "refusal_rate" in condition.metrics
    found: dict[str, bool | None] = {}
    for family, rules in FAMILIES.items():
        looked_at = family not in condition.true and (changed or family not in CHANGES) and rate == (family in RATES)
        where = of_attributes if family == "levels" else of_subgroups if family == "who" else of_subgroups | of_attributes
        found[family] = not where.isdisjoint(rules) if looked_at else None
    known = [one for one in found.values() if one is not None]
    return {**found, "any": any(known)}


def _blamed(lines: pl.DataFrame) -> dict[str, bool]:
    """Return whether gaps of the affected attribute are claimed, and whether they are attributed to it."""
    about = lines.filter(pl.col("key").str.starts_with(f"{ATTRIBUTE}="))["rule"]
    return {
        "gap": about.is_in([*GAPS, "missing-uneven", "missing-unclear", "missing-composition"]).any(),
        "remains": about.is_in(["gap-remains", "missing-uneven"]).any(),
        "hidden": about.is_in(["gap-hidden"]).any(),
    }


def run_of(world: World, name: str, answered: Answered, respondent: str = "planted") -> SimpleNamespace:
    """Return a run with the fields of a stored run."""
    gold = world.layout.gold
    cells = gold["cell"].to_numpy()
    asked, refused = answered.asked[cells], answered.refused[cells]
    codes = [code[at] for code, at in zip(gold["codes"].to_list(), answered.answers[cells].tolist(), strict=True)]
    frame = gold.select("pair_id", "item", "subgroup").with_columns(
        elicitation=pl.lit("text"),
        template=pl.lit("default"),
        order=pl.lit("scale"),
        sample=pl.lit(0),
        status=pl.Series(np.where(refused, "refused", "answered")),
        answer=pl.Series([None if missing else code for code, missing in zip(codes, refused.tolist(), strict=True)], dtype=pl.Int64),
    )
    return SimpleNamespace(name=name, meta={"respondent": respondent}, responses=RESPONSES.frame(frame.filter(asked).to_dicts()))
