"""Short overviews of data sets and results, as text for `repr` and as HTML for notebooks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from valuestrata.errors import one_line, printable

# Rows of the table of an overview.
MOST_ROWS = 15
_LONGEST_CELL = 120
# Colours are those of the notebook, so the table is also readable on a dark background.
_LINE = "1px solid color-mix(in srgb, currentColor 25%, transparent)"
_CELL = "padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top; background: none;"


@dataclass(frozen=True)
class Overview:
    """What to know first about an object.

    Attributes:
        title: what it is, on one line. sentences: the most important first.
        headers, rows: of a table, at most MOST_ROWS rows of which are shown. note: small text below the table.
    """

    title: str
    sentences: Sequence[str] = ()
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """Title and sentences, each on a line."""
        return printable("\n".join((one_line(self.title), *(f"  {one_line(sentence)}" for sentence in self.sentences))))

    @property
    def html(self) -> str:
        """Title, sentences and table; all text is escaped."""
        parts = [f"<p><strong>{_shown(self.title)}</strong></p>", *(f"<p>{_shown(sentence)}</p>" for sentence in self.sentences)]
        if self.rows:
            head = "".join(f'<th scope="col" style="{_CELL} border-bottom: {_LINE}">{_shown(name)}</th>' for name in self.headers)
            body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in self.rows[:MOST_ROWS])
            style = "border-collapse: collapse; margin: .3rem 0"
            parts.append(f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')
        left = len(self.rows) - MOST_ROWS
        notes = [self.note, f"{left:,} more rows." if left > 0 else ""]
        parts += [f"<p><small>{_shown(note)}</small></p>" for note in notes if note]
        return f'<div style="color: inherit">{"".join(parts)}</div>'


class HasOverview:
    """An object whose `repr` and HTML are its overview."""

    @abstractmethod
    def overview(self) -> Overview:
        """Return what to know first about this object."""
        ...

    def __repr__(self) -> str:
        return self.overview().text

    def _repr_html_(self) -> str:
        return self.overview().html


def _cell(text: str) -> str:
    return f'<td style="{_CELL}">{_shown(text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…")}</td>'


def _shown(text: str) -> str:
    return escape(one_line(text))
