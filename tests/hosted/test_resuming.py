"""What one call of the program tells the next: what was paid, what was answered, what cannot be answered."""

import math
from dataclasses import replace

import pytest

from tests.hosted.prompts import hosted, prompt, prompts
from tests.hosted.server import Act, Server, answers, problem, said
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.prompts.prompt import Message
from valuestrata.respondents.base import Answer
from valuestrata.respondents.hosted.prices import Prices

PRICES = Prices(1.0, 1000.0)
FILTERED = Act(400, problem("filtered", "content_filter"))


def question(request):
    return int(request.body["messages"][0]["content"].split(".")[0].removeprefix("Question "))


def told(*tokens):
    return {"content": [{"token": token, "logprob": -0.1, "top_logprobs": [{"token": token, "logprob": -0.1}]} for token in tokens]}


def collected(respondent, asked):
    """The answers that came before the run stopped, and why it did."""
    came: list[Answer] = []
    try:
        for answer in respondent.answer(asked):
            came.append(answer)
    except RunFailedError as error:
        return came, str(error)
    return came, None


def test_an_answer_costs_what_all_its_attempts_may_have_cost():
    """The first attempt breaks off behind the model's work and counts as the most; the second says what it took."""
    with Server(lambda request: Act(drop="middle", document=said("Answer: 1")) if request.attempt == 1 else answers(request)) as server:
        respondent = hosted(server.url, prices=PRICES)
        came = list(respondent.answer(prompts(3)))
    assert [answer.attempts for answer in came] == [2, 2, 2]
    known = (100 * 1.0 + 4 * 1000.0) / 1e6
    for answer in came:
        assert known + 0.032 < answer.cost < known + 0.033
    assert sum(answer.cost for answer in came) == pytest.approx(respondent.budget.spent)


def test_a_prompt_that_fails_keeps_what_it_may_have_cost():
    with Server(lambda request: Act(raw=b"nonsense")) as server:
        respondent = hosted(server.url, prices=PRICES, attempts=3)
        came = list(respondent.answer([prompt()]))
    assert came[0].error.startswith("garbled reply: ")
    assert came[0].cost == pytest.approx(respondent.budget.spent)
    assert 3 * 0.032 < came[0].cost < 3 * 0.033


def test_what_was_not_charged_costs_nothing():
    with Server(lambda request: Act(500, problem("internal"))) as server:
        came = list(hosted(server.url, prices=PRICES, attempts=2).answer([prompt()]))
    assert (came[0].attempts, came[0].cost) == (2, 0.0)


def test_a_prompt_of_several_calls_that_is_broken_off_keeps_what_they_cost():
    """The first call costs 0.1 dollars of 0.15, and the second cannot be made."""
    answer = Act(document=said(" 2", tokens=(100_000, 1), logprobs=told(" ")))
    with Server(lambda request: answer) as server:
        respondent = hosted(server.url, "vllm-server/planted", prices=Prices(1.0, 1.0))
        respondent.spend_at_most(0.1001)
        came = list(respondent.answer([prompt(0, "logprob")]))
    assert len(server.log) == 1
    assert came[0].error.startswith("broken off: ")
    assert came[0].cost == pytest.approx(respondent.budget.spent) == pytest.approx(0.100001)
    assert respondent.stopped is not None


def test_a_run_that_has_answers_is_not_stopped_by_prompts_that_are_refused():
    def behave(request):
        return FILTERED if question(request) < 30 else answers(request)

    with Server(behave) as server:
        fresh, why = collected(hosted(server.url), prompts(40))
        assert "prompt is not the cause" in why
        assert len(fresh) < 30
        respondent = hosted(server.url)
        respondent.answered_before(1)
        came, why = collected(respondent, prompts(40))
    assert why is None
    assert sum(answer.error is None for answer in came) == 10
    assert sum(answer.error == "refused request: HTTP 400: filtered" for answer in came) == 30


def test_what_an_earlier_chunk_answered_counts_and_a_new_run_begins_anew():
    with Server(lambda request: FILTERED if question(request) < 30 else answers(request)) as server:
        respondent = hosted(server.url)
        assert collected(respondent, prompts(40)[30:])[1] is None
        came, why = collected(respondent, prompts(30))
        assert (len(came), why) == (30, None)
        respondent.answered_before(0)
        assert "prompt is not the cause" in collected(respondent, prompts(30))[1]


