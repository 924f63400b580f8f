"""A Ray cluster for one call: of this machine alone, or one that stands already."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Generator, Mapping
from typing import Any

from valuestrata.errors import MissingExtraError, Option, RunFailedError, UsageError, ValuestrataError

LOCAL = "ray"
_REMOTE = re.compile(r"ray://[^/\s:]+:\d{1,5}")
# Besides the workers a pipeline has tasks that read, write and leave out what is done; each wants one processor.
_HELPERS = 3
_WRAPPINGS = 10
_LOCAL_OBJECT_STORE = 200 * 2**20


def check_cluster_word(word: str) -> None:
    """Refuse a word that names no cluster.

    Raises:
        UsageError: neither `ray` nor `ray://HOST:PORT`.
    """
    if word != LOCAL and not _REMOTE.fullmatch(word):
        raise UsageError(
            Option("address", word),
            ": write ray for this machine (or the cluster that the variable RAY_ADDRESS names), or ray://HOST:PORT, "
            "as in ray://head:10001.",
        )


@contextlib.contextmanager
def connected(word: str, workers: int) -> Generator[None]:
    """Connect to a cluster, and leave it at the end; where this process is connected already, that connection is used and kept.

    `ray` is the cluster that the variable RAY_ADDRESS names, else one of this machine that lives as long as the call and
    listens on its loopback address only. Ray's usage reports are switched off in every case.

    Raises:
        UsageError: no such cluster.
        MissingExtraError: Ray is not installed.
        RunFailedError: Ray did not start on this machine.
    """
    check_cluster_word(word)
    for library in ("ray",) if word == LOCAL else ("ray", "grpc"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError(Option("address", word), "ray", library)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    alone = word == LOCAL and not os.environ.get("RAY_ADDRESS")
    if alone and "ray" not in sys.modules:
        # Read when Ray is imported; off, it binds to the loopback address and not to the one that others reach.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    if ray.is_initialized():
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        ray.init(**_settings(word, workers, alone=alone))
    except Exception as error:  # Ray raises the bare class where its processes do not come up in time
        if alone:
            raise RunFailedError(
                Option("address", word), f": Ray did not start on this machine ({_first_line(error)}); run the same command again."
            ) from error
        raise UsageError(
            Option("address", word),
            f": no Ray cluster answers there ({_first_line(error)}). If it asks for a token, set RAY_AUTH_MODE=token "
            "and have the cluster's token in ~/.ray/auth_token.",
        ) from error
    # Ray tells of workers that died on stdout, which belongs to the command's result; the last of it while it shuts down.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


def _settings(word: str, workers: int, *, alone: bool) -> dict[str, Any]:
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if not alone:
        return {**quiet, "address": None if word == LOCAL else word}
    # Processors are Ray's way of counting here, not of binding: a worker that waits for a server needs next to none.
    processors = max(os.cpu_count() or 1, workers + _HELPERS)
    here = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False}
    return {**quiet, **here, "num_cpus": processors, "object_store_memory": _LOCAL_OBJECT_STORE}


def processors_of_a_worker(workers: int, gpus_per_worker: float = 0.0) -> float:
    """Return how many processors each worker may claim so that some are left for reading and writing.

    A worker with a GPU claims one at most. Another may claim several, up to half of the smallest machine: Ray lets a
    model on processors use as many threads.

    Raises:
        UsageError: the cluster has one processor, on which a pipeline would wait for itself.
    """
    import ray

    nodes: list[Mapping[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
    processors = [int(node["Resources"].get("CPU", 0)) for node in nodes]
    if sum(processors) < 2:
        raise UsageError(
            f"The Ray cluster has {sum(processors)} processors; it needs two or more. Start it with: ray start --head --num-cpus=4"
        )
    share = max(0, sum(processors) - _HELPERS) / workers
    most = 1.0 if gpus_per_worker else max(1.0, min(one for one in processors if one) / 2)
    claimed = min(share, most)
    return float(math.floor(claimed)) if claimed >= 1 else math.floor(claimed * 100) / 100


def check_gpus(workers: int, gpus_per_worker: float) -> None:
    """Refuse to wait for GPUs that the cluster does not have.

    Raises:
        UsageError: fewer GPUs than one worker needs.
    """
    import ray

    resources: Mapping[str, float] = ray.cluster_resources()
    there = resources.get("GPU", 0.0)
    if gpus_per_worker * workers > there:
        raise UsageError(
            f"{workers} workers with {gpus_per_worker:g} GPUs each need {gpus_per_worker * workers:g}, and the Ray cluster has {there:g}; "
            "lower ",
            Option("workers"),
            ", or wait until its nodes have joined.",
        )


@contextlib.contextmanager
def told_plainly() -> Generator[None]:
    """Raise an error of ours as it was raised on the cluster, and one of Ray's own as a run that broke off.

    Another exception of what runs there is a defect and keeps its traceback.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        ours = _as_ours(error)
        if ours is not None:
            raise ours from error
        if isinstance(error, RayTaskError):
            raise
        raise RunFailedError(
            f"The work on Ray broke off ({_first_line(error)}). What was answered is kept; run the same command again to go on."
        ) from error


def _as_ours(error: BaseException) -> ValuestrataError | None:
    """Return the error of ours that a worker ended with, None where it is another; Ray wraps what a worker raises, often twice."""
    inside: BaseException | None = error
    for _ in range(_WRAPPINGS):
        cause: Any = getattr(inside, "cause", None)
        if isinstance(cause, BaseException):
            # Looked at first: the wrapping passes for an error of ours too, with a traceback for its message.
            inside = cause
        elif inside is None or isinstance(inside, ValuestrataError):
            return inside
        else:
            inside = inside.__cause__
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
