"""A simulated accelerator: a systolic array with double-buffered memories, and a vector unit beside it.

Convolutions and products become matrix products of M rows (pixels), N columns (filters) and depth K (a window of all
channels), cut into folds of the array's size. A fold takes 2r + c + T - 2 cycles (Samajdar et al., "A Systematic
Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020), r and c being the rows
and columns that it fills and T what streams through. Fold by fold the simulator asks which operands stand in the
array's memories already and what must come from DRAM; while one fold computes, the next one's operands are loaded and
the last one's results stored. Elementwise operators, pools and softmax go through the vector unit in pieces, by the
same pipeline.

What it does not know: padding costs as much as pixels do; each node reads its inputs from DRAM and writes its outputs
there (nothing is fused); rows that neighbouring windows share stay in memory, so that a pass fetches an input once;
biases are free. Energy by operation and byte is constant; the defaults are those of 45 nm (Horowitz, ISSCC 2014, fig.
1.1.9: 8-bit multiply 0.2 pJ, 32-bit add 0.1 pJ; 20 pJ for 8 bytes of a 32 kB memory, 1.3 nJ for 8 bytes of DRAM).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from ...profiler.errors import UsageError
from ...profiler.records import Device
from .lowering import Product, Vector, lower
from .role import SimulatedCost, describe

if TYPE_CHECKING:
    from ...profiler.workload import Workload

Dataflow = Literal["os", "ws"]
#: Changes whenever the same design gives other numbers.
VERSION = "1"
#: Partial sums are kept in 32 bits, whatever the operands have.
_ACCUMULATOR_BYTES = 4
_PJ_PER_MJ = 1e9
#: No parameter makes sense beyond a million: cells in a row, kilobytes, bytes in a cycle, megahertz.
_MOST = 1_000_000


@dataclass(frozen=True)
class SystolicDesign:
    """The parameters. Whole numbers are at least 1, others at least 0.

    Attributes:
        dataflow: ``os``: each cell keeps an output, its operands stream; ``ws``: each cell keeps a weight.
        input_kb, weight_kb, output_kb: the three memories, in 1024 bytes; half of each is being filled while the other
            half is used.
        bytes_per_cycle: to and from DRAM.
        element_bytes: of inputs, weights and outputs.
        static_mw: power that is drawn whatever happens.
    """

    rows: int = 16
    columns: int = 16
    dataflow: Dataflow = "os"
    input_kb: int = 64
    weight_kb: int = 64
    output_kb: int = 64
    bytes_per_cycle: int = 16
    clock_mhz: int = 500
    element_bytes: int = 1
    mac_pj: float = 0.3
    sram_pj_per_byte: float = 2.5
    dram_pj_per_byte: float = 162.5
    static_mw: float = 0.0


@dataclass(frozen=True)
class Fold:
    """What the array or the vector unit does between two changes of its operands."""

    cycles: int
    read_bytes: int
    write_bytes: int
    sram_bytes: int


@dataclass
class Tally:
    """What a node took."""

    cycles: int = 0
    busy_cycles: int = 0
    macs: int = 0
    sram_bytes: int = 0
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0

    def add(self, other: Tally) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class SystolicArray:
    """The accelerator, as a ``SimulatedDevice``."""

    version = VERSION

    def __init__(self, design: SystolicDesign | None = None) -> None:
        self.design = design or SystolicDesign()

    def device(self) -> Device:
        one = self.design
        text = (
            f"systolic array {one.rows}×{one.columns} ({one.dataflow}),"
            f" {one.input_kb}+{one.weight_kb}+{one.output_kb} kB,"
            f" {one.bytes_per_cycle * one.clock_mhz / 1000:g} GB/s, {one.clock_mhz} MHz"
        )
        return describe(f"systolic-{one.rows}x{one.columns}-{one.dataflow}", asdict(one), text)

    def cost(self, workload: Workload) -> SimulatedCost:
        """Every node in turn; the graph is what its nodes are together."""
        from ...profiler.kernels.written import written_graph

        total, lacking, cycles = Tally(), [], []
        for kernel in written_graph(workload).kernels:
            work = lower(kernel)
            if isinstance(work, str):
                lacking.append(f"{kernel.op}: {work}")
            elif not lacking:
                node = self.run(work)
                total.add(node)
                cycles.append(node.cycles)
        if lacking:
            return SimulatedCost(unsupported=tuple(dict.fromkeys(lacking)))
        if not total.cycles:
            return SimulatedCost(unsupported=("the graph: nothing in it is computed",))
        latency_ms = total.cycles / (self.design.clock_mhz * 1e3)
        return SimulatedCost(
            latency_ms=latency_ms,
            energy_mj=self._energy_mj(total, latency_ms) or None,
            kernels_ms=tuple(count / (self.design.clock_mhz * 1e3) for count in cycles),
            details={
                **asdict(total),
                "utilisation": total.macs / (total.cycles * self.design.rows * self.design.columns),
            },
        )

    def run(self, work: Product | Vector) -> Tally:
        """Simulate one node, fold by fold."""
        if isinstance(work, Vector):
            return pipeline(self._pieces(work), self.design.bytes_per_cycle)
        folds = self._output_stationary(work) if self.design.dataflow == "os" else self._weight_stationary(work)
        tally = pipeline(folds, self.design.bytes_per_cycle)
        tally.macs = work.count * work.m * work.n * work.k
        return tally

    def _energy_mj(self, total: Tally, latency_ms: float) -> float:
        one = self.design
        moved = total.dram_read_bytes + total.dram_write_bytes
        # What comes from DRAM or goes there passes through a memory as well.
        picojoules = (
            total.macs * one.mac_pj
            + (total.sram_bytes + moved) * one.sram_pj_per_byte
            + moved * one.dram_pj_per_byte
            + one.static_mw * latency_ms * 1e6
        )
        return picojoules / _PJ_PER_MJ

    def _output_stationary(self, work: Product) -> Iterator[Fold]:
        """Rows take pixels, columns take filters, and the window streams: T = K."""
        inputs, weights = _Memory(self.design.input_kb), _Memory(self.design.weight_kb)
        width = self.design.element_bytes
        for product in range(work.count):
            for j, (first, c) in enumerate(_cuts(work.n, self.design.columns)):
                weight_bytes = _share(work.weight_elements, first, c, work.n) * width
                for i, (start, r) in enumerate(_cuts(work.m, self.design.rows)):
                    input_bytes = _share(work.input_elements, start, r, work.m) * width
                    yield Fold(
                        cycles=2 * r + c + work.k - 2,
                        read_bytes=inputs.fetch((product, i), input_bytes) + weights.fetch((product, j), weight_bytes),
                        write_bytes=r * c * width,
                        sram_bytes=((r + c) * work.k + r * c) * width,
                    )

    def _weight_stationary(self, work: Product) -> Iterator[Fold]:
        """Rows take the window, columns take filters, and pixels stream: T = M.

        Sums over the window's parts are kept in the output memory, or go to DRAM and back where they do not fit.
        """
        inputs = _Memory(self.design.input_kb)
        width = self.design.element_bytes
        parts = list(_cuts(work.k, self.design.rows))
        for product in range(work.count):
            for first, c in _cuts(work.n, self.design.columns):
                filters = _share(work.weight_elements, first, c, work.n)
                partial = work.m * c * _ACCUMULATOR_BYTES
                spills = partial > self.design.output_kb * 1024 // 2
                for i, (start, r) in enumerate(parts):
                    is_last = i == len(parts) - 1
                    input_bytes = _share(work.input_elements, start, r, work.k) * width
                    weight_bytes = _share(filters, start, r, work.k) * width
                    kept = 0 if is_last and i == 0 else partial * (1 + (i > 0 and not is_last))
                    yield Fold(
                        cycles=2 * r + c + work.m - 2,
                        read_bytes=inputs.fetch((product, i), input_bytes)
                        + weight_bytes
                        + (partial if spills and i else 0),
                        write_bytes=work.m * c * width if is_last else partial if spills else 0,
                        sram_bytes=(work.m * r + r * c) * width + kept + (work.m * c * width if is_last else 0),
                    )

    def _pieces(self, work: Vector) -> Iterator[Fold]:
        """Pieces of half an input memory through as many lanes as the array has columns."""
        width = self.design.element_bytes
        most = max(work.read_elements, work.written_elements) * width
        count = max(1, -(-most // (self.design.input_kb * 1024 // 2)))
        for piece in range(count):
            operations = _share(work.operations, piece, 1, count)
            read, written = (_share(n, piece, 1, count) * width for n in (work.read_elements, work.written_elements))
            yield Fold(-(-operations // self.design.columns), read, written, read + written)


def pipeline(folds: Iterable[Fold], bytes_per_cycle: int) -> Tally:
    """Double buffering: while a fold computes, the next one's operands come and the last one's results go."""
    tally, computing, made_bytes, waiting_bytes = Tally(), 0, 0, 0
    for fold in folds:
        # While the fold before this one computes, this one's operands come and what was made before both goes.
        tally.cycles += max(computing, -(-(fold.read_bytes + waiting_bytes) // bytes_per_cycle))
        computing, made_bytes, waiting_bytes = fold.cycles, fold.write_bytes, made_bytes
        tally.busy_cycles += fold.cycles
        tally.sram_bytes += fold.sram_bytes
        tally.dram_read_bytes += fold.read_bytes
        tally.dram_write_bytes += fold.write_bytes
    tally.cycles += max(computing, -(-waiting_bytes // bytes_per_cycle)) + -(-made_bytes // bytes_per_cycle)
    return tally


class _Memory:
    """A memory's usable half: which pieces stand in it. The one that was not used for longest goes first."""

    def __init__(self, size_kb: int) -> None:
        self.free_bytes = size_kb * 1024 // 2
        self.pieces: OrderedDict[tuple[int, int], int] = OrderedDict()

    def fetch(self, piece: tuple[int, int], size_bytes: int) -> int:
        """Bytes that come from DRAM so that the piece can be used; one that is too large streams through each time."""
        if piece in self.pieces:
            self.pieces.move_to_end(piece)
            return 0
        while self.free_bytes < size_bytes and self.pieces:
            self.free_bytes += self.pieces.popitem(last=False)[1]
        if size_bytes <= self.free_bytes:
            self.pieces[piece] = size_bytes
            self.free_bytes -= size_bytes
        return size_bytes


