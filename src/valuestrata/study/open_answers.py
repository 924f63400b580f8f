"""A study's open questions: its models are asked in persona, and what they write is judged in pairs, read as stances and reported.

All of it lies in the study's folder under `open/`: `runs/NAME/` a run a model, `judged/JUDGE/` the verdicts of a judge, `stances/`,
`open.html` and its tables. What is there is kept, and what stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError, did_you_mean
from valuestrata.openended.ask import OpenAsking, plan_open
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
from valuestrata.study.ask import Asked, ask_prepared
from valuestrata.study.config import CalledSection, ModelSection, OpenSection, Study
from valuestrata.study.model_spec import is_hosted
from valuestrata.study.preflight import Prepared, prepare

FOLDER = "open"
PAGE = "open.html"
_WRITE_NOTHING = ("baseline:", "control:")


@dataclass(frozen=True)
class Openly:
    """The open questions of a study, found fit to be asked.

    Attributes:
        study: the study in its folder `open/`. section: what it says of them.
        plan: questions and pairs. criteria: what on judges compare. models: the models, ready to be asked.
    """

    study: Study
    section: OpenSection
    plan: OpenAsking
    criteria: tuple[Criterion, ...]
    models: tuple[Prepared, ...]


@dataclass(frozen=True)
class OpenResult:
    """What became of a study's open questions.

    Attributes:
        asked: what became of each model. report: the page; None where no model wrote anything.
        judged, stances: folders of verdicts, and that of stances (None where nothing was read).
        problems: what went wrong, a line each.
    """

    asked: tuple[Asked, ...]
    report: Path | None
    judged: tuple[Path, ...]
    stances: Path | None
    problems: tuple[str, ...]


def prepare_openly(study: Study, section: OpenSection, dataset: Dataset, say: Callable[[str], None]) -> Openly:
    """Look at all that the section `open` names before anything is asked; nothing is called, loaded or written.

    Raises:
        UsageError: a run, criterion, item or topic that does not exist, or a judge that cannot be called.
        InputDataError, MissingExtraError: what planning and preparing raise.
    """
    inside = study.model_copy(update={"output": str(study.folder / FOLDER), "models": _models(study, section), "open": None})
    names = [model.run_name for model in inside.models]
    if section.reference is not None and section.reference not in names:
        raise UsageError(
            f"open.reference names the run {section.reference!r}, which is asked nothing openly.{_of(section.reference, names)}"
        )
    criteria = load_criteria(section.criteria, section.criteria_file)
    for caller in (*section.judges, *section.readers):
        check_model_spec(caller.model)
        if is_hosted(caller.model):
            # A missing key or address is found now, not when the answers have been paid for.
            _called(inside, dataset, caller)
    plan = plan_open(
        dataset,
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        items=section.items,
        topics=section.topics,
        most_divided=section.most_divided,
        strata=section.strata,
        pairs_per_item=section.pairs_per_item,
        seed=study.seeds.split,
        template=section.template,
        samples=section.samples,
    )
    for note in plan.notes:
        say(note.render("study"))
    ready = prepare(inside, plan.dataset, None, say, asking=plan.asking)
    return Openly(inside, section, plan, tuple(criteria), tuple(ready))


def run_openly(openly: Openly, closed: Sequence[Run], say: Callable[[str], None]) -> OpenResult:
    """Ask, judge, read and report; a model or judge that cannot be reached is told in `problems` and does not end the study.

    Args:
        openly: from `prepare_openly`. closed: the closed runs of the study, with which stances are compared. say: told of every stage.

    Raises:
        UsageError, InputDataError, MissingExtraError: what judging and reading refuse.
        RunFailedError: the disk does not take what was answered.
    """
    study, dataset = openly.study, openly.plan.dataset
    asked = [ask_prepared(study, one, dataset, None, lambda line: say(f"openly: {line}")) for one in openly.models]
    problems = [f"openly, {one.problem}" for one in asked if one.problem]
    runs = [load_open_run(one.run) for one, came in zip(openly.models, asked, strict=True) if came.has_results]
    if not runs:
        return OpenResult(tuple(asked), None, (), None, (*problems, "no model answered an open question"))
    judged = _judged(openly, runs, say, problems)
    stances = _read(openly, runs, say, problems)
    say("writing the report of open answers")
    folders = [*judged, *([] if stances is None else [stances])]
    read = [] if stances is None else [load_stances(stances)]
    # Of a model that was asked openly alone, or in vain, there is nothing to compare with.
    beside = [run for run in closed if read and any(run_identity(run).same_weights(run_identity(one)) for one in runs)]
    report = write_open_report(
        dataset,
        runs,
        study.folder / PAGE,
        sources=load_sources(dataset, [*folders, *(run.path for run in runs)]) if folders else None,
        stances=read,
        closed=beside,
        example=openly.section.example or (),
        title=f"{study.report.title or study.name}: open answers",
        published=study.report.published,
        baselines=kinds_of(study.score.baselines),
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
    )
    return OpenResult(tuple(asked), report, tuple(judged), stances, tuple(problems))


def _models(study: Study, section: OpenSection) -> list[ModelSection]:
    """Return the models that are asked openly: those named, else all that write and are no control."""
    known = {model.run_name: model for model in study.models}
    for name in section.models:
        if name not in known:
            raise UsageError(f"open.models names {name!r}, which is no run of this study.{_of(name, list(known))}")
    names = section.models or [name for name, model in known.items() if not model.model.startswith(_WRITE_NOTHING)]
    if not names:
        raise UsageError(f"{study.name}: `open` asks language models, and the study has none; leave the section out.")
    mine = {"max_new_tokens": section.max_new_tokens or OPEN_TOKENS, "constrain": False}
    return [known[name].model_copy(update=mine) for name in names]


def _judged(openly: Openly, runs: Sequence[Run], say: Callable[[str], None], problems: list[str]) -> list[Path]:
    """Let every judge compare the runs with the reference; return the folders that hold verdicts."""
    section, dataset = openly.section, openly.plan.dataset
    reference = next((run for run in runs if run.name == section.reference), None)
    others = [run for run in runs if run.name != section.reference]
    if reference is None or not others:
        if section.judges:
            problems.append(f"nothing was judged: {section.reference if reference is None else 'every other model'} wrote no open answer")
        return []
    folders: list[Path] = []
    for judge in section.judges:
        say(f"judging by {judge.model}")
        plan = plan_judging(
            dataset,
            others,
            reference,
            _called(openly.study, dataset, judge),
            criteria=openly.criteria,
            elicitation=judge.elicitation,
            # A run that was stopped is compared as far as it came.
            common=True,
            truncate=section.truncate,
            context=section.context,
        )
        folder = openly.study.folder / "judged" / judge.folder_name
        if _came(judge, plan.notes, partial(open_judge, plan, folder, **_limits(judge)), say, problems):
            folders.append(folder)
    return folders


def _read(openly: Openly, runs: Sequence[Run], say: Callable[[str], None], problems: list[str]) -> Path | None:
    """Let every reader place the answers on their scales; return the folder if any of them did."""
    section, dataset = openly.section, openly.plan.dataset
    folder = openly.study.folder / "stances"
    there = False
    for reader in section.readers:
        say(f"reading by {reader.model}")
        judge = _called(openly.study, dataset, reader)
        plan = plan_stance(dataset, runs, judge, elicitation=reader.elicitation, truncate=section.truncate, context=section.context)
        there |= _came(reader, plan.notes, partial(open_stance, plan, folder, **_limits(reader)), say, problems)
    return folder if there else None


def _came(
    caller: CalledSection, notes: Sequence[str], call: Callable[[], AskResult], say: Callable[[str], None], problems: list[str]
) -> bool:
    """Call a judge and return whether it said anything; what failed goes to `problems`."""
    for note in notes:
        say(note)
    try:
        result = call()
    except RunFailedError as error:
        if isinstance(error.__cause__, OSError):
            raise
        said = f"{caller.model} as judge: {error.render('study')}"
        say(said)
        problems.append(said)
        return False
    if result.failed:
        problems.append(f"{caller.model} as judge: {result.failed:,} calls ended failed ({kinds_listed(result.failures)})")
    if result.stopped is not None:
        say(f"{caller.model} as judge: stopped ({result.stopped}); the same command goes on")
    return True


def _called(study: Study, dataset: Dataset, caller: CalledSection) -> Respondent:
    return make_respondent(caller.model, dataset, settings=caller.settings(study.seeds))


def _limits(caller: CalledSection) -> dict[str, Any]:
    return {"max_calls": caller.max_calls, "max_cost": caller.max_cost}


def _of(word: str, names: Sequence[str]) -> str:
    return did_you_mean(word, names) or f" There are: {', '.join(names)}."
