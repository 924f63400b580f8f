"""Rules on subgroups: served worse than the rest, missing answers, and intersections of attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.fairness.subject import AuditSubject, Row, gain_sign, mean_of_noise, turned_ends
from valuestrata.fairness.estimate.groups import FEW_PAIRS
from valuestrata.fairness.tables.rows import MANY_MISSING, RATES


def served_worse(subject: AuditSubject, rows: Sequence[Row], baseline: Mapping[str, Row]) -> Iterator[Claim]:
    """Yield the subgroups that are served worse than the rest of their stratum, or the one closest to it.

    Args:
        rows: of GROUPS, one run and metric. baseline: subgroup -> row of the best cheap baseline.
    """
    tested = [row for row in rows if row["p_worst"] is not None]
    if not tested:
        estimate = Figure(metric=rows[0]["metric"], pairs=sum(row["pairs"] for row in rows))
        yield subject.claim("cannot-be-judged", estimate, by="subgroup", notes=("no-rest",))
        return
    yield from _worst(subject, tested, ("served-worse", "nobody-shown-worse"), baseline, len(rows) - len(tested))


def missing_by_subgroup(subject: AuditSubject, rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the subgroups with more missing answers than the rest, or the one closest to it: rows of GROUPS, metric a rate."""
    tested = [row for row in rows if row["p_worst"] is not None]
    if tested:
        yield from _worst(subject, tested, ("missing-concentrated", "missing-not-concentrated"), {}, 0)


def _worst(
    subject: AuditSubject, tested: Sequence[Row], kinds: tuple[str, str], baseline: Mapping[str, Row], untested: int
) -> Iterator[Claim]:
    found = sorted((row for row in tested if row["worst"]), key=lambda row: row["p_worst"])
    for row in found:
        yield _against_rest(subject, row, kinds[0], len(tested), baseline.get(row["subgroup"]), key=row["subgroup"])
    if not found:
        nearest = min(tested, key=lambda row: row["p_worst"])
        notes = (f"untested {untested}",) if untested else ()
        yield _against_rest(subject, nearest, kinds[1], len(tested), baseline.get(nearest["subgroup"]), notes=notes)


def _against_rest(
    subject: AuditSubject, row: Row, kind: str, tests: int, baseline: Row | None, key: str | None = None, notes: tuple[str, ...] = ()
) -> Claim:
    """Return a claim on a subgroup against the rest; without `key` the subgroup is the label of the estimate."""
    metric, few = row["metric"], row["pairs"] < FEW_PAIRS
    sign = gain_sign(metric)
    refused, invalid = row["refusal_rate"] or 0.0, row["invalid_rate"] or 0.0
    figures = [Figure(role="rest", metric=metric, value=sign * row["rest"])]
    if refused + invalid > MANY_MISSING:
        figures += [Figure(role="refused", value=refused), Figure(role="invalid", value=invalid)]
    if baseline is not None and baseline["rest"] is not None:
        figures.append(Figure(role="baseline", label=baseline["run"], metric=metric, value=sign * baseline["rest"]))
    estimate = Figure(
        metric=metric,
        label=None if key else row["subgroup"],
        value=row["value"],
        low=None if few else row["ci_low"],
        high=None if few else row["ci_high"],
        expected_low=row["alike_low"],
        expected_high=row["alike_high"],
        p_adjusted=row["p_worst"],
        pairs=row["pairs"],
        respondents=row["n"],
    )
    family = "concentrated" if metric in RATES else "worst"
    page_p = subject.page_p(family, metric, p=row["p_worst"]) if key else None
    where: dict[str, Any] = {"by": "subgroup", "key": key, "figures": tuple(figures), "correction": "max-T", "tests": tests, "notes": notes}
    return subject.claim(kind, estimate, effect=row["rest"] if key else None, page_p=page_p, **where)


def intersections(subject: AuditSubject, rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the cells that differ from what their levels predict, or the one closest to it: rows of EXCESS, one run and metric."""
    tested = [row for row in rows if row["p_holm"] is not None]
    if not tested:
        return
    found = sorted((row for row in tested if subject.shown(row["p_holm"], row["excess"])), key=lambda row: row["p_holm"])
    for row in found:
        opposite = _larger_opposite(row, found)
        notes = () if opposite is None else ("opposite", opposite)
        direction = "better" if gain_sign(row["metric"]) * row["excess"] > 0 else "worse"
        yield _cell(subject, row, f"intersection-{direction}", len(tested), key=row["subgroup"], notes=notes)
    if not found:
        nearest = min(tested, key=lambda row: (row["p_holm"], row["p_bh"], row["p"]))
        screened = sum(subject.shown(row["p_bh"], row["excess"]) for row in tested)
        notes = (f"screened {screened}",) if screened else ()
        yield _cell(subject, nearest, "no-intersection-shown", len(tested), notes=notes)


def _larger_opposite(row: Row, found: Sequence[Row]) -> str | None:
    """Return the cell of the same stratum with the largest opposite deviation, if larger: it shifts what the levels of both predict."""
    others = [one for one in found if one["stratum"] == row["stratum"] and one["excess"] * row["excess"] < 0]
    largest = max(others, key=lambda one: abs(one["excess"]), default=None)
    return None if largest is None or abs(largest["excess"]) <= abs(row["excess"]) else str(largest["subgroup"])


def _cell(subject: AuditSubject, row: Row, kind: str, tests: int, key: str | None = None, notes: tuple[str, ...] = ()) -> Claim:
    metric = row["metric"]
    sign = gain_sign(metric)
    low, high = turned_ends(sign, row["ci_low"], row["ci_high"])
    se = None if low is None or high is None else (high - low) / 2 / subject.quantile
    estimate = Figure(
        metric=metric,
        label=None if key else row["subgroup"],
        value=sign * row["excess"],
        low=low,
        high=high,
        expected=None if se is None else mean_of_noise(se),
        p=row["p"],
        p_adjusted=row["p_holm"],
        items=row["items"],
        pairs=row["items"],
    )
    figures = (Figure(role="score", metric=metric, value=row["value"]), Figure(role="predicted", metric=metric, value=row["explained"]))
    where: dict[str, Any] = {"by": "subgroup", "key": key, "figures": figures, "correction": "holm", "tests": tests, "notes": notes}
    page_p = subject.page_p("cells", metric, p=row["p_holm"]) if key else None
    return subject.claim(kind, estimate, effect=row["excess"] if key else None, page_p=page_p, **where)
