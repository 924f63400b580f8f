"""LoRA adapters: checking that one fits a model, and merging it into the weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from valuestrata.dataset.tables import survey_and_place
from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash, sha256_of
from valuestrata.respondents.local.loading.safe_files import refuse_pickles
from valuestrata.respondents.local.memory import describe_error
from valuestrata.yaml_files import Record, read_document

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TRAINING = "training.json"

# Prefix of module names in an adapter's file, and infixes where a whole layer is saved.
_PREFIX = "base_model.model."
_INFIXES = (".base_layer", ".modules_to_save")


class AdapterConfig(Record):
    """The keys of `adapter_config.json` that are used here; peft reads the others."""

    peft_type: str | None = None
    base_model_name_or_path: str | None = None
    r: int = Field(default=8, ge=1)
    rank_pattern: dict[str, int] | None = None


class TaughtOn(Record):
    """The training pairs of an adapter."""

    dataset: str | None = None
    split: str | None = None
    fold: int | None = None
    control: str | None = None


class TaughtData(Record):
    """The data set of an adapter's training pairs."""

    fingerprint: str | None = None
    survey: dict[str, Any] | str | None = None
    place: str | None = None


class AdapterTraining(Record):
    """The keys of `training.json` that say what an adapter was trained on."""

    request: TaughtOn | None = None
    data: TaughtData | None = None
    trained_on: dict[str, Any] | None = None


def adapter_config(adapter: Path) -> Mapping[str, Any]:
    """Return the settings in an adapter's folder; InputDataError if it has none."""
    if not (adapter / CONFIG).is_file():
        raise InputDataError(f"{adapter}: not an adapter (a folder with {CONFIG}).")
    return read_document(adapter / CONFIG, AdapterConfig, "Copy the adapter again, or save it again with peft.")


def read_adapter(adapter: Path) -> Mapping[str, Any]:
    """Return the settings of an adapter that transformers can load.

    Raises:
        InputDataError: the folder is not a LoRA adapter, or has no weights in safetensors format.
    """
    config = adapter_config(adapter)
    if config.get("peft_type") not in (None, "LORA"):
        raise InputDataError(f"{adapter}: the adapter is of type {config['peft_type']!r}; only LoRA adapters are supported.")
    if config.get("megatron_config") is not None:
        raise InputDataError(f"{adapter / CONFIG}: `megatron_config` makes peft import the module it names; remove that key.")
    if not (adapter / WEIGHTS).is_file():
        refuse_pickles(adapter)
        raise InputDataError(f"{adapter}: the adapter has no {WEIGHTS}; save it again with peft, which writes that file by default.")
    return config


def adapter_identity(adapter: Path | None, model: Path | None = None) -> dict[str, Any]:
    """Return what identifies an adapter: `adapter_hash` (None without one) and, if it says so, what it was `taught_on`.

    Args:
        adapter: its folder. model: folder of the model; that of a merged model has the training record of its adapter.
    """
    identity: dict[str, Any] = {"adapter_hash": None}
    if adapter is not None:
        files = sorted(file for file in adapter.iterdir() if file.name.startswith("adapter_"))
        identity = {"adapter_hash": canonical_hash({file.name: sha256_of(file) for file in files})}
    trained = [found for folder in (model, adapter) if folder is not None and (found := _taught_on(folder)) is not None]
    # An adapter on a merged model: what the later training used.
    return identity | ({"taught_on": trained[-1]} if trained else {})


def _taught_on(folder: Path) -> dict[str, Any] | None:
    """Return the training data of an adapter's or merged model's folder; adapters of earlier versions record less."""
    training = _training(folder)
    request = training.get("request")
    if request is None:
        return None
    return (training.get("trained_on") or {}) | {key: request.get(key) for key in ("dataset", "split", "fold", "control")}


def adapter_training(adapter: Path | None, model: Path | None = None) -> dict[str, str] | None:
    """Return `fingerprint` and `survey` (title and place) of the data set that an adapter was trained on; None if it does not say.

    Args:
        adapter, model: as for `adapter_identity`.
    """
    found = [data for folder in (adapter, model) if folder is not None and (data := _training(folder).get("data")) is not None]
    data = found[0] if found else None
    if data is None or not data.get("fingerprint"):
        return None
    return {"fingerprint": str(data["fingerprint"]), "survey": survey_and_place(data.get("survey"), data.get("place"))}


