"""Results on their way to the hub: kept first, sent next, by a thread of its own, for as long as it takes.

Measuring goes on meanwhile. On a full disk results wait in memory, and the agent takes no more work. Standard library
only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from ..profiler.errors import BadDocument, EdgecostError, HubRefused, HubUnreachable, StoreError, StoreUnwritable
from ..profiler.fleet_protocol import Receipt, Result
from .backoff import Backoff
from .hub_client import HubClient, json_of
from .spool import CAP_BYTES, Spool, Waiting
from .told import Told, Weight

#: The hub knows this agent no more, or speaks another protocol: nothing that is sent will be taken.
FATAL = (401, 403, 426)


class Outbox:
    """Sends what the spool holds. As a context manager it ends its thread; what was not sent stays in the spool."""

    def __init__(
        self,
        spool: Spool,
        client: HubClient,
        told: Told,
        failed: Callable[[EdgecostError], None],
        *,
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        """``failed`` is called, in the thread of the outbox, when that ends: the hub refuses this agent as such, or the
        spool cannot be used any more."""
        self._spool = spool
        self._client = client
        self._told = told
        self._failed = failed
        self._cap_bytes = cap_bytes
        self._change = threading.Condition()
        self._is_ending = threading.Event()
        self._unkept: deque[Result] = deque()
        self._nap = threading.Event()
        self._backoff = Backoff(self._rest_for)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> Outbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._nap.set()
        with self._change:
            self._change.notify_all()
        self._client.abort()
        self._thread.join()
        self._client.close()

    def put(self, result: Result) -> None:
        """Keep a result; it is sent when the hub can be reached."""
        with self._change:
            self._unkept.append(result)
            self._keep()
            self._change.notify_all()

    def look(self) -> None:
        """There is something new in the spool."""
        with self._change:
            self._change.notify_all()

    def has_room(self) -> bool:
        """Whether there is room for the results of more work."""
        with self._change:
            self._keep()
            if self._unkept:
                return False
        try:
            return self._spool.make_room(self._cap_bytes)
        except StoreUnwritable:
            return False

    def flush(self, within_s: float) -> bool:
        """Try now to send all, but not for longer; whether it is sent."""
        deadline = time.monotonic() + within_s
        self._nap.set()
        with self._change:
            while not self._is_empty():
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._change.wait(min(left, 1.0))
        return True

    def is_empty(self) -> bool:
        with self._change:
            return self._is_empty()

    def _is_empty(self) -> bool:
        return not self._unkept and self._spool.next_waiting() is None

    def _keep(self) -> None:
        """Write into the spool what is not in it yet; where the disk is full it waits here."""
        while self._unkept:
            try:
                self._spool.finish(self._unkept[0])
            except StoreUnwritable as error:
                self._told(Weight.ERROR, f"{error.message}: results wait in memory, and no more work is taken")
                return
            self._unkept.popleft()

    def _next(self) -> Waiting | None:
        """What is to be sent now; None when the outbox ends."""
        with self._change:
            while not self._is_ending.is_set():
                self._keep()
                found = self._spool.next_waiting()
                if found is not None:
                    return found
                if self._unkept:  # the disk is full, but the hub may be there
                    first = self._unkept[0]
                    return Waiting(first.measurement.measurement_id, json_of(first))
                self._change.wait()
        return None

    def _run(self) -> None:
        with ExitStack() as undo:
            # An agent that measures and sends nothing looks well, and is of no use.
            undo.callback(self._failed, EdgecostError("sending results broke off by an error of edgecost's own"))
            try:
                self._send_all()
            except StoreError as error:
                self._failed(error)
            undo.pop_all()

    def _rest_for(self, seconds: float) -> None:
        """Sleep, unless somebody is in a hurry."""
        self._nap.wait(seconds)
        if not self._is_ending.is_set():
            self._nap.clear()

    def _send_all(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                receipt = self._client.result(waiting.body)
            except HubUnreachable as error:
                self._rest(error.message, error.retry_after_s)
            except BadDocument as error:
                self._rest(error.message, None)
            except HubRefused as error:
                if error.status in FATAL:
                    self._failed(error)
                    return
                self._refused(waiting.measurement_id, error)
            else:
                self._backoff.succeeded()
                self._received(receipt, waiting.measurement_id)

    def _rest(self, why: str, retry_after_s: float | None) -> None:
        if not self._is_ending.is_set():
            pause_s = self._backoff.pause(retry_after_s)
            self._told(Weight.WARNING, f"a result could not be sent, tried again after {pause_s:.0f} s: {why}")

    def _received(self, receipt: Receipt, measurement_id: str) -> None:
        if receipt.measurement_id != measurement_id:
            self._rest(f"the hub answers for {receipt.measurement_id} instead of {measurement_id}", None)
            return
        if receipt.verdict == "late":
            self._told(Weight.NOTE, f"result {measurement_id[:8]} came late: the hub keeps it, and counts another")
        self._settle(measurement_id, lambda: self._spool.received(receipt))

    def _refused(self, measurement_id: str, error: HubRefused) -> None:
        self._told(Weight.ERROR, f"the hub does not take result {measurement_id[:8]}, it is kept: {error.message}")
        self._settle(measurement_id, lambda: self._spool.refused(measurement_id, f"{error.status}: {error.message}"))

    def _settle(self, measurement_id: str, note: Callable[[], None]) -> None:
        """Take a result off the list. Where the disk is too full to note it, it is sent again, to the same answer."""
        with self._change:
            self._unkept = deque(one for one in self._unkept if one.measurement.measurement_id != measurement_id)
            try:
                note()
            except StoreUnwritable as error:
                self._told(Weight.ERROR, error.message)
                self._is_ending.wait(1.0)
            self._change.notify_all()
