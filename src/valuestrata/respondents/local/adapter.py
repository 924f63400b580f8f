"""Adapters: whether one was made for the model at hand, and merging it into the weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.files import read_json

WEIGHTS = "adapter_model.safetensors"

# What stands before a module's name in an adapter's file, and inside it where a whole layer is kept.
_PREFIX = "base_model.model."
_INSIDE = (".base_layer", ".modules_to_save")


def read_adapter(adapter: Path) -> Mapping[str, Any]:
    """Return the settings of an adapter.

    Raises:
        InputDataError: the folder holds no adapter, or none whose weights are read here.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise InputDataError(f"{adapter}: not an adapter (a folder with adapter_config.json).")
    config: Mapping[str, Any] = read_json(adapter / "adapter_config.json")
    if config.get("peft_type") not in (None, "LORA"):
        raise InputDataError(f"{adapter}: an adapter of the kind {config['peft_type']!r}; LoRA adapters are taken.")
    if not (adapter / WEIGHTS).is_file():
        raise InputDataError(f"{adapter}: the adapter has no {WEIGHTS}; save it again from peft, which writes that file by default.")
    return config


def check_base(adapter: Path, config: Mapping[str, Any], hub_name: str | None, names: Iterable[str]) -> None:
    """Refuse an adapter made for another model on the hub; say it where only a path or a file name differs.

    Args:
        adapter: its folder. config: its settings.
        hub_name: ORG/NAME of the model at hand, None for a folder or file, whose names prove nothing.
        names: what the model at hand may be called: its folder, its file.

    Raises:
        InputDataError: both names are of the hub and differ.
    """
    base = str(config.get("base_model_name_or_path") or "")
    if not base or base == hub_name:
        return
    called, known = _last(base), {_last(name) for name in names}
    # A GGUF file is called as its model, with the kind of its numbers behind.
    if any(name == called or name.startswith(f"{called}.") for name in known):
        return
    if hub_name is not None and not Path(base).expanduser().is_dir() and not base.startswith((".", "/", "~")):
        raise InputDataError(f"{adapter}: the adapter was made for {base}, not for {hub_name}; name that model before the +.")
    warnings.warn(
        f"{adapter}: the adapter names {base} as its model, not {' or '.join(sorted(known))}; it is taken if its weights fit.",
        stacklevel=2,
    )


def merged(model: Any, adapter: Path, config: Mapping[str, Any]) -> Any:
    """Return a model with an adapter merged into its weights: exact for LoRA, and no slower to run than the model alone.

    Raises:
        InputDataError: the adapter's weights are not for a model of these modules and shapes.
    """
    from peft import PeftModel, get_peft_model_state_dict  # pyright: ignore[reportMissingImports]

    base = config.get("base_model_name_or_path")
    shapes = _shapes(adapter)
    for key, shape in shapes.items():
        if problem := _misfit(model, key, shape):
            raise _foreign(adapter, base, problem)
    try:
        with warnings.catch_warnings():
            # It warns of missing weights, which are refused below.
            warnings.simplefilter("ignore")
            tuned: Any = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _foreign(adapter, base, f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}") from error
    # Embeddings are left out, for to decide whether they belong to it, peft would look for the base model on the hub.
    there = {key for key in get_peft_model_state_dict(tuned, save_embedding_layers=False) if "lora_" in key}
    if missing := sorted(there - shapes.keys()):
        raise _foreign(adapter, base, f"it has nothing for {_module(missing[0])} and {len(missing) - 1} more of its layers")
    return tuned.merge_and_unload()


def _foreign(adapter: Path, base: Any, why: str) -> InputDataError:
    made = f" (made for {base})" if base else ""
    return InputDataError(f"{adapter}: the adapter{made} does not fit this model: {why}. Name the model that it was made for before the +.")


def _shapes(adapter: Path) -> dict[str, Sequence[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, "pt") as file:
            opened: Any = file
            return {str(key): opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputDataError(f"{adapter / WEIGHTS}: cannot be read ({error}); save the adapter again.") from error


def _misfit(model: Any, key: str, shape: Sequence[int]) -> str | None:
    """Say why a tensor of an adapter cannot belong to a model; None if it may."""
    name = _module(key)
    part = key.removeprefix(_PREFIX).removeprefix(name)
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return f"it changes {name}, which the model does not have"
    weight = getattr(module, "weight", None)
    if weight is None or len(weight.shape) != 2 or len(shape) != 2:
        return None
    rows, columns = weight.shape if type(module).__name__ != "Conv1D" else weight.shape[::-1]
    # What a factor must share with the weight that it is added to, by PEFT's names of the two factors.
    at, size = {".lora_A": (1, columns), ".lora_B": (0, rows), ".lora_embedding_A": (1, rows), ".lora_embedding_B": (0, columns)}.get(
        part.removesuffix(".weight"), (0, rows)
    )
    return None if shape[at] == size else f"its {name} is {shape[at]} wide where the model's is {size}"


def _module(key: str) -> str:
    """Return the module of the base model that a tensor of an adapter belongs to."""
    name = key.removeprefix(_PREFIX).partition(".lora_")[0]
    for inside in _INSIDE:
        name = name.replace(inside, "")
    return name.removesuffix(".weight").removesuffix(".bias")


def _last(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].casefold()