def _training(adapter: Path) -> dict[str, Any]:
    file = adapter / TRAINING
    return read_document(file, AdapterTraining, "Copy the adapter again.") if file.is_file() else {}


def check_base(adapter: Path, config: Mapping[str, Any], hub_name: str | None, names: Iterable[str]) -> None:
    """Check that an adapter was made for a model; warn if only a path or file name differs.

    Args:
        adapter: its folder. config: its settings.
        hub_name: ORG/NAME of the model on the hub; None for a folder or file, whose names prove nothing.
        names: other names of the model: its folder, its file.

    Raises:
        InputDataError: both are on the hub and differ.
    """
    base = str(config.get("base_model_name_or_path") or "")
    if not base or base == hub_name:
        return
    wanted, known = _last(base), {_last(name) for name in names}
    # The name of a GGUF file is that of its model, followed by its number type.
    if any(name == wanted or name.startswith(f"{wanted}.") for name in known):
        return
    if hub_name is not None and not Path(base).expanduser().is_dir() and not base.startswith((".", "/", "~")):
        raise InputDataError(f"{adapter}: the adapter was made for {base}, not for {hub_name}; name that model before the +.")
    warnings.warn(
        f"{adapter}: the adapter was made for {base}, not for {' or '.join(sorted(known))}; it is used if its weights fit.", stacklevel=2
    )


def merged(model: Any, adapter: Path, config: Mapping[str, Any]) -> Any:
    """Return a model with an adapter merged into its weights; for LoRA this is exact and costs no speed.

    Raises:
        InputDataError: the adapter's weights do not fit the model's modules and shapes.
    """
    from peft import PeftModel, get_peft_model_state_dict  # pyright: ignore[reportMissingImports]

    base = config.get("base_model_name_or_path")
    shapes = _shapes(adapter)
    for key, shape in shapes.items():
        if problem := _mismatch(model, key, shape):
            raise _unfit(adapter, base, problem)
    try:
        with warnings.catch_warnings():
            # It warns of missing weights, which are reported below.
            warnings.simplefilter("ignore")
            tuned: Any = PeftModel.from_pretrained(model, str(adapter), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _unfit(adapter, base, describe_error(error)) from error
    # Without embeddings, because peft would look for the base model on the hub to decide whether to include them.
    expected = {key for key in get_peft_model_state_dict(tuned, save_embedding_layers=False) if "lora_" in key}
    if missing := sorted(expected - shapes.keys()):
        raise _unfit(adapter, base, f"it has no weights for {_module(missing[0])} and {len(missing) - 1} more layers")
    return tuned.merge_and_unload()


def _unfit(adapter: Path, base: Any, why: str) -> InputDataError:
    made = f" (made for {base})" if base else ""
    return InputDataError(f"{adapter}: the adapter{made} does not fit this model: {why}. Name the model it was made for before the +.")


def _shapes(adapter: Path) -> dict[str, Sequence[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, "pt") as file:
            opened: Any = file
            return {str(key): opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputDataError(f"{adapter / WEIGHTS}: cannot be read ({error}); save the adapter again.") from error


def _mismatch(model: Any, key: str, shape: Sequence[int]) -> str | None:
    """Return why a tensor of an adapter does not fit a model, or None."""
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
    # Which dimension a factor shares with the weight it is added to, by PEFT's names of the factors.
    at, size = {".lora_A": (1, columns), ".lora_B": (0, rows), ".lora_embedding_A": (1, rows), ".lora_embedding_B": (0, columns)}.get(
        part.removesuffix(".weight"), (0, rows)
    )
    return None if shape[at] == size else f"its {name} has size {shape[at]} where the model's has {size}"


def _module(key: str) -> str:
    """Return the module of the base model that a tensor of an adapter belongs to."""
    name = key.removeprefix(_PREFIX).partition(".lora_")[0]
    for infix in _INFIXES:
        name = name.replace(infix, "")
    return name.removesuffix(".weight").removesuffix(".bias")


def _last(name: str) -> str:
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].casefold()
