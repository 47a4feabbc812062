"""The whole networks of a space that the store holds, the factor of a LUT from them, and measuring more of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..db import Store
from ..profiler.protocol import Settings
from ..profiler.records import RuntimeProfile
from .campaign import Planned
from .correction import fit_scale, spread
from .dataset import load_samples
from .local_setting import LocalSetting
from .lut import Lut
from .planned_campaign import CampaignOutcome, Narrator, measure_planned
from .predictor import NETWORKS_MIN
from .space import Space
from .spaces.coding import Numeric

#: Random architectures that those to measure are chosen from, so that they span the range of prices.
_DRAWN = 1000
#: Processes that measure each network: one process may have had a bad minute.
_SESSIONS = 2


@dataclass(frozen=True, eq=False)
class MeasuredNetworks:
    """Networks of one space. ``archs``: int16 (networks, positions); ``latency_ms``: end to end, (networks,)."""

    archs: Numeric
    latency_ms: npt.NDArray[np.float64]


def networks_in_store(store: Store, device_identity: str, profile: RuntimeProfile, space: Space) -> MeasuredNetworks:
    """The measured networks of a space, of any campaign.

    A network is recognised by its name, which holds the space and the architecture, and checked by its graph.
    """
    samples = load_samples(store, device_identity, profile, purposes=("network",))
    archs, measured_ms = [], []
    prefix = f"{space.name}-"
    for sample in samples:
        if not sample.workload.name.startswith(prefix):
            continue
        codes = sample.workload.name[len(prefix) :].split(".")
        if len(codes) != len(space.positions):
            continue
        arch = np.array([[-1 if code == "_" else int(code) for code in codes]], dtype=np.int16)
        if space.build(arch).graph_hash == sample.workload.graph_hash:
            archs.append(arch[0])
            measured_ms.append(sample.raw_ms)
    numeric = np.array(archs, dtype=np.int16).reshape(len(archs), len(space.positions))
    return MeasuredNetworks(numeric, np.array(measured_ms, dtype=np.float64))


def scale_from_store(store: Store, device_identity: str, profile: RuntimeProfile, space: Space, lut: Lut) -> Lut:
    """The table with its factor fitted; unchanged when fewer than three networks of the space were measured."""
    networks = networks_in_store(store, device_identity, profile, space)
    if len(networks.archs) < NETWORKS_MIN:
        return lut
    sums = lut.price(networks.archs, corrected=False, space=space)
    return lut.with_scale(fit_scale(sums, networks.latency_ms), len(networks.archs))


def measure_networks(
    store: Store,
    setting: LocalSetting,
    space: Space,
    lut: Lut,
    count: int,
    narrator: Narrator,
    *,
    seed: int = 0,
    budget_s: float | None = None,
) -> CampaignOutcome:
    """Measure ``count`` random networks that span the table's range of prices, unless the store has them.

    Raises:
        UsageError: the space has fewer architectures.
    """
    archs = space.sample(min(max(_DRAWN, count), space.size), seed)
    chosen = archs[spread(lut.price(archs, corrected=False, space=space), count)]
    built = [space.build(arch) for arch in chosen]
    name = f"{space.name}-{space.resolution}-w{space.width:g}-{setting.profile.profile_hash[:8]}-audit"
    # A priority of its own for each round: what has one priority may be measured in one process.
    wanted = [
        Planned(workload, "network", workload.name, priority=_SESSIONS - session, round=session)
        for session in range(_SESSIONS)
        for workload in built
    ]
    settings = Settings(seed=seed)
    title = f"measuring {count} whole networks"
    return measure_planned(
        store, setting, name, space.name, wanted, narrator, title, budget_s=budget_s, settings=settings
    )
