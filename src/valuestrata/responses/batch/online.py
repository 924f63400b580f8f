"""Batches of a run at its provider: handed in, watched, fetched. Each step may be broken off and is taken up again.

A file is paid for once. Its stage is written down before and after every step; a file that was being started when the
process ended is looked for at the provider before it is started again. At Anthropic, where a batch bears no word of
ours, one that is as new and as large is taken for it, and its results show whether it is: the names in them
are of this run alone. If it is another's, the next call looks on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.progress import progress
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.hosted.batch.answers import key_of
from valuestrata.respondents.hosted.batch.files import Broken, form_of, read_lines
from valuestrata.respondents.hosted.batch.service import MayHaveHappenedError, Service, Standing, attempted, service_of
from valuestrata.respondents.hosted.respondent import HostedRespondent
from valuestrata.responses.ask.plan import Asking
from valuestrata.responses.batch.folder import BatchFile, BatchFolder
from valuestrata.responses.batch.requests import CollectedBatch, checked_meta, collect_batch, hosted_of_run, write_batch
from valuestrata.responses.run.folder import STORE
from valuestrata.responses.run.store import Store

EVERY = 30.0
# How often a start of which the provider did not say whether it happened is looked for, and tried again.
_STARTS = 6
# A provider may list a batch a moment after it took it.
_UNTIL_LISTED = 5.0
_WELL = ("completed", "ended", "SUCCEEDED")

Sleep = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class _Account:
    """The account that a run's batches are in."""

    respondent: HostedRespondent
    service: Service
    sleep: Sleep

    def attempt(self, action: Callable[[], T], doing: str, *, once: bool = False) -> T:
        where = f"{self.respondent.name}: {doing}"
        return attempted(self.respondent.wire, action, where, sleep=self.sleep, once=once)


def run_batch(
    dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking, *, every: float = EVERY, sleep: Sleep = time.sleep
) -> CollectedBatch:
    """Write what is not answered yet as batch files, hand them in, wait for them and collect them; called again, go on.

    Raises:
        UsageError, InputDataError: as for `write_batch` and `submit`.
        RunFailedError: the provider refused, or nothing succeeded.
    """
    write_batch(dataset, respondent, out, asking)
    while True:
        submit(out, sleep=sleep)
        poll(out, every=every, sleep=sleep)
        collected = fetch(dataset, out, sleep=sleep)
        if all(file.stage == "collected" for file in BatchFolder(Path(out)).files()):
            return collected


def submit(run: str | Path, *, sleep: Sleep = time.sleep) -> list[BatchFile]:
    """Hand in the files of a run that are not handed in yet; return all its files.

    Raises:
        UsageError: no key in the environment, or another process has the run open.
        InputDataError: no batch files, or one that was changed since it was written.
        RunFailedError: the provider did not take one; those before it are handed in.
    """
    folder = Path(run)
    batch = BatchFolder(folder)
    with _account(folder, sleep) as account, Store(folder / STORE):
        for file in batch.files():
            if file.stage in ("written", "uploaded", "starting"):
                _submit(batch, account, file)
    return batch.files()


def poll(run: str | Path, *, every: float = EVERY, sleep: Sleep = time.sleep) -> list[BatchFile]:
    """Wait until the batches of a run have ended, looking every so many seconds; return all its files.

    Raises:
        UsageError: no key in the environment.
        RunFailedError: the provider does not say how they are.
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
                standing = _looked(account, file)
                now = file.requests if standing.ended else max(done[file.name], min(standing.done, file.requests))
                advance(now - done[file.name])
                done[file.name] = now
                if standing.ended:
                    batch.update(file, stage="ended", status=standing.status, outputs=standing.outputs, problem=standing.problem)
                    running.remove(file)
            if running:
                sleep(every)
    return batch.files()


def fetch(dataset: Dataset, run: str | Path, *, sleep: Sleep = time.sleep) -> CollectedBatch:
    """Fetch what the ended batches of a run gave back, and collect it.

    What came of a batch that expired, failed or was cancelled is kept; the rest stays to be asked.

    Raises:
        UsageError: no key in the environment, or another process has the run open.
        InputDataError: no batch files, or a run of another data set.
        RunFailedError: the provider does not give it back, or nothing of the run succeeded.
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
    collected = collect_batch(dataset, folder, outputs, respondent=account.respondent, remarks=[*remarks, *_told(fetched)])
    for file in fetched:
        batch.update(file, stage="collected")
    # An ended batch will say nothing more of what it left out.
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
    service = service_of(respondent.wire, base_url=base_url, key=key, provider=provider.name, model=model)
    try:
        yield _Account(respondent, service, sleep)
    finally:
        service.close()


