"""A tuning job at Together: files handed in, checked there, started once, watched until its model is there.

What must not happen is that a job is paid for twice because this process ended between Together's taking it and our
writing down that it did. `job.json` is written before and after every step; a job that was being started is looked for
there, by a tag in the name of its model, before it is started again.

OpenAI's self-serve tuning takes no new customers since May 2026 and no jobs after 6 January 2027; it is not offered here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.files import read_json, sha256_of, write_json
from valuestrata.progress import progress
from valuestrata.respondents.hosted.batch.service import MayHaveHappenedError
from valuestrata.respondents.hosted.redact import in_short
from valuestrata.tuning.export.files import BEGUN, EXPORT, JOB, Exported, load_export
from valuestrata.tuning.export.jobs_request import job_request
from valuestrata.tuning.export.jobs_service import PROVIDER, UNTIL_LISTED, Sleep, Together
from valuestrata.tuning.recipe import Recipe

EVERY = 30.0
_FORMAT = "valuestrata-job-1"
_READS = ("chat", "together")
# How often a start of which Together did not say whether it happened is looked for, and tried again.
_STARTS = 6
_ENDED = ("completed", "error", "user_error", "cancelled")


@dataclass(frozen=True)
class Job:
    """A job as `job.json` has it.

    Attributes:
        folder: the export it was started from.
        document: provider, base_url, model, export, tag, stage, files, request, estimate, id, status, result.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """Its id at Together; None while it is not started."""
        return self.document.get("id")

    @property
    def word(self) -> str | None:
        """The tuned model as a MODEL: `together/ACCOUNT/NAME`; None while there is none."""
        return f"{PROVIDER.name}/{self.document['result']}" if self.document.get("result") else None


def run_job(
    folder: str | Path,
    model: str,
    *,
    base_url: str | None = None,
    max_cost: float | None = None,
    every: float = EVERY,
    sleep: Sleep = time.sleep,
) -> Job:
    """Start a job and wait for its model; called again after a stop, go on. Arguments and errors as of `submit_job` and `poll_job`."""
    submit_job(folder, model, base_url=base_url, max_cost=max_cost, sleep=sleep)
    return poll_job(folder, every=every, sleep=sleep)


def submit_job(
    folder: str | Path, model: str, *, base_url: str | None = None, max_cost: float | None = None, sleep: Sleep = time.sleep
) -> Job:
    """Hand in exported files and start a job, unless that was done.

    Args:
        folder: an export of format `together` or `chat`.
        model: the base model as Together calls it.
        base_url: in place of Together's address.
        max_cost: US dollars; nothing is started that Together expects to cost more, or whose price it does not say.
        sleep: waits so many seconds.

    Raises:
        UsageError: no key in the environment, another job in the folder, or a recipe beyond the model's limits or the budget.
        InputDataError: no export, files that were changed, or files that Together refuses.
        RunFailedError: Together refused, or could not be reached; the same call goes on.
        MissingExtraError: a library is not installed.
    """
    export = load_export(folder)
    if export.document["request"]["for"] not in _READS:
        raise UsageError(
            f"{export.folder}: exported for {export.document['request']['for']}; Together reads {' and '.join(_READS)}. Export again."
        )
    job = _begun(export, model, base_url or str(PROVIDER.base_url))
    if job.document["stage"] in ("running", "ended"):
        return job
    with closing(Together(job.document["base_url"], sleep)) as there:
        if job.document["stage"] == "starting" and (found := there.find(job.document["tag"])):
            return _update(job, stage="running", id=found)
        job = _handed_in(there, job, export)
        return _started(there, _planned(there, job, export, max_cost), sleep)


def poll_job(folder: str | Path, *, every: float = EVERY, sleep: Sleep = time.sleep) -> Job:
    """Wait until a job has ended, looking every so many seconds.

    Raises:
        UsageError: no key in the environment.
        InputDataError: no job here, or one that was not started.
        RunFailedError: the job failed or was cancelled, or Together does not say how it is.
    """
    job = load_job(folder)
    if not job.id:
        raise InputDataError(f"{job.folder / JOB}: the job was not started yet; submit it first.")
    if job.document["stage"] == "running":
        with closing(Together(job.document["base_url"], sleep)) as there, progress(f"waiting for {job.id}", 1) as advance:
            while (job := _looked_at(there, job)).document["stage"] == "running":
                sleep(every)
            advance(1)
    if job.document["status"] != "completed" or not job.word:
        why = f" ({job.document['said'].rstrip('.')})" if job.document.get("said") else ""
        raise RunFailedError(
            f"Together: job {job.id} ended as {job.document['status']!r}{why}. Nothing of it is started again by itself: remove "
            f"{job.folder / JOB} to start another."
        )
    return job


def load_job(folder: str | Path) -> Job:
    """Read the job of a folder, as it was when somebody last looked.

    Raises:
        InputDataError: no job here.
    """
    path = Path(folder) / JOB
    if not path.is_file():
        raise InputDataError(f"{path}: no job was started here; export training files to the folder and submit it.")
    return Job(Path(folder), read_json(path))


