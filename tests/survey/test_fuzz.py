"""Mutated survey files: one message or a complete data set, and no count that differs from what another reader finds.

Each case is a format, a mutation and a seed. `problems` returns what is wrong with a case; it can be run against any version.
"""

import contextlib
import csv
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest
import rdata
import xlsxwriter
from rdata.unparser import unparse_data

from valuestrata.cli import main
from valuestrata.dataset.tables import load_dataset

CODEBOOK = """
survey: mine
title: Mine
weight: wt
respondent_id: id
missing: {dont_know: {codes: [-1], labels: [Don't know]}}
items:
  - {id: Q1, topic: Life, codes: [1, 2, 3, 4], labels: [Agree, Neither, Disagree, Strongly], question: "One?"}
  - {id: Q2, topic: Life, codes: [1, 2, 3, 4], labels: [Agree, Neither, Disagree, Strongly], question: "Two?"}
attributes:
  - {name: sex, column: sex, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}
  - {name: age, column: age, levels: [{label: young, band: [18, 44]}, {label: old, band: [45, null]}]}
"""
LABELS = {"agree": 1, "neither": 2, "disagree": 3, "strongly": 4}
SETTINGS = ["--draws", "10", "--order", "1", "--min-respondents", "2", "--min-valid", "1", "--json"]

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


# Other readers: a file -> its rows as dictionaries, or None if that reader cannot read it.


def other_rows(kind, path):
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            return text_rows(archive.read(archive.namelist()[0]))
    if kind == "csv":
        return text_rows(path.read_bytes())
    if kind == "xlsx":
        return sheet_rows(path)
    if kind == "parquet":
        return pl.read_parquet(path).to_dicts()
    if kind == "rda":
        data = next(iter(rdata.read_rda(path).values()))
    elif kind == "dta":
        data = pd.read_stata(path, convert_categoricals=False, preserve_dtypes=False)
    else:
        data, _ = pyreadstat.read_sav(path, user_missing=True, encoding=None)
    return data.astype(object).to_dict("records")


def text_rows(data):
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", errors="replace")
    text = text.rstrip("\x1a").replace("\r\n", "\n").replace("\r", "\n")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(cell.strip() for cell in row)]
    if any(len(row) != len(rows[0]) for row in rows):
        raise AssertionError("rows of different length were accepted")
    return named(rows)


def named(rows):
    header = [re.split(r"\s*:", name.strip().casefold())[0] for name in rows[0]]
    return [dict(zip(header, row, strict=False)) for row in rows[1:]]


def sheet_rows(path):
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as archive:
        texts = [
            "".join(part.text or "" for part in entry.iter(f"{space}t"))
            for entry in ElementTree.fromstring(archive.read("xl/sharedStrings.xml")).iter(f"{space}si")
        ]
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    found = {}
    for cell in sheet.iter(f"{space}c"):
        place = re.fullmatch(r"([A-Z]+)(\d+)", cell.attrib["r"])
        value = cell.findtext(f"{space}v")
        if value is not None and cell.get("t") != "e":
            found[int(place[2]), place[1]] = texts[int(value)] if cell.get("t") == "s" else value
    letters = sorted({letter for _, letter in found}, key=lambda letter: (len(letter), letter))
    rows = [[found.get((number, letter), "") for letter in letters] for number in sorted({number for number, _ in found})]
    return named([row for row in rows if any(cell.strip() for cell in row)])


def unreported(path, err):
    """Return what a workbook holds that the messages do not name, or None."""
    with zipfile.ZipFile(path) as archive:
        sheets = re.findall(r"<sheet [^>]*>", archive.read("xl/workbook.xml").decode(errors="replace"))
        xml = archive.read("xl/worksheets/sheet1.xml")
    if sum("hidden" not in sheet for sheet in sheets) > 1:
        return "one of two equal sheets was read"
    for pattern, kind in ((rb'r="([A-Z]+\d+)"[^>]*t="e"', "error"), (rb'mergeCell ref="([A-Z]+\d+)', "merged cell")):
        for place in re.findall(pattern, xml)[:5]:
            if place.decode() not in err:
                return f"{place.decode()}: {kind} not reported"
    if re.search(rb"<f>[^<]*</f><v></v>", xml):
        return "a formula without a result was read as missing"
    return None


def as_number(cell):
    if isinstance(cell, bytes):
        cell = cell.decode(errors="replace")
    if cell is None or isinstance(cell, bool):
        return None
    try:
        return float(str(cell).strip().replace(",", "."))
    except ValueError:
        return LABELS.get(str(cell).strip().casefold())


def column_of(rows, name):
    return [as_number({str(key).strip().casefold(): cell for key, cell in row.items()}.get(name.casefold())) for row in rows]


# Running a case


