"""The loss curve of a training: its table, CSV file and chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.errors import printable
from valuestrata.files import write_text, written_beside
from valuestrata.frames import Column, Schema, csv_text

CURVE = Schema(
    "loss.csv",
    {
        "step": Column(pl.Int64, "number of updates so far"),
        "epoch": Column(pl.Float64, "how often every training example was seen"),
        "part": Column(pl.String, "train: mean since the previous row; validation: value at this update"),
        "loss": Column(pl.Float64, "the minimised loss; for validation without the weights of pairs"),
        "loss_answer": Column(pl.Float64, "-log p of the answer's tokens, mean"),
        "loss_end": Column(pl.Float64, "-log p of the end of the turn after it"),
        "loss_prefill": Column(pl.Float64, "-log p of the text before it (`Answer:`), if it is a target"),
        "learning_rate": Column(pl.Float64, "learning rate of the last update"),
        "grad_norm": Column(pl.Float64, "norm of the last gradient, before clipping"),
        "accuracy_expected": Column(pl.Float64, "probability that the likeliest option is the mode in a redraw"),
        "accuracy": Column(pl.Float64, "share of pairs whose likeliest option is the mode"),
        "distance": Column(pl.Float64, "W1 to the gold shares; total variation for nominal items"),
        "kl": Column(pl.Float64, "divergence of the options' probabilities from the gold shares, nats"),
        "option_mass": Column(pl.Float64, "total probability of all options"),
    },
)
_EVAL = "eval_"
# (part, column) -> label in the chart.
_CHARTED = {
    ("train", "loss"): "loss",
    ("validation", "loss"): "loss, validation",
    ("train", "loss_answer"): "answer tokens",
    ("train", "loss_end"): "end of turn",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def curve_of(history: Sequence[Mapping[str, Any]], per_epoch: float) -> pl.DataFrame:
    """Return a trainer's log as a frame of CURVE.

    Args:
        history: entries of the log. per_epoch: updates per epoch.
    """
    rows: list[dict[str, Any]] = []
    for entry in history:
        validation = f"{_EVAL}loss" in entry
        if not validation and "loss" not in entry:
            # The last entry holds run times only.
            continue
        step, prefix = int(entry["step"]), _EVAL if validation else ""
        values = {name: entry[prefix + name] for name in CURVE.columns if isinstance(entry.get(prefix + name), (int, float))}
        rows.append(values | {"step": step, "epoch": step / per_epoch, "part": "validation" if validation else "train"})
    # A resumed training evaluates its checkpoint again.
    return CURVE.frame(rows).unique(["step", "part"], keep="last", maintain_order=True)


def write_curve(path: Path, curve: pl.DataFrame) -> None:
    """Write a curve as CSV, complete or not at all."""
    write_text(path, csv_text(curve))


def draw_curve(folder: Path, curve: pl.DataFrame, title: str) -> None:
    """Write `loss.svg` and `loss.png`: losses by update, and below them the expected accuracy of the validation pairs."""
    import altair as alt

    lines = [
        {"step": row["step"], "what": name, "value": row[column]}
        for row in curve.iter_rows(named=True)
        for (part, column), name in _CHARTED.items()
        if row["part"] == part and row[column] is not None
    ]
    names = [name for name in _CHARTED.values() if any(line["what"] == name for line in lines)]
    step = alt.X("step:Q", title="updates")
    colour = alt.Color("what:N", title=None, sort=names, scale=alt.Scale(domain=names, range=list(_COLOURS[: len(names)])))
    losses = alt.Chart(alt.Data(values=lines)).mark_line(point={"size": 18}).encode(step, alt.Y("value:Q", title="loss"), colour)
    panels: Any = losses.properties(width=480, height=220)
    seen = curve.filter(pl.col("part") == "validation").select("step", "accuracy_expected").drop_nulls().to_dicts()
    if seen:
        accuracy = alt.Y("accuracy_expected:Q", title="expected accuracy", scale=alt.Scale(zero=False))
        points = alt.Chart(alt.Data(values=seen)).mark_line(point=True, color=_COLOURS[1]).encode(step, accuracy)
        panels = panels & points.properties(width=480, height=120)
    chart = panels.properties(title=printable(title)).configure_axis(gridColor="#dde1e6", domain=False).configure_view(stroke=None)
    for kind in ("svg", "png"):
        with written_beside(folder / f"loss.{kind}") as temporary:
            chart.save(str(temporary), format=kind)
