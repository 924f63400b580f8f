"""Faults of a real server on loopback: survived, told apart, or the end of the run, each with the calls it took."""

import logging
import socket
import time
import traceback

import pytest

from tests.hosted.prompts import hosted, prompt, prompts
from tests.hosted.server import Act, Server, answers, problem, said
from valuestrata.errors import RunFailedError
from valuestrata.respondents.hosted.prices import Prices

KEY = "sk-proj-Zq81xkLm20dkfjABc93"
TWICE_BAD = {
    "429 with Retry-After": Act(429, problem("slow down"), headers={"Retry-After": "0.05"}),
    "429 with milliseconds": Act(429, problem("slow down"), headers={"Retry-After-Ms": "50"}),
    "429 without a word": Act(429, problem("slow down")),
    "500": Act(500, problem("internal")),
    "500 without JSON": Act(500, raw=b"<html>Internal Server Error</html>"),
    "503": Act(503, problem("loading model")),
    "connection dropped before the head": Act(drop="before"),
    "connection dropped behind the head": Act(drop="after", document=said("Answer: 1")),
    "connection dropped in mid-answer": Act(drop="middle", document=said("Answer: 1")),
    "garbage": Act(raw=b'{"choices": [{"mess'),
    "bytes that are no text": Act(raw=b"\xff\xfe\x00"),
    "JSON that is no completion": Act(document={"hello": "world"}),
    "no choice": Act(document={"choices": []}),
    "a choice without text": Act(document={"choices": [{"message": {"content": None}, "finish_reason": None}]}),
    "an error within a reply": Act(document=problem("upstream broke")),
}


@pytest.mark.parametrize("name", TWICE_BAD)
def test_what_goes_wrong_twice_is_tried_a_third_time(name):
    with Server(lambda request: TWICE_BAD[name] if request.attempt <= 2 else answers(request)) as server:
        came = list(hosted(server.url).answer(prompts(6)))
    assert sorted(answer.prompt.pair_id for answer in came) == [f"Q{number}_sex_Female" for number in range(6)]
    assert all(answer.error is None and answer.text.startswith("Answer: ") for answer in came)
    assert {answer.attempts for answer in came} == {3}
    assert len(server.log) == 18


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Act(500, problem("internal")), "server error"),
        (Act(drop="middle", document=said("1")), "connection"),
        (Act(raw=b"nonsense"), "garbled reply"),
        (Act(document={"choices": []}), "empty reply"),
    ],
)
def test_what_goes_wrong_each_time_ends_failed_and_says_how(act, kind):
    bad = "Question 1."
    with Server(lambda request: act if bad in request.body["messages"][0]["content"] else answers(request)) as server:
        came = {answer.prompt.item: answer for answer in hosted(server.url, attempts=3).answer(prompts(3))}
    assert came["Q1"].error.startswith(f"{kind}: ")
    assert (came["Q1"].attempts, came["Q1"].text, came["Q1"].cost) == (3, None, None)
    assert came["Q0"].error is came["Q2"].error is None
    assert len(server.log) == 5


def test_a_hang_is_cut_off_and_tried_again():
    with Server(lambda request: Act(delay=60.0) if request.attempt == 1 else answers(request)) as server:
        came = list(hosted(server.url, timeout=0.3, attempts=50).answer(prompts(2)))
    assert [answer.error for answer in came] == [None, None]
    assert all(answer.attempts >= 2 for answer in came)


def test_a_server_that_sends_a_byte_now_and_then_is_cut_off_as_well():
    """Between two bytes it is never silent for long, so that only a limit on the whole attempt ends it."""
    with Server(lambda request: Act(document=said("Answer: 1"), drip=0.1)) as server:
        came = list(hosted(server.url, timeout=0.3, attempts=1).answer([prompt()]))
    assert came[0].error == "timeout: no answer within 0.3 s"


def test_a_request_that_is_refused_is_not_sent_again_and_the_others_go_on():
    with Server(
        lambda request: Act(400, problem("too long", "context_length_exceeded")) if request.number == 1 else answers(request)
    ) as server:
        came = list(hosted(server.url).answer(prompts(5)))
    assert sorted(answer.error or "" for answer in came) == ["", "", "", "", "refused request: HTTP 400: too long"]
    assert len(server.log) == 5


