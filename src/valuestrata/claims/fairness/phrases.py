"""Phrases and detail lines that the claims of an audit share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.wording import ClaimTemplate, Names, interval, magnitude, score_of
from valuestrata.fairness.context import UNEVEN
from valuestrata.formatting import capital, count, level, size, title

Lines = Callable[[Claim, Names], list[str]]


def metric_of(claim: Claim) -> str:
    """Name the metric."""
    return title(claim.metric or "")


def units_of(claim: Claim) -> str:
    """Name what is compared: `subgroups`, `levels of sex`."""
    return "subgroups" if claim.by == "all" else f"levels of {claim.key}"


def baseline_of(figure: Figure, names: Names) -> str:
    """Name the baseline of a figure."""
    return f"The baseline {names.run(figure.label).removeprefix('baseline-')}"


def way(figure: Figure) -> str:
    """Write the direction of a gain."""
    return "better" if (figure.value or 0.0) >= 0 else "worse"


def gain(claim: Claim, figure: Figure | None = None) -> str:
    """Write a gain: `3.2 points better (95 % CI 1.1 to 5.3)`. The interval of a loss is that of the loss: 1.1 to 5.3 points worse."""
    figure = figure or claim.estimate
    loss = way(figure) == "worse" and figure.low is not None and figure.high is not None
    written = replace(figure, low=-(figure.high or 0.0), high=-(figure.low or 0.0)) if loss else figure
    return f"{magnitude(figure)} {way(figure)} ({interval(claim, written)})"


def score(claim: Claim, figure: Figure | None = None) -> str:
    """Write a score with its interval: `40.0 % (95 % CI 30.0 % to 50.0 %)`."""
    figure = figure or claim.estimate
    within = f" ({interval(claim, figure, write=lambda end: level(figure.metric or '', end))})" if figure.low is not None else ""
    return f"{score_of(figure)}{within}"


def signed(figure: Figure) -> str:
    """Write a difference with its sign and unit."""
    return size(figure.metric or "", figure.value or 0.0)


def amount(claim: Claim, figure: Figure | None = None) -> str:
    """Write a size or a signed difference with its interval: `3.2 points (95 % CI 1.1 to 5.3)`."""
    figure = figure or claim.estimate
    return f"{signed(figure)} ({interval(claim, figure)})" if figure.low is not None else signed(figure)


def other(write: Callable[[Claim, Figure], str]) -> Callable[[Claim, Figure], str]:
    """Return how the same finding in another metric is written: `NMAE .034 better (95 % CI .010 to .058)`, with its label."""

    def line(claim: Claim, figure: Figure) -> str:
        label = f" ({figure.label})" if figure.label else ""
        return f"{title(figure.metric or '')}{label} {write(claim, figure)}"

    return line


def counted(claim: Claim, note: str, noun: str) -> str | None:
    """Return the number in a note such as `untested 3` with a noun; None without the note."""
    found = next((one.split()[1] for one in claim.notes if one.startswith(f"{note} ")), None)
    return None if found is None else count(int(found), noun)


def all_of(claim: Claim, role: str) -> list[Figure]:
    """Return all further figures of a role."""
    return [one for one in claim.figures if one.role == role]


def nothing(claim: Claim, names: Names) -> list[str]:
    """Return no details."""
    return []


def template(
    sentence: Callable[[Claim, Names], str],
    details: Lines = nothing,
    write: Callable[[Claim, Figure], str] = amount,
    *,
    expected: bool = True,
) -> ClaimTemplate:
    """Return a template; `write` writes the same finding in another metric. Caveats that several kinds share are added to the details."""

    def lines(claim: Claim, names: Names) -> list[str]:
        shared = [capital(UNEVEN)] if "uneven" in claim.notes else []
        shared += ["This does not show equality"] if claim.strength is Strength.NOT_SHOWN else []
        return [*details(claim, names), *shared]

    return ClaimTemplate(sentence, lines, other(write), expected)
