"""Variance components of a model's answers: persona, order, paraphrase, template and sampling.

Components are estimated item by item (see `stats.variance_components`) and averaged over items, so differences between items do
not count. An answer is its position on the scale, 0..1, or the expected position of its probabilities. For a nominal item it is
one-hot (or the probabilities), and the variance is half the sum over codes.

======================  ======================================================================================================
component               meaning
======================  ======================================================================================================
persona                 differences between personas (subgroups)
order                   differences between orders of the options, as shown
paraphrase, template    differences between wordings and between templates (with their versions)
combination             interactions of order, paraphrase and template
persona x presentation  all interactions of the persona with order, paraphrase and template
sample                  differences between answers to the same prompt
repeat, person          the same in imported runs: rows of one pair, or people of one subgroup (see `repetition_of`)
total                   their sum: half the mean squared distance of two answers to an item with no factor in common
gold                    differences between the same subgroups' mean positions (nominal: shares), minus sampling noise
gold modes              differences between their modes, minus sampling noise
======================  ======================================================================================================

Each readout has its own table. `logprob` and `first-token` do not sample: they have no `sample`, and answers to one prompt are
averaged. A component that does not vary or is confounded is null with the reason in `note`; a row with a joint name (`persona x
presentation + sample`) has the sum of confounded components.

Rows with `against` have the difference of two components, from paired replicates, and their ratio as `share`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.scores.aggregate import check_call
from valuestrata.scores.variance.answer_vectors import ItemVariance, items_of, responses_of
from valuestrata.scores.variance.population_variance import PopulationVariance, SubgroupVariance
from valuestrata.stats.arrays import Indices
from valuestrata.stats.blocks import block_numbers
from valuestrata.stats.item_resampling import ItemResamples, ItemValues
from valuestrata.stats.variance_components import COMBINATION, COMPONENTS, INTERACTION, PRESENTATION, SAMPLE, Block, allows, merged, name_of

BY = ("all", "topic", "item")
TOTAL = "total"
GOLD = ("gold", "gold modes")
# The component of repeated answers in imported runs: of unknown meaning, and of different people.
REPEAT = "repeat"
PERSON = "person"
# Components of answers that differ in neither persona nor presentation.
REPETITION = (SAMPLE, REPEAT, PERSON)
# Readouts that compute probabilities instead of sampling.
COMPUTED = ("logprob", "first-token")
# A table reports the blocks that at least this share of its items identifies; the other items are left out and counted.
ENOUGH_ITEMS = 0.8

VARIANCE = Schema(
    "variance",
    {
        "run": Column(pl.String, "names of the runs, joined by +"),
        "elicitation": Column(pl.String, "readout"),
        "by": Column(pl.String, "all, topic or item"),
        "key": Column(pl.String, "which one of them"),
        "component": Column(pl.String, "persona, order, ..., a joint name, total, gold or gold modes"),
        "against": Column(pl.String, "component that is subtracted, null for a plain component"),
        "variance": Column(pl.Float64, "mean over items, may be negative; null where the design does not identify it"),
        "ci_low": Column(pl.Float64, "lower end of its interval over blocks of items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "share": Column(pl.Float64, "share of the sum of positive components, at least 0; with `against`: component / against"),
        "share_low": Column(pl.Float64, "lower end"),
        "share_high": Column(pl.Float64, "upper end"),
        "levels": Column(pl.Float64, "number of levels, mean over items: personas, orders, ..., prompts, answers per prompt"),
        "items": Column(pl.Int64, "items in the mean"),
        "blocks": Column(pl.Float64, "effective number of blocks that the interval resamples, null where it resamples items"),
        "responses": Column(pl.Int64, "answers used"),
        "missing": Column(pl.Int64, "responses to these items without an answer"),
        "note": Column(pl.String, "why it is null, or a remark"),
    },
)

NOTHING_DRAWN = "read from probabilities: nothing is drawn"
_ONE_ONLY: Mapping[str, str] = {
    "persona": "one persona only",
    "order": "one order of the options only",
    "paraphrase": "one paraphrase only",
    "template": "one template only",
    COMBINATION: "needs two of order, paraphrase and template to vary",
    INTERACTION: "one prompt per item only",
    SAMPLE: NOTHING_DRAWN,
}


def variance(
    dataset: Dataset,
    runs: Sequence[Answered],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    by: Sequence[str] = BY,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the variance components of one model's answers.

    Args:
        dataset: the ground truth.
        runs: of the same model; all their responses are used.
        bootstrap: resamples of the items in blocks, 0 for no intervals.
        seed: seed of the resamples.
        by: any of `all`, `topic` and `item`; single items have no interval.
        confidence: confidence of the intervals, between 0 and 1.

    Returns:
        VARIANCE schema, one table for each readout.

    Raises:
        UsageError: no run, runs of several models or controls, two runs with the same name, or an unknown `by`.
        InputDataError: responses that do not fit the data set.
    """
    check_call(runs, bootstrap, confidence)
    if not runs:
        raise UsageError("variance needs at least one run.")
    for name in by:
        if name not in BY:
            raise UsageError(f"by={name!r} is not a way to group variances.{did_you_mean(name, BY)}")
    _check_same_model(runs)
    population = PopulationVariance(dataset)
    responses = {run.name: responses_of(dataset, run) for run in runs}
    frames: list[pl.DataFrame] = []
    for readout in pl.concat(responses.values())["elicitation"].unique(maintain_order=True):
        of_readout = pl.col("elicitation").eq_missing(pl.lit(readout))
        kept = {name: rows for name, frame in responses.items() if len(rows := frame.filter(of_readout))}
        drawn = readout not in COMPUTED and not run_identity(runs[0]).is_baseline
        items = items_of(dataset, pl.concat(kept.values()), drawn=drawn)
        gold: list[Mapping[str, SubgroupVariance | None]] = [
            dict(zip(GOLD, population.both(item.item, item.subgroups), strict=True)) for item in items
        ]
        resamples = ItemResamples(block_numbers([item.block for item in items]), bootstrap, seed, confidence)
        rows = [row for key in _keys(items, by) for row in _VarianceRows(*key, items, gold, resamples).rows()]
        frames.append(VARIANCE.frame([{"run": " + ".join(kept), "elicitation": readout, **row} for row in rows]))
    table = pl.concat(frames) if frames else VARIANCE.empty()
    # Notes name components too.
    return table.with_columns(pl.col("component", "against", "note").str.replace_all(rf"\b{SAMPLE}\b", repetition_of(runs)))


