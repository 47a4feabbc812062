"""A processor with caches as a law: each node takes what its arithmetic or its bytes take, whichever is longer.

Roofline (Williams, Waterman, Patterson: CACM 2009) with one roof for what fits the cache and one for what does not,
less arithmetic where a product is narrow, and a call of its own for each node. Nothing is fused. The counts of work are
those of ``lowering``. It is no model of a chip that somebody measured: its numbers are plausible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ...profiler.errors import UsageError
from ...profiler.kernels.graph import Kernel
from ...profiler.records import Device
from ...profiler.workload import Workload
from .lowering import Product, Vector, lower
from .role import SimulatedCost, describe

VERSION = "1"
_PJ_PER_MJ = 1e9
#: A product reaches half of the peak with so many columns, or with so long a sum.
_HALF_COLUMNS, _HALF_SUM = 4.0, 12.0
#: One lane works where a vector unit has nothing to multiply and add at once.
_VECTOR_SHARE = 0.25


@dataclass(frozen=True)
class RooflineDesign:
    """A core and its memory. The defaults are a Cortex-A57 at 1.479 GHz: plausible, not measured.

    Attributes:
        peak_gflops: of one thread; twice the multiply-adds.
        cache_kb, cache_gbps, dram_gbps: what fits is read at the first rate, everything else at the second.
        node_us, call_us: for each node, and for each run of a graph, before any work is done.
        idle_mw, busy_mw: of the whole board at rest, and what a running core adds whatever it does.
        flop_pj, byte_pj: what an operation adds, and a byte from DRAM.
    """

    peak_gflops: float = 11.8
    cache_kb: float = 2048.0
    cache_gbps: float = 18.0
    dram_gbps: float = 6.0
    node_us: float = 4.0
    call_us: float = 12.0
    element_bytes: float = 4.0
    idle_mw: float = 1500.0
    busy_mw: float = 450.0
    flop_pj: float = 60.0
    byte_pj: float = 120.0


@dataclass
class _Work:
    """Of a graph, added up over its nodes."""

    flops: float = 0.0
    dram_bytes: float = 0.0
    alive_bytes: float = 0.0
    weight_bytes: float = 0.0


class Roofline:
    """The processor, as a ``SimulatedDevice``."""

    version = VERSION

    def __init__(self, design: RooflineDesign | None = None) -> None:
        self.design = design or RooflineDesign()

    def device(self) -> Device:
        one = self.design
        text = f"roofline of {one.peak_gflops:g} GFLOP/s, {one.cache_kb:g} kB of cache, {one.dram_gbps:g} GB/s"
        return describe(f"core-{one.peak_gflops:g}-{one.dram_gbps:g}", asdict(one), text)

    def cost(self, workload: Workload) -> SimulatedCost:
        """Every node in turn."""
        from ...profiler.kernels.written import written_graph

        total, lacking, seconds = _Work(), [], []
        for kernel in written_graph(workload).kernels:
            work = lower(kernel)
            if isinstance(work, str):
                lacking.append(f"{kernel.op}: {work}")
            elif not lacking:
                seconds.append(self._add(total, kernel, work))
        if lacking:
            return SimulatedCost(unsupported=tuple(dict.fromkeys(lacking)))
        one = self.design
        latency_ms = sum(seconds) * 1e3 + one.call_us / 1e3
        above_mj = (total.flops * one.flop_pj + total.dram_bytes * one.byte_pj) / _PJ_PER_MJ
        return SimulatedCost(
            latency_ms=latency_ms,
            energy_mj=(one.idle_mw + one.busy_mw) * latency_ms / 1e3 + above_mj or None,
            peak_memory_bytes=max(1, round(total.weight_bytes + total.alive_bytes)),
            kernels_ms=tuple(1e3 * of_one for of_one in seconds),
            details={"flops": total.flops, "dram_bytes": total.dram_bytes},
        )

    def _add(self, total: _Work, kernel: Kernel, work: Product | Vector) -> float:
        """What one node takes, in seconds; the rest of it goes into the total."""
        one = self.design
        shapes = [shape for shape in (*kernel.inputs, *kernel.outputs) if shape is not None]
        active_bytes = one.element_bytes * sum(map(math.prod, shapes))
        weight_bytes = one.element_bytes * sum(map(math.prod, kernel.weights))
        if isinstance(work, Product):
            flops = 2.0 * work.count * work.m * work.n * work.k
            share = work.n / (work.n + _HALF_COLUMNS) * work.k / (work.k + _HALF_SUM)
            moved_bytes = active_bytes + weight_bytes
        else:
            flops, share = float(work.operations), _VECTOR_SHARE
            moved_bytes = one.element_bytes * (work.read_elements + work.written_elements)
        fits = active_bytes + weight_bytes <= one.cache_kb * 1024
        rate = one.cache_gbps if fits else one.dram_gbps
        total.flops += flops
        total.dram_bytes += 0.0 if fits else moved_bytes
        total.weight_bytes += weight_bytes
        total.alive_bytes = max(total.alive_bytes, active_bytes)
        return max(flops / (one.peak_gflops * share), moved_bytes / rate) / 1e9 + one.node_us / 1e6


def roofline(options: Mapping[str, str]) -> Roofline:
    """The processor with these parameters, the others as in ``RooflineDesign``.

    Raises:
        UsageError: a parameter is not known, or is no number above 0.
    """
    known = {one.name: one.default for one in fields(RooflineDesign)}
    strange = sorted(set(options) - set(known))
    if strange:
        told = ", ".join(f"{name} ({value})" for name, value in known.items())
        raise UsageError(f"core has no parameter {strange[0]!r}", remedy=f"it has {told}")
    return Roofline(RooflineDesign(**{name: _number(name, text) for name, text in options.items()}))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{name}={text} is no such value", remedy=f"{name} is a number above 0")
    return value
