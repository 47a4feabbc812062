"""What is known of the lease in hand: shared by the thread that measures and the one that renews.

The lease ends in one of three ways: its jobs are answered, the hub takes them away, or the agent ends. In the latter
two the runner is killed, and measuring ends with ``MeasuringStopped``. Standard library only.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from types import TracebackType

from ..profiler.client import RunnerSupply
from ..profiler.fleet_protocol import Lease
from ..profiler.worker import Spawned


class MeasuringStopped(Exception):
    """Nobody waits for this group any more: its lease is lost, or the agent ends."""


class LeaseHold:
    """Which jobs of a lease are in hand."""

    def __init__(self, lease: Lease, expires_at_s: float) -> None:
        """``expires_at_s`` is by the monotonic clock, and counted from when the hub was asked."""
        self.lease = lease
        self.expires_at_s = expires_at_s
        self._lock = threading.Lock()
        self._open = {job.job_id for job in lease.jobs}
        self._lost: set[int] = set()
        self._visits: Counter[int] = Counter()
        self._runners: Sequence[StoppableSupply] = ()
        self._stopped_by = ""

    @property
    def stopped_by(self) -> str:
        """Why measuring stops; empty while it goes on."""
        with self._lock:
            return self._stopped_by

    @property
    def open_jobs(self) -> frozenset[int]:
        """Jobs that this board still owes the hub an answer to."""
        with self._lock:
            return frozenset(self._open)

    def visits(self) -> dict[str, int]:
        """How many visits each open job has."""
        with self._lock:
            return {str(job): self._visits[job] for job in sorted(self._open) if self._visits[job]}

    def is_lost(self, job_id: int) -> bool:
        with self._lock:
            return job_id in self._lost

    def visited(self, job_ids: Sequence[int]) -> None:
        with self._lock:
            self._visits.update(job_ids)

    def answered(self, job_id: int) -> None:
        """A job has its result, or was given back."""
        with self._lock:
            self._open.discard(job_id)

    def watch(self, supply: StoppableSupply) -> None:
        """These runners end when the lease does."""
        with self._lock:
            self._runners = (supply,)
            is_stopped = bool(self._stopped_by)
        if is_stopped:
            supply.stop()

    def renewed(self, held: Collection[int], expires_at_s: float) -> tuple[int, ...]:
        """The hub says what is still held; the jobs that are lost by it."""
        self.expires_at_s = expires_at_s
        with self._lock:
            lost = self._open - set(held)
            self._lost |= lost
            self._open -= lost
            nothing_left = bool(lost) and not self._open
        if nothing_left:
            self.stop("the hub took the lease back")
        return tuple(sorted(lost))

    def stop(self, why: str) -> None:
        """End measuring, from any thread; the first cause stands."""
        with self._lock:
            self._stopped_by = self._stopped_by or why
            runners = self._runners
        for supply in runners:
            supply.stop()

    def check(self) -> None:
        """Raises MeasuringStopped when it is to end."""
        why = self.stopped_by
        if why:
            raise MeasuringStopped(why)


class StoppableSupply(RunnerSupply):
    """Another's runners, that another thread may end; there is none after that."""

    def __init__(self, supply: RunnerSupply) -> None:
        super().__init__()
        self._supply = supply
        self._guard = threading.Lock()
        self._is_stopped = False
        self._taken: Spawned | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supply.__exit__(kind, error, trace)

    def prepare(self) -> None:
        """As ``RunnerSupply.prepare``."""
        self._supply.prepare()

    def take(self) -> Spawned:
        """As ``RunnerSupply.take``; raises MeasuringStopped once they have been stopped."""
        spawned = self._supply.take()
        with self._guard:
            self._taken = spawned
            is_stopped = self._is_stopped
        if is_stopped:
            spawned.end()
            raise MeasuringStopped
        return spawned

    def stop(self) -> None:
        """Kill the runner in use; who talks to it finds it dead, and what it started is ended there."""
        with self._guard:
            self._is_stopped = True
            taken = self._taken
        if taken is not None:
            taken.process.send_signal(signal.SIGKILL)
