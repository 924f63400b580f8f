"""Ask on the workers of a Ray cluster.

    OUT/ray/prompts/      prompts in prefix order, one file per batch, and a hash of the plan
    OUT/ray/stores/       store of each worker, written as answers arrive (`run.worker_stores`)
    OUT/ray/answers/      rows of finished batches, written by Ray
    OUT/ray/done/         Ray's checkpoint of finished rows, which a restarted driver skips

If a worker dies, Ray gives its whole batch to another worker, which first looks for answers in all stores. At the end the
stores are merged into the run's own and the folder `ray` is removed. Failures are not in Ray's checkpoint, so the same
command retries them.
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
from valuestrata.errors import Option, UsageError
from valuestrata.files import canonical_hash, folder_written_beside, read_parquet, write_json, write_parquet
from valuestrata.progress import progress
from valuestrata.prompts.frame import prompts_to_frame
from valuestrata.prompts.prompt import Elicitation, Prompt
from valuestrata.respondents.controls.spec import ONE_PERSONA, parse_control
from valuestrata.respondents.models import ModelSettings, check_model_elicitation, check_model_spec
from valuestrata.responses.ask.loop import AskResult, failed_last, result_of
from valuestrata.responses.ask.plan import Asking, asked_meta, labels_of
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.distributed.ray_cluster import check_gpus, cluster_errors, connected
from valuestrata.responses.distributed.ray_pipeline import ANSWERS, DONE, answer_files
from valuestrata.responses.distributed.ray_worker import MakeRespondent, WorkerSetup, describe, make
from valuestrata.responses.run.failures import failure_kinds
from valuestrata.responses.run.folder import IDENTITY, TABLE
from valuestrata.responses.run.session import opened_run
from valuestrata.responses.run.store import Store
from valuestrata.responses.run.store_index import StoreIndex
from valuestrata.responses.run.worker_stores import RAY, files_of_workers, forget, gather, recover
from valuestrata.yaml_files import Record, read_document

PROMPTS = f"{RAY}/prompts"
_PLAN = "plan.json"
# Prompts per batch: enough to share prefixes and keep a worker busy, few enough that all workers end together.
BATCH_PROMPTS = 256
_SECONDS_BETWEEN_CHECKS = 0.5


class RayPlan(Record):
    """The format of the plan next to the prompts of a call."""

    made_of: str
    left_out: int


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
    """Ask a respondent model on the workers of a Ray cluster. The result is the same run as of `ask_planned`.

    Args:
        model: specification of a language model or control (see `make_respondent`); each worker builds it.
        out: folder of the run, the same path on all machines. An existing run of the same identity continues.
        address: `ray` or `ray://HOST:PORT` (see `ray_cluster.connected`).
        workers: number of processes that answer, each with its own model.
        gpus_per_worker: GPUs per worker; may be a fraction.
        batch_prompts: prompts per batch.
        settings: of the respondent model.
        max_calls: stop after this many prompts. Asking again continues.
        make_respondent: builds the respondent model on the workers.

    Raises:
        UsageError: an invalid number, a baseline, no such cluster, or another call works on this run.
        MissingExtraError: Ray is not installed.
        InputDataError: the folder is not a run or is a run of another identity, or the workers differ.
        RunFailedError: nothing succeeded, the provider refuses every call, or Ray failed.
    """
    _check(model, workers, batch_prompts, max_calls)
    _check_readout(model, asking.elicitation)
    folder = Path(out).resolve()
    refuse_what_batches_hold(folder)
    work = WorkerSetup(_without_gold(dataset), model, settings or ModelSettings(), folder, labels_of(dataset), None, make_respondent)
    with connected(address, workers):
        check_gpus(workers, gpus_per_worker)
        # Described on a worker; the driver may lack its libraries and GPU.
        respondent = _on_the_cluster(describe, work, gpus=gpus_per_worker)
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
    return result_of(
        Path(out),
        asked=len(batches.waiting),
        kept=asking.planned - batches.left_out - len(batches.waiting),
        left=batches.left_out + unanswered,
        failures=failure_kinds(pl.read_parquet(folder / TABLE, columns=["status", "error"])),
        successes=successes,
        remarks=store.remarks,
    )


def _check(model: str, workers: int, batch_prompts: int, max_calls: int | None) -> None:
    check_model_spec(model)
    if model.startswith("baseline:"):
        raise UsageError(f"MODEL {model!r} is a baseline and answers in seconds; leave out ", Option("address"), ".")
    for name, number, least in (("workers", workers, 1), ("batch_prompts", batch_prompts, 1), ("max_calls", max_calls, 0)):
        if number is not None and number < least:
            raise UsageError(Option(name, number), f": it must be {least} or more.")


def _check_readout(model: str, elicitation: Elicitation) -> None:
    """Check the elicitation of a hosted model, and refuse controls that ask each question once."""
    if model.startswith("control:") and parse_control(model).kind in ONE_PERSONA:
        raise UsageError(
            f"MODEL {model!r} asks each question once and copies its answer to all subgroups; every worker would ask it again, and "
            "answers would differ. Ask it without ",
            Option("address"),
            ": it needs few calls.",
        )
    check_model_elicitation(model, elicitation)


def _without_gold(dataset: Dataset) -> Dataset:
    """Return the data set without gold, which workers do not need."""
    return replace(
        dataset,
        gold=GOLD.empty(),
        mode_draws=MODE_DRAWS.empty(),
        splits=SPLITS.empty(),
        leakage=LEAKAGE.empty(),
        landscape=LANDSCAPE.empty(),
    )


def _on_the_cluster(function: Any, *arguments: Any, gpus: float = 0.0) -> Any:
    """Run a function as a task of the cluster and return its result."""
    import ray

    task: Any = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(function)
    with cluster_errors():
        return ray.get(task.remote(*arguments))


@dataclass(frozen=True)
class _Batches:
    """Files of prompts, unanswered keys in them, and the number of prompts left out by `max_calls`."""

    files: list[Path]
    waiting: list[str]
    left_out: int


def _prepared(folder: Path, store: Store, prompts: Iterator[Prompt], meta: dict[str, Any], batch: int, max_calls: int | None) -> _Batches:
    """Write unanswered prompts as files, or use those of an interrupted call with the same plan."""
    place = folder / PROMPTS
    made_of = canonical_hash([{key: meta.get(key) for key in (*IDENTITY, "plan")}, batch, max_calls])
    advice = f"Remove {place} and run the same command again; no answer is lost."
    plan: dict[str, Any] = read_document(place / _PLAN, RayPlan, advice) if (place / _PLAN).is_file() else {}
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
    """Write unanswered prompts in files of `batch`; return the number left out by `max_calls`."""
    waiting = (prompt for prompt in failed_last(prompts, store) if not store.has(prompt.key))
    taken = islice(waiting, max_calls)
    for number in count():
        some = list(islice(taken, batch))
        if not some:
            break
        write_parquet(folder / f"{number:06d}.parquet", prompts_to_frame(some))
    return sum(1 for _ in waiting)


def _run(batches: _Batches, work: WorkerSetup, store: Store, workers: int, gpus: float) -> None:
    """Answer the batches; merge the workers' stores at the end, after errors too."""
    try:
        _on_the_cluster(answer_files, batches.files, work, workers, gpus)
    except BaseException:
        gather(work.out, store)
        raise
    gather(work.out, store)
    # A machine may be lost before its disk was synced; its rows are then in Ray's output only.
    for file in sorted((work.out / ANSWERS).glob("*.parquet")):
        for row in read_parquet(file).filter(~pl.col("key").map_elements(store.has, return_dtype=pl.Boolean)).iter_rows(named=True):
            store.append(row.pop("key"), row)


@contextlib.contextmanager
def _followed(folder: Path, name: str, prompts: int) -> Generator[None]:
    """Show progress by reading the workers' stores."""
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    known = StoreIndex(lambda: files_of_workers(folder))
    known.refresh()
    with progress(f"asking {name}", prompts) as advance:

        def follow() -> None:
            seen = len(known)
            while not ended.wait(_SECONDS_BETWEEN_CHECKS):
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
