"""In-graph repetition: a kernel too short to time alone, repeated in one graph, from whose slope its time follows.

A call costs the same however many copies it runs, so the slope of the latency over the copies holds no overhead of the
call. There are two kinds of copies. Independent ones are what a network is made of: each finds its data where the
others have left them, further away than a kernel that runs again and again. Those that share their data keep the caches
as one kernel alone does, and so tell whether the overhead that was subtracted from it is right.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import onnx
from onnx import TensorProto, helper

from ..errors import UsageError
from ..identity import hash_graph
from ..weights import Weight
from ..workload import Workload, workload_from_model
from .graph_edit import subgraphs
from .operators import IR_VERSION, OPSET

#: Copies that the cost of a graph's border is told from: eight pairs are 2 µs, of which a tenth can be seen.
BORDER_PAIRS = 8


def repeated(workload: Workload, copies: int) -> Workload:
    """One graph with independent copies of a workload's nodes, each with inputs, weights and outputs of its own.

    With weights and inputs in common the runtime would merge the copies (common-subexpression elimination); every
    output is kept, so that no copy is dead code. Small constants (shapes, limits) are repeated too.

    Raises:
        UsageError: no copy at all, or a model file, whose weights are its own.
    """
    source = _source(workload, copies)
    prefixes = [f"copy{copy}_" for copy in range(copies)]
    weights = tuple(replace(one, name=f"{prefix}{one.name}") for prefix in prefixes for one in workload.weights)
    return _merged(workload, copies, source, [_prefixed(source.graph, prefix) for prefix in prefixes], weights)


def repeated_in_place(workload: Workload, copies: int) -> Workload:
    """One graph in which a workload's nodes run several times over the same inputs and weights.

    Only the first copy's outputs are kept, so that the runtime frees the others' memory and uses it again. Measure it
    with optimisation off (``ORT_DISABLE_ALL``): ONNX Runtime then merges nothing and runs what nobody reads. Since the
    canonical graph knows no nodes that nobody reads, the hash is that of the graph with all outputs kept.

    Raises:
        UsageError: as ``repeated``.
    """
    source = _source(workload, copies)
    made = {name for node in source.graph.node for name in node.output if name}
    pieces, outputs = [source.graph], []
    for copy in range(1, copies):
        piece = onnx.GraphProto(node=source.graph.node)
        _rename(piece, {name: f"copy{copy}_{name}" for name in made})
        pieces.append(piece)
        outputs += [(value, f"copy{copy}_{value.name}") for value in source.graph.output]
    repeated_graph = _merged(workload, copies, source, pieces, workload.weights)
    kept = onnx.load_from_string(repeated_graph.skeleton)
    for value, name in outputs:
        kept.graph.output.add(name=name, type=value.type)
    return replace(
        repeated_graph, name=f"{repeated_graph.name}, in place", graph_hash=hash_graph(kept, workload.weights)
    )


def _source(workload: Workload, copies: int) -> onnx.ModelProto:
    if copies < 1:
        raise UsageError(f"{copies} copies cannot be measured")
    if workload.path:
        raise UsageError(f"{workload.name} has weights of its own: only built graphs and cut-out kernels are repeated")
    source = onnx.load_from_string(workload.skeleton)
    if any(True for node in source.graph.node for _ in subgraphs(node)):
        raise UsageError(f"{workload.name} has control flow: names within its bodies would have to be repeated too")
    return source


def _merged(
    workload: Workload,
    copies: int,
    source: onnx.ModelProto,
    pieces: Sequence[onnx.GraphProto],
    weights: tuple[Weight, ...],
) -> Workload:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    model.ClearField("graph")
    for piece in pieces:
        model.graph.MergeFrom(piece)
    return Workload(
        name=f"{copies} × {workload.name}",
        kind=workload.kind,
        graph_hash=hash_graph(model, weights),
        skeleton=model.SerializeToString(),
        weights=weights,
    )


def _prefixed(source: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A copy with the prefix before all names; notes on the types of inner values are left out."""
    graph = onnx.GraphProto()
    graph.CopyFrom(source)
    del graph.value_info[:]
    values = [*graph.input, *graph.output, *graph.initializer]
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    _rename(graph, {name: f"{prefix}{name}" for name in names | {value.name for value in values}})
    for value in values:
        value.name = f"{prefix}{value.name}"
    return graph


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values other names wherever a node reads or makes them."""
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]


def border_probes() -> dict[str, Workload]:
    """Two graphs of as many identities, by name: ``side`` has an input and an output for each, ``chain`` one of both.

    Measure them with optimisation off (``ORT_DISABLE_ALL``), which leaves identities where they are.
    """
    side = [(f"x{place}", f"y{place}") for place in range(BORDER_PAIRS)]
    chain = [(f"x{place}", f"x{place + 1}") for place in range(BORDER_PAIRS)]
    return {
        "side": _identities("side", side, [x for x, _ in side], [y for _, y in side]),
        "chain": _identities("chain", chain, ["x0"], [chain[-1][1]]),
    }


def _identities(name: str, edges: list[tuple[str, str]], inputs: list[str], outputs: list[str]) -> Workload:
    def described(names: list[str]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(value, TensorProto.FLOAT, (1,)) for value in names]

    nodes = [helper.make_node("Identity", [source], [made]) for source, made in edges]
    graph = helper.make_graph(nodes, name, described(inputs), described(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return workload_from_model(f"{BORDER_PAIRS} identities, {name}", "operator", model)


def border_ms(side_ms: float, chain_ms: float) -> float:
    """Milliseconds that one further input and output of a graph cost, from the latencies of the ``border_probes``."""
    return (side_ms - chain_ms) / (BORDER_PAIRS - 1)


def slope_ms(latencies_ms: Mapping[int, float], *, border_ms: float = 0.0) -> float:
    """Milliseconds of one copy, from latencies by number of copies: the median of the slopes of all pairs.

    One disturbed latency cannot decide it (Theil, 1950; Sen, JASA 1968, for the estimator).

    Args:
        border_ms: what the inputs and outputs of one copy cost; it is subtracted.

    Raises:
        UsageError: fewer than two numbers of copies.
    """
    points = sorted(latencies_ms.items())
    if len(points) < 2:
        raise UsageError("a slope needs latencies of at least two numbers of copies")
    slopes = [(high - low) / (more - fewer) for (fewer, low), (more, high) in combinations(points, 2)]
    return statistics.median(slopes) - border_ms
