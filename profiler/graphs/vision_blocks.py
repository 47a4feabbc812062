"""Build the blocks of convolutional search spaces beyond those of ``blocks.py``; each names its space's source.

Activations are (N, C, H, W). Batch normalisation is folded into the convolution before it; where no convolution stands
before it, it is there as a node of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .operators import GraphBuilder
from .tensor_operators import AnyActivation, activate, binary, concat, pad
from .vision_operators import batch_norm, channel_gate, conv, valid_pool

Downsample = Literal["conv", "average_pool"]


@dataclass(frozen=True)
class Bottleneck:
    """1×1, k×k, 1×1 with a shortcut and ReLU after the sum (He et al., CVPR 2016, figure 5; stride in the k×k).

    Attributes:
        downsample: how the shortcut changes its shape: a strided 1×1 convolution (ResNet-50), or average pooling and
            a 1×1 convolution (Once-for-All's ResNet-50 space).
    """

    out: int
    mid: int
    stride: int = 1
    kernel: int = 3
    downsample: Downsample = "conv"

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.mid, kernel=1, activation="relu")
        y = conv(graph, y, self.mid, kernel=self.kernel, stride=self.stride, activation="relu")
        y = conv(graph, y, self.out, kernel=1)
        short = reshaped(graph, x, self.out, self.stride, self.downsample)
        return graph.activate(graph.add(short, y), "relu")


@dataclass(frozen=True)
class BasicResidual:
    """Two k×k convolutions with a shortcut and ReLU after the sum (He et al., CVPR 2016, figure 5)."""

    out: int
    stride: int = 1
    kernel: int = 3
    downsample: Downsample = "conv"

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.out, kernel=self.kernel, stride=self.stride, activation="relu")
        y = conv(graph, y, self.out, kernel=self.kernel)
        short = reshaped(graph, x, self.out, self.stride, self.downsample)
        return graph.activate(graph.add(short, y), "relu")


@dataclass(frozen=True)
class ThreeConvResidual:
    """3×3, k×k and 1×1 with a shortcut and ReLU after the sum: the block of EfficientTDNN's elastic ResNet.

    The first convolution has the stride and narrows; the one in the middle is where the kernel is chosen.

    Attributes:
        squeeze: channels inside squeeze-and-excitation (ReLU, hard sigmoid) behind the middle; 0 for none.
    """

    out: int
    mid: int
    kernel: int = 3
    stride: int = 1
    squeeze: int = 0

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.mid, kernel=3, stride=self.stride, activation="relu")
        y = conv(graph, y, self.mid, kernel=self.kernel, activation="relu")
        if self.squeeze:
            y = channel_gate(graph, y, self.squeeze, inner="relu", gate="hard_sigmoid")
        y = conv(graph, y, self.out, kernel=1)
        return graph.activate(graph.add(reshaped(graph, x, self.out, self.stride, "conv"), y), "relu")


@dataclass(frozen=True)
class MobileBottleneck:
    """MBConv: expand 1×1, depthwise k×k, squeeze-and-excitation, project 1×1 (Tan and Le, ICML 2019, table 1).

    The inverted residual of EfficientNet, TinyNet and AttentiveNAS, whose activations ``blocks.InvertedResidual`` has
    not: swish, and a gate of swish and sigmoid.

    Attributes:
        squeeze: channels inside squeeze-and-excitation; 0 for none.
        expands: False where the source builds no expansion layer (expansion 1).
    """

    out: int
    mid: int
    kernel: int
    stride: int
    squeeze: int = 0
    expands: bool = True
    activation: AnyActivation = "swish"
    gate: AnyActivation = "sigmoid"
    shortcut: bool = True

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = _widened(graph, x, self)
        if self.squeeze:
            y = channel_gate(graph, y, self.squeeze, inner=self.activation, gate=self.gate)
        y = conv(graph, y, self.out, kernel=1)
        kept = graph.shapes[x] == graph.shapes[y]
        return graph.add(x, y) if self.shortcut and kept else y


@dataclass(frozen=True)
class Convolution:
    """Convolution, bias and any activation: a stem or a head of EfficientNet, VoVNet, AttentiveNAS."""

    out: int
    kernel: int = 1
    stride: int = 1
    activation: AnyActivation = "relu"

    def build(self, graph: GraphBuilder, x: str) -> str:
        return conv(graph, x, self.out, kernel=self.kernel, stride=self.stride, activation=self.activation)


@dataclass(frozen=True)
class ResidualConv:
    """Convolution and activation with the input added: the optional block in the stem of Once-for-All's ResNet-50."""

    kernel: int = 3
    activation: AnyActivation = "relu"

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        return graph.add(x, conv(graph, x, channels, kernel=self.kernel, activation=self.activation))


@dataclass(frozen=True)
class ProjectedBottleneck:
    """AttentiveNAS's inverted residual (Wang et al., CVPR 2021): a shortcut everywhere, brought to shape where needed.

    The shortcut is pooled where the block has a stride and goes through a 1×1 convolution where channels change.
    Squeeze-and-excitation has ReLU inside and a hard sigmoid as its gate, whatever the block's activation.

    Attributes:
        squeeze: channels inside squeeze-and-excitation; 0 for none.
        expands: False where the source builds no expansion layer (expansion 1).
    """

    out: int
    mid: int
    kernel: int
    stride: int
    squeeze: int = 0
    expands: bool = True
    activation: AnyActivation = "swish"

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = _widened(graph, x, self)
        if self.squeeze:
            y = channel_gate(graph, y, self.squeeze, inner="relu", gate="hard_sigmoid")
        y = conv(graph, y, self.out, kernel=1)
        short = x
        if self.stride > 1:
            short = valid_pool(graph, x, kernel=self.stride, stride=self.stride, kind="average", ceil=True)
        if graph.shapes[x][1] != self.out:
            short = conv(graph, short, self.out, kernel=1, bias=False)
        return graph.add(short, y)


@dataclass(frozen=True)
class DepthwiseSeparable:
    """Depthwise and 1×1 convolution, activation behind both: the stem of VoVNet's depthwise variants."""

    out: int
    kernel: int = 3
    stride: int = 1
    activation: AnyActivation = "relu"

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        y = conv(graph, x, channels, kernel=self.kernel, stride=self.stride, groups=channels, bias=False)
        return conv(graph, y, self.out, kernel=1, activation=self.activation)


@dataclass(frozen=True)
class Depthwise:
    """Depthwise convolution, bias, activation: the middle of an inverted residual alone, as APQ's table holds it."""

    kernel: int = 3
    stride: int = 1
    activation: AnyActivation = "relu"

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        return conv(
            graph, x, channels, kernel=self.kernel, stride=self.stride, groups=channels, activation=self.activation
        )


@dataclass(frozen=True)
class Pool:
    """Max or average pooling with "same" padding that does not enter the average: NAS-Bench-201, DARTS, ResNet."""

    kind: Literal["max", "average"]
    kernel: int = 3
    stride: int = 1

    def build(self, graph: GraphBuilder, x: str) -> str:
        return graph.pool(x, kernel=self.kernel, stride=self.stride, kind=self.kind)


@dataclass(frozen=True)
class OneShotAggregation:
    """VoVNetV2's OSA module with effective squeeze-and-excitation (Lee and Park, CVPR 2020, figure 3).

    Attributes:
        inner: channels of each of the ``layers`` convolutions in series; the input and all of them are concatenated.
        identity: add the input, as later modules of a stage do.
        depthwise: each 3×3 becomes a depthwise 3×3 and a 1×1, after one 1×1 reduction where channels change.
    """

    inner: int
    out: int
    layers: int
    identity: bool = False
    depthwise: bool = False

    def build(self, graph: GraphBuilder, x: str) -> str:
        parts = [x]
        y = x
        if self.depthwise and graph.shapes[x][1] != self.inner:
            y = conv(graph, y, self.inner, kernel=1, activation="relu")
        for _ in range(self.layers):
            if self.depthwise:
                y = conv(graph, y, self.inner, kernel=3, groups=self.inner, bias=False)
                y = conv(graph, y, self.inner, kernel=1, activation="relu")
            else:
                y = conv(graph, y, self.inner, kernel=3, activation="relu")
            parts.append(y)
        y = conv(graph, concat(graph, parts, 1), self.out, kernel=1, activation="relu")
        y = channel_gate(graph, y, 0, gate="hard_sigmoid")
        return graph.add(x, y) if self.identity else y


@dataclass(frozen=True)
class RepVgg:
    """RepVGG's block (Ding et al., CVPR 2021, figure 4): one 3×3 when deployed, three branches while it trains."""

    out: int
    stride: int = 1
    groups: int = 1
    deployed: bool = True

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.out, kernel=3, stride=self.stride, groups=self.groups)
        if not self.deployed:
            y = graph.add(y, conv(graph, x, self.out, kernel=1, stride=self.stride, groups=self.groups))
            if graph.shapes[x] == graph.shapes[y]:
                y = graph.add(y, batch_norm(graph, x))
        return graph.activate(y, "relu")


