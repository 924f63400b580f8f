"""Batches of a provider's account: submit a file, look up its status, download the results.

A file must not be paid for twice because a process ended between the provider accepting it and this package recording
that. So every batch can be found again (`find`): by a tag where the provider stores one (OpenAI, Google), and at Anthropic
by being newer than the newest earlier batch and of the same size.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from valuestrata.errors import RunFailedError
from valuestrata.files import written_beside
from valuestrata.respondents.hosted.batch.files import CHAT
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec, version_headers
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec, new_client
from valuestrata.respondents.hosted.errors import failure
from valuestrata.respondents.hosted.keys import NO_KEY, drop_key_elsewhere, without_openai_environment
from valuestrata.respondents.hosted.reply_size import hooks

_TAG = "valuestrata"
# Seconds; a file of 200 MB takes long.
_TIMEOUT = 600.0
_ATTEMPTS = 6
_LONGEST_WAIT = 60.0
# If a provider asks for a longer wait, the command ends; the next one continues.
_LONGEST_ASKED = 900.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of a batch.

    Attributes:
        status: the provider's name for it.
        ended: whether the batch has ended.
        done: requests that ended, successfully or not; 0 if the provider does not say.
        outputs: names of the files to download.
        problem: why the whole batch failed, else None.
    """

    status: str
    ended: bool
    done: int = 0
    outputs: tuple[str, ...] = ()
    problem: str | None = None


class BatchService(ABC):
    """The batches of one provider's account. Exceptions are those of the SDK, for `Codec.failure_from`."""

    _client: Any

    def newest(self) -> str | None:
        """Return the newest batch so far if a batch can only be found by that, else None."""
        return None

    @abstractmethod
    def upload(self, file: Path) -> str:
        """Upload a file of requests and return its name there; nothing is asked or paid yet."""

    @abstractmethod
    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch of an uploaded file and return its id; from here on it is paid for."""

    @abstractmethod
    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return batches that `create` may have started under `tag` without this package recording it, except `known` ones."""

    @abstractmethod
    def look(self, batch: str) -> BatchStatus:
        """Return the status of a batch."""

    def download(self, output: str, to: Path) -> None:
        """Write the results into a file, complete or not at all."""
        with written_beside(to) as temporary, self._content(output) as response, temporary.open("wb") as file:
            for block in response.iter_bytes():
                file.write(block)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _content(self, output: str) -> Any:
        raise NotImplementedError


class OpenAIBatchService(BatchService):
    """Batches of OpenAI, and of providers with the same addresses."""

    _ENDED = ("completed", "failed", "expired", "cancelled")

    def __init__(self, *, base_url: str, key: str | None, is_openai: bool = True) -> None:
        import openai

        headers = None if is_openai else without_openai_environment(key)
        self._client = openai.OpenAI(
            api_key=key or NO_KEY,
            base_url=base_url,
            max_retries=0,
            timeout=_TIMEOUT,
            default_headers=headers,
            http_client=openai.DefaultHttpxClient(event_hooks=hooks(asynchronous=False)),
        )
        if not is_openai:
            # The SDK reads them from the environment; they are not for other providers.
            self._client.organization = self._client.project = self._client.admin_api_key = None

    def upload(self, file: Path) -> str:
        """Upload a file of requests and return its name there."""
        with file.open("rb") as content:
            return self._client.files.create(file=(file.name, content, "application/jsonl"), purpose="batch").id

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch with the tag in its metadata."""
        metadata = {_TAG: tag, "file": file.name}
        return self._client.batches.create(input_file_id=upload, endpoint=CHAT, completion_window="24h", metadata=metadata).id

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches with the tag."""
        batches = self._client.batches.list(limit=100)
        return [batch.id for batch in batches if (batch.metadata or {}).get(_TAG) == tag and batch.id not in known]

    def look(self, batch: str) -> BatchStatus:
        """Return the status of a batch; its answers and its errors are two files."""
        found = self._client.batches.retrieve(batch)
        counts, errors = found.request_counts, found.errors
        listed = [error for error in (errors.data if errors is not None else None) or [] if error.message]
        return BatchStatus(
            status=found.status,
            ended=found.status in self._ENDED,
            done=counts.completed + counts.failed if counts is not None else 0,
            outputs=tuple([name for name in (found.output_file_id, found.error_file_id) if name]),
            problem="; ".join(f"{error.code}: {error.message}" for error in listed[:3]) or None,
        )

    def _content(self, output: str) -> Any:
        return self._client.files.with_streaming_response.content(output)


