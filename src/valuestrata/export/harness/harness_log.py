"""Import the logs of evaluation harnesses as runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, one_of, without_credentials
from valuestrata.export.harness.documents import HarnessDocument
from valuestrata.respondents.base import Answer
from valuestrata.responses.ask.plan import prompt_document
from valuestrata.responses.import_runs import ImportResult, check_import_folder, write_imported
from valuestrata.responses.parse.read import row_of
from valuestrata.responses.run.folder import EXAMPLES
from valuestrata.responses.run.schema import RESPONSES

LogFormat = Literal["inspect", "lm-eval"]
FORMATS: tuple[LogFormat, ...] = ("inspect", "lm-eval")
# What the beginning of a file shows.
_HEAD = 4_000
_OF_INSPECT = re.compile(r'\A\s*\{\s*"version":\s*\d+,\s*"status":\s*"')
# Settings of a model that may hold a key; `headers` are those of its calls. `max_tokens` and `tokenizer` are none.
_SECRET = re.compile(r"(?:.*_)?(?:key|token|secret|password|auth|authorization|headers?)", re.IGNORECASE)
_OF_LM_EVAL = re.compile(r'\A\s*\{"doc_id":')


@dataclass(frozen=True)
class LoggedAnswer:
    """An answer in a log, and the document that it answers."""

    document: HarnessDocument
    answer: Answer


@dataclass(frozen=True)
class HarnessLog:
    """What a log holds.

    Attributes:
        harness: the harness and its version.
        answers: in the order of the log.
        model: what is known of the model, as `run.json` describes a respondent.
        about: further facts for `run.json`.
    """

    harness: str
    answers: Sequence[LoggedAnswer]
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])


def log_format_of(source: str | Path) -> LogFormat | None:
    """Return which harness wrote a file or folder, None for other files."""
    path = Path(source)
    if path.is_dir():
        return "lm-eval" if next(path.rglob("samples_*.jsonl"), None) is not None else None
    if path.suffix == ".eval":
        return "inspect"
    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(_HEAD)
    if path.suffix == ".jsonl":
        return "lm-eval" if _OF_LM_EVAL.match(head) else None
    if path.name.startswith("results_") and '"results"' in head:
        return "lm-eval"
    return "inspect" if _OF_INSPECT.match(head) else None


def import_log(
    dataset: Dataset,
    source: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    trained_on: str | Path | Mapping[str, Any] | None = None,
) -> ImportResult:
    """Import the log of an evaluation of an exported data set as a run.

    Answers are read again from their texts or log-likelihoods, as `ask` reads them.

    Args:
        dataset: the data set that was exported.
        source: a log of Inspect (`.eval` or `.json`); or of lm-evaluation-harness a samples file, a results file (all tasks of the
            evaluation) or the output folder of one evaluation.
        out: folder of the run.
        format: `inspect` or `lm-eval`; None to detect it.
        name: name of the run; the folder's by default.
        overwrite: replace an imported run at `out`.
        trained_on: as for `import_run`.

    Raises:
        InputDataError: no readable log, a failed evaluation, a log of another data set or of other tasks, or two answers to one prompt.
        MissingExtraError: Inspect is not installed.
        UsageError: an unknown format, or a run at `out` and `overwrite` is False.
    """
    path, folder = Path(source), Path(out)
    found = log_format_of(path) if format is None else one_of(format, FORMATS, "There is no log format")
    if found is None:
        raise InputDataError(f"{path}: no log of Inspect or lm-evaluation-harness. State which with ", Option("format"), ".")
    check_import_folder(folder, overwrite=overwrite)
    log = _read(path, found)
    if not log.answers:
        raise InputDataError(f"{path}: the log holds no samples.")
    pairs = set(dataset.gold.select("pair_id", "item", "subgroup").iter_rows())
    for logged in log.answers:
        _check_document(logged.document, dataset, path)
        if (logged.document.pair_id, logged.document.item, logged.document.subgroup) not in pairs:
            raise InputDataError(f"{path}: {logged.document.pair_id} is no pair of the data set. The log was changed.")
    first = log.answers[0].document
    table = RESPONSES.check(RESPONSES.frame([row_of(one.answer, one.document.label_of) for one in log.answers]), str(path))
    twice = table.filter(table.select("pair_id", "elicitation", "template_version", "sample").is_duplicated())
    if not twice.is_empty():
        raise InputDataError(
            f"{path}: {twice['pair_id'][0]} is answered twice ({len(twice):,} such rows). Import one evaluation at a time."
        )
    for key in ("elicitation", "template", "template_version"):
        if table[key].n_unique() > 1:
            raise InputDataError(
                f"{path}: its samples differ in {key}: {', '.join(table[key].unique().sort())}. Import one task at a time."
            )
    shown: dict[str, Any] = {EXAMPLES: [prompt_document(log.answers[0].answer.prompt)]}
    counts = write_imported(
        dataset,
        table,
        path,
        folder,
        name=name,
        trained_on=trained_on,
        elicitation=first.elicitation,
        template=first.template,
        template_version=first.template_version,
        model=without_secrets(log.model),
        about={"harness": log.harness, "rows": len(table), **log.about},
        **shown,
    )
    return ImportResult(run_dir=folder, counts=counts, pairs=table["pair_id"].n_unique(), unknown=0, unknown_ids=())


def without_secrets(settings: Any) -> Any:
    """Return the settings of a model in a log without keys, headers and the credentials of addresses.

    Args:
        settings: values of JSON; a text may be a list of the form `NAME=VALUE,NAME=VALUE`.
    """
    if isinstance(settings, Mapping):
        return {name: without_secrets(value) for name, value in settings.items() if not _SECRET.fullmatch(str(name))}
    if isinstance(settings, str):
        kept = [part for part in settings.split(",") if not ("=" in part and _SECRET.fullmatch(part.partition("=")[0].strip()))]
        return without_credentials(",".join(kept))
    return [without_secrets(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _read(path: Path, format: LogFormat) -> HarnessLog:
    if not path.exists():
        raise InputDataError(f"{path}: the file does not exist.")
    if format == "inspect":
        from valuestrata.export.harness.inspect_log import read_inspect

        return read_inspect(path)
    from valuestrata.export.harness.lm_eval_log import read_lm_eval

    return read_lm_eval(path)


def _check_document(document: HarnessDocument, dataset: Dataset, path: Path) -> None:
    if document.dataset != dataset.fingerprint:
        raise InputDataError(
            f"{path}: these answers are to another data set (fingerprint {document.dataset[:12]}) than {dataset.path or 'this one'} "
            f"(fingerprint {dataset.fingerprint[:12]}). Import them with the data set that was exported."
        )
    if tuple(document.shown) != tuple(dataset.codes_of.get(document.item, ())):
        raise InputDataError(f"{path}: {document.pair_id}: its options are not those of the data set. The log was changed.")
