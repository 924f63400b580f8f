"""What servers say, in a few plain kinds; how long they ask to wait; and keys nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestrata.respondents.hosted.errors import failure, failure_from_status, retry_after
from valuestrata.respondents.hosted.redact import one_line, redact

KEY = "sk-proj-Zq81xkLm20dkfjA_Bc93"


@pytest.mark.parametrize(
    ("status", "code", "kind", "retried", "fatal"),
    [
        (400, None, "refused request", False, False),
        (400, "model_not_found", "wrong model", False, True),
        (400, "unsupported_parameter", "wrong setting", False, True),
        (401, None, "key refused", False, True),
        (402, None, "no credit", False, True),
        (403, None, "key refused", False, True),
        (404, None, "wrong model", False, True),
        (408, None, "timeout", True, False),
        (413, None, "refused request", False, False),
        (422, None, "refused request", False, False),
        (429, None, "rate limit", True, False),
        (429, "insufficient_quota", "no credit", False, True),
        (500, None, "server error", True, False),
        (502, None, "server error", True, False),
        (503, None, "overloaded", True, False),
        (529, None, "overloaded", True, False),
    ],
)
def test_a_status_and_a_code_say_what_to_do(status, code, kind, retried, fatal):
    found = failure_from_status(status, "words", code=code)
    assert (found.kind, found.retry, found.fatal) == (kind, retried, fatal)
    assert str(found) == f"{kind}: HTTP {status}: words"


@pytest.mark.parametrize("said", ["Model Not Exist", "Invalid model: planted", "planted is not a valid model ID", "model 'x' not found"])
def test_a_400_that_complains_of_the_model_is_a_wrong_model(said):
    assert failure_from_status(400, said).kind == "wrong model"


@pytest.mark.parametrize(
    "said", ["Incorrect API key provided: xa***gh", "API key not valid. Please pass a valid API key.", "invalid api_key"]
)
def test_a_400_that_complains_of_the_key_is_a_key_refused(said):
    assert failure_from_status(400, said).kind == "key refused"


def test_a_403_of_a_filter_concerns_its_prompt_alone():
    assert failure_from_status(403, "Your input was flagged by moderation").kind == "refused request"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        # A date counts from the server's own clock, not from ours; without that clock it says nothing.
        ({"retry-after": "Wed, 01 Jan 2020 00:00:30 GMT", "date": "Wed, 01 Jan 2020 00:00:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2020 00:00:00 GMT", "date": "Wed, 01 Jan 2020 00:00:09 GMT"}, 0.0),
        ({"retry-after": "Wed, 01 Jan 2020 00:00:30 GMT"}, None),
        ({"retry-after": "Wed, 01 Jan 2020 00:00:30", "date": "Wed, 01 Jan 2020 00:00:00 GMT"}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers, seconds):
    assert retry_after(headers) == seconds


def test_only_what_is_tried_again_waits():
    assert failure_from_status(429, "x", headers={"retry-after": "7"}).retry_after == 7.0
    assert failure_from_status(404, "x", headers={"retry-after": "7"}).retry_after is None


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}. You can find your key at",
        "Incorrect API key provided: sk-abc***********xyz9.",
        f"Authorization: Bearer {KEY}",
        f"GET https://host/v1/models?key={KEY}&alt=json",
        f'{{"api_key": "{KEY}"}}',
        f"x-api-key: {KEY}",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv is not valid",
        "gsk_abcdefghijklmnopqrstuvwxyz012345",
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
    ],
)
def test_what_looks_like_a_key_is_taken_out(text):
    out = redact(text)
    assert "[key]" in out
    for hidden in (KEY, "xyz9", "AIzaSy", "gsk_abc", "dXNlcjp"):
        assert hidden not in out


@given(st.text(max_size=60), st.text(max_size=60), st.text(alphabet="abcdefXYZ0123-_/+", min_size=8, max_size=60))
def test_a_known_key_is_taken_out_wherever_it_stands(before, after, key):
    assert key not in redact(before + key + after, [key]).replace("[key]", "\n")


def test_words_of_a_server_become_one_short_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("word " * 1000)) <= 300
    assert failure("server error", "  \n").message == "server error"


@pytest.mark.parametrize(
    "text",
    [
        "The model gpt-4.1-mini does not exist",
        "max_tokens: 5 is too small",
        "rate limit of 500 tokens a minute",
        "Basic authentication is not supported",
        "Bearer authentication is required",
        "Unexpected token: 5000",
        "keyboard-interactive-authentication",
        "your api_key: it is missing",
    ],
)
def test_ordinary_words_stay(text):
    assert redact(text) == text
