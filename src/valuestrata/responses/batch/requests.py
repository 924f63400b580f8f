"""Batch files of a run: written without a key, and read back into its store.

What comes back is read as live answers are, into the same rows; what a batch did not get to stays to be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import sha256_of
from valuestrata.prompts.prompt import Prompt
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.hosted.batch.answers import answer_of, check_batchable, rebuilt
from valuestrata.respondents.hosted.batch.files import Broken, Line, form_of, read_lines, write_requests
from valuestrata.respondents.hosted.respondent import HostedRespondent
from valuestrata.responses.ask.plan import Asking, asked_meta, labels_of
from valuestrata.responses.batch.folder import BatchFile, BatchFolder, is_batch_run, open_keys
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.failures import failure_kinds
from valuestrata.responses.run.folder import TABLE, counts_by_status, read_meta
from valuestrata.responses.run.session import opened_run
from valuestrata.responses.run.store import Store

__all__ = ["CollectedBatch", "Written", "collect_batch", "is_batch_run", "open_keys", "write_batch"]

_NAMED = 5


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        run_dir: the run's folder.
        files: the new files of requests.
        requests: requests in them.
        kept: prompts of the plan that are answered.
        waiting: prompts of the plan that lie in files written before, whose results are still to come; not written again.
    """

    run_dir: Path
    files: tuple[Path, ...]
    requests: int
    kept: int
    waiting: int


@dataclass(frozen=True)
class CollectedBatch:
    """What came of collecting.

    Attributes:
        run_dir: the run's folder.
        stored: responses that are new in the run's store, failures among them.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> responses that ended so, commonest first, in the whole run.
        not_asked: the provider's word -> requests that a batch did not get to; they stay to be asked.
        unknown, unknown_ids: lines whose custom_id this run does not know, and the first of those.
        damaged: lines that could not be read, by where they stand.
        waiting: prompts that lie in batch files and whose result is still to come.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run.
        remarks: what a user should know, a sentence each.
    """

    run_dir: Path
    stored: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    not_asked: Mapping[str, int]
    unknown: int
    unknown_ids: tuple[str, ...]
    damaged: tuple[str, ...]
    waiting: int
    usage: Mapping[str, int | float | None]
    remarks: tuple[str, ...]


@dataclass
class _Seen:
    """What the lines so far came to."""

    open: frozenset[str]
    stored: int = 0
    known: int = 0
    ids: set[str] = field(default_factory=set[str])
    not_asked: Counter[str] = field(default_factory=Counter[str])
    unknown: Counter[str] = field(default_factory=Counter[str])
    damaged: list[Broken] = field(default_factory=list[Broken])


def write_batch(dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking) -> Written:
    """Write what is not answered yet as batch files of the respondent's provider, in `out/batch`; nobody is asked.

    Prompts that lie in a file already, whose result is still to come, are not written again.

    Args:
        dataset: what is asked about.
        respondent: a hosted model.
        out: folder of the run; where one of the same identity lies, it goes on.
        asking: what is asked.

    Raises:
        UsageError: a respondent model that is none of a provider with batches, an elicitation that no batch answers, or
            another process that has the run open.
        InputDataError: `out` holds something else, or a run of another identity.
    """
    if not isinstance(respondent, HostedRespondent):
        raise UsageError(f"MODEL {respondent.name!r} takes no batch files; only models of providers (openai/..., anthropic/...) do.")
    check_batchable(respondent, asking.elicitation)
    folder = Path(out)
    meta = asked_meta(dataset, respondent, folder.resolve().name, asking)
    with opened_run(folder, meta) as store:
        batch = BatchFolder(folder)
        in_files = batch.open_keys()
        kept = waiting = 0
        prompts: list[Prompt] = []
        for prompt in asking.prompts(dataset, respondent):
            key = prompt.key
            answered = store.has(key)
            kept += answered
            waiting += not answered and key in in_files
            if not answered and key not in in_files:
                prompts.append(prompt)
        files = _written(batch, respondent, prompts) if prompts else []
    return Written(folder, tuple(batch.path / file.name for file in files), len(prompts), kept, waiting)


