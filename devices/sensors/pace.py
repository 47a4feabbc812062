"""What one reading of a sensor costs, and how often it may be read for that.

Two costs, which are not the same: the time of a core is taken from the board and disturbs what is measured; a reading
that waits for a conversion sleeps, disturbs nobody, and only says how often there can be one.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...profiler.energy.meter import MeterFacts
from .source import Source

#: A sensor is read less often where reading it takes more of a core than this; so are the rails beside it, together.
_CORE_MAX = 0.01
#: A reading is over in this part of the period, so that the next one can begin at a random moment of the next period.
_TAKEN_MAX = 0.5
#: What is left of a period for rails beside the whole: half of the rest, so that the whole is hardly ever late.
_RAILS_TAKEN_MAX = 0.25
#: Readings by which their cost is found, and how long that may take.
_READINGS, _READINGS_S = 100, 1.0


@dataclass(frozen=True)
class ReadCost:
    """What one reading takes; None where no reading succeeded.

    Attributes:
        median_ms, p95_ms: from asking to the answer, waiting included.
        core_ms: of a processor core, on average; programs that were run for it included.
    """

    median_ms: float | None
    p95_ms: float | None
    core_ms: float | None

    def words(self) -> str:
        """For people."""
        if self.median_ms is None or self.p95_ms is None:
            return "! it gives no reading"
        core = "" if self.core_ms is None else f", and {self.core_ms:.2g} ms of a core"
        return f"a reading takes {self.median_ms:.3g} ms, one in twenty more than {self.p95_ms:.3g} ms{core}"


#: Nothing was read, or nothing is known.
NO_COST = ReadCost(None, None, None)


def read_cost(source: Source, readings: int = _READINGS) -> ReadCost:
    """Read a sensor some times in a row; those that fail cost, too."""
    found: list[float] = []
    begun, made = time.perf_counter(), 0
    core_begun_s = _core_s()
    while made < readings and time.perf_counter() <= begun + _READINGS_S:
        begin = time.perf_counter()
        made += 1
        try:
            source.read()
        except (OSError, ValueError):
            continue
        found.append((time.perf_counter() - begin) * 1e3)
    if not found:
        return NO_COST
    found.sort()
    core_ms = (_core_s() - core_begun_s) * 1e3 / made
    return ReadCost(found[len(found) // 2], found[min(len(found) - 1, int(0.95 * len(found)))], core_ms)


def _core_s() -> float:
    """What this thread took of a core until now, and the programs that ended."""
    programs = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + programs.ru_utime + programs.ru_stime


def paced(facts: MeterFacts, cost: ReadCost) -> MeterFacts:
    """The sensor as it is read: at its own pace, and where that costs too much of a core at a half of it, a quarter, ….

    In doubles, and not as often as ever possible: the period is part of what the sensor is, in the store, and has to be
    the same tomorrow although costs are never quite. A sensor that ``disturbs`` may take of the board what it takes,
    since no latency is measured meanwhile. One that blocks is asked only when it can have answered.
    """
    core_ms = 0.0 if facts.disturbs else cost.core_ms or 0.0
    slower = 1
    while not _is_bearable(core_ms, cost.median_ms or 0.0, slower * facts.period_s, _TAKEN_MAX):
        slower *= 2
    return replace(facts, period_s=slower * facts.period_s)


def stride_of(costs: Sequence[ReadCost], period_s: float) -> int:
    """At which reading of the whole each rail is read, one being at each.

    All at each where that costs next to nothing; else one at a time, and no oftener than all together may cost.
    """
    core_ms = sum(cost.core_ms or 0.0 for cost in costs)
    taken_ms = sum(cost.median_ms or 0.0 for cost in costs)
    if _is_bearable(core_ms, taken_ms, period_s, _RAILS_TAKEN_MAX):
        return 1
    stride = len(costs)
    while not _is_bearable(core_ms, taken_ms, stride * period_s, _RAILS_TAKEN_MAX):
        stride *= 2
    return stride


def _is_bearable(core_ms: float, taken_ms: float, period_s: float, taken_max: float) -> bool:
    return core_ms <= _CORE_MAX * period_s * 1e3 and taken_ms <= taken_max * period_s * 1e3
