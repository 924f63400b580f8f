"""Google's `generateContent`, through Google's own library."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.fields import at_most, is_logprob, listed, read_reply, under, whole, word
from valuestrata.respondents.hosted.codecs.reply import Position, Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status
from valuestrata.respondents.hosted.keys import drop_key_elsewhere
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.settings import HostedSettings

# Said, for the library would take another from the environment, and other answers with it.
_API_VERSION = "v1"
_READ_OUT = ("first-token", "logprob")
# How a candidate ends that simply ended; any other word is a reason for an empty text.
_ENDED = (None, "", "STOP", "FINISH_REASON_UNSPECIFIED")
# Errors of the connection before a request was sent: nothing can have been charged.
_BEFORE_SENDING = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
_NOT_JSON = json.JSONDecodeError | UnicodeDecodeError | RecursionError
# What Python says of a number that is too long to be read.
_DIGITS = "integer string conversion"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_OF_EVERY_REQUEST = re.compile(r"logprobs|generation_?config|thinking|temperature|top_?[pk]\b|response_?(schema|mime)", re.IGNORECASE)


class GoogleCodec:
    """One model behind Google's `generateContent` (`Codec`)."""

    def __init__(self, provider: Provider, model: str, *, base_url: str, key: str | None, connections: int = 64) -> None:
        if not _installed():
            raise MissingExtraError(f"Asking {provider.name}", "api", "google-genai")
        self._provider = provider
        self._model = model
        self._base_url = base_url
        self._key = key
        self._connections = connections
        self._client: Any = None
        self._http: Any = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, where there is one."""
        return () if self._key is None else (self._key,)

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt; the model stands in the address. `extra` is laid into what is nested, too."""
        system = [{"text": message.content} for message in prompt.messages if message.role == "system"]
        turns = [message for message in prompt.messages if message.role != "system"]
        config: dict[str, Any] = {"maxOutputTokens": settings.tokens_for(prompt.elicitation)}
        if settings.temperature is not None:
            config["temperature"] = settings.temperature
        if (seed := settings.seed_for(prompt.sample)) is not None and self._provider.seed is not None:
            config["seed"] = seed
        if prompt.elicitation in _READ_OUT:
            config |= {"responseLogprobs": True, "logprobs": settings.top_logprobs or self._provider.top_logprobs}
        elif settings.constrain and prompt.elicitation == "text":
            config |= {"responseMimeType": "application/json", "responseSchema": {"type": "STRING", "enum": list(prompt.options)}}
        body: dict[str, Any] = {"contents": [_turn(message.role, message.content) for message in turns]}
        if system:
            body["systemInstruction"] = {"parts": system}
        return settings.with_extra(body | {"generationConfig": config})

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once, as it is."""
        client = self._client or self._open()
        response = await client.aio.models.generate_content(
            model=self._model,
            contents=body["contents"],
            config={
                "should_return_http_response": True,
                "automatic_function_calling": {"disable": True},
                # The library knows these fields by other names, and some of `extra` not at all; laid over what it makes.
                "http_options": {"timeout": max(1, round(timeout * 1000)), "extra_body": dict(body)},
            },
        )
        return read_reply(self.parse_reply, response.sdk_http_response.body, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a response; a prompt or an answer that a filter stopped is an answer without a text, the reason kept."""
        if not isinstance(document, dict):
            raise CallError(failure("garbled reply", f"a response was expected, and came {json.dumps(document)}", paid=True))
        if document.get("error"):
            raise CallError(self.failure_from_document(document))
        tokens = _tokens(document.get("usageMetadata"))
        candidates = document.get("candidates")
        if not candidates:
            blocked = under(document, "promptFeedback", "blockReason")
            if blocked:
                return Reply(text="", finish_reason=word(blocked), model=word(document.get("modelVersion")), **tokens)
            kind = "garbled reply" if candidates is not None and not isinstance(candidates, list) else "empty reply"
            raise CallError(failure(kind, "the response holds no candidate", paid=True))
        candidate = candidates[0] if isinstance(candidates, list) else None
        if not isinstance(candidate, dict):
            raise CallError(failure("garbled reply", f"a response was expected, and came {json.dumps(document)}", paid=True))
        parts = [part for part in listed(under(candidate, "content", "parts")) if isinstance(part, dict)]
        text, thought = (_joined(parts, thought) for thought in (False, True))
        reason = word(candidate.get("finishReason"))
        if not text and reason in _ENDED:
            raise CallError(failure("empty reply", "the response's candidate holds no text", paid=True))
        return Reply(
            text=text,
            reasoning=thought or None,
            finish_reason=reason,
            positions=_positions(candidate.get("logprobsResult")),
            model=word(document.get("modelVersion")),
            **tokens,
        )

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception means."""
        import httpx2
        from google.genai import errors

        if isinstance(error, CallError):
            return error.failure
        name = type(error).__name__
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            sent = name not in _BEFORE_SENDING
            return failure("timeout" if sent else "connection", "no answer in time", paid=sent)
        if isinstance(error, _NOT_JSON | httpx2.DecodingError) or (type(error) is ValueError and _DIGITS in str(error)):
            return failure("garbled reply", f"the reply is not JSON ({error})", paid=True, secrets=self.secrets)
        if isinstance(error, httpx2.RequestError):
            return failure("connection", f"{name}: {error}", paid=name not in _BEFORE_SENDING, secrets=self.secrets)
        if isinstance(error, errors.APIError):
            headers: Any = getattr(error.response, "headers", None)
            return self.failure_from_document(error.details, status=error.code, headers=headers)
        raise error

    def failure_from_document(self, document: Any, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> CallFailure:
        """Return the failure that a document with an `error` states; it says more than the status it came with."""
        problem: Any = document.get("error") if isinstance(document, dict) else None
        if not isinstance(problem, dict):
            problem = document if isinstance(document, dict) else {"message": json.dumps(document)}
        said = str(problem.get("message") or problem.get("status") or "no reason given")
        code = status if status is not None else problem.get("code")
        status = code if isinstance(code, int) and code >= 300 else 500
        details = [detail for detail in listed(problem.get("details")) if isinstance(detail, dict)]
        if status == 429 and any("PerDay" in str(detail.get("violations")) for detail in details):
            return failure("no credit", f"the quota of the day is used up: {said}", secrets=self.secrets)
        if status == 400 and (failure_from_document := self._of_every_request(problem.get("status"), said, details)) is not None:
            return failure_from_document
        found = failure_from_status(status, said, headers=headers, secrets=self.secrets)
        waits = next((wait for detail in details if (wait := _seconds(detail.get("retryDelay"))) is not None), None)
        if waits is None or not found.retry or found.retry_after is not None:
            return found
        return failure(found.kind, f"HTTP {status}: {said}", retry_after=waits, secrets=self.secrets)

    def _of_every_request(self, word: Any, said: str, details: list[dict[str, Any]]) -> CallFailure | None:
        """The failure behind a status 400 that every other call would meet as well; None where it is of this prompt alone."""
        if any(detail.get("reason") == "API_KEY_INVALID" for detail in details) or "API key" in said:
            return failure("key refused", f"HTTP 400: {said}", secrets=self.secrets)
        if word == "FAILED_PRECONDITION":
            return failure("no credit" if "billing" in said.lower() else "key refused", f"HTTP 400: {said}", secrets=self.secrets)
        if "model name format" in said:
            return failure("wrong model", f"HTTP 400: {said}", secrets=self.secrets)
        if _OF_EVERY_REQUEST.search(said):
            return failure("wrong setting", f"HTTP 400: {said}", secrets=self.secrets)
        return None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        http, self._http = self._http, None
        if client is not None:
            client.close()
            await client.aio.aclose()
            await http.aclose()

    def _open(self) -> Any:
        import httpx2

        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        self._http = httpx2.AsyncClient(limits=limits, follow_redirects=False)
        self._client = new_client(self._base_url, self._key, httpx_async_client=self._http)
        return self._client


def new_client(base_url: str, key: str | None, **options: Any) -> Any:
    """Return a client of Google's library that tries nothing twice and takes neither address, version nor project from the environment.

    The key goes to the server at `base_url` alone; `options` are laid over those of the library's HTTP.
    """
    from google import genai

    hooks = {"request": [drop_key_elsewhere(base_url)]}
    http: Any = {
        "base_url": base_url,
        "api_version": _API_VERSION,
        "retry_options": {"attempts": 1},
        "client_args": {"event_hooks": hooks},
        **options,
    }
    return genai.Client(api_key=key, vertexai=False, http_options=http)


def _installed() -> bool:
    try:
        return importlib.util.find_spec("google.genai") is not None
    except ModuleNotFoundError:  # `google` itself is absent
        return False


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": "model" if role == "assistant" else "user", "parts": [{"text": text}]}


def _joined(parts: list[dict[str, Any]], thought: bool) -> str:
    return "".join([part["text"] for part in parts if isinstance(part.get("text"), str) and bool(part.get("thought")) == thought])


def _tokens(usage: Any) -> dict[str, Any]:
    """Return how many tokens a call took, in the words of `Reply`; Google counts thoughts beside what was written."""
    if not isinstance(usage, dict):
        return {}
    names = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    read, cached, written, thought = (whole(usage.get(name)) for name in names)
    if read is not None and (written is not None or thought is not None or usage.get("totalTokenCount") == read):
        written = (written or 0) + (thought or 0)  # an answer of no tokens has no count
    return {"prompt_tokens": read, "cached_tokens": at_most(cached, read), "completion_tokens": written, "reasoning_tokens": thought}


def _positions(result: Any) -> tuple[Position, ...] | None:
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list):
        return None
    tops = listed(result.get("topCandidates"))
    found: list[Position] = []
    for index, token in enumerate(chosen):
        if not _is_token(token):
            break  # what comes behind it stands at nobody knows which place
        others = listed(under({"top": tops[index]}, "top", "candidates")) if index < len(tops) else []
        alternatives = tuple([(other["token"], other["logProbability"]) for other in others if _is_token(other)])
        found.append(Position(token["token"], token["logProbability"], alternatives))
    return tuple(found)


def _is_token(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("token"), str) and is_logprob(entry.get("logProbability"))


def _seconds(said: Any) -> float | None:
    """Return the seconds of a duration as Google writes it (`22s`, `0.5s`); None where it is none."""
    match = _SECONDS.fullmatch(said) if isinstance(said, str) else None
    seconds = math.inf if match is None else float(match.group(1))
    return seconds if math.isfinite(seconds) else None
