"""Random blocks of what stands around convolutions and products: signals, recurrences, steps by element, integers.

Files that people export are full of it: a detector clips, a speech model folds its frames, a quantised one casts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..profiler.graphs.operators import GraphBuilder
from ..profiler.graphs.recurrent_operators import gru, lstm
from ..profiler.graphs.sequence_operators import rms_norm
from ..profiler.graphs.tensor_operators import (
    AnyActivation,
    binary,
    concat,
    embedding,
    reduce_mean,
    slice_axis,
    softmax,
    transpose,
)
from ..profiler.graphs.vision_operators import conv
from ..profiler.weights import Weight
from .random_dice import Dice, Drawn, Shape

#: Elements of the largest value, and multiply-adds of the largest product.
_ELEMENTS_MAX, _MACS_MAX = 2.5e6, 1e8
_INT64, _FLOAT = 7, 1
_SIGNAL_ACTIVATIONS: tuple[AnyActivation, ...] = ("", "relu", "relu", "gelu", "sigmoid")


@dataclass(frozen=True)
class GroupedConvolution:
    """A convolution in groups, over one axis or two, and what makes its channels meet behind it."""

    channels: int
    kernel: int
    stride: int
    groups: int
    activation: AnyActivation
    behind: Literal["shuffle", "pointwise"]

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(
            graph, x, self.channels, kernel=self.kernel, stride=self.stride, groups=self.groups,
            activation=self.activation,
        )  # fmt: skip
        if self.behind == "shuffle":
            return graph.channel_shuffle(y, self.groups)
        return conv(graph, y, self.channels, kernel=1, activation=self.activation)


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer over tokens."""

    hidden: int
    is_gated_unit: bool
    is_bidirectional: bool

    def build(self, graph: GraphBuilder, x: str) -> str:
        layer = gru if self.is_gated_unit else lstm
        return layer(graph, x, self.hidden, bidirectional=self.is_bidirectional)


