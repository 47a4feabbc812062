"""A power sensor of any kind of ``presets`` at a virtual machine: when it reads, in which steps, how far off.

What it reads is looked up in the machine's timeline.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ...profiler.energy.meter import Counts, MeterFacts
from ...profiler.energy.trace import Trace
from . import presets
from .machine import Machine

_NS_PER_S = 1e9
#: Late by chance of a thread that wakes up to read, as a share of the period.
_LATE_SHARE = 0.02


@dataclass(frozen=True)
class VirtualRail:
    """A rail beside the whole: what it takes of the machine at rest, and of what it takes above that."""

    facts: MeterFacts
    of_idle: float
    of_load: float


def _rail(kind: str, rail: str, scope: str, of_idle: float, of_load: float) -> VirtualRail:
    facts = replace(
        presets.SENSORS[kind].facts, name=f"virtual {kind} {rail}", rail=rail, scope=scope, parent=f"virtual {kind}"
    )
    return VirtualRail(facts, of_idle, of_load)


#: Rails of the kinds that have some; the shares are plausible and of no board. Nothing runs on the GPU.
RAILS: Mapping[str, tuple[VirtualRail, ...]] = {
    "ina3221x": (
        _rail("ina3221x", "VIRTUAL_5V_CPU", "cpu", 0.25, 0.7),
        _rail("ina3221x", "VIRTUAL_5V_GPU", "gpu", 0.1, 0.0),
    ),
}

#: By the kinds of ``presets``.
SENSORS: Mapping[str, MeterFacts] = {kind: one.facts for kind, one in presets.SENSORS.items()}


@dataclass(frozen=True)
class SensorError:
    """What one sensor of a kind is off by, all the time: inside the bounds that its kind states."""

    gain: float = 0.0
    offset_mw: float = 0.0

    @classmethod
    def drawn(cls, facts: MeterFacts, board: int | str) -> SensorError:
        """One of the sensors that come out of the factory: another board has another, and keeps it."""
        dice = random.Random(f"{facts.name}/{board}")
        gain, offset_mw = facts.gain_error or 0.0, facts.offset_mw or 0.0
        return cls(dice.uniform(-gain, gain), dice.uniform(-offset_mw, offset_mw))


class VirtualMeter:
    """A sensor at a machine, as a ``Meter``.

    Args:
        error: None for one drawn by ``board``, or by the seed where there is none.
        wraps_mj: a counter starts anew there, as 32 bits do; the readings say what it is known to wrap at, or a fault.
        is_jittered: reads at a random moment of each period; a reader that keeps its pace may keep step with the load.
        rails: what it reads beside the whole.
    """

    def __init__(
        self,
        machine: Machine,
        facts: MeterFacts,
        seed: int = 0,
        *,
        error: SensorError | None = None,
        wraps_mj: float | None = None,
        is_jittered: bool = True,
        rails: Sequence[VirtualRail] = (),
        board: str | None = None,
    ) -> None:
        self._rails = tuple(rails)
        self._board: int | str = seed if board is None else board
        self._machine = machine
        self._facts = facts
        self._seed = seed
        self._error = error or SensorError.drawn(facts, self._board)
        self._wraps_mj = wraps_mj
        self._is_jittered = is_jittered

    @property
    def facts(self) -> MeterFacts:
        return self._facts

    @property
    def rails(self) -> tuple[MeterFacts, ...]:
        """As ``RailedMeter.rails``."""
        return tuple(rail.facts for rail in self._rails)

    @property
    def machine(self) -> Machine:
        """What it stands at."""
        return self._machine

    @contextmanager
    def recording(self) -> Iterator[_Recordings]:
        """As ``Meter.recording``: it reads from now on, by the machine's clock."""
        machine, seed = self._machine, self._seed
        whole = _Recording(machine, machine.timeline, self._facts, self._error, seed, self._wraps_mj, self._is_jittered)
        rails = [
            _Recording(
                machine, _Share(machine, rail), rail.facts, SensorError.drawn(rail.facts, self._board), seed, None,
                self._is_jittered,
            )
            for rail in self._rails
        ]  # fmt: skip
        yield _Recordings(whole, rails)


class _Recordings:
    """That of the whole, and those of the rails."""

    def __init__(self, whole: _Recording, rails: Sequence[_Recording]) -> None:
        self._whole = whole
        self._rails = rails

    def trace(self) -> Trace:
        """As ``Recording.trace``."""
        return self._whole.trace()

    def rail_traces(self) -> tuple[Trace, ...]:
        """As ``RailedRecording.rail_traces``."""
        return tuple(rail.trace() for rail in self._rails)


class _Line(Protocol):
    """What a machine took, or one of its rails."""

    @property
    def begin_ns(self) -> int: ...

    def power_mw(self, moment_ns: int) -> float: ...

    def energy_mj(self, moment_ns: int) -> float: ...

    def mean_mw(self, begin_ns: int, end_ns: int) -> float: ...


