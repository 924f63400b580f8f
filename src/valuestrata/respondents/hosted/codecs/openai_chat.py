"""The language of OpenAI's chat completions, which most servers speak, through OpenAI's own library."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.fields import at_most, is_logprob, listed, read_reply, under, whole, word
from valuestrata.respondents.hosted.codecs.reply import Position, Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status, kind_from_code
from valuestrata.respondents.hosted.keys import NO_KEY, without_openai_environment
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.settings import HostedSettings

# Errors of the connection before a request was sent: nothing can have been charged.
_BEFORE_SENDING = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")
_READ_OUT = ("first-token", "logprob")
_STATUS = re.compile(r"[1-9][0-9][0-9]")


class OpenAICodec:
    """One model behind chat completions (`Codec`)."""

    def __init__(self, provider: Provider, model: str, *, base_url: str, key: str | None, connections: int = 64) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtraError(f"Asking {provider.name}", "api", "openai")
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
        """Return the request of a prompt; where probabilities are read and the server continues a turn, behind its prefill."""
        written = prompt.prefill if prompt.elicitation in _READ_OUT and self._provider.continues else ""
        return self.continued(prompt, settings, written, settings.tokens_for(prompt.elicitation))

    def continued(self, prompt: Prompt, settings: HostedSettings, written: str, tokens: int) -> dict[str, Any]:
        """Return a request of at most `tokens` tokens behind what the assistant has `written` so far."""
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        body: dict[str, Any] = {"model": self._model, "messages": messages, self._provider.limit: tokens}
        if written:
            messages.append({"role": "assistant", "content": written})
            if self._provider.choice == "structured outputs":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        seed = settings.seed_for(prompt.sample)
        if seed is not None and self._provider.seed is not None:
            body[self._provider.seed] = seed
        if prompt.elicitation in _READ_OUT:
            body |= {"logprobs": True, "top_logprobs": settings.top_logprobs or self._provider.top_logprobs}
        elif settings.constrain and prompt.elicitation == "text":
            body |= self._only(prompt.options)
        return settings.with_extra(body)

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once.

        The library's own `post`: its typed method would spend more time on checking the request and dressing up the
        response than all else together.
        """
        import httpx2

        if self._client is None:
            self._client = self._opened()
        response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body, options={"timeout": timeout})
        return read_reply(self.parse_reply, response.content, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a chat completion."""
        if not isinstance(document, dict):
            raise CallError(failure("garbled reply", f"a chat completion was expected, and came {document!r}", paid=True))
        choices = document.get("choices")
        first: Any = choices[0] if isinstance(choices, list) and choices else None
        choice: Mapping[str, Any] = first if isinstance(first, dict) else {}
        problem = document.get("error") or choice.get("error")
        if not problem and choice.get("finish_reason") == "error":
            problem = "the provider broke off, without a reason"
        if problem:
            # What a model had begun to write may be charged.
            raise CallError(replace(self._stated(problem), paid=bool(choice)))
        if choices == []:
            raise CallError(failure("empty reply", "the reply holds no choice", paid=True))
        message, reason = choice.get("message"), word(choice.get("finish_reason"))
        if not isinstance(message, dict):
            raise CallError(failure("garbled reply", f"a chat completion was expected, and came {json.dumps(document)}", paid=True))
        text, thought = _text_of(message.get("content"))
        reasoning = message.get("reasoning_content") or message.get("reasoning") or thought
        if text is None:
            text = word(message.get("refusal"))
        if text is None and reason in (None, "", "stop"):
            raise CallError(failure("empty reply", "the reply's choice holds no text", paid=True))
        return Reply(
            text=text or "",
            reasoning=reasoning if isinstance(reasoning, str) and reasoning else None,
            finish_reason=reason,
            positions=_positions(choice.get("logprobs")),
            model=word(document.get("model")),
            **_tokens(document.get("usage")),
        )

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception means."""
        import openai

        if isinstance(error, CallError):
            return error.failure
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            sent = type(error.__cause__).__name__ not in _BEFORE_SENDING
            return failure("timeout" if sent else "connection", "no answer in time", paid=sent)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            name = type(cause).__name__
            if name == "DecodingError":
                return failure("garbled reply", f"the reply is not what its head says ({cause})", paid=True, secrets=self.secrets)
            return failure("connection", f"{name}: {cause}", paid=name not in _BEFORE_SENDING, secrets=self.secrets)
        if isinstance(error, openai.APIStatusError):
            said, code = _said(error.body if error.body is not None else error.message)
            return failure_from_status(error.status_code, said, code=code, headers=error.response.headers, secrets=self.secrets)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | openai.APIError):
            return failure("garbled reply", f"the reply is not JSON ({error})", paid=True, secrets=self.secrets)
        raise error

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _opened(self) -> Any:
        import httpx2
        import openai

        ours = self._provider.name == "openai"
        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        client = openai.AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=self._base_url,
            max_retries=0,
            default_headers=None if ours else without_openai_environment(self._key),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, follow_redirects=False),
        )
        if not ours:
            # Taken from the environment by the library; who else is asked has no business with them.
            client.organization = client.project = client.admin_api_key = None
        return client

    def _only(self, options: Sequence[str]) -> dict[str, Any]:
        if self._provider.choice == "structured outputs":
            return {"structured_outputs": {"choice": list(options)}}
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(options)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}}

    def _stated(self, problem: Any) -> CallFailure:
        """The failure that a response of status 200 states, as brokers do when those behind them fail."""
        said, code = _said(problem)
        status = code if isinstance(problem, dict) else None
        if status is not None and _STATUS.fullmatch(status):
            return failure_from_status(int(status), said, secrets=self.secrets)
        return failure(kind_from_code(status) or "server error", said, secrets=self.secrets)


