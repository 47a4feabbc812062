"""The kernels of a graph as it is written: one for each ONNX node. What runtimes without an optimiser execute.

Simulators are such runtimes. Nothing is fused and no layout changes; only what does not depend on the inputs is left
out, since a compiler would have worked it out before the first run. ``cut.py`` cuts kernels out of optimised graphs;
those of a graph as written are cut out here.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ..weights import Weight
from ..workload import Workload, workload_from_model
from .graph import KernelGraph, constants_of, is_constant, read_kernels, scalars_of
from .nodes import node_names
from .origin import node_reads
from .shapes import Shape, concrete_shape, concrete_shapes, inferred_types

#: They read the shape of a value, which is known beforehand, and not the value.
_SHAPE_READERS = frozenset({"Shape", "Size"})
#: They make another value in each run, though nothing is fed to them.
_RANDOM = frozenset("RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial".split())
#: They hand on what they read; Dropout drops nothing when a network is used.
_IDENTITIES = frozenset({"Identity", "Dropout"})


def written_graph(workload: Workload) -> KernelGraph:
    """A kernel for each node that computes something from the inputs, in the order of the graph.

    Operators that ONNX does not know get kernels, too; shapes that cannot be inferred are None.
    """
    model = onnx.load_model_from_string(workload.skeleton)
    types = inferred_types(model, workload.weights)
    known = concrete_shapes(types)
    constants = constants_of(model.graph)
    for weight in workload.weights:
        constants[weight.name] = (weight.shape, helper.np_dtype_to_tensor_dtype(np.dtype(weight.dtype)))
    kept, folded = [], []
    for position, node in enumerate(model.graph.node):
        if _is_fixed(node, constants.keys(), known):
            folded.append(position)
            for name in filter(None, node.output):
                constants.setdefault(name, (known.get(name, ()), onnx.TensorProto.FLOAT))
        elif node.op_type in _IDENTITIES:
            folded.append(position)
        else:
            kept.append(position)
    nodes = [model.graph.node[position] for position in kept]
    names = node_names(workload)
    found = zip(read_kernels(nodes, constants, known, types, scalars_of(model.graph)), kept, strict=True)
    kernels = tuple(replace(kernel, nodes=(position,), name=names[position]) for kernel, position in found)
    return KernelGraph(kernels, tuple(folded))


def written_workloads(workload: Workload) -> list[Workload]:
    """Each distinct kernel of ``written_graph`` alone, as a graph of one node, in the order of the graph.

    Those are left out that cannot stand alone: a type or shape is not known, an operand was worked out from constants,
    or it has a subgraph.
    """
    model = onnx.load_model_from_string(workload.skeleton)
    cutter = _Cutter(model, workload.weights)
    found: dict[str, Workload] = {}
    for kernel in written_graph(workload).kernels:
        if kernel.kernel_hash not in found:
            alone = cutter.cut(model.graph.node[kernel.nodes[0]], kernel.signature)
            # An operand that was worked out beforehand would be fed to it, which is another kernel.
            if alone is not None and [one.kernel_hash for one in written_graph(alone).kernels] == [kernel.kernel_hash]:
                found[kernel.kernel_hash] = alone
    return list(found.values())


class _Cutter:
    """Cuts nodes out of one graph."""

    def __init__(self, model: onnx.ModelProto, weights: Sequence[Weight]) -> None:
        self.model = model
        self.types = inferred_types(model, weights)
        self.weights = {weight.name: weight for weight in weights}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in filter(is_constant, model.graph.node):
            self.constants[node.output[0]] = onnx.TensorProto.FromString(node.attribute[0].t.SerializeToString())
            self.constants[node.output[0]].name = node.output[0]

    def cut(self, node: onnx.NodeProto, name: str) -> Workload | None:
        reads = list(dict.fromkeys(node_reads(node)))
        made = [output for output in node.output if output]
        fed = [one for one in reads if one not in self.constants and one not in self.weights]
        if any(concrete_shape(self.types.get(one)) is None for one in [*fed, *made]) or set(reads) - set(node.input):
            return None
        model = helper.make_model(
            helper.make_graph(
                [node],
                "graph",
                [helper.make_value_info(one, self.types[one]) for one in fed],
                [helper.make_value_info(one, self.types[one]) for one in made],
                [self.constants[one] for one in reads if one in self.constants],
            ),
            opset_imports=list(self.model.opset_import),
            ir_version=self.model.ir_version,
        )
        own = tuple(self.weights[one] for one in reads if one in self.weights)
        return workload_from_model(name, "kernel", model, own)


def _is_fixed(node: onnx.NodeProto, constants: Set[str], known: dict[str, Shape]) -> bool:
    """Whether a node makes the same whatever is fed."""
    if is_constant(node) or node.op_type == "Constant":
        return True
    if node.op_type in _RANDOM:
        return False
    if node.op_type in _SHAPE_READERS:
        return node.input[0] in known or node.input[0] in constants
    reads = list(node_reads(node))
    return bool(reads) and all(name in constants for name in reads)
