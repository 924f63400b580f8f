"""Many calls at once: how many, in what memory, for how much money, and how they end."""

import gc
import threading
import time
import warnings

import pytest

from tests.hosted.prompts import hosted, prompt, prompts
from tests.hosted.server import Act, Server, answers, problem, said
from valuestrata.errors import UsageError
from valuestrata.respondents.base import Respondent, SupportsBudget, SupportsEstimate, SupportsStop
from valuestrata.respondents.hosted.async_runner import AsyncRunner
from valuestrata.respondents.hosted.prices import Prices


def slowly(request, seconds=0.02):
    act = answers(request)
    act.delay = seconds
    return act


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "valuestrata-calls"]


def test_it_obeys_the_protocols():
    respondent = hosted("http://127.0.0.1:9/v1")
    for protocol in (Respondent, SupportsEstimate, SupportsStop, SupportsBudget):
        assert isinstance(respondent, protocol)


def test_every_prompt_is_answered_once_and_calls_go_out_side_by_side():
    with Server(lambda request: slowly(request, 0.15)) as server:
        respondent = hosted(server.url, concurrency=32)
        came = list(respondent.answer(prompts(320)))
    assert sorted(answer.prompt.item for answer in came) == sorted(f"Q{number}" for number in range(320))
    assert len(server.log) == 320
    assert 16 < server.most_in_flight <= 32
    assert not ours()


@pytest.mark.slow  # the same search runs on simulated time in test_concurrency
def test_it_finds_a_limit_that_nobody_told_it():
    def behave(request):
        if server.in_flight > 12:
            return Act(429, problem("too many at once"))
        return slowly(request)

    with Server(behave) as server:
        respondent = hosted(server.url, concurrency=200)
        came = list(respondent.answer(prompts(800)))
        late = [request.attempt for request in server.log[-200:]]
    assert all(answer.error is None for answer in came)
    assert len(came) == 800
    # It probes the limit now and then and does not lean on it.
    assert sum(attempt > 1 for attempt in late) < 100
    assert 4 <= respondent.concurrency.limit <= 26


def test_what_the_first_chunk_found_is_known_to_the_next():
    with Server(lambda request: slowly(request, 0.1)) as server:
        respondent = hosted(server.url, concurrency=64)
        list(respondent.answer(prompts(150)))
        limit = respondent.concurrency.limit
        server.most_in_flight = 0
        list(respondent.answer(prompts(60)))
    assert limit > 12
    # No call went alone before the others, and no more than eight at first.
    assert server.most_in_flight > 12
    assert respondent.concurrency.in_flight == 0


def test_who_takes_answers_slowly_is_not_run_ahead_of():
    with Server() as server:
        asking = hosted(server.url, concurrency=8).answer(prompts(500))
        next(asking)
        time.sleep(0.5)
        ahead = len(server.log)
        asking.close()
    assert ahead <= 1 + 2 * 8


def test_the_runner_holds_no_more_than_twice_what_may_be_under_way():
    begun = []

    async def work(item):
        begun.append(item)
        return item

    async def closing():
        closed.append(True)

    closed = []
    runner = AsyncRunner(10, lambda: work, closing)
    asking = runner.run(range(10_000))
    taken = [next(asking) for _ in range(50)]
    time.sleep(0.2)
    assert taken == list(range(50))
    assert len(begun) <= 50 + 20
    asking.close()
    assert closed == [True]


@pytest.mark.parametrize("taken", [0, 1, 30])
def test_who_stops_taking_leaves_no_thread_and_no_warning(taken):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Server(slowly) as server:
            asking = hosted(server.url).answer(prompts(500))
            for _ in range(taken):
                next(asking)
            asking.close()
            assert not ours()
            gc.collect()
        assert len(server.log) < 300


def test_an_exception_of_who_takes_ends_the_calls():
    def take():
        for answer in hosted(server.url).answer(prompts(500)):
            raise ZeroDivisionError(answer.prompt.item)

    with Server(slowly) as server, pytest.raises(ZeroDivisionError):
        take()
    gc.collect()
    assert not ours()


def test_a_defect_in_the_work_is_raised_where_answers_are_taken(monkeypatch):
    respondent = hosted("http://127.0.0.1:9/v1")
    monkeypatch.setattr(respondent.codec, "body", lambda prompt, settings: {}["no such key"])
    with pytest.raises(KeyError, match="no such key"):
        list(respondent.answer(prompts(5)))
    assert not ours()


