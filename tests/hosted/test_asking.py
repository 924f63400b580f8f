"""Asking a misbehaving server from beginning to end, with processes that are killed on the way and disks that are full.

What counts is the server's own log of answers delivered.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from tests.conftest import build_handmade
from tests.hosted.server import identity_of
from valuestrata.respondents.hosted.respondent import make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.store import answered_keys

ROOT = Path(__file__).resolve().parents[2]
# Twice the calls in flight in `tests.hosted.killable`: as many answers may wait to be stored.
MOST_UNDER_WAY = 2 * 24
# A request that a killed process had sent may be read by the server a moment after.
READ_LATE = 3.0


class Served:
    """The server as a process of its own."""

    def __init__(self, folder: Path, seed: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._process = subprocess.Popen([sys.executable, "-m", "tests.hosted.server", str(folder), seed], cwd=ROOT)
        until = time.monotonic() + 20
        while not (folder / "port").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text()}/v1"

    def deliveries(self) -> dict[str, list[tuple[float, float]]]:
        """Identity -> when it was asked and when a whole answer to it was written, each time."""
        found = defaultdict(list)
        for line in (self._folder / "log").read_text().splitlines():
            identity, asked, answered = json.loads(line)
            found[identity].append((asked, answered))
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Askers:
    """Processes that ask, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hosted.killable"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def start(self, **order) -> int:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._line("pid"))

    def status(self) -> int:
        return int(self._line("status"))

    def _line(self, word: str) -> str:
        while True:
            line = self._process.stdout.readline().strip()
            assert line, "the process ended"
            if line.startswith(f"{word} "):
                return line.removeprefix(f"{word} ")
            self.said.append(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def served(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(seed):
            server = Served(tmp_path / f"server-{seed}", seed)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def askers():
    processes = Askers()
    yield processes
    processes.close()


def table(folder):
    return load_run(folder).responses.drop("latency", "attempts")


def stored(folder) -> set[str]:
    """The keys that a run's store has an answer to."""
    return set(answered_keys(folder / "store"))


def identities(url, samples) -> dict[str, str]:
    """Key -> the identity by which the server knows its request."""
    settings = HostedSettings(base_url=url, seed=0)
    respondent = make_hosted("openai-compatible/planted", settings)
    dataset = build_handmade()
    asking = plan_asking(dataset, elicitation="text", orders="scale,reversed", samples=samples)
    return {prompt.key: identity_of(respondent.codec.body(prompt, settings)) for prompt in asking.prompts(dataset, respondent)}


@pytest.mark.parametrize(("kills_wanted", "samples"), [(4, 12), pytest.param(30, 60, marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_table_of_an_undisturbed_one_and_asks_nothing_twice(tmp_path, served, askers, kills_wanted, samples):
    good, bad = served("good"), served("misbehaving")
    askers.start(out=str(tmp_path / "calm"), url=good.url, samples=samples)
    assert askers.status() == 0
    chance = random.Random(20)
    kills: list[tuple[float, float]] = []
    kept: list[set[str]] = []
    total = 9 * 2 * samples
    # By the number of stored answers, not by the clock: early and late, and never so late that the run could end first.
    for threshold in sorted(chance.uniform(0.0, 0.75) * total for _ in range(kills_wanted)):
        child = askers.start(out=str(tmp_path / "killed"), url=bad.url, samples=samples)
        while len(stored(tmp_path / "killed")) < threshold:
            time.sleep(0.01)
        killed_at = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        assert askers.status() == -signal.SIGKILL
        kills.append((killed_at, time.monotonic()))
        kept.append(stored(tmp_path / "killed"))
    askers.start(out=str(tmp_path / "killed"), url=bad.url, samples=samples)
    assert askers.status() == 0

    calm, killed = table(tmp_path / "calm"), table(tmp_path / "killed")
    assert calm.height == total
    assert set(calm["status"]) == {"answered"}
    assert_frame_equal(killed, calm)

    deliveries = bad.deliveries()
    assert len(deliveries) == calm.height
    identity_of_key = identities(bad.url, samples)
    assert set(identity_of_key.values()) == set(deliveries)
    # What was on disk when a process was killed is never asked again.
    for (_, ended), keys in zip(kills, kept, strict=True):
        for identity in map(identity_of_key.__getitem__, keys):
            assert all(asked < ended for asked, _ in deliveries[identity])
    twice = [times for times in deliveries.values() if len(times) > 1]
    for times in twice:
        for (asked, _), (again, _) in itertools.pairwise(times):
            assert any(killed < again and asked <= ended + READ_LATE for killed, ended in kills)
    # At each kill no more can be lost than may be under way.
    assert sum(len(times) - 1 for times in twice) <= MOST_UNDER_WAY * kills_wanted


def test_a_misbehaving_server_alone_is_asked_nothing_twice(tmp_path, served, askers):
    bad = served("other")
    askers.start(out=str(tmp_path / "run"), url=bad.url, samples=8)
    assert askers.status() == 0
    assert {len(times) for times in bad.deliveries().values()} == {1}
    rows = load_run(tmp_path / "run").responses
    assert set(rows["status"]) == {"answered"}
    assert rows["attempts"].max() > 1


def test_a_full_disk_ends_the_run_with_what_it_has_and_more_room_completes_it(tmp_path, served, askers):
    good = served("good")
    out = tmp_path / "run"
    askers.start(out=str(out), url=good.url, samples=20, limit=40_000)
    assert askers.status() == 4
    assert "could not be written" in askers.said[-1]
    kept = load_run(out).responses.height
    assert 10 < kept < 360
    askers.start(out=str(out), url=good.url, samples=20)
    assert askers.status() == 0
    assert load_run(out).responses.height == 360
    # Only what was under way when the disk was full can have been asked again.
    again = sum(len(times) - 1 for times in good.deliveries().values())
    assert again <= MOST_UNDER_WAY
