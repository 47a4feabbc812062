"""Which operands of quantised operators are scales, zero points and quantised data: known by place, not by value.

Scales must stay positive and zero points must stay what they are, so they travel as values although they look like
weights; biases of 32 bits are weights although they look like shapes. Nothing is quantised here: see ``quantise.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import onnx


class Role(Enum):
    """What a constant of a quantised operator is for."""

    SCALE = "scale"
    ZERO_POINT = "zero point"
    #: Weights and biases, of 8 or 32 bits.
    DATA = "data"


#: Operator: places of its scales, of its zero points, and of the data that may look like a shape. From the operator
#: specifications of ONNX (opset 21) and of ONNX Runtime's com.microsoft domain (docs/ContribOperators.md, 1.32).
_PLACES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "QuantizeLinear": ((1,), (2,), ()),
    "DequantizeLinear": ((1,), (2,), (0,)),
    "QLinearConv": ((1, 4, 6), (2, 5, 7), (8,)),
    "QLinearMatMul": ((1, 4, 6), (2, 5, 7), ()),
    "ConvInteger": ((), (2, 3), ()),
    "MatMulInteger": ((), (2, 3), ()),
    "MatMulIntegerToFloat": ((2, 3), (4, 5), ()),
    "DynamicQuantizeMatMul": ((2,), (3,), ()),
    "DynamicQuantizeLSTM": ((8, 10), (9, 11), ()),
    "QAttention": ((3, 4), (6, 7), ()),
    "QGemm": ((1, 4, 7), (2, 5, 8), (6,)),
    "QLinearAdd": ((1, 4, 6), (2, 5, 7), ()),
    "QLinearMul": ((1, 4, 6), (2, 5, 7), ()),
    "QLinearWhere": ((2, 5, 7), (3, 6, 8), ()),
    "QLinearLeakyRelu": ((1, 3), (2, 4), ()),
    "QLinearSigmoid": ((1, 3), (2, 4), ()),
    "QLinearSoftmax": ((1, 3), (2, 4), ()),
    "QLinearAveragePool": ((1, 3), (2, 4), ()),
    "QLinearGlobalAveragePool": ((1, 3), (2, 4), ()),
    "QLinearReduceMean": ((1, 3), (2, 4), ()),
}
_CONCAT = "QLinearConcat"


def quantised_roles(nodes: Iterable[onnx.NodeProto]) -> dict[str, Role]:
    """Names of the values that ``nodes`` read in a role. One that is read in any other way has none."""
    roles: dict[str, Role] = {}
    otherwise: set[str] = set()
    for node in nodes:
        places = _roles_by_place(node)
        for place, name in enumerate(node.input):
            role = places.get(place)
            if role is None or roles.setdefault(name, role) is not role:
                otherwise.add(name)
    return {name: role for name, role in roles.items() if name not in otherwise}


def _roles_by_place(node: onnx.NodeProto) -> dict[int, Role]:
    count = len(node.input)
    if node.op_type == _CONCAT:
        # y_scale, y_zero_point, then (input, scale, zero point) for every input.
        places = (range(3, count, 3), range(4, count, 3))
        return (
            {0: Role.SCALE, 1: Role.ZERO_POINT}
            | dict.fromkeys(places[0], Role.SCALE)
            | dict.fromkeys(places[1], Role.ZERO_POINT)
        )
    scales, zero_points, data = _PLACES.get(node.op_type, ((), (), ()))
    return (
        dict.fromkeys(scales, Role.SCALE) | dict.fromkeys(zero_points, Role.ZERO_POINT) | dict.fromkeys(data, Role.DATA)
    )
