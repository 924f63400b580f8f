"""The folder `batch` of a run: files of requests, what was asked in them, and how far each of them is.

requests-000.jsonl, ...   what is handed in
prompts.parquet           what was asked under which custom_id, in which file, and whether its result is still to come
batches.json              how far each file is
outputs/                  what the provider gave back
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import read_json, read_parquet, sha256_of, write_json, write_parquet
from valuestrata.prompts.frame import CUSTOM_ID, prompts_from_frame, prompts_to_frame
from valuestrata.prompts.prompt import Prompt
from valuestrata.responses.run.folder import RUN

FOLDER = "batch"
FORMAT = "valuestrata-batch-1"
_STATE = "batches.json"
_PROMPTS = "prompts.parquet"
_OUTPUTS = "outputs"
_FILE = "file"
_OPEN = "open"

Stage = Literal["written", "uploaded", "starting", "running", "ended", "collected"]


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file of requests.

    Attributes:
        name: of the file in the folder. sha256, requests: of the file.
        stage: `written`; `uploaded`: the provider has the file; `starting`: we are about to ask for a batch, and may have;
            `running`: we know its id; `ended`: no more will come; `collected`: what came is in the store.
        tag: a word by which the batch is found again.
        upload: name of the uploaded file there. newest: the newest batch there before ours, where batches have no tags.
        batch: id of the batch there. status: the provider's word for how it is.
        not_ours: batches that were taken for this file's and turned out to be others'.
        outputs: what there is to fetch, in the provider's names. problem: why it failed as a whole.
    """

    name: str
    sha256: str
    requests: int
    tag: str
    stage: Stage = "written"
    upload: str | None = None
    newest: str | None = None
    batch: str | None = None
    status: str | None = None
    not_ours: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """What is known of a run's batches.

    Attributes:
        files: by name, in the order of their writing.
        prices: what the model costs, as `Prices` takes it; None where it is not known.
        imported: SHA-256 of the output files that were read, which say nothing new.
        salt: 12 characters of this run's own, in the names of its requests where nothing else tells them from another run's.
    """

    files: Mapping[str, BatchFile] = field(default_factory=dict[str, BatchFile])
    prices: Mapping[str, Any] | None = None
    imported: tuple[str, ...] = ()
    salt: str = field(default_factory=lambda: secrets.token_hex(6))


