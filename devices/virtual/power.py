"""A board that takes power by a law, and its sensor, by one virtual clock: a ``Load`` and a ``Meter`` at once."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...profiler.energy.meter import Counts, MeterFacts
from ...profiler.energy.trace import Trace
from ...profiler.energy.windows import Span


@dataclass(frozen=True)
class PowerLaw:
    """What the board takes, and how long a run takes it.

    Attributes:
        run_s, run_deviation_s: mean and deviation of one run.
        power_deviation: relative, of the active power from one stretch of work to the next: nothing is quite equal.
        drift_mw_per_s: by which the idle power grows: a board warms up.
        rise_s: time constant with which power follows a change of load.
    """

    idle_mw: float
    active_mw: float
    run_s: float
    run_deviation_s: float = 0.0
    power_deviation: float = 0.0
    drift_mw_per_s: float = 0.0
    rise_s: float = 0.0

    @property
    def gross_mj(self) -> float:
        """The truth of one run, without drift."""
        return self.active_mw * self.run_s

    @property
    def net_mj(self) -> float:
        """The same above idle."""
        return (self.active_mw - self.idle_mw) * self.run_s


@dataclass(frozen=True)
class SensorErrors:
    """How a sensor errs, beside what its ``MeterFacts`` say.

    Attributes:
        gain, offset_mw: of all its readings: 1.002 reads 0.2 % too much.
        noise_mw: of each reading; of a counter, of the power between two readings.
        correlation: of the noise of one reading with the next, 0 … 1.
        jitter_s: by which a reading is late, at the most.
        blocks_s: what a reading takes. It says what was in the second half of it, where the last conversion is, and
            carries the time of its middle, as ``sensors.sampler`` has it.
        failing: share of readings that give nothing.
        silences: when it says nothing: pairs of seconds since the beginning.
    """

    gain: float = 1.0
    offset_mw: float = 0.0
    noise_mw: float = 0.0
    correlation: float = 0.0
    jitter_s: float = 0.0
    blocks_s: float = 0.0
    failing: float = 0.0
    silences: tuple[tuple[float, float], ...] = ()


class VirtualBoard:
    """A board and its sensor. Seeded: the same seed makes the same readings."""

    def __init__(self, law: PowerLaw, facts: MeterFacts, errors: SensorErrors, seed: int = 0) -> None:
        self._law = law
        self._facts = facts
        self._errors = errors
        self._dice = random.Random(seed)
        self._now_s = 1.0
        #: Beginnings of stretches, the power that each tends to, and the energy that was taken until then.
        self._begins_s = [0.0]
        self._powers_mw = [law.idle_mw]

    @property
    def facts(self) -> MeterFacts:
        """As a ``Meter``."""
        return self._facts

    def run(self, lead_s: float, window_s: float) -> Span:
        """As a ``Load``."""
        law = self._law
        self._load(law.active_mw * math.exp(self._dice.gauss(0.0, law.power_deviation)))
        self._now_s += lead_s
        begin_s, runs = self._now_s, max(1, math.ceil(window_s / law.run_s))
        # Of many runs only the sum counts, and that is as good as normal.
        self._now_s += max(
            window_s / 2, runs * law.run_s + math.sqrt(runs) * law.run_deviation_s * self._dice.gauss(0, 1)
        )
        end_s = self._now_s
        self._now_s += lead_s
        self._load(law.idle_mw)
        return Span(_ns(begin_s), _ns(end_s), runs)

    def rest(self, seconds: float) -> Span:
        """As a ``Load``."""
        begin_s = self._now_s
        self._now_s += seconds
        return Span(_ns(begin_s), _ns(self._now_s))

    @contextmanager
    def recording(self) -> Iterator[VirtualBoard]:
        """As a ``Meter``: it has always read, and goes on."""
        self._trace = _Readings(self, random.Random(self._dice.random()), self._now_s - 2 * self._facts.period_s)
        yield self

    def trace(self) -> Trace:
        """As a ``Recording``: everything until now."""
        self._trace.read_until(self._now_s)
        return self._trace.trace()

    def _load(self, power_mw: float) -> None:
        self._begins_s.append(self._now_s)
        self._powers_mw.append(power_mw)

    def energy_mj(self, begin_s: float, end_s: float) -> float:
        """What the board truly takes between two moments."""
        return self._taken_mj(end_s) - self._taken_mj(begin_s)

    def _taken_mj(self, until_s: float) -> float:
        """Since the beginning. Power tends to its new value as a first-order system does."""
        law, total, power = self._law, 0.0, self._powers_mw[0]
        last = bisect_right(self._begins_s, until_s) - 1
        for stretch in range(last + 1):
            begin_s = self._begins_s[stretch]
            end_s = until_s if stretch == last else self._begins_s[stretch + 1]
            target, length = self._powers_mw[stretch], end_s - begin_s
            total += target * length
            if law.rise_s > 0:
                decay = math.exp(-length / law.rise_s)
                total += (power - target) * law.rise_s * (1.0 - decay)
                power = target + (power - target) * decay
            else:
                power = target
        return total + law.drift_mw_per_s * until_s**2 / 2


class _Readings:
    """The sensor's readings of a board, made when somebody asks."""

    def __init__(self, board: VirtualBoard, dice: random.Random, begin_s: float) -> None:
        self._board = board
        self._facts, self._errors = board._facts, board._errors
        self._dice = dice
        self._due_s = begin_s + dice.uniform(0, self._facts.period_s)
        self._begin_s = self._last_s = begin_s
        self._noise_mw = 0.0
        self._counted_mj = 0.0
        self._times: list[int] = []
        self._values: list[float] = []
        self._failures: list[int] = []

    def read_until(self, now_s: float) -> None:
        blocks_s = self._errors.blocks_s
        while self._due_s + blocks_s <= now_s:
            at_s = self._due_s + self._dice.uniform(0, self._errors.jitter_s) + blocks_s / 2
            self._due_s += self._facts.period_s
            if any(begin <= at_s <= end for begin, end in self._errors.silences):
                continue
            if self._dice.random() < self._errors.failing:
                self._failures.append(_ns(at_s))
                continue
            self._times.append(_ns(at_s))
            self._values.append(self._value(at_s))

    def _value(self, at_s: float) -> float:
        errors, facts = self._errors, self._facts
        # A first-order autoregression with a deviation that stays what it is.
        fresh = math.sqrt(1.0 - errors.correlation**2)
        self._noise_mw = errors.correlation * self._noise_mw + fresh * self._dice.gauss(0.0, errors.noise_mw)
        # A sensor of a moment sees a tenth of its period, so that no reading stands on a step of power.
        back_s = max(facts.averages_s, facts.period_s / 10) if facts.counts is Counts.POWER else at_s - self._last_s
        end_s = at_s
        if errors.blocks_s:
            back_s, end_s = errors.blocks_s / 2, at_s + errors.blocks_s / 2
        power_mw = self._board.energy_mj(end_s - back_s, end_s) / back_s if back_s > 0 else 0.0
        seen_mw = power_mw * errors.gain + errors.offset_mw + self._noise_mw
        step = facts.resolution or 0.0
        if facts.counts is Counts.POWER:
            return round(seen_mw / step) * step if step else seen_mw
        self._counted_mj += seen_mw * back_s
        self._last_s = at_s
        return math.floor(self._counted_mj / step) * step if step else self._counted_mj

    def trace(self) -> Trace:
        return Trace(tuple(self._times), tuple(self._values), tuple(self._failures))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
