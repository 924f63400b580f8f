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

    file: str = Field(description="survey file, or `embedded`; formats are in docs/surveys.md")
    sheet: str | None = Field(default=None, description="sheet of an Excel workbook")
    codebook: str | None = Field(default=None, description="`wvs7`, `gss2018`, `gss2012` or a YAML file of your own")
    countries: list[str] = Field(default_factory=list[str], description="codes, alpha-3 or names of countries")
    pooling: Pooling | None = Field(
        default=None,
        description="how several countries are combined: `equal-per-country`, `equal-per-respondent` or `weight` (docs/surveys.md)",
    )
    items: list[str] = Field(default_factory=list[str], description="only these items")
    attributes: list[str] = Field(default_factory=list[str], description="only these attributes")
    labels: str | None = Field(default=None, description="YAML that assigns unmatched labels of items and attributes")
    levels: str | None = Field(default=None, description="YAML that merges levels of attributes")
    wording: str | None = Field(default=None, description="YAML that replaces the wording of questions and options")
    strict: bool = Field(default=False, description="refuse a file with unmatched labels")

    @field_validator("countries", mode="before")
    @classmethod
    def _country_codes_are_strings(cls, value: Any) -> Any:
        # A numeric country code such as 702 is an integer in YAML.
        return [str(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else value


class BuildSection(StrictModel):
    """Subgroups and minimum sizes."""

    preset: Literal["paper"] | None = Field(
        default=None, description="`paper`: unweighted, 30 respondents, 1 valid answer; overrides `weighted` and both minima"
    )
    strata: list[str] = Field(default_factory=list[str], description="only these strata")
    order: int = Field(default=2, ge=1, le=3, description="largest number of attributes crossed, 1 to 3")
    min_respondents: int = Field(default=30, ge=1, description="minimum respondents of a subgroup")
    min_valid: float = Field(default=30.0, ge=1, description="minimum valid answers of a pair (effective if weighted or clustered)")
    weighted: bool = Field(default=True, description="use the survey's weight, if there is one")
    draws: int = Field(default=1000, ge=10, description="bootstrap draws of the respondents, at least 10")
    item_folds: int = Field(
        default=ITEM_FOLDS,
        ge=2,
        description="folds of `unseen-item`, at least 2; with at least as many as topics, each fold leaves one topic out",
    )


class SplitSection(StrictModel):
    """Pairs to ask and score."""

    scheme: str = Field(
        default="paper",
        description="`paper`, `unseen-level`, `unseen-item`, `unseen-both` or `transfer`, each also with the suffix `+disjoint` or "
        "`+crossfit`",
    )
    part: Literal["train", "validation", "test", "all"] = Field(default="test", description="`train`, `validation`, `test` or `all`")
    fold: int | None = Field(default=None, ge=0, description="only this fold, from 0")
    train_on: str | None = Field(default=None, description="data set folder that baselines are fitted to under `transfer`")


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

    elicitation: Elicitation = Field(
        default="logprob", description="`logprob`, `first-token`, `text`, `stated-distribution` or `reasoned` (docs/eliciting.md)"
    )
    template: str = Field(
        default="default", description="`default`, `second-person`, `third-person`, `item-first`, `dont-know` or a YAML file"
    )
    paraphrases: str = Field(default="0", description="wordings of the template: numbers from 0, separated by commas, or `all`")
    orders: str = Field(
        default="scale", description="orders of the options: `scale`, `reversed`, `shuffled:SEED`, `balanced:N`, separated by commas"
    )
    samples: int = Field(default=1, ge=1, description="answers to each prompt")
    context: Context = Field(
        default=None,
        description="`gold:K` shows K answers of the same subgroup to similar training questions (docs/eliciting.md); baselines ignore it",
    )
    items: list[str] = Field(default_factory=list[str], description="ask only these items")
    strata: list[str] = Field(default_factory=list[str], description="ask only subgroups of these strata")
    max_calls: int | None = Field(default=None, ge=1, description="stop each model after this many prompts; the next run continues")
    max_cost: float | None = Field(
        default=None,
        gt=0,
        description="stop each paid model before its run costs more than this many US dollars in total; free models are not limited",
    )


Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class SeedsSection(StrictModel):
    """Random seeds."""

    half: Seed = Field(default=0, description="the two halves of the respondents")
    redraw: Seed = Field(default=0, description="redraws of the respondents")
    split: Seed = Field(default=42, description="folds and validation pairs")
    sampling: Seed = Field(default=0, description="text sampled at a temperature")
    persona: Seed = Field(default=0, description="shuffled personas and wrong countries")
    bootstrap: Seed = Field(default=0, description="bootstrap and permutations")


def _plain(name: str) -> str:
    if problem := name_problem(name):
        raise refused(f"{name!r} cannot be the name of a folder: {problem}.")
    return name


FolderName = Annotated[str, AfterValidator(_plain)]
"""The name of a folder inside the study's: one part of a path."""


class CalledSection(StrictModel):
    """How a model is loaded or called, and its limits."""

    model: str = Field(
        description="`embedded`, `hf:ORG/NAME`, `gguf:FILE`, `vllm:ORG/NAME`, `PROVIDER/MODEL`, `baseline:KIND` or `control:KIND@MODEL`, as"
        " for `valuestrata ask --model`"
    )
    device: str | None = Field(default=None, description="`cpu`, `cuda` or `mps`")
    max_calls: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0, description="only for hosted models with a known price")
    temperature: float | None = Field(
        default=0.0, ge=0, description="of generated text; 0 is greedy decoding; `null` omits it, for hosted models that refuse one"
    )
    max_new_tokens: int | None = Field(
        default=None, ge=1, description="maximum new tokens: 32 for `text`, 256 for `stated-distribution`, 512 for `reasoned`"
    )
    base_url: str | None = Field(default=None, description="base URL of a hosted model")
    concurrency: int = Field(default=64, ge=1, description="maximum concurrent calls to a hosted model")
    timeout: float = Field(default=120.0, gt=0, description="timeout of one call in seconds")
    attempts: int = Field(default=6, ge=1, description="attempts before a prompt is recorded as failed")
    prices: tuple[float, float] | None = Field(default=None, description="US dollars per million input and output tokens: `[2.0, 8.0]`")
    extra: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="extra request fields of a hosted model, or arguments of vLLM's engine"
    )

    def settings(self, seeds: SeedsSection, known_as: str) -> ModelSettings:
        """Return the settings of the model, with the study's seeds and the name that its runs record."""
        own = self.model_dump(include={field.name for field in fields(ModelSettings)})
        return ModelSettings(**own, seed=seeds.sampling, persona_seed=seeds.persona, known_as=known_as)


