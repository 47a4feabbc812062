"""What several boards say of energy and peak memory, as one device's.

Energies are brought to one pace as latencies are (``pool_samples``), by factors of their own: a board that takes more
power, or more time, takes more of every graph by a factor, and so does a meter whose gain is off. Only what includes
the same is compared: a meter of the module and one of the wall are no two readings of one quantity.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile
from ..dataset import BLOCK_PURPOSES
from ..lut_others import Known, known_peaks
from ..metrics.energy import Energies, EnergySample, load_energies
from .pool_samples import board_factors


@dataclass(frozen=True)
class PoolEnergies:
    """Energies and peaks of several boards as one device's.

    Attributes:
        factors: by the name of a board with energies: how much more it takes than the middle one; None where it shares
            too few graphs with others to know, and its numbers are taken as they are.
        shared: graphs whose energy more than one board measured.
        left_out: why there are no energies although boards measured some; empty where there are, or none was measured.
    """

    known: Known
    factors: Mapping[str, float | None]
    shared: int
    left_out: str = ""

    @property
    def spread(self) -> float | None:
        """How much more the board takes that takes most than the one that takes least, less 1; None for not known."""
        found = [factor for factor in self.factors.values() if factor is not None]
        return max(found) / min(found) - 1.0 if len(found) > 1 else None


def load_pool_energies(store: Store, boards: Sequence[Device], profile: RuntimeProfile) -> PoolEnergies:
    """All that the boards measured under a profile, grouped by graph.

    Where their meters include different things, or those of one board do, there are no energies: nobody could say what
    a number of the table includes, nor choose for whoever asks. ``left_out`` tells.
    """
    peaks: dict[str, int] = {}
    for board in boards:
        for graph_hash, peak in known_peaks(store, board.identity, profile).items():
            # What must fit must fit on every board.
            peaks[graph_hash] = max(peak, peaks.get(graph_hash, 0))
    try:
        found = {board.name: load_energies(store, board.identity, profile, purposes=BLOCK_PURPOSES) for board in boards}
    except UsageError as error:
        return PoolEnergies(Known("", {}, peaks), {}, 0, error.message)
    with_energy = {name: one for name, one in found.items() if one.samples}
    scopes = {one.scope for one in with_energy.values()}
    if len(scopes) > 1:
        told = "; ".join(f"{name}: {one.scope}" for name, one in sorted(with_energy.items()))
        return PoolEnergies(Known("", {}, peaks), {}, 0, f"the boards' meters do not include the same ({told})")
    factors, shared = board_factors({name: _by_graph(one) for name, one in with_energy.items()})
    grouped: dict[str, list[EnergySample]] = {}
    for name, one in with_energy.items():
        for sample in one.samples:
            grouped.setdefault(sample.workload.graph_hash, []).append(_at_pace(sample, factors[name] or 1.0))
    together = {graph_hash: _together(some) for graph_hash, some in grouped.items()}
    return PoolEnergies(Known("".join(scopes), together, peaks), factors, shared)


def _by_graph(energies: Energies) -> dict[str, float]:
    return {sample.workload.graph_hash: sample.energy_mj for sample in energies.samples}


def _at_pace(sample: EnergySample, factor: float) -> EnergySample:
    return replace(
        sample,
        energy_mj=sample.energy_mj / factor,
        lo_mj=sample.lo_mj / factor,
        hi_mj=sample.hi_mj / factor,
        sessions_mj=tuple(value / factor for value in sample.sessions_mj),
    )


def _together(samples: Sequence[EnergySample]) -> EnergySample:
    """What is left of the boards' differences goes into the interval, as a difference between sessions does."""
    sessions = tuple(value for sample in samples for value in sample.sessions_mj)
    value_mj = statistics.median(sessions)
    return replace(
        samples[0],
        energy_mj=value_mj,
        lo_mj=min(sample.lo_mj for sample in samples),
        hi_mj=max(sample.hi_mj for sample in samples),
        sessions_mj=sessions,
    )
