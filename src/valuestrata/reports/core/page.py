"""A page before it is rendered: its sections, the status of its results, and the scripts and data it carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from valuestrata.reports.core.section import Absent, Section

# How serious a line of the status banner is.
StatusLevel = Literal["ok", "note", "warning"]


@dataclass(frozen=True)
class StatusLine:
    """One line of the status banner.

    Attributes:
        level: ok (nothing to do), note (know this before reading), or warning (do not rely on the results as they are).
        text: one sentence that says what was found. details: what it means and what to do, shown on request.
    """

    level: StatusLevel
    text: str
    details: str = ""


# Answer to a question of the checklist.
CheckState = Literal["yes", "no", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One question of the checklist from a raw score to a claim.

    Attributes:
        question: what was asked. state: the answer. found: what was found, in a sentence. todo: what to do where the answer is no.
    """

    question: str
    state: CheckState
    found: str
    todo: str = ""


@dataclass(frozen=True)
class PageData:
    """Text that a page carries for its scripts, such as compressed tables in base64.

    Attributes:
        id: of the element, unique within the page. text: its content; never run as a script.
    """

    id: str
    text: str


@dataclass
class Page:
    """A page: rendered as banner, contents, sections and footer, in one file that opens offline.

    Attributes:
        title: heading of the page.
        sections: in order; the first one is the first screen. absent: (title, reason) of sections that have nothing to show.
        status: lines of the banner, the most serious first. checks: the checklist, folded under the banner.
        folder: name of the folder with the tables as CSV; empty without one.
        styles: style sheets of the package. scripts: JavaScript of the package or of a library, run in order; the page's content
            security policy allows these and no others.
        loaded: JavaScript that the policy allows too: the scripts take it from the data, such as a compressed library.
        data: read by the scripts.
    """

    title: str
    sections: Sequence[Section]
    absent: Sequence[Absent] = ()
    status: Sequence[StatusLine] = ()
    checks: Sequence[Check] = ()
    folder: str = ""
    styles: list[str] = field(default_factory=list[str])
    scripts: list[str] = field(default_factory=list[str])
    loaded: list[str] = field(default_factory=list[str])
    data: list[PageData] = field(default_factory=list[PageData])
