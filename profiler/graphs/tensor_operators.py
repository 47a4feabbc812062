"""Build operators that move or combine tensors of any rank: arithmetic, activations, slices, gather, scatter, pad.

Every function appends to a ``GraphBuilder`` and returns the name of the new value, float32 unless it says otherwise.
Axes may be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .operators import Activation, GraphBuilder, Shape

#: Activations for blocks of every family; those of ``GraphBuilder.activate`` are among them.
AnyActivation = Activation | Literal["swish", "gelu", "gelu_tanh", "tanh", "softplus"]
PadMode = Literal["constant", "reflect", "edge"]


def activate(graph: GraphBuilder, x: str, activation: AnyActivation) -> str:
    """Apply an activation. GELU stands as exporters write it, because opset 17 has no Gelu (it came with opset 20)."""
    if activation == "swish":
        return swish(graph, x)
    if activation == "gelu":
        return gelu(graph, x)
    if activation == "gelu_tanh":
        return gelu_tanh(graph, x)
    if activation == "tanh":
        return graph.node("Tanh", [x], graph.shapes[x])
    if activation == "softplus":
        return graph.node("Softplus", [x], graph.shapes[x])
    return graph.activate(x, activation)


def swish(graph: GraphBuilder, x: str) -> str:
    """x · sigmoid(x), also called SiLU (Ramachandran et al., 2017); opset 17 has no operator of its own for it."""
    return binary(graph, "Mul", x, graph.activate(x, "sigmoid"))


def gelu(graph: GraphBuilder, x: str) -> str:
    """x · (1 + erf(x / √2)) / 2 (Hendrycks and Gimpel, 2016): the five nodes that ONNX Runtime fuses to one."""
    y = binary(graph, "Div", x, graph.scalar(2.0**0.5))
    y = binary(graph, "Add", graph.node("Erf", [y], graph.shapes[x]), graph.scalar(1.0))
    return binary(graph, "Mul", binary(graph, "Mul", x, y), graph.scalar(0.5))


def gelu_tanh(graph: GraphBuilder, x: str) -> str:
    """GELU by tanh (Hendrycks and Gimpel, 2016, §2), in the spelling that ONNX Runtime fuses to FastGelu."""
    shape = graph.shapes[x]
    cubed = graph.node("Pow", [x, graph.scalar(3.0)], shape)
    inner = binary(graph, "Add", x, binary(graph, "Mul", cubed, graph.scalar(0.044715)))
    y = graph.node("Tanh", [binary(graph, "Mul", inner, graph.scalar((2.0 / np.pi) ** 0.5))], shape)
    y = binary(graph, "Add", y, graph.scalar(1.0))
    return binary(graph, "Mul", binary(graph, "Mul", x, graph.scalar(0.5)), y)


def binary(graph: GraphBuilder, op: Literal["Add", "Sub", "Mul", "Div"], x: str, y: str) -> str:
    """Arithmetic of two values with NumPy's broadcasting."""
    return graph.node(op, [x, y], np.broadcast_shapes(graph.shapes[x], graph.shapes[y]))


def matmul(graph: GraphBuilder, x: str, y: str) -> str:
    """Matrix product over the last two axes; the axes before them are broadcast."""
    left, right = graph.shapes[x], graph.shapes[y]
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    return graph.node("MatMul", [x, y], (*batch, left[-2], right[-1]))


def softmax(graph: GraphBuilder, x: str, axis: int = -1) -> str:
    """Softmax along one axis."""
    return graph.node("Softmax", [x], graph.shapes[x], axis=axis)


def reduce_mean(graph: GraphBuilder, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
    """Mean over axes, which stay with size 1 if ``keep``."""
    shape = graph.shapes[x]
    gone = {axis % len(shape) for axis in axes}
    left = tuple(1 if axis in gone else size for axis, size in enumerate(shape) if keep or axis not in gone)
    return graph.node("ReduceMean", [x], left, axes=list(axes), keepdims=int(keep))


def reshape(graph: GraphBuilder, x: str, shape: Shape) -> str:
    """The same elements in another shape, which must be concrete."""
    return graph.node("Reshape", [x, graph.integers(*shape)], shape)


def transpose(graph: GraphBuilder, x: str, axes: Sequence[int]) -> str:
    """Permute the axes."""
    return graph.node("Transpose", [x], tuple(graph.shapes[x][axis] for axis in axes), perm=list(axes))


def concat(graph: GraphBuilder, values: Sequence[str], axis: int) -> str:
    """Join values that differ in size along one axis only."""
    shape = list(graph.shapes[values[0]])
    shape[axis] = sum(graph.shapes[value][axis] for value in values)
    return graph.node("Concat", list(values), tuple(shape), axis=axis)


def slice_axis(graph: GraphBuilder, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
    """``x[start:stop:step]`` along one axis, with 0 ≤ start < stop ≤ size and a positive step."""
    shape = list(graph.shapes[x])
    shape[axis] = len(range(start, stop, step))
    bounds = [graph.integers(number) for number in (start, stop, axis, step)]
    return graph.node("Slice", [x, *bounds], tuple(shape))


def split(graph: GraphBuilder, x: str, sizes: Sequence[int], axis: int) -> tuple[str, ...]:
    """Cut into pieces of the given sizes along one axis."""
    shapes = []
    for size in sizes:
        shape = list(graph.shapes[x])
        shape[axis] = size
        shapes.append(tuple(shape))
    return graph.multi_node("Split", [x, graph.integers(*sizes)], shapes, axis=axis)


def pad(graph: GraphBuilder, x: str, before: Sequence[int], after: Sequence[int], mode: PadMode = "constant") -> str:
    """Widen every axis by ``before`` and ``after``; ``constant`` pads with zeros."""
    shape = tuple(a + size + b for a, size, b in zip(before, graph.shapes[x], after, strict=True))
    return graph.node("Pad", [x, graph.integers(*before, *after)], shape, mode=mode)


def embedding(graph: GraphBuilder, ids: str, vocabulary: int, width: int) -> str:
    """Rows of a table by number: int64 ids of any shape (…) become float32 (…, width)."""
    table = graph.weight((vocabulary, width), spread=1.0)
    return graph.node("Gather", [table, ids], (*graph.shapes[ids], width), axis=0)


def scatter_rows(graph: GraphBuilder, x: str, rows: Sequence[int], updates: str) -> str:
    """A copy of x whose rows along axis 0 are replaced (ScatterND): updates has the shape (len(rows), *x.shape[1:])."""
    index = graph.constant(np.array(rows, dtype=np.int64)[:, None])
    return graph.node("ScatterND", [x, index, updates], graph.shapes[x])


def scatter_elements(graph: GraphBuilder, x: str, places: NDArray[np.int64], updates: str, axis: int = 0) -> str:
    """A copy of x with single elements replaced along one axis (ScatterElements); places and updates share a shape."""
    return graph.node("ScatterElements", [x, graph.constant(places), updates], graph.shapes[x], axis=axis)
