"""Rules on how a run answers: missing answers, pull toward the nation, and spread ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.compared.first_screen import tail_of
from valuestrata.claims.fairness.subject import AuditSubject, Row
from valuestrata.fairness.tables.rows import MANY_MISSING

# Share of missing answers from which gaps reflect non-response as well as accuracy.
MOSTLY_MISSING = 1 / 3
# Share of the pairs below which an audit may not represent its part.
ENOUGH_ASKED = 0.95
# A pull toward the nation below this is not claimed.
SMALLEST_PULL = 0.05


def missing_answers(subject: AuditSubject, rates: Mapping[str, float], pairs: int) -> Iterator[Claim]:
    """Yield that many answers are missing: `rates` are shares of refusal_rate and invalid_rate."""
    share = sum(rates.values())
    if share > MANY_MISSING:
        parts = tuple(Figure(role=role, value=rates[f"{name}_rate"]) for role, name in (("refused", "refusal"), ("invalid", "invalid")))
        kind = "mostly-missing" if share >= MOSTLY_MISSING else "many-missing"
        yield subject.claim(kind, Figure(value=share, pairs=pairs), figures=parts)


def not_asked(subject: AuditSubject, pairs: int, of: int) -> Iterator[Claim]:
    """Yield that too few of the `of` pairs of the part were asked."""
    share = pairs / of if of else 1.0
    if share < ENOUGH_ASKED:
        yield subject.claim("incomplete", Figure(value=share, pairs=pairs), figures=(Figure(role="part", pairs=of),))


def not_looked_at(subject: AuditSubject, rate: str, share: float, pairs: int) -> Claim:
    """Return that the subgroups with missing answers were not examined."""
    return subject.claim("missing-not-looked-at", Figure(metric=rate, value=share, pairs=pairs))


def pulled(subject: AuditSubject, rows: Sequence[Row], items: int, blocks: float | None = None) -> Iterator[Claim]:
    """Yield that wrong answers are the national answer more often than those of people are.

    The interval counts all errors on one block of items as one, the widest case: errors on an item tend to be similar in all subgroups.

    Args:
        rows: of GROUPS, metric accuracy. items: behind them. blocks: effective number of their blocks; None for independent items.
    """
    known = [row for row in rows if None not in (row["pull"], row["pull_expected"], row["value"])]
    weights = [max(row["pairs"] * (1 - row["value"] - (row["refusal_rate"] or 0) - (row["invalid_rate"] or 0)), 0.0) for row in known]
    errors = sum(weights)
    units = blocks or items
    if units < 2 or errors < 1:
        return
    share, expected = (sum(row[name] * w for row, w in zip(known, weights, strict=True)) / errors for name in ("pull", "pull_expected"))
    half = subject.quantile * sqrt(share * (1 - share) / units)
    low, high = max(0.0, share - half), min(1.0, share + half)
    if share - expected < SMALLEST_PULL or low <= expected:
        return
    pairs = sum(row["pairs"] for row in known)
    estimate = Figure(metric="accuracy", value=share, low=low, high=high, expected=expected, items=items, pairs=pairs)
    wrong = Figure(role="wrong", n=round(errors), unit="wrong answer")
    page_p = subject.page_p("pull", p=2 * tail_of(share - expected, half, subject.confidence))
    yield subject.claim("pulled-to-nation", estimate, effect=share - expected, by="all", key="all", figures=(wrong,), page_p=page_p)


def spread_ratio(subject: AuditSubject, row: Row, attributes: int = 1) -> Iterator[Claim]:
    """Yield that a run flattens or exaggerates an attribute: a row of ERRS, one of as many as there are attributes."""
    kind = row["word"]
    if kind in ("flattened", "exaggerated"):
        name = "corrected" if kind == "flattened" else "raw"
        ends = {"low": row[f"{name}_low"], "high": row[f"{name}_high"]}
        estimate = Figure(metric="spread_ratio", value=row[name], expected=1.0, pairs=row["pairs"], **ends)
        end = ends["high" if kind == "flattened" else "low"]
        p = 2 * attributes * tail_of(abs(row[name] - 1), abs(row[name] - end), subject.confidence)
        page_p = subject.page_p("ratios", p=min(1.0, p))
        yield subject.claim(kind, estimate, by="attribute", key=row["attribute"], page_p=page_p)
