"""Tuning the embedded model on modal answers, against TRL's SFTTrainer and transformers' Trainer.

All three train the same adapter on the same tokens in the same order. Their losses are checked to be equal to 1e-3 at every update.
The peers receive prepared token ids and labels, without gradient checkpointing and evaluation.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valuestrata.building import BuildSettings, build
from valuestrata.respondents.local.load import Loaded, load_model
from valuestrata.respondents.local.loading.dequantize import plain_model
from valuestrata.survey.read import read_survey
from valuestrata.tuning.data.encode import Encoded, Encoder
from valuestrata.tuning.data.examples import Example, tuning_data
from valuestrata.tuning.recipe import Recipe, load_recipe
from valuestrata.tuning.train.layout import attention_of, best_layout
from valuestrata.tuning.train.sampler import sequence
from valuestrata.tuning.train.step import EncodedExamples
from valuestrata.tuning.train.trainer import AnswerTrainer, TrainingContext, training_arguments

UPDATES = 4


@dataclass(frozen=True)
class Work:
    """Input of all sides: encoded examples in the order of the recipe."""

    recipe: Recipe
    examples: Sequence[Example]
    encoded: dict[int, Encoded]
    order: list[int]
    encoder: Encoder
    tokenizer: Any
    base: Any

    def model(self) -> Any:
        """Return a copy of the embedded model before training."""
        return copy.deepcopy(self.base)

    @property
    def rows(self) -> dict[str, list[list[int]]]:
        """Token ids and labels for the peers."""
        rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
        for number in self.order:
            encoded = self.encoded[number]
            ids = encoded.written(self.examples[number].mode)
            rows["input_ids"].append(list(ids))
            rows["labels"].append([-100] * encoded.start + list(ids[encoded.start :]))
        return rows


def work_of(loaded: Loaded, template: str, together: int) -> Work:
    """Return the first updates of the recipe `modal` on the embedded General Social Survey of 2018."""
    people = build(read_survey("embedded", "gss2018"), BuildSettings(draws=20))
    recipe = load_recipe("modal", max_steps=UPDATES, warmup_ratio=0.5, template=template, together=together)
    data = tuning_data(people, recipe)
    encoder = Encoder(loaded.tokenizer, "embedded", recipe.target)
    keys = [example.prompt.subgroup if data.first == "persona" else example.prompt.item for example in data.train]
    order = sequence(recipe, keys).tolist()
    encoded = {number: encoder.encode(data.train[number]) for number in set(order)}
    return Work(recipe, data.train, encoded, order, encoder, loaded.tokenizer, plain_model(loaded.model, "embedded"))


def lora(recipe: Recipe) -> Any:
    """Return the PEFT configuration of a recipe."""
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=recipe.lora.r, lora_alpha=recipe.lora.alpha, target_modules=recipe.lora.target_modules)


def ours(work: Work, folder: Path) -> tuple[Any, Callable[[], None]]:
    """Return our trainer and a function that starts it."""
    model = work.model()
    layout = best_layout(model, 512)
    settings = training_arguments(work.recipe, folder, UPDATES, len(work.examples), validate=False, use_cpu=True, bf16=False)
    settings.save_strategy = "no"
    context = TrainingContext(
        recipe=work.recipe,
        examples=EncodedExamples(work.examples, work.encoded, work.order, ()),
        encoder=work.encoder,
        layout=layout,
        group_sizes=[len(work.examples)],
        advance=lambda _: None,
        on_log=lambda _: None,
    )
    trainer = AnswerTrainer(model, work.tokenizer, settings, context)

    def start() -> None:
        with attention_of(model, layout):
            trainer.train()

    return trainer, start


def theirs(work: Work, folder: Path, library: str) -> tuple[Any, Callable[[], None]]:
    """Return a peer's trainer and a function that starts it."""
    import datasets
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, set_seed
    from trl import SFTConfig, SFTTrainer

    recipe = work.recipe
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": recipe.batch,
        "num_train_epochs": 1,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": round(recipe.warmup_ratio * UPDATES),
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "seed": recipe.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    table = datasets.Dataset.from_dict(work.rows)
    model = work.model()
    if library == "trl":
        config = SFTConfig(**settings, max_length=None)
        trainer: Any = SFTTrainer(model, config, processing_class=work.tokenizer, train_dataset=table, peft_config=lora(recipe))
        return trainer, trainer.train
    set_seed(recipe.seed)
    collate = DataCollatorForSeq2Seq(work.tokenizer, padding=True)
    trainer = Trainer(get_peft_model(model, lora(recipe)), TrainingArguments(**settings), train_dataset=table, data_collator=collate)
    return trainer, trainer.train


def timed(made: tuple[Any, Callable[[], None]]) -> tuple[float, list[float]]:
    """Train; return seconds per example (median over updates) and the losses."""
    from transformers import PrinterCallback, TrainerCallback

    trainer, start = made
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            times.append(-time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times[-1] += time.perf_counter()

    trainer.add_callback(Clock())
    trainer.remove_callback(PrinterCallback)
    start()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return float(np.median(times)) / trainer.args.per_device_train_batch_size, losses


def reset_peak() -> None:
    """Reset the peak memory counter, if the system supports it (Linux)."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Return the peak memory of this process since the last reset, in GB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e6
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def run() -> list[dict[str, Any]]:
    """Compare seconds per example with TRL and Trainer, also with groups of eight examples of one item."""
    rows: list[dict[str, Any]] = []
    loaded = load_model("embedded", device="cpu", dtype=None)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, template, together, peers in (
            ("tune_vs_{}", "default", 1, ("trl", "trainer")),
            ("tune_vs_{}_together", "item-first", 8, ("trl",)),
        ):
            work = work_of(loaded, template, together)
            reset_peak()
            seconds, losses = timed(ours(work, Path(place)))
            memory = peak()
            padded = [
                max(map(len, work.rows["input_ids"][at : at + work.recipe.batch])) for at in range(0, len(work.order), work.recipe.batch)
            ]
            for library in peers:
                reset_peak()
                peer, their_losses = timed(theirs(work, Path(place), library))
                their_memory = peak()
                np.testing.assert_allclose(losses, their_losses, rtol=1e-3)
                rows.append(
                    {
                        "name": name.format(library),
                        "ours": seconds,
                        "peer": peer,
                        "peer_name": {"trl": "TRL SFTTrainer", "trainer": "transformers.Trainer"}[library],
                        "ratio": peer / seconds,
                        "unit": "seconds per example",
                        "detail": f"losses equal; template {template}, {together} together, peer pads to {np.mean(padded):.0f} tokens; "
                        f"peak memory {memory:.1f} GB, the peer's {their_memory:.1f}",
                    }
                )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
