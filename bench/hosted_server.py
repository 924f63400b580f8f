"""Benchmark server that returns chat completions 50 ms after each request.

    python bench/hosted_server.py [MILLISECONDS]

prints its port and serves until it is killed. It reads no header except the content length, and the four possible responses are
prepared in advance, so its own time is small. The response depends only on the text of the prompt.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib

DOCUMENT = {
    "id": "chatcmpl-0123456789",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "planted",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Answer: N", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 131,
        "completion_tokens": 3,
        "total_tokens": 134,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
}
BODIES = [json.dumps(DOCUMENT).replace("Answer: N", f"Answer: {number}").encode() for number in (1, 2, 3, 4)]
RESPONSES = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body) for body in BODIES]
_BEHIND = b'"content":"'


class Answering(asyncio.Protocol):
    """One connection with any number of requests."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._read = b""
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport and the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Split the data into requests by their lengths and schedule each response."""
        self._read += data
        while True:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : head.find(b"\r\n", at) if b"\r\n" in head[at:] else end]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            start = body.rfind(_BEHIND) + len(_BEHIND)
            self._loop.call_later(self._wait, self._answer, zlib.crc32(body[start : body.find(b'"', start)]) % 4)

    def _answer(self, which: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(RESPONSES[which])


async def main() -> None:
    """Serve until the process is killed."""
    wait = float(sys.argv[1] if len(sys.argv) > 1 else 50) / 1000
    server = await asyncio.get_running_loop().create_server(lambda: Answering(wait), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
