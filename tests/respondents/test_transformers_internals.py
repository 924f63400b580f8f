"""What is used of transformers' internals: checked with a clear message, and restored afterwards."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import pytest

from valuestrata.errors import RunFailedError

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

import transformers  # noqa: E402
from transformers.utils import logging  # noqa: E402

from valuestrata.respondents.local import transformers_internals as internals  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers")


def test_the_installed_version_is_tested():
    internals.check_transformers()
    assert version("transformers") in internals.TESTED_VERSIONS


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (transformers.AttentionInterface, "register"),
        (transformers.PreTrainedConfig, "get_text_config"),
        (transformers.cache_utils.DynamicLayer, "lazy_initialization"),
        (logging, "set_verbosity"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_name_is_reported_with_versions(monkeypatch, owner, name):
    for kind in getattr(owner, "__mro__", [owner]):
        if name in vars(kind):
            monkeypatch.delattr(kind, name)
    with pytest.raises(RunFailedError) as caught:
        internals.check_transformers()
    message = str(caught.value)
    assert f".{name}, which transformers {version('transformers')} does not have" in message
    assert f"pip install transformers=={internals.TESTED_VERSIONS[-1]}" in message


def test_a_missing_name_is_reported_on_first_use(monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(logging, "set_verbosity")
        with pytest.raises(RunFailedError, match="Local models need"):
            importlib.reload(internals)
    importlib.reload(internals)


def test_loading_quietly_restores_the_users_settings():
    from transformers import modeling_gguf_pytorch_utils as gguf

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled(), gguf.tqdm)
    with internals.quiet_loading():
        assert not logging.is_progress_bar_enabled()
        assert list(gguf.tqdm([1, 2], desc="x")) == [1, 2]
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), gguf.tqdm) == before


def test_the_attention_window_is_that_of_layers_that_have_one():
    tokenizer = tiny.tiny_tokenizer()
    assert internals.attention_window(tiny.tiny_model(tokenizer, "mistral", sliding_window=24).config) == 24
    assert internals.attention_window(tiny.tiny_model(tokenizer).config) is None
    config = transformers.Qwen2Config(sliding_window=24, use_sliding_window=True, layer_types=["full_attention"] * 2, num_hidden_layers=2)
    assert internals.attention_window(config) is None
