"""Operators on each element: one operation for each sum, product, comparison, rounding or call of a function.

So Sigmoid, 1 / (1 + exp(−x)), is four. What a composite function costs follows ONNX's own definition of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .operands import Operands, Rule, per_output

#: Quantise: divide, round, add the zero point, clip at both ends. Dequantise: subtract, multiply.
QUANTISE, DEQUANTISE = 5, 2
_SIGMOID = 4

#: Operations for each element of the output.
_OPERATIONS: Mapping[int, str] = {
    1: "Abs Neg Sign Ceil Floor Round Reciprocal Sqrt Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh "
    "Atanh Erf Relu ThresholdedRelu Not IsNaN IsInf BitwiseNot Add Sub Mul Div Pow Mod And Or Xor BitShift BitwiseAnd "
    "BitwiseOr BitwiseXor Equal Greater Less GreaterOrEqual LessOrEqual Where Cast CastLike Binarizer Imputer "
    "LabelEncoder CategoryMapper RandomNormal RandomNormalLike RandomUniform RandomUniformLike BiasAdd MulInteger "
    "GatedAdd",
    2: "LeakyRelu PRelu Clip Bernoulli Scaler Affine Scale ImageScaler IsAllFinite Range BiasDropout",
    3: "Softsign Softplus ParametricSoftplus Shrink ScaledTanh",
    4: "Sigmoid Elu HardSigmoid HannWindow HammingWindow",
    5: "Celu Selu Gelu HardSwish Mish ScaledSiLU",
    6: "Swish QuickGelu BiasGelu ComplexMul ComplexMulConj",
    7: "SwiGLU",
    8: "BlackmanWindow MelWeightMatrix",
    9: "FastGelu",
}
#: Operations on each element once it is dequantised; the result is quantised again.
_QUANTISED: Mapping[str, int] = {"QLinearSigmoid": _SIGMOID, "QLinearLeakyRelu": 2, "QLinearConcat": 0}
_QUANTISED_PAIRS: Mapping[str, int] = {"QLinearAdd": 1, "QLinearMul": 1, "QLinearWhere": 1}


def _folded(extra: int) -> Callable[[Operands], float]:
    """n operands are folded into one by n − 1 operations; Mean divides once more."""

    def operations(operands: Operands) -> float:
        return float((max(len(operands.all) - 1, 0) + extra) * operands.elements)

    return operations


ELEMENTWISE: Mapping[str, Rule] = {
    **{name: Rule(per_output(count)) for count, names in _OPERATIONS.items() for name in names.split()},
    **{name: Rule(per_output(DEQUANTISE + count + QUANTISE)) for name, count in _QUANTISED.items()},
    **{name: Rule(per_output(2 * DEQUANTISE + count + QUANTISE)) for name, count in _QUANTISED_PAIRS.items()},
    **{name: Rule(_folded(0)) for name in ("Max", "Min", "Sum")},
    "Mean": Rule(_folded(1)),
    "QuantizeLinear": Rule(per_output(QUANTISE)),
    "DequantizeLinear": Rule(per_output(DEQUANTISE)),
    # Smallest and largest element first.
    "DynamicQuantizeLinear": Rule(per_output(2 + QUANTISE)),
    # The optimiser's steps of training, each with the tensors that it keeps beside the weights.
    "Adagrad": Rule(per_output(7)),
    "Adam": Rule(per_output(13)),
    "Momentum": Rule(per_output(6)),
}
