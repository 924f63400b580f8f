"""Import published or external outputs as a run.

By default a row has a `custom_id` (a pair_id) and a `response` (the text); other columns can be named. Formats are those of
`import_files`. Repeated pairs are numbered; what they mean is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import stated_source
from valuestrata.errors import InputDataError, Option, OptionText, UsageError, did_you_mean
from valuestrata.files import canonical_hash, folder_written_beside, sha256_of, write_json, write_parquet
from valuestrata.prompts import printed_numbers, questions_of
from valuestrata.prompts.question import Numbers
from valuestrata.responses.import_files import ID, KEY, RESPONSE, read_outputs
from valuestrata.responses.parse.choice import parse_answer
from valuestrata.responses.run.folder import RUN, counts_by_status, new_meta, now, read_meta, with_hash, write_table
from valuestrata.responses.run.schema import RESPONSES, Status

TEMPLATE = "imported"
KIND = "imported"
# Meaning of several rows of one pair: drawn again from one prompt, or answers for different people of the subgroup.
Repeats = Literal["samples", "people"]
REPEATS: tuple[Repeats, ...] = ("samples", "people")
_NAMED = 5
# In place of null, because a join does not match nulls.
_NULL = "\0"


@dataclass(frozen=True)
class ImportResult:
    """Result of an import.

    Attributes:
        run_dir: the run's folder.
        counts: status -> responses.
        pairs: pairs with a response.
        unknown: rows that belong to no pair of the data set.
        unknown_ids: the ids of the first of those rows.
        remark: a warning about the meaning of numbers, or None.
        repeated: pairs with several responses whose meaning (`repeats`) was not given.
    """

    run_dir: Path
    counts: Mapping[str, int]
    pairs: int
    unknown: int
    unknown_ids: tuple[str, ...]
    remark: OptionText | None = None
    repeated: int = 0


def import_run(
    dataset: Dataset,
    file: str | Path,
    out: str | Path,
    *,
    numbers: Numbers = "code",
    name: str | None = None,
    overwrite: bool = False,
    ids: Sequence[str] = (ID,),
    answer: str = RESPONSE,
    repeats: Repeats | None = None,
    trained_on: str | Path | Mapping[str, Any] | None = None,
) -> ImportResult:
    """Import a file of outputs as a run with text elicitation.

    Args:
        dataset: the data set.
        file: the outputs: CSV, TSV, JSON, JSONL or Parquet.
        out: folder of the run.
        numbers: meaning of a number in a response: the scale `code` (the position for items with negative codes), or the `position`
            in the list of options in scale order, 1..K.
        name: name of the run; None for the name of its folder.
        overwrite: replace an imported run at `out`. A run that was asked is never replaced.
        ids: columns that identify the pair: one with the pair_id, or several whose values are joined by `_` (the item, then the
            subgroup in one or more columns; the item's column may come in any place). Spaces become hyphens.
        answer: column of the answers, as text or numbers.
        repeats: meaning of several rows of one pair: `samples` of one prompt, or answers for different `people`; None if not known.
        trained_on: what the model was trained on: `none`, a split, or a record (`training_source.stated_source`); None if not
            known. Scores of a model that was trained on what is tested are marked, and support no claims.

    Raises:
        InputDataError: a file cannot be read or lacks a column, no id is known, or the folder is not an imported run.
        UsageError: the folder holds an imported run, and `overwrite` is False; or `ids` is empty or names a column twice.
    """
    source, folder = Path(file), Path(out)
    if not ids or len(set(ids)) < len(ids):
        raise UsageError(Option("ids", ",".join(ids)), ": give one or more different columns.")
    check_import_folder(folder, overwrite=overwrite)
    rows = read_outputs(source, ids, answer).with_row_index("row")
    known = pairs_by_id(dataset, rows).filter(pl.col("pair_id").is_not_null())
    if known.is_empty():
        raise InputDataError(*none_known(source, rows, ids, dataset))
    strange = rows.join(known.select("row"), on="row", how="anti")
    table = _responses(dataset, known, numbers)
    columns = {} if (tuple(ids), answer) == ((ID,), RESPONSE) else {"ids": list(ids), "answer": answer}
    counts = write_imported(
        dataset,
        table,
        source,
        folder,
        name=name,
        trained_on=trained_on,
        elicitation="text",
        about={"rows": len(rows), "unknown": len(strange), **columns},
        numbers=numbers,
        repeats=repeats,
    )
    repeated = 0 if repeats is not None else int(table.filter(pl.col("sample") == 1).height)
    return ImportResult(
        run_dir=folder,
        counts=counts,
        pairs=table["pair_id"].n_unique(),
        unknown=len(strange),
        unknown_ids=shown_ids(strange),
        remark=_doubt(counts, numbers),
        repeated=repeated,
    )


def write_imported(
    dataset: Dataset,
    table: pl.DataFrame,
    source: Path,
    folder: Path,
    *,
    name: str | None,
    trained_on: str | Path | Mapping[str, Any] | None,
    elicitation: str,
    template: str = TEMPLATE,
    template_version: str = "1",
    model: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    repeats: Repeats | None = None,
    tables: Mapping[str, pl.DataFrame] | None = None,
    **fields: Any,
) -> dict[str, int]:
    """Write an imported run and return its responses by status.

    Args:
        dataset: the data set. table: RESPONSES schema. source: the file that was imported. folder: of the run.
        name, trained_on: as for `import_run`. elicitation, template, template_version: of the run.
        model: what is known of the model, as `run.json` describes a respondent.
        about: what `run.json` also records of the file. repeats: as for `import_run`. tables: other tables of the folder, by file name.
        fields: other keys of `run.json`.
    """
    counts = counts_by_status(table)
    label = name or folder.resolve().name
    taught = {} if trained_on is None else {"taught_on": stated_source(trained_on, dataset)}
    meta = new_meta(
        dataset,
        label,
        KIND,
        respondent={"name": label, **(model or {}), "provider": "imported", **taught},
        template=template,
        template_version=template_version,
        elicitation=elicitation,
        source={"file": source.name, "sha256": _sha256(source), **(about or {})},
        **fields,
        **({} if repeats is None else {"repeats": repeats}),
    )
    with folder_written_beside(folder) as temporary:
        write_table(temporary, table, None)
        for file, other in (tables or {}).items():
            write_parquet(temporary / file, other)
        write_json(temporary / RUN, with_hash(temporary, {**meta, "finished": now(), "counts": counts}))
    return counts


def _sha256(source: Path) -> str:
    """Return the hash of a file, or of the files in a folder."""
    if source.is_file():
        return sha256_of(source)
    return canonical_hash({str(file.relative_to(source)): sha256_of(file) for file in sorted(source.rglob("*")) if file.is_file()})


def pairs_by_id(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """Add `pair_id`, `item` and `subgroup` to the rows, null where the ids are no pair's."""
    pairs = dataset.gold.select("pair_id", "item", "subgroup").unique("pair_id")
    best = rows
    most = -1
    for order in _orders(dataset, rows):
        joined = pl.col(order[0]) if len(order) == 1 else pl.concat_str(order, separator="_").str.replace_all(" ", "-", literal=True)
        found = rows.with_columns(pair_id=joined).join(pairs, on="pair_id", how="left", maintain_order="left")
        found = found.with_columns(pair_id=pl.when(pl.col("item").is_not_null()).then("pair_id"))
        matched = len(found) - found["pair_id"].null_count()
        if matched > most:
            best, most = found, matched
    return best


def _orders(dataset: Dataset, rows: pl.DataFrame) -> Iterator[list[str]]:
    """Yield the orders in which the id columns may form a pair_id: as given, then with the column of items first."""
    columns = [name for name in rows.columns if name.startswith(KEY)]
    yield columns
    item = _item_column(dataset, rows)
    if item is not None and columns[0] != item:
        yield [item, *(name for name in columns if name != item)]


def _item_column(dataset: Dataset, rows: pl.DataFrame) -> str | None:
    """Return the id column with most rows of known items, None if no column has one."""
    columns = [name for name in rows.columns if name.startswith(KEY)]
    items = pl.Series(list(dataset.codes_of))
    counts = {name: int(rows[name].is_in(items.implode()).sum()) for name in columns}
    best = max(columns, key=lambda name: counts[name])
    return best if counts[best] else None


def _responses(dataset: Dataset, known: pl.DataFrame, numbers: Numbers) -> pl.DataFrame:
    """Return the rows as RESPONSES. Each different answer to an item is parsed once."""
    questions = questions_of(dataset)
    printed = {item: printed_numbers(question.codes, "scale", numbers) for item, question in questions.items()}
    labels = {item: question.label_of for item, question in questions.items()}
    keyed = known.select(
        "pair_id", "item", "subgroup", *(pl.col(name).fill_null(_NULL).alias(f"_{name}") for name in ("text", "error"))
    ).with_columns(sample=pl.int_range(pl.len()).over("pair_id"))
    key = ["item", "_text", "_error"]
    different = keyed.select(key).unique(maintain_order=True)
    read: list[tuple[int | None, Status, str | None]] = []
    for item, text, error in different.iter_rows():
        if error != _NULL:
            read.append((None, "failed", error))
            continue
        parsed = parse_answer("" if text == _NULL else text, printed[item], questions[item].codes, labels[item])
        read.append((parsed.answer, parsed.status, None if parsed.status == "answered" else parsed.note))
    found = pl.DataFrame(read, schema={"answer": pl.Int32, "status": pl.String, "error": pl.String}, orient="row")
    shown = pl.DataFrame({"item": list(questions), "shown": [list(question.codes) for question in questions.values()]})
    rows = keyed.join(found.hstack(different), on=key, how="left", maintain_order="left").join(shown, on="item", maintain_order="left")
    constants = {"elicitation": "text", "template": TEMPLATE, "template_version": "1", "order": "scale", "paraphrase": 0, "attempts": 1}
    # The prompts are not known, so there is no hash.
    missing = [name for name in RESPONSES.columns if name not in (*rows.columns, *constants, "text")]
    rows = rows.with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        *(pl.lit(None).alias(name) for name in missing),
        text=pl.when(pl.col("_text") != _NULL).then("_text"),
    )
    return RESPONSES.check(rows, KIND).select(list(RESPONSES.columns))


