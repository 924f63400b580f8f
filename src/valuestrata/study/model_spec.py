"""What a model specification says before the model is loaded: whether it is hosted, and which local files it has."""

from __future__ import annotations

from pathlib import Path

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.controls.spec import parse_control
from valuestrata.respondents.local.adapter import read_adapter
from valuestrata.respondents.local.load import Spec, check_gguf, embedded_file, parse_spec

# Files that determine a model's answers, as in the identity of a run.
_MODEL_FILES = {".safetensors", ".bin", ".json", ".jinja", ".model"}
_ADAPTER_FILES = "adapter_"


def is_baseline(spec: str) -> bool:
    """Whether the specification is that of a baseline."""
    return spec.startswith("baseline:")


def is_hosted(spec: str) -> bool:
    """Whether the model, or the model inside a control, is hosted."""
    return not is_baseline(spec) and _local_spec(spec) is None


def local_files(spec: str) -> list[Path]:
    """Return the existing local files of a model; empty for hosted models, baselines and models on the hub."""
    local = _local_spec(spec)
    if local is None:
        return []
    found: list[Path] = []
    if local.kind == "embedded":
        try:
            found.append(embedded_file())
        except MissingExtraError:
            return []  # raised when the model is loaded, which a complete run does not need
    elif (place := Path(local.place).expanduser()).is_dir():
        found += [file for file in place.iterdir() if file.suffix in _MODEL_FILES]
    elif local.kind == "gguf":
        found.append(place)
    if local.adapter is not None and local.adapter.is_dir():
        found += [file for file in local.adapter.iterdir() if file.name.startswith(_ADAPTER_FILES)]
    return sorted(file for file in found if file.is_file())


def check_local_files(spec: str) -> None:
    """Check that the files of a local model exist, without loading it.

    Raises:
        InputDataError: a GGUF file or an adapter is missing or invalid.
        MissingExtraError: the package of the embedded model is not installed.
    """
    local = _local_spec(spec)
    if local is None:
        return
    if local.kind == "embedded":
        embedded_file()
    elif local.kind == "gguf":
        check_gguf(Path(local.place).expanduser())
    if local.adapter is not None:
        read_adapter(local.adapter)


def _local_spec(spec: str) -> Spec | None:
    """Parse the specification of a local model, or of the one inside a control; None for baselines and hosted models."""
    model = parse_control(spec).model if spec.startswith("control:") else spec
    kind = model.partition(":")[0]
    if kind == "vllm":
        from valuestrata.respondents.vllm.engine import parse_vllm_spec

        return parse_vllm_spec(model)
    return parse_spec(model) if kind in ("hf", "gguf") or model.partition("+")[0] == "embedded" else None
