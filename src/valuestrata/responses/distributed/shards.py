"""Shards: divide a plan into parts that machines answer independently, each as its own run.

The pairs of a plan are put in prefix order and cut into slices of equal length. A shard depends only on the plan and on
`I/N`, so machines need no communication. All orders, paraphrases and samples of a pair are in one shard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import canonical_hash
from valuestrata.responses.ask.plan import Asking
from valuestrata.responses.run.folder import STORE, read_meta
from valuestrata.responses.run.store import FILE

SHARDS = "shards"
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")
_FOLDER = re.compile(r"(\d{4,6})-of-(\d{4,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` of `of`; the first is 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


@dataclass(frozen=True)
class ShardAsking(Asking):
    """Plan of one shard; made by `sharded`.

    Attributes:
        shard: the shard.
        all_pairs: number of pairs of the whole plan. all_hash: hash of their ids in prefix order.
    """

    shard: Shard = field(default_factory=lambda: Shard(1, 1))
    all_pairs: int = 0
    all_hash: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The whole plan as in `run.json`, and the key `shard`."""
        part = {"index": self.shard.index, "of": self.shard.of, "pairs": self.pairs.height, "prompts": self.planned}
        return {**super().document, "shard": {**part, "all_pairs": self.all_pairs, "all_hash": self.all_hash}}


def parse_shard(text: str) -> Shard:
    """Parse `I/N`, with 1 <= I <= N.

    Raises:
        UsageError: another form, or a number out of range.
    """
    match = _SHARD.fullmatch(text.strip())
    if match is None:
        raise UsageError(Option("shard", text), ": write I/N, as in 3/16 for the third of sixteen shards.")
    index, of = int(match[1]), int(match[2])
    if not 1 <= index <= of:
        hint = f" Shards count from 1: in a job array ask for --array=1-{of}." if index == 0 and of else ""
        raise UsageError(Option("shard", text), f": shard {index} of {of} does not exist; I must be between 1 and N.{hint}")
    return Shard(index, of)


def shard_of(pairs: pl.DataFrame, index: int, of: int) -> pl.DataFrame:
    """Return the pairs of shard `index` of `of`, in their order; sizes differ by at most one.

    Args:
        pairs: in prefix order (`in_prefix_order`), each once.
        index, of: 1 <= index <= of.

    Raises:
        UsageError: no such shard, or more shards than pairs.
    """
    if not 1 <= index <= of:
        raise UsageError(f"Shard {index} of {of} does not exist; shards count from 1.")
    if of > pairs.height:
        raise UsageError(f"{of:,} shards of {pairs.height:,} pairs: some would be empty. Use at most {pairs.height:,} shards.")
    start, end = (pairs.height * (index - 1)) // of, (pairs.height * index) // of
    return pairs.slice(start, end - start)


def in_prefix_order(dataset: Dataset, asking: Asking) -> pl.DataFrame:
    """Return the pairs of a plan in the order of its prompts, so prompts of a shard share prefixes."""
    places = {
        "item": dataset.items.select("item").with_row_index("_item"),
        "subgroup": dataset.subgroups.select("subgroup").with_row_index("_subgroup"),
    }
    placed = asking.pairs.unique("pair_id", maintain_order=True)
    for name, table in places.items():
        placed = placed.join(table, on=name, how="left", maintain_order="left")
    by = ["_item", "_subgroup"] if asking.template.first == "item" else ["_subgroup", "_item"]
    return placed.sort(*by, maintain_order=True).select("pair_id", "item", "subgroup")


def sharded(dataset: Dataset, asking: Asking, shard: Shard) -> ShardAsking:
    """Return the plan of one shard, for `ask_planned`; errors as for `shard_of`."""
    pairs = in_prefix_order(dataset, asking)
    whole: dict[str, Any] = {one.name: getattr(asking, one.name) for one in fields(Asking)}
    whole["pairs"] = shard_of(pairs, shard.index, shard.of)
    return ShardAsking(**whole, shard=shard, all_pairs=pairs.height, all_hash=canonical_hash(pairs["pair_id"].to_list()))


def shard_folder(out: str | Path, index: int, of: int) -> Path:
    """Return the folder of a shard: `OUT/shards/0003-of-0016`."""
    return Path(out) / SHARDS / f"{index:04d}-of-{of:04d}"


def shards_in(out: str | Path) -> dict[Shard, Path]:
    """Return the shards of a run's folder, with their folders."""
    folder = Path(out) / SHARDS
    found: dict[Shard, Path] = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _FOLDER.fullmatch(entry.name)
        if match is not None and entry.is_dir():
            found[Shard(int(match[1]), int(match[2]))] = entry
    return found


def prepare_shard(out: str | Path, shard: Shard) -> Path:
    """Return the folder of a shard, after checking that it can be joined with the others.

    Raises:
        UsageError: the run has another number of shards, or was started without shards.
        InputDataError: `out` is not a run.
    """
    folder = Path(out)
    others = sorted({there.of for there in shards_in(folder) if there.of != shard.of})
    if others:
        raise UsageError(
            f"{folder}: this run has {others[0]} shards, and ", Option("shard", shard), f" would make it {shard.of}; keep one number."
        )
    meta = read_meta(folder)
    if meta is not None and "shards" not in meta and (folder / STORE / FILE).is_file():
        raise UsageError(
            f"{folder}: this run was begun without shards, and a shard would ask again what it has; continue without ",
            Option("shard"),
            ", or choose another output folder.",
        )
    if meta is None and folder.exists() and (not folder.is_dir() or any(entry.name != SHARDS for entry in folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
    return shard_folder(folder, shard.index, shard.of)
