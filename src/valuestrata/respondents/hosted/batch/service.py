"""The online half of batch files: hand a file in, look how far it is, fetch what came back.

What must not happen is that a file is paid for twice because a process ended between the provider's taking it and our
writing down that it did. So every batch can be found again (`find`): by a word of ours where the provider keeps one with
a batch (OpenAI, Google); at Anthropic, which keeps none, by what is new there since shortly before, and as large.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from valuestrata.errors import RunFailedError
from valuestrata.files import written_beside
from valuestrata.respondents.hosted.batch.files import CHAT
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec, version_headers
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec, new_client
from valuestrata.respondents.hosted.errors import failure
from valuestrata.respondents.hosted.keys import NO_KEY, drop_key_elsewhere, without_openai_environment

_TAG = "valuestrata"
# A file of 200 MB takes its time.
_TIMEOUT = 600.0
_ATTEMPTS = 6
_LONGEST_WAIT = 60.0
# A provider that asks for more is not waited for: the next call of the command goes on as well.
_LONGEST_ASKED = 900.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch is.

    Attributes:
        status: in the provider's word.
        ended: whether no more will come.
        done: requests that ended, well or not; 0 where the provider does not say.
        outputs: what there is to fetch, in the provider's names.
        problem: why the batch failed as a whole; None if it did not.
    """

    status: str
    ended: bool
    done: int = 0
    outputs: tuple[str, ...] = ()
    problem: str | None = None