@dataclass(frozen=True)
class Integers:
    """A product or convolution of 8-bit numbers that are quantised while the model runs (dynamic quantisation)."""

    channels: int
    kernel: int
    has_bias: bool

    def build(self, graph: GraphBuilder, x: str) -> str:
        shape = graph.shapes[x]
        quantised, scale, zero = graph.multi_node("DynamicQuantizeLinear", [x], [shape, (), ()])
        graph.dtypes |= {quantised: "uint8", zero: "uint8"}
        inner, extent = (shape[1], shape[2:]) if len(shape) == 4 else (shape[-1], ())
        window = (self.channels, inner, self.kernel, self.kernel) if extent else (inner, self.channels)
        weight = f"w{len(graph.weights)}"
        graph.weights.append(Weight(weight, window, "uint8", spread=1.0))
        graph.shapes[weight] = window
        inputs = [quantised, weight, zero, graph.constant(np.array(128, np.uint8))]
        if extent:
            pads, out = [self.kernel // 2] * 4, (1, self.channels, *extent)
            y = graph.typed_node("ConvInteger", inputs, out, "int32", kernel_shape=[self.kernel] * 2, pads=pads)
        else:
            y = graph.typed_node("MatMulInteger", inputs, (*shape[:-1], self.channels), "int32")
        if self.has_bias:
            bias = f"w{len(graph.weights)}"
            graph.weights.append(Weight(bias, (1, self.channels, 1, 1), "int32", spread=1.0))
            graph.shapes[bias] = (1, self.channels, 1, 1)
            y = graph.typed_node("Add", [y, bias], graph.shapes[y], "int32")
        y = graph.node("Cast", [y], graph.shapes[y], to=_FLOAT)
        return binary(graph, "Mul", y, binary(graph, "Mul", scale, graph.scalar(0.01)))


@dataclass(frozen=True)
class Steps:
    """Steps by element, reductions and moves, one behind the other."""

    steps: tuple[str, ...]

    def build(self, graph: GraphBuilder, x: str) -> str:
        for step in self.steps:
            # A value whose shape a step does not know is left as it is.
            y = STEPS[step](graph, x)
            # What a reduction leaves is set against what it was made of, as in every normalisation.
            x = binary(graph, "Mul", x, y) if graph.shapes[y] == (*graph.shapes[x][:-1], 1) else y
        return x


Step = Callable[[GraphBuilder, str], str]


def _unary(op: str) -> Step:
    return lambda graph, x: graph.node(op, [x], graph.shapes[x])


def _with_number(op: str, value: float) -> Step:
    return lambda graph, x: graph.node(op, [x, graph.scalar(value)], graph.shapes[x])


def _with_row(op: str) -> Step:
    def build(graph: GraphBuilder, x: str) -> str:
        return graph.node(op, [x, graph.weight(graph.shapes[x][-1:], spread=1.0)], graph.shapes[x])

    return build


def _reduction(op: str, *, places_as_input: bool = False) -> Step:
    def build(graph: GraphBuilder, x: str) -> str:
        shape = (*graph.shapes[x][:-1], 1)
        if places_as_input:
            return graph.node(op, [x, graph.integers(-1)], shape, keepdims=1)
        return graph.node(op, [x], shape, axes=[-1], keepdims=1)

    return build


def _largest_place(graph: GraphBuilder, x: str) -> str:
    place = graph.typed_node("ArgMax", [x], (*graph.shapes[x][:-1], 1), "int64", axis=-1)
    return graph.node("Cast", [place], graph.shapes[place], to=_FLOAT)


def _choose(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    asked = graph.typed_node("Greater", [x, graph.scalar(0.0)], shape, "bool")
    return graph.node("Where", [asked, x, graph.node("Abs", [x], shape)], shape)


def _count(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    whole = graph.typed_node("Cast", [x], shape, "int64", to=_INT64)
    whole = graph.typed_node("Add", [whole, graph.integers(1)], shape, "int64")
    same = graph.typed_node("Equal", [whole, graph.integers(2)], shape, "bool")
    return graph.node("Cast", [same], shape, to=_FLOAT)


def _look_up(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    ids = graph.typed_node("Cast", [slice_axis(graph, x, -1, 0, 1)], (*shape[:-1], 1), "int64", to=_INT64)
    return embedding(graph, ids, 100, min(64, shape[-1]))


def _rows(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    places = np.arange(0, shape[-2], 2, dtype=np.int64)
    return graph.node("Gather", [x, graph.constant(places)], (*shape[:-2], len(places), shape[-1]), axis=-2)


def _unfold(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    wide = graph.node("Unsqueeze", [x, graph.integers(0)], (1, *shape))
    wide = graph.node("Neg", [wide], (1, *shape))
    return graph.node("Squeeze", [wide, graph.integers(0)], shape)


def _twice(graph: GraphBuilder, x: str) -> str:
    shape = graph.shapes[x]
    if math.prod(shape) > _ELEMENTS_MAX / 2:
        return x
    return graph.node("Tile", [x, graph.integers(*[1] * (len(shape) - 1), 2)], (*shape[:-1], 2 * shape[-1]))


def _turned(graph: GraphBuilder, x: str) -> str:
    axes = [*range(len(graph.shapes[x]))]
    return transpose(graph, x, [*axes[:-2], axes[-1], axes[-2]])


def _beside_mean(graph: GraphBuilder, x: str) -> str:
    return binary(graph, "Sub", x, reduce_mean(graph, x, [-1]))


def _on_maps(op: str) -> Step:
    """A step that only maps know, (1, channels, height, width) with even sides."""

    def build(graph: GraphBuilder, x: str) -> str:
        shape = graph.shapes[x]
        if len(shape) != 4 or shape[0] != 1 or shape[2] % 2 or shape[3] % 2 or shape[1] % 4:
            return x
        _, channels, height, width = shape
        if op == "SpaceToDepth":
            return graph.node(op, [x], (1, 4 * channels, height // 2, width // 2), blocksize=2)
        if op == "DepthToSpace":
            return graph.node(op, [x], (1, channels // 4, 2 * height, 2 * width), blocksize=2)
        return binary(graph, "Mul", x, graph.node(op, [x], (1, channels, 1, 1)))

    return build


#: By name. Kernels are measured alone, so that nothing here has to make sense together.
STEPS: Mapping[str, Step] = {
    **{op: _unary(op) for op in "Neg Abs Exp Log Sqrt Floor Reciprocal Erf Softplus LeakyRelu Elu Sin".split()},
    **{op: _unary(op) for op in ("Relu", "Sigmoid", "Tanh", "HardSigmoid")},
    "Clip": lambda graph, x: graph.node("Clip", [x, graph.scalar(0.0), graph.scalar(6.0)], graph.shapes[x]),
    "square": _with_number("Pow", 2.0),
    "root": _with_number("Pow", 0.5),
    **{f"{op} a number": _with_number(op, 1.5) for op in ("Add", "Sub", "Mul", "Div")},
    **{f"{op} a row": _with_row(op) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")},
    "ReduceSum": _reduction("ReduceSum", places_as_input=True),
    **{op: _reduction(op) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")},
    "softmax": softmax,
    "rms_norm": rms_norm,
    "largest": _largest_place,
    "choose": _choose,
    "count": _count,
    "look up": _look_up,
    "rows": _rows,
    "unfold": _unfold,
    "twice": _twice,
    "turned": _turned,
    "beside its mean": _beside_mean,
    "with itself": lambda graph, x: concat(graph, [x, x], 0),
    **{op: _on_maps(op) for op in ("SpaceToDepth", "DepthToSpace", "GlobalMaxPool")},
}


def signal(dice: Dice) -> Drawn | None:
    """Convolutions over one axis."""
    length, channels, out = round(dice.between(1, 4000)), dice.channels(1, 512), dice.channels(8, 512)
    kernel, stride, is_depthwise = dice.one_of(1, 3, 3, 5, 9, 25), dice.one_of(1, 1, 2, 4), dice.chance(0.25)
    out, groups = (channels, channels) if is_depthwise else (out, 1)
    macs = out * length / stride * (kernel * channels / groups + out)
    if max(channels, out) * length > _ELEMENTS_MAX or macs > _MACS_MAX or length < kernel:
        return None
    return (
        GroupedConvolution(out, kernel, stride, groups, dice.one_of(*_SIGNAL_ACTIVATIONS), "pointwise"),
        (1, channels, length),
    )


def recurrence(dice: Dice) -> Drawn | None:
    """Recurrent layers, of few tokens and of many."""
    tokens, width, hidden = round(dice.between(1, 200)), dice.channels(16, 512), dice.channels(16, 512)
    if 4 * tokens * hidden * (width + hidden) > _MACS_MAX:
        return None
    return Recurrent(hidden, dice.chance(0.3), dice.chance(0.4)), (tokens, 1, width)


def integers(dice: Dice) -> Drawn | None:
    """Products and convolutions of 8-bit numbers."""
    channels, out = dice.channels(8, 512), dice.channels(8, 512)
    if dice.chance(0.4):
        return Integers(out, 1, has_bias=False), (1, round(dice.between(1, 300)), channels)
    side, kernel = dice.side(4, 56), dice.one_of(1, 3, 3)
    if channels * out * kernel**2 * side**2 > _MACS_MAX or max(channels, out) * side**2 > _ELEMENTS_MAX:
        return None
    return Integers(out, kernel, dice.chance(0.5)), (1, channels, side, side)


def steps(dice: Dice) -> Drawn | None:
    """Steps on vectors, tokens and maps."""
    side = dice.side(6, 128)
    shape: Shape = dice.one_of(
        (1, dice.channels(16, 512), side, side),
        (1, dice.channels(16, 512), side, side),
        (1, round(dice.between(16, 2000)), dice.channels(16, 1024)),
        (round(dice.between(2, 64)), dice.channels(32, 2048)),
    )
    if math.prod(shape) > _ELEMENTS_MAX:
        return None
    names = list(STEPS)
    return Steps(tuple(names[int(dice.random.integers(len(names)))] for _ in range(4))), shape
