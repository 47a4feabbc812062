"""The kernels of a graph as it is written: one for each ONNX node. What runtimes without an optimiser execute.

Simulators are such runtimes. Nothing is fused and no layout changes; only what does not depend on the inputs is left
out, since a compiler would have worked it out before the first run.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ..errors import BrokenModel
from ..workload import Workload
from .graph import KernelGraph, constants_of, is_constant, read_kernels
from .nodes import node_names
from .origin import node_reads
from .shapes import Shape, inferred_shapes

#: They read the shape of a value, which is known beforehand, and not the value.
_SHAPE_READERS = frozenset({"Shape", "Size"})
#: They make another value in each run, though nothing is fed to them.
_RANDOM = frozenset("RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial".split())
#: They hand on what they read; Dropout drops nothing when a network is used.
_IDENTITIES = frozenset({"Identity", "Dropout"})


def written_graph(workload: Workload) -> KernelGraph:
    """A kernel for each node that computes something from the inputs, in the order of the graph.

    Operators that ONNX does not know get kernels, too; shapes that cannot be inferred are None.

    Raises:
        BrokenModel: ONNX cannot infer the shapes of the graph, because it contradicts itself.
    """
    model = onnx.load_model_from_string(workload.skeleton)
    known = _shapes(model, workload)
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
    found = zip(read_kernels(nodes, constants, known), kept, strict=True)
    kernels = tuple(replace(kernel, nodes=(position,), name=names[position]) for kernel, position in found)
    return KernelGraph(kernels, tuple(folded))


def _shapes(model: onnx.ModelProto, workload: Workload) -> dict[str, Shape]:
    try:
        return inferred_shapes(model, workload.weights)
    except onnx.shape_inference.InferenceError as error:
        raise BrokenModel(f"{workload.name}: the shapes of the graph contradict each other: {error}") from error


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