class AnthropicBatchService(BatchService):
    """Batches of Anthropic: requests are sent with the batch itself, and a batch has no place for a tag."""

    def __init__(self, *, base_url: str, key: str | None) -> None:
        import anthropic

        limits = hooks(asynchronous=False)
        http = anthropic.DefaultHttpxClient(event_hooks={**limits, "request": [*limits["request"], drop_key_elsewhere(base_url)]})
        self._client = anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0, timeout=_TIMEOUT, http_client=http)

    def newest(self) -> str | None:
        """Return the newest batch: a later one comes before it in the list, whatever the clocks say."""
        return next((batch.id for batch in self._client.messages.batches.list(limit=1)), None)

    def upload(self, file: Path) -> str:
        """Do nothing."""
        return ""

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch with the file's lines as they are."""
        import httpx2

        lines = file.read_bytes().splitlines()
        content = b'{"requests":[' + b",".join(lines) + b"]}"
        headers = {"content-type": "application/json", **version_headers(json.loads(lines[0])["params"])}
        response = self._client.post("/v1/messages/batches", cast_to=httpx2.Response, content=content, options={"headers": headers})
        return response.json()["id"]

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches newer than `newest` with as many requests, the oldest first."""
        found: list[str] = []
        for batch in self._client.messages.batches.list(limit=100):
            if batch.id == newest:
                break
            if batch.id not in known and _total(batch.request_counts) == requests:
                found.append(batch.id)
        return found[::-1]

    def look(self, batch: str) -> BatchStatus:
        """Return the status of a batch."""
        found = self._client.messages.batches.retrieve(batch)
        done = _total(found.request_counts) - found.request_counts.processing
        ended = found.processing_status == "ended"
        outputs = (batch,) if ended and found.results_url else ()
        problem = "its results are no longer available" if ended and not outputs else None
        return BatchStatus(found.processing_status, ended, done, outputs, problem)

    def _content(self, output: str) -> Any:
        return self._client.messages.batches.with_streaming_response.results(output)


class GoogleBatchService(BatchService):
    """Batches of Google, found by their display name."""

    _ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")

    def __init__(self, *, base_url: str, key: str | None, model: str) -> None:
        self._model = model
        self._client = new_client(base_url, key, timeout=round(_TIMEOUT * 1000))

    def upload(self, file: Path) -> str:
        """Upload a file of requests and return its name there."""
        return self._client.files.upload(file=file, config={"display_name": file.name, "mime_type": "application/jsonl"}).name

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch with the tag as its display name."""
        return self._client.batches.create(model=self._model, src=upload, config={"display_name": tag}).name

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches with the tag as display name."""
        batches = self._client.batches.list(config={"page_size": 100})
        return [batch.name for batch in batches if batch.display_name == tag and batch.name not in known]

    def look(self, batch: str) -> BatchStatus:
        """Return the status of a batch."""
        found = self._client.batches.get(name=batch)
        status = found.state.name.removeprefix("JOB_STATE_")
        output = found.dest.file_name if found.dest is not None else None
        problem = found.error.message if found.error is not None else None
        return BatchStatus(status, status in self._ENDED, outputs=(output,) if output else (), problem=problem)

    def download(self, output: str, to: Path) -> None:
        """Write the results into a file, complete or not at all."""
        with written_beside(to) as temporary:
            self._client.files.download(file=output, destination=temporary)


def batch_service_of(codec: Codec, *, base_url: str, key: str | None, provider: str, model: str) -> BatchService:
    """Return the batches of the account that a codec calls."""
    if isinstance(codec, AnthropicCodec):
        return AnthropicBatchService(base_url=base_url, key=key)
    if isinstance(codec, GoogleCodec):
        return GoogleBatchService(base_url=base_url, key=key, model=model)
    return OpenAIBatchService(base_url=base_url, key=key, is_openai=provider == "openai")


def with_retries(
    codec: Codec, action: Callable[[], T], doing: str, *, sleep: Callable[[float], None] = time.sleep, once: bool = False
) -> T:
    """Do something that may fail temporarily, several times.

    Args:
        codec: explains exceptions.
        action: what is done; repeating it is harmless, unless `once`.
        doing: what it is, for the message.
        sleep: waits a number of seconds.
        once: do not repeat it.

    Raises:
        RunFailedError: it failed permanently or too often; holds the provider's message without keys.
        OutcomeUnknownError: it failed `once` and may have happened.
    """
    import httpx2

    failures = 0
    while True:
        try:
            return action()
        except httpx2.TransportError as error:  # the SDKs do not wrap an error in the middle of a file
            found = failure("connection", f"{type(error).__name__}: {error}", secrets=codec.secrets)
        except Exception as error:
            found = codec.failure_from(error)
        wait = found.retry_after or 0.0
        if once and found.retry:
            raise OutcomeUnknownError(str(found), min(wait, _LONGEST_ASKED)) from None
        failures += 1
        if not found.retry or failures >= _ATTEMPTS or wait > _LONGEST_ASKED:
            text = found.message.rstrip(".")
            if wait > _LONGEST_ASKED:
                text += f", and asks to wait for {wait:,.0f} s"
            raise RunFailedError(
                f"{doing}: {text}. What is in progress continues and is not lost; fix the cause and run the same command again."
            ) from None
        sleep(max(wait, min(_LONGEST_WAIT, 2.0**failures)))


class OutcomeUnknownError(Exception):
    """The provider did not say whether it accepted a request.

    Attributes:
        wait: seconds that it asks to wait.
    """

    def __init__(self, text: str, wait: float) -> None:
        super().__init__(text)
        self.wait = wait


def _total(counts: Any) -> int:
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
