"""Export training files for other trainers.

| format | files | read by |
| --- | --- | --- |
| `chat` | train.jsonl, validation.jsonl | readers of OpenAI's chat format |
| `together` | the same | Together (`jobs`) |
| `tinker` | the same | Tinker's cookbook, `FromConversationFileBuilder` |
| `llama-factory` | dataset_info.json, train.json, validation.json, train.yaml | `llamafactory-cli train train.yaml`, in the folder |
| `axolotl` | train.jsonl, validation.jsonl, axolotl.yaml | `axolotl train axolotl.yaml`, in the folder |

Each export also has `export.json` and `recipe.resolved.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from valuestrata.dataset.sharing import check_shareable
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.files import folder_written_beside, sha256_of, write_json, write_text
from valuestrata.tuning.data.chat_examples import ChatLine, chat_lines, check_exportable, remarks_on
from valuestrata.tuning.data.examples import tuning_data
from valuestrata.tuning.export.limits import LIMITS, check_bytes, check_lines
from valuestrata.tuning.export.settings import ExternalTraining, as_yaml, axolotl, base_model, dataset_info, end_of_turn, llama_factory
from valuestrata.tuning.recipe import Recipe, recipe_of
from valuestrata.yaml_files import Record, read_document, refused

Format = Literal["chat", "together", "tinker", "llama-factory", "axolotl"]
FORMATS: tuple[Format, ...] = get_args(Format)

EXPORT = "export.json"
JOB = "job.json"
# Stage of a job before anything is paid for.
BEGUN = "begun"
RECIPE = "recipe.resolved.yaml"
_KIND = "valuestrata-export-1"
_NEEDS_MODEL = ("llama-factory", "axolotl")
# Some readers take these for the end of a line; JSON does not require to escape them.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class ExportRequest(Record):
    """The arguments of an export."""

    model_config = ConfigDict(validate_by_name=True)

    format: Format = Field(alias="for")
    model: str | None = None


class RowCounts(Record):
    """The number of rows of the exported files."""

    train: int
    validation: int


class ExportFile(Record):
    """The format of `export.json`."""

    format: Literal["valuestrata-export-1"]
    request: ExportRequest
    recipe: dict[str, Any]
    rows: RowCounts
    longest: int
    remarks: list[str]
    files: dict[str, str]

    @field_validator("recipe")
    @classmethod
    def _is_a_recipe(cls, value: dict[str, Any]) -> dict[str, Any]:
        Recipe.model_validate(value)
        return value


class JobFile(Record):
    """The format of `job.json`."""

    provider: str
    base_url: str
    model: str
    export: str
    tag: str
    stage: Literal["begun", "starting", "running", "ended"]
    files: dict[str, str]
    request: dict[str, Any] | None = None
    estimate: dict[str, Any] | None = None
    id: str | None = None
    status: str | None = None
    result: str | None = None
    said: str | None = None

    @model_validator(mode="after")
    def _has_an_id_once_started(self) -> Self:
        if self.stage in ("running", "ended") and not self.id:
            raise refused(f"the stage is {self.stage!r}, so an id is expected.", "id")
        return self


@dataclass(frozen=True)
class Exported:
    """Exported training files.

    Attributes:
        folder: their folder.
        document: content of `export.json`: request, recipe, data, held_out, control, rows, longest, files, remarks, versions.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def rows(self) -> Mapping[str, int]:
        """Number of rows of `train` and `validation`."""
        return self.document["rows"]

    @property
    def remarks(self) -> Sequence[str]:
        """How the other trainer differs from `tune`, one sentence each."""
        return self.document["remarks"]