@pytest.mark.parametrize(
    ("act", "kind", "to_do"),
    [
        (
            Act(404, problem("The model `planted` does not exist", "model_not_found")),
            "wrong model",
            "Check the model's name and `base_url=`.",
        ),
        (Act(401, problem(f"Incorrect API key provided: {KEY}", "invalid_api_key")), "key refused", "Check the key in OPENAI_API_KEY."),
        (Act(429, problem("You exceeded your current quota", "insufficient_quota")), "no credit", "Add credit with the provider."),
        (Act(400, problem("Unsupported parameter: 'temperature'", "unsupported_parameter")), "wrong setting", "Change or leave out"),
    ],
)
def test_what_would_fail_every_call_stops_the_run_at_the_first(monkeypatch, caplog, act, kind, to_do):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Server(lambda request: act) as server:
        asking = hosted(server.url, "openai/planted").answer(prompts(500))
        came = [next(asking)]
        with pytest.raises(RunFailedError) as raised:
            next(asking)
    assert len(server.log) == 1
    assert came[0].error.startswith(f"{kind}: ")
    message = str(raised.value)
    for part in ("openai/planted", server.url, kind, to_do, "all earlier answers are kept"):
        assert part in message
    told = "".join(traceback.format_exception(raised.value)) + str(came[0]) + caplog.text
    assert KEY not in told
    assert "sk-proj" not in told


def test_a_key_that_expires_in_mid_run_keeps_what_came_and_stops_within_what_is_under_way(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def behave(request):
        act = answers(request) if request.number < 40 else Act(401, problem(f"key {request.headers['authorization']} expired"))
        act.delay = 0.01
        return act

    came = []
    with Server(behave) as server, pytest.raises(RunFailedError, match="key refused: HTTP 401: key Bearer \\[key\\] expired"):
        came.extend(hosted(server.url, "openai/planted", concurrency=16).answer(prompts(500)))
    assert sum(answer.error is None for answer in came) == 40
    assert all(answer.error is None or answer.error.startswith("key refused") for answer in came)
    assert len(server.log) <= 40 + 16


def test_nobody_at_the_address_is_said_after_one_prompt():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        asking = hosted(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", attempts=3).answer(prompts(300))
        assert next(asking).error.startswith("connection: ")
        with pytest.raises(RunFailedError, match=r"nothing answers there .* Check that the server is running, and `base_url="):
            list(asking)


def test_a_setting_that_every_prompt_is_refused_for_stops_the_run_soon():
    with (
        Server(lambda request: Act(400, problem("logprobs are not enabled here"))) as server,
        pytest.raises(RunFailedError, match="the prompt is not the cause"),
    ):
        list(hosted(server.url).answer(prompts(500)))
    assert len(server.log) <= 20


def test_a_wait_longer_than_patience_is_not_begun():
    act = Act(429, problem("daily limit"), headers={"Retry-After": "86400"})
    with Server(lambda request: answers(request) if request.number < 5 else act) as server:
        asking = hosted(server.url).answer(prompts(50))
        came = [next(asking) for _ in range(5)]
        with pytest.raises(RunFailedError, match=r"daily limit.*try again later"):
            list(asking)
    assert all(answer.error is None for answer in came)


def test_clocks_that_jump_change_nothing(monkeypatch):
    real = time.time
    jumps = iter([0, 86_400, -86_400, 3600, -1e9] * 100_000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    date = {"Retry-After": "Wed, 01 Jan 2020 00:00:01 GMT", "Date": "Wed, 01 Jan 2020 00:00:01 GMT"}
    with Server(lambda request: Act(429, problem("slow"), headers=date) if request.attempt == 1 else answers(request)) as server:
        came = list(hosted(server.url).answer(prompts(20)))
    assert [answer.error for answer in came] == [None] * 20
    assert all(0 <= answer.latency < 1000 for answer in came)


def test_what_a_broken_off_call_may_have_cost_is_not_spent_again():
    """The server breaks off behind the model's work: a limit counts that call as the most it can cost."""
    prices = Prices(1.0, 1000.0)
    with Server(lambda request: Act(drop="middle", document=said("Answer: 1"))) as server:
        respondent = hosted(server.url, prices=prices, attempts=50)
        respondent.spend_at_most(0.2)
        came = list(respondent.answer(prompts(5)))
    most = 32 * 1000 / 1e6
    assert len(server.log) == int(0.2 / (most + 0.0006))
    # What they may have cost is told, so that the next process knows of it as well.
    assert all(answer.error.startswith("connection: ") for answer in came)
    assert sum(answer.cost for answer in came) == pytest.approx(respondent.budget.spent)
    assert sum(answer.attempts for answer in came) == len(server.log)
    assert respondent.stopped == "the next call could have cost more than the limit allows"
