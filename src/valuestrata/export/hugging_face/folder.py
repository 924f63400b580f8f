"""Write the folder: Parquet and JSON Lines by configuration and split, the card, and Croissant metadata."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.export.export import ExportedFolder, ExportOptions
from valuestrata.export.hugging_face.rows import WHOLE, answer_rows, chat_rows, gold_rows, item_rows, split_rows, subgroup_rows
from valuestrata.files import folder_written_beside, write_parquet, write_text


def write_hugging_face(dataset: Dataset, place: Path, options: ExportOptions) -> ExportedFolder:
    """Write a data set as a folder for the Hugging Face Hub; arguments and errors as for `export_dataset`."""
    tables: dict[tuple[str, str], pl.DataFrame] = {("gold", part): rows for part, rows in gold_rows(dataset, options.split, options.fold)}
    whole = {"items": item_rows(dataset), "subgroups": subgroup_rows(dataset), "splits": split_rows(dataset)}
    if options.runs:
        whole["answers"] = answer_rows(options.runs, raw_texts=options.raw_texts)
    tables |= {(name, WHOLE): frame for name, frame in whole.items()}
    chats = dict(chat_rows(dataset, options.split, options.fold, options.template))
    with folder_written_beside(place) as folder:
        for (config, split), frame in tables.items():
            write_parquet(folder / config / f"{split}.parquet", frame)
        for part, rows in chats.items():
            write_text(folder / "chat" / f"{part}.jsonl", "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))
    return ExportedFolder(place, f"{len(tables) + len(chats)} files.")
