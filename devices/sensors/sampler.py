"""Reads a sensor again and again in a thread of its own: every reading with its time, every failure counted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...profiler.energy.meter import MeterFacts
from ...profiler.energy.trace import Trace
from ...profiler.errors import MeterError
from .source import CounterFault, FoundSensor, Source

#: A sensor is read less often where reading it takes more of a core than this.
_SHARE_MAX = 0.01
#: Readings by which their cost is found, and how long that may take.
_COST_READINGS, _COST_S = 100, 1.0


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


def read_cost(source: Source) -> ReadCost:
    """Read a sensor some times in a row."""
    found: list[float] = []
    end = time.perf_counter() + _COST_S
    for _ in range(_COST_READINGS):
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
    """A sensor as a ``Meter``. Where reading costs too much of a core its period is doubled until it does not."""

    def __init__(self, sensor: FoundSensor) -> None:
        """Raises ``MeterError`` where it cannot be opened any more, or gives nothing."""
        self._sensor = sensor
        source = self._open()
        try:
            cost = read_cost(source)
        finally:
            source.close()
        if cost.median_ms is None:
            raise MeterError(f"{sensor.facts.name} is there and gives no reading")
        period_s = sensor.facts.period_s
        while not sensor.facts.disturbs and cost.median_ms / 1e3 > _SHARE_MAX * period_s:
            period_s *= 2
        self._facts = replace(sensor.facts, period_s=period_s)

    @property
    def facts(self) -> MeterFacts:
        """What ``profiler.energy`` goes by."""
        return self._facts

    @contextmanager
    def recording(self) -> Iterator[Sampler]:
        """As ``Meter.recording``."""
        source = self._open()
        try:
            with Sampler(source.read, self._facts.period_s) as sampler:
                yield sampler
        finally:
            source.close()

    def _open(self) -> Source:
        try:
            return self._sensor.open()
        except OSError as error:
            raise MeterError(f"{self._sensor.facts.name} cannot be read: {error.strerror}") from error


class Sampler:
    """The thread. As a context manager it ends with the context."""

    def __init__(self, read: Callable[[], float], period_s: float) -> None:
        self._read = read
        self._period_s = period_s
        self._dice = random.Random()
        self._lock = threading.Lock()
        self._times: list[int] = []
        self._values: list[float] = []
        self._failures: list[int] = []
        self._faults: list[int] = []
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
        with self._lock:
            return Trace(tuple(self._times), tuple(self._values), tuple(self._failures), tuple(self._faults))

    def _run(self) -> None:
        due = time.perf_counter()
        while not self._is_ending.is_set():
            self._take()
            # At a random moment of each period: what is read at a steady pace keeps step with runs of the same length.
            # A reading that came late does not make the next ones come in a hurry.
            due = max(due + self._period_s, time.perf_counter() - self._period_s)
            moment = due + self._dice.random() * self._period_s
            self._is_ending.wait(max(0.0, moment - time.perf_counter()))

    def _take(self) -> None:
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
