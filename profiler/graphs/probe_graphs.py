"""The workloads of the device probe: matrix products, streams over a working set, chains that do nothing but start.

What a stored workload measures is read from its graph (``role_of``), not from its name: names are for people. Nothing
here measures, or knows a measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import onnx

from ..overhead import overhead_probes
from ..precision.convert import PRECISIONS
from ..records import RuntimeProfile
from ..runtimes import CPU_PROVIDER, allowed_cpus
from ..workload import Workload, workload_from_model
from .operators import GraphBuilder
from .tensor_operators import binary, matmul, slice_axis

#: A product of 256 is in the caches of small cores, one of 512 keeps several threads and wide units busy.
GEMM_SIZES = (256, 512)
#: From a third of a small L1 cache to six times an L3 cache of 32 MiB, in steps of two.
WORKING_SETS_BYTES = tuple(3 * 2**exponent for exponent in range(12, 27))
#: TVM compiles each graph for a second or two, and where it is not tuned its products take a hundred times as long.
_FEWER_SIZES, _FEWER_SETS = (128,), WORKING_SETS_BYTES[::3]
#: The largest working set is no more than this share of the memory: the runner holds copies of it.
_MEMORY_SHARE = 1 / 8
#: Where a device does not say how much memory it has.
_MEMORY_BYTES = 2**30
#: Products in one graph: enough that the conversions at the border of an int8 graph are a small part of its work.
PRODUCTS = 4
#: Passes of a stream move about this much in one run, so that small working sets take longer than starting a run does.
STREAM_BYTES = 2**21
#: With fewer passes the first one, which reads one buffer instead of two, would weigh too much.
PASSES_MIN, PASSES_MAX = 4, 64
#: A pass reads two buffers and writes a third.
BUFFERS = 3
#: Elements of a stream that moves next to nothing: what a pass costs before it moves anything.
IDLE_ELEMENTS = 16
_FLOAT_BYTES = 4

#: Working set of ``idle_stream``.
IDLE_BYTES = BUFFERS * IDLE_ELEMENTS * _FLOAT_BYTES

#: Precision and threads.
Variant = tuple[str, int]
Quantity = Literal["gemm", "stream", "chain"]


@dataclass(frozen=True)
class ProbeRole:
    """What a probe's graph asks of the device.

    Attributes:
        nodes: of the graph; in a ``chain`` every one is a node that does next to nothing.
        flops: of a ``gemm``, a multiply-add is two.
        working_set_bytes: of a ``stream``: its three buffers.
        moved_bytes: of a ``stream``: what all of its passes together read and write.
    """

    quantity: Quantity
    nodes: int
    flops: float = 0.0
    working_set_bytes: int = 0
    moved_bytes: int = 0


@dataclass(frozen=True)
class ProbePlan:
    """What a probe measures: products of these sizes in each variant, and streams over these working sets in fp32."""

    gemm_sizes: tuple[int, ...]
    working_sets_bytes: tuple[int, ...]
    variants: tuple[Variant, ...]

    @classmethod
    def for_profile(cls, profile: RuntimeProfile, memory_bytes: int | None) -> ProbePlan:
        """As far as the device's memory and CPUs, and the patience with a compiler, go."""
        is_compiled = profile.runtime == "tvm"
        most_bytes = (memory_bytes or _MEMORY_BYTES) * _MEMORY_SHARE
        sets = _FEWER_SETS if is_compiled else WORKING_SETS_BYTES
        threads = (profile.threads,) if is_compiled else thread_counts(profile)
        return cls(
            _FEWER_SIZES if is_compiled else GEMM_SIZES,
            tuple(size for size in sets if size <= most_bytes),
            tuple((precision, count) for count in threads for precision in PRECISIONS),
        )

    def streams_and_chains(self, profile: RuntimeProfile) -> list[Workload]:
        """All but the products."""
        is_single_pass = not runs_each_node(profile)
        streams = [stream_over(size, is_single_pass=is_single_pass) for size in self.working_sets_bytes]
        return [*chains(), idle_stream(is_single_pass=is_single_pass), *streams]


