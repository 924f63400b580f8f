"""Files of a run folder.

run.json             identity of the run: format, name, kind, dataset, respondent, template, elicitation, plan, versions, counts
responses.parquet    one row per response, written from the store
store/               append-only store of the responses (`run.store`)
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, unprintable_in
from valuestrata.files import read_json, read_parquet, sha256_of, write_parquet
from valuestrata.formatting import NONE, dollars
from valuestrata.overview import HasOverview, Overview
from valuestrata.prompts.prompt import OPEN
from valuestrata.respondents.model_paths import same_but_for_folders
from valuestrata.responses.run.damage import STORE, damage_of
from valuestrata.responses.run.identity import RunIdentity, run_identity
from valuestrata.responses.run.schema import RESPONSES, STATUSES
from valuestrata.responses.run.store import read_store, store_size
from valuestrata.yaml_files import Record, checked

FORMAT = "valuestrata-run-1"
RUN = "run.json"
TABLE = "responses.parquet"
HASH = "responses_sha256"
# Keys of run.json that must not change between calls. Pairs, orders and samples may: each response records its own.
IDENTITY = ("kind", "dataset", "respondent", "template", "template_version", "elicitation", "judged")
_NAMES_OF_MODELS = ("respondent.name", "respondent.of.name")
_RESTORE = "Restore the file from a copy, or ask again in another folder."
# Keys of a model's training data.
_OF_TRAINING = {"trained_on", "taught_on"}
# Key of run.json with one rendered prompt of each wording; runs of earlier versions lack it.
EXAMPLES = "example_prompts"
_STORE_SIZE = "valuestrata_store_bytes"
# Responses in the overview of a run.
_SHOWN = 5


class JudgedRuns(Record):
    """What a judge judged: runs and criteria, each with a hash."""

    runs: dict[str, str]
    reference: dict[str, str] = Field(default_factory=dict[str, str])
    criteria: dict[str, str] = Field(default_factory=dict[str, str])
    truncate: int | None = None


class RunFile(Record):
    """The keys of `run.json` besides those that identify the run."""

    started: str | None = None
    finished: str | None = None
    plan: dict[str, Any] | None = None
    planned: int | None = None
    versions: dict[str, str | None] | None = None
    responses_sha256: str | None = None
    counts: dict[str, int] | None = None
    usage: dict[str, float | None] | None = None
    earlier_plan: list[dict[str, Any]] | None = None
    earlier_versions: list[dict[str, str | None]] | None = None
    judged: JudgedRuns | None = None


@dataclass(frozen=True, repr=False)
class Run(HasOverview):
    """A run: its identity and its responses.

    Attributes:
        name: name of the run.
        path: its folder.
        meta: the document of `run.json`; `run_identity` returns it as a typed record.
        responses: RESPONSES schema.
        remark: a message for the user about damaged lines of the store, or None.
    """

    name: str
    path: Path
    meta: Mapping[str, Any]
    responses: pl.DataFrame
    remark: str | None = None

    def overview(self) -> Overview:
        """Return model, data set, what was asked, counts by status, and the first responses."""
        identity = run_identity(self)
        plan = [str(identity.plan[key]) for key in ("split", "part") if identity.plan.get(key) is not None]
        counts = ", ".join(f"{number:,} {status}" for status, number in counts_by_status(self.responses).items() if number)
        asked = [f"elicitation {identity.elicitation}" if identity.elicitation else "", *plan]
        usage = usage_of(self.responses)
        cost = [] if usage["cost"] is None else [f"Cost: {dollars(usage['cost'])}."]
        shown = self.responses.head(_SHOWN).select("item", "subgroup", "status", pl.col("answer").cast(pl.String), "text")
        return Overview(
            f"Run {self.name}: {identity.respondent.name or identity.respondent.model or identity.rule or identity.kind}",
            (f"{counts or 'no responses'}.", f"Asked: {', '.join([str(identity.dataset.survey), *filter(None, asked)])}.", *cost),
            ("Item", "Subgroup", "Status", "Answer", "Text"),
            [tuple(value or NONE for value in row) for row in shown.iter_rows()],
            " ".join(filter(None, (f"The first {shown.height} responses." if shown.height else "", f"Folder {self.path}.", self.remark))),
        )


def load_run(path: str | Path, *, closed: bool = True) -> Run:
    """Read a run folder, from its store if the table is not up to date.

    Args:
        path: the folder.
        closed: refuse open answers and judges' readings, which have no scale codes.

    Raises:
        InputDataError: no run, another format, a damaged file, a table that was changed, or a run that is not closed.
    """
    folder = Path(path)
    meta = read_meta(folder)
    if meta is None:
        raise InputDataError(f"{folder}: no run here ({RUN} is missing). Create one: valuestrata ask DATASET --model MODEL -o {folder}")
    if closed and (meta.get("elicitation") == OPEN or "judged" in meta):
        what = "a judge's readings of open answers" if "judged" in meta else "open answers"
        raise InputDataError(
            f"{folder}: this run holds {what}, which have no scale code. Compare open answers with `valuestrata open judge`, "
            "or read their positions on the scales with `valuestrata open stance`."
        )
    file = folder / TABLE
    unchanged = is_unchanged(folder, meta)
    if not unchanged and store_size(folder / STORE) is None:
        raise InputDataError(f"{file}: the table was changed after the run was written. Restore it from a copy, or make the run again.")
    if unchanged and table_is_current(folder):
        return Run(meta["name"], folder, meta, RESPONSES.check(read_parquet(file), str(file)))
    return Run(meta["name"], folder, meta, read_store(folder / STORE), damage_of(folder / STORE))


def check_same_dataset(run: Run, dataset: Dataset) -> None:
    """Raise InputDataError for a run of another data set."""
    asked = run_identity(run).dataset
    if asked.fingerprint != dataset.fingerprint:
        raise InputDataError(
            f"{run.path}: run {run.name!r} belongs to another data set ({asked.survey!r}, fingerprint {str(asked.fingerprint)[:12]}) "
            f"than {dataset.path or 'this one'} (fingerprint {dataset.fingerprint[:12]}). Score it with its own data set, or ask again."
        )


def read_meta(folder: Path) -> dict[str, Any] | None:
    """Return the document of a run's `run.json`, None if there is none.

    Raises:
        InputDataError: the file has another format, lacks a key or has a value of a wrong type.
    """
    file = folder / RUN
    if not file.is_file():
        return None
    meta = read_json(file)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else None
        raise InputDataError(f"{file}: format {found!r}, expected {FORMAT!r}; make the run again.")
    checked(RunFile, meta, str(file), _RESTORE)
    identity = RunIdentity.from_document(meta, str(meta.get("name")), str(file))
    for key, value in (("name", meta.get("name")), ("dataset.fingerprint", identity.dataset.fingerprint)):
        if value is None:
            raise InputDataError(f"{file}: the key {key!r} is missing. {_RESTORE}")
    return meta


def new_meta(dataset: Dataset, name: str, kind: str, **fields: Any) -> dict[str, Any]:
    """Return a document of `run.json`: the keys of every run, then `fields`.

    Raises:
        InputDataError: the name has a control character.
    """
    if found := unprintable_in(name):
        raise InputDataError(f"{name!r}: the name of a run cannot hold the character {found}; choose another folder with -o.")
    return {
        "format": FORMAT,
        "name": name,
        "kind": kind,
        "dataset": {"fingerprint": dataset.fingerprint, "survey": _survey_name(dataset)},
        **fields,
        "versions": {library: importlib.metadata.version(library) for library in ("valuestrata", "polars")},
        "python": platform.python_version(),
        "started": now(),
    }


def check_same_identity(folder: Path, there: Mapping[str, Any], now_: Mapping[str, Any]) -> None:
    """Refuse to mix two respondents, templates or data sets in one folder.

    Args:
        folder: of the run. there: document of its `run.json`. now_: document of the call.

    Raises:
        InputDataError: a key differs; names the first, with both values.
    """
    before = dict(_flat({key: there.get(key) for key in IDENTITY}))
    after = dict(_flat({key: now_.get(key) for key in IDENTITY}))
    # Runs of earlier versions record less of what a model was trained on.
    added = {key for key in after.keys() - before.keys() if _OF_TRAINING.intersection(key.split("."))}
    for key in [*(key for key in after if key not in added), *(key for key in before if key not in after)]:
        # Hashes identify what a folder holds; where it is does not matter.
        is_name = key in _NAMES_OF_MODELS and before.get(key) and after.get(key)
        if before.get(key) != after.get(key) and not (is_name and same_but_for_folders(str(before[key]), str(after[key]))):
            raise InputDataError(
                f"{folder}: this run has {key} {before.get(key)!r}, and now it would be {after.get(key)!r}. "
                "A run has one identity; choose another folder with -o."
            )


def write_table(folder: Path, responses: pl.DataFrame, size: int | None) -> None:
    """Write `responses.parquet` atomically; its metadata records the size of the store, if there is one."""
    metadata = None if size is None else {_STORE_SIZE: str(size)}
    write_parquet(folder / TABLE, RESPONSES.check(responses, str(folder / TABLE)), metadata=metadata)


def with_hash(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of `run.json` with the hash of the table as it is now."""
    return {**document, HASH: sha256_of(folder / TABLE)}