def run_main(arguments):
    """Run the command line in this process; return the exit code, stdout and stderr. Other exceptions pass."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with mock.patch.object(sys, "argv", ["valuestrata", *arguments]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return code, out.getvalue(), err.getvalue()


def run_process(arguments):
    done = subprocess.run([sys.executable, "-m", "valuestrata", *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def problems(case, folder, run=run_main):
    """Return what is wrong with how the command line handles a mutated file."""
    kind, mutation, seed = case
    codebook, path, output, scratch = folder / "mine.yaml", folder / f"a.{kind}", folder / "out", folder / "tmp"
    scratch.mkdir()
    codebook.write_text(CODEBOOK)
    mutated(kind, mutation, seed, path)
    before = {entry.name for entry in folder.iterdir()}
    with mock.patch.object(tempfile, "tempdir", str(scratch)), mock.patch.dict(os.environ, {"TMPDIR": str(scratch)}):
        try:
            code, _, err = run(["build", str(path), "--survey", str(codebook), "-o", str(output), *SETTINGS])
        except BaseException as error:
            return [f"traceback: {type(error).__name__}: {str(error)[:150]}"]
    found = []
    if "Traceback" in err or "panicked" in err:
        found.append(f"traceback: {err.strip().splitlines()[-1]}")
    if code not in (0, 3):
        found.append(f"exit code {code}: {err[-200:]}")
    if left := [entry.name for entry in scratch.iterdir()]:
        found.append(f"temporary files: {left}")
    if code:
        if {entry.name for entry in folder.iterdir()} != before:
            found.append(f"half-written: {sorted({entry.name for entry in folder.iterdir()} - before)}")
        message = err.strip().splitlines()[-1] if err.strip() else ""
        if not message.startswith("valuestrata: ") or path.name not in message or not message.isprintable():
            found.append(f"message: {message[:200]!r}")
        return found
    if {entry.name for entry in folder.iterdir()} != before | {"out"}:
        found.append(f"left beside the data set: {sorted({entry.name for entry in folder.iterdir()} - before)}")
    return [*found, *wrong_counts(load_dataset(output), kind, path, err)]


def wrong_counts(dataset, kind, path, err):
    """Compare the respondents, answers and members of subgroups with those that another reader finds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = other_rows(kind, path)
    except AssertionError as error:
        return [str(error)]
    except BaseException:
        return []  # the other reader refuses the file
    if kind == "xlsx" and (missed := unreported(path, err)):
        return [missed]
    findings = dataset.meta["findings"]
    reported = sum(
        int(count.replace(",", "")) for count in re.findall(r"left out because they are empty in all columns used: ([\d,]+)", err)
    )
    wrong = []
    if not np.isfinite(dataset.meta["n_eff"]):
        wrong.append(f"{dataset.meta['n_eff']} effective respondents")
    if not all(line.isprintable() for line in err.splitlines()):
        wrong.append("control characters in a message")
    if dataset.meta["respondents"] != len(rows) - reported:
        wrong.append(f"{dataset.meta['respondents']} respondents; another reader finds {len(rows)}")
    nation = dataset.gold.filter((pl.col("subgroup") == "all") & (pl.col("half") == "all"))
    answers = dict(nation.select("item", "n").iter_rows())
    explained = {*findings["absent_items"], *findings["unanswered_items"], *(problem["item"] for problem in findings["label_problems"])}
    for item in ("Q1", "Q2"):
        expected = sum(cell in (1, 2, 3, 4) for cell in column_of(rows, item))
        if item in answers and answers[item] != expected:
            wrong.append(f"{item}: {answers[item]} answers; another reader finds {expected}")
        if item not in answers and item not in explained and item not in dataset.items["item"].to_list():
            wrong.append(f"{item}: left out without a message")
    sexes = column_of(rows, "sex")
    for label, code in (("Male", 1), ("Female", 2)):
        members = dataset.subgroups.filter(pl.col("subgroup") == f"sex_{label}")["n"].to_list()
        if members and members[0] != sexes.count(code):
            wrong.append(f"{label}: {members[0]} members; another reader finds {sexes.count(code)}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in CASES}))
def test_mutated_files_give_one_message_or_a_complete_data_set(kind, tmp_path):
    failed, accepted = {}, 0
    for case in (case for case in CASES if case[0] == kind):
        folder = tmp_path / "-".join(map(str, case))
        folder.mkdir()
        if found := problems(case, folder):
            failed[case] = found
        accepted += (folder / "out").is_dir()
    assert not failed, "\n".join(f"{case}: {found}" for case, found in failed.items())
    assert accepted > 0, "no mutated file was accepted, so no count was compared"


def test_there_are_enough_cases():
    assert len(CASES) == len(set(CASES)) >= 300


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[:: len(CASES) // 11], ids=str)
def test_mutated_files_in_a_process_of_their_own(case, tmp_path):
    assert not problems(case, tmp_path, run_process)