class BatchService(Protocol):
    """The batches of one provider's account. What goes wrong is raised as the library raises it, for `Codec.failure_from`."""

    def newest(self) -> str | None:
        """Return what was the newest batch before ours, where a batch can only be found by that; else None."""
        ...

    def upload(self, file: Path) -> str:
        """Hand in a file of requests; return its name there. Nothing is asked or paid yet."""
        ...

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch of an uploaded file; return its id. From here on it is paid for."""
        ...

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches that `create` may have started under `tag` without our knowing, `known` ones left out."""
        ...

    def look(self, batch: str) -> BatchStatus:
        """Return how far a batch is."""
        ...

    def download(self, output: str, to: Path) -> None:
        """Write what came back into a file, whole or not at all."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class OpenAIBatchService:
    """Batches of OpenAI, and of others that have the same addresses."""

    _ENDED = ("completed", "failed", "expired", "cancelled")

    def __init__(self, *, base_url: str, key: str | None, ours: bool = True) -> None:
        import openai

        headers = None if ours else without_openai_environment(key)
        self._client: Any = openai.OpenAI(
            api_key=key or NO_KEY, base_url=base_url, max_retries=0, timeout=_TIMEOUT, default_headers=headers
        )
        if not ours:
            # Taken from the environment by the library; who else is asked has no business with them.
            self._client.organization = self._client.project = self._client.admin_api_key = None

    def newest(self) -> str | None:
        """Return None: a batch is found by its tag."""
        return None

    def upload(self, file: Path) -> str:
        """Hand in a file of requests; return its name there."""
        with file.open("rb") as content:
            return self._client.files.create(file=(file.name, content, "application/jsonl"), purpose="batch").id

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch that has our tag among its metadata."""
        metadata = {_TAG: tag, "file": file.name}
        return self._client.batches.create(input_file_id=upload, endpoint=CHAT, completion_window="24h", metadata=metadata).id

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches that have our tag."""
        batches = self._client.batches.list(limit=100)
        return [batch.id for batch in batches if (batch.metadata or {}).get(_TAG) == tag and batch.id not in known]

    def look(self, batch: str) -> BatchStatus:
        """Return how far a batch is; its answers and its errors are two files."""
        found = self._client.batches.retrieve(batch)
        counts, errors = found.request_counts, found.errors
        failure_from_document = [error for error in (errors.data if errors is not None else None) or [] if error.message]
        return BatchStatus(
            status=found.status,
            ended=found.status in self._ENDED,
            done=counts.completed + counts.failed if counts is not None else 0,
            outputs=tuple([name for name in (found.output_file_id, found.error_file_id) if name]),
            problem="; ".join(f"{error.code}: {error.message}" for error in failure_from_document[:3]) or None,
        )

    def download(self, output: str, to: Path) -> None:
        """Write what came back into a file."""
        with written_beside(to) as temporary, self._client.files.with_streaming_response.content(output) as response:
            _save(response, temporary)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AnthropicBatchService:
    """Batches of Anthropic: the requests go in with the batch itself, and there is no place for a tag."""

    def __init__(self, *, base_url: str, key: str | None) -> None:
        import anthropic

        http = anthropic.DefaultHttpxClient(event_hooks={"request": [drop_key_elsewhere(base_url)]})
        self._client: Any = anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0, timeout=_TIMEOUT, http_client=http)

    def newest(self) -> str | None:
        """Return the newest batch there is: ours will come before it in the list, whatever the clocks say."""
        return next((batch.id for batch in self._client.messages.batches.list(limit=1)), None)

    def upload(self, file: Path) -> str:
        """Do nothing."""
        return ""

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch; the lines go as they are."""
        import httpx2

        lines = file.read_bytes().splitlines()
        content = b'{"requests":[' + b",".join(lines) + b"]}"
        headers = {"content-type": "application/json", **version_headers(json.loads(lines[0])["params"])}
        response = self._client.post("/v1/messages/batches", cast_to=httpx2.Response, content=content, options={"headers": headers})
        return response.json()["id"]

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches that are newer than `newest` and have as many requests, the oldest first."""
        found: list[str] = []
        for batch in self._client.messages.batches.list(limit=100):
            if batch.id == newest:
                break
            if batch.id not in known and _total(batch.request_counts) == requests:
                found.append(batch.id)
        return found[::-1]

    def look(self, batch: str) -> BatchStatus:
        """Return how far a batch is."""
        found = self._client.messages.batches.retrieve(batch)
        done = _total(found.request_counts) - found.request_counts.processing
        ended = found.processing_status == "ended"
        outputs = (batch,) if ended and found.results_url else ()
        problem = "its results are there no more" if ended and not outputs else None
        return BatchStatus(found.processing_status, ended, done, outputs, problem)

    def download(self, output: str, to: Path) -> None:
        """Write what came back into a file."""
        with written_beside(to) as temporary, self._client.messages.batches.with_streaming_response.results(output) as response:
            _save(response, temporary)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class GoogleBatchService:
    """Batches of Google, found by their display name."""

    _ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")

    def __init__(self, *, base_url: str, key: str | None, model: str) -> None:
        self._model = model
        self._client: Any = new_client(base_url, key, timeout=round(_TIMEOUT * 1000))

    def newest(self) -> str | None:
        """Return None: a batch is found by its name."""
        return None

    def upload(self, file: Path) -> str:
        """Hand in a file of requests; return its name there."""
        return self._client.files.upload(file=file, config={"display_name": file.name, "mime_type": "application/jsonl"}).name

    def create(self, file: Path, upload: str, tag: str) -> str:
        """Start a batch that is called as our tag."""
        return self._client.batches.create(model=self._model, src=upload, config={"display_name": tag}).name

    def find(self, tag: str, requests: int, newest: str | None, known: Collection[str]) -> list[str]:
        """Return the batches that are called as our tag."""
        batches = self._client.batches.list(config={"page_size": 100})
        return [batch.name for batch in batches if batch.display_name == tag and batch.name not in known]

    def look(self, batch: str) -> BatchStatus:
        """Return how far a batch is."""
        found = self._client.batches.get(name=batch)
        status = found.state.name.removeprefix("JOB_STATE_")
        output = found.dest.file_name if found.dest is not None else None
        problem = found.error.message if found.error is not None else None
        return BatchStatus(status, status in self._ENDED, outputs=(output,) if output else (), problem=problem)

    def download(self, output: str, to: Path) -> None:
        """Write what came back into a file."""
        with written_beside(to) as temporary:
            self._client.files.download(file=output, destination=temporary)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def batch_service_of(codec: Codec, *, base_url: str, key: str | None, provider: str, model: str) -> BatchService:
    """Return the batches of the account that a codec asks."""
    if isinstance(codec, AnthropicCodec):
        return AnthropicBatchService(base_url=base_url, key=key)
    if isinstance(codec, GoogleCodec):
        return GoogleBatchService(base_url=base_url, key=key, model=model)
    return OpenAIBatchService(base_url=base_url, key=key, ours=provider == "openai")


def with_retries(
    codec: Codec, action: Callable[[], T], doing: str, *, sleep: Callable[[float], None] = time.sleep, once: bool = False
) -> T:
    """Do something that may fail for a while, several times.

    Args:
        codec: who knows what an exception means.
        action: what is done; doing it again does no harm, unless `once`.
        doing: what it is, for the message.
        sleep: waits so many seconds.
        once: not to be tried again by itself.

    Raises:
        RunFailedError: it failed for good, or too often; holds what the provider said, and no key.
        OutcomeUnknownError: it failed `once`, and may have happened all the same.
    """
    import httpx2

    failures = 0
    while True:
        try:
            return action()
        except httpx2.TransportError as error:  # in the middle of a file, where the libraries let it pass as it is
            found = failure("connection", f"{type(error).__name__}: {error}", secrets=codec.secrets)
        except Exception as error:
            found = codec.failure_from(error)
        wait = found.retry_after or 0.0
        if once and found.retry:
            raise OutcomeUnknownError(str(found), min(wait, _LONGEST_ASKED)) from None
        failures += 1
        if not found.retry or failures >= _ATTEMPTS or wait > _LONGEST_ASKED:
            said = found.message.rstrip(".")
            if wait > _LONGEST_ASKED:
                said += f", and asks to wait for {wait:,.0f} s"
            raise RunFailedError(
                f"{doing}: {said}. What is under way stays so and is not lost; mend that and run the same command again."
            ) from None
        sleep(max(wait, min(_LONGEST_WAIT, 2.0**failures)))


class OutcomeUnknownError(Exception):
    """The provider did not say whether it took what it was given.

    Attributes:
        wait: seconds that it asks to wait.
    """

    def __init__(self, said: str, wait: float) -> None:
        super().__init__(said)
        self.wait = wait


def _save(response: Any, to: Path) -> None:
    with to.open("wb") as file:
        for block in response.iter_bytes():
            file.write(block)


def _total(counts: Any) -> int:
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
