"""A cost limit counts calls in flight, so killing a process and continuing does not exceed it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import pytest

from tests.conftest import build_handmade
from tests.hosted.prompts import hosted
from tests.hosted.server import Act, Server, problem, said
from tests.hosted.test_asking import Askers
from valuestrata.responses.ask.loop import ask
from valuestrata.responses.run.unsettled import FILE, UnsettledCalls

# Only written tokens cost, and every answer has as many as it may: a call costs the most it can, a cent.
PRICES = (0.0, 312.5)
WRITTEN = 32
CENT = 0.01


def test_amounts_are_on_disk_until_they_are_settled(tmp_path):
    with UnsettledCalls(tmp_path) as calls:
        assert calls.lost == 0
        calls.add("a", 0.5)
        calls.add("b", 0.25)
        calls.add("b", -0.2)
        calls.add("c", 0.0)
        # What a process sees that starts after this one was killed.
        assert UnsettledCalls(tmp_path).lost == pytest.approx(0.55)
        calls.settle("a")
        calls.settle("unknown")
        assert UnsettledCalls(tmp_path).lost == pytest.approx(0.05)
        calls.add("a", 0.1)
        assert UnsettledCalls(tmp_path).lost == pytest.approx(0.15)
    assert len((tmp_path / FILE).read_text().splitlines()) == 1
    with UnsettledCalls(tmp_path) as calls:
        assert calls.lost == pytest.approx(0.15)
        calls.add("d", 1.0)
        calls.settle("d")
    assert UnsettledCalls(tmp_path).lost == pytest.approx(0.15)


def test_asking_a_lost_prompt_again_settles_only_the_new_call(tmp_path):
    UnsettledCalls(tmp_path).add("a", 0.5)
    with UnsettledCalls(tmp_path) as calls:
        calls.add("a", 0.25)
        assert UnsettledCalls(tmp_path).lost == pytest.approx(0.75)
        calls.settle("a")
        assert UnsettledCalls(tmp_path).lost == pytest.approx(0.5)
    assert UnsettledCalls(tmp_path).lost == pytest.approx(0.5)


def test_nothing_is_left_when_everything_is_settled(tmp_path):
    with UnsettledCalls(tmp_path) as calls:
        for key in ("a", "b"):
            calls.add(key, 0.1)
            calls.add(key, 0.2)
        calls.settle("a")
        calls.add("b", -0.3)
    assert list(tmp_path.iterdir()) == []


def test_torn_and_damaged_lines_hide_no_others(tmp_path):
    lines = [b'{"key": "a", "dollars": 0.5}', b"\xff\xfe", b"[1]", b'{"key": ["b"], "dollars": 1}', b'{"key": "c", "dollars": NaN}']
    (tmp_path / FILE).write_bytes(b"\n".join([*lines, b'{"key": "d", "dol']))
    assert UnsettledCalls(tmp_path).lost == 0.5


def charged(server: Server, start: int = 0, end: int | None = None) -> float:
    """Return the US dollars of the calls from one to another."""
    return CENT * sum(act.status == 200 for act in server.acts[start:end])


class Charging(Server):
    """Charges every call that it does not refuse, also those whose asker does not get the answer."""

    def __init__(self, on_call=None, refuse_every: int = 0) -> None:
        self.acts: list[Act] = []

        def behave(request):
            if on_call is not None:
                on_call(request)
            refused = refuse_every and request.number % refuse_every == 0
            act = Act(429, problem("slow down")) if refused else Act(document=said("Answer: 1", tokens=(50, WRITTEN)), delay=0.01)
            self.acts.append(act)
            return act

        super().__init__(behave)


def asked(server, out, max_cost):
    from valuestrata.respondents.hosted.prices import Prices

    model = hosted(server.url, prices=Prices(*PRICES), concurrency=16)
    return ask(build_handmade(), model, out, elicitation="text", samples=12, max_cost=max_cost)


@pytest.mark.parametrize("refuse_every", [0, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_continued_from_any_moment_stays_within_its_limit(tmp_path, refuse_every):
    """The folder as it is at some calls, copied: what a process that is killed then leaves."""
    moments = (1, 20, 41)

    def snapshot(request):
        if request.number in moments:
            shutil.copytree(tmp_path / "run", tmp_path / f"at-{request.number}")

    with Charging(snapshot, refuse_every) as server:
        asked(server, tmp_path / "run", 0.5)
        assert charged(server) == pytest.approx(0.5)
        assert not (tmp_path / "run" / "store" / FILE).exists()
        for moment in moments:
            begun = len(server.acts)
            result = asked(server, tmp_path / f"at-{moment}", 0.5)
            total = charged(server, 0, moment + 1) + charged(server, begun)
            assert total <= 0.5 + 1e-9
            # Little is left unspent: 16 calls in flight, and as many answers that waited to be stored.
            assert total >= 0.5 - 33 * CENT
            assert "counts towards the cost limit" in result.remarks[-1]


def test_without_a_price_nothing_is_written(tmp_path):
    with Charging() as server:
        ask(build_handmade(), hosted(server.url), tmp_path / "run", elicitation="text")
    assert not (tmp_path / "run" / "store" / FILE).exists()


@pytest.mark.slow
def test_killed_processes_together_stay_within_the_limit(tmp_path):
    askers = Askers()
    order = {"out": str(tmp_path / "run"), "samples": 60, "prices": PRICES, "concurrency": 16, "max_cost": 3.0}
    try:
        with Charging() as server:
            for kill in range(4):
                seen = len(server.log)
                child = askers.start(url=server.url, **order)
                until = time.monotonic() + 60
                while len(server.log) < seen + 25 + 7 * kill and time.monotonic() < until:
                    time.sleep(0.002)
                os.kill(child, signal.SIGKILL)
                assert askers.status() == -signal.SIGKILL
            askers.start(url=server.url, **order)
            askers.status()
            total = charged(server)
    finally:
        askers.close()
    assert total <= 3.0 + 1e-9
    assert total > 1.5
    rows = [json.loads(line) for line in (tmp_path / "run" / "store" / FILE).read_text().splitlines()]
    assert [row["key"] for row in rows] == [None]
