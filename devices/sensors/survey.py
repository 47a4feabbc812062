"""What ``doctor`` says of power meters: each sensor with what a reading costs, and what is missing, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...profiler.energy.meter import Counts, MeterFacts
from ...profiler.energy.windows import EnergySettings
from ...profiler.records import Json
from .discovery import FoundSensors
from .pace import NO_COST, ReadCost, paced, read_cost
from .source import FoundSensor, Problem


@dataclass(frozen=True)
class SurveyedSensor:
    """A sensor and what it is worth here.

    Attributes:
        cost: of one reading; None where that was not timed.
        power_mw: what it says now; None for a counter, and where the reading failed.
        period_s: between two readings that are taken of it, which is no shorter than its own.
        window_s: length of the windows that energies are measured in with it.
    """

    facts: MeterFacts
    is_whole: bool
    parent: str
    cost: ReadCost | None
    power_mw: float | None
    period_s: float
    window_s: float

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        timed = self.cost or NO_COST
        cost: dict[str, Json] = {
            "read_median_ms": timed.median_ms,
            "read_p95_ms": timed.p95_ms,
            "read_core_ms": timed.core_ms,
            "read_every_s": self.period_s,
        }
        own: dict[str, Json] = {"is_whole": self.is_whole, "parent": self.parent, "power_mw": self.power_mw}
        return {**self.facts.document(), **own, **cost, "window_s": self.window_s}

    def lines(self, whole_rail: str) -> list[str]:
        """For people; ``whole_rail`` is what the sensor of the whole is called by its maker, its rails joined by +."""
        facts, is_power = self.facts, self.facts.counts is Counts.POWER
        unit = "mW" if is_power else "mJ"
        step = "steps not known" if facts.resolution is None else f"steps of {facts.resolution:.3g} {unit}"
        if facts.resolution is not None and "+" in facts.rail:
            step += f" in {facts.rail.count('+') + 1} rails together"
        now = [] if self.power_mw is None else [f"now {self.power_mw:.0f} mW"]
        means = [f"each a mean of {facts.averages_s * 1e3:.3g} ms"] if facts.averages_s else []
        cost = [] if self.cost is None else [self.cost.words()]
        slower = [] if self.period_s == facts.period_s else [f"so it is read {1 / self.period_s:.3g} times a second"]
        taking = (
            ["latencies are measured without it, since reading it takes the board's time"] if facts.disturbs else []
        )
        return [
            f"{facts.name}: {self._place(whole_rail)}",
            f"    rail {facts.rail or 'not named'}, scope {facts.scope}" + (f"; {facts.note}" if facts.note else ""),
            f"    {'power' if is_power else 'a counter of energy'} in {unit}, {step}, {1 / facts.period_s:.3g} readings"
            f" a second{', ' if means else ''}{''.join(means)}; windows of {self.window_s:.3g} s",
            *(f"    {'; '.join(one)}" for one in ([*now, *cost, *slower, *taking],) if one),
        ]

    def _place(self, whole_rail: str) -> str:
        if self.is_whole:
            return "the whole"
        if self.parent:
            return f"a part of {self.parent}"
        if self.facts.rail in whole_rail.split("+"):
            return "a part of the whole"
        return "beside the whole, and never added to it"


def survey(found: FoundSensors, *, is_timed: bool = True) -> tuple[list[SurveyedSensor], tuple[Problem, ...]]:
    """Read every sensor some times; one that gives nothing is among them, without numbers.

    Args:
        is_timed: False for a recording, where a reading costs what a file costs.
    """
    return [_surveyed(sensor, is_timed) for sensor in found.sensors], found.problems


def _surveyed(sensor: FoundSensor, is_timed: bool) -> SurveyedSensor:
    cost, power_mw = NO_COST if is_timed else None, None
    try:
        source = sensor.open()
    except OSError:
        pass
    else:
        try:
            cost = read_cost(source) if is_timed else None
            power_mw = source.read() if sensor.facts.counts.value == "power" else None
        except (OSError, ValueError):
            power_mw = None
        finally:
            source.close()
    used = sensor.facts if cost is None else paced(sensor.facts, cost)
    window_s = EnergySettings().window_s(used)
    return SurveyedSensor(sensor.facts, sensor.is_whole, sensor.parent, cost, power_mw, used.period_s, window_s)
