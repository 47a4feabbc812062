"""A workload as the complete float32 model that a converter of precisions takes, and the way back to a skeleton.

Nodes are named by their positions in the workload's skeleton, so that it can be told what became of each of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, inliner, numpy_helper, shape_inference

from ..errors import BrokenModel
from ..weights import complete
from ..workload import Workload

#: Place of the variance among the inputs of BatchNormalization.
_VARIANCE = 4
#: Rewriting that renames nodes or changes operators, on the level that folds batch normalisation.
_NOT_WANTED = ("MatMulAddFusion", "ConstantFolding", "GeluFusionL1", "LayerNormFusionL1", "TransposeOptimizer")


def prepare(workload: Workload) -> onnx.ModelProto:
    """The complete model: functions inlined, nodes named by position, batch normalisation folded, shapes inferred."""
    model = onnx.load_model_from_string(complete(workload.skeleton, workload.weights))
    owner = {name: place for place, node in enumerate(model.graph.node) for name in node.output if name}
    if model.functions:
        model = inliner.inline_local_functions(model)
    _name_nodes(model, owner)
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        _make_variances_positive(model)
        model = _fold_normalisation(model)
    return shape_inference.infer_shapes(model, data_prop=True)


def position(name: str) -> int:
    """The position in the skeleton that a node of a prepared model came from."""
    return int(name.partition("/")[0])


def variances(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the variances of the batch normalisations of a model."""
    return frozenset(node.input[_VARIANCE] for node in model.graph.node if node.op_type == "BatchNormalization")


def tidy(made: onnx.ModelProto, like: onnx.ModelProto, declared: frozenset[str]) -> None:
    """Put a converted model into the form of a skeleton: sorted, no leftovers, the version numbers of ``like``.

    Args:
        declared: names of the values whose shapes stay declared.
    """
    graph = made.graph
    _sort(graph)
    read = {name for node in graph.node for name in _reads(node)} | {value.name for value in graph.output}
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)
    made_here = {name for node in graph.node for name in node.output}
    shapes = [value for value in graph.value_info if value.name in declared & made_here]
    del graph.value_info[:]
    graph.value_info.extend(shapes)
    domains = {node.domain or "ai.onnx" for node in graph.node}
    opsets = [opset for opset in made.opset_import if (opset.domain or "ai.onnx") in domains]
    del made.opset_import[:]
    made.opset_import.extend(opsets)
    made.ir_version = like.ir_version


def _name_nodes(model: onnx.ModelProto, owner: dict[str, int]) -> None:
    """Name every node by the position of the skeleton's node that makes its output or calls the function it is in."""
    place = index = 0
    for node in reversed(model.graph.node):  # from behind: what makes an output of a call ends the call's body
        places = [owner[name] for name in node.output if name in owner]
        place, index = (places[0], 0) if places else (place, index + 1)
        node.name = f"{place}/{index}"


def _make_variances_positive(model: onnx.ModelProto) -> None:
    """Generated weights are normal around zero, and the root of a negative variance is no number."""
    names = variances(model)
    for tensor in model.graph.initializer:
        if tensor.name in names:
            values = np.abs(numpy_helper.to_array(tensor)) + np.float32(0.5)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _fold_normalisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold batch normalisation into the convolution before it, as the quantiser expects of a model.

    Raises:
        BrokenModel: ONNX Runtime refuses the graph.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        target = Path(folder, "folded.onnx")
        options.optimized_model_filepath = str(target)
        cpu = ["CPUExecutionProvider"]
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, cpu, disabled_optimizers=_NOT_WANTED)
        except (state.NotImplemented, state.InvalidGraph, state.Fail, state.InvalidArgument) as error:
            raise BrokenModel(f"ONNX Runtime refuses the float32 graph: {error}") from error
        return onnx.load(target)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values a node reads, with all that its subgraphs read, their own values included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from (name for inner in attribute.g.node for name in _reads(inner))
            yield from (value.name for value in attribute.g.output)


def _sort(graph: onnx.GraphProto) -> None:
    """Producers before consumers: the converters append what they insert."""
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = {
        place: [maker[name] for name in _reads(node) if name in maker and maker[name] != place]
        for place, node in enumerate(graph.node)
    }
    nodes = [graph.node[place] for place in TopologicalSorter(needs).static_order()]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
