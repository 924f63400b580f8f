"""The tune command with a tiny model: an adapter with its card, asked as a model."""

import json

import pytest

from tests.tuning.planted import tiny_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_an_adapter_is_made_carded_asked_and_kept(call, tiny, tmp_path):
    for library in ("torch", "transformers", "peft", "trl", "datasets"):
        pytest.importorskip(library, reason="needs the extra `train`")
    assert call("build", tiny / "tiny.csv", "--survey", tiny / "tiny.yaml", "-o", tiny / "data", "--draws", 20).code == 0
    model = tiny_folder(tmp_path / "model")
    adapter = tmp_path / "adapter"
    words = ["tune", tiny / "data", "--model", model, "--recipe", "distribution", "--device", "cpu", "--max-steps", 2, "-o", adapter]
    done = call(*words, "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out[done.out.index('{"adapter"') :])
    assert said["adapter"] == str(adapter)
    assert {"adapter_config.json", "training.json", "README.md"} <= {file.name for file in adapter.iterdir()}
    asked = call("ask", tiny / "data", "--model", f"{model}+{adapter}", "--device", "cpu", "-o", tmp_path / "run")
    assert asked.code == 0, asked.err
    again = call(*words)
    assert again.code == 0, again.err
    assert "Adapter:" in again.out
    wrong = call(*words[:5], "distributoin", *words[6:])
    assert wrong.code == 2
    assert "Did you mean 'distribution'" in wrong.err
