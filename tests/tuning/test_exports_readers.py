"""Exports read by the trainers' own readers, each in its own environment.

The trainers pin their version of transformers, so these variables name a Python with the trainer:
VALUESTRATA_LLAMAFACTORY_PYTHON, VALUESTRATA_AXOLOTL_PYTHON, VALUESTRATA_TOGETHER_PYTHON, VALUESTRATA_TINKER_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tuning.planted import quick, tiny_folder
from tests.tuning.together_server import LIMITS
from valuestrata.tuning import load_recipe
from valuestrata.tuning.export.files import export_training
from valuestrata.tuning.export.jobs_request import job_request

LLAMA_FACTORY = """
import json, os, sys
os.chdir(sys.argv[1])
sys.argv = ["train", "train.yaml"]
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args, read_args
from llamafactory.model import load_tokenizer

model, data, training, tuning, _ = get_train_args(read_args())
loaded = load_tokenizer(model)
template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
read = get_dataset(template, model, data, training, stage="sft", **loaded)
decode = loaded["tokenizer"].decode
parts = {"train": read["train_dataset"], "validation": read["eval_dataset"]}
rows = {n: [[decode(r["input_ids"]), decode([t for t in r["labels"] if t != -100])] for r in part] for n, part in parts.items()}
settings = [training.learning_rate, tuning.lora_rank, tuning.lora_alpha, training.num_train_epochs, training.seed]
print("READ " + json.dumps([rows, settings]))
"""

# Its workers start by importing this file again, hence the guard.
AXOLOTL = """
import json, os, sys

def main():
    os.chdir(sys.argv[1])
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.loaders import load_tokenizer

    cfg = load_cfg("axolotl.yaml")
    read = load_datasets(cfg=cfg, cli_args=TrainerCliArgs())
    decode = load_tokenizer(cfg).decode
    parts = {"train": read.train_dataset, "validation": read.eval_dataset}
    rows = {n: [[decode(r["input_ids"]), decode([t for t in r["labels"] if t != -100])] for r in part] for n, part in parts.items()}
    settings = [cfg.learning_rate, cfg.lora_r, cfg.lora_alpha, cfg.num_epochs, cfg.seed]
    print("READ " + json.dumps([rows, settings]))

if __name__ == "__main__":
    main()
"""

TOGETHER = """
import json, sys
from together.lib.utils.files import check_file
print("READ " + json.dumps([check_file(f"{sys.argv[1]}/{name}.jsonl") for name in ("train", "validation")]))
"""

TOGETHER_REQUEST = """
import json, sys
from together.lib.types.fine_tuning import FinetuneRequest
body = json.loads(sys.argv[1])
print("READ " + json.dumps(FinetuneRequest.model_validate(body).model_dump(mode="json", exclude_none=True)))
"""

TINKER = """
import json, sys
from tinker_cookbook.supervised import data
from tinker_cookbook.supervised.types import ChatDatasetBuilderCommonConfig

# The reader as it is; only the tokens are ours to see, for which its renderers would fetch a tokenizer.
seen = []
data.conversation_to_datum = lambda messages, renderer, length, what: seen.append([messages, str(what), length])
data.FromConversationFileBuilder.renderer = property(lambda self: None)
sizes = []
for name in ("train", "validation"):
    common = ChatDatasetBuilderCommonConfig(
        model_name_for_tokenizer="none", renderer_name="none", max_length=int(sys.argv[2]), batch_size=4
    )
    made, _ = data.FromConversationFileBuilder(file_path=f"{sys.argv[1]}/{name}.jsonl", common_config=common)()
    sizes.append(len(made))
    for at in range(len(made)):
        made.get_batch(at)
