"""Links from figures and tables of a report to its explorer, which then shows the pairs that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from urllib.parse import urlencode

# Id of the section of the explorer.
EXPLORE = "explore"


_LINK = re.compile(r'<a href="(#explore\?[^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


def explore_link(
    *,
    run: str = "",
    versus: str = "",
    subgroup: str = "",
    item: str = "",
    topic: str = "",
    attribute: str = "",
    codes: Sequence[int] = (),
    gold: int | None = None,
    answer: int | None = None,
) -> str:
    """Return the address of the explorer with its filters set, relative to the page. What is left out is not filtered.

    Args:
        run: name of a run. versus: of another one, to compare. subgroup, item, topic: keys as in the data set.
        attribute: a stratum, such as `sex_x_age`, or a level, such as `sex=Female`.
        codes: of the scale of the items. gold: code of the most common answer. answer: code of the run's answer.

    Returns:
        Such as `#explore?run=gpt&subgroup=sex%3Dfemale`.
    """
    filters = {"run": run, "versus": versus, "subgroup": subgroup, "item": item, "topic": topic, "attribute": attribute}
    filters |= {"codes": ".".join(map(str, codes))}
    filters |= {name: "" if code is None else str(code) for name, code in (("gold", gold), ("answer", answer))}
    chosen = {name: value for name, value in filters.items() if value}
    return f"#{EXPLORE}" + (f"?{urlencode(chosen)}" if chosen else "")


def links_in(svg: str) -> list[str]:
    """Return the addresses in a chart that lead to the explorer, each once."""
    return list(dict.fromkeys(unescape(address) for address, _ in _LINK.findall(svg)))


def without_links(html: str) -> str:
    """Return the text of a page without links to the explorer: their marks stay."""
    return _LINK.sub(r"\2", html).replace('<svg role="group"', '<svg role="img"')
