"""Predictions: what is asked, the backtest, the tables and the page."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from tests.calibration.model_run import biased
from tests.responses.asked import Writes
from valuestrata.building import BuildSettings, build
from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.errors import InputDataError, UsageError
from valuestrata.formatting import percent
from valuestrata.prediction import predict as predicting
from valuestrata.prediction.asking import plan_prediction
from valuestrata.prediction.backtest import RAW, held_out_folds, run_backtest
from valuestrata.prediction.completion import completed
from valuestrata.prediction.predict import predict_from_answers
from valuestrata.prediction.questions import NewQuestion
from valuestrata.prediction.sentences import error_sentence, opening
from valuestrata.prediction.similarity import held_out_quantile, similarity_of
from valuestrata.reports.prediction.page import write_prediction
from valuestrata.respondents.base import Answer
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

SETTINGS = SimulationSettings(respondents=260, items=12, nominal=0.2, options=(2, 3, 5), levels=(2, 2), main_effects=0.5, seed=4)
NEW = NewQuestion("tax", "Should taxes rise?", ("Yes", "Maybe", "No"), (1, 2, 3), "ordinal")
KIND = NewQuestion("kind", "Which of these is the kindest animal of all?", tuple("abcdefg"), tuple(range(1, 8)), "nominal")


@cache
def data():
    return build(draw_survey(plant(SETTINGS), 1), BuildSettings(min_respondents=5, min_valid=5, draws=20))


def answers_of(dataset, questions=()):
    """Return a model's answers to all pairs: too confident about its own questions, equal shares otherwise."""
    model = biased(dataset)
    pairs = [pair for pair in dataset.gold.filter(half="all").select("item", "subgroup").iter_rows() if pair[1] != "all"]
    shares = {pair: model(*pair) for pair in pairs}
    for one in questions:
        shares |= {(one.id, subgroup): np.full(len(one.options), 1 / len(one.options)) for _, subgroup in pairs}
    return ModelAnswers(shares, dict.fromkeys(shares, 2))


@cache
def prediction():
    subgroups = tuple(data().subgroups["subgroup"])
    return predict_from_answers(data(), [NEW, KIND], answers_of(data(), [NEW, KIND]), subgroups, "fake", "shares", bootstrap=50)


def test_every_share_has_an_interval_and_a_probability():
    table = prediction().table
    assert table.height == data().subgroups.height * (3 + 7)
    assert not table.select("share", "low", "high", "probability", "mode", "mode_probability", "n").null_count().transpose().sum().item()
    assert table.filter((pl.col("low") > pl.col("share") + 1e-9) | (pl.col("high") < pl.col("share") - 1e-9)).is_empty()
    assert table["low"].min() >= 0
    assert table["high"].max() <= 1
    sums = table.group_by("question", "subgroup").agg(pl.col("share", "probability").sum())
    np.testing.assert_allclose(sums.select("share", "probability").to_numpy(), 1.0, atol=1e-9)
    ordinal = table.filter(question="tax")
    assert (ordinal["position_low"] <= ordinal["position"] + 1e-9).all()
    assert (ordinal["position"] <= ordinal["position_high"] + 1e-9).all()
    assert table.filter(question="kind")["position"].null_count() == table.filter(question="kind").height


def test_the_backtest_holds_every_question_out_once_beside_baselines():
    backtest = prediction().backtest
    assert set(backtest.pairs["predictor"]) == {"shares", RAW, "item-average", "item-text"}
    mine = backtest.pairs.filter(predictor="shares")
    assert mine.height == data().gold.filter(half="all").height
    assert mine.group_by("item").agg(pl.col("fold").n_unique())["fold"].unique().to_list() == [1]
    assert not mine.filter(subgroup="all")["target"].any()
    assert mine["low"].null_count() == 0
    w1 = {name: backtest.error(name, "w1")["value"] for name in ("shares", RAW, backtest.best)}
    assert w1["shares"] < w1[RAW]
    assert backtest.error(RAW, "w1")["difference"] == pytest.approx(w1["shares"] - w1[RAW])


