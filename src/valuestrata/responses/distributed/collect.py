"""Join the shards of a run, after checking that they are complete, disjoint and of one identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import InputDataError, Option
from valuestrata.files import write_json
from valuestrata.progress import progress
from valuestrata.responses.distributed.shards import SHARDS, Shard, shard_folder, shards_in
from valuestrata.responses.run.failures import failure_kinds, numbers_listed
from valuestrata.responses.run.folder import (
    RUN,
    STORE,
    Run,
    check_same_identity,
    counts_by_status,
    load_run,
    read_meta,
    usage_of,
    with_hash,
    write_table,
)
from valuestrata.responses.run.identity import run_identity
from valuestrata.responses.run.store import FILE, Store
from valuestrata.responses.run.worker_stores import merge
from valuestrata.yaml_files import Record, checked

_NAMED = 8


@dataclass(frozen=True)
class CollectedShards:
    """Result of joining shards.

    Attributes:
        run_dir: the run's folder.
        shards: number of shards. pairs: pairs of the whole plan.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> responses, most frequent first. Asking their shards again retries them.
        failed_shards: shards with failures.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run; None if no response records it.
    """

    run_dir: Path
    shards: int
    pairs: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    failed_shards: tuple[Shard, ...]
    usage: Mapping[str, int | float | None]

    @property
    def failed(self) -> int:
        """Number of failed responses."""
        return self.counts["failed"]


class ShardPart(Record):
    """The key `shard` of a plan."""

    index: int
    of: int
    prompts: int
    all_pairs: int
    all_hash: str


class ShardPlan(Record):
    """The plan of a shard; a run asked without shards has no `shard`."""

    orders: list[str]
    paraphrases: list[int]
    samples: int
    shard: ShardPart | None = None


class ShardRun(Record):
    """The keys of a shard's `run.json` that joining needs."""

    plan: ShardPlan
    versions: dict[str, str | None]
    started: str


@dataclass(frozen=True)
class _Part:
    """A shard and its run."""

    shard: Shard
    run: Run

    @property
    def document(self) -> Mapping[str, Any]:
        """The key `shard` of its plan."""
        return self.plan.get("shard") or {}

    @property
    def plan(self) -> Mapping[str, Any]:
        """Its plan."""
        return run_identity(self.run).plan


def collect(out: str | Path) -> CollectedShards:
    """Join the shards of a run: write its store, `responses.parquet` and `run.json`. Safe to repeat.

    Failures are counted and do not prevent joining; a shard that was asked again can be collected again.

    Args:
        out: folder of the run whose shards are joined.

    Raises:
        UsageError: another process writes the run.
        InputDataError: no shards, a missing or unfinished shard, shards of different numbers, plans or identities, or a pair
            in two shards; names the shards.
    """
    folder = Path(out)
    parts = _parts(folder)
    _check_alike(folder, parts)
    _check_finished(folder, parts)
    _check_disjoint(folder, parts)
    there = read_meta(folder)
    meta = _joined(folder, parts)
    if there is not None:
        check_same_identity(folder, there, meta)
        meta = {**meta, "name": there["name"]}
    # run.json is written last; without it the folder is not yet a run.
    with Store(folder / STORE) as store, progress("collecting shards", len(parts)) as advance:
        for part in parts:
            merge(store, part.run.path / STORE / FILE)
            advance(1)
        table = store.table()
        write_table(folder, table, store.size)
        usage = usage_of(table, store.cost_of_replaced())
    counts = counts_by_status(table)
    write_json(folder / RUN, with_hash(folder, {**meta, "counts": counts, "usage": usage}))
    return CollectedShards(
        run_dir=folder,
        shards=len(parts),
        pairs=table["pair_id"].n_unique(),
        counts=counts,
        failures=failure_kinds(table),
        failed_shards=tuple(part.shard for part in parts if (part.run.responses["status"] == "failed").any()),
        usage=usage,
    )


def _parts(folder: Path) -> list[_Part]:
    """Read all shards in order, after checking that all exist."""
    found = shards_in(folder)
    if not found:
        raise InputDataError(
            f"{folder / SHARDS}: no shards here. Make them with: valuestrata ask DATASET --model MODEL -o {folder} --shard 1/N"
        )
    numbers = sorted({shard.of for shard in found})
    if len(numbers) > 1:
        held = "; ".join(f"of {of}: {numbers_listed([shard.index for shard in found if shard.of == of])}" for of in numbers)
        raise InputDataError(f"{folder / SHARDS}: shards of different numbers cannot be joined ({held}). Remove those that do not belong.")
    of = numbers[0]
    begun = {shard.index for shard, place in found.items() if read_meta(place) is not None}
    missing = [index for index in range(1, of + 1) if index not in begun]
    if missing:
        raise InputDataError(
            f"{folder / SHARDS}: {len(missing)} of {of} shards are missing: {numbers_listed(missing)}. "
            f"Ask them first: valuestrata ask ... -o {folder} --shard {missing[0]}/{of}"
        )
    parts = [_Part(Shard(index, of), load_run(shard_folder(folder, index, of), closed=False)) for index in range(1, of + 1)]
    for part in parts:
        checked(ShardRun, part.run.meta, str(part.run.path / RUN), f"Ask shard {part.shard} again, or copy its whole folder again.")
        planned = part.document.get("index"), part.document.get("of")
        if planned != (part.shard.index, part.shard.of):
            raise InputDataError(
                f"{part.run.path / RUN}: its plan is of shard {planned[0]}/{planned[1]}, its folder of {part.shard.index}/{of}; "
                "a run asked without ",
                Option("shard"),
                ", or a folder that was renamed, cannot be joined.",
            )
        if not (part.run.path / STORE / FILE).is_file():
            raise InputDataError(f"{part.run.path / STORE / FILE}: the store is missing; copy the whole folder of shard {part.shard}.")
    return parts


