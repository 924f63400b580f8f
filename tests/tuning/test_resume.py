"""Training stopped by an interruption or a full disk, or shared by two processes: the adapter is that of one undisturbed training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tuning.conftest import SHARED
from tests.tuning.planted import quick, tiny_folder

torch = pytest.importorskip("torch", reason="needs the extra `local`")
for library in ("peft", "trl", "datasets"):
    pytest.importorskip(library, reason="needs the extra `train`")

import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from valuestrata.dataset.tables import write_dataset  # noqa: E402
from valuestrata.errors import UsageError  # noqa: E402
from valuestrata.tuning.tune import tune  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("one_thread"),
]

# Dropout and group weights have to come back too.
CHANGES = {"epochs": 4, "validation.every": 0.5, "lora.dropout": 0.2, "weights.dro_step": 0.2, "early_stopping": {"patience": 9}}
CALL = """\
import os, resource, sys, time
import torch
torch.set_num_threads(1)
from valuestrata.dataset.tables import load_dataset
from valuestrata.tuning import load_recipe
from valuestrata.tuning.tune import tune
from transformers import Trainer

data, model, out, recipe, wait, limit = sys.argv[1:]
if float(wait):
    # Time for the test to see a checkpoint and kill the process after it.
    plain = Trainer.training_step
    def slow(self, *args, **kwargs):
        time.sleep(float(wait))
        return plain(self, *args, **kwargs)
    Trainer.training_step = slow
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
result = tune(load_dataset(data), model, out, recipe=load_recipe(recipe), device="cpu")
print(result.document["updates"])
"""


@pytest.fixture(scope="module")
def world(people, template, tmp_path_factory):
    """Data set, model, recipe and script on disk, and the adapter of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("resume")
    write_dataset(people, folder / "data")
    recipe = quick("fair", template, **CHANGES)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "call.py").write_text(CALL)
    word = tiny_folder(folder / "model")
    tune(people, word, folder / "whole", recipe=recipe, device="cpu")
    return folder, word, recipe


def command(world, out, wait=0.0, limit=0):
    folder, word, _ = world
    return [str(folder / "call.py"), str(folder / "data"), word, str(out), str(folder / "recipe.yaml"), str(wait), str(limit)]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}