def is_unchanged(folder: Path, document: Mapping[str, Any]) -> bool:
    """Whether the table has the hash that a document of `run.json` records; True if it records none or there is no table."""
    file = folder / TABLE
    return document.get(HASH) is None or not file.is_file() or sha256_of(file) == document[HASH]


def table_is_current(folder: Path) -> bool:
    """Whether `responses.parquet` has everything in the store; True without a store."""
    size = store_size(folder / STORE)
    if size is None:
        return True
    file = folder / TABLE
    if not file.is_file():
        return False
    try:
        return pl.read_parquet_metadata(file).get(_STORE_SIZE) == str(size)
    except (pl.exceptions.PolarsError, OSError):
        return False  # a damaged table is rewritten


def counts_by_status(responses: pl.DataFrame) -> dict[str, int]:
    """Return status -> number of responses, for every status in STATUSES."""
    found = dict(responses["status"].value_counts().iter_rows())
    return {status: int(found.get(status, 0)) for status in STATUSES}


def usage_of(responses: pl.DataFrame, lost: float = 0.0) -> dict[str, int | float | None]:
    """Return prompt_tokens, completion_tokens and cost (US dollars); None if no response records it.

    Args:
        responses: RESPONSES schema.
        lost: cost of failures that are no longer in the table (`Store.cost_of_replaced`).
    """

    def total(column: str) -> float | None:
        return None if responses[column].null_count() == responses.height else float(responses[column].sum())

    prompt, completion, cost = total("prompt_tokens"), total("completion_tokens"), total("cost")
    return {
        "prompt_tokens": None if prompt is None else int(prompt),
        "completion_tokens": None if completion is None else int(completion),
        "cost": cost if not lost else (cost or 0.0) + lost,
    }


def now() -> str:
    """Return the current UTC time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _survey_name(dataset: Dataset) -> str:
    survey = dataset.meta.get("survey")
    return str(survey.get("id") or survey.get("name") or survey.get("survey")) if isinstance(survey, dict) else str(survey)


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
