"""The folder `batch` of a run: request files, their prompts and their state.

requests-000.jsonl, ...   request files to submit
prompts.parquet           prompt of each custom_id, its file, and whether its result is still open
batches.json              state of each file
outputs/                  the provider's output files
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import ConfigDict, Field

from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import read_parquet, sha256_of, write_json, write_parquet
from valuestrata.prompts.frame import CUSTOM_ID, prompts_from_frame, prompts_to_frame
from valuestrata.prompts.prompt import Prompt
from valuestrata.responses.run.folder import RUN
from valuestrata.yaml_files import Record, read_document

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
    """A request file.

    Attributes:
        name: of the file in the folder. sha256: of the file. requests: number of requests.
        stage: `written`; `uploaded` to the provider; `starting`: a batch may have been created; `running`: its id is known;
            `ended`: no more results will come; `collected`: the results are in the store.
        tag: identifies the batch at the provider.
        upload: the provider's id of the uploaded file. newest: newest earlier batch, for providers without tags.
        batch: the provider's id of the batch. status: its state as returned by the provider.
        not_ours: batches that were mistaken for this file's.
        outputs: the provider's names of the output files. problem: why the batch failed as a whole.
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
    """State of a run's batches.

    Attributes:
        files: by name, in the order written.
        prices: fields of `Prices`; None if the price is not known.
        imported: SHA-256 of output files that were read.
        salt: 12 random characters that keep the custom_ids of different runs apart.
    """

    files: Mapping[str, BatchFile] = field(default_factory=dict[str, BatchFile])
    prices: Mapping[str, Any] | None = None
    imported: tuple[str, ...] = ()
    salt: str = field(default_factory=lambda: secrets.token_hex(6))


class BatchFileEntry(Record):
    """The state of a request file in `batches.json`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str
    requests: int
    tag: str
    stage: Stage
    upload: str | None
    newest: str | None
    batch: str | None
    status: str | None
    not_ours: list[str]
    outputs: list[str]
    problem: str | None


class PricesEntry(Record):
    """Arguments of `Prices`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    batch: float = Field(default=1.0, ge=0)
    as_of: str | None = None
    source: str | None = None


