"""Mutated survey files: one message or a complete data set, and no count that differs from what another reader finds."""

import contextlib
import csv
import io
import os
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

from tests.survey.mutated_files import CASES, mutated
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
