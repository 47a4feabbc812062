"""Waits until others leave a board alone: rejecting what they spoil is right, and not measuring it is better."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: As long as a package update takes, or a user's look at a page.
QUIET_MAX_S = 60.0
#: Others' load is a mean over this.
_LOOK_S = 1.0
#: After waiting in vain so much less is waited the next time: some load never goes away.
_PATIENCE_LEFT = 0.5


@dataclass(frozen=True)
class Quiet:
    """What became of waiting.

    Attributes:
        share: of one CPU that others took at the end; None where that is unknown.
        in_vain: whether it was still too much.
    """

    waited_s: float
    share: float | None = None
    in_vain: bool = False


@dataclass
class Patience:
    """How long others are waited for: as long as they may yet stop, and less each time that they did not."""

    left_s: float = QUIET_MAX_S

    def wait(
        self,
        busy_s: Callable[[], float | None],
        most_share: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Quiet:
        """Wait until others take no more than a share of one CPU, but no longer than there is patience.

        Args:
            busy_s: seconds that others have taken since some beginning; None where that is unknown.
        """
        begin, before, taken = clock(), clock(), busy_s()
        while taken is not None:
            sleep(_LOOK_S)
            now, last = clock(), taken
            taken = busy_s()
            if taken is None:
                break
            share = (taken - last) / (now - before) if now > before else 0.0
            before = now
            if share <= most_share:
                self.left_s = QUIET_MAX_S
                return Quiet(now - begin, share)
            if now - begin >= self.left_s:
                self.left_s *= _PATIENCE_LEFT
                return Quiet(now - begin, share, in_vain=True)
        return Quiet(clock() - begin)
