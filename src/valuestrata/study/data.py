"""Open a study: check its names, write the resolved YAML, and build or load its data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml

from valuestrata.building import build
from valuestrata.dataset.design import design_text
from valuestrata.dataset.document import ITEM_FOLDS
from valuestrata.dataset.subgroups import merge_levels
from valuestrata.dataset.tables import Dataset, load_dataset, write_dataset
from valuestrata.errors import UsageError
from valuestrata.fairness import check_mixed
from valuestrata.files import canonical_hash, is_inside, sha256_of, write_json, write_text
from valuestrata.reports.export.tracking.track import check_tracker
from valuestrata.respondents.models import check_model_spec
from valuestrata.study.config import Study, SurveySection, model_seen_from, with_paths
from valuestrata.study.context import StudyContext
from valuestrata.survey.describe import blocks_text, notices
from valuestrata.survey.read import problem_text, read_survey
from valuestrata.survey.survey import Survey
from valuestrata.yaml_files import Record, StrictModel, read_document

_SURVEY_FILES = ("file", "codebook", "labels", "levels", "wording")


def create_folder(study: Study) -> None:
    """Create the study's folder with `study.yaml`, and check the names of models and of the audit's method.

    Raises:
        UsageError: a name is not known, or a run would be outside the folder.
        MissingExtraError: the audit's method or the tracker needs a library that is not installed.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    for name in (model.run_name for model in study.models):
        run = study.folder / "runs" / name
        if not is_inside(run, study.folder):
            raise UsageError(f"{run}: a symbolic link leads out of the study's folder, to {os.path.realpath(run)}. Remove the link.")
    write_resolved(study)
    for model in study.models:
        check_model_spec(model.model)
    if study.audit is not None:
        check_mixed(study.audit.mixed)
    check_tracker(study.score.track, study.score.track_to)


def open_study(study: Study, say: Callable[[str], None]) -> StudyContext:
    """Build or load the data sets of a study."""
    dataset = build_or_load(study, say)
    return StudyContext(study, dataset, load_dataset(study.split.train_on) if study.split.train_on else None, say, study.folder)


def write_resolved(study: Study) -> None:
    """Write `study.yaml` into the study's folder, with all defaults and with paths relative to the folder."""
    folder = os.path.realpath(study.folder)

    def relative(path: str) -> str:
        try:
            return os.path.relpath(os.path.realpath(path), folder)
        except ValueError:
            return os.path.realpath(path)  # on another drive, where no relative path exists

    document = _document(with_paths(study, ".", relative, lambda spec: model_seen_from(spec, study.folder), Path()))
    write_text(study.folder / "study.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def read_study_survey(section: SurveySection, *, weighted: bool = True) -> Survey:
    """Read the survey of a study with its levels merged; `weighted` false leaves its weight out."""
    survey = read_survey(
        section.file,
        section.codebook,
        countries=section.countries,
        pooling=section.pooling,
        items=section.items,
        attributes=section.attributes,
        labels=section.labels,
        wording=section.wording,
        strict=section.strict,
        weighted=weighted,
        sheet=section.sheet,
    )
    return merge_levels(survey, Path(section.levels)) if section.levels else survey


def build_or_load(study: Study, say: Callable[[str], None]) -> Dataset:
    """Build the data set, or load it if it was built from the same files with the same settings."""
    folder = study.folder / "data"
    record = study.folder / "build.json"
    request = _request(study)
    if build_record(record) == request and (folder / "dataset.json").is_file():
        say("data set: already built, kept")
        return load_dataset(folder)
    say("reading the survey")
    survey = read_study_survey(study.survey, weighted=study.settings.weighted)
    for line in notices(survey):
        say(line)
    for problem in survey.findings.label_problems:
        say(f"left out, because labels are not in the codebook: {problem_text(problem)}. Assign them with `labels:`.")
    say(f"building the data set of {survey.respondents:,} respondents and {len(survey.items)} items")
    built = build(survey, study.settings)
    say(blocks_text(built.items["block"].to_list()))
    say(design_text(built.meta["design"], built.meta["design_effect"]))
    write_dataset(built, folder)
    write_json(record, {"request": request})
    return load_dataset(folder)


class BuildRecord(Record):
    """The format of `build.json`, which says what the data set of a study was built from."""

    request: str


def build_record(file: Path) -> str | None:
    """Return the hash of the request that a study's data set was built with; None if it was not built."""
    return read_document(file, BuildRecord, "Delete the file; the data set is then built again.")["request"] if file.is_file() else None


def _request(study: Study) -> str:
    """Return a hash of the settings and source files; only the names of files count, so a study may be moved."""
    section = study.survey
    named = {key: cast("str | None", getattr(section, key)) for key in _SURVEY_FILES}
    files = {
        key: [Path(file).name, sha256_of(Path(file)) if file != "embedded" and Path(file).is_file() else None]
        for key, file in named.items()
        if file
    }
    # Without a sheet and pooling the hash is that of earlier versions, which had no such keys.
    survey = section.model_dump(exclude={*_SURVEY_FILES, *(key for key in ("sheet", "pooling") if getattr(section, key) is None)})
    seeds = study.seeds.model_dump(include={"half", "redraw", "split"})
    # The same holds for the default number of folds.
    asked = study.build.model_dump(exclude={"item_folds"} if study.build.item_folds == ITEM_FOLDS else None)
    return canonical_hash([survey, files, asked, seeds])


def _document(section: StrictModel) -> dict[str, Any]:
    """Return a section as YAML; a key that is null by default is left out if it is null."""
    return {
        name: _value(getattr(section, name))
        for name, field in type(section).model_fields.items()
        if not (getattr(section, name) is None and field.default is None)
    }


def _value(value: Any) -> Any:
    if isinstance(value, StrictModel):
        return _document(value)
    if isinstance(value, list | tuple):
        return [_value(entry) for entry in cast("list[Any]", value)]
    return value
