"""A cell: one block at one input shape, the unit that is measured and priced. ONNX is imported only to build it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ...profiler.graphs.blocks import Block
    from ...profiler.graphs.operators import Activation, GraphBuilder

Shape = tuple[int, ...]
BlockKind = Literal["conv", "inverted_residual", "global_pool", "linear", "pooled_linear", "identity"]
CellKind = Literal["fixed", "choice"]


def round_channels(value: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor``, at least one, and never more than 10 % down (MobileNetV2, CVPR 2018).

    Divisor 1 rounds to the nearest integer.
    """
    if divisor == 1:
        return max(1, round(value))
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True)
class BlockSpec:
    """A block by its parameters; nothing here depends on ONNX.

    Attributes:
        block: which builder; ``pooled_linear`` is global pooling and a linear layer in one.
        out: output channels, or features.
        expand: ratio of middle to input channels as the space's authors write it; 0 where a block has none.
        mid: channels between the two 1×1 convolutions of an inverted residual, else 0.
        squeeze: channels inside squeeze-and-excitation; 0 for none.
        expands: False where no expansion convolution is built.
        shortcut: the input is added where stride is 1 and channels are kept.
    """

    block: BlockKind
    out: int
    kernel: int = 1
    stride: int = 1
    act: Activation = ""
    expand: float = 0
    mid: int = 0
    groups: int = 1
    squeeze: int = 0
    expands: bool = True
    shortcut: bool = True

    def output_shape(self, input_shape: Shape) -> Shape:
        """NCHW of the output; (N, features) after a linear layer."""
        n, c, h, w = input_shape
        if self.block in ("linear", "pooled_linear"):
            return (n, self.out)
        if self.block == "global_pool":
            return (n, c, 1, 1)
        return (n, self.out, (h - 1) // self.stride + 1, (w - 1) // self.stride + 1)

    def key(self, input_shape: Shape) -> str:
        """Canonical name of the computation: equal keys, equal graphs. Sizes are height×width×channels.

        The expansion *ratio* is not in it: the middle channels say what is computed.
        """
        parts = [self.block, _hwc(input_shape), _hwc(self.output_shape(input_shape))]
        if self.block in ("conv", "inverted_residual"):
            parts += [f"k{self.kernel}", f"s{self.stride}"]
        if self.block == "inverted_residual":
            parts.append(f"m{self.mid}")
            parts += ["noexpand"] if not self.expands else []
            parts += [f"g{self.groups}"] if self.groups > 1 else []
            parts += [f"se{self.squeeze}"] if self.squeeze else []
            parts += ["add"] if self.adds(input_shape) else []
        return "-".join([*parts, self.act] if self.act else parts)

    def adds(self, input_shape: Shape) -> bool:
        """Whether the block adds its input to its output."""
        kept = self.output_shape(input_shape) == input_shape
        return self.block == "inverted_residual" and self.shortcut and kept

    def blocks(self) -> tuple[Block, ...]:
        """The builders of ``profiler.blocks`` that make this block, in order. Imports ONNX."""
        from ...profiler.graphs.blocks import ConvBlock, GlobalPool, Identity, InvertedResidual, Linear

        if self.block == "conv":
            return (ConvBlock(self.out, self.kernel, self.stride, self.act),)
        if self.block == "inverted_residual":
            return (
                InvertedResidual(
                    out=self.out,
                    mid=self.mid,
                    kernel=self.kernel,
                    stride=self.stride,
                    activation=self.act,
                    expands=self.expands,
                    groups=self.groups,
                    squeeze=self.squeeze,
                    shortcut=self.shortcut,
                ),
            )
        if self.block == "global_pool":
            return (GlobalPool(),)
        if self.block == "linear":
            return (Linear(self.out),)
        return (GlobalPool(), Linear(self.out)) if self.block == "pooled_linear" else (Identity(),)


@dataclass(frozen=True)
class Cell:
    """One block at one input shape.

    Attributes:
        key: canonical, unique within a space; equal computations in two spaces have equal keys.
        layer: the first layer of the space that uses the cell.
        kind: ``fixed`` in every architecture, or a ``choice``.
        input_shape, output_shape: NCHW, or (N, features).
    """

    key: str
    layer: str
    kind: CellKind
    spec: BlockSpec
    input_shape: Shape
    output_shape: Shape

    @property
    def absent(self) -> bool:
        """An identity: there is nothing to execute, and the cost is exactly zero by construction."""
        return self.spec.block == "identity"

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The builders that make the cell; more than one only for ``pooled_linear``. Imports ONNX."""
        return self.spec.blocks()

    @property
    def params(self) -> dict[str, str | int | float | bool]:
        """The block's parameters by name, and ``adds``: whether the shortcut is there at this shape."""
        spec = self.spec
        return {
            "block": spec.block,
            "kernel": spec.kernel,
            "stride": spec.stride,
            "expand": spec.expand,
            "mid": spec.mid,
            "groups": spec.groups,
            "squeeze": spec.squeeze,
            "act": spec.act,
            "expands": spec.expands,
            "adds": spec.adds(self.input_shape),
        }

    def build(self, graph: GraphBuilder, x: str) -> str:
        """Append the cell to a graph under construction; returns the name of its output."""
        for block in self.blocks:
            x = block.build(graph, x)
        return x


def make_cell(layer: str, kind: CellKind, spec: BlockSpec, input_shape: Shape) -> Cell:
    """The cell of a block at an input shape (NCHW)."""
    return Cell(spec.key(input_shape), layer, kind, spec, input_shape, spec.output_shape(input_shape))


def _hwc(shape: Shape) -> str:
    return "x".join(str(size) for size in (*shape[2:], shape[1]))
