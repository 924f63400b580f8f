"""Log scores and trainings to the tracker that the user chose."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from valuestrata.assessment import Assessment
from valuestrata.errors import MissingExtraError, Option, UsageError, one_of
from valuestrata.reports.export.tracking.tracked_run import TrackedRun, tracked_runs
from valuestrata.responses.run.identity import Identified

if TYPE_CHECKING:
    from valuestrata.tuning.tune import TuneResult

Tracker = Literal["mlflow", "wandb"]
_LIBRARIES: Mapping[Tracker, str] = {"mlflow": "mlflow-skinny", "wandb": "wandb"}


def check_tracker(tracker: str | None, to: str | None = None) -> Tracker | None:
    """Return the tracker, None without one. Call it before work that takes time.

    Args:
        tracker: `mlflow`, `wandb` or None.
        to: experiment (MLflow) or project (Weights & Biases).

    Raises:
        UsageError: another tracker, or an experiment without a tracker.
        MissingExtraError: its library is not installed.
    """
    if tracker is None:
        if to is not None:
            raise UsageError(Option("track_to", to), " names an experiment, but no tracker is given. Add ", Option("track", "mlflow"), ".")
        return None
    name = one_of(tracker, get_args(Tracker), "No tracker is called")
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(Option("track", name), name, _LIBRARIES[name])
    return name


def log_scores(runs: Sequence[Identified], found: Assessment, tracker: str, *, to: str | None = None) -> str:
    """Log the scores of runs, each as one run of the tracker; a run that was logged before is updated.

    Where they go follows the tracker's own environment variables, such as MLFLOW_TRACKING_URI and WANDB_MODE (see docs/tracking.md).

    Args:
        runs: the models' runs.
        found: their assessment.
        tracker: `mlflow` or `wandb`.
        to: experiment (MLflow) or project (Weights & Biases); by default what the tracker's environment variables say, else `valuestrata`.

    Returns:
        One line that says where the scores were logged.

    Raises:
        UsageError: an unknown tracker, or the tracker refuses.
        MissingExtraError: its library is not installed.
    """
    return _log(tracked_runs(runs, found), tracker, to)


def log_training(result: TuneResult, tracker: str, *, to: str | None = None) -> str:
    """Log a training as one run of the tracker: recipe, loss by update, and validation before and after.

    `tracker`, `to`, what is returned and errors as for `log_scores`. A training that was logged before is not logged again.
    """
    from valuestrata.reports.export.tracking.tracked_training import tracked_training

    return _log([tracked_training(result)], tracker, to)


def _log(tracked: Sequence[TrackedRun], tracker: str, to: str | None) -> str:
    name = check_tracker(tracker, to)
    if name == "mlflow":
        from valuestrata.reports.export.tracking.mlflow_tracker import log_to_mlflow

        return log_to_mlflow(tracked, to)
    from valuestrata.reports.export.tracking.wandb_tracker import log_to_wandb

    return log_to_wandb(tracked, to)
