"""Energy and peak memory of the cells of a table: measured where the store has them, else predicted, else none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.kernels.by_runtime import priced_kernels
from ..profiler.kernels.graph import optimise
from ..profiler.records import SIMULATOR, Json, RuntimeProfile
from ..profiler.workload import Workload
from .dataset import BLOCK_PURPOSES
from .lut import LutCell
from .metrics.energy import EnergySample, load_energies
from .metrics.energy_predictor import EnergyPredictor
from .metrics.memory_training import device_peaks, load_peaks
from .metrics.peak_memory import PeakMemoryPredictor, memory_shape
from .training import ALPHA
from .validation import sessions_radius

#: A number with both ends of its interval.
_Bounded = tuple[float | None, float | None, float | None]
_NOTHING: _Bounded = (None, None, None)


@dataclass(frozen=True)
class Others:
    """Predictors of what is no latency; None where there is none."""

    energy: EnergyPredictor | None = None
    memory: PeakMemoryPredictor | None = None


@dataclass(frozen=True)
class Known:
    """What was measured, by the hash of the graph.

    Attributes:
        scope: what every energy includes; empty where there is none.
        device_method: how ``device_bytes``, the memory of a GPU, was measured; empty where there is none.
    """

    scope: str
    energies: Mapping[str, EnergySample]
    peak_bytes: Mapping[str, int]
    device_method: str = ""
    device_bytes: Mapping[str, int] = field(default_factory=dict)


def known_of(store: Store, device_identity: str, profile: RuntimeProfile) -> Known:
    """What the store has of a device and profile.

    Raises:
        UsageError: there are energies of several scopes.
    """
    energies = load_energies(store, device_identity, profile, purposes=BLOCK_PURPOSES)
    return Known(
        energies.scope,
        {sample.workload.graph_hash: sample for sample in energies.samples},
        known_peaks(store, device_identity, profile),
        *device_peaks(store, device_identity, profile),
    )


def known_peaks(store: Store, device_identity: str, profile: RuntimeProfile) -> dict[str, int]:
    """The peaks of memory that the store has of a device and profile."""
    peaks, _ = load_peaks(store, device_identity, profile)
    return {sample.workload.graph_hash: round(sample.peak_bytes) for sample in peaks}


def with_energy_and_memory(
    rows: Sequence[LutCell],
    workloads: Mapping[str, Workload],
    profile: RuntimeProfile,
    known: Known,
    others: Others,
) -> tuple[list[LutCell], dict[str, Json]]:
    """The rows with what is known of both, and what a table's provenance says of it.

    Args:
        workloads: by key; cells that execute nothing have none.
        known: measured; what is not there is predicted.

    Raises:
        UsageError: the energies in the store and those of the predictor include different things.
    """
    is_simulated = profile.runtime == SIMULATOR
    radius = None if is_simulated else sessions_radius([sample.sessions_mj for sample in known.energies.values()])
    energy, energy_told = _energies(workloads, profile, known, others.energy, radius or 0.0)
    memory, memory_told = _peaks(workloads, profile, known, others.memory)
    told: dict[str, Json] = {}
    if energy:
        interval = _interval(radius, is_simulated=is_simulated)
        told |= {"energy": energy_told, "energy_interval": interval, "energy_repeatability_radius": radius}
    if memory:
        told["peak_memory"] = memory_told
    told |= _of_gpu(workloads, known)
    full = []
    for row in rows:
        value_mj, lo_mj, hi_mj = energy.get(row.key, _NOTHING)
        peak = memory.get(row.key)
        full.append(replace(row, energy_mj=value_mj, energy_lo_mj=lo_mj, energy_hi_mj=hi_mj, peak_memory_bytes=peak))
    return full, told


def _interval(radius: float | None, *, is_simulated: bool) -> str:
    """What the intervals of energies are, by the rule of latencies; what the meter errs by is in none of them."""
    if is_simulated:
        return f"simulated: none; predicted: conformal, {(1 - ALPHA) * 100:.0f} % of held-out graphs"
    least = "" if radius is None else f", at least ±{radius * 100:.2f} %, which 90 % of cells repeat within"
    told = f"measured: 95 % of the median over the windows{least}"
    return f"{told}; predicted: conformal, {(1 - ALPHA) * 100:.0f} % of held-out graphs; without the meter's own error"


def _energies(
    workloads: Mapping[str, Workload],
    profile: RuntimeProfile,
    known: Known,
    predictor: EnergyPredictor | None,
    radius: float,
) -> tuple[dict[str, _Bounded], str]:
    scope = predictor.scope_ if predictor is not None else None
    if scope is not None and known.scope and known.scope != scope:
        raise UsageError(
            f"the energies here are of the {known.scope}, the predictor's of the {scope}",
            remedy="train it again: edgecost train --metric energy",
        )
    is_simulated = profile.runtime == SIMULATOR
    bounded = _simulated if is_simulated else _measured
    found = {
        key: bounded(known.energies[one.graph_hash], radius)
        for key, one in workloads.items()
        if one.graph_hash in known.energies
    }
    count = len(found)
    left = [key for key in workloads if key not in found]
    if predictor is not None and left:
        prices = predictor.price([priced_kernels(workloads[key], profile).kernels for key in left], alpha=ALPHA)
        # A lower bound is no energy of a cell.
        found |= {
            key: (one.total_mj, one.lo_mj, one.hi_mj)
            for key, one in zip(left, prices, strict=True)
            if not one.is_lower_bound
        }
    if is_simulated:
        return found, f"as the simulator says; {count} cells simulated, {len(found) - count} predicted"
    return found, _told(f"gross, of the {known.scope or scope}", count, len(found))


def _simulated(sample: EnergySample, _: float) -> _Bounded:
    """A simulator says nothing of how far it may be off."""
    return sample.energy_mj, None, None


def _measured(sample: EnergySample, radius: float) -> _Bounded:
    """The wider of its sessions' own intervals and of how far sessions are apart."""
    value_mj = sample.energy_mj
    return value_mj, min(sample.lo_mj, value_mj / (1 + radius)), max(sample.hi_mj, value_mj * (1 + radius))


def _peaks(
    workloads: Mapping[str, Workload], profile: RuntimeProfile, known: Known, predictor: PeakMemoryPredictor | None
) -> tuple[dict[str, int], str]:
    peaks = known.peak_bytes
    found = {key: peaks[one.graph_hash] for key, one in workloads.items() if one.graph_hash in peaks}
    count = len(found)
    left = [key for key in workloads if key not in found]
    if predictor is not None and left:
        prices = predictor.price([memory_shape(optimise(workloads[key], profile)) for key in left])
        found |= {key: one.peak_bytes for key, one in zip(left, prices, strict=True)}
    return found, _told("of a process that runs the cell alone; no sum of these is a network's", count, len(found))


def _of_gpu(workloads: Mapping[str, Workload], known: Known) -> dict[str, Json]:
    """The memory of a GPU, apart from the cells: those who read ``peak_memory_bytes`` take it for the process's."""
    sizes = known.device_bytes
    found: dict[str, Json] = {key: sizes[one.graph_hash] for key, one in workloads.items() if one.graph_hash in sizes}
    if not found:
        return {}
    what = f"the most held by a process that runs the cell alone, above an empty graph ({known.device_method})"
    told = _told(f"{what}; no sum of these is a network's", len(found), len(found))
    return {"device_memory": told, "device_memory_bytes": found}


def _told(what: str, measured: int, found: int) -> str:
    return f"{what}; {measured} cells measured, {found - measured} predicted"
