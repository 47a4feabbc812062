"""Which inputs a kernel can only take positive numbers at, once it stands alone.

Within its network a square root reads a sum of squares. Cut out it is fed with made-up numbers, and of negative ones it
would make NaN, which no measurement is taken of.
"""

from __future__ import annotations

import onnx

#: Operator: how many of its operands, from the first on, must be positive. A negative base has no broken power, and an
#: integer divided by zero ends the process; of floats those operators make no NaN but from zeros, which are not fed.
_POSITIVE = {"Sqrt": 1, "Log": 1, "Pow": 1, "ReduceLogSum": 1, "Div": 2, "Mod": 2}
_INTEGER_ONLY = frozenset({"Div", "Mod"})
_INTEGERS = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
)


def positive_inputs(skeleton: bytes) -> tuple[str, ...]:
    """Names of such inputs of a graph of one node; none of a graph of more nodes, whose own numbers come between."""
    graph = onnx.load_model_from_string(skeleton).graph
    if len(graph.node) != 1:
        return ()
    (node,) = graph.node
    # Fused kernels of the runtime's own domains keep the operator's name where they compute the same.
    operands = set(node.input[: _POSITIVE.get(node.op_type, 0)])
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input if value.name in operands}
    if node.op_type in _INTEGER_ONLY:
        return tuple(name for name, kind in kinds.items() if kind in _INTEGERS)
    return tuple(kinds)
