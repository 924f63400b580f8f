"""Tuning jobs at Together: upload files, start a job once, and wait for its model.

A job must not be paid for twice if the process ends between the start of the job and the note of its id. So `job.json` is
written before and after every step, and a job that may have been started is first looked up by a tag in its model's name.

OpenAI's self-serve tuning accepts no new customers since May 2026 and no jobs after 6 January 2027; it is not offered here.
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
from valuestrata.files import sha256_of, write_json
from valuestrata.progress import progress
from valuestrata.respondents.hosted.batch.service import OutcomeUnknownError
from valuestrata.tuning.export.files import BEGUN, EXPORT, JOB, Exported, load_export, read_job
from valuestrata.tuning.export.jobs_request import job_request
from valuestrata.tuning.export.jobs_service import PROVIDER, UNTIL_LISTED, Sleep, Together
from valuestrata.tuning.recipe import Recipe

EVERY = 30.0
_FORMAT = "valuestrata-job-1"
_READS = ("chat", "together")
# Attempts to start a job if Together does not say whether the last one succeeded.
_STARTS = 6
_ENDED = ("completed", "error", "user_error", "cancelled")


@dataclass(frozen=True)
class TuningJob:
    """A job, as in `job.json`.

    Attributes:
        folder: the export that it was started from.
        document: provider, base_url, model, export, tag, stage, files, request, estimate, id, status, result.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """Its id at Together; None before it is started."""
        return self.document.get("id")

    @property
    def tuned_model(self) -> str | None:
        """Specification of the tuned model, `together/ACCOUNT/NAME`; None before the job has completed."""
        return f"{PROVIDER.name}/{self.document['result']}" if self.document.get("result") else None


def run_job(
    folder: str | Path,
    model: str,
    *,
    base_url: str | None = None,
    max_cost: float | None = None,
    every: float = EVERY,
    sleep: Sleep = time.sleep,
) -> TuningJob:
    """Start a job and wait for its model; the same call continues after an interruption. See `submit_job` and `poll_job`."""
    submit_job(folder, model, base_url=base_url, max_cost=max_cost, sleep=sleep)
    return poll_job(folder, every=every, sleep=sleep)


def submit_job(
    folder: str | Path, model: str, *, base_url: str | None = None, max_cost: float | None = None, sleep: Sleep = time.sleep
) -> TuningJob:
    """Upload exported files and start a job, unless this was done before.

    Args:
        folder: an export of format `together` or `chat`.
        model: the base model's name at Together.
        base_url: overrides Together's address.
        max_cost: limit in US dollars; a job with a higher or unknown price is not started.
        sleep: waits a number of seconds.

    Raises:
        UsageError: no key, another job in the folder, or a recipe beyond the model's limits or the budget.
        InputDataError: no export, changed files, or files that Together rejects.
        RunFailedError: Together refused or could not be reached; the same call continues.
        MissingExtraError: a library is not installed.
    """
    export = load_export(folder)
    if (format := export.document["request"]["for"]) not in _READS:
        raise UsageError(f"{export.folder}: the export is for {format}, but Together reads {' and '.join(_READS)}. Export again.")
    job = _new_or_kept(export, model, base_url or str(PROVIDER.base_url))
    if job.document["stage"] in ("running", "ended"):
        return job
    with closing(Together(job.document["base_url"], sleep)) as service:
        if job.document["stage"] == "starting" and (found := service.find(job.document["tag"])):
            return _update(job, stage="running", id=found)
        job = _uploaded(service, job, export)
        return _started(service, _planned(service, job, export, max_cost), sleep)


def poll_job(folder: str | Path, *, every: float = EVERY, sleep: Sleep = time.sleep) -> TuningJob:
    """Wait until a job has ended; `every` is the number of seconds between requests.

    Raises:
        UsageError: no key in the environment.
        InputDataError: no job in the folder, or one that was not started.
        RunFailedError: the job failed or was cancelled, or Together does not report its status.
    """
    job = load_job(folder)
    if not job.id:
        raise InputDataError(f"{job.folder / JOB}: the job has not been started; submit it first.")
    if job.document["stage"] == "running":
        with closing(Together(job.document["base_url"], sleep)) as service, progress(f"waiting for {job.id}", 1) as advance:
            while (job := _refreshed(service, job)).document["stage"] == "running":
                sleep(every)
            advance(1)
    if job.document["status"] != "completed" or not job.tuned_model:
        why = f" ({job.document['said'].rstrip('.')})" if job.document.get("said") else ""
        raise RunFailedError(
            f"Together: job {job.id} ended as {job.document['status']!r}{why}. It is not started again automatically; delete "
            f"{job.folder / JOB} to start another."
        )
    return job


