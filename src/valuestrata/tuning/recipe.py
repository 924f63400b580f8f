"""What a model is taught and how: a recipe, read from YAML and stored, resolved, with every adapter.

A recipe holds no path and no machine: the same one runs on a processor and on many GPUs, and an update sees the same
examples on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, model_validator

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.prompts.orders import orders_from
from valuestrata.yaml_files import StrictModel, checked, parse_yaml, read_yaml

Objective = Literal["tokens", "mode", "cross-entropy", "kl", "rps", "w1", "dpo"]
Target = Literal["turn", "option"]
Chosen = Literal["loss", "accuracy_expected"]

_NAMES = "valuestrata.tuning"
_BASE = "base"


class Lora(StrictModel):
    """The adapter: low-rank updates of linear layers (Hu et al. 2021)."""

    r: int = Field(default=8, ge=1, description="rank of the updates")
    alpha: int = Field(default=16, ge=1, description="updates are scaled by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of an update's inputs left out while training")
    target_modules: str | list[str] = Field(
        default="all-linear", description="layers that get an update; `all-linear` leaves out the output layer"
    )


class Validation(StrictModel):
    """What is looked at during training."""

    samples: int = Field(default=500, ge=0, description="validation pairs at most, drawn by data_seed; 0: none")
    every: float = Field(default=0.25, gt=0, description="epochs from one evaluation to the next; a checkpoint is kept at each")


class EarlyStopping(StrictModel):
    """When training ends before its last epoch; the best checkpoint is then the adapter."""

    patience: int = Field(default=3, ge=1, description="evaluations without a gain before training ends")
    by: Chosen = Field(default="loss", description="what has to gain: the loss, or expected accuracy, of the validation pairs")
    gain: float = Field(default=0.0, ge=0, description="the smallest change that is a gain")


class Weights(StrictModel):
    """What a pair counts; weights have the mean 1 over the training pairs."""

    by: Literal["none", "shift"] = Field(
        default="none", description="`shift`: by how far a subgroup departs from the national distribution"
    )
    strength: float = Field(default=0.5, ge=0, le=1, description="of `shift`: 0 all alike, 1 in proportion to the departure")
    groups: Literal["none", "balanced", "dro"] = Field(
        default="none",
        description="`balanced`: every group counts the same; `dro`: and, as training goes, more where the loss is larger",
    )
    group_by: Literal["subgroup", "stratum"] = Field(default="subgroup", description="what a group is")
    dro_step: float = Field(default=0.01, gt=0, description="step of the group weights of `dro` (Sagawa et al. 2020)")


class Preference(StrictModel):
    """What `dpo` compares (Rafailov et al. 2023)."""

    beta: float = Field(default=0.1, gt=0, description="how dear it is to leave the model that training started from")
    rejected: Literal["drawn", "second", "least"] = Field(
        default="drawn",
        description="the code that loses to the mode: drawn by data_seed among the less likely, the second, or the least likely",
    )


class Recipe(StrictModel):
    """Everything that decides what a model learns, but for the model and the data."""

    name: str = Field(default="own", min_length=1, description="what it is called")
    description: str = Field(default="", description="what it is for, in a sentence")
    objective: Objective = Field(
        default="tokens",
        description="`tokens`: the written answer, token by token (supervised fine-tuning); `mode`: the probability of the modal option; "
        "`cross-entropy`, `kl`, `rps`, `w1`: of all options' probabilities against the gold shares; `dpo`: the mode against another code",
    )
    target: Target = Field(
        default="turn", description="of `tokens`: the whole turn (`Answer: 3`), or only the option behind the prefill that `logprob` reads"
    )
    mass_weight: float = Field(
        default=1.0,
        ge=0,
        description="of the objectives on shares: weight of -log(probability of all options together), without which nothing is "
        "said of answers that are no option",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="at its peak")
    epochs: float = Field(default=1.0, gt=0, description="times that every training pair is seen")
    max_steps: int | None = Field(default=None, ge=1, description="updates at most, whatever the epochs; the schedule ends there")
    batch: int = Field(default=8, ge=1, description="examples an update, over all processes")
    accumulation: int = Field(
        default=1, ge=1, description="passes an update; each process sees batch / accumulation / processes examples a pass"
    )
    together: int = Field(
        default=1,
        ge=1,
        description="examples with a common beginning (persona or item, whichever the template puts first) that stay side by side",
    )
    scheduler: Literal["linear", "cosine", "constant"] = Field(default="linear", description="how the learning rate goes down")
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1, description="share of the updates in which the learning rate goes up")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW")
    max_grad_norm: float = Field(default=1.0, gt=0, description="longer gradients are cut to this length")
    gradient_checkpointing: bool = Field(default=False, description="compute twice what would not fit in memory")
    lora: Lora = Field(default=Lora(), description="the adapter")
    validation: Validation = Field(default=Validation(), description="what is looked at during training")
    early_stopping: EarlyStopping | None = Field(default=None, description="when training ends early; null: never")
    weights: Weights = Field(default=Weights(), description="what a pair counts")
    preference: Preference = Field(default=Preference(), description="what `dpo` compares")
    template: str = Field(default="default", description="persona template, by name or file")
    paraphrases: str = Field(default="0", description="wordings of the template, as `ask` takes them; each is an example")
    orders: str = Field(default="scale", description="option orders, as `ask` takes them; each is an example")
    seed: int = Field(default=42, ge=0, description="of the adapter's first weights and of dropout")
    data_seed: int = Field(
        default=42, ge=0, description="of the order of examples, of the validation pairs drawn, and of what `dpo` rejects"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.batch % self.accumulation:
            raise ValueError(f"batch is {self.batch}, which {self.accumulation} passes (accumulation) do not divide")
        if self.early_stopping is not None and not self.validation.samples:
            raise ValueError("early_stopping needs validation pairs; validation.samples is 0")
        if self.target == "option" and self.objective != "tokens":
            raise ValueError(f"target is only of the objective `tokens`; {self.objective} is always of the option behind the prefill")
        try:
            orders_from(self.orders)
        except UsageError as error:
            raise ValueError(error.render("study")) from error
        return self

    @property
    def document(self) -> dict[str, Any]:
        """The recipe as a JSON-like document, every field written out."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the recipe as YAML, every field written out, each section in the order of this file."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True, width=100)