def test_a_run_after_one_that_was_interrupted_is_asked():
    with Server() as server:
        respondent = hosted(server.url, concurrency=4)
        asking = respondent.answer(prompts(50))
        next(asking)
        respondent.stop("interrupted")
        assert len(list(asking)) < 49
        respondent.answered_before(1)
        assert respondent.stopped is None
        assert len(list(respondent.answer(prompts(50)))) == 50


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="the cost limit is nan"):
        hosted("http://127.0.0.1:9/v1", prices=PRICES).spend_at_most(math.nan)


def test_refusals_of_earlier_chunks_count_as_well():
    with Server(lambda request: FILTERED) as server:
        respondent = hosted(server.url)
        assert collected(respondent, prompts(6))[1] is None
        assert "prompt is not the cause" in collected(respondent, prompts(12)[6:])[1]
    assert len(server.log) == 10


def test_a_limit_is_taken_away_again():
    with Server() as server:
        respondent = hosted(server.url, prices=PRICES)
        respondent.spend_at_most(0.05)
        assert len(list(respondent.answer(prompts(50)))) < 50
        assert "limit" in respondent.stopped
        respondent.spend_at_most(math.inf)
        assert respondent.stopped is None
        assert len(list(respondent.answer(prompts(50)))) == 50
    hosted("http://127.0.0.1:9/v1").spend_at_most(math.inf)  # no price is needed for no limit


def test_one_reply_without_log_probabilities_fails_its_prompt_alone():
    def behave(request):
        return Act(document=said("1") if question(request) == 3 else said("1", logprobs=told("1")))

    with Server(behave) as server:
        came, why = collected(hosted(server.url, prices=PRICES), prompts(20, "first-token"))
    assert why is None
    failed = {answer.prompt.item: answer for answer in came if answer.error is not None}
    assert list(failed) == ["Q3"]
    assert failed["Q3"].error == "empty reply: no log-probabilities came, though openai-compatible was asked for them"
    assert failed["Q3"].cost == pytest.approx((100 + 4 * 1000) / 1e6)
    assert len(server.log) == 20


def test_how_long_a_server_asks_to_wait_is_said():
    with Server(lambda request: Act(429, problem("slow"), headers={"Retry-After": "1000"})) as server:
        _, why = collected(hosted(server.url), prompts(3))
    assert "It asks to wait for 1,000 s, longer than the 300 s that a run waits; try again later." in why
    assert "for a while" not in why


def test_the_cost_said_beforehand_is_a_bound_in_any_script():
    """A server that counts a token for every byte of the messages, and writes as much as it may."""

    def behave(request):
        size = sum(len(message["content"].encode()) for message in request.body["messages"])
        return Act(document=said("Answer: 1", tokens=(size + 40, 32)))

    asked = [prompt(number, "text") for number in range(5)]
    chinese = [replace(one, messages=(Message("user", "你是一位女性。" * 40),)) for one in asked]
    for wanted in (asked, chinese):
        with Server(behave) as server:
            respondent = hosted(server.url, prices=Prices(3.0, 10.0))
            estimate = respondent.estimate(wanted)
            cost = sum(answer.cost for answer in respondent.answer(wanted))
        assert 0.7 * estimate.cost < cost <= estimate.cost
    # A token a character, where characters are words.
    assert respondent.estimate(chinese).prompt_tokens == 5 * (7 * 40 + 4)


def test_the_cost_of_several_calls_a_prompt_is_bounded_by_all_that_may_be_made():
    """Whatever may follow is likely, so that every text that leads to an option is asked for."""

    def behave(request):
        tokens = [{"token": token, "logprob": -2.0} for token in (" ", "1", "2", "3", "4", "</s>")]
        size = sum(len(message["content"].encode()) for message in request.body["messages"])
        entry = {"token": " ", "logprob": -2.0, "top_logprobs": tokens}
        # More is read behind a blank, so that it counts as read.
        return Act(document=said(" ", tokens=(size, 1), logprobs={"content": [entry]}))

    wanted = [prompt(0, "logprob")]
    with Server(behave) as server:
        respondent = hosted(server.url, "vllm-server/planted", prices=Prices(3.0, 10.0))
        estimate = respondent.estimate(wanted)
        came = list(respondent.answer(wanted))
    assert len(server.log) == 10
    assert 0 < came[0].cost <= estimate.cost
