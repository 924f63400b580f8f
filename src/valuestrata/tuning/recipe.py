"""Training recipes: read from YAML, and stored with every adapter.

A recipe does not depend on the machine: an update sees the same examples on one CPU and on several GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, model_validator

from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.prompts.orders import orders_from
from valuestrata.yaml_files import StrictModel, Yaml, checked, parse_yaml, read_yaml

Objective = Literal["tokens", "mode", "cross-entropy", "kl", "rps", "w1", "dpo"]
Target = Literal["turn", "option"]
Chosen = Literal["loss", "accuracy_expected"]

_NAMES = "valuestrata.tuning"
_BASE = "base"


class Lora(StrictModel):
    """Low-rank updates of linear layers (Hu et al. 2021)."""

    r: int = Field(default=8, ge=1, description="rank of the updates")
    alpha: int = Field(default=16, ge=1, description="updates are scaled by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout rate of the inputs of an update")
    target_modules: str | list[str] = Field(
        default="all-linear", description="layers with an update; `all-linear` excludes the output layer"
    )


class Validation(StrictModel):
    """Evaluation during training."""

    samples: int = Field(default=500, ge=0, description="maximum number of validation pairs, drawn by data_seed; 0 for none")
    every: float = Field(default=0.25, gt=0, description="epochs between evaluations; each evaluation saves a checkpoint")


class EarlyStopping(StrictModel):
    """When to stop before the last epoch; the best checkpoint then becomes the adapter."""

    patience: int = Field(default=3, ge=1, description="evaluations without improvement before training stops")
    by: Chosen = Field(default="loss", description="measure that has to improve on the validation pairs: loss or expected accuracy")
    gain: float = Field(default=0.0, ge=0, description="smallest change that counts as an improvement")


class PairWeights(StrictModel):
    """Weights of the training pairs, with mean 1."""

    by: Literal["none", "shift"] = Field(
        default="none", description="`shift`: by how far a subgroup departs from the national distribution"
    )
    strength: float = Field(default=0.5, ge=0, le=1, description="strength of `shift`: 0 for equal weights, 1 for proportional ones")
    groups: Literal["none", "balanced", "dro"] = Field(
        default="none",
        description="`balanced`: equal total weight per group; `dro`: also raise the weight of groups with a larger loss during training",
    )
    group_by: Literal["subgroup", "stratum"] = Field(default="subgroup", description="what a group is")
    dro_step: float = Field(default=0.01, gt=0, description="step size of `dro` (Sagawa et al. 2020)")


class Preference(StrictModel):
    """The comparison of `dpo` (Rafailov et al. 2023)."""

    beta: float = Field(default=0.1, gt=0, description="penalty for departing from the base model")
    rejected: Literal["drawn", "second", "least"] = Field(
        default="drawn",
        description="rejected code: drawn by data_seed among those less likely than the mode, the second likeliest, or the least likely",
    )


class Recipe(StrictModel):
    """All training settings except the model and the data."""

    name: str = Field(default="own", min_length=1, description="name of the recipe")
    description: str = Field(default="", description="its purpose, in one sentence")
    objective: Objective = Field(
        default="tokens",
        description="`tokens`: the written answer, token by token (supervised fine-tuning); `mode`: the probability of the modal option; "
        "`cross-entropy`, `kl`, `rps`, `w1`: all options' probabilities against the gold shares; `dpo`: the mode against another code",
    )
    target: Target = Field(
        default="turn", description="target of `tokens`: the whole turn (`Answer: 3`), or only the option after the prefill of `logprob`"
    )
    mass_weight: float = Field(
        default=1.0,
        ge=0,
        description="for objectives on shares: weight of -log(total probability of all options), which penalises other answers",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="peak learning rate")
    epochs: float = Field(default=1.0, gt=0, description="how often every training pair is seen")
    max_steps: int | None = Field(default=None, ge=1, description="maximum number of updates; the schedule ends there")
    batch: int = Field(default=8, ge=1, description="examples per update, over all processes")
    accumulation: int = Field(
        default=1, ge=1, description="passes per update; each process sees batch / accumulation / processes examples per pass"
    )
    together: int = Field(
        default=1,
        ge=1,
        description="number of examples with a common beginning (persona or item, whichever the template puts first) to keep together",
    )
    scheduler: Literal["linear", "cosine", "constant"] = Field(default="linear", description="decay of the learning rate")
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1, description="share of updates in which the learning rate rises")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are clipped to this norm")
    gradient_checkpointing: bool = Field(default=False, description="recompute activations to save memory")
    lora: Lora = Field(default=Lora(), description="the adapter")
    validation: Validation = Field(default=Validation(), description="evaluation during training")
    early_stopping: EarlyStopping | None = Field(default=None, description="when to stop early; null for never")
    weights: PairWeights = Field(default=PairWeights(), description="weights of the training pairs")
    preference: Preference = Field(default=Preference(), description="the comparison of `dpo`")
    template: str = Field(default="default", description="persona template, by name or file")
    paraphrases: str = Field(default="0", description="wordings of the template, as for `ask`; each is an example")
    orders: str = Field(default="scale", description="option orders, as for `ask`; each is an example")
    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of the adapter's initial weights and of dropout")
    data_seed: int = Field(
        default=42, ge=0, lt=2**32, description="seed of the order of examples, the drawn validation pairs and the codes that `dpo` rejects"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.batch % self.accumulation:
            raise ValueError(f"batch is {self.batch}; it must be a multiple of accumulation, {self.accumulation}")
        if self.early_stopping is not None and not self.validation.samples:
            raise ValueError("early_stopping needs validation pairs; validation.samples is 0")
        if self.target == "option" and self.objective != "tokens":
            raise ValueError(f"target applies to the objective `tokens` only; {self.objective} always uses the option after the prefill")
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
        """Return the recipe as YAML with every field, in the order of this file."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True, width=100)


