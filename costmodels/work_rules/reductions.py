"""Operators that look at many elements for each result: sums, norms, softmax, sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .attention import SOFTMAX
from .elementwise import DEQUANTISE, QUANTISE
from .operands import Operands, Rule, per_input, per_output, size

#: Operations for each element that is read. A norm: mean, difference, square, mean, quotient, scale, shift.
_PER_INPUT: Mapping[int, str] = {
    1: "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSum ReduceSumInteger ArgMax ArgMin CumSum CumProd",
    2: "ReduceL1 ReduceL2 ReduceSumSquare QLinearReduceMean Hardmax BatchNormalization NegativeLogLikelihoodLoss",
    3: "ReduceLogSumExp LpNormalization Normalizer",
    4: "RMSNormalization SimplifiedLayerNormalization",
    5: "SkipSimplifiedLayerNormalization",
    6: "MeanVarianceNormalization GatedRMSNorm",
    7: "LayerNormalization InstanceNormalization GroupNormalization GroupNorm BranchwiseRMSNorm",
    8: "SkipLayerNormalization SkipGroupNorm",
}
_SOFTMAXES = "Softmax LogSoftmax BiasSoftmax SoftmaxCrossEntropyLoss"


def _local_response(operands: Operands) -> float:
    """A square and a sum over ``size`` channels, then scale, shift, power, quotient."""
    return (operands.number("size", 5) + 5) * operands.read


def _embedding_norm(operands: Operands) -> float:
    """Three embeddings are added, then a layer normalisation."""
    return 9.0 * operands.elements


def _sorted(operands: Operands) -> float:
    """n · log₂ n comparisons at most."""
    return operands.read * max(math.log2(max(operands.read, 1)), 1.0)


def _top(operands: Operands) -> float:
    """Each element is compared with the least of the k best, and at most goes down a heap of them."""
    kept = operands.extent(operands.outputs[0], "axis", -1)
    return operands.read * (1.0 + math.log2(max(kept, 1)))


def _suppression(operands: Operands) -> float:
    """At most every box is compared with every other one of its class: 13 operations for an overlap; and a sort."""
    boxes, scores = operands.all[0], operands.all[1] if len(operands.all) > 1 else ()
    count = boxes[1] if len(boxes) > 1 else 1
    lists = size(scores[:2]) if len(scores) > 1 else 1
    return lists * count * (13.0 * (count - 1) / 2 + max(math.log2(max(count, 1)), 1.0))


def _determinant(operations: float) -> Callable[[Operands], float]:
    """Of n × n matrices, by LU decomposition: so many thirds of n³ (Golub & Van Loan, Matrix Computations, 3.2)."""

    def total(operands: Operands) -> float:
        order = operands.first[-1] if operands.first else 1
        return operations / 3 * operands.read * order

    return total


def _multinomial(operands: Operands) -> float:
    """A distribution for each row; then each draw is searched in it."""
    classes = operands.first[-1] if operands.first else 1
    return 4.0 * operands.read + operands.elements * max(math.log2(max(classes, 1)), 1.0)


def _distances(operands: Operands) -> float:
    """Difference, square and sum for each pair and each coordinate."""
    return 3.0 * operands.elements * (operands.first[-1] if operands.first else 1)


REDUCTIONS: Mapping[str, Rule] = {
    **{name: Rule(per_input(count)) for count, names in _PER_INPUT.items() for name in names.split()},
    **{name: Rule(per_input(SOFTMAX)) for name in _SOFTMAXES.split()},
    "QLinearSoftmax": Rule(per_output(DEQUANTISE + SOFTMAX + QUANTISE)),
    "LRN": Rule(_local_response),
    "EmbedLayerNormalization": Rule(_embedding_norm, reads="output"),
    "QEmbedLayerNormalization": Rule(_embedding_norm, reads="output"),
    "TopK": Rule(_top, "upper_bound"),
    "Unique": Rule(_sorted, "upper_bound"),
    "NonMaxSuppression": Rule(_suppression, "upper_bound"),
    "Det": Rule(_determinant(2)),
    "Inverse": Rule(_determinant(6)),
    "Multinomial": Rule(_multinomial),
    "CDist": Rule(_distances),
}
