"""Limits on the size of replies, counted after decompression: a reply of 400 kB can hold 400 MB.

`hooks` returns event hooks for a client. They ask for encodings that are decompressed here, in pieces of bounded size, and
break off a reply that is too large.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

_MEGABYTE = 1 << 20
# Far more than any model writes with all its log-probabilities, and than any list of batches or jobs.
MOST_OF_REPLY = 16 * _MEGABYTE
# The results of a batch; they are written to disk.
MOST_OF_FILE = 2048 * _MEGABYTE
# Ends of the addresses of results at OpenAI and those like it, Anthropic and Google.
_FILES = ("/content", "/results", ":download")
# With it, zlib recognises the headers of gzip and of zlib.
_EITHER_HEADER = 32 + zlib.MAX_WBITS


class ReplyTooLargeError(Exception):
    """A reply was broken off because of its size."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the reply is larger than {most // _MEGABYTE:,} MiB, so it was not read to its end")


def hooks(*, asynchronous: bool) -> dict[str, list[Callable[[Any], Any]]]:
    """Return event hooks for a client of httpx2, by the name of the event."""

    async def requested(request: Any) -> None:
        _request(request)

    async def responded(response: Any) -> None:
        _limit(response)

    return {"request": [requested], "response": [responded]} if asynchronous else {"request": [_request], "response": [_limit]}


def _request(request: Any) -> None:
    request.headers["accept-encoding"] = "gzip, deflate"


def _limit(response: Any) -> None:
    """Replace the stream of a response by one that decompresses and counts."""
    import httpx2

    most = MOST_OF_FILE if response.request.url.path.endswith(_FILES) else MOST_OF_REPLY
    encodings = [name for name in response.headers.get_list("content-encoding", split_commas=True) if name.lower() not in ("", "identity")]
    response.headers.pop("content-encoding", None)
    decoder = _Decoder(encodings, most, httpx2.DecodingError)
    stream = response.stream

    class Limited(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for block in stream:
                yield from decoder.read(block)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for block in stream:
                for piece in decoder.read(block):
                    yield piece

        def close(self) -> None:
            stream.close()

        async def aclose(self) -> None:
            await stream.aclose()

    response.stream = Limited()


class _Decoder:
    """Decompresses blocks of a reply and counts its bytes."""

    def __init__(self, encodings: list[str], most: int, undecodable: Callable[[str], Exception]) -> None:
        self._encodings = encodings
        self._most = most
        self._undecodable = undecodable
        self._unzip = zlib.decompressobj(_EITHER_HEADER)
        self._size = 0
        self._begun = False

    def read(self, block: bytes) -> Iterator[bytes]:
        """Yield what a block holds, in pieces of at most a megabyte.

        Raises:
            ReplyTooLargeError: with this piece the reply is too large.
        """
        if not self._encodings:
            yield self._counted(block)
            return
        if len(self._encodings) > 1 or self._encodings[0].lower() not in ("gzip", "x-gzip", "deflate"):
            raise self._undecodable(f"the encoding {', '.join(self._encodings)} was not asked for")
        while block and not self._unzip.eof:
            try:
                piece = self._unzip.decompress(block, _MEGABYTE)
            except zlib.error as error:
                if self._begun or self._encodings[0].lower() != "deflate":
                    raise self._undecodable(str(error)) from error
                # Some servers send deflate without its header.
                self._unzip, self._begun = zlib.decompressobj(-zlib.MAX_WBITS), True
                continue
            self._begun = True
            block = self._unzip.unconsumed_tail
            yield self._counted(piece)

    def _counted(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > self._most:
            raise ReplyTooLargeError(self._most)
        return piece
