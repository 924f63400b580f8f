"""Timing of two sides in turns, so that a temporarily slow machine affects both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best_of(rounds: int, *sides: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Return the minimum seconds of each call of each side over the rounds; every round runs all sides in turn."""
    found = [[float("inf")] * len(side) for side in sides]
    for _ in range(rounds):
        for times, side in zip(found, sides, strict=True):
            for at, work in enumerate(side):
                times[at] = min(times[at], seconds(work))
    return found


def row(name: str, ours: float, peer: float, peer_name: str, unit: str, detail: str) -> dict[str, Any]:
    """Return a row of results for which lower is better."""
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": peer / ours, "unit": unit, "detail": detail}
