"""Kernels of random blocks, measured here: what a predictor needs to price networks that nobody has measured."""

from __future__ import annotations

from dataclasses import dataclass

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.protocol import Settings
from .cards.session_anchors import SessionCheck, check_session
from .kernel_plan import plan_kernels
from .kernel_times import kernel_jobs, kernel_latencies, measure_kernels
from .local_setting import LocalSetting
from .planned_campaign import Narrator, is_anything_open


@dataclass(frozen=True)
class KernelCampaign:
    """A finished campaign: how many kernels were chosen, and how many of them the store has a latency of now.

    Attributes:
        check: what the anchors said before it; None where there were none, or nothing was left to measure.
    """

    chosen: int
    measured: int
    check: SessionCheck | None = None


def measure_random_kernels(
    store: Store, setting: LocalSetting, narrator: Narrator, *, count: int, seed: int = 0
) -> KernelCampaign:
    """Choose kernels and measure those that the store has not got. The same seed chooses the same ones.

    A session that has something to measure begins with the store's anchors (``cards.session_anchors``).

    Raises:
        UsageError: the runtime is one whose kernels cannot be cut out.
    """
    if setting.profile.runtime != "onnxruntime":
        raise UsageError(
            f"kernels of {setting.profile.runtime} cannot be measured alone",
            remedy="measure blocks instead: edgecost campaign run --space NAME",
        )
    narrator.stage("choosing kernels")
    cuts = plan_kernels(setting.profile, count, seed)
    if len(cuts) < count:
        narrator.note(f"{len(cuts)} distinct kernels found; {count} were asked for")
    name = f"kernels-{seed}-{setting.profile.profile_hash[:8]}"
    wanted = kernel_jobs(cuts)
    check = (
        check_session(store, setting, narrator) if is_anything_open(store, setting, name, "kernels", wanted) else None
    )
    measure_kernels(cuts, store, setting, narrator, Settings(seed=seed), name)
    found = kernel_latencies(store, setting, cuts)
    return KernelCampaign(len(cuts), len(found), check)
