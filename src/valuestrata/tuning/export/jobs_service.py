"""Client of Together's fine-tuning service: files, limits, prices and jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.hosted.batch.answers import key_of
from valuestrata.respondents.hosted.batch.service import with_retries
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.errors import CallError, failure_from_status
from valuestrata.respondents.hosted.providers import PROVIDERS
from valuestrata.respondents.hosted.redact import one_line
from valuestrata.respondents.hosted.reply_size import hooks

PROVIDER = PROVIDERS["together"]
# Seconds until an uploaded file is checked and a started job is listed.
UNTIL_LISTED = 5.0
_TIMEOUT = 600.0
_CHECKING = ("PENDING", "QUEUED", "RUNNING")

Sleep = Callable[[float], None]


class Together:
    """An account at Together. Calls are retried if that can help.

    Raises:
        UsageError: no key in the environment.
        MissingExtraError: the library for hosted models is not installed.
    """

    def __init__(self, base_url: str, sleep: Sleep) -> None:
        key = key_of(PROVIDER)
        if key is None:
            raise UsageError(f"Together needs a key; set the environment variable {' or '.join(PROVIDER.keys)}.")
        # Classifies errors and removes the key from their messages.
        self._wire = OpenAICodec(PROVIDER, "", base_url=base_url, key=key)
        import httpx2

        self._sleep = sleep
        self._client = httpx2.Client(
            base_url=base_url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT,
            event_hooks=hooks(asynchronous=False),
        )

    def get(self, path: str, problem: str, **settings: Any) -> Any:
        """Return the JSON of a GET request; arguments and errors as for `call`."""
        return self.call("GET", path, problem, **settings)

    def call(self, method: str, path: str, problem: str, *, once: bool = False, **settings: Any) -> Any:
        """Return the JSON of a request.

        Args:
            method, path: of the request. problem: start of the error message. once: do not retry.
            settings: arguments of `httpx2.Client.request`.

        Raises:
            RunFailedError: it was refused or failed too often.
            OutcomeUnknownError: it failed with `once`, but may have taken effect.
        """
        return with_retries(self._wire, lambda: self._request(method, path, settings), f"Together: {problem}", sleep=self._sleep, once=once)

    def upload(self, file: Path) -> str:
        """Upload a file and return its id. A file that was uploaded before keeps its id."""

        def send() -> str:
            with file.open("rb") as content:
                form = {"purpose": "fine-tune", "file_name": file.name, "file_type": "jsonl"}
                files = {"file": (file.name, content, "application/jsonl")}
                return str(self._request("POST", "/files/upload", {"data": form, "files": files}, known_id="file_id")["id"])

        return with_retries(self._wire, send, f"Together: {file.name} could not be uploaded", sleep=self._sleep)

    def check(self, name: str, file: Path) -> None:
        """Wait until Together has checked an uploaded file; InputDataError if it rejects the file."""
        while (now := self.get(f"/files/{name}", f"the state of {file.name} cannot be read")).get("processing_status") in _CHECKING:
            self._sleep(UNTIL_LISTED)
        report: Mapping[str, Any] = now.get("validation_report") or {}
        if now.get("processing_status") in ("FAILED", "INVALID_FORMAT") or report.get("valid") is False:
            reason = self.cleaned(report.get("error") or now.get("processing_status"))
            raise InputDataError(f"{file}: Together rejects it: {reason}")

    def find(self, tag: str) -> str | None:
        """Return the id of the job with a tag; None without one."""
        jobs = self.get("/fine-tunes", "the jobs could not be listed").get("data") or ()
        named = (job for job in jobs if job.get("suffix") == tag or tag in str(job.get("model_output_name") or ""))
        return next((str(job["id"]) for job in named), None)

    def cleaned(self, said: object) -> str:
        """Return what Together said as one printable line without the key."""
        return one_line(str(said), self._wire.secrets)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, method: str, path: str, settings: Mapping[str, Any], *, known_id: str | None = None) -> Any:
        response = self._client.request(method, path, **settings)
        if response.status_code == 409 and known_id and (known := response.json().get(known_id)):
            return {"id": known}
        if response.status_code >= 400:
            message, code = _error_of(response)
            raise CallError(
                failure_from_status(response.status_code, message, code=code, headers=response.headers, secrets=self._wire.secrets)
            )
        return response.json()


def _error_of(response: Any) -> tuple[str, str | None]:
    """Return the message and Together's code of an error."""
    try:
        document = response.json()
        error: Any = document.get("error") or document
        return str(error.get("message") or response.text), error.get("code")
    except (ValueError, AttributeError):
        return response.text, None
