"""A recipe in the words of LLaMA-Factory and of axolotl: the YAML that their command lines read, made for the folder it lies in."""

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
# Lengths are rounded up to this many tokens.
_STEP = 64
# A recipe's word for every linear layer but the output layer; both trainers leave that out as well.
_ALL = "all-linear"


@dataclass(frozen=True, slots=True)
class Job:
    """What a trainer's settings are made for.

    Attributes:
        recipe: the recipe.
        model, revision: the base model as the Hub has it, or a folder.
        train, validation: rows of each file.
        longest: tokens of the longest row at most.
        end: the token that ends an assistant's turn; None where the tokenizer could not be asked.
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
        """Tokens that no row exceeds: what a trainer cuts off would be the answer."""
        return -(-self.longest // _STEP) * _STEP

    @property
    def every(self) -> int:
        """Updates from one evaluation to the next."""
        return max(1, round(self.recipe.validation.every * self.train / self.recipe.batch))


def base_model(word: str) -> tuple[str, str | None]:
    """Return name (or folder) and revision of a base model that other trainers can load: `hf:ORG/NAME[@REVISION]` or `ORG/NAME`.

    Raises:
        UsageError: a model that only this machine has in another form.
    """
    kind, colon, rest = word.partition(":")
    place = rest if colon and kind == "hf" else word
    folder = Path(place).expanduser()
    if place and folder.is_dir():
        # The settings are read in another folder.
        return str(folder.resolve()), None
    if (colon and kind != "hf") or not place or "+" in place or place == "embedded":
        raise UsageError(
            f"{word}: other trainers load models of the Hub, or folders in its form; write hf:ORG/NAME or hf:FOLDER, without an adapter."
        )
    name, _, revision = place.partition("@")
    return name, revision or None


def end_of_turn(model: str, revision: str | None) -> str | None:
    """Return the token that ends an assistant's turn in a model's chat template; None where its tokenizer is not on this machine.

    Nothing is fetched: an export needs no network.

    Raises:
        InputDataError: the tokenizer has no chat template.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True, **({"revision": revision} if revision else {}))
    except (OSError, ValueError):
        return None
    return str(tokenizer.convert_ids_to_tokens(Chat(tokenizer, model).end))


def llama_factory(job: Job) -> dict[str, Any]:
    """Return the settings of `llamafactory-cli train` (0.9.5). The chat template is the tokenizer's own."""
    recipe = job.recipe
    settings: dict[str, Any] = {
        "model_name_or_path": job.model,
        **({"model_revision": job.revision} if job.revision else {}),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.lora.r,
        "lora_alpha": recipe.lora.alpha,
        "lora_dropout": recipe.lora.dropout,
        "lora_target": "all" if recipe.lora.target_modules == _ALL else ",".join(_names(recipe.lora.target_modules)),
        "dataset_dir": ".",
        "dataset": "train",
        "cutoff_len": job.length,
        # Without it a reasoning model would learn to answer behind a monologue, which is not how it is asked here.
        "enable_thinking": False,
        "output_dir": ADAPTER,
        "per_device_train_batch_size": recipe.batch // recipe.accumulation,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "num_train_epochs": recipe.epochs,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        "lr_scheduler_type": _scheduler(recipe),
        "warmup_ratio": recipe.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "disable_gradient_checkpointing": not recipe.gradient_checkpointing,
        "seed": recipe.seed,
        "data_seed": recipe.data_seed,
        "logging_steps": 10,
        "report_to": "none",
    }
    if job.validation:
        settings |= {"eval_dataset": "validation", "eval_strategy": "steps", "eval_steps": job.every, "save_steps": job.every}
        if recipe.early_stopping is not None:
            settings |= {
                "early_stopping_steps": recipe.early_stopping.patience,
                "load_best_model_at_end": True,
                "metric_for_best_model": "eval_loss",
                "greater_is_better": False,
            }
    return settings


def dataset_info(*, validation: bool) -> dict[str, Any]:
    """Return LLaMA-Factory's description of the files beside it."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    names = ("train", "validation") if validation else ("train",)
    return {
        name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags} for name in names
    }


def axolotl(job: Job) -> dict[str, Any]:
    """Return the settings of `axolotl train` (0.19). The chat template is the tokenizer's own."""
    recipe = job.recipe
    modules = recipe.lora.target_modules
    target: dict[str, Any] = {"lora_target_linear": True} if modules == _ALL else {"lora_target_modules": _names(modules)}
    settings: dict[str, Any] = {
        "base_model": job.model,
        **({"revision_of_model": job.revision} if job.revision else {}),
        "chat_template": "tokenizer_default",
        "chat_template_kwargs": {"enable_thinking": False},
        # The end of the turn is scored with the answer. Without this it is learned only where it is the tokenizer's eos token.
        **({"eot_tokens": [job.end]} if job.end else {}),
        "datasets": [_rows_of("train")],
        "adapter": "lora",
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.alpha,
        "lora_dropout": recipe.lora.dropout,
        **target,
        "sequence_len": job.length,
        "excess_length_strategy": "raise",
        "sample_packing": False,
        "dataset_prepared_path": "prepared",
        "output_dir": ADAPTER,
        "micro_batch_size": recipe.batch // recipe.accumulation,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "num_epochs": recipe.epochs,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        "optimizer": "adamw_torch",
        "lr_scheduler": _scheduler(recipe),
        "warmup_ratio": recipe.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "bf16": "auto",
        "seed": recipe.seed,
        "logging_steps": 10,
    }
    if job.validation:
        settings |= {"test_datasets": [_rows_of("validation")], "eval_steps": job.every, "save_steps": job.every}
        if recipe.early_stopping is not None:
            settings |= {
                "early_stopping_patience": recipe.early_stopping.patience,
                "load_best_model_at_end": True,
                "metric_for_best_model": "eval_loss",
                "greater_is_better": False,
            }
    return settings


def _rows_of(name: str) -> dict[str, Any]:
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


def as_yaml(settings: dict[str, Any], command: str) -> str:
    """Return settings as YAML under the command that reads them."""
    return f"# {command}\n" + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
