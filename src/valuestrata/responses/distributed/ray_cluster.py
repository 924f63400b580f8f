"""Connect to a Ray cluster, or start one on this machine for one call."""

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
# Ray Data also runs tasks that read, write and filter; each needs one processor.
_HELPERS = 3
_WRAPPINGS = 10
_LOCAL_OBJECT_STORE = 200 * 2**20


@contextlib.contextmanager
def connected(address: str, workers: int) -> Generator[None]:
    """Connect to a cluster and disconnect at the end; an existing connection is used and kept.

    Args:
        address: `ray`: the cluster of the variable RAY_ADDRESS if it is set, else a temporary one on this machine that listens
            on the loopback address only; or `ray://HOST:PORT`. Ray's usage reports are switched off.

    Raises:
        UsageError: an invalid address, or no cluster there.
        MissingExtraError: Ray is not installed.
        RunFailedError: Ray did not start on this machine.
    """
    if address != LOCAL and not _REMOTE.fullmatch(address):
        raise UsageError(
            Option("address", address),
            ": write ray for this machine (or the cluster that the variable RAY_ADDRESS names), or ray://HOST:PORT, as in "
            "ray://head:10001.",
        )
    for library in ("ray",) if address == LOCAL else ("ray", "grpc"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError(Option("address", address), "ray", library)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    alone = address == LOCAL and not os.environ.get("RAY_ADDRESS")
    if alone and "ray" not in sys.modules:
        # Read when Ray is imported; if 0, Ray binds to the loopback address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    if ray.is_initialized():
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        ray.init(**_settings(address, workers, alone=alone))
    except Exception as error:  # Ray raises Exception itself if its processes do not start in time
        if alone:
            raise RunFailedError(
                Option("address", address), f": Ray did not start on this machine ({_first_line(error)}); run the same command again."
            ) from error
        raise UsageError(
            Option("address", address),
            f": no Ray cluster answers at this address ({_first_line(error)}). If it asks for a token, set RAY_AUTH_MODE=token "
            "and have the cluster's token in ~/.ray/auth_token.",
        ) from error
    # Ray reports dead workers on stdout, which is reserved for results, even during shutdown.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


def _settings(address: str, workers: int, *, alone: bool) -> dict[str, Any]:
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if not alone:
        return {**quiet, "address": None if address == LOCAL else address}
    # Processors only limit the number of tasks; a worker that waits for a server hardly uses one.
    processors = max(os.cpu_count() or 1, workers + _HELPERS)
    here = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False}
    return {**quiet, **here, "num_cpus": processors, "object_store_memory": _LOCAL_OBJECT_STORE}


def processors_of_a_worker(workers: int, gpus_per_worker: float = 0.0) -> float:
    """Return the number of processors per worker that leaves some for reading and writing.

    A worker with a GPU gets at most one. Others get up to half of the smallest machine, since Ray gives a model on the CPU
    as many threads.

    Raises:
        UsageError: the cluster has a single processor, on which the pipeline would deadlock.
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
    """Raise UsageError if the cluster has too few GPUs for all workers."""
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
def cluster_errors() -> Generator[None]:
    """Raise a ValuestrataError of the cluster unwrapped, and Ray's own errors as RunFailedError; others pass unchanged."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        inner = _unwrapped(error)
        if inner is not None:
            raise inner from error
        if isinstance(error, RayTaskError):
            raise
        raise RunFailedError(
            f"The work on Ray was interrupted ({_first_line(error)}). All answers are kept; run the same command again to continue."
        ) from error


def _unwrapped(error: BaseException) -> ValuestrataError | None:
    """Return the ValuestrataError inside Ray's wrappers, None if there is none. Ray often wraps an error twice."""
    inside: BaseException | None = error
    for _ in range(_WRAPPINGS):
        cause: Any = getattr(inside, "cause", None)
        if isinstance(cause, BaseException):
            # Checked first, since the wrapper is also an instance of the wrapped class, with a traceback as its message.
            inside = cause
        elif inside is None or isinstance(inside, ValuestrataError):
            return inside
        else:
            inside = inside.__cause__
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
