"""The sections of a study except `tune` and `open`."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, Field, field_validator, model_validator

from valuestrata.dataset.document import ITEM_FOLDS
from valuestrata.errors import MOST_SEED, UsageError, did_you_mean
from valuestrata.files import name_problem
from valuestrata.formatting import DIRECTED
from valuestrata.respondents.base import Elicitation
from valuestrata.respondents.models import ModelSettings
from valuestrata.responses.context.gold_context import answers_of
from valuestrata.responses.reference_baselines import kinds_of
from valuestrata.survey.sample.weights import Pooling
from valuestrata.yaml_files import StrictModel, refused


class SurveySection(StrictModel):
    """The survey file and how to read it."""

    file: str
    sheet: str | None = None
    codebook: str | None = None
    countries: list[str] = Field(default_factory=list[str])
    pooling: Pooling | None = None
    items: list[str] = Field(default_factory=list[str])
    attributes: list[str] = Field(default_factory=list[str])
    labels: str | None = None
    levels: str | None = None
    wording: str | None = None
    strict: bool = False

    @field_validator("countries", mode="before")
    @classmethod
    def _country_codes_are_strings(cls, value: Any) -> Any:
        # A numeric country code such as 702 is an integer in YAML.
        return [str(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else value


class BuildSection(StrictModel):
    """Subgroups and minimum sizes."""

    preset: Literal["paper"] | None = None
    strata: list[str] = Field(default_factory=list[str])
    order: int = Field(default=2, ge=1, le=3)
    min_respondents: int = Field(default=30, ge=1)
    min_valid: float = Field(default=30.0, ge=1)
    weighted: bool = True
    draws: int = Field(default=1000, ge=10)
    item_folds: int = Field(default=ITEM_FOLDS, ge=2)


class SplitSection(StrictModel):
    """Pairs to ask and score."""

    scheme: str = "paper"
    part: Literal["train", "validation", "test", "all"] = "test"
    fold: int | None = Field(default=None, ge=0)
    train_on: str | None = None


def _known_context(value: str | None) -> str | None:
    try:
        answers_of(value)
    except UsageError as error:
        raise ValueError(error.render("study")) from error
    return value


Context = Annotated[str | None, AfterValidator(_known_context)]
"""`gold:K`, or `none`; null for the default."""


class AskSection(StrictModel):
    """How answers are obtained; a model may override each key."""

    elicitation: Elicitation = "logprob"
    template: str = "default"
    paraphrases: str = "0"
    orders: str = "scale"
    samples: int = Field(default=1, ge=1)
    context: Context = None
    items: list[str] = Field(default_factory=list[str])
    strata: list[str] = Field(default_factory=list[str])
    max_calls: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)


Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class SeedsSection(StrictModel):
    """Random seeds."""

    half: Seed = 0
    redraw: Seed = 0
    split: Seed = 42
    sampling: Seed = 0
    persona: Seed = 0
    bootstrap: Seed = 0


def _plain(name: str) -> str:
    if problem := name_problem(name):
        raise refused(f"{name!r} cannot be the name of a folder: {problem}.")
    return name


FolderName = Annotated[str, AfterValidator(_plain)]
"""The name of a folder inside the study's: one part of a path."""


class CalledSection(StrictModel):
    """How a model is loaded or called, and its limits."""

    model: str
    device: str | None = None
    max_calls: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=0.0, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1)
    base_url: str | None = None
    concurrency: int = Field(default=64, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=6, ge=1)
    prices: tuple[float, float] | None = None
    extra: dict[str, Any] = Field(default_factory=dict[str, Any])

    def settings(self, seeds: SeedsSection) -> ModelSettings:
        """Return the settings of the model, with the study's seeds."""
        own = self.model_dump(include={field.name for field in fields(ModelSettings)})
        return ModelSettings(**own, seed=seeds.sampling, persona_seed=seeds.persona)


class ModelSection(CalledSection):
    """A model of the study; keys that are null default to the section `ask`."""

    name: FolderName | None = None
    elicitation: Elicitation | None = None
    template: str | None = None
    paraphrases: str | None = None
    orders: str | None = None
    samples: int | None = Field(default=None, ge=1)
    context: Context = None
    constrain: bool = False

    @property
    def run_name(self) -> str:
        """Name of the run and its folder: `name`, else the specification as a folder name."""
        return self.name or folder_name(self.model)

    @model_validator(mode="after")
    def _run_has_a_name(self) -> Self:
        if self.name is None and (problem := name_problem(self.run_name)):
            raise refused(f"{self.model!r} does not give the run a name ({problem}). Add a `name`.", "model")
        return self


class ScoreSection(StrictModel):
    """Intervals of scores, and baselines to add (`all`, `cheap`, `none` or kinds)."""

    bootstrap: int = Field(default=1000, ge=0)
    baselines: str = "all"
    against: str | None = None

    @field_validator("baselines")
    @classmethod
    def _baselines_are_known(cls, value: str) -> str:
        try:
            kinds_of(value)
        except UsageError as error:
            # `checked` adds file and key.
            raise ValueError(error.render("study")) from error
        return value


class AuditSection(StrictModel):
    """Fairness audit: metrics, and the run to compare the others with."""

    against: str | None = None
    metrics: list[str] = Field(default_factory=lambda: ["accuracy", "nmae"])
    permutations: int = Field(default=2000, ge=0)
    mixed: Literal["penalised", "bayes"] = "penalised"

    @field_validator("metrics")
    @classmethod
    def _metrics_are_known(cls, value: list[str]) -> list[str]:
        for metric in value:
            if metric not in DIRECTED:
                raise ValueError(f"{metric!r} cannot be audited: it has no better direction.{did_you_mean(metric, DIRECTED)}")
        return value


class ReportSection(StrictModel):
    """Title and published figures of the report."""

    title: str | None = None
    published: bool = True


def strings_as(value: Any, key: str) -> Any:
    """Return a list with each string replaced by the mapping `{key: string}`; other values unchanged."""
    if not isinstance(value, list):
        return value
    return [{key: entry} if isinstance(entry, str) else entry for entry in cast("list[Any]", value)]


def folder_name(spec: str) -> str:
    """Return a model specification with characters that a path cannot have replaced."""
    return re.sub(r"[^A-Za-z0-9._+@=-]+", "-", spec)
