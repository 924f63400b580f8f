"""Ray worker: one respondent model and one store that answer batches of prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import RunFailedError, UsageError, ValuestrataError
from valuestrata.prompts.frame import prompts_from_frame
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Answer, Respondent, SupportsResume, SupportsStop
from valuestrata.respondents.controls.control import ReplacesPersonas, ReusesAnswers
from valuestrata.respondents.models import ModelSettings, make_respondent
from valuestrata.responses.ask.loop import FAILURES_BEFORE_STOPPING
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import STORE, check_same_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.responses.run.store import FILE, Store, read_store
from valuestrata.responses.run.store_index import StoreIndex
from valuestrata.responses.run.worker_stores import files_of_workers, new_store

MakeRespondent = Callable[[str, Dataset, ModelSettings], Respondent]

_ANSWERS: dict[str, Any] = {"key": pl.String, **{name: column.dtype for name, column in RESPONSES.columns.items()}}


def make(model: str, dataset: Dataset, settings: ModelSettings) -> Respondent:
    """Return the respondent model; see `make_respondent`."""
    return make_respondent(model, dataset, settings=settings)


@dataclass(frozen=True)
class WorkerSetup:
    """Configuration of a worker.

    Attributes:
        dataset: source of the personas, without gold.
        model, settings: the respondent model.
        out: the run's folder, the same on all machines.
        labels: item -> (scale code -> label), to parse answers.
        respondent: `respondent` of `run.json`, which the worker's model must equal; None before it is known.
        make: builds the respondent model.
    """

    dataset: Dataset
    model: str
    settings: ModelSettings
    out: Path
    labels: Mapping[str, Mapping[int, str]]
    respondent: Mapping[str, Any] | None
    make: MakeRespondent


class Described:
    """Name and identity of a respondent model that runs on the workers."""

    def __init__(self, name: str, identity: Mapping[str, Any], note: str) -> None:
        self.name = name
        self.note = note
        self._identity = dict(identity)

    def identity(self) -> Mapping[str, Any]:
        """Return the identity recorded by a worker."""
        return self._identity

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Answer]:
        """Not supported here."""
        raise NotImplementedError(f"{self.name} answers on its workers")


class DescribedControl(Described):
    """The same for a control, with its personas."""

    def __init__(self, name: str, identity: Mapping[str, Any], note: str, personas: Mapping[str, Persona]) -> None:
        super().__init__(name, identity, note)
        self._personas = personas

    def personas_for(self, dataset: Dataset) -> Mapping[str, Persona]:
        """Return subgroup -> persona."""
        return self._personas


def describe(work: WorkerSetup) -> Described:
    """Build the respondent model on a worker and return its identity, which includes device and library versions."""
    respondent = _built(work)
    if isinstance(respondent, ReplacesPersonas):
        return DescribedControl(respondent.name, respondent.identity(), respondent.note, respondent.personas_for(work.dataset))
    return Described(respondent.name, respondent.identity(), "")


class Worker:
    """Answers batches of prompts; Ray runs it as an actor and replaces it if it dies."""

    def __init__(self, work: WorkerSetup) -> None:
        self._work = work
        self._known = StoreIndex(lambda: [work.out / STORE / FILE, *files_of_workers(work.out)])
        self._failures = 0

    @cached_property
    def _store(self) -> Store:
        return new_store(self._work.out)

    @cached_property
    def _respondent(self) -> Respondent:
        respondent = _built(self._work)
        identity = json.loads(json.dumps({"name": respondent.name, **respondent.identity()}, ensure_ascii=False))
        # All workers must have the same library versions and devices.
        check_same_identity(self._work.out, {"respondent": self._work.respondent}, {"respondent": identity})
        if isinstance(respondent, ReusesAnswers):
            respondent.recall(read_store(self._work.out / STORE))
        return respondent

    def __call__(self, batch: Any) -> Any:
        """Answer the prompts of a batch that no store has answered; return the rows of all that are answered now.

        Failures are stored but not returned, since Ray would record them as done.

        Args:
            batch: pyarrow table, PROMPTS schema.

        Returns:
            pyarrow table, `key` and RESPONSES schema.

        Raises:
            RunFailedError: no call succeeds, or the provider refuses every call.
        """
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        prompts = {prompt.key: prompt for prompt in prompts_from_frame(frame)}
        self._known.refresh()
        waiting = {key: prompt for key, prompt in prompts.items() if not self._known.has(key)}
        if waiting:
            self._ask(waiting)
            self._known.refresh()
        rows = [{"key": key, **(self._known.row(key) or {})} for key in prompts if self._known.has(key)]
        return pl.DataFrame(rows, schema=_ANSWERS, orient="row").to_arrow(compat_level=pl.CompatLevel.oldest())

    def _ask(self, waiting: Mapping[str, Prompt]) -> None:
        respondent = self._respondent
        if isinstance(respondent, SupportsResume) and self._known.successes:
            # Successes of any worker count: if some prompts were answered, a refusal concerns that prompt only.
            respondent.answered_before(self._known.successes)
        back: set[str] = set()
        for answer in respondent.answer(list(waiting.values())):
            key = answer.prompt.key
            if key not in waiting:
                raise ValueError(f"{respondent.name} answered {answer.prompt.pair_id!r}, which was not asked")
            self._keep(key, answer)
            back.add(key)
        if not isinstance(respondent, SupportsStop) or respondent.stopped is None:
            for key in waiting.keys() - back:
                self._keep(key, Answer(waiting[key], error="no answer came back"))

    def _keep(self, key: str, answer: Answer) -> None:
        row = row_of(answer, self._work.labels[answer.prompt.item])
        self._store.append(key, row)
        self._failures += row["status"] == "failed"
        if self._failures >= FAILURES_BEFORE_STOPPING and not self._store.successes and not self._known.successes:
            raise RunFailedError(
                f"{self._work.out}: no call succeeded; {self._failures:,} failed, the last: {row['error']}. The rest was not asked."
            )


def _built(work: WorkerSetup) -> Respondent:
    try:
        return work.make(work.model, work.dataset, work.settings)
    except ValuestrataError as error:
        if type(error).__init__ is ValuestrataError.__init__:
            raise
        # An error with its own constructor arguments cannot be sent between processes.
        raise UsageError(error.message) from None
