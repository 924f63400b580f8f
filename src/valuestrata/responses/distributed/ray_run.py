"""Asking on a Ray cluster: Ray hands out the prompts, workers of ours answer them, and no answer is lost with a worker.

    OUT/ray/prompts/      the prompts to answer, in prefix order, a file a batch, and what they were made of
    OUT/ray/stores/       a store for each worker, in which every answer is as soon as it comes (`responses.worker_stores`)
    OUT/ray/answers/      the rows of batches that are done, written by Ray
    OUT/ray/done/         which rows those are: Ray's own checkpoint, so that a driver that starts anew leaves them out

Ray gives a batch whose worker died to another worker, whole. It would ask again what had been answered, were it not that
every worker looks the batch up in all stores first. At the end the stores are brought into the run's own, and the folder
`ray` goes. Failures stay out of Ray's checkpoint: the same command retries them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import GOLD, LANDSCAPE, LEAKAGE, MODE_DRAWS, SPLITS, Dataset
from valuestrata.errors import Option, RunFailedError, UsageError
from valuestrata.files import canonical_hash, folder_written_beside, read_json, read_parquet, write_json, write_parquet
from valuestrata.progress import progress
from valuestrata.prompts.frame import prompts_to_frame
from valuestrata.prompts.prompt import Elicitation, Prompt
from valuestrata.respondents.controls.spec import ONE_PERSONA, parse_control
from valuestrata.respondents.hosted.providers import check_elicitation, provider_of
from valuestrata.respondents.models import ModelSettings, check_model_spec, is_hosted
from valuestrata.responses.ask.loop import AskResult
from valuestrata.responses.ask.plan import Asking, asked_meta, labels_of
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.distributed.ray_cluster import check_gpus, connected, told_plainly
from valuestrata.responses.distributed.ray_pipeline import ANSWERS, DONE, answer_files
from valuestrata.responses.distributed.ray_worker import Described, MakeRespondent, WorkerSetup, describe, make
from valuestrata.responses.run.failures import failure_kinds, failures_listed
from valuestrata.responses.run.folder import IDENTITY, TABLE, counts_by_status, read_meta
from valuestrata.responses.run.session import opened_run
from valuestrata.responses.run.store import Store
from valuestrata.responses.run.store_index import StoreIndex
from valuestrata.responses.run.worker_stores import RAY, files_of_workers, forget, gather, recover

PROMPTS = f"{RAY}/prompts"
_PLAN = "plan.json"
# Prompts in a batch: enough to share beginnings in and to keep a worker busy, few enough that all workers end together.
BATCH_PROMPTS = 256
_SECONDS_BETWEEN_LOOKS = 0.5


def ask_on_ray(
    dataset: Dataset,
    model: str,
    out: str | Path,
    asking: Asking,
    *,
    address: str = RAY,
    workers: int = 2,
    gpus_per_worker: float = 0.0,
    batch_prompts: int = BATCH_PROMPTS,
    settings: ModelSettings | None = None,
    max_calls: int | None = None,
    make_respondent: MakeRespondent = make,
) -> AskResult:
    """Ask a respondent model on the workers of a Ray cluster; the run is the one that `ask_planned` makes.

    Args:
        dataset: what is asked about.
        model: a language model or a control around one, as `respondents.models.make_respondent` takes it; each worker builds it.
        out: folder of the run, under the same path on all machines; where one of the same identity lies, it goes on.
        asking: what is asked.
        address: `ray` or `ray://HOST:PORT`, as `raycluster.connected` reads it.
        workers: processes that answer, each with a respondent model of its own.
        gpus_per_worker: GPUs of each; may be a fraction.
        batch_prompts: prompts that a worker is given at once.
        settings: how the respondent model is loaded or called.
        max_calls: stop after so many prompts; asking again goes on.
        make_respondent: builds the respondent model on the workers.

    Raises:
        UsageError: a number that makes no sense, a baseline, no such cluster, or another call that works on this run.
        MissingExtraError: Ray is not installed.
        InputDataError: a folder that holds something else or a run of another identity, or workers that differ.
        RunFailedError: nothing succeeded, the provider refuses every call, or the work broke off.
    """
    _check(model, workers, batch_prompts, max_calls)
    _check_readout(model, asking.elicitation)
    folder = Path(out).resolve()
    refuse_what_batches_hold(folder)
    work = WorkerSetup(_without_gold(dataset), model, settings or ModelSettings(), folder, labels_of(dataset), None, make_respondent)
    with connected(address, workers):
        check_gpus(workers, gpus_per_worker)
        respondent = _described(work, gpus_per_worker)
        meta = asked_meta(dataset, respondent, folder.name, asking)
        with opened_run(folder, meta) as store:
            recover(folder, store)
            batches = _prepared(folder, store, asking.prompts(dataset, respondent), meta, batch_prompts, max_calls)
            if batches.waiting:
                work = replace(work, respondent=meta["respondent"])
                with _followed(folder, respondent.name, len(batches.waiting)):
                    _run(batches, work, store, workers, gpus_per_worker)
            unanswered = sum(not store.has(key) for key in batches.waiting)
            successes = store.successes
            forget(folder, store)
    table = pl.read_parquet(folder / TABLE, columns=["status", "error"])
    result = AskResult(
        run_dir=Path(out),
        asked=len(batches.waiting),
        kept=asking.planned - batches.left_out - len(batches.waiting),
        counts=counts_by_status(table),
        failures=failure_kinds(table),
        left=batches.left_out + unanswered,
        usage=(read_meta(folder) or {})["usage"],
    )
    if result.failed and not successes:
        raise RunFailedError(f"{out}: no call succeeded; {result.failed:,} failed: {failures_listed(table)}.")
    return result


def _check(model: str, workers: int, batch_prompts: int, max_calls: int | None) -> None:
    check_model_spec(model)
    if model.startswith("baseline:"):
        raise UsageError(f"MODEL {model!r} answers in seconds and is not asked on Ray; leave out ", Option("address"), ".")
    for name, number, least in (("workers", workers, 1), ("batch_prompts", batch_prompts, 1), ("max_calls", max_calls, 0)):
        if number is not None and number < least:
            raise UsageError(f"{name} is {number}; it must be {least} or more.")


def _check_readout(model: str, elicitation: Elicitation) -> None:
    """Refuse, before a cluster is reached, what a hosted model cannot be read by, and a control that asks each question once."""
    if model.startswith("control:"):
        spec = parse_control(model)
        if spec.kind in ONE_PERSONA:
            raise UsageError(
                f"MODEL {model!r} asks each question once and copies its answer to all subgroups; every worker would ask it again, and "
                "answers would differ. Ask it without ",
                Option("address"),
                ": it needs few calls.",
            )
        model = spec.model
    if is_hosted(model):
        check_elicitation(provider_of(model)[0], elicitation)


def _without_gold(dataset: Dataset) -> Dataset:
    """Return what a language model may see of a data set; the rest would only be sent about."""
    return replace(
        dataset,
        gold=GOLD.empty(),
        mode_draws=MODE_DRAWS.empty(),
        splits=SPLITS.empty(),
        leakage=LEAKAGE.empty(),
        landscape=LANDSCAPE.empty(),
    )


def _described(work: WorkerSetup, gpus: float) -> Described:
    """Have a worker say what the respondent model is; the machine that drives may have neither its libraries nor its GPU."""
    return _on_the_cluster(describe, work, gpus=gpus)


def _on_the_cluster(function: Any, *arguments: Any, gpus: float = 0.0) -> Any:
    """Run a function as a task of the cluster and return what it returns."""
    import ray

    task: Any = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(function)
    with told_plainly():
        return ray.get(task.remote(*arguments))


@dataclass(frozen=True)
class _Batches:
    """What the workers are given: files of prompts, the keys in them without an answer, and how many prompts were left out."""

    files: list[Path]
    waiting: list[str]
    left_out: int


def _prepared(folder: Path, store: Store, prompts: Iterator[Prompt], meta: dict[str, Any], batch: int, max_calls: int | None) -> _Batches:
    """Write the prompts without an answer as files, or take those that a call with the same plan has written before it broke off."""
    place = folder / PROMPTS
    made_of = canonical_hash([{key: meta.get(key) for key in (*IDENTITY, "plan")}, batch, max_calls])
    plan: dict[str, Any] = read_json(place / _PLAN) if (place / _PLAN).is_file() else {}
    if plan.get("made_of") != made_of:
        shutil.rmtree(folder / DONE, ignore_errors=True)
        shutil.rmtree(folder / ANSWERS, ignore_errors=True)
        with folder_written_beside(place) as new:
            left_out = _written(new, store, prompts, batch, max_calls)
            plan = {"made_of": made_of, "left_out": left_out}
            write_json(new / _PLAN, plan)
    files = sorted(place.glob("*.parquet"))
    keys = [key for file in files for key in pl.read_parquet(file, columns=["key"])["key"]]
    return _Batches(files, [key for key in keys if not store.has(key)], plan["left_out"])


def _written(folder: Path, store: Store, prompts: Iterator[Prompt], batch: int, max_calls: int | None) -> int:
    """Write the prompts without an answer in files of `batch`; return how many were left out because of `max_calls`."""
    waiting = _waiting(store, prompts)
    taken = islice(waiting, max_calls)
    for number in count():
        some = list(islice(taken, batch))
        if not some:
            break
        write_parquet(folder / f"{number:06d}.parquet", prompts_to_frame(some))
    return sum(1 for _ in waiting)


def _waiting(store: Store, prompts: Iterator[Prompt]) -> Iterator[Prompt]:
    """Yield the prompts without an answer, those that failed after all others: what is refused must not keep the rest from being asked."""
    failed: list[Prompt] = []
    for prompt in prompts:
        if store.tried(key := prompt.key):
            failed.append(prompt)
        elif not store.has(key):
            yield prompt
    yield from failed


def _run(batches: _Batches, work: WorkerSetup, store: Store, workers: int, gpus: float) -> None:
    """Have the batches answered; whatever ends it, bring what the workers have stored into the run's own store."""
    try:
        _on_the_cluster(answer_files, batches.files, work, workers, gpus)
    except BaseException:
        gather(work.out, store)
        raise
    gather(work.out, store)
    # An answer is in a store before Ray writes it. Should a machine have gone with what its disk had not taken, it is here.
    for file in sorted((work.out / ANSWERS).glob("*.parquet")):
        for row in read_parquet(file).filter(~pl.col("key").map_elements(store.has, return_dtype=pl.Boolean)).iter_rows(named=True):
            store.append(row.pop("key"), row)


@contextlib.contextmanager
def _followed(folder: Path, name: str, prompts: int) -> Generator[None]:
    """Show how many of the prompts have come back, by reading what the workers write."""
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    known = StoreIndex(lambda: files_of_workers(folder))
    known.refresh()
    with progress(f"asking {name}", prompts) as advance:

        def follow() -> None:
            seen = len(known)
            while not ended.wait(_SECONDS_BETWEEN_LOOKS):
                known.refresh()
                advance(len(known) - seen)
                seen = len(known)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
