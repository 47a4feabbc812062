"""What watches over a device while it measures: faults that make a time not count. What is looked at is the device's
business (``devices/guards``); without a watch nothing is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from .records import Json


class Affects(str, Enum):
    """Which numbers a fault spoils."""

    LATENCY = "latency"
    ENERGY = "energy"
    BOTH = "both"


@dataclass(frozen=True)
class Fault:
    """Something that was wrong with a device during a time.

    Attributes:
        kind: one word for it: ``throttled``, ``cooling``, ``slow_clock``, ``changed``, ``undervoltage``,
            ``foreign_load``, ``foreign_gpu_process``, ``swap``, ``unknown`` (what would tell could not be read).
        message: what was seen, with numbers.
    """

    kind: str
    message: str
    affects: Affects = Affects.BOTH

    @property
    def spoils_latency(self) -> bool:
        return self.affects is not Affects.ENERGY

    @property
    def spoils_energy(self) -> bool:
        return self.affects is not Affects.LATENCY


class Watched(Protocol):
    """A time that is being watched."""

    def faults(self) -> tuple[Fault, ...]:
        """What was wrong from its beginning until now."""

    def faults_between(self, begin_ns: int, end_ns: int, *, is_busy: bool) -> tuple[Fault, ...]:
        """What was wrong in a part of it, by ``time.perf_counter_ns``.

        Args:
            is_busy: whether a workload ran all the time; else none did.
        """

    def seen(self) -> Mapping[str, Json]:
        """What moved from its beginning until now, and is worth keeping with the measurement."""


class Watch(Protocol):
    """Watches over one device, for as long as it measures."""

    def wait(self) -> Mapping[str, Json]:
        """Wait until the device is as cool as before, or for no longer; what is worth keeping with the measurement."""

    def watching(self, period_s: float) -> AbstractContextManager[Watched]:
        """Look at the device every so often, until the context ends."""


class _Nothing:
    """Sees nothing."""

    def faults(self) -> tuple[Fault, ...]:
        return ()

    def faults_between(self, begin_ns: int, end_ns: int, *, is_busy: bool) -> tuple[Fault, ...]:
        del begin_ns, end_ns, is_busy
        return ()

    def seen(self) -> Mapping[str, Json]:
        return {}


@contextmanager
def watching(watch: Watch | None, period_s: float) -> Iterator[Watched]:
    """As ``Watch.watching``; without a watch nothing is ever wrong."""
    if watch is None:
        yield _Nothing()
    else:
        with watch.watching(period_s) as watched:
            yield watched


def told(faults: tuple[Fault, ...]) -> str:
    """All faults in one line; empty for none."""
    return "; ".join(f"{fault.kind}: {fault.message}" for fault in faults)
