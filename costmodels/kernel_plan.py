"""Which kernels to measure so that any network can be priced: those of random blocks, so many of each kind.

Kinds whose latency follows many things at once (convolutions, products) get most of the places; what moves or maps
elements gets few. Convolutions count by their form, since their names differ between processors; a quarter is left to
all kinds that are not named here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from ..profiler.kernels.cut import kernel_workloads
from ..profiler.kernels.graph import Kernel
from ..profiler.records import RuntimeProfile
from ..profiler.workload import Workload
from .kernel_work import kind_of
from .random_blocks import random_blocks

#: Share of the kernels in per cent, by form of convolution and else by kind. Chosen on the errors of a first round,
#: whose kinds came as random blocks bring them (depthwise convolutions, reorders and transposes were priced worst), and
#: on what networks are made of.
SHARES_PERCENT = {
    "depthwise": 16.0,
    "pointwise": 16.0,
    "spatial": 11.0,
    "grouped": 2.5,
    "vector": 1.5,
    "Gemm": 6.5,
    "nchwc.ReorderOutput": 4.0,
    "nchwc.ReorderInput": 4.0,
    "Transpose": 3.5,
    "MatMul": 3.0,
    "microsoft.FusedMatMul": 3.0,
    **dict.fromkeys(
        ("Softmax", "LayerNormalization", "microsoft.SkipLayerNormalization", "microsoft.Gelu", "Add", "Mul"), 1.0
    ),
}
#: All other kinds together, and each of them, get no more than this.
_OTHERS_PERCENT, _OTHER_PERCENT = 23.0, 0.45
#: Blocks that bring nothing new before the plan takes what it has: some kinds do not exist on some runtimes.
_PATIENCE = 300


def plan_kernels(profile: RuntimeProfile, count: int, seed: int = 0) -> list[Workload]:
    """Distinct kernels, cut out of the optimised graphs of random blocks; fewer than ``count`` if there are no more.

    The same seed gives the same kernels on the same machine and runtime.
    """
    return choose_kernels(random_blocks(seed), profile, count)


def share_of(kernel: Kernel) -> str | None:
    """Under which name a kernel has its share: the form of a convolution, else its kind; None where it has no price."""
    kind = kind_of(kernel)
    form = "" if kind is None else kind.rpartition(".")[2]
    return form if form in SHARES_PERCENT else kind


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
            kind = share_of(kernel)
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
