"""The same losses as TRL's own trainers, on the same tokens in the same order."""

from __future__ import annotations

import polars as pl
import pytest

from tests.tuning.planted import quick

torch = pytest.importorskip("torch", reason="needs the extra `local`")
for library in ("peft", "trl", "datasets"):
    pytest.importorskip(library, reason="needs the extra `train`")

from datasets import Dataset as Table  # noqa: E402
from peft import LoraConfig  # noqa: E402
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # noqa: E402

from valuestrata.respondents.local.load import load_model  # noqa: E402
from valuestrata.tuning.data.encode import Encoder  # noqa: E402
from valuestrata.tuning.data.examples import tuning_data  # noqa: E402
from valuestrata.tuning.train import objectives  # noqa: E402
from valuestrata.tuning.train.sampler import sequence  # noqa: E402
from valuestrata.tuning.tune import tune  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]


def settings(recipe, folder, updates):
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": recipe.batch // recipe.accumulation,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": round(recipe.warmup_ratio * updates),
        "lr_scheduler_type": recipe.scheduler,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "seed": recipe.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "max_length": None,
        "dataloader_pin_memory": False,
    }


def lora(recipe):
    return LoraConfig(task_type="CAUSAL_LM", r=recipe.lora.r, lora_alpha=recipe.lora.alpha, target_modules=recipe.lora.target_modules)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_curve_of_tokens_is_that_of_sft(people, template, model, tmp_path, accumulation, capfd):
    recipe = quick("modal", template, max_steps=8, accumulation=accumulation, **{"validation.samples": 0})
    ours = tune(people, model, tmp_path / "ours", recipe=recipe).curve.filter(pl.col("part") == "train")
    assert "loss" not in capfd.readouterr().out

    loaded = load_model(model, device="cpu", dtype=None)
    data = tuning_data(people, recipe)
    encoder = Encoder(loaded.tokenizer, model, recipe.target)
    rows = {"input_ids": [], "labels": []}
    for number in sequence(recipe, [example.prompt.subgroup for example in data.train]).tolist():
        encoded = encoder.encode(data.train[number])
        ids = encoded.written(data.train[number].mode)
        rows["input_ids"].append(list(ids))
        rows["labels"].append([-100] * encoded.start + list(ids[encoded.start :]))
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(**settings(recipe, tmp_path / "theirs", 8), num_train_epochs=1, eos_token="<|im_end|>"),
        processing_class=loaded.tokenizer,
        train_dataset=Table.from_dict(rows),
        peft_config=lora(recipe),
    )
    trainer.train()
    theirs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert ours["loss"].to_list() == pytest.approx([entry["loss"] for entry in theirs], rel=1e-3)
    assert ours["grad_norm"].to_list() == pytest.approx([entry["grad_norm"] for entry in theirs], rel=1e-2)
    assert ours["learning_rate"].to_list() == pytest.approx([entry["learning_rate"] for entry in theirs])


def test_the_objective_of_dpo_is_that_of_trl(people, template, model, tmp_path):
    # One form an option: TRL knows no second way to write an answer.
    recipe = quick("dpo", template, **{"preference.beta": 0.3})
    examples = [example for example in tuning_data(people, recipe).train if example.rejected >= 0][:8]
    loaded = load_model(model, device="cpu", dtype=None)
    encoder = Encoder(loaded.tokenizer, model, "option")
    encoded = [encoder.encode(example) for example in examples]
    sides = {
        "prompt_ids": [list(one.stem) for one in encoded],
        "chosen_ids": [list(one.options[example.mode][0]) for one, example in zip(encoded, examples, strict=True)],
        "rejected_ids": [list(one.options[example.rejected][0]) for one, example in zip(encoded, examples, strict=True)],
    }
    config = DPOConfig(**settings(recipe, tmp_path / "theirs", 1) | {"beta": 0.3})
    # It tokenises what it is given itself; the batch below is laid out from our tokens.
    texts = Table.from_dict({"prompt": ["?"], "chosen": [" 1"], "rejected": [" 2"]})
    trainer = DPOTrainer(model=loaded.model, args=config, processing_class=loaded.tokenizer, train_dataset=texts, peft_config=lora(recipe))
    # An adapter that has learned something: otherwise every loss is log 2.
    generator = torch.Generator().manual_seed(0)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    batch = trainer.data_collator([{name: values[at] for name, values in sides.items()} for at in range(8)])
    with torch.no_grad():
        theirs = trainer.compute_loss(trainer.model, batch).item()

    def log_of(model, stem, form):
        logs = model(input_ids=torch.tensor([[*stem, *form]])).logits[0].log_softmax(-1)
        return sum(logs[at - 1, token].item() for at, token in enumerate(form, start=len(stem)))

    def both():
        return torch.tensor(
            [
                [log_of(trainer.model, stem, form) for form in forms]
                for stem, *forms in zip(sides["prompt_ids"], sides["chosen_ids"], sides["rejected_ids"], strict=True)
            ]
        )

    with torch.no_grad():
        now = both()
        with trainer.model.disable_adapter():
            reference = both()
    chosen, rejected = torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long)
    ours = objectives.dpo(now, reference, chosen, rejected, 0.3).mean().item()
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert abs(ours - 0.693) > 0.01