def repetition_of(runs: Sequence[Answered]) -> str:
    """Return the component that repeated answers to one prompt are: `sample`, or for imported runs what their `run.json` says.

    Rows of one pair in an imported run are `person` if its `repeats` is `people`, `sample` if it is `samples`, else `repeat`.
    """
    names = {"samples": SAMPLE, "people": PERSON}
    found = {
        names.get(str(run.meta.get("repeats")), REPEAT) if run_identity(run).respondent.provider == "imported" else SAMPLE for run in runs
    }
    return found.pop() if len(found) == 1 else REPEAT


def by_model(runs: Sequence[Answered]) -> list[list[Answered]]:
    """Group runs by model, in the order of first runs; each group is input for `variance`."""
    groups: list[list[Answered]] = []
    for run in runs:
        mine = next((group for group in groups if _alike(group[0], run)), None)
        if mine is None:
            groups.append([run])
        else:
            mine.append(run)
    return groups


def _alike(a: Answered, b: Answered) -> bool:
    first, second = run_identity(a), run_identity(b)
    return first.control == second.control and first.same_model(second)


def _check_same_model(runs: Sequence[Answered]) -> None:
    for run in runs[1:]:
        if not _alike(runs[0], run):
            raise UsageError(
                f"variance: {runs[0].name!r} and {run.name!r} are not known to be of the same model. Provider, revision, adapter, decoding "
                "and control must be equal. Give runs of one model."
            )


