"""The asking loop: send prompts to a respondent model and store each answer as it arrives.

Prompts are rendered in prefix order and sent in chunks; prompts that the run's store has answered are skipped. A run that
stops for any reason continues with the next call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Option, RunFailedError, UsageError
from valuestrata.progress import Advance, progress
from valuestrata.prompts.prompt import Elicitation, Prompt
from valuestrata.respondents.base import Answer, RecordsSpending, Respondent, SupportsBudget, SupportsResume, SupportsStop
from valuestrata.respondents.controls.control import ReusesAnswers
from valuestrata.responses.ask.length import check_length
from valuestrata.responses.ask.plan import Asking, asked_meta, labels_of, plan_asking, prompt_document
from valuestrata.responses.ask.signals import stops_gently
from valuestrata.responses.batch.folder import refuse_what_batches_hold
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.damage import allow_asking_again
from valuestrata.responses.run.failures import failures_listed, kinds_of
from valuestrata.responses.run.folder import EXAMPLES, STORE, TABLE, counts_by_status, read_meta
from valuestrata.responses.run.session import opened_run
from valuestrata.responses.run.store import Store
from valuestrata.responses.run.unsettled import UnsettledCalls

# Prompts per call of the respondent: enough to share prefixes, few enough for memory.
CHUNK = 8192
# A server that is down fails every call: stop after this many failures without a success.
FAILURES_BEFORE_STOPPING = 200


@dataclass(frozen=True)
class AskResult:
    """Result of asking.

    Attributes:
        run_dir: the run's folder.
        asked: prompts sent to the respondent model by this call.
        kept: prompts of the plan that were answered before.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> prompts of this plan that failed, most frequent first. Asking again retries them.
        left: prompts of the plan without an answer.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run; None if no response records it.
        stopped: why the respondent model stopped making calls, None if it did not.
        remarks: messages for the user about damaged lines of the run's store.
    """

    run_dir: Path
    asked: int
    kept: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    left: int
    usage: Mapping[str, int | float | None]
    stopped: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def answered(self) -> int:
        """Responses with an answer."""
        return self.counts["answered"]

    @property
    def failed(self) -> int:
        """Prompts of this plan that failed in this call. Asking again retries them."""
        return sum(self.failures.values())


@dataclass(frozen=True)
class AskJob:
    """Prompts to ask, and how answers become rows.

    Attributes:
        prompts: renders the prompts. It is called more than once and returns the same prompts each time.
        planned: number of prompts, including those of `settled`.
        row_of: converts an answer to a row of RESPONSES.
        settled: rows that need no call, by prompt key; `prompts` does not include these prompts.
        label: text of the progress bar.
    """

    prompts: Callable[[], Iterator[Prompt]]
    planned: int
    row_of: Callable[[Answer], dict[str, Any]]
    settled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    label: str = "asking"


@dataclass
class _Progress:
    """State of one call of `ask_prompts`.

    Attributes:
        asked: prompts sent. kept: answered before. answered: answered now. errors: messages of failed prompts.
        gave_up: stopped because nothing succeeded. stopped: why the respondent model stopped making calls.
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
    context: str | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    ask_again: bool = False,
) -> AskResult:
    """Ask a respondent model the pairs of a split and keep its responses in a run folder.

    Args:
        dataset: the data set whose pairs are asked.
        respondent: the model, from `make_respondent`.
        out: folder of the run. An existing run of the same identity continues.
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        items: only these items; empty for all.
        strata: only these strata; empty for all.
        template: name or file of the persona template.
        elicitation: how answers are obtained: `logprob`, `first-token`, `text`, `stated-distribution` or `reasoned`.
        orders: orders of the options: `scale`, `reversed`, `shuffled:SEED` or `balanced:N`, separated by commas.
        paraphrases: wordings of the template, by number, separated by commas, or `all`.
        samples: answers per prompt.
        context: `gold:K` shows K answers of the same group to similar questions, from the training gold of the split; None shows
            none.
        max_calls: stop after this many prompts; the same call continues.
        max_cost: stop before the whole run costs more than this, in US dollars.
        ask_again: ask prompts again whose stored answers are damaged, however many they are (see `allow_asking_again`).

    Raises:
        UsageError: see `plan_asking` and `ask_planned`.
        InputDataError: see `plan_asking` and `ask_planned`.
        RunFailedError: see `plan_asking` and `ask_planned`.
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
        context=context,
    )
    removed = allow_asking_again(Path(out)) if ask_again else []
    result = ask_planned(dataset, respondent, out, asking, max_calls=max_calls, max_cost=max_cost)
    return replace(result, remarks=(*removed, *result.remarks))


def ask_planned(
    dataset: Dataset,
    respondent: Respondent,
    out: str | Path,
    asking: Asking,
    *,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> AskResult:
    """Ask a respondent model what is planned and keep its responses in a run folder.

    Args:
        out: folder of the run. An existing run of the same identity continues.
        max_calls: stop after this many prompts, copied answers included. Asking again continues.
        max_cost: stop before the whole run, earlier calls included, costs more than this, in US dollars.

    Raises:
        UsageError: another process is asking in this run, a limit is not valid, or the model has no known price for `max_cost`.
        InputDataError: the folder is not a run, is a run of another identity, or has many damaged answers that were paid;
            prompts with survey answers are longer than a local model's context.
        RunFailedError: nothing succeeded, the provider refuses every call, or the disk cannot be written.
    """
    folder = Path(out)
    # Rendered once before a folder is made, so that a template that does not fit is refused first.
    asking.prompts(dataset, respondent)
    if asking.context is not None:
        remedy = ("Show fewer answers with a smaller ", Option("context", f"gold:{asking.context.number}"), ".")
        check_length(respondent, lambda: asking.prompts(dataset, respondent), remedy)
    labels = labels_of(dataset)
    job = AskJob(
        prompts=lambda: asking.prompts(dataset, respondent),
        planned=asking.planned,
        row_of=lambda answer: row_of(answer, labels[answer.prompt.item]),
    )
    _check_limits(respondent, max_calls, max_cost)
    meta = asked_meta(dataset, respondent, folder.resolve().name, asking)
    return ask_prompts(respondent, folder, meta, job, max_calls=max_calls, max_cost=max_cost)


def ask_prompts(
    respondent: Respondent, folder: Path, meta: dict[str, Any], job: AskJob, *, max_calls: int | None = None, max_cost: float | None = None
) -> AskResult:
    """Ask a respondent model any prompts and keep its responses in a run folder.

    Args:
        respondent: the model to ask. folder: of the run. meta: document of its `run.json`. job: the prompts.
        max_calls, max_cost: see `ask_planned`.

    Raises:
        UsageError, InputDataError, RunFailedError: see `ask_planned`.
    """
    budgeted = _check_limits(respondent, max_calls, max_cost)
    refuse_what_batches_hold(folder)
    meta = {"planned": job.planned, **meta}
    if EXAMPLES not in meta and meta["respondent"].get("provider") != "baseline":
        meta = {**meta, EXAMPLES: [prompt_document(prompt) for prompt in islice(job.prompts(), 1)]}
    state = _Progress()
    with (
        opened_run(folder, meta) as store,
        UnsettledCalls(folder / STORE) as unsettled,
        progress(f"{job.label} {respondent.name}", job.planned) as advance,
    ):
        if isinstance(respondent, ReusesAnswers):
            respondent.recall(store.table())
        if budgeted is not None:
            spent = float(store.table()["cost"].sum()) + store.cost_of_replaced() + unsettled.lost
            budgeted.spend_at_most(math.inf if max_cost is None else max_cost - spent)
        if isinstance(respondent, RecordsSpending):
            respondent.record_spending(unsettled.add)
        if isinstance(respondent, SupportsResume):
            respondent.answered_before(store.successes)
        prompts = failed_last(job.prompts(), store)
        for key, row in job.settled.items():
            state.kept += 1
            store.append(key, row)
            advance(1)
        with stops_gently(respondent):
            for chunk in _chunks(prompts, store, state, advance, max_calls):
                _ask_chunk(respondent, chunk, store, unsettled, job, state, advance)
        successes = store.successes - len(job.settled)
    return result_of(
        folder,
        asked=state.asked,
        kept=state.kept,
        left=job.planned - state.kept - state.answered,
        failures=kinds_of(state.errors),
        successes=successes,
        stopped=state.stopped,
        gave_up=state.gave_up,
        remarks=[*store.remarks, *_lost_remark(max_cost, unsettled.lost)],
    )


def result_of(
    folder: Path,
    *,
    asked: int,
    kept: int,
    left: int,
    successes: int,
    failures: Mapping[str, int],
    stopped: str | None = None,
    gave_up: bool = False,
    remarks: Sequence[str] = (),
) -> AskResult:
    """Return the result of asking in a run that was written; arguments as the attributes of `AskResult`.

    Raises:
        RunFailedError: prompts failed and the run has no success; lists the failures.
    """
    table = pl.read_parquet(folder / TABLE, columns=["status", "error"])
    usage = (read_meta(folder) or {})["usage"]
    result = AskResult(folder, asked, kept, counts_by_status(table), failures, left, usage, stopped, tuple(remarks))
    if result.failed and not successes:
        rest = " The rest was not asked." if gave_up else ""
        raise RunFailedError(f"{folder}: no call succeeded; {result.failed:,} failed: {failures_listed(table)}.{rest}")
    return result


def failed_last(prompts: Iterator[Prompt], store: Store) -> Iterator[Prompt]:
    """Yield prompts that failed earlier after all others: a prompt that always fails must not keep the rest from being asked."""
    if not store.failures:
        yield from prompts
        return
    failed: list[Prompt] = []
    for prompt in prompts:
        if store.tried(prompt.key):
            failed.append(prompt)
        else:
            yield prompt
    yield from failed


def _check_limits(respondent: Respondent, max_calls: int | None, max_cost: float | None) -> SupportsBudget | None:
    """Check the limits; return the respondent if it supports a cost limit."""
    if max_calls is not None and max_calls < 0:
        raise UsageError(Option("max_calls", max_calls), ": it must be 0 or more.")
    if max_cost is not None and not max_cost >= 0:  # also refuses NaN
        raise UsageError(Option("max_cost", max_cost), ": it must be 0 or more, in US dollars.")
    if not isinstance(respondent, SupportsBudget):
        if max_cost is not None:
            raise UsageError(f"MODEL {respondent.name!r} is free; ", Option("max_cost"), " does not apply.")
        return None
    # A respondent of unknown price refuses here.
    respondent.spend_at_most(math.inf if max_cost is None else max_cost)
    return respondent


def _lost_remark(max_cost: float | None, lost: float) -> list[str]:
    if max_cost is None or not lost:
        return []
    return [f"Calls in flight when an earlier process ended may have cost up to ${lost:.2g}, which counts towards the cost limit."]


def _chunks(
    prompts: Iterator[Prompt], store: Store, state: _Progress, advance: Advance, max_calls: int | None
) -> Iterator[dict[str, Prompt]]:
    """Yield unanswered prompts by key, up to `max_calls` in total; count those that are answered."""
    chunk: dict[str, Prompt] = {}
    remaining = max_calls
    for prompt in prompts:
        key = prompt.key
        if store.has(key):
            state.kept += 1
            advance(1)
        elif remaining != 0 and not state.over:
            chunk[key] = prompt
            remaining = None if remaining is None else remaining - 1
            if len(chunk) == CHUNK:
                yield chunk
                chunk = {}
    if chunk and not state.over:
        yield chunk


def _ask_chunk(
    respondent: Respondent,
    chunk: Mapping[str, Prompt],
    store: Store,
    unsettled: UnsettledCalls,
    job: AskJob,
    state: _Progress,
    advance: Advance,
) -> None:
    """Ask some prompts and store the answers as they arrive."""
    state.asked += len(chunk)
    asked: dict[tuple[str, str], set[str]] = {}
    for key, prompt in chunk.items():
        asked.setdefault((prompt.pair_id, prompt.order), set()).add(key)

    def keep(key: str, row: dict[str, Any]) -> None:
        store.append(key, row)
        unsettled.settle(key)

    held: list[tuple[str, dict[str, Any]]] = []
    back: set[str] = set()
    succeeded: set[str] = set()
    failures = 0
    errors: dict[str, str | None] = {}
    for answer in respondent.answer(list(chunk.values())):
        prompt = answer.prompt
        if (prompt.pair_id, prompt.order) not in asked:
            raise ValueError(f"{respondent.name} answered pair {prompt.pair_id!r} in order {prompt.order!r}, which was not asked")
        key, row = prompt.key, job.row_of(answer)
        chosen = answer.choice is not None
        if chosen and key in chunk:
            # A respondent that chooses codes may give several samples per prompt. The sample that was asked for is
            # written last: if it is in the store, a resumed run may assume the others are too.
            held.append((key, row))
        else:
            keep(key, row)
        mine = asked[prompt.pair_id, prompt.order] if chosen else {key} & chunk.keys()
        advance(len(mine - back))
        back |= mine
        if row["status"] != "failed":
            succeeded |= mine
        else:
            failures += 1
            errors[key] = row["error"]
            if failures >= FAILURES_BEFORE_STOPPING and not (store.successes or held):
                state.gave_up = True
                break
    for key, row in held:
        keep(key, row)
    state.answered += len(succeeded)
    state.stopped = respondent.stopped if isinstance(respondent, SupportsStop) else None
    if state.stopped is not None:
        state.asked -= len(chunk.keys() - back)
    elif not state.gave_up:
        for key in chunk.keys() - back:
            errors[key] = "no answer came back"
            store.append(key, job.row_of(Answer(chunk[key], error=errors[key])))
    state.errors += [error for key, error in errors.items() if key not in succeeded]
