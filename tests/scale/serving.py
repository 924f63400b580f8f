"""A real server on the loopback address that answers slowly and keeps a log, and a respondent model that asks it."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from valuestrata.errors import MissingExtraError, RunFailedError
from valuestrata.respondents.base import Answer


class Server:
    """Answers after `seconds`; `log` has a line for each call: (key, process that asked), in the order they came."""

    def __init__(self, seconds: float = 0.0):
        self.log: list[tuple[str, int]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.log.append((call["key"], call["pid"]))
                time.sleep(seconds)
                body = json.dumps({"text": f"Answer: {1 + len(call['pair_id']) % 3}"}).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except BrokenPipeError:
                    pass  # whoever asked was killed

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.log]

    def calls_of(self, process: int) -> list[str]:
        return [key for key, pid in self.log if pid == process]


class Served:
    """Asks the server one prompt after the other."""

    name = "fake:served"

    def __init__(self, url: str):
        self._url = url

    def identity(self):
        return {"provider": "fake", "decoding": {"temperature": 0.0}}

    def answer(self, prompts):
        for prompt in prompts:
            call = json.dumps({"key": prompt.key, "pair_id": prompt.pair_id, "pid": os.getpid()}).encode()
            with urllib.request.urlopen(urllib.request.Request(self._url, call), timeout=30) as reply:
                yield Answer(prompt, text=json.loads(reply.read())["text"])


def make_served(model, dataset, settings):
    """Build `Served`; the server's address comes as a hosted model's would."""
    return Served(settings.base_url)


class Failing:
    """Fails on the items `broken`, or completely."""

    name = "fake:failing"

    def __init__(self, broken=(), refused=False, temperature=0.0):
        self._broken = broken
        self._refused = refused
        self._temperature = temperature

    def identity(self):
        return {"provider": "fake", "decoding": {"temperature": self._temperature}}

    def answer(self, prompts):
        if self._refused:
            raise RunFailedError("the key was refused")
        for prompt in prompts:
            broken = prompt.item in self._broken
            yield Answer(prompt, error="server error: 500") if broken else Answer(prompt, text="Answer: 2")


def make_failing(model, dataset, settings):
    """Build `Failing`, or find that a library is not there."""
    if "missing" in settings.extra:
        raise MissingExtraError(model, "local", settings.extra["missing"])
    return Failing(**settings.extra)