def builtin_recipes() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    folder = resources.files(_NAMES) / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_file: str | Path, /, **overrides: Any) -> Recipe:
    """Read a recipe and change some of its fields.

    Args:
        name_or_file: a built-in name (see `builtin_recipes`) or the path of a YAML file. A file may name another recipe
            under `base` and override some of its fields.
        overrides: new values of fields; those of a section as a mapping (`lora={"r": 16}`) or with a dotted name
            (`**{"lora.r": 16}`). Other fields of the section keep their values.

    Raises:
        UsageError: an unknown recipe, or an unknown field or invalid value in `overrides`.
        InputDataError: the file is missing, not YAML, or has an unknown key or invalid value.
    """
    source, document = _read(name_or_file, ())
    recipe = checked(Recipe, document, source)
    if not overrides:
        return recipe
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        changes = merged_fields(changes, _nested(key, value))
    _check_fields(Recipe, changes, "")
    try:
        return checked(Recipe, merged_fields(document, changes), f"recipe {recipe.name}")
    except InputDataError as error:
        raise UsageError(error.message) from error


def recipe_with(name_or_file: str | Path, settings: Sequence[str]) -> Recipe:
    """Read a recipe and change fields that are given as `FIELD=VALUE`, such as `learning_rate=1e-3` or `lora.r=16`.

    A value is a number, a text, `true`, `false`, `null`, or a YAML list or mapping on one line. The type of the field decides how it is
    read.

    Raises:
        UsageError: a setting without an equals sign, or given twice; and the errors of `load_recipe`.
        InputDataError: a value that is not YAML; and the errors of `load_recipe`.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(Option("set", setting), ": expected FIELD=VALUE, such as learning_rate=1e-3.")
        if key in changes:
            raise UsageError(Option("set", setting), f": the field {key!r} is set twice. Set it once.")
        value = parse_yaml(text, f"set {key}", scalars="text").document
        changes[key] = None if value == "null" else value
    return load_recipe(name_or_file, **changes)


def recipe_of(recipe: Recipe | str | Path, *, seed: int | None = None, max_steps: int | None = None) -> Recipe:
    """Return a recipe, or read it by name or file, with another seed for both weights and data, or another number of updates."""
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    changes = {"seed": seed, "data_seed": seed, "max_steps": max_steps}
    document = chosen.document | {name: value for name, value in changes.items() if value is not None}
    try:
        return checked(Recipe, document, f"recipe {chosen.name}")
    except InputDataError as error:
        raise UsageError(error.message) from error


def _read(name_or_file: str | Path, seen: tuple[str, ...]) -> tuple[Yaml, dict[str, Any]]:
    """Return a recipe's file, for messages, and its fields together with those of its bases."""
    text = str(name_or_file)
    names = builtin_recipes()
    if text in names:
        name = f"{text}.yaml"
        source = parse_yaml((resources.files(_NAMES) / "recipes" / name).read_text(encoding="utf-8"), name)
    else:
        if not Path(text).is_file():
            raise UsageError(f"There is no recipe {text!r}: it is neither a built-in name nor a file.{did_you_mean(text, names)}")
        source = read_yaml(text)
    found: dict[str, Any] = dict(source.mapping())
    if (own := Path(text).parent / str(found.get("template", ""))).is_file():
        # A template in a file is relative to the folder of the recipe, like `base`.
        found["template"] = str(own)
    if _BASE not in found:
        return source, found
    base = str(found.pop(_BASE))
    if text in seen:
        raise InputDataError(f"{source.place(_BASE)}: `base` refers back to the recipe itself: {' -> '.join((*seen, text))}.")
    beside = Path(text).parent / base
    _, below = _read(base if base in names or not beside.is_file() else beside, (*seen, text))
    return source, merged_fields(below, found)


def merged_fields(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a recipe with some replaced; sections keep the fields that are not named."""
    merged = dict(below)
    for key, value in above.items():
        section = merged.get(key)
        merged[key] = merged_fields(section, value) if isinstance(section, dict) and isinstance(value, dict) else value
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
