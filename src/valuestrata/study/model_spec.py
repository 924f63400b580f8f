"""What the word for a model says of it before anything is loaded: who pays for it, and which files of this machine it is made of."""

from __future__ import annotations

from pathlib import Path

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.controls.spec import parse_control
from valuestrata.respondents.local.adapter import read_adapter
from valuestrata.respondents.local.load import Spec, check_gguf, embedded_file, parse_spec

# What of a folder decides what a model answers: the same files as in a run's identity.
_OF_A_MODEL = {".safetensors", ".bin", ".json", ".jinja", ".model"}
_OF_AN_ADAPTER = "adapter_"


def is_fitted(word: str) -> bool:
    """Whether the word is a baseline's."""
    return word.startswith("baseline:")


def is_hosted(word: str) -> bool:
    """Whether the word is a hosted model's, or that of a control around one: who answers is called, and may be paid."""
    return not is_fitted(word) and _spec(word) is None


def files_of(word: str) -> list[Path]:
    """Return the files of this machine that a model is made of, as far as they are there; none of a model on the hub."""
    spec = _spec(word)
    if spec is None:
        return []
    found: list[Path] = []
    if spec.kind == "embedded":
        try:
            found.append(embedded_file())
        except MissingExtraError:
            return []  # said when the model is to be loaded, which it need not be where it was asked before
    elif (place := Path(spec.place).expanduser()).is_dir():
        found += [file for file in place.iterdir() if file.suffix in _OF_A_MODEL]
    elif spec.kind == "gguf":
        found.append(place)
    if spec.adapter is not None and spec.adapter.is_dir():
        found += [file for file in spec.adapter.iterdir() if file.name.startswith(_OF_AN_ADAPTER)]
    return sorted(file for file in found if file.is_file())


def check_files(word: str) -> None:
    """Refuse a model of this machine whose files are not there, without loading it.

    Raises:
        InputDataError: a GGUF file or an adapter that is absent or none.
        MissingExtraError: the package of the embedded model is not installed.
    """
    spec = _spec(word)
    if spec is None:
        return
    if spec.kind == "embedded":
        embedded_file()
    elif spec.kind == "gguf":
        check_gguf(Path(spec.place).expanduser())
    if spec.adapter is not None:
        read_adapter(spec.adapter)


def _spec(word: str) -> Spec | None:
    """Return a model of this machine taken apart, the one inside a control; None for baselines and hosted models."""
    model = parse_control(word).model if word.startswith("control:") else word
    kind = model.partition(":")[0]
    if kind == "vllm":
        from valuestrata.respondents.vllm.engine import parse_vllm_spec

        return parse_vllm_spec(model)
    return parse_spec(model) if kind in ("hf", "gguf") or model.partition("+")[0] == "embedded" else None
