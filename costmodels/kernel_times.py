"""How long kernels take by themselves: alone, and those too short to tell from the call as copies within one graph."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..db import Store
from ..profiler.graphs.repetition import repeated
from ..profiler.protocol import KERNELS, Settings
from ..profiler.records import Measurement
from ..profiler.workload import Workload
from .campaign import Planned
from .local_setting import LocalSetting
from .planned_campaign import Narrator, measure_planned

#: Below this a kernel takes no longer than the call that is subtracted, and an error of that shows.
SHORT_MS = 0.002
#: Copies in one graph: the call is paid once for all of them, and they still fit the cache of a core.
COPIES = 16


def measure_kernels(
    cuts: Sequence[Workload], store: Store, setting: LocalSetting, narrator: Narrator, settings: Settings, name: str
) -> None:
    """Measure kernels that were cut out, as far as the store has not got them; short ones again as copies.

    Args:
        settings: its target and seed count; visits are those of single kernels.
        name: of the campaign.
    """
    quick = replace(KERNELS, target=settings.target, seed=settings.seed)
    measure_planned(store, setting, name, "kernels", kernel_jobs(cuts), narrator, "measuring kernels", settings=quick)
    alone = _medians(store, setting, cuts, "kernel")
    short = [repeated(cut, COPIES) for cut in cuts if alone.get(cut.graph_hash, SHORT_MS) < SHORT_MS]
    if short:
        wanted = [Planned(copies, "repeated", copies.name) for copies in short]
        title = "measuring short kernels, repeated"
        measure_planned(store, setting, f"{name}-repeated", "kernels", wanted, narrator, title, settings=quick)


def kernel_jobs(cuts: Sequence[Workload]) -> list[Planned]:
    """What ``measure_kernels`` wants measured of kernels, each alone."""
    return [Planned(cut, "kernel", cut.name) for cut in cuts]


def kernel_latencies(store: Store, setting: LocalSetting, cuts: Sequence[Workload]) -> dict[str, float]:
    """Net latency in ms of each cut-out kernel by graph hash, the median of what the store has.

    A kernel that cannot be told from nothing, alone or as copies, is not among them.
    """
    found = _medians(store, setting, cuts, "kernel")
    copies = {cut.graph_hash: repeated(cut, COPIES) for cut in cuts if found.get(cut.graph_hash, SHORT_MS) < SHORT_MS}
    together = _medians(store, setting, list(copies.values()), "repeated")
    for graph_hash, several in copies.items():
        if several.graph_hash in together:
            found[graph_hash] = together[several.graph_hash] / COPIES
    return {graph_hash: latency for graph_hash, latency in found.items() if latency > 0}


def network_latencies(store: Store, setting: LocalSetting, networks: Sequence[Workload]) -> dict[str, float]:
    """Net latency in ms of each whole network by graph hash, the median over its sessions."""
    return _medians(store, setting, networks, "network")


def _medians(store: Store, setting: LocalSetting, workloads: Sequence[Workload], purpose: str) -> dict[str, float]:
    made: dict[str, list[float]] = defaultdict(list)
    for measurement in store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        graph_hashes=[workload.graph_hash for workload in workloads],
        purposes=(purpose,),
    ):
        net_ms = _net_ms(measurement)
        if net_ms is not None:
            made[measurement.graph_hash].append(net_ms)
    return {graph_hash: statistics.median(values) for graph_hash, values in made.items()}


def _net_ms(measurement: Measurement) -> float | None:
    """Less the overhead of a call, and so negative for what takes no longer; None where the overhead is not known."""
    assert measurement.latency is not None, "only usable measurements are asked for"
    if measurement.overhead_ms is None:
        return None
    return measurement.latency.median_ms - measurement.overhead_ms
