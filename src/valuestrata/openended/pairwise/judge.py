"""Pairs of open answers put to a judge: every criterion, in both orders, never saying who wrote what.

An answer that refuses, or is empty, loses to one that was given, and two such are a tie: that is settled by rule, without the
judge. An answer whose call failed is no answer yet; its pair is left out until it is asked again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, RunFailedError, UsageError, ValuestrataError
from valuestrata.files import canonical_hash, write_parquet
from valuestrata.openended.files import JUDGED, named, verdicts_of
from valuestrata.openended.open_runs import (
    Contestant,
    check_fits,
    check_judge,
    contestants_of,
    own_answers_note,
    truncated,
)
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
from valuestrata.openended.resume import go_on_with
from valuestrata.openended.schema import ORDERS, VERDICTS
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer, Respondent, SupportsElicitationCheck, SupportsVersions
from valuestrata.responses.ask.estimate import DryRun, estimate_prompts
from valuestrata.responses.ask.loop import AskResult, Work, ask_prompts
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import Run, load_run, new_meta

_ON = ("pair_id", "item", "subgroup", "sample")
_WON = {(True, False): "run", (False, True): "reference", (False, False): "tie"}


@dataclass(frozen=True)
class Judging:
    """What a judge is asked; `plan_judging` makes one.

    Attributes:
        judge: who judges. meta: what identifies the folder, without its name.
        contests: pairs of texts that the judge reads. ruled: contest and winner, settled by rule.
        criteria: what on. elicitation: how its verdict is drawn out.
        questions: item -> open question. dataset: where they are from.
        notes: what the user should know before the first call.
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
        """Render what the judge is asked."""
        for contest in self.contests:
            for criterion in self.criteria:
                yield from self._both(contest, criterion)

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the rows settled by rule, by the key of the prompt that is not asked."""
        rows: dict[str, dict[str, Any]] = {}
        for prompt, winner in self._ruled():
            code = TIE if winner == "tie" else FIRST if prompt.order == f"{winner}-first" else SECOND
            rows[prompt.key] = row_of(Answer(prompt, choice=code, attempts=0), LABELS)
        return rows

    def slots(self) -> Iterator[Prompt]:
        """Render everything that has a row: what the judge is asked, and what is settled by rule."""
        yield from self.prompts()
        yield from (prompt for prompt, _ in self._ruled())

    def _ruled(self) -> Iterator[tuple[Prompt, str]]:
        for contest, winner in self.ruled:
            for criterion in self.criteria:
                yield from ((prompt, winner) for prompt in self._both(contest, criterion))

    def _both(self, contest: Contest, criterion: Criterion) -> Iterator[Prompt]:
        for order in ORDERS:
            yield judge_prompt(
                contest,
                criterion,
                order,
                question=self.questions[contest.item],
                persona=self._personas[contest.subgroup],
                elicitation=self.elicitation,
            )

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
) -> Judging:
    """Say what a judge is asked.

    Args:
        dataset: what the answers are about. runs: what is judged. reference: what it is judged against.
        judge: who judges: any language model. criteria: what on (`load_criteria`).
        elicitation: `reasoned` (a rationale, then the verdict) or `logprob` (the likeliest of the three verdicts).
        common: judge only pairs that a run and the reference both have; without it, other pairs are refused.
        truncate: cut answers to about so many tokens. context: tokens the judge can read and write, where it does not say.

    Raises:
        UsageError: a judge that is no language model or cannot be asked so, runs of one name, the reference among the runs, pairs
            that the reference does not have.
        InputDataError: runs of another data set, no common pair, answers longer than the judge's context.
    """
    check_judge(judge)
    judge_elicitation_of(elicitation)
    if truncate is not None and truncate < 1:
        raise UsageError(f"truncate is {truncate}; it must be at least 1.")
    if isinstance(judge, SupportsElicitationCheck):
        judge.check(elicitation)
    if any(run.path.resolve() == reference.path.resolve() for run in runs):
        raise UsageError(
            f"The reference {reference.name!r} is among the runs that are judged; a run is not compared with itself. Leave it out."
        )
    *judged, against = contestants_of(dataset, [*sorted(runs, key=lambda run: run.name), reference])
    notes = own_answers_note(judge, [*judged, against])
    contests: list[Contest] = []
    ruled: list[tuple[Contest, str]] = []
    for number, contestant in enumerate(judged):
        rows, failed = _matched(contestant, against, common=common)
        if failed:
            notes.append(f"{contestant.name}: {failed:,} pairs left out, for the call failed on one side; ask again and they are judged.")
        for pair_id, item, subgroup, sample, text, status, other, other_status in rows.iter_rows():
            both = (status == "answered", other_status == "answered")
            texts = (truncated(text or "", truncate), truncated(other or "", truncate))
            contest = Contest(pair_id, item, subgroup, sample, number, *texts)
            if both == (True, True):
                contests.append(contest)
            else:
                ruled.append((contest, _WON[both]))
    if ruled:
        notes.append(f"{len(ruled):,} pairs are settled by rule: a refusal or an empty answer loses to an answer, and ties with its like.")
    worded, _ = with_open_questions(dataset)
    plan = Judging(
        judge=judge,
        meta=_meta(dataset, judge, judged, against, criteria, elicitation, truncate),
        contests=tuple(contests),
        ruled=tuple(ruled),
        criteria=tuple(criteria),
        elicitation=elicitation,
        questions=dict(worded.items.select("item", "open_question").iter_rows()),
        dataset=dataset,
        notes=tuple(notes),
    )
    check_fits(judge, plan.prompts, context, truncate)
    return plan


def _matched(contestant: Contestant, against: Contestant, *, common: bool) -> tuple[pl.DataFrame, int]:
    """Return the pairs of texts and statuses, and how many pairs were left out because a call failed."""
    theirs = against.answers.select(*_ON, pl.col("text").alias("other"), pl.col("status").alias("other_status"))
    both = contestant.answers.select(*_ON, "text", "status").join(theirs, on=_ON, how="inner", maintain_order="left")
    mine, here = contestant.answers.height, both.height
    if not here:
        raise InputDataError(
            f"{contestant.run.path}: run {contestant.name!r} and the reference {against.name!r} have no pair in common "
            f"({mine:,} and {against.answers.height:,} answers). Ask the reference the same pairs."
        )
    if here < mine and not common:
        raise UsageError(
            f"The reference {against.name!r} has {here:,} of the {mine:,} answers that run {contestant.name!r} has. Ask it the others, "
            "or judge only the common ones with ",
            Option("common"),
            ".",
        )
    known = both.filter((pl.col("status") != "failed") & (pl.col("other_status") != "failed"))
    return known, here - known.height


def _meta(
    dataset: Dataset,
    judge: Respondent,
    judged: Sequence[Contestant],
    against: Contestant,
    criteria: Sequence[Criterion],
    elicitation: str,
    truncate: int | None,
) -> dict[str, Any]:
    versions = {one.name: one.version for one in criteria}
    meta = new_meta(
        dataset,
        "",
        JUDGED,
        respondent={"name": judge.name, **judge.identity()},
        template="pairwise",
        template_version=canonical_hash(versions)[:12],
        elicitation=elicitation,
        judged={
            "runs": {one.name: one.hash for one in judged},
            "reference": {against.name: against.hash},
            "criteria": versions,
            "truncate": truncate,
        },
        contestants={one.name: one.document for one in (*judged, against)},
        plan={"criteria": list(versions), "orders": list(ORDERS)},
    )
    if isinstance(judge, SupportsVersions):
        meta["versions"] |= judge.versions()
    return meta


def open_judge(plan: Judging, out: str | Path, *, max_calls: int | None = None, max_cost: float | None = None) -> AskResult:
    """Ask a judge what was planned and keep its verdicts; what it has judged already is not asked again.

    A folder goes on, too, where the runs have answers that they did not have (a failed call asked again), and none is another.

    Args:
        plan: from `plan_judging`. out: the folder. max_calls, max_cost: as for `ask_planned`.

    Returns:
        What came of it; `verdicts.parquet` (VERDICTS) lies in the folder.

    Raises:
        UsageError, InputDataError, RunFailedError: as for `ask_planned`.
    """
    folder = Path(out)
    meta = named(plan.meta, folder)
    go_on_with(folder, meta, plan.slots())
    work = Work(plan.prompts, plan.planned, verdict_row, plan.settled(), "judging by")
    try:
        result = ask_prompts(plan.judge, folder, meta, work, max_calls=max_calls, max_cost=max_cost)
    except (KeyboardInterrupt, RunFailedError):
        # The first error is the one to tell; the store has everything, and the table is made from it whenever it is read.
        with contextlib.suppress(OSError, ValuestrataError):
            _write_verdicts(folder)
        raise
    _write_verdicts(folder)
    return result


def _write_verdicts(folder: Path) -> None:
    write_parquet(folder / VERDICTS.name, verdicts_of(load_run(folder, closed=False)))


def estimate_judging(plan: Judging, out: str | Path) -> DryRun:
    """Say what `open_judge` would take; nothing is asked or written.

    Raises:
        InputDataError: `out` holds something else.
    """
    folder = Path(out)
    asked = len(plan.contests) * len(plan.criteria) * len(ORDERS)
    return estimate_prompts(plan.judge, folder, named(plan.meta, folder), plan.prompts, asked)
