"""Keys: refused where they cannot be one, in no message in any form, and sent to their own server alone."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hosted.prompts import hosted, prompts
from tests.hosted.vendor_server import Said, VendorServer
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.respondents.hosted.batch.answers import respondent_from_identity
from valuestrata.respondents.hosted.batch.service import AnthropicBatchService, GoogleBatchService
from valuestrata.respondents.hosted.redact import redact, redact_answer
from valuestrata.respondents.hosted.settings import HostedSettings

VARIABLES = {"openai-compatible": "OPENAI_COMPATIBLE_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY"}
KEY = "ab/cdSECRET+9x=Q"


@pytest.mark.parametrize("middle", ["\n", "\r\n", " ", "\t", "\x01", "\x7f", "é", "\u200b"])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_key_that_no_header_can_hold_is_refused_by_the_name_of_its_variable(monkeypatch, name, middle):
    monkeypatch.setenv(VARIABLES[name], f"firsthalfSECRET{middle}secondhalfSECRET")
    identity = {"name": f"{name}/m", "base_url": "http://127.0.0.1:9/v1", "decoding": HostedSettings().decoding()}
    for made in (lambda: hosted("http://127.0.0.1:9/v1", f"{name}/m"), lambda: respondent_from_identity(identity, None)):
        with pytest.raises(UsageError, match=VARIABLES[name]) as raised:
            made()
        assert "SECRET" not in str(raised.value)


def test_blanks_around_a_key_are_cut_off(monkeypatch):
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", f"  {KEY}\n")
    assert hosted("http://127.0.0.1:9/v1").codec.secrets == (KEY,)


@pytest.mark.parametrize(
    "settings",
    [
        {"extra": {"api_key": "x"}},
        {"extra": {"headers": [{"Authorization": "Bearer x"}]}},
        {"extra": {"user": [f"me {KEY}"]}},
        {"extra": {KEY: 1}},
        {"url": f"http://127.0.0.1:9/{KEY}/v1"},
        {"word": f"openai-compatible/{KEY}"},
    ],
)
def test_a_key_among_what_a_run_writes_down_is_refused(monkeypatch, settings):
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", KEY)
    with pytest.raises(UsageError, match="the settings contain a key") as raised:
        hosted(**{"url": "http://127.0.0.1:9/v1", **settings})
    assert "SECRET" not in str(raised.value)


def test_a_placeholder_for_a_key_may_be_a_word_of_the_settings(monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "lm-studio")
    assert hosted("http://lm-studio:1234/v1", "lmstudio/lm-studio", extra={"max_tokens": 9, "tokens": 1}).codec.secrets == ("lm-studio",)


@pytest.mark.parametrize(("extra", "says"), [({"stream": True}, "stream"), ({"n": 3}, "samples")])
def test_what_would_be_paid_for_and_not_read_is_refused(extra, says):
    with pytest.raises(UsageError, match=says):
        hosted("http://127.0.0.1:9/v1", extra=extra)


def test_a_key_is_taken_out_however_a_message_writes_it():
    bearer = f"Bearer {KEY}".encode()
    forms = [quote(KEY), quote(KEY, safe=""), KEY.upper(), KEY.lower(), json.dumps(KEY)]
    for form in forms:
        assert redact(f"bad key {form}!", [KEY]).strip('!"') in ("bad key [key]", 'bad key "[key]')
    for broken in ("first\nSECRET9", 'say"SECRET9', "back\\SECRET9"):
        for form in (repr(broken), repr(broken.encode()), json.dumps(broken)):
            assert "SECRET9" not in redact(f"Illegal header value {form}", [broken])
    encoded = base64.b64encode(bearer).decode()
    assert "[key]" in redact(encoded, [KEY])


LONG = "sk-proj-aB3xY9zQ7wE5rT1uI0pL2kJ4hG6fD8sA"


def in_lines(text, width, between="\n"):
    return between.join(text[at : at + width] for at in range(0, len(text), width))


CODED = "".join(f"%{byte:02x}" for byte in LONG.encode())
WAYS = {
    "lines": in_lines(LONG, 3),
    "indented lines": in_lines(LONG, 20, "\r\n    "),
    "escaped line ends": in_lines(LONG, 12, "\\n"),
    "twice escaped line ends": in_lines(LONG, 12, "\\\\n"),
    "strings put together": in_lines(LONG, 9, '" + "'),
    "other case": LONG.swapcase(),
    "backwards": LONG[::-1],
    "backwards in lines and capitals": in_lines(LONG[::-1].upper(), 7),
    "percent codes": CODED,
    "percent codes twice": quote(CODED),
    "percent codes in lines": in_lines(CODED, 30),
    "base64 in lines": in_lines(base64.b64encode(f"Bearer {LONG}".encode()).decode(), 20),
    "base64 for URLs": base64.urlsafe_b64encode(LONG.encode()).decode(),
    "base64 backwards": base64.b64encode(LONG[::-1].encode()).decode(),
    "hexadecimal": in_lines(LONG.encode().hex(), 2, ":").upper(),
    "JSON codes": "".join(f"\\u{ord(letter):04X}" for letter in LONG),
    "HTML codes": "".join(f"&#{ord(letter)};" for letter in LONG),
    "HTML codes in hexadecimal": "".join(f"&#x{ord(letter):x};" for letter in LONG),
    "zero-width spaces": "\u200b".join(LONG),
    "wide letters": "".join(chr(ord(letter) + 0xFEE0) for letter in LONG),
    "one by one": ", ".join(map(repr, LONG)),
    "a null byte": in_lines(LONG, 20, "\x00"),
    "half of it": LONG[:18],
    "the other half": LONG[18:],
}


def longest_left(text):
    """Return how many letters and digits of the key stand in a text in a row, in either direction."""
    left, key = ("".join(filter(str.isalnum, one.lower())) for one in (text, LONG))
    pieces = (form[at : at + size] for size in range(len(key) + 1) for form in (key, key[::-1]) for at in range(len(key) - size + 1))
    return max(len(piece) for piece in pieces if piece in left)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_taken_out_in_whatever_way_it_is_written(way):
    for cleaned in (redact(f"error: {WAYS[way]} !", [LONG]), redact_answer(f"error: {WAYS[way]} !", [LONG])):
        assert cleaned.startswith(("error: ", "error: '")), cleaned
        assert cleaned.endswith("!")
        assert "[key]" in cleaned
        assert longest_left(cleaned) < 4
        assert len(cleaned) < 60


def test_a_key_over_several_chunks_is_taken_out():
    chunks = "\n\n".join("data: " + json.dumps({"delta": LONG[at : at + 9]}) for at in range(0, len(LONG), 9))
    assert longest_left(redact(chunks, [LONG])) < 6


def test_ordinary_messages_and_answers_stay_as_they_are():
    texts = [
        "model `gpt-4.1-mini-2025-04-14` does not exist; project proj-123 of organisation org-abc",
        "Answer: 3\n\nBecause 50% of people, e.g. women\\men & others, say so (&amp; 100%).",
        "C:\\new\\table 日本語 ２０２４年 \u2028 ß İ",
        "",
    ]
    for text in texts:
        assert redact(text, [LONG]) == redact_answer(text, [LONG]) == text
    # A placeholder for a key may be part of an answer.
    for placeholder in ("none", "EMPTY", "lm-studio", "ollama", "not-needed", "local-server-without-key"):
        assert (
            redact_answer(f"I like {placeholder} and {placeholder.upper()}.", [placeholder])
            == f"I like {placeholder} and {placeholder.upper()}."
        )
        assert redact("the studio needs a local model", [placeholder]) == "the studio needs a local model"


@pytest.mark.parametrize("name", VARIABLES)
def test_a_server_that_echoes_the_key_puts_it_in_no_answer(name, monkeypatch):
    monkeypatch.setenv(VARIABLES[name], LONG)
    text = f"Answer: 1 {LONG} {LONG[::-1]} {in_lines(LONG, 5)}"
    documents = {
        "openai-compatible": {"choices": [{"message": {"content": text, "reasoning": text}, "finish_reason": LONG}], "model": LONG},
        "anthropic": {"content": [{"type": "text", "text": text}, {"type": "thinking", "thinking": text}], "stop_reason": LONG},
        "google": {"candidates": [{"content": {"parts": [{"text": text}, {"text": text, "thought": True}]}, "finishReason": LONG}]},
    }
    with VendorServer(lambda _seen: Said(documents[name])) as server:
        [answer] = hosted(server.url, f"{name}/m").answer(prompts(1))
    for said in (answer.text, answer.reasoning):
        assert said == "Answer: 1 [key] [key] [key]" or longest_left(said) < 4
        assert said.startswith("Answer: 1 [key]")
    assert answer.finish_reason == "[key]"


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("way", ["lines", "other case", "backwards"])
def test_a_server_that_quotes_the_key_in_an_error_puts_it_in_no_message(name, way, monkeypatch):
    monkeypatch.setenv(VARIABLES[name], LONG)
    with VendorServer(lambda _seen: Said({"error": {"message": f"bad \x1b[2J {WAYS[way]}", "type": "x"}}, 400)) as server:
        [answer] = hosted(server.url, f"{name}/m", attempts=1).answer(prompts(1))
    assert longest_left(answer.error) < 4
    assert "[key]" in answer.error
    assert "\x1b" not in answer.error


@given(before=st.binary(max_size=7), after=st.binary(max_size=7), key=st.text(alphabet="abcXYZ0189-_/+=", min_size=12, max_size=40))
def test_a_key_within_something_encoded_cannot_be_decoded_again(before, after, key):
    hidden = redact(base64.b64encode(before + key.encode() + after).decode(), [key])
    assert "[key]" in hidden
    left = "".join(hidden.split("[key]"))
    # No more than a byte at each end may show in what is left, and what it shares with its neighbours.
    assert len(left) <= (len(before) + len(after)) * 8 / 6 + 8


def sent_on(name, monkeypatch):
    """What a second server gets where the first sends calls on to it."""
    monkeypatch.setenv(VARIABLES[name], "goSECRET12345")
    with VendorServer(lambda _seen: Said({}, 500)) as other:
        told = Said({}, 307, {"location": f"{other.url}/v1/x?key=goSECRET12345"})
        with VendorServer(lambda _seen: told) as server, pytest.raises(RunFailedError) as raised:
            list(hosted(server.url, f"{name}/m", attempts=1).answer(prompts(3)))
        return other, str(raised.value)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_call_that_is_sent_on_elsewhere_is_not_followed_and_says_where(monkeypatch, name):
    other, message = sent_on(name, monkeypatch)
    assert other.seen == []
    assert f"HTTP 307: the server redirects calls to {other.url}; use the server's own address as the base URL" in message
    assert "SECRET" not in message


def test_batches_follow_a_redirect_without_the_key():
    with VendorServer(lambda _seen: Said({"data": [], "has_more": False, "batches": []})) as other:

        def reply(seen):
            return Said({}, 307, {"location": other.url + seen.path})

        with VendorServer(reply) as server:
            for service in (
                AnthropicBatchService(base_url=server.url, key="anSECRET1"),
                GoogleBatchService(base_url=server.url, key="goSECRET1", model="m"),
            ):
                service.find("tag", 1, None, ())
                service.close()
        assert len(server.seen) == len(other.seen) == 2
    assert all("SECRET1" in json.dumps(seen.headers) for seen in server.seen)
    assert all("SECRET1" not in json.dumps(seen.headers) for seen in other.seen)
