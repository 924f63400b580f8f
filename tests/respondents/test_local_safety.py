"""A model's folder is data: none of its code runs, and no pickle is read."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path

import pytest

from valuestrata.errors import InputDataError

from . import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("transformers", reason="needs the extra `local`")

from valuestrata.respondents.local.adapter import read_adapter  # noqa: E402
from valuestrata.respondents.local.respondent import load_local  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / "src"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::FutureWarning:transformers"),
    pytest.mark.usefixtures("one_thread"),
]

# A class that leaves a file behind when its module is imported, and one whose pickle does.
CODE = """
import pathlib
pathlib.Path({marker!r}).write_text("ran")
from transformers import {base} as Base
class Own(Base):
    model_type = "own"
"""


class Pickled:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("part", ["config", "model", "tokenizer"])
def test_code_in_a_folder_never_runs_even_if_standard_input_says_yes(tmp_path, monkeypatch, capsys, part):
    folder, marker = tiny.save_tiny(tmp_path / "model"), tmp_path / "marker"
    base = {"config": "PretrainedConfig", "model": "LlamaForCausalLM", "tokenizer": "PreTrainedTokenizerFast"}[part]
    (folder / "own.py").write_text(CODE.format(marker=str(marker), base=base))
    config, tokenizer = (json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer_config.json"))
    if part == "tokenizer":
        tokenizer |= {"auto_map": {"AutoTokenizer": [None, "own.Own"]}, "tokenizer_class": "Own"}
    else:
        config["auto_map"] = {"AutoConfig": "own.Own"} if part == "config" else {"AutoModelForCausalLM": "own.Own"}
        config["model_type"] = "own" if part == "config" else "llama"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    if part != "model":
        with pytest.raises(InputDataError, match=rf"{folder}: .*Python code of its own"):
            load_local(f"hf:{folder}", device="cpu")
    else:
        # transformers knows this kind of model itself, and the folder's code is not needed.
        load_local(f"hf:{folder}", device="cpu")
    assert not marker.exists()
    assert "[y/N]" not in capsys.readouterr().out


def test_every_call_that_loads_a_model_refuses_its_code():
    found = 0
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in ("from_pretrained", "from_config"):
                found += 1
                given = {word.arg: word.value for word in node.keywords}
                value = given.get("trust_remote_code")
                assert isinstance(value, ast.Constant), f"{file.name}, line {node.lineno}: trust_remote_code is not given"
                assert value.value is False, f"{file.name}, line {node.lineno}"
    assert found >= 5


def pickled(folder: Path, name: str, marker: Path) -> Path:
    torch.save({"weight": Pickled(str(marker))}, folder / name)
    return folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_named_and_never_read(tmp_path, name):
    folder = tiny.save_tiny(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    pickled(folder, name, tmp_path / "marker")
    with pytest.raises(InputDataError, match=rf"{name}: the weights are a pickle\. .* save_pretrained"):
        load_local(f"hf:{folder}", device="cpu")
    assert not (tmp_path / "marker").exists()


def test_a_pickle_beside_safetensors_is_not_read(tmp_path):
    folder = pickled(tiny.save_tiny(tmp_path / "model"), "pytorch_model.bin", tmp_path / "marker")
    pickled(folder, "training_args.bin", tmp_path / "marker")
    assert load_local(f"hf:{folder}", device="cpu").identity()["model"] == "model"
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../model.safetensors", "sub/model.safetensors", 7, None])
def test_an_index_names_safetensors_of_its_own_folder_only(tmp_path, shard):
    folder = tiny.save_tiny(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    pickled(folder, "pytorch_model.bin", tmp_path / "marker")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(InputDataError, match=r"index\.json"):
        load_local(f"hf:{folder}", device="cpu")
    assert not (tmp_path / "marker").exists()


def test_a_config_cannot_name_a_pickle(tmp_path):
    folder = pickled(tiny.save_tiny(tmp_path / "model"), "adapter_model.bin", tmp_path / "marker")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"transformers_weights": "adapter_model.bin"}))
    with pytest.raises(InputDataError, match=r"config\.json: it names the weights 'adapter_model\.bin'"):
        load_local(f"hf:{folder}", device="cpu")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0[1, 2]  ", b"\xff" * 64, b'\x10\0\0\0\0\0\0\0{"a": {"dtype":'])
def test_weights_that_are_not_safetensors_are_refused(tmp_path, content):
    folder = tiny.save_tiny(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputDataError, match="cannot be loaded"):
        load_local(f"hf:{folder}", device="cpu")


def test_a_pickled_adapter_is_refused(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    pickled(adapter, "adapter_model.bin", tmp_path / "marker")
    with pytest.raises(InputDataError, match=r"adapter_model\.bin: the weights are a pickle"):
        read_adapter(adapter)
    assert not (tmp_path / "marker").exists()


def test_an_adapter_cannot_name_a_module_to_import(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "megatron_config": {}, "megatron_core": "evil"}')
    with pytest.raises(InputDataError, match="megatron_config"):
        read_adapter(tmp_path)
