"""The trainer of adapters: TRL's loop, schedules and checkpoints with the losses of `step`.

Unlike SFTTrainer it does not pad, computes a shared beginning once, and computes logits only where an answer is read. It
also checks the tokens of the first batch, ends a training whose loss is not finite, and counts only complete checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as Table
from peft import LoraConfig
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from valuestrata.errors import UsageError
from valuestrata.files import write_json
from valuestrata.progress import Advance
from valuestrata.tuning.data.encode import Encoder
from valuestrata.tuning.recipe import Recipe
from valuestrata.tuning.train.checkpoints import COMPLETE, not_finite, not_saved
from valuestrata.tuning.train.processes import processes
from valuestrata.tuning.train.readout import Layout
from valuestrata.tuning.train.step import MEASURES, Collator, EncodedExamples, TrainingStep, check_first_batch
from valuestrata.tuning.train.trl_adapter import TrlTrainer

# Training rows of the loss curve at most; a row is the mean of the updates since the last one.
_CURVE_ROWS = 500


@dataclass(frozen=True)
class TrainingContext:
    """Everything that a training needs except the model and TRL's settings.

    Attributes:
        recipe: the recipe. examples: the examples and their order. encoder: made their token ids.
        layout: how batches are laid out (`layout.best_layout`). group_sizes: training examples of each group.
        advance: moves the progress bar. on_log: takes the log so far, on the main process, at every evaluation and save.
    """

    recipe: Recipe
    examples: EncodedExamples
    encoder: Encoder
    layout: Layout
    group_sizes: Sequence[int]
    advance: Advance
    on_log: Callable[[Sequence[Mapping[str, Any]]], None]


class AnswerTrainer(TrlTrainer):
    """Trains a LoRA adapter on the loss of a recipe."""

    def __init__(self, model: Any, tokenizer: Any, settings: SFTConfig, context: TrainingContext) -> None:
        """Wrap a base model for LoRA; `settings` as from `training_arguments`."""
        recipe, examples = context.recipe, context.examples
        stopping = recipe.early_stopping if settings.load_best_model_at_end else None
        super().__init__(
            model=model,
            args=settings,
            processing_class=tokenizer,
            train_dataset=_table(examples.sequence, every_option=False),
            eval_dataset=_table(examples.validation, every_option=True) if examples.validation else None,
            data_collator=_row_collator(Collator(examples.examples, examples.encoded, recipe, rows=context.layout == "rows")),
            compute_metrics=_mean_measures,
            callbacks=[EarlyStoppingCallback(stopping.patience, stopping.gain)] if stopping is not None else [],
            peft_config=LoraConfig(
                task_type="CAUSAL_LM",
                r=recipe.lora.r,
                lora_alpha=recipe.lora.alpha,
                lora_dropout=recipe.lora.dropout,
                target_modules=recipe.lora.target_modules,
            ),
        )
        self.context = context
        self.folder = Path(str(settings.output_dir))
        self.step = TrainingStep(recipe, context.layout, context.group_sizes, self.base_model)
        self._first_batch_is_checked = False
        self.add_callback(TrainingMonitor(self))

    def training_loss(self, model: Any, batch: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return the recipe's loss and the mean losses of each kind of target token."""
        if not self._first_batch_is_checked:
            check_first_batch(self.context.encoder, self.context.examples, batch)
            self._first_batch_is_checked = True
        loss, parts = self.step.loss(model, batch, self.accelerator.gather)
        if not torch.isfinite(loss.detach()):
            raise not_finite(self.state.global_step + 1, self.context.recipe, self.folder)
        return loss, parts

    def validation_measures(self, model: Any, batch: Any) -> Any:
        """Return `step.MEASURES` of each example."""
        return self.step.measure(model, batch)

    def save_complete(self, folder: Path, write: Any) -> None:
        """Save a checkpoint and its marker; the group weights are kept in the marker."""
        self.check_weights()
        try:
            write()
            if self.args.should_save:
                write_json(folder / COMPLETE, {"step": self.state.global_step, "group_weights": self.step.group_weights})
        except (OSError, RuntimeError, SafetensorError) as error:
            # Of a full disk torch raises RuntimeError and safetensors SafetensorError.
            raise not_saved(folder, error) from error

    def check_weights(self) -> None:
        """End the training if the last update made a trained weight infinite or undefined, although its loss was finite."""
        model: Any = self.model
        if not all(_is_finite(weight) for weight in model.parameters() if weight.requires_grad):
            raise not_finite(self.state.global_step, self.context.recipe, self.folder)


class TrainingMonitor(TrainerCallback):
    """Moves the progress bar, writes the curve, evaluates after the last update, and restores an early stop."""

    def __init__(self, trainer: AnswerTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Stop again at once if patience had run out before an interruption; transformers restores the count only."""
        control.should_training_stop = any(
            isinstance(callback, EarlyStoppingCallback) and callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self._trainer.callback_handler.callbacks
        )
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Move the bar by one update."""
        self._trainer.context.advance(1)
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the curve so far."""
        if not state.is_world_process_zero:
            return
        try:
            self._trainer.context.on_log(state.log_history)
        except OSError as error:
            raise not_saved(self._trainer.folder, error) from error

    on_evaluate = on_save


def training_arguments(
    recipe: Recipe, folder: Path, updates: int, examples: int, *, validate: bool, use_cpu: bool, bf16: bool
) -> SFTConfig:
    """Return TRL's settings for a recipe.

    Args:
        recipe: the recipe. folder: where checkpoints go. updates: planned updates. examples: number of training examples.
        validate: whether there are validation pairs. use_cpu: whether to train on the CPU. bf16: whether to train in bfloat16.

    Raises:
        UsageError: the batch cannot be divided among the processes.
    """
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
        logging_steps=max(1, updates // _CURVE_ROWS),
        logging_nan_inf_filter=False,
        # `sampler.sequence` has already put the examples in order.
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


def _table(numbers: Sequence[int], *, every_option: bool) -> Any:
    return Table.from_dict({"number": list(numbers), "every_option": [every_option] * len(numbers)})


def _row_collator(collator: Collator) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
    return lambda rows: collator([int(row["number"]) for row in rows], every_option=bool(rows[0]["every_option"]))


def _is_finite(weight: Any) -> bool:
    """Whether all values of a weight are finite; of a sharded weight, the values of this process."""
    local = weight.to_local() if hasattr(weight, "to_local") else weight
    return bool(torch.isfinite(local.detach()).all())


def _mean_measures(prediction: Any) -> dict[str, float]:
    return {name: float(prediction.predictions[:, at].mean()) for at, name in enumerate(MEASURES)}