def _keys(items: Sequence[ItemVariance], by: Sequence[str]) -> Iterator[tuple[str, str, Indices]]:
    """Yield (by, key, indices of its items)."""
    if "all" in by:
        yield "all", "all", np.arange(len(items))
    if "topic" in by:
        for topic in dict.fromkeys(item.topic for item in items if item.topic is not None):
            yield "topic", topic, np.flatnonzero([item.topic == topic for item in items])
    if "item" in by:
        yield from (("item", item.item, np.array([place])) for place, item in enumerate(items))


def reference(items: Sequence[ItemVariance]) -> tuple[Block, ...]:
    """Return the blocks of components to report for several items; empty if no item identifies any.

    Takes the largest group of items in which the same components vary, and the finest blocks that at least `ENOUGH_ITEMS` of these
    identify.
    """
    usable = [item.components for item in items if item.components.blocks and not item.components.unknown]
    if not usable:
        return ()
    varying = max(Counter(components.varying for components in usable).items(), key=lambda found: (found[1], len(found[0])))[0]
    structures = [components.blocks for components in usable if components.varying == varying]
    candidates = dict.fromkeys([*structures, merged(structures)])
    allowed = {blocks: sum(allows(other, blocks) for other in structures) for blocks in candidates}
    enough = [blocks for blocks in candidates if allowed[blocks] >= ENOUGH_ITEMS * len(structures)]
    return max(enough, key=lambda blocks: (len(blocks), allowed[blocks]))


