"""Simulated populations and models of known accuracy for the study of the audit.

A survey is sampled from a population with known shares and built as usual, with joint redraws and the baseline `item-mode`. A model's
answers are drawn again in every repetition. Repetitions may share a data set: given the labels, their answers are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.context import AuditContext, context_of
from valuestrata.fairness.estimate.contrasts import interval_and_p
from valuestrata.fairness.estimate.disparity import corrected_variance
from valuestrata.fairness.estimate.gaps import common_pairs
from valuestrata.fairness.estimate.groups import worst
from valuestrata.fairness.estimate.nulls import permute
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.fairness.scores import MetricScores, score_metric
from valuestrata.fairness.tables.level_rows import BaselineScores, gap_rows
from valuestrata.fairness.tables.rows import adjusted_holm, table
from valuestrata.fairness.tables.schema import GAPS
from valuestrata.respondents.baselines import make_baseline
from valuestrata.scores.layout import Layout, Values
from valuestrata.scores.resampling import Resampler
from valuestrata.survey.simulation.population import Population, SimulationSettings, draw_survey, plant
from valuestrata.survey.simulation.truth import truth

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Change = Callable[[Population], Population]

ALPHA = 0.05
METRIC = "accuracy"
ITEM_MODE = "item-mode"
# Test subgroups of the paper split -> levels of the attributes (the first is the anchor), respondents.
DESIGNS: Mapping[int, tuple[tuple[int, ...], int]] = {
    8: ((2, 4, 2), 1200),
    30: ((2, 5, 6), 3000),
    48: ((2, 4, 12), 6000),
    60: ((2, 2, 6, 6), 4000),
}
# The affected level: the first one of the second attribute of each design.
ATTRIBUTE, LEVEL = "age_group", "age 1"


@dataclass(frozen=True)
class World:
    """A built data set with its truth, which repetitions share. P = G * I cells of the layout.

    Attributes:
        dataset, context: the data set and the layout of its test part.
        shares: true shares, shape (P, largest K).
        nation: option index of the nation's true mode, shape (P,).
        baseline: accuracy of item-mode, or None.
        seed: of the sample, the redraws and the replicates.
    """

    dataset: Dataset
    context: AuditContext
    shares: Floats
    nation: Indices
    baseline: MetricScores | None
    seed: int = 0

    @property
    def layout(self) -> Layout:
        """The test part."""
        return self.context.layout

    @property
    def options(self) -> Indices:
        """Number of options of each cell's item, shape (P,)."""
        return np.broadcast_to(self.layout.options, self.layout.present.shape).ravel()

    @property
    def baseline_answers(self) -> Indices:
        """Option indices of the baseline's answers, shape (P,)."""
        if self.baseline is None or self.baseline.values.by_mode is None:
            raise ValueError("this world was made without a baseline")
        return np.nan_to_num(self.baseline.values.by_mode).argmax(axis=1)

    def has(self, attribute: str, level: str) -> NDArray[np.bool_]:
        """Return which subgroups have a level, shape (G,)."""
        return self.context.members[attribute][level]


@dataclass(frozen=True)
class Claims:
    """Claims of an audit about one run.

    Attributes:
        worst: subgroups claimed to be served worse than the rest, shape (G,).
        gaps: table GAPS.
        variance: corrected variance between subgroups, not cut at 0.
    """

    worst: NDArray[np.bool_]
    gaps: pl.DataFrame
    variance: float

    def any_gap(self, column: str) -> bool:
        """Return whether any p-value in a column of the gaps is at most ALPHA."""
        return bool((self.gaps[column] <= ALPHA).any())

    def any_remaining(self, kind: str) -> bool:
        """Return whether any gap has this value in the column `remains`."""
        return bool((self.gaps["remains"] == kind).any())


