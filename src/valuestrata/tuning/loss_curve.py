"""The curve of a training: a table that is kept as CSV, and a chart of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.files import written_beside
from valuestrata.frames import Column, Schema

CURVE = Schema(
    "loss.csv",
    {
        "step": Column(pl.Int64, "updates made"),
        "epoch": Column(pl.Float64, "times that every training example was seen"),
        "part": Column(pl.String, "train: mean since the row before; validation: as the model is now"),
        "loss": Column(pl.Float64, "what is minimised, without the weights of pairs for validation"),
        "loss_answer": Column(pl.Float64, "-log p of the answer's own tokens, mean"),
        "loss_end": Column(pl.Float64, "-log p of the end of the turn behind it"),
        "loss_prefill": Column(pl.Float64, "-log p of what stands before it (`Answer:`), where that is learned"),
        "learning_rate": Column(pl.Float64, "of the last update"),
        "grad_norm": Column(pl.Float64, "length of the last gradient, before it is cut"),
        "accuracy_expected": Column(pl.Float64, "chance of the likeliest option to be the mode in a redraw"),
        "accuracy": Column(pl.Float64, "share of pairs whose likeliest option is the mode"),
        "distance": Column(pl.Float64, "W1 to the gold shares; total variation for nominal items"),
        "kl": Column(pl.Float64, "divergence of the options' probabilities from the gold shares, nats"),
        "option_mass": Column(pl.Float64, "probability of all options together"),
    },
)
_EVAL = "eval_"
# What is charted, as it is called there.
_CHARTED = {
    ("train", "loss"): "loss",
    ("validation", "loss"): "loss, validation",
    ("train", "loss_answer"): "answer tokens",
    ("train", "loss_end"): "end of turn",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def curve_of(history: Sequence[Mapping[str, Any]], per_epoch: float) -> pl.DataFrame:
    """Return the rows of a trainer's log as a frame of CURVE.

    Args:
        history: what the trainer logged. per_epoch: updates an epoch.
    """
    rows: list[dict[str, Any]] = []
    for entry in history:
        step = int(entry["step"])
        validation = f"{_EVAL}loss" in entry
        if not validation and "loss" not in entry:
            # The trainer's last line sums up times, and no losses.
            continue
        prefix = _EVAL if validation else ""
        values = {name: entry[prefix + name] for name in CURVE.columns if isinstance(entry.get(prefix + name), (int, float))}
        rows.append(values | {"step": step, "epoch": step / per_epoch, "part": "validation" if validation else "train"})
    frame = CURVE.frame(rows)
    # A training that went on from a checkpoint looks at it once more.
    return frame.unique(["step", "part"], keep="last", maintain_order=True)


def write_curve(path: Path, curve: pl.DataFrame) -> None:
    """Write a curve as CSV, whole or not at all."""
    with written_beside(path) as temporary:
        curve.write_csv(temporary)


def draw_curve(folder: Path, curve: pl.DataFrame, title: str) -> None:
    """Write `loss.svg` and `loss.png`: the losses above, expected accuracy of the validation pairs below, over updates."""
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
    losses = (
        alt.Chart(alt.Data(values=lines))
        .mark_line(point={"size": 18})
        .encode(step, alt.Y("value:Q", title="loss"), colour)
        .properties(width=480, height=220)
    )
    seen = curve.filter(pl.col("part") == "validation").select("step", "accuracy_expected").drop_nulls().to_dicts()
    panels: Any = losses
    if seen:
        accuracy = alt.Y("accuracy_expected:Q", title="expected accuracy", scale=alt.Scale(zero=False))
        panels = losses & alt.Chart(alt.Data(values=seen)).mark_line(point=True, color=_COLOURS[1]).encode(step, accuracy).properties(
            width=480, height=120
        )
    chart = panels.properties(title=title).configure_axis(gridColor="#dde1e6", domain=False).configure_view(stroke=None)
    for kind in ("svg", "png"):
        with written_beside(folder / f"loss.{kind}") as temporary:
            chart.save(str(temporary), format=kind)