def test_stop_starts_no_more_calls_and_brings_back_those_under_way():
    with Server(lambda request: slowly(request, 0.2)) as server:
        respondent = hosted(server.url, concurrency=16)
        came = []
        for answer in respondent.answer(prompts(500)):
            came.append(answer)
            if len(came) == 20:
                respondent.stop("enough")
        assert respondent.stopped == "enough"
        assert list(respondent.answer(prompts(3))) == []
    assert len(came) == len(server.log) == len(server.delivered)
    assert 20 <= len(came) <= 20 + 2 * 16
    assert all(answer.error is None for answer in came)


def test_stop_does_not_wait_for_a_pause_that_a_server_asked_for():
    began = time.monotonic()
    with Server(lambda request: Act(429, problem("later"), headers={"Retry-After": "60"})) as server:
        respondent = hosted(server.url)
        threading.Timer(0.3, respondent.stop, ["interrupted"]).start()
        assert list(respondent.answer(prompts(50))) == []
    assert time.monotonic() - began < 5


def test_a_limit_on_the_cost_is_never_passed_and_nearly_used():
    """Every call costs what it wrote; what it might have written is set aside while it is under way."""
    prices = Prices(1.0, 100.0)
    with Server(slowly) as server:
        respondent = hosted(server.url, prices=prices, concurrency=16)
        respondent.spend_at_most(0.1)
        came = list(respondent.answer(prompts(1000)))
        cost = (100 * 1.0 + 4 * 100.0) / 1e6
        assert all(answer.cost == pytest.approx(cost) for answer in came)
        spent = len(server.log) * cost
        most = 32 * 100 / 1e6 + 400 / 1e6
        assert 0.1 - most <= spent <= 0.1
        assert respondent.budget.spent == pytest.approx(spent)
        assert "limit" in respondent.stopped
        # A new run has a limit of its own.
        respondent.spend_at_most(0.01)
        assert respondent.stopped is None
        again = list(respondent.answer(prompts(1000)))
        assert 0.01 - most <= len(again) * cost <= 0.01


def test_a_limit_too_small_for_one_call_makes_none():
    with Server() as server:
        respondent = hosted(server.url, prices=Prices(1.0, 100.0))
        respondent.spend_at_most(0.0001)
        assert list(respondent.answer(prompts(10))) == []
    assert server.log == []
    assert respondent.stopped is not None


def test_a_request_without_a_limit_of_its_own_counts_as_the_longest_there_is():
    with Server() as server:
        respondent = hosted(server.url, prices=Prices(1.0, 10.0), extra={"max_tokens": None})
        respondent.spend_at_most(1.0)
        assert list(respondent.answer(prompts(3))) == []
        respondent.spend_at_most(1.3)
        assert len(list(respondent.answer(prompts(3)))) == 3
    assert "max_tokens" not in server.log[0].body


def test_a_limit_on_an_unknown_price_is_refused():
    with pytest.raises(UsageError, match="prices="):
        hosted("http://127.0.0.1:9/v1").spend_at_most(1.0)


def test_an_answer_says_what_it_took():
    document = said("Answer: 3", tokens=(1000, 10), finish="stop")
    document["usage"]["prompt_tokens_details"] = {"cached_tokens": 600}
    with Server(lambda request: Act(document=document, delay=0.05)) as server:
        answer = next(iter(hosted(server.url, prices=Prices(2.0, 8.0, cached=0.5)).answer([prompt()])))
    assert (answer.text, answer.finish_reason, answer.attempts) == ("Answer: 3", "stop", 1)
    assert (answer.prompt_tokens, answer.completion_tokens) == (1000, 10)
    assert answer.cost == pytest.approx((400 * 2.0 + 600 * 0.5 + 10 * 8.0) / 1e6)
    assert 0.05 <= answer.latency < 1.0


def test_what_asking_takes_is_said_before_anything_is_called():
    respondent = hosted("http://127.0.0.1:9/v1", prices=Prices(1.0, 10.0))
    asked = prompts(10)
    estimate = respondent.estimate(asked)
    letters = [len(one.messages[0].content) for one in asked]
    assert estimate.calls == 10
    assert estimate.prompt_tokens == sum(-(-count // 4) + 4 for count in letters)
    assert estimate.completion_tokens == 320
    assert (sum(letters) + 320 * 10.0) / 1e6 <= estimate.cost < (sum(letters) + 10 * 200 + 320 * 10.0) / 1e6
    assert estimate.basis.startswith("about: 4 characters a token")
    assert estimate.computed_tokens is None
    assert hosted("http://127.0.0.1:9/v1").estimate(asked).cost is None
