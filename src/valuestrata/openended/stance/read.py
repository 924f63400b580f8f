"""Open answers placed on their items' own scales by a judge that knows neither who spoke nor what people like them say.

It needs no reference: what comes of it is scored as closed answers are (`stancescores`). An answer that refuses or is empty takes
no option and is `refused` without asking the judge; one whose call failed is left out until it is asked again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, RunFailedError, UsageError, ValuestrataError
from valuestrata.files import canonical_hash, write_json, write_parquet
from valuestrata.openended.files import JUDGES, READ, named, stances_in
from valuestrata.openended.open_runs import Contestant, check_fits, check_judge, contestants_of, own_answers_note, truncated
from valuestrata.openended.resume import go_on_with, only_added, same_but_for_answers
from valuestrata.openended.schema import STANCES
from valuestrata.openended.stance.prompts import (
    TEMPLATE,
    Reading,
    StanceElicitation,
    stance_elicitation_of,
    stance_labels,
    stance_prompt,
    stance_wording,
)
from valuestrata.prompts.prompt import Prompt
from valuestrata.prompts.question import Question, questions_of
from valuestrata.respondents.base import Answer, Respondent, SupportsBudget, SupportsElicitationCheck, SupportsVersions
from valuestrata.responses.ask.estimate import DryRun, estimate_prompts
from valuestrata.responses.ask.loop import AskResult, Work, ask_prompts
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import RUN, Run, new_meta, read_meta

_SHORTEST_HASH = 8


@dataclass(frozen=True)
class StanceReading:
    """What one judge is asked; `plan_stance` makes one.

    Attributes:
        judge: who reads. meta: what identifies its run, without the name.
        readings: answers that it reads. silent: answers that hold nothing to read.
        questions: item -> closed question. elicitation: how its choice is drawn out.
        notes: what the user should know before the first call.
    """

    judge: Respondent
    meta: Mapping[str, Any]
    readings: tuple[Reading, ...]
    silent: tuple[Reading, ...]
    questions: Mapping[str, Question]
    elicitation: StanceElicitation
    notes: tuple[str, ...]

    @property
    def planned(self) -> int:
        """Number of answers."""
        return len(self.readings) + len(self.silent)

    def prompts(self) -> Iterator[Prompt]:
        """Render what the judge is asked."""
        return (stance_prompt(reading, self.questions[reading.item], self.elicitation) for reading in self.readings)

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the rows of answers that hold nothing to read, by the key of the prompt that is not asked."""
        rows: dict[str, dict[str, Any]] = {}
        for prompt in self._silent(self.elicitation):
            empty = Answer(prompt, choice=prompt.shown[0], attempts=0)
            said = {"answer": None, "status": "refused", "error": "the answer refuses or is empty; the judge was not asked"}
            rows[prompt.key] = self.row_of(empty) | said
        return rows

    def slots(self, elicitation: StanceElicitation) -> Iterator[Prompt]:
        """Render everything that has a row of a judge asked by `elicitation`: what it is asked, and what holds nothing to read."""
        yield from (stance_prompt(reading, self.questions[reading.item], elicitation) for reading in self.readings)
        yield from self._silent(elicitation)

    def _silent(self, elicitation: StanceElicitation) -> Iterator[Prompt]:
        return (stance_prompt(reading, self.questions[reading.item], elicitation) for reading in self.silent)

    def row_of(self, answer: Answer) -> dict[str, Any]:
        """Return the row (RESPONSES) of a judge's answer."""
        return row_of(answer, stance_labels(self.questions[answer.prompt.item]))


def plan_stance(
    dataset: Dataset,
    runs: Sequence[Run],
    judge: Respondent,
    *,
    elicitation: StanceElicitation | None = None,
    truncate: int | None = None,
    context: int | None = None,
) -> StanceReading:
    """Say what a judge is asked.

    Args:
        dataset: what the answers are about. runs: whose answers are read. judge: who reads: any language model.
        elicitation: `logprob`, `text` or `reasoned`; None: `text` for a model that is paid by the call, `logprob` for others.
        truncate: cut answers to about so many tokens. context: tokens the judge can read and write, where it does not say.

    Raises:
        UsageError: a judge that is no language model or cannot be asked so, two runs of one name.
        InputDataError: runs of another data set or without answers, answers longer than the judge's context.
    """
    check_judge(judge)
    how = stance_elicitation_of(elicitation or ("text" if isinstance(judge, SupportsBudget) else "logprob"))
    if truncate is not None and truncate < 1:
        raise UsageError(f"truncate is {truncate}; it must be at least 1.")
    if isinstance(judge, SupportsElicitationCheck):
        judge.check(how)
    read = contestants_of(dataset, sorted(runs, key=lambda run: run.name))
    notes = own_answers_note(judge, read)
    readings: list[Reading] = []
    silent: list[Reading] = []
    for number, contestant in enumerate(read):
        failed = 0
        for pair_id, item, subgroup, sample, text, status in contestant.answers.iter_rows():
            if status == "failed":
                failed += 1
                continue
            reading = Reading(pair_id, item, subgroup, sample, number, truncated(text or "", truncate))
            (readings if status == "answered" else silent).append(reading)
        if failed:
            notes.append(f"{contestant.name}: {failed:,} answers left out, for the call failed; ask again and they are read.")
    plan = StanceReading(
        judge=judge,
        meta=_meta(dataset, judge, read, how, truncate),
        readings=tuple(readings),
        silent=tuple(silent),
        questions=questions_of(dataset),
        elicitation=how,
        notes=tuple(notes),
    )
    check_fits(judge, plan.prompts, context, truncate)
    return plan