def builtin_recipes() -> list[str]:
    """Return the names of the recipes that come with valuestrata, sorted."""
    folder = resources.files(_NAMES) / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_file: str | Path, **overrides: Any) -> Recipe:
    """Read a recipe and change some of its fields.

    Args:
        name_or_file: a built-in name (see `builtin_recipes`) or the path of a YAML file. A file may name another recipe
            under `base`, and then holds only what differs.
        overrides: fields in place of the recipe's; those of a section as a mapping (`lora={"r": 16}`), which leaves its
            other fields as they are, or under a dotted name (`**{"lora.r": 16}`).

    Raises:
        UsageError: no such recipe, a field that does not exist, or a value that makes no sense among `overrides`.
        InputDataError: the file is absent, not YAML, or has a key or value that is not known.
    """
    where, document = _read(name_or_file, ())
    recipe = checked(Recipe, document, where)
    if not overrides:
        return recipe
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        changes = _merged(changes, _nested(key, value))
    _check_fields(Recipe, changes, "")
    try:
        return checked(Recipe, _merged(document, changes), f"recipe {recipe.name}")
    except InputDataError as error:
        raise UsageError(error.message) from error


def _read(name_or_file: str | Path, seen: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return where a recipe stands, for messages, and its document with everything that its bases say."""
    text = str(name_or_file)
    names = builtin_recipes()
    if text in names:
        where = f"{text}.yaml"
        document = parse_yaml((resources.files(_NAMES) / "recipes" / where).read_text(encoding="utf-8"), where)
    else:
        if not Path(text).is_file():
            raise UsageError(f"There is no recipe {text!r}: it is neither a built-in one nor a file.{did_you_mean(text, names)}")
        where, document = text, read_yaml(Path(text))
    if not isinstance(document, dict):
        raise InputDataError(f"{where}: a recipe is a list of `field: value`; found {type(document).__name__}.")
    found: dict[str, Any] = dict(document)
    if _BASE not in found:
        return where, found
    base = str(found.pop(_BASE))
    if text in seen:
        raise InputDataError(f"{where}: its base leads back to itself: {' -> '.join((*seen, text))}.")
    beside = Path(text).parent / base
    _, below = _read(base if base in names or not beside.is_file() else beside, (*seen, text))
    return where, _merged(below, found)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        section = merged.get(key)
        merged[key] = _merged(section, value) if isinstance(section, dict) and isinstance(value, dict) else value
    return merged


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, dot, rest = key.partition(".")
    return {first: _nested(rest, value)} if dot else {first: value}


def _check_fields(model: type[BaseModel], changes: Mapping[str, Any], place: str) -> None:
    for key, value in changes.items():
        if key not in model.model_fields:
            raise UsageError(f"A recipe has no field {place + key!r}.{did_you_mean(key, model.model_fields)}")
        section = _section_of(model.model_fields[key].annotation)
        if section is not None and isinstance(value, dict):
            _check_fields(section, value, f"{place}{key}.")


def _section_of(annotation: Any) -> type[BaseModel] | None:
    kinds = getattr(annotation, "__args__", (annotation,))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
