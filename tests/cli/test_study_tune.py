"""A study that tunes a tiny model: complete, repeated, and after a loss of files."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.tuning.planted import tiny_folder
from valuestrata.errors import InputDataError, RunFailedError, UsageError
from valuestrata.study.ask import ModelResult
from valuestrata.study.config import load_study

pytest.importorskip("trl", reason="needs the extra `train`")

STUDY = """
name: taught
output: out
survey: {file: tiny.csv, codebook: tiny.yaml}
build: {draws: 20}
ask: {template: short.yaml}
models: [{model: "hf:MODEL", name: tiny}, {model: "control:no-persona@hf:MODEL", name: alone}]
tune:
  recipes:
    - recipe: modal
      change: &quick
        {learning_rate: 0.02, max_steps: 4, template: TEMPLATE, validation: {samples: 4, every: 9}, early_stopping: null}
    - {recipe: distribution, change: *quick, controls: []}
  controls: [no-persona, shuffled-persona]
  splits: [paper]
  forgetting: false
score: {bootstrap: 60, baselines: "item-mode,nearest-parent"}
audit: {permutations: 20}
"""
SHORT = 'name: short\nwho: "{profile}"\nwho_all: Someone\nuser: "{who}\\n{question}\\n{options}\\n{reply}"\nreply: "{first} to {last}"\n'
RUNS = ["tiny", "tiny-modal", "tiny-modal@shuffled-persona", "tiny-modal-no-persona", "tiny-modal-shuffled-persona"]
MODAL = "recipes:\n    - recipe: modal\n      change: &quick\n        "
NOTHING = ModelResult(Path("tiny"), 3, 0, {"answered": 0, "failed": 3}, {"connection": 3}, 3, {}, error="down")
RUNS += ["tiny-distribution", "tiny-distribution@shuffled-persona", "alone"]


@pytest.fixture
def place(tiny):
    tiny_folder(tiny / "model")
    (tiny / "short.yaml").write_text(SHORT)
    return tiny


def study_of(place, **changes):
    text = STUDY
    for before, after in changes.values():
        assert before in text
        text = text.replace(before, after)
    text = text.replace("MODEL", str(place / "model")).replace("TEMPLATE", str(place / "short.yaml"))
    (place / "study.yaml").write_text(text)
    return load_study(place / "study.yaml")


def run(study):
    from valuestrata.study.tuning_study import run_generalisation

    messages: list[str] = []
    return run_generalisation(study, say=messages.append), messages


@pytest.mark.slow
def test_a_study_tunes_asks_and_compares_and_keeps_its_results(place):
    result, _ = run(study_of(place))
    assert result.problems == ()
    table = result.table.filter(pl.col("metric") == "accuracy_expected")
    assert table.filter(pl.col("role").is_in(["base", "tuned"]))["run"].to_list() == RUNS
    assert set(table.filter(pl.col("role") == "baseline")["run"]) == {"baseline-item-mode", "baseline-nearest-parent"}

    # The gain without personas plus what personas add is the total gain.
    gains = result.gains.filter((pl.col("metric") == "accuracy_expected") & (pl.col("recipe") == "modal"))
    of = dict(gains.select("gain", "value").iter_rows())
    assert of["taught"] == pytest.approx(of["control:no-persona"] + of["beyond:no-persona"])
    values = dict(table.select("run", "value").iter_rows())
    assert of["taught"] == pytest.approx(values["tiny-modal"] - values["tiny"])
    assert of["over:item-mode"] == pytest.approx(values["tiny-modal"] - values["baseline-item-mode"])
    assert set(gains.filter(pl.col("gain") == "taught")["status"]) == {"declared"}

    # The control without personas gives one answer per item.
    alone = pl.read_parquet(place / "out/asked/paper/runs/tiny-modal-no-persona/responses.parquet")
    assert alone.group_by("item").agg(pl.col("answer").n_unique())["answer"].to_list() == [1] * alone["item"].n_unique()

    page = (place / "out/generalisation.html").read_text()
    assert "tiny-modal-no-persona" in page
    assert "splits/paper/report.html" in page
    assert (place / "out/splits/paper/audit/audit.html").is_file()
    card = (place / "out/adapters/paper/tiny-modal/README.md").read_text()
    assert "tiny-modal" in card
    assert "attribute: " in card

    # A second run trains and asks nothing, and gives the same figures.
    before = {file: file.stat().st_mtime_ns for file in (place / "out/adapters").rglob("*.safetensors")}
    again, messages = run(load_study(place / "out/study.yaml"))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert sum("already complete, skipped" in line for line in messages) == len(RUNS)
    assert again.gains.equals(result.gains)

    # If one adapter and its run are lost, only these are made again, with the same figures.
    shutil.rmtree(place / "out/adapters/paper/tiny-distribution")
    shutil.rmtree(place / "out/asked/paper/runs/tiny-distribution")
    repaired, messages = run(load_study(place / "study.yaml"))
    assert sum("already complete, skipped" in line for line in messages) == len(RUNS) - 1
    assert repaired.table.equals(result.table)


@pytest.mark.slow
def test_folds_have_their_own_adapters_and_are_judged_as_one(place):
    study = study_of(
        place,
        splits=("splits: [paper]", "splits: [unseen-item]\n  test_pairs: 7"),
        swapped=("forgetting: false", "forgetting: false\n  swapped: false"),
        controls=("controls: [no-persona, shuffled-persona]", "controls: []"),
        audit=("audit: {permutations: 20}", ""),
    )
    result, _ = run(study)
    folds = sorted(path.name for path in (place / "out/adapters").iterdir())
    # Each fold's adapter answered its own test pairs, so the pooled run has no train-test overlap.
    rules = result.evaluations["unseen-item"].assessment.verdicts
    assert "taught-what-is-tested" not in set(rules["rule"])
    first = json.loads((place / f"out/asked/{folds[0]}/runs/tiny-modal/run.json").read_text())
    taught = {"dataset": result.dataset.fingerprint, "split": "unseen-item", "fold": 0, "control": None, "halves": ["all"]}
    assert first["respondent"]["taught_on"].items() >= taught.items()
    assert len(folds) > 1
    table = result.table.filter((pl.col("metric") == "accuracy") & pl.col("role").is_in(["tuned", "baseline"]))
    assert set(table["pairs"]) == {7 * len(folds)}
    assert set(result.table["fold"]) == {None}
    for number, fold in enumerate(folds):
        training = json.loads((place / f"out/adapters/{fold}/tiny-modal/training.json").read_text())
        asked = pl.read_parquet(place / f"out/asked/{fold}/runs/tiny-modal/responses.parquet")
        assert training["request"]["fold"] == number
        assert set(asked["item"]) <= set(training["held_out"]["items"])


@pytest.mark.slow
def test_seeds_have_their_own_adapters_and_are_judged_together(place, monkeypatch):
    from valuestrata.study import tuning_study

    changes = {
        "seeds": ("recipes:", "seeds: [1, 2, 3]\n  recipes:"),
        "recipes": ("    - {recipe: distribution, change: *quick, controls: []}\n", ""),
        "controls": ("controls: [no-persona, shuffled-persona]", "controls: [no-persona]"),
        "orders": ("ask: {template: short.yaml}", 'ask: {template: short.yaml, orders: "scale,reversed"}'),
        "alone": (', {model: "control:no-persona@hf:MODEL", name: alone}', ""),
        "audit": ("audit: {permutations: 20}", ""),
    }
    trained: list[str] = []
    tune = tuning_study.tune

    def killed_at_the_third(*arguments, **settings):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments[2].name)
        return tune(*arguments, **settings)

    monkeypatch.setattr(tuning_study, "tune", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(study_of(place, **changes))
    assert trained == ["tiny-modal-seed-1", "tiny-modal-seed-2"]
    before = {file: file.stat().st_mtime_ns for file in (place / "out/adapters").rglob("*.safetensors")}
    assert len(before) == 2

    # The same command keeps both adapters and trains the others.
    monkeypatch.setattr(tuning_study, "tune", tune)
    result, messages = run(study_of(place, **changes))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert "to train: 6 adapters (6 in each of 1 fold; 3 seeds)" in messages
    assert result.problems == ()
    table = result.table.filter(pl.col("metric") == "accuracy_expected")
    values = dict(table.select("run", "value").iter_rows())
    seeds = [values[f"tiny-modal-seed-{seed}"] for seed in (1, 2, 3)]
    assert values["tiny-modal"] == pytest.approx(sum(seeds) / 3)
    alone = [values[f"tiny-modal-no-persona-seed-{seed}"] for seed in (1, 2, 3)]
    assert len({*seeds, *alone}) > 1

    gains = result.gains.filter(pl.col("metric") == "accuracy_expected")
    of = {row["gain"]: row for row in gains.iter_rows(named=True)}
    assert of["taught"]["value"] == pytest.approx(values["tiny-modal"] - values["tiny"])
    assert of["beyond:no-persona"]["seed_low"] == pytest.approx(min(a - b for a, b in zip(seeds, alone, strict=True)))
    assert {row["seeds"] for row in of.values()} == {3}
    assert of["taught"]["included"] == "seed+order"
    assert {row["run"] for row in of.values()} == {"tiny-modal", "tiny-modal-no-persona"}
    assert set(gains["status"]) == {"declared"}
    # Every gain is declared, and Holm is over these five alone.
    assert {claim.tests for claim in result.claims["paper"]} == {gains["p"].is_not_null().sum()}
    assert "one-seed" not in {note for claim in result.claims["paper"] for note in claim.notes}
    assert "| training seed | 2 |" in (place / "out/adapters/paper/tiny-modal-seed-2/README.md").read_text()
    assert "1, 2, 3" in (place / "out/adapters/paper/tiny-modal-seed-2/README.md").read_text()

    again, messages = run(load_study(place / "out/study.yaml"))
    assert again.gains.equals(result.gains)
    assert sum("already complete, skipped" in line for line in messages) == 10


@pytest.mark.slow
def test_a_failed_training_does_not_end_the_others(place):
    result, messages = run(
        study_of(
            place,
            rate=(
                "recipe: distribution, change: *quick",
                "recipe: distribution, change: {learning_rate: 1.0e+30, max_steps: 4, template: TEMPLATE}",
            ),
            swapped=("forgetting: false", "forgetting: false\n  swapped: false"),
            controls=("controls: [no-persona, shuffled-persona]", "controls: []"),
        )
    )
    assert len(result.problems) == 1
    assert "tiny-distribution" in result.problems[0]
    runs = result.table.filter(pl.col("role") == "tuned")["run"].unique().to_list()
    assert runs == ["tiny-modal"]
    assert any("declared comparison of tiny-distribution" in line for line in messages)


def test_changes_of_the_section_apply_to_every_recipe_and_those_of_a_recipe_win(place):
    from valuestrata.study.tuning_grid import training_jobs

    study = study_of(
        place,
        change=("tune:\n", "tune:\n  change: {learning_rate: 0.5, batch: 4, validation: {every: 3, samples: 9}}\n"),
        rate=("{recipe: distribution, change: *quick,", "{recipe: distribution, change: {validation: {samples: 4}},"),
    )
    modal, distribution = (
        next(job.recipe for job in training_jobs(study) if job.recipe_name == name) for name in ("modal", "distribution")
    )
    assert (modal.learning_rate, modal.batch, modal.validation.samples) == (0.02, 4, 4)
    assert (distribution.learning_rate, distribution.validation.every, distribution.validation.samples) == (0.5, 3, 4)


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ("controls: [no-persona, shuffled-persona]", "controls: [nobody]", InputDataError, "no-persona"),
        ("splits: [paper]", "splits: [papers]", UsageError, "paper"),
        ("- recipe: modal", "- recipe: modle", UsageError, "modal"),
        ("splits: [paper]", "splits: [paper]\n  models: [tinny]", UsageError, "tiny"),
        ("splits: [paper]", "splits: [paper]\n  models: [alone]", UsageError, "cannot be tuned"),
        ("control:no-persona@hf:MODEL", "baseline:item-mode", UsageError, "score.baselines"),
        ("recipe: distribution, change", "recipe: modal, change", InputDataError, "called 'modal'"),
        ("splits: [paper]", "splits: [paper, paper]", InputDataError, "called 'paper'"),
        ("max_steps: 4", "max_step: 4", UsageError, "max_steps"),
        ("splits: [paper]", "splits: [paper]\n  seeds: [1, 2, 1]", InputDataError, "seed 1 is listed twice"),
        (MODAL + "{", f"seeds: [1]\n  {MODAL}{{seed: 7, ", InputDataError, "changes `seed`, which `seeds` sets"),
    ],
)
def test_invalid_studies_are_refused_before_training(place, before, after, error, message):
    with pytest.raises(error, match=message):
        run(study_of(place, change=(before, after)))
    assert not (place / "out/adapters").exists()


def test_run_study_refers_to_run_generalisation(place):
    from valuestrata.study import run_study

    with pytest.raises(UsageError, match="run_generalisation"):
        run_study(study_of(place))


def test_a_split_without_answers_is_an_error(place, monkeypatch):
    from valuestrata.study import tuning_study

    def broken(*_args, **_settings):
        raise RunFailedError("the loss is no number")

    monkeypatch.setattr(tuning_study, "tune", broken)
    monkeypatch.setattr(tuning_study, "ask_model", lambda *_: NOTHING)
    with pytest.raises(RunFailedError, match="no model has answers"):
        run(study_of(place))
