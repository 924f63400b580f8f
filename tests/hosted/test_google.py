"""Google's codec against a real server: the request as it arrives, every form of answer, every kind of failure."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from tests.hosted.vendor_server import DROP, HANG, Said, VendorServer
from valuestrata.prompts.prompt import Message, Prompt
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.settings import HostedSettings

KEY = "AIzaSyVerySecretVerySecretVerySecret"
PROVIDER = Provider("google", "google", None, ("GEMINI_API_KEY",), top_logprobs=20, choice="json schema")
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
    sample=2,
)


def response(*parts, reason="STOP", **more):
    content = {"parts": [part if isinstance(part, dict) else {"text": part} for part in parts], "role": "model"}
    usage = {"promptTokenCount": 40, "cachedContentTokenCount": 30, "candidatesTokenCount": 5, "thoughtsTokenCount": 7}
    candidate = {"content": content, "finishReason": reason, "index": 0, **more}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3-flash-001"}


def failure(code, status, message, *details):
    return Said({"error": {"code": code, "message": message, "status": status, "details": list(details)}}, code)


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22s"}


def quota(name):
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name, "quotaValue": "250"}]}


def called(reply, settings=None, prompt=PROMPT, timeout=5.0):
    """One call against a server that says `reply`: the reply or the failure, and what arrived."""

    async def once(url):
        codec = GoogleCodec(PROVIDER, "gemini-3-flash", base_url=url, key=KEY)
        try:
            return await codec.call(codec.body(prompt, settings or HostedSettings()), timeout)
        except Exception as error:
            return codec.failure_from(error)
        finally:
            await codec.close()

    with VendorServer(lambda _seen: reply) as server:
        return asyncio.run(once(server.url)), server.seen


def test_the_request_as_it_arrives():
    reply, seen = called(response("Answer: 2"), HostedSettings(seed=5))
    assert len(seen) == 1
    assert seen[0].method == "POST"
    assert seen[0].path.endswith("/models/gemini-3-flash:generateContent")
    assert seen[0].query == {}  # a key in the address would stand in every log on the way
    assert seen[0].headers["x-goog-api-key"] == KEY
    assert seen[0].body == {
        "contents": [{"role": "user", "parts": [{"text": "How much? Reply with one number."}]}],
        "systemInstruction": {"parts": [{"text": "You are a woman."}]},
        "generationConfig": {"maxOutputTokens": 32, "temperature": 0.0, "seed": 7},
    }
    assert (reply.text, reply.finish_reason, reply.model) == ("Answer: 2", "STOP", "gemini-3-flash-001")


def test_thoughts_are_kept_apart_and_paid_as_written():
    reply, _ = called(response({"text": "She says two.", "thought": True}, "Answer: ", "2"))
    assert (reply.text, reply.reasoning) == ("Answer: 2", "She says two.")
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens, reply.reasoning_tokens) == (40, 30, 12, 7)


def test_extra_reaches_into_what_is_nested():
    extra = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}, "maxOutputTokens": 9}, "safetySettings": [{"category": "X"}]}
    _, seen = called(response("2"), HostedSettings(temperature=None, extra=extra))
    assert seen[0].body["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}, "maxOutputTokens": 9}
    assert seen[0].body["safetySettings"] == [{"category": "X"}]


def test_constrained_to_the_options():
    _, seen = called(response('"2"'), HostedSettings(constrain=True))
    config = seen[0].body["generationConfig"]
    assert config["responseSchema"] == {"type": "STRING", "enum": ["1", "2", "3"]}
    assert config["responseMimeType"] == "application/json"


def test_log_probabilities_of_each_position():
    result = {
        "chosenCandidates": [{"token": "Answer", "tokenId": 1, "logProbability": -0.1}, {"token": "2", "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "Answer", "logProbability": -0.1}, {"token": "I", "logProbability": -2.5}]},
            {"candidates": [{"token": "2", "logProbability": -0.5}, {"token": "3", "logProbability": -1.0}]},
        ],
    }
    prompt = replace(PROMPT, elicitation="first-token")
    reply, seen = called(response("Answer2", logprobsResult=result), HostedSettings(top_logprobs=2), prompt)
    assert seen[0].body["generationConfig"] == {
        "maxOutputTokens": 8,
        "temperature": 0.0,
        "responseLogprobs": True,
        "logprobs": 2,
    }
    assert [position.token for position in reply.positions] == ["Answer", "2"]
    assert reply.positions[1].alternatives == (("2", -0.5), ("3", -1.0))
    assert called(response("2"))[0].positions is None


def test_a_prompt_that_a_filter_stopped_is_an_answer_without_a_text():
    said = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 40, "totalTokenCount": 40}}
    reply, _ = called(said)
    assert (reply.text, reply.finish_reason) == ("", "PROHIBITED_CONTENT")
    assert (reply.prompt_tokens, reply.completion_tokens) == (40, 0)


@pytest.mark.parametrize("reason", ["SAFETY", "MAX_TOKENS", "RECITATION"])
def test_an_answer_that_ended_early_is_one_without_a_text(reason):
    reply, _ = called({"candidates": [{"finishReason": reason, "index": 0}]})
    assert (reply.text, reply.finish_reason) == ("", reason)
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)


@pytest.mark.parametrize("said", [{}, {"candidates": []}, response(), response(""), {"candidates": [{"finishReason": "STOP"}]}])
def test_an_empty_answer_without_a_reason_is_tried_again(said):
    found, _ = called(said)
    assert (found.kind, found.retry, found.fatal) == ("empty reply", True, False)


@pytest.mark.parametrize(
    ("said", "kind", "retry", "fatal"),
    [
        (failure(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", BAD_KEY), "key refused", False, True),
        (failure(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), "key refused", False, True),
        (failure(403, "PERMISSION_DENIED", "no permission"), "key refused", False, True),
        (failure(401, "UNAUTHENTICATED", "no credentials"), "key refused", False, True),
        (failure(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1"), "wrong model", False, True),
        (failure(400, "INVALID_ARGUMENT", "* GenerateContentRequest.model: unexpected model name format"), "wrong model", False, True),
        (failure(400, "FAILED_PRECONDITION", "Please enable billing on your project."), "no credit", False, True),
        (failure(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "key refused", False, True),
        (failure(400, "INVALID_ARGUMENT", "Logprobs is not enabled for models/gemini-3-flash"), "wrong setting", False, True),
        (failure(400, "INVALID_ARGUMENT", 'Unknown name "thinkingBudgett" at generation_config'), "wrong setting", False, True),
        (failure(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum"), "refused request", False, False),
        (failure(429, "RESOURCE_EXHAUSTED", "quota", quota("GenerateRequestsPerMinutePerProject"), WAIT), "rate limit", True, False),
        (failure(429, "RESOURCE_EXHAUSTED", "quota", quota("GenerateRequestsPerDayPerProject"), WAIT), "no credit", False, True),
        (failure(500, "INTERNAL", "An internal error has occurred"), "server error", True, False),
        (failure(503, "UNAVAILABLE", "The model is overloaded."), "overloaded", True, False),
        (failure(504, "DEADLINE_EXCEEDED", "too slow"), "server error", True, False),
        (Said([{"error": {"code": 404, "message": "no such model", "status": "NOT_FOUND"}}], 404), "wrong model", False, True),
        (Said("<html>bad gateway</html>", 502, {"content-type": "text/html"}), "server error", True, False),
        (Said("{not json"), "garbled reply", True, False),
        (Said([1]), "garbled reply", True, False),
        (Said({"candidates": "none"}), "garbled reply", True, False),
        (Said({"candidates": ["none"]}), "garbled reply", True, False),
        (Said({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}), "overloaded", True, False),
        (DROP, "connection", True, False),
    ],
)
def test_faults(said, kind, retry, fatal):
    found, seen = called(said)
    assert (found.kind, found.retry, found.fatal) == (kind, retry, fatal), found
    assert len(seen) == 1  # the library tries nothing again by itself
    assert KEY not in str(found)


def test_what_the_server_says_of_waiting():
    assert called(failure(429, "RESOURCE_EXHAUSTED", "quota", WAIT))[0].retry_after == 22
    said = Said({"error": {"code": 429, "message": "quota"}}, 429, {"retry-after": "3"})
    assert called(said)[0].retry_after == 3


def test_a_hang_ends_in_time():
    found, _ = called(HANG, timeout=0.2)
    assert (found.kind, found.retry, found.paid) == ("timeout", True, True)


def test_nobody_there_costs_nothing():
    async def once():
        codec = GoogleCodec(PROVIDER, "m", base_url="http://127.0.0.1:9", key=KEY)
        try:
            await codec.call(codec.body(PROMPT, HostedSettings()), 2.0)
        except Exception as error:
            return codec.failure_from(error)
        finally:
            await codec.close()

    found = asyncio.run(once())
    assert (found.kind, found.paid) == ("connection", False)


def test_a_key_that_the_server_quotes_stays_out_of_the_message():
    found, _ = called(failure(400, "INVALID_ARGUMENT", f"API key not valid: {KEY}"))
    assert found.kind == "key refused"
    assert "VerySecret" not in str(found)


def test_the_environment_has_no_say(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another-project")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9another")
    reply, seen = called(response("2"))
    assert reply.text == "2"
    assert "another" not in seen[0].path + json.dumps(seen[0].headers)


def test_a_client_is_opened_anew_in_another_loop():
    codec = None

    async def once(url):
        nonlocal codec
        codec = codec or GoogleCodec(PROVIDER, "m", base_url=url, key=KEY)
        reply = await codec.call(codec.body(PROMPT, HostedSettings()), 5.0)
        await codec.close()
        return reply.text

    with VendorServer(lambda _seen: response("2")) as server:
        assert [asyncio.run(once(server.url)) for _ in range(2)] == ["2", "2"]


def test_many_calls_at_once_have_a_connection_each():
    async def many(url):
        codec = GoogleCodec(PROVIDER, "m", base_url=url, key=KEY, connections=120)
        try:
            body = codec.body(PROMPT, HostedSettings())
            return await asyncio.gather(*[codec.call(body, 10.0) for _ in range(120)])
        finally:
            await codec.close()

    with VendorServer(lambda _seen: response("2")) as server:
        assert len(asyncio.run(many(server.url))) == 120
