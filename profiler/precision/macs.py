"""Count the multiply-accumulates of ONNX nodes whose shapes are known."""

from __future__ import annotations

import math

import onnx
from onnx import helper

Shape = tuple[int, ...]
#: Operators that multiply matrices in a way that is not counted here; a share of the whole is then unknown.
_UNCOUNTED = frozenset({"Einsum", "LSTM", "GRU", "RNN", "DeformConv", "If", "Loop", "Scan", "Attention", "QLinearConv"})


def count_macs(model: onnx.ModelProto) -> dict[str, int | None]:
    """Multiply-accumulates by node name; 0 for operators that only touch each number, None where unknown.

    Bias and activation are not counted. ``model`` has inferred shapes and named nodes.
    """
    shapes = _known_shapes(model)
    return {node.name: _macs(node, shapes) for node in model.graph.node}


def _known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.dim_value > 0 for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return shapes


def _macs(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int | None:
    if node.op_type in _UNCOUNTED or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    if any(name not in shapes for name in (*node.input[:2], node.output[0])):
        return None
    left, right, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(right[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(left) * math.prod(right[1:])
    if node.op_type == "MatMul":
        return math.prod(out) * left[-1]
    transposed = any(a.name == "transA" and helper.get_attribute_value(a) for a in node.attribute)
    return math.prod(out) * left[0 if transposed else 1]