def check_same(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        torch.testing.assert_close(values, theirs[name], rtol=tolerance, atol=tolerance)


def wait_for(condition, process, seconds=400.0):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def interrupt_after(patched, updates):
    """Interrupt training after some passes, once."""
    plain, left = transformers.Trainer.training_step, iter(range(updates))

    def step(*args, **settings):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return plain(*args, **settings)

    patched.setattr(transformers.Trainer, "training_step", step)


@pytest.mark.slow
def test_an_interrupted_training_continues_from_its_checkpoint(people, template, model, trained, tmp_path, monkeypatch):
    # The checkpoint is at update 5; an update has two passes.
    recipe = quick("distribution", template, **SHARED)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 14)
        with pytest.raises(KeyboardInterrupt):
            tune(people, model, tmp_path / "a", recipe=recipe)
    assert [place.parent.name for place in tmp_path.glob("a.unfinished/checkpoint-*/whole.json")] == ["checkpoint-5"]
    half = tmp_path / "a.unfinished" / "checkpoint-999"
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    result, whole = tune(people, model, tmp_path / "a", recipe=recipe), trained("distribution")
    assert result.document["updates"] == whole.document["updates"]
    check_same(result.adapter, whole.adapter)
    assert result.curve["loss"].to_list() == pytest.approx(whole.curve["loss"].to_list(), rel=1e-4)


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_adapter(world, people):
    folder, word, recipe = world
    out = folder / "killed"
    process = subprocess.Popen(
        [sys.executable, *command(world, out, wait=0.1)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    unfinished = folder / "killed.unfinished"
    try:
        wait_for(lambda: len(list(unfinished.glob("checkpoint-*/whole.json"))) >= 2, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not out.exists()
    steps = sorted(int(place.name.partition("-")[2]) for place in unfinished.glob("checkpoint-*"))
    # One that was being written when the kill came.
    half = unfinished / "checkpoint-999"
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    assert (unfinished / "loss.csv").is_file()
    with pytest.raises(UsageError, match=r"recipe\.learning_rate 0\.02, but this call has 0\.5"):
        tune(people, word, out, recipe=recipe.model_copy(update={"learning_rate": 0.5}))
    result = tune(people, word, out, recipe=recipe, device="cpu")
    assert not unfinished.exists()
    check_same(out, folder / "whole")
    whole = json.loads((folder / "whole" / "training.json").read_text())
    assert result.document["groups"] == pytest.approx(whole["groups"], rel=1e-4)
    assert result.document["updates"] == whole["updates"]
    mine, theirs = ([(row["step"], row["part"]) for row in document["curve"]] for document in (result.document, whole))
    assert mine == theirs
    assert steps[0] > 0
    for row, other in zip(result.document["curve"], whole["curve"], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the patience runs out", "after it ran out"])
def test_patience_is_not_forgotten(people, template, world, tmp_path, monkeypatch, when):
    # At this rate the loss soon rises, and training ends after two looks without a gain.
    _, word, _ = world
    recipe = quick("modal", template, learning_rate=0.5, epochs=9, **{"validation.every": 0.4, "early_stopping": {"patience": 2}})
    whole = tune(people, word, tmp_path / "whole", recipe=recipe, device="cpu").document["updates"]
    assert whole["kept"] < whole["made"] < whole["planned"]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if when == "after it ran out":
            patched.setattr("valuestrata.tuning.tune.save_weights", interrupt)
        else:
            interrupt_after(patched, whole["made"] - 1)
        with pytest.raises(KeyboardInterrupt):
            tune(people, word, tmp_path / "again", recipe=recipe, device="cpu")
    again = tune(people, word, tmp_path / "again", recipe=recipe, device="cpu").document["updates"]
    assert again["kept"] == whole["kept"]
    assert again["made"] - whole["made"] in ((0,) if when.startswith("before") else (0, 1))
    check_same(tmp_path / "again", tmp_path / "whole")


@pytest.mark.slow
def test_a_disk_that_fills_at_a_checkpoint_loses_nothing(world, people):
    folder, word, recipe = world
    out = folder / "full"
    size = (folder / "whole" / "adapter_model.safetensors").stat().st_size
    # Files of more than this cannot be written: the optimizer's state is larger than the adapter.
    done = subprocess.run([sys.executable, *command(world, out, limit=size + 2000)], env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "valuestrata.errors.RunFailedError" in done.stderr
    assert "the checkpoint could not be written" in done.stderr.replace("\\n", " ")
    assert not out.exists()
    tune(people, word, out, recipe=recipe, device="cpu")
    check_same(out, folder / "whole")


FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
}


@pytest.mark.slow
@pytest.mark.parametrize("shared", [{}, FSDP], ids=["ddp", "fsdp"])
def test_two_processes_make_the_adapter_of_one(world, people, shared):
    # Each process draws its own dropout; without it the updates are the same, as are the weights of groups.
    folder, word, recipe = world
    alike = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"dropout": 0.0}), "max_steps": 8})
    (folder / "alike.yaml").write_text(alike.to_yaml())
    one = tune(people, word, folder / "one", recipe=alike, device="cpu")
    out = folder / f"two-{len(shared)}"
    call = command(world, out)
    call[4] = str(folder / "alike.yaml")
    # On a processor `accelerate launch` wants MPI; this sets the same variables as it does for GPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launch, *call], env=environment() | shared, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads((out / "training.json").read_text())
    assert document["how"]["processes"] == 2
    assert document["updates"] == one.document["updates"]
    assert document["groups"] == pytest.approx(one.document["groups"], rel=1e-4)
    for row, other in zip(document["curve"], one.document["curve"], strict=True):
        for name in ("loss", "loss_answer", "loss_end", "accuracy_expected", "kl"):
            assert (row[name] is None) == (other[name] is None)
            assert row[name] is None or row[name] == pytest.approx(other[name], rel=1e-3)
    check_same(out, folder / "one", 1e-3)
