"""The document of a data set, `dataset.json`: its format, the fingerprint, and the check that no file was changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from valuestrata.errors import InputDataError
from valuestrata.files import canonical_hash, sha256_of
from valuestrata.yaml_files import Record, read_document

FORMAT = "valuestrata-dataset-2"
NAME = "dataset.json"
HASHES = "sha256"
# Folds of the split `unseen-item`, unless a build asks for another number.
ITEM_FOLDS = 5
_REBUILD = "Restore the file from a copy, or build the data set again."
# Keys that the fingerprint covers, besides the tables.
_ASKED = ("survey", "source", "settings", "attributes", "countries")
# Largest difference of two shares that is rounding.
_ROUNDING = 1e-6
_Role = Literal["noun", "adjective", "clause"]


class SurveyDocument(Record):
    """The survey of a data set."""

    name: str
    title: str | None = None
    version: str | None = None
    citation: str | None = None


class LevelDocument(Record):
    """A level of an attribute."""

    label: str
    phrase: str | None = None
    role: _Role | None = None


class AttributeDocument(Record):
    """An attribute of a data set."""

    name: str
    short: str | None = None
    title: str | None = None
    role: _Role | None = None
    levels: list[LevelDocument] = Field(default_factory=list[LevelDocument])


class SettingsDocument(Record):
    """Settings of a build."""

    min_respondents: int | None = None
    min_valid: float | None = None
    item_folds: int | None = None
    preset: str | None = None


class SourceDocument(Record):
    """The survey file."""

    file: str | None = None
    sha256: str | None = None


class CountryDocument(Record):
    """A country of a data set."""

    code: int
    alpha: str
    name: str


class PublishedDocument(Record):
    """What is assumed about published counts.

    Attributes:
        redraws: `multinomial`. overlap: `independent`.
        joint: sizes of the joint cells: `published`, `none` (the population only) or `raked` to the sizes of published cells.
        everyone: where the counts of the whole population come from: `published` or `summed`.
        counts: `answers`, `weighted answers` or `shares`.
    """

    redraws: str
    overlap: str
    joint: str
    everyone: str
    counts: str


class StratumDocument(Record):
    """What a build kept of a stratum."""

    stratum: str
    note: str | None


class SplitDocument(Record):
    """A split scheme: its folds, or why it was refused."""

    folds: list[str] | None = None
    refused: str | None = None
    note: str | None = None


class DesignDocument(Record):
    """The sampling design: what it is read from, and numbers of units and strata, or of replicate weights."""

    kind: str
    columns: dict[str, list[str]]
    units: int | None = None
    strata: int | None = None
    replicates: int | None = None


class DatasetDocument(Record):
    """The whole file. Keys that older versions did not write are optional."""

    format: Literal["valuestrata-dataset-2"]
    fingerprint: str
    survey: SurveyDocument
    attributes: list[AttributeDocument]
    place: str | None = None
    source: SourceDocument | None = None
    countries: list[CountryDocument] = Field(default_factory=list[CountryDocument])
    settings: SettingsDocument | None = None
    flag_below: float = 60
    weighted: bool = False
    respondents: int | None = None
    n_eff: float | None = None
    design: DesignDocument | None = None
    design_effect: dict[str, float] = Field(default_factory=dict[str, float])
    pooling: str | None = None
    published: PublishedDocument | None = None
    counts: dict[str, int | dict[str, int]] = Field(default_factory=dict[str, int | dict[str, int]])
    strata: list[StratumDocument] = Field(default_factory=list[StratumDocument])
    splits: dict[str, SplitDocument] = Field(default_factory=dict[str, SplitDocument])
    seeds: dict[str, int] = Field(default_factory=dict[str, int])
    findings: dict[str, Any] = Field(default_factory=dict[str, Any])
    shareable: bool = False
    versions: dict[str, str] = Field(default_factory=dict[str, str])
    sha256: dict[str, str] | None = None


def read_dataset_document(folder: Path) -> dict[str, Any]:
    """Return the document of a data set; InputDataError if it is invalid, or was changed since it was written."""
    document = read_document(folder / NAME, DatasetDocument, _REBUILD)
    hashes = document.get(HASHES)
    if hashes is not None and hashes.get(NAME) != _hash_of_document(document):
        raise InputDataError(f"{folder / NAME}: the file was changed after the data set was built. {_REBUILD}")
    return document


def with_hashes(meta: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the document to write, with the hashes of the tables in `folder` and of the document itself."""
    document = {key: value for key, value in meta.items() if key != HASHES}
    hashes = {file.name: sha256_of(file) for file in sorted(folder.glob("*.parquet"))}
    return {**document, HASHES: {**hashes, NAME: _hash_of_document(document)}}


