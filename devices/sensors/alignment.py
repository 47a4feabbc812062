"""By how much a meter's clock is off this machine's: found from a load pattern that both have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...profiler.energy.trace import Trace
from ...profiler.energy.windows import Span


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
