r"""LaTeX tables of an audit: disparities as in the paper, and gaps with their explanations.

The tables need `\usepackage{booktabs}` only. All text from data is escaped (`latex_text`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.fairness.assemble import Audit
from valuestrata.formatting import NONE, metric_title, number, p_number, percent
from valuestrata.reports.closed.published import published_facts
from valuestrata.reports.core.names import attribute_titles
from valuestrata.reports.export.latex_text import LETTER, escaped

MEASURES: Mapping[str, str] = {"norm_range": "NR", "cv": "CV"}
# Metrics of the disparity table, as in the paper.
METRICS = ("accuracy", "nmae")
Row = Mapping[str, Any]
# Lines of a page of gaps in small type; a gap has at least two.
PAGE_LINES = 46
# Letters per line of the column of level names.
LINE_LETTERS = 15


def latex_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str | None,
    label: str | None = None,
    align: str | None = None,
    groups: Sequence[tuple[str, int]] = (),
    notes: Sequence[str] = (),
    wrapped: float | None = None,
) -> str:
    """Return a `table` environment with booktabs rules, in small type; all text is escaped.

    Args:
        headers, rows: texts; line breaks in a cell are kept, and a row of one text is a heading.
        caption, label: of the table; the label defaults to the caption in plain letters. Without a caption there are none.
        align: alignment of the columns, such as `lrr`; by default all but the first are flush right.
        groups: (title, columns) of an upper row of headers; empty titles have no rule.
        notes: lines under the table. wrapped: width of the first column as a share of the line; None for its natural width.
    """
    first = "l" if wrapped is None else rf"p{{{wrapped:g}\linewidth}}"
    lines = [
        LETTER,
        r"\begin{table}[tp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        *([] if not caption else [rf"\caption{{{escaped(caption)}}}", rf"\label{{{label or f'tab:{_slug(caption)}'}}}"]),
        rf"\begin{{tabular}}{{{align or first + 'r' * (len(headers) - 1)}}}",
    ]
    lines.append(r"\toprule")
    if groups:
        upper: list[str] = []
        rules: list[str] = []
        at = 1
        for title, span in groups:
            upper.append(rf"\multicolumn{{{span}}}{{c}}{{{escaped(title)}}}" if title else " & ".join([""] * span))
            rules += [rf"\cmidrule(lr){{{at}-{at + span - 1}}}"] if title else []
            at += span
        lines += [" & ".join(upper) + r" \\", "".join(rules)]
    lines += [" & ".join(_cell(header) for header in headers) + r" \\", r"\midrule"]
    for row in rows:
        if len(row) == 1 < len(headers):
            lines.append(rf"\addlinespace\multicolumn{{{len(headers)}}}{{l}}{{\emph{{{escaped(row[0])}}}}} \\")
            continue
        name, *figures = row
        lead = escaped(name) if wrapped is None else rf"\raggedright {escaped(name)}"
        tall = any("\n" in figure for figure in figures)
        lines.append(" & ".join([lead, *(_cell(figure) for figure in figures)]) + (r" \\[2pt]" if tall else r" \\"))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\footnotesize {escaped(note)}}}" for note in notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _cell(text: str) -> str:
    """Return a cell with its lines stacked, intervals in smaller type."""
    parts = [(r"\scriptsize " if line.startswith("[") else "") + escaped(line) for line in text.split("\n")]
    return parts[0] if len(parts) == 1 else rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{(chr(92) * 2).join(parts)}\end{{tabular}}"


def disparity_latex(audit: Audit, runs: Sequence[str], *, by: str = "all", key: str = "all") -> str:
    """Return the paper's table of one population: NR and CV of accuracy and NMAE, as `before → after` for compared `runs`.

    Brackets hold the mean under equal service. Published figures are on a line of their own.
    """
    rows = audit.disparity.filter((pl.col("by") == by) & (pl.col("key") == key) & pl.col("metric").is_in(METRICS)).to_dicts()
    found = {(row["run"], row["metric"], row["measure"]): row for row in rows}
    metrics = [metric for metric in METRICS if any(row["metric"] == metric for row in rows)]
    changed = dict(audit.changes.filter(pl.col("run").is_in(list(runs))).select("run", "against").unique(maintain_order=True).iter_rows())
    lines: list[list[str]] = []
    for run in dict.fromkeys(row["run"] for row in rows):
        before = changed.get(run)
        line = [run]
        for metric in metrics:
            for measure in MEASURES:
                row = found.get((run, metric, measure))
                figures = [_beside_noise(row)]
                if before is not None:
                    figures = [_beside_noise(found.get((before, metric, measure))), f"→ {figures[0]}"]
                if row is not None and row["published"] is not None:
                    figures.append(f"publ. {number(row['published'])}")
                line.append("\n".join(figures))
        lines.append(line)
    over = rows[0]["population"] if rows else "no subgroup"
    arrow = f" Before → after: against {', '.join(dict.fromkeys(changed.values()))}." if changed else ""
    return latex_table(
        ["Model", *list(MEASURES.values()) * len(metrics)],
        lines,
        caption=f"Normalised range (NR) and coefficient of variation (CV) over {over}. In brackets: mean under equal service.{arrow}",
        label=f"tab:disparity-{_slug(key)}",
        groups=[("", 1), *((metric_title(metric), len(MEASURES)) for metric in metrics)],
        notes=["Values near their brackets are within noise.", *_published_note(rows), *_remarks(rows)],
        wrapped=0.2,
    )


def _published_note(rows: Sequence[Row]) -> list[str]:
    """Return whose the published figures are, if any are shown."""
    facts = published_facts()
    return [f"publ.: {facts['setting']} ({facts['citation']})."] if any(row["published"] is not None for row in rows) else []


def _remarks(rows: Sequence[Row]) -> list[str]:
    """Return the notes of rows of DISPARITY, without repetition."""
    return list(dict.fromkeys(f"{row['run']}, {metric_title(row['metric'])}: {row['note']}." for row in rows if row["note"]))


def gaps_latex(dataset: Dataset, audit: Audit, run: str, metric: str) -> str:
    """Return every gap between levels of one run, with its explanations; several tables where one page is too short."""
    rows = audit.gaps.filter((pl.col("run") == run) & (pl.col("metric") == metric)).to_dicts()
    baseline = next((row["baseline"] for row in rows if row["baseline"]), "none")
    parts = _pages(rows)
    caption = (
        f"Gaps between levels in {metric_title(metric)}, {run}. In square brackets: {percent(audit.confidence)} intervals; in round ones: "
        f"mean absolute gap under noise. Baseline: {baseline}. Equal difficulty: other attributes held constant as well."
    )
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    made: list[str] = []
    for place, part in enumerate(parts, start=1):
        name = f"tab:gaps-{_slug(run)}-{_slug(metric)}"
        made.append(
            latex_table(
                ["Gap", "Raw", "p\n(Holm)", "Minus\nbaseline's", "Equal\ndifficulty", "Remains", "Items"],
                _gap_lines(part, attribute_titles(dataset)),
                caption=caption if len(parts) == 1 else f"{caption} Part {place} of {len(parts)}.",
                label=name if place == 1 else f"{name}-{place}",
                notes=notes if place == len(parts) else (),
                wrapped=0.19,
            )
        )
    return "\n".join(made)


def _pages(rows: Sequence[Row]) -> list[list[Row]]:
    """Split gaps into tables that fit on a page."""
    parts: list[list[Row]] = [[]]
    used = 0
    for row in rows:
        lines = max(2, ceil((len(str(row["level"])) + len(str(row["against_level"])) + 3) / LINE_LETTERS))
        if parts[-1] and used + lines > PAGE_LINES:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += lines
    return parts


def _gap_lines(rows: Sequence[Row], titles: Mapping[str, str]) -> list[list[str]]:
    """Return the lines of some gaps, grouped by attribute."""
    lines: list[list[str]] = []
    for attribute in dict.fromkeys(str(row["attribute"]) for row in rows):
        lines.append([titles.get(attribute, attribute)])
        for row in rows:
            if row["attribute"] != attribute:
                continue
            raw = _with_ends(
                row, "gap", "ci_low", "ci_high", "" if row["expected_alike"] is None else f" ({number(row['expected_alike'])})"
            )
            lines.append(
                [
                    f"{row['level']} − {row['against_level']}",
                    raw,
                    p_number(row["p_holm"]),
                    _with_ends(row, "excess", "excess_low", "excess_high"),
                    _with_ends(row, "adjusted", "adjusted_low", "adjusted_high"),
                    row["remains"] or NONE,
                    str(row["items"] or 0),
                ]
            )
    return lines


def audit_latex(dataset: Dataset, audit: Audit, runs: Sequence[str]) -> dict[str, str]:
    """Return name -> table: `disparity`, one more for each attribute, and the gaps of each of `runs` and metric."""
    made: dict[str, str] = {}
    for by, key in audit.disparity.select("by", "key").unique(maintain_order=True).rows():
        made["disparity" if by == "all" else f"disparity-{_slug(key)}"] = disparity_latex(audit, runs, by=by, key=key)
    for run in runs:
        for metric in audit.gaps.filter(pl.col("run") == run)["metric"].unique(maintain_order=True):
            made[f"gaps-{_slug(run)}-{_slug(metric)}"] = gaps_latex(dataset, audit, run, metric)
    return made


def _beside_noise(row: Row | None) -> str:
    if row is None or row["value"] is None:
        return NONE
    return number(row["value"]) + ("" if row["alike"] is None else f" ({number(row['alike'])})")


def _with_ends(row: Row, name: str, low: str, high: str, noise: str = "") -> str:
    if row[name] is None:
        return NONE
    ends = "" if row[low] is None or row[high] is None else f"\n[{number(row[low])}, {number(row[high])}]"
    return number(row[name]) + noise + ends


def _slug(text: str) -> str:
    """Return a name for files and labels."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text).strip("-").lower() or "x"
