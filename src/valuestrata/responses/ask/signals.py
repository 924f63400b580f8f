"""Interrupts during paid calls: calls under way finish and are stored before the command ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

from valuestrata.respondents.base import Respondent, SupportsStop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stops_gently(respondent: Respondent) -> Generator[None]:
    """On the first SIGINT or SIGTERM, ask the respondent to start no more calls; on the second, end at once.

    After the first signal, KeyboardInterrupt is raised when the body ends. This applies to `SupportsStop` respondents in
    the main thread only.
    """
    if not isinstance(respondent, SupportsStop) or threading.current_thread() is not threading.main_thread():
        yield
        return
    stoppable = respondent
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    interrupted = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        for number, handler in before.items():
            signal.signal(number, handler)
        stoppable.stop("interrupted")

    for number in _SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt
