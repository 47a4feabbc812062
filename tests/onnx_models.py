"""Small ONNX models of every kind that the gate looks into: the corpus of its fuzzers, and the ground of its tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete

node = helper.make_node


def graph(nodes: list[NodeProto], **fields: object) -> onnx.GraphProto:
    """Nodes with one input and one output of three floats."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    made = helper.make_graph(nodes, "g", [values[0]], [values[1]])
    made.MergeFrom(onnx.GraphProto(**fields))
    return made


def model(
    nodes: list[NodeProto], functions: list[onnx.FunctionProto] | None = None, **fields: object
) -> onnx.ModelProto:
    """A model with the domains that may be used, and with local functions."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph(nodes, **fields), opset_imports=opsets, ir_version=10)
    made.functions.extend(functions or [])
    return made


def function(name: str, *nodes: NodeProto, domain: str = "com.microsoft") -> onnx.FunctionProto:
    return helper.make_function(domain, name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 17)])


def weight(name: str = "w", shape: tuple[int, ...] = (2, 3)) -> TensorProto:
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def sparse(name: str = "s") -> onnx.SparseTensorProto:
    """Two of a thousand numbers."""
    places = helper.make_tensor("at", TensorProto.INT64, [2], [3, 7])
    return helper.make_sparse_tensor(helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0]), places, [1000])


def branches(inner: onnx.GraphProto) -> NodeProto:
    """An If whose branches are one graph."""
    return node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def _block() -> tuple[bytes, bytes]:
    builder = GraphBuilder("block")
    made = InvertedResidual(8, 16, 3, 1, "relu6").build(builder, builder.input((1, 8, 6, 6)))
    skeleton = builder.model(made).SerializeToString()
    return skeleton, complete(skeleton, tuple(builder.weights))


def _corpus() -> dict[str, bytes]:
    relu = node("Relu", ["x"], ["y"])
    inner = helper.make_graph([node("Constant", [], ["y"], value=weight())], "inner", [], [])
    skeleton, whole = _block()
    trained = model([relu])
    trained.training_info.add(algorithm=graph([relu]), initialization=graph([]))
    made = {
        "one node": model([relu]),
        "blocked": model([node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")], initializer=[weight()]),
        "branches": model([branches(inner)], initializer=[helper.make_tensor("c", TensorProto.BOOL, [], [True])]),
        "functions": model(
            [node("outer", ["x"], ["y"], domain="com.microsoft")],
            [function("outer", node("inner", ["x"], ["y"], domain="com.microsoft")), function("inner", relu)],
        ),
        "sparse": model([relu], sparse_initializer=[sparse()]),
        "training": trained,
        "numbers": model(
            [node("Constant", [], ["y"], value_ints=[1, -2, 1 << 40], value_floats=[0.5, -1.0], alpha=0.5)]
        ),
        "packed": model([relu], initializer=[helper.make_tensor("w", TensorProto.INT64, [3], [1, -1, 1 << 50])]),
        "sequence": model([relu], value_info=[helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, [2, 2])]),
    }
    return {name: each.SerializeToString() for name, each in made.items()} | {"skeleton": skeleton, "whole": whole}


#: Serialised models that the gate lets through, by what is in them.
CORPUS = _corpus()