def thread_counts(profile: RuntimeProfile) -> tuple[int, ...]:
    """1, 2, 4, … and all CPUs; the profile's own alone where its threads are not this machine's."""
    if profile.provider != CPU_PROVIDER:
        return (profile.threads,)
    most = len(profile.affinity or allowed_cpus())
    return tuple(sorted({*(2**power for power in range(most.bit_length())), most, profile.threads}))


def runs_each_node(profile: RuntimeProfile) -> bool:
    """Whether a chain of small nodes stays one: ONNX Runtime's CPU provider fuses none of them, TVM makes one kernel.

    Of other providers nobody has looked; they are taken to make one kernel.
    """
    return profile.runtime == "onnxruntime" and profile.provider == CPU_PROVIDER


def square_products(size: int, products: int = PRODUCTS) -> Workload:
    """Matrix products of a (size, size) input with one weight after another, as networks have them."""
    graph = GraphBuilder("products")
    value = graph.input((size, size))
    for _ in range(products):
        value = matmul(graph, value, graph.weight((size, size), fan_in=size))
    return workload_from_model(
        f"{products} products of {size} × {size}", "operator", graph.model(value), tuple(graph.weights)
    )


def stream(elements: int, passes: int) -> Workload:
    """Passes over three buffers of float32, after McCalpin's STREAM (1995), add: two are read, the third is written.

    The runtime gives intermediate values two buffers in turn; the third is the input. Sum and difference take turns, so
    that numbers stay small however many passes there are. Only one element leaves the graph: an output as large as the
    buffers would be a fourth of them.
    """
    graph = GraphBuilder("stream")
    added = graph.input((elements,))
    value = graph.node("Neg", [added], (elements,))
    for place in range(passes):
        value = binary(graph, "Add" if place % 2 else "Sub", value, added)
    made = graph.model(slice_axis(graph, value, 0, 0, 1))
    return workload_from_model(f"{passes} passes over {BUFFERS} × {elements} floats", "operator", made)


def single_pass(elements: int) -> Workload:
    """One addition of two inputs, for runtimes that would make one kernel of several passes."""
    graph = GraphBuilder("stream")
    left, right = graph.input((elements,), "left"), graph.input((elements,), "right")
    made = graph.model(binary(graph, "Add", left, right))
    return workload_from_model(f"1 pass over {BUFFERS} × {elements} floats", "operator", made)


def stream_over(working_set_bytes: int, *, is_single_pass: bool = False) -> Workload:
    """The stream over a working set, with as many passes as its size asks for."""
    elements = max(1, working_set_bytes // (BUFFERS * _FLOAT_BYTES))
    if is_single_pass:
        return single_pass(elements)
    return stream(elements, max(PASSES_MIN, min(PASSES_MAX, STREAM_BYTES // working_set_bytes)))


def idle_stream(*, is_single_pass: bool = False) -> Workload:
    """A stream that moves next to nothing: what its nodes cost by themselves."""
    return single_pass(IDLE_ELEMENTS) if is_single_pass else stream(IDLE_ELEMENTS, PASSES_MAX)


def chains() -> tuple[Workload, ...]:
    """The two chains of nodes that do next to nothing, shortest first (``profiler.overhead``)."""
    return tuple(overhead_probes().values())


def role_of(workload: Workload) -> ProbeRole | None:
    """What a probe's workload asks of the device; None for a graph that is no probe's."""
    graph = onnx.load_model_from_string(workload.skeleton).graph
    operators = [node.op_type for node in graph.node]
    dims = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] if graph.input else []
    products = sum(1 for operator in operators if "MatMul" in operator)
    if products and len(dims) == 2:
        return ProbeRole("gemm", len(operators), flops=2.0 * products * math.prod(dims) * dims[1])
    if operators and set(operators) == {"Sigmoid"}:
        return ProbeRole("chain", len(operators))
    if set(operators) <= {"Add", "Sub", "Neg", "Slice"} and {"Add", "Sub"} & set(operators) and len(dims) == 1:
        buffer_bytes = dims[0] * _FLOAT_BYTES
        buffers = BUFFERS * (operators.count("Add") + operators.count("Sub")) + 2 * operators.count("Neg")
        return ProbeRole(
            "stream", len(operators), working_set_bytes=BUFFERS * buffer_bytes, moved_bytes=buffers * buffer_bytes
        )
    return None
