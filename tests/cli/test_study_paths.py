"""A study gives the same results from every working directory: all its paths are relative to its file."""

import shutil

import pytest
import yaml

from tests.tuning.planted import tiny_folder
from valuestrata.errors import UsageError
from valuestrata.study.config import load_study

STUDY = """
name: places
output: out
survey: {file: tiny.csv, codebook: tiny.yaml, labels: labels.yaml, levels: levels.yaml, wording: wording.yaml}
split: {scheme: paper, train_on: other}
ask: {template: short.yaml}
models:
  - hf:./model
  - {model: "hf:model+adapters/a", name: tuned, template: default}
  - control:no-persona@gguf:m.gguf
  - vllm:ORG/NAME+adapters/a
  - {model: "hf:ORG/NAME@main", template: missing.yaml}
  - openai/gpt-4.1-mini
  - {model: "hf:/elsewhere/model", name: absolute}
  - embedded+adapters/a
  - baseline:item-mode
open:
  template: short.yaml
  criteria_file: criteria.yaml
  reference: tuned
  judges: [hf:model, "gguf:m.gguf"]
  readers: [hf:./model]
"""
TUNED = """
name: taught
survey: {file: tiny.csv, codebook: tiny.yaml}
models: [hf:model]
tune: {recipes: [mine.yaml, {recipe: modal, change: {template: short.yaml}}]}
"""
SHORT = 'name: short\nwho: "{profile}"\nwho_all: Someone\nuser: "{who}\\n{question}\\n{options}\\n{reply}"\nreply: "{first} to {last}"\n'


@pytest.fixture
def place(tiny):
    for folder in ("model", "adapters/a", "studies"):
        (tiny / folder).mkdir(parents=True)
    (tiny / "short.yaml").write_text(SHORT)
    return tiny


def test_every_path_is_relative_to_the_study_file(place, monkeypatch):
    (place / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(place / "studies")
    study = load_study("../study.yaml")
    assert [model.model for model in study.models] == [
        "hf:../model",
        "hf:../model+../adapters/a",
        "control:no-persona@gguf:../m.gguf",
        "vllm:ORG/NAME+../adapters/a",
        "hf:ORG/NAME@main",
        "openai/gpt-4.1-mini",
        "hf:/elsewhere/model",
        "embedded+../adapters/a",
        "baseline:item-mode",
    ]
    # The names of runs are those of the study file.
    assert [model.run_name for model in study.models][:4] == [
        "hf-.-model",
        "tuned",
        "control-no-persona@gguf-m.gguf",
        "vllm-ORG-NAME+adapters-a",
    ]
    survey = study.survey
    assert (survey.file, survey.codebook, survey.labels) == ("../tiny.csv", "../tiny.yaml", "../labels.yaml")
    assert (survey.levels, survey.wording, study.split.train_on) == ("../levels.yaml", "../wording.yaml", "../other")
    assert (study.ask.template, [model.template for model in study.models][1:5]) == (
        "../short.yaml",
        ["default", None, None, "../missing.yaml"],
    )
    assert study.open is not None
    assert (study.open.template, study.open.criteria_file) == ("../short.yaml", "../criteria.yaml")
    assert [judge.model for judge in study.open.judges] == ["hf:../model", "gguf:../m.gguf"]
    assert [judge.folder_name for judge in study.open.judges] == ["hf-model", "gguf-m.gguf"]
    assert [reader.model for reader in study.open.readers] == ["hf:../model"]


def test_recipes_and_their_templates_are_relative_to_their_files(place, monkeypatch):
    from valuestrata.tuning.recipe import load_recipe

    (place / "taught.yaml").write_text(TUNED)
    (place / "mine.yaml").write_text("base: modal\nname: mine\ntemplate: short.yaml\n")
    monkeypatch.chdir(place / "studies")
    study = load_study("../taught.yaml")
    assert study.tune is not None
    mine, modal = study.tune.recipes
    assert (mine.recipe, modal.recipe, modal.change) == ("../mine.yaml", "modal", {"template": "../short.yaml"})
    assert load_recipe(mine.recipe).template == "../short.yaml"


def test_a_name_on_the_hub_that_is_a_folder_here_is_refused(place, monkeypatch):
    (place / "studies/ORG/NAME").mkdir(parents=True)
    (place / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(place / "studies")
    with pytest.raises(UsageError, match=r"'vllm:ORG/NAME\+adapters/a' is a model on the hub, .* hf:\./ORG/NAME"):
        load_study("../study.yaml")


RUN = """
name: places
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 20}
ask: {template: short.yaml}
models:
  - hf:./model
  - {model: "control:no-persona@hf:model", name: alone}
open: {readers: [{model: "hf:model", elicitation: logprob}], most_divided: 1, pairs_per_item: 2, max_new_tokens: 3}
score: {bootstrap: 20, baselines: cheap}
"""


@pytest.mark.slow
def test_a_study_continues_from_another_directory_and_after_a_move(call, tiny, monkeypatch):
    pytest.importorskip("transformers", reason="needs the extra `local`")
    home = tiny / "home"
    home.mkdir()
    for name in ("tiny.csv", "tiny.yaml"):
        shutil.move(tiny / name, home / name)
    tiny_folder(home / "model")
    (home / "short.yaml").write_text(SHORT)
    (home / "study.yaml").write_text(RUN)
    monkeypatch.chdir(tiny)
    first = call("run", "home/study.yaml", "--json")
    assert first.code == 0, first.err

    moved = tiny / "moved"
    home.rename(moved)
    (tiny / "elsewhere").mkdir()
    for folder, study in ((moved, "study.yaml"), (tiny / "elsewhere", moved / "study.yaml"), (moved / "runs", "places/study.yaml")):
        monkeypatch.chdir(folder)
        again = call("run", study, "--json")
        assert again.code == 0, again.err
        # Two closed runs, one open run and one reader.
        assert again.err.count("already complete, skipped") == 4, again.err
        assert yaml.safe_load(again.out)["scores"] == yaml.safe_load(first.out)["scores"]
    assert len(list((moved / "runs/places/open/stances/judges").iterdir())) == 1