print("READ " + json.dumps([sizes, seen]))
"""


def read_by(variable: str, script: str, tmp_path: Path, *arguments: str):
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"needs a Python with the trainer: set {variable}")
    file = tmp_path / "read.py"
    file.write_text(script)
    quiet = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run([python, str(file), *arguments], env={**os.environ, **quiet}, capture_output=True, text=True, timeout=300)
    found = [line for line in done.stdout.splitlines() if line.startswith("READ ")]
    assert found, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(found[-1].removeprefix("READ "))


def written(folder: Path, ending: str) -> dict[str, list[list[str]]]:
    """What a reader must make of an export: the chat as the model's template writes it, and what is learned of it."""
    rows = {}
    for name in ("train", "validation"):
        text = (folder / f"{name}.{ending}").read_text()
        chats = json.loads(text) if ending == "json" else [json.loads(line) for line in text.splitlines()]
        rows[name] = [
            [
                "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in row["messages"]),
                row["messages"][-1]["content"] + "<|im_end|>",
            ]
            for row in chats
        ]
    return rows


@pytest.fixture
def exported(people, template, tmp_path):
    def export(format: str) -> Path:
        recipe = quick("modal", template, learning_rate=1e-6, early_stopping={"patience": 2})
        return export_training(people, tmp_path / "out", recipe=recipe, format=format, model=tiny_folder(tmp_path / "model")).folder

    return export


def alike(read: dict, expected: dict) -> None:
    for name, rows in expected.items():
        # The template's line end behind the turn may be learned too; no readout sees it.
        assert sorted([whole, learned.rstrip("\n")] for whole, learned in read[name]) == sorted(rows)


@pytest.mark.slow
def test_llama_factory_learns_what_is_scored(exported, tmp_path):
    folder = exported("llama-factory")
    rows, settings = read_by("VALUESTRATA_LLAMAFACTORY_PYTHON", LLAMA_FACTORY, tmp_path, str(folder))
    alike(rows, written(folder, "json"))
    assert settings == [1e-6, 8, 16, 6, 42]


@pytest.mark.slow
def test_axolotl_learns_what_is_scored_with_the_end_of_the_turn(exported, tmp_path):
    folder = exported("axolotl")
    rows, settings = read_by("VALUESTRATA_AXOLOTL_PYTHON", AXOLOTL, tmp_path, str(folder))
    alike(rows, written(folder, "jsonl"))
    assert settings == [1e-6, 8, 16, 6, 42]


@pytest.mark.slow
def test_togethers_own_check_passes(exported, tmp_path):
    folder = exported("together")
    train, validation = read_by("VALUESTRATA_TOGETHER_PYTHON", TOGETHER, tmp_path, str(folder))
    assert train["is_check_passed"]
    assert validation["is_check_passed"]
    assert (train["num_samples"], validation["num_samples"]) == (38, 4)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"early_stopping": None, "scheduler": "cosine"}, {"scheduler": "constant"}])
def test_togethers_library_would_send_our_request(tmp_path, changes):
    recipe = load_recipe("modal", **changes)
    body = job_request(recipe, "org/base", LIMITS, train="file-t", validation="file-v", longest=500, tag="vs-1")
    sent = read_by("VALUESTRATA_TOGETHER_PYTHON", TOGETHER_REQUEST, tmp_path, json.dumps(body))
    assert sent == sent | body
    # What it sends beyond ours are its own defaults.
    assert set(sent) - set(body) <= {"early_stopping_enabled", "train_vision", "wandb_key"}


@pytest.mark.slow
def test_tinkers_cookbook_reads_the_rows(exported, tmp_path):
    folder = exported("tinker")
    longest = json.loads((folder / "export.json").read_text())["longest"]
    sizes, seen = read_by("VALUESTRATA_TINKER_PYTHON", TINKER, tmp_path, str(folder), str(longest))
    assert sizes == [9, 1]  # whole batches of 4 among 38 and 4 rows
    rows = [
        json.loads(line)["messages"] for name in ("train", "validation") for line in (folder / f"{name}.jsonl").read_text().splitlines()
    ]
    assert all([{key: m[key] for key in ("role", "content")} for m in messages] in rows for messages, _, _ in seen)
    assert {(what, length) for _, what, length in seen} == {("all_assistant_messages", longest)}
