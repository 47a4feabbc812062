"""Whole networks of a space measured on this machine, each in several processes: what tables are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..db import Store
from ..profiler.protocol import Settings
from ..profiler.workload import Workload
from .campaign import Planned
from .correction import spread
from .dataset import load_samples
from .local_setting import LocalSetting
from .lut import Lut
from .planned_campaign import CampaignOutcome, Narrator, measure_planned
from .space import Space
from .validation import sessions_agree

#: Processes that measure each network: where a process's pages happen to lie moves a network by a few per cent.
NETWORK_SESSIONS = 3
#: Further processes for a network no two of whose sessions agree within this: then no median of three is to be trusted.
NETWORK_SESSIONS_MORE = 2
NETWORK_AGREEMENT = 0.02
#: Random networks of which some are chosen by their prices.
NETWORKS_PRICED = 1000


def networks_over_range(lut: Lut, space: Space, count: int, seed: int) -> npt.NDArray[np.int16]:
    """Random architectures, spread over the range of prices by a table, int16 (count, positions), cheapest first.

    Raises:
        UsageError: the space has not that many.
    """
    archs = space.sample(max(count, min(NETWORKS_PRICED, space.size)), seed)
    return archs[spread(lut.price(archs, corrected=False, space=space), count)]


def measure_networks(
    store: Store,
    setting: LocalSetting,
    space: Space,
    built: Sequence[Workload],
    narrator: Narrator,
    seed: int,
) -> CampaignOutcome:
    """Measure networks of a space in several processes, and again those whose processes disagree.

    What the store has is not measured again; a run that was cut off goes on where it was.

    Args:
        built: at least one.
    """
    name = f"{space.name}-{space.resolution}-w{space.width:g}-{setting.profile.profile_hash[:8]}-networks"
    outcome = None
    for session in range(NETWORK_SESSIONS + NETWORK_SESSIONS_MORE):
        asked, title = built, f"measuring whole networks, process {session + 1} of {NETWORK_SESSIONS}"
        if session >= NETWORK_SESSIONS:
            asked, title = _disagreeing(store, setting, built), "measuring networks again whose processes disagree"
        if asked or outcome is None:
            wanted = [Planned(workload, "network", workload.name, round=session) for workload in asked]
            settings = Settings(seed=seed + session)
            outcome = measure_planned(store, setting, name, space.name, wanted, narrator, title, settings=settings)
    assert outcome is not None, "there is at least one session"
    return outcome


def _disagreeing(store: Store, setting: LocalSetting, built: Sequence[Workload]) -> list[Workload]:
    """The networks of which no two sessions agree."""
    hashes = [workload.graph_hash for workload in built]
    samples = load_samples(store, setting.device.identity, setting.profile, purposes=("network",), graph_hashes=hashes)
    apart = {s.workload.graph_hash for s in samples if not sessions_agree(s.sessions_ms, NETWORK_AGREEMENT)}
    return [workload for workload in built if workload.graph_hash in apart]
