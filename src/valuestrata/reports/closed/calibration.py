"""The reliability plot and the calibration errors of option probabilities, as a section of the page."""

from __future__ import annotations

from typing import Any

import polars as pl

from valuestrata.assessment import Assessment
from valuestrata.formatting import NONE, count, number
from valuestrata.reports.closed.figures import SHAPES, Chart, Series, series_of, shown_models
from valuestrata.reports.core.cells import Grid, Td, Tr, scored
from valuestrata.reports.core.names import chart_names
from valuestrata.reports.core.section import Absent, Section
from valuestrata.reports.core.theme import GRID, INK, MUTED, to_svg
from valuestrata.reports.core.view import Cell, View, cell_of

# The baselines in the plot, beside the models.
PLOTTED_BASELINES = ("item-mode", "nearest-parent")
SIDE = 380


def calibration_section(view: View, found: Assessment) -> Section | Absent:
    """Return the section on calibration, if a run gives probabilities or enough samples."""
    title = "Calibration of option probabilities"
    rows = found.calibration.filter((pl.col("scheme") == view.scheme) & (pl.col("part") == view.part))
    shown = {entry.run for entry in view.of_kind("model", "control")}
    if rows.filter(pl.col("run").is_in(shown)).is_empty():
        return title, "no language model gave probabilities or enough samples"
    section = Section("calibration", "Can its probabilities be trusted?", nav="Calibration")
    section.intro = (
        "Whether an option to which a run gives a probability of .3 is chosen by 30\u00a0% of the people. Points below the diagonal are "
        "options that the run overstates. The error is the mean distance from the diagonal, weighted by the number of options. A run "
        "that gives all options the same probability is calibrated too, so read the error together with the accuracy."
    )
    section.figures.append(("", reliability_chart(view, rows, "reliability")))
    section.folded.append(("Expected calibration error", calibration_grid(view, rows)))
    return section


def dont_know_section(view: View, found: Assessment) -> Section | None:
    """Return the section on answers of "don't know"; None if no run was offered it."""
    rows = found.dont_know.filter((pl.col("scheme") == view.scheme) & (pl.col("part") == view.part) & pl.col("gap").is_not_null())
    if rows.is_empty():
        return None
    section = Section("dont-know", "Does it say “don't know” as often as people do?", nav="Don't know")
    section.intro = (
        "How often a run says that it does not know, beside the share of people who do, on the items for which the survey recorded it. "
        "Such answers count as missing in all other figures."
    )
    made: list[Tr] = []
    for row in rows.filter(pl.col("by").is_in(["all", "attribute", "level"])).iter_rows(named=True):
        where = "" if row["by"] == "all" else f"{row['by']} {row['key']}"
        values = (Td(number(row["rate"])), Td(number(row["share"])), scored(cell_of(row, "gap", "gap")), Td(count(row["pairs"])))
        made.append(Tr((Td(row["run"], where, "text"), *values)))
    note = "The interval resamples items; shares of people are unweighted."
    section.folded.append(
        ("Table by attribute", Grid(("Run", "Run says so", "People say so", "Difference", "Pairs"), tuple(made), (), (note,)))
    )
    return section


def reliability_chart(view: View, rows: pl.DataFrame, name: str) -> Chart:
    """Chart gold shares against stated probabilities by bin: models and controls, and two baselines in grey."""
    import altair as alt

    known = set(rows["run"])
    models = [entry for entry in shown_models(view) if entry.kind != "baseline" and entry.run in known]
    baselines = [entry for rule in PLOTTED_BASELINES for entry in view.of_kind("baseline") if entry.rule == rule and entry.run in known]
    names = chart_names(view.entries)
    people = series_of([names[entry] for entry in models])
    people += [Series(names[entry], colour, "gem") for entry, colour in zip(baselines, (INK, MUTED), strict=False)]
    values: list[dict[str, Any]] = []
    for entry in (*models, *baselines):
        own = rows.filter((pl.col("run") == entry.run) & (pl.col("measure") == "ece") & pl.col("bin").is_not_null())
        for row in own.iter_rows(named=True):
            said = f"{names[entry]}: stated {number(row['stated'])}, share {number(row['share'])}, {count(row['cases'], 'option')}"
            figures = {key: row[key] for key in ("stated", "share", "cases")}
            # A bin of a single item has no interval.
            low, high = (row["share"] if row[end] is None else row[end] for end in ("share_low", "share_high"))
            values.append({**figures, "low": low, "high": high, "who": names[entry], "said": said})
    scale = alt.Scale(domain=[0, 1], nice=False)
    axis: dict[str, Any] = {"grid": True, "gridColor": GRID, "tickCount": 5, "format": ".1f"}
    x = alt.X("stated:Q", scale=scale, axis=alt.Axis(title="Stated probability of an option", **axis))
    y = alt.Y("share:Q", scale=scale, axis=alt.Axis(title="Share of people who chose it", **axis))
    shown = [one.name for one in people]
    colour = alt.Color("who:N", scale=alt.Scale(domain=shown, range=[one.colour for one in people]), legend=None)
    shape = alt.Shape("who:N", scale=alt.Scale(domain=shown, range=[SHAPES[one.shape] for one in people]), legend=None)
    base = alt.Chart(alt.Data(values=values)).encode(x=x, color=colour)
    ends = alt.Chart(alt.Data(values=[{"stated": 0, "share": 0}, {"stated": 1, "share": 1}]))
    chart = alt.layer(
        ends.mark_line(color=MUTED, strokeDash=[4, 3]).encode(x=x, y=y),
        base.mark_rule(strokeWidth=2, opacity=0.45).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_line(strokeWidth=1.6).encode(y=y),
        base.mark_point(filled=True, opacity=1, size=44, aria=True).encode(y=y, shape=shape, description="said:N"),
    ).properties(width=SIDE, height=SIDE)
    svg = to_svg(chart, name, f"Shares of people by stated probability, {view.title}")
    caption = "Options of all pairs in ten bins of their stated probability. Bars are 95 % intervals; the dashed line is calibration."
    return Chart(svg, caption, tuple(one.legend for one in people))


def calibration_grid(view: View, rows: pl.DataFrame) -> Grid:
    """Return the calibration errors of every run that gives probabilities."""
    whole = rows.filter(pl.col("bin").is_null())
    found = {(row["run"], row["measure"]): row for row in whole.iter_rows(named=True)}
    made: list[Tr] = []
    for entry in view.entries:
        of = [found.get((entry.run, measure)) for measure in ("ece", "ece_top")]
        if of[0] is None:
            continue
        cells: list[Td] = [Td(entry.label, entry.kind, "text")]
        for row in of:
            cells.append(Td(NONE) if row is None else scored(Cell(row["error"], row["error_low"], row["error_high"])))
            cells.append(Td(NONE if row is None else number(row["expected"])))
        made.append(Tr(tuple(cells), entry.kind))
    groups = (("", 1), ("All options", 2), ("Likeliest option", 2))
    note = "Lower is better. From noise: the error that a calibrated run would show; the interval of the error corrects for it."
    return Grid(("Run", *("Error", "From noise") * 2), tuple(made), groups, (note,))