def _meta(dataset: Dataset, judge: Respondent, read: Sequence[Contestant], elicitation: str, truncate: int | None) -> dict[str, Any]:
    meta = new_meta(
        dataset,
        "",
        READ,
        respondent={"name": judge.name, **judge.identity()},
        template=TEMPLATE,
        template_version=stance_wording().version,
        elicitation=elicitation,
        judged={"runs": {one.name: one.hash for one in read}, "truncate": truncate},
        contestants={one.name: one.document for one in read},
        plan={},
    )
    if isinstance(judge, SupportsVersions):
        meta["versions"] |= judge.versions()
    return meta


def open_stance(plan: StanceReading, out: str | Path, *, max_calls: int | None = None, max_cost: float | None = None) -> AskResult:
    """Ask one judge what was planned and keep its readings in a folder that may hold those of other judges of the same answers.

    Args:
        plan: from `plan_stance`. out: the folder. max_calls, max_cost: as for `ask_planned`.

    Returns:
        What came of it; `stances.parquet` (STANCES) of all judges lies in the folder.

    Raises:
        UsageError, RunFailedError: as for `ask_planned`.
        InputDataError: the folder holds something else, readings of other answers, or the judge's own, asked for in another way.
    """
    folder = Path(out)
    place = _place(folder, plan)
    _check_once(folder, place, plan)
    _open_folder(folder, plan)
    meta = named(plan.meta, place)
    go_on_with(place, meta, plan.slots(plan.elicitation))
    work = Work(plan.prompts, plan.planned, plan.row_of, plan.settled(), "reading by")
    try:
        result = ask_prompts(plan.judge, place, meta, work, max_calls=max_calls, max_cost=max_cost)
    except (KeyboardInterrupt, RunFailedError):
        # The first error is the one to tell; the stores have everything, and the table is made from them whenever it is read.
        with contextlib.suppress(OSError, ValuestrataError):
            write_parquet(folder / STANCES.name, stances_in(folder))
        raise
    write_parquet(folder / STANCES.name, stances_in(folder))
    return result


def estimate_stance(plan: StanceReading, out: str | Path) -> DryRun:
    """Say what `open_stance` would take; nothing is asked or written.

    Raises:
        InputDataError: `out` holds something else.
    """
    place = _place(Path(out), plan)
    return estimate_prompts(plan.judge, place, named(plan.meta, place), plan.prompts, len(plan.readings))


def _place(folder: Path, plan: StanceReading) -> Path:
    """Return where a judge's run lies: its name as a folder may bear it, and a hash of what identifies it."""
    word = re.sub(r"[^\w.-]+", "-", plan.judge.name).strip("-.")[:40]
    return folder / JUDGES / f"{word}-{canonical_hash([plan.meta['respondent'], plan.elicitation])[:_SHORTEST_HASH]}"


def _open_folder(folder: Path, plan: StanceReading) -> None:
    """Make the folder and say in its `run.json` whose answers it is about; refuse one that holds something else."""
    document = named({key: plan.meta[key] for key in ("format", "dataset", "judged", "contestants", "started")} | {"kind": READ}, folder)
    there = read_meta(folder)
    if there is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputDataError(f"{folder}: exists and holds no stances; choose another place for it with -o.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RUN, document)
        return
    same = {**there, "judged": document["judged"]} if _only_added(folder, there, plan) else there
    for key in ("kind", "dataset", "judged"):
        if same.get(key) != document[key]:
            raise InputDataError(
                f"{folder}: holds readings of other answers ({key} differs: the runs, what they wrote, how it was cut, or the data set); "
                "choose another folder with -o."
            )
    if same != there:
        write_json(folder / RUN, same)


def _only_added(folder: Path, there: Mapping[str, Any], plan: StanceReading) -> bool:
    """Whether the runs have answers that they did not have when the judges of a folder read them, and none is another."""
    before, now = there.get("judged"), plan.meta["judged"]
    if before is None or before == now or not same_but_for_answers(before, now):
        return False
    return all(only_added(run, plan.slots(stance_elicitation_of(meta["elicitation"]))) for run, meta in _judges(folder))


def _judges(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the judges' runs of a folder with their documents."""
    within = folder / JUDGES
    found = [(entry, read_meta(entry)) for entry in sorted(within.iterdir())] if within.is_dir() else []
    return [(entry, meta) for entry, meta in found if meta is not None]


def _check_once(folder: Path, place: Path, plan: StanceReading) -> None:
    """Refuse a judge's second reading of the same answers: under one name, the two would pass for one."""
    for entry, meta in _judges(folder):
        if entry != place and meta["respondent"]["name"] == plan.judge.name:
            raise InputDataError(
                f"{folder}: {plan.judge.name} has read these answers in another way (its elicitation, {meta['elicitation']!r} there and "
                f"{plan.elicitation!r} now, its decoding, or its version differs). Choose another folder with -o."
            )
