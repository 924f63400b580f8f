"""What a prediction says first: the backtest, the intervals and the range, in sentences."""

from __future__ import annotations

import polars as pl

from valuestrata.formatting import count, ends, level, metric_title, size
from valuestrata.prediction.backtest import Backtest
from valuestrata.prediction.predict import Prediction


def opening(prediction: Prediction) -> list[str]:
    """Return at most five sentences, the answer first."""
    backtest = prediction.backtest
    return [error_sentence(backtest), mode_sentence(backtest), coverage_sentence(backtest), range_sentence(prediction)]


def error_sentence(backtest: Backtest) -> str:
    """Write the method's error on held-out questions beside that of the best method without a model."""
    metric = backtest.metric
    own, other = backtest.error(backtest.method, metric), backtest.error(backtest.best, metric)
    held = f"{count(len(backtest.held.folds), backtest.held.unit if backtest.held.unit != 'item' else 'fold')} left out in turn"
    named = metric_title(metric) if metric == "w1" else metric_title(metric).lower()
    first = (
        f"Backtest on the survey's own questions ({held}): {named} of the method {backtest.method} is {_with_ends(metric, own)}, of the "
        f"best method without a model ({backtest.best}) {_with_ends(metric, other)}."
    )
    return f"{first} {_verdict(metric, other)}"


def mode_sentence(backtest: Backtest) -> str:
    """Write how often the most common answer was predicted."""
    own, other = (backtest.error(name, "accuracy") for name in (backtest.method, backtest.best))
    return (
        f"It predicted the most common answer of {_with_ends('accuracy', own)} of the held-out pairs of a question and a subgroup "
        f"({backtest.best}: {_with_ends('accuracy', other)})."
    )


def coverage_sentence(backtest: Backtest) -> str:
    """Write how many held-out shares the intervals contained, and what they are based on."""
    rows = backtest.coverage.filter(pl.col("size").is_null())
    found = level("accuracy", rows["coverage"][0]) if rows.height else "none"
    unit = count(backtest.units, "block") if backtest.by_block else count(backtest.units, "question")
    said = f"The 90 % intervals contained {found} of the held-out shares; they rest on {unit}"
    if backtest.by_block:
        return f"{said} of questions."
    return f"{said}, because the survey has too few blocks. They hold for questions like those of its blocks, not for other blocks."


def range_sentence(prediction: Prediction) -> str:
    """Write which new questions are outside the validated range."""
    outside = prediction.similarity.filter("outside")
    total = len(prediction.questions)
    if outside.is_empty():
        inside = "The new question is" if total == 1 else f"All {total} new questions are"
        return f"{inside} within the range of the held-out questions."
    told = ". ".join(f"{question}: {reason}" for question, reason in outside.select("question", "reason").iter_rows())
    return f"Outside the validated range: {outside.height} of {count(total, 'question')}, whose intervals may not hold. {told}."


def _with_ends(metric: str, row: dict[str, float | None]) -> str:
    value, low, high = (row[name] for name in ("value", "ci_low", "ci_high"))
    if value is None:
        return "not defined"
    return level(metric, value) + (f" [{ends(metric, low, high)}]" if low is not None and high is not None else " (no interval)")


def _verdict(metric: str, other: dict[str, float | None]) -> str:
    """Say whether the model helps: the interval of the paired difference against 0."""
    value, low, high = (other[name] for name in ("difference", "difference_low", "difference_high"))
    if value is None or low is None or high is None:
        return "There are too few questions for an interval of the difference."
    sign = 1.0 if metric == "w1" else -1.0
    said = f"The difference is {size(metric, value)} [{ends(metric, low, high)}]"
    if sign * value < 0 and max(sign * low, sign * high) < 0:
        return f"{said}: the model helps."
    if min(sign * low, sign * high) > 0:
        return f"{said}: the model makes predictions worse. Do not use these predictions."
    return f"{said}: the model is not shown to help."
