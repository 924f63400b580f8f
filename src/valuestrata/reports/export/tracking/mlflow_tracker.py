"""Log runs to MLflow, through the client and without its global state."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from valuestrata.errors import UsageError, without_credentials
from valuestrata.reports.export.tracking.tracked_run import KEY, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

_UPDATES = "valuestrata.updates"
# MLflow accepts this many metrics in one call.
_MOST = 1000


def log_to_mlflow(runs: Sequence[TrackedRun], experiment: str | None) -> str:
    """Log runs; one that was logged before is found by its key and updated. Arguments and errors as for `log_scores`."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "valuestrata"
    try:
        client = MlflowClient()
        found = client.get_experiment_by_name(name)
        identifier = client.create_experiment(name) if found is None else found.experiment_id
        for run in runs:
            _log(client, identifier, run)
    except MlflowException as error:
        said = without_credentials(str(error)).strip()
        raise UsageError(f"MLflow did not take the scores: {said} MLFLOW_TRACKING_URI sets where they go (docs/tracking.md).") from error
    plural = "" if len(runs) == 1 else "s"
    return f"MLflow: {len(runs)} run{plural} in experiment {name!r} at {without_credentials(client.tracking_uri)}"


def _log(client: MlflowClient, experiment: str, run: TrackedRun) -> None:
    from mlflow.entities import Metric, Param, RunTag

    known = client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", max_results=1)
    logged = known[0] if known else client.create_run(experiment, run_name=run.name, tags=dict(run.tags))
    identifier, of_steps = logged.info.run_id, {name for values in run.steps.values() for name in values}
    before = {name: value for name, value in logged.data.metrics.items() if name not in of_steps}
    # MLflow cannot delete a metric; NaN says that it has no value any more.
    now = {**dict.fromkeys(before, math.nan), **run.metrics}
    changed = [(metric, value) for metric, value in now.items() if not _same(before.get(metric), value)]
    # The latest value is that of the highest step, whatever the clock says.
    updates = int(logged.data.tags.get(_UPDATES, -1)) + 1
    at = time.time_ns() // 1_000_000
    metrics = [Metric(metric, value, at, updates) for metric, value in changed]
    if updates == 0:
        metrics += [Metric(metric, value, at, step) for step, values in run.steps.items() for metric, value in values.items()]
    for first in range(0, len(metrics), _MOST):
        client.log_batch(identifier, metrics=metrics[first : first + _MOST])
    params = [Param(name, value) for name, value in run.params.items()]
    tags = {**run.tags, _UPDATES: str(updates)} if metrics else run.tags
    client.log_batch(identifier, params=params, tags=[RunTag(name, value) for name, value in tags.items()])
    for name, text in run.files.items():
        client.log_text(identifier, text, name)
    client.set_terminated(identifier)


def _same(before: float | None, now: float) -> bool:
    return before is not None and (before == now or (math.isnan(before) and math.isnan(now)))
