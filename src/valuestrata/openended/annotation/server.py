"""Local web page on which people code a calibration sample, one task at a time.

The server listens on 127.0.0.1 only. Its address contains a secret token, every request must name this host, and codings must be sent as
JSON from the page itself. So no other web site can read a task or send a coding, not even through DNS rebinding. The page loads nothing
from elsewhere and shows all text as text.

Every coding is on disk before it is confirmed; the page can be closed at any time and continues where it stopped.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from valuestrata.errors import Option, UsageError
from valuestrata.openended.annotation.files import SKIP, Sample, append_codings, coder_file, read_codings

LOOPBACK = "127.0.0.1"
MAX_BYTES = 64_000
MAX_NOTE = 10_000
_ASSETS: Mapping[str, tuple[str, str]] = {
    "": ("code.html", "text/html; charset=utf-8"),
    "code.css": ("code.css", "text/css; charset=utf-8"),
    "code.js": ("code.js", "text/javascript; charset=utf-8"),
}
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class BadCodingError(ValueError):
    """A coding that was not accepted; the text says why."""


class CoderSession:
    """One coder's work on a sample; shared by the threads of a server."""

    def __init__(self, sample: Sample, coder: str) -> None:
        """Continue a coder's work.

        Raises:
            UsageError: an invalid name. InputDataError: a file of codings that does not belong to the sample.
        """
        self.coder = coder
        self._sample = sample
        self._file = coder_file(sample.path, coder)
        self._codings = read_codings(sample, coder)
        self._tasks = {task.id: task for task in sample.tasks}
        self._lock = Lock()

    @property
    def coded(self) -> int:
        """Number of tasks with a verdict other than `skip`."""
        return sum(verdict != SKIP for verdict, _ in self._codings.values())

    @property
    def left(self) -> int:
        """Number of tasks without a verdict."""
        return len(self._tasks) - self.coded

    def overview(self) -> dict[str, Any]:
        """Return the coder and the verdict of every task in order, null without one."""
        return {"coder": self.coder, "verdicts": [self._codings.get(code_id, (None, ""))[0] for code_id in self._tasks]}

    def task(self, number: int) -> dict[str, Any]:
        """Return a task by its position in the sample, with its coding; BadCodingError if there is none."""
        if not 0 <= number < len(self._sample.tasks):
            raise BadCodingError(f"there is no task {number}")
        task = self._sample.tasks[number]
        verdict, note = self._codings.get(task.id, (None, ""))
        shown = {name: getattr(task, name) for name in ("kind", "criterion", "instruction", "question", "persona", "answers", "options")}
        return {"code_id": task.id, **shown, "verdict": verdict, "note": note}

    def record(self, code_id: object, verdict: object, note: object) -> None:
        """Store a coding; it is on disk when this returns.

        Raises:
            BadCodingError: an unknown task or verdict, or an invalid note.
        """
        if not isinstance(code_id, str) or code_id not in self._tasks:
            raise BadCodingError("there is no such task")
        if not isinstance(verdict, str) or verdict not in (*self._tasks[code_id].verdicts, SKIP):
            raise BadCodingError(f"{verdict!r} is not a verdict of this task")
        if not isinstance(note, str) or len(note) > MAX_NOTE:
            raise BadCodingError(f"a note is text of at most {MAX_NOTE:,} characters")
        kept = " ".join(note.split())
        # Unchanged codings are written as well: another page of this coder may have changed them in the meantime.
        with self._lock:
            append_codings(self._file, [(code_id, verdict, kept)])
            self._codings[code_id] = (verdict, kept)


class CodingServer(ThreadingHTTPServer):
    """Web server for one coder and one sample, on 127.0.0.1."""

    daemon_threads = True
    # A second server on the same port must fail.
    allow_reuse_port = False

    def __init__(self, session: CoderSession, port: int = 0) -> None:
        """Open the port (any free one for 0); UsageError if it cannot be opened."""
        self.session = session
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(Option("port", port), f": cannot be opened ({error}). Choose another port, or omit the option.") from error
        folder = resources.files("valuestrata.openended.annotation").joinpath("page")
        self.assets = {name: folder.joinpath(file).read_bytes() for name, (file, _) in _ASSETS.items()}

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Accepted values of the Host header."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))

    def finish(self) -> None:
        """Stop the server; callable from any thread."""
        Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that close a connection; report other errors as usual."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Request handler of a CodingServer."""

    server: CodingServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "valuestrata"
    sys_version = ""
    # Idle connections end. HTTP/1.0 (the default) allows one request per connection, so the unread rest of a refused request is never
    # taken for another one.
    timeout = 60

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path in self.server.assets:
            self._send(HTTPStatus.OK, self.server.assets[path], _ASSETS[path][1])
        elif path == "overview":
            self._send_json(HTTPStatus.OK, self.server.session.overview())
        elif path.startswith("task/") and path[5:].isascii() and path[5:].isdigit() and len(path) < 15:
            try:
                self._send_json(HTTPStatus.OK, self.server.session.task(int(path[5:])))
            except BadCodingError as error:
                self._refuse(HTTPStatus.NOT_FOUND, str(error))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "not found")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "codings must be JSON")
            return
        lengths = self.headers.get_all("Content-Length", [])
        # One number of usual size: Python reads others with surprises (`+5`, `1_0`, other digits), and very long ones not at all.
        if len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0].strip(" \t")) or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "a coding needs one Content-Length, a number of bytes")
            return
        length = int(lengths[0])
        if length > MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a coding has at most {MAX_BYTES:,} bytes")
            return
        body = self.rfile.read(length)
        if path == "finish":
            self._send_json(HTTPStatus.OK, {"left": self.server.session.left})
            self.server.finish()
        elif path == "answer":
            self._record(body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "not found")

    def _record(self, body: bytes) -> None:
        try:
            coding = json.loads(body)
            if not isinstance(coding, dict):
                raise BadCodingError("a coding is a JSON object")
            self.server.session.record(coding.get("code_id"), coding.get("verdict"), coding.get("note", ""))
        except (ValueError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError as error:
            # For example a full disk: the page must not continue as if the coding were saved.
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"the coding could not be written: {error.strerror}")
        else:
            self._send_json(HTTPStatus.OK, {"coded": self.server.session.coded})

    def _path(self) -> str | None:
        """Return the path after the token; None, after sending an error, for a request that is not from the page."""
        origin, hosts = self.headers.get("Origin"), self.server.hosts
        if self.headers.get("Host") not in hosts or (origin is not None and origin not in [f"http://{host}" for host in hosts]):
            self._refuse(HTTPStatus.FORBIDDEN, "this page accepts requests to its own address only")
            return None
        try:
            path = urlsplit(self.path).path
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, "the address is not a valid one")
            return None
        given, _, rest = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(given.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that the command printed")
            return None
        return rest

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send_json(status, {"error": reason})

    def _send_json(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(document, ensure_ascii=False).encode(), "application/json; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        for name, value in (*_HEADERS.items(), ("Content-Type", content_type), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: addresses contain the token."""
