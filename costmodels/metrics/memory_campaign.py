"""Peak memory of whole networks on this machine, measured and kept; what the store has is not measured again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...db import Store
from ...devices.gpu_memory import gpu_memory
from ...devices.host import memory_limit_bytes
from ...devices.virtual.door import open_bench
from ...profiler.memory import METHOD, PURPOSE, measure_memory
from ...profiler.protocol import Settings
from ...profiler.readings import Reading
from ...profiler.records import Measurement
from ...profiler.workload import Workload
from ..dataset import NETWORK_PURPOSES
from ..local_setting import LocalSetting
from ..planned_campaign import Narrator


@dataclass(frozen=True)
class MemoryCampaign:
    """One run: how many networks were asked for, how many were measured before, and what came of the others."""

    chosen: int
    reused: int
    made: tuple[Measurement, ...]

    @property
    def failed(self) -> tuple[Measurement, ...]:
        """Attempts that say nothing of the memory."""
        return tuple(m for m in self.made if m.peak_memory is None)

    @property
    def unsupported(self) -> str:
        """Why this device or runtime tells no peak; empty where it does."""
        readings = [m.peak_memory for m in self.made if m.peak_memory is not None]
        return next((one.message for one in readings if one.status is Reading.UNSUPPORTED), "")

    @property
    def untold(self) -> tuple[str, ...]:
        """Why there is no memory of a GPU, where there is none; each reason once."""
        readings = [m.peak_memory for m in self.made if m.peak_memory is not None]
        return tuple(dict.fromkeys(one.message for one in readings if one.message and one.device_bytes is None))


def measure_networks(
    networks: Sequence[Workload], store: Store, setting: LocalSetting, narrator: Narrator, *, again: bool = False
) -> MemoryCampaign:
    """Measure the peak memory of each network that the store knows no peak of; every result is stored when it is made.

    Args:
        again: measure those too that it knows a peak of.

    Raises:
        RunnerError: the runner could not be started at all.
    """
    setting.store_in(store)
    wanted = {network.graph_hash: network for network in networks}
    known = set() if again else _known(store, setting)
    left = [network for graph_hash, network in wanted.items() if graph_hash not in known]
    narrator.stage("measuring memory", len(left))
    # A GPU's driver reserves more addresses than there is memory.
    limit = None if setting.profile.is_on_nvidia else memory_limit_bytes(setting.facts)
    settings = Settings(memory_limit_bytes=limit)
    made = []
    with open_bench(setting.profile) as bench:
        results = measure_memory(left, setting.stage, settings, bench, device_memory=gpu_memory(setting.profile))
        for network, measurement in zip(left, results, strict=False):
            store.put_workload(network)
            store.record(measurement)
            made.append(measurement)
            narrator.step(f"{network.name}: {measurement.status.value}")
            if measurement.peak_memory is not None and measurement.peak_memory.status is Reading.UNSUPPORTED:
                # The next one would be told the same.
                break
    return MemoryCampaign(len(wanted), len(wanted) - len(left), tuple(made))


def stored_networks(store: Store, setting: LocalSetting) -> list[Workload]:
    """The whole networks that the store has a latency of, on this device and profile, oldest first."""
    made = store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        purposes=NETWORK_PURPOSES,
    )
    hashes = dict.fromkeys(measurement.graph_hash for measurement in made)
    found = [store.workload(graph_hash) for graph_hash in hashes]
    # A file that is gone, or lay in a folder for a while only, is made again from its skeleton.
    return [
        one if not one.path or Path(one.path).exists() else replace(one, path="") for one in found if one is not None
    ]


def _known(store: Store, setting: LocalSetting) -> set[str]:
    made = store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        purposes=(PURPOSE,),
        of=None,
    )
    readings = [(m.graph_hash, m.peak_memory) for m in made]
    return {
        graph_hash
        for graph_hash, memory in readings
        if memory is not None and memory.process_method == METHOD and memory.status is not Reading.UNSUPPORTED
    }
