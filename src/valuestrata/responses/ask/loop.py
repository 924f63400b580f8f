"""The asking loop: prompts out, answers in, each stored as it comes.

`ask` does not know who answers. It renders what is asked in prefix order, leaves out what the run's store already has,
hands the rest over in chunks, and stores every answer before it waits for the next. Stopped at any point, by the user
or by the system, it goes on where it was when it is called again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError
from valuestrata.progress import Advance, progress
from valuestrata.prompts.prompt import Elicitation, Prompt
from valuestrata.respondents.base import Answer, Respondent, SupportsBudget, SupportsResume, SupportsStop
from valuestrata.respondents.controls.control import ReusesAnswers
from valuestrata.responses.ask.plan import Asking, asked_meta, labels_of, plan_asking
from valuestrata.responses.ask.signals import stops_gently
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.failures import failures_listed, kinds_of
from valuestrata.responses.run.folder import TABLE, counts_by_status, read_meta
from valuestrata.responses.run.session import opened_run
from valuestrata.responses.run.store import Store

# Prompts handed over at once: enough to plan shared prefixes in, few enough to hold.
CHUNK = 8192
# A server that is down fails every call: after so many failures without a single success, ask no more.
FAILURES_BEFORE_STOPPING = 200


@dataclass(frozen=True)
class AskResult:
    """What came of asking.

    Attributes:
        run_dir: the run's folder.
        asked: prompts handed to the respondent model by this call.
        kept: prompts of the plan that had been answered before it.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> prompts of this plan that end so, commonest first; asking again retries them.
        left: prompts of the plan without an answer.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run; None where no response says.
        stopped: why the respondent model started no more calls, None if it did not stop.
    """

    run_dir: Path
    asked: int
    kept: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    left: int
    usage: Mapping[str, int | float | None]
    stopped: str | None = None

    @property
    def answered(self) -> int:
        """Responses that hold an answer."""
        return self.counts["answered"]

    @property
    def failed(self) -> int:
        """Prompts of this plan that were asked now and ended failed; asking again retries them."""
        return sum(self.failures.values())


@dataclass(frozen=True)
class AskJob:
    """What is asked of a respondent model, and how its answers become rows.

    Attributes:
        prompts: renders the prompts; called more than once, and the same each time.
        planned: number of prompts, those of `settled` included.
        row_of: an answer as a row of RESPONSES.
        settled: rows that need no call, by the key of their prompt, which `prompts` leaves out.
        label: what the progress bar says.
    """

    prompts: Callable[[], Iterator[Prompt]]
    planned: int
    row_of: Callable[[Answer], dict[str, Any]]
    settled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    label: str = "asking"


@dataclass
class _Done:
    """What one call of `ask` did so far.

    Attributes:
        asked: prompts handed over. kept: answered before. answered: answered now. errors: what failed ones ended with.
        gave_up: whether it asks no more because nothing succeeds. stopped: why the respondent model starts no more calls.
    """

    asked: int = 0
    kept: int = 0
    answered: int = 0
    errors: list[str | None] = field(default_factory=list[str | None])
    gave_up: bool = False
    stopped: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is asked."""
        return self.gave_up or self.stopped is not None


