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
from valuestrata.files import folder_written_beside, sha256_of, write_json
from valuestrata.prompts import printed_numbers, questions_of
from valuestrata.prompts.question import Numbers
from valuestrata.responses.import_files import ID, KEY, RESPONSE, as_text, check_column, read_outputs, read_table
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
    people: str | Path | None = None,
    repeats: Repeats | None = None,
    trained_on: str | Path | Mapping[str, Any] | None = None,
) -> ImportResult:
    """Import a file of outputs as a run with text elicitation.

    Args:
        numbers: meaning of a number in a response: the scale `code` (the position for items with negative codes), or the
            `position` in the list of options in scale order, 1..K.
        overwrite: replace an imported run at `out`. A run that was asked is never replaced.
        ids: columns that identify the pair: one with the pair_id, or several whose values are joined by `_` (the item, then the
            subgroup in one or more columns; the item's column may come in any place). Spaces become hyphens.
        answer: column of the answers, as text or numbers.
        people: table that describes the people of a column of `ids`: the same column, and columns named like attributes of the
            data set with labels of their levels. The answers of a person then count for every subgroup of the person.
        repeats: meaning of several rows of one pair: `samples` of one prompt, or answers for different `people`; None if not known.
        trained_on: what the model was trained on: `none`, a split, or a record (`training_source.stated_source`); None if not known.
            Scores of a model that was trained on what is tested are marked, and support no claims.

    Raises:
        InputDataError: a file cannot be read or lacks a column, no id is known, or the folder is not an imported run.
        UsageError: the folder holds an imported run, and `overwrite` is False; or `ids` is empty or names a column twice.
    """
    source, folder = Path(file), Path(out)
    if not ids or len(set(ids)) < len(ids):
        raise UsageError(Option("ids", ",".join(ids)), ": give one or more different columns.")
    _check_folder(folder, overwrite=overwrite)
    taught = {} if trained_on is None else {"taught_on": stated_source(trained_on, dataset)}
    rows = read_outputs(source, ids, answer).with_row_index("row")
    found = _by_people(dataset, rows, source, ids, Path(people)) if people is not None else _by_id(dataset, rows)
    known = found.filter(pl.col("pair_id").is_not_null())
    if known.is_empty():
        raise InputDataError(*_none_known(source, rows, ids, dataset, people=people is not None))
    strange = rows.join(known.select("row"), on="row", how="anti")
    table = _responses(dataset, known, numbers)
    counts = counts_by_status(table)
    said = repeats or ("people" if people is not None else None)
    label = name or folder.resolve().name
    columns = {} if (tuple(ids), answer) == ((ID,), RESPONSE) else {"ids": list(ids), "answer": answer}
    meta = new_meta(
        dataset,
        label,
        KIND,
        respondent={"name": label, "provider": "imported", **taught},
        template=TEMPLATE,
        template_version="1",
        elicitation="text",
        numbers=numbers,
        source={"file": source.name, "sha256": sha256_of(source), "rows": len(rows), "unknown": len(strange), **columns},
        **({} if said is None else {"repeats": said}),
    )
    with folder_written_beside(folder) as temporary:
        write_table(temporary, table, None)
        write_json(temporary / RUN, with_hash(temporary, {**meta, "finished": now(), "counts": counts}))
    repeated = 0 if said is not None else int(table.filter(pl.col("sample") == 1).height)
    return ImportResult(
        run_dir=folder,
        counts=counts,
        pairs=table["pair_id"].n_unique(),
        unknown=len(strange),
        unknown_ids=tuple(_shown(row) for row in strange.select(pl.col(f"^{KEY}\\d+$")).unique(maintain_order=True).head(_NAMED).rows()),
        remark=_doubt(counts, numbers),
        repeated=repeated,
    )


def _by_id(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
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


def _by_people(dataset: Dataset, rows: pl.DataFrame, file: Path, ids: Sequence[str], people: Path) -> pl.DataFrame:
    """Add `pair_id`, `item` and `subgroup` to the rows, one row for each subgroup of the person."""
    if len(ids) != 2:
        raise UsageError(Option("ids", ",".join(ids)), ": with ", Option("people"), " give the item's and the person's column.")
    table = read_table(people)
    item = _item_column(dataset, rows)
    person = next((place for place in range(2) if f"{KEY}{place}" != item and ids[place] in table.columns), None)
    if item is None or person is None:
        column = ids[1] if item in (None, f"{KEY}0") else ids[0]
        check_column(people, column, table.columns)
        raise InputDataError(f"{file}: no value of {' or '.join(ids)} is an item of the data set.{_items_hint(dataset, rows)}")
    memberships = _memberships(dataset, table, ids[person], people)
    pairs = dataset.gold.select("pair_id", "item", "subgroup").unique("pair_id")
    found = rows.join(memberships, left_on=f"{KEY}{person}", right_on="person", how="inner", maintain_order="left")
    return found.join(pairs, left_on=[item, "subgroup"], right_on=["item", "subgroup"], how="inner", maintain_order="left").with_columns(
        item=pl.col(item)
    )


def _memberships(dataset: Dataset, table: pl.DataFrame, person: str, file: Path) -> pl.DataFrame:
    """Return `person` and `subgroup`, one row for each subgroup of each person."""
    known = [name for name in dataset.attributes if name in table.columns]
    if not known:
        raise InputDataError(f"{file}: it has no column named like an attribute ({', '.join(dataset.attributes)}); found {table.columns}.")
    texts = as_text(table, [person, *known], str(file)).rename({person: "person"})
    if texts["person"].n_unique() < len(texts):
        twice = texts.filter(pl.col("person").is_duplicated())["person"][0]
        raise InputDataError(f"{file}: {person} {twice!r} is in several rows; give one row for each person.")
    found: list[pl.DataFrame] = []
    for stratum in dataset.subgroups.filter(pl.col("stratum") != "all").partition_by("stratum", maintain_order=True):
        own = [name for name in dataset.attributes if stratum[name].null_count() == 0]
        if own and set(own) <= set(known):
            found.append(texts.join(stratum.select("subgroup", *own), on=own, how="inner").select("person", "subgroup"))
    memberships = pl.concat(found) if found else pl.DataFrame(schema={"person": pl.String, "subgroup": pl.String})
    if memberships.is_empty():
        name = known[0]
        levels = dataset.subgroups[name].drop_nulls().unique(maintain_order=True).to_list()
        values = texts[name].drop_nulls().unique(maintain_order=True).head(_NAMED).to_list()
        raise InputDataError(
            f"{file}: no person is in a subgroup of the data set. Levels of {name} in the data set: {', '.join(levels)}; "
            f"found: {', '.join(values)}. Write the labels of the data set."
        )
    return memberships


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


def _check_folder(folder: Path, *, overwrite: bool) -> None:
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


def _none_known(file: Path, rows: pl.DataFrame, ids: Sequence[str], dataset: Dataset, *, people: bool) -> tuple[str | Option, ...]:
    where = dataset.path or "the data set"
    if rows.is_empty():
        return (f"{file}: it holds no outputs.",)
    first = rows.select(pl.col(f"^{KEY}\\d+$")).row(0)
    if people:
        return (f"{file}: none of its {len(rows):,} rows is of a person and an item of {where}.{_items_hint(dataset, rows)}",)
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


def _shown(ids: tuple[str, ...]) -> str:
    return ", ".join(ids)
