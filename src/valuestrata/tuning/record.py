"""The document `training.json` of an adapter: request, data, versions, and validation before and after."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field, field_validator

from valuestrata.dataset.tables import Dataset
from valuestrata.tuning.data.examples import TuningData
from valuestrata.yaml_files import Record, read_document, refused

if TYPE_CHECKING:
    from valuestrata.tuning.train.trainer import AnswerTrainer

FORMAT = "valuestrata-adapter-1"
TRAINING = "training.json"
LIBRARIES = ("valuestrata", "torch", "transformers", "accelerate", "peft", "trl", "datasets")


class TrainingRequest(Record):
    """The arguments of a training, which identify its adapter."""

    dataset: str
    model: str
    split: str
    fold: int | None
    control: str | None
    recipe: dict[str, Any]

    @field_validator("recipe")
    @classmethod
    def _recipe_has_a_name(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str):
            raise refused("expected a recipe with a `name`.")
        return value


class BaseModelRecord(Record):
    """The base model of an adapter."""

    word: str | None = None
    model: str | None = None
    revision: str | None = None


class TrainingData(Record):
    """The data set of a training."""

    survey: dict[str, Any] | None = None
    place: str | None = None
    fingerprint: str | None = None


class HeldOut(Record):
    """What a training did not see."""

    fold_label: str | None = None
    test_pairs: int | None = None
    subgroups: list[str] | None = None
    items: list[str] | None = None


class ExampleCounts(Record):
    """The number of training and validation pairs."""

    train: int
    validation: int


class UpdateCounts(Record):
    """The number of updates planned, made and kept."""

    planned: int
    made: int
    kept: int


class ValidationRecord(Record):
    """Validation measures before and after training."""

    before: dict[str, float | None] | None = None
    after: dict[str, float | None] | None = None


class TrainingFile(Record):
    """The format of `training.json`."""

    request: TrainingRequest
    base: BaseModelRecord
    data: TrainingData
    control: dict[str, Any] | None = None
    held_out: HeldOut
    trained_on: dict[str, Any] | None = None
    examples: ExampleCounts
    updates: UpdateCounts | None = None
    validation: ValidationRecord
    curve: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])


def read_training(adapter: Path) -> dict[str, Any]:
    """Return the document of an adapter's `training.json`; InputDataError if it is absent or invalid."""
    return read_document(adapter / TRAINING, TrainingFile, "Restore the file from a copy, or train again in another folder.")


def training_record(
    dataset: Dataset,
    data: TuningData,
    request: Mapping[str, Any],
    identity: Mapping[str, Any],
    how: Mapping[str, Any],
    trainer: AnswerTrainer,
    planned: int,
    curve: pl.DataFrame,
) -> dict[str, Any]:
    """Return the document of `training.json`.

    Args:
        dataset: the data set. data: its examples. request: arguments of the call, which identify the adapter.
        identity: identity of the base model. how: layout of batches, processes, seconds.
        trainer: the trainer, after training. planned: planned updates. curve: frame of CURVE.
    """
    state = trainer.state
    kept = (state.best_global_step if trainer.args.load_best_model_at_end else None) or state.global_step
    weights = trainer.step.group_weights
    return {
        "format": FORMAT,
        "request": dict(request),
        "base": {"word": request["model"], **identity},
        "data": {"survey": dataset.meta.get("survey"), "place": dataset.meta.get("place"), "fingerprint": dataset.fingerprint},
        "trained_on": data.source,
        "control": None if data.control is None else dict(data.control),
        "held_out": dict(data.held_out),
        "examples": {"train": len(data.train), "validation": len(data.validation)},
        "updates": {"planned": planned, "made": state.global_step, "kept": kept},
        "validation": {"before": _measured(curve, 0), "after": _measured(curve, kept)},
        "groups": None if weights is None else dict(zip(data.groups, weights, strict=True)),
        "how": dict(how),
        "versions": {library: _version(library) for library in LIBRARIES},
        "curve": curve.to_dicts(),
    }


def _measured(curve: pl.DataFrame, step: int) -> dict[str, Any] | None:
    """Return the validation measures after some updates; None if there was no evaluation."""
    rows = curve.filter((pl.col("part") == "validation") & (pl.col("step") == step)).drop("part", "learning_rate", "grad_norm")
    return next(rows.iter_rows(named=True), None)


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