def _widened(graph: GraphBuilder, x: str, block: MobileBottleneck | ProjectedBottleneck) -> str:
    """The first two convolutions of an inverted residual: 1×1 where it expands, then depthwise."""
    mid, act = block.mid, block.activation
    y = conv(graph, x, mid, kernel=1, activation=act) if block.expands else x
    return conv(graph, y, mid, kernel=block.kernel, stride=block.stride, groups=mid, activation=act)


Branch = Literal["plain", "pointwise", "chained", "average"]


@dataclass(frozen=True)
class DiverseBranch:
    """The diverse branch block (Ding et al., CVPR 2021, figure 2) and RepNAS's: branches in training, then one k×k.

    Attributes:
        branches: which are there: k×k; 1×1; 1×1 then k×k; 1×1 then average pooling. Deployed, all give the same graph.

    The source pads between the two stages of a branch with the value that batch normalisation gives to zero; here those
    pixels are zeros, which costs the same.
    """

    out: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    branches: tuple[Branch, ...] = ("plain", "pointwise", "chained", "average")
    deployed: bool = True
    activation: AnyActivation = "relu"

    def build(self, graph: GraphBuilder, x: str) -> str:
        if self.deployed:
            y = self._conv(graph, x, self.out, self.kernel, self.stride)
        else:
            made = [self._branch(graph, x, branch) for branch in self.branches]
            y = made[0]
            for other in made[1:]:
                y = binary(graph, "Add", y, other)
        return activate(graph, y, self.activation)

    def _branch(self, graph: GraphBuilder, x: str, branch: Branch) -> str:
        if branch == "plain":
            return self._conv(graph, x, self.out, self.kernel, self.stride)
        if branch == "pointwise":
            return self._conv(graph, x, self.out, 1, self.stride)
        edge = self.kernel // 2
        if branch == "chained":
            channels = graph.shapes[x][1]
            # Inside, the source doubles the channels of a depthwise block and keeps those of any other.
            inside = 2 * channels if self.groups == self.out else channels
            y = _framed(graph, self._conv(graph, x, inside, 1, 1), edge)
            return conv(graph, y, self.out, kernel=self.kernel, stride=self.stride, groups=self.groups, padding=0)
        y = x if self.groups == self.out else self._conv(graph, x, self.out, 1, 1)
        y = valid_pool(graph, _framed(graph, y, edge), kernel=self.kernel, stride=self.stride, kind="average")
        return batch_norm(graph, y)

    def _conv(self, graph: GraphBuilder, x: str, channels: int, kernel: int, stride: int) -> str:
        return conv(graph, x, channels, kernel=kernel, stride=stride, groups=self.groups)


def _framed(graph: GraphBuilder, x: str, edge: int) -> str:
    return pad(graph, x, (0, 0, edge, edge), (0, 0, edge, edge))


def reshaped(graph: GraphBuilder, x: str, out: int, stride: int, downsample: Downsample) -> str:
    """The shortcut of a residual block: x itself, or x brought to ``out`` channels and a smaller size."""
    if stride == 1 and graph.shapes[x][1] == out:
        return x
    if downsample == "conv":
        return conv(graph, x, out, kernel=1, stride=stride)
    pooled = valid_pool(graph, x, kernel=stride, stride=stride, kind="average", ceil=True) if stride > 1 else x
    return conv(graph, pooled, out, kernel=1)
