"""What a node is to an accelerator: matrix products, or elements for a vector unit. Both built-in laws count by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...profiler.kernels.graph import Kernel

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """``count`` matrix products of one size, one after the other: a group of a convolution, or one of a batch.

    Attributes:
        input_elements, weight_elements: of one product, as they stand in DRAM.
    """

    m: int
    n: int
    k: int
    input_elements: int
    weight_elements: int
    count: int = 1


@dataclass(frozen=True)
class Vector:
    """What goes through the vector unit, in elements and operations."""

    operations: int
    read_elements: int
    written_elements: int


def lower(kernel: Kernel) -> Product | Vector | str:
    """What a node is to the accelerator; a sentence where it is nothing that can be computed."""
    outputs = [shape for shape in kernel.outputs if shape is not None]
    inputs = [shape for shape in kernel.inputs if shape is not None]
    if len(outputs) != len(kernel.outputs) or len(inputs) != len(kernel.inputs) or not outputs:
        return "a shape depends on data"
    if kernel.op == "Conv":
        return _convolution(kernel, inputs, outputs[0])
    if kernel.op in ("MatMul", "Gemm"):
        return _product(kernel, inputs, outputs[0])
    if kernel.op == "Resize" and kernel.attribute.get("mode", "nearest") != "nearest":
        return "the accelerator resizes to the nearest only"
    rule = _VECTOR.get(kernel.op)
    if rule is None:
        return "the accelerator has no such operator"
    if kernel.op in _VIEWS:
        return Vector(0, 0, 0)
    written = sum(map(math.prod, outputs))
    read = sum(map(math.prod, (*inputs, *kernel.weights)))
    return Vector(rule(kernel, read, written), min(read, written) if kernel.op in _SELECTING else read, written)


def _convolution(kernel: Kernel, inputs: list[Shape], output: Shape) -> Product | str:
    shapes = [*inputs, *(shape for shape in kernel.weights if len(shape) > 1)]
    if len(shapes) < 2:
        return "its filter is not there"
    source, window = shapes[:2]
    groups = int(kernel.attribute.get("group", "1"))
    return Product(
        m=output[0] * math.prod(output[2:]),
        n=output[1] // groups,
        k=math.prod(window[1:]),
        input_elements=math.prod(source) // groups,
        weight_elements=math.prod(window) // groups,
        count=groups,
    )


def _product(kernel: Kernel, inputs: list[Shape], output: Shape) -> Product | str:
    """A right factor that all of a batch share makes it one product; otherwise there is a product for each of it."""
    factors = [shape for shape in (*inputs, *kernel.weights) if len(shape) > 1]
    if len(factors) < 2 or len(output) < 2:
        return "a factor is no matrix"
    # A kernel names its constants last, whichever side they stand on: sizes tell.
    for left, right in (factors[:2], factors[1::-1]):
        batch = math.prod(output[:-2]) if len(right) > 2 else 1
        m, n = math.prod(output[:-1]) // batch, output[-1]
        k, rest = divmod(math.prod(right[-2:]), n)
        if rest == 0 and math.prod(left[-2:]) == output[-2] * k:
            return Product(m, n, k, m * k, n * k, batch)
    return "the sizes of its factors do not fit each other"


def _each(operations: int) -> Callable[[Kernel, int, int], int]:
    return lambda _, read, written: operations * written


def _each_read(operations: int) -> Callable[[Kernel, int, int], int]:
    return lambda _, read, written: operations * read


def _window(kernel: Kernel, read: int, written: int) -> int:
    return written * math.prod(int(side) for side in kernel.attribute.get("kernel_shape", "1").split("x"))


#: They say how to read a value that is there already.
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
#: They read no more than they write.
_SELECTING = frozenset({"Gather", "Slice"})
#: Operations of the vector unit by operator. Functions are looked up and interpolated: four operations.
_VECTOR: Mapping[str, Callable[[Kernel, int, int], int]] = {
    **dict.fromkeys((*_VIEWS, *_SELECTING, *"Transpose Concat Split Pad Resize".split()), _each(0)),
    **dict.fromkeys("Relu Add Sub Mul Max Min Neg Abs Cast".split(), _each(1)),
    **dict.fromkeys("Clip LeakyRelu PRelu BatchNormalization".split(), _each(2)),
    "HardSigmoid": _each(3),
    **dict.fromkeys("HardSwish Sigmoid Tanh Erf Exp Log Sqrt Reciprocal Pow Div Gelu".split(), _each(4)),
    # The largest, a difference, an exponential, a sum, a quotient.
    "Softmax": _each(8),
    # Two sums, and for each element a difference, a square, a product, a scale and a shift.
    "LayerNormalization": _each(7),
    **dict.fromkeys("MaxPool AveragePool".split(), _window),
    **dict.fromkeys("GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax".split(), _each_read(1)),
}