def _submit(batch: BatchFolder, account: _Account, file: BatchFile) -> None:
    """Hand in one file, from wherever an earlier call left it."""
    path = batch.check_unchanged(file)
    if file.stage == "starting" and _adopted(batch, account, file):
        return
    if file.upload is None:
        upload = account.attempt(lambda: account.service.upload(path), f"{path.name} could not be handed in")
        file = batch.update(file, stage="uploaded", upload=upload)
    if file.stage != "starting":
        newest = account.attempt(account.service.newest, "the batches there could not be listed")
        file = batch.update(file, stage="starting", newest=newest)
    said, wait = "", 0.0
    for _ in range(_STARTS):
        try:
            started = _started(account, file, path)
        except MayHaveHappenedError as error:
            said, wait = str(error), error.wait
        else:
            batch.update(file, stage="running", batch=started)
            return
        account.sleep(max(wait, _UNTIL_LISTED))
        if _adopted(batch, account, file):
            return
    raise RunFailedError(
        f"{account.respondent.name}: the batch of {path.name} could not be started ({said.rstrip('.')}); run the same command again. "
        "It looks whether the batch was started all the same before it starts another."
    )


def _started(account: _Account, file: BatchFile, path: Path) -> str:
    upload = file.upload or ""
    return account.attempt(lambda: account.service.create(path, upload, file.tag), f"the batch of {path.name} was refused", once=True)


def _adopted(batch: BatchFolder, account: _Account, file: BatchFile) -> bool:
    """Whether a batch of this file was started without our knowing; then it is noted as running."""
    known = {other.batch for other in batch.files() if other.batch is not None} | set(file.not_ours)
    found = account.attempt(
        lambda: account.service.find(file.tag, file.requests, file.newest, known), "the batches there could not be listed"
    )
    if found:
        batch.update(file, stage="running", batch=found[0])
    return bool(found)


def _looked(account: _Account, file: BatchFile) -> Standing:
    assert file.batch is not None, "a running batch has an id"
    name = file.batch
    return account.attempt(lambda: account.service.look(name), f"the provider does not say how batch {name} is")


def _downloaded(batch: BatchFolder, account: _Account, file: BatchFile) -> list[Path]:
    paths: list[Path] = []
    for index, output in enumerate(file.outputs):
        path = batch.output_path(file, index)
        if not path.is_file():
            _download(account, output, path)
        paths.append(path)
    return paths


def _download(account: _Account, output: str, path: Path) -> None:
    account.attempt(lambda: account.service.download(output, path), f"{output} could not be fetched")


def _of_others(batch: BatchFolder, account: _Account, paths: list[Path]) -> bool:
    """Whether results were made for other requests than this run's."""
    asked = batch.prompts().keys()
    form = form_of(account.respondent.wire)
    lines = [line for path in paths for line in read_lines(form, path) if not isinstance(line, Broken)]
    return bool(lines) and not any(line.custom_id in asked for line in lines)


def _disown(batch: BatchFolder, file: BatchFile, paths: list[Path]) -> str:
    for path in paths:
        path.unlink()
    not_ours = (*file.not_ours, file.batch or "")
    batch.update(file, stage="starting", batch=None, outputs=(), status=None, problem=None, not_ours=not_ours)
    return f"Batch {file.batch} turned out to be another run's; {file.name} is looked for again by the same command."


def _told(files: list[BatchFile]) -> Iterator[str]:
    for file in files:
        if file.status not in _WELL or file.problem is not None:
            yield (
                f"Batch {file.batch} ({file.name}, {file.requests:,} requests) ended as {file.status!r}"
                + (f": {file.problem.rstrip('.')}." if file.problem else ".")
                + " What it answered is kept; the same command asks the rest again."
            )
