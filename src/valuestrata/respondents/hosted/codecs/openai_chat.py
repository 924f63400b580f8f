"""OpenAI's chat completions, which most other servers offer too, through OpenAI's SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.codec import READ_OUT, SdkCodec, answer_schema, unexpected
from valuestrata.respondents.hosted.codecs.fields import as_count, as_text, at_most, nested, positions, read_reply
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, failure, failure_from_status, kind_from_code
from valuestrata.respondents.hosted.keys import NO_KEY, without_openai_environment
from valuestrata.respondents.hosted.settings import HostedSettings

_STATUS = re.compile(r"[1-9][0-9][0-9]")


class OpenAICodec(SdkCodec):
    """One model behind chat completions."""

    module = "openai"
    package = "openai"

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt, with its prefill if probabilities are read and the server continues a turn."""
        written = prompt.prefill if prompt.elicitation in READ_OUT and self._provider.continues else ""
        return self.continued(prompt, settings, written, settings.tokens_for(prompt.elicitation))

    def continued(self, prompt: Prompt, settings: HostedSettings, written: str, tokens: int) -> dict[str, Any]:
        """Return a request of at most `tokens` tokens that continues what the assistant has `written`."""
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
        if prompt.elicitation in READ_OUT:
            body |= {"logprobs": True, "top_logprobs": settings.top_logprobs or self._provider.top_logprobs}
        elif settings.constrain and prompt.elicitation == "text":
            body |= self._restriction(prompt.options)
        return settings.with_extra(body)

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once.

        The SDK's plain `post`: its typed method spends more time on validation than everything else together.
        """
        import httpx2

        if self._client is None:
            self._client = self._opened()
        response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body, options={"timeout": timeout})
        return read_reply(self.parse_reply, response.content, self.secrets)

    def parse_reply(self, document: Any) -> Reply:
        """Read a chat completion."""
        if not isinstance(document, dict):
            raise unexpected("a chat completion", document)
        choices = document.get("choices")
        first: Any = choices[0] if isinstance(choices, list) and choices else None
        choice: Mapping[str, Any] = first if isinstance(first, dict) else {}
        problem = document.get("error") or choice.get("error")
        if not problem and choice.get("finish_reason") == "error":
            problem = "the provider stopped without a reason"
        if problem:
            # What the model had begun to write may be charged.
            raise CallError(replace(self._stated_failure(problem), paid=bool(choice)))
        if choices == []:
            raise CallError(failure("empty reply", "the reply has no choice", paid=True))
        message, reason = choice.get("message"), as_text(choice.get("finish_reason"))
        if not isinstance(message, dict):
            raise unexpected("a chat completion", document)
        text, thought = _content(message.get("content"))
        reasoning = message.get("reasoning_content") or message.get("reasoning") or thought
        if text is None and (text := as_text(message.get("refusal"))) is not None:
            # The service states the refusal in a field of its own; the text need not read like one.
            reason = "refusal"
        if text is None and reason in (None, "", "stop"):
            raise CallError(failure("empty reply", "the reply's choice has no text", paid=True))
        return Reply(
            text=text or "",
            reasoning=reasoning if isinstance(reasoning, str) and reasoning else None,
            finish_reason=reason,
            positions=positions(nested(choice, "logprobs", "content"), lambda _, token: token.get("top_logprobs"), "logprob"),
            model=as_text(document.get("model")),
            **_tokens(document.get("usage")),
        )

    def _status_failure(self, error: Any) -> CallFailure:
        text, code = _stated(error.body if error.body is not None else error.message)
        return failure_from_status(error.status_code, text, code=code, headers=error.response.headers, secrets=self.secrets)

    def _stated_failure(self, problem: Any) -> CallFailure:
        """Return the failure in a response of status 200, as brokers send it when their provider fails."""
        text, code = _stated(problem)
        status = code if isinstance(problem, dict) else None
        if status is not None and _STATUS.fullmatch(status):
            return failure_from_status(int(status), text, secrets=self.secrets)
        return self._failure(kind_from_code(status) or "server error", text)

    def _opened(self) -> Any:
        import openai

        is_openai = self._provider.name == "openai"
        client = openai.AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=self._base_url,
            max_retries=0,
            default_headers=None if is_openai else without_openai_environment(self._key),
            http_client=self._http_client(openai),
        )
        if not is_openai:
            # The SDK reads them from the environment; they are not for other providers.
            client.organization = client.project = client.admin_api_key = None
        return client

    def _restriction(self, options: Sequence[str]) -> dict[str, Any]:
        if self._provider.choice == "structured outputs":
            return {"structured_outputs": {"choice": list(options)}}
        schema = {"name": "answer", "strict": True, "schema": answer_schema(options)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _stated(problem: Any) -> tuple[str, str | None]:
    """Return the text and code of a server's error, wherever it puts them."""
    while isinstance(problem, dict) and isinstance(problem.get("error"), dict | str) and not problem.get("message"):
        problem = problem["error"]
    if isinstance(problem, dict):
        text = problem.get("message") or problem.get("detail") or json.dumps(problem)
        code = problem.get("code") if problem.get("code") is not None else problem.get("type")
        return (text if isinstance(text, str) else json.dumps(text)), None if code is None else str(code)
    return str(problem), None


def _content(content: Any) -> tuple[str | None, str | None]:
    """Return text and reasoning of a message's content, which some providers send in parts."""
    if isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        return None, None
    parts = [part for part in content if isinstance(part, dict)]
    text = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    thought = "".join(_content(part.get("thinking"))[0] or "" for part in parts if part.get("type") == "thinking")
    return text, thought or None


def _tokens(usage: Any) -> dict[str, int | None]:
    """Return the token counts of a call under the names of `Reply`."""
    if not isinstance(usage, dict):
        return {}
    read, written, total = (as_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    reasoning = as_count(nested(usage, "completion_tokens_details", "reasoning_tokens"))
    cached = as_count(nested(usage, "prompt_tokens_details", "cached_tokens"))
    if cached is None:
        cached = as_count(usage.get("prompt_cache_hit_tokens"))
    if read is not None and written is not None and reasoning and total == read + written + reasoning:
        written += reasoning  # this provider does not include reasoning in the written tokens
    return {"prompt_tokens": read, "cached_tokens": at_most(cached, read), "completion_tokens": written, "reasoning_tokens": reasoning}
