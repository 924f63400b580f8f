"""A recipe as YAML settings for LLaMA-Factory and axolotl."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from valuestrata.errors import UsageError
from valuestrata.respondents.local.chat import Chat
from valuestrata.tuning.recipe import Recipe

ADAPTER = "adapter"
# Lengths are rounded up to a multiple of this many tokens.
_STEP = 64
# The recipe's name for every linear layer except the output layer; both trainers exclude it too.
_ALL = "all-linear"


@dataclass(frozen=True, slots=True)
class ExternalTraining:
    """What a trainer's settings depend on.

    Attributes:
        recipe: the recipe.
        model, revision: the base model on the Hub, or a folder.
        train, validation: rows of each file.
        longest: upper bound of the tokens of a row.
        end: the token that ends an assistant's turn; None if the tokenizer is not available.
    """

    recipe: Recipe
    model: str
    revision: str | None
    train: int
    validation: int
    longest: int
    end: str | None = None

    @property
    def length(self) -> int:
        """Maximum length in tokens. No row is longer, so no answer is cut off."""
        return -(-self.longest // _STEP) * _STEP

    @property
    def every(self) -> int:
        """Updates between evaluations."""
        return max(1, round(self.recipe.validation.every * self.train / self.recipe.batch))


def base_model(specification: str) -> tuple[str, str | None]:
    """Return name (or folder) and revision of a base model: `hf:ORG/NAME[@REVISION]`, `hf:FOLDER` or `ORG/NAME`.

    Raises:
        UsageError: other trainers cannot load the model.
    """
    kind, colon, rest = specification.partition(":")
    place = rest if colon and kind == "hf" else specification
    folder = Path(place).expanduser()
    if place and folder.is_dir():
        # The trainer runs in another folder.
        return str(folder.resolve()), None
    if (colon and kind != "hf") or not place or "+" in place or place == "embedded":
        raise UsageError(
            f"{specification}: other trainers load models of the Hub, or folders in its format; write hf:ORG/NAME or hf:FOLDER, without "
            "an adapter."
        )
    name, _, revision = place.partition("@")
    return name, revision or None


def end_of_turn(model: str, revision: str | None) -> str | None:
    """Return the token that ends an assistant's turn; None if the tokenizer is not on this machine. Nothing is downloaded.

    Raises:
        InputDataError: the tokenizer has no chat template.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import AutoTokenizer

    at = {"revision": revision} if revision else {}
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False, **at)
    except (OSError, ValueError):
        return None
    return str(tokenizer.convert_ids_to_tokens(Chat(tokenizer, model).end))


def llama_factory(training: ExternalTraining) -> dict[str, Any]:
    """Return the settings of `llamafactory-cli train` (0.9.5), with the tokenizer's own chat template."""
    recipe, modules = training.recipe, training.recipe.lora.target_modules
    settings: dict[str, Any] = {
        "model_name_or_path": training.model,
        **({"model_revision": training.revision} if training.revision else {}),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.lora.r,
        "lora_alpha": recipe.lora.alpha,
        "lora_dropout": recipe.lora.dropout,
        "lora_target": "all" if modules == _ALL else ",".join(_names(modules)),
        "dataset_dir": ".",
        "dataset": "train",
        "cutoff_len": training.length,
        # Otherwise a reasoning model would learn to think first, but it is asked without thinking.
        "enable_thinking": False,
        **_schedule(recipe),
        "per_device_train_batch_size": recipe.batch // recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        "lr_scheduler_type": _scheduler(recipe),
        "disable_gradient_checkpointing": not recipe.gradient_checkpointing,
        "data_seed": recipe.data_seed,
        "report_to": "none",
    }
    if training.validation:
        settings |= {"eval_dataset": "validation", "eval_strategy": "steps", **_evaluations(training, "early_stopping_steps")}
    return settings


def dataset_info(*, validation: bool) -> dict[str, Any]:
    """Return LLaMA-Factory's description of the training files."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    names = ("train", "validation") if validation else ("train",)
    return {
        name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags} for name in names
    }


def axolotl(training: ExternalTraining) -> dict[str, Any]:
    """Return the settings of `axolotl train` (0.19), with the tokenizer's own chat template."""
    recipe, modules = training.recipe, training.recipe.lora.target_modules
    settings: dict[str, Any] = {
        "base_model": training.model,
        **({"revision_of_model": training.revision} if training.revision else {}),
        "chat_template": "tokenizer_default",
        "chat_template_kwargs": {"enable_thinking": False},
        # The end of the turn is scored. Without this setting it is learned only if it is the tokenizer's eos token.
        **({"eot_tokens": [training.end]} if training.end else {}),
        "datasets": [_axolotl_rows("train")],
        "adapter": "lora",
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.alpha,
        "lora_dropout": recipe.lora.dropout,
        **({"lora_target_linear": True} if modules == _ALL else {"lora_target_modules": _names(modules)}),
        "sequence_len": training.length,
        "excess_length_strategy": "raise",
        "sample_packing": False,
        "dataset_prepared_path": "prepared",
        **_schedule(recipe),
        "micro_batch_size": recipe.batch // recipe.accumulation,
        "num_epochs": recipe.epochs,
        "optimizer": "adamw_torch",
        "lr_scheduler": _scheduler(recipe),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "bf16": "auto",
    }
    if training.validation:
        settings |= {"test_datasets": [_axolotl_rows("validation")], **_evaluations(training, "early_stopping_patience")}
    return settings


def as_yaml(settings: dict[str, Any], command: str) -> str:
    """Return settings as YAML, with the command that reads them as a comment."""
    return f"# {command}\n" + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)


def _schedule(recipe: Recipe) -> dict[str, Any]:
    """Return the settings with the same names in both trainers."""
    return {
        "output_dir": ADAPTER,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        "warmup_ratio": recipe.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": recipe.seed,
        "logging_steps": 10,
    }


def _evaluations(training: ExternalTraining, patience: str) -> dict[str, Any]:
    """Return the settings of evaluation and early stopping; `patience` is the trainer's name for it."""
    settings: dict[str, Any] = {"eval_steps": training.every, "save_steps": training.every}
    if (stopping := training.recipe.early_stopping) is not None:
        best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
        settings |= {patience: stopping.patience, **best}
    return settings


def _axolotl_rows(name: str) -> dict[str, Any]:
    return {
        "path": f"{name}.jsonl",
        "ds_type": "json",
        "split": "train",
        "type": "chat_template",
        "field_messages": "messages",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def _names(modules: str | list[str]) -> list[str]:
    return [modules] if isinstance(modules, str) else modules


def _scheduler(recipe: Recipe) -> str:
    return "constant_with_warmup" if recipe.scheduler == "constant" and recipe.warmup_ratio else recipe.scheduler
