"""Training on TRL's SFTTrainer and PEFT: their loop, schedules, wrappers and adapters, with the passes of `lesson`.

What TRL computes and this does not: padding, every shared beginning again for each example, logits where no answer is
read. What this adds: the learned tokens of the first batch are read back and must be the target text; a loss that is no
number ends the training; a checkpoint counts only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.errors import RunFailedError, UsageError
from valuestrata.files import read_json, write_json
from valuestrata.progress import Advance
from valuestrata.tuning.data.encode import Encoded, Encoder
from valuestrata.tuning.data.examples import Example
from valuestrata.tuning.recipe import Recipe
from valuestrata.tuning.train.step import MEASURES, Collator, Lesson

# In every checkpoint: what says that all of it was written, with the group weights of that moment.
WHOLE = "whole.json"
# Rows of the curve over a training at most; those between are averaged.
_ROWS = 500


@dataclass(frozen=True)
class Taught:
    """What is trained on and looked at: examples by number, training first, and how the passes see them.

    Attributes:
        examples, encoded: all examples, and those that are used as ids, by number.
        sequence: numbers of training examples, update after update. validation: numbers of validation examples.
    """

    examples: Sequence[Example]
    encoded: Mapping[int, Encoded]
    sequence: Sequence[int]
    validation: Sequence[int]


def processes() -> int:
    """Return how many processes train together, as `accelerate launch` or `torchrun` says."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def local_rank() -> int:
    """Return the number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def arguments(recipe: Recipe, folder: Path, updates: int, examples: int, *, validate: bool, use_cpu: bool, bf16: bool) -> Any:
    """Return TRL's settings for a recipe.

    Args:
        recipe: the recipe. folder: where checkpoints go. updates: of the whole training. examples: training examples.
        validate: whether there are validation pairs. use_cpu, bf16: where and in what numbers.

    Raises:
        UsageError: the processes do not divide the batch.
    """
    from trl.trainer.sft_config import SFTConfig

    world = processes()
    if recipe.batch % (world * recipe.accumulation):
        raise UsageError(
            f"The recipe's batch of {recipe.batch} examples cannot be shared by {world} processes in {recipe.accumulation} passes each; "
            f"make `batch` a multiple of {world * recipe.accumulation}."
        )
    size = recipe.batch // (world * recipe.accumulation)
    every = max(1, round(recipe.validation.every * examples / recipe.batch))
    stopping = recipe.early_stopping if validate else None
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=size,
        per_device_eval_batch_size=2 * size,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=round(recipe.warmup_ratio * updates),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        gradient_checkpointing=recipe.gradient_checkpointing,
        eval_strategy="steps" if validate else "no",
        eval_steps=every if validate else None,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=stopping is not None,
        metric_for_best_model=f"eval_{stopping.by}" if stopping else None,
        greater_is_better=stopping.by != "loss" if stopping else None,
        restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, updates // _ROWS),
        logging_nan_inf_filter=False,
        # The order is made beforehand, by the recipe's data_seed.
        train_sampling_strategy="sequential",
        seed=recipe.seed,
        data_seed=recipe.data_seed,
        use_cpu=use_cpu,
        bf16=bf16,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not use_cpu,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )


def make_trainer(
    model: Any,
    tokenizer: Any,
    settings: Any,
    recipe: Recipe,
    taught: Taught,
    encoder: Encoder,
    *,
    sight: Any,
    group_sizes: Sequence[int],
    advance: Advance,
    on_log: Callable[[Sequence[Mapping[str, Any]]], None],
) -> Any:
    """Return a trainer, a subclass of TRL's SFTTrainer, with the model wrapped for LoRA.

    Args:
        model, tokenizer: the base model and its tokenizer. settings: of `arguments`. recipe: the recipe.
        taught: examples and their order. encoder: for the check of the first batch.
        sight: how batches are laid out (`attention.best_sight`). group_sizes: training examples of each group.
        advance: moves the progress bar. on_log: called with the curve so far, on the main process, at every evaluation and save.
    """
    import torch
    from datasets import Dataset as Table
    from peft import LoraConfig
    from safetensors import SafetensorError
    from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
    from trl.trainer.sft_trainer import SFTTrainer

    folder = Path(settings.output_dir)
    collator = Collator(taught.examples, taught.encoded, recipe, rows=sight == "rows")

    class Watch(TrainerCallback):
        """Moves the bar, looks at the last update too, hands on the curve, and stays stopped after a stop."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            # Patience that had run out when a kill came: the trainer forgets it when it begins again.
            control.should_training_stop = any(
                isinstance(one, EarlyStoppingCallback) and one.early_stopping_patience_counter >= one.early_stopping_patience
                for one in trainer.callback_handler.callbacks
            )
            return control

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            advance(1)
            if state.global_step >= state.max_steps and args.eval_strategy != "no":
                control.should_evaluate = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not state.is_world_process_zero:
                return
            try:
                on_log(state.log_history)
            except OSError as error:
                raise _not_saved(folder, error) from error

        on_evaluate = on_save

    class AnswerTrainer(SFTTrainer):
        """Minimises the loss of a lesson and nothing else."""

        loss_is_scaled_for_ga = False

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.lesson = Lesson(recipe, sight, group_sizes, self._before_training)
            self._first = True

        def _send_telemetry(self) -> None:
            """Nobody is told."""

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """A card is written with the adapter and not with every checkpoint."""

        def _before_training(self) -> contextlib.AbstractContextManager[Any]:
            return self.accelerator.unwrap_model(self.model).disable_adapter()

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            if self._first:
                check_first_batch(encoder, taught, inputs)
                self._first = False
            loss, parts = self.lesson.loss(model, inputs, self.accelerator.gather)
            if not torch.isfinite(loss.detach()):
                raise not_a_number(self.state.global_step + 1, recipe, folder)
            for name, value in parts.items():
                mean: Any = self.accelerator.reduce(value, "mean")
                self._metrics["train"][name].append(mean.item())
            return loss

        def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None) -> Any:
            inputs = self._prepare_inputs(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                measured = self.lesson.measure(model, inputs)
            return None, measured, inputs["example"]

        def refuse_broken_weights(self) -> None:
            """End the training where the last update made a learned weight no number; its loss was still one."""
            model: Any = self.model
            if not all(_finite(weight) for weight in model.parameters() if weight.requires_grad):
                raise not_a_number(self.state.global_step, recipe, folder)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            place = folder / f"checkpoint-{self.state.global_step}"
            self.refuse_broken_weights()
            try:
                super()._save_checkpoint(model, trial)
                if self.args.should_save:
                    write_json(place / WHOLE, {"step": self.state.global_step, "group_weights": self.lesson.group_weights})
            except (OSError, RuntimeError, SafetensorError) as error:
                # torch and safetensors each have their own way to say that the disk is full.
                raise _not_saved(place, error) from error

    def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return collator([int(row["number"]) for row in rows], every_option=bool(rows[0]["every_option"]))

    def table(numbers: Sequence[int], *, every_option: bool) -> Any:
        return Table.from_dict({"number": list(numbers), "every_option": [every_option] * len(numbers)})

    trainer = AnswerTrainer(
        model=model,
        args=settings,
        processing_class=tokenizer,
        train_dataset=table(taught.sequence, every_option=False),
        eval_dataset=table(taught.validation, every_option=True) if taught.validation else None,
        data_collator=collate,
        compute_metrics=_means,
        callbacks=[*_stopping(recipe, settings), Watch()],
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe.lora.r,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.target_modules,
        ),
    )
    # It prints what it logs on stdout, where a command's own document stands.
    trainer.remove_callback(PrinterCallback)
    return trainer