def make_world(
    subgroups: int,
    seed: int,
    *,
    items: int = 90,
    people: int | None = None,
    main_effects: float = 0.3,
    draws: int = 200,
    bootstrap: int = 1000,
    change: Change = lambda population: population,
    blocks: Sequence[str] | None = None,
) -> World:
    """Sample a survey with `subgroups` test subgroups from a population, optionally changed, and build it.

    `blocks` names the block of each item; without it every item is independent.
    """
    levels, usual = DESIGNS[subgroups]
    settings = SimulationSettings(
        respondents=people or usual, items=items, nominal=0.0, levels=levels, main_effects=main_effects, missing=0.02, seed=seed
    )
    population = change(plant(settings))
    seeds = BuildSettings(draws=draws, redraw_seed=seed, half_seed=seed, min_respondents=15, min_valid=10)
    dataset = build(draw_survey(population, seed), seeds)
    if blocks is not None:
        dataset = with_blocks(dataset, blocks)
    context = context_of(dataset, AuditedPart(), Resampling(bootstrap=bootstrap, seed=seed, confidence=1 - ALPHA))
    layout = context.layout
    shares, nation = _truth(population, dataset, layout)
    predictor = make_baseline(ITEM_MODE, dataset, split="paper").predictor
    answers = np.zeros(layout.present.size, dtype=np.intp)
    for cell, item, subgroup in layout.gold.select("cell", "item", "subgroup").iter_rows():
        answers[cell] = int(predictor.shares(item, subgroup).argmax())
    return World(dataset, context, shares, nation, score_metric(context, accuracy(layout, answers)), seed)


def with_blocks(dataset: Dataset, blocks: Sequence[str | None]) -> Dataset:
    """Return a data set whose items have these blocks, one for each item."""
    return replace(dataset, items=dataset.items.with_columns(block=pl.Series(list(blocks), dtype=pl.String)))


def by_item(world: World) -> World:
    """Return the world as if its survey named no blocks, so that items are resampled and permuted one by one."""
    layout, resampler = world.layout, world.context.resampler
    single = replace(layout, blocks=np.arange(len(layout.items)), blocks_named=False)
    context = replace(world.context, layout=single, resampler=Resampler(single, resampler.count, world.seed))
    dataset = with_blocks(world.dataset, [None] * len(world.dataset.items))
    baseline = None if world.baseline is None else score_metric(context, world.baseline.values)
    return replace(world, dataset=dataset, context=context, baseline=baseline)


def accuracy(layout: Layout, answers: Indices) -> Values:
    """Return the accuracy of one answer per pair (option indices, shape (P,)) in the form of `scores.layout.place`."""
    by_mode = np.zeros((layout.present.size, int(layout.options.max())))
    by_mode[np.arange(len(answers)), answers] = 1.0
    by_mode[~layout.present.ravel()] = np.nan
    return Values(by_mode[np.arange(len(answers)), layout.mode].reshape(layout.present.shape), by_mode)


def answers_of(right: Indices, chance: Floats, options: Indices, rng: np.random.Generator) -> Indices:
    """Answer each pair with `right` with its probability, else with another option at random. All of shape (P,)."""
    other = (right + 1 + np.floor(rng.random(right.shape) * (options - 1)).astype(np.intp)) % options
    return np.where(rng.random(right.shape) < chance, right, other)


def knows_labels(world: World, chance: Floats, rng: np.random.Generator) -> Values:
    """Give the label with a probability for each subgroup, shape (G,), which is then its expected accuracy."""
    return accuracy(world.layout, answers_of(world.layout.mode, by_pair(world, chance), world.options, rng))


def by_pair(world: World, chance: Floats) -> Floats:
    """Return probabilities of subgroups, shape (G,), as probabilities of pairs, shape (P,)."""
    return np.broadcast_to(chance[:, None], world.layout.present.shape).ravel()


def on_blocks(world: World, mean: float, spread: float, rng: np.random.Generator) -> Floats:
    """Return probabilities of pairs, shape (P,), that differ by subgroup and block with a standard deviation around one mean."""
    blocks = world.layout.blocks
    effect = rng.standard_normal((len(world.context.stratum), int(blocks.max()) + 1))
    return np.clip(mean + spread * effect[:, blocks], 0.0, 1.0).ravel()


def knows_truth(world: World, chance: float, rng: np.random.Generator) -> Values:
    """Give the true mode with one probability everywhere. Accuracy is lower where labels are often wrong."""
    right = world.shares.argmax(axis=1)
    return accuracy(world.layout, answers_of(right, np.full(len(right), chance), world.options, rng))


