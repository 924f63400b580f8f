"""The web server of `valuestrata view`, on 127.0.0.1.

It answers GET requests only, changes nothing that it shows (fitted baselines are kept in the data set's folder, as by `score`), and
serves no other files than pages inside its folder. Requests must name this host, so that no other web site can read a page
through DNS rebinding, and requests that another site sends are refused.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.errors import Option, UsageError, ValuestrataError
from valuestrata.view.comparison import ChosenRuns, Reports, ScoredPart, choose, shown_error
from valuestrata.view.folders import served_file
from valuestrata.view.listing import Catalogue, Clock
from valuestrata.view.pages import Query, choice_page, index_page, message_page, policy, run_cells, waiting_page

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = "127.0.0.1"
PORT = 7473
# Ports after PORT that are tried if it is taken.
_MORE_PORTS = 50
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A page in the folder may come from anywhere: it loads nothing, and it cannot read this server's other pages.
_OF_FILES = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'"
)


class FolderSite:
    """The pages of one folder.

    Attributes:
        catalogue: what the folder holds. reports: computes reports on its runs.
    """

    def __init__(self, root: Path, *, clock: Clock = time.time, bootstrap: int = 1000) -> None:
        self.catalogue = Catalogue(root, clock)
        self.reports = Reports(self.catalogue.root, bootstrap, clock)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route

        routes = [
            Route("/", self._answers(self._index), methods=["GET"]),
            Route("/progress", self._answers(self._progress), methods=["GET"]),
            Route("/compare", self._answers(self._compare), methods=["GET"]),
            Route("/file/{path:path}", self._answers(self._file), methods=["GET"]),
        ]
        trusted = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)
        return Starlette(routes=routes, middleware=[trusted])

    def _answers(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """Return a route that adds headers, refuses requests of other sites and shows errors as pages."""

        def route(request: Request) -> Response:
            if request.headers.get("sec-fetch-site") == "cross-site" and request.headers.get("sec-fetch-mode") != "navigate":
                response = _html(message_page("Not allowed", "This page accepts requests from its own address only."), 403)
            else:
                try:
                    response = answer(request)
                except ValuestrataError as error:
                    response = _html(message_page("This cannot be shown", shown_error(error, self.catalogue.root)), 400)
            response.headers.update(_HEADERS)
            response.headers.setdefault("Content-Security-Policy", policy())
            return response

        return route

    def _index(self, request: Request) -> Response:
        asked = request.query_params
        page = asked.get("page", "1")
        sorts = asked.getlist("sort")
        query = Query(
            text=asked.get("text", "").strip(),
            sort=sorts[-1] if sorts else "changed",
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
            chosen=tuple(asked.getlist("run")),
        )
        catalogue = self.catalogue
        return _html(index_page(catalogue.read(), query, folder=catalogue.root.name or str(catalogue.root), now=catalogue.clock()))

    def _progress(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        wanted = set(request.query_params.getlist("run"))
        now = self.catalogue.clock()
        return JSONResponse({run.id: run_cells(run, now) for run in self.catalogue.runs(wanted)})

    def _compare(self, request: Request) -> Response:
        asked = request.query_params
        chosen = choose(self.catalogue.read(), asked.getlist("run"))
        ids = [run.id for run in chosen.runs]
        if "split" not in asked and len(chosen.scored) > 1:
            return _html(choice_page(chosen.scored, ids))
        scored = _scored(asked, chosen)
        job = self.reports.job(chosen, scored)
        if job.error is not None:
            return _html(message_page("No report on these runs", job.error), 400)
        if job.page is None:
            return _html(waiting_page(job, scored, [run.name for run in chosen.runs]))
        response = _html(job.page)
        # The page has a policy of its own.
        response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return response

    def _file(self, request: Request) -> Response:
        from starlette.responses import FileResponse

        file = served_file(self.catalogue.root, request.path_params["path"])
        if file is None:
            return _html(message_page("Not found", "There is no such page in this folder. Only HTML files are shown."), 404)
        return FileResponse(file, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _OF_FILES})


def open_socket(port: int | None) -> socket.socket:
    """Return a socket that listens on 127.0.0.1.

    Args:
        port: None for PORT or the next free one; 0 for any free one.

    Raises:
        UsageError: the port cannot be opened.
    """
    error: OSError | OverflowError | None = None
    for one in range(PORT, PORT + _MORE_PORTS) if port is None else (port,):
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            opened.bind((LOOPBACK, one))
            # Binding alone succeeds on a port that another socket is bound to with SO_REUSEADDR; listening does not.
            opened.listen(128)
        except (OSError, OverflowError) as found:
            opened.close()
            error = found
        else:
            return opened
    raise UsageError(
        Option("port", PORT if port is None else port), f": cannot be opened ({error}). Choose another port, or 0 for any free one."
    )


def serve(site: FolderSite, opened: socket.socket) -> None:
    """Answer requests until the process is interrupted."""
    import uvicorn

    config = uvicorn.Config(site.app(), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[opened])


def _scored(asked: Mapping[str, str], chosen: ChosenRuns) -> ScoredPart:
    """Return the pairs that a request names, else those that the runs were asked."""
    default = chosen.scored[0]
    fold = asked.get("fold")
    if fold is not None and not (fold.isascii() and fold.isdigit() and len(fold) < 9):
        raise UsageError(f"There is no fold {fold!r}; a fold is a whole number.")
    if "split" not in asked:
        return default
    return ScoredPart(asked["split"], asked.get("part", default.part), None if fold is None else int(fold))


def _html(text: str, status: int = 200) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(text, status_code=status)
