"""The data set's card: README.md with a YAML header, in the format of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from valuestrata.export.hugging_face.about import NO_LICENSE, About
from valuestrata.export.hugging_face.contents import ExportedFile, type_name
from valuestrata.export.hugging_face.runs import RunFacts
from valuestrata.frames import Schema
from valuestrata.markdown import Markdown, markdown_table, markdown_template, with_code, yaml_text

CARD = "README.md"
TAGS = ("survey", "public-opinion", "values", "personas", "subgroups", "valuestrata")
DEFAULT = "gold"
# Ends of the size categories that the Hub knows.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
# Identifiers of the Hub's list have this form.
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def card_text(
    about: About,
    files: Sequence[ExportedFile],
    fields: Mapping[str, Schema],
    language: str,
    runs: Sequence[RunFacts] = (),
    *,
    raw_texts: bool = False,
) -> str:
    """Return the card.

    Args:
        about: facts and sentences. files: the data files. fields: columns of each configuration. language: of the texts.
        runs: the exported runs. raw_texts: whether their texts are exported.
    """
    return markdown_template("valuestrata.export.hugging_face", "texts", "card.md.jinja").render(
        head=Markdown(card_header(about, files, language)),
        about=about,
        no_license=NO_LICENSE,
        configs=markdown_table(
            ("configuration", "split", "rows", "file"),
            [(file.config or "", file.split, f"{file.rows:,}", file.path) for file in files],
        ),
        fields=[(name, _fields(schema)) for name, schema in fields.items()],
        survey=markdown_table(("", ""), about.survey),
        attributes=markdown_table(("attribute", "levels"), about.attributes),
        missing=markdown_table(("class", "meaning", "share of the answers of all respondents"), about.missing),
        splits=markdown_table(("split", "what it tests", "folds", "pairs (of the first fold)"), about.splits),
        versions=markdown_table(("", ""), about.versions),
        runs=markdown_table(("run", "model", "asked", "answers"), [(run.name, run.model, run.asked, f"{run.answers:,}") for run in runs])
        if runs
        else None,
        raw_texts=raw_texts,
    )


def card_header(about: About, files: Sequence[ExportedFile], language: str) -> str:
    """Return the YAML header, with the files of each configuration."""
    known = about.license is not None and _IDENTIFIER.fullmatch(about.license)
    header = {
        **({} if about.license is None else {"license": about.license} if known else {"license": "other", "license_name": about.license}),
        "pretty_name": about.title,
        "language": [language],
        "size_categories": [size_category(sum(file.rows for file in files if file.config == DEFAULT))],
        "task_categories": ["text-generation", "multiple-choice"],
        "tags": list(TAGS),
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == DEFAULT else {}),
                "data_files": [{"split": file.split, "path": file.path} for file in files if file.config == config],
            }
            for config in dict.fromkeys(file.config for file in files if file.config is not None)
        ],
    }
    note = "# license: add an identifier of the Hub; the terms of the survey have to allow it\n" if about.license is None else ""
    return note + yaml_text(header, width=1000)


def size_category(rows: int) -> str:
    """Return the Hub's category for a number of rows."""
    return next((name for end, name in _SIZES if rows < end), "n>10M")


def _fields(schema: Schema) -> Markdown:
    rows = [(name, type_name(column.dtype), with_code(column.meaning)) for name, column in schema.columns.items()]
    return markdown_table(("field", "type", "meaning"), rows)
