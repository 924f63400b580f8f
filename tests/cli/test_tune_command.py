"""The commands `tune`, `card` and `forgetting` with a tiny model."""

import json

import pytest

from tests.tuning.planted import tiny_folder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def _libraries():
    for library in ("torch", "transformers", "peft", "trl", "datasets"):
        pytest.importorskip(library, reason="needs the extra `train`")


def document(out: str, first: str) -> dict:
    """Return the JSON document after the output of libraries that load a model."""
    return json.loads(out[out.index(f'{{"{first}"') :])


@pytest.mark.usefixtures("_libraries")
def test_one_process_writes_an_adapter_with_its_card(call, data, tmp_path, monkeypatch):
    model = tiny_folder(tmp_path / "model")
    adapter = tmp_path / "adapter"
    words = ["tune", data, "--model", model, "--recipe", "distribution", "--device", "cpu", "--max-steps", 1, "-o", adapter]
    wrong = call(*words[:5], "distributoin", *words[6:])
    assert wrong.code == 2
    assert "Did you mean 'distribution'" in wrong.err
    words += ["--set", "learning_rate=1e-3", "--set", "lora.r=2"]
    misspelt = call(*words, "--set", "lora.alfa=2")
    assert (misspelt.code, "Did you mean 'alpha'?" in misspelt.err) == (2, True)
    done = call(*words, "--json")
    assert done.code == 0, done.err
    recipe = json.loads((adapter / "training.json").read_text())["request"]["recipe"]
    assert (recipe["learning_rate"], recipe["lora"]["r"], recipe["max_steps"]) == (1e-3, 2, 1)
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 2
    assert document(done.out, "adapter")["adapter"] == str(adapter)
    assert {"adapter_config.json", "training.json", "README.md"} <= {file.name for file in adapter.iterdir()}
    (adapter / "README.md").write_text("mine")
    again = call(*words)
    assert "Adapter:" in again.out
    assert (adapter / "README.md").read_text() == "mine"
    # The other processes of a distributed training neither write nor print.
    (adapter / "README.md").unlink()
    monkeypatch.setenv("RANK", "1")
    second = call(*words, "--json")
    assert second.code == 0, second.err
    assert '"adapter"' not in second.out
    assert not (adapter / "README.md").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_libraries")
def test_an_adapter_is_asked_scored_and_checked_for_forgetting(call, data, tmp_path):
    model = tiny_folder(tmp_path / "model")
    adapter = tmp_path / "adapter"
    words = ["tune", data, "--model", model, "--recipe", "distribution", "--device", "cpu", "--max-steps", 2, "-o", adapter]
    assert call(*words).code == 0
    asked = call("ask", data, "--model", f"{model}+{adapter}", "--device", "cpu", "-o", tmp_path / "run")
    assert asked.code == 0, asked.err

    # The card gets scores, and the same call of `tune` keeps them.
    card = call("card", adapter, data, tmp_path / "run", "--bootstrap", 50)
    assert card.code == 0, card.err
    written = (adapter / "README.md").read_text()
    assert "**run**: split paper, part test, readout logprob" in written
    assert "attribute: age_group" in written
    assert call(*words).code == 0
    assert (adapter / "README.md").read_text() == written

    # Forgetting is checked once and kept, also in the card.
    checked = document(call(*words, "--forgetting", "--json").out, "adapter")["forgetting"]
    assert [row["measure"] for row in checked][:2] == ["perplexity", "bits_per_byte"]
    kept = (adapter / "forgetting.csv").read_bytes()
    assert "perplexity" in call(*words, "--forgetting").out
    assert (adapter / "forgetting.csv").read_bytes() == kept
    assert call("card", adapter, data, tmp_path / "run", "--bootstrap", 50).code == 0
    both = (adapter / "README.md").read_text()
    assert "## Forgetting" in both
    assert "**run**: split paper" in both

    # The command `forgetting` finds the same.
    alone = call("forgetting", f"{model}+{adapter}", "--device", "cpu", "--json")
    assert alone.code == 0, alone.err
    found = document(alone.out, "model")
    assert found["against"] == model
    assert [row["after"] for row in found["forgetting"]] == pytest.approx([row["after"] for row in checked])


def test_forgetting_and_cards_need_an_adapter(call, tmp_path):
    bare = call("forgetting", "hf:ORG/NAME")
    assert bare.code == 2
    assert "has no adapter; name the model before tuning with --against" in bare.err
    (tmp_path / "empty").mkdir()
    none = call("card", tmp_path / "empty", tmp_path / "data", tmp_path / "run")
    assert none.code == 2
    assert "is not an adapter made by `tune`" in none.err
