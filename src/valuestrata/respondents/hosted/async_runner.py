"""Asynchronous work behind an ordinary iterator: an event loop in its own thread, results through a queue.

At most `most` items are in progress, and no new one starts while twice as many are in progress or wait to be taken. When
iteration ends for any reason, thread and tasks end too.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


class AsyncRunner(Generic[Item, Result]):
    """Works on items, `most` at a time; a new one is needed for every `run`.

    Args:
        most: maximum number of items in progress.
        opened: called in the event loop first; returns the work: item -> result, None for no result.
        closing: awaited in the event loop at the end.
    """

    def __init__(
        self, most: int, opened: Callable[[], Callable[[Item], Awaitable[Result | None]]], closing: Callable[[], Awaitable[None]]
    ) -> None:
        self._most = most
        self._opened = opened
        self._closing = closing
        self._results: queue.SimpleQueue[Result | _End] = queue.SimpleQueue()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Semaphore | None = None

    def run(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results as they come; an exception of the work is raised after earlier results were yielded."""
        thread = threading.Thread(target=self._thread, args=(iter(items),), name="valuestrata-calls", daemon=True)
        thread.start()
        taken = 0
        try:
            while True:
                result = self._results.get()
                if isinstance(result, _End):
                    if result.error is not None:
                        raise result.error
                    return
                yield result
                taken += 1
                if taken >= self._most // 4 or self._results.empty():
                    self.tell(self._make_room, taken)
                    taken = 0
        finally:
            self._started.wait()
            self.tell(self._cancel)
            thread.join()

    def tell(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the event loop, unless it is closed; may be called from a signal handler."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(function, *args)

    def _thread(self, items: Iterator[Item]) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._all(items))
        except asyncio.CancelledError:
            self._results.put(_End())
        except BaseException as error:
            self._results.put(_End(error))
        else:
            self._results.put(_End())
        finally:
            self._started.set()

    async def _all(self, items: Iterator[Item]) -> None:
        self._task = asyncio.current_task()
        self._room = asyncio.Semaphore(2 * self._most)
        work = self._opened()
        self._started.set()
        workers = [asyncio.create_task(self._worker(items, work)) for _ in range(self._most)]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        finally:
            self._task = None  # what follows is short, and not to be cancelled
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._closing()

    async def _worker(self, items: Iterator[Item], work: Callable[[Item], Awaitable[Result | None]]) -> None:
        assert self._room is not None
        while True:
            await self._room.acquire()
            item = next(items, None)
            if item is None:
                self._room.release()
                return
            result = await work(item)
            if result is None:
                self._room.release()
            else:
                self._results.put(result)

    def _make_room(self, places: int) -> None:
        assert self._room is not None
        for _ in range(places):
            self._room.release()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
