"""Simulation study: coverage of intervals, and power and false positives of baselines.

    python bench/simulation_study.py --populations 400 -o docs/simulation.md

The command writes the whole file. Seeds are the numbers of the populations, so results are reproducible. An interrupted
study continues: the rows of finished data sets are stored in `--keep`, under a name that depends on code and settings.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import planted
import polars as pl
import simulation_page
from planted import CONDITIONS, EFFECTS, ITEM_MODE, WEIGHTED, Task

import valuestrata
from valuestrata.files import canonical_hash, read_parquet, write_parquet
from valuestrata.progress import progress

# Chosen before the study: the baseline whose gain over item mode is the hypothesis.
STRONGEST = "ensemble"
LADDER = (ITEM_MODE, "nearest-parent", STRONGEST)
BOOTSTRAP = 400
# Number of populations of the design with fixed items and new respondents, and the seed of its first sample.
HELD, FIRST_HELD = 10, 1_000_000
# Data sets per file.
BLOCK = 10


def tasks(populations: int) -> Iterator[Task]:
    """Yield the data sets of both designs. Under `WEIGHTED`, only item mode is fitted."""
    for number in range(populations):
        for condition in CONDITIONS:
            yield Task(condition, "redrawn", number, number, (ITEM_MODE,) if condition == WEIGHTED else LADDER, bootstrap=BOOTSTRAP)
        if number % 2:
            yield Task(EFFECTS, "held", number // 2 % HELD, FIRST_HELD + number // 2, bootstrap=BOOTSTRAP)


def fingerprint() -> str:
    """Return a hash of the code that produces the rows: the package without reports and commands, and `planted`."""
    package = Path(valuestrata.__file__).parent
    files = [Path(planted.__file__), *(p for p in sorted(package.rglob("*.py")) if "report" not in p.parts and p.name != "cli.py")]
    return canonical_hash([[file.name, file.read_text(encoding="utf-8")] for file in files])[:16]


def run_block(block: tuple[Path, Sequence[Task]]) -> tuple[Path, int]:
    """Write the rows of some data sets; return the file and the number of data sets."""
    file, todo = block
    write_parquet(file, planted.frame_of(row for task in todo for row in planted.rows_of(task)))
    return file, len(todo)


def run(todo: Sequence[Task], keep: Path, processes: int) -> pl.DataFrame:
    """Return the rows of all data sets, reusing those stored in `keep`."""
    folder = keep / fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    parts = [todo[at : at + BLOCK] for at in range(0, len(todo), BLOCK)]
    blocks = [(folder / f"{canonical_hash([asdict(task) for task in part])[:24]}.parquet", part) for part in parts]
    missing = [(file, part) for file, part in blocks if not file.exists()]
    with progress("Simulating", len(todo)) as advance, get_context("spawn").Pool(processes) as pool:
        advance(len(todo) - sum(len(part) for _, part in missing))
        for _, number in pool.imap_unordered(run_block, missing):
            advance(number)
    return pl.concat([read_parquet(file) for file, _ in blocks])


def main() -> int:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--populations", type=int, default=400, help=f"populations under each condition, a multiple of {2 * HELD}")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("runs/simulation-study"), help="folder for the rows of finished data sets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    if given.populations < 4 * HELD or given.populations % (2 * HELD):
        parser.error(f"--populations {given.populations}: give a multiple of {2 * HELD}, {4 * HELD} or more")
    # One thread per process.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
    started = time.monotonic()
    todo = list(tasks(given.populations))
    rows = run(todo, given.keep, given.processes)
    page = simulation_page.document(rows, given.populations, HELD, FIRST_HELD, STRONGEST, LADDER, BOOTSTRAP)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page, encoding="utf-8")
    print(f"{given.output}: {len(todo)} data sets in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
