"""Reads a sensor again and again in a thread of its own: every reading with its time, every failure counted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...profiler.energy.meter import MeterFacts
from ...profiler.energy.trace import Trace
from ...profiler.errors import MeterError
from .source import CounterFault, FoundSensor, Railed, Source

#: A sensor is read less often where reading it takes more of a core than this.
_SHARE_MAX = 0.01
#: Readings by which their cost is found, and how long that may take.
_COST_READINGS, _COST_S = 100, 1.0
#: The same for each rail beside the whole.
_RAIL_READINGS = 20


@dataclass(frozen=True)
class ReadCost:
    """What one reading takes, in ms; None where no reading succeeded."""

    median_ms: float | None
    p95_ms: float | None

    def words(self) -> str:
        """For people."""
        if self.median_ms is None or self.p95_ms is None:
            return "! it gives no reading"
        return f"a reading takes {self.median_ms:.3g} ms, one in twenty more than {self.p95_ms:.3g} ms"


def read_cost(source: Source, readings: int = _COST_READINGS) -> ReadCost:
    """Read a sensor some times in a row."""
    found: list[float] = []
    end = time.perf_counter() + _COST_S
    for _ in range(readings):
        begin = time.perf_counter()
        try:
            source.read()
        except (OSError, ValueError):
            pass
        else:
            found.append((time.perf_counter() - begin) * 1e3)
        if time.perf_counter() > end:
            break
    if not found:
        return ReadCost(None, None)
    found.sort()
    return ReadCost(found[len(found) // 2], found[min(len(found) - 1, int(0.95 * len(found)))])


class SensorMeter:
    """A sensor as a ``Meter``. Where reading costs too much of a core its period is doubled until it does not.

    Rails beside it never slow it down: where they cost too much they are read in turns, at every so manieth reading.
    """

    def __init__(self, sensor: FoundSensor) -> None:
        """Raises ``MeterError`` where it cannot be opened any more, or gives nothing."""
        self._sensor = sensor
        source = self._open()
        try:
            cost = read_cost(source)
            rails_s = sum((read_cost(rail, _RAIL_READINGS).median_ms or 0.0) / 1e3 for rail in _rails_of(source))
        finally:
            source.close()
        if cost.median_ms is None:
            raise MeterError(f"{sensor.facts.name} is there and gives no reading")
        period_s = sensor.facts.period_s
        while not sensor.facts.disturbs and cost.median_ms / 1e3 > _SHARE_MAX * period_s:
            period_s *= 2
        self._facts = replace(sensor.facts, period_s=period_s)
        self._stride = _stride(len(sensor.rails), rails_s, period_s)
        self._rails = tuple(replace(rail, period_s=self._stride * period_s) for rail in sensor.rails)

    @property
    def facts(self) -> MeterFacts:
        """What ``profiler.energy`` goes by."""
        return self._facts

    @property
    def rails(self) -> tuple[MeterFacts, ...]:
        """As ``RailedMeter.rails``."""
        return self._rails

    @contextmanager
    def recording(self) -> Iterator[Sampler]:
        """As ``Meter.recording``."""
        source = self._open()
        try:
            rails = [rail.read for rail in _rails_of(source)]
            with Sampler(source.read, self._facts.period_s, rails, self._stride) as sampler:
                yield sampler
        finally:
            source.close()

    def _open(self) -> Source:
        try:
            return self._sensor.open()
        except OSError as error:
            raise MeterError(f"{self._sensor.facts.name} cannot be read: {error.strerror}") from error


def _rails_of(source: Source) -> Sequence[Source]:
    return source.rails if isinstance(source, Railed) else ()


def _stride(rails: int, cost_s: float, period_s: float) -> int:
    """At which reading each rail is read: all at each where that costs nothing, else one at a time and no oftener than
    all together may cost.
    """
    if cost_s <= _SHARE_MAX * period_s:
        return 1
    stride = rails
    while cost_s > _SHARE_MAX * stride * period_s:
        stride *= 2
    return stride


class _Channel:
    """What was read of one rail, or of the whole."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._times: list[int] = []
        self._values: list[float] = []
        self._failures: list[int] = []
        self._faults: list[int] = []

    def take(self) -> None:
        """Read once."""
        begin = time.perf_counter_ns()
        value, kept = 0.0, self._times
        try:
            value = self._read()
        except CounterFault:
            kept = self._faults
        except (OSError, ValueError):
            kept = self._failures
        middle = (begin + time.perf_counter_ns()) // 2
        with self._lock:
            kept.append(middle)
            if kept is self._times:
                self._values.append(value)

    def trace(self) -> Trace:
        with self._lock:
            return Trace(tuple(self._times), tuple(self._values), tuple(self._failures), tuple(self._faults))


class Sampler:
    """The thread. As a context manager it ends with the context.

    Args:
        rails: how those beside the whole are read, right after it.
        stride: each of them at every so manieth reading, in turns.
    """

    def __init__(
        self,
        read: Callable[[], float],
        period_s: float,
        rails: Sequence[Callable[[], float]] = (),
        stride: int = 1,
    ) -> None:
        self._whole = _Channel(read)
        self._rails = [_Channel(rail) for rail in rails]
        self._stride = stride
        self._period_s = period_s
        self._dice = random.Random()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._thread.join()

    def trace(self) -> Trace:
        """Everything read until now."""
        return self._whole.trace()

    def rail_traces(self) -> tuple[Trace, ...]:
        """As ``RailedRecording.rail_traces``."""
        return tuple(rail.trace() for rail in self._rails)

    def _run(self) -> None:
        due, turn = time.perf_counter(), 0
        while not self._is_ending.is_set():
            self._whole.take()
            for at, rail in enumerate(self._rails):
                if (turn + at) % self._stride == 0:
                    rail.take()
            turn += 1
            # At a random moment of each period: what is read at a steady pace keeps step with runs of the same length.
            # A reading that came late does not make the next ones come in a hurry.
            due = max(due + self._period_s, time.perf_counter() - self._period_s)
            moment = due + self._dice.random() * self._period_s
            self._is_ending.wait(max(0.0, moment - time.perf_counter()))
