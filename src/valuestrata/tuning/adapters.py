"""Adapter folders: check, write and merge.

adapter_config.json, adapter_model.safetensors   the adapter, for PEFT, transformers and vLLM
recipe.resolved.yaml                             the recipe with every field
training.json                                    base model, data, split, held-out pairs, seeds, versions, validation, curve
loss.csv, loss.svg, loss.png                     the loss curve
merged/                                          base and adapter as one model, with training.json, on request
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.files import folder_written_beside, read_json, write_json, write_text
from valuestrata.respondents.local.load import load_model
from valuestrata.respondents.local.loading.dequantize import plain_model
from valuestrata.respondents.model_paths import same_but_for_folders
from valuestrata.tuning.loss_curve import draw_curve, write_curve
from valuestrata.tuning.record import TRAINING, read_training
from valuestrata.yaml_files import Record, read_document

if TYPE_CHECKING:
    from valuestrata.tuning.train.trainer import AnswerTrainer

RECIPE = "recipe.resolved.yaml"
PLAN = "plan.json"
CURVE_FILE = "loss.csv"
MERGED = "merged"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


class TrainingPlan(Record):
    """The format of `plan.json` in the folder of a training in progress."""

    request: dict[str, Any]
    base: dict[str, str | None]


def unfinished(out: Path) -> Path:
    """Return the folder of a training in progress, next to the adapter's: plan, checkpoints and the curve so far."""
    return out.with_name(f"{out.name}.unfinished")


def finished(out: Path, request: Mapping[str, Any]) -> bool:
    """Whether the adapter of a request exists; if not, check that its folders are free or belong to the same request.

    Raises:
        UsageError: the folders hold something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / TRAINING).is_file():
            raise UsageError(f"{out} exists and is not an adapter made by `tune`; choose another output folder.")
        _check_same(out, read_training(out)["request"], request)
        return True
    folder = unfinished(out)
    if (folder / PLAN).is_file():
        _check_same(folder, _read_plan(folder)["request"], request)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not a training started by `tune`, but its name is needed; choose another output folder.")
    return False


def claim(out: Path, request: Mapping[str, Any], base: Mapping[str, Any]) -> Path:
    """Return the folder to train in; create it with the request and the base model if it does not exist.

    Raises:
        UsageError: the training there uses another base model of the same name.
    """
    folder = unfinished(out)
    plan = {"request": dict(request), "base": {key: base.get(key) for key in ("model", "revision")}}
    if (folder / PLAN).is_file():
        _check_same(folder, _read_plan(folder), plan)
    else:
        write_json(folder / PLAN, plan)
    return folder


def _read_plan(folder: Path) -> dict[str, Any]:
    return read_document(folder / PLAN, TrainingPlan, f"Delete {folder} and train again, or restore the file from a copy.")


def _check_same(folder: Path, found: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    for key, before, now in _differences(found, request, ""):
        raise UsageError(
            f"{folder} was made with {key} {before!r}, but this call has {now!r}. Choose another output folder, or remove this one."
        )


def _differences(one: Any, other: Any, place: str) -> Generator[tuple[str, Any, Any]]:
    """Yield the keys, dotted, whose values differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys: list[Any] = list(dict.fromkeys([*one, *other]))
        for key in keys:
            yield from _differences(one.get(key), other.get(key), f"{place}.{key}" if place else str(key))
    elif one != other and not _in_another_folder(place, one, other):
        yield place, one, other


def _in_another_folder(place: str, one: Any, other: Any) -> bool:
    """Whether two values are paths of the same model or template, seen from different folders."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    if place.endswith("template"):
        return Path(one).name == Path(other).name
    return place.endswith("model") and same_but_for_folders(one, other)


def save_weights(trainer: AnswerTrainer, folder: Path) -> Path:
    """Save the adapter's weights, a call that every process makes; return the folder that holds them."""
    place = folder / "adapter"
    trainer.check_weights()
    with _full_disk_reported(folder):
        trainer.save_model(str(place))
    if trainer.args.should_save and not (place / _WEIGHTS).is_file():
        raise RunFailedError(
            f"{place}: no {_WEIGHTS} was written. Under FSDP set fsdp_state_dict_type to FULL_STATE_DICT and run the same call again; "
            "training continues from its last checkpoint."
        )
    return place


@contextlib.contextmanager
def _full_disk_reported(kept: Path) -> Generator[None]:
    """Turn an error of writing weights into one that says what is kept."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors raises its own error if the disk is full.
        raise RunFailedError(
            f"{kept}: the weights could not be written ({error}). Its files are unchanged. Free some disk space and run the same call "
            "again to continue from them."
        ) from error


def write_adapter(
    out: Path, weights: Path, base: tuple[str, str | None], recipe: str, record: Mapping[str, Any], curve: pl.DataFrame
) -> None:
    """Write an adapter folder, complete or not at all.

    Args:
        out: the folder. weights: folder with the files that PEFT saved. base: name and revision of the base model.
        recipe: the resolved recipe. record: document of training.json. curve: frame of CURVE.
    """
    settings = read_json(weights / _CONFIG) | {"base_model_name_or_path": base[0], "revision": base[1]}
    with _full_disk_reported(unfinished(out)), folder_written_beside(out) as folder:
        shutil.copyfile(weights / _WEIGHTS, folder / _WEIGHTS)
        write_json(folder / _CONFIG, settings)
        write_text(folder / RECIPE, recipe)
        write_json(folder / TRAINING, dict(record))
        write_curve(folder / CURVE_FILE, curve)
        draw_curve(folder, curve, f"{record['request']['recipe']['name']} on {record['request']['model']}")


def write_merged(model: str, adapter: Path) -> Path:
    """Write base and adapter as one model into the adapter's folder `merged` and return it.

    Raises:
        InputDataError: the adapter does not fit the model.
    """
    loaded = load_model(f"{model}+{adapter}", device="cpu", dtype=None)
    merged = plain_model(loaded.model, str(adapter))
    place = adapter / MERGED
    with _full_disk_reported(adapter), folder_written_beside(place) as folder:
        merged.save_pretrained(str(folder))
        loaded.tokenizer.save_pretrained(str(folder))
        # The merged model must not lose the record of what it was trained on.
        shutil.copyfile(adapter / TRAINING, folder / TRAINING)
    return place
