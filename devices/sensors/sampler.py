"""Reads a sensor again and again in a thread of its own: every reading with its time, every failure counted.

How often is the sensor's own pace, as far as what a reading costs allows: see ``pace``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ...profiler.energy.meter import MeterFacts
from ...profiler.energy.trace import Trace
from ...profiler.errors import MeterError
from .pace import paced, read_cost, stride_of
from .source import CounterFault, FoundSensor, Railed, Source

#: Readings of each rail beside the whole by which their cost is found.
_RAIL_READINGS = 20


class SensorMeter:
    """A sensor as a ``Meter``, read as often as ``pace.paced`` has it.

    Rails beside it never slow it down: where they cost too much they are read in turns, at every so manieth reading.
    """

    def __init__(self, sensor: FoundSensor) -> None:
        """Raises ``MeterError`` where it cannot be opened any more, or gives nothing."""
        self._sensor = sensor
        source = self._open()
        try:
            cost = read_cost(source)
            of_rails = [read_cost(rail, _RAIL_READINGS) for rail in _rails_of(source)]
        finally:
            source.close()
        if cost.median_ms is None:
            raise MeterError(f"{sensor.facts.name} is there and gives no reading")
        self._facts = paced(sensor.facts, cost)
        self._stride = stride_of(of_rails, self._facts.period_s)
        self._rails = tuple(replace(rail, period_s=self._stride * self._facts.period_s) for rail in sensor.rails)

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
