"""Submit, poll and fetch the batches of a run; every step can be interrupted and continued.

A file is paid for once. Its stage is saved before and after each step. If the process ended while a batch was being created,
the batch is searched for at the provider before another is created. Anthropic's batches have no tags, so a batch as new and
as large is adopted, and its custom_ids, which are unique to the run, show whether it is the right one; if not, the search
continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.progress import progress
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.hosted.batch.answers import key_of
from valuestrata.respondents.hosted.batch.files import UnreadableLine, batch_format_of, read_lines
from valuestrata.respondents.hosted.batch.service import BatchService, OutcomeUnknownError, batch_service_of, with_retries
from valuestrata.respondents.hosted.redact import one_line
from valuestrata.respondents.hosted.respondent import HostedRespondent
from valuestrata.responses.ask.plan import Asking
from valuestrata.responses.batch.folder import BatchFile, BatchFolder
from valuestrata.responses.batch.requests import CollectedBatch, checked_meta, collect_batch, hosted_of_run, write_batch
from valuestrata.responses.run.folder import STORE
from valuestrata.responses.run.store import Store

EVERY = 30.0
# Attempts to create a batch when the provider does not confirm it.
_STARTS = 6
# Seconds until a provider lists a new batch.
_UNTIL_LISTED = 5.0
_SUCCEEDED = ("completed", "ended", "SUCCEEDED")

Sleep = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class _Account:
    """The provider account of a run's batches."""

    respondent: HostedRespondent
    service: BatchService
    sleep: Sleep

    def attempt(self, action: Callable[[], T], doing: str, *, once: bool = False) -> T:
        where = f"{self.respondent.name}: {doing}"
        return with_retries(self.respondent.codec, action, where, sleep=self.sleep, once=once)


def run_batch(
    dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking, *, every: float = EVERY, sleep: Sleep = time.sleep
) -> CollectedBatch:
    """Write unanswered prompts as batch files, submit them, wait and collect the results. Call it again to continue.

    Raises:
        UsageError, InputDataError: see `write_batch` and `submit`.
        RunFailedError: the provider refused, or nothing succeeded.
    """
    written = write_batch(dataset, respondent, out, asking)
    while True:
        submit(out, sleep=sleep)
        poll(out, every=every, sleep=sleep)
        collected = fetch(dataset, out, sleep=sleep)
        if all(file.stage == "collected" for file in BatchFolder(Path(out)).files()):
            return replace(collected, remarks=(*written.remarks, *collected.remarks))


def submit(run: str | Path, *, sleep: Sleep = time.sleep) -> list[BatchFile]:
    """Submit the files of a run that are not submitted yet; return all its files.

    Raises:
        UsageError: no key in the environment, or another process has the run open.
        InputDataError: no batch files, or a file was changed since it was written.
        RunFailedError: the provider refused a file; earlier files are submitted.
    """
    folder = Path(run)
    batch = BatchFolder(folder)
    with _account(folder, sleep) as account, Store(folder / STORE):
        for file in batch.files():
            if file.stage in ("written", "uploaded", "starting"):
                _submit(batch, account, file)
    return batch.files()


def poll(run: str | Path, *, every: float = EVERY, sleep: Sleep = time.sleep) -> list[BatchFile]:
    """Wait until the batches of a run have ended, polling every `every` seconds; return all its files.

    Raises:
        UsageError: no key in the environment.
        RunFailedError: the provider does not return their state.
    """
    folder = Path(run)
    batch = BatchFolder(folder)
    running = [file for file in batch.files() if file.stage == "running"]
    if not running:
        return batch.files()
    with _account(folder, sleep) as account, progress("waiting for the batch", sum(file.requests for file in running)) as advance:
        done = dict.fromkeys([file.name for file in running], 0)
        while running:
            for file in list(running):
                assert file.batch is not None, "a running batch has an id"
                look = partial(account.service.look, file.batch)
                status = account.attempt(look, f"the state of batch {file.batch} is not available")
                now = file.requests if status.ended else max(done[file.name], min(status.done, file.requests))
                advance(now - done[file.name])
                done[file.name] = now
                if status.ended:
                    secrets = account.respondent.codec.secrets
                    problem = None if status.problem is None else one_line(status.problem, secrets)
                    batch.update(file, stage="ended", status=one_line(status.status, secrets), outputs=status.outputs, problem=problem)
                    running.remove(file)
            if running:
                sleep(every)
    return batch.files()


