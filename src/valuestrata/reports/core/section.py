"""The parts of a page before they are rendered: sections, and lists of claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from valuestrata.claims.claim import Claim
from valuestrata.claims.select import select
from valuestrata.claims.templates import NO_NAMES, Wording, word
from valuestrata.claims.wording import Names
from valuestrata.reports.closed.examples import PairExample
from valuestrata.reports.closed.figures import Chart
from valuestrata.reports.core.cells import Grid

# (title, reason) of a section that has nothing to show.
Absent = tuple[str, str]


@dataclass(frozen=True)
class ClaimList:
    """The claims of one run in words: those shown, most important first, and the others, which the page folds away."""

    heading: str
    shown: tuple[Wording, ...]
    rest: tuple[Wording, ...] = ()


@dataclass(frozen=True)
class KeyNumber:
    """One of the few numbers that a reader needs first: what it is, its value, and its interval or what it belongs to."""

    label: str
    value: str
    details: str = ""


@dataclass(frozen=True)
class RunSummary:
    """A run on the first screen: its name, its most important claim, and its numbers."""

    name: str
    lead: Wording
    numbers: tuple[KeyNumber, ...] = ()


@dataclass
class Section:
    """One section of the page; its fields are rendered in this order.

    The title is the question that the section answers, `nav` its short form in the table of contents: the title if None, and if
    empty the section is left out of it. `body` is
    HTML made by the package, in which all text is escaped. `more` are figures, `folded` are tables and `method` are sentences on how
    the numbers were made, all of which are folded.
    """

    id: str
    title: str
    nav: str | None = None
    opening: list[str] = field(default_factory=list[str])
    runs: list[RunSummary] = field(default_factory=list[RunSummary])
    intro: str = ""
    link: str = ""
    warning: str = ""
    # (title, relative address) of other pages.
    pages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    facts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    models: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    figures: list[tuple[str, Chart]] = field(default_factory=list[tuple[str, Chart]])
    body: str = ""
    tables: list[tuple[str, Grid]] = field(default_factory=list[tuple[str, Grid]])
    claims: list[ClaimList] = field(default_factory=list[ClaimList])
    examples: list[PairExample] = field(default_factory=list[PairExample])
    sentences: list[str] = field(default_factory=list[str])
    more: list[tuple[str, Chart]] = field(default_factory=list[tuple[str, Chart]])
    folded: list[tuple[str, Grid]] = field(default_factory=list[tuple[str, Grid]])
    method: list[str] = field(default_factory=list[str])


def claim_lists(
    claims: Iterable[Claim], names: Names = NO_NAMES, *, runs: Sequence[str] | None = None, baselines: bool = False
) -> list[ClaimList]:
    """Return the claims of each run, at most five of them shown.

    Args:
        claims: of any runs. names: of runs and subgroups, as readers know them.
        runs: names of the runs wanted, in order; None for all, in order of appearance. Claims of others are left out.
        baselines: whether claims of baselines are shown too.
    """
    found = {one.run: one for one in select(claims, baselines=baselines)}
    wanted = [found[run] for run in (found if runs is None else runs) if run in found]
    return [
        ClaimList(names.run(one.run), tuple(word(claim, names) for claim in one.shown), tuple(word(claim, names) for claim in one.rest))
        for one in wanted
        if one.shown
    ]