class _VarianceRows:
    """The rows of one key: of the items at `places` among all `items`, with their variances in the gold."""

    def __init__(
        self,
        by: str,
        key: str,
        places: Indices,
        items: Sequence[ItemVariance],
        gold: Sequence[Mapping[str, SubgroupVariance | None]],
        resamples: ItemResamples,
    ) -> None:
        mine = [items[place] for place in places]
        self._blocks = reference(mine)
        used = [bool(self._blocks) and not item.components.unknown and allows(item.components.blocks, self._blocks) for item in mine]
        self._places, self._items = places[used], [item for item, is_used in zip(mine, used, strict=True) if is_used]
        self._left_out, self._resamples = len(mine) - len(self._items), resamples
        self._where: dict[str, Any] = {"by": by, "key": key}
        self._columns = {
            name_of(block): ItemValues(np.array([item.components.of(block) for item in self._items])) for block in self._blocks
        }
        self._gold = {name: [gold[place][name] for place in self._places] for name in GOLD}
        self._columns |= {name: column for name, found in self._gold.items() if (column := _column(found)) is not None}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows: components, joint components, total, gold, then comparisons with the persona."""
        names = [name_of(block) for block in self._blocks]
        shares = self._shares(names) if names else {}
        single = [name for name in COMPONENTS if name not in names]
        for name in sorted([*names, *single], key=lambda name: (" + " in name, COMPONENTS.index(name.split(" + ")[0]))):
            yield self._row(name) | shares.get(name, {}) | {"levels": self._levels(name), "note": self._note(name)}
        if names:
            yield self._row(TOTAL) | self._measured(self._total()) | {"share": 1.0, "note": self._note(TOTAL)}
            yield from self._gold_rows()
            yield from self._contrasts()

    def _row(self, component: str, against: str | None = None) -> dict[str, Any]:
        """Return a row with the columns common to all, and the variance of the component if it is identified."""
        answered = {
            "items": len(self._items),
            "blocks": self._resamples.blocks(self._places),
            "responses": sum(item.components.responses for item in self._items),
        }
        answered["missing"] = sum(item.missing for item in self._items)
        measured = self._measured(self._columns[component]) if against is None and component in self._columns else {}
        return self._where | {"component": component, "against": against} | answered | measured

    def _measured(self, column: ItemValues) -> dict[str, Any]:
        low, high = self._resamples.mean(column, self._places) or (None, None)
        return {"variance": column.mean, "ci_low": low, "ci_high": high}

    def _shares(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return each block's share of the sum of positive blocks, with its interval cut to 0..1."""
        above = [self._columns[name].values for name in names if self._columns[name].mean > 0]
        if not above:
            return {}
        whole = ItemValues(np.sum(above, axis=0))
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            column = self._columns[name]
            found[name] = {"share": max(column.mean, 0.0) / whole.mean}
            if ends := self._resamples.ratio(column, whole, self._places):
                found[name] |= dict(zip(("share_low", "share_high"), np.clip(ends, 0.0, 1.0).tolist(), strict=True))
        return found

    def _total(self) -> ItemValues:
        return ItemValues(np.sum([self._columns[name_of(block)].values for block in self._blocks], axis=0))

    def _levels(self, name: str) -> float | None:
        drawn = any(SAMPLE in block for block in self._blocks)
        if " + " in name or not self._items or (name == SAMPLE and not drawn):
            return None
        return float(np.mean([item.components.levels[name] for item in self._items]))

    def _note(self, name: str) -> str | None:
        """Return why a component is null, or how many items were left out."""
        if name not in COMPONENTS or name in self._columns:
            of = self._left_out + len(self._items)
            return f"{self._left_out} of {of} items left out: asked in fewer ways, or too few answers" if self._left_out else None
        if not self._blocks:
            return "no item has answers to two prompts, or two answers to one prompt"
        block = next((block for block in self._blocks if name in block), None)
        if block is None:
            return _ONE_ONLY[name]
        others = " and ".join(other for other in COMPONENTS if other in block and other != name)
        return f"confounded with {others} ({self._why(block)}); their sum is in {name_of(block)}"

    def _why(self, block: Block) -> str:
        varying = frozenset[str]().union(*self._blocks)
        if SAMPLE in block:
            return "one answer per prompt"
        if not varying.intersection(PRESENTATION):
            return "one presentation only"
        return "they vary only together" if "persona" in varying else "one persona only"

    def _gold_rows(self) -> Iterator[dict[str, Any]]:
        for name, found in self._gold.items():
            row = self._row(name) | {"responses": None, "missing": None}
            known = [one for one in found if one is not None]
            if name in self._columns:
                row["levels"] = float(np.mean([one.subgroups for one in known]))
                if any(one.redraws is None for one in known):
                    row["note"] = "no redraws in the data set: noise as for independent samples, and not in the interval"
            else:
                row["note"] = "needs two subgroups with gold in every item" + (" and redraws of their modes" if name == GOLD[1] else "")
            yield row

    def _contrasts(self) -> Iterator[dict[str, Any]]:
        """Yield each component minus the persona, and the persona minus the gold; the persona may be part of a joint component."""
        persona = next((block for block in self._blocks if "persona" in block and SAMPLE not in block), None)
        if persona is None:
            return
        name = name_of(persona)
        pairs = [(name_of(block), name) for block in self._blocks if block != persona]
        for first, second in [*pairs, *((name, gold) for gold in GOLD if gold in self._columns)]:
            above, below = self._columns[first], self._columns[second]
            row = self._row(first, second) | self._measured(above.minus(below))
            ends = self._resamples.mean(below, self._places)
            if below.mean > 0 and (ends is None or ends[0] > 0):
                low, high = self._resamples.ratio(above, below, self._places) or (None, None)
                row |= {"share": above.mean / below.mean, "share_low": low, "share_high": high}
            else:
                row["note"] = f"no ratio: {second} is not significantly above 0"
            yield row


def _column(found: Sequence[SubgroupVariance | None]) -> ItemValues | None:
    """Return the variances between subgroups of all items; None unless every item has one."""
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    values = np.array([one.value for one in known])
    redraws = [one.redraws for one in known if one.redraws is not None]
    return ItemValues(values, np.stack(redraws, axis=1) if len(redraws) == len(known) else None)
