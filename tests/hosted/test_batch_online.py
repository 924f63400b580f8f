"""Batches handed in, watched and fetched at real servers: the rows of live calls, and nothing paid twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from pathlib import Path

import polars as pl
import pytest

from tests.hosted.batch_servers import AnthropicWorld, GoogleWorld, OpenAIWorld
from tests.hosted.vendor_server import DROP, Said, VendorServer
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.respondents.hosted.batch.files import AnthropicBatchFormat, GoogleBatchFormat, OpenAIBatchFormat
from valuestrata.respondents.hosted.batch.service import OpenAIBatchService
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.respondent import make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.responses.ask.loop import ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.batch.folder import BatchFolder
from valuestrata.responses.batch.online import fetch, run_batch, submit
from valuestrata.responses.batch.requests import write_batch
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.store import Store

PRICES = Prices(1.0, 2.0, batch=0.5)
KEY = "sk-verysecretverysecret"
WORLDS = {"openai": OpenAIWorld, "anthropic": AnthropicWorld, "google": GoogleWorld}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)


def no_sleep(_seconds):
    pass


def respondent(world, provider, **settings):
    url = world.url + ("/v1" if provider == "openai" else "")
    how = {"base_url": url, "prices": PRICES, "temperature": None} | settings
    return make_hosted(f"{provider}/test-model", HostedSettings(**how))


def asking(dataset, **more):
    return plan_asking(dataset, elicitation="text", **{"orders": "scale,reversed", "samples": 2} | more)


def rows(run, *without):
    return load_run(run).responses.drop("latency", "attempts", *without)


@pytest.mark.parametrize("provider", WORLDS)
def test_a_batch_gives_the_rows_of_live_calls(provider, handmade, tmp_path):
    plan = asking(handmade)
    with WORLDS[provider]() as world:
        live = ask_planned(handmade, respondent(world, provider), tmp_path / "live", plan)
        waits = []
        batched = run_batch(handmade, respondent(world, provider), tmp_path / "batch", plan, every=7.0, sleep=waits.append)
    assert batched.counts == live.counts
    assert rows(tmp_path / "live", "cost").equals(rows(tmp_path / "batch", "cost"))
    costs = load_run(tmp_path / "live").responses["cost"]
    # 100 tokens read at 1 dollar, 10 written at 2, of a million
    assert costs.to_list() == pytest.approx([120e-6] * plan.planned)
    assert load_run(tmp_path / "batch").responses["cost"].to_list() == pytest.approx([60e-6] * plan.planned)
    assert batched.usage["cost"] == pytest.approx(60e-6 * plan.planned)
    assert waits == [7.0, 7.0]
    assert batched.waiting == 0
    assert batched.remarks == ()
    assert {"answered"} < {status for status, number in batched.counts.items() if number}  # refusals and wrong numbers, too


def test_only_what_failed_is_asked_again(handmade, tmp_path):
    plan = asking(handmade, orders="scale", samples=1)
    with OpenAIWorld() as world:
        ask_planned(handmade, respondent(world, "openai"), tmp_path / "live", plan)
        world.log.clear()
        world.fates = {"divorce": "refused", "schools": "error"}
        with_faults = run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
        assert with_faults.failures == {"refused request": 3, "server error": 3}
        errors = set(load_run(tmp_path / "run").responses.filter(pl.col("status") == "failed")["error"])
        assert errors == {"refused request: HTTP 400: too long", "server error: HTTP 500: The server had an error"}
        world.fates = {}
        whole = run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
    assert whole.failures == {}
    assert rows(tmp_path / "run", "cost").equals(rows(tmp_path / "live", "cost"))
    assert set(world.log.values()) == {1}
    assert len(world.started) == 2


@pytest.mark.parametrize(("provider", "word"), [("openai", "batch_expired"), ("anthropic", "expired")])
def test_what_an_expired_batch_answered_is_kept_and_the_rest_stays_to_be_asked(provider, word, handmade, tmp_path):
    plan = asking(handmade, orders="scale", samples=1)
    with WORLDS[provider](status="expired") as world:
        world.fates = {"divorce": "expired"}
        first = run_batch(handmade, respondent(world, provider), tmp_path / "run", plan, sleep=no_sleep)
        assert first.not_asked == {word: 3}
        assert first.failures == {}
        assert load_run(tmp_path / "run").responses.height == 6  # nobody was asked the rest, so that nothing of it failed
        assert any("3 requests were not processed by the batch" in remark for remark in first.remarks)
        world.fates = {}
        assert run_batch(handmade, respondent(world, provider), tmp_path / "run", plan, sleep=no_sleep).waiting == 0
    assert load_run(tmp_path / "run").responses.height == 9
    assert set(world.log.values()) == {1}


def test_a_batch_that_fails_as_a_whole_says_why_and_is_asked_again(handmade, tmp_path):
    plan = asking(handmade)
    with OpenAIWorld(status="failed") as world:
        with pytest.raises(RunFailedError, match="'failed': token_limit_exceeded: Enqueued token limit reached"):
            run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
        world.status = None
        collected = run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
    assert sum(collected.counts.values()) == plan.planned
    assert set(world.log.values()) == {2}  # two samples of each prompt, once each


def test_google_gives_nothing_of_a_batch_that_expired(handmade, tmp_path):
    plan = asking(handmade)
    with GoogleWorld(status="BATCH_STATE_EXPIRED") as world:
        with pytest.raises(RunFailedError, match="ended as 'EXPIRED'"):
            run_batch(handmade, respondent(world, "google"), tmp_path / "run", plan, sleep=no_sleep)
        world.status = None
        assert run_batch(handmade, respondent(world, "google"), tmp_path / "run", plan, sleep=no_sleep).waiting == 0


def killed_at(monkeypatch, moment, saved):
    """Let the process end at the `moment`-th note of how far a file is, before or after it is written; False if it lived on."""
    left = [moment]
    update = BatchFolder.update

    def once(self, file, **changes):
        left[0] -= 1
        if left[0] == 0 and not saved:
            raise KeyboardInterrupt
        changed = update(self, file, **changes)
        if left[0] == 0:
            raise KeyboardInterrupt
        return changed

    monkeypatch.setattr(BatchFolder, "update", once)


@pytest.mark.parametrize(
    ("provider", "saved"),
    [
        ("openai", False),
        ("anthropic", True),
        pytest.param("openai", True, marks=pytest.mark.slow),
        pytest.param("anthropic", False, marks=pytest.mark.slow),
        pytest.param("google", False, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_ends_at_any_step_pays_nothing_twice(provider, saved, handmade, tmp_path, monkeypatch):
    plan = asking(handmade, orders="scale", samples=1)
    form = {"openai": OpenAIBatchFormat, "anthropic": AnthropicBatchFormat, "google": GoogleBatchFormat}[provider]
    monkeypatch.setattr(form, "most_requests", 5)  # two files
    moment, survived = 0, False
    while not survived:
        moment += 1
        run = tmp_path / f"run{moment}"
        with WORLDS[provider](polls=0) as world:
            with monkeypatch.context() as patched:
                killed_at(patched, moment, saved)
                try:
                    run_batch(handmade, respondent(world, provider), run, plan, sleep=no_sleep)
                    survived = True
                except KeyboardInterrupt:
                    pass
            collected = run_batch(handmade, respondent(world, provider), run, plan, sleep=no_sleep)
        assert len(world.started) == 2, moment
        assert set(world.log.values()) == {1}, moment
        assert collected.waiting == 0
        assert load_run(run).responses.height == plan.planned
    assert moment > 8  # uploaded, starting, running, ended, collected, of two files


@pytest.mark.parametrize("provider", WORLDS)
def test_a_start_whose_answer_is_lost_is_found_again(provider, handmade, tmp_path):
    plan = asking(handmade)
    with WORLDS[provider]() as world:
        world.lose_starts = 1
        run_batch(handmade, respondent(world, provider), tmp_path / "run", plan, sleep=no_sleep)
        assert len(world.started) == 1
    assert load_run(tmp_path / "run").responses.height == plan.planned


def test_a_batch_of_another_run_is_not_taken_for_ours(handmade, tmp_path, monkeypatch):
    """Two models are asked the same at Anthropic; one process ends just before its batch is started."""
    plan = asking(handmade)
    with AnthropicWorld() as world:
        run_batch(handmade, respondent(world, "anthropic"), tmp_path / "before", plan, sleep=no_sleep)
        with monkeypatch.context() as patched:
            killed_at(patched, 2, saved=True)  # it is noted that the batch is being started
            with pytest.raises(KeyboardInterrupt):
                run_batch(handmade, respondent(world, "anthropic"), tmp_path / "ours", plan, sleep=no_sleep)
        other = make_hosted("anthropic/other-model", HostedSettings(base_url=world.url, temperature=None))
        run_batch(handmade, other, tmp_path / "theirs", plan, sleep=no_sleep)
        assert len(world.started) == 2
        collected = run_batch(handmade, respondent(world, "anthropic"), tmp_path / "ours", plan, sleep=no_sleep)
    assert len(world.started) == 3
    assert collected.waiting == 0
    assert rows(tmp_path / "ours", "cost").equals(rows(tmp_path / "theirs", "cost"))
    files = BatchFolder(tmp_path / "ours").files()
    assert [(file.batch, file.not_ours) for file in files] == [("msgbatch_002", ("msgbatch_001",))]


def test_waiting_may_be_broken_off(handmade, tmp_path):
    plan = asking(handmade)

    def interrupted(_seconds):
        raise KeyboardInterrupt

    with OpenAIWorld() as world:
        with pytest.raises(KeyboardInterrupt):
            run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=interrupted)
        run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
        assert len(world.started) == 1
    assert load_run(tmp_path / "run").responses.height == plan.planned


def busy(status=500, **headers):
    return Said({"error": {"message": f"busy {KEY}", "type": "server_error"}}, status, headers)


def test_faults_on_the_way_are_survived(handmade, tmp_path):
    plan = asking(handmade)
    waits = []
    with OpenAIWorld(polls=1) as world:
        # handing in, starting, looking: each fails first; then the download breaks off.
        steps = {"/v1/files": busy(429, **{"retry-after": "9"}), "/v1/batches": busy(), "/v1/batches/batch_000": busy(503)}
        steps |= {"/v1/files/file-001/content": DROP}
        plain = world.route
        world.route = lambda seen: steps.pop(seen.path, None) or plain(seen)
        run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, every=7.0, sleep=waits.append)
        assert not steps
        assert len(world.started) == 1
    assert waits == [9.0, 5.0, 2.0, 7.0, 2.0]
    assert load_run(tmp_path / "run").responses.height == plan.planned


def test_a_provider_that_asks_to_wait_for_a_day_is_not_waited_for(handmade, tmp_path):
    with OpenAIWorld() as world:
        world.troubles = [busy(429, **{"retry-after": "86400"})]
        with pytest.raises(RunFailedError, match=r"and asks to wait for 86,400 s\. What is in progress continues"):
            run_batch(handmade, respondent(world, "openai"), tmp_path / "run", asking(handmade), sleep=pytest.fail)


def test_headers_meant_for_openai_go_to_nobody_else(monkeypatch):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Corporation: of-openai\nAuthorization: Bearer of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "of-openai")
    with VendorServer(lambda seen: Said({"data": [], "object": "list"})) as server:
        for ours in (False, True):
            service = OpenAIBatchService(base_url=server.url, key=KEY, is_openai=ours)
            service.find("tag", 1, None, ())
            service.close()
        theirs, openais = (list(seen.headers.values()) for seen in server.seen)
    assert f"Bearer {KEY}" in theirs
    assert not [value for value in theirs if "of-openai" in value]
    assert "Bearer of-openai" in openais


def test_a_key_that_is_refused_stops_at_once_and_stands_in_no_message(handmade, tmp_path):
    plan = asking(handmade)
    with OpenAIWorld() as world:
        world.troubles = [Said({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, 401)]
        with pytest.raises(RunFailedError, match="could not be uploaded: HTTP 401: Incorrect API key") as caught:
            run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert len(world.server.seen) == 1
        run_batch(handmade, respondent(world, "openai"), tmp_path / "run", plan, sleep=no_sleep)
    assert all(KEY not in file.read_text(errors="replace") for file in (tmp_path / "run").rglob("*") if file.is_file())


def test_without_a_key_nothing_is_called(handmade, tmp_path, monkeypatch):
    with OpenAIWorld() as world:
        write_batch(handmade, respondent(world, "openai"), tmp_path / "run", asking(handmade))
        monkeypatch.delenv("OPENAI_API_KEY")
        for step in (submit, lambda run: fetch(handmade, run)):
            with pytest.raises(UsageError, match="OPENAI_API_KEY"):
                step(tmp_path / "run")
        assert world.server.seen == []


def test_a_file_that_was_changed_is_not_handed_in(handmade, tmp_path):
    with OpenAIWorld() as world:
        written = write_batch(handmade, respondent(world, "openai"), tmp_path / "run", asking(handmade))
        with written.files[0].open("a") as file:
            file.write("{}\n")
        with pytest.raises(InputDataError, match=r"requests-000\.jsonl: was changed since"):
            submit(tmp_path / "run")
        written.files[0].unlink()
        with pytest.raises(InputDataError, match="is missing"):
            submit(tmp_path / "run")
        assert world.server.seen == []


def test_two_processes_do_not_hand_in_the_same_files(handmade, tmp_path):
    with OpenAIWorld() as world:
        write_batch(handmade, respondent(world, "openai"), tmp_path / "run", asking(handmade))
        with Store(tmp_path / "run" / "store"), pytest.raises(UsageError, match="another process"):
            submit(tmp_path / "run")
        assert world.started == []


def test_a_temperature_asks_for_the_older_version_in_a_batch_as_well(handmade, tmp_path):
    with AnthropicWorld(polls=0) as world:
        for temperature in (0.0, None):
            who = respondent(world, "anthropic", temperature=temperature)
            run_batch(handmade, who, tmp_path / str(temperature), asking(handmade), sleep=no_sleep)
        versions = [batch["version"] for batch in world.batches.values()]
        sent = [batch["requests"][0]["params"].get("temperature") for batch in world.batches.values()]
    assert versions[0] == "2023-06-01"
    assert versions[1] != "2023-06-01"
    assert sent == [0.0, None]


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.conftest import build_handmade
from tests.hosted.test_batch_online import asking, no_sleep
from valuestrata.respondents.hosted.respondent import make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.responses.batch.folder import BatchFolder
from valuestrata.responses.batch.online import run_batch

update = BatchFolder.update
def killed(self, file, **changes):
    if changes.get("stage") == "running":
        os.kill(os.getpid(), signal.SIGKILL)  # the provider has the batch, and we have not written down that it has
    return update(self, file, **changes)
BatchFolder.update = killed
data = build_handmade()
who = make_hosted("anthropic/test-model", HostedSettings(base_url=sys.argv[1], temperature=None))
run_batch(data, who, sys.argv[2], asking(data), sleep=no_sleep)
"""


def test_a_killed_process_pays_nothing_twice(handmade, tmp_path):
    plan = asking(handmade)
    with AnthropicWorld() as world:
        root = Path(__file__).resolve().parents[2]
        child = subprocess.run([sys.executable, "-c", CHILD, world.url, str(tmp_path / "run")], cwd=root, check=False)
        assert child.returncode == -signal.SIGKILL
        assert len(world.started) == 1
        who = make_hosted("anthropic/test-model", HostedSettings(base_url=world.url, temperature=None))
        collected = run_batch(handmade, who, tmp_path / "run", plan, sleep=no_sleep)
        assert len(world.started) == 1
    assert sum(collected.counts.values()) == plan.planned
    assert set(world.log.values()) == {2}  # two samples of each prompt, once each
