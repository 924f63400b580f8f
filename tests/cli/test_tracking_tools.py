"""`score --track` and a study's `score.track` with the real MLflow and Weights & Biases, both offline."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.tuning.planted import tiny_folder
from valuestrata.assessment import COMPARED_METRICS

SCORE = ("--bootstrap", 50, "--baselines", "cheap")
pytestmark = pytest.mark.slow


@pytest.fixture
def asked(call, built_tiny, tmp_path, monkeypatch):
    """A working directory with a data set and two runs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(built_tiny, tmp_path / "data")
    for kind in ("item-mode", "uniform"):
        assert call("ask", "data", "--model", f"baseline:{kind}", "-o", f"runs/{kind}").code == 0
    return tmp_path


def scored(call, *words):
    """Score both runs; return the scores, the relative scores by (run, metric), and what was printed about the tracker."""
    done = call("score", "data", "runs/item-mode", "runs/uniform", *SCORE, "-o", "scores.csv", "--json", *words)
    assert done.code == 0, done.err
    relative = {(row["run"], row["metric"]): row for row in json.loads(done.out)["relative"] if row["by"] == "all"}
    return pl.read_csv("scores.csv", infer_schema_length=None), relative, done.err


def check_metrics(logged, run, scores, relative):
    """Compare what a tracker stored with the tables that `score` printed and wrote."""
    rows = scores.filter((pl.col("run") == run) & pl.col("value").is_not_null())
    overall = rows.filter(pl.col("by") == "all")
    topics = rows.filter((pl.col("by") == "topic") & pl.col("metric").is_in(COMPARED_METRICS))
    assert overall.height > 10
    assert topics["key"].n_unique() == 3
    expected = {row["metric"]: row for row in overall.iter_rows(named=True)}
    expected |= {f"topic/{row['key']}/{row['metric']}": row for row in topics.iter_rows(named=True)}
    for name, row in expected.items():
        assert logged[name] == row["value"], name
        assert logged.get(f"{name}_ci_low") == row["ci_low"], name
        assert logged.get(f"{name}_ci_high") == row["ci_high"], name
    assert logged["best_baseline/nmae"] == relative[run, "nmae"]["baseline_value"]
    assert logged.get("gain/nmae_ci_low") == relative[run, "nmae"]["gain_low"]
    assert logged["coverage"] == overall["coverage"][0]


def trained(call, tracker):
    """Train a tiny model twice with the same call, the second time from its files; return its curve."""
    words = ("tune", "data", "--model", tiny_folder(Path("model")), "--recipe", "distribution", "--device", "cpu", "--max-steps", 3)
    for _ in range(2):
        done = call(*words, "-o", "adapter", "--track", tracker)
        assert done.code == 0, done.err
    losses = pl.read_csv("adapter/loss.csv").filter(pl.col("part") == "train").select("step", "loss").rows()
    assert len(losses) == 3
    return losses


