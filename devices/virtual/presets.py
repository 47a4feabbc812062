"""Sensors as real ones are, one of each kind, for boards that never were: their facts are those of ``devices/sensors``.

Noise, gain, offset and what a reading costs are plausible and not measured; gain and offset lie inside what the facts
bound them by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...profiler.energy.meter import Counts, MeterFacts
from ..sensors.pace import NO_COST, ReadCost, paced
from .power import PowerLaw, SensorErrors


@dataclass(frozen=True)
class VirtualSensor:
    """A kind of sensor.

    Attributes:
        facts: what it says of itself, read as often as its cost allows.
    """

    facts: MeterFacts
    errors: SensorErrors


def _sensor(
    name: str, scope: str, counts: Counts, resolution: float, period_s: float, errors: SensorErrors, *,
    averages_s: float = 0.0, gain_error: float, offset_mw: float, cost: ReadCost = NO_COST,
) -> VirtualSensor:  # fmt: skip
    facts = MeterFacts(
        f"virtual {name}", "virtual", "", scope, counts, resolution, period_s, averages_s, gain_error, offset_mw
    )
    return VirtualSensor(paced(facts, cost), errors)


SENSORS: Mapping[str, VirtualSensor] = {
    "ina3221x": _sensor(
        "ina3221x", "module", Counts.POWER, 40.0, 0.02,
        SensorErrors(1.002, -45.0, 60.0, 0.3, 0.002), gain_error=0.0025, offset_mw=80.0,
    ),
    "ina3221": _sensor(
        "ina3221", "module", Counts.POWER, 40.0, 0.0132,
        # The driver sleeps through two conversions of three channels.
        SensorErrors(0.998, 60.0, 60.0, 0.3, 0.001, blocks_s=0.0132), gain_error=0.0025, offset_mw=80.0,
        cost=ReadCost(13.2, 14.0, 1.1),
    ),
    "ina226": _sensor(
        "ina226", "external", Counts.POWER, 1.0, 0.01,
        SensorErrors(1.0008, 2.0, 15.0, 0.2, 0.001), averages_s=0.0022, gain_error=0.001, offset_mw=5.0,
    ),
    "pmic": _sensor(
        "pmic", "pmic_sum", Counts.POWER, 1.0, 0.1,
        SensorErrors(0.99, 20.0, 80.0, 0.4, 0.005), gain_error=0.02, offset_mw=50.0,
    ),
    "rapl": _sensor(
        "rapl", "package", Counts.ENERGY, 0.061, 0.01,
        SensorErrors(1.02, 0.0, 150.0, 0.5, 0.001), gain_error=0.03, offset_mw=1.0,
    ),
    "nvml": _sensor(
        "nvml", "gpu", Counts.ENERGY, 1.0, 0.1,
        SensorErrors(0.97, 0.0, 2500.0, 0.5, 0.01), gain_error=0.05, offset_mw=1.0,
    ),
    "plug": _sensor(
        "plug", "wall", Counts.POWER, 100.0, 1.0,
        SensorErrors(1.004, 30.0, 50.0, 0.2, 0.05), averages_s=1.0, gain_error=0.01, offset_mw=100.0,
    ),
}  # fmt: skip

#: A law for each kind of sensor: a board of the power that such a sensor is found on.
LAWS: Mapping[str, PowerLaw] = {
    "ina3221x": PowerLaw(1500.0, 3900.0, 0.042, 0.002, 0.004, 0.02, 0.05),
    "ina3221": PowerLaw(4800.0, 9200.0, 0.006, 0.0004, 0.004, 0.02, 0.05),
    "ina226": PowerLaw(2700.0, 5400.0, 0.031, 0.001, 0.004, 0.02, 0.05),
    "pmic": PowerLaw(2600.0, 7200.0, 0.013, 0.0005, 0.004, 0.02, 0.05),
    "rapl": PowerLaw(9000.0, 31000.0, 0.0021, 0.0002, 0.005, 0.05, 0.02),
    "nvml": PowerLaw(75000.0, 340000.0, 0.0012, 0.0001, 0.005, 0.5, 0.05),
    "plug": PowerLaw(3500.0, 6100.0, 0.031, 0.001, 0.004, 0.02, 0.05),
}
