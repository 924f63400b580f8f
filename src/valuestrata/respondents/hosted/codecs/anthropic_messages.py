"""Anthropic's messages, through Anthropic's own library. It gives no log-probabilities.

A temperature is a thing of the API's older version: the present one takes none, nor do the newer models. A request
with one is sent in the older version, and a model that refuses it says so at the first call.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from typing import Any

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.fields import read_reply, whole, word
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.settings import HostedSettings

_OLDER_VERSION = "2023-06-01"
_SAMPLING = ("temperature", "top_p", "top_k")
# Why a message may end without a text, and be an answer all the same.
_REASONS = ("refusal", "max_tokens", "stop_sequence", "model_context_window_exceeded")
# Errors of the connection before a request was sent: nothing can have been charged.
_BEFORE_SENDING = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
_STATUS_OF: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}
_NO_MONEY = re.compile(r"credit balance|usage limits|spend limit|billing", re.IGNORECASE)
# A complaint about a field of ours, which every request has: `temperature: Extra inputs are ...`, "`top_k` is deprecated".
_OF_EVERY_REQUEST = re.compile(r"^`?(?!messages\b|system\b)[a-z_]+(\.[a-z_.0-9]+)?(:|`? is (deprecated|not supported))")


class AnthropicCodec:
    """One model behind Anthropic's messages (`Codec`)."""

    def __init__(self, provider: Provider, model: str, *, base_url: str, key: str | None, connections: int = 64) -> None:
        if importlib.util.find_spec("anthropic") is None:
            raise MissingExtraError(f"Asking {provider.name}", "api", "anthropic")
        self._provider = provider
        self._model = model
        self._base_url = base_url
        self._key = key
        self._connections = connections
        self._client: Any = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, where there is one."""
        return () if self._key is None else (self._key,)

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt: what the system says stands apart from the turns."""
        system = "\n\n".join(message.content for message in prompt.messages if message.role == "system")
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages if message.role != "system"]
        body: dict[str, Any] = {"model": self._model, "max_tokens": settings.tokens_for(prompt.elicitation), "messages": turns}
        if system:
            body["system"] = system
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.constrain and prompt.elicitation == "text":
            schema = {
                "type": "object",
                "properties": {"answer": {"type": "string", "enum": list(prompt.options)}},
                "required": ["answer"],
                "additionalProperties": False,
            }
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return settings.with_extra(body)

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once, as it is: the library's typed method refuses to send what the older version takes."""
        import httpx2

        if self._client is None:
            self._client = self._opened()
        options = {"timeout": timeout, "headers": version_headers(body)}
        response = await self._client.post("/v1/messages", cast_to=httpx2.Response, body=body, options=options)
        return read_reply(self.parse_reply, response.content, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a message; a refusal that the service states (`stop_reason`) is an answer without a text."""
        if isinstance(document, dict) and document.get("type") == "error":
            raise CallError(self.failure_from_document(document))
        content = document.get("content") if isinstance(document, dict) else None
        if not isinstance(content, list):
            raise CallError(failure("garbled reply", f"a message was expected, and came {json.dumps(document)}", paid=True))
        blocks = [block for block in content if isinstance(block, dict)]
        text = _joined(blocks, "text", "text")
        reason = word(document.get("stop_reason"))
        if not text and reason not in _REASONS:
            raise CallError(failure("empty reply", "the message holds no text", paid=True))
        return Reply(
            text=text,
            reasoning=_joined(blocks, "thinking", "thinking") or None,
            finish_reason=reason,
            model=word(document.get("model")),
            **_tokens(document.get("usage")),
        )

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception means."""
        import anthropic

        if isinstance(error, CallError):
            return error.failure
        if isinstance(error, TimeoutError | anthropic.APITimeoutError):
            sent = type(error.__cause__).__name__ not in _BEFORE_SENDING
            return failure("timeout" if sent else "connection", "no answer in time", paid=sent)
        if isinstance(error, anthropic.APIConnectionError):
            cause = error.__cause__ or error
            name = type(cause).__name__
            if name == "DecodingError":
                return failure("garbled reply", f"the reply is not what its head says ({cause})", paid=True, secrets=self.secrets)
            return failure("connection", f"{name}: {cause}", paid=name not in _BEFORE_SENDING, secrets=self.secrets)
        if isinstance(error, anthropic.APIStatusError):
            return self.failure_from_document(error.body, status=error.status_code, headers=error.response.headers)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | anthropic.APIError):
            return failure("garbled reply", f"the reply is not JSON ({error})", paid=True, secrets=self.secrets)
        raise error

    def failure_from_document(self, document: Any, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> CallFailure:
        """Return the failure that a document of type `error` states; the status follows from its type where none came with it."""
        problem: Any = document.get("error") if isinstance(document, dict) else None
        if not isinstance(problem, dict):
            problem = {"message": document if isinstance(document, str) else json.dumps(document)}
        name, said = str(problem.get("type") or ""), str(problem.get("message") or problem.get("type") or "no reason given")
        status = status or _STATUS_OF.get(name, 500)
        if status == 400 and _NO_MONEY.search(said):
            return failure("no credit", said, secrets=self.secrets)
        if status == 400 and _OF_EVERY_REQUEST.match(said):
            return failure("wrong setting", f"HTTP 400: {said}", secrets=self.secrets)
        return failure_from_status(status, said, headers=headers, secrets=self.secrets)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _opened(self) -> Any:
        import anthropic
        import httpx2

        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        return anthropic.AsyncAnthropic(
            api_key=self._key,
            base_url=self._base_url,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(limits=limits, follow_redirects=False),
        )


def version_headers(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that asks for the API's older version, where a request needs it; else none."""
    return {"anthropic-version": _OLDER_VERSION} if any(name in body for name in _SAMPLING) else {}


def _joined(blocks: list[dict[str, Any]], kind: str, field: str) -> str:
    return "".join([block[field] for block in blocks if block.get("type") == kind and isinstance(block.get(field), str)])


def _tokens(usage: Any) -> dict[str, Any]:
    """Return how many tokens a call took, in the words of `Reply`; Anthropic counts tokens of the cache apart from others."""
    if not isinstance(usage, dict):
        return {}
    read, cached = whole(usage.get("input_tokens")), whole(usage.get("cache_read_input_tokens"))
    others = (cached, whole(usage.get("cache_creation_input_tokens")))
    details = usage.get("output_tokens_details")
    return {
        "prompt_tokens": None if read is None else read + sum(other or 0 for other in others),
        "cached_tokens": cached,
        "completion_tokens": whole(usage.get("output_tokens")),
        "reasoning_tokens": whole(details.get("thinking_tokens")) if isinstance(details, dict) else None,
    }
