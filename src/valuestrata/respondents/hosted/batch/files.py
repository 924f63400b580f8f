"""Batch files: requests that a provider processes within a day for about half the price, and their results.

Each provider has its own format of a line: OpenAI's (which others and `vllm run-batch` share), Anthropic's and Google's.
The request inside is the same as in a live call.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Generic, TypeVar

from valuestrata.errors import InputDataError
from valuestrata.files import written_beside
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.fields import as_text, nested, read_reply
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status

CHAT = "/v1/chat/completions"
_MEGABYTE = 1_000_000
# 48 of 64 hexadecimal digits: 192 bits, and space for the run's salt.
_KEY_KEPT = 48
# A request that a batch did not process: nothing was asked or charged.
_NOT_ASKED = ("batch_expired", "batch_cancelled", "expired", "canceled")

AnyCodec = TypeVar("AnyCodec", bound=Codec)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One line of a batch's results.

    Attributes:
        custom_id: the request it belongs to.
        reply: the reply. failure: what went wrong. Both are None if the request was not processed.
        why: the provider's reason for not processing the request, else None.
    """

    custom_id: str
    reply: Reply | None = None
    failure: CallFailure | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line of an output file that cannot be read. Attributes: its place; whether the file ends in the middle of it."""

    where: str
    torn: bool


class BatchFormat(ABC, Generic[AnyCodec]):
    """A provider's format of batch files.

    Attributes:
        name: of the format. most_requests, most_bytes: limits of one file.
    """

    name: ClassVar[str]
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 200 * _MEGABYTE

    def __init__(self, codec: AnyCodec) -> None:
        self._codec = codec

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return the name of a prompt's request, unique within a run: `Q1_sex_Female|scale|p0|s0`; looked up, never parsed.

        Args:
            salt: 12 characters of the run, for providers whose batches have no other mark of it.
        """
        return f"{prompt.pair_id}|{prompt.order}|p{prompt.paraphrase}|s{prompt.sample}"

    @abstractmethod
    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""

    @abstractmethod
    def result(self, document: Any) -> BatchResult | None:
        """Read a line of an output or error file; None if it is not one."""

    def _reply(self, custom_id: str, document: Any) -> BatchResult:
        try:
            return BatchResult(custom_id, reply=read_reply(self._codec.parse_reply, document, self._codec.secrets))
        except CallError as error:
            return BatchResult(custom_id, failure=error.failure)


class OpenAIBatchFormat(BatchFormat[OpenAICodec]):
    """OpenAI's format: method, address and body."""

    name = "openai"

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}

    def result(self, document: Any) -> BatchResult | None:
        """Read a line of an output or error file."""
        custom_id, problem = as_text(nested(document, "custom_id")), nested(document, "error")
        if custom_id is None or ("response" not in document and "error" not in document):
            return None
        if nested(problem, "code") in _NOT_ASKED:
            return BatchResult(custom_id, why=problem["code"])
        secrets = self._codec.secrets
        if problem:
            return BatchResult(custom_id, failure=failure("server error", _message(problem), secrets=secrets))
        status, body = nested(document, "response", "status_code"), nested(document, "response", "body")
        if isinstance(status, int) and status >= 400:
            error = nested(body, "error") or body
            code = as_text(nested(error, "code")) or as_text(nested(error, "type"))
            return BatchResult(custom_id, failure=failure_from_status(status, _message(error), code=code, secrets=secrets))
        return self._reply(custom_id, body)


class AnthropicBatchFormat(BatchFormat[AnthropicCodec]):
    """Anthropic's format: `params`, and names of at most 64 letters, digits, `_` and `-`."""

    name = "anthropic"
    most_requests = 100_000
    most_bytes = 250 * _MEGABYTE

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return the run's salt and most of the prompt's hash; a pair's name may be too long or hold a colon."""
        return f"{salt}-{prompt.key[:_KEY_KEPT]}"

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"custom_id": custom_id, "params": body}

    def result(self, document: Any) -> BatchResult | None:
        """Read a line of the results."""
        custom_id, result = as_text(nested(document, "custom_id")), nested(document, "result")
        if custom_id is None or not isinstance(result, dict):
            return None
        kind = result.get("type")
        if kind in _NOT_ASKED:
            return BatchResult(custom_id, why=kind)
        if kind == "errored":
            return BatchResult(custom_id, failure=self._codec.failure_from_document(result.get("error")))
        return self._reply(custom_id, result.get("message"))


