"""Option orders: as on the scale, reversed, shuffled by seed, or from a balanced design."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from valuestrata.errors import UsageError, did_you_mean

_SHUFFLED = re.compile(r"shuffled-(\d{1,18})")
_SEED = re.compile(r"shuffled:(\d{1,18})")
_BALANCED = re.compile(r"balanced-(\d{1,9})-of-(\d{1,9})")
_SEVERAL = re.compile(r"balanced:(\d{1,9})")
# A larger number only repeats orders.
_MOST_BALANCED = 100
_EXAMPLES = ("scale", "reversed", "shuffled:0", "balanced:4")


def orders_from(spec: str) -> tuple[str, ...]:
    """Parse a list of orders: `scale`, `reversed`, `shuffled:7` (seed 7), `balanced:4` (a balanced set of four).

    Raises:
        UsageError: an unknown or repeated order, or an empty list.
    """
    names: list[str] = []
    for word in (part.strip() for part in spec.split(",")):
        if seed := _SEED.fullmatch(word):
            names.append(f"shuffled-{int(seed[1])}")
        elif several := _SEVERAL.fullmatch(word):
            number = _checked_number(word, int(several[1]))
            names.extend(f"balanced-{place}-of-{number}" for place in range(1, number + 1))
        else:
            names.append(check_order(word))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Option orders {spec!r}: {repeated[0]!r} occurs more than once.")
    return tuple(names)


def check_order(name: str) -> str:
    """Return the name of an order as stored in responses. Raises UsageError for an unknown order."""
    if match := _SHUFFLED.fullmatch(name):
        return f"shuffled-{int(match[1])}"
    if match := _BALANCED.fullmatch(name):
        place, number = int(match[1]), _checked_number(name, int(match[2]))
        if not 1 <= place <= number:
            raise UsageError(f"Option order {name!r}: {place} is not between 1 and {number}.")
        return f"balanced-{place}-of-{number}"
    if name in ("scale", "reversed"):
        return name
    raise UsageError(f"There is no option order {name!r}.{did_you_mean(name, _EXAMPLES)}")


def _checked_number(word: str, number: int) -> int:
    if not 2 <= number <= _MOST_BALANCED:
        raise UsageError(f"Option order {word!r}: the number of balanced orders must be between 2 and {_MOST_BALANCED}.")
    return number


@lru_cache(maxsize=256)
def seed_of(order: str) -> int | None:
    """Return the seed of a shuffled order, or None."""
    match = _SHUFFLED.fullmatch(order)
    return int(match[1]) if match else None


def arranged(codes: Sequence[int], order: str, pair_id: str, *, numeric: bool) -> tuple[int, ...]:
    """Return the scale codes in displayed order.

    A shuffled order depends only on its seed and the pair, not on which pairs are asked. It uses a hash, which is stable
    across library versions. The other orders are the same for every pair. A numeric scale (`numeric`) is only reversed or
    not, because its inner points have no labels.
    """
    seed = seed_of(order)
    if seed is None:
        return _same_for_all(codes, order, numeric=numeric)
    bits = int.from_bytes(hashlib.sha512(f"{seed}\n{pair_id}".encode()).digest(), "big")
    if numeric:
        return tuple(reversed(codes)) if bits % 2 else tuple(codes)
    left = list(codes)
    shown: list[int] = []
    while left:
        bits, which = divmod(bits, len(left))
        shown.append(left.pop(which))
    return tuple(shown)


def _same_for_all(codes: Sequence[int], order: str, *, numeric: bool) -> tuple[int, ...]:
    balanced = _BALANCED.fullmatch(order)
    if balanced is None:
        return tuple(codes) if order == "scale" else tuple(reversed(codes))
    place, number = int(balanced[1]), int(balanced[2])
    if numeric:
        return tuple(codes) if place % 2 else tuple(reversed(codes))
    return tuple(codes[at] for at in balanced_rows(len(codes), number)[place - 1])


@lru_cache(maxsize=256)
def balanced_rows(options: int, number: int) -> tuple[tuple[int, ...], ...]:
    """Return `number` balanced orders of `options` positions (0, 1, ...), the first as on the scale.

    Rows of a Williams design (E. J. Williams 1949, Australian Journal of Scientific Research A 2:149-168). Over its K rows,
    every option occurs once at every position and, for even K, once directly after every other option. For odd K this holds,
    twice each, for the K rows and their mirror images together. Other numbers use whole squares and then evenly spaced rows
    of one square: counts of an option by position then differ by at most one.
    """
    square = _williams(options)
    squares = (square, square) if options % 2 == 0 else (square, tuple(row[::-1] for row in square))
    whole, rest = divmod(number, options)
    rows = [row for at in range(whole) for row in squares[at % 2]]
    rows += [squares[whole % 2][place * options // rest] for place in range(rest)]
    return tuple(rows)


def _williams(options: int) -> tuple[tuple[int, ...], ...]:
    # The first row is 0, 1, -1, 2, -2, ... modulo K. Each step between neighbours then occurs once (K even), or twice with the
    # mirror image (K odd). The other rows are rotations. Options are renamed by their position in the first row, which
    # becomes the scale order.
    first = [(at + 1) // 2 if at % 2 else -(at // 2) % options for at in range(options)]
    name = {option: place for place, option in enumerate(first)}
    return tuple(tuple(name[(option + turn) % options] for option in first) for turn in range(options))
