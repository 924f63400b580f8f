"""Checkpoints of a training: which are complete, and the errors that end a training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from valuestrata.errors import RunFailedError
from valuestrata.tuning.recipe import Recipe
from valuestrata.yaml_files import Record, read_document

# The last file written into a checkpoint. It holds the number of updates and the group weights.
COMPLETE = "whole.json"


class Checkpoint(Record):
    """The format of the last file of a checkpoint."""

    step: int = Field(ge=0)
    group_weights: list[float] | None


def last_checkpoint(folder: Path) -> Path | None:
    """Return the latest complete checkpoint of a folder; None if there is none."""
    complete = [place for place in folder.glob("checkpoint-*") if (place / COMPLETE).is_file()]
    return max(complete, key=lambda place: int(read_checkpoint(place)["step"]), default=None)


def read_checkpoint(place: Path) -> dict[str, Any]:
    """Return the number of updates and the group weights of a complete checkpoint; InputDataError if they are invalid."""
    return read_document(place / COMPLETE, Checkpoint, f"Delete {place}; training then continues from an earlier checkpoint.")


def remove_incomplete(folder: Path) -> None:
    """Delete the checkpoints that were being written when a training was stopped."""
    for place in folder.glob("checkpoint-*"):
        if not (place / COMPLETE).is_file():
            shutil.rmtree(place)


def not_finite(step: int, recipe: Recipe, folder: Path) -> RunFailedError:
    """Return the error of an infinite or undefined loss or weight."""
    return RunFailedError(
        f"Tuning: the loss or a trained weight is not a number at update {step}, at a learning rate of {recipe.learning_rate:g}. Use a "
        f"lower learning rate and another folder (the last complete checkpoint stays in {folder})."
    )


def not_saved(folder: Path, error: Exception) -> RunFailedError:
    """Return the error of a checkpoint that could not be written, with the first line of the cause."""
    cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return RunFailedError(
        f"{folder}: the checkpoint could not be written ({cause}). Earlier checkpoints are unchanged. Free some disk space and run the "
        "same call again to continue from them."
    )
