"""Random whole networks: from them is learned what a network takes beyond its kernels, and how far off its price is.

Chains of the blocks that `random_blocks` draws one by one, from a tenth of a millisecond to some fifteen on
a core of a server: images through stages that halve the map and widen it, tokens through encoder layers, signals
through convolutions over time. None of them is a network of a search space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..profiler.graphs.blocks import Block, ConvBlock, GlobalPool, InvertedResidual, Linear
from ..profiler.graphs.cell_blocks import ReluConv
from ..profiler.graphs.networks import ReferenceNetwork
from ..profiler.graphs.operators import Activation, GraphBuilder
from ..profiler.graphs.sequence_blocks import EncoderLayer, NormPlace, PatchEmbedding, TokenHead
from ..profiler.graphs.speech_blocks import AttentiveStatistics, SeRes2Tdnn, TdnnConv
from ..profiler.graphs.tensor_operators import AnyActivation
from ..profiler.graphs.vision_blocks import (
    BasicResidual,
    Bottleneck,
    Convolution,
    MobileBottleneck,
    OneShotAggregation,
    Pool,
)
from ..profiler.workload import Workload
from .random_dice import Dice, Shape

#: Multiply-adds of convolutions and dense layers that a network is drawn for, evenly on a logarithmic scale.
_MACS = (2e6, 3e9)
_CHANNELS_MAX = 1024
_BLOCKS_MIN, _BLOCKS_MAX = 7, 24
_DENSE = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Grown:
    """A chain under construction, which knows what it costs."""

    graph: GraphBuilder
    blocks: list[Block]
    value: str

    @classmethod
    def begin(cls, shape: Shape) -> Grown:
        graph = GraphBuilder("random")
        return cls(graph, [], graph.input(shape))

    def with_block(self, block: Block) -> Grown:
        return Grown(self.graph, [*self.blocks, block], block.build(self.graph, self.value))

    @property
    def shape(self) -> Shape:
        return self.graph.shapes[self.value]

    @property
    def macs(self) -> float:
        """Multiply-adds with weights, so far."""
        weights = {weight.name: weight.shape for weight in self.graph.weights}
        return sum(
            math.prod(self.graph.shapes[node.output[0]]) * _summed(node.op_type, weights[node.input[1]])
            for node in self.graph.nodes
            if node.op_type in _DENSE and node.input[1] in weights
        )


def _summed(op: str, weight: Shape) -> int:
    """Terms of one output: dense layers on tokens have their weight the other way round."""
    return weight[-2] if op == "MatMul" else math.prod(weight[1:])


def random_networks(seed: int) -> Iterator[Workload]:
    """Networks without end; the same seed gives the same ones in the same order. fp32, batch 1."""
    dice, number = Dice(seed), 0
    while True:
        for draw in (_mobile, _residual, _tokens, _mixed, _mobile, _signal):
            name = f"random-network-{seed}-{number}"
            chain = _long_enough(draw, dice)
            yield ReferenceNetwork(name, _labelled(chain.blocks), chain.graph.shapes[chain.graph.inputs[0]]).workload()
            number += 1


def _long_enough(draw: Callable[[Dice, float], Grown], dice: Dice) -> Grown:
    """A few blocks on large maps can be all that there is room for; that is no network, and is drawn again."""
    while True:
        chain = draw(dice, dice.between(*_MACS))
        if len(chain.blocks) >= _BLOCKS_MIN:
            return chain


def _labelled(blocks: list[Block]) -> tuple[tuple[str, Block], ...]:
    return tuple((f"{place}", block) for place, block in enumerate(blocks))


#: The next block of a stage: channels in, out, stride.
NextBlock = Callable[[Dice, int, int, int], Block]


def _mobile(dice: Dice, macs: float) -> Grown:
    is_efficient, squeezes = dice.chance(0.3), dice.chance(0.4)
    activation: Activation = dice.one_of("relu", "relu6", "hard_swish")

    def block(dice: Dice, channels: int, out: int, stride: int) -> Block:
        mid, kernel = channels * dice.one_of(1, 2, 3, 4, 6), dice.one_of(3, 3, 5, 7)
        squeeze = max(8, mid // 4 // 8 * 8) if squeezes and dice.chance(0.7) else 0
        if is_efficient:
            return MobileBottleneck(out, mid, kernel, stride, squeeze, mid != channels)
        groups = 2 if dice.chance(0.15) and not (channels % 2 or mid % 2 or out % 2) else 1
        return InvertedResidual(out, mid, kernel, stride, activation, mid != channels or groups > 1, groups, squeeze)

    return _staged(dice, macs, block)


def _residual(dice: Dice, macs: float) -> Grown:
    is_deep = dice.chance(0.5)

    def block(dice: Dice, _channels: int, out: int, stride: int) -> Block:
        if is_deep:
            return Bottleneck(out, max(8, out // dice.one_of(2, 4, 4) // 8 * 8), stride)
        return BasicResidual(out, stride, 3, dice.one_of("conv", "average_pool"))

    return _staged(dice, macs, block)


def _mixed(dice: Dice, macs: float) -> Grown:
    def block(dice: Dice, channels: int, out: int, stride: int) -> Block:
        if stride == 1 and dice.chance(0.15):
            return OneShotAggregation(max(8, channels // 2), out, dice.one_of(2, 3, 4))
        blocks: tuple[Block, ...] = (
            BasicResidual(out, stride),
            InvertedResidual(out, 3 * channels, dice.one_of(3, 5), stride, "relu"),
            ReluConv(out, dice.one_of(1, 3), stride),
            Convolution(out, dice.one_of(1, 3, 5), stride, dice.one_of("relu", "swish", "hard_swish")),
        )
        return dice.one_of(*blocks)

    return _staged(dice, macs, block)


def _staged(dice: Dice, macs: float, block: NextBlock) -> Grown:
    """Stem, stages until the multiply-adds are spent, pool and classifier."""
    side, width = dice.one_of(32, 96, 128, 160, 192, 224), dice.one_of(8, 16, 24, 32, 48, 64)
    chain = Grown.begin((1, 3, side, side)).with_block(
        ConvBlock(width, dice.one_of(3, 3, 5, 7), 1 if side == 32 else 2, "relu")
    )
    if dice.chance(0.3):
        chain = chain.with_block(Pool("max", 3, 2))
    growth, is_narrow = dice.between(1.3, 2.2), False
    while chain.macs < macs and len(chain.blocks) < _BLOCKS_MAX and not is_narrow:
        out = min(_CHANNELS_MAX, max(8, round(chain.shape[1] * growth / 8) * 8))
        chain = chain.with_block(block(dice, chain.shape[1], out, 2))
        for _ in range(dice.one_of(0, 1, 2, 3)):
            if chain.macs < macs:
                chain = chain.with_block(block(dice, chain.shape[1], out, 1))
        is_narrow = chain.shape[2] <= 4
    if dice.chance(0.4):
        chain = chain.with_block(Convolution(dice.channels(256, 1280), 1, 1, "relu"))
    return chain.with_block(GlobalPool()).with_block(Linear(dice.one_of(10, 100, 1000)))


def _tokens(dice: Dice, macs: float) -> Grown:
    """Patches and encoder layers; half of them as wide as their heads, in powers of two or not."""
    patch, heads, size = dice.one_of(16, 16, 32), dice.one_of(2, 3, 4, 5, 6, 8), dice.one_of(32, 48, 64, 64)
    side, width = patch * dice.one_of(6, 7, 8, 10, 12, 14), heads * size
    inner = round(width * dice.between(1.5, 4.5))
    activation: AnyActivation = dice.one_of("gelu", "gelu", "gelu_tanh", "relu")
    place: NormPlace = dice.one_of("pre", "pre", "post")
    chain = Grown.begin((1, 3, side, side)).with_block(PatchEmbedding(width, patch))
    while chain.macs < macs and len(chain.blocks) < _BLOCKS_MAX:
        chain = chain.with_block(EncoderLayer(heads, size, inner, activation, place))
    return chain.with_block(TokenHead(dice.one_of(10, 100, 1000)))


def _signal(dice: Dice, macs: float) -> Grown:
    """Convolutions over time with pooled statistics, as networks for speakers have them."""
    frames, bands, width = round(dice.between(50, 400)), dice.one_of(40, 64, 80), 8 * dice.one_of(8, 16, 24, 32, 48)
    chain = Grown.begin((1, bands, frames)).with_block(TdnnConv(width, dice.one_of(3, 5)))
    while chain.macs < macs / 4 and len(chain.blocks) < _BLOCKS_MAX // 2:
        scale = dice.one_of(2, 4, 8)
        chain = chain.with_block(SeRes2Tdnn(width, width, dice.one_of(3, 5), dice.one_of(1, 2, 3), scale, 32))
    return chain.with_block(AttentiveStatistics(64)).with_block(Linear(dice.one_of(64, 192)))