class _Share:
    """What a rail took of what the machine took."""

    def __init__(self, machine: Machine, rail: VirtualRail) -> None:
        self._line, self._rail = machine.timeline, rail
        self._idle_mw = machine.character.idle_mw

    @property
    def begin_ns(self) -> int:
        return self._line.begin_ns

    def power_mw(self, moment_ns: int) -> float:
        return self._of(self._line.power_mw(moment_ns))

    def energy_mj(self, moment_ns: int) -> float:
        seconds = (moment_ns - self.begin_ns) / _NS_PER_S
        return self._of(self._line.energy_mj(moment_ns) / seconds) * seconds if seconds else 0.0

    def mean_mw(self, begin_ns: int, end_ns: int) -> float:
        return self._of(self._line.mean_mw(begin_ns, end_ns))

    def _of(self, power_mw: float) -> float:
        """Linear, so that it holds of a mean as of a moment."""
        return self._rail.of_idle * self._idle_mw + self._rail.of_load * (power_mw - self._idle_mw)


class _Recording:
    """Reads what the machine did since it was asked last."""

    def __init__(
        self,
        machine: Machine,
        line: _Line,
        facts: MeterFacts,
        error: SensorError,
        seed: int,
        wraps_mj: float | None,
        is_jittered: bool,
    ) -> None:
        self._line = line
        self._machine = machine
        self._facts = facts
        self._error = error
        self._dice = random.Random(f"{facts.name}/readings/{seed}")
        self._wraps_mj = wraps_mj
        self._is_jittered = is_jittered
        self._period_ns = round(facts.period_s * _NS_PER_S)
        self._begin_ns = self._due_ns = machine.now_ns() + 1
        self._update_phase_ns = self._dice.randrange(self._period_ns)
        self._silent_until_ns = 0
        self._stuck_until_ns = 0
        self._last: float | None = None
        self._times: list[int] = []
        self._values: list[float] = []
        self._failures: list[int] = []
        self._faults: list[int] = []

    def trace(self) -> Trace:
        """Everything read until now."""
        while True:
            late_ns = self._lateness_ns()
            if self._due_ns + late_ns > self._machine.now_ns():
                break
            self._read(self._due_ns + late_ns)
            self._due_ns += self._period_ns
        return Trace(tuple(self._times), tuple(self._values), tuple(self._failures), tuple(self._faults))

    def _lateness_ns(self) -> int:
        share = 0.98 if self._is_jittered else _LATE_SHARE
        return int(self._dice.random() * share * self._period_ns)

    def _read(self, moment_ns: int) -> None:
        faults = self._machine.character.faults
        if self._begins(faults.gaps_per_s):
            self._silent_until_ns = moment_ns + round(faults.gap_s * _NS_PER_S)
        if moment_ns < self._silent_until_ns:
            return
        if faults.failed_reads and self._dice.random() < faults.failed_reads:
            self._failures.append(moment_ns)
            return
        if self._begins(faults.stuck_per_s):
            self._stuck_until_ns = moment_ns + round(faults.stuck_s * _NS_PER_S)
        value = self._last if moment_ns < self._stuck_until_ns and self._last is not None else self._value(moment_ns)
        if self._wraps_mj is not None and self._last is not None and value < self._last:
            # The counter began anew, and nobody says where it wraps.
            self._faults.append(moment_ns)
        else:
            self._times.append(moment_ns)
            self._values.append(value)
        self._last = value

    def _begins(self, rate_per_s: float) -> bool:
        return rate_per_s > 0 and self._dice.random() < rate_per_s * self._facts.period_s

    def _value(self, moment_ns: int) -> float:
        line, facts = self._line, self._facts
        if facts.counts is Counts.ENERGY:
            # What it says is as old as its last update.
            aged_ns = (moment_ns - self._update_phase_ns) % self._period_ns
            updated_ns = max(moment_ns - aged_ns, self._begin_ns)
            counted_mj = line.energy_mj(updated_ns) - line.energy_mj(self._begin_ns)
            value = self._in_steps(counted_mj * (1.0 + self._error.gain))
            return value if self._wraps_mj is None else value % self._wraps_mj
        if facts.averages_s:
            begin_ns = max(line.begin_ns + 1, moment_ns - round(facts.averages_s * _NS_PER_S))
            power_mw = line.mean_mw(begin_ns, moment_ns) if begin_ns < moment_ns else line.power_mw(moment_ns)
        else:
            power_mw = line.power_mw(moment_ns)
        return self._in_steps(power_mw * (1.0 + self._error.gain) + self._error.offset_mw)

    def _in_steps(self, value: float) -> float:
        step = self._facts.resolution
        return value if step is None else round(value / step) * step
