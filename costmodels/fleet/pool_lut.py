"""The table of a pool: cells from whichever board measured them, at one pace, with the boards' spread told."""

from __future__ import annotations

from collections.abc import Mapping

from ...db import Store
from ...profiler.records import Json
from ..correction import fit_scale
from ..lut import Lut
from ..lut_build import build_from_samples
from ..network_scale import MeasuredNetworks, of_space
from ..predictor import NETWORKS_MIN, LatencyPredictor
from ..space import Space
from .pool import Pool
from .pool_energies import PoolEnergies, load_pool_energies
from .pool_samples import PoolSamples, load_pool_samples


def build_pool_lut(store: Store, space: Space, pool: Pool, predictor: LatencyPredictor | None = None) -> Lut:
    """Every cell of a space on the boards of a pool, and the factor to whole networks where some were measured.

    Energies and peaks of memory stand in it where boards measured them; energies that cannot be put together are left
    out, and ``energy_left_out`` of the provenance says why.

    Raises:
        GateError: a cell was neither measured nor can be predicted.
    """
    found = load_pool_samples(store, pool.boards, pool.profile)
    energies = load_pool_energies(store, pool.boards, pool.profile)
    table = build_from_samples(
        space, pool.device, pool.profile, _environment(store, pool), predictor, found.samples, energies.known
    )
    table = Lut.from_cells(table.cells, {**table.provenance, **told_of(found, energies)})
    networks = _networks(store, space, pool, found.factors)
    if len(networks) < NETWORKS_MIN:
        return table
    sums = table.price(networks.archs, corrected=False, space=space)
    return table.with_scale(fit_scale(sums, networks.measured), len(networks))


def pool_networks(store: Store, space: Space, pool: Pool) -> MeasuredNetworks:
    """The whole networks of a space that boards of a pool measured, at the pool's pace, in ms."""
    return _networks(store, space, pool, load_pool_samples(store, pool.boards, pool.profile).factors)


def _networks(store: Store, space: Space, pool: Pool, factors: Mapping[str, float | None]) -> MeasuredNetworks:
    """At the blocks' pace: of networks there are too few on each board to find it again."""
    measured = load_pool_samples(store, pool.boards, pool.profile, purposes=("network",), factors=factors)
    return of_space(space, [(one.workload, one.raw_ms, one.sessions_ms) for one in measured.samples])


def _environment(store: Store, pool: Pool) -> str:
    """The one environment of all measurements, or that there were several: boards have their own."""
    profile_hash = pool.profile.profile_hash
    found = {one for board in pool.boards for one in store.environments_of(board.identity, profile_hash)}
    return found.pop() if len(found) == 1 else f"{len(found)} environments"


def told_of(found: PoolSamples, energies: PoolEnergies) -> dict[str, Json]:
    """What a table's provenance says of its boards."""
    told: dict[str, Json] = {
        "boards": dict(found.factors),
        "boards_spread": found.spread,
        "boards_share_graphs": found.shared,
    }
    if energies.factors:
        told |= {
            "energy_boards": dict(energies.factors),
            "energy_boards_spread": energies.spread,
            "energy_boards_share_graphs": energies.shared,
        }
    if energies.left_out:
        told["energy_left_out"] = energies.left_out
    return told
