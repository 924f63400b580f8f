"""Import of 598,201 generated answers: columns named by the caller, and one text of its own for each row.

    python bench/import_600k.py [FOLDER_OF_ANOTHER_SRC]

prints the seconds of the installed version and, with a folder, of another version of the package on the same file of custom_ids.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 598_201
CODEBOOK = """
survey: generated
title: A generated survey
missing: {{dont_know: {{codes: [77, 88, 99]}}}}
items:
{items}
attributes:
  - {{name: sex, column: sex, levels: [{{label: Male, code: 1}}, {{label: Female, code: 2}}]}}
  - {{name: age_group, short: age, column: age, levels: [{{label: young, band: [15, 39]}}, {{label: old, band: [40, null]}}]}}
  - {{name: area, column: area, levels: [{{label: Town, code: 1}}, {{label: Country, code: 2}}]}}
"""
ITEMS = 60


def made(folder: Path) -> Path:
    """Build a data set of 60 items on 0..10 and return its folder."""
    import valuestrata as vs
    from valuestrata.building import BuildSettings, build
    from valuestrata.dataset.tables import write_dataset

    rng = np.random.default_rng(1)
    entry = '  - {{id: "q{0}", topic: T, range: [0, 10], ends: [None, All], question: "Question {0}?"}}'
    (folder / "codebook.yaml").write_text(CODEBOOK.format(items="\n".join(entry.format(number) for number in range(ITEMS))))
    people = {"sex": rng.integers(1, 3, 2000), "age": rng.integers(15, 99, 2000), "area": rng.integers(1, 3, 2000)}
    answers = {f"q{number}": rng.integers(0, 11, 2000) for number in range(ITEMS)}
    pl.DataFrame({**people, **answers}).write_csv(folder / "survey.csv")
    survey = vs.read_survey(folder / "survey.csv", survey=folder / "codebook.yaml")
    write_dataset(build(survey, BuildSettings(draws=10)), folder / "data")
    return folder / "data"


def files(folder: Path, data: Path) -> dict[str, Path]:
    """Write the answers as a table of named columns, as texts with custom_ids, and as JSON lines."""
    rng = np.random.default_rng(2)
    gold = pl.read_parquet(data / "gold.parquet", columns=["pair_id", "item", "subgroup"]).unique("pair_id", maintain_order=True)
    rows = gold[rng.integers(0, len(gold), ROWS)]
    scores = rng.integers(0, 11, ROWS)
    texts = [f"Answer: {score}\n\nI am person {number} and say so." for number, score in enumerate(scores)]
    columns = rows.select(QUESTION_ID="item", PARTICIPANT_ID="subgroup").with_columns(SCORE=pl.Series(scores))
    columns.write_csv(folder / "columns.csv")
    rows.select(custom_id="pair_id").with_columns(response=pl.Series(scores).cast(pl.String)).write_csv(folder / "ids.csv")
    rows.select(custom_id="pair_id").with_columns(response=pl.Series(texts)).write_ndjson(folder / "texts.jsonl")
    return {name: folder / name for name in ("columns.csv", "ids.csv", "texts.jsonl")}


TIMED = """
import json, sys, time
from valuestrata.dataset.tables import load_dataset
from valuestrata.responses.import_runs import import_run
data, file, out, how = load_dataset(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
began, worked = time.perf_counter(), time.process_time()
counts = import_run(data, file, out, **how).counts
print(json.dumps([time.perf_counter() - began, time.process_time() - worked, dict(counts)]))
"""


def timed(source: Path, data: Path, file: Path, out: Path, **how: object) -> tuple[str, dict[str, int]]:
    """Return seconds (elapsed and of the processor) and counts of an import by the package in `source`, in a process of its own."""
    command = [sys.executable, "-c", TIMED, str(data), str(file), str(out), json.dumps(how)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(source)})
    elapsed, worked, counts = json.loads(done.stdout.splitlines()[-1])
    return f"{elapsed:6.1f} s, {worked:6.1f} s of the processor", counts


def main() -> None:
    """Print the seconds of each import."""
    own = Path(__file__).resolve().parents[1] / "src"
    other = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = made(folder)
        found = files(folder, data)
        began = time.perf_counter()
        seconds, counts = timed(own, data, found["columns.csv"], folder / "run0", ids=["QUESTION_ID", "PARTICIPANT_ID"], answer="SCORE")
        print(f"{'columns.csv':12} {ROWS:,} rows: {seconds} {counts}", flush=True)
        for number, name in enumerate(("ids.csv", "texts.jsonl"), start=1):
            seconds, counts = timed(own, data, found[name], folder / f"run{number}")
            print(f"{name:12} {ROWS:,} rows: {seconds} {counts}", flush=True)
            if other is not None:
                before, same = timed(other, data, found[name], folder / f"other{number}")
                ours, theirs = (pl.read_parquet(folder / f"{run}{number}" / "responses.parquet") for run in ("run", "other"))
                print(f"{'':12} {other}: {before}; equal: {same == counts and ours.equals(theirs)}", flush=True)
        print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
