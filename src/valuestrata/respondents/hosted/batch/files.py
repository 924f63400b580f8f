"""Files of requests that a provider answers by itself within a day, for about half the price; and what comes back.

Each provider has a form of its own for a line: OpenAI's (which others and `vllm run-batch` follow), Anthropic's, Google's.
The request inside is the very one that a live call would send.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from valuestrata.errors import InputDataError
from valuestrata.files import written_beside
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.codecs.codec import Codec
from valuestrata.respondents.hosted.codecs.fields import read_reply
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status

CHAT = "/v1/chat/completions"
_MEGABYTE = 1_000_000
# Of 64 digits: 192 bits, and room for the run's word.
_KEY_KEPT = 48
# A line that a batch did not get to: nobody was asked, and nothing is owed.
_NOT_ASKED = ("batch_expired", "batch_cancelled", "expired", "canceled")


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One line of what came back.

    Attributes:
        custom_id: which request it belongs to.
        reply: what the model said; None where there is a failure, or nobody was asked.
        failure: what went wrong; None where there is a reply, or nobody was asked.
        why: where nobody was asked: the provider's word for it.
    """

    custom_id: str
    reply: Reply | None = None
    failure: CallFailure | None = None
    why: str | None = None


class BatchFormat(Protocol):
    """How one provider wants a file, and gives one back.

    Attributes:
        name: of the form. most_requests, most_bytes: of a file.
    """

    name: str
    most_requests: int
    most_bytes: int

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return what a prompt is called within a run; no two prompts of a run are called alike.

        Args:
            prompt: the prompt.
            salt: 12 characters of the run's own, for providers whose batches have nothing else to be known by.
        """
        ...

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        ...

    def line(self, document: Any) -> BatchResult | None:
        """Read a line of what came back; None where it is no such line."""
        ...


class OpenAIBatchFormat:
    """OpenAI's form: method, address and body."""

    name = "openai"
    most_requests = 50_000
    most_bytes = 200 * _MEGABYTE

    def __init__(self, codec: OpenAICodec) -> None:
        self._codec = codec

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return the pair and its variant, which a reader of the file understands; looked up, never parsed."""
        return readable_id(prompt)

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}

    def line(self, document: Any) -> BatchResult | None:
        """Read a line of an output file or an error file."""
        custom_id, response, problem = _strings(document, "custom_id"), _under(document, "response"), _under(document, "error")
        if custom_id is None or ("response" not in document and "error" not in document):
            return None
        if isinstance(problem, dict) and problem.get("code") in _NOT_ASKED:
            return BatchResult(custom_id, why=problem["code"])
        if problem:
            return BatchResult(custom_id, failure=failure("server error", _said(problem), secrets=self._codec.secrets))
        status, body = _under(response, "status_code"), _under(response, "body")
        if isinstance(status, int) and status >= 400:
            error = _under(body, "error") or body
            code = _strings(error, "code") or _strings(error, "type")
            return BatchResult(custom_id, failure=failure_from_status(status, _said(error), code=code, secrets=self._codec.secrets))
        return _read(custom_id, body, self._codec)


class AnthropicBatchFormat:
    """Anthropic's form: `params`, and names of at most 64 letters, digits, `_` and `-`."""

    name = "anthropic"
    most_requests = 100_000
    most_bytes = 250 * _MEGABYTE

    def __init__(self, codec: AnthropicCodec) -> None:
        self._codec = codec

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return the run's word and most of the prompt's identity, which fits; a pair's name may be too long, or hold a colon."""
        return f"{salt}-{prompt.key[:_KEY_KEPT]}"

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"custom_id": custom_id, "params": body}

    def line(self, document: Any) -> BatchResult | None:
        """Read a line of the results."""
        custom_id, result = _strings(document, "custom_id"), _under(document, "result")
        if custom_id is None or not isinstance(result, dict):
            return None
        kind = result.get("type")
        if kind in _NOT_ASKED:
            return BatchResult(custom_id, why=kind)
        if kind == "errored":
            return BatchResult(custom_id, failure=self._codec.failure_from_document(result.get("error")))
        return _read(custom_id, result.get("message"), self._codec)


