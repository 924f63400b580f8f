"""The section `tune`: recipes, models, controls and splits of a tuning study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from valuestrata.study.config.sections import FolderName, strings_as
from valuestrata.yaml_files import StrictModel

# The same as `tuning.data.CONTROLS`, repeated because reading a study must not need the libraries for tuning.
TuningControl = Literal["no-persona", "country-only", "shuffled-persona"]


class RecipeEntry(StrictModel):
    """A recipe with changed fields; `controls` null means those of the section."""

    recipe: str
    name: FolderName | None = None
    change: dict[str, Any] = Field(default_factory=dict[str, Any])
    controls: list[TuningControl] | None = None

    @property
    def known_as(self) -> str:
        """`name`, else the recipe's own name or that of its file."""
        return self.name or Path(self.recipe).stem


class SplitEntry(StrictModel):
    """A split to train and test in; without `fold` all its folds, each with its own adapters."""

    scheme: FolderName
    fold: int | None = Field(default=None, ge=0)


class TuneSection(StrictModel):
    """Models to tune, recipes, controls, and splits to train and test in."""

    recipes: list[RecipeEntry] = Field(
        min_length=1,
        description="list of names or YAML files of recipes (docs/tuning.md), or of mappings: `recipe`, `name`, `change` (fields that "
        "replace the recipe's), `controls` (replaces the section's)",
    )
    change: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="fields that replace those of every recipe, such as `{learning_rate: 1.0e-3, max_steps: 120}`",
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default_factory=list[int],
        description="list of training seeds, each for weights and data; every recipe and control is trained with each. Two or more are "
        "needed to show a gain; three to five are better",
    )
    vary: list[Literal["order", "paraphrase", "template"]] = Field(
        description="which of these the intervals of gains include, if there are several; the seed is always included. A study asks one "
        "template, so only `orders` and `paraphrases` of `ask` add to it",
        default_factory=lambda: cast('list[Literal["order", "paraphrase", "template"]]', ["order", "paraphrase", "template"]),
    )
    models: list[str] = Field(default_factory=list[str], description="names of the models to tune; all models of the study are asked")
    controls: list[TuningControl] = Field(
        default_factory=lambda: cast("list[TuningControl]", ["no-persona"]),
        description="each recipe is also trained under these: `no-persona`, `country-only`, `shuffled-persona`",
    )
    swapped: bool = Field(default=True, description="also ask each tuned model with shuffled personas (`control:shuffled-persona@`)")
    splits: list[SplitEntry] = Field(
        default_factory=list[SplitEntry],
        description="list of schemes, or of `{scheme, fold}`; without `fold`, every fold is trained separately and all are scored together",
    )
    test_pairs: int | None = Field(default=None, ge=1, description="maximum test pairs per split or fold, sampled with `seeds.split`")
    forgetting: bool = Field(default=True, description="run the forgetting check on each adapter, for its model card")

    @field_validator("recipes", mode="before")
    @classmethod
    def _strings_are_recipes(cls, value: Any) -> Any:
        return strings_as(value, "recipe")

    @field_validator("splits", mode="before")
    @classmethod
    def _strings_are_splits(cls, value: Any) -> Any:
        return strings_as(value, "scheme")

    @model_validator(mode="after")
    def _names_and_seeds_are_unique(self) -> Self:
        for what, names in (
            ("recipes", [entry.known_as for entry in self.recipes]),
            ("splits", [split_name(entry.scheme, entry.fold) for entry in self.splits]),
        ):
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(
                    f"two of its {what} are both called {repeated[0]!r}" + ("; give one a `name`" if what == "recipes" else "")
                )
        if repeated := sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1}):
            raise ValueError(f"the seed {repeated[0]} is listed twice")
        for entry in self.recipes:
            if self.seeds and (fixed := sorted({"seed", "data_seed"} & {*self.change, *entry.change})):
                raise ValueError(f"the recipe {entry.known_as!r} changes `{fixed[0]}`, which `seeds` sets; remove one of them")
        return self


def split_name(scheme: str, fold: int | None) -> str:
    """Name a split and fold as folders and runs do: `paper`, `unseen-item-fold-0`, `paper-disjoint`."""
    return scheme.replace("+", "-") + ("" if fold is None else f"-fold-{fold}")
