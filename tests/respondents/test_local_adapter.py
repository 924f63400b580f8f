"""Adapters: merged if they were made for the model, else refused before the first call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valuestrata.errors import InputDataError

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")
peft = pytest.importorskip("peft", reason="needs the extra `train`")

from valuestrata.respondents.local.adapter import check_base  # noqa: E402
from valuestrata.respondents.local.respondent import load_local  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    # Of peft itself, which looks for the base model on a hub when it saves an adapter.
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]


def adapter_for(folder, kind="llama", *, base=None, targets="all-linear", settings=None, **lora):
    """Write an adapter of random weights for a tiny model; return the model with the adapter in it."""
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **lora)
    model = peft.get_peft_model(tiny.tiny_model(tiny.tiny_tokenizer(), kind, **(settings or {})), config)
    model.save_pretrained(folder)
    change(folder, base_model_name_or_path=base)
    return model.eval()


def change(folder, **settings):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize(
    ("kind", "lora"),
    [
        ("llama", {}),
        ("llama", {"use_dora": True}),
        ("llama", {"modules_to_save": ["lm_head"]}),
        ("llama", {"targets": ["embed_tokens", "q_proj"]}),
        ("gpt2", {"fan_in_fan_out": True}),
    ],
    ids=["linear", "dora", "whole-head", "embedding", "gpt2"],
)
def test_an_adapter_changes_answers_and_identity(tmp_path, kind, lora):
    folder = tiny.save_tiny(tmp_path / "model", kind)
    base = load_local(f"hf:{folder}", device="cpu")
    model = adapter_for(tmp_path / "adapter", kind, **lora)
    tuned = load_local(f"hf:{folder}+{tmp_path / 'adapter'}", device="cpu")
    assert tuned.identity()["adapter_hash"] != base.identity()["adapter_hash"]
    assert tuned.identity()["revision"] == base.identity()["revision"]
    tokenizer, prompt = tuned._loaded.tokenizer, tiny.prompt(options=10)
    (answer,) = tuned.answer([prompt])
    expected = tiny.naive(model, tokenizer, prompt, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert answer.option_mass == pytest.approx(sum(expected), rel=1e-3)
    assert answer.option_mass != pytest.approx(next(iter(base.answer([prompt]))).option_mass, rel=1e-2)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("llama", {"hidden_size": 64}, r"down_proj has size 64 where the model's has 32"),
        ("llama", {"intermediate_size": 64}, r"down_proj has size 64 where the model's has 48"),
        ("llama", {"num_hidden_layers": 3}, r"it changes model\.layers\.2\.\S+, which the model does not have"),
        ("llama", {"num_hidden_layers": 1}, r"it has no weights for model\.layers\.1\.\S+ and \d+ more layers"),
        ("gpt2", {}, r"it changes transformer\.h\.0\.\S+, which the model does not have"),
    ],
    ids=["width", "inner-width", "more-layers", "fewer-layers", "other-kind"],
)
def test_an_adapter_whose_weights_are_for_another_model_is_refused(tmp_path, kind, settings, words):
    folder = tiny.save_tiny(tmp_path / "model")
    adapter_for(tmp_path / "adapter", kind, base="org/base-7b", targets=["q_proj", "down_proj", "c_attn"], settings=settings)
    with (
        pytest.warns(UserWarning, match="was made for org/base-7b, not for model"),
        pytest.raises(InputDataError, match=rf"adapter \(made for org/base-7b\) does not fit this model: .*{words}"),
    ):
        load_local(f"hf:{folder}+{tmp_path / 'adapter'}", device="cpu")


def test_an_adapter_of_another_model_on_the_hub_is_refused_before_anything_is_loaded(tmp_path):
    adapter_for(tmp_path / "adapter", base="org/base-7b")
    with pytest.raises(InputDataError, match=r"was made for org/base-7b, not for org/base-7b-instruct"):
        load_local(f"hf:org/base-7b-instruct+{tmp_path / 'adapter'}", device="cpu")


def test_a_base_model_is_the_same_whatever_its_path():
    for base in (None, "", "org/base-7b", "/somewhere/else/Base-7B/", "models/Base-7B"):
        check_base(Path("adapter"), {"base_model_name_or_path": base}, None, ["Base-7B", "models/Base-7B"])
    check_base(Path("adapter"), {"base_model_name_or_path": "org/base-7b"}, None, ["Base-7B.Q8_0"])


def test_an_adapter_of_a_renamed_model_is_used_with_a_warning_if_its_weights_fit(tmp_path):
    folder = tiny.save_tiny(tmp_path / "renamed")
    model = adapter_for(tmp_path / "adapter", base="/somewhere/else/base-7b")
    with pytest.warns(UserWarning, match="was made for /somewhere/else/base-7b, not for renamed"):
        tuned = load_local(f"hf:{folder}+{tmp_path / 'adapter'}", device="cpu")
    prompt, tokenizer = tiny.prompt(), tuned._loaded.tokenizer
    (answer,) = tuned.answer([prompt])
    expected = tiny.naive(model, tokenizer, prompt, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert answer.option_mass == pytest.approx(sum(expected), rel=1e-3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: change(folder, peft_type="PROMPT_TUNING"), "of type 'PROMPT_TUNING'; only LoRA adapters"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), r"has no adapter_model\.safetensors"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"12345678{"), r"adapter_model\.safetensors: cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), r"adapter_config\.json: not a JSON file"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "not an adapter"),
    ],
    ids=["kind", "no-weights", "broken-weights", "broken-settings", "no-settings"],
)
def test_an_invalid_adapter_is_refused(tmp_path, spoil, words):
    folder = tiny.save_tiny(tmp_path / "model")
    adapter_for(tmp_path / "adapter")
    spoil(tmp_path / "adapter")
    with pytest.raises(InputDataError, match=words):
        load_local(f"hf:{folder}+{tmp_path / 'adapter'}", device="cpu")
