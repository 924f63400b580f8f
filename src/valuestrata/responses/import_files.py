"""Read files of outputs: CSV, TSV, JSON lines, a JSON list, Parquet, and result files of the OpenAI and Anthropic batch services."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from valuestrata.errors import InputDataError, Option, did_you_mean
from valuestrata.files import check_file, read_parquet

ID = "custom_id"
RESPONSE = "response"
# Columns of files with one answer per respondent and item, and with shares of options.
RESPONDENT, ITEM, ANSWER = "respondent", "item", "answer"
OPTION, SHARE = "option", "share"
_DEFAULTS = (ID, RESPONSE, RESPONDENT, ITEM, ANSWER)
# Prefix of the columns that hold the ids in the frame of `read_outputs`: `id0`, `id1`, ...
KEY = "id"
_TABLES = (".csv", ".tsv", ".parquet")
_DOCUMENTS = (".json", ".jsonl", ".ndjson")
_HAS_NO = "it has no {}"
# Not JSON, a number that is too long, or nested too deep.
_UNREADABLE = (ValueError, RecursionError)


class Output(NamedTuple):
    """One output of a file: its ids, the text, or the error."""

    ids: tuple[str, ...]
    text: str | None
    error: str | None = None


def read_outputs(file: Path, ids: Sequence[str] = (ID,), answer: str = RESPONSE) -> pl.DataFrame:
    """Return the outputs of a file in its order: `id0`, `id1`, ... (one for each column of `ids`), `text` and `error`, all strings.

    Args:
        file: the file. ids: columns (keys of a JSON document) that identify a pair. answer: column of the answer.

    Raises:
        InputDataError: absent, of a kind that is not read, broken, or without these columns.
    """
    suffix = file.suffix.lower()
    if suffix not in (*_TABLES, *_DOCUMENTS):
        known = ", ".join((*_TABLES, *_DOCUMENTS))
        raise InputDataError(f"{file}: files that end in {suffix or 'nothing'} are not read as outputs; known: {known}.")
    if not file.is_file():
        raise InputDataError(f"{file}: the file does not exist.")
    keys = tuple(ids)
    return _from_table(file, keys, answer) if suffix in _TABLES else _frame(_from_documents(file, keys, answer), len(keys))


def read_table(file: Path) -> pl.DataFrame:
    """Return a CSV file (TSV by its ending), all columns as text, or a Parquet file.

    Raises:
        InputDataError: absent or not a readable table.
    """
    if file.suffix.lower() == ".parquet":
        return read_parquet(file)
    check_file(file)
    try:
        # Read everything as text, ids included.
        return pl.read_csv(file, infer_schema=False, separator="\t" if file.suffix.lower() == ".tsv" else ",")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputDataError(f"{file}: not a readable table ({str(error).splitlines()[0]}).") from error


def check_column(where: str | Path, name: str, found: Sequence[str], lacks: str = "the column {} is missing") -> None:
    """Raise InputDataError if a table or document lacks a column or key; lists those found, and the closest name.

    Args:
        where: named in the error. name: of the column. found: those of the table. lacks: what to say of `name`.
    """
    if name in found:
        return
    listed = f"; found {', '.join(found)}" if found else ""
    close = did_you_mean(name, found)
    named = (" Name the columns with ", Option("ids"), " and ", Option("answer"), ".") if found and name in _DEFAULTS else ()
    raise InputDataError(f"{where}: {lacks.format(repr(name))}{listed}.{close if 'mean' in close else ''}", *named)


def as_text(frame: pl.DataFrame, columns: Sequence[str], where: str) -> pl.DataFrame:
    """Return columns as strings; InputDataError for lists and other types that are no text."""
    try:
        return frame.select(pl.col(columns).cast(pl.String))
    except pl.exceptions.PolarsError as error:
        raise InputDataError(f"{where}: {' and '.join(columns)} must be text ({str(error).splitlines()[0]}).") from error


def _from_table(file: Path, ids: tuple[str, ...], answer: str) -> pl.DataFrame:
    frame = read_table(file)
    for name in (*ids, answer):
        check_column(file, name, frame.columns)
    if isinstance(frame.schema[answer], pl.Struct) and ids == (ID,) and answer == RESPONSE:
        return _frame((_output(row, str(file), ids, answer) for row in frame.select(ID, RESPONSE).iter_rows(named=True)), 1)
    texts = as_text(frame, list(dict.fromkeys([*ids, answer])), str(file))
    return texts.select(
        *(pl.col(name).fill_null("").alias(f"{KEY}{place}") for place, name in enumerate(ids)),
        text=pl.col(answer),
        error=pl.lit(None, dtype=pl.String),
    )


def _frame(outputs: Iterator[Output], ids: int) -> pl.DataFrame:
    rows = list(outputs)
    columns: dict[str, list[str | None]] = {f"{KEY}{place}": [_whole(row.ids[place]) for row in rows] for place in range(ids)}
    columns |= {"text": [_whole(row.text) for row in rows], "error": [_whole(row.error) for row in rows]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _whole(text: str | None) -> str | None:
    # JSON may hold halves of surrogate pairs, which are not valid UTF-8.
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _from_documents(file: Path, ids: tuple[str, ...], answer: str) -> Iterator[Output]:
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
            yield _output(document, f"{file}: entry {number}", ids, answer)
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
        yield _output(document, f"{file}: line {number}", ids, answer)


def _output(document: Any, where: str, ids: tuple[str, ...], answer: str) -> Output:
    found: list[str] = list(document) if isinstance(document, dict) else []
    for name in ids:
        check_column(where, name, found, _HAS_NO)
    keys = tuple(str(document[name]) for name in ids)
    batch = answer == RESPONSE
    if batch and document.get("error"):
        return Output(keys, None, _message(document["error"]))
    if batch and "result" in document and RESPONSE not in document:
        return _anthropic(keys, document["result"])
    check_column(where, answer, found, _HAS_NO)
    response = document[answer]
    if response is None or isinstance(response, (str, int, float)):
        return Output(keys, None if response is None else str(response))
    body = _at(response, "body")
    if body is None:
        raise InputDataError(f"{where}: {answer!r} is neither text nor a batch result with a 'body'.")
    if _at(body, "error"):
        return Output(keys, None, _message(body["error"]))
    choices = _at(body, "choices")
    if not isinstance(choices, list) or not choices:
        return Output(keys, None, f"status {_at(response, 'status_code')}: no choices in the batch result")
    message = _at(choices[0], "message")
    if not isinstance(message, dict):
        return Output(keys, None, f"status {_at(response, 'status_code')}: no message in the batch result")
    # Some services return a refusal in a field of its own.
    return Output(keys, _joined(message.get("content")) or _joined(message.get("refusal")))


def _anthropic(keys: tuple[str, ...], result: Any) -> Output:
    message = _at(result, "message")
    if message is None:
        return Output(keys, None, f"{_at(result, 'type') or 'failed'}: {_message(_at(result, 'error') or {})}")
    return Output(keys, _joined(_at(message, "content")))


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
