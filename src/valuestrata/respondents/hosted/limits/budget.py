"""What may be spent: every call reserves the most that it can cost before it starts."""

from __future__ import annotations

import asyncio
import math


class Purse:
    """Money for calls; used within one event loop at a time.

    Attributes:
        limit: dollars that may be spent in all.
        spent: dollars spent so far. A call that may have been charged and did not say so counts as the most it can cost.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.spent = 0.0
        self._reserved = 0.0
        self._open = 0
        self._changed: asyncio.Event | None = None

    async def reserve(self, most: float) -> bool:
        """Set `most` dollars aside for a call; False where they are not there and no call under way can give any back."""
        # A thousandth of a millionth of a dollar: sums of floats must not refuse the last call of an exact budget.
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
        """Take `spent` for a call that had `most` reserved, and free the rest."""
        self._open -= 1
        # Exactly nothing where no call is under way: a rest of rounding must not be waited for.
        self._reserved = self._reserved - most if self._open else 0.0
        self.spent += spent
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()
