"""Markdown for cards and tables. Text from data, recipes and file names is escaped: a label may contain a pipe, a bracket or a tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valuestrata.errors import printable

if TYPE_CHECKING:
    from jinja2 import Template

# Markdown markup. An underscore inside a word is not markup, and ids often contain it.
_MARKUP = re.compile(r"[\\`*\[\]#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_CODE = re.compile(r"(`[\w .,:+*=-]+`)")
# What would become a tag, an entity or, in some renderers, a link.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "www.": "www&#46;"}


class Markdown(str):
    """Markdown that is already escaped."""


def escaped_markdown(value: Any) -> Markdown:
    """Return a value as escaped Markdown on one line; `Markdown` is left as it is."""
    return value if isinstance(value, Markdown) else Markdown(_escaped(_one_line(value)))


def with_code(value: Any) -> Markdown:
    """Return a value as escaped Markdown on one line that keeps `code` of letters, digits and a few signs."""
    parts = _CODE.split(_one_line(value))
    return Markdown("".join(part if place % 2 else _escaped(part) for place, part in enumerate(parts)))


def _one_line(value: Any) -> str:
    return " ".join(printable(str(value)).split())


def _escaped(line: str) -> str:
    marked = _MARKUP.sub(lambda mark: "\\" + mark[0], line)
    for mark, entity in _ENTITIES.items():
        marked = marked.replace(mark, entity)
    return marked


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markdown:
    """Return a table; cells are escaped, heads are not."""
    lines = [heads, ["---"] * len(heads), *([escaped_markdown(cell) for cell in row] for row in rows)]
    return Markdown("\n".join("| " + " | ".join(cells) + " |" for cells in lines))


def facts_table(values: Mapping[str, Any]) -> Markdown:
    """Return a table of names and values without the values that are None."""
    return markdown_table(("", ""), [(name, value) for name, value in values.items() if value is not None])


def yaml_text(document: Mapping[str, Any], **settings: Any) -> str:
    """Return a document as YAML, keys in their order; `settings` as for `yaml.safe_dump`."""
    import yaml

    return str(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, **settings))


def fenced_yaml(text: str) -> Markdown:
    """Return YAML as a code block with a fence longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}yaml\n{text}\n{fence}")


def markdown_template(package: str, folder: str, name: str) -> Template:
    """Return a Jinja template of a package that escapes every value as Markdown; the filter `plain` leaves it as it is."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(  # noqa: S701
        loader=PackageLoader(package, folder), finalize=escaped_markdown, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = Markdown
    environment.filters["inline"] = with_code
    environment.filters["facts"] = facts_table
    return environment.get_template(name)
