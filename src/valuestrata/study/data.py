"""The ground that a study stands on: its survey read, its data set built or taken up again, and its YAML as it was resolved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml

from valuestrata.building import build
from valuestrata.dataset.subgroups import merge_levels
from valuestrata.dataset.tables import Dataset, load_dataset, write_dataset
from valuestrata.files import canonical_hash, read_json, sha256_of, write_json, write_text
from valuestrata.study.config import Study, SurveySection
from valuestrata.survey.read import read_survey
from valuestrata.survey.survey import Survey
from valuestrata.yaml_files import StrictModel

_FILES_OF_A_SURVEY = ("file", "codebook", "labels", "levels", "wording")


def write_resolved(study: Study) -> None:
    """Write `study.yaml` into the study's folder: the study as it was resolved, from which the same study can be run again."""
    document = _written(_seen_from_inside(study))
    write_text(study.folder / "study.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def read_for(section: SurveySection, *, weighted: bool = True) -> Survey:
    """Read the survey of a study section, levels merged; without its weight if that is not wanted."""
    survey = read_survey(
        section.file,
        section.codebook,
        countries=section.countries,
        items=section.items,
        attributes=section.attributes,
        labels=section.labels,
        wording=section.wording,
        strict=section.strict,
        weighted=weighted,
    )
    return merge_levels(survey, Path(section.levels)) if section.levels else survey


def built(study: Study, say: Callable[[str], None]) -> Dataset:
    """Build the data set, or load it when the same request on the same files has built it before."""
    place = study.folder / "data"
    mark = study.folder / "build.json"
    request = _request(study)
    if mark.is_file() and read_json(mark).get("request") == request and (place / "dataset.json").is_file():
        say("data set: built before, kept")
        return load_dataset(place)
    say("reading the survey")
    survey = read_for(study.survey, weighted=study.settings.weighted)
    for note in survey.findings.notes:
        say(note)
    say(f"building the data set of {survey.respondents:,} respondents and {len(survey.items)} items")
    dataset = build(survey, study.settings)
    write_dataset(dataset, place)
    write_json(mark, {"request": request})
    return load_dataset(place)


def _request(study: Study) -> str:
    """Hash what is built and from which files; where these lie is no part of it, so that `study.yaml` asks for the same."""
    section = study.survey
    named = {key: cast("str | None", getattr(section, key)) for key in _FILES_OF_A_SURVEY}
    files = {
        key: [Path(file).name, sha256_of(Path(file)) if file != "embedded" and Path(file).is_file() else None]
        for key, file in named.items()
        if file
    }
    survey = section.model_dump(exclude=set(_FILES_OF_A_SURVEY))
    seeds = study.seeds.model_dump(include={"half", "redraw", "split"})
    return canonical_hash([survey, files, study.build.model_dump(), seeds])


def _written(section: StrictModel) -> dict[str, Any]:
    """Return a section as its YAML would say it: a null is left out only where leaving the key out means the same."""
    return {
        name: _value(getattr(section, name))
        for name, field in type(section).model_fields.items()
        if not (getattr(section, name) is None and field.default is None)
    }


def _value(value: Any) -> Any:
    if isinstance(value, StrictModel):
        return _written(value)
    if isinstance(value, list | tuple):
        return [_value(entry) for entry in cast("list[Any]", value)]
    return value


def _seen_from_inside(study: Study) -> Study:
    """Return the study with its paths as seen from its own folder, where `study.yaml` lies: the folder may then be moved as a whole."""
    folder = os.path.realpath(study.folder)

    def place(value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return os.path.relpath(os.path.realpath(value), folder)
        except ValueError:
            return os.path.realpath(value)  # another drive, to which no relative path leads

    def file(value: str | None) -> str | None:
        # A built-in's name stays as it is.
        return place(value) if value and Path(value).is_file() else value

    survey, tune = study.survey, study.tune
    if tune is not None:
        tune = tune.model_copy(update={"recipes": [entry.model_copy(update={"recipe": file(entry.recipe)}) for entry in tune.recipes]})
    opened = study.open
    if opened is not None:
        opened = opened.model_copy(update={"template": file(opened.template), "criteria_file": place(opened.criteria_file)})
    moved = {key: place(getattr(survey, key)) for key in ("labels", "levels", "wording")}
    moved |= {"file": survey.file if survey.file == "embedded" else place(survey.file), "codebook": file(survey.codebook)}
    return study.model_copy(
        update={
            "output": ".",
            "tune": tune,
            "open": opened,
            "survey": survey.model_copy(update=moved),
            "split": study.split.model_copy(update={"train_on": place(study.split.train_on)}),
            "ask": study.ask.model_copy(update={"template": file(study.ask.template)}),
            "models": [model.model_copy(update={"template": file(model.template)}) for model in study.models],
        }
    )
