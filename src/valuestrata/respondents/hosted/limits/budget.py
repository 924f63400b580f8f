"""A cost limit: each call reserves the most it can cost before it starts."""

from __future__ import annotations

import asyncio
import math


class Budget:
    """Money for calls; used within one event loop at a time.

    Attributes:
        limit: US dollars that may be spent in total.
        spent: US dollars spent so far. A call that may have been charged without saying so counts as the most it can cost.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.spent = 0.0
        self._reserved = 0.0
        self._open = 0
        self._changed: asyncio.Event | None = None

    async def reserve(self, most: float) -> bool:
        """Reserve `most` dollars for a call; False if they are not available and no open call can return any."""
        # The tolerance of 1e-9 dollars keeps rounding from refusing the last call of an exact budget.
        while self.spent + self._reserved + most > self.limit + 1e-9:
            if not self._open:
                return False
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
        self._reserved += most
        self._open += 1
        return True

    def settle(self, most: float, spent: float) -> None:
        """Charge `spent` for a call that reserved `most`, and release the rest."""
        self._open -= 1
        # Exactly 0 without open calls: a rounding error must not keep others waiting.
        self._reserved = self._reserved - most if self._open else 0.0
        self.spent += spent
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()
