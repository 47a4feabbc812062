"""Which kernels to measure so that any network can be priced: so many of each kind, as unlike as they come.

Kinds whose latency follows many things at once (convolutions, products) get most of the places; what moves or maps
elements gets few. Convolutions count by their form, since their names differ between processors; a quarter is left to
all kinds that are not named here. Random blocks bring many times as many kernels as there are places; of each kind
those are taken that lie far from the ones taken before, since a price between two measured sizes is worth more than one
beyond them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from ..profiler.kernels.cut import kernel_workloads
from ..profiler.kernels.graph import Kernel
from ..profiler.records import RuntimeProfile
from ..profiler.workload import Workload
from .features import FEATURES, feature_matrix
from .kernel_work import kind_of
from .random_blocks import random_blocks

#: Share of the kernels in per cent, by form of convolution and else by kind. Chosen on the errors of earlier rounds
#: (depthwise convolutions, reorders and transposes were priced worst) and on what networks are made of.
SHARES_PERCENT = {
    "depthwise": 15.0,
    "pointwise": 14.0,
    "spatial": 11.0,
    "grouped": 3.0,
    "vector": 2.0,
    "shallow": 2.5,
    "Gemm": 6.5,
    "nchwc.ReorderOutput": 3.5,
    "nchwc.ReorderInput": 3.5,
    "Transpose": 3.5,
    "MatMul": 2.5,
    "microsoft.FusedMatMul": 2.5,
    **dict.fromkeys(
        ("Softmax", "LayerNormalization", "microsoft.SkipLayerNormalization", "microsoft.Gelu", "Add", "Mul"), 1.0
    ),
    **dict.fromkeys(("Reshape", "nchwc.MaxPool", "nchwc.AveragePool"), 0.7),
}
#: All other kinds together, and each of them, get no more than this.
_OTHERS_PERCENT, _OTHER_PERCENT = 24.0, 0.45
#: Blocks that are drawn for each kernel that is asked for: some dozen candidates for a place among the common kinds.
_BLOCKS_EACH = 1.5
#: Blocks that are drawn at the least: of less there is little to choose from.
_BLOCKS_MIN = 60
#: What kernels of one kind are unlike in, each in its own deviations.
_UNLIKE = tuple(
    FEATURES.index(name)
    for name in (
        "log_flops",
        "log_input_bytes",
        "log_output_bytes",
        "log_weight_bytes",
        "log_inner",
        "log_depth",
        "log_window",
        "kernel_size",
        "stride",
        "activation",
    )
)


@dataclass(frozen=True)
class Candidate:
    """A kernel that could be measured: alone, as this workload."""

    kernel: Kernel
    cut: Workload


def plan_kernels(profile: RuntimeProfile, count: int, seed: int = 0) -> list[Workload]:
    """Distinct kernels, cut out of the optimised graphs of random blocks; fewer than ``count`` if there are no more.

    The same seed gives the same kernels on the same machine and runtime.
    """
    blocks = islice(random_blocks(seed), max(_BLOCKS_MIN, round(_BLOCKS_EACH * count)))
    return choose_kernels(blocks, profile, count, seed)


def share_of(kernel: Kernel) -> str | None:
    """Under which name a kernel has its share: the form of a convolution, else its kind; None where it has no price."""
    kind = kind_of(kernel)
    form = "" if kind is None else kind.rpartition(".")[2]
    return form if form in SHARES_PERCENT else kind


def missing_kinds(known: Collection[str], profile: RuntimeProfile) -> list[str]:
    """Under their names as in ``SHARES_PERCENT``, what most networks have and is not among these kinds of kernels.

    Only ONNX Runtime's kernels have such names; blocked layouts exist on some processors only.
    """
    if profile.runtime != "onnxruntime":
        return []
    # Forms of convolution stand for whatever the runtime calls them.
    forms = {*known, *(kind.rpartition(".")[2] for kind in known)}
    return [name for name in SHARES_PERCENT if name not in forms and not name.startswith(("nchwc.", "shallow"))]


def choose_kernels(blocks: Iterable[Workload], profile: RuntimeProfile, count: int, seed: int = 0) -> list[Workload]:
    """As ``plan_kernels``, from the kernels of given blocks: the places that one kind leaves go to the others."""
    known = _candidates(blocks, profile)
    room = {kind: max(1, round(SHARES_PERCENT[kind] / 100 * count)) for kind in SHARES_PERCENT if kind in known}
    room |= _dealt({kind: len(known[kind]) for kind in known if kind not in room}, count)
    random = np.random.default_rng(seed)
    ranked = {kind: unlike(known[kind], random) for kind in room}
    chosen = {kind: min(places, len(known[kind])) for kind, places in room.items()}
    # What no machine or too few blocks have leaves places, which go to the kinds with most places of their own.
    while sum(chosen.values()) < count:
        open_kinds = [kind for kind in chosen if chosen[kind] < len(known[kind])]
        if not open_kinds:
            break
        chosen[min(open_kinds, key=lambda kind: chosen[kind] / max(1, room[kind]))] += 1
    found = [known[kind][place].cut for kind in room for place in ranked[kind][: chosen[kind]]]
    # In an order that says nothing, so that a machine that drifts meanwhile does not look like kinds that differ.
    return [found[place] for place in random.permutation(len(found)).tolist()][:count]


def _dealt(candidates: Mapping[str, int], count: int) -> dict[str, int]:
    """Places of the kinds that have no share of their own, one after the other: without any a kind has no price."""
    most, left = max(1, round(_OTHER_PERCENT / 100 * count)), round(_OTHERS_PERCENT / 100 * count)
    places = dict.fromkeys(sorted(candidates, key=lambda kind: -candidates[kind]), 0)
    for place in range(most):
        for kind in places:
            if left and candidates[kind] > place:
                places[kind] += 1
                left -= 1
    return places


def _candidates(blocks: Iterable[Workload], profile: RuntimeProfile) -> dict[str, list[Candidate]]:
    """Every distinct kernel of the blocks that can be measured alone, by the name of its share."""
    seen: set[str] = set()
    found: dict[str, list[Candidate]] = {}
    for block in blocks:
        alone = {cut.graph_hash: Candidate(kernel, cut) for kernel, cut in kernel_workloads(block, profile) if cut}
        # The runtime writes the reorders that it inserts now in one order and now in another.
        for graph_hash in sorted(alone.keys() - seen):
            kind = share_of(alone[graph_hash].kernel)
            if kind is not None:
                found.setdefault(kind, []).append(alone[graph_hash])
        seen |= alone.keys()
    return found


def unlike(candidates: Sequence[Candidate], random: np.random.Generator) -> list[int]:
    """Places of the candidates: one of each kind, then each drawn with the square of its distance from the nearest one
    drawn before.

    So the draw spreads over what there is without dwelling on the outermost (k-means++: Arthur & Vassilvitskii, SODA
    2007, §2).
    """
    columns = feature_matrix([candidate.kernel for candidate in candidates])[:, _UNLIKE]
    deviation = columns.std(axis=0)
    columns = columns / np.where(deviation > 0, deviation, 1.0)
    by_kind: dict[str | None, list[int]] = {}
    for place, candidate in enumerate(candidates):
        by_kind.setdefault(kind_of(candidate.kernel), []).append(place)
    order = [places[int(random.integers(len(places)))] for places in by_kind.values()]
    distance = np.min([_squares(columns, place) for place in order], axis=0)
    while len(order) < len(candidates):
        if not distance.any():  # the rest differ in nothing that is looked at
            order += sorted(set(range(len(candidates))) - set(order))
            break
        order.append(int(random.choice(len(candidates), p=distance / distance.sum())))
        distance = np.minimum(distance, _squares(columns, order[-1]))
    return order


def _squares(columns: npt.NDArray[np.float64], place: int) -> npt.NDArray[np.float64]:
    distance: npt.NDArray[np.float64] = ((columns - columns[place]) ** 2).sum(axis=1)
    return distance
