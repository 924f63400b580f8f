"""Markdown tables of the study of repeated samples, from the tables that `bench/subsampling.py` wrote.

python bench/subsampling_page.py TABLE.csv...
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

BEST = {"gss2012": "no-persona", "gss2018": "embedded", "twin2k": "full-persona-gemini", "simulated": "model"}
TEXTS, COUNTS = ("survey", "estimator", "run", "quantity", "answers"), ("n", "repetitions")
Row = dict[str, Any]


def read(files: list[Path]) -> pl.DataFrame:
    """Return the rows of tables; figures that a table does not have are null."""
    tables = [pl.read_csv(file, infer_schema_length=None) for file in files]
    figures = [one.with_columns(pl.exclude(*TEXTS, *COUNTS).cast(pl.Float64)) for one in tables]
    return pl.concat(figures, how="diagonal_relaxed")


def cell(table: pl.DataFrame, survey: str, n: int, estimator: str, run: str | None = None, answers: str = "1-49") -> Row:
    """Return the row of shares of one method, {} without one."""
    found = table.filter(survey=survey, n=n, estimator=estimator, quantity="share", answers=answers).filter(pl.col("run").eq_missing(run))
    return found.row(0, named=True) if len(found) else {}


def number(value: float | None, digits: int = 2) -> str:
    """Return a number without the leading 0, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}".replace("0.", ".", 1)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent."""
    return "-" if value is None else f"{100 * value:.{digits}f}"


def overview(table: pl.DataFrame, answers: str) -> list[str]:
    """Return the rows of each survey and n: coverage of five intervals, RMSE and length relative to the sample alone."""
    lines = [
        "| survey | n | human | rectified | multilevel | small-area | with model | RMSE: multilevel | small-area | with model "
        "| length: rectified | small-area | with model | repetitions |",
        f"|{' --- |' * 14}",
    ]
    for survey, n in table.select("survey", "n").unique(maintain_order=True).iter_rows():
        best = BEST[survey]
        human, rectified, multilevel = (
            cell(table, survey, n, *one, answers=answers) for one in (("human",), ("rectified", best), ("multilevel",))
        )
        without, with_model = (cell(table, survey, n, "small-area", run, answers) for run in (None, best))
        coverage = [percent(one["coverage"]) for one in (human, rectified, multilevel, without, with_model)]
        rmse = [number(one["rmse_ratio"]) for one in (multilevel, without, with_model)]
        length = [number(one["length_ratio"]) for one in (rectified, without, with_model)]
        lines.append(f"| {survey} | {n} | {' | '.join([*coverage, *rmse, *length])} | {human['repetitions']} |")
    return lines


def models(table: pl.DataFrame, answers: str) -> list[str]:
    """Return the rows of each survey and model: what the model changes in the RMSE of small-area estimates, by n."""
    sizes = table["n"].unique().sort().to_list()
    lines = [f"| survey | model | {' | '.join(f'n = {n}' for n in sizes)} |", f"|{' --- |' * (2 + len(sizes))}"]
    found = table.filter(estimator="small-area").filter(pl.col("run").is_not_null())
    for survey, run in found.select("survey", "run").unique(maintain_order=True).iter_rows():
        cells = [cell(table, survey, n, "small-area", run, answers) for n in sizes]
        shown = [_difference(one) if one else "-" for one in cells]
        lines.append(f"| {survey} | {run} | {' | '.join(shown)} |")
    return lines


def _difference(one: Row) -> str:
    value, low, high = (percent(one[name]) for name in ("against_without", "blocks_low", "blocks_high"))
    return f"{value} [{percent(one['repetitions_low'])} to {percent(one['repetitions_high'])}; {low} to {high}]"


def by_answers(table: pl.DataFrame) -> list[str]:
    """Return coverage of human, rectified and small-area estimates by the number of answers, averaged over n."""
    classes = ["0", "1-9", "10-29", "30-49", "50+"]
    lines = [f"| survey | estimate | {' | '.join(classes)} | worst tenth |", f"|{' --- |' * (len(classes) + 3)}"]
    for survey in table["survey"].unique(maintain_order=True):
        for estimator, run in (
            ("human", None),
            ("rectified", BEST[survey]),
            ("multilevel", None),
            ("small-area", None),
            ("small-area", BEST[survey]),
        ):
            rows = table.filter(survey=survey, estimator=estimator, quantity="share").filter(pl.col("run").eq_missing(run))
            shown = [percent(_average(rows.filter(answers=name))) for name in classes]
            worst = rows.filter(answers="all")["coverage_worst_tenth"].drop_nulls()
            name = estimator if run is None else f"{estimator}, {run}"
            lines.append(f"| {survey} | {name} | {' | '.join(shown)} | {percent(worst.mean() if len(worst) else None)} |")  # pyright: ignore[reportArgumentType]
    return lines


def _average(rows: pl.DataFrame) -> float | None:
    """Return the coverage over all sizes of samples, weighted by their numbers of cells."""
    known = rows.filter(pl.col("coverage").is_not_null() & (pl.col("cells") > 0))
    return None if known.is_empty() else float(np.average(known["coverage"].to_numpy(), weights=known["cells"].to_numpy()))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    table = read(parser.parse_args().tables)
    for title, lines in (
        ("Cells with 1 to 49 answers", overview(table, "1-49")),
        ("All cells with answers", overview(table, "all")),
        ("What a model changes in RMSE, %; cells with 1 to 49 answers", models(table, "1-49")),
        ("Coverage by number of answers, %", by_answers(table)),
    ):
        print(f"\n**{title}**\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
