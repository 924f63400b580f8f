"""Gains and what may be said of them, from hand-made comparisons."""

from types import SimpleNamespace

import polars as pl
import pytest

from valuestrata.scores.schema import COMPARISONS, SCORES
from valuestrata.tuning.evaluate.generalisation import Pupil, gains_of, gains_wanted, generalisation_table, lessons

PUPILS = [
    Pupil("base", "base"),
    Pupil("base-modal", "base", "modal"),
    Pupil("base-modal@shuffled-persona", "base", "modal", None, "shuffled-persona"),
    Pupil("base-modal-no-persona", "base", "modal", "no-persona", "no-persona"),
    Pupil("other", "other"),
    Pupil("other-modal", "other", "modal"),
]
BASELINES = {"baseline-item-mode": "item-mode", "baseline-nearest-parent": "nearest-parent"}


def compared(run, against, difference, low, high, metric="accuracy_expected"):
    return {
        **dict.fromkeys(COMPARISONS.columns),
        "run": run,
        "against": against,
        "scheme": "paper",
        "part": "test",
        "by": "all",
        "key": "all",
        "metric": metric,
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "status": "declared",
        "pairs": 100,
    }


def scored(run, value, metric="accuracy_expected", by="all"):
    known = {"run": run, "scheme": "paper", "part": "test", "by": by, "key": "all", "metric": metric, "value": value, "pairs": 100}
    return {**dict.fromkeys(SCORES.columns), **known}


def gains(*rows):
    return gains_of(COMPARISONS.frame(list(rows)), PUPILS, BASELINES)


def said(*rows):
    table = generalisation_table(
        SCORES.frame([scored(pupil.run, 0.5 + place / 10) for place, pupil in enumerate(PUPILS)]), PUPILS, runs_named(*who())
    )
    return " ".join(lessons(table, gains(*rows), "accuracy_expected"))


def who():
    return [pupil.run for pupil in PUPILS]


def runs_named(*names):
    made = []
    for name in names:
        kind = "baseline" if name.startswith("baseline-") else "asked"
        respondent = {"name": name.replace("baseline-", "baseline:"), "provider": "baseline", "rule": name.removeprefix("baseline-")}
        made.append(SimpleNamespace(name=name, meta={"kind": kind, "respondent": respondent if kind == "baseline" else {"name": name}}))
    return made


def test_every_gain_is_of_the_same_model_and_recipe():
    wanted = {(gain, run, against) for _, gain, run, against in gains_wanted(PUPILS, BASELINES)}
    assert wanted == {
        ("taught", "base-modal", "base"),
        ("swapped", "base-modal", "base-modal@shuffled-persona"),
        ("control:no-persona", "base-modal-no-persona", "base"),
        ("beyond:no-persona", "base-modal", "base-modal-no-persona"),
        ("over:item-mode", "base-modal", "baseline-item-mode"),
        ("over:nearest-parent", "base-modal", "baseline-nearest-parent"),
        ("taught", "other-modal", "other"),
        ("over:item-mode", "other-modal", "baseline-item-mode"),
        ("over:nearest-parent", "other-modal", "baseline-nearest-parent"),
    }


def test_a_distance_that_falls_is_a_gain():
    rows = gains(compared("base-modal", "base", -0.1, -0.15, -0.02, "w1"), compared("base-modal", "base", 0.2, 0.1, 0.3))
    found = {row["metric"]: row for row in rows.iter_rows(named=True)}
    assert (found["w1"]["value"], found["w1"]["ci_low"], found["w1"]["ci_high"]) == (0.1, 0.02, 0.15)
    assert (found["accuracy_expected"]["value"], found["accuracy_expected"]["ci_low"]) == (0.2, 0.1)


def test_rows_of_single_keys_and_other_metrics_stay_out():
    by_level = {**compared("base-modal", "base", 0.3, 0.2, 0.4), "by": "level", "key": "sex=Female"}
    assert gains(by_level, compared("base-modal", "base", 0.3, 0.2, 0.4, "bias")).is_empty()


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [
        ((0.05, 0.01, 0.09), "part of what it learned is about these people"),
        ((0.01, -0.02, 0.04), "what is usually answered to each question"),
        ((-0.05, -0.09, -0.01), "the personas are in its way"),
    ],
)
def test_what_personas_add_decides_what_was_learned(beyond, expected):
    text = said(
        compared("base-modal", "base", 0.2, 0.1, 0.3),
        compared("base-modal-no-persona", "base", 0.15, 0.1, 0.2),
        compared("base-modal", "base-modal-no-persona", *beyond),
    )
    assert "base taught by modal improves on base as it was: expected accuracy 50.0\u00a0% before and 60.0\u00a0% after" in text
    assert "a gain of 20.0 points (95 % interval 10.0 to 30.0; 100 pairs)" in text
    assert "gains 15.0 points (10.0 to 20.0; 100 pairs)" in text
    assert expected in text


def test_nothing_is_claimed_without_an_interval():
    text = said(compared("base-modal", "base", 0.2, None, None), compared("base-modal", "baseline-item-mode", 0.0, None, None))
    assert "cannot be told apart from base as it was" in text
    assert "20.0 points (no interval; 100 pairs)" in text
    assert "not told apart from the item-mode baseline" in text


def test_baselines_and_swapped_personas_are_named_by_their_intervals():
    text = said(
        compared("base-modal", "base-modal@shuffled-persona", 0.05, 0.01, 0.1),
        compared("base-modal", "baseline-item-mode", -0.1, -0.2, -0.05),
        compared("base-modal", "baseline-nearest-parent", 0.1, 0.05, 0.2),
    )
    assert "it answers by who it is told to be" in text
    assert "below the item-mode baseline" in text
    assert "above the nearest-parent baseline" in text


def test_the_table_says_who_stands_behind_every_run():
    rows = [scored(name, 0.5) for name in ("base", "base-modal-no-persona", "baseline-item-mode", "stranger")]
    rows += [scored("base", 0.8, "ceiling_oracle"), scored("base", 0.05, "floor_w1"), scored("base", 0.9, by="stratum")]
    names = ("base", "base-modal-no-persona", "baseline-item-mode", "stranger")
    table = generalisation_table(SCORES.frame(rows), PUPILS, runs_named(*names))
    assert table.select("run", "role", "recipe", "control", "asked_as", "metric").rows() == [
        ("base", "base", None, None, "persona", "accuracy_expected"),
        ("base-modal-no-persona", "tuned", "modal", "no-persona", "no-persona", "accuracy_expected"),
        ("baseline-item-mode", "baseline", None, None, None, "accuracy_expected"),
        ("ceiling_oracle", "bound", None, None, None, "accuracy_expected"),
        ("floor_w1", "bound", None, None, None, "w1"),
    ]
    assert table.filter(pl.col("role") == "bound")["value"].to_list() == [0.8, 0.05]
