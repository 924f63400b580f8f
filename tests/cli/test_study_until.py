"""`run --until`: a study in several calls gives the results of one call."""

import json
import shutil

import polars as pl
import pytest

from tests.cli.test_study_tune import SHORT, study_of
from tests.tuning.planted import tiny_folder
from valuestrata.study.config import load_study
from valuestrata.study.stages import stages_of

STUDY = """
name: steps
output: out
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 20}
models: [baseline:item-mode, baseline:nearest-parent]
score: {bootstrap: 20, baselines: cheap}
audit: {permutations: 20}
plan: {comparisons: [{run: baseline-nearest-parent, against: baseline-item-mode}]}
"""
# Each stage, and a file that it writes first.
FILES = {
    "build": "data/dataset.json",
    "plan": "plan.json",
    "ask": "runs/baseline-item-mode/responses.parquet",
    "score": "scores.parquet",
    "audit": "audit/audit.html",
    "report": "report.html",
}


@pytest.mark.slow
def test_each_stage_ends_where_it_says_and_the_next_call_continues(call, tiny):
    (tiny / "study.yaml").write_text(STUDY)
    assert call("run", tiny / "study.yaml").code == 0
    whole = pl.read_parquet(tiny / "out/scores.parquet")
    shutil.rmtree(tiny / "out")

    stages = list(FILES)
    for place, stage in enumerate(stages, 1):
        found = call("run", tiny / "study.yaml", "--until", stage)
        assert found.code == 0, found.err
        assert f"Done: {', '.join(stages[:place])}." in found.out
        assert [name for name, file in FILES.items() if (tiny / "out" / file).is_file()] == stages[:place]
        rest = f"Remaining: {', '.join(stages[place:])}. Continue with: valuestrata run {tiny / 'study.yaml'}"
        assert (rest if stages[place:] else "Nothing remains.") in found.out
    assert pl.read_parquet(tiny / "out/scores.parquet").equals(whole)
    # The plan was declared in a call before the first answer.
    assert "declared" in set(pl.read_parquet(tiny / "out/comparisons.parquet")["status"])


def test_json_and_another_folder(call, tiny):
    (tiny / "study.yaml").write_text(STUDY)
    found = call("run", tiny / "study.yaml", "-o", tiny / "other", "--until", "plan", "--json")
    assert json.loads(found.out) == {
        "done": ["build", "plan"],
        "remaining": ["ask", "score", "audit", "report"],
        "problems": [],
        "left": 0,
    }
    assert f"-o {tiny / 'other'}" in call("run", tiny / "study.yaml", "-o", tiny / "other", "--until", "plan").out


def test_unanswered_prompts_are_counted(call, tiny):
    (tiny / "study.yaml").write_text(STUDY.replace("models:", "ask: {max_calls: 3}\nmodels:"))
    found = call("run", tiny / "study.yaml", "--until", "ask")
    assert found.code == 0
    left = [int(line.split(" stopped, ")[1].split()[0]) for line in found.err.splitlines() if " stopped, " in line]
    assert len(left) == 2
    assert f"{sum(left):,} prompts have no answer yet." in found.out


@pytest.mark.parametrize("stage", ["scoring", "calibrate"])
def test_a_stage_that_the_study_does_not_have_is_refused_with_the_stages(call, tiny, stage):
    (tiny / "study.yaml").write_text(STUDY)
    found = call("run", tiny / "study.yaml", "--until", stage)
    assert found.code == 2
    assert f"This study has no stage {stage!r}. Its stages are build, plan, ask, score, audit, report." in found.err
    assert not (tiny / "out").exists()


@pytest.mark.slow
def test_a_tuning_study_stops_after_training_and_continues(call, tiny):
    pytest.importorskip("trl", reason="needs the extra `train`")
    tiny_folder(tiny / "model")
    (tiny / "short.yaml").write_text(SHORT)
    changes = {
        "one": ("    - {recipe: distribution, change: *quick, controls: []}\n", ""),
        "controls": ("controls: [no-persona, shuffled-persona]", "controls: []"),
    }
    study_of(tiny, **changes)
    assert stages_of(load_study(tiny / "study.yaml")) == ["build", "plan", "tune", "ask", "score", "audit", "report"]
    found = call("run", tiny / "study.yaml", "--until", "tune")
    assert found.code == 0, found.err
    assert "Remaining: ask, score, audit, report." in found.out
    weights = {file: file.stat().st_mtime_ns for file in (tiny / "out/adapters").rglob("*.safetensors")}
    assert len(weights) == 1
    assert not (tiny / "out/asked/paper/runs").exists()
    assert call("run", tiny / "study.yaml").code == 0
    assert {file: file.stat().st_mtime_ns for file in weights} == weights
    assert (tiny / "out/generalisation.html").is_file()
