"""How many bytes an element takes, operand by operand, where the operator decides it and not the kernel's own type.

A kernel knows one type: of its constants, or, where it has none, of its activations. What an operator's definition says
of the others (ONNX, and ONNX Runtime's contributed operators) stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The kernel's own type.
OWN = 0


@dataclass(frozen=True)
class Widths:
    """Bytes of an element of the first activation, of the others, of each output (the last repeats), of constants."""

    first: int = OWN
    rest: int = OWN
    outputs: tuple[int, ...] = (OWN,)
    weights: int = OWN


_BY_OPERATOR: Mapping[str, Widths] = {
    # Tests give bool, logic reads it as well.
    **dict.fromkeys(
        ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "IsNaN", "IsInf", "OptionalHasElement"),
        Widths(outputs=(1,)),
    ),
    **dict.fromkeys(("And", "Or", "Xor", "Not"), Widths(1, 1, (1,), 1)),
    "Where": Widths(1, OWN, (OWN,)),
    "Compress": Widths(OWN, 1),
    "Dropout": Widths(OWN, 1, (OWN, 1)),
    # Places are int64.
    **dict.fromkeys(("ArgMax", "ArgMin", "NonZero", "Shape", "Size", "SequenceLength"), Widths(outputs=(8,))),
    "NonMaxSuppression": Widths(4, 4, (8,)),
    **dict.fromkeys(("TopK", "MaxPool"), Widths(OWN, 8, (OWN, 8))),
    # Made of a pool of quantised numbers only.
    "NhwcMaxPool": Widths(1, 1, (1,)),
    "MaxUnpool": Widths(OWN, 8),
    "Unique": Widths(outputs=(OWN, 8, 8, 8)),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ArrayFeatureExtractor"), Widths(OWN, 8)),
    "OneHot": Widths(8, OWN),
    **dict.fromkeys(("ConstantOfShape", "Expand", "Tile", "Reshape", "Squeeze", "Unsqueeze", "Pad"), Widths(OWN, 8)),
    # 8 bits, summed in 32.
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), Widths(1, 1, (4,), 1)),
    "MatMulInteger16": Widths(2, 2, (4,), 2),
    "MatMulIntegerToFloat": Widths(1, 1, (4,), 1),
    "DynamicQuantizeMatMul": Widths(4, 1, (4,), 1),
    "DynamicQuantizeLSTM": Widths(4, 4, (4,), 1),
    **dict.fromkeys(
        "QLinearConv QLinearConvTranspose QLinearMatMul QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu "
        "QLinearAveragePool QLinearGlobalAveragePool QLinearConcat QLinearSoftmax QLinearReduceMean QGemm".split(),
        Widths(1, 1, (1,), 1),
    ),
    "QLinearWhere": Widths(1, 1, (1,), 1),
    "QAttention": Widths(1, 4, (4,), 1),
    "QEmbedLayerNormalization": Widths(4, 4, (4,), 1),
    "EmbedLayerNormalization": Widths(4, 4),
    "QuantizeLinear": Widths(4, 4, (1,), 4),
    "DynamicQuantizeLinear": Widths(4, 4, (1, 4, 1), 4),
    "DequantizeLinear": Widths(1, 4, (4,), 1),
    # Weights of 4 bits, packed in bytes as their shape says, beside float activations.
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), Widths(4, 4, (4,), 1)),
    "GatherBlockQuantized": Widths(8, 4, (4,), 1),
}
_OWN_WIDTHS = Widths()
#: Operators one of whose constants may be a table of places (int64), which says nothing of the data's type.
_INDEXED = frozenset(
    {"Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND", "OneHot", "Where", "Compress"}
)
_NOT_OF_DATA = frozenset({"int64", "bool"})

#: Bytes of one element; a type that is not listed is 4 bytes wide.
_WIDTH_BYTES: Mapping[str, float] = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
    **dict.fromkeys(("int4", "uint4", "float4_e2m1fn"), 0.5),
    **dict.fromkeys(("int2", "uint2"), 0.25),
    "complex128": 16,
}
#: What Cast's ``to`` means (onnx.TensorProto.DataType).
_ONNX_TYPES: Mapping[str, str] = {
    **{"1": "float32", "2": "uint8", "3": "int8", "4": "uint16", "5": "int16", "6": "int32", "7": "int64"},
    **{"9": "bool", "10": "float16", "11": "float64", "12": "uint32", "13": "uint64", "14": "complex64"},
    **{"15": "complex128", "16": "bfloat16", "17": "float8_e4m3fn", "18": "float8_e4m3fnuz", "19": "float8_e5m2"},
    **{"20": "float8_e5m2fnuz", "21": "uint4", "22": "int4", "23": "float4_e2m1fn", "24": "float8_e8m0fnu"},
    **{"25": "uint2", "26": "int2"},
}


def width_bytes(dtype: str) -> float:
    """Bytes of one element of a type; 4 for one that is not known."""
    return _WIDTH_BYTES.get(dtype, 4)


def own_width_bytes(operator: str, dtype: str) -> float:
    """Bytes of an element of the kernel's data; a constant table of places or of conditions says nothing about it."""
    return 4 if operator in _INDEXED and dtype in _NOT_OF_DATA else width_bytes(dtype)


def widths_of(operator: str, dtype: str, attributes: Mapping[str, str]) -> Widths:
    """What the operator, by its plain name, decides about widths; ``dtype`` is the kernel's own type."""
    if operator in ("Cast", "CastLike") and attributes.get("to") in _ONNX_TYPES:
        # Types of 4 bits are packed; a whole byte is near enough for two of them.
        return Widths(outputs=(max(1, int(width_bytes(_ONNX_TYPES[attributes["to"]]))),))
    if operator == "Where" and dtype == "bool":
        # The condition is the constant: what is fed are the two choices.
        return _OWN_WIDTHS
    return _BY_OPERATOR.get(operator, _OWN_WIDTHS)
