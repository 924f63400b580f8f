"""Anthropic's codec against a real server: the request as it arrives, every form of answer, every kind of failure."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from tests.hosted.vendor_server import DROP, HANG, Said, VendorServer
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.errors import CallError
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.settings import HostedSettings

KEY = "sk-ant-api03-verysecretverysecret"
PROVIDER = Provider("anthropic", "anthropic", None, ("ANTHROPIC_API_KEY",), choice="json schema", seed=None)
PROMPT = Prompt(
    pair_id="Q1_sex_Female",
    item="Q1",
    subgroup="sex_Female",
    messages=(Message("system", "You are a woman."), Message("user", "How much? Reply with one number.")),
    prefill="Answer:",
    options=("1", "2", "3"),
    shown=(1, 2, 3),
    elicitation="text",
    template="default",
    template_version="1",
)
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5-20260901",
    "content": [{"type": "text", "text": "Answer: 2"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 40,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 100,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    },
}


def failure(status, kind, message, headers=None):
    return Said({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}, status, headers or {})


def called(reply, settings=None, prompt=PROMPT, timeout=5.0):
    """One call against a server that says `reply`: the reply or the failure, and what arrived."""

    async def once(url):
        codec = AnthropicCodec(PROVIDER, "claude-sonnet-5-5", base_url=url, key=KEY)
        try:
            return await codec.call(codec.body(prompt, settings or HostedSettings(temperature=None)), timeout)
        except Exception as error:
            return codec.failure_from(error)
        finally:
            await codec.close()

    with VendorServer(lambda _seen: reply) as server:
        return asyncio.run(once(server.url)), server.seen


def test_the_request_as_it_arrives():
    reply, seen = called(MESSAGE)
    assert len(seen) == 1
    assert (seen[0].method, seen[0].path) == ("POST", "/v1/messages")
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert seen[0].body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 32,
        "system": "You are a woman.",
        "messages": [{"role": "user", "content": "How much? Reply with one number."}],
    }
    assert reply.text == "Answer: 2"
    assert reply.finish_reason == "end_turn"
    assert reply.model == "claude-sonnet-5-5-20260901"


def test_tokens_of_the_cache_are_among_those_read():
    reply, _ = called(MESSAGE)
    # 40 plain + 10 written to the cache + 100 read from it; the 4 of thought are among the 9 written
    assert (reply.prompt_tokens, reply.cached_tokens) == (150, 100)
    assert (reply.completion_tokens, reply.reasoning_tokens) == (9, 4)
    assert reply.positions is None


def test_without_counts_nothing_is_made_up():
    reply, _ = called({**MESSAGE, "usage": None})
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens, reply.reasoning_tokens) == (None, None, None, None)


def test_a_temperature_asks_for_the_older_version():
    _, seen = called(MESSAGE, HostedSettings(temperature=0.0))
    assert seen[0].body["temperature"] == 0.0
    assert seen[0].headers["anthropic-version"] == "2023-06-01"
    _, seen = called(MESSAGE)
    assert "temperature" not in seen[0].body
    assert seen[0].headers["anthropic-version"] != "2023-06-01"


def test_extra_is_laid_over_the_request():
    extra = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 3000}
    _, seen = called(MESSAGE, HostedSettings(temperature=None, extra=extra))
    assert seen[0].body["thinking"] == extra["thinking"]
    assert seen[0].body["max_tokens"] == 3000


def test_constrained_to_the_options():
    settings = HostedSettings(temperature=None, constrain=True)
    _, seen = called(MESSAGE, settings)
    form = seen[0].body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["properties"] == {"answer": {"type": "string", "enum": ["1", "2", "3"]}}
    _, seen = called(MESSAGE, settings, replace(PROMPT, elicitation="reasoned"))
    assert "output_config" not in seen[0].body


def test_thinking_is_kept_apart():
    content = [
        {"type": "thinking", "thinking": "She would ", "signature": "x"},
        {"type": "thinking", "thinking": "say two.", "signature": "y"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "text", "text": "Answer: "},
        {"type": "text", "text": "2"},
    ]
    reply, _ = called({**MESSAGE, "content": content})
    assert (reply.text, reply.reasoning) == ("Answer: 2", "She would say two.")


@pytest.mark.parametrize("reason", ["refusal", "max_tokens", "model_context_window_exceeded"])
def test_a_stated_reason_makes_an_empty_message_an_answer(reason):
    reply, _ = called({**MESSAGE, "content": [], "stop_reason": reason})
    assert (reply.text, reply.finish_reason) == ("", reason)


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": ""}], [{"type": "thinking", "thinking": "hm", "signature": "x"}]])
def test_an_empty_message_without_a_reason_is_tried_again(content):
    found, _ = called({**MESSAGE, "content": content})
    assert (found.kind, found.retry, found.fatal) == ("empty reply", True, False)


@pytest.mark.parametrize(
    ("said", "kind", "retry", "fatal"),
    [
        (failure(429, "rate_limit_error", "slow down"), "rate limit", True, False),
        (failure(529, "overloaded_error", "Overloaded"), "overloaded", True, False),
        (failure(500, "api_error", "Internal server error"), "server error", True, False),
        (failure(504, "timeout_error", "took too long"), "server error", True, False),
        (failure(401, "authentication_error", "invalid x-api-key"), "key refused", False, True),
        (failure(403, "permission_error", "not for your key"), "key refused", False, True),
        (failure(402, "billing_error", "unpaid"), "no credit", False, True),
        (failure(404, "not_found_error", "model: claude-sonnet-9"), "wrong model", False, True),
        (failure(413, "request_too_large", "too large"), "refused request", False, False),
        (failure(400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"), "refused request", False, False),
        (failure(400, "invalid_request_error", "messages.0.content: text is required"), "refused request", False, False),
        (failure(400, "invalid_request_error", "`temperature` is deprecated for this model."), "wrong setting", False, True),
        (failure(400, "invalid_request_error", "temperature: Extra inputs are not permitted"), "wrong setting", False, True),
        (failure(400, "invalid_request_error", "thinking.budget_tokens: Input should be at least 1024"), "wrong setting", False, True),
        (failure(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."), "no credit", False, True),
        (Said("<html>bad gateway</html>", 502, {"content-type": "text/html"}), "server error", True, False),
        (Said("{not json"), "garbled reply", True, False),
        (Said([1, 2]), "garbled reply", True, False),
        (Said({"type": "message"}), "garbled reply", True, False),
        (DROP, "connection", True, False),
    ],
)
def test_faults(said, kind, retry, fatal):
    found, seen = called(said)
    assert (found.kind, found.retry, found.fatal) == (kind, retry, fatal), found
    assert len(seen) == 1  # the library tries nothing again by itself
    assert KEY not in str(found)


def test_what_the_server_says_of_waiting():
    found, _ = called(failure(429, "rate_limit_error", "slow down", {"retry-after": "7"}))
    assert found.retry_after == 7


def test_a_hang_ends_in_time():
    found, _ = called(HANG, timeout=1.5)
    assert (found.kind, found.retry, found.paid) == ("timeout", True, True)


def test_nobody_there_costs_nothing():
    async def once():
        codec = AnthropicCodec(PROVIDER, "m", base_url="http://127.0.0.1:9", key=KEY)
        try:
            await codec.call(codec.body(PROMPT, HostedSettings(temperature=None)), 2.0)
        except Exception as error:
            return codec.failure_from(error)
        finally:
            await codec.close()

    found = asyncio.run(once())
    assert (found.kind, found.paid) == ("connection", False)


def test_a_key_that_the_server_quotes_stays_out_of_the_message():
    found, _ = called(failure(401, "authentication_error", f"the key {KEY} is not valid"))
    assert found.kind == "key refused"
    assert "verysecret" not in str(found)


def test_the_environment_has_no_say(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another-token")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another-key")
    reply, seen = called(MESSAGE)
    assert reply.text == "Answer: 2"
    assert "another" not in json.dumps(seen[0].headers)


def test_a_client_is_opened_anew_in_another_loop():
    codec = None

    async def once(url):
        nonlocal codec
        codec = codec or AnthropicCodec(PROVIDER, "m", base_url=url, key=KEY)
        reply = await codec.call(codec.body(PROMPT, HostedSettings(temperature=None)), 5.0)
        await codec.close()
        return reply.text

    with VendorServer(lambda _seen: MESSAGE) as server:
        assert [asyncio.run(once(server.url)) for _ in range(2)] == ["Answer: 2"] * 2


def test_a_defect_is_not_taken_for_a_fault():
    codec = AnthropicCodec(PROVIDER, "m", base_url="http://127.0.0.1:9", key=KEY)
    with pytest.raises(ZeroDivisionError):
        codec.failure_from(ZeroDivisionError())


@pytest.mark.parametrize("kind", ["overloaded_error", "rate_limit_error"])
def test_an_error_that_a_document_states(kind):
    codec = AnthropicCodec(PROVIDER, "m", base_url="http://127.0.0.1:9", key=None)
    with pytest.raises(CallError) as caught:
        codec.parse_reply({"type": "error", "error": {"type": kind, "message": "no"}})
    assert caught.value.failure.retry
