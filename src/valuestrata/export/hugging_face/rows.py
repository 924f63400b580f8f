"""The rows of the exported tables. Shares and other statistics are rounded to four decimals, so single weights cannot be read from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset.tables import ITEMS, PARTS, SPLITS, Dataset, half_of
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.export.hugging_face.fields import MISSING, answer_fields, gold_fields, subgroup_fields
from valuestrata.responses.run.folder import Run
from valuestrata.tuning.data.chat_examples import apportioned, chat_lines
from valuestrata.tuning.data.examples import examples_of_part
from valuestrata.tuning.recipe import load_recipe

DECIMALS = 4
# Split of the pairs that no part contains: among them those of the whole population.
UNASSIGNED = "unassigned"
# Split of tables that are not divided. The usual `train` would look like training data.
WHOLE = "full"


def gold_rows(dataset: Dataset, split: str, fold: int | None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the parts of a split and their gold (`gold_fields`), then the pairs of no part; parts without pairs are left out.

    Each pair is in one part, with the gold of the half of the respondents that the split uses for it.
    """
    schema = gold_fields(dataset.meta["attributes"])
    pairs = dataset.part(split, "all", fold)
    if (folds := pairs["fold"].n_unique()) > 1:
        raise UsageError(
            f"Split {split!r} has {folds} folds, and test pairs of one are training pairs of another; choose one with ", Option("fold"), "."
        )
    columns = _with_texts(dataset)
    for part in PARTS:
        of_part = pairs.filter(pl.col("part") == part).select("pair_id", "fold")
        gold = columns.filter(pl.col("half") == half_of(split, part, fold)).join(of_part, on="pair_id", how="inner", maintain_order="left")
        if gold.height:
            yield part, schema.check(gold.with_columns(pl.lit(split).alias("scheme")), part).select(list(schema.columns))
    rest = columns.filter(pl.col("half") == "all").join(pairs, on="pair_id", how="anti", maintain_order="left")
    if rest.height:
        rest = rest.with_columns(pl.lit(split).alias("scheme"), pl.lit(None, pl.Int32).alias("fold"))
        yield UNASSIGNED, schema.check(rest, UNASSIGNED).select(list(schema.columns))


def _with_texts(dataset: Dataset) -> pl.DataFrame:
    """Return the gold with the columns of its items and subgroups, rounded."""
    gold = dataset.gold.drop("counts_raw", "counts_weighted").unnest(MISSING, separator="_")
    items = dataset.items.select("item", "topic", "level", "question", "codes", "labels")
    groups = dataset.subgroups.select("subgroup", "stratum", *dataset.attributes)
    joined = gold.join(items, on="item", how="left", maintain_order="left").join(groups, on="subgroup", how="left", maintain_order="left")
    place = pl.struct("codes", "mode").map_elements(lambda row: row["codes"].index(row["mode"]), return_dtype=pl.Int64)
    made = rounded(joined.with_columns(pl.col("labels").list.get(place).alias("mode_label")))
    return made.with_columns(pl.col("shares").list.get(place).alias("mode_share"))


def rounded(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with its numbers rounded to `DECIMALS`; shares and probabilities of options still sum to 1."""
    single = [name for name, dtype in frame.schema.items() if dtype == pl.Float64]
    of_options = [
        pl.Series(name, [None if shares is None else _rounded_shares(shares) for shares in frame[name].to_list()], frame[name].dtype)
        for name in ("shares", "p_mode", "option_probs")
        if name in frame.columns
    ]
    return frame.with_columns(pl.col(single).round(DECIMALS), *of_options)


def _rounded_shares(shares: Sequence[float]) -> list[float]:
    steps = 10**DECIMALS
    return [count / steps for count in apportioned(shares, steps)]


def item_rows(dataset: Dataset) -> pl.DataFrame:
    """Return the items (ITEMS schema)."""
    return dataset.items.select(list(ITEMS.columns))


def subgroup_rows(dataset: Dataset) -> pl.DataFrame:
    """Return the subgroups (`subgroup_fields`)."""
    schema = subgroup_fields(dataset.meta["attributes"])
    return rounded(schema.check(dataset.subgroups, "subgroups").select(list(schema.columns)))


def split_rows(dataset: Dataset) -> pl.DataFrame:
    """Return the parts of the pairs in every split scheme (SPLITS schema), without gold."""
    return dataset.splits.select(list(SPLITS.columns))


def chat_rows(dataset: Dataset, split: str, fold: int | None, template: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the parts of a split and their chats (`chat_fields`), in random order: persona and question, then the mode as the answer.

    They are the rows that `export_training` writes with the recipe `modal`, here also of the test pairs.
    """
    recipe = load_recipe("modal", template=template)
    place = {pair: (item, subgroup) for pair, item, subgroup in dataset.gold.select("pair_id", "item", "subgroup").iter_rows()}
    for number, part in enumerate(PARTS):
        lines = chat_lines(
            examples_of_part(dataset, recipe, part, split=split, fold=fold), recipe, answers=1, seed=(recipe.data_seed, 2 + number)
        )
        if lines:
            ids = ((line, *place[line.pair_id]) for line in lines)
            yield part, [{"pair_id": line.pair_id, "item": item, "subgroup": group, "messages": line.chat} for line, item, group in ids]


def answer_rows(runs: Sequence[Run], *, raw_texts: bool) -> pl.DataFrame:
    """Return the responses of runs (`answer_fields`).

    Raises:
        InputDataError: two runs have the same name.
    """
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputDataError(
            f"{', '.join(str(run.path) for run in runs if run.name == twice[0])}: these runs have the same name; rename one."
        )
    schema = answer_fields(raw_texts=raw_texts)
    frames = [run.responses.with_columns(pl.lit(run.name).alias("run")) for run in runs]
    return rounded(pl.concat([schema.check(frame, frame["run"][0]).select(list(schema.columns)) for frame in frames]))
