"""Files of estimates: tables, and a document that says how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText, UsageError
from valuestrata.estimation.estimate import FORMAT, EstimateResult
from valuestrata.estimation.interviews import INTERVIEWS
from valuestrata.estimation.results.sentences import opening
from valuestrata.estimation.results.table import ESTIMATES
from valuestrata.estimation.results.together import BENCHMARK
from valuestrata.files import read_json, read_parquet, sha256_of, write_json, write_parquet, write_text
from valuestrata.frames import Schema, csv_text

DOCUMENT = "estimate.json"
_TABLES: Mapping[str, Schema] = {"estimates": ESTIMATES, "interviews": INTERVIEWS, "benchmark": BENCHMARK}


def write_estimate_tables(result: EstimateResult, folder: Path) -> None:
    """Write estimates, interviews and benchmark as .parquet and .csv, and estimate.json, into a folder that exists."""
    frames = {"estimates": result.table, "interviews": result.interviews, "benchmark": result.benchmark}
    for name, frame in frames.items():
        write_parquet(folder / f"{name}.parquet", frame)
        write_text(folder / f"{name}.csv", csv_text(frame))
    hashes = {f"{name}.parquet": sha256_of(folder / f"{name}.parquet") for name in frames}
    write_json(folder / DOCUMENT, {**estimate_document(result), "sha256": hashes})


def estimate_document(result: EstimateResult) -> dict[str, Any]:
    """Return how estimates were made, with the sentences and remarks, for JSON. It has no answer and no id of a person."""
    return {**result.document, "sentences": opening(result), "remarks": [str(remark) for remark in result.remarks]}


def json_document(result: EstimateResult) -> dict[str, Any]:
    """Return `estimate_document` with the tables."""
    tables = {"estimates": result.table.to_dicts(), "interviews": result.interviews.to_dicts(), "benchmark": result.benchmark.to_dicts()}
    return {**estimate_document(result), **tables}


def load_estimates(folder: str | Path, dataset: Dataset) -> EstimateResult:
    """Read the estimates in a folder.

    Args:
        folder: of `estimate -o`.
        dataset: the data set that they belong to.

    Raises:
        InputDataError: no estimates, a damaged or changed table, or another data set.
    """
    path = Path(folder)
    document = _document(path)
    if document is None:
        raise InputDataError(f"{path}: there are no estimates here ({DOCUMENT} is missing). Make them with: valuestrata estimate")
    if document["request"]["dataset"] != dataset.fingerprint:
        raise InputDataError(f"{path}: the estimates belong to another data set than {dataset.path or 'this one'}.")
    frames = {name: schema.check(read_parquet(path / f"{name}.parquet"), str(path / f"{name}.parquet")) for name, schema in _TABLES.items()}
    for name, there in document["sha256"].items():
        if sha256_of(path / name) != there:
            raise InputDataError(f"{path / name}: the table was changed after it was written. Make the estimates again in another folder.")
    remarks = tuple(OptionText(text) for text in document["remarks"])
    own = {key: value for key, value in document.items() if key not in ("sentences", "remarks", "sha256")}
    return EstimateResult(dataset, frames["estimates"], frames["interviews"], frames["benchmark"], remarks, own)


def kept_estimates(folder: Path, dataset: Dataset, request: Mapping[str, Any], *, overwrite: bool = False) -> EstimateResult | None:
    """Return the result of the same request that is in a folder; None if the folder may be written.

    Raises:
        InputDataError: the folder holds something else. UsageError: it holds other estimates, and `overwrite` is False.
    """
    if not folder.exists():
        return None
    document = _document(folder) if folder.is_dir() else None
    if document is None:
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputDataError(f"{folder}: exists and holds no estimates; choose another folder with ", Option("output"), ".")
        return None
    if document["request"] == request and document["versions"]["valuestrata"] == _version():
        return load_estimates(folder, dataset)
    if overwrite:
        return None
    raise UsageError(
        f"{folder}: holds estimates made by another call; choose another folder with ",
        Option("output"),
        ", or replace them with ",
        Option("overwrite"),
        ".",
    )


def _document(folder: Path) -> Any:
    file = folder / DOCUMENT
    if not file.is_file():
        return None
    document = read_json(file)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputDataError(f"{file}: not a document of estimates ({FORMAT}); choose another folder with ", Option("output"), ".")
    return document


def _version() -> str:
    from importlib.metadata import version

    return version("valuestrata")
