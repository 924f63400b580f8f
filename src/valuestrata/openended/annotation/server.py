"""A small local page on which people code a calibration sample, one task at a time.

Served on 127.0.0.1 only. An address holds a token that no other site can guess, every request must name this very host, and
answers must come as JSON from the page itself: a page elsewhere can then neither read a task nor post an answer, even where its
name is made to point to this machine. The page loads nothing from anywhere else and shows all text as text.

Every answer is on the disk before it is confirmed; the page can be closed at any time and goes on where it stopped.
"""

from __future__ import annotations

import json
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
# An answer is a word and a note; more than this is no answer.
MOST_BYTES = 64_000
MOST_NOTE = 10_000
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


class BadAnswerError(ValueError):
    """An answer that the desk does not take; the text says why."""


class Desk:
    """What one coder has said of a sample so far; shared by the threads of a server."""

    def __init__(self, sample: Sample, coder: str) -> None:
        """Take up a coder's work where it stopped.

        Raises:
            UsageError: an impossible name. InputDataError: a file of codings that does not belong to the sample.
        """
        self.coder = coder
        self._sample = sample
        self._file = coder_file(sample.path, coder)
        self._said = read_codings(sample, coder)
        self._tasks = {task.id: task for task in sample.tasks}
        self._lock = Lock()

    @property
    def coded(self) -> int:
        """Tasks with a verdict; skipped ones have none."""
        return sum(verdict != SKIP for verdict, _ in self._said.values())

    @property
    def left(self) -> int:
        """Tasks without a verdict."""
        return len(self._tasks) - self.coded

    def overview(self) -> dict[str, Any]:
        """Return who codes, and the verdict of every task in order, null where there is none."""
        return {"coder": self.coder, "verdicts": [self._said.get(code_id, (None, ""))[0] for code_id in self._tasks]}

    def task(self, number: int) -> dict[str, Any]:
        """Return a task by its place in the sample, with what the coder said of it.

        Raises:
            BadAnswerError: no such task.
        """
        if not 0 <= number < len(self._sample.tasks):
            raise BadAnswerError(f"there is no task {number}")
        task = self._sample.tasks[number]
        verdict, note = self._said.get(task.id, (None, ""))
        return {
            "code_id": task.id,
            "kind": task.kind,
            "criterion": task.criterion,
            "instruction": task.instruction,
            "question": task.question,
            "persona": task.persona,
            "answers": list(task.answers),
            "options": list(task.options),
            "verdict": verdict,
            "note": note,
        }

    def say(self, code_id: object, verdict: object, note: object) -> None:
        """Take an answer; it is on the disk when this returns.

        Raises:
            BadAnswerError: an unknown task or verdict, or a note that is no text or too long.
        """
        if not isinstance(code_id, str) or code_id not in self._tasks:
            raise BadAnswerError("there is no such task")
        if not isinstance(verdict, str) or verdict not in (*self._tasks[code_id].verdicts, SKIP):
            raise BadAnswerError(f"{verdict!r} is no verdict of this task")
        if not isinstance(note, str) or len(note) > MOST_NOTE:
            raise BadAnswerError(f"a note is text of at most {MOST_NOTE:,} characters")
        kept = " ".join(note.split())
        # Written even where it stood so before: another page of this coder may have said otherwise since.
        with self._lock:
            append_codings(self._file, [(code_id, verdict, kept)])
            self._said[code_id] = (verdict, kept)


class CodingServer(ThreadingHTTPServer):
    """The page of one coder at one sample, on 127.0.0.1."""

    daemon_threads = True
    # A second server on the port of the first must fail, and not share it.
    allow_reuse_port = False

    def __init__(self, desk: Desk, port: int = 0) -> None:
        """Open the port (any free one for 0); `serve_forever` answers.

        Raises:
            UsageError: the port cannot be opened.
        """
        self.desk = desk
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(Option("port", port), f": cannot be opened ({error}). Choose another port, or leave it out.") from error
        self.assets = {name: _asset(file) for name, (file, _) in _ASSETS.items()}

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))

    def finish(self) -> None:
        """Stop answering; from any thread."""
        Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error of the coding; anything else is told as usual."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers of a CodingServer."""

    server: CodingServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "valuestrata"
    sys_version = ""
    # A connection that says nothing does not hold a thread for ever. One request a connection (HTTP/1.0, the default): what a
    # refused request leaves unread is never taken for another one, and no page talks to a server that has been stopped.
    timeout = 60

    def do_GET(self) -> None:
        path = self._admitted()
        if path is None:
            return
        if path in self.server.assets:
            self._send(HTTPStatus.OK, self.server.assets[path], _ASSETS[path][1])
        elif path == "overview":
            self._send_json(HTTPStatus.OK, self.server.desk.overview())
        elif path.startswith("task/") and path[5:].isascii() and path[5:].isdigit() and len(path) < 15:
            try:
                self._send_json(HTTPStatus.OK, self.server.desk.task(int(path[5:])))
            except BadAnswerError as error:
                self._refuse(HTTPStatus.NOT_FOUND, str(error))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        path = self._admitted()
        if path is None:
            return
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "answers come as JSON")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length[:12]) > MOST_BYTES or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an answer has at most {MOST_BYTES:,} bytes, told beforehand")
            return
        body = self.rfile.read(int(length))
        if path == "finish":
            self._send_json(HTTPStatus.OK, {"left": self.server.desk.left})
            self.server.finish()
        elif path == "answer":
            self._take(body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def _take(self, body: bytes) -> None:
        try:
            said = json.loads(body)
            if not isinstance(said, dict):
                raise BadAnswerError("an answer is a JSON object")
            self.server.desk.say(said.get("code_id"), said.get("verdict"), said.get("note", ""))
        except (ValueError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError as error:
            # A full disk: the page must not go on as if the answer were kept.
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"the answer could not be written: {error.strerror}")
        else:
            self._send_json(HTTPStatus.OK, {"coded": self.server.desk.coded})

    def _admitted(self) -> str | None:
        """Return the path behind the token; None, and an answer, for a request that does not come from the page."""
        origin = self.headers.get("Origin")
        hosts = self.server.hosts
        if self.headers.get("Host") not in hosts or (origin is not None and origin not in [f"http://{host}" for host in hosts]):
            self._refuse(HTTPStatus.FORBIDDEN, "this page answers to its own address only")
            return None
        given, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not secrets.compare_digest(given.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that the command printed")
            return None
        return rest

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send_json(status, {"error": why})

    def _send_json(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(document, ensure_ascii=False).encode(), "application/json; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        for name, value in (*_HEADERS.items(), ("Content-Type", content_type), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the token."""


def _asset(name: str) -> bytes:
    return resources.files("valuestrata.openended.annotation").joinpath("page", name).read_bytes()