def _said(problem: Any) -> tuple[str, str | None]:
    """Return a server's words and its code for an error, wherever it puts them."""
    while isinstance(problem, dict) and isinstance(problem.get("error"), dict | str) and not problem.get("message"):
        problem = problem["error"]
    if isinstance(problem, dict):
        words = problem.get("message") or problem.get("detail") or json.dumps(problem)
        code = problem.get("code") if problem.get("code") is not None else problem.get("type")
        return (words if isinstance(words, str) else json.dumps(words)), None if code is None else str(code)
    return str(problem), None


def _text_of(content: Any) -> tuple[str | None, str | None]:
    """Return text and reasoning of a message's content, which some providers send in parts."""
    if isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        return None, None
    parts = [part for part in content if isinstance(part, dict)]
    text = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    thought = "".join(_text_of(part.get("thinking"))[0] or "" for part in parts if part.get("type") == "thinking")
    return text, thought or None


def _tokens(usage: Any) -> dict[str, int | None]:
    """Return how many tokens a call took, in the words of `Reply`."""
    if not isinstance(usage, dict):
        return {}
    read, written, total = (whole(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    reasoning = whole(under(usage, "completion_tokens_details", "reasoning_tokens"))
    cached = whole(under(usage, "prompt_tokens_details", "cached_tokens"))
    if cached is None:
        cached = whole(usage.get("prompt_cache_hit_tokens"))
    cached = at_most(cached, read)
    if read is not None and written is not None and reasoning and total == read + written + reasoning:
        written += reasoning  # counted beside what was written, not among it
    return {"prompt_tokens": read, "cached_tokens": cached, "completion_tokens": written, "reasoning_tokens": reasoning}


def _positions(logprobs: Any) -> tuple[Position, ...] | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    # What comes behind a token that is none stands at nobody knows which place.
    return tuple([Position(entry["token"], entry["logprob"], _alternatives(entry)) for entry in takewhile(_is_token, content)])


def _alternatives(entry: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple([(other["token"], other["logprob"]) for other in listed(entry.get("top_logprobs")) if _is_token(other)])


def _is_token(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("token"), str) and is_logprob(entry.get("logprob"))