class BatchFolder:
    """The folder `batch` of a run.

    Attributes:
        path: of the folder. run: of the run.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / FOLDER

    @property
    def there(self) -> bool:
        """Whether batch files were ever written for this run."""
        return (self.path / _STATE).is_file()

    def state(self) -> BatchState:
        """Return what is known of the batches.

        Raises:
            InputDataError: the document is of another format, or broken.
        """
        path = self.path / _STATE
        if not path.is_file():
            return BatchState()
        document = read_json(path)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputDataError(f"{path}: not a document of the format {FORMAT!r}; remove {self.path} and write the batch again.")
        try:
            files = {entry["name"]: _file_of(entry) for entry in document["files"]}
            return BatchState(files, document["prices"], tuple(document["imported"]), document["salt"])
        except (KeyError, TypeError) as error:
            raise InputDataError(f"{path}: an entry is broken ({error}); remove {self.path} and write the batch again.") from error

    def files(self) -> list[BatchFile]:
        """Return the files, in the order of their writing."""
        return list(self.state().files.values())

    def save(self, state: BatchState) -> None:
        """Write what is known of the batches."""
        document = {"format": FORMAT, "salt": state.salt, "prices": state.prices, "imported": list(state.imported)}
        write_json(self.path / _STATE, {**document, "files": [asdict(file) for file in state.files.values()]})

    def update(self, file: BatchFile, **changes: Any) -> BatchFile:
        """Write that one file is further; return it so."""
        state, changed = self.state(), replace(file, **changes)
        self.save(replace(state, files={**state.files, file.name: changed}))
        return changed

    def path_of(self, number: int) -> Path:
        """Return where the requests of file `number` lie."""
        return self.path / f"requests-{number:03}.jsonl"

    def tidy(self) -> None:
        """Remove files of requests that are not listed: a process ended while it wrote them, and nobody may hand them in."""
        listed = {file.name for file in self.files()}
        for path in self.path.glob("requests-*.jsonl"):
            if path.name not in listed:
                path.unlink()

    def output_path(self, file: BatchFile, index: int) -> Path:
        """Return where what came back for a file lies; a batch may give back several files."""
        return self.path / _OUTPUTS / f"{Path(file.name).stem}.{index}.jsonl"

    def check_unchanged(self, file: BatchFile) -> Path:
        """Return where a file lies, which is as it was written.

        Raises:
            InputDataError: it is gone, or was changed: what is paid for would not be what was asked.
        """
        path = self.path / file.name
        if not path.is_file() or sha256_of(path) != file.sha256:
            found = "was changed since" if path.is_file() else "is gone since"
            raise InputDataError(f"{path}: {found} it was written; remove {self.path} and write the batch again.")
        return path

    def prompts(self) -> dict[str, Prompt]:
        """Return what was asked under each custom_id."""
        frame = self._frame()
        if frame is None:
            return {}
        return dict(zip(frame[CUSTOM_ID], prompts_from_frame(frame, str(self.path / _PROMPTS)), strict=True))

    def open_keys(self) -> frozenset[str]:
        """Return the identities of prompts that lie in a file and whose result is still to come."""
        frame = self._frame()
        if frame is None:
            return frozenset()
        # A file that is not listed was being written when the process ended: nobody was handed it.
        return frozenset(frame.filter(pl.col(_OPEN) & pl.col(_FILE).is_in([file.name for file in self.files()]))["key"])

    def open_ids(self) -> frozenset[str]:
        """Return the custom_ids of those prompts."""
        frame = self._frame()
        return frozenset() if frame is None else frozenset(frame.filter(pl.col(_OPEN))[CUSTOM_ID])

    def add(
        self, state: BatchState, prompts: Sequence[Prompt], ids: Sequence[str], counts: Sequence[int], prices: Mapping[str, Any] | None
    ) -> list[BatchFile]:
        """Note files that were written, and what was asked in them.

        Args:
            state: what was known before.
            prompts, ids: what was asked and how it is called, in the order of the requests.
            counts: requests of each file.
            prices: what the model costs, as `Prices` takes it.
        """
        names = [self.path_of(len(state.files) + index).name for index in range(len(counts))]
        of_file = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        new = prompts_to_frame(prompts).with_columns(
            pl.Series(CUSTOM_ID, ids, dtype=pl.String), pl.Series(_FILE, of_file, dtype=pl.String), pl.lit(True).alias(_OPEN)
        )
        before = self._frame()
        if before is not None:
            # What lay in a file that is not listed was never handed in; what is asked again, its older file says nothing more of.
            kept = before.filter(pl.col(_FILE).is_in(list(state.files))).join(new, on="key", how="anti")
            new = pl.concat([kept, new])
        write_parquet(self.path / _PROMPTS, new)
        written = [self._new_file(name, count) for name, count in zip(names, counts, strict=True)]
        files = {**state.files, **{file.name: file for file in written}}
        self.save(replace(state, files=files, prices=None if prices is None else dict(prices)))
        return written

    def close(self, ids: Iterable[str] = (), files: Iterable[str] = ()) -> None:
        """Note that nothing more is to come for these custom_ids, or for any in these files."""
        frame = self._frame()
        if frame is not None:
            done = pl.col(CUSTOM_ID).is_in(list(ids)) | pl.col(_FILE).is_in(list(files))
            write_parquet(self.path / _PROMPTS, frame.with_columns((pl.col(_OPEN) & ~done).alias(_OPEN)))

    def note_imported(self, digests: Iterable[str]) -> None:
        """Note that output files of these hashes were read."""
        state = self.state()
        self.save(replace(state, imported=tuple(dict.fromkeys([*state.imported, *digests]))))

    def _new_file(self, name: str, requests: int) -> BatchFile:
        digest = sha256_of(self.path / name)
        # By chance as well as by hash: the same question asked twice, in two runs, is two batches.
        return BatchFile(name, digest, requests, tag=f"{secrets.token_hex(6)}-{digest[:16]}")

    def _frame(self) -> pl.DataFrame | None:
        path = self.path / _PROMPTS
        return read_parquet(path) if path.is_file() else None


def _file_of(entry: Mapping[str, Any]) -> BatchFile:
    known = {name.name for name in fields(BatchFile)}
    if set(entry) != known:
        raise KeyError(", ".join(sorted(set(entry) ^ known)))
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return BatchFile(**plain)


def is_batch_run(run: str | Path) -> bool:
    """Whether a folder is a run for which batch files were written, so that `import` collects outputs into it."""
    folder = Path(run)
    return (folder / RUN).is_file() and BatchFolder(folder).there


def open_keys(run: str | Path) -> frozenset[str]:
    """Return the identities of a run's prompts that lie in batch files and whose result is still to come; asking them live pays twice."""
    return BatchFolder(Path(run)).open_keys()


def refuse_what_batches_hold(run: str | Path) -> None:
    """Refuse to ask what was handed to a provider in batch files: it would be paid twice.

    Raises:
        UsageError: prompts of this run lie in batch files whose results are still to come.
    """
    folder = Path(run)
    if is_batch_run(folder) and (waiting := len(open_keys(folder))):
        raise UsageError(
            f"{folder}: {waiting:,} prompts of this run lie in batch files, and asking them now would pay for them twice. Read the "
            "provider's files with `import`, or continue with ",
            Option("batch"),
            "; if the files were never handed in, remove the folder `batch` in the run.",
        )
