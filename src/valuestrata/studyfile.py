"""What a study's YAML may say: its sections, read with the right key named where one is misspelt."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from valuestrata.building import BuildSettings, paper_preset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.base import Elicitation
from valuestrata.respondents.models import ModelSettings
from valuestrata.responses.beside import kinds_of
from valuestrata.scores.phrases import DIRECTED
from valuestrata.scores.plan import Plan
from valuestrata.yamlfile import StrictModel, checked, read_yaml

# As `tuning.data.CONTROLS`; written out, because a study may be read where nothing can be tuned.
TuningControl = Literal["no-persona", "country-only", "shuffled-persona"]


class SurveySection(StrictModel):
    """Which file, read how."""

    file: str
    codebook: str | None = None
    countries: list[str] = Field(default_factory=list[str])
    items: list[str] = Field(default_factory=list[str])
    attributes: list[str] = Field(default_factory=list[str])
    labels: str | None = None
    levels: str | None = None
    wording: str | None = None
    strict: bool = False

    @field_validator("countries", mode="before")
    @classmethod
    def _codes_are_words(cls, value: Any) -> Any:
        # A numeric country code (702) is as good as SGP.
        return [str(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else value


class BuildSection(StrictModel):
    """Which subgroups, with which minima."""

    preset: Literal["paper"] | None = None
    strata: list[str] = Field(default_factory=list[str])
    order: int = Field(default=2, ge=1, le=3)
    min_respondents: int = Field(default=30, ge=1)
    min_valid: float = Field(default=30.0, ge=1)
    weighted: bool = True
    draws: int = Field(default=1000, ge=10)


class SplitSection(StrictModel):
    """Which pairs are asked and scored."""

    scheme: str = "paper"
    part: Literal["train", "validation", "test", "all"] = "test"
    fold: int | None = Field(default=None, ge=0)
    train_on: str | None = None


class AskSection(StrictModel):
    """How answers are drawn out; a model may override each key."""

    elicitation: Elicitation = "logprob"
    template: str = "default"
    paraphrases: str = "0"
    orders: str = "scale"
    samples: int = Field(default=1, ge=1)
    items: list[str] = Field(default_factory=list[str])
    strata: list[str] = Field(default_factory=list[str])
    max_calls: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)


class SeedsSection(StrictModel):
    """Every seed, apart."""

    half: int = 0
    redraw: int = 0
    split: int = 42
    sampling: int = 0
    persona: int = 0
    bootstrap: int = 0


class ModelSection(StrictModel):
    """One model of the study; null keys take the study's `ask` section."""

    model: str
    name: str | None = None
    device: str | None = None
    elicitation: Elicitation | None = None
    template: str | None = None
    paraphrases: str | None = None
    orders: str | None = None
    samples: int | None = Field(default=None, ge=1)
    max_calls: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=0.0, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1)
    constrain: bool = False
    base_url: str | None = None
    concurrency: int = Field(default=64, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=6, ge=1)
    prices: tuple[float, float] | None = None
    extra: dict[str, Any] = Field(default_factory=dict[str, Any])

    def settings(self, seeds: SeedsSection) -> ModelSettings:
        """Return how this model is loaded or called, with the study's seeds."""
        own = self.model_dump(include={field.name for field in fields(ModelSettings)})
        return ModelSettings(**own, seed=seeds.sampling, persona_seed=seeds.persona)

    @property
    def run_name(self) -> str:
        """Folder name of the run: `name`, else the model's word with what a path cannot hold replaced."""
        return self.name or re.sub(r"[^A-Za-z0-9._+@=-]+", "-", self.model)


class ScoreSection(StrictModel):
    """How scores get their intervals, and which baselines stand beside the study's own models (`all`, `cheap`, `none` or kinds)."""

    bootstrap: int = Field(default=1000, ge=0)
    baselines: str = "all"
    against: str | None = None

    @field_validator("baselines")
    @classmethod
    def _baselines_are_known(cls, value: str) -> str:
        try:
            kinds_of(value)
        except UsageError as error:
            # The reader of the YAML adds file and key.
            raise ValueError(str(error)) from error
        return value


class AuditSection(StrictModel):
    """Who is served worse: what is audited, and the run that the others are compared with as before and after."""

    against: str | None = None
    metrics: list[str] = Field(default_factory=lambda: ["accuracy", "nmae"])
    permutations: int = Field(default=2000, ge=0)
    mixed: Literal["penalised", "bayes"] = "penalised"

    @field_validator("metrics")
    @classmethod
    def _metrics_are_known(cls, value: list[str]) -> list[str]:
        for metric in value:
            if metric not in DIRECTED:
                raise ValueError(f"{metric!r} cannot be audited: it must say who is served worse.{did_you_mean(metric, DIRECTED)}")
        return value


class RecipeEntry(StrictModel):
    """One recipe to teach by, `change` in place of some of its fields; `controls` null takes those of the section."""

    recipe: str
    name: str | None = None
    change: dict[str, Any] = Field(default_factory=dict[str, Any])
    controls: list[TuningControl] | None = None

    @property
    def known_as(self) -> str:
        """`name`, else the recipe's own name or that of its file."""
        return self.name or Path(self.recipe).stem


class SplitEntry(StrictModel):
    """One split to teach and test in; without `fold` all its folds, each taught apart."""

    scheme: str
    fold: int | None = Field(default=None, ge=0)


