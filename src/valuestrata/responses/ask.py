"""The asking loop: prompts out, answers in, each stored as it comes.

`ask` does not know who answers. It renders what is asked in prefix order, leaves out what the run's store already has,
hands the rest over in chunks, and stores every answer before it waits for the next. Stopped at any point, by the user
or by the system, it goes on where it was when it is called again.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.errors import InputDataError, RunFailedError, UsageError, did_you_mean
from valuestrata.files import write_json
from valuestrata.progress import Advance, progress
from valuestrata.prompts import load_template, orders_from, questions_of, render_prompts
from valuestrata.prompts.orders import seed_of
from valuestrata.prompts.prompt import Elicitation, Prompt
from valuestrata.respondents.base import Answer, Respondent
from valuestrata.respondents.controls import AskedAsOthers, ReusesAnswers
from valuestrata.responses.reading import row_of
from valuestrata.responses.run import (
    RUN,
    STORE,
    TABLE,
    check_same_identity,
    counts_by_status,
    new_meta,
    now,
    read_meta,
    table_is_current,
    write_table,
)
from valuestrata.responses.store import Store

# Prompts handed over at once: enough to plan shared prefixes in, few enough to hold.
CHUNK = 8192
# A wrong model name or an expired key fails every call: after so many failures without a single success, ask no more.
FAILURES_BEFORE_STOPPING = 200
_KIND_LENGTH = 80
PARTS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class AskResult:
    """What came of asking.

    Attributes:
        run_dir: the run's folder.
        asked: prompts handed to the respondent model by this call.
        kept: prompts of the plan that had been answered before it.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> responses that ended so, commonest first, in the whole run.
        left: prompts of the plan without an answer.
    """

    run_dir: Path
    asked: int
    kept: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    left: int

    @property
    def answered(self) -> int:
        """Responses that hold an answer."""
        return self.counts["answered"]

    @property
    def failed(self) -> int:
        """Responses that ended failed; asking again retries them."""
        return self.counts["failed"]


@dataclass
class _Done:
    """What one call of `ask` did so far: prompts handed over, answered before, answered now; whether it gave up."""

    asked: int = 0
    kept: int = 0
    answered: int = 0
    gave_up: bool = False


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
    samples: int = 1,
    max_calls: int | None = None,
) -> AskResult:
    """Ask a respondent model the pairs of a split and keep its responses in a run folder.

    Args:
        dataset: what is asked about.
        respondent: who answers. One that is `AskedAsOthers` is asked as the personas it gives, and its answers belong to
            the pairs meant; one that `ReusesAnswers` is told first what the run holds.
        out: folder of the run; where one of the same identity lies, it goes on.
        split, part, fold: which pairs; `part` may be `all`, a fold None means every fold. A pair that is there in several
            folds is asked once.
        items, strata: only these, where given.
        template: name or file of the persona template.
        elicitation: `text`, `logprob` or `first-token`.
        orders: option orders, as `orders_from` reads them.
        samples: how often each prompt is asked.
        max_calls: stop after so many prompts (copies of an answer count like calls); asking again goes on.

    Raises:
        UsageError: a name that does not exist, or another process that is asking in this run.
        InputDataError: nothing to ask, or a folder that holds something else or a run of another identity.
        RunFailedError: nothing succeeded, or the disk does not take the answers.
    """
    folder = Path(out)
    recipe = load_template(template)
    names = orders_from(orders)
    pairs = select_pairs(dataset, split, part, fold, items, strata)
    personas = respondent.personas_for(dataset) if isinstance(respondent, AskedAsOthers) else None
    prompts = render_prompts(dataset, pairs, template=recipe, elicitation=elicitation, orders=names, samples=samples, personas=personas)
    if max_calls is not None and max_calls < 0:
        raise UsageError(f"max_calls is {max_calls}; it cannot be negative.")
    plan = {
        "split": split,
        "part": part,
        "fold": fold,
        "items": list(items),
        "strata": list(strata),
        "orders": list(names),
        "seeds": [seed for seed in map(seed_of, names) if seed is not None],
        "samples": samples,
    }
    meta = new_meta(
        dataset,
        folder.resolve().name,
        "asked",
        respondent=_as_json({"name": respondent.name, **respondent.identity()}),
        template=recipe.name,
        template_version=recipe.version,
        elicitation=elicitation,
        plan=plan,
    )
    planned = pairs.height * len(names) * samples
    labels = {item: question.label_of for item, question in questions_of(dataset).items()}
    did = _Done()
    with _opened(folder, meta) as store, progress(f"asking {respondent.name}", planned) as advance:
        if isinstance(respondent, ReusesAnswers):
            respondent.recall(store.table())
        for chunk in _chunks(prompts, store, did, advance, max_calls):
            _ask_chunk(respondent, chunk, store, labels, did, advance)
            if did.gave_up:
                break
        successes = store.successes
    table = pl.read_parquet(folder / TABLE, columns=["status", "error"])
    result = AskResult(
        run_dir=folder,
        asked=did.asked,
        kept=did.kept,
        counts=counts_by_status(table),
        failures=failure_kinds(table),
        left=planned - did.kept - did.answered,
    )
    if result.failed and not successes:
        raise RunFailedError(
            f"{folder}: no call succeeded; {result.failed:,} failed: {_listed(table)}."
            + (" The rest was not asked." if did.gave_up else "")
        )
    return result


def select_pairs(
    dataset: Dataset, split: str, part: str, fold: int | None = None, items: Sequence[str] = (), strata: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the pairs to ask, each once: pair_id, item, subgroup.

    Raises:
        UsageError: a part, fold, item or stratum that does not exist.
        InputDataError: the data set has no such split, or no pair is left.
    """
    if part not in PARTS:
        raise UsageError(f"There is no part {part!r} of a split.{did_you_mean(part, PARTS)}")
    for what, given, known in (("item", items, list(dataset.codes_of)), ("stratum", strata, dataset.strata)):
        for word in given:
            if word not in known:
                raise UsageError(f"{dataset.path or 'The data set'} has no {what} {word!r}.{did_you_mean(word, known)}")
    pairs = dataset.part(split, part, fold).unique("pair_id", maintain_order=True)
    if items:
        pairs = pairs.filter(pl.col("item").is_in(list(items)))
    if strata:
        wanted = dataset.subgroups.filter(pl.col("stratum").is_in(list(strata))).select("subgroup")
        pairs = pairs.join(wanted, on="subgroup", how="semi")
    if pairs.is_empty():
        chosen = ", ".join([*items, *strata])
        raise InputDataError(
            f"{dataset.path or 'the data set'}: part {part!r} of split {split!r}"
            + ("" if fold is None else f", fold {fold},")
            + " has no pairs to ask"
            + (f" of {chosen}." if chosen else ".")
        )
    return pairs.select("pair_id", "item", "subgroup")


