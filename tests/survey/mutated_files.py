"""Writes survey files with seeded mutations. A case is a format, a mutation and a seed."""

import csv
import io
import random
import re
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import rdata
import xlsxwriter
from rdata.unparser import unparse_data

TEXTS = (
    "",
    "NA",
    "-1",
    "-7",
    "5",
    "2.5",
    "1e308",
    "nan",
    "Agree",
    "Who knows?",
    "2020-01-01",
    "9" * 400,
    "\x1b[31m",
    "\u2028",
    "a\ufffeb",
    "=1+1",
)
NUMBERS = (-1.0, -7.0, 5.0, 2.5, 1e308, 1e15, float("nan"), float("inf"), 0.0)
INSERTED = ("\x00", "\x1b", "\u2028", "\ufffe", "\x1a", "\x85", '"', ",", ";", "\n", "\r", "\t", "9", "\udcff")


def table():
    rng = np.random.default_rng(3)
    n = 40
    return {
        "id": [float(i) for i in range(1, n + 1)],
        "Q1": rng.integers(1, 5, n).astype(float).tolist(),
        "Q2": rng.integers(1, 5, n).astype(float).tolist(),
        "sex": rng.integers(1, 3, n).astype(float).tolist(),
        "age": rng.integers(18, 90, n).astype(float).tolist(),
        "wt": np.round(rng.uniform(0.5, 2, n), 3).tolist(),
        "open": [f"word {i}, é" for i in range(n)],
    }


# Mutations of a table: columns in order, so that names can be repeated.


def changed(random_, columns, texts):
    """Return the columns after one to three changes of cells, rows, columns or names."""
    columns = [(name, list(cells)) for name, cells in columns]
    for _ in range(random_.randint(1, 3)):
        kind = random_.choice(["cell", "cell", "cell", "row away", "row twice", "column away", "column twice", "name", "all", "order"])
        name, cells = random_.choice(columns[:6])
        place = random_.randrange(len(cells)) if cells else 0
        if kind == "cell" and cells:
            cells[place] = random_.choice(TEXTS if texts and random_.random() < 0.7 else NUMBERS)
        elif kind == "row away" and cells:
            for _, other in columns:
                del other[place]
        elif kind == "row twice" and cells:
            for _, other in columns:
                other.insert(place, other[place])
        elif kind == "column away" and len(columns) > 3:
            columns = [column for column in columns if column[0] != name]
        elif kind == "column twice" and texts:
            columns.append((name, list(cells)))
        elif kind == "name" and texts:
            columns[0] = (random_.choice(["\x1bid", "i\u2028d", "ID", " id ", "", "id: Number"]), columns[0][1])
        elif kind == "all":
            cells[:] = [random_.choice(NUMBERS[:4])] * len(cells)
        elif kind == "order":
            random_.shuffle(columns)
    return columns


def damaged(random_, data):
    """Return the bytes after flips, a cut, a repetition, a deletion or an overwritten word."""
    data = bytearray(data)
    place = random_.randrange(len(data))
    kind = random_.choice(["flip", "flip", "cut", "delete", "repeat", "word"])
    if kind == "flip":
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "delete":
        del data[place : place + random_.randint(1, 40)]
    elif kind == "repeat":
        data[place:place] = data[place : place + random_.randint(1, 40)]
    else:
        data[place : place + 4] = random_.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", random_.randbytes(4)])
    return bytes(data)


def inserted(random_, text):
    for _ in range(random_.randint(1, 3)):
        place = random_.randrange(len(text))
        text = text[:place] + random_.choice(INSERTED) + text[place + random_.randrange(2) :]
    return text


# Writers: format, columns -> bytes of a file.


def shown(cell):
    return str(int(cell)) if isinstance(cell, float) and cell == cell and abs(cell) < 1e9 and cell.is_integer() else str(cell)


def csv_text(columns):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(map(shown, cells) for _, cells in columns), strict=True))
    return out.getvalue()


def xlsx_bytes(columns, path):
    book = xlsxwriter.Workbook(path, {"nan_inf_to_errors": True})
    sheet = book.add_worksheet("data")
    for j, (name, cells) in enumerate(columns):
        sheet.write_string(0, j, name)
        for i, cell in enumerate(cells, start=1):
            (sheet.write_number if isinstance(cell, float) else sheet.write_string)(i, j, cell)
    book.close()


def frame(columns):
    return pd.DataFrame({name: pd.Series(cells, dtype=object if name == "open" else float) for name, cells in columns})


def written(kind, columns, path):
    """Write the columns; formats but text and Excel take numbers only, and no repeated names."""
    if kind in ("csv", "zip"):
        text = csv_text(columns).encode("utf-8", "surrogatepass")
        if kind == "csv":
            path.write_bytes(text)
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.csv", text)
    elif kind == "xlsx":
        xlsx_bytes(columns, path)
    elif kind == "sav":
        pyreadstat.write_sav(
            frame(columns), path, variable_value_labels={"Q1": {1: "Agree", -1: "Don't know"}}, compress=len(columns) % 2 == 0
        )
    elif kind == "dta":
        # Stata has no infinite numbers and none above 8.9e307.
        data = frame(columns)
        numbers = data.columns[data.columns != "open"]
        data[numbers] = data[numbers].clip(-1e300, 1e300)
        pyreadstat.write_dta(data, path, variable_value_labels={"Q1": {1: "Agree", -1: "Don't know"}})
    elif kind == "parquet":
        pl.DataFrame(dict(columns), strict=False).write_parquet(path)
    else:
        data = frame(columns)
        data.columns = pd.Index(list(data.columns), dtype=object)
        rdata.write_rda(path, {"data": data})


