"""Verdict lines on a run against another: who gained and who lost, and what became of the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from statistics import NormalDist

from valuestrata.claims.fairness_rules import NO_PROOF, UNJUDGED, Finding, Manner, Row, p_of, turned, turned_ends, uneven
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.formatting import count, number, size, title

# The head of a pareto line -> its rule.
PARETO: Mapping[str, str] = {
    "better for all": "better-for-all",
    "better for some, worse for none": "better-for-some",
    "better for some, worse for others": "mixed",
    "worse for some, better for none": "worse-for-some",
    "worse for all": "worse-for-all",
    "no change shown": "no-change-shown",
}
# Absolute and relative spreads that a line puts beside each other.
ABSOLUTE, RELATIVE = "sd", "cv"
# And the one that holds no noise.
CORRECTED = "variance_corrected"
# Names of losers that a line holds; the table has them all.
MOST_NAMED = 6


def overall(row: Row, manner: Manner) -> Finding:
    """Say whether the run is better than the other one over all pairs: the row of CHANGES of all."""
    metric, against = row["metric"], row["against"]
    if row["change"] is None or row["outcome"] is None:
        why = "no pair in common" if not row["pairs"] else "no interval"
        text = f"{title(metric)} against {against}: {why} ({count(row['pairs'] or 0, 'pair')})"
        return Finding("cannot-be-judged", UNJUDGED, text, metric, "all", "all", pairs=row["pairs"], against=against)
    gain = turned(metric, row["change"])
    low, high = turned_ends(turned(metric, 1.0), row["ci_low"], row["ci_high"])
    rule = {"better": "better", "worse": "worse", "not shown": "no-change"}[row["outcome"]]
    head = "not shown to differ from" if rule == "no-change" else f"{rule} than"
    text = (
        f"{title(metric)} {size(metric, abs(gain))} {'better' if gain >= 0 else 'worse'} "
        f"({manner.interval(metric, low, high, 'the gain')}; {p_of(row['p'])}; {count(row['pairs'], 'pair')}"
    )
    noise = None if low is None or high is None else sqrt(2 / pi) * (high - low) / (2 * NormalDist().inv_cdf((1 + manner.confidence) / 2))
    text += ")" if noise is None else f"; noise alone gives {size(metric, noise)} on average)"
    where = (metric, "all", "all", gain, low, high, noise, None, None, row["p"], None, row["pairs"], against)
    end = ", which is no proof that it does not" if rule == "no-change" else ""
    return Finding(rule, f"{head} {against} over all pairs{end}", text, *where)


def gained_and_lost(spread: Row, scores: Sequence[Row], manner: Manner) -> Finding | None:
    """Say who gained and who lost.

    Args:
        spread: row of CHANGES of measure max_min, which holds the count in words. scores: rows of measure score of the same units.
        manner: of writing.
    """
    if spread["pareto"] is None:
        return None
    claim, _, counts = str(spread["pareto"]).partition(": ")
    rule = PARETO.get(claim)
    if rule is None:
        return None
    metric = spread["metric"]
    who = "" if spread["by"] == "all" else f" among the levels of {spread['key']}"
    text = f"{title(metric)}, {counts}"
    lost = sorted((row for row in scores if row["outcome"] == "worse"), key=lambda row: turned(metric, row["change"]))
    gained = sorted((row for row in scores if row["outcome"] == "better"), key=lambda row: -turned(metric, row["change"]))
    family = sum(row["p_holm"] is not None for row in scores)
    if lost:
        more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
        text += "; lost: " + ", ".join(_unit(row, metric, manner) for row in lost[:MOST_NAMED]) + more
    if gained:
        text += f"; gained most: {_unit(gained[0], metric, manner)}"
    text += f" ({count(spread['pairs'], 'pair')}; {_by_chance(scores, spread, family, manner)}){uneven(spread)}"
    share = (len(gained) - len(lost)) / family if family else None
    # Holm: the chance that any is named, and so the number of those named by chance, is at most alpha.
    alike = manner.alpha / family if family else None
    where = (metric, spread["by"], spread["key"], share, None, None, alike, None, None, None, None, spread["pairs"], spread["against"])
    end = f", {NO_PROOF}" if rule == "no-change-shown" else ""
    return Finding(rule, f"{claim}{who} against {spread['against']}{end}", text, *where)


def _by_chance(scores: Sequence[Row], spread: Row, family: int, manner: Manner) -> str:
    """Say what would be seen if nothing had changed: how many named, and how far one of them moves."""
    metric = spread["metric"]
    what = "subgroup" if spread["by"] == "all" else "level"
    units = count(family, what)
    over = f"Holm over all {what}s" + (" of all attributes" if what == "level" else "")
    text = f"had nothing changed, {over} would name even one no more than {manner.once}"
    if family > 1:
        text += f", and {number(manner.alpha * family, 1)} of {units} would seem to have changed if each were looked at alone"
    widest = [row["ci_high"] - row["ci_low"] for row in scores if row["ci_low"] is not None and row["pairs"] >= FEW_PAIRS]
    return text + (f"; noise moves one of them by up to {size(metric, max(widest) / 2)} either way" if widest else "")


def _unit(row: Row, metric: str, manner: Manner) -> str:
    gain = turned(metric, row["change"])
    low, high = turned_ends(turned(metric, 1.0), row["ci_low"], row["ci_high"])
    key = manner.name(row["key"]) if row["by"] == "subgroup" else str(row["key"]).partition("=")[2] or row["key"]
    return f"{key} {size(metric, abs(gain))} {'better' if gain >= 0 else 'worse'} ({manner.interval(metric, low, high, 'the gain')})"


@dataclass(frozen=True)
class Moved:
    """What became of one spread.

    Attributes:
        row: of CHANGES. p: adjusted within its family. beyond: whether the change is shown and is more than a change of noise gives.
    """

    row: Row
    p: float | None
    beyond: bool

    @property
    def way(self) -> str:
        """`fell`, `rose` or `stayed`."""
        change = self.row["change"] or 0.0
        return "fell" if change < 0 else "rose" if change > 0 else "stayed"


def moved(rows: Mapping[str, Row], p: Mapping[str, float | None], manner: Manner) -> tuple[Moved, Moved] | None:
    """Return what became of the absolute and the relative spread of one population; None where that is not known.

    Both hold noise, and a better run holds another amount of it. The absolute one moved *beyond noise* where the corrected variance moved
    the same way, shown; the relative one where its interval leaves out the change of its mean under noise alone.

    Args:
        rows: measure -> row of CHANGES. p: measure -> p adjusted within its family. manner: of claims.
    """
    absolute, relative, corrected = (rows.get(name) for name in (ABSOLUTE, RELATIVE, CORRECTED))
    if absolute is None or relative is None or absolute["change"] is None or absolute["p"] is None:
        return None
    same = corrected is not None and corrected["change"] is not None and corrected["change"] * absolute["change"] > 0
    noise = _noise(relative)
    outside = noise is not None and relative["ci_low"] is not None and not relative["ci_low"] <= noise <= relative["ci_high"]
    return (
        Moved(absolute, p.get(ABSOLUTE), manner.shown(p.get(ABSOLUTE)) and same and manner.shown(p.get(CORRECTED))),
        Moved(relative, p.get(RELATIVE), manner.shown(p.get(RELATIVE)) and outside),
    )


def spreads(absolute: Moved, relative: Moved, corrected: Row | None, manner: Manner) -> Finding:
    """Say what became of the spread of one population.

    Args:
        absolute, relative: as `moved` gives them. corrected: row of CHANGES of the corrected variance. manner: of writing.
    """
    row = absolute.row
    metric = row["metric"]
    who = "the subgroups" if row["by"] == "all" else f"the levels of {row['key']}"
    beyond = [one for one in (absolute, relative) if one.beyond]
    shown = [one for one in (absolute, relative) if manner.shown(one.p)]
    if {absolute.way, relative.way} == {"fell", "rose"} and len(shown) == 2:
        ways = [
            f"{name} {one.way} ({'' if one.beyond else 'not '}beyond noise)"
            for name, one in (("absolute", absolute), ("relative", relative))
        ]
        head, rule = f"absolute and relative spread of {who} moved in opposite directions, {ways[0]} and {ways[1]}", "opposite-directions"
    elif beyond:
        word = "narrower" if beyond[0].way == "fell" else "wider"
        which = "" if len(beyond) == 2 else " in absolute terms only" if absolute.beyond else " relative to its level only"
        head, rule = f"{who} are {'closer together' if word == 'narrower' else 'further apart'} than before{which}", f"spread-{word}"
    elif shown:
        which = "" if len(shown) == 2 else " in absolute terms" if shown[0] is absolute else " relative to its level"
        head, rule = f"the spread of {who} {shown[0].way}{which}, but a change of noise can explain it", "spread-moved-with-noise"
    else:
        head, rule = f"no change in the spread of {who} is shown, {NO_PROOF}", "spread-not-changed"
    text = f"{title(metric)} {_moved(absolute, 'standard deviation', manner)}, {_moved(relative, 'CV', manner)}"
    if corrected is not None and corrected["change"] is not None:
        text += f"; variance with noise taken out {number(corrected['before'], 5)} before, {number(corrected['after'], 5)} after"
    if _noise(row) is not None and _noise(relative.row) is not None:
        text += f"; were all alike, noise alone would give a standard deviation of {_before_after(row)} and a CV of "
        text += _before_after(relative.row)
    units = count(row["subgroups"], "subgroup" if row["by"] == "all" else "level")
    text += f" ({units}, {count(row['pairs'], 'pair')}; p by Holm){uneven(row)}"
    where = (metric, row["by"], row["key"], row["change"], row["ci_low"], row["ci_high"])
    return Finding(rule, head, text, *where, _noise(row), None, None, absolute.p, None, row["pairs"], row["against"])


def _noise(row: Row) -> float | None:
    """Return how a spread changes if all are alike before and after: a better run holds another amount of noise. A row of CHANGES."""
    before, after = row["alike_before"], row["alike_after"]
    return None if before is None or after is None else after - before


def _before_after(row: Row) -> str:
    return f"{number(row['alike_before'])} before and {number(row['alike_after'])} after"


def _moved(one: Moved, name: str, manner: Manner) -> str:
    row = one.row
    if row["change"] is None:
        return f"{name} not known"
    ends = f", {manner.interval('ratio', row['ci_low'], row['ci_high'])}" if row["ci_low"] is not None else ""
    p = "" if one.p is None else f", {p_of(one.p)}"
    return f"{name} {number(row['before'])} before, {number(row['after'])} after (change {number(row['change'])}{ends}{p})"


def levelled_down(row: Row, best: Row | None, manner: Manner) -> Finding | None:
    """Say that the range fell by hurting those served best before: rows of CHANGES, of max_min and of the best-served's score."""
    if not row["levelling_down"]:
        return None
    metric = row["metric"]
    who = "subgroups" if row["by"] == "all" else f"levels of {row['key']}"
    shown = "" if row["outcome"] == "narrower" else "; the fall of the range itself is not shown beyond noise"
    loss = "" if best is None else f": {_unit(best, metric, manner)}"
    fell = f"{_range(row, 'before', 'after')} of {title(metric)}"
    inside = manner.interval(metric, row["ci_low"], row["ci_high"], "the change")
    noise = "" if _noise(row) is None else f"; were all alike, noise alone would give {_range(row, 'alike_before', 'alike_after')}"
    text = (
        f"best to worst of the {who} fell {fell} ({inside}{shown}{noise}) and the one served best "
        f"before lost{loss} ({count(row['pairs'], 'pair')}){uneven(row)}"
    )
    where = (metric, row["by"], row["key"], row["change"], row["ci_low"], row["ci_high"])
    return Finding(
        "levelled-down",
        f"levelling down against {row['against']}",
        text,
        *where,
        _noise(row),
        None,
        None,
        row["p"],
        None,
        row["pairs"],
        row["against"],
    )


def _range(row: Row, before: str, after: str) -> str:
    return f"from {size(row['metric'], row[before])} to {size(row['metric'], row[after])}"
