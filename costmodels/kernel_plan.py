"""Which kernels to measure so that any network can be priced: those of random blocks, so many of each kind.

Kinds whose latency follows many things at once (convolutions, products) get most of the places; what moves or maps
elements gets few. A quarter is left to all kinds that are not named here: on another runtime kernels have other names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from ..profiler.kernels.cut import kernel_workloads
from ..profiler.records import RuntimeProfile
from ..profiler.workload import Workload
from .kernel_work import kind_of
from .random_blocks import random_blocks

#: Share of the kernels by kind, in per cent. Chosen on the errors of a first round, whose kinds came as random blocks
#: bring them: depthwise convolutions, reorders and transposes were priced worst.
SHARES_PERCENT = {
    "nchwc.Conv.depthwise": 18.0,
    "nchwc.Conv.pointwise": 18.0,
    "nchwc.Conv.spatial": 12.0,
    "Gemm": 9.0,
    "nchwc.ReorderOutput": 4.0,
    "nchwc.ReorderInput": 4.0,
    "Transpose": 4.0,
    "MatMul": 3.0,
    "microsoft.FusedMatMul": 3.0,
}
#: All other kinds together, and each of them, get no more than this.
_OTHERS_PERCENT, _OTHER_PERCENT = 25.0, 1.0
#: Blocks that bring nothing new before the plan takes what it has: some kinds do not exist on some runtimes.
_PATIENCE = 300


def plan_kernels(profile: RuntimeProfile, count: int, seed: int = 0) -> list[Workload]:
    """Distinct kernels, cut out of the optimised graphs of random blocks; fewer than ``count`` if there are no more.

    The same seed gives the same kernels on the same machine and runtime.
    """
    return choose_kernels(random_blocks(seed), profile, count)


def choose_kernels(blocks: Iterable[Workload], profile: RuntimeProfile, count: int) -> list[Workload]:
    """As ``plan_kernels``, from the kernels of given blocks, in their order."""
    room = {kind: max(1, round(share / 100 * count)) for kind, share in SHARES_PERCENT.items()}
    others, of_each = round(_OTHERS_PERCENT / 100 * count), max(1, round(_OTHER_PERCENT / 100 * count))
    taken: Counter[str] = Counter()
    chosen: dict[str, Workload] = {}
    barren = 0
    for block in blocks:
        before = len(chosen)
        for kernel, cut in kernel_workloads(block, profile):
            kind = kind_of(kernel)
            if cut is None or kind is None or cut.graph_hash in chosen or taken[kind] >= room.get(kind, of_each):
                continue
            if kind not in room:
                if others == 0:
                    continue
                others -= 1
            taken[kind] += 1
            chosen[cut.graph_hash] = cut
        barren = 0 if len(chosen) > before else barren + 1
        if len(chosen) >= count or barren >= _PATIENCE:
            break
    return list(islice(chosen.values(), count))