class TuneSection(StrictModel):
    """Which models are taught by which recipes, under which controls, and tested in which splits."""

    recipes: list[RecipeEntry] = Field(min_length=1)
    models: list[str] = Field(default_factory=list[str])
    controls: list[TuningControl] = Field(default_factory=lambda: cast("list[TuningControl]", ["no-persona"]))
    swapped: bool = True
    splits: list[SplitEntry] = Field(default_factory=list[SplitEntry])
    test_pairs: int | None = Field(default=None, ge=1)
    forgetting: bool = True

    @field_validator("recipes", mode="before")
    @classmethod
    def _bare_words_are_recipes(cls, value: Any) -> Any:
        return _each_as(value, "recipe")

    @field_validator("splits", mode="before")
    @classmethod
    def _bare_words_are_splits(cls, value: Any) -> Any:
        return _each_as(value, "scheme")

    @model_validator(mode="after")
    def _names_tell_apart(self) -> Self:
        for what, names in (
            ("recipes", [entry.known_as for entry in self.recipes]),
            ("splits", [split_name(entry.scheme, entry.fold) for entry in self.splits]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two of its {what} are both called {twice[0]!r}" + ("; give one a `name`" if what == "recipes" else ""))
        return self


class ReportSection(StrictModel):
    """What the report says beside the numbers."""

    title: str | None = None
    published: bool = True


class Study(StrictModel):
    """A whole study, as its YAML says."""

    name: str
    output: str | None = None
    survey: SurveySection
    build: BuildSection = Field(default_factory=BuildSection)
    split: SplitSection = Field(default_factory=SplitSection)
    ask: AskSection = Field(default_factory=AskSection)
    models: list[ModelSection] = Field(min_length=1)
    plan: Plan = Field(default_factory=Plan)
    seeds: SeedsSection = Field(default_factory=SeedsSection)
    score: ScoreSection = Field(default_factory=ScoreSection)
    audit: AuditSection | None = None
    tune: TuneSection | None = None
    report: ReportSection = Field(default_factory=ReportSection)

    @field_validator("audit", mode="before")
    @classmethod
    def _a_bare_yes_is_an_audit(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("models", mode="before")
    @classmethod
    def _bare_words_are_models(cls, value: Any) -> Any:
        return _each_as(value, "model")

    @property
    def folder(self) -> Path:
        """Where the study's results lie: `output`, else runs/NAME."""
        return Path(self.output or f"runs/{self.name}")

    @property
    def settings(self) -> BuildSettings:
        """The build settings, preset applied."""
        section = self.build
        settings = BuildSettings(
            strata=tuple(section.strata),
            order=section.order,
            min_respondents=section.min_respondents,
            min_valid=section.min_valid,
            weighted=section.weighted,
            draws=section.draws,
            half_seed=self.seeds.half,
            redraw_seed=self.seeds.redraw,
            split_seed=self.seeds.split,
        )
        return paper_preset(settings) if section.preset == "paper" else settings


def split_name(scheme: str, fold: int | None) -> str:
    """Name a split and fold as folders and runs do: `paper`, `unseen-item-fold-0`, `paper-disjoint`."""
    return scheme.replace("+", "-") + ("" if fold is None else f"-fold-{fold}")


def _each_as(value: Any, key: str) -> Any:
    """Return a list of bare words as mappings that hold each under `key`; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [{key: entry} if isinstance(entry, str) else entry for entry in cast("list[Any]", value)]


def load_study(file: str | Path) -> Study:
    """Read a study file; paths in it are relative to its folder.

    Raises:
        InputDataError: not YAML, a key that is not known (the right one is suggested), or a value of the wrong kind.
        UsageError: two models would write the same run.
    """
    path = Path(file)
    study = checked(Study, read_yaml(path), str(path))
    return _check_names(_relative_to(study, path.parent), str(path))


def _check_names(study: Study, where: str) -> Study:
    names = [model.run_name for model in study.models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: two models would both write the run {twice[0]!r}; give one of them a `name`.")
    return study


def _relative_to(study: Study, folder: Path) -> Study:
    def place(value: str | None) -> str | None:
        return None if value is None else str(folder / value)

    survey = study.survey
    # A codebook and a template may be a built-in's name instead of a path.
    codebook = place(survey.codebook) if survey.codebook and (folder / survey.codebook).is_file() else survey.codebook
    file = survey.file if survey.file == "embedded" else str(folder / survey.file)
    moved = survey.model_copy(
        update={
            "file": file,
            "codebook": codebook,
            "labels": place(survey.labels),
            "levels": place(survey.levels),
            "wording": place(survey.wording),
        }
    )

    def file_here(value: str | None) -> str | None:
        # A codebook, template or recipe may be a built-in's name instead of a path.
        return place(value) if value and (folder / value).is_file() else value

    tune = study.tune
    if tune is not None:
        recipes = [entry.model_copy(update={"recipe": file_here(entry.recipe)}) for entry in tune.recipes]
        tune = tune.model_copy(update={"recipes": recipes})
    return study.model_copy(
        update={
            "survey": moved,
            "output": str(folder / study.folder),
            "tune": tune,
            "split": study.split.model_copy(update={"train_on": place(study.split.train_on)}),
            "ask": study.ask.model_copy(update={"template": file_here(study.ask.template)}),
            "models": [model.model_copy(update={"template": file_here(model.template)}) for model in study.models],
        }
    )
