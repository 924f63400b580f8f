"""Controls, folds and external training data in the command line and in studies."""

import json
import re

import polars as pl
import pytest

from tests.respondents.tiny import save_tiny
from valuestrata.errors import InputDataError
from valuestrata.respondents.baselines import BASELINES
from valuestrata.respondents.controls.spec import CONTROLS
from valuestrata.study import run_study
from valuestrata.study.config import ModelSection, load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def model(tmp_path) -> str:
    pytest.importorskip("torch", reason="needs the extra `local`")
    pytest.importorskip("transformers", reason="needs the extra `local`")
    return f"hf:{save_tiny(tmp_path / 'model')}"


def identity(run):
    return json.loads((run / "run.json").read_text())["respondent"]


def test_help_names_every_baseline_and_control(call):
    shown = re.sub(r"\s", "", call("ask", "--help").out)
    for name in (*BASELINES, *CONTROLS, "hf:ORG/NAME", "gguf:FILE", "embedded"):
        assert name in shown, name
    for option in ("--fold", "--train-on", "--persona-seed", "+disjoint"):
        assert option in shown, option


def test_a_shuffle_reports_its_changes_and_has_its_own_seed(call, tiny, data, model):
    for seed in (0, 1):
        arguments = ("--model", f"control:shuffled-persona@{model}", "--persona-seed", seed, "--items", "Q1", "--seed", 9)
        asked = call("ask", data, *arguments, "-o", tiny / f"run{seed}", "--json")
        assert asked.code == 0, asked.err
        # With two levels per attribute, every cell of a complete square can change all its levels.
        assert "all levels changed in 100 % of the cells" in asked.err
        assert json.loads(asked.out)["left"] == 0
        found = identity(tiny / f"run{seed}")
        assert (found["control"], found["seed"], found["cells_changed"]) == ("shuffled-persona", seed, 1.0)
        assert found["of"]["decoding"]["seed"] == 9


def test_invalid_models_are_refused(call, tiny, data):
    for words, code, message in (
        (["control:no-persona@baseline:item-mode"], 2, "does not use the persona"),
        (["control:shufled-persona@embedded"], 2, "Did you mean 'shuffled-persona'"),
        (["embedded", "--train-on", data, "--split", "paper"], 2, "only a baseline"),
        (["baseline:item-mode", "--fold", 3], 2, "no fold 3. Available folds: 0"),
        (["baseline:item-mode", "--train-on", tiny / "nowhere"], 3, "nowhere"),
    ):
        outcome = call("ask", data, "--model", *words, "-o", tiny / "run")
        assert outcome.code == code, outcome.err
        assert message in outcome.err
        assert not (tiny / "run").exists()


def test_a_fold_is_asked_alone(call, tiny, data):
    asked = call("ask", data, "--model", "baseline:item-mode", "--fold", 0, "-o", tiny / "run")
    assert asked.code == 0, asked.err
    assert identity(tiny / "run")["trained_on"]["fold"] == 0


def test_run_names_are_valid_folder_names():
    assert ModelSection(model="control:shuffled-persona@embedded").run_name == "control-shuffled-persona@embedded"
    assert ModelSection(model="control:wrong-country=JPN@embedded").run_name == "control-wrong-country=JPN@embedded"
    assert ModelSection(model="hf:org/name+adapters/one").run_name == "hf-org-name+adapters-one"
    assert ModelSection(model="embedded", name="mine").run_name == "mine"


STUDY = """
name: controls
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 20}
seeds: {persona: 4}
ask: {items: [Q1, Q2]}
models:
  - {model: "MODEL", name: plain}
  - {model: "control:shuffled-persona@MODEL", name: shuffled}
  - {model: "control:no-persona@MODEL", name: nobody}
  - baseline:item-mode
split: {fold: 0}
score: {bootstrap: 20, baselines: cheap}
"""


@pytest.mark.slow
def test_a_study_asks_through_controls(tiny, model):
    (tiny / "study.yaml").write_text(STUDY.replace("MODEL", model))
    messages: list[str] = []
    result = run_study(load_study(tiny / "study.yaml"), say=messages.append)
    assert any(line.startswith("shuffled: all levels changed in 100 %") for line in messages)
    runs = {run.name: run for run in result.runs}
    beside = {"baseline-uniform", "baseline-midpoint", "baseline-nearest-parent"}
    assert set(runs) == {"plain", "shuffled", "nobody", "baseline-item-mode"} | beside
    assert runs["baseline-item-mode"].meta["respondent"]["trained_on"]["fold"] == 0
    plain = runs["plain"].meta["respondent"]
    for name in ("shuffled", "nobody"):
        found = runs[name].meta["respondent"]
        assert (found["provider"], found["of"]) == ("control", plain)
        assert set(runs[name].responses["pair_id"]) == set(runs["plain"].responses["pair_id"])
    assert runs["shuffled"].meta["respondent"]["seed"] == 4
    assert runs["nobody"].responses["prompt_hash"].n_unique() == 2
    assert set(pl.read_parquet(tiny / "runs" / "controls" / "scores.parquet")["run"]) == set(runs)

    # Another seed of the shuffle keeps the data set but makes another run, which the old folder refuses.
    messages.clear()
    (tiny / "study.yaml").write_text(STUDY.replace("MODEL", model).replace("persona: 4", "persona: 5"))
    with pytest.raises(InputDataError, match=r"respondent\.seed 4, and now it would be 5"):
        run_study(load_study(tiny / "study.yaml"), say=messages.append)
    assert "data set: already built, kept" in messages


def test_a_study_trains_a_baseline_on_another_data_set(tiny, tmp_path, call):
    # Another wave has other respondents; the same file would train on test respondents.
    again = (tiny / "tiny.csv").read_text().splitlines(keepends=True)
    (tiny / "wave.csv").write_text("".join(again[:-40]))
    call("build", tiny / "wave.csv", "--survey", tiny / "tiny.yaml", "-o", tiny / "other", "--draws", 20, "--seed", 5)
    text = STUDY[: STUDY.index("models:")].replace("name: controls", "name: foreign\nsplit: {scheme: transfer, train_on: other}")
    (tiny / "study.yaml").write_text(text + "models:\n  - baseline:item-mode\nscore: {bootstrap: 0, baselines: cheap}\n")
    study = load_study(tiny / "study.yaml")
    assert study.split.train_on == str(tiny / "other")
    result = run_study(study)
    assert result.runs[0].responses.height > 0
    # The report names the survey that the baselines were fitted to.
    page = result.report.read_text()
    assert f"A tiny survey, Utopia (data set {json.loads((tiny / 'other' / 'dataset.json').read_text())['fingerprint'][:12]})" in page
    assert "baseline item-mode, baseline nearest-parent." in page
    assert "a survey that is not recorded" not in page
    (tiny / "study.yaml").write_text(text.replace("train_on: other", "train_on: nowhere") + "models:\n  - baseline:item-mode\n")
    with pytest.raises(InputDataError, match="nowhere"):
        run_study(load_study(tiny / "study.yaml"))
