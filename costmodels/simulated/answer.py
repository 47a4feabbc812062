"""What a simulator said beside its latency, as the store keeps it: in the conditions of a measurement."""

from __future__ import annotations

from ...profiler.readings import Energy, Reading
from ...profiler.records import SIMULATOR, Measurement

#: What a simulator's energy includes is the simulator's own affair.
SCOPE = "simulated"


def said_energy_mj(measurement: Measurement) -> float | None:
    """The energy of a run; None where the simulator says none, or the conditions were not read."""
    said = measurement.conditions.get(SIMULATOR)
    energy_mj = said.get("energy_mj") if isinstance(said, dict) else None
    return float(energy_mj) if isinstance(energy_mj, int | float) else None


def said_energy(measurement: Measurement) -> Energy | None:
    """The same as a reading: exact, without a spread, a call or windows, since nothing was run."""
    value = said_energy_mj(measurement)
    if value is None:
        return None
    return Energy(Reading.OK, scope=SCOPE, gross_median_mj=value, gross_lo_mj=value, gross_hi_mj=value, overhead_mj=0.0)
