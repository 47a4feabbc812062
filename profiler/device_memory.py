"""What a process holds in an accelerator's own memory: how it is asked for, and what several processes come to.

How it is read is the device's business (``devices/gpu_memory.py``); where nothing reads it, nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from .errors import UsageError
from .readings import METHODS_JOINT, PeakMemory, Reading
from .records import Json
from .statistics import median


@dataclass(frozen=True)
class Held:
    """What one process held of an accelerator's memory, in bytes.

    Attributes:
        method: how it was read, with a version; empty where there is no number.
        message: why there is none.
        peak_bytes: the most of all polls.
        end_bytes: of the last poll, with the workload still loaded and its runs over.
        polls: how many there were.

    Raises:
        UsageError: a number that is not above 0, an end above the peak, or a number with a reason why there is none.
    """

    method: str = ""
    message: str = ""
    peak_bytes: int | None = None
    end_bytes: int | None = None
    polls: int = 0

    def __post_init__(self) -> None:
        if (self.peak_bytes is None) != bool(self.message) or (self.peak_bytes is None) != (self.end_bytes is None):
            raise UsageError(
                f"{self.peak_bytes} bytes held, {self.end_bytes} at the end: {self.message or 'no reason'}"
            )
        if self.peak_bytes is not None and not 0 < (self.end_bytes or 0) <= self.peak_bytes:
            raise UsageError(f"no memory held is {self.peak_bytes} bytes, {self.end_bytes} at the end")


class DeviceMemory(Protocol):
    """Reads how much of an accelerator's memory a process holds."""

    @property
    def resolution_bytes(self) -> int:
        """What cannot be told from nothing."""

    @property
    def poll_s(self) -> float:
        """Seconds between two polls: a peak that is gone sooner may be missed."""

    def watching(self, process: int) -> AbstractContextManager[Callable[[], Held]]:
        """Poll a process until the context ends; what is given polls once more, and says what it held until then."""


@contextmanager
def watching(memory: DeviceMemory | None, process: int) -> Iterator[Callable[[], Held | None]]:
    """As ``DeviceMemory.watching``; without one nothing is said."""
    if memory is None:
        yield lambda: None
    else:
        with memory.watching(process) as held:
            yield held


@dataclass(frozen=True)
class DevicePeak:
    """What a workload takes of an accelerator's memory, above a process with a context and an empty graph.

    Attributes:
        method: how the number, or what is below the resolution, was read; empty where nothing was.
        peak_bytes: median over the processes; None unless the status says that there is a number.
        overhead_bytes: the most that a process with an empty graph held; median. It is not part of the peak.
        held, empty: of each process, with the workload and with the empty graph.
    """

    status: Reading
    method: str = ""
    message: str = ""
    peak_bytes: int | None = None
    overhead_bytes: int | None = None
    held: tuple[Held, ...] = ()
    empty: tuple[Held, ...] = ()

    def document(self, memory: DeviceMemory) -> dict[str, Json]:
        """As JSON, with what the number can be told to and how often it was asked for."""
        return {
            "status": self.status.value,
            "method": self.method,
            "message": self.message,
            "peak_bytes": self.peak_bytes,
            "overhead_bytes": self.overhead_bytes,
            "resolution_bytes": memory.resolution_bytes,
            "poll_ms": memory.poll_s * 1e3,
            "held_peak_bytes": [one.peak_bytes for one in self.held],
            "held_end_bytes": [one.end_bytes for one in self.held],
            "polls": [one.polls for one in self.held],
        }

    def beside(self, process: PeakMemory) -> PeakMemory:
        """The peak of the process with this one beside it; why there is none stands in its message."""
        told = f"on the GPU: {self.message}" if self.message else ""
        return replace(
            process,
            method=f"{process.method}{METHODS_JOINT}{self.method}" if self.method else process.method,
            message="; ".join(filter(None, (process.message, told))),
            device_bytes=self.peak_bytes,
        )


def device_peak(held: Sequence[Held], empty: Sequence[Held], resolution_bytes: int) -> DevicePeak:
    """What processes with a workload held above those with an empty graph; each was started for one of them alone."""
    all_held = (*held, *empty)
    if (why := next((one.message for one in all_held if one.message), "")) or not (held and empty):
        return DevicePeak(
            Reading.UNSUPPORTED, message=why or "no process was asked", held=tuple(held), empty=tuple(empty)
        )
    methods = sorted({one.method for one in all_held})
    if len(methods) > 1:
        told = f"what the processes held was told in different ways: {', '.join(methods)}"
        return DevicePeak(Reading.UNSUPPORTED, message=told, held=tuple(held), empty=tuple(empty))
    overhead = int(median(_peaks(empty)))
    peak = int(median(_peaks(held))) - overhead
    common = DevicePeak(Reading.OK, methods[0], "", peak, overhead, tuple(held), tuple(empty))
    if peak >= resolution_bytes:
        return common
    told = f"less than {resolution_bytes / 1e6:.2f} MB above an empty graph"
    return replace(common, status=Reading.BELOW_RESOLUTION, message=told, peak_bytes=None)


def _peaks(held: Sequence[Held]) -> list[int]:
    return [one.peak_bytes for one in held if one.peak_bytes is not None]
