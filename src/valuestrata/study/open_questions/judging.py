"""Judges and readers of a study's open answers.

A judge that has judged everything is not loaded or called again (`asked.json`). One cost limit, `open.max_cost`, applies to all judges and
readers together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from valuestrata.errors import MissingExtraError, RunFailedError, UsageError
from valuestrata.files import canonical_hash
from valuestrata.openended.files import JUDGED, JUDGES, judges_of
from valuestrata.openended.judging import left_of
from valuestrata.openended.open_runs import contestants_of
from valuestrata.openended.pairwise.judge import open_judge, plan_judging
from valuestrata.openended.pairwise.prompts import Criterion
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.openended.stance.prompts import stance_wording
from valuestrata.openended.stance.read import judge_folder, open_stance, plan_stance
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.models import check_model_spec, make_respondent
from valuestrata.responses.ask.loop import AskResult
from valuestrata.responses.run.failures import kinds_listed
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.study.config import CalledSection, OpenSection
from valuestrata.study.config.open_answers import JudgeSection, ReaderSection
from valuestrata.study.context import StudyContext
from valuestrata.study.model_spec import is_hosted, local_files
from valuestrata.study.preflight import check_price
from valuestrata.study.resume import AskedRecord, file_states, read_record, write_record

STANCES_FOLDER = "stances"
# Keys of a judge that do not change its verdicts.
_NOT_HASHED = {"name", "max_calls", "max_cost", "concurrency", "timeout", "attempts", "prices"}


class _Plan(Protocol):
    """What a judge is asked."""

    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class _Work:
    """The work of one judge or reader.

    Attributes:
        name: its name in `asked.json`. message: said before it starts. judge: its section.
        request: what determines its verdicts besides the model. kept: whether its verdicts are still on disk.
        planned: makes the plan. asked: asks what is planned, with a cost limit.
    """

    name: str
    message: str
    judge: CalledSection
    request: Sequence[Any]
    kept: bool
    planned: Callable[[Respondent], Any]
    asked: Callable[[Any, float | None], AskResult]


def check_judges(context: StudyContext, section: OpenSection) -> None:
    """Check the judges and readers before anything is paid for.

    Raises:
        UsageError: an unknown model, a missing key or address, or a cost limit for a free model or one of unknown price.
        MissingExtraError: the library of a hosted model is not installed.
    """
    for judge in (*section.judges, *section.readers):
        check_model_spec(judge.model)
        if not is_hosted(judge.model):
            if judge.max_cost is not None:
                raise UsageError(f"{judge.model} as judge: MODEL {judge.model!r} is free; its max_cost does not apply.")
            continue
        respondent = _respondent(context, judge)
        max_cost = judge.max_cost or section.max_cost
        if max_cost is not None:
            check_price(f"{judge.model} as judge", judge.model, respondent, max_cost)


def judge_pairs(
    context: StudyContext, section: OpenSection, criteria: Sequence[Criterion], runs: Sequence[Run], problems: list[str]
) -> list[Path]:
    """Let every judge compare the runs with the reference; return the folders with verdicts and add errors to `problems`."""
    reference = next((run for run in runs if run.name == section.reference), None)
    others = [run for run in runs if run.name != section.reference]
    if reference is None or not others:
        if section.judges:
            silent = section.reference if reference is None else "every other model"
            problems.append(f"nothing was judged: {silent} has no open answers")
        return []
    texts = [*_texts(context, others), [criterion.version for criterion in criteria], *_texts(context, [reference])]
    found: list[Path] = []
    for judge in section.judges:
        folder = context.folder / JUDGED / judge.folder_name

        def planned(respondent: Respondent, judge: JudgeSection = judge) -> Any:
            return plan_judging(
                context.dataset,
                others,
                reference,
                respondent,
                criteria=criteria,
                elicitation=judge.elicitation,
                # An incomplete run is compared where it has answers.
                common=True,
                truncate=section.truncate,
                context=section.context,
            )

        def asked(plan: Any, limit: float | None, folder: Path = folder, judge: JudgeSection = judge) -> AskResult:
            return open_judge(plan, folder, max_calls=judge.max_calls, max_cost=_within(context, judge, folder, limit))

        kept = (folder / VERDICTS.name).is_file() and _is_intact(folder)
        work = _Work(f"{JUDGED}/{judge.folder_name}", f"judging with {judge.model}", judge, texts, kept, planned, asked)
        if _done(context, section, work, problems):
            found.append(folder)
    return found


def read_stances(context: StudyContext, section: OpenSection, runs: Sequence[Run], problems: list[str]) -> Path | None:
    """Let every reader place the answers on the items' scales; return the folder if any reader succeeded."""
    folder = context.folder / STANCES_FOLDER
    texts = [*_texts(context, runs), stance_wording().version]
    succeeded = False
    for reader in section.readers:

        def planned(respondent: Respondent, reader: ReaderSection = reader) -> Any:
            how, longest = reader.elicitation, section.truncate
            return plan_stance(context.dataset, runs, respondent, elicitation=how, truncate=longest, context=section.context)

        def asked(plan: Any, limit: float | None, reader: ReaderSection = reader) -> AskResult:
            most = _within(context, reader, judge_folder(folder, plan), limit)
            return open_stance(plan, folder, max_calls=reader.max_calls, max_cost=most)

        known = judges_of(folder) if (folder / STANCES.name).is_file() else []
        names = [meta["respondent"]["name"] for run, meta in known if _is_intact(run)]
        work = _Work(
            f"{STANCES_FOLDER}/{context.known_as(reader.model)}",
            f"reading stances with {reader.model}",
            reader,
            texts,
            context.known_as(reader.model) in names,
            planned,
            asked,
        )
        succeeded |= _done(context, section, work, problems)
    return folder if succeeded else None


