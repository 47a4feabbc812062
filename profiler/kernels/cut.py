"""One executed kernel as a workload of its own, cut out of the optimised graph.

What is timed is then the kernel as the network runs it, its fused activation and its blocked layout included, without
the reorders that an isolated operator has at its borders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from ..errors import UsageError
from ..identity import hash_graph
from ..model_file import split_weights
from ..records import RuntimeProfile
from ..workload import Workload
from .graph import Kernel, Optimised, optimise
from .origin import node_reads
from .shapes import asked_types, concrete_shape
from .views import is_view, of_one_element

#: Constants up to this many elements stay as they are: among them are scales, zero points, limits, axes and shapes,
#: which a kernel may refuse when they are made up. Not so numbers that are none.
_KEPT_ELEMENTS_MAX = 4096


def kernel_workload(workload: Workload, profile: RuntimeProfile, index: int) -> Workload:
    """The kernel at a position in the order of execution, as a graph that can be measured.

    Measure it with optimisation off (``ORT_DISABLE_ALL``): it has been optimised. Its kernels are then this one kernel,
    with one difference: where the runtime pads channels as it reorders an input, the kernel behind it is given, and
    says, the padded shape. With optimisation on the runtime gives a blocked layout, and reorders around it, to the few
    kernels, such as an average pool, that it did not find worth it within the network.

    Raises:
        UsageError: there is no such kernel, or it cannot stand alone: the shape of an operand depends on data, or is
            no tensor.
        ModelError: the runtime does not take the workload.
    """
    optimised = optimise(workload, profile)
    if not 0 <= index < len(optimised.nodes):
        raise UsageError(f"{workload.name} has kernels 0 to {len(optimised.nodes) - 1}; there is no kernel {index}")
    alone = _Cutter(optimised, profile).cut(index)
    if alone is None:
        kernel = optimised.graph.kernels[index]
        raise UsageError(f"{kernel.signature} cannot be run alone: the shape of an operand is not known beforehand")
    return alone


def kernel_workloads(workload: Workload, profile: RuntimeProfile) -> list[tuple[Kernel, Workload | None]]:
    """Each distinct kernel of a workload once, in order of execution, with the graph to measure it by.

    None where a kernel cannot stand alone (``kernel_workload`` says why). Raises ModelError when the runtime does not
    take the workload.
    """
    optimised = optimise(workload, profile)
    cutter = _Cutter(optimised, profile)
    first: dict[str, int] = {}
    for index, kernel in enumerate(optimised.graph.kernels):
        first.setdefault(kernel.kernel_hash, index)
    return [(optimised.graph.kernels[index], cutter.cut(index)) for index in first.values()]


class _Cutter:
    """Cuts kernels out of one optimised graph."""

    def __init__(self, optimised: Optimised, profile: RuntimeProfile) -> None:
        self.optimised = optimised
        self.types = asked_types(optimised.model, profile)
        graph = optimised.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        executed = {node.output[0] for node in optimised.nodes if node.output}
        for node in graph.node:
            if node.op_type == "Constant" and node.output[0] not in executed:
                self.constants[node.output[0]] = node.attribute[0].t

    def cut(self, index: int) -> Workload | None:
        node = self.optimised.nodes[index]
        reads = list(dict.fromkeys(node_reads(node)))
        fed = [name for name in reads if name not in self.constants]
        made = [name for name in node.output if name]
        inputs = [self._input(name) for name in fed]
        if any(value is None for value in inputs) or any(name not in self.types for name in made):
            return None
        outputs = [helper.make_value_info(name, self.types[name]) for name in made]
        constants = [self.constants[name] for name in reads if name in self.constants]
        kernel = self.optimised.graph.kernels[index]
        name = kernel.signature
        if is_view(kernel) and fed == node.input[:1] and len(made) == 1:
            name = of_one_element(kernel).signature
            # Alone it would copy what it hands on within the network: so it is measured on next to nothing.
            inputs, outputs = [_one_element(value) for value in inputs if value], [_one_element(outputs[0])]
            if node.op_type == "Reshape":
                ones = np.ones(len(outputs[0].type.tensor_type.shape.dim), np.int64)
                constants = [numpy_helper.from_array(ones, node.input[1])]
        graph = helper.make_graph([node], "graph", [value for value in inputs if value], outputs, constants)
        if not any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
            _rename(graph)
        return self._workload(graph, name)

    def _input(self, name: str) -> onnx.ValueInfoProto | None:
        kind = self.types.get(name)
        shape = concrete_shape(kind)
        if shape is None:
            shape = self.optimised.shapes.get(name)
        if kind is None or shape is None:
            return None
        return helper.make_tensor_value_info(name, kind.tensor_type.elem_type, shape)

    def _workload(self, graph: onnx.GraphProto, name: str) -> Workload:
        source = self.optimised.model
        domains = _domains(graph.node)
        opsets = [entry for entry in source.opset_import if entry.domain in domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=source.ir_version)
        kept = [tensor for tensor in graph.initializer if _stays(tensor)]
        del model.graph.initializer[:]
        model.graph.initializer.extend(tensor for tensor in graph.initializer if not _stays(tensor))
        skeleton, weights = split_weights(model)
        skeleton.graph.initializer.extend(kept)
        return Workload(
            name=name,
            kind="kernel",
            graph_hash=hash_graph(skeleton, weights),
            skeleton=skeleton.SerializeToString(),
            weights=weights,
        )


def _one_element(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    kind = value.type.tensor_type
    return helper.make_tensor_value_info(value.name, kind.elem_type, [1] * len(kind.shape.dim))


def _stays(tensor: onnx.TensorProto) -> bool:
    if math.prod(tensor.dims) > _KEPT_ELEMENTS_MAX or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return False
    # Made-up variances are negative as often as not, and then what the runtime folded them into is no number.
    values = numpy_helper.to_array(tensor)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _domains(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Domains of nodes and of what stands in their subgraphs; ONNX's own is always among them."""
    found = {""}
    for node in nodes:
        found.add(node.domain)
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                found |= _domains(graph.node)
    return found


def _rename(graph: onnx.GraphProto) -> None:
    """Names by place: those of the optimised graph change from session to session."""
    names: dict[str, str] = {}
    for stem, values in (("x", graph.input), ("y", graph.output), ("w", graph.initializer)):
        for place, value in enumerate(values):
            names[value.name] = f"{stem}{place}"
            value.name = names[value.name]
    node = graph.node[0]
    for field in (node.input, node.output):
        field[:] = [names.get(name, "") for name in field]
