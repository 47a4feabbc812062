"""What an attempt says beside its latency: energy and peak memory. Frozen, and checked: no number where there is none.

Part of ``records``, which hands these names on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import Enum

from .errors import UsageError


class Reading(str, Enum):
    """What became of energy or memory in an attempt. Only ``OK`` and ``UNCONVERGED`` carry a number."""

    OK = "ok"
    #: The interval stayed wider than asked for until the limit of windows.
    UNCONVERGED = "unconverged"
    #: The workload stands out of what is there without it by less than the sensor or the counter can tell.
    BELOW_RESOLUTION = "below_resolution"
    #: The guards rejected it: gaps between samples, a counter that went backwards, too low a supply voltage.
    REJECTED = "rejected"
    #: There is a sensor, and this process may not read it.
    UNAVAILABLE = "unavailable"
    #: This device or system has nothing to measure it with.
    UNSUPPORTED = "unsupported"

    @property
    def has_number(self) -> bool:
        return self in (Reading.OK, Reading.UNCONVERGED)


@dataclass(frozen=True)
class Energy:
    """Energy of one run, in millijoules: gross, idle and net apart, statistical and systematic error apart.

    Attributes:
        scope: what the number includes: ``module``, ``soc``, ``package``, ``pmic_sum``, ``wall``, ``simulated``
            (by a simulator). Energies of two scopes are two quantities.
        message: why there is no number.
        sensor_hash: the ``Sensor``; None where there is none, as in a simulator.
        gross_median_mj: all that was taken during the active windows, divided by their runs.
        gross_lo_mj, gross_hi_mj: 95 % interval of the median over the windows: what chance does, and no more.
        gross_systematic_mj: bound of what all windows err by together (resolution, gain); None where not known.
        net_median_mj, net_lo_mj, net_hi_mj, net_systematic_mj: gross less what the device would have taken in the same
            time without the workload. None where the idle power was not measured.
        idle_mw, idle_deviation_mw: power of the windows between the active ones, session loaded, and its deviation.
        active_mw: power of the active windows.
        overhead_mj: gross energy of a run of an empty graph, measured in the same session.
        window_ms, windows, runs: length of an active window, how many there were, and the runs in all of them.

    Raises:
        UsageError: a number that is none, an interval that does not hold its median, a net energy that is not above 0
            (that is ``below_resolution``), or a status that does not fit its numbers.
    """

    status: Reading
    scope: str = ""
    message: str = ""
    sensor_hash: str | None = None
    gross_median_mj: float | None = None
    gross_lo_mj: float | None = None
    gross_hi_mj: float | None = None
    gross_systematic_mj: float | None = None
    net_median_mj: float | None = None
    net_lo_mj: float | None = None
    net_hi_mj: float | None = None
    net_systematic_mj: float | None = None
    idle_mw: float | None = None
    idle_deviation_mw: float | None = None
    active_mw: float | None = None
    overhead_mj: float | None = None
    window_ms: float | None = None
    windows: int | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_interval("gross energy", self.gross_lo_mj, self.gross_median_mj, self.gross_hi_mj)
        _check_interval("net energy", self.net_lo_mj, self.net_median_mj, self.net_hi_mj)
        if self.status.has_number != (self.gross_median_mj is not None):
            raise UsageError(f"an energy that is {self.status.value} with {self.gross_median_mj} mJ")
        if self.net_median_mj is not None and self.gross_median_mj is None:
            raise UsageError("a net energy without the gross energy that it was taken from")
        if self.status.has_number and not self.scope:
            raise UsageError("an energy that does not say what it includes", remedy="give its scope: module, soc, …")


#: Between how the process was measured and how the accelerator's memory was, in ``PeakMemory.method``.
METHODS_JOINT = "+"


@dataclass(frozen=True)
class PeakMemory:
    """Memory of a workload at its highest, in bytes above a process with the runtime and without the workload.

    Attributes:
        method: how it was measured, with a version: numbers of two methods are two quantities. Where the memory of an
            accelerator was asked for and told, how follows after a ``+``.
        message: why there is no number, of the process or of the accelerator's memory.
        peak_bytes: while it runs, weights included, what was freed in loading given back; median over the repetitions,
            each in a fresh process.
        lo_bytes, hi_bytes: smallest and largest repetition.
        loading_bytes: while it is loaded; median. It is gone when the workload runs, and may be the larger one.
        kept_bytes: freed in loading and still held until the allocator is told to give it back; median. Chance decides
            how much it is; an application that does not tell it holds so much more than ``peak_bytes``.
        baseline_bytes: the process before the workload; median.
        overhead_bytes: peak of an empty graph, measured in the same way: what the runtime takes for the first graph of
            a process, whichever it is. It is part of the peaks.
        device_bytes: the most that the process held of an accelerator's own memory while the workload was loaded and
            run, above one with an empty graph; median. ``peak_bytes`` does not hold it, and the status says nothing of
            it. None without such a memory, where it is not told, and below its resolution.

    Raises:
        UsageError: a number below 0, an interval that does not hold its median, a status that does not fit, or a
            memory of an accelerator that is 0.
    """

    status: Reading
    method: str
    message: str = ""
    peak_bytes: int | None = None
    lo_bytes: int | None = None
    hi_bytes: int | None = None
    loading_bytes: int | None = None
    kept_bytes: int | None = None
    baseline_bytes: int | None = None
    overhead_bytes: int | None = None
    device_bytes: int | None = None
    repetitions: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_interval("peak memory", self.lo_bytes, self.peak_bytes, self.hi_bytes)
        if self.status.has_number != (self.peak_bytes is not None):
            raise UsageError(f"a peak memory that is {self.status.value} with {self.peak_bytes} bytes")
        if self.device_bytes == 0:
            raise UsageError("device_bytes is 0: no number of that", remedy="leave it out, and say why by the message")

    @property
    def process_method(self) -> str:
        """How the process was measured."""
        return self.method.partition(METHODS_JOINT)[0]

    @property
    def device_method(self) -> str:
        """How the accelerator's memory was; empty where it was not."""
        return self.method.partition(METHODS_JOINT)[2]


#: The one number that may be below 0: the lower end of a net energy that is hardly above idle.
_MAY_BE_NEGATIVE = "net_lo_mj"


def _check_numbers(record: Energy | PeakMemory) -> None:
    for one in fields(record):
        value = getattr(record, one.name)
        if not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or (value < 0 and one.name != _MAY_BE_NEGATIVE):
            raise UsageError(f"{one.name} is {value}: no number of that", remedy="leave it out, and say why by status")


def _check_interval(what: str, low: float | None, median: float | None, high: float | None) -> None:
    if low is None and median is None and high is None:
        return
    if low is None or median is None or high is None:
        raise UsageError(f"a {what} without its interval: {low}, {median}, {high}")
    if not (low <= median <= high and median > 0):
        raise UsageError(f"no {what} is {median} in {low} … {high}", remedy="one that is not above 0: below_resolution")
