"""Export a data set to another tool. `TARGETS` lists the tools; each has a sub-package with a function that writes the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from valuestrata.dataset.sharing import check_shareable
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Option, OptionText, UsageError, one_of
from valuestrata.responses.run.folder import Run, check_same_dataset


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        split: split scheme whose parts are exported. fold: its fold; None if it has only one.
        template: persona template of prompts, by name or file.
        runs: runs of the data set whose answers are exported too. raw_texts: whether with the texts that the models wrote.
        license: licence of the exported data, as the user states it; None for a note that it has to be chosen.
        allow_subtraction: whether to export although groups of few answers can be worked out by subtracting subgroups.
        language: language of the questions, as a code such as `en`.
        part: part of the split that a harness asks; None for `test`. elicitation: how it asks; None for the harness's default.
        today: date of the export; None for the current date.
    """

    split: str = "paper"
    fold: int | None = None
    template: str = "default"
    runs: tuple[Run, ...] = ()
    raw_texts: bool = False
    license: str | None = None
    allow_subtraction: bool = False
    language: str = "en"
    part: str | None = None
    elicitation: str | None = None
    today: date | None = None


@dataclass(frozen=True)
class ExportedFolder:
    """A written export.

    Attributes:
        folder: the folder.
        summary: one sentence on what it holds.
        remarks: what the user should know before sharing it.
        document: facts about it, as a JSON-like document.
    """

    folder: Path
    summary: str
    remarks: Sequence[OptionText] = ()
    document: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Target:
    """A tool that data sets are exported to.

    Attributes:
        title: its name in words.
        takes: the options that it uses, besides `split`, `fold` and `template`; another one is an error.
        write: writes the folder, which does not exist or is empty. The data set is shareable and the runs belong to it.
    """

    title: str
    takes: frozenset[str]
    write: Callable[[Dataset, Path, ExportOptions], ExportedFolder]


def _hugging_face(dataset: Dataset, folder: Path, options: ExportOptions) -> ExportedFolder:
    from valuestrata.export.hugging_face.folder import write_hugging_face

    return write_hugging_face(dataset, folder, options)


def _lm_eval(dataset: Dataset, folder: Path, options: ExportOptions) -> ExportedFolder:
    from valuestrata.export.harness.lm_eval_folder import write_lm_eval

    return write_lm_eval(dataset, folder, options)


def _inspect(dataset: Dataset, folder: Path, options: ExportOptions) -> ExportedFolder:
    from valuestrata.export.harness.inspect_folder import write_inspect

    return write_inspect(dataset, folder, options)


# Each `write` imports its tool when it is called.
TARGETS: Mapping[str, Target] = {
    "hf": Target("Hugging Face", frozenset({"runs", "raw_texts", "license", "language", "allow_subtraction"}), _hugging_face),
    "lm-eval": Target("lm-evaluation-harness", frozenset({"part", "elicitation"}), _lm_eval),
    "inspect": Target("Inspect AI", frozenset({"part", "elicitation"}), _inspect),
}


def export_dataset(
    dataset: Dataset,
    out: str | Path,
    *,
    to: str = "hf",
    split: str = "paper",
    fold: int | None = None,
    template: str = "default",
    runs: Sequence[Run] = (),
    raw_texts: bool = False,
    license: str | None = None,
    allow_subtraction: bool = False,
    language: str | None = None,
    part: str | None = None,
    elicitation: str | None = None,
    today: date | None = None,
) -> ExportedFolder:
    """Write a data set into a new folder, in the format of another tool.

    Args:
        dataset: the data set; it must be shareable.
        out: the folder; it must not exist, or be empty.
        to: the tool: a key of `TARGETS`.
        split: split scheme whose parts are exported.
        fold: its fold; None if it has only one.
        template: persona template of prompts, by name or file.
        runs: runs of the data set whose answers are exported too.
        raw_texts: whether with the texts that the models wrote.
        license: licence of the exported data; None for a note that it has to be chosen.
        allow_subtraction: export although groups of few answers can be worked out by subtracting subgroups from each other.
        language: language of the questions, as a code; None for `en`.
        part: part of the split that a harness asks; None for `test`.
        elicitation: how a harness asks; None for its default.
        today: date of the export; None for the current date.

    Returns:
        The folder, with what to know before sharing it.

    Raises:
        UsageError: an unknown tool, split, fold or template, an option that the tool does not use, or a folder with files.
        MissingExtraError: a library is not installed.
        InputDataError: the data set may not be shared, groups of few answers can be worked out by subtraction, the split is missing, or
            a run belongs to another data set.
    """
    target = TARGETS[one_of(to, list(TARGETS), "A data set cannot be exported to")]
    given: dict[str, Any] = {
        "runs": tuple(runs),
        "raw_texts": raw_texts,
        "license": license,
        "allow_subtraction": allow_subtraction,
        "language": language,
        "part": part,
        "elicitation": elicitation,
    }
    for name, value in given.items():
        if value and name not in target.takes:
            raise UsageError(Option(name), f" does not apply to an export to {target.title}; leave it out.")
    if raw_texts and not runs:
        raise UsageError(Option("raw_texts"), " adds texts to the answers of runs; give the runs with ", Option("runs"), ".")
    check_shareable(dataset)
    for run in runs:
        check_same_dataset(run, dataset)
    place = Path(out)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists; choose another folder with ", Option("output"), ", or remove it first.")
    chosen = {name: value for name, value in given.items() if value}
    return target.write(dataset, place, ExportOptions(split=split, fold=fold, template=template, today=today, **chosen))
