"""Asking on Ray on one machine; workers and drivers are killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.scale.serving import Server, make_failing, make_served
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.respondents.models import ModelSettings
from valuestrata.responses.ask.loop import ask_planned
from valuestrata.responses.ask.plan import plan_asking
from valuestrata.responses.distributed.ray_run import ask_on_ray
from valuestrata.responses.run import worker_stores
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.worker_stores import busy_workers

ray = pytest.importorskip("ray")

ROOT = Path(__file__).resolve().parents[2]
PLAN = {"part": "all", "elicitation": "text", "samples": 4}
PROMPTS = 18 * 4


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    yield
    ray.shutdown()


def ask_served(dataset, out, server, **options):
    return ask_on_ray(
        dataset,
        "hf:served",
        out,
        plan_asking(dataset, **PLAN),
        settings=ModelSettings(base_url=server.url),
        make_respondent=make_served,
        **{"workers": 2, "batch_prompts": 6, **options},
    )


def until(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def expected(handmade, tmp_path):
    """The table of the same plan without Ray."""
    with Server() as server:
        model = make_served("", handmade, ModelSettings(base_url=server.url))
        ask_planned(handmade, model, tmp_path / "expected", plan_asking(handmade, **PLAN))
    return load_run(tmp_path / "expected").responses


@pytest.mark.slow
def test_a_worker_is_killed_and_every_answer_is_there_once(cluster, handmade, expected, tmp_path, capsys):
    with Server(seconds=0.05) as server:
        killed = []

        def kill():
            until(lambda: len(server.log) > 20 and len({pid for _, pid in server.log}) == 2)
            victim = server.log[-1][1]
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

        thread = threading.Thread(target=kill)
        thread.start()
        result = ask_served(handmade, tmp_path / "run", server)
        # Ray tells of the death, and not where a command prints its result.
        assert capsys.readouterr().out == ""
        thread.join()
        asked, in_flight = Counter(server.keys), server.calls_of(killed[0])[-1]
    assert (result.asked, result.kept, result.left, result.answered, result.failed) == (PROMPTS, 0, 0, PROMPTS, 0)
    assert load_run(tmp_path / "run").responses.equals(expected)
    assert len(asked) == PROMPTS
    # What the killed worker was asking at that moment had no answer that anybody could have kept.
    assert {key for key, times in asked.items() if times > 1} <= {in_flight}
    assert len(server.calls_of(killed[0])) < len(server.log) - 10
    # Another process took its place, and nothing of Ray's is left.
    assert len({pid for _, pid in server.log}) == 3
    assert sorted(entry.name for entry in (tmp_path / "run").iterdir()) == ["responses.parquet", "run.json", "store"]


@pytest.mark.slow
def test_a_driver_is_killed_and_goes_on_when_it_is_run_again(cluster, handmade, expected, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with Server(seconds=0.05) as server:
        code = f"""if True:
            from pathlib import Path
            from tests.conftest import build_handmade
            from tests.scale.test_on_ray import ask_served
            class Server: url = {server.url!r}
            if __name__ == "__main__":
                ask_served(build_handmade(), Path({str(run)!r}), Server)
        """
        # A cluster that stands already, as RAY_ADDRESS names it: its workers go when it sees that their driver is gone.
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        with (tmp_path / "stderr").open("w") as stderr:
            driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=stderr)
        try:
            # The driver imports Ray and starts workers, which takes more than a minute on a busy machine.
            until(lambda: len(list((run / "ray" / "done").glob("*.parquet"))) >= 3 or driver.poll() is not None, seconds=180)
        finally:
            driver.kill()
            driver.wait()
        until(lambda: not busy_workers(run))
        before = {pid: server.calls_of(pid)[-1] for pid in {pid for _, pid in server.log}}
        asked_before = len(server.log)
        assert 18 <= asked_before < PROMPTS, (tmp_path / "stderr").read_text()
        answers, remove = [], shutil.rmtree
        monkeypatch.setattr(worker_stores.shutil, "rmtree", lambda path, **how: (answers.extend(written(run)), remove(path, **how)))
        result = ask_served(handmade, run, server)
        asked = Counter(server.keys)
    assert load_run(run).responses.equals(expected)
    assert len(asked) == PROMPTS
    assert {key for key, times in asked.items() if times > 1} <= set(before.values())
    assert (result.kept + result.asked, result.left) == (PROMPTS, 0)
    assert result.kept >= asked_before - len(before)
    # Ray's checkpoint left out what the first driver had written: no row was written twice.
    assert sorted(answers) == sorted(set(answers)) == sorted(asked)


def written(run):
    return pl.concat([pl.read_parquet(file, columns=["key"]) for file in (run / "ray" / "answers").glob("*.parquet")])["key"].to_list()


@pytest.mark.slow
def test_failures_are_kept_told_and_asked_again(cluster, handmade, tmp_path):
    run, plan = tmp_path / "run", plan_asking(handmade, part="all", elicitation="text")

    def ask(broken):
        how = ModelSettings(extra={"broken": broken})
        return ask_on_ray(handmade, "hf:x", run, plan, settings=how, make_respondent=make_failing, batch_prompts=5)

    first = ask(["Q1"])
    assert (first.failed, first.answered, first.left, first.failures) == (6, 12, 6, {"server error": 6})
    second = ask([])
    assert (second.asked, second.kept, second.failed, second.answered, second.left) == (6, 12, 0, 18, 0)


@pytest.mark.slow
def test_what_a_worker_refuses_is_told_as_it_would_be_here(cluster, handmade, tmp_path):
    plan = plan_asking(handmade, elicitation="text")

    def ask(out="run", model="hf:x", workers=2, gpus=0.0, **extra):
        how = ModelSettings(extra=extra)
        return ask_on_ray(
            handmade, model, tmp_path / out, plan, settings=how, make_respondent=make_failing, workers=workers, gpus_per_worker=gpus
        )

    with pytest.raises(UsageError, match=r"^hf:x needs the library 'nolib'") as told:
        ask(missing="nolib")
    assert "Traceback" not in str(told.value)
    with pytest.raises(UsageError, match="need 2, and the Ray cluster has 0"):
        ask(gpus=1.0)
    assert not (tmp_path / "run").exists()
    with pytest.raises(RunFailedError, match=r"^the key was refused") as told:
        ask(refused=True)
    assert "Traceback" not in str(told.value)
    with pytest.raises(RunFailedError, match=r"no call succeeded; 9 failed: 9 x server error: 500"):
        ask("none", broken=["Q1", "Q182", "spend"])
    with pytest.raises(InputDataError, match=r"respondent\.decoding\.temperature"):
        ask("none", temperature=1.0)
