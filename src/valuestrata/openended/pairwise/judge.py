"""Pairwise judging: a judge compares runs of open answers with a reference run, in both orders and blind to the runs.

A refusal or an empty answer loses to an answer, and two such answers tie; these pairs are decided by rule, without the judge. A pair
with a failed call is left out until the call is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.files import canonical_hash
from valuestrata.openended.files import JUDGED, named, verdicts_of
from valuestrata.openended.judging import ask_judge, check_judging, judge_meta
from valuestrata.openended.open_runs import Contestant, check_fits, contestants_of, judge_notes, truncated
from valuestrata.openended.pairwise.parse_verdict import verdict_row
from valuestrata.openended.pairwise.prompts import (
    FIRST,
    LABELS,
    SECOND,
    TIE,
    Contest,
    Criterion,
    JudgeElicitation,
    judge_elicitation_of,
    judge_prompt,
)
from valuestrata.openended.questions import with_open_questions
from valuestrata.openended.resume import accept_added_answers
from valuestrata.openended.schema import ORDERS, VERDICTS
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer, Respondent
from valuestrata.responses.ask.estimate import DryRun, estimate_prompts
from valuestrata.responses.ask.loop import AskJob, AskResult
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import Run, load_run

_KEYS = ("pair_id", "item", "subgroup", "sample")
# (run answered, reference answered) -> winner by rule.
_WINNER = {(True, False): "run", (False, True): "reference", (False, False): "tie"}


@dataclass(frozen=True)
class JudgingPlan:
    """What a judge is asked; made by `plan_judging`.

    Attributes:
        judge: the judge. meta: metadata of its run, without the name.
        contests: pairs of texts for the judge. ruled: contest and winner of pairs decided by rule.
        criteria, elicitation: how it is asked. questions: item -> open question. dataset: the data set.
        notes: messages for the user before the first call.
    """

    judge: Respondent
    meta: Mapping[str, Any]
    contests: tuple[Contest, ...]
    ruled: tuple[tuple[Contest, str], ...]
    criteria: tuple[Criterion, ...]
    elicitation: JudgeElicitation
    questions: Mapping[str, str]
    dataset: Dataset
    notes: tuple[str, ...]

    @property
    def planned(self) -> int:
        """Number of verdicts."""
        return (len(self.contests) + len(self.ruled)) * len(self.criteria) * len(ORDERS)

    def prompts(self) -> Iterator[Prompt]:
        """Yield the prompts for the judge."""
        for contest in self.contests:
            yield from self._prompts_of(contest)

    def all_prompts(self) -> Iterator[Prompt]:
        """Yield the prompts of all verdicts, those decided by rule included."""
        yield from self.prompts()
        for contest, _ in self.ruled:
            yield from self._prompts_of(contest)

    def rows_by_rule(self) -> dict[str, dict[str, Any]]:
        """Return the rows of verdicts decided by rule, by the key of the prompt that is not sent."""
        rows: dict[str, dict[str, Any]] = {}
        for contest, winner in self.ruled:
            for prompt in self._prompts_of(contest):
                code = TIE if winner == "tie" else FIRST if prompt.order == f"{winner}-first" else SECOND
                rows[prompt.key] = row_of(Answer(prompt, choice=code, attempts=0), LABELS)
        return rows

    def _prompts_of(self, contest: Contest) -> Iterator[Prompt]:
        question, persona = self.questions[contest.item], self._personas[contest.subgroup]
        for criterion in self.criteria:
            for order in ORDERS:
                yield judge_prompt(contest, criterion, order, question=question, persona=persona, elicitation=self.elicitation)

    @cached_property
    def _personas(self) -> Mapping[str, Persona]:
        return personas_of(self.dataset)


def plan_judging(
    dataset: Dataset,
    runs: Sequence[Run],
    reference: Run,
    judge: Respondent,
    *,
    criteria: Sequence[Criterion],
    elicitation: JudgeElicitation = "reasoned",
    common: bool = False,
    truncate: int | None = None,
    context: int | None = None,
) -> JudgingPlan:
    """Plan what a judge is asked.

    Args:
        dataset: data set of the answers.
        runs: runs to judge.
        reference: run they are compared with.
        judge: any language model.
        criteria: from `load_criteria`.
        elicitation: `reasoned` (a rationale, then the verdict) or `logprob` (the most likely of the three verdicts).
        common: judge only pairs that the reference has; without it, missing pairs are an error.
        truncate: cut answers to about this many tokens.
        context: context length of the judge in tokens, if it does not report one.

    Raises:
        UsageError: the judge is no language model or does not support the elicitation, two runs have one name, the reference is among
            the runs, or the reference lacks pairs.
        InputDataError: a run of another data set, no common pair, or answers longer than the judge's context.
    """
    check_judging(judge, judge_elicitation_of(elicitation), truncate)
    if any(run.path.resolve() == reference.path.resolve() for run in runs):
        raise UsageError(f"The reference {reference.name!r} is also one of the judged runs. Remove it from the runs.")
    *judged, against = contestants_of(dataset, [*sorted(runs, key=lambda run: run.name), reference])
    notes = judge_notes(judge, [*judged, against])
    contests: list[Contest] = []
    ruled: list[tuple[Contest, str]] = []
    for number, contestant in enumerate(judged):
        rows, failed = _matched(contestant, against, common=common)
        if failed:
            notes.append(
                f"{contestant.name}: {failed:,} pairs are left out because a call failed on one side. Repeat `open ask` to complete them."
            )
        for pair_id, item, subgroup, sample, text, status, other, other_status in rows.iter_rows():
            answered = (status == "answered", other_status == "answered")
            texts = (truncated(text or "", truncate), truncated(other or "", truncate))
            contest = Contest(pair_id, item, subgroup, sample, number, *texts)
            if answered == (True, True):
                contests.append(contest)
            else:
                ruled.append((contest, _WINNER[answered]))
    if ruled:
        notes.append(f"{len(ruled):,} pairs are decided by rule: a refusal or an empty answer loses to an answer; two of them tie.")
    versions = {one.name: one.version for one in criteria}
    meta = judge_meta(
        dataset,
        judge,
        [*judged, against],
        JUDGED,
        judged={
            "runs": {one.name: one.hash for one in judged},
            "reference": {against.name: against.hash},
            "criteria": versions,
            "truncate": truncate,
        },
        template="pairwise",
        version=canonical_hash(versions)[:12],
        elicitation=elicitation,
        plan={"criteria": list(versions), "orders": list(ORDERS)},
    )
    worded, _ = with_open_questions(dataset)
    questions = dict(worded.items.select("item", "open_question").iter_rows())
    plan = JudgingPlan(judge, meta, tuple(contests), tuple(ruled), tuple(criteria), elicitation, questions, dataset, tuple(notes))
    check_fits(judge, plan.prompts, context, truncate)
    return plan


def _matched(contestant: Contestant, against: Contestant, *, common: bool) -> tuple[pl.DataFrame, int]:
    """Return the pairs of texts and statuses, and the number of pairs left out because a call failed."""
    other = against.answers.select(*_KEYS, pl.col("text").alias("other"), pl.col("status").alias("other_status"))
    both = contestant.answers.select(*_KEYS, "text", "status").join(other, on=_KEYS, how="inner", maintain_order="left")
    total, shared = contestant.answers.height, both.height
    if not shared:
        raise InputDataError(
            f"{contestant.run.path}: run {contestant.name!r} and the reference {against.name!r} have no pair in common "
            f"({total:,} and {against.answers.height:,} answers). Ask the reference the same pairs."
        )
    if shared < total and not common:
        raise UsageError(
            f"The reference {against.name!r} has {shared:,} of the {total:,} answers of run {contestant.name!r}. Ask it the other pairs, "
            "or judge only the common pairs with ",
            Option("common"),
            ".",
        )
    known = both.filter((pl.col("status") != "failed") & (pl.col("other_status") != "failed"))
    return known, shared - known.height


def open_judge(plan: JudgingPlan, out: str | Path, *, max_calls: int | None = None, max_cost: float | None = None) -> AskResult:
    """Ask a judge for the planned verdicts and store them. Existing verdicts are kept.

    A folder can be continued after answers were added to the runs, but not after answers changed.

    Args:
        plan: from `plan_judging`.
        out: the folder.
        max_calls: stop after this many prompts; the same call continues.
        max_cost: stop before the whole run costs more than this, in US dollars.

    Returns:
        The result of asking; the folder contains `verdicts.parquet` (VERDICTS).

    Raises:
        UsageError: as for `ask_planned`.
        InputDataError: as for `ask_planned`.
        RunFailedError: as for `ask_planned`.
    """
    folder = Path(out)
    meta = named(plan.meta, folder)
    accept_added_answers(folder, meta, plan.all_prompts())
    work = AskJob(plan.prompts, plan.planned, verdict_row, plan.rows_by_rule(), "judging by")

    def table() -> pl.DataFrame:
        return verdicts_of(load_run(folder, closed=False))

    return ask_judge(plan.judge, folder, meta, work, folder / VERDICTS.name, table, max_calls=max_calls, max_cost=max_cost)


def estimate_judging(plan: JudgingPlan, out: str | Path) -> DryRun:
    """Estimate the calls and cost of `open_judge`; nothing is asked or written.

    Raises:
        InputDataError: `out` holds something else.
    """
    folder = Path(out)
    calls = len(plan.contests) * len(plan.criteria) * len(ORDERS)
    return estimate_prompts(plan.judge, folder, named(plan.meta, folder), plan.prompts, calls)