class GoogleBatchFormat:
    """Google's form: `key` and `request`."""

    name = "google"
    # Google sets no number of requests, and a size of 2 GB; files of this size are uploaded and read back in reasonable time.
    most_requests = 50_000
    most_bytes = 200 * _MEGABYTE

    def __init__(self, codec: GoogleCodec) -> None:
        self._codec = codec

    def custom_id(self, prompt: Prompt, salt: str) -> str:
        """Return the pair and its variant, which a reader of the file understands; looked up, never parsed."""
        return readable_id(prompt)

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of a request."""
        return {"key": custom_id, "request": body}

    def line(self, document: Any) -> BatchResult | None:
        """Read a line of the results."""
        custom_id = _strings(document, "key")
        if custom_id is None or ("response" not in document and "error" not in document):
            return None
        problem = document.get("error")
        if problem:
            return BatchResult(custom_id, failure=self._codec.failure_from_document({"error": problem}))
        return _read(custom_id, document.get("response"), self._codec)


def batch_format_of(codec: Codec) -> BatchFormat:
    """Return the form of files that goes with a codec."""
    if isinstance(codec, AnthropicCodec):
        return AnthropicBatchFormat(codec)
    if isinstance(codec, GoogleCodec):
        return GoogleBatchFormat(codec)
    if isinstance(codec, OpenAICodec):
        return OpenAIBatchFormat(codec)
    raise TypeError(f"a codec without a form of batch files: {type(codec).__name__}")


def readable_id(prompt: Prompt) -> str:
    """Return a prompt's pair and variant as one word: `Q1_sex_Female|scale|p0|s0`."""
    return f"{prompt.pair_id}|{prompt.order}|p{prompt.paraphrase}|s{prompt.sample}"


def write_requests(form: BatchFormat, requests: Iterable[tuple[str, Mapping[str, Any]]], path_of: Callable[[int], Path]) -> list[int]:
    """Write requests as files that the provider takes, each whole or not at all.

    Args:
        form: how the provider wants them.
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


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line of an output file that is none. Attributes: where it stands; whether it is the last and has no end."""

    where: str
    torn: bool


def read_lines(form: BatchFormat, file: Path) -> Iterator[BatchResult | UnreadableLine]:
    """Yield the lines of a file that came back, in its order; a line that cannot be read does not hide those after it.

    Raises:
        InputDataError: the file is absent, or cannot be read at all.
    """
    try:
        with file.open("rb") as lines:
            # Bytes end lines at line feeds alone: a text may hold other characters that Python takes for the end of a line.
            for number, raw in enumerate(lines, start=1):
                if not raw.strip():
                    continue
                try:
                    found = form.line(json.loads(raw))
                except (ValueError, RecursionError):  # no JSON, nested too deep, a number too long
                    found = None
                yield found or UnreadableLine(f"{file}: line {number}", torn=not raw.endswith(b"\n"))
    except FileNotFoundError as error:
        raise InputDataError(f"{file}: the file does not exist.") from error
    except OSError as error:
        raise InputDataError(f"{file}: not a readable file ({error.strerror}).") from error


def _lines(form: BatchFormat, requests: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[bytes]:
    for custom_id, body in requests:
        text = json.dumps(form.request(custom_id, body), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        line = text.encode() + b"\n"
        if len(line) > form.most_bytes:
            raise InputDataError(f"{custom_id}: its request is {len(line):,} bytes; a file for {form.name} holds {form.most_bytes:,}.")
        yield line


def _fill(form: BatchFormat, file: BinaryIO, first: bytes, lines: Iterator[bytes]) -> tuple[int, bytes | None]:
    """Write lines while they fit; return how many, and the line that did not fit, None where there are no more."""
    number, size = 0, 0
    line: bytes | None = first
    while line is not None and number < form.most_requests and size + len(line) <= form.most_bytes:
        file.write(line)
        number += 1
        size += len(line)
        line = next(lines, None)
    return number, line


def _read(custom_id: str, document: Any, codec: Codec) -> BatchResult:
    try:
        return BatchResult(custom_id, reply=read_reply(codec.parse_reply, document, codec.secrets))
    except CallError as error:
        return BatchResult(custom_id, failure=error.failure)


def _said(problem: Any) -> str:
    words = _under(problem, "message")
    return words if isinstance(words, str) and words else json.dumps(problem)


def _strings(document: Any, name: str) -> str | None:
    value = _under(document, name)
    return value if isinstance(value, str) else None


def _under(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None