def load_job(folder: str | Path) -> TuningJob:
    """Read the job of a folder with its last known status; InputDataError without a job."""
    path = Path(folder) / JOB
    if not path.is_file():
        raise InputDataError(f"{path}: there is no job; export training files to the folder and submit them.")
    return TuningJob(Path(folder), read_job(Path(folder)))


def look_at_job(folder: str | Path, *, sleep: Sleep = time.sleep) -> TuningJob:
    """Read a job's status from Together once, write it down and return the job; a job that is not running is unchanged.

    Raises:
        UsageError: no key in the environment.
        InputDataError: there is no job.
        RunFailedError: Together does not report its status.
    """
    job = load_job(folder)
    if job.document["stage"] != "running":
        return job
    with closing(Together(job.document["base_url"], sleep)) as service:
        return _refreshed(service, job)


def _refreshed(service: Together, job: TuningJob) -> TuningJob:
    now = service.get(f"/fine-tunes/{job.id}", f"the status of job {job.id} cannot be read")
    if now.get("status") not in _ENDED:
        return _update(job, status=now.get("status"))
    result = now.get("model_output_name") or now.get("model_object_name")
    messages = [str(event.get("message")) for event in now.get("events") or () if isinstance(event, dict) and event.get("message")]
    return _update(job, stage="ended", status=now["status"], result=result, said=service.cleaned(messages[-1]) if messages else None)


def _new_or_kept(export: Exported, model: str, base_url: str) -> TuningJob:
    """Return the job of a folder, written down if new. A job that was not started may still be replaced by another."""
    asked = {"model": model, "base_url": base_url, "export": sha256_of(export.folder / EXPORT)}
    path = export.folder / JOB
    job = TuningJob(export.folder, read_job(export.folder) if path.is_file() else {})
    differing = [key for key, now in asked.items() if job.document.get(key) != now]
    if not differing:
        return job
    if job.document.get("stage", BEGUN) != BEGUN:
        key = differing[0]
        raise UsageError(
            f"{path}: the job has {key} {job.document.get(key)!r}, but this call has {asked[key]!r}. Export to another folder."
        )
    tag = f"vs-{uuid.uuid4().hex[:12]}"
    files = {} if {"export", "base_url"} & set(differing) else job.document["files"]
    return _update(TuningJob(export.folder, {}), format=_FORMAT, provider=PROVIDER.name, **asked, tag=tag, stage=BEGUN, files=files)


def _uploaded(service: Together, job: TuningJob, export: Exported) -> TuningJob:
    """Upload the files that are not uploaded yet and wait until Together has checked them; this is free."""
    for name in ("train", "validation"):
        if not export.rows[name]:
            continue
        file = export.folder / f"{name}.jsonl"
        if name not in job.document["files"]:
            job = _update(job, files={**job.document["files"], name: service.upload(file)})
        service.check(job.document["files"][name], file)
    return job


def _planned(service: Together, job: TuningJob, export: Exported, max_cost: float | None) -> TuningJob:
    """Write down the request and its price.

    Raises:
        UsageError: the recipe is beyond the model's limits, or the price is beyond the budget.
    """
    model: str = job.document["model"]
    files: Mapping[str, str] = job.document["files"]
    limits = service.get("/fine-tunes/models/limits", f"the limits of {model} cannot be read", params={"model_name": model})
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
    estimate = service.call("POST", "/fine-tunes/estimate-price", f"the price of tuning {model} cannot be read", json=body)
    price = estimate.get("estimated_total_price")
    if estimate.get("allowed_to_proceed") is False:
        raise UsageError(
            f"Together estimates {price} US dollars for the job, more than the account's limit ({estimate.get('user_limit')})."
        )
    if max_cost is not None and (price is None or price > max_cost):
        found = "does not state the price of the job" if price is None else f"estimates {price:g} US dollars for the job"
        raise UsageError(f"Together {found}, and max_cost is {max_cost:g}. Nothing was started.")
    return _update(job, request=request, estimate=estimate, stage="starting")


def _started(service: Together, job: TuningJob, sleep: Sleep) -> TuningJob:
    reason, wait = "", 0.0
    for _ in range(_STARTS):
        try:
            made = service.call("POST", "/fine-tunes", "the job was refused", once=True, json=job.document["request"])
        except OutcomeUnknownError as error:
            reason, wait = str(error), error.wait
        else:
            if made.get("id"):
                return _update(job, stage="running", id=made["id"], status=made.get("status"))
            reason, wait = "the reply has no job id", 0.0
        sleep(max(wait, UNTIL_LISTED))
        if found := service.find(job.document["tag"]):
            return _update(job, stage="running", id=found)
    raise RunFailedError(
        f"Together: the job could not be started ({reason.rstrip('.')}). Run the same call again; it first checks whether the job was "
        "started after all."
    )


def _update(job: TuningJob, **changes: Any) -> TuningJob:
    document = {**job.document, **changes}
    write_json(job.folder / JOB, document)
    return TuningJob(job.folder, document)
