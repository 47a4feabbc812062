"""Build the operations of cell-based search spaces: NAS-Bench-201 and DARTS.

Activations are (N, C, H, W). A candidate "none" or an identity adds no node: ``blocks.Identity``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .operators import GraphBuilder
from .tensor_operators import binary, concat, slice_axis
from .vision_blocks import reshaped
from .vision_operators import batch_norm, conv


@dataclass(frozen=True)
class ReluConv:
    """ReLU, convolution, batch normalisation: NAS-Bench-201's ``nor_conv`` and the pre-processors of DARTS cells."""

    out: int
    kernel: int = 1
    stride: int = 1

    def build(self, graph: GraphBuilder, x: str) -> str:
        return conv(graph, graph.activate(x, "relu"), self.out, kernel=self.kernel, stride=self.stride)


@dataclass(frozen=True)
class NasBenchReduction:
    """The residual block that halves the resolution in NAS-Bench-201 (Dong and Yang, ICLR 2020, figure 1)."""

    out: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = ReluConv(self.out, kernel=3, stride=2).build(graph, x)
        y = ReluConv(self.out, kernel=3).build(graph, y)
        return graph.add(reshaped(graph, x, self.out, 2, "average_pool"), y)


@dataclass(frozen=True)
class NasBenchTail:
    """Batch normalisation, ReLU, global pooling, classifier: the end of a NAS-Bench-201 network."""

    classes: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = graph.activate(batch_norm(graph, x), "relu")
        return graph.linear(graph.global_average_pool(y), self.classes)


@dataclass(frozen=True)
class SeparableConv:
    """DARTS's ``sep_conv``: ReLU, depthwise, pointwise, twice, the first strided (Liu et al., ICLR 2019, §3.1.1)."""

    out: int
    kernel: int
    stride: int = 1

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        y = graph.activate(x, "relu")
        y = conv(graph, y, channels, kernel=self.kernel, stride=self.stride, groups=channels, bias=False)
        y = graph.activate(conv(graph, y, channels, kernel=1), "relu")
        y = conv(graph, y, channels, kernel=self.kernel, groups=channels, bias=False)
        return conv(graph, y, self.out, kernel=1)


@dataclass(frozen=True)
class DilatedConv:
    """DARTS's ``dil_conv``: ReLU, depthwise with dilation 2, pointwise (Liu et al., ICLR 2019, §3.1.1)."""

    out: int
    kernel: int
    stride: int = 1

    def build(self, graph: GraphBuilder, x: str) -> str:
        channels = graph.shapes[x][1]
        y = graph.activate(x, "relu")
        y = conv(graph, y, channels, kernel=self.kernel, stride=self.stride, dilation=2, groups=channels, bias=False)
        return conv(graph, y, self.out, kernel=1)


@dataclass(frozen=True)
class FactorisedReduce:
    """DARTS's skip of stride 2: ReLU, two strided 1×1 convolutions, one of them shifted by a pixel, concatenated.

    The sides of the input must be even, or the two halves differ in size.
    """

    out: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        _, _, height, width = graph.shapes[x]
        y = graph.activate(x, "relu")
        left = conv(graph, y, self.out // 2, kernel=1, stride=2)
        shifted = slice_axis(graph, slice_axis(graph, y, 2, 1, height), 3, 1, width)
        right = conv(graph, shifted, self.out - self.out // 2, kernel=1, stride=2)
        return concat(graph, [left, right], 1)


@dataclass(frozen=True)
class Sum:
    """The sum of several values of one shape, two at a time: where edges of a cell meet."""

    count: int

    def build(self, graph: GraphBuilder, x: str, *others: str) -> str:
        for other in others:
            x = binary(graph, "Add", x, other)
        return x


@dataclass(frozen=True)
class Concatenation:
    """Several values of one shape side by side along their channels: the end of a DARTS cell."""

    count: int

    def build(self, graph: GraphBuilder, x: str, *others: str) -> str:
        return concat(graph, [x, *others], 1)
