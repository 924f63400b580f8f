"""A recipe as a request to Together's fine-tuning service, within the limits of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from valuestrata.errors import UsageError
from valuestrata.tuning.recipe import Recipe

# Evaluations before Together starts to count patience.
_WARM_UP = 1


def job_request(
    recipe: Recipe, model: str, limits: Mapping[str, Any], *, train: str, validation: str | None, longest: int, tag: str
) -> dict[str, Any]:
    """Return the body of `POST /fine-tunes`.

    Args:
        recipe: the recipe. model: the base model's name at Together.
        limits: reply of `GET /fine-tunes/models/limits`.
        train, validation: ids of the uploaded files.
        longest: upper bound of the tokens of a row.
        tag: suffix of the tuned model's name, by which the job can be found.

    Raises:
        UsageError: the recipe is beyond the limits; names the field and the limit.
    """
    lora: Mapping[str, Any] = limits["lora_training"]
    _within(recipe, model, "lora.r", recipe.lora.r, most=lora["max_rank"])
    _within(recipe, model, "learning_rate", recipe.learning_rate, least=limits["min_learning_rate"], most=limits["max_learning_rate"])
    epochs = int(recipe.epochs)
    if epochs != recipe.epochs or recipe.max_steps is not None:
        raise UsageError(
            f"Recipe {recipe.name!r}: Together trains whole epochs and has no max_steps; set `epochs` to 1, 2, ... and max_steps to null."
        )
    _within(recipe, model, "epochs", epochs, most=limits["max_num_epochs"])
    if longest > limits["max_seq_length_sft"]:
        raise UsageError(
            f"Together trains {model} on rows of at most {limits['max_seq_length_sft']:,} tokens (max_seq_length_sft), but a row may have "
            f"{longest:,}. Use another model or shorten the template."
        )
    size, passes = _batch(recipe, model, lora)
    modules = recipe.lora.target_modules
    body: dict[str, Any] = {
        "model": model,
        "training_file": train,
        "n_epochs": epochs,
        "n_checkpoints": 1,
        "batch_size": size,
        "gradient_accumulation_steps": passes,
        # With packing the number of examples per batch would vary.
        "packing": False,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler": _scheduler(recipe),
        "warmup_ratio": recipe.warmup_ratio,
        "max_grad_norm": recipe.max_grad_norm,
        "weight_decay": recipe.weight_decay,
        "training_type": {
            "type": "Lora",
            "lora_r": recipe.lora.r,
            "lora_alpha": recipe.lora.alpha,
            "lora_dropout": recipe.lora.dropout,
            "lora_trainable_modules": modules if isinstance(modules, str) else ",".join(modules),
        },
        "training_method": {"method": "sft", "train_on_inputs": False},
        "random_seed": recipe.seed,
        "suffix": tag,
    }
    if validation is not None:
        body |= {"validation_file": validation} | _evaluations(recipe, model, epochs, limits["max_num_evals"])
    return body


def _evaluations(recipe: Recipe, model: str, epochs: int, most: int) -> dict[str, Any]:
    wanted = max(1, math.ceil(epochs / recipe.validation.every))
    stopping = recipe.early_stopping
    if stopping is None:
        return {"n_evals": min(wanted, most)}
    needed = stopping.patience + _WARM_UP + 1
    if needed > most:
        raise UsageError(
            f"Together evaluates {model} at most {most} times (max_num_evals); early_stopping.patience {stopping.patience} needs {needed}."
        )
    return {
        "n_evals": min(max(wanted, needed), most),
        "early_stopping_enabled": True,
        "early_stopping_patience": stopping.patience,
        "early_stopping_min_delta": stopping.gain,
        "early_stopping_warmup_evals": _WARM_UP,
    }


def _within(recipe: Recipe, model: str, field: str, value: float, *, least: float | None = None, most: float | None = None) -> None:
    # A limit of 0 means no limit.
    if (least and value < least) or (most and value > most):
        bounds = " and ".join([f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if bound])
        raise UsageError(f"Recipe {recipe.name!r}: {field} is {value:g}; Together trains {model} with {bounds}.")


def _batch(recipe: Recipe, model: str, lora: Mapping[str, Any]) -> tuple[int, int]:
    """Return batch size and passes per update; their product is the recipe's batch."""
    least, most = max(1, lora["min_batch_size"]), lora["max_batch_size"]
    sizes = [size for size in range(least, min(most, recipe.batch) + 1) if recipe.batch % size == 0]
    if not sizes:
        raise UsageError(
            f"Recipe {recipe.name!r}: batch is {recipe.batch}; Together trains {model} in batches of {least} to {most} or their multiples."
        )
    return sizes[-1], recipe.batch // sizes[-1]


def _scheduler(recipe: Recipe) -> dict[str, Any]:
    if recipe.scheduler == "cosine":
        return {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}}
    # A linear schedule that ends at its start value is constant.
    return {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 1.0 if recipe.scheduler == "constant" else 0.0}}
