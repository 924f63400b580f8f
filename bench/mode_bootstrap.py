"""A thousand joint redraws of a 2,000 x 240 survey with 131 subgroups: seconds and peak memory (limits: 60 s, 2 GB)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

CODE = """
import sys, time, resource
sys.path.insert(0, {folder!r})
from population import synthetic_survey
from valuestrata.building import BuildSettings, build
survey = synthetic_survey(2000, 240)
start = time.perf_counter()
dataset = build(survey, BuildSettings(draws=1000))
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, dataset.meta["counts"]["subgroups"])
"""


def run() -> dict[str, Any]:
    """Build in a process of its own, so that its peak memory is its own."""
    code = CODE.format(folder=str(Path(__file__).resolve().parent))
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    seconds, peak, subgroups = float(output[0]), float(output[1]), int(output[2])
    return {
        "ours": seconds,
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "unit": "seconds",
        "detail": f"whole build with 1,000 redraws in three halves, {subgroups} subgroups, peak {peak / 1e9:.2f} GB",
    }
