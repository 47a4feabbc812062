"""Which part of a graph has a price, and why the rest has none: by operator, and by the nodes of the ONNX file.

Not one node is dropped silently: each is priced, or named with a reason, or costs nothing when the model runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .kernel_work import no_price

if TYPE_CHECKING:
    from ..profiler.kernels.graph import KernelGraph
    from .prices import KernelPrice

NEVER_MEASURED = "nothing of the kind was measured"


@dataclass(frozen=True)
class NodeCoverage:
    """Every node of a workload's skeleton, by position, in exactly one of three places.

    Attributes:
        priced: all of its kernels have a price.
        unpriced: one of its kernels has none; (position, why).
        free: it costs nothing when the model runs: constants, shapes, identities, dead code.
    """

    priced: tuple[int, ...]
    unpriced: tuple[tuple[int, str], ...]
    free: tuple[int, ...]


def reason(price: KernelPrice) -> str | None:
    """Why a kernel has no price; None where it has one."""
    if price.latency_ms is not None:
        return None
    return no_price(price.kernel) or NEVER_MEASURED


def unpriced_operators(prices: Sequence[KernelPrice]) -> dict[str, str]:
    """Operators with a kernel that has no price, in alphabetical order, and why; several reasons are joined."""
    found: dict[str, set[str]] = {}
    for price in prices:
        why = reason(price)
        if why is not None:
            found.setdefault(price.kernel.op, set()).add(why)
    return {operator: "; ".join(sorted(found[operator])) for operator in sorted(found)}


def node_coverage(graph: KernelGraph, prices: Sequence[KernelPrice]) -> NodeCoverage:
    """Where the nodes of a workload went.

    Args:
        graph: the kernels of the workload, with the nodes of each and those that became none.
        prices: of ``graph.kernels``, in their order.
    """
    reasons: dict[int, str | None] = {}
    for kernel, price in zip(graph.kernels, prices, strict=True):
        for node in kernel.nodes:
            reasons[node] = reason(price) or reasons.get(node)
    unpriced = [(node, why) for node, why in sorted(reasons.items()) if why is not None]
    return NodeCoverage(
        priced=tuple(node for node, why in sorted(reasons.items()) if why is None),
        unpriced=tuple(unpriced),
        free=tuple(sorted(graph.folded)),
    )