def test_gold_of_a_left_out_question_does_not_change_its_prediction():
    def run(dataset):
        how = {"baselines": ("item-average",), "bootstrap": 10}
        return run_backtest(dataset, answers, "shares", METHODS["shares"], **how).pairs.filter(predictor="shares")

    answers = answers_of(data())
    right = run(data())
    item = right["item"][0]
    mine = pl.col("item") == item
    flipped = data().gold.with_columns(
        counts_weighted=pl.when(mine).then(pl.col("counts_weighted").list.reverse()).otherwise("counts_weighted"),
        shares=pl.when(mine).then(pl.col("shares").list.reverse()).otherwise("shares"),
    )
    wrong = run(replace(data(), gold=flipped))
    same = pl.col("fold") == right["fold"][0]
    assert right.filter(same)["predicted"].equals(wrong.filter(same)["predicted"])
    assert not right.filter(~same)["predicted"].equals(wrong.filter(~same)["predicted"])


def test_a_question_on_an_unknown_scale_is_marked_everywhere(tmp_path):
    found = prediction()
    marks = dict(found.similarity.select("question", "outside").iter_rows())
    assert marks["kind"]
    assert found.table.filter(question="kind")["outside"].all()
    assert "no question of the survey has 7 nominal options" in found.table.filter(question="kind")["reason"][0]
    assert "kind: no question" in opening(found)[3]
    assert repr(found).splitlines()[1:] == [f"  {sentence}" for sentence in opening(found)]
    assert "Probability that it is the most common" in found._repr_html_()
    page = write_prediction(found, tmp_path / "out").read_text()
    assert "Outside the validated range" in page
    first = page.split('<section id="backtest"')[1].split("</section>")[0]
    assert "Backtest on the survey" in first
    whole = found.backtest.coverage.filter(pl.col("size").is_null())["coverage"][0]
    values = re.findall(r"<dd><b>(.*?)</b>", first)
    assert len(values) == 3
    assert values[2] == percent(whole)
    # Errors of all predictors are open, other tables folded.
    assert re.sub(r"<details.*?</details>", "", first, flags=re.DOTALL).count("<table>") == 1
    assert page.index('id="backtest"') < page.index('id="question-0"')
    assert "How would people answer kind?" in page
    assert pl.read_parquet(tmp_path / "out/predictions.parquet").equals(found.table)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("report.html", "predict.json", "predictions.parquet", "predictions.csv", "backtest.parquet"),
        *("errors.csv", "coverage.csv", "similarity.csv"),
    }


def test_the_opening_says_what_the_model_adds():
    sentence = error_sentence(prediction().backtest)
    assert "best method without a model" in sentence
    assert any(words in sentence for words in ("the model helps", "not shown to help", "makes predictions worse"))
    assert len(opening(prediction())) <= 5


def test_topics_are_left_out_then_blocks_then_items():
    items = [f"Q{number}" for number in range(6)]
    alone = {item: f"item {item}" for item in items}
    three = {item: f"topic {place // 2}" for place, item in enumerate(items)}
    one = dict.fromkeys(items, "topic")
    assert held_out_folds(items, three, alone).unit == "topic"
    assert {*held_out_folds(items, three, alone).folds} == {("Q0", "Q1"), ("Q2", "Q3"), ("Q4", "Q5")}
    assert held_out_folds(items, one, three).unit == "block"
    assert held_out_folds(items, one, one).unit == "item"
    assert len(held_out_folds(items, one, one, most=4).folds) == 4
    with pytest.raises(InputDataError, match="Expected at least 3"):
        held_out_folds(items[:2], one, alone)


def test_similarity_of_held_out_questions_ignores_their_own_fold():
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    # Largest cosines with other folds: .6, .6, .8, .8.
    assert held_out_quantile(vectors, np.array([0, 0, 1, 2])) == pytest.approx(0.6)


def test_the_text_of_a_question_of_the_survey_is_inside():
    first = data().items.row(0, named=True)
    again = NewQuestion("again", first["question"], tuple(first["labels"]), tuple(first["codes"]), first["level"])
    found = similarity_of(data(), [again], [(item,) for item in data().items["item"]]).row(0, named=True)
    assert found["similarity"] == pytest.approx(1.0)
    assert not found["outside"]


