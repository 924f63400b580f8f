"""The concurrency finds what a provider bears, in simulated time."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata.respondents.hosted.limits import concurrency as module
from valuestrata.respondents.hosted.limits.concurrency import START, ConcurrencyLimit


def simulate(concurrency, calls, refuse, *, latency=1.0, waits=None, seed=0):
    """Make calls one after another as the concurrency allows; return (seconds, refusals, most under way).

    `refuse(in_flight, now)` says whether the server refuses a call that arrives now.
    """
    jitter = random.Random(seed)
    now, left, refusals, most = 0.0, calls, 0, 0
    ends: list[tuple[float, int, float, bool]] = []
    number = 0
    while left or ends:
        while left and concurrency.may_start(now):
            concurrency.start()
            number += 1
            refused = refuse(concurrency.in_flight, now)
            took = latency * (0.05 if refused else jitter.uniform(0.8, 1.2))
            heapq.heappush(ends, (now + took, number, now, refused))
            left -= 1
            most = max(most, concurrency.in_flight)
        if not ends:
            now = concurrency.paused_until
            continue
        now, _, started, refused = heapq.heappop(ends)
        if refused:
            concurrency.refused(started, now, waits)
            refusals += 1
            left += 1
        else:
            concurrency.answered()
    return now, refusals, most


def test_the_first_call_goes_alone_and_the_first_answer_opens_the_gate():
    concurrency = ConcurrencyLimit(64)
    assert concurrency.may_start(0.0)
    concurrency.start()
    assert not concurrency.may_start(0.0)
    concurrency.answered()
    assert int(concurrency.limit) == START


def test_without_refusals_it_doubles_every_round_trip_up_to_the_most():
    concurrency = ConcurrencyLimit(64)
    seconds, refusals, most = simulate(concurrency, 2000, lambda in_flight, now: False)
    assert (refusals, most) == (0, 64)
    # 1 + 8 + 16 + 32 calls in four round trips, then 64 a second: 2000 / 64 and some.
    assert seconds < 4 * 1.2 + 2000 / 64 * 1.2


@pytest.mark.parametrize("bears", [1, 3, 10, 40])
def test_it_finds_how_many_calls_at_once_a_server_bears(bears):
    concurrency = ConcurrencyLimit(256, random=random.Random(1))
    calls = 100 * bears
    seconds, refusals, most = simulate(concurrency, calls, lambda in_flight, now: in_flight > bears)
    ideal = calls / bears
    assert seconds < 1.5 * ideal
    assert refusals < 1.5 * seconds  # about one a round trip, where the server bears one call, and fewer where it bears more
    assert most <= max(START, 2 * bears + 1)


def test_it_keeps_to_a_rate_that_a_server_allows():
    spent: dict[int, int] = {}

    def refuse(in_flight, now):
        second = int(now)
        spent[second] = spent.get(second, 0) + 1
        return spent[second] > 20

    seconds, refusals, _ = simulate(ConcurrencyLimit(256), 1000, refuse, latency=0.2, waits=0.5)
    assert seconds < 2.5 * 1000 / 20
    assert refusals < 500


def test_calls_refused_together_count_once_and_all_wait_as_long_as_the_server_asks():
    concurrency = ConcurrencyLimit(64)
    concurrency.start()
    concurrency.answered()
    concurrency.limit = 32.0
    for _ in range(32):
        concurrency.start()
    for _ in range(32):
        concurrency.refused(started=10.0, now=11.0, retry_after=7.0)
    assert concurrency.limit == 16.0
    assert concurrency.in_flight == 0
    assert not concurrency.may_start(17.9)
    assert concurrency.may_start(18.0)


def test_a_call_from_after_the_cut_that_is_refused_cuts_again():
    concurrency = ConcurrencyLimit(64)
    concurrency.limit = 32.0
    for _ in range(3):
        concurrency.start()
    concurrency.refused(10.0, 11.0, 0.0)
    concurrency.refused(10.5, 11.5, 0.0)
    assert concurrency.limit == 16.0
    concurrency.refused(11.2, 12.0, 0.0)
    assert concurrency.limit == 8.0


def test_waits_without_a_word_of_the_server_are_random_and_their_bound_doubles(monkeypatch):
    monkeypatch.setattr(module, "_SHORTEST", 0.5)  # these tests' own is shorter
    waits = [[ConcurrencyLimit(4, random=random.Random(seed)).backoff(failures) for seed in range(300)] for failures in range(9)]
    for failures, drawn in enumerate(waits):
        bound = min(60.0, 0.5 * 2**failures)
        assert 0 <= min(drawn) < 0.1 * bound
        assert 0.9 * bound < max(drawn) <= bound
        assert sum(drawn) / len(drawn) == pytest.approx(bound / 2, rel=0.15)


def test_answers_that_do_not_fill_the_limit_do_not_raise_it():
    concurrency = ConcurrencyLimit(64)
    for _ in range(50):
        concurrency.start()
        concurrency.answered()
    assert concurrency.limit == START


@settings(max_examples=200, deadline=None)
@given(
    most=st.integers(1, 50),
    steps=st.lists(st.tuples(st.sampled_from(["start", "answered", "failed", "refused"]), st.floats(0, 5)), max_size=200),
)
def test_it_never_lets_more_go_than_allowed_and_always_lets_one_go(most, steps):
    concurrency = ConcurrencyLimit(most, random=random.Random(0))
    now, started = 0.0, []
    for step, passes in steps:
        now += passes
        if step == "start" and concurrency.may_start(now):
            concurrency.start()
            started.append(now)
        elif step != "start" and started:
            began = started.pop(0)
            if step == "refused":
                concurrency.refused(began, now, None)
            else:
                getattr(concurrency, step)()
        assert concurrency.in_flight == len(started) <= most
        assert 1.0 <= concurrency.limit <= most
        assert concurrency.paused_until <= now + 60.0
    for _ in started:
        concurrency.failed()
    assert concurrency.may_start(now + 60.0)
