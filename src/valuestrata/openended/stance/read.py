"""Stance reading: judges place open answers on the scales of their items, blind to persona and gold.

A refusal or an empty answer takes no option; it is `refused` without asking the judge. An answer with a failed call is left out until the
call is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash, write_json
from valuestrata.openended.files import JUDGES, READ, judges_of, named, stances_in
from valuestrata.openended.judging import ask_judge, check_judging, judge_meta
from valuestrata.openended.open_runs import check_fits, contestants_of, judge_notes, truncated
from valuestrata.openended.resume import accept_added_answers, only_added, same_except_answers
from valuestrata.openended.schema import STANCES
from valuestrata.openended.stance.parse_stance import stance_reading
from valuestrata.openended.stance.prompts import (
    TEMPLATE,
    AnswerToRead,
    StanceElicitation,
    stance_elicitation_of,
    stance_labels,
    stance_prompt,
    stance_wording,
)
from valuestrata.prompts.prompt import Prompt
from valuestrata.prompts.question import Question, questions_of
from valuestrata.respondents.base import Answer, Respondent, SupportsBudget
from valuestrata.responses.ask.estimate import DryRun, estimate_prompts
from valuestrata.responses.ask.loop import AskJob, AskResult
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import RUN, Run, read_meta

_HASH_LENGTH = 8


@dataclass(frozen=True)
class StancePlan:
    """What one judge is asked; made by `plan_stance`.

    Attributes:
        judge: the judge. meta: metadata of its run, without the name.
        answers: answers to read. silent: refusals and empty answers, which are not sent to the judge.
        questions: item -> closed question. elicitation: how the judge is asked.
        notes: messages for the user before the first call.
    """

    judge: Respondent
    meta: Mapping[str, Any]
    answers: tuple[AnswerToRead, ...]
    silent: tuple[AnswerToRead, ...]
    questions: Mapping[str, Question]
    elicitation: StanceElicitation
    notes: tuple[str, ...]

    @property
    def planned(self) -> int:
        """Number of rows: answers to read and silent ones."""
        return len(self.answers) + len(self.silent)

    def prompts(self) -> Iterator[Prompt]:
        """Yield the prompts for the judge."""
        return self._prompts_of(self.answers, self.elicitation)

    def all_prompts(self, elicitation: StanceElicitation) -> Iterator[Prompt]:
        """Yield the prompts of all rows of a judge asked by `elicitation`, silent answers included."""
        yield from self._prompts_of(self.answers, elicitation)
        yield from self._prompts_of(self.silent, elicitation)

    def silent_rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of silent answers, by the key of the prompt that is not sent."""
        refused = {"answer": None, "status": "refused", "error": "the answer is a refusal or empty; the judge was not asked"}
        prompts = self._prompts_of(self.silent, self.elicitation)
        return {prompt.key: self.row_of(Answer(prompt, choice=prompt.shown[0], attempts=0)) | refused for prompt in prompts}

    def row_of(self, answer: Answer) -> dict[str, Any]:
        """Return the row (RESPONSES) of a judge's answer."""
        # Closing parts of a reasoned reading are read as verdicts are: the answer that is read may contain `Answer: 5` as well.
        reader = stance_reading if answer.prompt.elicitation == "reasoned" else None
        return row_of(answer, stance_labels(self.questions[answer.prompt.item]), reader)

    def _prompts_of(self, answers: Sequence[AnswerToRead], elicitation: StanceElicitation) -> Iterator[Prompt]:
        return (stance_prompt(answer, self.questions[answer.item], elicitation) for answer in answers)


def plan_stance(
    dataset: Dataset,
    runs: Sequence[Run],
    judge: Respondent,
    *,
    elicitation: StanceElicitation | None = None,
    truncate: int | None = None,
    context: int | None = None,
) -> StancePlan:
    """Plan what a judge is asked.

    Args:
        dataset: data set of the answers.
        runs: runs of open answers.
        judge: any language model.
        elicitation: `logprob`, `text` or `reasoned`; None: `text` for paid models, `logprob` for others.
        truncate: cut answers to about this many tokens.
        context: context length of the judge in tokens, if it does not report one.

    Raises:
        UsageError: the judge is no language model or does not support the elicitation, or two runs have one name.
        InputDataError: a run of another data set or without answers, or answers longer than the judge's context.
    """
    how = stance_elicitation_of(elicitation or ("text" if isinstance(judge, SupportsBudget) else "logprob"))
    check_judging(judge, how, truncate)
    read = contestants_of(dataset, sorted(runs, key=lambda run: run.name))
    notes = judge_notes(judge, read)
    answers: list[AnswerToRead] = []
    silent: list[AnswerToRead] = []
    for number, contestant in enumerate(read):
        failed = 0
        for pair_id, item, subgroup, sample, text, status in contestant.answers.iter_rows():
            if status == "failed":
                failed += 1
                continue
            answer = AnswerToRead(pair_id, item, subgroup, sample, number, truncated(text or "", truncate))
            (answers if status == "answered" else silent).append(answer)
        if failed:
            notes.append(
                f"{contestant.name}: {failed:,} answers are left out because their call failed. Repeat `open ask` to complete them."
            )
    meta = judge_meta(
        dataset,
        judge,
        read,
        READ,
        judged={"runs": {one.name: one.hash for one in read}, "truncate": truncate},
        template=TEMPLATE,
        version=stance_wording().version,
        elicitation=how,
        plan={},
    )
    plan = StancePlan(judge, meta, tuple(answers), tuple(silent), questions_of(dataset), how, tuple(notes))
    check_fits(judge, plan.prompts, context, truncate)
    return plan


