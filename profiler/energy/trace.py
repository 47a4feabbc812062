"""A meter's readings in time, and the mean power between two moments; nothing is known where nothing was read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Trace:
    """Readings in the order of time.

    Attributes:
        times_ns: of each reading, by the monotonic clock; each later than the one before.
        values: mW, or mJ of a counter whose wraps were undone.
        failures_ns: when a reading gave nothing.
        faults: what was read and cannot be (a counter that went backwards): the times.
    """

    times_ns: Sequence[int]
    values: Sequence[float]
    failures_ns: Sequence[int] = ()
    faults_ns: Sequence[int] = ()

    def between(self, begin_ns: int, end_ns: int) -> slice:
        """The places of the readings inside, both ends included."""
        return slice(bisect_left(self.times_ns, begin_ns), bisect_right(self.times_ns, end_ns))

    def covers(self, begin_ns: int, end_ns: int) -> bool:
        """Whether there is a reading at or before the beginning and one at or after the end."""
        return bool(self.times_ns) and self.times_ns[0] <= begin_ns and self.times_ns[-1] >= end_ns


def at(trace: Trace, moment_ns: int) -> float:
    """The value at a moment, linear between the two readings around it.

    Raises:
        ValueError: there is no reading on one side of it.
    """
    after = bisect_left(trace.times_ns, moment_ns)
    if after < len(trace.times_ns) and trace.times_ns[after] == moment_ns:
        return trace.values[after]
    if not 0 < after < len(trace.times_ns):
        raise ValueError(f"no readings around {moment_ns}")
    before = after - 1
    share = (moment_ns - trace.times_ns[before]) / (trace.times_ns[after] - trace.times_ns[before])
    return trace.values[before] + share * (trace.values[after] - trace.values[before])


def mean_power_mw(trace: Trace, begin_ns: int, end_ns: int) -> float:
    """The mean over a time of power readings: their integral by trapezoids, with the edges between readings, over it.

    A plain mean of the readings would count those that came late as much as those that came in time.

    Raises:
        ValueError: there are no readings around it, or it is empty.
    """
    if end_ns <= begin_ns:
        raise ValueError(f"no time between {begin_ns} and {end_ns}")
    inside = trace.between(begin_ns, end_ns)
    times = [begin_ns, *trace.times_ns[inside], end_ns]
    powers = [at(trace, begin_ns), *trace.values[inside], at(trace, end_ns)]
    total = sum((times[n + 1] - times[n]) * (powers[n] + powers[n + 1]) / 2 for n in range(len(times) - 1))
    return total / (end_ns - begin_ns)


def counted_power_mw(trace: Trace, begin_ns: int, end_ns: int) -> float:
    """The mean power of a time from an energy counter: what it grew by, over the time.

    Raises:
        ValueError: as ``mean_power_mw``.
    """
    if end_ns <= begin_ns:
        raise ValueError(f"no time between {begin_ns} and {end_ns}")
    return (at(trace, end_ns) - at(trace, begin_ns)) / ((end_ns - begin_ns) / 1e9)


def longest_gap_s(trace: Trace, begin_ns: int, end_ns: int) -> float:
    """The longest time without a reading that touches this time, edges included."""
    inside = trace.between(begin_ns, end_ns)
    times = [*trace.times_ns[max(0, inside.start - 1) : inside.stop + 1]]
    if len(times) < 2:
        return (end_ns - begin_ns) / 1e9
    return max(later - earlier for earlier, later in pairwise(times)) / 1e9