def ask(
    dataset: Dataset,
    respondent: Respondent,
    out: str | Path,
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    items: Sequence[str] = (),
    strata: Sequence[str] = (),
    template: str | Path = "default",
    elicitation: Elicitation = "logprob",
    orders: str = "scale",
    paraphrases: str = "0",
    samples: int = 1,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> AskResult:
    """Ask a respondent model the pairs of a split and keep its responses in a run folder.

    Args:
        dataset: what is asked about.
        respondent: who answers.
        out: folder of the run; where one of the same identity lies, it goes on.
        split, part, fold, items, strata, template, elicitation, orders, paraphrases, samples: what is asked, as `plan_asking` takes it.
        max_calls, max_cost: as `ask_planned` takes them.

    Raises:
        UsageError, InputDataError, RunFailedError: as `plan_asking` and `ask_planned` say.
    """
    asking = plan_asking(
        dataset,
        split=split,
        part=part,
        fold=fold,
        items=items,
        strata=strata,
        template=template,
        elicitation=elicitation,
        orders=orders,
        paraphrases=paraphrases,
        samples=samples,
    )
    return ask_planned(dataset, respondent, out, asking, max_calls=max_calls, max_cost=max_cost)


def ask_planned(
    dataset: Dataset,
    respondent: Respondent,
    out: str | Path,
    asking: Asking,
    *,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> AskResult:
    """Ask a respondent model what was planned and keep its responses in a run folder.

    Args:
        dataset: what is asked about.
        respondent: who answers. One that is `ReplacesPersonas` is asked as the personas it gives, and its answers belong to
            the pairs meant; one that `ReusesAnswers` is told first what the run holds.
        out: folder of the run; where one of the same identity lies, it goes on.
        asking: what is asked.
        max_calls: stop after so many prompts (copies of an answer count like calls); asking again goes on.
        max_cost: stop before the whole run, what was asked earlier included, costs more than so many US dollars.

    Raises:
        UsageError: another process is asking in this run; a limit that makes no sense, or a cost limit for a model whose
            price is not known.
        InputDataError: a folder that holds something else or a run of another identity.
        RunFailedError: nothing succeeded, the provider refuses every call, or the disk does not take the answers.
    """
    folder = Path(out)
    # Rendered once now: a template that does not fit is refused before a folder is made.
    asking.prompts(dataset, respondent)
    labels = labels_of(dataset)
    work = AskJob(
        prompts=lambda: asking.prompts(dataset, respondent),
        planned=asking.planned,
        row_of=lambda answer: row_of(answer, labels[answer.prompt.item]),
    )
    _check_limits(respondent, max_calls, max_cost)
    meta = asked_meta(dataset, respondent, folder.resolve().name, asking)
    return ask_prompts(respondent, folder, meta, work, max_calls=max_calls, max_cost=max_cost)


def ask_prompts(
    respondent: Respondent,
    folder: Path,
    meta: dict[str, Any],
    work: AskJob,
    *,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> AskResult:
    """Ask a respondent model any prompts and keep its responses in a folder whose `run.json` says what they are.

    Args:
        respondent: who answers. folder: where it is kept. meta: the document of its `run.json`. work: what is asked.
        max_calls, max_cost: as `ask_planned` takes them.

    Raises:
        UsageError, InputDataError, RunFailedError: as `ask_planned`.
    """
    paid = _check_limits(respondent, max_calls, max_cost)
    refuse_what_batches_hold(folder)
    did = _Done()
    with opened_run(folder, meta) as store, progress(f"{work.label} {respondent.name}", work.planned) as advance:
        if isinstance(respondent, ReusesAnswers):
            respondent.recall(store.table())
        if paid is not None:
            spent = float(store.table()["cost"].sum()) + store.cost_of_replaced()
            paid.spend_at_most(math.inf if max_cost is None else max_cost - spent)
        if isinstance(respondent, SupportsResume):
            respondent.answered_before(store.successes)
        failed_before = {prompt.key for prompt in work.prompts() if store.tried(prompt.key)} if store.failures else set[str]()
        for key, row in work.settled.items():
            did.kept += 1
            store.append(key, row)
            advance(1)
        with stops_gently(respondent):
            for chunk in _chunks(_untried_first(work, failed_before), store, did, advance, max_calls):
                _ask_chunk(respondent, chunk, store, work, did, advance)
        successes = store.successes - len(work.settled)
    table = pl.read_parquet(folder / TABLE, columns=["status", "error"])
    result = AskResult(
        run_dir=folder,
        asked=did.asked,
        kept=did.kept,
        counts=counts_by_status(table),
        failures=kinds_of(did.errors),
        left=work.planned - did.kept - did.answered,
        usage=(read_meta(folder) or {})["usage"],
        stopped=did.stopped,
    )
    if result.failed and not successes:
        raise RunFailedError(
            f"{folder}: no call succeeded; {result.failed:,} failed: {failures_listed(table)}."
            + (" The rest was not asked." if did.gave_up else "")
        )
    return result


def _check_limits(respondent: Respondent, max_calls: int | None, max_cost: float | None) -> SupportsBudget | None:
    """Refuse limits that make no sense; return the respondent if it can keep a cost limit."""
    if max_calls is not None and max_calls < 0:
        raise UsageError(f"max_calls is {max_calls}; it cannot be negative.")
    return _paid(respondent, max_cost)


def _paid(respondent: Respondent, max_cost: float | None) -> SupportsBudget | None:
    """Return the respondent if it can keep a cost limit; it is tried on it, so that one that cannot refuses now."""
    if max_cost is not None and not max_cost >= 0:  # nor is what is no number a limit
        raise UsageError(f"max_cost is {max_cost}; it is a number of dollars, and cannot be negative.")
    if not isinstance(respondent, SupportsBudget):
        if max_cost is not None:
            raise UsageError(f"MODEL {respondent.name!r} is paid by nobody, so that it has no cost to limit; leave max_cost out.")
        return None
    respondent.spend_at_most(math.inf if max_cost is None else max_cost)
    return respondent


def _untried_first(work: AskJob, failed_before: set[str]) -> Iterator[Prompt]:
    """Yield the prompts that failed earlier after all others: what a provider refuses must not keep the rest from being asked."""
    for prompt in work.prompts():
        if prompt.key not in failed_before:
            yield prompt
    if failed_before:
        yield from (prompt for prompt in work.prompts() if prompt.key in failed_before)


def _chunks(prompts: Iterator[Prompt], store: Store, did: _Done, advance: Advance, max_calls: int | None) -> Iterator[dict[str, Prompt]]:
    """Yield prompts without an answer, by key; past `max_calls`, or once asking is over, only count those that have one."""
    chunk: dict[str, Prompt] = {}
    room = max_calls
    for prompt in prompts:
        key = prompt.key
        if store.has(key):
            did.kept += 1
            advance(1)
        elif room != 0 and not did.over:
            chunk[key] = prompt
            room = None if room is None else room - 1
            if len(chunk) == CHUNK:
                yield chunk
                chunk = {}
    if chunk and not did.over:
        yield chunk


def _ask_chunk(respondent: Respondent, chunk: Mapping[str, Prompt], store: Store, work: AskJob, did: _Done, advance: Advance) -> None:
    """Ask some prompts and store what comes back, as it comes."""
    did.asked += len(chunk)
    asked: dict[tuple[str, str], set[str]] = {}
    for key, prompt in chunk.items():
        asked.setdefault((prompt.pair_id, prompt.order), set()).add(key)
    held: list[tuple[str, dict[str, Any]]] = []
    back: set[str] = set()
    well: set[str] = set()
    failures = 0
    errors: dict[str, str | None] = {}
    for answer in respondent.answer(list(chunk.values())):
        prompt = answer.prompt
        if (prompt.pair_id, prompt.order) not in asked:
            raise ValueError(f"{respondent.name} answered pair {prompt.pair_id!r} in order {prompt.order!r}, which it was not asked")
        key, row = prompt.key, work.row_of(answer)
        chosen = answer.choice is not None
        if chosen and key in chunk:
            # A respondent that chooses outright calls nobody, and may give one prompt several answers, as samples. The
            # one asked for is written last: once it is there, a resumed run may take it that the others are too.
            held.append((key, row))
        else:
            store.append(key, row)
        mine = asked[prompt.pair_id, prompt.order] if chosen else {key} & chunk.keys()
        advance(len(mine - back))
        back |= mine
        if row["status"] != "failed":
            well |= mine
        else:
            failures += 1
            errors[key] = row["error"]
            if failures >= FAILURES_BEFORE_STOPPING and not (store.successes or held):
                did.gave_up = True
                break
    for key, row in held:
        store.append(key, row)
    did.answered += len(well)
    did.stopped = respondent.stopped if isinstance(respondent, SupportsStop) else None
    if did.stopped is not None:
        did.asked -= len(chunk.keys() - back)
    elif not did.gave_up:
        for key in chunk.keys() - back:
            errors[key] = "no answer came back"
            store.append(key, work.row_of(Answer(chunk[key], error=errors[key])))
    did.errors += [error for key, error in errors.items() if key not in well]