def _is_intact(run: Path) -> bool:
    """Whether no stored answer of a judge is damaged; damage is reported when the judge is asked again."""
    return load_run(run, closed=False).remark is None


def _texts(context: StudyContext, runs: Sequence[Run]) -> list[tuple[str, str]]:
    return [(one.name, one.hash) for one in contestants_of(context.dataset, runs)]


def _done(context: StudyContext, section: OpenSection, work: _Work, problems: list[str]) -> bool:
    """Ask a judge unless it is complete; return whether it could be called, and add errors and failures to `problems`."""
    judge, title = work.judge, f"{work.judge.model} as judge"
    before = read_record(context.folder, work.name)
    record = _record(context, section, work, before)
    if work.kept and before is not None and before.completes(record):
        context.say(f"{title}: already complete, skipped")
        return True
    context.say(work.message)
    plan: _Plan = work.planned(_respondent(context, judge))
    for note in plan.notes:
        context.say(note)
    write_record(context.folder, work.name, record)
    try:
        result = work.asked(plan, section.max_cost)
    except RunFailedError as error:
        if isinstance(error.__cause__, OSError):
            raise
        message = f"{title}: {error.render('study')}"
        context.say(message)
        problems.append(message)
        return False
    for remark in result.remarks:
        context.say(f"{title}: {remark}")
    if result.failed:
        problems.append(f"{title}: {result.failed:,} calls failed ({kinds_listed(result.failures)})")
    if result.stopped is not None:
        context.say(f"{title}: stopped ({result.stopped}); run the same command again to continue")
    if not result.failed and not result.left:
        write_record(context.folder, work.name, replace(record, complete=True))
    return True


def _record(context: StudyContext, section: OpenSection, work: _Work, before: AskedRecord | None) -> AskedRecord:
    """Return what determines the verdicts of a judge, as far as it is known without loading the judge."""
    own = work.judge.model_dump(exclude=_NOT_HASHED) | {"model": context.known_as(work.judge.model)}
    sampling = context.study.seeds.sampling
    request = canonical_hash([context.dataset.fingerprint, list(work.request), own, section.truncate, section.context, sampling])
    identity = None
    if is_hosted(work.judge.model):
        try:
            identity = canonical_hash(dict(_respondent(context, work.judge, calls=False).identity()))
        except MissingExtraError:
            identity = None  # complete verdicts can be reported without the judge's library
    return AskedRecord(request, identity, file_states(local_files(work.judge.model), before.files if before else {}, context.root))


def _within(context: StudyContext, judge: CalledSection, folder: Path, limit: float | None) -> float | None:
    """Return the cost limit of a judge's run: its own, or what is left of the limit of all judges and readers."""
    if limit is None or not is_hosted(judge.model):
        return judge.max_cost
    left = left_of(limit, folder, _judges_runs(context))
    return left if judge.max_cost is None else min(judge.max_cost, left)


def _judges_runs(context: StudyContext) -> Iterator[Path]:
    """Yield the folders of all judges' and readers' runs; those of a tuning study are in the folders of its folds."""
    for folder in dict.fromkeys((context.folder, *sorted(context.root.glob("asked/*/open")))):
        for within in (folder / JUDGED, folder / STANCES_FOLDER / JUDGES):
            if within.is_dir():
                yield from within.iterdir()


def _respondent(context: StudyContext, judge: CalledSection, *, calls: bool = True) -> Respondent:
    settings = judge.settings(context.study.seeds, context.known_as(judge.model))
    return make_respondent(judge.model, context.dataset, settings=settings, calls=calls)
