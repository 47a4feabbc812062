"""Convolutions, matrix products, recurrent layers and Einsum: operators whose work is multiply-adds.

A multiply-add is two operations. Biases, fused activations and residual sums are not counted, as is the custom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import permutations

from .operands import Operands, Rule, Shape, size


def convolution(operands: Operands) -> float:
    """2 · |output| · (channels of a group × window). NCHW, NHWC and blocked layouts agree: the filter's first axis is
    the output's channels in all of them."""
    window = operands.filter()
    return 2.0 * operands.elements * size(window[1:]) if window else float(operands.elements)


def _transposed_convolution(operands: Operands) -> float:
    """Every input element meets (output channels of its group × window); what the padding crops is computed, too."""
    window = operands.filter()
    return 2.0 * operands.read * size(window[1:]) if window else float(operands.elements)


def _deformable_convolution(operands: Operands) -> float:
    """A convolution on samples: before it, each element of each window is interpolated from four."""
    window = operands.filter()
    if window is None or len(operands.first) < 2:
        return float(operands.elements)
    target = operands.outputs[0]
    samples = target[0] * operands.first[1] * size(window[2:]) * size(target[2:])
    return convolution(operands) + 13.0 * samples


def inner_extent(left: Shape, right: Shape, result: Shape) -> int | None:
    """The axis over which two operands are summed to give a matrix product; None if they do not.

    Only the last two axes count, whichever is transposed, and in either order: one axis of each is the sum's, the
    others are the result's.
    """
    if len(left) < 2 or len(right) < 2:
        return None
    for extent in sorted(set(left[-2:]) & set(right[-2:]), reverse=True):
        if _gives_one_each(left[-2:], right[-2:], extent, result[-2:]):
            return extent
    return None


def _gives_one_each(left: Shape, right: Shape, extent: int, result: Shape) -> bool:
    """Whether the result has what each operand keeps; with equal axes it does not matter which one it gives up."""
    mine, other = list(left), list(right)
    mine.remove(extent)
    other.remove(extent)
    return (mine[0], other[0]) in (result, result[::-1])


def _vector_extent(operands: Operands) -> int | None:
    """A vector as a factor is summed over its only axis."""
    for left, right in operands.pairs():
        for vector, other in ((left, right), (right, left)):
            if len(vector) == 1 and vector[0] in (other[-2:] or (0,)):
                return vector[0]
    return None


def matrix_product(operands: Operands) -> float:
    """2 · |output| · the axis that is summed."""
    if "K" in operands.attributes:  # packed weights of a few bits: the shape of the operand says nothing
        return 2.0 * operands.elements * operands.number("K", 0)
    if int(operands.number("transBatchA", 0)) and operands.first:
        # The first axis of A stands before its batch: it is the sum's if A is transposed as well, else the last is.
        return 2.0 * operands.elements * operands.first[0 if int(operands.number("transA", 0)) else -1]
    for left, right in operands.pairs():
        extent = inner_extent(left, right, operands.outputs[0])
        if extent is not None:
            return 2.0 * operands.elements * extent
    return 2.0 * operands.elements * (_vector_extent(operands) or (operands.first[-1] if operands.first else 1))


def _recurrent(operands: Operands) -> float:
    """Each step of each sequence meets every weight of both directions once.

    X is (steps, batch, inputs) or, with ``layout`` 1, (batch, steps, inputs): the product of the two is wanted.
    """
    deep = [shape for shape in operands.weights if len(shape) == 3]
    matrices = deep[:2] if len(deep) > 1 else [shape for shape in operands.inputs if len(shape) == 3][1:3]
    steps = size(operands.first[:2])
    return 2.0 * steps * sum(size(matrix) for matrix in matrices)


def _einsum(operands: Operands) -> float:
    """Operands are joined from the left, two at a time, as runtimes do; what no later term needs is summed at once.

    A step that sums is a multiply-add for each combination of its labels, one that does not is a product.
    """
    left, _, result = operands.attributes.get("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    sizes = _label_sizes(terms, operands)
    if sizes is None:
        return float(max(size(shape) for shape in (*operands.all, operands.outputs[0])))
    if not _:
        result = "".join(label for label in sorted(set(left) - {","}) if left.count(label) == 1)
    kept, work = set(terms[0].replace("...", ".")), 0.0
    for place, term in enumerate(terms[1:], start=2):
        kept |= set(term.replace("...", "."))
        needed = set("".join(terms[place:]) + result)
        summed = kept - {label for label in kept if label in needed}
        work += (2.0 if summed else 1.0) * math.prod(sizes[label] for label in kept)
        kept -= summed
    alone = len(terms) == 1 and bool(kept - set(result))
    return work + (math.prod(sizes[label] for label in kept) if alone else 0.0)


def _label_sizes(terms: list[str], operands: Operands) -> dict[str, int] | None:
    """The size of each label (``.`` for an ellipsis); None where no order of the operands fits the terms."""
    if len(terms) != len(operands.all):
        return None
    for order in permutations(operands.all):
        sizes: dict[str, int] = {}
        if all(_bind(term, shape, sizes) for term, shape in zip(terms, order, strict=True)):
            return sizes
    return None


def _bind(term: str, shape: Shape, sizes: dict[str, int]) -> bool:
    before, dots, after = term.partition("...")
    middle = len(shape) - len(before) - len(after)
    if middle < 0 or (middle and not dots):
        return False
    pairs = [*zip(before, shape, strict=False), *zip(after, shape[len(before) + middle :], strict=True)]
    if dots:
        rest = size(shape[len(before) : len(before) + middle])
        sizes["."] = max(sizes.get(".", 1), rest)
    return all(sizes.setdefault(label, extent) in (extent, 1) or extent == 1 for label, extent in pairs)


def _by_coefficients(name: str) -> Callable[[Operands], float]:
    """Each row of the input meets every number of a model's table once."""

    def operations(operands: Operands) -> float:
        rows = operands.first[0] if len(operands.first) > 1 else 1
        return 2.0 * rows * operands.count(name)

    return operations


_CONVOLUTIONS = "Conv FusedConv NhwcConv NhwcFusedConv ConvInteger QLinearConv CausalConvWithState"
_TRANSPOSED = "ConvTranspose ConvTransposeWithDynamicPads QLinearConvTranspose"
_PRODUCTS = (
    "MatMul Gemm FusedMatMul FusedGemm TransposeMatMul FusedMatMulActivation MatMulInteger MatMulInteger16 "
    "MatMulIntegerToFloat DynamicQuantizeMatMul QLinearMatMul QGemm MatMulNBits MatMulBnb4 MatMulFpQ4 GemmFastGelu "
    "GemmFloat8 SparseToDenseMatMul"
)
CONTRACTIONS: Mapping[str, Rule] = {
    **{name: Rule(convolution) for name in _CONVOLUTIONS.split()},
    **{name: Rule(_transposed_convolution) for name in _TRANSPOSED.split()},
    **{name: Rule(matrix_product) for name in _PRODUCTS.split()},
    **{name: Rule(_recurrent) for name in ("RNN", "GRU", "LSTM", "DynamicQuantizeLSTM")},
    "AttnLSTM": Rule(_recurrent, "lower_bound"),
    "DeformConv": Rule(_deformable_convolution),
    "Einsum": Rule(_einsum),
    "LinearClassifier": Rule(_by_coefficients("coefficients")),
    "LinearRegressor": Rule(_by_coefficients("coefficients")),
    "SVMClassifier": Rule(_by_coefficients("support_vectors")),
    "SVMRegressor": Rule(_by_coefficients("support_vectors")),
}
