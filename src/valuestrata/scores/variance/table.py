"""How much of a model's answer do persona, order, template and sampling explain?

The answers to an item are split into variance components (`_components` has the model and the estimator), item by item and then
averaged over items: differences between items are none of them. An answer is its position on the scale, 0..1; one with
probabilities their expected position. Of a nominal item it is one-hot (or the probabilities), and the variance half the sum over
codes, so that a binary item has the same variance whichever way it is declared.

======================  ======================================================================================================
component               what it is
======================  ======================================================================================================
persona                 how far personas (subgroups) differ, over all presentations alike
order                   how far orders of the options differ; two are one where they show an item's options alike
paraphrase, template    how far wordings and templates (with their versions) differ
combination             what order, paraphrase and template do together beyond each alone
persona x presentation  which persona answers what depends on order, paraphrase or template: all such interactions together
sample                  how far answers to one and the same prompt differ
total                   their sum: half the mean squared distance of two answers to an item that have nothing in common
gold                    how far the same subgroups' mean positions (nominal: shares) differ among people, sampling noise taken out
gold modes              how far their commonest answers differ, likewise
======================  ======================================================================================================

Each readout is a table of its own, since readouts of one model are never the same thing. `logprob` and `first-token` draw
nothing: they have no `sample`, and answers to one prompt are averaged. Where a design cannot tell components apart, or does not
vary one, they are null with the reason in `note`; a row of their joint name (`persona x presentation + sample`) holds their sum.

Rows with `against` hold a component less another one, from paired replicates, and their ratio as `share`.
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
from valuestrata.scores.variance.answer_vectors import ItemParts, items_of, responses_of
from valuestrata.scores.variance.population_variance import Between, People
from valuestrata.stats.arrays import Indices
from valuestrata.stats.item_resampling import ItemResamples, ItemValues
from valuestrata.stats.variance_components import COMBINATION, COMPONENTS, INTERACTION, PRESENTATION, SAMPLE, Block, allows, merged, name_of

BY = ("all", "topic", "item")
TOTAL = "total"
GOLD = ("gold", "gold modes")
# Readouts that compute probabilities and draw nothing.
COMPUTED = ("logprob", "first-token")
# A table tells apart what at least this part of its items can; the others are left out of it and counted.
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
        "variance": Column(pl.Float64, "mean over items, not cut at 0; null where the design does not tell it"),
        "ci_low": Column(pl.Float64, "lower end of its interval over items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "share": Column(pl.Float64, "part of the sum of components above 0, itself never below 0; with `against`: component / against"),
        "share_low": Column(pl.Float64, "lower end"),
        "share_high": Column(pl.Float64, "upper end"),
        "levels": Column(pl.Float64, "levels behind it, mean over items: personas, orders, ..., prompts, answers a prompt"),
        "items": Column(pl.Int64, "items it is a mean of"),
        "responses": Column(pl.Int64, "answers behind it"),
        "missing": Column(pl.Int64, "responses without an answer to these items, left out"),
        "note": Column(pl.String, "why it is null, or what to know"),
    },
)

NOTHING_DRAWN = "read from probabilities: nothing is drawn"
_ONE_ONLY: Mapping[str, str] = {
    "persona": "one persona only",
    "order": "one order of the options only",
    "paraphrase": "one paraphrase only",
    "template": "one template only",
    COMBINATION: "needs two of order, paraphrase and template to vary",
    INTERACTION: "one prompt an item only",
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
    """Return how much of one model's answers persona, order, paraphrase, template and sampling explain.

    Args:
        dataset: the ground truth. runs: of the same model, as many as there are templates, orders and so on; all of their
            responses are used, whatever split they are of.
        bootstrap: resamples of the items, 0 for no intervals. seed: of these. by: `all`, `topic`, `item`; single items have no
            interval. confidence: of the intervals.

    Returns:
        VARIANCE schema, a table for each readout.

    Raises:
        UsageError: runs of several models, a run inside a control beside one that is not, two runs of one name, no run, or an
            unknown `by`.
        InputDataError: responses that do not fit the data set.
    """
    check_call(runs, bootstrap, confidence)
    if not runs:
        raise UsageError("variance needs at least one run.")
    for word in by:
        if word not in BY:
            raise UsageError(f"by={word!r} is no way to sum up variances.{did_you_mean(word, BY)}")
    _check_same_model(runs)
    people = People(dataset)
    responses = {run.name: responses_of(dataset, run) for run in runs}
    frames: list[pl.DataFrame] = []
    for readout in pl.concat(responses.values())["elicitation"].unique(maintain_order=True):
        of_readout = pl.col("elicitation").eq_missing(pl.lit(readout))
        kept = {name: rows for name, frame in responses.items() if len(rows := frame.filter(of_readout))}
        drawn = readout not in COMPUTED and not run_identity(runs[0]).is_baseline
        items = items_of(dataset, pl.concat(kept.values()), drawn=drawn)
        # Once for all keys that an item stands under.
        gold: list[Mapping[str, Between | None]] = [dict(zip(GOLD, people.both(item.item, item.subgroups), strict=True)) for item in items]
        resamples = ItemResamples(len(items), bootstrap, seed, confidence)
        rows = [row for key in _keys(items, by) for row in _Key(*key, items, gold, resamples).rows()]
        frames.append(VARIANCE.frame([{"run": " + ".join(kept), "elicitation": readout, **row} for row in rows]))
    return pl.concat(frames) if frames else VARIANCE.empty()


def by_model(runs: Sequence[Answered]) -> list[list[Answered]]:
    """Sort runs into lists that `variance` takes, each of one model, in the order of their first runs."""
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
                f"variance: {runs[0].name!r} and {run.name!r} are not known to be of the same model (provider, revision, adapter, "
                "decoding and control must be equal): the difference between models would count as one between presentations. "
                "Give runs of one model."
            )


def _keys(items: Sequence[ItemParts], by: Sequence[str]) -> Iterator[tuple[str, str, Indices]]:
    """Yield (by, key, places of its items)."""
    if "all" in by:
        yield "all", "all", np.arange(len(items))
    if "topic" in by:
        for topic in dict.fromkeys(item.topic for item in items if item.topic is not None):
            yield "topic", topic, np.flatnonzero([item.topic == topic for item in items])
    if "item" in by:
        yield from (("item", item.item, np.array([place])) for place, item in enumerate(items))


def reference(items: Sequence[ItemParts]) -> tuple[Block, ...]:
    """Return the blocks that a table over several items tells apart; none where no item tells anything apart.

    Of the items that vary the same components, those that are most; of what they can tell apart, the finest that at least
    `ENOUGH_ITEMS` of them allow. Coarser blocks that all of them allow there always are.
    """
    usable = [item.parts for item in items if item.parts.blocks and not item.parts.unknown]
    if not usable:
        return ()
    varying = max(Counter(parts.varying for parts in usable).items(), key=lambda found: (found[1], len(found[0])))[0]
    structures = [parts.blocks for parts in usable if parts.varying == varying]
    candidates = dict.fromkeys([*structures, merged(structures)])
    allowed = {blocks: sum(allows(other, blocks) for other in structures) for blocks in candidates}
    enough = [blocks for blocks in candidates if allowed[blocks] >= ENOUGH_ITEMS * len(structures)]
    return max(enough, key=lambda blocks: (len(blocks), allowed[blocks]))


class _Key:
    """The rows of one key: of the items at `places` among all `items`, with what people differ by on each (`gold`)."""

    def __init__(
        self,
        by: str,
        key: str,
        places: Indices,
        items: Sequence[ItemParts],
        gold: Sequence[Mapping[str, Between | None]],
        resamples: ItemResamples,
    ) -> None:
        mine = [items[place] for place in places]
        self._blocks = reference(mine)
        used = [bool(self._blocks) and not item.parts.unknown and allows(item.parts.blocks, self._blocks) for item in mine]
        self._places, self._items = places[used], [item for item, is_used in zip(mine, used, strict=True) if is_used]
        self._left_out, self._resamples = len(mine) - len(self._items), resamples
        self._where: dict[str, Any] = {"by": by, "key": key}
        self._columns = {name_of(block): ItemValues(np.array([item.parts.of(block) for item in self._items])) for block in self._blocks}
        self._gold = {name: [gold[place][name] for place in self._places] for name in GOLD}
        self._columns |= {name: column for name, found in self._gold.items() if (column := _column(found)) is not None}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows: components, joint ones, total, gold, then what is compared with the persona."""
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
        """Return what every row has, and the component's own figures where it has any."""
        answered = {"items": len(self._items), "responses": sum(item.parts.responses for item in self._items)}
        answered["missing"] = sum(item.missing for item in self._items)
        measured = self._measured(self._columns[component]) if against is None and component in self._columns else {}
        return self._where | {"component": component, "against": against} | answered | measured

    def _measured(self, column: ItemValues) -> dict[str, Any]:
        low, high = self._resamples.mean(column, self._places) or (None, None)
        return {"variance": column.mean, "ci_low": low, "ci_high": high}

    def _shares(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return each block's part of the sum of those that are above 0, with the interval of that ratio cut to 0..1."""
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
        return float(np.mean([item.parts.levels[name] for item in self._items]))

    def _note(self, name: str) -> str | None:
        """Return why a component is null, or what was left out of the others."""
        if name not in COMPONENTS or name in self._columns:
            of = self._left_out + len(self._items)
            return f"{self._left_out} of {of} items left out: asked in fewer ways, or too few answers" if self._left_out else None
        if not self._blocks:
            return "no item has answers to two prompts, or two answers to one"
        block = next((block for block in self._blocks if name in block), None)
        if block is None:
            return _ONE_ONLY[name]
        others = " and ".join(other for other in COMPONENTS if other in block and other != name)
        return f"cannot be told from {others} ({self._why(block)}); their sum is in {name_of(block)}"

    def _why(self, block: Block) -> str:
        varying = frozenset[str]().union(*self._blocks)
        if SAMPLE in block:
            return "one answer a prompt"
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
                    row["note"] = "no redraws in the data set: noise taken out as if subgroups shared no respondent, none in the interval"
            else:
                row["note"] = "needs two subgroups with gold in every item" + (" and redraws of their modes" if name == GOLD[1] else "")
            yield row

    def _contrasts(self) -> Iterator[dict[str, Any]]:
        """Yield each component less the persona, and the persona less people; the persona perhaps as part of a joint component."""
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
                row["note"] = f"no ratio: {second} is not shown to be above 0"
            yield row


def _column(found: Sequence[Between | None]) -> ItemValues | None:
    """Return the variances between people of all items; None unless every item has one."""
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    values = np.array([one.value for one in known])
    redraws = [one.redraws for one in known if one.redraws is not None]
    return ItemValues(values, np.stack(redraws, axis=1) if len(redraws) == len(known) else None)
