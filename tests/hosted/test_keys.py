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
from valuestrata.respondents.hosted.redact import redact
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
