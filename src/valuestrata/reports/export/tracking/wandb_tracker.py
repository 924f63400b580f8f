"""Log runs to Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valuestrata.errors import UsageError, without_credentials
from valuestrata.files import write_text
from valuestrata.reports.export.tracking.tracked_run import TrackedRun

# Letters of the key that make the id of a run.
_ID = 32


def log_to_wandb(runs: Sequence[TrackedRun], project: str | None) -> str:
    """Log runs, each with an id from its key; one that was logged before is continued. Arguments and errors as for `log_scores`."""
    import wandb
    from wandb.errors import Error

    name = project or os.environ.get("WANDB_PROJECT") or "valuestrata"
    # Without these, it records the command with its paths, the host, installed packages and the output.
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        host="",
        quiet=True,
        # Offline it prints three lines for each run, and `log_to_wandb` says where they are.
        silent=os.environ.get("WANDB_MODE") == "offline",
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    places: list[str] = []
    try:
        for run in runs:
            places.append(_log(wandb, settings, name, run))
    except Error as error:
        hint = "With WANDB_MODE=offline they stay on this machine (docs/tracking.md)."
        raise UsageError(f"Weights & Biases did not take the scores: {without_credentials(str(error))} {hint}") from error
    return f"Weights & Biases: {len(runs)} run{'' if len(runs) == 1 else 's'} in project {name!r}: {', '.join(dict.fromkeys(places))}"


def _log(wandb: Any, settings: Any, project: str, run: TrackedRun) -> str:
    """Log one run; return where it is: the address of the project, or the folder of offline runs."""
    start = {"project": project, "id": run.key[:_ID], "name": run.name, "config": dict(run.params), "resume": "allow"}
    with wandb.init(**start, settings=settings, reinit="create_new") as logged:
        logged.config.update(dict(run.tags), allow_val_change=True)
        for step, values in () if logged.resumed else run.steps.items():
            logged.log(dict(values), step=step)
        logged.summary.update(dict(run.metrics))
        for file, text in run.files.items():
            path = Path(logged.dir) / file
            write_text(path, text)
            logged.save(str(path), base_path=logged.dir, policy="now")
        if logged.disabled:
            return "not stored, since it is disabled (WANDB_MODE)"
        return (
            f"{Path(logged.settings.sync_dir).parent}, to send with `wandb sync`"
            if logged.offline
            else without_credentials(str(logged.project_url))
        )
