"""A real HTTP server on loopback that speaks chat completions and misbehaves on request.

In a test it runs in a thread of its own: `with Server(behave) as server`. `behave` is given each request (a `Request`)
and returns an `Act`. As a process (`python -m tests.hosted.server FOLDER`) it misbehaves by a seeded plan and writes what it
did to a log of JSON lines, with times of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Request:
    """One call as it arrived: `number` counts all calls, `attempt` those of the same messages."""

    number: int
    attempt: int
    identity: str
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    at: float


@dataclass
class Act:
    """What the server does: wait, then answer with a status and a document (or bytes), or break off."""

    status: int = 200
    document: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: str | None = None  # "before" the head, "after" the head, "middle" of the body
    drip: float = 0.0  # seconds between single bytes of the body


def identity_of(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([body.get("messages"), body.get("seed")]).encode()).hexdigest()


def said(text: str, *, tokens: tuple[int, int] = (100, 4), finish: str = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion that says `text`."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "planted-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


def problem(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def answers(request: Request) -> Act:
    """The same answer to the same question, whenever it is asked."""
    text = request.body["messages"][-1]["content"]
    found = re.search(r"from (-?\d+) to (-?\d+)", text)
    first, last = (int(found[1]), int(found[2])) if found else (1, 1)
    chosen = first + int(request.identity[:8], 16) % (last - first + 1)
    return Act(document=said(f"Answer: {chosen}"))


class Server:
    """The server in a thread; `log` holds every request, `delivered` the identity and time of every whole answer of status 200."""

    def __init__(self, behave: Callable[[Request], Act] = answers) -> None:
        self.behave = behave
        self.log: list[Request] = []
        self.delivered: list[tuple[str, float]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self.on_delivery: Callable[[str, float, float], None] | None = None
        self._attempts: dict[str, int] = {}
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    async def serve(self, port: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        open_now: set[asyncio.Task[Any]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            open_now.add(task)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._converse(reader, writer)
            open_now.discard(task)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        finally:
            server.close()
            for task in list(open_now):
                task.cancel()
            await asyncio.sleep(0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                request = self._request(head[0].split(" ")[1], headers, json.loads(content or b"{}"))
                act = self.behave(request)
                if act.delay:
                    await asyncio.sleep(act.delay)
                if not await self._act(act, writer):
                    return
            finally:
                self.in_flight -= 1
            if act.status == 200 and act.raw is None:
                at = time.monotonic()
                self.delivered.append((request.identity, at))
                if self.on_delivery is not None:
                    self.on_delivery(request.identity, request.at, at)

    def _request(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Request:
        identity = identity_of(body)
        self._attempts[identity] = self._attempts.get(identity, 0) + 1
        request = Request(len(self.log), self._attempts[identity], identity, body, headers, path, time.monotonic())
        self.log.append(request)
        return request

    async def _act(self, act: Act, writer: asyncio.StreamWriter) -> bool:
        """Write the response; False where the connection was broken off."""
        if act.drop == "before":
            return False
        content = act.raw if act.raw is not None else json.dumps(act.document).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **act.headers}
        head = f"HTTP/1.1 {act.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        cut = {"after": 0, "middle": len(content) // 2}.get(act.drop or "", len(content))
        writer.write(head.encode())
        if act.drip:
            for at in range(cut):
                writer.write(content[at : at + 1])
                await writer.drain()
                await asyncio.sleep(act.drip)
        else:
            writer.write(content[:cut])
        await writer.drain()
        return act.drop is None


def misbehaves(seed: str) -> Callable[[Request], Act]:
    """A plan of misbehaviour that depends on the question and on how often it was asked."""

    def behave(request: Request) -> Act:
        dice = int(hashlib.sha256(f"{seed}{request.identity}{request.attempt}".encode()).hexdigest()[:8], 16) % 100
        slow = 0.002 * (dice % 10)
        if request.attempt > 4 or dice >= 40:
            act = answers(request)
        elif dice < 8:
            act = Act(500, problem("internal"))
        elif dice < 14:
            act = Act(429, problem("slow down"), headers={"Retry-After": "0.02"})
        elif dice < 18:
            act = Act(429, problem("slow down"))
        elif dice < 26:
            act = Act(drop=("before", "after", "middle")[dice % 3], document=said("Answer: 1"))
        elif dice < 32:
            act = Act(raw=b'{"choices": [{"mess')
        elif dice < 38:
            act = Act(document={"choices": [], "usage": None}, raw=b'{"choices": []}')
        else:
            act = Act(delay=3600.0)
        act.delay = act.delay or slow
        return act

    return behave


def main() -> None:
    """Serve until killed: the port goes to FOLDER/port, deliveries (identity, asked, answered) to FOLDER/log."""
    folder, seed = Path(sys.argv[1]), sys.argv[2]
    server = Server(misbehaves(seed) if seed != "good" else answers)
    with (folder / "log").open("a", buffering=1) as log:
        server.on_delivery = lambda *delivery: log.write(json.dumps(delivery) + "\n") and None

        async def serve() -> None:
            serving = asyncio.create_task(server.serve())
            while not server.port:
                await asyncio.sleep(0.01)
            beside = folder / "port.new"
            beside.write_text(str(server.port))
            beside.rename(folder / "port")
            await serving

        asyncio.run(serve())


if __name__ == "__main__":
    main()
