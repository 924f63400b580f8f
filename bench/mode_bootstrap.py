"""Seconds and peak memory of 1,000 joint redraws of a 2,000 x 240 survey with 131 subgroups (limits: 60 s, 2 GB).

The same build without redrawn shares is timed too: storing the shares may make it at most 1.3 times slower.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROUNDS = 2
CODE = """
import sys, time, resource
sys.path.insert(0, {folder!r})
from population import synthetic_survey
from valuestrata.building import SHARE_DRAWS, BuildSettings, build
survey = synthetic_survey(2000, 240)
start = time.perf_counter(), time.process_time()
dataset = build(survey, BuildSettings(draws=1000, share_draws={share_draws}))
seconds = time.perf_counter() - start[0], time.process_time() - start[1]
print(*seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, dataset.meta["counts"]["subgroups"])
"""


def run() -> dict[str, Any]:
    """Build in separate processes to measure peak memory; return the best of each kind."""
    with_shares, without = [], []
    for _ in range(ROUNDS):
        with_shares.append(_build("SHARE_DRAWS"))
        without.append(_build("0"))
    seconds, _, peak, subgroups = min(with_shares)
    # Processor time, because other processes would affect a ratio of wall times.
    slower = min(row[1] for row in with_shares) / min(row[1] for row in without)
    return {
        "ours": seconds,
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "seconds",
        "detail": f"whole build with 1,000 redraws in three halves, {subgroups:.0f} subgroups, peak {peak / 1e9:.2f} GB; "
        f"{slower:.2f} times the processor time of a build without redrawn shares",
    }


def _build(share_draws: str) -> tuple[float, ...]:
    """Return seconds, processor seconds, peak bytes and number of subgroups of a build."""
    code = CODE.format(folder=str(Path(__file__).resolve().parent), share_draws=share_draws)
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return tuple(map(float, output.split()))
