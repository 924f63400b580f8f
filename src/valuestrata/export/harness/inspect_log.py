"""Read a log of Inspect AI."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputDataError, MissingExtraError
from valuestrata.export.harness.documents import document_of
from valuestrata.export.harness.harness_log import HarnessLog, LoggedAnswer
from valuestrata.respondents.base import Answer

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

# What reading a file that is no log raises.
_UNREADABLE = (ValueError, LookupError, EOFError, zipfile.BadZipFile)


def read_inspect(path: Path) -> HarnessLog:
    """Read a log.

    Args:
        path: a log file, `.eval` or `.json`.

    Raises:
        MissingExtraError: Inspect is not installed.
        InputDataError: no readable log, an evaluation that did not succeed, or samples of another task.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise MissingExtraError(f"Reading {path.name}", "inspect", "inspect_ai")
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path))
    except _UNREADABLE as error:
        raise InputDataError(f"{path}: not a readable log of Inspect ({str(error).splitlines()[0] if str(error) else error!r}).") from error
    if log.status != "success":
        reason = f": {log.error.message.splitlines()[0]}" if log.error is not None and log.error.message else ""
        raise InputDataError(
            f"{path}: the evaluation has status {log.status!r}{reason}. Finish it with `inspect eval-retry {path}` and import the new log."
        )
    answers = [_logged(sample, path) for sample in log.samples or ()]
    version = log.eval.packages.get("inspect_ai")
    return HarnessLog(
        harness=f"inspect_ai {version}" if version else "inspect_ai",
        answers=answers,
        model=_model(log),
        about={"task": log.eval.task, "eval_id": log.eval.eval_id, "created": log.eval.created},
    )


def _model(log: EvalLog) -> dict[str, Any]:
    decoding = log.eval.model_generate_config.model_dump(exclude_none=True, mode="json") | log.plan.config.model_dump(
        exclude_none=True, mode="json"
    )
    # How often and how fast the model was called does not identify it.
    speed = ("max_connections", "max_retries", "timeout", "attempt_timeout", "batch", "adaptive_connections", "cache")
    kept = {key: value for key, value in decoding.items() if key not in speed}
    base_url = {} if log.eval.model_base_url is None else {"base_url": log.eval.model_base_url}
    return {"name": log.eval.model, "model": log.eval.model, **base_url, "decoding": kept}


def _logged(sample: EvalSample, path: Path) -> LoggedAnswer:
    from valuestrata.export.harness.inspect_task import DOCUMENT, answer_of, sent

    where = f"{path}: sample {sample.id}"
    kept = sample.metadata.get(DOCUMENT)
    if not isinstance(kept, dict):
        raise InputDataError(
            f"{where}: it has no metadata of valuestrata, so its pair is not known. Evaluate the task valuestrata/survey or an exported "
            "folder, or import a table of texts (docs/files.md)."
        )
    messages = sent(sample.messages) or sent(sample.input if not isinstance(sample.input, str) else ())
    document = document_of({**kept, "messages": messages}, where)
    if sample.error is not None:
        return LoggedAnswer(document, Answer(document.prompt(sample.epoch - 1), error=_first_line(sample.error.message)))
    return LoggedAnswer(document, answer_of(document, sample.output, sample=sample.epoch - 1))


def _first_line(text: str) -> str:
    lines: Sequence[str] = text.strip().splitlines()
    return lines[0] if lines else "the sample failed"
