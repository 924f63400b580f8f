"""Servers that send anything at all: each reply is read or is a failure, and never the end of the program."""

import asyncio
import contextlib
import gzip
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosted.prompts import hosted, prompt
from tests.hosted.server import Act, Server, said
from tests.hosted.vendor_server import Said, VendorServer
from valuestrata.respondents.hosted.batch.files import BatchResult, UnreadableLine, batch_format_of, read_lines
from valuestrata.respondents.hosted.codecs.anthropic_messages import AnthropicCodec
from valuestrata.respondents.hosted.codecs.fields import read_reply
from valuestrata.respondents.hosted.codecs.google_generate import GoogleCodec
from valuestrata.respondents.hosted.codecs.openai_chat import OpenAICodec
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.providers import PROVIDERS
from valuestrata.respondents.hosted.settings import HostedSettings

KEY = "abcdSECRET1"
WIRES = {"openai": OpenAICodec, "anthropic": AnthropicCodec, "google": GoogleCodec}
GOOD = {
    "openai": said("Answer: 1", logprobs={"content": [{"token": "1", "logprob": -0.1, "top_logprobs": [{"token": "1", "logprob": -0.1}]}]})
    | {"error": None},
    "anthropic": {
        "type": "message",
        "content": [{"type": "text", "text": "Answer: 1"}, {"type": "thinking", "thinking": "a"}],
        "stop_reason": "end_turn",
        "model": "m",
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}},
    },
    "google": {
        "candidates": [
            {
                "content": {"parts": [{"text": "Answer: 1"}]},
                "finishReason": "STOP",
                "logprobsResult": {
                    "chosenCandidates": [{"token": "1", "logProbability": -0.1}],
                    "topCandidates": [{"candidates": [{"token": "1", "logProbability": -0.1}]}],
                },
            }
        ],
        "usageMetadata": {"promptTokenCount": 3, "cachedContentTokenCount": 2, "candidatesTokenCount": 2, "thoughtsTokenCount": 1},
        "modelVersion": "m",
        "promptFeedback": {"blockReason": None},
    },
}
ANYTHING = [None, True, 5, -1, 10**25, 1.5, "x", "²", [], {}, [1], {"a": 1}, [None], math.nan, math.inf]


def codec(name, url="http://127.0.0.1:9"):
    return WIRES[name](PROVIDERS[name], "m", base_url=url, key=KEY)


def places(document, path=()):
    yield path
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, value in inner:
        yield from places(value, (*path, name))


def with_put(document, path, value):
    if not path:
        return value
    changed = json.loads(json.dumps(document))
    at = changed
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return changed


def is_sound(reply):
    counts = (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens, reply.reasoning_tokens)
    words = (reply.reasoning, reply.finish_reason, reply.model)
    logprobs = [value for position in reply.positions or () for value in (position.logprob, *(said for _, said in position.alternatives))]
    return (
        isinstance(reply.text, str)
        and all(word is None or isinstance(word, str) for word in words)
        and all(count is None or (type(count) is int and 0 <= count < 2**55) for count in counts)
        and all(not math.isnan(value) and value <= 0.01 for value in logprobs)
    )


@pytest.mark.parametrize("name", WIRES)
def test_anything_in_any_place_of_a_response_is_read_or_a_fault(name):
    """No TypeError and no number that a table cannot hold, whatever is put where."""
    for path in places(GOOD[name]):
        for value in ANYTHING:
            document = with_put(GOOD[name], path, value)
            with contextlib.suppress(CallError):
                assert is_sound(codec(name).parse_reply(document)), (path, value)


@pytest.mark.parametrize("count", [True, 10**30, 2**53, -1, 1.5, "7"])
def test_a_count_that_is_none_counts_as_not_said(count):
    usage = {"openai": "prompt_tokens", "anthropic": "input_tokens", "google": "promptTokenCount"}
    for name, field in usage.items():
        where = "usageMetadata" if name == "google" else "usage"
        assert codec(name).parse_reply(with_put(GOOD[name], (where, field), count)).prompt_tokens is None


def test_no_more_can_come_from_a_cache_than_was_read():
    document = said("Answer: 1", tokens=(100, 4))
    document["usage"]["prompt_tokens_details"] = {"cached_tokens": 10**6}
    reply = codec("openai").parse_reply(document)
    assert (reply.prompt_tokens, reply.cached_tokens) == (100, 100)
    assert Prices(2.0, 8.0, cached=0.5).of_reply(reply) > 0
    google = with_put(GOOD["google"], ("usageMetadata", "cachedContentTokenCount"), 99)
    assert codec("google").parse_reply(google).cached_tokens == 3


