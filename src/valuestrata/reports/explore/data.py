"""The pairs, answers and prompts that the explorer of a page shows, as compressed blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.tables import Dataset
from valuestrata.reports.core.names import attribute_titles, clipped, stratum_titles, subgroup_titles
from valuestrata.reports.core.view import RunLike
from valuestrata.reports.explore.columns import Block, shares, whole
from valuestrata.reports.explore.prompts import Messages, prompts_again, prompts_block
from valuestrata.responses.run.halves import response_keys, scored_responses
from valuestrata.responses.run.schema import RESPONSES, STATUSES
from valuestrata.scores.pairs import PairTable, answered_gold, gold_of, mode_index, tabulate
from valuestrata.stats.arrays import Floats, Indices

# Longest text of a model that is kept, in characters.
LONGEST_TEXT = 400
# Most responses to a pair that are kept; scores and distributions are of all.
MOST_RESPONSES = 8
Blocks = dict[str, Block]


@dataclass(frozen=True)
class ExploredRun:
    """A run of the explorer: the run itself, how tables name it, and its kind."""

    run: RunLike
    label: str
    kind: str


@dataclass(frozen=True)
class Explored:
    """What the explorer shows.

    Attributes:
        dataset: the ground truth. runs: in the order of tables.
        split, part, fold: which pairs; they are those of the scores.
        best: name of the best baseline that needs no model, None without one.
    """

    dataset: Dataset
    runs: Sequence[ExploredRun]
    split: str
    part: str
    fold: int | None = None
    best: str | None = None


def explorer_blocks(what: Explored) -> Blocks:
    """Return the blocks of the explorer's data.

    Returns:
        `pairs`: items, subgroups, gold and the scores of every pair and run. For run 0, 1, ...: `responses0` (status, tokens, cost),
        `texts0` (what the model wrote), `probabilities0` (its distribution of answers, in steps of 1 / STEPS; without the block, the
        run stated none). `prompts`: what the models were shown.
    """
    gold = gold_of(what.dataset, what.dataset.scored_pairs(what.split, what.part, what.fold).select("pair_id", "half"))
    gold = gold.with_row_index("row")
    tables = [_AnsweredPairs.of(gold, one.run, what) for one in what.runs]
    blocks: Blocks = {"pairs": _pairs(what, gold, tables)}
    prompts: dict[str, Messages] = {}
    for number, (one, table) in enumerate(zip(what.runs, tables, strict=True)):
        blocks[f"responses{number}"] = _responses(table.kept)
        blocks[f"texts{number}"] = _texts(table.kept)
        if (stated := _stated(table, gold)) is not None:
            blocks[f"probabilities{number}"] = Block({}, {"shares": stated})
        prompts |= prompts_again(what.dataset, table.kept, getattr(one.run, "meta", {}), prompts)
    blocks["prompts"] = prompts_block(prompts, [table.kept["prompt_hash"] for table in tables])
    return blocks


@dataclass(frozen=True)
class _AnsweredPairs:
    """A run's pairs: their rows in the gold, their metrics, and the responses that are kept, sorted by row.

    Attributes:
        rows: shape (P,). table: metrics of the P pairs. kept: RESPONSES with `row`. status: shape (P,), the most frequent one.
    """

    rows: Indices
    table: PairTable
    kept: pl.DataFrame
    status: Indices

    @classmethod
    def of(cls, gold: pl.DataFrame, run: RunLike, what: Explored) -> _AnsweredPairs:
        responses = RESPONSES.check(scored_responses(run, what.split, what.fold), run.name)
        keys = response_keys(responses)
        rows = answered_gold(gold, responses)["row"].to_numpy().astype(np.intp)
        placed = responses.join(gold.select("row", *keys), on=keys, how="inner", maintain_order="left").sort("row", maintain_order=True)
        number = {status: at for at, status in enumerate(STATUSES)}
        # Of equally frequent statuses the first of STATUSES counts.
        common = (
            placed.with_columns(kind=pl.col("status").replace_strict(number, return_dtype=pl.Int64))
            .group_by("row", "kind")
            .len()
            .sort("row", "len", "kind", descending=[False, True, False])
            .unique("row", keep="first", maintain_order=True)
        )
        kept = placed.filter(pl.int_range(pl.len()).over("row") < MOST_RESPONSES)
        return cls(rows, tabulate(gold, responses), kept, common["kind"].to_numpy().astype(np.intp))

    def spread_over(self, count: int, values: NDArray[Any]) -> Floats:
        """Return values of the P pairs as values of all `count` pairs, NaN for those that were not asked."""
        placed = np.full(count, np.nan)
        placed[self.rows] = values
        return placed


def _pairs(what: Explored, gold: pl.DataFrame, tables: Sequence[_AnsweredPairs]) -> Block:
    dataset = what.dataset
    items = dataset.items.join(gold, on="item", how="semi", maintain_order="left")
    groups = dataset.subgroups.join(gold, on="subgroup", how="semi", maintain_order="left")
    topics = items["topic"].fill_null("").unique(maintain_order=True).to_list()
    strata, titles, attributes = stratum_titles(dataset), subgroup_titles(dataset), attribute_titles(dataset)
    used = groups["stratum"].unique(maintain_order=True).to_list()
    levels = {
        f"{name}={value}": f"{attributes[name]}: {value}"
        for name in dataset.attributes
        for value in groups[name].drop_nulls().unique(maintain_order=True).to_list()
    }
    place = {key: at for at, key in enumerate(levels)}
    document = {
        "view": {"split": what.split, "part": what.part, "fold": what.fold, "halves": gold["half"].n_unique() > 1},
        "statuses": list(STATUSES),
        "topics": topics,
        "strata": [{"key": key, "title": strata[key]} for key in used],
        "levels": [{"key": key, "title": title} for key, title in levels.items()],
        "items": [
            {"key": row["item"], "question": row["question"] or "", "topic": topics.index(row["topic"] or "")}
            | {"codes": row["codes"], "labels": row["labels"]}
            for row in items.iter_rows(named=True)
        ],
        "subgroups": [
            {"key": row["subgroup"], "title": titles[row["subgroup"]], "stratum": used.index(row["stratum"]), "n": row["n"]}
            | {"levels": [place[f"{name}={row[name]}"] for name in dataset.attributes if row[name] is not None]}
            for row in groups.iter_rows(named=True)
        ],
        "runs": [{"key": one.run.name, "label": one.label, "kind": one.kind, "best": one.run.name == what.best} for one in what.runs],
        "most_responses": MOST_RESPONSES,
    }
    count = len(gold)
    columns: dict[str, NDArray[Any]] = {
        "item": _places(gold["item"], items["item"]),
        "subgroup": _places(gold["subgroup"], groups["subgroup"]),
        "half": (gold["half"] == "B").to_numpy().astype(np.uint8),
        "n": whole(gold["n"].to_numpy()),
        "mode": whole(mode_index(gold)),
        "margin": shares(gold["margin"]),
        "small": (gold["flag"] == "small").fill_null(value=False).to_numpy().astype(np.uint8),
        "ceiling": shares(gold["ceiling_oracle"]),
        "shares": shares(gold["shares"].explode()),
    }
    for number, found in enumerate(tables):
        columns |= {f"{name}{number}": values for name, values in _scores(found, count).items()}
    return Block(document, columns)


def _scores(found: _AnsweredPairs, count: int) -> dict[str, NDArray[Any]]:
    """Return columns of all pairs: asked and valid responses, the most frequent answer and status, and the scores."""
    table = found.table
    chosen = table.by_mode["accuracy"]
    valid = table.pairs["valid"].to_numpy()
    mode = np.arange(len(table.mode)), table.mode
    kept = np.bincount(found.kept["row"].to_numpy(), minlength=count)
    return {
        "asked": whole(np.nan_to_num(found.spread_over(count, table.pairs["responses"].to_numpy()))),
        "kept": whole(kept),
        "valid": whole(np.nan_to_num(found.spread_over(count, valid))),
        "answer": whole(found.spread_over(count, np.where(valid > 0, chosen.argmax(axis=1), -1))),
        "status": whole(found.spread_over(count, found.status)),
        "accuracy": shares(found.spread_over(count, chosen[mode])),
        "expected": shares(found.spread_over(count, table.fixed["accuracy_expected"])),
    }


def _stated(found: _AnsweredPairs, gold: pl.DataFrame) -> NDArray[Any] | None:
    """Return the run's distribution over the options of every pair, one pair after the other; None if it gave none.

    A pair's distribution is the mean of those in its responses, or that of its answers if it was asked several times.
    """
    table, given = found.table, found.table.distributions
    several = table.pairs["responses"].to_numpy() > 1
    if not len(given.pair) and not several.any():
        return None
    chosen = table.by_mode["accuracy"]
    stated = np.where(several[:, None], chosen, np.nan)
    total = np.zeros_like(stated)
    weight = np.zeros(len(stated))
    np.add.at(total, given.pair, given.weight[:, None] * given.probs)
    np.add.at(weight, given.pair, given.weight)
    named = weight > 0
    stated[named] = total[named] / weight[named, None]
    widest = chosen.shape[1]
    everything = np.full((len(gold), widest), np.nan)
    everything[found.rows] = stated
    legal = np.arange(widest) < gold["options"].to_numpy()[:, None]
    return shares(everything[legal])


def _responses(kept: pl.DataFrame) -> Block:
    """Return what is recorded of each response, in the order of the pairs."""
    codes: dict[str, list[str]] = {}
    columns: dict[str, NDArray[Any]] = {}
    number = {status: at for at, status in enumerate(STATUSES)}
    columns["status"] = kept["status"].replace_strict(number, return_dtype=pl.UInt8).to_numpy().astype(np.uint8)
    columns["code"] = _nullable(kept["answer"] - (least := _least(kept["answer"])))
    for name in ("elicitation", "template", "order"):
        codes[name], columns[name] = _dictionary(kept[name])
    for name in ("sample", "paraphrase", "prompt_tokens", "completion_tokens"):
        columns[name] = _nullable(kept[name])
    columns["cost"] = kept["cost"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
    empty = [name for name in ("prompt_tokens", "completion_tokens", "cost") if kept[name].is_null().all()]
    return Block(codes | {"least": least}, {name: values for name, values in columns.items() if name not in empty})


def _least(answers: pl.Series) -> int:
    least = answers.min()
    return int(least) if isinstance(least, int) else 0


def _texts(kept: pl.DataFrame) -> Block:
    """Return the texts of each response; equal texts are stored once."""
    texts: dict[str, list[str]] = {}
    columns: dict[str, NDArray[Any]] = {}
    for name in ("text", "reasoning", "error"):
        if kept[name].is_not_null().any():
            texts[name], columns[name] = _dictionary(_cut(kept[name]))
    return Block(texts, columns)


def _cut(texts: pl.Series) -> pl.Series:
    """Return texts of at most LONGEST_TEXT characters."""
    long = texts.str.len_chars() > LONGEST_TEXT
    if not long.any():
        return texts
    return pl.Series(texts.name, [None if text is None else clipped(text, LONGEST_TEXT) for text in texts.to_list()], dtype=pl.String)


def _dictionary(values: pl.Series) -> tuple[list[str], NDArray[Any]]:
    """Return the distinct texts in order of appearance, and the place of each value among them."""
    known = values.drop_nulls().unique(maintain_order=True)
    return known.to_list(), _places(values, known)


def _places(values: pl.Series, known: pl.Series) -> NDArray[Any]:
    """Return the place of each value in `known`."""
    frame = values.alias("value").to_frame()
    places = known.alias("value").to_frame().with_row_index("place")
    return _nullable(frame.join(places, on="value", how="left", maintain_order="left")["place"])


def _nullable(values: pl.Series) -> NDArray[Any]:
    return whole(values.cast(pl.Float64).fill_null(-1.0).to_numpy())