def open_stance(plan: StancePlan, out: str | Path, *, max_calls: int | None = None, max_cost: float | None = None) -> AskResult:
    """Ask one judge for the planned stances and store them in a folder, which may hold other judges of the same answers.

    Args:
        plan: from `plan_stance`.
        out: the folder.
        max_calls: stop after this many prompts; the same call continues.
        max_cost: stop before the whole run costs more than this, in US dollars.

    Returns:
        The result of asking; the folder contains `stances.parquet` (STANCES) of all judges.

    Raises:
        UsageError: as for `ask_planned`.
        RunFailedError: as for `ask_planned`.
        InputDataError: the folder holds something else, stances of other answers, or stances of this judge asked in another way.
    """
    folder = Path(out)
    run_folder = judge_folder(folder, plan)
    _check_judged_once(folder, run_folder, plan)
    _open_folder(folder, plan)
    meta = named(plan.meta, run_folder)
    accept_added_answers(run_folder, meta, plan.all_prompts(plan.elicitation))
    work = AskJob(plan.prompts, plan.planned, plan.row_of, plan.silent_rows(), "reading by")

    def table() -> pl.DataFrame:
        return stances_in(folder)

    return ask_judge(plan.judge, run_folder, meta, work, folder / STANCES.name, table, max_calls=max_calls, max_cost=max_cost)


def estimate_stance(plan: StancePlan, out: str | Path) -> DryRun:
    """Estimate the calls and cost of `open_stance`; nothing is asked or written.

    Raises:
        InputDataError: `out` holds something else.
    """
    folder = judge_folder(Path(out), plan)
    return estimate_prompts(plan.judge, folder, named(plan.meta, folder), plan.prompts, len(plan.answers))


def judge_folder(folder: Path, plan: StancePlan) -> Path:
    """Return the folder of a judge's run within a folder of stances: its name in safe characters and a hash of its identity."""
    name = re.sub(r"[^\w.-]+", "-", plan.judge.name).strip("-.")[:40]
    return folder / JUDGES / f"{name}-{canonical_hash([plan.meta['respondent'], plan.elicitation])[:_HASH_LENGTH]}"


def _open_folder(folder: Path, plan: StancePlan) -> None:
    """Create the folder with its `run.json`, or check that the existing one is about the same answers."""
    document = named({key: plan.meta[key] for key in ("format", "dataset", "judged", "contestants", "started")} | {"kind": READ}, folder)
    existing = read_meta(folder)
    if existing is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputDataError(f"{folder}: exists and holds no stances. Choose another folder with -o.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RUN, document)
        return
    updated = {**existing, "judged": document["judged"]} if _answers_were_added(folder, existing, plan) else existing
    for key in ("kind", "dataset", "judged"):
        if updated.get(key) != document[key]:
            raise InputDataError(
                f"{folder}: holds stances of other answers ({key} differs: other runs, texts, lengths or data set). "
                "Choose another folder with -o."
            )
    if updated != existing:
        write_json(folder / RUN, updated)


def _answers_were_added(folder: Path, existing: Mapping[str, Any], plan: StancePlan) -> bool:
    """Return whether the runs have more answers than when the judges of a folder read them, and all others are unchanged."""
    before, now = existing.get("judged"), plan.meta["judged"]
    if before is None or before == now or not same_except_answers(before, now):
        return False
    return all(only_added(run, plan.all_prompts(stance_elicitation_of(meta["elicitation"]))) for run, meta in judges_of(folder))


def _check_judged_once(folder: Path, run_folder: Path, plan: StancePlan) -> None:
    """Refuse a second reading by one judge: both would have the same name in the table."""
    for entry, meta in judges_of(folder):
        if entry != run_folder and meta["respondent"]["name"] == plan.judge.name:
            raise InputDataError(
                f"{folder}: {plan.judge.name} has already read these answers with other settings (elicitation {meta['elicitation']!r}, now "
                f"{plan.elicitation!r}, or another decoding or version). Choose another folder with -o."
            )
