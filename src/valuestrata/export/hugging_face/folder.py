"""Write the folder: Parquet and JSON Lines by configuration and split, the card, and Croissant metadata."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from valuestrata.dataset.sharing import SHAREABLE_FROM
from valuestrata.dataset.tables import ITEMS, SPLITS, Dataset
from valuestrata.errors import InputDataError, Option, OptionText
from valuestrata.export.export import ExportedFolder, ExportOptions
from valuestrata.export.hugging_face.about import describe
from valuestrata.export.hugging_face.card import CARD, card_text
from valuestrata.export.hugging_face.contents import write_lines, write_table
from valuestrata.export.hugging_face.croissant import CROISSANT, load_mlcroissant, write_croissant
from valuestrata.export.hugging_face.fields import answer_fields, chat_fields, gold_fields, subgroup_fields
from valuestrata.export.hugging_face.rows import WHOLE, answer_rows, chat_rows, gold_rows, item_rows, split_rows, subgroup_rows
from valuestrata.export.hugging_face.runs import run_facts
from valuestrata.export.hugging_face.subtraction import Remainders, small_remainders
from valuestrata.files import folder_written_beside, write_text
from valuestrata.formatting import count
from valuestrata.frames import Schema


def write_hugging_face(dataset: Dataset, place: Path, options: ExportOptions) -> ExportedFolder:
    """Write a data set as a folder for the Hugging Face Hub; arguments and errors as for `export_dataset`."""
    load_mlcroissant()  # an absent extra is reported before anything is computed
    attributes = dataset.meta["attributes"]
    tables: dict[tuple[str, str], pl.DataFrame] = {("gold", part): rows for part, rows in gold_rows(dataset, options.split, options.fold)}
    chats = dict(chat_rows(dataset, options.split, options.fold, options.template))
    whole = {"items": item_rows(dataset), "subgroups": subgroup_rows(dataset), "splits": split_rows(dataset)}
    fields: dict[str, Schema] = {
        "gold": gold_fields(attributes),
        "chat": chat_fields(),
        "items": ITEMS,
        "subgroups": subgroup_fields(attributes),
        "splits": SPLITS,
    }
    if options.runs:
        whole["answers"] = answer_rows(options.runs, raw_texts=options.raw_texts)
        fields["answers"] = answer_fields(raw_texts=options.raw_texts)
    remainders = small_remainders(pl.concat([rows for (config, _), rows in tables.items() if config == "gold"]), dataset.attributes)
    check_remainders(options, remainders)
    about = describe(dataset, options, remainders)
    with folder_written_beside(place) as folder:
        files = [write_table(folder, config, split, frame) for (config, split), frame in tables.items()]
        files += [write_table(folder, "chat", part, fields["chat"].frame(rows)) for part, rows in chats.items()]
        files += [write_table(folder, config, WHOLE, frame) for config, frame in whole.items()]
        files += [write_lines(folder, "chat", part, rows) for part, rows in chats.items()]
        runs = [run_facts(run) for run in options.runs]
        write_text(folder / CARD, card_text(about, files, fields, options.language, runs, raw_texts=options.raw_texts))
        write_croissant(folder, about, files, fields, options.language)
    pairs = sum(file.rows for file in files if file.config == "gold")
    summary = f"{pairs:,} pairs and {len(files)} data files; read {CARD} before you share the folder."
    document = {"configs": {file.path: file.rows for file in files}, "fingerprint": dataset.fingerprint, "version": about.version}
    return ExportedFolder(place, summary, _remarks(options, remainders), document)


def _remarks(options: ExportOptions, remainders: Remainders) -> list[OptionText]:
    remarks: list[OptionText] = []
    if options.license is None:
        text = "No licence is stated. Check what the terms of the survey allow, then export again with "
        remarks.append(OptionText(text, Option("license"), f" or add it to {CARD} and {CROISSANT}."))
    if remainders.example is not None:
        remarks.append(OptionText(f"{_follows(remainders)} Check that the terms of the survey allow that."))
    return remarks


def check_remainders(options: ExportOptions, remainders: Remainders) -> None:
    """Refuse tables from which groups of few answers follow, unless the user allows it.

    Raises:
        InputDataError: there is such a group.
    """
    if remainders.example is not None and not options.allow_subtraction:
        raise InputDataError(
            f"{_follows(remainders)} Merge levels or build fewer strata; or, if the terms of the survey allow it, export with ",
            Option("allow_subtraction"),
            ".",
        )


def _follows(remainders: Remainders) -> str:
    assert remainders.example is not None
    whole, inner, left = remainders.example
    return (
        f"By subtracting published subgroups, {count(remainders.rests, 'group')} of fewer than {SHAREABLE_FROM} answers can be worked "
        f"out, such as {count(left, 'answer')} of {whole} outside the subgroups of {inner}."
    )
