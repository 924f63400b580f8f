"""The HTML of the index, of a report that is being computed, and of messages. All text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from valuestrata.errors import printable
from valuestrata.formatting import NONE, count, dollars
from valuestrata.view.comparison import Job, ScoredPart
from valuestrata.view.listing import Listing, RunRow

# Runs on one page of the index.
PER_PAGE = 100
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))
_MOST_DAYS = 30

# Name of a sort order -> its key; the first is the default.
_SORTS: Mapping[str, Callable[[RunRow], Any]] = {
    "changed": lambda run: -run.progress.changed,
    "run": lambda run: (run.name.lower(), run.id),
    "model": lambda run: run.model.lower(),
    "data": lambda run: (run.survey.lower(), run.dataset or "", run.asked),
    "kind": lambda run: run.kind,
    "answered": lambda run: -(run.progress.done / run.progress.planned if run.progress.planned else 1.0),
    "failed": lambda run: -run.progress.failed,
    "cost": lambda run: -(run.progress.cost or 0.0),
}


@dataclass(frozen=True)
class Query:
    """What a reader asks of the index: text in a run's row, sort order, page from 1, and the ids of marked runs."""

    text: str = ""
    sort: str = "changed"
    page: int = 1
    chosen: tuple[str, ...] = ()


def run_cells(run: RunRow, now: float) -> dict[str, Any]:
    """Return the texts of a run's row that change while it works, for the page and its script."""
    progress = run.progress
    planned = progress.planned
    whole = planned is None or planned < progress.done
    answered = count(progress.done) if planned is None or whole else f"{count(progress.done)} of {count(planned)}"
    left = f" ({count(progress.damaged)} damaged lines)" if progress.damaged else ""
    return {
        "state": progress.state + left,
        "running": progress.state == "running",
        "answered": answered,
        "value": progress.done,
        "max": None if whole else planned,
        "failed": count(progress.failed),
        "cost": NONE if progress.cost is None else dollars(progress.cost),
        "changed": ago(progress.changed, now),
    }


def ago(then: float, now: float) -> str:
    """Write how long ago something was: `just now`, `3 minutes ago`; the date after a month."""
    seconds = now - then
    if seconds >= _MOST_DAYS * 86400:
        return _date(then)[:10]
    unit = next(((name, size) for name, size in _UNITS if seconds >= size), None)
    return "just now" if unit is None else f"{count(int(seconds // unit[1]), unit[0])} ago"


def index_page(listing: Listing, query: Query, *, folder: str, now: float) -> str:
    """Return the list of runs, studies, data sets and pages."""
    matching = [run for run in listing.runs if _matches(run, query.text)]
    ordered = sorted(matching, key=_SORTS.get(query.sort, _SORTS["changed"]))
    last = max(1, -(-len(ordered) // PER_PAGE))
    page = min(max(1, query.page), last)
    shown = ordered[(page - 1) * PER_PAGE : page * PER_PAGE]
    here = {run.id for run in shown}
    titles = {row.id: row.title for row in listing.datasets}
    rows = [(run, run_cells(run, now), titles.get(run.dataset or "", "")) for run in shown]
    return _rendered(
        "index.html.j2",
        title=folder,
        listing=listing,
        rows=rows,
        matching=len(matching),
        query=query,
        page=page,
        last=last,
        elsewhere=[one for one in query.chosen if one not in here],
        working=any(cells["running"] for _, cells, _ in rows),
        studies=[(row, ago(row.changed, now)) for row in listing.studies],
        datasets=[(row, ago(row.changed, now)) for row in listing.datasets],
        pages=[(name, ago(changed, now)) for name, changed in listing.pages],
    )


def waiting_page(job: Job, scored: ScoredPart, names: Sequence[str]) -> str:
    """Return the page that is shown while a report is computed; it asks for the report again every two seconds."""
    return _rendered("waiting.html.j2", title="The report is being computed", job=job, scored=scored, names=names, refresh=2)


def choice_page(scored: Sequence[ScoredPart], ids: Sequence[str]) -> str:
    """Return the page on which a reader chooses the pairs to compare runs on."""
    links = [(place.text, compare_address(ids, place)) for place in scored]
    return _rendered("choice.html.j2", title="Choose the questions and subgroups to compare on", links=links)


def message_page(title: str, message: str) -> str:
    """Return a page with one message and a link to the list."""
    return _rendered("message.html.j2", title=title, message=message)


def compare_address(ids: Sequence[str], scored: ScoredPart | None = None) -> str:
    """Return the address of the report on runs."""
    asked = [] if scored is None else [("split", scored.split), ("part", scored.part)]
    asked += [] if scored is None or scored.fold is None else [("fold", str(scored.fold))]
    return f"/compare?{urlencode([*(('run', one) for one in ids), *asked])}"


def policy() -> str:
    """Return the content security policy of these pages: only their own script runs, and it reads from this server only."""
    digest = b64encode(sha256(_asset("view.js").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def _matches(run: RunRow, text: str) -> bool:
    """Whether all words of a text are in the row."""
    row = " ".join((run.id, run.name, run.model, run.kind, run.survey, run.dataset or "", run.asked, run.progress.state)).lower()
    return all(word in row for word in text.lower().split())


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _quoted(path: str) -> str:
    return quote(path)


def _asset(name: str) -> str:
    return resources.files("valuestrata.view").joinpath("templates", name).read_text(encoding="utf-8")


def _rendered(template: str, *, title: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("valuestrata.view"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": count, "date": _date, "quoted": _quoted}
    report = resources.files("valuestrata.reports.core").joinpath("templates", "report.css").read_text(encoding="utf-8")
    style = Markup(f"{report}\n{_asset('view.css')}")  # noqa: S704
    script = Markup(_asset("view.js"))  # noqa: S704
    text = environment.get_template(template).render(
        title=title, style=style, script=script, compare=compare_address, **{"refresh": None, **values}
    )
    return printable(text)
