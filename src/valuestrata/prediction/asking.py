"""What a prediction asks the model: the survey's own questions, and the new ones, in the same way.

Answers are kept in ordinary runs: `runs/own` belongs to the data set, and each new question has a run of its own, named after its id
and content. A question that is changed or added is asked without asking the others again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from valuestrata.calibration.model_answers import ModelAnswers, model_answers
from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.prediction.completion import completed
from valuestrata.prediction.questions import NewQuestion, with_questions
from valuestrata.prompts import load_template, orders_from
from valuestrata.prompts.prompt import Elicitation
from valuestrata.respondents.base import Respondent, elicitation_of
from valuestrata.responses.ask.estimate import DryRun, estimate_run
from valuestrata.responses.ask.loop import AskResult, ask_planned
from valuestrata.responses.ask.plan import Asking, asked_meta
from valuestrata.responses.run.folder import Run, check_same_dataset, load_run
from valuestrata.responses.run.identity import RunIdentity, run_identity

# Each option is then as often before as behind the middle.
ORDERS = "scale,reversed"
OWN = "own"


@dataclass(frozen=True)
class AskedPart:
    """One run of a prediction. `dataset` is the survey, with a new question in the runs of new questions."""

    dataset: Dataset
    asking: Asking
    folder: Path


@dataclass(frozen=True)
class PredictionPlan:
    """What is asked for a prediction.

    Attributes:
        dataset: the survey. questions: new ones. subgroups: those that are predicted.
        parts: runs to ask; without that of the survey's own questions where `run` is reused.
        run: a run of the survey's own questions that is reused, or None.
    """

    dataset: Dataset
    questions: tuple[NewQuestion, ...]
    subgroups: tuple[str, ...]
    parts: tuple[AskedPart, ...]
    run: Run | None = None

    def check(self, respondent: Respondent) -> None:
        """Refuse a model, template or elicitation that is not that of the reused run.

        Raises:
            InputDataError: it differs.
        """
        if self.run is None:
            return
        there = run_identity(self.run)
        part = self.parts[0]
        now = RunIdentity.from_document(asked_meta(part.dataset, respondent, part.folder.name, part.asking), part.folder.name)
        for what, same in (("model", there.same_model(now)), ("template or elicitation", there.same_readout(now))):
            if not same:
                raise InputDataError(
                    f"{self.run.path}: the run {self.run.name!r} was asked with another {what} than the new questions would be. What a "
                    "calibration learns from it does not apply to them. Ask the new questions in the same way, or leave out ",
                    Option("run"),
                    " to ask the survey's own questions again.",
                )

    def estimates(self, respondent: Respondent) -> list[DryRun]:
        """Return the estimate of each part."""
        return [estimate_run(part.dataset, respondent, part.folder, part.asking) for part in self.parts]

    def ask(self, respondent: Respondent, *, max_calls: int | None = None, max_cost: float | None = None) -> Iterator[AskResult]:
        """Ask the parts one after the other; the limits apply to all together. A part that stops ends the asking."""
        spent = 0.0
        for part in self.parts:
            left = None if max_cost is None else max(max_cost - spent, 0.0)
            result = ask_planned(part.dataset, respondent, part.folder, part.asking, max_calls=max_calls, max_cost=left)
            spent += float(result.usage.get("cost") or 0.0)
            max_calls = None if max_calls is None else max_calls - result.asked
            yield result
            if result.stopped is not None:
                return

    def answers(self) -> ModelAnswers:
        """Return the model's answers to all questions, from the runs; see `completed`."""
        extended = with_questions(self.dataset, self.questions)
        runs = [*([] if self.run is None else [self.run]), *(load_run(part.folder) for part in self.parts)]
        frames = [run.responses.select("item", "subgroup", "order", "answer", "option_probs") for run in runs]
        responses = pl.concat(frames).filter(pl.col("subgroup").is_in(self.subgroups))
        return completed(extended, model_answers(extended, responses), self.subgroups)