def failure_kinds(table: pl.DataFrame) -> dict[str, int]:
    """Return kind of failure -> responses; the kind is the error up to its first colon."""
    errors = table.filter(pl.col("status") == "failed")["error"].to_list()
    kinds = Counter((error or "unknown").partition(":")[0].strip()[:_KIND_LENGTH] for error in errors)
    return dict(kinds.most_common())


@contextlib.contextmanager
def _opened(folder: Path, meta: dict[str, Any]) -> Generator[Store]:
    """Open the run for asking; write its table and counts at the end, whatever ends it."""
    _check_folder(folder, meta)  # before a lock or a store is made in a folder that is not ours
    with Store(folder / STORE) as store:
        there = _check_folder(folder, meta)
        document = meta if there is None else _continued(there, meta)
        write_json(folder / RUN, document)
        try:
            yield store
        except BaseException:
            # The first error is the one to tell; a full disk will not take the table either, and the store has it all.
            with contextlib.suppress(OSError):
                _close_run(folder, document, store)
            raise
        _close_run(folder, {**document, "finished": now()}, store)


def _check_folder(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    there = read_meta(folder)
    if there is not None:
        check_same_identity(folder, there, meta)
    elif folder.exists() and (not folder.is_dir() or any(entry.name != STORE for entry in folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
    return there


def _continued(there: Mapping[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The document of a run that goes on: its first name and start, and what was different about the asking before."""
    document = {**meta, "name": there["name"], "started": there["started"]}
    for key in ("plan", "versions"):
        earlier = list(there.get(f"earlier_{key}", []))
        if there[key] != meta[key] and there[key] not in earlier:
            earlier.append(there[key])
        if earlier:
            document[f"earlier_{key}"] = earlier
    return document


def _close_run(folder: Path, document: dict[str, Any], store: Store) -> None:
    if not table_is_current(folder):
        write_table(folder, store.table(), store.size)
    counts = counts_by_status(pl.read_parquet(folder / TABLE, columns=["status"]))
    write_json(folder / RUN, {**document, "counts": counts})


def _chunks(prompts: Iterator[Prompt], store: Store, did: _Done, advance: Advance, max_calls: int | None) -> Iterator[dict[str, Prompt]]:
    """Yield prompts without an answer, by key; past `max_calls` only count those that have one."""
    chunk: dict[str, Prompt] = {}
    room = max_calls
    for prompt in prompts:
        key = prompt.key
        if store.has(key):
            did.kept += 1
            advance(1)
        elif room != 0:
            chunk[key] = prompt
            room = None if room is None else room - 1
            if len(chunk) == CHUNK:
                yield chunk
                chunk = {}
    if chunk:
        yield chunk


def _ask_chunk(
    respondent: Respondent, chunk: Mapping[str, Prompt], store: Store, labels: Mapping[str, Mapping[int, str]], did: _Done, advance: Advance
) -> None:
    """Ask some prompts and store what comes back, as it comes."""
    did.asked += len(chunk)
    asked: dict[tuple[str, str], set[str]] = {}
    for key, prompt in chunk.items():
        asked.setdefault((prompt.pair_id, prompt.order), set()).add(key)
    held: list[tuple[str, dict[str, Any]]] = []
    back: set[str] = set()
    well: set[str] = set()
    failures = 0
    for answer in respondent.answer(list(chunk.values())):
        prompt = answer.prompt
        if (prompt.pair_id, prompt.order) not in asked:
            raise ValueError(f"{respondent.name} answered pair {prompt.pair_id!r} in order {prompt.order!r}, which it was not asked")
        key, row = prompt.key, row_of(answer, labels[prompt.item])
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
            if failures >= FAILURES_BEFORE_STOPPING and not (store.successes or held):
                did.gave_up = True
                break
    for key, row in held:
        store.append(key, row)
    did.answered += len(well)
    if not did.gave_up:
        for key in chunk.keys() - back:
            store.append(key, row_of(Answer(chunk[key], error="no answer came back"), labels[chunk[key].item]))


def _listed(table: pl.DataFrame) -> str:
    """The commonest failures, each with its number and its first message in full."""
    errors = table.filter(pl.col("status") == "failed")["error"].fill_null("unknown")
    kinds = failure_kinds(table)
    shown: list[str] = []
    for kind, number in list(kinds.items())[:3]:
        example = next(error for error in errors if error.partition(":")[0].strip()[:_KIND_LENGTH] == kind)
        shown.append(f"{number:,} x {example[:300]}")
    return "; ".join(shown) + (f"; and {len(kinds) - 3} other kinds" if len(kinds) > 3 else "")


def _as_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as `run.json` gives it back: tuples become lists, so that the two compare equal."""
    return json.loads(json.dumps(document, ensure_ascii=False))