def test_missing_answers_have_the_mean_of_the_largest_stratum():
    dataset = data()
    (male, female), stratum = dataset.subgroups.filter(stratum=dataset.strata[0])["subgroup"].to_list(), dataset.strata[0]
    sizes = dict(dataset.subgroups.filter(stratum=stratum).select("subgroup", "n").iter_rows())
    item = dataset.items.filter(level="binary")["item"][0]
    answers = ModelAnswers({(item, male): np.array([1.0, 0.0]), (item, female): np.array([0.0, 1.0])}, {(item, male): 2, (item, female): 3})
    found = completed(dataset, answers, ["all", male])
    np.testing.assert_allclose(found.shares[item, "all"], np.array([sizes[male], sizes[female]]) / (sizes[male] + sizes[female]))
    assert found.n[item, "all"] == 2


def chooses(prompt):
    return Answer(prompt, option_probs=tuple(1 / len(prompt.shown) for _ in prompt.shown), option_mass=1.0)


def test_a_new_question_is_asked_without_asking_the_others_again(tmp_path):
    stratum = data().strata[0]
    plan = plan_prediction(data(), [NEW], tmp_path, strata=[stratum], own_items=3)
    assert set(plan.subgroups) == {"all", *data().subgroups.filter(stratum=stratum)["subgroup"]}
    model = Writes(chooses)
    results = list(plan.ask(model))
    own, new = (part.asking.planned for part in plan.parts)
    assert [result.asked for result in results] == [own, new]
    assert new == 2 * 2
    assert {prompt.order for prompt in model.asked} == {"scale", "reversed"}
    more = plan_prediction(data(), [NEW, KIND], tmp_path, strata=[stratum], own_items=3)
    assert [result.asked for result in more.ask(Writes(chooses))] == [0, 0, 4]
    changed = plan_prediction(data(), [replace(NEW, text="Should taxes fall?")], tmp_path, strata=[stratum], own_items=3)
    assert [result.asked for result in changed.ask(Writes(chooses))] == [0, 4]


def test_limits_apply_to_all_runs_together(tmp_path):
    plan = plan_prediction(data(), [NEW], tmp_path, strata=[data().strata[0]], own_items=3)
    own, new = (part.asking.planned for part in plan.parts)
    results = list(plan.ask(Writes(chooses), max_calls=own + 1))
    assert [result.left for result in results] == [0, new - 1]


@pytest.mark.parametrize(("named", "message"), [({"strata": ["sexx"]}, "no stratum 'sexx'"), ({"own_items": 2}, "at least 3")])
def test_wrong_names_and_numbers_are_refused(tmp_path, named, message):
    with pytest.raises(UsageError, match=message):
        plan_prediction(data(), [NEW], tmp_path, **named)


def test_baselines_are_no_models(tmp_path):
    plan = plan_prediction(data(), [NEW], tmp_path)
    with pytest.raises(UsageError, match="is a baseline"):
        predicting.respondent_of(plan, "baseline:uniform")
    with pytest.raises(UsageError, match="asks a model"):
        predicting.respondent_of(plan, None)


def test_the_python_call_asks_predicts_and_returns_tables(tmp_path, monkeypatch):
    model = biased(data())

    def answer(prompt):
        if prompt.item == "tax":
            return chooses(prompt)
        shares = dict(zip(data().codes_of[prompt.item], model(prompt.item, prompt.subgroup), strict=True))
        return Answer(prompt, option_probs=tuple(float(shares[code]) for code in prompt.shown), option_mass=1.0)

    monkeypatch.setattr(predicting, "make_respondent", lambda *_, **__: Writes(answer))
    file = tmp_path / "new.yaml"
    file.write_text("- id: tax\n  text: Should taxes rise?\n  options: [Yes, Maybe, No]\n  scale: ordinal")
    found = predicting.predict(data(), file, "fake", tmp_path / "out", method="shares", bootstrap=20)
    assert set(found.runs) >= {"own"}
    assert found.table["subgroup"].n_unique() == data().subgroups.height


def test_a_question_without_a_valid_answer_cannot_be_predicted():
    with pytest.raises(InputDataError, match="no valid answer to the question 'tax'"):
        predict_from_answers(data(), [NEW], answers_of(data()), tuple(data().subgroups["subgroup"]), "fake", "shares")