def _doubt(counts: Mapping[str, int], numbers: Numbers) -> OptionText | None:
    """Return a warning if more than half of the responses have a number that is not an option."""
    wrong, responses = counts["invalid_code"], sum(counts.values())
    if 2 * wrong <= responses:
        return None
    other, meaning = ("position", "places on the list of options") if numbers == "code" else ("code", "codes of the scale")
    doubt = f"{wrong:,} of {responses:,} responses name a number that no option has. If they are {meaning}, import with "
    return OptionText(doubt, Option("numbers", other), ".")


def check_import_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise an error unless an imported run may be written to `folder`.

    Raises:
        InputDataError: the folder is not empty and holds no imported run.
        UsageError: it holds one, and `overwrite` is False.
    """
    if not folder.exists():
        return
    there = read_meta(folder) if folder.is_dir() else None
    if there is None and (not folder.is_dir() or any(folder.iterdir())):
        raise InputDataError(f"{folder}: exists and is not a run; choose another place for it with -o.")
    if there is not None and there.get("kind") != KIND:
        raise InputDataError(f"{folder}: holds the run {there['name']!r}, which was asked and not imported; choose another place with -o.")
    if there is not None and not overwrite:
        imported = f" from {source['file']}" if isinstance(source := there.get("source"), dict) and "file" in source else ""
        raise UsageError(
            f"{folder}: holds the run {there['name']!r}, imported{imported}; choose another place with -o, or replace it with ",
            Option("overwrite"),
            ".",
        )


def none_known(file: Path, rows: pl.DataFrame, ids: Sequence[str], dataset: Dataset) -> tuple[str | Option, ...]:
    """Return the parts of an error: no row (`read_outputs`) belongs to a pair of the data set."""
    where = dataset.path or "the data set"
    if rows.is_empty():
        return (f"{file}: it holds no outputs.",)
    first = rows.select(pl.col(f"^{KEY}\\d+$")).row(0)
    if len(ids) == 1:
        different = rows[f"{KEY}0"].n_unique()
        close = did_you_mean(first[0], dataset.gold["pair_id"].unique(maintain_order=True).head(20_000))
        what = "custom_ids" if ids[0] == ID else f"values of {ids[0]}"
        found = f"{file}: none of its {different:,} {what} is a pair of {where} (the first is {first[0]!r})."
        return (f"{found}{close} Were these outputs made for another data set?",)
    if _item_column(dataset, rows) is None:
        return (f"{file}: no value of {' or '.join(ids)} is an item of {where}.{_items_hint(dataset, rows)}",)
    other = next(place for place in range(len(ids)) if f"{KEY}{place}" != _item_column(dataset, rows))
    close = did_you_mean(first[other], dataset.subgroups["subgroup"])
    return (
        f"{file}: no value of {ids[other]} is a subgroup of {where} (the first is {first[other]!r}).{close} If it names people, describe "
        "them in a table and give it with ",
        Option("people"),
        ".",
    )


def _items_hint(dataset: Dataset, rows: pl.DataFrame) -> str:
    return f" The first is {rows[f'{KEY}0'][0]!r}.{did_you_mean(rows[f'{KEY}0'][0], dataset.codes_of)}" if len(rows) else ""


def shown_ids(rows: pl.DataFrame) -> tuple[str, ...]:
    """Return the first different ids of rows of `read_outputs`, in words."""
    ids = rows.select(pl.col(f"^{KEY}\\d+$")).unique(maintain_order=True)
    return tuple(", ".join(row) for row in ids.head(_NAMED).rows())