def knows_nation(world: World, chance: float, rng: np.random.Generator) -> Values:
    """Give the nation's true mode with one probability everywhere. Subgroups that differ from the nation are served worse."""
    return accuracy(world.layout, answers_of(world.nation, np.full(len(world.nation), chance), world.options, rng))


def is_person(world: World, rng: np.random.Generator) -> Values:
    """Answer like one random member of the subgroup: correct as often as the modal answer is given."""
    passed = np.cumsum(world.shares, axis=1) < rng.random((len(world.shares), 1))
    return accuracy(world.layout, np.minimum(passed.sum(axis=1), world.options - 1))


def audit_runs(world: World, runs: Sequence[Values], permutations: int, seed: int, *, gaps: str = "explained") -> list[Claims]:
    """Audit runs on one data set as `audit` does, computing only the tables that claims need.

    Args:
        world: the data set.
        runs: scores of the runs.
        permutations: number of permutations.
        seed: seed of the permutations.
        gaps: `explained` (as in an audit), `plain` (without baseline and difficulty) or `none`.
    """
    context = world.context
    found = [score_metric(context, run) for run in runs]
    permuted = permute([one.centred for one in found], context.strata, permutations, seed)
    groups = len(context.stratum)
    reference = None if world.baseline is None else BaselineScores(ITEM_MODE, world.baseline)
    made: Mapping[str, Callable[[MetricScores], list[dict[str, Any]]]] = {
        "explained": lambda one: gap_rows(one, METRIC, reference),
        "plain": lambda one: plain_gaps(context, one),
        "none": lambda _: [],
    }
    return [
        Claims(
            worst=worst(one.centred, one.residuals, drawn, -1).p <= ALPHA,
            gaps=table(GAPS, [{"run": "planted", **row} for row in made[gaps](one)]),
            variance=corrected_variance(one.grid[:groups], context.blocks).value,
        )
        for one, drawn in zip(found, permuted, strict=True)
    ]


def plain_gaps(context: AuditContext, found: MetricScores) -> list[dict[str, Any]]:
    """Return the raw gaps of a run with the tests of the audit."""
    ends = interval_and_p(found.gaps, context.confidence, -1.0, 1.0)
    columns = (ends.estimate, adjusted_holm(ends.p), common_pairs(context.pairs, found.mask))
    return [
        {"attribute": attribute, "level": level, "against_level": against, "gap": gap, "p_holm": p, "pairs": int(pairs)}
        for (attribute, level, against), gap, p, pairs in zip(context.pairs.names, *columns, strict=True)
    ]


def far_level(times: float) -> Change:
    """Return a change that multiplies the effects of the affected level on every item by `times`."""

    def change(population: Population) -> Population:
        effect = population.main[ATTRIBUTE].copy()
        effect[0] *= times
        return replace(population, main={**population.main, ATTRIBUTE: effect})

    return change


def rare_level(share: float) -> Change:
    """Return a change that sets the population share of the affected level."""

    def change(population: Population) -> Population:
        column = [attribute.name for attribute in population.attributes].index(ATTRIBUTE)
        inside = population.cells[:, column] == 0
        joint = np.where(inside, share / population.joint[inside].sum(), (1 - share) / population.joint[~inside].sum()) * population.joint
        return replace(population, joint=joint, sampling=joint)

    return change


def _truth(population: Population, dataset: Dataset, layout: Layout) -> tuple[Floats, Indices]:
    names = dataset.attributes
    rows: dict[tuple[Any, ...], Sequence[float]] = {
        (item, *levels): shares for item, shares, *levels in truth(population).select("item", "shares", *names).iter_rows()
    }
    levels = {subgroup: tuple(found) for subgroup, *found in dataset.subgroups.select("subgroup", *names).iter_rows()}
    shares = np.zeros((layout.present.size, int(layout.options.max())))
    nation = np.zeros(layout.present.size, dtype=np.intp)
    for cell, item, subgroup in layout.gold.select("cell", "item", "subgroup").iter_rows():
        true = rows[(item, *levels[subgroup])]
        shares[cell, : len(true)] = true
        nation[cell] = int(np.argmax(rows[(item, *(None,) * len(names))]))
    return shares, nation
