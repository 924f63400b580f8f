"""Anthropic's messages, through Anthropic's SDK. They have no log-probabilities.

Only the older version of the API takes a temperature, and newer models refuse one. A request with one is sent in the older
version; a model that refuses it says so at the first call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.codec import SdkCodec, answer_schema, unexpected
from valuestrata.respondents.hosted.codecs.fields import as_count, as_text, nested, read_reply
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status
from valuestrata.respondents.hosted.settings import HostedSettings

_OLDER_VERSION = "2023-06-01"
_SAMPLING = ("temperature", "top_p", "top_k")
# Reasons for a message without text that still is an answer.
_REASONS = ("refusal", "max_tokens", "stop_sequence", "model_context_window_exceeded")
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
_NO_CREDIT = re.compile(r"credit balance|usage limits|spend limit|billing", re.IGNORECASE)
# Errors about a field that every request has: `temperature: Extra inputs are ...`, "`top_k` is deprecated".
_OF_EVERY_REQUEST = re.compile(r"^`?(?!messages\b|system\b)[a-z_]+(\.[a-z_.0-9]+)?(:|`? is (deprecated|not supported))")


class AnthropicCodec(SdkCodec):
    """One model behind Anthropic's messages."""

    module = "anthropic"
    package = "anthropic"

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt; system messages are a field of their own."""
        system = "\n\n".join(message.content for message in prompt.messages if message.role == "system")
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages if message.role != "system"]
        body: dict[str, Any] = {"model": self._model, "max_tokens": settings.tokens_for(prompt.elicitation), "messages": turns}
        if system:
            body["system"] = system
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.constrain and prompt.elicitation == "text":
            body["output_config"] = {"format": {"type": "json_schema", "schema": answer_schema(prompt.options)}}
        return settings.with_extra(body)

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once; the SDK's typed method refuses to send what the older version takes."""
        import httpx2

        if self._client is None:
            self._client = self._opened()
        options = {"timeout": timeout, "headers": version_headers(body)}
        response = await self._client.post("/v1/messages", cast_to=httpx2.Response, body=body, options=options)
        return read_reply(self.parse_reply, response.content, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a message; a refusal that the service states (`stop_reason`) is an answer without text."""
        if nested(document, "type") == "error":
            raise CallError(self.failure_from_document(document))
        content = nested(document, "content")
        if not isinstance(content, list):
            raise unexpected("a message", document)
        blocks = [block for block in content if isinstance(block, dict)]
        text = _joined(blocks, "text")
        reason = as_text(document.get("stop_reason"))
        if not text and reason not in _REASONS:
            raise CallError(failure("empty reply", "the message has no text", paid=True))
        return Reply(
            text=text,
            reasoning=_joined(blocks, "thinking") or None,
            finish_reason=reason,
            model=as_text(document.get("model")),
            **_tokens(document.get("usage")),
        )

    def failure_from_document(self, document: Any, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> CallFailure:
        """Return the failure in a document of type `error`; without a status its type decides."""
        problem: Any = nested(document, "error")
        if not isinstance(problem, dict):
            problem = {"message": document if isinstance(document, str) else json.dumps(document)}
        name, text = str(problem.get("type") or ""), str(problem.get("message") or problem.get("type") or "no reason given")
        status = status or _STATUS_OF.get(name, 500)
        if status == 400 and _NO_CREDIT.search(text):
            return self._failure("no credit", text)
        if status == 400 and _OF_EVERY_REQUEST.match(text):
            return self._failure("wrong setting", f"HTTP 400: {text}")
        return failure_from_status(status, text, headers=headers, secrets=self.secrets)

    def _status_failure(self, error: Any) -> CallFailure:
        return self.failure_from_document(error.body, status=error.status_code, headers=error.response.headers)

    def _opened(self) -> Any:
        import anthropic

        http_client = self._http_client(anthropic)
        return anthropic.AsyncAnthropic(api_key=self._key, base_url=self._base_url, max_retries=0, http_client=http_client)


def version_headers(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the header for the API's older version if a request needs it, else none."""
    return {"anthropic-version": _OLDER_VERSION} if any(name in body for name in _SAMPLING) else {}


def _joined(blocks: list[dict[str, Any]], kind: str) -> str:
    return "".join([block[kind] for block in blocks if block.get("type") == kind and isinstance(block.get(kind), str)])


def _tokens(usage: Any) -> dict[str, Any]:
    """Return the token counts of a call under the names of `Reply`; Anthropic counts cached tokens separately."""
    if not isinstance(usage, dict):
        return {}
    read, cached = as_count(usage.get("input_tokens")), as_count(usage.get("cache_read_input_tokens"))
    created = as_count(usage.get("cache_creation_input_tokens"))
    return {
        "prompt_tokens": None if read is None else read + (cached or 0) + (created or 0),
        "cached_tokens": cached,
        "completion_tokens": as_count(usage.get("output_tokens")),
        "reasoning_tokens": as_count(nested(usage, "output_tokens_details", "thinking_tokens")),
    }