def _check_alike(folder: Path, parts: Sequence[_Part]) -> None:
    """Refuse shards of different identities or plans."""
    first = parts[0]
    for part in parts[1:]:
        try:
            check_same_identity(part.run.path, part.run.meta, first.run.meta)
        except InputDataError as error:
            raise InputDataError(
                f"{folder / SHARDS}: shards {first.shard} and {part.shard} were asked differently and cannot be joined. ", error.message
            ) from error
        plans = [_flat_plan(one) for one in (first, part)]
        for key in plans[0]:
            if plans[0][key] != plans[1].get(key):
                raise InputDataError(
                    f"{part.run.path / RUN}: its plan has {key} {plans[1].get(key)!r}, that of shard {first.shard} {plans[0][key]!r}; "
                    "ask all shards with the same options."
                )


def _flat_plan(part: _Part) -> dict[str, Any]:
    """Return what all shards must have in common."""
    plan = {key: value for key, value in part.plan.items() if key != "shard"}
    return {**plan, "pairs of the whole": part.document["all_pairs"], "hash of all pairs": part.document["all_hash"]}


def _check_finished(folder: Path, parts: Sequence[_Part]) -> None:
    """Refuse shards with prompts that were not asked."""
    left = {part.shard: part.document["prompts"] - _asked(part) for part in parts}
    unfinished = {shard: number for shard, number in left.items() if number > 0}
    if unfinished:
        named = "; ".join(f"{shard} lacks {number:,}" for shard, number in list(unfinished.items())[:_NAMED])
        more = f"; and {len(unfinished) - _NAMED} others" if len(unfinished) > _NAMED else ""
        damaged = " ".join(part.run.remark for part in parts if part.shard in unfinished and part.run.remark)
        example = next(iter(unfinished))
        raise InputDataError(
            f"{folder / SHARDS}: {len(unfinished)} of {len(parts)} shards are not finished ({named}{more}). "
            f"Run the same command again for each: valuestrata ask ... -o {folder} --shard {example}{f' {damaged}' if damaged else ''}"
        )


def _asked(part: _Part) -> int:
    """Count the prompts of a shard's plan that have a response, without those of earlier, wider plans."""
    plan = part.plan
    rows = part.run.responses.filter(
        pl.col("order").is_in(plan["orders"]) & pl.col("paraphrase").is_in(plan["paraphrases"]) & (pl.col("sample") < plan["samples"])
    )
    return rows.select(pl.struct("pair_id", "order", "paraphrase", "sample").n_unique()).item()


def _check_disjoint(folder: Path, parts: Sequence[_Part]) -> None:
    """Refuse pairs in two shards, and shards that are not the whole plan together."""
    pairs = pl.concat([part.run.responses.select("pair_id", shard=pl.lit(part.shard.index)).unique() for part in parts])
    twice = pairs.filter(pl.col("pair_id").is_duplicated()).sort("pair_id", "shard")
    if not twice.is_empty():
        pair = twice["pair_id"][0]
        where = numbers_listed(twice.filter(pl.col("pair_id") == pair)["shard"].to_list())
        raise InputDataError(
            f"{folder / SHARDS}: the pair {pair!r} is in shards {where} ({twice['pair_id'].n_unique():,} pairs are in more than one). "
            "A shard was asked with other options before; ask the shards again in another folder."
        )
    whole = parts[0].document["all_pairs"]
    if pairs.height != whole:
        raise InputDataError(f"{folder / SHARDS}: the shards have {pairs.height:,} pairs, but their plan has {whole:,}; ask them again.")


def _joined(folder: Path, parts: Sequence[_Part]) -> dict[str, Any]:
    """Return the `run.json` of the joined run, with the whole plan and all library versions of the shards."""
    metas = [part.run.meta for part in parts]
    plan = {key: value for key, value in metas[0]["plan"].items() if key != "shard"}
    versions: list[Any] = []
    for meta in metas:
        for one in (meta["versions"], *meta.get("earlier_versions", ())):
            if one not in versions:
                versions.append(one)
    of_a_shard = ("planned", "counts", "usage", "earlier_plan", "earlier_versions")
    document = {key: value for key, value in metas[0].items() if key not in of_a_shard}
    document |= {
        "name": folder.resolve().name,
        "plan": plan,
        "shards": len(parts),
        "versions": versions[0],
        "started": min(meta["started"] for meta in metas),
        "finished": max(meta.get("finished") or meta["started"] for meta in metas),
    }
    planned = [int(meta["planned"]) for meta in metas if meta.get("planned") is not None]
    if len(planned) == len(metas):
        document["planned"] = sum(planned)
    return document | ({"earlier_versions": versions[1:]} if len(versions) > 1 else {})
