"""What several boards say of energy and peak memory, as one device's.

Energies are brought to one pace as latencies are (``pool_samples``): a board that takes more power, or more time, takes
more of every graph by a factor. Only what includes the same is compared: a meter of the module and one of the wall are
no two readings of one quantity.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile
from ..lut_others import Known, known_of
from .pool_samples import board_factors


@dataclass(frozen=True)
class PoolEnergies:
    """Energies and peaks of several boards as one device's.

    Attributes:
        factors: by the name of a board with energies: how much more it takes than the middle one; None where it shares
            too few graphs with others to know, and its numbers are taken as they are.
        shared: graphs whose energy more than one board measured.
    """

    known: Known
    factors: Mapping[str, float | None]
    shared: int


def load_pool_energies(store: Store, boards: Sequence[Device], profile: RuntimeProfile) -> PoolEnergies:
    """All that the boards measured under a profile, grouped by graph.

    Raises:
        UsageError: the boards' meters include different things, or those of one board do.
    """
    found = {board.name: known_of(store, board.identity, profile) for board in boards}
    with_energy = {name: known for name, known in found.items() if known.energy_mj}
    scopes = {known.scope for known in with_energy.values()}
    if len(scopes) > 1:
        told = "; ".join(f"{name}: {known.scope}" for name, known in sorted(with_energy.items()))
        raise UsageError(
            f"the boards' meters do not include the same ({told})",
            remedy="choose boards with meters of one kind: --device 'pool=nano,name=nano-1|nano-2'",
        )
    factors, shared = board_factors({name: known.energy_mj for name, known in with_energy.items()})
    at_pace: dict[str, list[float]] = {}
    for name, known in with_energy.items():
        for graph_hash, value_mj in known.energy_mj.items():
            at_pace.setdefault(graph_hash, []).append(value_mj / (factors[name] or 1.0))
    peaks: dict[str, int] = {}
    for known in found.values():
        for graph_hash, peak in known.peak_bytes.items():
            # What must fit must fit on every board.
            peaks[graph_hash] = max(peak, peaks.get(graph_hash, 0))
    together = {graph_hash: statistics.median(values) for graph_hash, values in at_pace.items()}
    return PoolEnergies(Known("".join(scopes), together, peaks), factors, shared)
