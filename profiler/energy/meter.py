"""What a power meter is to those who measure with it: facts about its readings and errors, and a recording of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from ..errors import UsageError
from ..records import Json, Sensor
from .trace import Trace

#: The driver of a meter outside the device, whose clock is its own.
EXTERNAL = "external"


class Counts(str, Enum):
    """What a reading is."""

    #: Power in mW, of a moment or of a short time before it.
    POWER = "power"
    #: Energy in mJ since some beginning; it only grows, wraps undone.
    ENERGY = "energy"


@dataclass(frozen=True)
class MeterFacts:
    """What a meter reads, and how far it can be believed. What is not known is None, never a guess.

    Attributes:
        name: for people, and the same after every start of the device: ``ina3221 1-0040``, ``rapl package-0``.
        driver: what reads it: ``ina3221x``, ``ina3221``, ``powercap``, ``pmic``, ``nvml``, ``external``, ``virtual``.
        rail: what its maker calls what it measures; empty where several are summed or there is no name.
        scope: what a reading includes: ``module``, ``soc``, ``package``, ``pmic_sum``, ``gpu``, ``wall``.
        resolution: smallest step between two readings, in mW or mJ as ``counts`` says.
        period_s: time between two readings that differ; a reading is no newer than this.
        averages_s: time before a reading that it is a mean of; 0 for one of a moment.
        gain_error: bound of the relative error of all readings together: 0.01 is 1 %.
        offset_mw: bound of what all readings are off by together.
        most_mw: a reading above it is a fault of the sensor; None where that is not known.
        disturbs: reading takes so much of the device that its latencies are not those of a device left alone.
        note: whatever else a reader of the number should know.
        parent: the rail, or the meter of the whole, that includes this one; empty where none does, or nobody knows.
    """

    name: str
    driver: str
    rail: str
    scope: str
    counts: Counts
    resolution: float | None
    period_s: float
    averages_s: float = 0.0
    gain_error: float | None = None
    offset_mw: float | None = None
    most_mw: float | None = None
    disturbs: bool = False
    note: str = ""
    parent: str = ""

    def __post_init__(self) -> None:
        if not self.period_s > 0 or self.averages_s < 0:
            raise UsageError(f"the meter {self.name} says something new every {self.period_s} s")

    def document(self) -> dict[str, Json]:
        """As JSON; numbers with their unit in the name. A parent stands in it only where there is one: hashes stay."""
        found: dict[str, Json] = {**asdict(self), "counts": self.counts.value}
        if not self.parent:
            del found["parent"]
        unit = "mw" if self.counts is Counts.POWER else "mj"
        found[f"resolution_{unit}"] = found.pop("resolution")
        return found

    def sensor(self) -> Sensor:
        """As a row of the store."""
        return Sensor(self.document())


@runtime_checkable
class Meter(Protocol):
    """Reads by itself while it records; readings carry the moment by ``time.perf_counter_ns``.

    On Linux and macOS that is one clock of the whole machine, so that a runner's moments can be looked up among them.
    """

    @property
    def facts(self) -> MeterFacts:
        """The same during a session."""

    def recording(self) -> AbstractContextManager[Recording]:
        """Begin to read; leaving the context ends it.

        Raises:
            MeterError: it may not be read, or is gone.
        """


class Recording(Protocol):
    """A meter at work."""

    def trace(self) -> Trace:
        """Everything read until now, failures too. A reading that failed is never a number."""
