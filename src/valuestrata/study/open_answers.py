"""Open questions of a study: asked, judged in pairs, read as stances, and reported, in the folder `open/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from valuestrata.errors import RunFailedError, UsageError, did_you_mean
from valuestrata.openended.ask import plan_open
from valuestrata.openended.files import load_stances
from valuestrata.openended.open_runs import load_open_run
from valuestrata.openended.pairwise.judge import open_judge, plan_judging
from valuestrata.openended.pairwise.prompts import Criterion, load_criteria
from valuestrata.openended.sources import load_sources
from valuestrata.openended.stance.read import open_stance, plan_stance
from valuestrata.report.open.page import write_open_report
from valuestrata.respondents.base import OPEN_TOKENS, Respondent
from valuestrata.respondents.models import check_model_spec, make_respondent
from valuestrata.responses.ask.loop import AskResult
from valuestrata.responses.reference_baselines import kinds_of
from valuestrata.responses.run.failures import kinds_listed
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity
from valuestrata.study.ask import ModelResult, ask_model
from valuestrata.study.config import CalledSection, ModelSection, OpenSection, Study
from valuestrata.study.context import StudyContext
from valuestrata.study.model_spec import is_hosted
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
        problems: one line per error.
    """

    asked: tuple[ModelResult, ...]
    report: Path | None
    judged: tuple[Path, ...]
    stances: Path | None
    problems: tuple[str, ...]


def prepare_open(context: StudyContext, section: OpenSection) -> PreparedOpen:
    """Plan and check the open questions of a study. Nothing is called, loaded or written.

    Raises:
        UsageError: an unknown run, criterion, item or topic, or a judge that cannot be called.
        InputDataError, MissingExtraError: as for `prepare_models`.
    """
    study = context.study
    inner = study.model_copy(update={"output": str(study.folder / FOLDER), "models": _models(study, section), "open": None})
    names = [model.run_name for model in inner.models]
    if section.reference is not None and section.reference not in names:
        hint = did_you_mean(section.reference, names)
        raise UsageError(f"open.reference names the run {section.reference!r}, which is not asked open questions.{hint}")
    criteria = load_criteria(section.criteria, section.criteria_file)
    opened = replace(context, study=inner, train_on=None)
    for judge in (*section.judges, *section.readers):
        check_model_spec(judge.model)
        if is_hosted(judge.model):
            # A missing key or address is found before the answers are paid for.
            _judge(opened, judge)
    plan = plan_open(
        context.dataset,
        items=section.items,
        topics=section.topics,
        most_divided=section.most_divided,
        strata=section.strata,
        pairs_per_item=section.pairs_per_item,
        seed=study.seeds.split,
        template=section.template,
        samples=section.samples,
        **context.where,
    )
    for note in plan.notes:
        context.say(note.render("study"))
    opened = replace(opened, dataset=plan.dataset)
    return PreparedOpen(opened, section, tuple(criteria), tuple(prepare_models(opened, asking=plan.asking)))


def run_open(prepared: PreparedOpen, closed: Sequence[Run]) -> OpenResult:
    """Ask, judge, read and report. An unreachable model or judge is named in `problems`; the study continues.

    Args:
        prepared: see `prepare_open`. closed: the study's closed runs, to compare with stances.

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
    judged = _judge_pairs(prepared, runs, problems)
    stances = _read_stances(prepared, runs, problems)
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
        example=prepared.section.example or (),
        title=f"{study.report.title or study.name}: open answers",
        published=study.report.published,
        baselines=kinds_of(study.score.baselines),
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
        **context.where,
    )
    return OpenResult(tuple(results), report, tuple(judged), stances, tuple(problems))


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


def _judge_pairs(prepared: PreparedOpen, runs: Sequence[Run], problems: list[str]) -> list[Path]:
    """Let every judge compare the runs with the reference; return the folders with verdicts."""
    section, context = prepared.section, prepared.context
    reference = next((run for run in runs if run.name == section.reference), None)
    others = [run for run in runs if run.name != section.reference]
    if reference is None or not others:
        if section.judges:
            silent = section.reference if reference is None else "every other model"
            problems.append(f"nothing was judged: {silent} has no open answers")
        return []
    folders: list[Path] = []
    for judge in section.judges:
        context.say(f"judging with {judge.model}")
        plan = plan_judging(
            context.dataset,
            others,
            reference,
            _judge(context, judge),
            criteria=prepared.criteria,
            elicitation=judge.elicitation,
            # An incomplete run is compared where it has answers.
            common=True,
            truncate=section.truncate,
            context=section.context,
        )
        folder = context.folder / "judged" / judge.folder_name
        if _called(context, judge, plan.notes, partial(open_judge, plan, folder), problems):
            folders.append(folder)
    return folders


def _read_stances(prepared: PreparedOpen, runs: Sequence[Run], problems: list[str]) -> Path | None:
    """Let every reader place the answers on the items' scales; return the folder if any reader succeeded."""
    section, context = prepared.section, prepared.context
    folder = context.folder / "stances"
    limits = {"truncate": section.truncate, "context": section.context}
    succeeded = False
    for reader in section.readers:
        context.say(f"reading stances with {reader.model}")
        plan = plan_stance(context.dataset, runs, _judge(context, reader), elicitation=reader.elicitation, **limits)
        succeeded |= _called(context, reader, plan.notes, partial(open_stance, plan, folder), problems)
    return folder if succeeded else None


def _called(context: StudyContext, judge: CalledSection, notes: Sequence[str], call: Callable[..., AskResult], problems: list[str]) -> bool:
    """Call a judge; return whether it could be called, and add errors and failures to `problems`."""
    for note in notes:
        context.say(note)
    try:
        result = call(max_calls=judge.max_calls, max_cost=judge.max_cost)
    except RunFailedError as error:
        if isinstance(error.__cause__, OSError):
            raise
        message = f"{judge.model} as judge: {error.render('study')}"
        context.say(message)
        problems.append(message)
        return False
    if result.failed:
        problems.append(f"{judge.model} as judge: {result.failed:,} calls failed ({kinds_listed(result.failures)})")
    if result.stopped is not None:
        context.say(f"{judge.model} as judge: stopped ({result.stopped}); run the same command again to continue")
    return True


def _judge(context: StudyContext, judge: CalledSection) -> Respondent:
    return make_respondent(judge.model, context.dataset, settings=judge.settings(context.study.seeds))
