"""The document `training.json` of an adapter: request, data, versions, and validation before and after."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.tuning.data.examples import TuningData

if TYPE_CHECKING:
    from valuestrata.tuning.train.trainer import AnswerTrainer

FORMAT = "valuestrata-adapter-1"
LIBRARIES = ("valuestrata", "torch", "transformers", "accelerate", "peft", "trl", "datasets")


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
