"""Theme of all charts, and their rendering as SVG elements of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from valuestrata.errors import printable

# Colours of Okabe and Ito, distinguishable with colour blindness, without black and yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#24292f"
MUTED = "#6e7781"
GRID = "#dde1e6"
CEILING = "#8250df"
FONT = "Arial, Helvetica, sans-serif"

# One hue from pale to deep, which also works in greyscale.
SEQUENTIAL = ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c")


def colours_for(labels: list[str]) -> list[str]:
    """Return a colour for each label, in order; the palette repeats."""
    return [PALETTE[i % len(PALETTE)] for i in range(len(labels))]


def theme() -> dict[str, Any]:
    """Return the Vega-Lite configuration that all charts share."""
    axis = {
        "labelColor": INK,
        "titleColor": MUTED,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelLimit": 340,
        "aria": False,
    }
    return {
        "font": FONT,
        "background": None,
        "aria": True,
        "view": {"stroke": None},
        "mark": {"aria": False},
        "axis": axis,
        "axisX": {"labelFlush": False},
        "axisY": {"grid": False},
        "header": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 13, "labelFontWeight": "bold", "labelAnchor": "start"},
        "title": {"color": INK, "fontSize": 13, "anchor": "start", "fontWeight": "bold", "subtitleColor": MUTED},
        "legend": {
            "labelColor": INK,
            "titleColor": MUTED,
            "labelFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 320,
            "aria": False,
        },
        "concat": {"spacing": 14},
        "facet": {"spacing": 18},
    }


# The description of a mark becomes a title element, which browsers show as a tooltip.
_DESCRIBED = re.compile(r'<(path|rect|text|line)( aria-label="([^"]*)") role="graphics-symbol" aria-roledescription="[^"]*"([^>]*?)/>')
_ROLES = re.compile(r' role="graphics-(?:object|symbol)"| aria-roledescription="[^"]*"| aria-hidden="true"| pointer-events="none"')
# A group without a role has no name.
_GROUP_NAME = re.compile(r'(<g\b[^>]*?) aria-label="[^"]*"')
_EMPTY = re.compile(r'<path class="(?:background|foreground)"[^>]*?(?:d="M0,0h0v0h0Z"|display="none")[^>]*?/>')
# An address keeps its digits.
_NUMBER = re.compile(r'(href="[^"]*")|(?<=[\d])\.(\d{2})\d+')
# A mark with a link, whose address the renderer completes.
_LINKED = re.compile(r'<a xlink:href="[^"#]*(#[^"]*)"><(\w+)( aria-label="[^"]*")?')
_FAMILY = re.compile(rf' font-family="{re.escape(FONT)}"')
# A mark of a linked chart without an address of its own.
_UNLINKED = re.compile(r'<a xlink:href="[^"]*">(.*?)</a>', re.DOTALL)


def combined(how: str, charts: Sequence[Any], **properties: Any) -> dict[str, Any]:
    """Return charts as one Vega-Lite chart: `how` is layer, hconcat or vconcat. Altair's own functions take longer than the rendering."""
    parts: list[dict[str, Any]] = []
    for chart in charts:
        if isinstance(chart, dict):
            parts.append(chart)
            continue
        part: dict[str, Any] = chart.to_dict(validate=False)
        values = part.pop("datasets", {}).get(part["data"].get("name"))
        parts.append({**part, "data": part["data"] if values is None else {"values": values}})
    return {how: parts, **{name: value.to_dict() if hasattr(value, "to_dict") else value for name, value in properties.items()}}


def to_svg(chart: Any, name: str, description: str) -> str:
    """Render an Altair chart as an SVG element for a page that may hold others.

    Args:
        chart: an Altair chart, or charts that are `combined`.
        name: unique within the page; clip paths are named after it.
        description: text alternative of the chart.
    """
    import vl_convert  # pyright: ignore[reportMissingTypeStubs]

    # Schema validation takes longer than rendering, and an invalid chart fails to render anyway.
    spec: dict[str, Any] = dict(chart) if isinstance(chart, dict) else chart.to_dict(validate=False)
    spec["config"] = theme()
    return tidy_svg(str(vl_convert.vegalite_to_svg(_cleaned(spec), vl_version=_version())), name, printable(description))


def _cleaned(part: Any) -> Any:
    """Return a specification whose texts are printable: vl-convert ends the whole process at a control character."""
    if isinstance(part, str):
        return printable(part)
    if isinstance(part, dict):
        return {_cleaned(key): _cleaned(value) for key, value in part.items()}
    return [_cleaned(value) for value in part] if isinstance(part, list | tuple) else part


@lru_cache(maxsize=1)
def _version() -> str:
    """Return the Vega-Lite version that Altair writes, as vl-convert names it."""
    import altair

    return ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def tidy_svg(svg: str, name: str, description: str) -> str:
    """Prepare a Vega SVG for a page with others: a title, unique ids, tooltips, no fixed font, fewer bytes."""
    from markupsafe import escape

    svg = _UNLINKED.sub(r"\1", _LINKED.sub(r'<a href="\1"\3><\2\3', svg))
    svg = _DESCRIBED.sub(_with_title, svg)
    svg = _FAMILY.sub(
        "", _NUMBER.sub(lambda found: found[1] or f".{found[2]}", _EMPTY.sub("", _GROUP_NAME.sub(r"\1", _ROLES.sub("", svg))))
    )
    # An SVG inside a page needs no namespace, and without it the page contains no address.
    svg = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", svg, count=2)
    svg = re.sub(r'id="(clip|gradient)', rf'id="{name}-\1', svg)
    svg = re.sub(r"url\(#(clip|gradient)", rf"url(#{name}-\1", svg)
    # The parts of an image cannot be reached, so a chart with links is a group.
    role = "group" if "<a href=" in svg else "img"
    head = f'<svg role="{role}" aria-labelledby="{name}-title"'
    return svg.replace("<svg", head, 1).replace(">", f'><title id="{name}-title">{escape(description)}</title>', 1)


def _with_title(match: re.Match[str]) -> str:
    tag, _, label, rest = match.groups()
    # Attributes are escaped already; `<` and `>` are escaped again in case a renderer does not.
    safe = label.replace("<", "&lt;").replace(">", "&gt;")
    return f"<{tag}{rest}><title>{safe}</title></{tag}>"