def export_training(
    dataset: Dataset,
    out: str | Path,
    *,
    recipe: Recipe | str | Path = "modal",
    format: str = "chat",
    model: str | None = None,
    split: str = "paper",
    fold: int | None = None,
    control: str | None = None,
    seed: int | None = None,
    answers: int = 10,
) -> Exported:
    """Write the training gold of a split as chats for another trainer.

    Args:
        dataset: the data set; it must be shareable.
        out: the folder; an earlier export there is replaced, unless a job was started from it.
        recipe: a recipe of objective `tokens`, `mode`, `cross-entropy` or `kl`, or the name or file of one.
        format: one of `FORMATS`.
        model: the base model, `hf:ORG/NAME[@REVISION]`; required for `llama-factory` and `axolotl`.
        split, fold, control, seed: as for `tune`.
        answers: rows per pair for objectives on shares; the error of a share is below 1 / answers.

    Raises:
        UsageError: an unknown name, a recipe that cannot be exported, a missing model, or other files in the folder.
        InputDataError: a data set that may not be shared, no training pairs, or a row or file beyond the reader's limits.
    """
    if format not in FORMATS:
        raise UsageError(f"There is no export format {format!r}.{did_you_mean(format, FORMATS)}")
    if answers < 1:
        raise UsageError(f"answers is {answers}; it must be at least 1.")
    if format in _NEEDS_MODEL and model is None:
        raise UsageError(f"The settings of {format} name the base model; give it with ", Option("model", "hf:ORG/NAME"), ".")
    check_shareable(dataset, "tune on this machine")
    place = Path(out)
    _check_place(place)
    chosen = recipe_of(recipe, seed=seed)
    check_exportable(chosen)
    data = tuning_data(dataset, chosen, split=split, fold=fold, control=control)
    parts = {
        name: chat_lines(examples, chosen, answers=answers, seed=(chosen.data_seed, 2 + at))
        for at, (name, examples) in enumerate((("train", data.train), ("validation", data.validation)))
        if examples
    }
    _check(parts, format, chosen, place)
    longest = max(line.most_tokens for lines in parts.values() for line in lines)
    document: dict[str, Any] = {
        "format": _KIND,
        "request": {
            "for": format,
            "model": model,
            "dataset": dataset.fingerprint,
            "split": split,
            "fold": fold,
            "control": control,
            "answers": answers if chosen.objective in ("cross-entropy", "kl") else 1,
        },
        "recipe": chosen.document,
        "data": {"survey": dataset.meta.get("survey"), "fingerprint": dataset.fingerprint, "place": dataset.meta.get("place")},
        "trained_on": data.source,
        "held_out": dict(data.held_out),
        "control": None if data.control is None else dict(data.control),
        "pairs": {"train": len(data.train), "validation": len(data.validation)},
        "rows": {"train": len(parts["train"]), "validation": len(parts.get("validation", ()))},
        "longest": longest,
        "remarks": remarks_on(chosen, answers),
        "versions": {"valuestrata": version("valuestrata")},
    }
    settings = _settings(format, chosen, model, document)
    with folder_written_beside(place) as folder:
        _write(folder, place, format, parts)
        for name, text in settings.items():
            write_text(folder / name, text)
        write_text(folder / RECIPE, chosen.to_yaml())
        document["files"] = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
        write_json(folder / EXPORT, document)
    return Exported(place, document)


def load_export(folder: str | Path) -> Exported:
    """Read an export.

    Raises:
        InputDataError: there is none, or one of its files is missing or has changed.
    """
    place = Path(folder)
    if not (place / EXPORT).is_file():
        raise InputDataError(f"{place} is not an export ({EXPORT} is missing).")
    document = read_document(place / EXPORT, ExportFile, "Export again.")
    for name, digest in document["files"].items():
        file = place / name
        if not file.is_file() or sha256_of(file) != digest:
            raise InputDataError(f"{file} is missing or was changed since it was exported; export again.")
    return Exported(place, document)


def read_job(folder: Path) -> dict[str, Any]:
    """Return the document of an export's `job.json`; InputDataError if it is absent or invalid."""
    return read_document(folder / JOB, JobFile, "Restore the file from a copy: it is the only record of a job that may have been paid for.")


def _check_place(place: Path) -> None:
    if (place / JOB).is_file() and read_job(place)["stage"] != BEGUN:
        raise UsageError(f"{place}: a job was started from these files ({JOB} holds its id); choose another output folder.")
    if place.exists() and not (place / EXPORT).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists and is not an export; choose another output folder.")


def _check(parts: Mapping[str, Sequence[ChatLine]], format: str, recipe: Recipe, place: Path) -> None:
    limits = LIMITS[format]
    # The cookbook drops incomplete batches.
    least = recipe.batch if format == "tinker" else None
    for name, lines in parts.items():
        check_lines(lines, limits, str(place / _file(format, name)), least_rows=least if name == "train" else 1)


def _file(format: str, name: str) -> str:
    return f"{name}.json" if format == "llama-factory" else f"{name}.jsonl"


def _write(folder: Path, place: Path, format: str, parts: Mapping[str, Sequence[ChatLine]]) -> None:
    for name, lines in parts.items():
        rows = [_json({"messages": line.chat}) for line in lines]
        text = "[\n" + ",\n".join(rows) + "\n]\n" if format == "llama-factory" else "".join(row + "\n" for row in rows)
        file = folder / _file(format, name)
        write_text(file, text)
        check_bytes(file.stat().st_size, LIMITS[format], str(place / file.name))


def _json(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    for end, escaped in _LINE_ENDS.items():
        text = text.replace(end, escaped)
    return text


def _settings(format: str, recipe: Recipe, model: str | None, document: dict[str, Any]) -> dict[str, str]:
    """Return the settings files of a trainer (file name -> text); remarks are added to the document."""
    if format not in _NEEDS_MODEL or model is None:
        return {}
    rows: Mapping[str, int] = document["rows"]
    name, revision = base_model(model)
    end = end_of_turn(name, revision)
    training = ExternalTraining(recipe, name, revision, rows["train"], rows["validation"], document["longest"], end)
    if format == "axolotl":
        if end is None:
            document["remarks"].append(
                f"eot_tokens: the tokenizer of {name} is not on this machine. Axolotl learns the end of the turn only if it is the "
                "tokenizer's eos token; if it is not, add `eot_tokens` to axolotl.yaml."
            )
        return {"axolotl.yaml": as_yaml(axolotl(training), "In this folder: axolotl train axolotl.yaml")}
    return {
        "dataset_info.json": json.dumps(dataset_info(validation=training.validation > 0), indent=1) + "\n",
        "train.yaml": as_yaml(llama_factory(training), "In this folder: llamafactory-cli train train.yaml"),
    }