class BatchStateFile(Record):
    """The format of `batches.json`."""

    format: Literal["valuestrata-batch-1"]
    salt: str
    prices: PricesEntry | None
    imported: list[str]
    files: list[BatchFileEntry]


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
        """Whether batch files were written for this run."""
        return (self.path / _STATE).is_file()

    def state(self) -> BatchState:
        """Return the state of the batches.

        Raises:
            InputDataError: the file has another format or is damaged.
        """
        path = self.path / _STATE
        if not path.is_file():
            return BatchState()
        document = read_document(path, BatchStateFile, f"Remove {self.path} and write the batch again.")
        files = {entry["name"]: _file_of(entry) for entry in document["files"]}
        return BatchState(files, document["prices"], tuple(document["imported"]), document["salt"])

    def files(self) -> list[BatchFile]:
        """Return the files in the order written."""
        return list(self.state().files.values())

    def save(self, state: BatchState) -> None:
        """Write the state of the batches."""
        document = {"format": FORMAT, "salt": state.salt, "prices": state.prices, "imported": list(state.imported)}
        write_json(self.path / _STATE, {**document, "files": [asdict(file) for file in state.files.values()]})

    def update(self, file: BatchFile, **changes: Any) -> BatchFile:
        """Change the state of one file and return it."""
        state, changed = self.state(), replace(file, **changes)
        self.save(replace(state, files={**state.files, file.name: changed}))
        return changed

    def path_of(self, number: int) -> Path:
        """Return the path of request file `number`."""
        return self.path / f"requests-{number:03}.jsonl"

    def tidy(self) -> None:
        """Remove request files that are not listed, left by an interrupted process."""
        listed = {file.name for file in self.files()}
        for path in self.path.glob("requests-*.jsonl"):
            if path.name not in listed:
                path.unlink()

    def output_path(self, file: BatchFile, index: int) -> Path:
        """Return the path of an output file; a batch may have several."""
        return self.path / _OUTPUTS / f"{Path(file.name).stem}.{index}.jsonl"

    def check_unchanged(self, file: BatchFile) -> Path:
        """Return the path of a request file; InputDataError if it is missing or was changed since it was written."""
        path = self.path / file.name
        if not path.is_file() or sha256_of(path) != file.sha256:
            found = "was changed since it was written" if path.is_file() else "is missing"
            raise InputDataError(f"{path}: {found}; remove {self.path} and write the batch again.")
        return path

    def prompts(self) -> dict[str, Prompt]:
        """Return custom_id -> prompt."""
        frame = self._frame()
        if frame is None:
            return {}
        return dict(zip(frame[CUSTOM_ID], prompts_from_frame(frame, str(self.path / _PROMPTS)), strict=True))

    def open_keys(self) -> frozenset[str]:
        """Return the keys of prompts in listed files whose results are open."""
        frame = self._frame()
        if frame is None:
            return frozenset()
        # A file that is not listed was left by an interrupted process and never submitted.
        return frozenset(frame.filter(pl.col(_OPEN) & pl.col(_FILE).is_in([file.name for file in self.files()]))["key"])

    def open_ids(self) -> frozenset[str]:
        """Return the custom_ids of open prompts."""
        frame = self._frame()
        return frozenset() if frame is None else frozenset(frame.filter(pl.col(_OPEN))[CUSTOM_ID])

    def add(
        self, state: BatchState, prompts: Sequence[Prompt], ids: Sequence[str], counts: Sequence[int], prices: Mapping[str, Any] | None
    ) -> list[BatchFile]:
        """Record new request files and their prompts.

        Args:
            prompts, ids: prompts and custom_ids in the order of the requests.
            prices: fields of `Prices`, if known.
        """
        names = [self.path_of(len(state.files) + index).name for index in range(len(counts))]
        of_file = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        new = prompts_to_frame(prompts).with_columns(
            pl.Series(CUSTOM_ID, ids, dtype=pl.String), pl.Series(_FILE, of_file, dtype=pl.String), pl.lit(True).alias(_OPEN)
        )
        before = self._frame()
        if before is not None:
            # Drop prompts of files that were never submitted, and earlier entries of prompts that are asked again.
            kept = before.filter(pl.col(_FILE).is_in(list(state.files))).join(new, on="key", how="anti")
            new = pl.concat([kept, new])
        write_parquet(self.path / _PROMPTS, new)
        written = [self._new_file(name, count) for name, count in zip(names, counts, strict=True)]
        files = {**state.files, **{file.name: file for file in written}}
        self.save(replace(state, files=files, prices=None if prices is None else dict(prices)))
        return written

    def close(self, ids: Iterable[str] = (), files: Iterable[str] = ()) -> None:
        """Mark these custom_ids, and all in these files, as no longer open."""
        frame = self._frame()
        if frame is not None:
            done = pl.col(CUSTOM_ID).is_in(list(ids)) | pl.col(_FILE).is_in(list(files))
            write_parquet(self.path / _PROMPTS, frame.with_columns((pl.col(_OPEN) & ~done).alias(_OPEN)))

    def note_imported(self, digests: Iterable[str]) -> None:
        """Record the SHA-256 of output files that were read."""
        state = self.state()
        self.save(replace(state, imported=tuple(dict.fromkeys([*state.imported, *digests]))))

    def _new_file(self, name: str, requests: int) -> BatchFile:
        digest = sha256_of(self.path / name)
        # Random as well as by hash, since two runs may ask the same questions.
        return BatchFile(name, digest, requests, tag=f"{secrets.token_hex(6)}-{digest[:16]}")

    def _frame(self) -> pl.DataFrame | None:
        path = self.path / _PROMPTS
        return read_parquet(path) if path.is_file() else None


def _file_of(entry: Mapping[str, Any]) -> BatchFile:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return BatchFile(**plain)


def is_batch_run(run: str | Path) -> bool:
    """Whether a folder is a run with batch files, into which `import` collects outputs."""
    folder = Path(run)
    return (folder / RUN).is_file() and BatchFolder(folder).there


def open_keys(run: str | Path) -> frozenset[str]:
    """Return the keys of a run's prompts whose batch results are open; asking them live would pay twice."""
    return BatchFolder(Path(run)).open_keys()


def refuse_what_batches_hold(run: str | Path) -> None:
    """Refuse to ask live while batch results are open: the prompts would be paid twice.

    Raises:
        UsageError: results of this run's batch files are open.
    """
    folder = Path(run)
    if is_batch_run(folder) and (waiting := len(open_keys(folder))):
        raise UsageError(
            f"{folder}: {waiting:,} prompts of this run are in batch files; asking them now would pay for them twice. Read the "
            "provider's files with `import`, or continue with ",
            Option("batch"),
            "; if the files were never submitted, remove the folder `batch` in the run.",
        )