class ModelSection(CalledSection):
    """A model of the study; keys that are null default to the section `ask`."""

    name: FolderName | None = Field(default=None, description="name of the run and its folder; needed if two would be equal")
    elicitation: Elicitation | None = None
    template: str | None = None
    paraphrases: str | None = None
    orders: str | None = None
    samples: int | None = Field(default=None, ge=1)
    context: Context = Field(default=None, description="`none` shows no answers to this model")
    constrain: bool = Field(default=False, description="restrict text to the options, if the model supports it")

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

    bootstrap: int = Field(default=1000, ge=0, description="bootstrap replicates of intervals; 0 for none")
    baselines: str = Field(
        default="all", description="baselines to add: `all`, `cheap`, `none` or kinds separated by commas (docs/baselines.md)"
    )
    against: str | None = Field(default=None, description="also compare every run with this one")
    track: Literal["mlflow", "wandb"] | None = Field(
        default=None, description="also log the scores of the models to MLflow (`mlflow`) or Weights & Biases (`wandb`); docs/tracking.md"
    )
    track_to: str | None = Field(default=None, description="experiment (MLflow) or project (Weights & Biases) to log to")

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

    against: str | None = Field(default=None, description="run that the others are compared with")
    metrics: list[str] = Field(default_factory=lambda: ["accuracy", "nmae"], description="metrics of the comparison")
    permutations: int = Field(default=2000, ge=0, description="draws of the permutation null; 0 omits it")
    mixed: Literal["penalised", "bayes"] = Field(
        default="penalised",
        description="estimator of gaps at equal difficulty: `penalised`, or `bayes` (minutes per metric; needs the extra `bayes`)",
    )

    @field_validator("metrics")
    @classmethod
    def _metrics_are_known(cls, value: list[str]) -> list[str]:
        for metric in value:
            if metric not in DIRECTED:
                raise ValueError(f"{metric!r} cannot be audited: it has no better direction.{did_you_mean(metric, DIRECTED)}")
        return value


class ReportSection(StrictModel):
    """Title of the report, and whether it shows published figures and the explorer of all answers."""

    title: str | None = Field(default=None, description="title of the page")
    published: bool = Field(default=True, description="show the paper's figures, with a warning if the setting differs")
    explore: bool = Field(default=True, description="include every pair with its answers, to filter and read")


def strings_as(value: Any, key: str) -> Any:
    """Return a list with each string replaced by the mapping `{key: string}`; other values unchanged."""
    if not isinstance(value, list):
        return value
    return [{key: entry} if isinstance(entry, str) else entry for entry in cast("list[Any]", value)]


def folder_name(spec: str) -> str:
    """Return a model specification with characters that a path cannot have replaced."""
    return re.sub(r"[^A-Za-z0-9._+@=-]+", "-", spec)
