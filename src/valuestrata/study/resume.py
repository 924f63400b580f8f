"""Records of asking (`asked.json`), which show whether a run is complete and unchanged.

A record covers everything that determines the answers and is known without loading the model: data set, pairs, wordings,
decoding and seeds; the identity of a hosted model; the files of a local model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.files import canonical_hash, sha256_of, write_json
from valuestrata.responses.ask.plan import Asking
from valuestrata.study.config import ModelSection, SeedsSection, file_seen_from
from valuestrata.yaml_files import Record, checked, read_document

ASKED = "asked.json"
# Hashing larger files at every start would take as long as loading the model, which a record avoids.
_MAX_HASHED_BYTES = 1 << 30
# Keys of a model that do not change its answers, or that the plan of asking already covers.
_NOT_HASHED = {
    *("name", "template", "elicitation", "paraphrases", "orders", "samples", "context"),
    *("max_calls", "max_cost", "concurrency", "timeout", "attempts", "prices"),
}


@dataclass(frozen=True)
class FileState:
    """State of a file: size in bytes, time of the last change in ns, SHA-256 (None for files over 1 GiB)."""

    size: int
    changed: int
    sha256: str | None


class FileEntry(Record):
    """A `FileState` as `asked.json` has it."""

    size: int
    changed: int
    sha256: str | None


class AskedEntry(Record):
    """An `AskedRecord` as `asked.json` has it."""

    request: str
    identity: str | None
    files: dict[str, FileEntry]
    complete: bool


@dataclass(frozen=True)
class AskedRecord:
    """What a run was asked with.

    Attributes:
        request: hash of the request (`request_hash`).
        identity: hash of a hosted model's identity; None for other models, or if it is not known without loading.
        files: path -> state of each local file of the model.
        complete: whether every prompt has an answer.
    """

    request: str
    identity: str | None
    files: Mapping[str, FileState]
    complete: bool = False

    def completes(self, now: AskedRecord) -> bool:
        """Whether this record shows that the request `now` is complete. Files that were deleted count as unchanged."""
        same_identity = self.identity == now.identity or now.identity is None
        return self.complete and same_identity and self.request == now.request and not any(changed_files(self.files, now.files))


def changed_files(before: Mapping[str, FileState], now: Mapping[str, FileState]) -> tuple[list[str], list[str]]:
    """Return the files that changed, and those that may have changed: new ones, and large ones with another time."""
    changed: list[str] = []
    unclear: list[str] = []
    for path, state in now.items():
        known = before.get(path)
        if known is None:
            unclear.append(path)
        elif known != state and (known.size != state.size or known.sha256 != state.sha256):
            changed.append(path)
        elif known != state and state.sha256 is None:
            unclear.append(path)
    return changed, unclear


def request_hash(dataset: Dataset, asking: Asking, model: ModelSection, known_as: str, seeds: SeedsSection, trained_on: str | None) -> str:
    """Return a hash of what a model is asked.

    Args:
        dataset: the data set. asking: the plan. model: its section. known_as: its specification as runs record it. seeds: of the study.
        trained_on: the fingerprint of a baseline's other training data set.
    """
    template = [asking.template.name, asking.template.version_of(asking.elicitation), asking.elicitation]
    own = model.model_dump(exclude=_NOT_HASHED) | {"model": known_as}
    # The plan's document does not identify pairs that were sampled.
    pairs = canonical_hash(sorted(asking.pairs["pair_id"]))
    return canonical_hash([dataset.fingerprint, asking.document, pairs, template, own, seeds.sampling, seeds.persona, trained_on])


def file_states(files: Sequence[Path], before: Mapping[str, FileState], folder: Path) -> dict[str, FileState]:
    """Return path, as seen from `folder` -> state; a file with the same size and time as `before` is not hashed again."""
    found: dict[str, FileState] = {}
    for file in files:
        stat = file.stat()
        path = file_seen_from(file, folder)
        known = before.get(path)
        if known is not None and (known.size, known.changed) == (stat.st_size, stat.st_mtime_ns):
            found[path] = known
        else:
            hash_ = sha256_of(file) if stat.st_size <= _MAX_HASHED_BYTES else None
            found[path] = FileState(stat.st_size, stat.st_mtime_ns, hash_)
    return found


def read_record(study: Path, run: str) -> AskedRecord | None:
    """Return the record of a run; None if there is none, or one of an older format.

    Raises:
        InputDataError: the entry is invalid.
    """
    found = _records(study).get(run)
    if not isinstance(found, dict):
        return None
    where = f"{study / ASKED}: {run}"
    entry = checked(AskedEntry, found, where, "Delete the file; no answers are lost.")
    files = {path: FileState(state.size, state.changed, state.sha256) for path, state in entry.files.items()}
    return AskedRecord(entry.request, entry.identity, files, entry.complete)


def write_record(study: Path, run: str, record: AskedRecord) -> None:
    """Write the record of a run, keeping those of other runs."""
    write_json(study / ASKED, {**_records(study), run: asdict(record)})


def _records(study: Path) -> dict[str, Any]:
    file = study / ASKED
    return read_document(file, Record, "Delete the file; no answers are lost.") if file.is_file() else {}