# --- MLflow ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "file"])
def store(request, tmp_path, monkeypatch):
    """A client of a tracking store that does not exist yet."""
    # Without a server, files of runs go into the working directory.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    if request.param == "sqlite" and importlib.util.find_spec("sqlalchemy") is None:
        pytest.skip("needs sqlalchemy")
    address = f"sqlite:///{tmp_path}/mlflow.db" if request.param == "sqlite" else (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    from mlflow import MlflowClient

    return MlflowClient(address)


# mlflow 3.17 uses a loader strategy that sqlalchemy 2.1 deprecates, and does not close its database.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
class TestMLflow:
    def logged(self, store):
        experiment = store.get_experiment_by_name("valuestrata")
        return {run.info.run_name: run for run in store.search_runs([experiment.experiment_id])}

    def test_what_mlflow_stored_are_the_scores(self, call, asked, store):
        scores, relative, said = scored(call, "--track", "mlflow")
        assert f"MLflow: 2 runs in experiment 'valuestrata' at {store.tracking_uri}" in said
        runs = self.logged(store)
        assert set(runs) == {"item-mode", "uniform"}
        for name, run in runs.items():
            check_metrics(run.data.metrics, name, scores, relative)
            assert run.info.status == "FINISHED"
            assert run.data.params["split"] == "paper"
            assert run.data.params["dataset"] == json.loads(Path("data/dataset.json").read_text())["fingerprint"]
            assert str(asked) not in f"{run.data.params}{run.data.tags}"
            folder = Path(store.download_artifacts(run.info.run_id, "", str(asked)))
            table = pl.read_csv(folder / "scores.csv", infer_schema_length=None)
            assert table.equals(scores.filter(pl.col("run") == name).cast(dict(table.schema)))

    def test_scoring_again_updates_the_run(self, call, asked, store):
        scored(call, "--track", "mlflow")
        before = self.logged(store)["item-mode"]
        scored(call, "--track", "mlflow")
        again = self.logged(store)
        assert len(again) == 2
        assert again["item-mode"].data.metrics == before.data.metrics
        assert len(store.get_metric_history(before.info.run_id, "accuracy_ci_low")) == 1
        # Without intervals their ends have no value; the metrics themselves are unchanged.
        call("score", "data", "runs/item-mode", "--bootstrap", 0, "--baselines", "none", "--track", "mlflow")
        after = self.logged(store)["item-mode"]
        assert after.info.run_id == before.info.run_id
        assert after.data.metrics["accuracy"] == before.data.metrics["accuracy"]
        assert str(after.data.metrics["accuracy_ci_low"]) == "nan"
        scored(call, "--track", "mlflow")
        restored = self.logged(store)["item-mode"].data.metrics
        assert {name: restored[name] for name in before.data.metrics} == before.data.metrics

    def test_another_part_is_another_run_and_another_experiment_can_be_named(self, call, asked, store):
        scored(call, "--track", "mlflow", "--track-to", "mine")
        call("score", "data", "runs/item-mode", *SCORE, "--part", "all", "--track", "mlflow", "--track-to", "mine")
        runs = store.search_runs([store.get_experiment_by_name("mine").experiment_id])
        assert sorted((run.info.run_name, run.data.params["part"]) for run in runs) == [
            ("item-mode", "all"),
            ("item-mode", "test"),
            ("uniform", "test"),
        ]
        assert store.get_experiment_by_name("valuestrata") is None

    def test_a_study_logs_its_models_and_not_its_baselines(self, call, tiny, store):
        study = {
            "name": "tiny",
            "survey": {"file": "tiny.csv", "codebook": "tiny.yaml"},
            "build": {"draws": 20},
            "models": ["baseline:item-mode"],
            "score": {"bootstrap": 50, "baselines": "uniform", "track": "mlflow"},
        }
        (tiny / "study.yaml").write_text(yaml.safe_dump(study))
        assert call("run", tiny / "study.yaml").code == 0
        (run,) = self.logged(store).values()
        scores = pl.read_parquet(next(tiny.glob("**/scores.parquet")))
        row = scores.row(
            by_predicate=(pl.col("run") == run.info.run_name) & (pl.col("by") == "all") & (pl.col("metric") == "w1"), named=True
        )
        assert run.data.metrics["w1"] == row["value"]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
    def test_the_losses_of_a_training_are_logged_once(self, call, asked, store):
        losses = trained(call, "mlflow")
        (run,) = self.logged(store).values()
        assert run.info.run_name == "adapter"
        assert run.data.params["recipe.name"] == "distribution"
        assert [(point.step, point.value) for point in store.get_metric_history(run.info.run_id, "train/loss")] == losses

    def test_a_store_that_refuses_is_one_message(self, call, asked, store, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        done = call("score", "data", "runs/item-mode", *SCORE, "--track", "mlflow")
        assert done.code == 2
        assert "valuestrata: MLflow did not take the scores: " in done.err
        assert "127.0.0.1" in done.err
        assert "secret" not in done.err


# --- Weights & Biases -----------------------------------------------------------------------------------------------


def records(path: Path) -> Iterator[object]:
    """Read a run file of Weights & Biases: blocks of 32 KiB, each record with checksum, length and kind (4 is the end of a longer one)."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def stored(path: Path):
    """Return what one offline run holds: the run's record, its parameters and its summary."""
    runs, config, summary = [], {}, {}
    for record in records(path):
        if record.HasField("run"):
            runs.append(record.run)
            config |= {update.key: json.loads(update.value_json) for update in record.run.config.update}
        summary |= {update.key: json.loads(update.value_json) for update in record.summary.update if update.key}
        config |= {update.key: json.loads(update.value_json) for update in record.config.update}
    (run,) = runs
    return run, config, summary


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Weights & Biases offline, in the working directory."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_PROJECT", "WANDB_DIR", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    import wandb

    def files():
        # Its process may still hold the end of a file.
        wandb.teardown()
        return sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))

    yield files
    wandb.teardown()


def test_what_wandb_stored_are_the_scores(call, asked, offline):
    scores, relative, said = scored(call, "--track", "wandb")
    assert f"Weights & Biases: 2 runs in project 'valuestrata': {asked / 'wandb'}, to send with `wandb sync`" in said
    found = {path: stored(path) for path in offline()}
    assert {run.display_name for run, _, _ in found.values()} == {"item-mode", "uniform"}
    for path, (run, config, summary) in found.items():
        name = run.display_name
        check_metrics(summary, name, scores, relative)
        assert (run.project, run.resume, run.host) == ("valuestrata", True, "")
        assert run.run_id == config["valuestrata.key"][:32]
        assert config["part"] == "test"
        # The file holds nothing about the machine.
        assert str(asked).encode() not in path.read_bytes()
        table = pl.read_csv(path.parent / "files" / "scores.csv", infer_schema_length=None)
        assert table.equals(scores.filter(pl.col("run") == name).cast(dict(table.schema)))
        assert (path.parent / "files" / "claims.txt").read_text()


def test_scoring_again_continues_the_run_of_wandb(call, asked, offline, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for _ in range(2):
        scored(call, "--track", "wandb")
    runs = [stored(path) for path in offline()]
    assert len({run.run_id for run, _, _ in runs}) == 2
    assert {run.project for run, _, _ in runs} == {"mine"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_losses_of_a_training_are_in_the_file_of_wandb(call, asked, offline):
    losses = trained(call, "wandb")
    paths = offline()
    assert len({stored(path)[0].run_id for path in paths}) == 1
    rows = []
    for record in records(paths[0]):
        values = {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in record.history.item}
        rows += [(values["_step"], values["train/loss"])] if "train/loss" in values else []
    assert rows == losses


def test_without_a_key_wandb_is_one_message(call, asked, offline, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    done = call("score", "data", "runs/item-mode", *SCORE, "--track", "wandb")
    assert done.code == 2
    assert "Weights & Biases did not take the scores: " in done.err
    assert "WANDB_MODE=offline" in done.err
