"""What ``doctor`` says of power meters: each sensor with what a reading costs, and what is missing, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...profiler.energy.meter import MeterFacts
from ...profiler.energy.windows import EnergySettings
from ...profiler.records import Json
from .discovery import FoundSensors
from .sampler import ReadCost, read_cost
from .source import FoundSensor, Problem


@dataclass(frozen=True)
class SurveyedSensor:
    """A sensor and what it is worth here.

    Attributes:
        cost: of one reading.
        power_mw: what it says now; None for a counter, and where the reading failed.
        window_s: length of the windows that energies are measured in with it.
    """

    facts: MeterFacts
    is_whole: bool
    parent: str
    cost: ReadCost
    power_mw: float | None
    window_s: float

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        cost: dict[str, Json] = {"read_median_ms": self.cost.median_ms, "read_p95_ms": self.cost.p95_ms}
        own: dict[str, Json] = {"is_whole": self.is_whole, "parent": self.parent, "power_mw": self.power_mw}
        return {**self.facts.document(), **own, **cost, "window_s": self.window_s}


def survey(found: FoundSensors) -> tuple[list[SurveyedSensor], tuple[Problem, ...]]:
    """Read every sensor some times; one that gives nothing is among them, without numbers."""
    return [_surveyed(sensor) for sensor in found.sensors], found.problems


def _surveyed(sensor: FoundSensor) -> SurveyedSensor:
    cost, power_mw = ReadCost(None, None), None
    try:
        source = sensor.open()
    except OSError:
        pass
    else:
        try:
            cost = read_cost(source)
            power_mw = source.read() if sensor.facts.counts.value == "power" else None
        except (OSError, ValueError):
            power_mw = None
        finally:
            source.close()
    window_s = EnergySettings().window_s(sensor.facts)
    return SurveyedSensor(sensor.facts, sensor.is_whole, sensor.parent, cost, power_mw, window_s)
