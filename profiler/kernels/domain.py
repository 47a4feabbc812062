"""Which inputs a kernel can only take positive numbers at, once it stands alone. Standard library only.

Within its network a square root reads a sum of squares. Cut out it is fed with made-up numbers, and of negative ones it
would make NaN, which no measurement is taken of.
"""

from __future__ import annotations

from ..protobuf import payloads, submessage, text, texts, whole_number
from ..runner import ONNX_TYPES

#: Operator: how many of its operands, from the first on, must be positive. A negative base has no broken power, and an
#: integer divided by zero ends the process; of floats those operators make no NaN but from zeros, which are not fed.
_POSITIVE = {"Sqrt": 1, "Log": 1, "Pow": 1, "ReduceLogSum": 1, "Div": 2, "Mod": 2}
_INTEGER_ONLY = frozenset({"Div", "Mod"})
_INTEGERS = frozenset(number for name, number in ONNX_TYPES.items() if name.startswith(("int", "uint")))

#: Fields of ONNX's messages (onnx.proto).
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INPUT = 1, 11
_NODE_INPUT, _NODE_OP_TYPE = 1, 4
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_ELEM_TYPE = 1


def positive_inputs(skeleton: bytes) -> tuple[str, ...]:
    """Names of such inputs of a graph of one node; none of a graph of more nodes, whose own numbers come between.

    Raises:
        BrokenModel: the skeleton is no model.
    """
    graph = submessage(skeleton, _MODEL_GRAPH)
    nodes = payloads(graph, _GRAPH_NODE)
    if len(nodes) != 1:
        return ()
    (node,) = nodes
    op_type = text(node, _NODE_OP_TYPE)
    # Fused kernels of the runtime's own domains keep the operator's name where they compute the same.
    operands = set(texts(node, _NODE_INPUT)[: _POSITIVE.get(op_type, 0)])
    values = payloads(graph, _GRAPH_INPUT)
    kinds = {name: _elem_type(value) for value in values if (name := text(value, _VALUE_NAME)) in operands}
    if op_type in _INTEGER_ONLY:
        return tuple(name for name, kind in kinds.items() if kind in _INTEGERS)
    return tuple(kinds)


def _elem_type(value: bytes) -> int:
    """The number of an input's type; 0 for what is no tensor."""
    tensor = submessage(submessage(value, _VALUE_TYPE), _TYPE_TENSOR)
    return whole_number(tensor, _TENSOR_ELEM_TYPE)
