"""How long to leave a hub alone that does not answer: longer each time, and by chance. Standard library only.

A thousand boards that lost their hub in the same second must not come back in the same second: full jitter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

#: The first pause at most doubles with each failure, up to the longest.
FIRST_S = 1.0
LONGEST_S = 300.0
#: A hub may ask for more patience than we would have, but not to be forgotten.
ASKED_LONGEST_S = 3600.0


class Backoff:
    """The pauses of one caller.

    Args:
        sleep: waits so long, or less when the caller is to end.
        clock: any clock that never goes back.
        chance: draws between two numbers.
    """

    def __init__(
        self,
        sleep: Callable[[float], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._ready_at = clock()

    def pause(self, retry_after_s: float | None = None) -> float:
        """Wait after a failure; how long that is. What the hub asks for is waited for at least."""
        if self._clock() - self._ready_at > LONGEST_S:
            # The last failure is long over: this one is the first of another story.
            self._failures = 0
        longest = min(LONGEST_S, FIRST_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        pause_s = max(FIRST_S, self._chance(0.0, longest))
        if retry_after_s is not None:
            pause_s = max(pause_s, min(retry_after_s, ASKED_LONGEST_S))
        self._ready_at = self._clock() + pause_s
        self._sleep(pause_s)
        return pause_s

    def succeeded(self) -> None:
        """The hub answered: the next failure is a first one."""
        self._failures = 0
