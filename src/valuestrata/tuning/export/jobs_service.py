"""Together's fine-tuning, spoken as its documentation has it: files, limits, prices, jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError, UsageError
from valuestrata.respondents.hosted.batch.answers import key_of
from valuestrata.respondents.hosted.batch.service import attempted
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAIWire
from valuestrata.respondents.hosted.errors import CallError, fault_of_status
from valuestrata.respondents.hosted.providers import PROVIDERS
from valuestrata.respondents.hosted.redact import in_short

PROVIDER = PROVIDERS["together"]
# A file that was handed in is read, and a job that was started is listed, a moment later.
UNTIL_LISTED = 5.0
_TIMEOUT = 600.0
_CHECKING = ("PENDING", "QUEUED", "RUNNING")

Sleep = Callable[[float], None]


class Together:
    """One account there; every call is tried again while that can help.

    Raises:
        UsageError: no key in the environment.
        MissingExtraError: the library for hosted models is not installed.
    """

    def __init__(self, base_url: str, sleep: Sleep) -> None:
        key = key_of(PROVIDER)
        if key is None:
            raise UsageError(f"Together needs a key; set the environment variable {' or '.join(PROVIDER.keys)}.")
        # It knows what errors mean, and keeps the key out of what is said of them.
        self._wire = OpenAIWire(PROVIDER, "", base_url=base_url, key=key)
        import httpx2

        self._sleep = sleep
        self._client = httpx2.Client(base_url=base_url.rstrip("/"), headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT)

    def get(self, path: str, doing: str, **how: Any) -> Any:
        """Return the JSON of a GET; `doing` says in a message what did not work."""
        return self.call("GET", path, doing, **how)

    def call(self, method: str, path: str, doing: str, *, once: bool = False, **how: Any) -> Any:
        """Return the JSON of a request.

        Raises:
            RunFailedError: it was refused, or failed too often.
            MayHaveHappenedError: it failed `once`, and may have happened all the same.
        """
        return attempted(self._wire, lambda: self._asked(method, path, how), f"Together: {doing}", sleep=self._sleep, once=once)

    def upload(self, file: Path) -> str:
        """Hand in a file; return its id there. A file that is there already has its old one."""

        def send() -> str:
            with file.open("rb") as content:
                form = {"purpose": "fine-tune", "file_name": file.name, "file_type": "jsonl"}
                files = {"file": (file.name, content, "application/jsonl")}
                return str(self._asked("POST", "/files/upload", {"data": form, "files": files}, there_already="file_id")["id"])

        return attempted(self._wire, send, f"Together: {file.name} could not be handed in", sleep=self._sleep)

    def check(self, name: str, file: Path) -> None:
        """Wait until Together has read a file.

        Raises:
            InputDataError: it does not take it.
        """
        while (now := self.get(f"/files/{name}", f"{file.name} cannot be seen")).get("processing_status") in _CHECKING:
            self._sleep(UNTIL_LISTED)
        report: Mapping[str, Any] = now.get("validation_report") or {}
        if now.get("processing_status") in ("FAILED", "INVALID_FORMAT") or report.get("valid") is False:
            said = in_short(str(report.get("error") or now.get("processing_status")), self._wire.secrets)
            raise InputDataError(f"{file}: Together does not take it: {said}")

    def find(self, tag: str) -> str | None:
        """Return the id of the job that was started under a tag, None where there is none."""
        jobs = self.get("/fine-tunes", "jobs there could not be listed").get("data") or ()
        named = (job for job in jobs if job.get("suffix") == tag or tag in str(job.get("model_output_name") or ""))
        return next((str(job["id"]) for job in named), None)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, method: str, path: str, how: Mapping[str, Any], *, there_already: str | None = None) -> Any:
        response = self._client.request(method, path, **how)
        if response.status_code == 409 and there_already and (known := response.json().get(there_already)):
            return {"id": known}
        if response.status_code >= 400:
            said, code = _said(response)
            raise CallError(fault_of_status(response.status_code, said, code=code, headers=response.headers, secrets=self._wire.secrets))
        return response.json()


def _said(response: Any) -> tuple[str, str | None]:
    """Return the words of an error and Together's own word for it."""
    try:
        document = response.json()
        error: Any = document.get("error") or document
        return str(error.get("message") or response.text), error.get("code")
    except (ValueError, AttributeError):
        return response.text, None
