"""Import of shares per option as a run: rows of a pair and an option, or rows of a pair with a column per option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.prompts import printed_numbers, questions_of
from valuestrata.prompts.question import Numbers
from valuestrata.responses.import_files import ID, KEY, OPTION, SHARE, as_text, check_column, read_table
from valuestrata.responses.import_runs import ImportResult, check_import_folder, none_known, pairs_by_id, shown_ids, write_imported
from valuestrata.responses.per_respondent.pairs import shares_as_responses
from valuestrata.survey.codebook_schema import as_compared

ELICITATION = "shares"
# What a share of two decimals, or a percentage without decimals, may be off by rounding, for each option.
ROUNDING = 0.005
_TABLES = (".csv", ".tsv", ".parquet")
_PREFIXES = ("share_", "option_")


@dataclass(frozen=True)
class _Options:
    """Names of the options of the items: item and name (a number or a label, as compared) -> place on the scale."""

    places: Mapping[tuple[str, str], int]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, dataset: Dataset, numbers: Numbers) -> _Options:
        places: dict[tuple[str, str], int] = {}
        for item, question in questions_of(dataset).items():
            printed = printed_numbers(question.codes, "scale", numbers) if numbers == "position" else map(str, question.codes)
            places |= {(item, as_compared(question.label_of[code])): place for place, code in enumerate(question.codes)}
            places |= {(item, name): place for place, name in enumerate(printed)}
        return cls(places, {item: len(codes) for item, codes in dataset.codes_of.items()})

    def place(self, item: str, name: str) -> int | None:
        """Return the place of an option on the scale of an item, None if it has no such option."""
        shown = as_compared(name.strip().removesuffix(".0"))
        found = (self.places.get((item, shown.removeprefix(prefix))) for prefix in ("", *_PREFIXES))
        return next((place for place in found if place is not None), None)


def import_shares(
    dataset: Dataset,
    file: str | Path,
    out: str | Path,
    *,
    ids: Sequence[str] = (ID,),
    option: str = OPTION,
    share: str = SHARE,
    numbers: Numbers = "code",
    name: str | None = None,
    overwrite: bool = False,
    trained_on: str | Path | Mapping[str, Any] | None = None,
) -> ImportResult:
    """Import shares of options as a run.

    Args:
        dataset: the data set.
        file: CSV, TSV or Parquet.
        out: folder of the run.
        ids: columns that identify the pair, as for `import_run`.
        option: column of the option: its number or label.
        share: column of its share. Without `option` and `share`, columns named after options (`1`, `share_1`, a label) hold the
            shares.
        numbers: meaning of a number of an option: the scale `code`, or the `position` in the list of options from 1.
        name: name of the run; None for the name of its folder.
        overwrite: replace an imported run in the folder. A run that was asked is never replaced.
        trained_on: what the model was trained on, as for `import_run`; None if not known.

    The shares of a pair must sum to 1, or those of all pairs to 100, within .005 (or .5) for each option; they are then divided by
    their sum. An option that is not listed has share 0.

    Raises:
        InputDataError: the file cannot be read, no id is known, or a share is no number, negative, of an unknown option or given twice,
            or shares do not sum to 1.
        UsageError: the folder holds an imported run and `overwrite` is False, or `ids` is empty or names a column twice.
    """
    source, folder = Path(file), Path(out)
    if not ids or len(set(ids)) < len(ids):
        raise UsageError(Option("ids", ",".join(ids)), ": give one or more different columns.")
    if source.suffix.lower() not in _TABLES:
        raise InputDataError(f"{source}: shares are read from {', '.join(_TABLES)}; found {source.suffix or 'no ending'}.")
    check_import_folder(folder, overwrite=overwrite)
    options = _Options.of(dataset, numbers)
    given = read_table(source)
    named = option in given.columns and share in given.columns
    rows = _rows(source, given, ids, option, share, named=named)
    located = pairs_by_id(dataset, rows)
    known = located.filter(pl.col("pair_id").is_not_null() & pl.col("share").is_not_null())
    if known.is_empty():
        raise InputDataError(*none_known(source, rows, ids, dataset))
    table = _responses(dataset, source, known, options, named=named)
    strange = located.filter(pl.col("pair_id").is_null()).select(pl.col(f"^{KEY}\\d+$")).unique(maintain_order=True)
    about = {"rows": len(rows), "unknown": len(strange), "ids": list(ids)}
    counts = write_imported(
        dataset, table, source, folder, name=name, trained_on=trained_on, elicitation=ELICITATION, about=about, numbers=numbers
    )
    return ImportResult(folder, counts, len(table), len(strange), shown_ids(strange))


def _rows(file: Path, table: pl.DataFrame, ids: Sequence[str], option: str, share: str, *, named: bool) -> pl.DataFrame:
    """Return `id0`, ..., `option` and `share` (a text, null where empty), whatever the layout."""
    for column in ids:
        check_column(file, column, table.columns)
    keys = {column: f"{KEY}{place}" for place, column in enumerate(ids)}
    if named:
        texts = as_text(table, [*ids, option, share], str(file)).rename({**keys, option: "option", share: "share"})
    else:
        others = [column for column in table.columns if column not in ids]
        if not others:
            check_column(file, option, table.columns)
        texts = (
            as_text(table, [*ids, *others], str(file))
            .rename(keys)
            .unpivot(index=list(keys.values()), variable_name="option", value_name="share")
        )
    stripped = pl.col("share").str.strip_chars()
    return texts.with_columns(pl.col(f"^{KEY}\\d+$", "option").fill_null(""), pl.when(stripped != "").then(stripped).alias("share"))


def _responses(dataset: Dataset, file: Path, rows: pl.DataFrame, options: _Options, *, named: bool) -> pl.DataFrame:
    different = rows.select("item", "option").unique(maintain_order=True)
    places = [options.place(item, name) for item, name in different.iter_rows()]
    found = rows.join(
        different.with_columns(pl.Series("place", places, dtype=pl.Int64)), on=["item", "option"], how="left", maintain_order="left"
    )
    found = _of_options(file, found, dataset, named=named)
    values = found.with_columns(value=pl.col("share").str.strip_suffix("%").str.strip_chars().cast(pl.Float64, strict=False))
    wrong = values.filter(pl.col("value").is_null() | ~pl.col("value").is_finite() | (pl.col("value") < 0))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise InputDataError(
            f"{file}: {row['pair_id']}, option {row['option']!r}: {row['share']!r} is no share ({len(wrong):,} such rows). Shares are "
            "numbers of at least 0."
        )
    if not (twice := values.filter(pl.struct("pair_id", "place").is_duplicated())).is_empty():
        raise InputDataError(f"{file}: {twice['pair_id'][0]}: the option {twice['option'][0]!r} is given twice. Keep one row.")
    sizes = pl.DataFrame({"item": list(options.sizes), "size": list(options.sizes.values())})
    pairs = values.group_by("pair_id", "item", "subgroup", maintain_order=True).agg(total=pl.col("value").sum()).join(sizes, on="item")
    _check_totals(file, pairs)
    full = pairs.select("pair_id", pl.int_ranges(0, "size").alias("place")).explode("place")
    shares = full.join(values.select("pair_id", "place", "value"), on=["pair_id", "place"], how="left", maintain_order="left")
    probs = shares.group_by("pair_id", maintain_order=True).agg(option_probs=pl.col("value").fill_null(0.0) / pl.col("value").sum())
    codes = dataset.items.select("item", pl.col("codes").alias("shown"))
    ready = pairs.join(probs, on="pair_id", how="left", maintain_order="left").join(codes, on="item", how="left", maintain_order="left")
    return shares_as_responses(ready.drop("total", "size"), ELICITATION)


def _of_options(file: Path, rows: pl.DataFrame, dataset: Dataset, *, named: bool) -> pl.DataFrame:
    """Return the rows of options of their item; others must be empty or 0.

    Unless a column names the options (`named`), columns that are no option of any item are something else, and left out.
    """
    used = rows.group_by("option").agg(pl.col("place").is_not_null().any()).filter("place")["option"]
    if used.is_empty():
        item = rows["item"][0]
        raise InputDataError(
            f"{file}: none of {', '.join(map(repr, rows['option'].unique(maintain_order=True).head(5)))} is an option of {item} (codes "
            f"{', '.join(map(str, dataset.codes_of[item]))}). Name options by number or label, in a column or as columns."
        )
    kept = rows if named else rows.filter(pl.col("option").is_in(used.implode()))
    zero = pl.col("share").str.strip_suffix("%").cast(pl.Float64, strict=False) == 0
    outside = kept.filter(pl.col("place").is_null() & ~zero.fill_null(value=False))
    if not outside.is_empty():
        row = outside.row(0, named=True)
        raise InputDataError(
            f"{file}: {row['pair_id']} has a share of {row['option']!r}, which is not an option of {row['item']} (codes "
            f"{', '.join(map(str, dataset.codes_of[row['item']]))}; {len(outside):,} such rows). Correct the option, or use ",
            Option("numbers"),
            ".",
        )
    return kept.filter(pl.col("place").is_not_null())


def _check_totals(file: Path, pairs: pl.DataFrame) -> None:
    """Raise InputDataError unless the shares of every pair sum to 1 within rounding, or those of every pair to 100."""
    sums, sizes = pairs["total"].to_numpy(), pairs["size"].to_numpy()
    wrong = {whole: abs(sums / whole - 1.0) > ROUNDING * sizes + 1e-9 for whole in (1.0, 100.0)}
    if not all(these.any() for these in wrong.values()):
        return
    whole = min(wrong, key=lambda one: int(wrong[one].sum()))
    row = pairs.filter(pl.Series(wrong[whole])).row(0, named=True)
    pairs_wrong = f"{int(wrong[whole].sum()):,} of {len(pairs):,} pairs"
    raise InputDataError(
        f"{file}: the shares of {row['pair_id']} sum to {row['total']:.4g}, not to {whole:g} ({pairs_wrong}). Shares of a pair must sum to "
        "1, or those of all pairs to 100, within rounding."
    )
