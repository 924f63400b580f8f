"""Which files of a model's folder are read: weights in safetensors format, and no Python code.

A pickle (`pytorch_model.bin`, `*.pt`) can run code when it is read, and a folder may name Python files of its own
(`auto_map`). Neither is ever needed for a model of a kind that transformers knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.files import read_json

_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_CONVERT = (
    "Such a file can run code when it is read, so only safetensors are. Where you trust the file, convert it once with transformers or "
    "peft: load it there and save it with save_pretrained(FOLDER), which writes safetensors."
)
# transformers' words for a model, tokenizer or configuration that only the folder's own Python files define.
_OWN_CODE = "contains custom code which must be executed"
_OWN_CODE_ELSEWHERE = "references custom code contained in"


def check_weights(folder: Path) -> None:
    """Check that a model's folder has its weights in safetensors format, in the folder itself.

    Raises:
        InputDataError: the weights are pickles, or a file of the folder names others.
    """
    named = _named_in(folder / "config.json", "transformers_weights")
    if (folder / _INDEX).is_file() and not (folder / "model.safetensors").is_file():
        shards = _named_in(folder / _INDEX, "weight_map")
        if not shards:
            raise InputDataError(f"{folder / _INDEX}: it names no weights; save the model again.")
        named += shards
    for file, name in named:
        if Path(name).name != name or not name.endswith((".safetensors", ".safetensors.index.json")):
            raise InputDataError(f"{file}: it names the weights {name!r}; expected a safetensors file in the same folder. {_CONVERT}")
    if not any(folder.glob("*.safetensors")):
        refuse_pickles(folder, _PICKLES)


def refuse_pickles(folder: Path, patterns: Iterable[str] = _PICKLES) -> None:
    """Raise InputDataError if a folder without safetensors has weights in a pickle; the message names the file."""
    found = next((file for pattern in patterns for file in sorted(folder.glob(pattern))), None)
    if found is not None:
        raise InputDataError(f"{found}: the weights are a pickle. {_CONVERT}")


def explained(error: BaseException) -> str | None:
    """Return what an error of loading means if the files need code or pickles, which are not run; None for other errors."""
    text = str(error)
    if _OWN_CODE in text or _OWN_CODE_ELSEWHERE in text:
        return (
            "it needs Python code of its own (`auto_map` in its JSON files), which valuestrata does not run. Use a model of a kind that "
            "the installed transformers knows, or serve this one yourself and ask it as vllm-server/MODEL or openai-compatible/MODEL"
        )
    if isinstance(error, PickleRefusedError) or "pytorch_model.bin" in text or "use_safetensors=True" in text:
        return f"its weights are not in safetensors format. {_CONVERT}".removesuffix(".")
    return None


class PickleRefusedError(RuntimeError):
    """Something tried to read a pickle."""


def _named_in(file: Path, key: str) -> list[tuple[Path, str]]:
    """Return the names under a key of a JSON file, each with the file; values that are not names are written as JSON."""
    document: Any = read_json(file) if file.is_file() else None
    value = document.get(key) if isinstance(document, dict) else None
    values: list[Any] = [] if value is None else list(value.values()) if isinstance(value, dict) else [value]
    return [(file, name) for name in dict.fromkeys(one if isinstance(one, str) else json.dumps(one) for one in values)]
