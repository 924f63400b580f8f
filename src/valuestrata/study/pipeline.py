"""Run all stages of a study."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.assessment import Assessment
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError, did_you_mean, options_as
from valuestrata.fairness import Audit
from valuestrata.responses.ask.plan import select_pairs
from valuestrata.responses.reference_baselines import baseline_name, kinds_of
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.scores.layout import keys_of
from valuestrata.scores.plan import Declared, declare, describe
from valuestrata.study.ask import ModelResult, ask_model
from valuestrata.study.calibrating import calibrate_runs, check_calibrations, planned_calibrations
from valuestrata.study.config import (
    AskSection,
    BuildSection,
    CalibrateSection,
    ModelSection,
    ReportSection,
    SplitSection,
    Study,
    SurveySection,
)
from valuestrata.study.context import StudyContext
from valuestrata.study.data import create_folder, open_study
from valuestrata.study.evaluate import audit_runs, report_runs, score_runs
from valuestrata.study.open_questions.answers import FOLDER, PAGE, OpenResult, prepare_open, run_open
from valuestrata.study.preflight import prepare_models
from valuestrata.study.stages import Reached, StudyProgress, check_stage, finished, stopped_after

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StudyResult:
    """Results of a study.

    Attributes:
        dataset: the ground truth.
        runs: runs of the study's models that have responses to score, then the calibrated runs, then the baselines.
        assessment: scores, comparisons and claims, with the plan.
        report: file of the report.
        asked: result of asking each model, in the order of the study.
        audit: None without the section `audit`. open: None without the section `open`.
        calibrated: the calibrated runs; empty without the section `calibrate`.
    """

    dataset: Dataset
    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    asked: tuple[ModelResult, ...]
    audit: Audit | None = None
    open: OpenResult | None = None
    calibrated: tuple[Run, ...] = ()

    @property
    def scores(self) -> pl.DataFrame:
        """The scores of all runs."""
        return self.assessment.scores

    @property
    def model_runs(self) -> tuple[Run, ...]:
        """The runs without the baselines."""
        return self.runs[: sum(result.has_results for result in self.asked) + len(self.calibrated)]

    @property
    def failed(self) -> int:
        """Number of failed prompts in all runs."""
        return sum(result.failed for result in self.asked)

    @property
    def problems(self) -> list[str]:
        """One line per run with an error or failures, and per problem of the open questions."""
        return [*(result.problem for result in self.asked if result.problem), *(self.open.problems if self.open else ())]


@options_as("study")
def run_study(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> StudyResult:
    """Run a study; what an earlier call completed is not repeated.

    If a model cannot be reached, the others are asked and scored, and `problems` of the result names it.

    Args:
        study: the study.
        say: takes a line about every stage.

    Raises:
        UsageError: an invalid setting or a missing key, found before the first call.
        InputDataError: a file that cannot be read or does not fit, found before the first call.
        MissingExtraError: a library is not installed, found before the first call.
        RunFailedError: no model has an answer, or the answers cannot be written to disk.
    """
    return finished(_steps(study, say))


@options_as("study")
def run_study_until(study: Study, stage: str, *, say: Callable[[str], None] = lambda _line: None) -> StudyProgress:
    """Run a study until a stage has ended; the next call of this function or of `run_study` continues.

    Args:
        study: the study.
        stage: one of `stages_of(study)`.
        say: takes a line about every stage.

    Raises:
        UsageError: the study has no such stage; and the errors of `run_study`.
    """
    check_stage(study, stage)
    return stopped_after(study, _steps(study, say), stage)


def _steps(study: Study, say: Callable[[str], None]) -> Generator[Reached, None, StudyResult]:
    """Run the stages of a study one after the other."""
    if study.tune is not None:
        raise UsageError(f"{study.name}: a study with a section `tune` is run with `valuestrata run` or `run_generalisation`.")
    create_folder(study)
    context = open_study(study, say)
    yield Reached("build")
    check_calibrations(context)
    prepared = prepare_models(context)
    prepared_open = None if study.open is None else prepare_open(context, study.open)
    plan = _declare_plan(context)
    say(describe(plan))
    yield Reached("plan")
    results = [ask_model(context, model) for model in prepared]
    problems = tuple(result.problem for result in results if result.problem)
    left = sum(result.left for result in results)
    yield Reached("ask", problems, left)
    runs = [load_run(model.run) for model, result in zip(prepared, results, strict=True) if result.has_results]
    _check_results(context, results)
    calibrated = calibrate_runs(context, runs)
    if study.calibrate is not None:
        yield Reached("calibrate", problems, left)
    opened = None if prepared_open is None else run_open(prepared_open, runs, plan)
    if opened is not None:
        problems, left = (*problems, *opened.problems), left + sum(result.left for result in opened.asked)
        yield Reached("open", problems, left)
    scored = score_runs(context, [*runs, *calibrated], plan)
    yield Reached("score", problems, left)
    audited = audit_runs(scored)
    if audited is not None:
        yield Reached("audit", problems, left)
    pages = [("Open answers, judged and read", f"{FOLDER}/{PAGE}")] if opened is not None and opened.report is not None else []
    if opened is not None and opened.audit is not None:
        pages.append(("Audit of the stances read from open answers", opened.audit.relative_to(context.folder).as_posix()))
    found = report_runs(scored, audited, pages=pages)
    yield Reached("report", problems, left)
    return StudyResult(
        context.dataset, found.runs, found.assessment, found.report, tuple(results), found.audit, opened, calibrated=tuple(calibrated)
    )


def demo_study(folder: Path, *, models: Sequence[str] = ()) -> Study:
    """Return the study of `valuestrata demo`: the embedded survey and the embedded model, on questions held out from calibration.

    Every prompt is asked with the options in both directions, because small models give the last option whatever the question. The five
    strata are few, and the demonstration takes a few minutes on two cores.
    """
    # The control without personas needs one prompt per item and order; shuffled personas would double the prompts.
    specs = models or ("embedded", "control:no-persona@embedded")
    return Study(
        name="demo",
        output=str(folder),
        survey=SurveySection(file="embedded", codebook="gss2018"),
        build=BuildSection(strata=["sex", "age_group", "ethnicity", "education", "sex_x_age"]),
        split=SplitSection(scheme="unseen-item"),
        ask=AskSection(orders="balanced:2"),
        models=[ModelSection(model=spec) for spec in specs],
        calibrate=CalibrateSection(methods=["shares"]),
        report=ReportSection(title="Demonstration: General Social Survey 2018", published=False),
    )


def _check_results(context: StudyContext, results: Sequence[ModelResult]) -> None:
    """Name the models without responses to score; raise if no model has any."""
    without = [result for result in results if not result.has_results]
    if len(without) < len(results):
        for result in without:
            context.say(f"{result.run}: no answers, not scored")
        return
    reasons = "; ".join(f"{one.run}: {one.error or one.stopped or one.problem or 'nothing was asked'}" for one in without)
    error = RunFailedError if any(result.error or result.failed for result in without) else UsageError
    raise error(f"{context.folder}: no model has an answer, so there is nothing to score. {reasons}")


def _declare_plan(context: StudyContext) -> Declared:
    """Declare the plan before anything is asked.

    Raises:
        UsageError: the plan, the audit or the scores name a run or group that the study does not have. Corrected after the first
            answer, it would count as another plan.
    """
    study, where = context.study, context.where
    pairs = select_pairs(context.dataset, **where, items=study.ask.items, strata=study.ask.strata)
    keys = {by: set(names) for by, names in keys_of(context.dataset, pairs).items()}
    for planned in study.plan.comparisons:
        if planned.by != "all" and planned.key not in keys[planned.by]:
            hint = did_you_mean(planned.key, sorted(keys[planned.by]))
            raise UsageError(f"plan.comparisons names the {planned.by} {planned.key!r}, which has no pair to ask.{hint}")
    names = (
        [model.run_name for model in study.models]
        + [one.name for one in planned_calibrations(study)]
        + [baseline_name(kind) for kind in kinds_of(study.score.baselines)]
    )
    named = [("plan.comparisons", name) for planned in study.plan.comparisons for name in (planned.run, planned.against)]
    named += [("audit.against", study.audit.against)] if study.audit and study.audit.against else []
    named += [("score.against", study.score.against)] if study.score.against else []
    for key, name in named:
        if name not in names:
            raise UsageError(f"{key} names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    answered = any(path.stat().st_size for path in (context.folder / "runs").glob("*/store/responses.jsonl"))
    return declare(context.folder, study.plan.resolved(study.split.scheme, study.split.part, study.split.fold), answered)
