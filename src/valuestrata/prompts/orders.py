"""The orders in which options are shown: as on the scale, reversed, or shuffled by a recorded seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from valuestrata.errors import UsageError, did_you_mean

_SHUFFLED = re.compile(r"shuffled-(\d+)")
_SEVERAL = re.compile(r"shuffled(?::(\d+))?")
_MOST_SEEDS = 10_000


def orders_from(spec: str) -> tuple[str, ...]:
    """Read a list of orders: `scale`, `scale,reversed`, `shuffled:3` (seeds 0, 1, 2), `shuffled-7` (that seed).

    Raises:
        UsageError: an order that does not exist, a repeated one, or none at all.
    """
    names: list[str] = []
    for word in (part.strip() for part in spec.split(",")):
        several = _SEVERAL.fullmatch(word)
        if several:
            count = int(several[1] or 1)
            if not 1 <= count <= _MOST_SEEDS:
                raise UsageError(f"Option order {word!r}: the number of shuffles must lie between 1 and {_MOST_SEEDS:,}.")
            names.extend(f"shuffled-{seed}" for seed in range(count))
        else:
            names.append(check_order(word))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Option orders {spec!r}: {repeated[0]!r} is there more than once.")
    return tuple(names)


def check_order(name: str) -> str:
    """Return the name of an order as responses record it; UsageError if there is no such order."""
    match = _SHUFFLED.fullmatch(name)
    if match:
        return f"shuffled-{int(match[1])}"
    if name in ("scale", "reversed"):
        return name
    raise UsageError(f"There is no option order {name!r}.{did_you_mean(name, ('scale', 'reversed', 'shuffled:3', 'shuffled-0'))}")


def seed_of(order: str) -> int | None:
    """Return the seed of a shuffled order, None of the others."""
    match = _SHUFFLED.fullmatch(order)
    return int(match[1]) if match else None


def arranged(codes: Sequence[int], order: str, pair_id: str, *, numeric: bool) -> tuple[int, ...]:
    """Return the scale codes in displayed order.

    A shuffle depends on its seed and the pair alone, so that asking fewer pairs, or in another sequence, shows each the
    same list. Its randomness is a hash: no generator whose stream could change with a library. A numeric scale
    (`numeric`) is only kept or turned round, by the seed: its inner points have no words, so a permutation would leave
    numbers that mean nothing.
    """
    seed = seed_of(order)
    if seed is None:
        return tuple(codes) if order == "scale" else tuple(reversed(codes))
    bits = int.from_bytes(hashlib.sha512(f"{seed}\n{pair_id}".encode()).digest(), "big")
    if numeric:
        return tuple(reversed(codes)) if bits % 2 else tuple(codes)
    left = list(codes)
    shown: list[int] = []
    while left:
        bits, which = divmod(bits, len(left))
        shown.append(left.pop(which))
    return tuple(shown)
