"""A section of the page, before it is put through the template."""

from __future__ import annotations

from dataclasses import dataclass, field

from valuestrata.report.closed.examples import Example
from valuestrata.report.closed.figures import Figure
from valuestrata.report.core.cells import Grid

# (title, reason) of a section that has nothing to show.
Absent = tuple[str, str]


@dataclass
class Section:
    """One section of the page, in the order in which its parts stand."""

    id: str
    title: str
    intro: str = ""
    # Sentences stand behind figures and tables, those of `opening` before them.
    opening: list[str] = field(default_factory=list[str])
    sentences: list[str] = field(default_factory=list[str])
    figures: list[tuple[str, Figure]] = field(default_factory=list[tuple[str, Figure]])
    tables: list[tuple[str, Grid]] = field(default_factory=list[tuple[str, Grid]])
    folded: list[tuple[str, Grid]] = field(default_factory=list[tuple[str, Grid]])
    facts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    models: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    examples: list[Example] = field(default_factory=list[Example])
    # (title, relative address) of pages that lie beside this one.
    pages: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    warning: str = ""
    link: str = ""
