"""Rules on the spread between subgroups or levels: rows of DISPARITY in, claims out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.compared.first_screen import tail_of
from valuestrata.claims.fairness.subject import AuditSubject, Row
from valuestrata.fairness.context import UNEVEN
from valuestrata.stats.multiple_testing import holm

Place = tuple[str, str]


def spreads(subject: AuditSubject, rows: Sequence[Row], baseline: Mapping[Place, Row]) -> Iterator[Claim]:
    """Yield the claims on one metric of one run.

    Args:
        rows: of DISPARITY. baseline: (by, key) -> row of measure spread_corrected of the best cheap baseline.
    """
    by_place: dict[Place, dict[str, Row]] = {}
    for row in rows:
        by_place.setdefault((row["by"], row["key"]), {})[row["measure"]] = row
    adjusted = holm([measures["spread_corrected"]["p"] for measures in by_place.values()])
    tests = sum(p is not None for p in adjusted)
    not_shown: list[tuple[Row, float | None]] = []
    for (place, measures), p in zip(by_place.items(), adjusted, strict=True):
        row = measures["spread_corrected"]
        yield from undefined(subject, list(measures.values()))
        if place[0] == "all":
            yield from paper_figures(subject, measures["norm_range"], measures["cv"])
        if row["value"] is None:
            continue
        if p is None:
            yield _untested(subject, row)
        elif subject.shown(p):
            yield _differ(subject, row, p, tests, baseline.get(place))
        elif place[0] == "all":
            yield _alike(subject, [(row, p)], tests)
        else:
            not_shown.append((row, p))
    if not_shown:
        yield _alike(subject, not_shown, tests)


def undefined(subject: AuditSubject, rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield a claim that names the measures of one population that could not be computed, and why."""
    missing = [row for row in rows if row["value"] is None]
    if missing:
        first = missing[0]
        names = ", ".join(row["measure"].replace("_", " ") for row in missing)
        # The measure's own reason comes first; notes on the run have their own claims.
        reason = (first["note"] or "unknown reason").split("; ")[0]
        estimate = Figure(metric=first["metric"], pairs=first["pairs"])
        notes = ("undefined", names, str(first["population"]), reason)
        yield subject.claim("cannot-be-judged", estimate, by=first["by"], key=first["key"], notes=notes)


def paper_figures(subject: AuditSubject, norm_range: Row, cv: Row) -> Iterator[Claim]:
    """Yield a claim on the published measures against noise; nothing where one is unknown."""
    rows = (norm_range, cv)
    if any(row["value"] is None or row["p"] is None for row in rows):
        return
    adjusted = holm([row["p"] for row in rows])
    beyond = [row["measure"] for row, p in zip(rows, adjusted, strict=True) if subject.shown(p)]
    ranges = (_figure(norm_range, adjusted[0], "norm_range"), *_published(norm_range), *_published(cv))
    yield subject.claim(
        "paper-figures-beyond-noise" if beyond else "paper-figures-noise",
        _figure(cv, adjusted[1]),
        by="all",
        key="all",
        figures=ranges,
        correction="holm",
        tests=2,
        page_p=subject.page_p("alike", cv["metric"]) if beyond else None,
        notes=("cv-and-range", *beyond),
    )


def _published(row: Row) -> tuple[Figure, ...]:
    return () if row["published"] is None else (Figure(role="published", label=row["measure"], value=row["published"]),)


def _figure(row: Row, p: float | None, role: str = "estimate") -> Figure:
    return Figure(
        role=role,
        metric=row["metric"],
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        expected=row["alike"],
        expected_high=row["alike_high"],
        p=row["p"],
        p_adjusted=p,
        items=row["items"],
        pairs=row["pairs"],
    )


def _untested(subject: AuditSubject, row: Row) -> Claim:
    estimate = Figure(metric=row["metric"], value=row["value"], low=row["ci_low"], high=row["ci_high"], pairs=row["pairs"])
    return subject.claim("cannot-be-judged", estimate, by=row["by"], key=row["key"], notes=("no-null",))


def _differ(subject: AuditSubject, row: Row, p: float, tests: int, baseline: Row | None) -> Claim:
    figures: tuple[Figure, ...] = ()
    if baseline is not None and baseline["value"] is not None:
        low, high = baseline["ci_low"], baseline["ci_high"]
        figures = (Figure(role="baseline", label=baseline["run"], metric=row["metric"], value=baseline["value"], low=low, high=high),)
    notes = (str(row["population"]), *(("uneven",) if UNEVEN in (row["note"] or "") else ()))
    family = ("alike", row["metric"]) if row["by"] == "all" else ("levels-differ", row["metric"], row["key"])
    return subject.claim(
        "differ",
        _figure(row, p),
        page_p=subject.page_p(*family),
        effect=row["value"],
        by=row["by"],
        key=row["key"],
        figures=figures,
        correction="holm",
        tests=tests,
        notes=notes,
    )


def _alike(subject: AuditSubject, rows: Sequence[tuple[Row, float | None]], tests: int) -> Claim:
    """Return one claim on populations of one kind; its figure has the smallest p-value.

    Where the interval of every spread ends below the margin, the claim is that all are below it: each is tested at its own level, because
    the statement is false only if one of them is not (an intersection-union test).
    """
    row, p = min(rows, key=lambda pair: 1.0 if pair[1] is None else pair[1])
    key = ", ".join(one["key"] for one, _ in rows)
    others = tuple(_figure(one, q, "population") for one, q in rows if one is not row)
    margin = subject.thresholds.margin(row["metric"])
    tail = max(
        1.0 if one["ci_high"] is None else tail_of(margin - one["value"], one["ci_high"] - one["value"], subject.confidence)
        for one, _ in rows
    )
    page_p = subject.page_p("spreads-margin", row["metric"], p=tail)
    within = subject.shown(tail) and subject.shown(page_p or 0.0)
    return subject.claim(
        "alike",
        _figure(row, p),
        strength=Strength.WITHIN_MARGIN if within else None,
        by=row["by"],
        key=key,
        figures=(*others, Figure(role="margin", metric=row["metric"], value=margin, p=tail)),
        correction="holm",
        tests=tests,
        page_p=page_p if within else None,
    )