def fetch(dataset: Dataset, run: str | Path, *, sleep: Sleep = time.sleep) -> CollectedBatch:
    """Fetch and collect the results of ended batches.

    Results of a batch that expired, failed or was cancelled are kept; its other prompts remain unanswered.

    Raises:
        UsageError: no key in the environment, or another process has the run open.
        InputDataError: no batch files, or a run of another data set.
        RunFailedError: the results cannot be downloaded, or nothing succeeded.
    """
    folder = Path(run)
    checked_meta(dataset, folder)
    batch = BatchFolder(folder)
    ended = [file for file in batch.files() if file.stage == "ended"]
    outputs: list[Path] = []
    remarks: list[str] = []
    fetched: list[BatchFile] = []
    with _account(folder, sleep) as account:
        for file in ended:
            paths = _downloaded(batch, account, file)
            if _of_others(batch, account, paths):
                remarks.append(_disown(batch, file, paths))
            else:
                outputs.extend(paths)
                fetched.append(file)
    collected = collect_batch(dataset, folder, outputs, respondent=account.respondent, remarks=[*remarks, *_remarks(fetched)])
    for file in fetched:
        batch.update(file, stage="collected")
    # An ended batch returns nothing more.
    batch.close(files=[file.name for file in fetched])
    if fetched and not any(number for status, number in collected.counts.items() if status != "failed"):
        failed = "; ".join(f"{number:,} x {kind}" for kind, number in collected.failures.items())
        raise RunFailedError(f"{folder}: no request of the batch succeeded. " + " ".join([*collected.remarks, failed]).strip())
    return collected


@contextmanager
def _account(folder: Path, sleep: Sleep) -> Generator[_Account]:
    respondent = hosted_of_run(folder)
    provider, identity = respondent.provider, respondent.identity()
    key = key_of(provider)
    if key is None and provider.needs_key:
        raise UsageError(f"{respondent.name}: {provider.name} needs a key; set the environment variable {' or '.join(provider.keys)}.")
    base_url, model = identity["base_url"], identity["model"]
    service = batch_service_of(respondent.codec, base_url=base_url, key=key, provider=provider.name, model=model)
    try:
        yield _Account(respondent, service, sleep)
    finally:
        service.close()


def _submit(batch: BatchFolder, account: _Account, file: BatchFile) -> None:
    """Submit one file, continuing from the stage that an earlier call reached."""
    path = batch.check_unchanged(file)
    if file.stage == "starting" and _adopted(batch, account, file):
        return
    if file.upload is None:
        upload = account.attempt(lambda: account.service.upload(path), f"{path.name} could not be uploaded")
        file = batch.update(file, stage="uploaded", upload=upload)
    if file.stage != "starting":
        newest = account.attempt(account.service.newest, "its batches could not be listed")
        file = batch.update(file, stage="starting", newest=newest)
    reason, wait = "", 0.0
    for _ in range(_STARTS):
        try:
            create = partial(account.service.create, path, file.upload or "", file.tag)
            started = account.attempt(create, f"the batch of {path.name} was refused", once=True)
        except OutcomeUnknownError as error:
            reason, wait = str(error), error.wait
        else:
            batch.update(file, stage="running", batch=started)
            return
        account.sleep(max(wait, _UNTIL_LISTED))
        if _adopted(batch, account, file):
            return
    raise RunFailedError(
        f"{account.respondent.name}: the batch of {path.name} could not be started ({reason.rstrip('.')}); run the same command again. "
        "It first checks whether the batch was started."
    )


def _adopted(batch: BatchFolder, account: _Account, file: BatchFile) -> bool:
    """Search for an unconfirmed batch of this file; if found, record it as running and return True."""
    known = {other.batch for other in batch.files() if other.batch is not None} | set(file.not_ours)
    found = account.attempt(lambda: account.service.find(file.tag, file.requests, file.newest, known), "its batches could not be listed")
    if found:
        batch.update(file, stage="running", batch=found[0])
    return bool(found)


def _downloaded(batch: BatchFolder, account: _Account, file: BatchFile) -> list[Path]:
    paths: list[Path] = []
    for index, output in enumerate(file.outputs):
        path = batch.output_path(file, index)
        if not path.is_file():
            account.attempt(partial(account.service.download, output, path), f"{output} could not be downloaded")
        paths.append(path)
    return paths


def _of_others(batch: BatchFolder, account: _Account, paths: list[Path]) -> bool:
    """Whether the results belong to another run."""
    asked = batch.prompts().keys()
    form = batch_format_of(account.respondent.codec)
    lines = [line for path in paths for line in read_lines(form, path) if not isinstance(line, UnreadableLine)]
    return bool(lines) and not any(line.custom_id in asked for line in lines)


def _disown(batch: BatchFolder, file: BatchFile, paths: list[Path]) -> str:
    for path in paths:
        path.unlink()
    not_ours = (*file.not_ours, file.batch or "")
    batch.update(file, stage="starting", batch=None, outputs=(), status=None, problem=None, not_ours=not_ours)
    return f"Batch {file.batch} belongs to another run; run the same command again to search for the batch of {file.name}."


def _remarks(files: list[BatchFile]) -> Iterator[str]:
    for file in files:
        if file.status not in _SUCCEEDED or file.problem is not None:
            yield (
                f"Batch {file.batch} ({file.name}, {file.requests:,} requests) ended as {file.status!r}"
                + (f": {file.problem.rstrip('.')}." if file.problem else ".")
                + " Its answers are kept; run the same command again to ask the rest."
            )