def check_first_batch(encoder: Encoder, taught: Taught, inputs: Mapping[str, Any]) -> None:
    """Assert that the tokens a batch teaches are, read back, the target texts of its examples.

    Raises:
        InputDataError: as `Encoder.check`, with the tokens as they stand in the batch.
    """
    owner, tokens = inputs["target_of"].cpu().tolist(), inputs["target_token"].cpu().tolist()
    for row, number in enumerate(inputs["example"].cpu().tolist()):
        example, encoded = taught.examples[number], taught.encoded[number]
        learned = tuple(token for token, of in zip(tokens, owner, strict=True) if of == row)
        text = example.prompt.options[example.prompt.shown.index(example.codes[example.mode])]
        end = len(encoded.written(example.mode)) - len(learned)
        encoder.check(example, encoded, learned=learned, start=end, option=text)


def whole_checkpoint(folder: Path, *, clear: bool) -> Path | None:
    """Return the last checkpoint that was written to its end, or None; with `clear`, remove those that were not."""
    found: dict[int, Path] = {}
    for place in folder.glob("checkpoint-*"):
        if (place / WHOLE).is_file():
            found[int(read_json(place / WHOLE)["step"])] = place
        elif clear:
            shutil.rmtree(place)
    return found[max(found)] if found else None


def not_a_number(step: int, recipe: Recipe, folder: Path) -> RunFailedError:
    """Return the error of a loss that is infinite or no number."""
    return RunFailedError(
        f"Tuning: the loss or a learned weight is not a number at update {step}, at a learning rate of {recipe.learning_rate:g}. Take a "
        f"lower one in another folder (the last whole checkpoint stays in {folder})."
    )


def _not_saved(folder: Path, error: Exception) -> RunFailedError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return RunFailedError(
        f"{folder}: the checkpoint could not be written ({said}). Earlier ones stand as they were; make room "
        "and call again to go on from there."
    )


def _finite(weight: Any) -> bool:
    """Say whether all numbers of a weight are finite; of one that is shared out, those of this process."""
    import torch

    here = weight.to_local() if hasattr(weight, "to_local") else weight
    return bool(torch.isfinite(here.detach()).all())


def _means(prediction: Any) -> dict[str, float]:
    measured = prediction.predictions
    return {name: float(measured[:, at].mean()) for at, name in enumerate(MEASURES)}


def _stopping(recipe: Recipe, settings: Any) -> list[Any]:
    from transformers import EarlyStoppingCallback

    stopping = recipe.early_stopping
    if stopping is None or not settings.load_best_model_at_end:
        return []
    return [EarlyStoppingCallback(early_stopping_patience=stopping.patience, early_stopping_threshold=stopping.gain)]