class GoogleBatchFormat(BatchFormat[GoogleCodec]):
    """Google's format: `key` and `request`. Google allows 2 GB; files of 200 MB are uploaded and read in reasonable time."""

    name = "google"

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"key": custom_id, "request": body}

    def result(self, document: Any) -> BatchResult | None:
        """Read a line of the results."""
        custom_id = as_text(nested(document, "key"))
        if custom_id is None or ("response" not in document and "error" not in document):
            return None
        if problem := document.get("error"):
            return BatchResult(custom_id, failure=self._codec.failure_from_document({"error": problem}))
        return self._reply(custom_id, document.get("response"))


def batch_format_of(codec: Codec) -> BatchFormat[Any]:
    """Return the format of batch files for a codec."""
    if isinstance(codec, AnthropicCodec):
        return AnthropicBatchFormat(codec)
    if isinstance(codec, GoogleCodec):
        return GoogleBatchFormat(codec)
    if isinstance(codec, OpenAICodec):
        return OpenAIBatchFormat(codec)
    raise TypeError(f"a codec without a format of batch files: {type(codec).__name__}")


def write_requests(form: BatchFormat[Any], requests: Iterable[tuple[str, Mapping[str, Any]]], path_of: Callable[[int], Path]) -> list[int]:
    """Write requests as files within the provider's limits, each complete or absent.

    Args:
        form: the provider's format.
        requests: custom_id and body of each.
        path_of: number of a file, from 0 -> its path.

    Returns:
        How many requests each file holds.

    Raises:
        InputDataError: one request alone is larger than a file may be.
    """
    lines = _lines(form, requests)
    counts: list[int] = []
    waiting = next(lines, None)
    while waiting is not None:
        with written_beside(path_of(len(counts))) as temporary, temporary.open("wb") as file:
            number, waiting = _fill(form, file, waiting, lines)
        counts.append(number)
    return counts


def read_lines(form: BatchFormat[Any], file: Path) -> Iterator[BatchResult | UnreadableLine]:
    """Yield the lines of a results file in order; an unreadable line does not hide the others.

    Raises:
        InputDataError: the file is absent, or cannot be read at all.
    """
    try:
        with file.open("rb") as lines:
            # Bytes are split at line feeds only; in text mode Python splits at other characters too.
            for number, raw in enumerate(lines, start=1):
                if not raw.strip():
                    continue
                try:
                    found = form.result(json.loads(raw))
                except (ValueError, RecursionError):  # not JSON, nested too deep, a number too long
                    found = None
                yield found or UnreadableLine(f"{file}: line {number}", torn=not raw.endswith(b"\n"))
    except FileNotFoundError as error:
        raise InputDataError(f"{file}: the file does not exist.") from error
    except OSError as error:
        raise InputDataError(f"{file}: not a readable file ({error.strerror}).") from error


def _lines(form: BatchFormat[Any], requests: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[bytes]:
    for custom_id, body in requests:
        text = json.dumps(form.request(custom_id, body), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        line = text.encode() + b"\n"
        if len(line) > form.most_bytes:
            raise InputDataError(f"{custom_id}: its request is {len(line):,} bytes; a file for {form.name} holds {form.most_bytes:,}.")
        yield line


def _fill(form: BatchFormat[Any], file: BinaryIO, first: bytes, lines: Iterator[bytes]) -> tuple[int, bytes | None]:
    """Write lines while they fit; return how many, and the line that did not fit, None if there are no more."""
    number, size = 0, 0
    line: bytes | None = first
    while line is not None and number < form.most_requests and size + len(line) <= form.most_bytes:
        file.write(line)
        number += 1
        size += len(line)
        line = next(lines, None)
    return number, line


def _message(problem: Any) -> str:
    return as_text(nested(problem, "message")) or json.dumps(problem)
