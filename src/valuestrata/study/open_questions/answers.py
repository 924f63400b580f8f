"""Open questions of a study: asked, judged in pairs, read as stances, and reported, in the folder `open/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from valuestrata.errors import UsageError, did_you_mean
from valuestrata.openended.ask import OpenAsking, plan_open
from valuestrata.openended.files import load_stances
from valuestrata.openended.open_runs import load_open_run
from valuestrata.openended.pairwise.prompts import Criterion, load_criteria
from valuestrata.openended.sources import load_sources
from valuestrata.openended.stance.scores import load_stance_runs
from valuestrata.reports.open.page import write_open_report
from valuestrata.respondents.base import OPEN_TOKENS
from valuestrata.responses.reference_baselines import kinds_of, reference_baselines
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared
from valuestrata.study.ask import ModelResult, ask_model
from valuestrata.study.config import ModelSection, OpenSection, Study
from valuestrata.study.context import StudyContext
from valuestrata.study.evaluate import audited_runs
from valuestrata.study.open_questions.judging import check_judges, judge_pairs, read_stances
from valuestrata.study.preflight import PreparedModel, prepare_models

FOLDER = "open"
PAGE = "open.html"
# Models that do not write texts of their own persona.
_NOT_ASKED = ("baseline:", "control:")


@dataclass(frozen=True)
class PreparedOpen:
    """The open questions of a study, planned and checked.

    Attributes:
        context: the study with the folder `open/` and the data set of the open questions. section: its section `open`.
        criteria: criteria of the judges. models: the models to ask.
    """

    context: StudyContext
    section: OpenSection
    criteria: tuple[Criterion, ...]
    models: tuple[PreparedModel, ...]


@dataclass(frozen=True)
class OpenResult:
    """Results of a study's open questions.

    Attributes:
        asked: result of asking each model. report: file of the report; None if no model wrote anything.
        judged: folders of the judges' verdicts. stances: folder of the stances, None if there are none.
        problems: one line per error. audit: page with the audit of the stances; None without stances or the section `audit`.
    """

    asked: tuple[ModelResult, ...]
    report: Path | None
    judged: tuple[Path, ...]
    stances: Path | None
    problems: tuple[str, ...]
    audit: Path | None = None


def check_open(context: StudyContext, section: OpenSection) -> OpenAsking:
    """Check the names, criteria and judges of a study's open questions, and return what is asked; the models need not exist yet.

    Raises:
        UsageError: an unknown run, criterion, item or topic, or a judge that cannot be called.
        InputDataError: nothing to ask, or an unusable template file.
    """
    names = [model.run_name for model in _models(context.study, section)]
    if section.reference is not None and section.reference not in names:
        hint = did_you_mean(section.reference, names)
        raise UsageError(f"open.reference names the run {section.reference!r}, which is not asked open questions.{hint}")
    load_criteria(section.criteria, section.criteria_file)
    # A missing key or address is found before the answers are paid for.
    check_judges(context, section)
    return plan_open(
        context.dataset,
        items=section.items,
        topics=section.topics,
        most_divided=section.most_divided,
        strata=section.strata,
        pairs_per_item=section.pairs_per_item,
        seed=context.study.seeds.split,
        template=section.template,
        samples=section.samples,
        **context.where,
    )


def prepare_open(context: StudyContext, section: OpenSection) -> PreparedOpen:
    """Plan and check the open questions of a study. Nothing is called, loaded or written.

    Raises:
        UsageError: an unknown run, criterion, item or topic, or a judge that cannot be called.
        InputDataError, MissingExtraError: as for `prepare_models`.
    """
    study = context.study
    plan = check_open(context, section)
    for note in plan.notes:
        context.say(note.render("study"))
    inner = study.model_copy(update={"output": str(study.folder / FOLDER), "models": _models(study, section), "open": None})
    opened = replace(context, study=inner, train_on=None, dataset=plan.dataset)
    criteria = load_criteria(section.criteria, section.criteria_file)
    return PreparedOpen(opened, section, tuple(criteria), tuple(prepare_models(opened, asking=plan.asking)))


def run_open(prepared: PreparedOpen, closed: Sequence[Run], plan: Declared | None = None) -> OpenResult:
    """Ask, judge, read and report. An unreachable model or judge is named in `problems`; the study continues.

    Args:
        prepared: see `prepare_open`. closed: the study's closed runs, to compare with stances. plan: the declared plan of the study.

    Raises:
        UsageError, InputDataError, MissingExtraError: from judging and reading.
        RunFailedError: the answers cannot be written to disk.
    """
    context, study, dataset = prepared.context, prepared.context.study, prepared.context.dataset
    results = [ask_model(context.prefixed("open questions"), model) for model in prepared.models]
    problems = [f"open questions, {result.problem}" for result in results if result.problem]
    runs = [load_open_run(model.run) for model, result in zip(prepared.models, results, strict=True) if result.has_results]
    if not runs:
        return OpenResult(tuple(results), None, (), None, (*problems, "no model answered an open question"))
    judged = judge_pairs(context, prepared.section, prepared.criteria, runs, problems)
    stances = read_stances(context, prepared.section, runs, problems)
    audit = _audit_stances(context, stances)
    context.say("writing the report on open answers")
    folders = [*judged, *([] if stances is None else [stances])]
    read = [] if stances is None else [load_stances(stances)]
    # Closed runs of models without open answers have nothing to compare with.
    compared = [run for run in closed if read and any(run_identity(run).same_weights(run_identity(one)) for one in runs)]
    report = write_open_report(
        dataset,
        runs,
        study.folder / PAGE,
        sources=load_sources(dataset, [*folders, *(run.path for run in runs)]) if folders else None,
        stances=read,
        closed=compared,
        plan=plan,
        example=prepared.section.example or (),
        title=f"{study.report.title or study.name}: open answers",
        published=study.report.published,
        baselines=kinds_of(study.score.baselines),
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
        **context.where,
    )
    return OpenResult(tuple(results), report, tuple(judged), stances, tuple(problems), audit)


def _audit_stances(context: StudyContext, folder: Path | None) -> Path | None:
    """Audit the readings of every run and judge; return the page. None without stances or the section `audit`."""
    study, section = context.study, context.study.audit
    if folder is None or section is None:
        return None
    context.say("auditing the stances")
    runs = load_stance_runs(folder)
    # Each reading is compared with the same judge's reading of the run that the study compares with.
    others = {run.name: f"{section.against} read by {run.meta['read_by']}" for run in runs if section.against is not None}
    names = [run.name for run in runs]
    against = {name: other for name, other in others.items() if other in names and other != name}
    baselines = reference_baselines(context.dataset, runs, kinds=kinds_of(study.score.baselines), **context.where)
    audited_runs(context, [*runs, *baselines], against)
    return context.folder / "audit" / "audit.html"


def _models(study: Study, section: OpenSection) -> list[ModelSection]:
    """Return the models to ask: the named ones, by default all but baselines and controls."""
    known = {model.run_name: model for model in study.models}
    for name in section.models:
        if name not in known:
            raise UsageError(f"open.models names {name!r}, which is not a run of this study.{did_you_mean(name, list(known))}")
    names = section.models or [name for name, model in known.items() if not model.model.startswith(_NOT_ASKED)]
    if not names:
        raise UsageError(f"{study.name}: `open` needs language models, and the study has none. Add one, or remove the section.")
    writing = {"max_new_tokens": section.max_new_tokens or OPEN_TOKENS, "constrain": False}
    return [known[name].model_copy(update=writing) for name in names]
