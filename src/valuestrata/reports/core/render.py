"""Rendering of a page through one template that escapes all text."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from typing import Any

from valuestrata.errors import printable
from valuestrata.reports.core.links import EXPLORE, without_links
from valuestrata.reports.core.page import Page
from valuestrata.reports.core.theme import SEQUENTIAL


def render(page: Page) -> str:
    """Return a page as the text of one HTML file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("valuestrata.reports.core"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _with_code
    css = resources.files("valuestrata.reports.core").joinpath("templates", "report.css").read_text(encoding="utf-8")
    scripts = [printable(script) for script in page.scripts]
    # Only style sheets and scripts of the package and its libraries, SVGs, and bodies that were escaped are passed as safe.
    text = environment.get_template("report.html.j2").render(
        page=page,
        css=Markup("\n".join([css, *page.styles])),  # noqa: S704
        policy=_policy([*scripts, *page.loaded]),
        scripts=scripts,
        markup=Markup,
        shades=SEQUENTIAL,
    )
    text = printable(text)
    return text if any(section.id == EXPLORE for section in page.sections) else without_links(text)


def _with_code(text: str) -> Any:
    """Return a text with what stands between backticks as code, everything escaped."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts))


def _policy(scripts: Sequence[str]) -> str:
    """Return the content security policy: nothing is loaded, and only these scripts run."""
    if not scripts:
        return "default-src 'none'; style-src 'unsafe-inline'"
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}"
