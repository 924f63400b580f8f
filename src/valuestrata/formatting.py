"""Numbers and metrics as sentences about scores write them: 3.2 points, 31 %, .057, 10,177 pairs."""

from __future__ import annotations

MINUS = "−"
SPACE = "\u00a0"

_TITLES = {"nmae": "NMAE", "nmae_valid": "NMAE of valid answers", "w1": "W1", "rps": "RPS", "tv": "TV", "jsd": "JSD"}
_ACCURACIES = {"accuracy": "accuracy", "accuracy_expected": "expected accuracy", "accuracy_set": "accuracy on tied modes"}

# Distances and rates; every other metric with a direction is better high.
LOWER_IS_BETTER = ("nmae", "nmae_valid", "w1", "rps", "tv", "jsd", "refusal_rate", "invalid_rate")
# The metrics of which a run can be said to be better than another.
DIRECTED = ("accuracy", "accuracy_expected", "accuracy_set", "accuracy_valid", *LOWER_IS_BETTER)


def title(metric: str) -> str:
    """Return a metric's name inside a sentence: `expected accuracy`, `W1`."""
    return _TITLES.get(metric) or _ACCURACIES.get(metric) or metric.replace("_", " ")


def is_share(metric: str) -> bool:
    """Whether a metric is a share of pairs, whose differences are points; distances stay plain numbers."""
    return metric.startswith(("accuracy", "ceiling")) or metric.endswith("rate")


def number(value: float, digits: int = 3) -> str:
    """Write a plain number: `.057`, `−.012`, `1.200`."""
    text = f"{abs(value):.{digits}f}"
    sign = MINUS if value < 0 and float(text) != 0 else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def points(value: float) -> str:
    """Write a share times 100, without a unit: `3.2`, `−0.4`."""
    text = f"{abs(100 * value):.1f}"
    return (MINUS if value < 0 and float(text) != 0 else "") + text


def size(metric: str, value: float) -> str:
    """Write a difference of a metric with its unit: `3.2 points`, `.012`."""
    return f"{points(value)} points" if is_share(metric) else number(value)


def ends(metric: str, low: float, high: float) -> str:
    """Write an interval of a difference: `1.1 to 5.3`, `−.004 to .020`."""
    write = points if is_share(metric) else number
    return f"{write(low)} to {write(high)}"


def level(metric: str, value: float) -> str:
    """Write a score: `81.2 %`, `.057`."""
    return f"{points(value)}{SPACE}%" if is_share(metric) else number(value)


def percent(value: float) -> str:
    """Write a share: `31 %`; a share short of 1 is never rounded up to it."""
    whole = f"{100 * value:.0f}"
    text = f"{int(1000 * value) / 10:.1f}" if whole == "100" and value < 1 else whole
    return f"{text.replace('-', MINUS)}{SPACE}%"


def count(value: int, noun: str) -> str:
    """Write a count with its noun: `1 item`, `10,177 pairs`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"
