"""Long polls: who waits for work sleeps until some is announced, and looks by itself now and then all the same."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Waiting:
    """The waiting requests of one replica. ``wake`` may be called from any thread."""

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._loop = asyncio.get_running_loop()
        self._word = asyncio.Event()
        self._is_over = False

    def end(self) -> None:
        """Let everybody who waits go away with nothing, now and from here on; called in the event loop."""
        self._is_over = True
        self._say()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._loop.call_soon_threadsafe(self._say)

    def _say(self) -> None:
        said, self._word = self._word, asyncio.Event()
        said.set()

    async def until(
        self, look: Callable[[bool], Awaitable[T | None]], wait_s: float, is_gone: Callable[[], Awaitable[bool]]
    ) -> T | None:
        """What ``look`` finds within the time; None when it finds nothing, or nobody waits any more.

        ``look`` is told whether it is the first time.

        Those who wait look at slightly different times, so that a hundred boards do not ask the database at once.
        """
        deadline = time.monotonic() + wait_s
        is_first = True
        while True:
            word = self._word  # before looking: what is announced meanwhile is not missed
            if await is_gone():  # before looking too: what is found is taken, and would be taken for nobody
                return None
            found = await look(is_first)
            is_first = False
            left = deadline - time.monotonic()
            if found is not None or left <= 0 or self._is_over:
                return found
            pause = min(left, self._poll_s * random.uniform(0.75, 1.25))
            try:
                await asyncio.wait_for(word.wait(), pause)
            except asyncio.TimeoutError:
                continue
