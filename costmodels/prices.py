"""What a prediction is: a price for each kernel, with where it comes from and its interval, and their sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..profiler.kernels.graph import Kernel


@dataclass(frozen=True)
class KernelPrice:
    """One kernel's share of a prediction.

    Attributes:
        latency_ms: None when ``source`` is ``unsupported``.
        lo_ms, hi_ms: interval of the kernel alone; None when it has no price, or too few held-out graphs exist.
        source: ``measured`` (this very kernel was, alone), ``interpolated`` (kind known, every feature inside the range
            seen), ``predicted`` (outside it: physics extrapolates), ``unsupported`` (nothing of this kind was measured,
            or its shapes are unknown), or ``simulated`` (a law said so, and nothing was predicted).
    """

    kernel: Kernel
    latency_ms: float | None
    source: str
    lo_ms: float | None = None
    hi_ms: float | None = None


@dataclass(frozen=True)
class GraphPrice:
    """A predicted graph.

    Attributes:
        lo_ms, hi_ms: the interval; None when too few held-out graphs exist to give one, and for a lower bound.
        is_lower_bound: a kernel has no price, so the total leaves it out.
    """

    total_ms: float
    lo_ms: float | None
    hi_ms: float | None
    is_lower_bound: bool
    kernels: tuple[KernelPrice, ...]

    def coverage(self) -> dict[str, float]:
        """Share of the predicted latency by source; for ``unsupported``, which has none, the share of kernels."""
        priced = sum(k.latency_ms for k in self.kernels if k.latency_ms is not None)
        shares = {
            source: sum(k.latency_ms for k in self.kernels if k.source == source and k.latency_ms is not None) / priced
            if priced
            else 0.0
            for source in ("measured", "interpolated", "predicted")
        }
        shares["unsupported"] = sum(k.source == "unsupported" for k in self.kernels) / max(1, len(self.kernels))
        return shares


def scaled(price: KernelPrice, latency_ms: float) -> KernelPrice:
    """The same kernel at another price, with bounds as far off."""
    if price.latency_ms is None or price.lo_ms is None or price.hi_ms is None:
        return replace(price, latency_ms=latency_ms)
    factor = latency_ms / price.latency_ms
    return replace(price, latency_ms=latency_ms, lo_ms=price.lo_ms * factor, hi_ms=price.hi_ms * factor)


def summed(prices: Sequence[KernelPrice], whole: float | None) -> GraphPrice:
    """A graph from its kernels. ``whole`` is the radius of a network's interval; a block's is that of its kernels."""
    total = float(sum(price.latency_ms for price in prices if price.latency_ms is not None))
    is_lower_bound = any(price.source == "unsupported" for price in prices)
    radius = _radius(prices, total) if whole is None else whole
    bounded = math.isfinite(radius) and not is_lower_bound
    return GraphPrice(
        total_ms=total,
        lo_ms=total * math.exp(-radius) if bounded else None,
        hi_ms=total * math.exp(radius) if bounded else None,
        is_lower_bound=is_lower_bound,
        kernels=tuple(prices),
    )


def _radius(prices: Sequence[KernelPrice], total_ms: float) -> float:
    """Of a sum: that of its kernels, each by its share (``spread_of_graphs``)."""
    reaches = [
        price.latency_ms * math.log(price.hi_ms / price.latency_ms)
        for price in prices
        if price.latency_ms is not None and price.hi_ms is not None
    ]
    return sum(reaches) / total_ms if reaches and total_ms else math.inf
