"""Links from figures and tables of a report to its explorer, which then shows the pairs that they name."""

from __future__ import annotations

from urllib.parse import urlencode

# Id of the section of the explorer.
EXPLORE = "explore"


def explore_link(*, run: str = "", subgroup: str = "", item: str = "", topic: str = "", attribute: str = "") -> str:
    """Return the address of the explorer with its filters set, relative to the page.

    Args:
        run: name of a run. subgroup, item, topic: keys as in the data set. attribute: a stratum; left out filters are not set.

    Returns:
        Such as `#explore?run=gpt&subgroup=sex%3Dfemale`.
    """
    filters = {"run": run, "subgroup": subgroup, "item": item, "topic": topic, "attribute": attribute}
    chosen = {name: value for name, value in filters.items() if value}
    return f"#{EXPLORE}" + (f"?{urlencode(chosen)}" if chosen else "")
