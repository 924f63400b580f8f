"""Write the batch files of a run, and read their outputs into its store.

Writing needs no key. Outputs are parsed like live answers; prompts that a batch did not answer remain unanswered.
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
from valuestrata.respondents.hosted.batch.answers import answer_of, check_batchable, respondent_from_identity
from valuestrata.respondents.hosted.batch.files import BatchResult, UnreadableLine, batch_format_of, read_lines, write_requests
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
    """Batch files written.

    Attributes:
        run_dir: the run's folder.
        files: the new request files.
        requests: number of requests in them.
        kept: prompts of the plan that are answered.
        waiting: prompts of the plan in earlier files whose results are open; they are not written again.
        remarks: messages for the user about damaged lines of the run's store.
    """

    run_dir: Path
    files: tuple[Path, ...]
    requests: int
    kept: int
    waiting: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CollectedBatch:
    """Result of collecting batch outputs.

    Attributes:
        run_dir: the run's folder.
        stored: new responses in the store, failures included.
        counts: status -> responses, in the whole run.
        failures: kind of failure -> responses in the whole run, most frequent first.
        not_asked: reason given by the provider -> requests that the batch did not process; they remain unanswered.
        unknown, unknown_ids: number of lines with an unknown custom_id, and the first of those ids.
        damaged: places of lines that could not be read.
        waiting: prompts whose results are open.
        usage: prompt_tokens, completion_tokens and cost (US dollars) of the whole run.
        remarks: messages for the user.
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
    """Counts of the lines read so far."""

    open: frozenset[str]
    stored: int = 0
    known: int = 0
    ids: set[str] = field(default_factory=set[str])
    not_asked: Counter[str] = field(default_factory=Counter[str])
    unknown: Counter[str] = field(default_factory=Counter[str])
    damaged: list[UnreadableLine] = field(default_factory=list[UnreadableLine])


def write_batch(dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking) -> Written:
    """Write unanswered prompts as batch files of the model's provider into `out/batch`. Nothing is sent.

    Prompts in earlier files whose results are open are not written again.

    Args:
        out: folder of the run. An existing run of the same identity continues.

    Raises:
        UsageError: a model or elicitation that batches do not support, or another process has the run open.
        InputDataError: the folder is not a run, or is a run of another identity.
    """
    if not isinstance(respondent, HostedRespondent):
        raise UsageError(f"MODEL {respondent.name!r} does not support batch files; use a hosted model (openai/..., anthropic/...).")
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
    return Written(folder, tuple(batch.path / file.name for file in files), len(prompts), kept, waiting, tuple(store.remarks))


def collect_batch(
    dataset: Dataset,
    run: str | Path,
    outputs: Sequence[str | Path],
    *,
    respondent: HostedRespondent | None = None,
    remarks: Iterable[str] = (),
) -> CollectedBatch:
    """Read a provider's outputs into the store of a run. Reading the same outputs again changes nothing.

    Args:
        outputs: the provider's output and error files, in any order.
        respondent: the model; rebuilt from `run.json` by default.

    Raises:
        InputDataError: the run has no batch files or belongs to another data set, or an output file is missing.
        UsageError: another process has the run open.
    """
    folder = Path(run)
    meta = checked_meta(dataset, folder)
    who = respondent or hosted_of_run(folder)
    batch = BatchFolder(folder)
    prompts, labels, seen = batch.prompts(), labels_of(dataset), _Seen(batch.open_ids())
    if missing := [file for file in outputs if not Path(file).is_file()]:
        raise InputDataError(f"{missing[0]}: the file does not exist.")
    digests = {Path(file): sha256_of(Path(file)) for file in outputs}
    known = set(batch.state().imported)
    with opened_run(folder, meta, asks=False) as store:
        for file, digest in digests.items():
            for line in read_lines(batch_format_of(who.codec), file):
                _take(line, store, who, prompts, labels, seen, again=digest in known)
        # Marked only once the responses are in the store.
        batch.close(ids=seen.ids)
        batch.note_imported(digests.values())
    if not seen.known and (seen.unknown or seen.damaged):
        raise InputDataError(
            f"{', '.join(map(str, digests))}: no line belongs to this run: {seen.unknown.total():,} have an unknown custom_id"
            f"{f' ({next(iter(seen.unknown))!r})' if seen.unknown else ''}, {len(seen.damaged):,} cannot be read. Give the provider's "
            f"outputs for the files in {batch.path}."
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
        remarks=(*remarks, *store.remarks, *_remarks(seen, waiting)),
    )


def checked_meta(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return the `run.json` of a run with batch files.

    Raises:
        InputDataError: the run has no batch files, or belongs to another data set.
    """
    meta = read_meta(folder)
    if meta is None or not is_batch_run(folder):
        raise InputDataError(f"{folder}: no batch files here. Write them with: valuestrata ask ... --batch-out")
    if meta["dataset"]["fingerprint"] != dataset.fingerprint:
        raise InputDataError(f"{folder}: its batch files belong to another data set than {dataset.path or 'this one'}.")
    return meta


def hosted_of_run(run: Path) -> HostedRespondent:
    """Return the hosted model of a run with batch files, as described by `run.json`; InputDataError without a run."""
    meta, state = read_meta(run), BatchFolder(run).state()
    if meta is None:
        raise InputDataError(f"{run}: no run here.")
    return respondent_from_identity(meta.get("respondent"), state.prices)


def _written(batch: BatchFolder, respondent: HostedRespondent, prompts: Sequence[Prompt]) -> list[BatchFile]:
    form, state = batch_format_of(respondent.codec), batch.state()
    ids = [form.custom_id(prompt, state.salt) for prompt in prompts]
    if len(set(ids)) != len(ids):
        raise ValueError("two prompts of one run have the same custom_id")
    requests = ((name, respondent.codec.body(prompt, respondent.settings)) for name, prompt in zip(ids, prompts, strict=True))
    batch.tidy()
    counts = write_requests(form, requests, lambda number: batch.path_of(len(state.files) + number))
    return batch.add(state, prompts, ids, counts, None if respondent.prices is None else asdict(respondent.prices))


def _take(
    line: BatchResult | UnreadableLine,
    store: Store,
    respondent: HostedRespondent,
    prompts: Mapping[str, Prompt],
    labels: Mapping[str, Mapping[int, str]],
    seen: _Seen,
    *,
    again: bool,
) -> None:
    """Store the result of a line. A failure is stored only the first time, or each reading would add a row.

    A file that was read before (`again`) does not close prompts, which may be in another batch by now.
    """
    if isinstance(line, UnreadableLine):
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
    for reason, number in seen.not_asked.most_common():
        yield f"{number:,} requests were not processed by the batch ({reason}); run the same command again to ask them."
    torn = [broken for broken in seen.damaged if broken.torn]
    if torn:
        yield f"{torn[0].where} is incomplete: the file was cut off; download and import it again."
    if len(seen.damaged) > len(torn):
        where = next(broken.where for broken in seen.damaged if not broken.torn)
        yield f"{len(seen.damaged) - len(torn):,} lines could not be read; the first is {where}."
    if seen.unknown:
        named = ", ".join(list(seen.unknown)[:_NAMED])
        yield f"{seen.unknown.total():,} lines have an unknown custom_id ({named}); are they outputs of another run?"
    if waiting:
        yield f"{waiting:,} prompts in batch files have no result yet."
