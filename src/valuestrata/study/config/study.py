"""A whole study, read with the right key named where one is misspelt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from valuestrata.building import BuildSettings, paper_preset
from valuestrata.errors import UsageError
from valuestrata.scores.plan import Plan
from valuestrata.study.config.open_answers import OpenSection
from valuestrata.study.config.sections import (
    AskSection,
    AuditSection,
    BuildSection,
    ModelSection,
    ReportSection,
    ScoreSection,
    SeedsSection,
    SplitSection,
    SurveySection,
    each_as,
)
from valuestrata.study.config.tune import TuneSection
from valuestrata.yaml_files import StrictModel, checked, read_yaml


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
    open: OpenSection | None = None
    report: ReportSection = Field(default_factory=ReportSection)

    @field_validator("audit", mode="before")
    @classmethod
    def _a_bare_yes_is_an_audit(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("open", mode="before")
    @classmethod
    def _a_bare_yes_asks_openly(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("models", mode="before")
    @classmethod
    def _bare_words_are_models(cls, value: Any) -> Any:
        return each_as(value, "model")

    @model_validator(mode="after")
    def _teaching_and_open_questions_are_two_studies(self) -> Self:
        if self.tune is not None and self.open is not None:
            raise ValueError(
                "`tune` and `open` do not go together: teach first, then ask openly in a second study whose models are "
                "`MODEL+OUTPUT/adapters/FIELD/LESSON`, with OUTPUT the folder of the first"
            )
        return self

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
    opened = study.open
    if opened is not None:
        files = {"template": file_here(opened.template), "criteria_file": place(opened.criteria_file)}
        opened = opened.model_copy(update=files)
    return study.model_copy(
        update={
            "survey": moved,
            "output": str(folder / study.folder),
            "tune": tune,
            "open": opened,
            "split": study.split.model_copy(update={"train_on": place(study.split.train_on)}),
            "ask": study.ask.model_copy(update={"template": file_here(study.ask.template)}),
            "models": [model.model_copy(update={"template": file_here(model.template)}) for model in study.models],
        }
    )
