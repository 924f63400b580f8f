"""Correction of an audit's claims over all that the first screen of a run may show: a tree of families of tests.

Roots divide alpha: nine tenths among services (do subgroups differ?), changes (against another run) and missing answers, as far as they are
audited; one tenth among all other claims. Within services, of the first metric:

    all subgroups alike        share w: the spread, or the worst-served subgroup (twice the smaller p)
      who is served worse      w / 2, max-T over the subgroups
      levels of attribute j    w / 2J each, the spread between the levels
        gaps of attribute j    w / 2J, Holm over its pairs of levels

With several metrics, the next one has w / 5 below the first (and the others there 4 / 5 of their shares), because metrics mostly show the
same. Likewise the changes of the next metric are tested below the change of the first over all pairs.

A family is tested only if all above it are significant, so a fair model faces one test, and a large share is left for details of a model
that is not (`stats.multiple_testing.gated`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valuestrata.stats.multiple_testing import gated, holm

Row = Mapping[str, Any]
Name = tuple[str, ...]
# Share of alpha of the main branches together; the rest is for other claims.
MAIN = 0.9
# Share of the gate of one metric that is left for the next metric.
NEXT = 0.2
# Parts of the changes of one metric.
CHANGES: Mapping[str, float] = {
    "overall": 0.35,
    "who": 0.3,
    "who-margin": 0.1,
    "levels": 0.1,
    "levels-margin": 0.05,
    "spreads": 0.05,
    "levelled": 0.05,
}
MISSING: Mapping[str, float] = {"concentrated": 0.5, "uneven": 0.5}
# Other claims of each metric, and of each run.
OF_METRIC, OF_RUN = ("cells", "hidden", "gaps-margin", "spreads-margin"), ("ratios", "pull")


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of tests.

    Attributes:
        share: of alpha. above: the family that must be significant first, None for a root.
        p: p-value of the family's intersection, for families that others depend on.
    """

    share: float
    above: Name | None = None
    p: float | None = None


@dataclass(frozen=True)
class Screen:
    """The families of one run.

    Attributes:
        families: name -> family. gaps: (metric, attribute, level, other level) -> p-value of the gap, Holm within its attribute.
    """

    families: Mapping[Name, Family] = field(default_factory=dict[Name, Family])
    gaps: Mapping[Name, float | None] = field(default_factory=dict[Name, float | None])

    def corrected(self, name: Name, p: float | None = None) -> float | None:
        """Return the p-value over the whole screen of a test of a family, from its p-value within the family.

        None without that family; 1 where p, or one above it, is unknown. Without `p`, that of the family itself.
        """
        if name not in self.families:
            return None
        path = [self.families[name]]
        while path[0].above is not None:
            path.insert(0, self.families[path[0].above])
        values = [*(one.p for one in path[:-1]), path[-1].p if p is None else p]
        found = gated(values, [None, *range(len(path) - 1)], [one.share for one in path])[-1]
        return 1.0 if found is None else found

    def level(self, name: Name, alpha: float) -> float:
        """Return the level at which a root is tested."""
        return alpha * self.families[name].share if name in self.families else alpha


def screen_of(
    metrics: Sequence[str],
    rates: Sequence[str],
    disparity: Iterable[Row],
    groups: Iterable[Row],
    gaps: Iterable[Row],
    *,
    changes: Mapping[str, float | None] | None,
    total: float = 1.0,
) -> Screen:
    """Return the families of one run from its tables.

    Args:
        metrics: those audited, without rates of missing answers. rates: those audited and not 0.
        disparity, groups, gaps: rows of the run. changes: metric -> p-value of the change over all pairs; None if
            it is not compared with another run.
        total: share of alpha of all families: less than 1 where another part is audited too.
    """
    branches = [bool(metrics), changes is not None and bool(metrics), bool(rates)]
    main = total * MAIN / max(sum(branches), 1)
    spread = {(row["metric"], row["by"], row["key"]): row["p"] for row in disparity if row["measure"] == "spread_corrected"}
    worst: dict[str, list[float]] = {}
    for row in groups:
        worst.setdefault(row["metric"], []).extend([] if row["p_worst"] is None else [row["p_worst"]])
    by_attribute: dict[tuple[str, str], list[Row]] = {}
    for row in gaps:
        by_attribute.setdefault((row["metric"], row["attribute"]), []).append(row)
    families: dict[Name, Family] = {}
    # Share, and the gates, of the metric at hand: later metrics are tested below the first one.
    share, before, changes_share, overall = main, None, main, None
    for place, metric in enumerate(metrics):
        whole = [p for p in (spread.get((metric, "all", "all")), min(worst.get(metric, []), default=None)) if p is not None]
        last = place == len(metrics) - 1
        gate, half = ("alike", metric), share * (0.5 if last else (1 - NEXT) / 2)
        if (metric, "all", "all") in spread or metric in worst:
            families[gate] = Family(share=share, above=before, p=min(1.0, len(whole) * min(whole)) if whole else None)
            families["worst", metric] = Family(share=half, above=gate)
        else:
            # Only levels are compared.
            gate, half = None, main / len(metrics)
        attributes = [key for of, by, key in spread if of == metric and by == "attribute"]
        for attribute in attributes:
            part, levels = half / len(attributes), ("levels-differ", metric, attribute)
            families[levels] = Family(share=part, above=gate, p=spread[metric, "attribute", attribute])
            families["gaps", metric, attribute] = Family(share=part, above=levels)
        if changes is not None:
            p = changes.get(metric)
            families |= {(name, metric): Family(share=changes_share * part, above=overall, p=p) for name, part in CHANGES.items()}
            changes_share, overall = changes_share * CHANGES["overall"], ("overall", metric)
        if gate is not None:
            share, before = share * NEXT, gate
    for rate in rates:
        families |= {(name, rate): Family(share=main / len(rates) * part) for name, part in MISSING.items()}
    others = [*((name, metric) for metric in metrics for name in OF_METRIC), *((name,) for name in OF_RUN)]
    families |= {name: Family(share=total * (1 - MAIN) / len(others)) for name in others}
    within = {
        (metric, attribute, row["level"], row["against_level"]): p
        for (metric, attribute), rows in by_attribute.items()
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)
    }
    return Screen(families, within)
