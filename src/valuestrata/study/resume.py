"""What a study remembers of asking (`asked.json`), so that a run which is complete is not opened again and a changed one is not missed.

A mark covers all that makes the answers what they are and can be known without loading a model: the request (data set,
pairs, wordings with the template's version, decoding, seeds), the identity of a hosted model with its address, and the
files of a model on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash, read_json, sha256_of, write_json
from valuestrata.responses.ask.plan import Asking
from valuestrata.study.config import ModelSection, SeedsSection

ASKED = "asked.json"
# Larger files are known by size and time alone: weights of hundreds of gigabytes would be read through at every start, which
# takes as long as loading them, and that is what a mark saves.
_HASHED_UP_TO = 1 << 30
# What of a model says where its answers lie, how fast it is asked and when to stop, or stands in the asking; of a run that is
# complete it changes nothing.
_NOT_OF_ANSWERS = {
    *("name", "template", "elicitation", "paraphrases", "orders", "samples"),
    *("max_calls", "max_cost", "concurrency", "timeout", "attempts", "prices"),
}


@dataclass(frozen=True)
class FileMark:
    """How a file is known again: bytes, time of the last change (ns), SHA-256 (None of a file over 1 GiB)."""

    size: int
    changed: int
    sha256: str | None


@dataclass(frozen=True)
class Mark:
    """What a run was asked with.

    Attributes:
        request: hash of the request.
        identity: hash of a hosted model's identity; None where it cannot be had without loading.
        files: path -> how the file is known again.
        complete: whether every prompt has an answer.
    """

    request: str
    identity: str | None
    files: Mapping[str, FileMark]
    complete: bool = False

    def is_of(self, now: Mark) -> bool:
        """Whether this mark says that what is asked `now` is complete. A file that is gone was not changed, and is not needed."""
        known = (self.identity == now.identity or now.identity is None) and self.request == now.request
        return self.complete and known and not any(changed(self.files, now.files))


def changed(before: Mapping[str, FileMark], now: Mapping[str, FileMark]) -> tuple[list[str], list[str]]:
    """Return the files that are not what they were, and those of which that cannot be told: large ones of another time or new ones."""
    surely: list[str] = []
    perhaps: list[str] = []
    for path, mark in now.items():
        known = before.get(path)
        if known is None:
            perhaps.append(path)
        elif known != mark and (known.size != mark.size or known.sha256 != mark.sha256):
            surely.append(path)
        elif known != mark and mark.sha256 is None:
            perhaps.append(path)
    return surely, perhaps


def request_of(dataset: Dataset, asking: Asking, model: ModelSection, seeds: SeedsSection, trained_on: str | None) -> str:
    """Hash what is asked of a model; `trained_on` is the fingerprint of the other data set that a baseline learns from."""
    template = [asking.template.name, asking.template.version_of(asking.elicitation), asking.elicitation]
    own = model.model_dump(exclude=_NOT_OF_ANSWERS)
    # A study may ask pairs that were drawn; where they are from does not say which.
    pairs = canonical_hash(sorted(asking.pairs["pair_id"]))
    return canonical_hash([dataset.fingerprint, asking.document, pairs, template, own, seeds.sampling, seeds.persona, trained_on])


def marks_of(files: Sequence[Path], before: Mapping[str, FileMark]) -> dict[str, FileMark]:
    """Return path -> how the file is known again; one of the size and time that it had `before` is not read again."""
    found: dict[str, FileMark] = {}
    for file in files:
        state = file.stat()
        known = before.get(str(file))
        if known is not None and (known.size, known.changed) == (state.st_size, state.st_mtime_ns):
            found[str(file)] = known
        else:
            hash_ = sha256_of(file) if state.st_size <= _HASHED_UP_TO else None
            found[str(file)] = FileMark(state.st_size, state.st_mtime_ns, hash_)
    return found


def read_mark(study: Path, run: str) -> Mark | None:
    """Return the mark of a run; None where there is none, or one of an older form."""
    found = _document(study).get(run)
    if not isinstance(found, dict):
        return None
    entry = cast("dict[str, Any]", found)
    try:
        files = {path: FileMark(**mark) for path, mark in entry["files"].items()}
        return Mark(entry["request"], entry["identity"], files, entry["complete"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputDataError(
            f"{study / ASKED}: the entry {run!r} is none of ours. Remove the file; it costs time and no answer."
        ) from error


def write_mark(study: Path, run: str, mark: Mark) -> None:
    """Keep the mark of a run beside those of the others."""
    write_json(study / ASKED, {**_document(study), run: asdict(mark)})


def _document(study: Path) -> dict[str, Any]:
    file = study / ASKED
    return read_json(file) if file.is_file() else {}
