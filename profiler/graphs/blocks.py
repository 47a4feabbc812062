"""Build the blocks that search spaces are made of, from operators: inverted residual, stem, head, skip.

A block function takes a ``GraphBuilder`` and the name of its input value and returns the name of its output, so that
the same function makes one block alone and the same block inside a whole network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .operators import Activation, GraphBuilder


@dataclass(frozen=True)
class ConvBlock:
    """Convolution, bias, activation: a stem, a head, or the 1×1 that FBNet puts where a skip changes the shape."""

    out: int
    kernel: int = 1
    stride: int = 1
    activation: Activation = ""

    def build(self, graph: GraphBuilder, x: str) -> str:
        return graph.conv(x, self.out, kernel=self.kernel, stride=self.stride, activation=self.activation)


@dataclass(frozen=True)
class InvertedResidual:
    """Expand 1×1, depthwise k×k, project 1×1, with a shortcut where shape is kept (Sandler et al., CVPR 2018, §3.4).

    Attributes:
        mid: channels between the two 1×1 convolutions.
        expands: False where the source builds no expansion layer (expansion 1 in MobileNetV2/V3 and ProxylessNAS).
        groups: groups of both 1×1 convolutions; more than one puts a channel shuffle between them (FBNet, table 2).
        squeeze: channels inside squeeze-and-excitation; 0 for none.
        shortcut: add the input where stride is 1 and channels are kept.
    """

    out: int
    mid: int
    kernel: int
    stride: int
    activation: Activation
    expands: bool = True
    groups: int = 1
    squeeze: int = 0
    shortcut: bool = True

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = x
        if self.expands:
            y = graph.conv(y, self.mid, groups=self.groups, activation=self.activation)
        if self.groups > 1:
            y = graph.channel_shuffle(y, self.groups)
        y = graph.depthwise(y, kernel=self.kernel, stride=self.stride, activation=self.activation)
        if self.squeeze:
            y = graph.squeeze_excite(y, self.squeeze)
        y = graph.conv(y, self.out, groups=self.groups)
        kept = graph.shapes[x] == graph.shapes[y]
        return graph.add(x, y) if self.shortcut and kept else y


@dataclass(frozen=True)
class GlobalPool:
    """Global average pooling."""

    def build(self, graph: GraphBuilder, x: str) -> str:
        return graph.global_average_pool(x)


@dataclass(frozen=True)
class Linear:
    """Flatten and fully connected layer: a classifier."""

    out: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        return graph.linear(x, self.out)


@dataclass(frozen=True)
class Identity:
    """A skip that costs nothing because no runtime executes it."""

    def build(self, graph: GraphBuilder, x: str) -> str:
        return x


class Block(Protocol):
    """Whatever appends itself to a graph and returns the name of its output."""

    def build(self, graph: GraphBuilder, x: str) -> str: ...


class Join(Protocol):
    """A block with several inputs of one shape."""

    def build(self, graph: GraphBuilder, x: str, *others: str) -> str: ...