@pytest.mark.parametrize("logprob", [1000.0, math.nan, math.inf, True, "x", 10**400, -(10**400)])
def test_a_log_probability_that_is_none_is_left_out_and_ends_nothing(logprob):
    good, bad = {"token": "1", "logprob": -0.1}, {"token": "2", "logprob": logprob}
    entries = [good | {"top_logprobs": [good, bad]}, bad, good]
    [position] = codec("openai").parse_reply(said("1", logprobs={"content": entries})).positions
    assert position.alternatives == (("1", -0.1),)


RAW = [
    b"5",
    b"null",
    b"[1,2]",
    b"[" * 200_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"error":' * 900 + b"1" + b"}" * 900,
    b'{"choices":[' + b"9" * 5000 + b"]}",
    b"\xff\xfe",
    b"",
    '{"error":{"code":"²","message":"m"}}'.encode(),
    b'{"error":{"code":1e400,"message":5,"details":7}}',
    b'{"error":[5]}',
]


@pytest.mark.parametrize("status", [200, 204, 307, 400, 429, 500, 999])
@pytest.mark.parametrize("name", WIRES)
def test_any_bytes_with_any_status_are_a_fault(name, status):
    """Through the vendors' own libraries, which read bodies of errors themselves."""

    async def all_of_them(asked):
        return [await once(asked) for _ in RAW]

    async def once(asked):
        try:
            return await asked.call(asked.body(prompt(), HostedSettings(temperature=None)), 5.0)
        except Exception as error:
            return asked.failure_from(error)

    replies = iter(RAW)
    with VendorServer(lambda _seen: Said(next(replies), status)) as server:

        async def run():
            asked = codec(name, server.url)
            try:
                return await all_of_them(asked)
            finally:
                await asked.close()

        found = asyncio.run(run())
    assert all(isinstance(one, CallFailure) for one in found), found
    if status == 200:
        assert {one.kind for one in found} <= {"garbled reply", "empty reply", "server error"}
        assert all(one.retry and not one.fatal for one in found)


def test_a_compressed_reply_that_is_none_is_garbled_and_not_a_server_that_is_absent():
    act = Act(raw=b"not gzip at all", headers={"Content-Encoding": "gzip"})
    for name in ("openai-compatible/m", "anthropic/m"):
        with Server(lambda request: act) as server, pytest.MonkeyPatch.context() as patched:
            patched.setenv("ANTHROPIC_API_KEY", KEY)
            answer = next(iter(hosted(server.url, name, attempts=1).answer([prompt()])))
        assert answer.error.startswith("garbled reply: ")
    whole = gzip.compress(json.dumps(said("Answer: 2")).encode())
    with Server(lambda request: Act(raw=whole, headers={"Content-Encoding": "gzip"})) as server:
        assert next(iter(hosted(server.url).answer([prompt()]))).text == "Answer: 2"


@pytest.mark.parametrize("name", ["openai-compatible", "anthropic", "google"])
def test_garbage_fails_its_prompt_and_the_run_goes_on_to_its_end(name, monkeypatch):
    for variable in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    for raw in (b"[" * 200_000, b'{"choices":[' + b"9" * 5000 + b"]}"):
        with Server(lambda request, raw=raw: Act(raw=raw)) as server:
            came = list(hosted(server.url, f"{name}/m", attempts=1).answer([prompt(0), prompt(1)]))
        assert [answer.error.split(":")[0] for answer in came] == ["garbled reply", "garbled reply"]


def test_garbage_in_a_batch_hides_no_other_line(tmp_path):
    file = tmp_path / "output.jsonl"
    good = {"custom_id": "a", "response": {"status_code": 200, "body": said("Answer: 1")}, "error": None}
    refused = json.loads(json.dumps(good | {"custom_id": "b"}))
    refused["response"]["body"]["choices"][0] = {"message": {"content": None, "refusal": 5}, "finish_reason": "stop"}
    lines = [json.dumps(good).encode(), b"[" * 200_000, b'{"x": ' + b"9" * 5000 + b"}", json.dumps(refused).encode()]
    file.write_bytes(b"\n".join(lines) + b"\n")
    first, nested, long, last = read_lines(batch_format_of(codec("openai")), file)
    assert isinstance(first, BatchResult)
    assert first.reply.text == "Answer: 1"
    assert isinstance(nested, UnreadableLine)
    assert isinstance(long, UnreadableLine)
    assert last.failure.kind == "empty reply"


@given(st.sampled_from([ValueError, TypeError, KeyError, RecursionError, OverflowError, AttributeError, IndexError]))
def test_what_reading_a_document_raises_is_a_garbled_reply_without_keys(kind):
    def reads(document) -> Reply:
        raise kind(f"{KEY} in {document}")

    with pytest.raises(CallError) as raised:
        read_reply(reads, b"{}", (KEY,))
    found = raised.value.failure
    assert (found.kind, found.paid, found.retry) == ("garbled reply", True, True)
    assert kind.__name__ in found.message
    assert KEY not in found.message
