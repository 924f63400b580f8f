"""A study from its first stage to its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.assessment import Assessment
from valuestrata.dataset.tables import Dataset, load_dataset
from valuestrata.errors import RunFailedError, UsageError, did_you_mean, options_as
from valuestrata.fairness import Audit, check_mixed
from valuestrata.respondents.models import check_model_spec
from valuestrata.responses.ask.plan import select_pairs
from valuestrata.responses.reference_baselines import baseline_name, kinds_of
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.scores.layout import keys_of
from valuestrata.scores.plan import Declared, declare, describe
from valuestrata.study.ask import Asked, ask_prepared
from valuestrata.study.config import ModelSection, ReportSection, Study, SurveySection
from valuestrata.study.data import built, write_resolved
from valuestrata.study.evaluate import judge
from valuestrata.study.open_answers import FOLDER, PAGE, OpenResult, prepare_openly, run_openly
from valuestrata.study.preflight import prepare

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StudyResult:
    """What a study left behind.

    Attributes:
        dataset: the ground truth.
        runs: those of the study's models that have anything to score, then the baselines beside them.
        assessment: scores, comparisons, verdicts and the plan they stand under.
        report: the page.
        asked: what became of each model, in the order of the study.
        audit: who is served worse, None where the study does not ask.
        open: what became of its open questions, None where it has none.
    """

    dataset: Dataset
    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    asked: tuple[Asked, ...]
    audit: Audit | None = None
    open: OpenResult | None = None

    @property
    def scores(self) -> pl.DataFrame:
        """The plain scores."""
        return self.assessment.scores

    @property
    def model_runs(self) -> tuple[Run, ...]:
        """The runs of the study's own models."""
        return self.runs[: sum(one.has_results for one in self.asked)]

    @property
    def failed(self) -> int:
        """Prompts that were asked and ended failed, over all runs."""
        return sum(one.failed for one in self.asked)

    @property
    def problems(self) -> list[str]:
        """What went wrong, a line for each run that broke off or holds failures; empty where nothing did."""
        openly = self.open.problems if self.open is not None else ()
        return [*(one.problem for one in self.asked if one.problem), *openly]


@options_as("study")
def run_study(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> StudyResult:
    """Do the whole study and return what it left; `say` is told of every stage in a line.

    A model that cannot be reached does not end the study: the others are asked, what has answers is scored, and the
    result's `problems` name it.

    Raises:
        UsageError, InputDataError, MissingExtraError: what any stage refuses. What can be known of all models beforehand is
            refused before the first of them is called; what was done stays and is not done again.
        RunFailedError: no model has an answer, or the disk does not take the answers.
    """
    if study.tune is not None:
        raise UsageError(f"{study.name}: its section `tune` teaches models; run it with `valuestrata run` or `run_generalisation`.")
    study.folder.mkdir(parents=True, exist_ok=True)
    write_resolved(study)
    for model in study.models:
        check_model_spec(model.model)
    if study.audit is not None:
        check_mixed(study.audit.mixed)
    dataset = built(study, say)
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    prepared = prepare(study, dataset, train_on, say)
    openly = None if study.open is None else prepare_openly(study, study.open, dataset, say)
    plan = _declared(study, dataset)
    say(describe(plan))
    asked = [ask_prepared(study, one, dataset, train_on, say) for one in prepared]
    runs = [load_run(one.run) for one, came in zip(prepared, asked, strict=True) if came.has_results]
    _check_any(study, asked, say)
    written = None if openly is None else run_openly(openly, runs, say)
    pages = [("Open answers, judged and read", f"{FOLDER}/{PAGE}")] if written is not None and written.report is not None else []
    found = judge(study, dataset, runs, plan, say, train_on=train_on, pages=pages)
    return StudyResult(dataset, found.runs, found.assessment, found.report, tuple(asked), found.audit, written)


def _check_any(study: Study, asked: Sequence[Asked], say: Callable[[str], None]) -> None:
    """Tell which models have nothing to score; refuse to go on where none has."""
    without = [one for one in asked if not one.has_results]
    if len(without) < len(asked):
        for one in without:
            say(f"{one.run}: no answer, so that it is not scored")
        return
    why = "; ".join(f"{one.run}: {one.error or one.stopped or one.problem or 'nothing was asked'}" for one in without)
    error = RunFailedError if any(one.error or one.failed for one in without) else UsageError
    raise error(f"{study.folder}: no model has an answer, so that there is nothing to score. {why}")


def _declared(study: Study, dataset: Dataset) -> Declared:
    """Declare the study's plan, before anything is asked.

    A split, a run or a key that will not be there is refused now: mended later, it would be another plan.
    """
    pairs = select_pairs(dataset, study.split.scheme, study.split.part, study.split.fold, items=study.ask.items, strata=study.ask.strata)
    keys = {by: set(names) for by, names in keys_of(dataset, pairs).items()}
    for planned in study.plan.comparisons:
        if planned.by != "all" and planned.key not in keys[planned.by]:
            guess = did_you_mean(planned.key, sorted(keys[planned.by]))
            raise UsageError(f"plan.comparisons names the {planned.by} {planned.key!r}, of which no pair is asked.{guess}")
    names = [model.run_name for model in study.models] + [baseline_name(kind) for kind in kinds_of(study.score.baselines)]
    for planned in study.plan.comparisons:
        for name in (planned.run, planned.against):
            if name not in names:
                raise UsageError(f"plan.comparisons names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    for key, name in (("audit.against", study.audit.against if study.audit else None), ("score.against", study.score.against)):
        if name is not None and name not in names:
            raise UsageError(f"{key} names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    answered = any(path.stat().st_size for path in (study.folder / "runs").glob("*/store/responses.jsonl"))
    return declare(study.folder, study.plan.resolved(study.split.scheme, study.split.part, study.split.fold), answered)


def demo_study(folder: Path, *, models: Sequence[str] = ()) -> Study:
    """Return the study behind `valuestrata demo`: the embedded survey, the embedded model, with and without a persona."""
    # The shuffled persona would ask as many prompts again; without a persona one prompt an item is enough.
    words = models or ("embedded", "control:no-persona@embedded")
    return Study(
        name="demo",
        output=str(folder),
        survey=SurveySection(file="embedded", codebook="gss2018"),
        models=[ModelSection(model=word) for word in words],
        report=ReportSection(title="Demonstration: General Social Survey 2018", published=True),
    )
