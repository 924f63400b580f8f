"""What is logged about a training: its recipe, its loss by update, and validation before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valuestrata.files import canonical_hash
from valuestrata.frames import csv_text
from valuestrata.reports.export.tracking.tracked_run import KEY, TrackedRun, known_texts
from valuestrata.respondents.model_paths import without_folders
from valuestrata.tuning.tune import TuneResult

# Columns of the curve that do not name a value.
_PLACE = ("step", "part")


def tracked_training(result: TuneResult) -> TrackedRun:
    """Return what is logged about a training: `steps` has `train/loss`, `validation/loss` and the other columns of the curve."""
    request = result.document["request"]
    name = result.adapter.resolve().name
    params = known_texts(
        {
            "kind": "training",
            "model": without_folders(request["model"]),
            "control": request["control"],
            "split": request["split"],
            "fold": request["fold"],
            "dataset": request["dataset"],
            **_flat("recipe", request["recipe"]),
        }
    )
    steps: dict[int, dict[str, float]] = {}
    for row in result.curve.iter_rows(named=True):
        values = {f"{row['part']}/{key}": float(value) for key, value in row.items() if key not in _PLACE and value is not None}
        steps.setdefault(row["step"], {}).update(values)
    key = canonical_hash({"name": name, **params})
    return TrackedRun(
        name=name,
        key=key,
        params=params,
        metrics={**_measures("before", result.before), **_measures("after", result.after)},
        tags={KEY: key, "valuestrata.run": name, "valuestrata.dataset": request["dataset"]},
        files={"loss.csv": csv_text(result.curve)},
        steps=steps,
    )


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Return nested settings as `recipe.lora.r`; a template's file without its folders."""
    if isinstance(value, Mapping):
        return {key: one for part, inner in value.items() for key, one in _flat(f"{name}.{part}", inner).items()}
    return {name: without_folders(value) if name == "recipe.template" else value}


def _measures(when: str, measured: Mapping[str, float | None] | None) -> dict[str, float]:
    return {f"{when}/{name}": value for name, value in (measured or {}).items() if name not in ("step", "epoch") and value is not None}