def plan_prediction(
    dataset: Dataset,
    questions: Sequence[NewQuestion],
    out: Path,
    *,
    run: Run | None = None,
    template: str | Path | None = None,
    elicitation: str | None = None,
    orders: str | None = None,
    strata: Sequence[str] = (),
    own_items: int | None = None,
) -> PredictionPlan:
    """Return what is asked.

    Args:
        dataset: the survey. questions: new ones. out: folder of the prediction.
        run: a run of the survey's own questions to reuse; template, elicitation and orders are then its own unless given.
        template, elicitation, orders: as for `ask`; by default `default`, `logprob` and `scale,reversed`.
        strata: only the subgroups of these; the population is always predicted.
        own_items: ask at most this many of the survey's own questions, spread over its topics; None for all.

    Raises:
        UsageError: an unknown name, or fewer than three own questions.
        InputDataError: the run belongs to another data set.
    """
    for name in strata:
        if name not in dataset.strata:
            raise UsageError(f"{dataset.path or 'The data set'} has no stratum {name!r}.{did_you_mean(name, dataset.strata)}")
    if own_items is not None and own_items < 3:
        raise UsageError(Option("own_items", own_items), ": the backtest needs at least 3 of the survey's own questions.")
    wanted = dataset.subgroups if not strata else dataset.subgroups.filter(pl.col("stratum").is_in([EVERYONE, *strata]))
    subgroups = tuple(wanted["subgroup"].to_list())
    asked = [name for name in subgroups if name != EVERYONE] or list(subgroups)
    if run is not None:
        check_same_dataset(run, dataset)
        there = set(run.responses["subgroup"].unique())
        asked = [name for name in asked if name in there]
        template = template or str(run.meta.get("template") or "default")
        elicitation = elicitation or str(run.meta.get("elicitation") or "logprob")
        orders = orders or ",".join(_spec(order) for order in sorted(run.responses["order"].drop_nulls().unique()))
    readout = elicitation_of(elicitation or "logprob")
    order_names = orders_from(orders or ORDERS)
    runs = out / "runs"
    parts: list[AskedPart] = []
    if run is None:
        pairs = dataset.gold.filter((pl.col("half") == "all") & pl.col("subgroup").is_in(asked))
        if own_items is not None:
            chosen = spread_over_topics(dataset, pairs["item"].unique(maintain_order=True).to_list(), questions, own_items)
            pairs = pairs.filter(pl.col("item").is_in(chosen))
        scheme = dataset.splits["scheme"][0] if dataset.splits.height else "paper"
        parts.append(AskedPart(dataset, _asking(pairs, template, readout, order_names, str(scheme)), runs / OWN))
    for one in questions:
        extended = with_questions(dataset, [one])
        pairs = pl.DataFrame(
            {"pair_id": [f"{one.id}_{subgroup}" for subgroup in asked], "item": [one.id] * len(asked), "subgroup": asked},
            schema=dict.fromkeys(("pair_id", "item", "subgroup"), pl.String),
        )
        parts.append(
            AskedPart(extended, _asking(pairs, template, readout, order_names, "new"), runs / f"{one.id}-{extended.fingerprint[:8]}")
        )
    return PredictionPlan(dataset, tuple(questions), subgroups, tuple(parts), run)


def spread_over_topics(dataset: Dataset, items: Sequence[str], questions: Sequence[NewQuestion], most: int) -> list[str]:
    """Return at most `most` items, topics in turn; within a topic, items with as many options as a new question come first."""
    lengths = {len(one.options) for one in questions}
    shuffled = [items[int(at)] for at in np.random.default_rng(0).permutation(len(items))]
    topic = dict(dataset.items.select("item", "topic").iter_rows())
    by_topic: dict[str, list[str]] = {}
    for item in sorted(shuffled, key=lambda item: len(dataset.codes_of[item]) not in lengths):
        by_topic.setdefault(topic[item], []).append(item)
    chosen: list[str] = []
    while len(chosen) < min(most, len(items)):
        for own in by_topic.values():
            if own and len(chosen) < most:
                chosen.append(own.pop(0))
    return chosen


def _asking(pairs: pl.DataFrame, template: str | Path | None, readout: Elicitation, orders: tuple[str, ...], split: str) -> Asking:
    return Asking(
        pairs=pairs.select("pair_id", "item", "subgroup"),
        template=load_template(template or "default"),
        elicitation=readout,
        orders=orders,
        paraphrases=(0,),
        samples=1,
        split=split,
        part="all",
        fold=None,
    )


def _spec(order: str) -> str:
    """Return an order as `orders_from` reads it; responses name shuffled orders `shuffled-7`."""
    return order.replace("shuffled-", "shuffled:") if order.startswith("shuffled-") else order
