"""Numbers and names of metrics as text: .812, −.012, 3.2 points, 31 %, 10,177 pairs."""

from __future__ import annotations

from collections.abc import Mapping

MINUS = "−"
SPACE = "\u00a0"
NONE = "–"

# Metric -> its name inside a sentence and as a heading, where those are not the metric's own words.
_NAMES: Mapping[str, tuple[str, str]] = {
    "nmae": ("NMAE", "NMAE"),
    "nmae_valid": ("NMAE of valid answers", "NMAE of valid answers"),
    "w1": ("W1", "W1"),
    "rps": ("RPS", "RPS"),
    "tv": ("TV", "TV"),
    "jsd": ("JSD", "JSD"),
    "accuracy_expected": ("expected accuracy", "Expected accuracy"),
    "accuracy_set": ("accuracy on tied modes", "Accuracy on tied modes"),
    "refusal_rate": ("refusal rate", "Refused"),
    "invalid_rate": ("rate of invalid answers", "Invalid"),
    "ece": ("calibration error", "Calibration error"),
    "ece_top": ("calibration error of the likeliest option", "Calibration error, likeliest option"),
    "bias": ("signed bias", "Signed bias"),
    "w1_sampling": ("largest excess of W1 from few samples", "Largest excess of W1 from few samples"),
}

# Distances and rates; every other metric with a direction is better high.
LOWER_IS_BETTER = ("nmae", "nmae_valid", "w1", "rps", "tv", "jsd", "refusal_rate", "invalid_rate")
# The metrics by which one run can be better than another.
DIRECTED = ("accuracy", "accuracy_expected", "accuracy_set", "accuracy_valid", *LOWER_IS_BETTER)


def title(metric: str) -> str:
    """Return a metric's name inside a sentence: `expected accuracy`, `W1`."""
    return _NAMES[metric][0] if metric in _NAMES else metric.replace("_", " ")


def metric_title(metric: str) -> str:
    """Return a metric's name as a heading: `Expected accuracy`, `W1`."""
    return _NAMES[metric][1] if metric in _NAMES else metric.replace("_", " ").capitalize()


def capital(text: str) -> str:
    """Return the text with its first letter in upper case and the others unchanged."""
    return text[:1].upper() + text[1:]


def is_share(metric: str) -> bool:
    """Whether a metric is a share of pairs, whose differences are points; distances stay plain numbers."""
    return metric.startswith(("accuracy", "ceiling")) or metric.endswith("rate")


def number(value: float | None, digits: int = 3) -> str:
    """Write a number: `.057`, `−.012`, `1.200`; a dash for None and NaN."""
    if value is None or value != value:
        return NONE
    text = f"{abs(value):.{digits}f}"
    sign = MINUS if value < 0 and float(text) != 0 else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def p_number(value: float | None) -> str:
    """Write a p-value in a table: `.013`, `<.001`; a dash for None."""
    return "<.001" if value is not None and value < 0.001 else number(value)


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


def percent(value: float | None) -> str:
    """Write a share: `31 %`; a dash for None. A share below 1 is never rounded up to 100 %."""
    if value is None:
        return NONE
    whole = f"{100 * value:.0f}"
    text = f"{int(1000 * value) / 10:.1f}" if whole == "100" and value < 1 else whole
    return f"{text.replace('-', MINUS)}{SPACE}%"


def count(value: float | None, noun: str | None = None) -> str:
    """Write a count, with a noun if given: `10,177`, `1 item`, `10,177 pairs`; a dash for None."""
    text = NONE if value is None else f"{value:,.0f}"
    return text if noun is None else f"{text} {noun}{'' if value == 1 else 's'}"


def dollars(cost: float) -> str:
    """Write an amount with at least two significant digits: $12.30, $0.0042."""
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.2g}"
