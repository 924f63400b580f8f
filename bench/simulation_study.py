"""Do the intervals cover, and do baselines find what was planted and nothing else? Measured on planted populations.

    python bench/simulation_study.py --populations 400 -o docs/simulation.md

The file is written whole by this command. Seeds are the numbers of the populations, so that the same command gives the
same figures; `--rows FILE` keeps the rows behind them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import planted
import simulation_page
from planted import CONDITIONS, ITEM_MODE, Task

# Named before the study is run: the baseline whose gain over item mode is the claim. The others stand beside it.
STRONGEST = "ensemble"
LADDER = (ITEM_MODE, "nearest-parent", "low-rank", "multilevel", STRONGEST)
BOOTSTRAP = 400
# Populations of the design that keeps the items and draws the people anew.
HELD = 10


def tasks(populations: int) -> Iterator[Task]:
    """Yield the data sets of both designs."""
    for condition in CONDITIONS:
        for number in range(populations):
            yield Task(condition, "redrawn", number, number, LADDER, bootstrap=BOOTSTRAP)
    for number in range(populations):
        yield Task(list(CONDITIONS)[-1], "held", number % HELD, populations + number, bootstrap=BOOTSTRAP)


def main() -> int:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--populations", type=int, default=400, help="populations under each condition, in tens")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="also keep the rows behind the figures (.parquet)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    # The processes share the cores: the libraries in each keep to one.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"))
    started = time.monotonic()
    todo = list(tasks(given.populations))
    rows: list[dict[str, Any]] = []
    with get_context("spawn").Pool(given.processes) as pool:
        for done, found in enumerate(pool.imap(planted.rows_of, todo, chunksize=4), start=1):
            rows += found
            if done % 50 == 0:
                print(f"{done} of {len(todo)} data sets, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    frame = planted.frame_of(rows)
    if given.rows:
        frame.write_parquet(given.rows)
    page = simulation_page.document(frame, given.populations, HELD, STRONGEST, LADDER, BOOTSTRAP)
    given.output.write_text(page, encoding="utf-8")
    print(f"{given.output}: {len(todo)} data sets in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