def _cuts(extent: int, most: int) -> Iterator[tuple[int, int]]:
    """Start and length of each part of an axis."""
    return ((start, min(most, extent - start)) for start in range(0, extent, most))


def _share(total: int, start: int, count: int, whole: int) -> int:
    """What ``count`` of ``whole`` parts have of a total; all shares together are the total exactly."""
    return total * (start + count) // whole - total * start // whole


def systolic_array(options: Mapping[str, str]) -> SystolicArray:
    """The accelerator with these parameters, the others as in ``SystolicDesign``.

    Raises:
        UsageError: a parameter is not known, or has a value that it cannot have.
    """
    kinds = {one.name: type(one.default) for one in fields(SystolicDesign)}
    strange = sorted(set(options) - set(kinds))
    if strange:
        known = ", ".join(f"{one.name} ({one.default})" for one in fields(SystolicDesign))
        raise UsageError(f"systolic has no parameter {strange[0]!r}", remedy=f"it has {known}")
    values = {name: _value(name, kinds[name], text) for name, text in options.items()}
    return SystolicArray(SystolicDesign(**values))  # type: ignore[arg-type]  # each value has its field's type


def _value(name: str, kind: type, text: str) -> int | float | str:
    if kind is str:
        if text in get_args(Dataflow):
            return text
        raise UsageError(f"{name}={text} is none", remedy=f"{name} is one of {', '.join(get_args(Dataflow))}")
    try:
        value = int(text) if kind is int else float(text)
    except ValueError:
        value = -1
    most = _MOST if kind is int else math.inf
    if not (kind is int) <= value <= most or not math.isfinite(value):
        wanted = f"a whole number from 1 to {_MOST}" if kind is int else "a number of at least 0"
        raise UsageError(f"{name}={text} is no such value", remedy=f"{name} is {wanted}")
    return value
