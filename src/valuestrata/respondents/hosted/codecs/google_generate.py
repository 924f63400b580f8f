"""Google's `generateContent`, through Google's SDK."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.codec import READ_OUT, Codec, unexpected
from valuestrata.respondents.hosted.codecs.fields import as_count, as_list, as_text, at_most, nested, positions, read_reply
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, ErrorKind, failure, failure_from_status
from valuestrata.respondents.hosted.keys import drop_key_elsewhere
from valuestrata.respondents.hosted.reply_size import ReplyTooLargeError, hooks
from valuestrata.respondents.hosted.settings import HostedSettings

# Stated, because the SDK would take another one from the environment, with other answers.
_API_VERSION = "v1"
# Finish reasons of a candidate that ended normally; any other one explains an empty text.
_ENDED = (None, "", "STOP", "FINISH_REASON_UNSPECIFIED")
_NOT_JSON = json.JSONDecodeError | UnicodeDecodeError | RecursionError
# Part of Python's message for a number that is too long to read.
_DIGITS = "integer string conversion"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_OF_EVERY_REQUEST = re.compile(r"logprobs|generation_?config|thinking|temperature|top_?[pk]\b|response_?(schema|mime)", re.IGNORECASE)


class GoogleCodec(Codec):
    """One model behind Google's `generateContent`."""

    module = "google.genai"
    package = "google-genai"
    _http: Any = None

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt; the model is part of the address, not of the request."""
        system = [{"text": message.content} for message in prompt.messages if message.role == "system"]
        turns = [message for message in prompt.messages if message.role != "system"]
        config: dict[str, Any] = {"maxOutputTokens": settings.tokens_for(prompt.elicitation)}
        if settings.temperature is not None:
            config["temperature"] = settings.temperature
        if (seed := settings.seed_for(prompt.sample)) is not None and self._provider.seed is not None:
            config["seed"] = seed
        if prompt.elicitation in READ_OUT:
            config |= {"responseLogprobs": True, "logprobs": settings.top_logprobs or self._provider.top_logprobs}
        elif settings.constrain and prompt.elicitation == "text":
            config |= {"responseMimeType": "application/json", "responseSchema": {"type": "STRING", "enum": list(prompt.options)}}
        roles = {"assistant": "model"}
        contents = [{"role": roles.get(message.role, "user"), "parts": [{"text": message.content}]} for message in turns]
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": system}
        return settings.with_extra(body | {"generationConfig": config})

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once."""
        client = self._client or self._open()
        response = await client.aio.models.generate_content(
            model=self._model,
            contents=body["contents"],
            config={
                "should_return_http_response": True,
                "automatic_function_calling": {"disable": True},
                # The SDK has other names for these fields and lacks some of `extra`; this overrides what it makes.
                "http_options": {"timeout": max(1, round(timeout * 1000)), "extra_body": dict(body)},
            },
        )
        return read_reply(self.parse_reply, response.sdk_http_response.body, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a response; a prompt or answer stopped by a filter is an answer without text, with the reason."""
        if not isinstance(document, dict):
            raise unexpected("a response", document)
        if document.get("error"):
            raise CallError(self.failure_from_document(document))
        tokens, model = _tokens(document.get("usageMetadata")), as_text(document.get("modelVersion"))
        candidates = document.get("candidates")
        if not candidates:
            if blocked := nested(document, "promptFeedback", "blockReason"):
                return Reply(text="", finish_reason=as_text(blocked), model=model, **tokens)
            kind = "garbled reply" if candidates is not None and not isinstance(candidates, list) else "empty reply"
            raise CallError(failure(kind, "the response has no candidate", paid=True))
        candidate = candidates[0] if isinstance(candidates, list) else None
        if not isinstance(candidate, dict):
            raise unexpected("a response", document)
        parts = [part for part in as_list(nested(candidate, "content", "parts")) if isinstance(part, dict)]
        text, thought = (_joined(parts, thought) for thought in (False, True))
        reason = as_text(candidate.get("finishReason"))
        if not text and reason in _ENDED:
            raise CallError(failure("empty reply", "the response's candidate has no text", paid=True))
        tops = as_list(nested(candidate, "logprobsResult", "topCandidates"))

        def alternatives(index: int, _token: Mapping[str, Any]) -> Any:
            return nested(tops[index], "candidates") if index < len(tops) else None

        return Reply(
            text=text,
            reasoning=thought or None,
            finish_reason=reason,
            positions=positions(nested(candidate, "logprobsResult", "chosenCandidates"), alternatives, "logProbability"),
            model=model,
            **tokens,
        )

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception means."""
        import httpx2
        from google.genai import errors

        if isinstance(error, CallError):
            return error.failure
        if isinstance(error, ReplyTooLargeError):
            return self._connection_failure(error)
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            return self._timeout_failure(error)
        if isinstance(error, _NOT_JSON | httpx2.DecodingError) or (type(error) is ValueError and _DIGITS in str(error)):
            return self._not_json(error)
        if isinstance(error, httpx2.RequestError):
            return self._connection_failure(error)
        if isinstance(error, errors.APIError):
            headers: Any = getattr(error.response, "headers", None)
            return self.failure_from_document(error.details, status=error.code, headers=headers)
        raise error

    def failure_from_document(self, document: Any, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> CallFailure:
        """Return the failure in a document with an `error`, which says more than its status."""
        problem: Any = nested(document, "error")
        if not isinstance(problem, dict):
            problem = document if isinstance(document, dict) else {"message": json.dumps(document)}
        text = str(problem.get("message") or problem.get("status") or "no reason given")
        code = status if status is not None else problem.get("code")
        status = code if isinstance(code, int) and code >= 300 else 500
        details = [detail for detail in as_list(problem.get("details")) if isinstance(detail, dict)]
        if status == 429 and any("PerDay" in str(detail.get("violations")) for detail in details):
            return self._failure("no credit", f"the quota of the day is used up: {text}")
        if status == 400 and (kind := _kind_of_every_request(problem.get("status"), text, details)) is not None:
            return self._failure(kind, f"HTTP 400: {text}")
        found = failure_from_status(status, text, headers=headers, secrets=self.secrets)
        wait = next((wait for detail in details if (wait := _seconds(detail.get("retryDelay"))) is not None), None)
        if wait is None or not found.retry or found.retry_after is not None:
            return found
        return self._failure(found.kind, f"HTTP {status}: {text}", retry_after=wait)

    async def close(self) -> None:
        """Close the client."""
        client, self._client = self._client, None
        http, self._http = self._http, None
        if client is not None:
            client.close()
            await client.aio.aclose()
            await http.aclose()

    def _open(self) -> Any:
        import httpx2

        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        self._http = httpx2.AsyncClient(limits=limits, follow_redirects=False, event_hooks=hooks(asynchronous=True))
        self._client = new_client(self._base_url, self._key, httpx_async_client=self._http)
        return self._client


def new_client(base_url: str, key: str | None, **options: Any) -> Any:
    """Return a client of Google's SDK without retries that takes no address, version or project from the environment.

    The key is sent to `base_url` only; `options` override the SDK's HTTP options.
    """
    from google import genai

    limits = hooks(asynchronous=False)
    http: Any = {
        "base_url": base_url,
        "api_version": _API_VERSION,
        "retry_options": {"attempts": 1},
        "client_args": {"event_hooks": {**limits, "request": [*limits["request"], drop_key_elsewhere(base_url)]}},
        **options,
    }
    return genai.Client(api_key=key, vertexai=False, http_options=http)


def _kind_of_every_request(status: Any, text: str, details: list[dict[str, Any]]) -> ErrorKind | None:
    """Return the kind of an error 400 that every call would meet; None if only this prompt is concerned."""
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details) or "API key" in text:
        return "key refused"
    if status == "FAILED_PRECONDITION":
        return "no credit" if "billing" in text.lower() else "key refused"
    if "model name format" in text:
        return "wrong model"
    return "wrong setting" if _OF_EVERY_REQUEST.search(text) else None


def _joined(parts: list[dict[str, Any]], thought: bool) -> str:
    return "".join([part["text"] for part in parts if isinstance(part.get("text"), str) and bool(part.get("thought")) == thought])


def _tokens(usage: Any) -> dict[str, Any]:
    """Return the token counts of a call under the names of `Reply`; Google counts thoughts separately."""
    if not isinstance(usage, dict):
        return {}
    names = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    read, cached, written, thought = (as_count(usage.get(name)) for name in names)
    if read is not None and (written is not None or thought is not None or usage.get("totalTokenCount") == read):
        written = (written or 0) + (thought or 0)  # an answer of no tokens has no count
    return {"prompt_tokens": read, "cached_tokens": at_most(cached, read), "completion_tokens": written, "reasoning_tokens": thought}


def _seconds(duration: Any) -> float | None:
    """Return the seconds of a duration in Google's form (`22s`, `0.5s`), else None."""
    match = _SECONDS.fullmatch(duration) if isinstance(duration, str) else None
    seconds = math.inf if match is None else float(match.group(1))
    return seconds if math.isfinite(seconds) else None
