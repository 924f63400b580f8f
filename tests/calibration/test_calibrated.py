"""Calibrated runs: what they learn from, what they answer, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import valuestrata as vs
from tests.calibration.model_run import biased, written
from tests.poison import data, poisoned
from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.parameters import parameter_table, scale_table
from valuestrata.calibration.reliability import reliability, reliability_table
from valuestrata.dataset.tables import half_of
from valuestrata.dataset.training_source import stated_source
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import training_notes, training_overlap

SPLITS = ("paper", "unseen-level", "unseen-item", "unseen-both", "unseen-item+disjoint", "paper+disjoint", "unseen-both+crossfit")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "model"
    folder.mkdir()
    return written(data(), folder, biased(data()))


def w1(run, split):
    scores = vs.score(data(), [run], split=split, part="test", bootstrap=0)
    return scores.filter((pl.col("by") == "all") & (pl.col("metric") == "w1"))["value"].item()


@pytest.mark.parametrize("method", [pytest.param(name, marks=pytest.mark.slow) if name == "hybrid" else name for name in METHODS])
def test_a_calibrated_run_is_an_ordinary_run_that_scores_better(model, tmp_path, method):
    found = vs.calibrate(data(), model, tmp_path / "calibrated", split="unseen-item", method=method)
    run = vs.load_run(tmp_path / "calibrated")
    assert run.responses.equals(found.run.responses)
    assert set(run.responses["pair_id"]) == set(data().part("unseen-item", "test")["pair_id"])
    assert run.responses["status"].unique().to_list() == ["answered"]
    modes = run.responses.select(pl.col("shown").list.get(pl.col("option_probs").list.arg_max()))["shown"]
    assert run.responses["answer"].equals(modes.alias("answer"))
    assert w1(run, "unseen-item") < 0.9 * w1(model, "unseen-item")
    identity = run_identity(run)
    assert (identity.kind, identity.method, identity.model.name, identity.respondent.trained_on.split) == (
        "model",
        method,
        "embedded",
        "unseen-item",
    )
    assert not training_overlap(data(), [run], split="unseen-item", part="test")[run.name].voids


@pytest.mark.parametrize(
    ("method", "split"),
    [
        # Each fit of `hybrid` takes seconds, so all splits but one are slow tests.
        pytest.param(method, split, marks=pytest.mark.slow if method == "hybrid" and split != "unseen-item" else ())
        for method in METHODS
        for split in SPLITS
    ],
)
def test_gold_outside_training_changes_nothing(model, tmp_path, method, split):
    fold = None if split.startswith("paper") else 0
    wrong = poisoned(data(), data().part(split, "train", fold), half_of(split, "train", fold))
    right, changed = (
        vs.calibrate(one, model, tmp_path / name, split=split, fold=fold, method=method)
        for name, one in (("right", data()), ("wrong", wrong))
    )
    assert right.run.responses.equals(changed.run.responses)
    assert right.settings == changed.settings
    assert np.isfinite(np.concatenate(right.run.responses["option_probs"].to_numpy())).all()


def test_the_same_call_returns_the_run_that_is_there(model, tmp_path):
    first = vs.calibrate(data(), model, tmp_path / "out", split="paper")
    assert repr(first).startswith(f"Calibrated run out: method {first.method}\n  {first.pairs} pairs answered in 1 fold.")
    assert "Answer before" in first._repr_html_()
    written_at = (tmp_path / "out/run.json").stat().st_mtime_ns
    again = vs.calibrate(data(), model, tmp_path / "out", split="paper")
    assert again.kept
    assert not first.kept
    assert (tmp_path / "out/run.json").stat().st_mtime_ns == written_at
    assert again.settings == first.settings
    with pytest.raises(UsageError, match=r"holds a calibrated run of 'model'.*overwrite"):
        vs.calibrate(data(), model, tmp_path / "out", split="unseen-item")
    assert not vs.calibrate(data(), model, tmp_path / "out", split="unseen-item", overwrite=True).kept
    with pytest.raises(InputDataError, match=r"not a calibrated run"):
        vs.calibrate(data(), model, model.path, split="paper", overwrite=True)


def test_under_crossfit_each_answer_is_scored_against_the_other_half(model, tmp_path):
    found = vs.calibrate(data(), model, tmp_path / "out", split="unseen-item+crossfit").run
    assert found.responses["sample"].unique().sort().to_list() == [0, 1]
    assert not training_overlap(data(), [found], split="unseen-item+crossfit", part="test")[found.name].voids
    assert w1(found, "unseen-item+crossfit") < w1(model, "unseen-item+crossfit")


def overlap(run, split):
    return training_overlap(data(), [run], split=split, part="test")[run.name]


def test_scores_on_another_split_are_marked_if_its_test_pairs_were_used(model, tmp_path):
    unseen_items, paper = (vs.calibrate(data(), model, tmp_path / split, split=split).run for split in ("unseen-item", "paper"))
    # The folds of `unseen-both` hold out the same items.
    for split in ("unseen-item", "unseen-both"):
        assert not overlap(unseen_items, split).voids
    for run, split in ((unseen_items, "paper"), (unseen_items, "unseen-level"), (paper, "unseen-item")):
        found = overlap(run, split)
        assert found.beside == 1.0
        assert found.tested == 0.0
    (note,) = training_notes({"run": overlap(paper, "unseen-item")}).values()
    assert note == "not a test: trained on pairs that the same fold tests"
    assert not overlap(paper, "paper").voids


def test_the_training_of_the_model_inside_still_counts(tmp_path):
    (tmp_path / "tuned").mkdir()
    record = stated_source("paper", data())
    tuned = written(data(), tmp_path / "tuned", biased(data()), {"name": "tuned", "adapter_hash": "a", "taught_on": record})
    found = vs.calibrate(data(), tuned, tmp_path / "out", split="paper")
    assert "was itself trained on 100\xa0% of the training pairs" in str(found.remarks[0])
    assert not overlap(found.run, "paper").voids
    elsewhere = vs.calibrate(data(), tuned, tmp_path / "items", split="unseen-item", fold=0).run
    assert overlap(elsewhere, "unseen-item").tested > 0


def test_reliability_is_better_after_calibration(model, tmp_path):
    result = vs.calibrate(data(), model, tmp_path / "out", split="unseen-item")
    found = reliability(data(), result)
    before, after = (found.filter(pl.col("bin").is_null(), run=side, measure="ece")["error"].item() for side in ("before", "after"))
    assert after < 0.5 * before
    table = reliability_table(found)
    pairs = data().part("unseen-item", "test").select("pair_id", "item").unique()
    options = sum(len(data().codes_of[item]) for item in pairs["item"])
    assert table["options, before"].sum() == table["options, after"].sum() == options


def test_parameters_are_summed_up_over_folds():
    scales = [{"options": 2, "level": "binary", "items": n, "pairs": 1, "slope": b, "offsets": [b, -b]} for n, b in ((4, 0.2), (6, 0.4))]
    scales[0]["fallback"] = {"items": 1, "needed": 2}
    settings = [
        {"scales": [scale], "factor": f, "sd": {"slope": 0.5}, "levels": {"a": {"x": 1}}}
        for scale, f in zip(scales, (0.0, 1.0), strict=True)
    ]
    assert scale_table(settings).row(0, named=True) == {
        "options": 2,
        "level": "binary",
        "training items": "5 (4 to 6)",
        "slope": "0.300 (0.200 to 0.400)",
        "offsets (mean)": "0.30, -0.30",
        "folds with a fallback": 1,
    }
    assert scale_table(settings[1:]).columns == ["options", "level", "training items", "slope", "offsets"]
    assert parameter_table(settings).rows() == [("factor", 0.5, 0.0, 1.0), ("sd slope", 0.5, 0.5, 0.5)]
    assert scale_table([{"gain": 1.0}]).is_empty()


def test_runs_that_cannot_be_calibrated_are_refused(model, tmp_path):
    first = vs.calibrate(data(), model, tmp_path / "out", split="unseen-item").run
    with pytest.raises(InputDataError, match=r"is calibrated.*Calibrate the run it was made from"):
        vs.calibrate(data(), first, tmp_path / "twice", split="paper")
    (tmp_path / "baseline").mkdir()
    baseline = written(
        data(), tmp_path / "baseline", biased(data()), {"name": "baseline:additive", "provider": "baseline", "model": "additive"}
    )
    with pytest.raises(InputDataError, match=r"is a baseline. It was fitted to the gold of the training pairs"):
        vs.calibrate(data(), baseline, tmp_path / "twice")
    with pytest.raises(InputDataError, match=r"belongs to another data set"):
        vs.calibrate(data(2), model, tmp_path / "twice")
    with pytest.raises(UsageError, match=r"There is no calibration method 'share'. Did you mean 'shares'"):
        vs.calibrate(data(), model, tmp_path / "twice", method="share")
    assert not (tmp_path / "twice").exists()


def test_missing_training_answers_are_named(model, tmp_path):
    train = set(data().part("paper", "train").select("item", "subgroup").iter_rows())
    given, some = biased(data()), sorted(train)[:5]
    for name in ("none", "some"):
        (tmp_path / name).mkdir()
    none = written(data(), tmp_path / "none", lambda *pair: None if pair in train else given(*pair))
    with pytest.raises(
        InputDataError, match=r"answered none of the \d+ training pairs of the split 'paper'.*valuestrata ask .* --model embedded"
    ):
        vs.calibrate(data(), none, tmp_path / "out", split="paper")
    assert not (tmp_path / "out").exists()
    partly = written(data(), tmp_path / "some", lambda *pair: None if pair in some else given(*pair))
    found = vs.calibrate(data(), partly, tmp_path / "out", split="paper")
    assert any(f"5 of {len(train)} training pairs have no answer" in str(remark) for remark in found.remarks)
