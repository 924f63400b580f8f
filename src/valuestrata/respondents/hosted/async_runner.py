"""Asynchronous work behind an ordinary iterator: an event loop in a thread of its own, results through a queue.

Bounded at both ends: as many items are under way as allowed, and no new one is begun while twice as many are under way
or wait to be taken. Whoever stops iterating, for whatever reason, leaves neither thread nor task behind.
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
    """Does `work` on items, `most` at a time; made anew for every `run`.

    Args:
        most: items under way at most.
        opened: called in the event loop before anything else, and returns what does the work: item -> result, or None
            where there is nothing to give back.
        closing: awaited in the event loop at the end, whatever ended it.
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
        """Yield the results as they come; an exception of the work is raised here, when what came before it was yielded."""
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
        """Call a function in the event loop, soon; does nothing once that is closed. May be called from a signal handler."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed in this moment
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
