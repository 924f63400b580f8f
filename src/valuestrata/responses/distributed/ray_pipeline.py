"""Ray Data pipeline: read prompts, answer them on workers, write rows, skip finished ones on restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.responses.distributed.ray_cluster import cluster_errors, processors_of_a_worker
from valuestrata.responses.distributed.ray_worker import Worker, WorkerSetup
from valuestrata.responses.run.worker_stores import RAY

ANSWERS = f"{RAY}/answers"
DONE = f"{RAY}/done"
# Retries of a batch whose worker died; after more, the batch itself is probably the cause.
RETRIES = 4
_SETTINGS: Mapping[str, Any] = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    # One block per file: the newer reader joins small files into one block, which a single worker would answer.
    "use_datasource_v2": False,
    # No timeout: a slow model may need half an hour per batch.
    "execution_no_progress_timeout_s": -1,
    # Raise the worker's own exception.
    "raise_original_map_exception": True,
}


def answer_files(files: Sequence[Path], work: WorkerSetup, workers: int, gpus_per_worker: float) -> None:
    """Answer files of prompts; run it as a task of the cluster, since Ray Data does not work from outside.

    Rows are written to `ray/answers` in the run's folder, and the keys of finished rows to `ray/done`.

    Raises:
        UsageError, InputDataError, RunFailedError: raised by a worker.
        RunFailedError: Ray itself failed.
    """
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    context: Any = ray.data.DataContext.get_current()
    for name, value in _SETTINGS.items():
        setattr(context, name, value)
    read = ray.data.read_parquet([str(file) for file in files], override_num_blocks=len(files))
    read.context.checkpoint_config = CheckpointConfig("key", str(work.out / DONE))
    answered = read.map_batches(
        Worker,
        fn_constructor_args=(work,),
        batch_format="pyarrow",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(files)), max_tasks_in_flight_per_actor=2),
        num_cpus=processors_of_a_worker(workers, gpus_per_worker),
        num_gpus=gpus_per_worker or None,
        max_restarts=-1,
        max_task_retries=RETRIES,
    )
    with cluster_errors():
        answered.write_parquet(str(work.out / ANSWERS))
