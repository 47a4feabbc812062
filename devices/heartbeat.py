"""Keeps a lease alive while its jobs are measured, and hears when it is not. Standard library only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..profiler.errors import BadDocument, HubRefused, HubUnreachable
from ..profiler.fleet_protocol import Renewal, Renewed
from .host import read_conditions
from .hub_client import HubClient
from .lease_hold import LeaseHold
from .outbox import FATAL
from .told import Told, Weight

#: After a heartbeat that nobody heard the next one comes this much sooner: three of them fit into a third of the lease.
_HURRY = 3
#: Whatever the hub says of its leases, it is not asked more often.
PAUSE_S_MIN = 0.1


class Heartbeat:
    """A thread that renews a lease after each third of it, as a context manager.

    The clock is the monotonic one, so that a wall clock that is set changes nothing; the time of a lease is counted
    from before the hub was asked.

    Args:
        renewed: is given every answer.
        failed: is called when the hub refuses this agent as such.
    """

    def __init__(
        self,
        client: HubClient,
        hold: LeaseHold,
        lease_s: float,
        told: Told,
        renewed: Callable[[Renewed], None],
        failed: Callable[[HubRefused], None],
    ) -> None:
        self._client = client
        self._hold = hold
        self._pause_s = max(PAUSE_S_MIN, lease_s / 3)
        self._told = told
        self._renewed = renewed
        self._failed = failed
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._client.abort()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        # The request for work may have waited for most of the time that the lease is counted from.
        left_s = self._hold.expires_at_s - time.monotonic()
        pause_s = max(0.0, min(self._pause_s, left_s - 2 * self._pause_s))
        while not self._is_ending.wait(pause_s):
            pause_s = self._pause_s if self._beat() else self._pause_s / _HURRY

    def _beat(self) -> bool:
        """One heartbeat; whether it was heard."""
        asked_at_s = time.monotonic()
        renewal = Renewal(self._hold.visits(), read_conditions())
        try:
            answer = self._client.renew(self._hold.lease.lease_token, renewal)
        except (HubUnreachable, BadDocument) as error:
            if not self._is_ending.is_set():
                self._told(Weight.WARNING, f"a heartbeat was not heard, measuring goes on: {error.message}")
            return False
        except HubRefused as error:
            if error.status in FATAL:
                self._failed(error)
            else:
                self._told(Weight.WARNING, f"the hub does not renew the lease: {error.message}")
            return True
        lost = self._hold.renewed(answer.jobs, asked_at_s + answer.expires_s)
        if lost:
            self._told(Weight.WARNING, f"the hub took {len(lost)} jobs back: they are measured no further")
        self._renewed(answer)
        return True
