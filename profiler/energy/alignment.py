"""By how much a meter's clock is off this machine's: found from a load pattern that both have seen.

A meter whose readings come late by more than a load leads and trails its window would be read in the wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .meter import Meter, MeterFacts, Recording
from .session import Load
from .trace import Trace
from .windows import Span

#: Offsets that are looked for: as late as a program that buffers its lines, or a plug that is asked over the network.
_MOST_S = 3.0
#: The pattern's shortest part, at the least, and in periods of the meter: a reading must fall into each.
_PART_S, _PART_PERIODS = 0.3, 4.0


@dataclass(frozen=True)
class AlignedMeter:
    """A meter whose times are moved by a constant."""

    meter: Meter
    offset_ns: int

    @property
    def facts(self) -> MeterFacts:
        """The meter's own."""
        return self.meter.facts

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """As ``Meter.recording``."""
        with self.meter.recording() as recording:
            yield _Moved(recording, self.offset_ns)


@dataclass(frozen=True)
class _Moved:
    recording: Recording
    offset_ns: int

    def trace(self) -> Trace:
        """As ``Recording.trace``. Failures and faults have no time of the meter's: they stay where they came."""
        found = self.recording.trace()
        return replace(found, times_ns=tuple(moment + self.offset_ns for moment in found.times_ns))


def measure_offset_ns(load: Load, meter: Meter) -> int | None:
    """Run and rest in a pattern of unequal lengths, and find the meter's offset by it; None where it does not follow.

    Raises:
        MeterError: the meter cannot be read.
    """
    facts = meter.facts
    part_s = max(_PART_S, _PART_PERIODS * facts.period_s + facts.averages_s)
    with meter.recording() as recording:
        load.rest(2 * part_s)
        busy = [load.run(0.0, 2 * part_s)]
        load.rest(part_s)
        busy.append(load.run(0.0, part_s))
        # What comes late must have come.
        load.rest(2 * part_s + _MOST_S)
        trace = recording.trace()
    return clock_offset_ns(trace, busy, round(_MOST_S * 1e9), round(facts.period_s * 1e9 / 4))


def clock_offset_ns(trace: Trace, busy: Sequence[Span], most_ns: int, step_ns: int) -> int | None:
    """What must be added to the trace's times, so that its power is highest when the device was busy.

    The offset of the largest correlation between the power and a pattern that is 1 while the device was busy and 0
    before and after; the pattern has to be of unequal lengths, else every period of it fits.

    Args:
        trace: readings from before the pattern until after it.
        most_ns, step_ns: offsets that are tried: from ``-most_ns`` to ``most_ns``.

    Returns:
        None where no offset fits: the readings do not cover the pattern, or do not move with it.
    """
    if len(trace.times_ns) < 3 or not busy:
        return None
    scores = {offset: _correlation(trace, busy, offset) for offset in range(-most_ns, most_ns + 1, step_ns)}
    known = {offset: score for offset, score in scores.items() if score is not None}
    if not known:
        return None
    best = max(known, key=lambda offset: known[offset])
    # Half of what moves must be the pattern: less is a device that something else loads.
    return best if known[best] >= math.sqrt(0.5) else None


def _correlation(trace: Trace, busy: Sequence[Span], offset_ns: int) -> float | None:
    pattern = [
        1.0 if any(span.begin_ns <= moment + offset_ns <= span.end_ns for span in busy) else 0.0
        for moment in trace.times_ns
    ]
    n = len(pattern)
    mean_p, mean_v = sum(pattern) / n, sum(trace.values) / n
    deviations = [(p - mean_p, v - mean_v) for p, v in zip(pattern, trace.values, strict=True)]
    spread_p, spread_v = sum(p * p for p, _ in deviations), sum(v * v for _, v in deviations)
    if spread_p == 0 or spread_v == 0:
        return None
    return sum(p * v for p, v in deviations) / math.sqrt(spread_p * spread_v)
