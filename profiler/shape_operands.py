"""Which float constants decide shapes: the factors of a Resize, and numbers that shapes are worked out from.

Integers that decide shapes are told by their type. These look like weights, so they are found by what reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import AttributeProto

#: Operator: from which operand on all of them say what shape comes out. From the operator specifications of ONNX
#: (opset 21); axes and other operands that are integers by definition are known by their type.
_DECIDING = {
    "Resize": 1, "Upsample": 1, "Reshape": 1, "Expand": 1, "Tile": 1, "Slice": 1, "Pad": 1, "TopK": 1, "Split": 1,
    "ConstantOfShape": 0, "Range": 0, "OneHot": 1, "CenterCropPad": 1,
}  # fmt: skip
#: What exporters work shapes out with, between a Shape or a constant and the operand that is the result.
_ARITHMETIC = frozenset(
    "Add Cast Ceil Concat Div Floor Gather Identity Max Min Mod Mul Neg Reciprocal Reshape Round Slice Squeeze Sub "
    "Transpose Unsqueeze Where".split()
)
#: Shapes have few dimensions; whatever is larger is data that happens to be reshaped or padded.
_ELEMENTS_MAX = 32


def shape_operands(nodes: Iterable[onnx.NodeProto]) -> frozenset[str]:
    """Names of the values that decide shapes, directly or through arithmetic; nodes of subgraphs are looked into."""
    everything = list(_with_nested(nodes))
    producer = {name: node for node in everything for name in node.output if name}
    found: set[str] = set()
    waiting = [name for node in everything for name in _deciding(node)]
    while waiting:
        name = waiting.pop()
        if not name or name in found:
            continue
        found.add(name)
        node = producer.get(name)
        if node is not None and not node.domain and node.op_type in _ARITHMETIC:
            waiting.extend(node.input)
    return frozenset(found)


def decides_shapes(tensor: onnx.TensorProto, operands: frozenset[str], name: str = "") -> bool:
    """Whether a constant is one of ``operands``, and small enough to be a shape or its factors.

    Args:
        name: of the value, where it is not the tensor's own.
    """
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size <= _ELEMENTS_MAX and (name or tensor.name) in operands


def _deciding(node: onnx.NodeProto) -> list[str]:
    first = _DECIDING.get(node.op_type)
    return [] if first is None else list(node.input[first:])


def _with_nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                yield from _with_nested(graph.node)
