"""A real HTTP server on loopback that answers as it is told, and keeps what it was asked as it arrived on the codec."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DROP = "drop"  # the connection is closed in the middle of the answer
HANG = "hang"  # nothing comes


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass(frozen=True)
class Said:
    """What is answered: JSON, text or bytes; or DROP or HANG."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class VendorServer:
    """`reply(seen) -> Said | str`; `seen` has every request in the order of their arrival."""

    def __init__(self, reply: Callable[[Seen], Any]) -> None:
        self.reply = reply
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.leave = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                outer.serve(self)

            do_GET = do_POST = do_DELETE = do_PUT = handle_any  # noqa: N815

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        raw = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        seen = Seen(handler.command, parts.path, parse_qs(parts.query), headers, raw)
        with self.lock:
            self.seen.append(seen)
        said = self.reply(seen)
        if said == HANG:
            self.leave.wait(30)
            handler.close_connection = True
            return
        if said == DROP:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
            handler.wfile.flush()
            handler.close_connection = True
            return
        if not isinstance(said, Said):
            said = Said(said)
        body = said.body
        content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        handler.send_response(said.status)
        names = {name.lower() for name in said.headers}
        if "content-type" not in names:
            handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        for name, value in said.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def __enter__(self) -> VendorServer:
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
