"""Both sides of a local comparison in turns: a machine that is slow for a minute is then slow for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """Return how long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best_of(rounds: int, *sides: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Return for each side the least seconds of each of its pieces of work; in each round every side does one piece after another."""
    found = [[float("inf")] * len(side) for side in sides]
    for _ in range(rounds):
        for times, side in zip(found, sides, strict=True):
            for at, work in enumerate(side):
                times[at] = min(times[at], seconds(work))
    return found


def row(name: str, ours: float, peer: float, peer_name: str, unit: str, detail: str) -> dict[str, Any]:
    """Return a row of results in which less is better."""
    return {"name": name, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": peer / ours, "unit": unit, "detail": detail}
