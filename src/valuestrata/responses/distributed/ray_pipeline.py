"""The pipeline of Ray Data: prompts read, answered by workers, rows written, and what is done left out when it starts anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.responses.distributed.ray_cluster import processors_of_a_worker, told_plainly
from valuestrata.responses.distributed.ray_worker import Worker, WorkerSetup
from valuestrata.responses.run.worker_stores import RAY

ANSWERS = f"{RAY}/answers"
DONE = f"{RAY}/done"
# How often a batch is given out again after its worker died; more, and it is the batch that kills workers.
RETRIES = 4
_SETTINGS: Mapping[str, Any] = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    # One file, one block, one batch: the newer reader joins small files to one block, which one worker would answer.
    "use_datasource_v2": False,
    # Half an hour without a finished batch is a slow model and not a fault.
    "execution_no_progress_timeout_s": -1,
    # What a worker of ours raises is to come back as it is.
    "raise_original_map_exception": True,
}


def answer_files(files: Sequence[Path], work: WorkerSetup, workers: int, gpus_per_worker: float) -> None:
    """Have every file of prompts answered. Meant to run as a task of the cluster: Ray Data does not work from outside one.

    Rows go to `ray/answers`, and which of them are done to `ray/done`, in the run's folder.

    Raises:
        UsageError, InputDataError, RunFailedError: as a worker raised it.
        RunFailedError: the work broke off for a reason of Ray's own.
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
    with told_plainly():
        answered.write_parquet(str(work.out / ANSWERS))
