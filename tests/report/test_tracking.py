"""What is logged to an experiment tracker, from tables made by hand."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from valuestrata.assessment import Assessment
from valuestrata.errors import MissingExtraError, UsageError, without_credentials
from valuestrata.reports.export.tracking.track import check_tracker
from valuestrata.reports.export.tracking.tracked_run import tracked_runs
from valuestrata.reports.export.tracking.tracked_training import tracked_training
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES, STRUCTURE
from valuestrata.splits.leakage import LEAKAGE_REPORT
from valuestrata.tuning.loss_curve import CURVE
from valuestrata.tuning.tune import TuneResult

PLACE = {"run": "mine", "scheme": "paper", "fold": None, "part": "test"}
KEY = "sk-" + "a1b2c3d4" * 4
META = {
    "dataset": {"fingerprint": "f" * 64, "survey": "gss2018"},
    "elicitation": "text",
    "template": "/home/me/persona.yaml",
    "template_version": "1+abc",
    "respondent": {
        "name": "hf:/home/me/models/tiny+/home/me/adapters/mine",
        "provider": "openai-compatible",
        "base_url": f"https://me:{KEY}@models.example.org/v1",
        "model": "/home/me/models/tiny",
        "revision": "main",
        "adapter_hash": "0123456789ab",
        "decoding": {"temperature": 0.7, "extra": {"api_key": KEY}},
    },
}


def score_row(metric, value, by="all", key="all", **other):
    ends = {"ci_low": value - 0.1, "ci_high": value + 0.1}
    place = {**PLACE, "by": by, "key": key, "elicitation": "text", "template": "/home/me/persona.yaml"}
    return {**place, "metric": metric, "value": value, **ends, "pairs": 40, "coverage": 0.8, **other}


def relative_row(metric, **other):
    own = {"value": 0.5, "baseline": "baseline-item-mode", "baseline_value": 0.4, "gain": 0.1, "gain_low": 0.05, "gain_high": 0.2}
    return {**PLACE, "by": "all", "key": "all", "metric": metric, **own, "relative": 0.25, "state": "ok", "pairs": 40, **other}


def assessment(scores, relative=()):
    tables = SCORES.frame(list(scores)), COMPARISONS.empty(), RELATIVE.frame(list(relative)), STRUCTURE.empty()
    return Assessment(*tables, claims=(), leakage=LEAKAGE_REPORT.empty())


def tracked(scores=(), relative=(), **changes):
    rows = [score_row("accuracy", 0.5), *scores]
    (found,) = tracked_runs([SimpleNamespace(name="mine", meta=META | changes)], assessment(rows, relative))
    return found


def test_parameters_have_no_folders_addresses_or_keys():
    found = tracked()
    assert found.params == {
        "model": "tiny",
        "specification": "hf:tiny+mine",
        "provider": "openai-compatible",
        "kind": "model",
        "temperature": "0.7",
        "template": "persona.yaml",
        "template_version": "1+abc",
        "elicitation": "text",
        "split": "paper",
        "part": "test",
        "survey": "gss2018",
        "dataset": "f" * 64,
        "adapter": "0123456789ab",
    }
    everything = f"{found.params}{found.tags}{found.metrics}{found.name}"
    assert KEY not in everything
    assert "/home" not in everything
    assert "example.org" not in everything


def test_metrics_are_the_values_of_the_tables_with_the_ends_of_their_intervals():
    topics = [
        score_row("accuracy", 0.25, "topic", "Crime & drugs/alcohol"),
        score_row("refusal_rate", 0.75, "topic", "Crime & drugs/alcohol"),
        score_row("accuracy", 0.125, "subgroup", "sex=Male"),
        score_row("accuracy", 0.9, run="other"),
        score_row("w1", 0.2, ci_low=None, ci_high=None),
        score_row("ceiling_oracle", 0.9),
    ]
    found = tracked(topics, [relative_row("accuracy_expected", relative=None), relative_row("nmae", run="other")]).metrics
    assert found == pytest.approx(
        {
            "accuracy": 0.5,
            "accuracy_ci_low": 0.4,
            "accuracy_ci_high": 0.6,
            "topic/Crime _ drugs_alcohol/accuracy": 0.25,
            "topic/Crime _ drugs_alcohol/accuracy_ci_low": 0.15,
            "topic/Crime _ drugs_alcohol/accuracy_ci_high": 0.35,
            "w1": 0.2,
            "ceiling_oracle": 0.9,
            "ceiling_oracle_ci_low": 0.8,
            "ceiling_oracle_ci_high": 1.0,
            "coverage": 0.8,
            "pairs": 40.0,
            "best_baseline/accuracy_expected": 0.4,
            "gain/accuracy_expected": 0.1,
            "gain/accuracy_expected_ci_low": 0.05,
            "gain/accuracy_expected_ci_high": 0.2,
        }
    )


def test_the_best_baseline_is_a_tag_because_it_can_change():
    found = tracked(relative=[relative_row("nmae")])
    assert found.tags == {
        "valuestrata.key": found.key,
        "valuestrata.run": "mine",
        "valuestrata.dataset": "f" * 64,
        "valuestrata.best_baseline.nmae": "baseline-item-mode",
    }


def test_the_key_depends_on_what_was_asked_and_not_on_the_scores():
    key = tracked().key
    assert tracked([score_row("nmae", 0.3)]).key == key
    assert tracked(dataset={"fingerprint": "e" * 64}).key != key
    assert tracked(respondent={"name": "other"}).key != key


def test_the_files_hold_the_scores_of_this_run_only():
    found = tracked([score_row("accuracy", 0.9, run="other")])
    lines = found.files["scores.csv"].splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("mine,paper,")
    assert found.files["claims.txt"] == "No claims.\n"


def test_a_training_is_its_recipe_its_curve_and_its_validation():
    recipe = {"name": "mine", "learning_rate": 0.001, "lora": {"r": 8}, "template": "/home/me/persona.yaml"}
    request = {"dataset": "f" * 64, "model": "hf:/home/me/models/tiny", "split": "paper", "fold": None, "control": None, "recipe": recipe}
    curve = CURVE.frame(
        [
            {"step": 0, "epoch": 0.0, "part": "validation", "loss": 2.0},
            {"step": 1, "epoch": 0.5, "part": "train", "loss": 1.5, "learning_rate": 0.001},
            {"step": 1, "epoch": 0.5, "part": "validation", "loss": 1.0, "accuracy": 0.5},
        ]
    )
    validation = {"before": {"step": 0, "epoch": 0.0, "loss": 2.0, "loss_prefill": None}, "after": None}
    found = tracked_training(TuneResult(Path("/home/me/adapters/mine"), None, {"request": request, "validation": validation}, curve))
    assert found.name == "mine"
    assert found.params == {
        "kind": "training",
        "model": "hf:tiny",
        "split": "paper",
        "dataset": "f" * 64,
        "recipe.name": "mine",
        "recipe.learning_rate": "0.001",
        "recipe.lora.r": "8",
        "recipe.template": "persona.yaml",
    }
    assert found.metrics == {"before/loss": 2.0}
    assert found.steps == {
        0: {"validation/epoch": 0.0, "validation/loss": 2.0},
        1: {
            "train/epoch": 0.5,
            "train/loss": 1.5,
            "train/learning_rate": 0.001,
            "validation/epoch": 0.5,
            "validation/loss": 1.0,
            "validation/accuracy": 0.5,
        },
    }


def test_a_tracker_is_checked_before_anything_is_scored(monkeypatch):
    assert check_tracker(None) is None
    with pytest.raises(UsageError, match=r"No tracker is called 'wandbb'\. Did you mean 'wandb'"):
        check_tracker("wandbb")
    with pytest.raises(UsageError, match="no tracker is given"):
        check_tracker(None, "mine")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r'needs the library .mlflow-skinny.*pip install "valuestrata\[mlflow\]"'):
        check_tracker("mlflow")


def test_credentials_of_an_address_are_not_shown():
    assert without_credentials("refused by https://me:secret@host:80/x.") == "refused by https://host:80/x."
    # Not only up to the first sign, if the password holds another one.
    assert without_credentials("https://me:p@ss@host/x@y") == "https://host/x@y"
