"""Random blocks of every family of networks: what kernels are learned from when nobody has named a space.

Channels and sizes are drawn evenly on a logarithmic scale, so that small and large shapes are as many; a block that
would take longer than a few milliseconds, or more memory than a cache holds many times over, is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ..profiler.graphs.blocks import InvertedResidual, Linear
from ..profiler.graphs.cell_blocks import NasBenchTail, ReluConv
from ..profiler.graphs.operators import Activation, GraphBuilder
from ..profiler.graphs.sequence_blocks import EncoderLayer, PatchEmbedding, TokenHead
from ..profiler.graphs.tensor_operators import (
    AnyActivation,
    activate,
    binary,
    concat,
    pad,
    reduce_mean,
    slice_axis,
    split,
)
from ..profiler.graphs.vision_blocks import (
    BasicResidual,
    Bottleneck,
    Convolution,
    Downsample,
    MobileBottleneck,
    OneShotAggregation,
    Pool,
)
from ..profiler.graphs.vision_operators import conv, resize, transposed_conv
from ..profiler.workload import Workload, workload_from_model
from .random_dice import Block, Dice, Drawn
from .random_steps import GroupedConvolution, integers, recurrence, signal, steps

#: Elements of the largest value, and multiply-adds of the largest convolution.
_ELEMENTS_MAX = 2.5e6
_MACS_MAX = 3.5e8
_MOBILE_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu6", "hard_swish")
_ACTIVATIONS: tuple[AnyActivation, ...] = ("", "relu", "relu", "relu6", "hard_swish", "swish", "sigmoid")


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution alone."""

    kernel: int
    stride: int
    activation: AnyActivation

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        return conv(
            graph, x, channels, kernel=self.kernel, stride=self.stride, groups=channels, activation=self.activation
        )


#: What stands between convolutions and products; each keeps the number of axes.
Step = Literal["sigmoid", "tanh", "sub", "div", "split", "slice", "pad", "mean", "max_pool", "upsample", "transposed"]
_STEPS: tuple[Step, ...] = get_args(Step)


@dataclass(frozen=True)
class Between:
    """A convolution, so that its layout is the runtime's, and steps that are no convolution behind it."""

    channels: int
    steps: tuple[Step, ...]

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.channels, kernel=3)
        for step in self.steps:
            y = _after(graph, y, step)
        return y


