r"""Tables of an audit as LaTeX: disparities before and after as the paper prints them, and gaps with what explains them.

They need `\usepackage{booktabs}` and nothing else. Whatever comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.auditing.assemble import Audit
from valuestrata.dataset import Dataset
from valuestrata.report.words import attribute_titles, metric_title

# Characters that LaTeX takes for commands, and what prints them.
_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u00a0": "~",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
}
MEASURES: Mapping[str, str] = {"norm_range": "NR", "cv": "CV"}
# Metrics of the disparity table, as the paper has them.
METRICS = ("accuracy", "nmae")


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands; line breaks become spaces."""
    return " ".join("".join(_ESCAPES.get(letter, letter) for letter in text).split())


def latex_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    groups: Sequence[tuple[str, int]] = (),
    notes: Sequence[str] = (),
    left: int = 1,
) -> str:
    """Return a `table` with booktabs rules; every text given is escaped here.

    Args:
        headers, rows: texts, a row as long as the headers. caption, label: of the table.
        groups: (title, columns) of an upper row of headers; empty titles have no rule under them.
        notes: lines under the table. left: how many of the first columns are set left.
    """
    columns = "l" * left + "r" * (len(headers) - left)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
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
    lines += [" & ".join(escaped(header) for header in headers) + r" \\", r"\midrule"]
    lines += [" & ".join(escaped(cell) for cell in row) + r" \\" for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\footnotesize {escaped(note)}}}" for note in notes]
    return "\n".join([*lines, r"\end{table}", ""])


def disparity_latex(audit: Audit, runs: Sequence[str], *, by: str = "all", key: str = "all") -> str:
    """Return the paper's table of one population: NR and CV of accuracy and NMAE, before and after where runs were compared.

    Every figure has behind it, in brackets, its mean if all were alike. Those of `runs` that were compared stand as `before → after`;
    other runs, such as baselines, stand alone.
    """
    rows = audit.disparity.filter((pl.col("by") == by) & (pl.col("key") == key) & pl.col("metric").is_in(METRICS)).to_dicts()
    found = {(row["run"], row["metric"], row["measure"]): row for row in rows}
    metrics = [metric for metric in METRICS if any(row["metric"] == metric for row in rows)]
    changed = dict(audit.changes.filter(pl.col("run").is_in(list(runs))).select("run", "against").unique(maintain_order=True).iter_rows())
    published = any(row["published"] is not None for row in rows)
    lines: list[list[str]] = []
    for run in dict.fromkeys(row["run"] for row in rows):
        before = changed.get(run)
        line = [run]
        for metric in metrics:
            for measure in MEASURES:
                after = _beside_noise(found.get((run, metric, measure)))
                line.append(after if before is None else f"{_beside_noise(found.get((before, metric, measure)))} → {after}")
                if published:
                    line.append(_number((found.get((run, metric, measure)) or {}).get("published")))
        lines.append(line)
    wide = 2 * len(MEASURES) if published else len(MEASURES)
    names = [name for measure in MEASURES.values() for name in ([measure, "publ."] if published else [measure])]
    over = rows[0]["population"] if rows else "no subgroup"
    arrow = f" Before → after: against {', '.join(dict.fromkeys(changed.values()))}." if changed else ""
    return latex_table(
        ["Model", *names * len(metrics)],
        lines,
        caption=f"Normalised range (NR) and coefficient of variation (CV) over {over}. In brackets: mean if all were served alike.{arrow}",
        label=f"tab:disparity-{_slug(key)}",
        groups=[("", 1), *((metric_title(metric), wide) for metric in metrics)],
        notes=["A figure near its bracket is what noise alone gives.", *_remarks(rows)],
    )


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what needs care in rows of DISPARITY, each once."""
    return list(dict.fromkeys(f"{row['run']}, {metric_title(row['metric'])}: {row['note']}." for row in rows if row["note"]))


def gaps_latex(dataset: Dataset, gaps: pl.DataFrame, run: str, metric: str) -> str:
    """Return every gap between levels of one run: raw, noise alone, less the baseline's, at equal difficulty, p and items."""
    titles = attribute_titles(dataset)
    lines: list[list[str]] = []
    rows = gaps.filter((pl.col("run") == run) & (pl.col("metric") == metric)).to_dicts()
    for row in rows:
        lines.append(
            [
                titles.get(str(row["attribute"]), str(row["attribute"])),
                f"{row['level']} − {row['against_level']}",
                _with_ends(row, "gap", "ci_low", "ci_high"),
                _number(row["expected_alike"]),
                _number(row["p_holm"]),
                _with_ends(row, "excess", "excess_low", "excess_high"),
                _with_ends(row, "adjusted", "adjusted_low", "adjusted_high"),
                str(row["items"] or 0),
            ]
        )
    baseline = next((row["baseline"] for row in rows if row["baseline"]), "none")
    return latex_table(
        ["Attribute", "Gap", "Raw", "Noise", "p (Holm)", "Less baseline's", "Equal difficulty", "Items"],
        lines,
        caption=f"Gaps between levels in {metric_title(metric)}, {run}. Noise: mean size if both were served alike. Baseline: {baseline}.",
        label=f"tab:gaps-{_slug(run)}-{_slug(metric)}",
        left=2,
    )


def audit_latex(dataset: Dataset, audit: Audit, runs: Sequence[str]) -> dict[str, str]:
    """Return name -> table: `disparity`, one more for each attribute, and the gaps of each of `runs` and metric."""
    made: dict[str, str] = {}
    for by, key in audit.disparity.select("by", "key").unique(maintain_order=True).rows():
        made["disparity" if by == "all" else f"disparity-{_slug(key)}"] = disparity_latex(audit, runs, by=by, key=key)
    for run in runs:
        for metric in audit.gaps.filter(pl.col("run") == run)["metric"].unique(maintain_order=True):
            made[f"gaps-{_slug(run)}-{_slug(metric)}"] = gaps_latex(dataset, audit.gaps, run, metric)
    return made


def _beside_noise(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    return _number(row["value"]) + ("" if row["alike"] is None else f" ({_number(row['alike'])})")


def _with_ends(row: Mapping[str, Any], name: str, low: str, high: str) -> str:
    if row[name] is None:
        return "–"
    ends = "" if row[low] is None or row[high] is None else f" [{_number(row[low])}, {_number(row[high])}]"
    return _number(row[name]) + ends


def _number(value: float | None) -> str:
    """Write a figure as the paper does, with its minus sign."""
    if value is None:
        return "–"
    text = f"{abs(value):.3f}".removeprefix("0")
    return f"−{text}" if value < 0 and float(text) != 0 else text


def _slug(text: str) -> str:
    """Return what a file and a label can be named after."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text).strip("-").lower() or "x"