def collect_batch(
    dataset: Dataset,
    run: str | Path,
    outputs: Sequence[str | Path],
    *,
    respondent: HostedRespondent | None = None,
    remarks: Iterable[str] = (),
) -> CollectedBatch:
    """Read what a provider gave back for a run's batch files into the run's store; the same outputs again change nothing.

    Args:
        dataset: what was asked about.
        run: the run's folder.
        outputs: files as the provider gave them: outputs and errors, in any order.
        respondent: who was asked; made again from what `run.json` says of it, if not given.
        remarks: what is to be told besides.

    Raises:
        InputDataError: no batch files were written for the run, it is of another data set, or an output file is absent.
        UsageError: another process has the run open.
    """
    folder = Path(run)
    meta = checked_meta(dataset, folder)
    who = respondent or hosted_of_run(folder)
    batch = BatchFolder(folder)
    prompts, labels, seen = batch.prompts(), labels_of(dataset), _Seen(batch.open_ids())
    digests = {Path(file): sha256_of(_there(Path(file))) for file in outputs}
    known = set(batch.state().imported)
    with opened_run(folder, meta) as store:
        for file, digest in digests.items():
            for line in read_lines(form_of(who.wire), file):
                _take(line, store, who, prompts, labels, seen, again=digest in known)
        # Only what the store holds is noted as come.
        batch.close(ids=seen.ids)
        batch.note_imported(digests.values())
    if not seen.known and (seen.unknown or seen.damaged):
        raise InputDataError(
            f"{', '.join(map(str, digests))}: no line belongs to this run: {seen.unknown.total():,} have a custom_id that it does not know"
            f"{f' ({next(iter(seen.unknown))!r})' if seen.unknown else ''}, {len(seen.damaged):,} cannot be read. Give what the provider "
            f"gave back for the files in {batch.path}."
        )
    table = pl.read_parquet(folder / TABLE, columns=["status", "error"])
    waiting = len(batch.open_ids())
    return CollectedBatch(
        run_dir=folder,
        stored=seen.stored,
        counts=counts_by_status(table),
        failures=failure_kinds(table),
        not_asked=dict(seen.not_asked.most_common()),
        unknown=seen.unknown.total(),
        unknown_ids=tuple(list(seen.unknown)[:_NAMED]),
        damaged=tuple(broken.where for broken in seen.damaged),
        waiting=waiting,
        usage=(read_meta(folder) or {})["usage"],
        remarks=(*remarks, *_remarks(seen, waiting)),
    )


def checked_meta(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return the document of a run that has batch files.

    Raises:
        InputDataError: it has none, or is a run of another data set.
    """
    meta = read_meta(folder)
    if meta is None or not is_batch_run(folder):
        raise InputDataError(f"{folder}: no batch files were written for a run here. Write them with: valuestrata ask ... --batch-out")
    if meta["dataset"]["fingerprint"] != dataset.fingerprint:
        raise InputDataError(f"{folder}: its batch files ask about another data set than {dataset.path or 'this one'}.")
    return meta


def hosted_of_run(run: Path) -> HostedRespondent:
    """Return the hosted model that a run with batch files asks, as `run.json` describes it; with a key if there is one.

    Raises:
        InputDataError: no such run.
    """
    meta, state = read_meta(run), BatchFolder(run).state()
    if meta is None:
        raise InputDataError(f"{run}: no run here.")
    return rebuilt(meta["respondent"], state.prices)


def _written(batch: BatchFolder, respondent: HostedRespondent, prompts: Sequence[Prompt]) -> list[BatchFile]:
    form, state = form_of(respondent.wire), batch.state()
    ids = [form.custom_id(prompt, state.salt) for prompt in prompts]
    if len(set(ids)) != len(ids):
        raise ValueError("two prompts of one run have the same custom_id")
    requests = ((name, respondent.wire.body(prompt, respondent.settings)) for name, prompt in zip(ids, prompts, strict=True))
    batch.tidy()
    counts = write_requests(form, requests, lambda number: batch.path_of(len(state.files) + number))
    return batch.add(state, prompts, ids, counts, None if respondent.prices is None else asdict(respondent.prices))


def _there(file: Path) -> Path:
    if not file.is_file():
        raise InputDataError(f"{file}: the file does not exist.")
    return file


def _take(
    line: Line | Broken,
    store: Store,
    respondent: HostedRespondent,
    prompts: Mapping[str, Prompt],
    labels: Mapping[str, Mapping[int, str]],
    seen: _Seen,
    *,
    again: bool,
) -> None:
    """Store what a line says; a failure only once, for it would be a new row each time it is read.

    A file that was read before (`again`) says nothing of a prompt that has been put into another batch since.
    """
    if isinstance(line, Broken):
        seen.damaged.append(line)
        return
    prompt = prompts.get(line.custom_id)
    if prompt is None:
        seen.unknown[line.custom_id] += 1
        return
    seen.known += 1
    first = not again and line.custom_id in seen.open and line.custom_id not in seen.ids
    if not again:
        seen.ids.add(line.custom_id)
    if line.why is not None:
        seen.not_asked[line.why] += first
        return
    key = prompt.key
    if store.has(key):
        return
    row = row_of(answer_of(respondent, prompt, line), labels[prompt.item])
    if first or row["status"] != "failed":
        seen.stored += store.append(key, row)


def _remarks(seen: _Seen, waiting: int) -> Iterator[str]:
    for word, number in seen.not_asked.most_common():
        yield f"{number:,} requests were not answered by the batch ({word}); ask or batch them again with the same command."
    torn = [broken for broken in seen.damaged if broken.torn]
    if torn:
        yield f"{torn[0].where} is half a line: the file was not copied to its end; fetch it again and import it again."
    if len(seen.damaged) > len(torn):
        where = next(broken.where for broken in seen.damaged if not broken.torn)
        yield f"{len(seen.damaged) - len(torn):,} lines could not be read; the first is {where}."
    if seen.unknown:
        named = ", ".join(list(seen.unknown)[:_NAMED])
        yield f"{seen.unknown.total():,} lines have a custom_id that this run did not ask ({named}): outputs of another run?"
    if waiting:
        yield f"{waiting:,} prompts lie in batch files and have no result yet."
