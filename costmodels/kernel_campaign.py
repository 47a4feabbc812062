"""Kernels of random blocks, measured here: what a predictor needs to price networks that nobody has measured.

Whole networks are measured before and after the kernels. They tell what a network takes beyond them; and since a
machine moves meanwhile, the kernels stand in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.graphs.networks import REFERENCE_NETWORKS
from ..profiler.protocol import Settings
from ..profiler.records import Json
from ..profiler.workload import Workload
from .campaign import Planned
from .cards.session_anchors import SessionCheck, check_session
from .kernel_plan import plan_kernels
from .kernel_times import kernel_jobs, kernel_latencies, measure_kernels, network_latencies
from .local_setting import LocalSetting
from .planned_campaign import Narrator, is_anything_open, measure_planned
from .random_networks import random_networks

#: Networks that a campaign measures beside its kernels: enough for every term of a composition, and for an interval.
NETWORKS = 40
#: BERT-base alone would take as long as all others.
_LEFT_OUT = frozenset({"bert_base"})


@dataclass(frozen=True)
class KernelCampaign:
    """A finished campaign: how many kernels and networks were chosen, and how many the store has a latency of now.

    Attributes:
        check: what the anchors said before it; None where there were none, or nothing was left to measure.
    """

    chosen: int
    measured: int
    networks_chosen: int = 0
    networks_measured: int = 0
    check: SessionCheck | None = None

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "chosen": self.chosen,
            "measured": self.measured,
            "networks_chosen": self.networks_chosen,
            "networks_measured": self.networks_measured,
            "anchors": None if self.check is None else self.check.document(),
        }


def measure_random_kernels(
    store: Store,
    setting: LocalSetting,
    narrator: Narrator,
    *,
    count: int,
    networks: int = 0,
    seed: int = 0,
    settings: Settings | None = None,
) -> KernelCampaign:
    """Choose kernels and whole networks, and measure what the store has not got. The same seed chooses the same ones.

    A session that has something to measure begins with the store's anchors (``cards.session_anchors``).

    Args:
        settings: how networks are measured; kernels take their target alone. None: the usual ones.

    Raises:
        UsageError: the runtime is one whose kernels cannot be cut out.
    """
    if setting.profile.runtime != "onnxruntime":
        raise UsageError(
            f"kernels of {setting.profile.runtime} cannot be measured alone",
            remedy="measure blocks instead: edgecost campaign run --space NAME",
        )
    narrator.stage("choosing kernels")
    cuts, whole = plan_kernels(setting.profile, count, seed), plan_networks(networks, seed)
    if len(cuts) < count:
        narrator.note(f"{len(cuts)} distinct kernels found; {count} were asked for")
    suffix = f"{seed}-{setting.profile.profile_hash[:8]}"
    name, networks_name = f"kernels-{suffix}", f"networks-{suffix}"
    settings = replace(settings or Settings(), seed=seed)
    # Anchors are graphs of an earlier session; a session that measures nothing needs none.
    is_open = is_anything_open(store, setting, name, "kernels", kernel_jobs(cuts))
    if whole and not is_open:
        is_open = is_anything_open(store, setting, networks_name, "networks", _network_jobs(whole, session=0))
    check = check_session(store, setting, narrator) if is_open else None
    _measure_networks(store, setting, narrator, whole, networks_name, settings, session=0)
    measure_kernels(cuts, store, setting, narrator, settings, name)
    _measure_networks(store, setting, narrator, whole, networks_name, settings, session=1)
    return KernelCampaign(
        len(cuts),
        len(kernel_latencies(store, setting, cuts)),
        len(whole),
        len(network_latencies(store, setting, whole)),
        check,
    )


def plan_networks(count: int, seed: int = 0) -> list[Workload]:
    """The reference networks and random ones beside them, ``count`` in all. The same seed gives the same ones."""
    names = [name for name in REFERENCE_NETWORKS if name not in _LEFT_OUT][:count]
    known = [REFERENCE_NETWORKS[name]() for name in names]
    return [*known, *islice(random_networks(seed), count - len(known))]


def _measure_networks(
    store: Store,
    setting: LocalSetting,
    narrator: Narrator,
    networks: list[Workload],
    name: str,
    settings: Settings,
    *,
    session: int,
) -> None:
    if networks:
        title = f"measuring whole networks, {'after' if session else 'before'} the kernels"
        wanted = _network_jobs(networks, session=session)
        measure_planned(store, setting, name, "networks", wanted, narrator, title, settings=settings)


def _network_jobs(networks: list[Workload], *, session: int) -> list[Planned]:
    return [Planned(network, "network", network.name, round=session) for network in networks]
