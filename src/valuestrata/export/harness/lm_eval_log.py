"""Read the samples that lm-evaluation-harness logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valuestrata.errors import InputDataError
from valuestrata.export.harness.documents import HarnessDocument, document_of
from valuestrata.export.harness.harness_log import HarnessLog, LoggedAnswer
from valuestrata.files import check_file, read_json
from valuestrata.respondents.base import Answer
from valuestrata.respondents.local.options import OptionSteps

# The forms ` N` and `N` of an option.
_FORMS = 2
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d{2}-\d{2}T.+)\.jsonl")
_RESULTS = re.compile(r"results_(?P<date>\d{4}-\d{2}-\d{2}T.+)\.json")


def read_lm_eval(path: Path) -> HarnessLog:
    """Read the samples of an evaluation.

    Args:
        path: a samples file; a results file, for all samples of the evaluation; or a folder with one evaluation.

    Raises:
        InputDataError: no samples, samples of several evaluations or of another task, or a damaged file.
    """
    files = _sample_files(path)
    answers = [answer for file in files for answer in _answers(file)]
    results = _results(files[0])
    config: dict[str, Any] = results.get("config") or {}
    name = results.get("model_name") or config.get("model")
    known = {"name": str(name), "model": str(name), "decoding": {"harness_model": config.get("model"), "args": config.get("model_args")}}
    version = results.get("lm_eval_version")
    return HarnessLog(
        harness=f"lm_eval {version}" if version else "lm_eval",
        answers=answers,
        model=known if name else {},
        about={"tasks": [_task(file) for file in files]},
    )


def _sample_files(path: Path) -> list[Path]:
    named = _RESULTS.fullmatch(path.name)
    if path.is_file() and named is None:
        return [path]
    folder, date = (path, None) if named is None else (path.parent, named["date"])
    found = {file: match["date"] for file in sorted(folder.rglob("samples_*.jsonl")) if (match := _SAMPLES.fullmatch(file.name))}
    files = [file for file, when in found.items() if date in (None, when)]
    if not files:
        raise InputDataError(
            f"{path}: no files samples_*.jsonl of this evaluation. Start `lm_eval run` with --log_samples and --output_path."
        )
    if len({(file.parent, found[file]) for file in files}) > 1:
        raise InputDataError(
            f"{path}: holds {len({found[file] for file in files})} evaluations. Give the file results_*.json of one of them."
        )
    return files


def _task(file: Path) -> str:
    match = _SAMPLES.fullmatch(file.name)
    return file.stem if match is None else match["task"]


def _results(file: Path) -> dict[str, Any]:
    """Return the results file of the evaluation, which describes the model; empty if it is not there."""
    match = _SAMPLES.fullmatch(file.name)
    results = file.with_name(f"results_{match['date']}.json") if match else None
    if results is None or not results.is_file():
        return {}
    found = read_json(results)
    return found if isinstance(found, dict) else {}


def _answers(file: Path) -> Iterator[LoggedAnswer]:
    check_file(file)
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{file}: line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputDataError(f"{where}: not JSON ({error}).") from error
            if not isinstance(row, dict) or not {"doc", "resps"} <= row.keys():
                raise InputDataError(f"{where}: not a sample of lm-evaluation-harness (it has no 'doc' and 'resps').")
            if not isinstance(row["doc"], dict) or not {"dataset", "pair_id"} <= row["doc"].keys():
                raise InputDataError(
                    f"{where}: its document has no dataset and pair_id. Only tasks written by `valuestrata export` are read."
                )
            document = document_of(row["doc"], where)
            try:
                found = list(
                    _of_text(document, row["resps"]) if document.elicitation == "text" else _of_options(document, row["resps"], where)
                )
            except (LookupError, TypeError, ValueError) as error:
                raise InputDataError(f"{where}: its 'resps' are not what lm-evaluation-harness writes ({error}).") from error
            yield from found


def _of_text(document: HarnessDocument, responses: Sequence[Sequence[str]]) -> Iterator[LoggedAnswer]:
    for sample, text in enumerate(responses[0]):
        yield LoggedAnswer(document, Answer(document.prompt(sample), text=text))


def _of_options(document: HarnessDocument, responses: Sequence[Sequence[Sequence[str]]], where: str) -> Iterator[LoggedAnswer]:
    """Yield the answer whose option probabilities follow from the log-likelihoods of the forms of the options."""
    count = _FORMS * len(document.options)
    if len(responses) != count:
        raise InputDataError(f"{where}: {len(responses)} log-likelihoods, expected {count}: two for each option.")
    logp = {at: float(response[0][0]) for at, response in enumerate(responses)}
    options = [[[at], [at + 1]] for at in range(0, count, _FORMS)]
    answer = OptionSteps[int](document.prompt(), 0, options).answer(logp, 0.0)
    # The log has neither tokens nor times.
    yield LoggedAnswer(document, replace(answer, prompt_tokens=None, completion_tokens=None, latency=None))