def _after(graph: GraphBuilder, x: str, step: Step) -> str:
    _, channels, height, width = graph.shapes[x]
    if step in ("sigmoid", "tanh"):
        return activate(graph, x, step)
    if step in ("sub", "div"):
        # Against one number per channel, as standardising an image does.
        return binary(graph, "Sub" if step == "sub" else "Div", x, graph.weight((channels, 1, 1), spread=1.0))
    if step == "split":
        left, right = split(graph, x, (channels // 2, channels - channels // 2), 1)
        return concat(graph, [right, left], 1)
    if step == "slice":
        return slice_axis(graph, x, 1, 0, max(1, channels // 2))
    if step == "pad":
        return pad(graph, x, (0, 0, 1, 1), (0, 0, 1, 1))
    if step == "mean":
        return binary(graph, "Mul", x, reduce_mean(graph, x, (2, 3)))
    if step == "max_pool":
        return graph.pool(x, kernel=2 + channels % 2, stride=2, kind="max")
    if step == "upsample":
        return resize(graph, x, (2 * height, 2 * width), "nearest")
    return transposed_conv(graph, x, max(1, channels // 2), kernel=2, stride=2)


def _inverted_residual(dice: Dice) -> Drawn | None:
    side, channels = dice.side(4, 112), dice.channels(8, 256)
    mid = channels * dice.one_of(1, 2, 3, 4, 6) if dice.chance(0.7) else dice.channels(16, 1280)
    out = channels if dice.chance(0.5) else dice.channels(8, 384)
    if mid * side**2 > _ELEMENTS_MAX or channels * mid * side**2 > _MACS_MAX / 3:
        return None
    kernel, stride = dice.one_of(3, 5, 7), dice.one_of(1, 1, 2)
    squeeze = max(8, mid // 4 // 8 * 8) if dice.chance(0.35) else 0
    shape = (1, channels, side, side)
    if dice.chance(0.25):
        return MobileBottleneck(out, mid, kernel, stride, squeeze, mid != channels), shape
    groups = 2 if dice.chance(0.15) and not (channels % 2 or mid % 2 or out % 2) else 1
    activation = dice.one_of(*_MOBILE_ACTIVATIONS)
    expands = mid != channels or groups > 1
    return InvertedResidual(out, mid, kernel, stride, activation, expands, groups, squeeze), shape


def _depthwise(dice: Dice) -> Drawn | None:
    side, channels = dice.side(3, 112), dice.channels(8, 1280)
    if channels * side**2 > _ELEMENTS_MAX:
        return None
    block = Depthwise(dice.one_of(3, 5, 7), dice.one_of(1, 1, 2), dice.one_of(*_ACTIVATIONS))
    return block, (1, channels, side, side)


def _convolution(dice: Dice) -> Drawn | None:
    side, channels, out = dice.side(4, 128), dice.channels(3, 768), dice.channels(8, 768)
    kernel, stride = dice.one_of(3, 3, 3, 5, 7), dice.one_of(1, 1, 2)
    pixels = side**2 / stride**2
    if channels * out * kernel**2 * pixels > _MACS_MAX or max(channels * side**2, out * pixels) > _ELEMENTS_MAX:
        return None
    downsample: Downsample = dice.one_of("conv", "average_pool")
    blocks: tuple[Block, ...] = (
        BasicResidual(out, stride, 3, downsample),
        Bottleneck(out, max(8, out // 4), stride),
        ReluConv(out, min(kernel, 5), stride),
        Convolution(out, kernel, stride, dice.one_of(*_ACTIVATIONS)),
    )
    return dice.one_of(*blocks), (1, channels, side, side)


def _pointwise(dice: Dice) -> Drawn | None:
    side, channels, out = dice.side(3, 128), dice.channels(8, 1280), dice.channels(8, 1280)
    if channels * out * side**2 > _MACS_MAX / 2 or max(channels, out) * side**2 > _ELEMENTS_MAX:
        return None
    return Convolution(out, 1, dice.one_of(1, 1, 1, 2), dice.one_of(*_ACTIVATIONS)), (1, channels, side, side)


def _grouped(dice: Dice) -> Drawn | None:
    side, groups = dice.side(4, 96), dice.one_of(2, 2, 3, 4, 8, 16, 32)
    # Only groups of whole blocks keep the blocked layout.
    inner, outer = dice.channels(2, 96), dice.channels(2, 96)
    if dice.chance(0.5):
        inner, outer = dice.one_of(16, 16, 32, 48, 64), dice.one_of(16, 16, 32, 48, 64)
    channels, out, kernel = groups * inner, groups * outer, dice.one_of(1, 1, 3, 3, 5)
    macs = inner * out * kernel**2 * side**2
    if macs > _MACS_MAX / 2 or max(channels, out) * side**2 > _ELEMENTS_MAX:
        return None
    stride, activation = dice.one_of(1, 1, 2), dice.one_of(*_ACTIVATIONS)
    return GroupedConvolution(out, kernel, stride, groups, activation, "shuffle"), (1, channels, side, side)


def _pool(dice: Dice) -> Drawn | None:
    side, channels = dice.side(4, 112), dice.channels(8, 512)
    if channels * side**2 > _ELEMENTS_MAX:
        return None
    kind = dice.one_of("max", "max", "average", "average", "average", "tail", "aggregate")
    if kind == "aggregate":
        small = min(side, 32)
        return OneShotAggregation(max(8, channels // 2), channels, dice.one_of(2, 3, 4)), (1, channels, small, small)
    if kind == "tail":
        return NasBenchTail(dice.one_of(10, 100, 1000)), (1, channels, side, side)
    return Pool("max" if kind == "max" else "average", dice.one_of(2, 3), dice.one_of(1, 2)), (1, channels, side, side)


def _encoder(dice: Dice) -> Drawn | None:
    tokens, size, heads = round(dice.between(8, 400)), dice.one_of(32, 48, 64, 64, 80, 96), dice.one_of(*range(1, 13))
    width = heads * size if dice.chance(0.6) else dice.channels(64, 1024)
    inner = width * dice.one_of(2, 3, 4) if dice.chance(0.7) else dice.channels(128, 3072)
    activation: AnyActivation = dice.one_of("gelu", "gelu", "relu", "gelu_tanh")
    return EncoderLayer(heads, size, inner, activation, dice.one_of("pre", "post")), (1, tokens, width)


def _stem(dice: Dice) -> Drawn | None:
    """What reads an image or a single plane, in whatever size people feed it."""
    channels, out = dice.one_of(1, 3, 3, 3, 4), dice.channels(8, 96)
    side, kernel, stride = round(dice.between(24, 512)), dice.one_of(3, 3, 5, 7), dice.one_of(1, 2, 2)
    if channels * out * (kernel * side / stride) ** 2 > _MACS_MAX or out * (side / stride) ** 2 > _ELEMENTS_MAX:
        return None
    return Convolution(out, kernel, stride, dice.one_of(*_ACTIVATIONS)), (1, channels, side, side)


def _head(dice: Dice) -> Drawn | None:
    kind = dice.one_of("linear", "linear", "vector", "patches", "token")
    if kind == "vector":
        width = dice.channels(32, 2048)
        return Convolution(dice.channels(16, 2048), 1, 1, dice.one_of(*_ACTIVATIONS)), (1, width, 1, 1)
    if kind == "linear":
        return Linear(dice.channels(10, 2000)), (1, dice.channels(64, 2560), 1, 1)
    if kind == "token":
        place = dice.one_of("norm", "pool")
        shape = (1, round(dice.between(8, 400)), dice.channels(64, 1024))
        return TokenHead(dice.channels(10, 1000), "norm" if place == "norm" else "pool"), shape
    patch = dice.one_of(8, 14, 16, 32)
    side = patch * dice.one_of(*range(6, 17))
    return PatchEmbedding(dice.channels(64, 1024), patch), (1, 3, side, side)


def _between(dice: Dice) -> Drawn | None:
    side, channels = dice.side(6, 128), dice.channels(8, 256)
    if channels * side**2 > _ELEMENTS_MAX / 2:
        return None
    return Between(channels, tuple(dice.one_of(*_STEPS) for _ in range(3))), (1, 8, side, side)


#: By how many of forty blocks.
_FAMILIES: tuple[tuple[int, Callable[[Dice], Drawn | None]], ...] = (
    (6, _inverted_residual), (2, _depthwise), (4, _convolution), (2, _pointwise), (4, _pool), (3, _between),
    (3, _encoder), (2, _head), (2, _stem), (2, _grouped), (2, signal), (6, steps), (1, recurrence), (1, integers),
)  # fmt: skip


def random_blocks(seed: int) -> Iterator[Workload]:
    """Blocks without end; the same seed gives the same ones in the same order. fp32, batch 1."""
    dice = Dice(seed)
    families = [draw for count, draw in _FAMILIES for _ in range(count)]
    number = 0
    while True:
        drawn = dice.one_of(*families)(dice)
        if drawn is None:
            continue
        block, shape = drawn
        graph = GraphBuilder(f"random-{seed}-{number}")
        y = block.build(graph, graph.input(shape))
        yield workload_from_model(graph.name, "block", graph.model(y), tuple(graph.weights))
        number += 1
