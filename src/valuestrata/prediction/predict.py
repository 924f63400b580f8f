"""Predict how the subgroups of a survey would answer new questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.calibration.methods import METHODS
from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.calibration.sources import check_source
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, RunFailedError, UsageError, one_of
from valuestrata.formatting import percent
from valuestrata.frames import Column, Schema
from valuestrata.overview import HasOverview, Overview
from valuestrata.prediction.asking import PredictionPlan, plan_prediction
from valuestrata.prediction.backtest import Backtest, gold_of_subgroups, held_out_folds, run_backtest
from valuestrata.prediction.completion import completed
from valuestrata.prediction.questions import NewQuestion, read_questions, with_questions
from valuestrata.prediction.similarity import similarity_of
from valuestrata.progress import progress
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.models import ModelSettings, make_respondent
from valuestrata.responses.run.folder import load_run
from valuestrata.responses.run.identity import run_identity

DEFAULT_METHOD = "hybrid"

PREDICTIONS = Schema(
    "predictions.parquet",
    {
        "question": Column(pl.String, "id of the new question"),
        "subgroup": Column(pl.String, "subgroup id; `all` for the population"),
        "stratum": Column(pl.String, "stratum of the subgroup"),
        "option": Column(pl.String, "label of the option"),
        "code": Column(pl.Int32, "its code, in scale order"),
        "share": Column(pl.Float64, "predicted share of the option"),
        "low": Column(pl.Float64, "lower end of the 90 % interval of the share that a survey of `n` answers finds"),
        "high": Column(pl.Float64, "its upper end"),
        "probability": Column(pl.Float64, "probability that the option is the most common answer of that survey"),
        "mode": Column(pl.String, "the most likely most common answer"),
        "mode_probability": Column(pl.Float64, "its probability"),
        "position": Column(pl.Float64, "mean position, 0 for the first to 1 for the last option; null for nominal questions"),
        "position_low": Column(pl.Float64, "lower end of its 90 % interval"),
        "position_high": Column(pl.Float64, "its upper end"),
        "n": Column(pl.Float64, "effective answers of the subgroup to a question of the survey, median over questions"),
        "similarity": Column(pl.Float64, "largest cosine of the question with one of the survey"),
        "outside": Column(pl.Boolean, "outside the range that the backtest validates"),
        "reason": Column(pl.String, "why; null inside"),
    },
)


@dataclass(frozen=True, repr=False)
class Prediction(HasOverview):
    """Predicted answers to new questions.

    Attributes:
        dataset: the survey. questions: the new ones. model, method: names.
        table: PREDICTIONS schema. backtest: of the survey's own questions. similarity: see `similarity_of`.
        settings: what the method fitted. runs: name -> identity of each run behind the answers.
    """

    dataset: Dataset
    questions: tuple[NewQuestion, ...]
    model: str
    method: str
    table: pl.DataFrame
    backtest: Backtest
    similarity: pl.DataFrame
    settings: Mapping[str, Any]
    runs: Mapping[str, Any]

    def overview(self) -> Overview:
        """Return the backtest in sentences, and the likeliest most common answer of the population to each question."""
        from valuestrata.prediction.sentences import opening

        mode = self.table.filter((pl.col("subgroup") == EVERYONE) & (pl.col("option") == pl.col("mode")))
        rows = [
            (str(question), str(option), f"{percent(share)} [{percent(low)}, {percent(high)}]", percent(probability))
            for question, option, share, low, high, probability in mode.select(
                "question", "option", "share", "low", "high", "mode_probability"
            ).iter_rows()
        ]
        heads = ("Question", "Most common answer of the population", "Its share", "Probability that it is the most common")
        return Overview(
            f"Prediction by {self.model}, method {self.method}", opening(self), heads, rows, "90 % intervals of shares in brackets."
        )


def predict(
    dataset: Dataset,
    questions: str | Path | Sequence[NewQuestion],
    model: str | None = None,
    out: str | Path = "prediction",
    *,
    run: str | Path | None = None,
    method: str = DEFAULT_METHOD,
    settings: ModelSettings | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    **how: Any,
) -> Prediction:
    """Ask a model the questions and predict every subgroup's answers, with a backtest on the survey's own questions.

    Args:
        dataset: the survey whose gold calibrates the model.
        questions: a YAML file (`read_questions`), or questions.
        model: who answers (`make_respondent`); with `run` by default its model.
        out: folder for the runs.
        run: a run of the survey's own questions (`ask` with `part="all"`) to reuse.
        method: one of `calibration.methods.METHODS`.
        settings: settings of the model.
        max_calls: stop after this many prompts; the same call continues.
        max_cost: stop before the whole run costs more than this, in US dollars.
        bootstrap: number of bootstrap replicates of the intervals of errors.
        seed: their seed.
        how: template, elicitation, orders, strata and own_items of `plan_prediction`.

    Raises:
        UsageError: see `read_questions` and `plan_prediction`.
        InputDataError: see `read_questions` and `plan_prediction`.
        RunFailedError: a call failed, or a limit left questions unanswered. The same call continues.
    """
    check_method(method)
    new = read_questions(questions, dataset) if isinstance(questions, str | Path) else list(questions)
    plan = plan_prediction(dataset, new, Path(out), run=None if run is None else load_run(run), **how)
    respondent = respondent_of(plan, model, settings)
    for result in plan.ask(respondent, max_calls=max_calls, max_cost=max_cost):
        if result.failed or result.left:
            raise RunFailedError(f"{result.run_dir}: {result.left:,} answers are missing. The same call continues.")
    return predicted(plan, respondent.name, method, bootstrap=bootstrap, seed=seed)


def check_method(method: str) -> str:
    """Return the name of a method; UsageError for an unknown one."""
    return one_of(method, tuple(METHODS), "There is no calibration method")


def respondent_of(plan: PredictionPlan, model: str | None, settings: ModelSettings | None = None, *, calls: bool = True) -> Respondent:
    """Return the model of a plan, checked against the reused run.

    Raises:
        UsageError: no model, or a baseline. InputDataError: another model than that of the reused run.
    """
    name = model
    if name is None and plan.run is not None:
        check_source(plan.run)
        respondent = run_identity(plan.run).respondent
        name = None if respondent.provider == "imported" else respondent.name
        if name is None:
            raise UsageError(
                f"{plan.run.path}: the run {plan.run.name!r} does not name a model that can be asked. Name it with ", Option("model"), "."
            )
    if name is None:
        raise UsageError("A prediction asks a model. Name it with ", Option("model"), ", or a run with ", Option("run"), ".")
    if name.startswith("baseline:"):
        raise UsageError(f"MODEL {name!r} is a baseline, which the backtest includes anyway. Name a language model.")
    found = make_respondent(name, plan.dataset, settings=settings, calls=calls)
    plan.check(found)
    return found


def predicted(plan: PredictionPlan, model: str, method: str, *, bootstrap: int = 1000, seed: int = 0) -> Prediction:
    """Predict from the answers in the runs of a plan; arguments and errors as for `predict`."""
    folders = [part.folder for part in plan.parts]
    runs = {folder.name: dict(load_run(folder).meta["respondent"]) for folder in folders}
    if plan.run is not None:
        runs[plan.run.name] = dict(plan.run.meta["respondent"])
    return predict_from_answers(
        plan.dataset, plan.questions, plan.answers(), plan.subgroups, model, method, bootstrap=bootstrap, seed=seed, runs=runs
    )


def predict_from_answers(
    dataset: Dataset,
    questions: Sequence[NewQuestion],
    answers: ModelAnswers,
    subgroups: Sequence[str],
    model: str,
    method: str,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    runs: Mapping[str, Any] | None = None,
) -> Prediction:
    """Predict from a model's answers, wherever they are from.

    Args:
        answers: of the model, to the survey's own questions and the new ones. subgroups: to predict. Others as for `predict`.

    Raises:
        InputDataError: the model answered no question of the survey, fewer than the backtest needs, or not a new question.
    """
    extended = with_questions(dataset, questions)
    answers = completed(extended, answers, subgroups)
    for one in questions:
        if (one.id, subgroups[0]) not in answers.shares:
            raise InputDataError(f"The model {model!r} gave no valid answer to the question {one.id!r}, so it cannot be predicted.")
    own = [item for item in dict.fromkeys(item for item, _ in answers.shares) if item in dataset.codes_of]
    fit = METHODS[check_method(method)]
    folds = len(held_out_folds(own, dict(dataset.items.select("item", "topic").iter_rows()), dataset.block_names).folds)
    with progress(f"holding out questions ({method})", folds + 1) as advance:
        backtest = run_backtest(dataset, answers, method, fit, bootstrap=bootstrap, seed=seed, advance=advance, subgroups=subgroups)
        predictor = fit(gold_of_subgroups(extended, subgroups).of_items(own), answers)
        advance(1)
    similarity = similarity_of(dataset, questions, backtest.held.folds)
    table = _table(extended, questions, subgroups, predictor.shares, backtest, similarity)
    return Prediction(dataset, tuple(questions), model, method, table, backtest, similarity, dict(predictor.settings), runs or {})


def _table(
    dataset: Dataset, questions: Sequence[NewQuestion], subgroups: Sequence[str], shares: Any, backtest: Backtest, similarity: pl.DataFrame
) -> pl.DataFrame:
    answered = dataset.gold.filter(pl.col("half") == "all").group_by("subgroup").agg(pl.col("n_eff").median().alias("n"))
    known = dataset.subgroups.join(answered, on="subgroup", how="left", maintain_order="left")
    sizes = {row["subgroup"]: row for row in known.iter_rows(named=True)}
    rows: list[dict[str, Any]] = []
    for one in questions:
        for subgroup in subgroups:
            size = sizes[subgroup]
            rows.append(
                {
                    "question": one.id,
                    "subgroup": subgroup,
                    "stratum": size["stratum"],
                    "option": list(one.options),
                    "code": list(one.codes),
                    "predicted": np.asarray(shares(one.id, subgroup), dtype=np.float64).tolist(),
                    "n": float(size["n"] or size["n_eff"] or 1.0),
                    "population": subgroup == EVERYONE and not dataset.has_only_everyone,
                    "ordered": one.scale != "nominal",
                }
            )
    pairs = backtest.intervals.add_to(pl.DataFrame(rows, infer_schema_length=None))
    best = pl.col("probability").list.arg_max()
    pairs = pairs.with_columns(mode=pl.col("option").list.get(best), mode_probability=pl.col("probability").list.max())
    long = pairs.explode("option", "code", "predicted", "low", "high", "probability").rename({"predicted": "share"})
    marked = long.join(similarity.select("question", "similarity", "outside", "reason"), on="question", how="left", maintain_order="left")
    return PREDICTIONS.check(marked, "predictions").select(list(PREDICTIONS.columns))
