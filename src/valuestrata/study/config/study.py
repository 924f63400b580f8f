"""A study as a whole: read from YAML, with paths resolved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from valuestrata.building import BuildSettings, paper_preset
from valuestrata.errors import Option, UsageError
from valuestrata.files import is_inside, name_problem
from valuestrata.scores.plan import Plan
from valuestrata.study.config.calibrate import CalibrateSection
from valuestrata.study.config.open_answers import OpenSection
from valuestrata.study.config.paths import located_model, with_paths
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
    strings_as,
)
from valuestrata.study.config.tune import TuneSection
from valuestrata.yaml_files import StrictModel, Yaml, read_yaml


class Study(StrictModel):
    """A study; docs/study.md describes its keys."""

    name: str = Field(description="name of the study, and title of its report")
    output: str | None = Field(
        default=None,
        description="folder of the results, inside the folder of the YAML file; `valuestrata run STUDY -o FOLDER` chooses any other",
    )
    survey: SurveySection = Field(description="the survey file and how to read it")
    build: BuildSection = Field(default_factory=BuildSection, description="subgroups and minimum sizes")
    split: SplitSection = Field(default_factory=SplitSection, description="pairs to ask and score")
    ask: AskSection = Field(default_factory=AskSection, description="how answers are obtained, for all models")
    models: list[ModelSection] = Field(min_length=1, description="one or more models; a plain string means `{model: STRING}`")
    plan: Plan = Field(default_factory=Plan, description="what is declared before the first answer")
    seeds: SeedsSection = Field(default_factory=SeedsSection, description="random seeds")
    calibrate: CalibrateSection | None = Field(default=None, description="calibrated runs of each model: `true`, or a section")
    score: ScoreSection = Field(default_factory=ScoreSection, description="intervals and baselines")
    audit: AuditSection | None = Field(default=None, description="fairness audit: `true`, or a section")
    tune: TuneSection | None = Field(default=None, description="tuning: recipes, controls and splits")
    open: OpenSection | None = Field(default=None, description="open questions and their judges: `true`, or a section")
    report: ReportSection = Field(default_factory=ReportSection, description="title and published figures")

    @field_validator("audit", "calibrate", "open", mode="before")
    @classmethod
    def _true_means_defaults(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("models", mode="before")
    @classmethod
    def _strings_are_models(cls, value: Any) -> Any:
        return strings_as(value, "model")

    @model_validator(mode="after")
    def _tune_excludes_calibrate(self) -> Self:
        if self.tune is not None and self.calibrate is not None:
            raise ValueError(
                "`tune` and `calibrate` cannot be combined: tune first, then calibrate in a second study whose models are "
                "`MODEL+OUTPUT/adapters/FOLD/JOB`, where OUTPUT is the folder of the first"
            )
        return self

    @property
    def folder(self) -> Path:
        """Folder of the results: `output`, else runs/NAME."""
        return Path(self.output or f"runs/{self.name}")

    @property
    def settings(self) -> BuildSettings:
        """The build settings with the preset applied."""
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
            item_folds=section.item_folds,
        )
        return paper_preset(settings) if section.preset == "paper" else settings


def load_study(file: str | Path, output: str | Path | None = None) -> Study:
    """Read a study file; its paths are relative to the folder of the file.

    Args:
        file: the YAML file.
        output: another folder for the results than the file names; relative to the working directory.

    Raises:
        InputDataError: not YAML, an unknown key (with a suggestion), or an invalid value.
        UsageError: two models have the same run name, or the file names a folder for its results outside its own.
    """
    path, folder = Path(file), Path(file).parent
    source = read_yaml(path)
    study = source.checked(Study)
    if output is None:
        _check_output(source, study, folder)
    names = [model.run_name for model in study.models]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: two models would both write the run {repeated[0]!r}; give one of them a `name`.")
    place = str(folder / study.folder if output is None else output)
    return with_paths(study, place, lambda value: str(folder / value), lambda spec: located_model(spec, path), folder)


def _check_output(source: Yaml, study: Study, folder: Path) -> None:
    """Refuse a study that would write outside the folder of its file: a study from somebody else must not reach other files."""
    if study.output is None and (problem := name_problem(study.name)):
        raise UsageError(
            f"{source.place('name')}: {study.name!r} cannot be the name of a folder: {problem}. Rename the study, or name its folder with ",
            Option("output"),
            ".",
        )
    if not is_inside(folder / study.folder, folder):
        key = "name" if study.output is None else "output"
        raise UsageError(
            f"{source.place(key)}: {key}: the results would be in {os.path.realpath(folder / study.folder)}, outside the study's folder "
            f"{os.path.realpath(folder)}. Name a folder inside it, or choose another one in the call, with ",
            Option("output"),
            ".",
        )
