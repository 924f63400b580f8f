"""The only module that uses version-dependent names of transformers: caches, attention functions, private settings.

A new release may rename them. Importing this module checks that they exist, and a missing one is reported with the installed
and the tested versions. It imports torch and transformers, so import it where it is used and not at the top of a module.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import version
from typing import Any

import torch
import transformers
from transformers import cache_utils
from transformers.utils import chat_template_utils, logging

from valuestrata.errors import RunFailedError
from valuestrata.respondents.local.loading.limited_templates import LimitedEnvironment
from valuestrata.respondents.local.loading.safe_files import PickleRefusedError

TESTED_VERSIONS = ("5.24.0",)

# Columns by which a cache of rows grows when it is full; growing by one would copy everything for every token.
_GROWTH = 64


def check_transformers() -> None:
    """Check that transformers has the names used here.

    Raises:
        RunFailedError: a name is missing; the message gives the installed and the tested versions.
    """
    _require(transformers, "AttentionInterface", "DynamicCache", "PreTrainedConfig")
    _require(transformers.AttentionInterface(), "register")
    _require(transformers.PreTrainedConfig, "_attn_implementation", "get_text_config")
    _require(transformers.DynamicCache(), "layers")
    _require(cache_utils, "Cache", "DynamicLayer")
    layer: Any = cache_utils.DynamicLayer()
    _require(layer, "lazy_initialization", "update", "is_initialized", "keys", "values", "get_seq_length", "get_mask_sizes")
    _require(chat_template_utils, "_compile_jinja_template", "_cached_compile_jinja_template")
    _require(logging, "get_verbosity", "set_verbosity", "is_progress_bar_enabled", "disable_progress_bar", "enable_progress_bar")


def _require(owner: Any, *names: str) -> None:
    for name in names:
        if not hasattr(owner, name):
            kind = getattr(owner, "__name__", type(owner).__name__)
            raise RunFailedError(
                f"Local models need {kind}.{name}, which transformers {version('transformers')} does not have. Install a tested "
                f"version: pip install transformers=={TESTED_VERSIONS[-1]} (tested: {', '.join(TESTED_VERSIONS)})."
            )


check_transformers()


# --- attention --------------------------------------------------------------------------------------------------------


def attention_name(config: Any) -> str | None:
    """Return the name of a model's attention function (`sdpa`, `eager`)."""
    return config.get_text_config()._attn_implementation


@contextlib.contextmanager
def custom_attention(config: Any, name: str, function: Callable[..., Any]) -> Generator[None]:
    """Let a model use another attention function within a context."""
    transformers.AttentionInterface.register(name, function)
    text: Any = config.get_text_config()
    before = text._attn_implementation
    text._attn_implementation = name
    try:
        yield
    finally:
        text._attn_implementation = before


def attention_window(config: Any) -> int | None:
    """Return the smallest attention window of a model's layers in tokens, or None if all layers attend to everything."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None) or getattr(text, "attention_chunk_size", None)
    if not window or getattr(text, "use_sliding_window", True) is False:
        return None
    if kinds is not None and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return None
    return int(window)


# --- caches of keys and values ----------------------------------------------------------------------------------------


def cache_argument(model: Any) -> str:
    """Return the name of the forward pass's cache argument: `cache`, before transformers 5.24 `past_key_values`."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def new_cache() -> Any:
    """Return an empty cache that keeps all keys.

    It is made without the model's config: layers with a sliding window would drop keys by their position in the row, which
    is not their position in the tree.
    """
    return transformers.DynamicCache()


def keep_positions(cache: Any, positions: Sequence[int]) -> None:
    """Reduce a cache to the keys at some positions."""
    for layer in cache.layers:
        index = torch.as_tensor(positions, dtype=torch.long, device=layer.keys.device)
        layer.keys = layer.keys.index_select(-2, index)
        layer.values = layer.values.index_select(-2, index)


def cache_bytes(cache: Any) -> int:
    """Return the size of a cache in bytes."""
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def take_rows(cache: Any, index: Any) -> Any:
    """Return a cache of rows; row b holds positions `index[b]` of a cache of one row, which is emptied."""
    layers: list[Any] = []
    for layer in cache.layers:
        layers.append(_RowsLayer(*(states[0][:, index].transpose(0, 1) for states in (layer.keys, layer.values))))
        layer.keys = layer.values = None
    return cache_utils.Cache(layers=layers)


def select_rows(cache: Any, rows: Any) -> None:
    """Reduce a cache of `take_rows` to some rows."""
    for layer in cache.layers:
        layer.select(rows)


class _RowsLayer(cache_utils.DynamicLayer):
    """Keys and values at the front of larger tensors, which are filled as tokens are added."""

    def __init__(self, *states: Any) -> None:
        super().__init__()
        self.lazy_initialization(*states)
        used = states[0].shape[-2]
        self._buffers = [_widened(state, used + _GROWTH) for state in states]
        self._show(used)

    def update(self, key_states: Any, value_states: Any, *_args: Any, **_settings: Any) -> tuple[Any, Any]:
        used = self._used
        end = used + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._buffers = [_widened(buffer[:, :, :used], end + _GROWTH) for buffer in self._buffers]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, used:end] = states
        self._show(end)
        return self.keys, self.values

    def select(self, rows: Any) -> None:
        self._buffers = [buffer[rows] for buffer in self._buffers]
        self._show(self._used)

    def _show(self, used: int) -> None:
        self._used = used
        self.keys, self.values = (buffer[:, :, :used] for buffer in self._buffers)


def _widened(states: Any, columns: int) -> Any:
    """Return rows x heads x positions x size copied to the front of a tensor with more positions."""
    rows, heads, used, size = states.shape
    buffer = states.new_empty((rows, heads, columns, size))
    buffer[:, :, :used] = states
    return buffer


# --- chat templates ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited_templates() -> Generator[None]:
    """Let transformers render chat templates within limits (`TemplateLimitError`) in a context."""
    module: Any = chat_template_utils
    compiled = module._compile_jinja_template
    module._compile_jinja_template = _compile_limited
    try:
        yield
    finally:
        module._compile_jinja_template = compiled


def _compile_limited(source: str) -> Any:
    template = _limited_template(source)
    template.environment.restart()
    return template


@functools.lru_cache(maxsize=16)
def _limited_template(source: str) -> Any:
    module: Any = chat_template_utils
    return LimitedEnvironment.like(module._cached_compile_jinja_template("").environment).from_string(source)


# --- loading ----------------------------------------------------------------------------------------------------------


def commit_hash(config: Any) -> str | None:
    """Return the commit of the model on the hub, None for a local folder."""
    return getattr(config, "_commit_hash", None)


@contextlib.contextmanager
def quiet_loading() -> Generator[None]:
    """Within a context, suppress progress bars and log messages of transformers, and refuse to read pickles."""
    from transformers import modeling_gguf_pytorch_utils

    gguf: Any = modeling_gguf_pytorch_utils
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # The reader of GGUF files draws a bar of its own, which the switch above does not affect.
    bar: Any = getattr(gguf, "tqdm", None)
    if bar is not None:
        gguf.tqdm = _no_bar
    # Otherwise transformers asks a server of the hub to convert a model that has only pickles.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    load = torch.load
    torch.load = _refuse_pickle
    try:
        yield
    finally:
        torch.load = load
        if bar is not None:
            gguf.tqdm = bar
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _refuse_pickle(file: Any, *_args: Any, **_settings: Any) -> Any:
    raise PickleRefusedError(f"{file}: a pickle")


def _no_bar(steps: Any, **_settings: Any) -> Any:
    return steps
