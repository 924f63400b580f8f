"""Waits, timeouts and patience on simulated time: no test here depends on the clock."""

import pytest

from tests.hosted.simulated import SimulatedCodec, make_calls
from valuestrata.respondents.hosted.errors import failure


def throttled(seconds=None):
    return failure("rate limit", "slow", retry_after=seconds)


def test_retry_after_is_honoured_by_all_calls():
    """The server tells one call to wait for 30 seconds: no call starts before that."""
    codec = SimulatedCodec(lambda number, body: throttled(30.0) if number == 20 else None)
    results, _ = make_calls(codec, 60)
    assert all(result.failure is None for result in results)
    told = codec.started[20] + 0.1
    later = [start for start in codec.started if start > told]
    assert len(later) >= 10
    assert min(later) == pytest.approx(told + 30.0)


def test_a_call_that_hangs_is_cut_off_and_tried_again():
    codec = SimulatedCodec(lambda number, body: 1e6 if number == 0 else None)
    results, _ = make_calls(codec, 3, timeout=20.0)
    assert [(result.failure, result.attempts) for result in results] == [(None, 2), (None, 1), (None, 1)]
    assert results[0].seconds == pytest.approx(20.0 + 1.0 + 0.1)


def test_a_provider_that_refuses_every_call_for_long_stops_the_run():
    codec = SimulatedCodec(lambda number, body: throttled())
    results, caller = make_calls(codec, 50, patience=300.0, attempts=3)
    assert str(caller.fatal) == "rate limit: slow"
    assert 3 <= len(codec.started) < 100
    assert codec.started[-1] == pytest.approx(300.0, abs=120.0)
    assert all(result is None or result.failure is not None for result in results)


def test_a_wait_longer_than_patience_is_not_begun():
    codec = SimulatedCodec(lambda number, body: None if number < 5 else throttled(86_400.0))
    results, caller = make_calls(codec, 50, patience=300.0)
    assert sum(result is not None and result.failure is None for result in results) == 5
    assert caller.fatal.retry_after == 86_400.0
    assert codec.started[-1] < 2.0


@pytest.mark.parametrize("hanging", [1, 3])
def test_prompts_that_always_time_out_and_come_last_end_failed(hanging):
    """All others are answered, so only these are tried for longer than `patience`."""
    codec = SimulatedCodec(lambda number, body: 1e6 if body["question"] >= 10 - hanging else None)
    results, caller = make_calls(codec, 10, timeout=20.0, patience=30.0, attempts=3)
    assert caller.fatal is None or caller.fatal.kind == "timeout"
    assert [result.failure is None for result in results] == [True] * (10 - hanging) + [False] * hanging
    assert {result.failure.kind for result in results[10 - hanging :]} == {"timeout"}