def published_text(published: Mapping[str, str]) -> str:
    """Return sentences on what is assumed about published counts, from `dataset.json`."""
    sentences = [
        "Built from published counts, without respondents: redraws are multinomial for each question and subgroup, and independent also "
        "where subgroups overlap or the same people answered several questions. There are no halves of the respondents, so +disjoint and "
        "+crossfit are not available."
    ]
    if published["joint"] == "raked":
        sentences.append("Sizes of combinations of all attributes were not published; they are raked to the sizes of the subgroups.")
    if published["everyone"] == "summed":
        sentences.append("The whole population was not published; it is the sum of the subgroups of the stratum with most answers.")
    if published["counts"] == "shares":
        sentences.append("Shares were published without counts; the number of answers behind them is the one stated.")
    if published["counts"] == "weighted answers":
        sentences.append(
            "Counts are weighted; without n_eff, the effective number of answers is taken as their number, which is too large."
        )
    return " ".join(sentences)


def check_files(folder: Path, document: Mapping[str, Any]) -> None:
    """Compare the tables of a data set with the recorded hashes, if there are any.

    Raises:
        InputDataError: a table was changed.
    """
    for name, recorded in (document.get(HASHES) or {}).items():
        file = folder / name
        if name != NAME and file.is_file() and sha256_of(file) != recorded:
            raise InputDataError(f"{file}: the table was changed after the data set was built. {_REBUILD}")


def check_fingerprint(
    folder: Path, document: Mapping[str, Any], items: pl.DataFrame, subgroups: pl.DataFrame, gold: pl.DataFrame, splits: pl.DataFrame
) -> None:
    """Compare the tables of a data set without recorded hashes, of an older version, with its fingerprint.

    The fingerprint covers counts and modes. Weighted shares are compared with the weighted counts.

    Raises:
        InputDataError: the tables do not belong to the fingerprint, or the shares not to the counts.
    """
    if HASHES in document:
        return
    known = all(key in document for key in _ASKED)
    if known and fingerprint_of(document, items, subgroups, gold, splits) != document["fingerprint"]:
        raise InputDataError(
            f"{folder}: a file was changed after the data set was built: it does not have the fingerprint "
            f"{document['fingerprint'][:12]} any more. {_REBUILD}"
        )
    if not _shares_fit(gold):
        raise InputDataError(f"{folder / 'gold.parquet'}: the shares are not those of the weighted counts. {_REBUILD}")


def _shares_fit(gold: pl.DataFrame) -> bool:
    counts = pl.col("counts_weighted")
    try:
        both = gold.select("shares", (counts / counts.list.sum()).alias("expected")).explode("shares", "expected")
    except pl.exceptions.PolarsError:
        return False  # other numbers of options
    return both.filter((pl.col("shares") - pl.col("expected")).abs() > _ROUNDING).is_empty()


def fingerprint_of(meta: Mapping[str, Any], items: pl.DataFrame, subgroups: pl.DataFrame, gold: pl.DataFrame, splits: pl.DataFrame) -> str:
    """Hash the request and the result. Merged levels or another coding change only the result.

    Only the integers of the gold are hashed, because rounding differs between processors.
    """
    # A data set without a design, pooling and item folds has the fingerprint of versions without these keys.
    asked = [_settings_asked(meta[key]) if key == "settings" else meta[key] for key in _ASKED]
    asked += [meta[key] for key in ("design", "pooling", "published") if meta.get(key)]
    counted = gold.select("pair_id", "half", "n", "counts_raw", "modes")
    frames = (items, subgroups.drop("n_eff"), counted, splits)
    return canonical_hash([asked, [frame.to_dict(as_series=False) for frame in frames]])


def _settings_asked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without `item_folds` at its default, which older versions did not store."""
    return {key: value for key, value in settings.items() if key != "item_folds" or value != ITEM_FOLDS}


def _hash_of_document(document: Mapping[str, Any]) -> str:
    # As it is read back: keys are text, tuples are lists.
    return canonical_hash(json.loads(json.dumps({key: value for key, value in document.items() if key != HASHES}, ensure_ascii=False)))
