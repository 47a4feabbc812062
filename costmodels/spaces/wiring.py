"""Put cells together to one ONNX graph: each reads and writes values by name. ONNX is imported to do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...profiler.errors import ModelError
from .kinds import Shape
from .slots import CURRENT, Part

if TYPE_CHECKING:
    from ...profiler.graphs.operators import GraphBuilder
    from ...profiler.workload import Workload


def build_workload(name: str, kind: str, inputs: Sequence[tuple[str, Shape, str]], parts: Sequence[Part]) -> Workload:
    """A graph of these cells, in order.

    Args:
        inputs: name of the value, shape and type of each input of the graph.

    Raises:
        ModelError: a cell is given, or makes, another shape than it says.
    """
    from ...profiler.graphs.operators import GraphBuilder
    from ...profiler.workload import workload_from_model

    graph = GraphBuilder(name)
    values = {
        called: graph.input(shape, "input" if place == 0 else f"input{place}", dtype=dtype)
        for place, (called, shape, dtype) in enumerate(inputs)
    }
    outputs: list[str] = []
    for part in parts:
        if part.cell.spec.block == "input":  # a further chain begins, and what the one before made is an output
            outputs.append(values[CURRENT])
            dtype = "int64" if len(part.cell.input_shape) == 2 else "float32"
            values[part.writes] = graph.input(part.cell.input_shape, f"input{len(graph.inputs)}", dtype=dtype)
            continue
        values[part.writes] = _append(graph, name, part, [values[read] for read in part.reads])
    last = values[parts[-1].writes] if parts else values[CURRENT]
    return workload_from_model(name, kind, graph.model(*outputs, last), tuple(graph.weights))


def _append(graph: GraphBuilder, name: str, part: Part, values: Sequence[str]) -> str:
    cell = part.cell
    for value in values:
        if graph.shapes[value] != cell.input_shape:
            raise ModelError(f"{name}: {cell.key} was given {graph.shapes[value]} instead of {cell.input_shape}")
    made = cell.build(graph, *values)
    if graph.shapes[made] != cell.output_shape:
        raise ModelError(f"{name}: {cell.key} made {graph.shapes[made]} instead of {cell.output_shape}")
    return made
