"""Conversion of a model read from a GGUF file."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from tests.respondents import tiny
from tests.tuning.planted import word_tokenizer
from valuestrata.errors import InputDataError

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.load import EMBEDDED_PACKAGE, load_model  # noqa: E402
from valuestrata.respondents.local.loading.dequantize import plain_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

IDS = torch.tensor([[1, 5, 9, 13, 17]])


def marked(**settings):
    """Return a tiny model that bears the mark transformers gives to one of a GGUF file."""
    model = tiny.tiny_model(word_tokenizer(), **settings)
    model.config.quantization_config = SimpleNamespace(quant_method="gguf")
    return model


def test_another_model_is_returned_unchanged():
    model = tiny.tiny_model(word_tokenizer())
    assert plain_model(model, "tiny") is model


@pytest.mark.parametrize("tied", [True, False])
def test_the_weights_are_the_same_and_trainable(tied, tmp_path):
    from transformers import AutoModelForCausalLM

    model = marked(tie_word_embeddings=tied)
    with torch.no_grad():
        before = model(IDS).logits
        plain = plain_model(model, "tiny")
        torch.testing.assert_close(plain(IDS).logits, before)
        assert getattr(plain.config, "quantization_config", None) is None
        assert model.config.quantization_config is not None
        assert plain.training == model.training
        plain.save_pretrained(tmp_path)
        torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(tmp_path)(IDS).logits, before)
    plain(IDS).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in plain.parameters())


def test_weights_that_do_not_fit_are_refused():
    model = marked()
    model.model.layers[0].extra = torch.nn.Linear(2, 2)
    with pytest.raises(InputDataError, match=r"tiny: its weights do not fit a LlamaForCausalLM \(model\.layers\.0\.extra"):
        plain_model(model, "tiny")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(EMBEDDED_PACKAGE) is None, reason="needs the embedded model")
def test_the_embedded_model_is_converted():
    loaded = load_model("embedded", device="cpu", dtype=None)
    with torch.no_grad():
        before = loaded.model(IDS).logits
        torch.testing.assert_close(plain_model(loaded.model, "embedded")(IDS).logits, before)
