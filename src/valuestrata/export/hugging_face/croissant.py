"""Croissant metadata with the fields of its vocabulary for responsible AI, through mlcroissant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import MissingExtraError
from valuestrata.export.hugging_face.about import NO_LICENSE, About
from valuestrata.export.hugging_face.card import TAGS
from valuestrata.export.hugging_face.contents import ExportedFile
from valuestrata.files import write_text
from valuestrata.frames import Schema

CROISSANT = "croissant.json"
_VERSION = "http://mlcommons.org/croissant/1.1"
_RESPONSIBLE = "http://mlcommons.org/croissant/RAI/1.0"


def load_mlcroissant() -> Any:
    """Return the library; MissingExtraError if it is not installed."""
    try:
        import mlcroissant
    except ImportError as error:
        raise MissingExtraError("An export to Hugging Face", "hf", "mlcroissant") from error
    return mlcroissant


def write_croissant(folder: Path, about: About, files: Sequence[ExportedFile], fields: Mapping[str, Schema], language: str) -> None:
    """Write `croissant.json` and read it again.

    Args:
        folder: the folder with the files. about: facts and sentences. files: the data files. fields: columns of each configuration.
        language: of the texts.

    Raises:
        MissingExtraError: mlcroissant is not installed.
        RuntimeError: mlcroissant reports an error or a warning, which is a defect of valuestrata.
    """
    mlc = load_mlcroissant()
    context = mlc.Context(conforms_to=_VERSION)
    made = mlc.Metadata(
        ctx=context,
        conforms_to=[_VERSION, _RESPONSIBLE],
        name=about.title,
        description=about.summary,
        version=about.version,
        license=[about.license or NO_LICENSE],
        cite_as=" ".join((*about.citations, about.paper)),
        date_published=datetime.combine(about.made, datetime.min.time()),
        keywords=list(TAGS),
        in_language=[language],
        distribution=[_file(mlc, context, file) for file in files],
        record_sets=[_records(mlc, context, file, fields[file.config]) for file in files if file.config is not None],
        data_collection=" ".join(about.collection),
        data_collection_type=["Surveys"],
        data_collection_missing_data=" ".join(f"{name}: {meaning} ({share})." for name, meaning, share in about.missing),
        data_preprocessing_protocol=[*about.subgroups, *about.minimum, *about.split],
        data_biases=list(about.biases),
        data_limitations=list(about.limits),
        data_use_cases=[*about.uses, *about.misuses],
        personal_sensitive_information=list(about.sensitive),
        data_social_impact=" ".join(about.misuses),
        data_release_maintenance_plan=about.maintenance,
    )
    write_text(folder / CROISSANT, json.dumps(made.to_json(), indent=1, ensure_ascii=False, default=str) + "\n")
    issues = mlc.Dataset(jsonld=folder / CROISSANT).metadata.ctx.issues
    if found := [*issues.errors, *issues.warnings, *context.issues.errors, *context.issues.warnings]:
        raise RuntimeError(f"{CROISSANT} is not valid: {'; '.join(map(str, found))}")


def _file(mlc: Any, context: Any, file: ExportedFile) -> Any:
    return mlc.FileObject(
        ctx=context,
        id=file.path,
        name=file.path,
        description=f"{f'Configuration {file.config}' if file.config else 'Copy as JSON Lines'}, split {file.split}.",
        content_url=file.path,
        content_size=f"{file.size} B",
        encoding_formats=[file.encoding],
        sha256=file.sha256,
    )


def record_set_name(file: ExportedFile) -> str:
    """Return the name of a file's record set: `gold_test`."""
    return f"{file.config}_{file.split}"


def _records(mlc: Any, context: Any, file: ExportedFile, schema: Schema) -> Any:
    name = record_set_name(file)
    return mlc.RecordSet(
        ctx=context,
        id=name,
        name=name,
        description=f"Configuration {file.config}, split {file.split}: {file.rows:,} rows.",
        fields=list(_fields(mlc, context, name, file, schema)),
    )


def _fields(mlc: Any, context: Any, place: str, file: ExportedFile, schema: Schema) -> Iterator[Any]:
    for name, column in schema.columns.items():
        inner = column.dtype.inner if isinstance(column.dtype, pl.List) else None
        array = {} if inner is None else {"is_array": True, "array_shape": "-1"}
        about = {"id": f"{place}/{name}", "name": name, "description": column.meaning}
        if isinstance(inner, pl.Struct):
            parts = [_leaf(mlc, context, file, f"{place}/{name}", part.name, part.dtype, of=name) for part in inner.fields]
            yield mlc.Field(ctx=context, **about, **array, sub_fields=parts)
        else:
            source = mlc.Source(ctx=context, file_object=file.path, extract=mlc.Extract(ctx=context, column=name))
            yield mlc.Field(ctx=context, **about, **array, data_types=[_type(mlc, inner or column.dtype)], source=source)


def _leaf(mlc: Any, context: Any, file: ExportedFile, place: str, name: str, dtype: Any, *, of: str) -> Any:
    """Return the field of one part of the structures in the column `of`."""
    source = mlc.Source(
        ctx=context,
        file_object=file.path,
        extract=mlc.Extract(ctx=context, column=of),
        transforms=[mlc.Transform(ctx=context, json_path=name)],
    )
    return mlc.Field(ctx=context, id=f"{place}/{name}", name=name, description=name, data_types=[_type(mlc, dtype)], source=source)


def _type(mlc: Any, dtype: Any) -> Any:
    if dtype == pl.String:
        return mlc.DataType.TEXT
    return mlc.DataType.FLOAT if dtype in (pl.Float32, pl.Float64) else mlc.DataType.INTEGER
