"""Energies of a space's blocks and of whole networks on this machine, measured and kept; what is known is reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...db import Store
from ...devices.host import memory_limit_bytes
from ...devices.virtual.door import energy_bench, open_bench
from ...profiler.energy.meter import Meter
from ...profiler.energy.rails import sensors_of
from ...profiler.energy.windows import EnergySettings
from ...profiler.protocol import Settings
from ...profiler.records import Measurement
from ...profiler.tasks import Task
from ..campaign import Planned
from ..local_setting import LocalSetting
from ..planned_campaign import Narrator


@dataclass(frozen=True)
class EnergyCampaign:
    """One run: how many graphs were asked for, how many were measured before, and what came of the others."""

    chosen: int
    reused: int
    made: tuple[Measurement, ...]

    @property
    def failed(self) -> tuple[Measurement, ...]:
        """Attempts that say no energy."""
        return tuple(m for m in self.made if m.energy is None or not m.energy.status.has_number)


def measure_energies(
    wanted: Sequence[Planned],
    store: Store,
    setting: LocalSetting,
    meter: Meter,
    narrator: Narrator,
    *,
    settings: EnergySettings | None = None,
    again: bool = False,
) -> EnergyCampaign:
    """Measure the energy of each graph that the store knows none of; every result is stored when it is made.

    An energy of another scope than the meter's is none.

    Args:
        again: measure those too that it knows an energy of.

    Raises:
        RunnerError: the runner could not be started at all.
        MeterError: the meter cannot be read any more; what was measured is kept.
    """
    setting.store_in(store)
    for sensor in sensors_of(meter):
        store.put_sensor(sensor)
    distinct = {(one.workload.graph_hash, one.purpose): one for one in wanted}
    known = set() if again else _known(store, setting, meter.facts.scope)
    left = [one for key, one in distinct.items() if key not in known]
    narrator.stage("measuring energy", len(left))
    limits = Settings(memory_limit_bytes=memory_limit_bytes(setting.facts))
    made = []
    with open_bench(setting.profile) as bench:
        measuring = energy_bench(limits, bench, meter, settings)
        for one in left:
            measurement = measuring.measure(Task(one.workload, one.purpose), setting.stage)
            store.put_workload(one.workload)
            store.record(measurement)
            made.append(measurement)
            narrator.step(f"{one.workload.name}: {_told(measurement)}")
    return EnergyCampaign(len(distinct), len(distinct) - len(left), tuple(made))


def _told(measurement: Measurement) -> str:
    energy = measurement.energy
    return measurement.status.value if energy is None else energy.status.value


def _known(store: Store, setting: LocalSetting, scope: str) -> set[tuple[str, str]]:
    made = store.measurements(
        device_identity=setting.device.identity, profile_hash=setting.profile.profile_hash, of=None, usable_only=False
    )
    return {
        (one.graph_hash, one.purpose)
        for one in made
        if one.energy is not None and one.energy.status.has_number and one.energy.scope == scope
    }