def mutated(kind, mutation, seed, path):
    """Write the mutated file of a case."""
    random_ = random.Random(f"{kind} {mutation} {seed}")
    columns = list(table().items())
    if mutation == "structure":
        restructured(kind, random_, columns, path)
        return
    if mutation == "cells":
        columns = changed(random_, columns, texts=kind in ("csv", "zip", "xlsx"))
    written(kind, columns, path)
    if mutation == "text":
        path.write_bytes(inserted(random_, path.read_text()).encode("utf-8", "surrogateescape"))
    elif mutation == "bytes":
        path.write_bytes(damaged(random_, path.read_bytes()))
    elif mutation == "dictionary":
        data = bytearray(path.read_bytes())
        data[random_.randrange(176, 800)] = random_.choice([0, 1, 2, 5, 8, 128, 255])
        path.write_bytes(data)
    elif mutation == "inside":
        damage_inside(kind, random_, path)


def restructured(kind, random_, columns, path):
    """Write a file whose cells are sound but whose form is not."""
    name, place = random_.choice(["Q1", "Q2", "sex", "wt"]), random_.randint(2, 38)
    if kind == "csv":
        lines = csv_text(columns).splitlines()
        row = lines[place]
        lines[place] = random_.choice(
            [row[: row.index(",", 5)], row + ",1", row + "x" * 200_000, '"' + row, "", ",,", row.replace(",", ";")]
        )
        path.write_text("\n".join(lines) + "\n")
    elif kind == "parquet":
        data = pl.DataFrame(dict(columns))
        kinds = [
            pl.col(name).reshape((-1, 1)),
            pl.duration(days=pl.col(name)),
            pl.struct(name),
            pl.col(name).cast(pl.String).cast(pl.Binary),
        ]
        kinds += [pl.col(name).cast(pl.Int64).cast(pl.Date), pl.col(name) * 1e308, pl.col(name).cast(pl.Int64), pl.col(name) == 1]
        data.with_columns(random_.choice(kinds).alias(name)).write_parquet(path)
    else:
        book = xlsxwriter.Workbook(path)
        sheet = book.add_worksheet("data")
        header = [title for title, _ in columns]
        for j, (title, values) in enumerate(columns):
            sheet.write_column(0, j, [title, *values])
        form = random_.choice(["twin", "hidden", "error", "formula", "merged"])
        at = f"{'ABCDEFG'[header.index(name)]}{place}"
        if form in ("twin", "hidden"):
            other = book.add_worksheet("more")
            other.write_row(0, 0, [*header, "extra"] if form == "hidden" else header)
            other.write_row(1, 0, [1, 1, 1, 1, 30, 1, "x", "y"])
            if form == "hidden":
                other.hide()
        elif form == "merged":
            sheet.merge_range(f"{at}:{at[0]}{place + 1}", 1)
        else:
            sheet.write_formula(at, "=1/0", None, "#DIV/0!" if form == "error" else "")
        book.close()


def damage_inside(kind, random_, path):
    """Damage what is compressed in the file, and compress it again."""
    if kind == "rda":
        path.write_bytes(damaged(random_, unparse_data(rdata.parser.parse_file(path))))
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    part = random_.choice([name for name in parts if re.search("sheet1.xml$|sharedS|workbook|csv", name)])
    parts[part] = (
        damaged(random_, parts[part]) if kind == "xlsx" else inserted(random_, parts[part].decode()).encode("utf-8", "surrogateescape")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


CASES = [
    *[
        ("csv", mutation, seed)
        for mutation, number in (("cells", 50), ("text", 40), ("bytes", 20), ("structure", 20))
        for seed in range(number)
    ],
    *[
        ("xlsx", mutation, seed)
        for mutation, number in (("cells", 30), ("inside", 25), ("bytes", 10), ("structure", 20))
        for seed in range(number)
    ],
    *[("sav", mutation, seed) for mutation, number in (("cells", 20), ("bytes", 30), ("dictionary", 60)) for seed in range(number)],
    *[("dta", mutation, seed) for mutation, number in (("cells", 10), ("bytes", 25)) for seed in range(number)],
    *[("parquet", mutation, seed) for mutation, number in (("cells", 10), ("bytes", 25), ("structure", 15)) for seed in range(number)],
    *[("rda", mutation, seed) for mutation, number in (("cells", 10), ("inside", 25), ("bytes", 5)) for seed in range(number)],
    *[("zip", mutation, seed) for mutation, number in (("cells", 5), ("inside", 15), ("bytes", 15)) for seed in range(number)],
]
