"""The sections of a study's YAML that every study has."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Literal, cast

from pydantic import Field, field_validator

from valuestrata.errors import UsageError, did_you_mean
from valuestrata.formatting import DIRECTED
from valuestrata.respondents.base import Elicitation
from valuestrata.respondents.models import ModelSettings
from valuestrata.responses.reference_baselines import kinds_of
from valuestrata.yaml_files import StrictModel


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


class CalledSection(StrictModel):
    """How one model is loaded or called, and when it is asked no more."""

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
        """Return how this model is loaded or called, with the study's seeds."""
        own = self.model_dump(include={field.name for field in fields(ModelSettings)})
        return ModelSettings(**own, seed=seeds.sampling, persona_seed=seeds.persona)


class ModelSection(CalledSection):
    """One model of the study; null keys take the study's `ask` section."""

    name: str | None = None
    elicitation: Elicitation | None = None
    template: str | None = None
    paraphrases: str | None = None
    orders: str | None = None
    samples: int | None = Field(default=None, ge=1)
    constrain: bool = False

    @property
    def run_name(self) -> str:
        """Folder name of the run: `name`, else the model's word with what a path cannot hold replaced."""
        return self.name or folder_name(self.model)


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
            raise ValueError(error.render("study")) from error
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


class ReportSection(StrictModel):
    """What the report says beside the numbers."""

    title: str | None = None
    published: bool = True


def each_as(value: Any, key: str) -> Any:
    """Return a list of bare words as mappings that hold each under `key`; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [{key: entry} if isinstance(entry, str) else entry for entry in cast("list[Any]", value)]


def folder_name(word: str) -> str:
    """Return a model's word with what a path cannot hold replaced."""
    return re.sub(r"[^A-Za-z0-9._+@=-]+", "-", word)
