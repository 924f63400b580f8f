"""Import published or external outputs as a run: columns `custom_id` (a pair_id) and `response` (the text).

Formats: CSV, TSV, JSON lines, a JSON list, Parquet, and result files of the OpenAI and Anthropic batch services. Repeated
pairs are samples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError, did_you_mean
from valuestrata.files import check_file, folder_written_beside, read_parquet, sha256_of, write_json
from valuestrata.prompts import printed_numbers, questions_of
from valuestrata.prompts.prompt import Prompt
from valuestrata.prompts.question import Numbers
from valuestrata.respondents.base import Answer
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import RUN, counts_by_status, new_meta, now, read_meta, write_table
from valuestrata.responses.run.schema import RESPONSES

ID = "custom_id"
RESPONSE = "response"
TEMPLATE = "imported"
KIND = "imported"
_TABLES = (".csv", ".tsv", ".parquet")
_DOCUMENTS = (".json", ".jsonl", ".ndjson")
_NAMED = 5
# Not JSON, a number that is too long, or nested too deep.
_UNREADABLE = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Output:
    """One line of a file: the pair, the text, or the error."""

    custom_id: str
    text: str | None
    error: str | None = None


@dataclass(frozen=True)
class ImportResult:
    """Result of an import.

    Attributes:
        run_dir: the run's folder.
        counts: status -> responses.
        pairs: pairs with a response.
        unknown: rows with a custom_id that is not in the data set.
        unknown_ids: the first of those ids.
        remark: a warning about the meaning of numbers, or None.
    """

    run_dir: Path
    counts: Mapping[str, int]
    pairs: int
    unknown: int
    unknown_ids: tuple[str, ...]
    remark: OptionText | None = None


def import_run(
    dataset: Dataset, file: str | Path, out: str | Path, *, numbers: Numbers = "code", name: str | None = None, overwrite: bool = False
) -> ImportResult:
    """Import a file of outputs as a run with text elicitation.

    Args:
        numbers: meaning of a number in a response: the scale `code` (the position for items with negative codes), or the
            `position` in the list of options in scale order, 1..K.
        overwrite: replace an imported run at `out`. A run that was asked is never replaced.

    Raises:
        InputDataError: the file cannot be read or lacks a column, no id is known, or the folder is not an imported run.
        UsageError: the folder holds an imported run, and `overwrite` is False.
    """
    source, folder = Path(file), Path(out)
    _check_folder(folder, overwrite=overwrite)
    pairs = {row[0]: row for row in dataset.gold.select("pair_id", "item", "subgroup").unique("pair_id").iter_rows()}
    questions = questions_of(dataset)
    labels = {item: question.label_of for item, question in questions.items()}
    printed = {item: printed_numbers(question.codes, "scale", numbers) for item, question in questions.items()}
    rows: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for output in read_outputs(source):
        pair = pairs.get(output.custom_id)
        if pair is None:
            unknown[output.custom_id] += 1
            continue
        pair_id, item, subgroup = pair
        prompt = Prompt(
            pair_id=pair_id,
            item=item,
            subgroup=subgroup,
            messages=(),
            prefill="",
            options=printed[item],
            shown=questions[item].codes,
            elicitation="text",
            template=TEMPLATE,
            template_version="1",
            sample=seen[pair_id],
        )
        seen[pair_id] += 1
        answer = Answer(prompt, error=output.error) if output.error is not None else Answer(prompt, text=output.text or "")
        row = row_of(answer, labels[item])
        # The prompts are not known, so there is no hash.
        rows.append({**row, "text": None if output.text is None else row["text"], "prompt_hash": None})
    if not rows:
        raise InputDataError(_none_known(source, unknown, pairs, dataset))
    table = RESPONSES.frame(rows)
    counts = counts_by_status(table)
    meta = new_meta(
        dataset,
        name or folder.resolve().name,
        KIND,
        respondent={"name": name or folder.resolve().name, "provider": "imported"},
        template=TEMPLATE,
        template_version="1",
        elicitation="text",
        numbers=numbers,
        source={"file": source.name, "sha256": sha256_of(source), "rows": len(rows) + unknown.total(), "unknown": unknown.total()},
    )
    with folder_written_beside(folder) as temporary:
        write_table(temporary, table, None)
        write_json(temporary / RUN, {**meta, "finished": now(), "counts": counts})
    return ImportResult(folder, counts, len(seen), unknown.total(), tuple(list(unknown)[:_NAMED]), _doubt(counts, numbers))


def _doubt(counts: Mapping[str, int], numbers: Numbers) -> OptionText | None:
    """Return a warning if more than half of the responses have a number that is not an option."""
    wrong, responses = counts["invalid_code"], sum(counts.values())
    if 2 * wrong <= responses:
        return None
    other, meaning = ("position", "places on the list of options") if numbers == "code" else ("code", "codes of the scale")
    doubt = f"{wrong:,} of {responses:,} responses name a number that no option has. If they are {meaning}, import with "
    return OptionText(doubt, Option("numbers", other), ".")


def read_outputs(file: Path) -> Iterator[Output]:
    """Yield the outputs of a file, in its order.

    Raises:
        InputDataError: absent, of a kind that is not read, broken, or without `custom_id` and `response`.
    """
    suffix = file.suffix.lower()
    if suffix not in (*_TABLES, *_DOCUMENTS):
        known = ", ".join((*_TABLES, *_DOCUMENTS))
        raise InputDataError(f"{file}: files that end in {suffix or 'nothing'} are not read as outputs; known: {known}.")
    if not file.is_file():
        raise InputDataError(f"{file}: the file does not exist.")
    return _from_table(file) if suffix in _TABLES else _from_documents(file)


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists():
        return
    there = read_meta(folder) if folder.is_dir() else None
    if there is None and (not folder.is_dir() or any(folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
    if there is not None and there.get("kind") != KIND:
        raise InputDataError(f"{folder}: holds the run {there['name']!r}, which was asked and not imported; choose another place with -o.")
    if there is not None and not overwrite:
        imported = f" from {source['file']}" if isinstance(source := there.get("source"), dict) and "file" in source else ""
        raise UsageError(
            f"{folder}: holds the run {there['name']!r}, imported{imported}; choose another place with -o, or replace it with ",
            Option("overwrite"),
            ".",
        )


def _none_known(file: Path, unknown: Counter[str], pairs: Mapping[str, Any], dataset: Dataset) -> str:
    where = dataset.path or "the data set"
    if not unknown:
        return f"{file}: it holds no outputs."
    first = next(iter(unknown))
    return (
        f"{file}: none of its {len(unknown):,} custom_ids is a pair of {where} (the first is {first!r})."
        f"{did_you_mean(first, list(pairs)[:20_000])} Were these outputs made for another data set?"
    )


def _from_table(file: Path) -> Iterator[Output]:
    frame = read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)
    for name in (ID, RESPONSE):
        if name not in frame.columns:
            raise InputDataError(f"{file}: the column {name!r} is missing; found {', '.join(frame.columns)}.")
    if isinstance(frame.schema[RESPONSE], pl.Struct):
        for row in frame.select(ID, RESPONSE).iter_rows(named=True):
            yield _output(row, str(file))
        return
    try:
        texts = frame.select(pl.col(ID, RESPONSE).cast(pl.String))
    except pl.exceptions.PolarsError as error:
        raise InputDataError(f"{file}: {ID} and {RESPONSE} must be text ({str(error).splitlines()[0]}).") from error
    for custom_id, text in texts.iter_rows():
        yield Output(custom_id or "", text)


def _read_csv(file: Path) -> pl.DataFrame:
    check_file(file)
    try:
        # Read everything as text, ids included.
        return pl.read_csv(file, infer_schema=False, separator="\t" if file.suffix.lower() == ".tsv" else ",")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputDataError(f"{file}: not a readable table ({str(error).splitlines()[0]}).") from error


def _from_documents(file: Path) -> Iterator[Output]:
    check_file(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputDataError(f"{file}: not a text file in UTF-8 ({error.reason}).") from error
    if text.lstrip().startswith("["):
        try:
            documents: list[Any] = json.loads(text)
        except _UNREADABLE as error:
            raise InputDataError(f"{file}: not a JSON list ({error}).") from error
        for number, document in enumerate(documents, start=1):
            yield _output(document, f"{file}: entry {number}")
        return
    # Split at line feeds only; texts may contain other characters that `splitlines` splits at.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except _UNREADABLE as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputDataError(f"{file}: line {number} is not JSON ({reason}).") from error
        yield _output(document, f"{file}: line {number}")


def _output(document: Any, where: str) -> Output:
    if not isinstance(document, dict) or ID not in document:
        raise InputDataError(f"{where}: it has no {ID!r}.")
    custom_id = str(document[ID])
    if document.get("error"):
        return Output(custom_id, None, _message(document["error"]))
    if "result" in document and RESPONSE not in document:
        return _anthropic(custom_id, document["result"])
    if RESPONSE not in document:
        raise InputDataError(f"{where}: it has no {RESPONSE!r}.")
    response = document[RESPONSE]
    if response is None or isinstance(response, (str, int, float)):
        return Output(custom_id, None if response is None else str(response))
    body = _at(response, "body")
    if body is None:
        raise InputDataError(f"{where}: {RESPONSE!r} is neither text nor a batch result with a 'body'.")
    if _at(body, "error"):
        return Output(custom_id, None, _message(body["error"]))
    choices = _at(body, "choices")
    if not isinstance(choices, list) or not choices:
        return Output(custom_id, None, f"status {_at(response, 'status_code')}: no choices in the batch result")
    message = _at(choices[0], "message")
    if not isinstance(message, dict):
        return Output(custom_id, None, f"status {_at(response, 'status_code')}: no message in the batch result")
    # Some services return a refusal in a field of its own.
    return Output(custom_id, _joined(message.get("content")) or _joined(message.get("refusal")))


def _anthropic(custom_id: str, result: Any) -> Output:
    message = _at(result, "message")
    if message is None:
        return Output(custom_id, None, f"{_at(result, 'type') or 'failed'}: {_message(_at(result, 'error') or {})}")
    return Output(custom_id, _joined(_at(message, "content")))


def _joined(content: Any) -> str | None:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return None if content is None else str(content)


def _message(error: Any) -> str:
    inner: Any = _at(error, "error")
    parts: Any = inner if isinstance(inner, dict) else error
    if isinstance(parts, dict):
        return ": ".join(str(parts[key]) for key in ("code", "type", "message") if parts.get(key)) or "unknown"
    return str(parts)


def _at(document: Any, key: str) -> Any:
    return document.get(key) if isinstance(document, dict) else None