def look_at_job(folder: str | Path, *, sleep: Sleep = time.sleep) -> Job:
    """Ask Together once how a job is, write it down and return it; one that has ended, or was not started, is as it is.

    Raises:
        UsageError: no key in the environment.
        InputDataError: no job here.
        RunFailedError: Together does not say how it is.
    """
    job = load_job(folder)
    if job.document["stage"] != "running":
        return job
    with closing(Together(job.document["base_url"], sleep)) as there:
        return _looked_at(there, job)


def _looked_at(there: Together, job: Job) -> Job:
    now = there.get(f"/fine-tunes/{job.id}", f"how job {job.id} is cannot be seen")
    if now.get("status") not in _ENDED:
        return _update(job, status=now.get("status"))
    result = now.get("model_output_name") or now.get("model_object_name")
    said = [str(event.get("message")) for event in now.get("events") or () if isinstance(event, dict) and event.get("message")]
    return _update(job, stage="ended", status=now["status"], result=result, said=in_short(said[-1]) if said else None)


def _begun(export: Exported, model: str, base_url: str) -> Job:
    """Return the job of a folder, written down if it is new. What was not started yet may still become another one."""
    asked = {"model": model, "base_url": base_url, "export": sha256_of(export.folder / EXPORT)}
    path = export.folder / JOB
    job = Job(export.folder, read_json(path) if path.is_file() else {})
    differing = [key for key, now in asked.items() if job.document.get(key) != now]
    if not differing:
        return job
    if job.document.get("stage", BEGUN) != BEGUN:
        key = differing[0]
        raise UsageError(
            f"{path}: its job has {key} {job.document.get(key)!r}, and this call says {asked[key]!r}. Export to another folder."
        )
    tag = f"vs-{uuid.uuid4().hex[:12]}"
    files = {} if {"export", "base_url"} & set(differing) else job.document["files"]
    return _update(Job(export.folder, {}), format=_FORMAT, provider=PROVIDER.name, **asked, tag=tag, stage=BEGUN, files=files)


def _handed_in(there: Together, job: Job, export: Exported) -> Job:
    """Upload what is not uploaded, and wait until Together has checked it; nothing is paid for that."""
    for name in ("train", "validation"):
        if not export.rows[name]:
            continue
        file = export.folder / f"{name}.jsonl"
        if name not in job.document["files"]:
            job = _update(job, files={**job.document["files"], name: there.upload(file)})
        there.check(job.document["files"][name], file)
    return job


def _planned(there: Together, job: Job, export: Exported, max_cost: float | None) -> Job:
    model: str = job.document["model"]
    files: Mapping[str, str] = job.document["files"]
    limits = there.get("/fine-tunes/models/limits", f"limits of {model} cannot be read", params={"model_name": model})
    request = job_request(
        Recipe.model_validate(export.document["recipe"]),
        model,
        limits,
        train=files["train"],
        validation=files.get("validation"),
        longest=export.document["longest"],
        tag=job.document["tag"],
    )
    keys = ("model", "training_file", "validation_file", "n_epochs", "n_evals", "training_type", "training_method")
    body = {key: request[key] for key in keys if key in request}
    estimate = there.call("POST", "/fine-tunes/estimate-price", f"the price of tuning {model} cannot be read", json=body)
    price = estimate.get("estimated_total_price")
    if estimate.get("allowed_to_proceed") is False:
        raise UsageError(
            f"Together expects the job to cost {price} US dollars, more than the account may spend ({estimate.get('user_limit')})."
        )
    if max_cost is not None and (price is None or price > max_cost):
        expects = "does not say what the job will cost" if price is None else f"expects the job to cost {price:g} US dollars"
        raise UsageError(f"Together {expects}, and max_cost is {max_cost:g}. Nothing was started.")
    return _update(job, request=request, estimate=estimate, stage="starting")


def _started(there: Together, job: Job, sleep: Sleep) -> Job:
    said, wait = "", 0.0
    for _ in range(_STARTS):
        try:
            made = there.call("POST", "/fine-tunes", "the job was refused", once=True, json=job.document["request"])
        except MayHaveHappenedError as error:
            said, wait = str(error), error.wait
        else:
            if made.get("id"):
                return _update(job, stage="running", id=made["id"], status=made.get("status"))
            said, wait = "the reply names no job", 0.0
        sleep(max(wait, UNTIL_LISTED))
        if found := there.find(job.document["tag"]):
            return _update(job, stage="running", id=found)
    raise RunFailedError(
        f"Together: the job could not be started ({said.rstrip('.')}); call again. Whether it was started all the same is looked up first."
    )


def _update(job: Job, **changes: Any) -> Job:
    document = {**job.document, **changes}
    write_json(job.folder / JOB, document)
    return Job(job.folder, document)
