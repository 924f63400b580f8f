"""The paths of a study: of models and of other files, relative to the study file, the working directory or the results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import UsageError
from valuestrata.respondents.model_paths import hub_name, with_model_paths

if TYPE_CHECKING:
    from valuestrata.study.config.open_answers import JudgeSection
    from valuestrata.study.config.sections import ModelSection
    from valuestrata.study.config.study import Study
    from valuestrata.study.config.tune import RecipeEntry


def located_model(spec: str, study_file: Path) -> str:
    """Return a model specification of a study file with its paths as seen from the working directory.

    `hf:NAME` is a folder if the folder of the study file has one of that name, or if NAME is a path by its form; otherwise it is a model on
    the hub. Absolute paths are kept.

    Raises:
        UsageError: a model on the hub has the name of a folder in the working directory, which would be loaded instead.
    """
    folder = study_file.parent

    def exists(path: str) -> bool:
        return (folder / Path(path).expanduser()).exists()

    def located(path: str) -> str:
        return path if Path(path).expanduser().is_absolute() else _relative(folder / path, Path.cwd())

    name = hub_name(spec, exists)
    if name is not None and Path(name).is_dir():
        raise UsageError(
            f"{study_file}: {spec!r} is a model on the hub, because the folder of the study has no folder {name!r}. But the working "
            "directory has one, which would be loaded instead. Run the study from another directory, or write the path of the folder, such "
            f"as hf:./{name}."
        )
    return with_model_paths(spec, located, exists)


def model_seen_from(spec: str, folder: Path) -> str:
    """Return a model specification with its paths relative to a study's results, whatever the working directory.

    Runs record this name. An absolute path outside the folder is kept.
    """
    return with_model_paths(spec, lambda path: file_seen_from(path, folder), lambda path: Path(path).expanduser().exists())


def file_seen_from(file: str | Path, folder: Path) -> str:
    """Return a path relative to a study's results; an absolute path outside the folder is kept."""
    path, root = Path(file).expanduser(), Path(os.path.realpath(folder))
    return str(file) if path.is_absolute() and not _real(path).is_relative_to(root) else _relative(path, root)


def _real(path: Path) -> Path:
    """Return an absolute path with symbolic links followed, but not that of a file itself: its name tells what it is."""
    return Path(os.path.realpath(path)) if path.name in ("", "..") else Path(os.path.realpath(path.parent), path.name)


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(_real(path), os.path.realpath(folder))
    except ValueError:
        return str(_real(path))  # on another drive, where no relative path exists


def with_paths(study: Study, output: str, change: Callable[[str], str], model: Callable[[str], str], folder: Path) -> Study:
    """Return a study with another output folder and changed paths.

    A codebook, template or recipe is a path if the file exists or if it ends like a YAML file; other values are names of built-in ones.

    Args:
        study: the study. output: its folder.
        change: returns the changed path of a file. model: returns a specification with its paths changed.
        folder: that paths are relative to before the change.
    """

    def path(value: str | None) -> str | None:
        return None if value is None else change(value)

    def name_or_path(value: str | None) -> str | None:
        return change(value) if value and (value.endswith((".yaml", ".yml")) or (folder / value).is_file()) else value

    def asked(section: ModelSection) -> ModelSection:
        # The name of a run does not depend on the folder from which its model is seen.
        made = model(section.model)
        name = section.run_name if made != section.model else section.name
        return section.model_copy(update={"model": made, "name": name, "template": name_or_path(section.template)})

    def judge(section: JudgeSection) -> JudgeSection:
        made = model(section.model)
        return section.model_copy(update={"model": made, "name": section.folder_name if made != section.model else section.name})

    def changes(fields: dict[str, Any]) -> dict[str, Any]:
        template = fields.get("template")
        return {**fields, "template": name_or_path(template)} if isinstance(template, str) else fields

    def recipe(entry: RecipeEntry) -> RecipeEntry:
        return entry.model_copy(update={"recipe": name_or_path(entry.recipe), "change": changes(entry.change)})

    survey, tune, opened = study.survey, study.tune, study.open
    files = {key: path(getattr(survey, key)) for key in ("labels", "levels", "wording")}
    files |= {"file": survey.file if survey.file == "embedded" else change(survey.file), "codebook": name_or_path(survey.codebook)}
    if tune is not None:
        tune = tune.model_copy(update={"recipes": [recipe(entry) for entry in tune.recipes], "change": changes(tune.change)})
    if opened is not None:
        opened = opened.model_copy(
            update={
                "template": name_or_path(opened.template),
                "criteria_file": path(opened.criteria_file),
                "judges": [judge(one) for one in opened.judges],
                "readers": [one.model_copy(update={"model": model(one.model)}) for one in opened.readers],
            }
        )
    return study.model_copy(
        update={
            "output": output,
            "survey": survey.model_copy(update=files),
            "tune": tune,
            "open": opened,
            "split": study.split.model_copy(update={"train_on": path(study.split.train_on)}),
            "ask": study.ask.model_copy(update={"template": name_or_path(study.ask.template)}),
            "models": [asked(one) for one in study.models],
        }
    )
