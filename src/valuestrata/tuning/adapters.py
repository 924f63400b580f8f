"""Adapters on disk: in PEFT's layout, with the recipe and everything that made them; and merged into their base on request.

adapter_config.json, adapter_model.safetensors   what PEFT, transformers and vLLM load
recipe.resolved.yaml                             the recipe, every field written out
training.json                                    base, data, split, what was held out, seeds, versions, validation, curve
loss.csv, loss.svg, loss.png                     the curve
merged/                                          base and adapter as one model, on request
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.files import folder_written_beside, read_json, write_json, write_text
from valuestrata.respondents.local.load import load_model
from valuestrata.tuning.loss_curve import draw_curve, write_curve
from valuestrata.tuning.train.dequantize import plain_model

TRAINING = "training.json"
RECIPE = "recipe.resolved.yaml"
PLAN = "plan.json"
CURVE_FILE = "loss.csv"
MERGED = "merged"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def unfinished(out: Path) -> Path:
    """Return the folder beside an adapter's place in which it is trained: plan, checkpoints and the curve so far."""
    return out.with_name(f"{out.name}.unfinished")


def finished(out: Path, request: Mapping[str, Any]) -> bool:
    """Say whether the adapter of a request stands at its place already; if not, that nothing bars the way.

    Raises:
        UsageError: something else stands at its place, or where it would be trained.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / TRAINING).is_file():
            raise UsageError(f"{out}: exists and is no adapter made here; choose another place for it with -o.")
        _same_request(out, read_json(out / TRAINING)["request"], request)
        return True
    folder = unfinished(out)
    if (folder / PLAN).is_file():
        _same_request(folder, read_json(folder / PLAN)["request"], request)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is no training begun here, and its name is needed; choose another place with -o.")
    return False


def claim(out: Path, request: Mapping[str, Any], base: Mapping[str, Any]) -> Path:
    """Return the folder to train in, made and marked with the request and the base model if it is not there.

    Raises:
        UsageError: a training was begun there on another base model of the same name.
    """
    folder = unfinished(out)
    plan = {"request": dict(request), "base": {key: base.get(key) for key in ("model", "revision")}}
    if (folder / PLAN).is_file():
        _same_request(folder, read_json(folder / PLAN), plan)
    else:
        write_json(folder / PLAN, plan)
    return folder


def _same_request(folder: Path, found: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    for key, before, now in _differences(found, request, ""):
        raise UsageError(
            f"{folder}: was made with {key} {before!r}, and this call says {now!r}. Choose another place with -o, or remove the folder."
        )


def _differences(one: Any, other: Any, place: str) -> list[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys: list[Any] = list(dict.fromkeys([*one, *other]))
        return [found for key in keys for found in _differences(one.get(key), other.get(key), f"{place}.{key}" if place else str(key))]
    return [] if one == other else [(place, one, other)]


def save_weights(trainer: Any, folder: Path) -> Path:
    """Let every process take part in saving the adapter; return the folder that then holds it (on the main process)."""
    place = folder / "adapter"
    trainer.check_weights()
    with _told_if_full(folder):
        trainer.save_model(str(place))
    if trainer.args.should_save and not (place / _WEIGHTS).is_file():
        raise RunFailedError(
            f"{place}: no {_WEIGHTS} was written. Under FSDP the adapter is gathered only with fsdp_state_dict_type FULL_STATE_DICT; set "
            "it and call again: training goes on from its last checkpoint."
        )
    return place


@contextlib.contextmanager
def _told_if_full(kept: Path) -> Generator[None]:
    """Where weights cannot be written, say so, and what is kept all the same."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors has its own way to say that the disk is full.
        raise RunFailedError(
            f"{kept}: the weights could not be written ({error}). What lies there stays as it was; make room and call again to go on "
            "from it."
        ) from error


def write_adapter(
    out: Path, weights: Path, base: tuple[str, str | None], recipe: str, record: Mapping[str, Any], curve: pl.DataFrame
) -> None:
    """Write an adapter folder, whole or not at all.

    Args:
        out: its place. weights: folder with what PEFT saved. base: name and revision of the model it belongs to.
        recipe: the resolved recipe. record: document of training.json. curve: frame of CURVE.
    """
    settings = read_json(weights / _CONFIG) | {"base_model_name_or_path": base[0], "revision": base[1]}
    with _told_if_full(unfinished(out)), folder_written_beside(out) as folder:
        shutil.copyfile(weights / _WEIGHTS, folder / _WEIGHTS)
        write_json(folder / _CONFIG, settings)
        write_text(folder / RECIPE, recipe)
        write_json(folder / TRAINING, dict(record))
        write_curve(folder / CURVE_FILE, curve)
        draw_curve(folder, curve, f"{record['request']['recipe']['name']} on {record['request']['model']}")


def write_merged(model: str, adapter: Path) -> Path:
    """Write base and adapter as one model folder, `merged` inside the adapter's, and return it.

    Raises:
        InputDataError: the adapter does not fit the model.
    """
    loaded = load_model(f"{model}+{adapter}", device="cpu", dtype=None)
    whole = plain_model(loaded.model, str(adapter))
    place = adapter / MERGED
    with _told_if_full(adapter), folder_written_beside(place) as folder:
        whole.save_pretrained(str(folder))
        loaded.tokenizer.save_pretrained(str(folder))
    return place
