"""A cell: one block at one input shape, the unit that is measured and priced. ONNX is imported only to build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeGuard, cast

from ...profiler.errors import UsageError
from .kinds import KINDS, Shape, Value

if TYPE_CHECKING:
    from ...profiler.graphs.blocks import Block, Join
    from ...profiler.graphs.operators import Activation, GraphBuilder
    from ...profiler.graphs.tensor_operators import AnyActivation

#: Blocks that this module knows by itself; all others are in ``kinds.KINDS``.
PLAIN_BLOCKS = ("conv", "inverted_residual", "global_pool", "linear", "pooled_linear", "identity")
#: Activations that the blocks of ``profiler.graphs.blocks`` take; others are built by ``vision_blocks``.
PLAIN_ACTIVATIONS = ("", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid")
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
        block: which builder; ``pooled_linear`` is global pooling and a linear layer in one. The others are in
            ``kinds.KINDS``; their fields are those below that have their names, and ``more``.
        out: output channels, or features.
        expand: ratio of middle to input channels as the space's authors write it; 0 where a block has none.
        mid: channels between the two 1×1 convolutions of an inverted residual, else 0.
        squeeze: channels inside squeeze-and-excitation; 0 for none.
        expands: False where no expansion convolution is built.
        shortcut: the input is added where stride is 1 and channels are kept.
        gate: activation at the end of squeeze-and-excitation.
        more: fields of other kinds of block, in the order of the kind.
    """

    block: str
    out: int
    kernel: int = 1
    stride: int = 1
    act: AnyActivation = ""
    expand: float = 0
    mid: int = 0
    groups: int = 1
    squeeze: int = 0
    expands: bool = True
    shortcut: bool = True
    gate: AnyActivation = "hard_sigmoid"
    more: tuple[tuple[str, Value], ...] = ()

    @cached_property
    def values(self) -> Mapping[str, Value]:
        """The fields of a block of ``KINDS``, by name and in its order."""
        more = dict(self.more)
        return {name: more[name] if name in more else getattr(self, name) for name in KINDS[self.block].fields}

    @property
    def inputs(self) -> int:
        """How many equal inputs it has."""
        joins = KINDS[self.block].joins if self.block in KINDS else ""
        return int(dict(self.more)[joins]) if joins else 1

    def output_shape(self, input_shape: Shape) -> Shape:
        """NCHW of the output; (N, features) after a linear layer.

        Raises:
            UsageError: the block does not fit behind this input.
        """
        if self.block in KINDS:
            kind = KINDS[self.block]
            if len(input_shape) not in kind.ranks:
                raise UsageError(f"the block {self.block} does not fit behind {input_shape}")
            return kind.shape(input_shape, self.values)
        if self.block == "identity":
            return input_shape
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
        if self.block in KINDS:
            return "-".join([*parts, *(_told(name, value) for name, value in self.values.items() if name != "out")])
        if self.block in ("conv", "inverted_residual"):
            parts += [f"k{self.kernel}", f"s{self.stride}"]
        if self.block == "inverted_residual":
            parts.append(f"m{self.mid}")
            parts += ["noexpand"] if not self.expands else []
            parts += [f"g{self.groups}"] if self.groups > 1 else []
            parts += [f"se{self.squeeze}"] if self.squeeze else []
            parts += [self.gate] if self.squeeze and self.gate != "hard_sigmoid" else []
            parts += ["add"] if self.adds(input_shape) else []
        return "-".join([*parts, self.act] if self.act else parts)

    def adds(self, input_shape: Shape) -> bool:
        """Whether the block adds its input to its output."""
        kept = self.output_shape(input_shape) == input_shape
        return self.block == "inverted_residual" and self.shortcut and kept

    def blocks(self) -> tuple[Block, ...]:
        """The builders of ``profiler.graphs`` that make this block, in order. Imports ONNX."""
        from ...profiler.graphs.blocks import GlobalPool, Identity, Linear

        if self.block in KINDS:
            return (KINDS[self.block].build(self.values),)
        if self.block == "conv":
            return (self._conv(),)
        if self.block == "inverted_residual":
            return (self._inverted_residual(),)
        if self.block == "global_pool":
            return (GlobalPool(),)
        if self.block == "linear":
            return (Linear(self.out),)
        return (GlobalPool(), Linear(self.out)) if self.block == "pooled_linear" else (Identity(),)

    def _conv(self) -> Block:
        from ...profiler.graphs.blocks import ConvBlock
        from ...profiler.graphs.vision_blocks import Convolution

        if _is_plain(self.act):
            return ConvBlock(self.out, self.kernel, self.stride, self.act)
        return Convolution(self.out, self.kernel, self.stride, self.act)

    def _inverted_residual(self) -> Block:
        from ...profiler.graphs.blocks import InvertedResidual
        from ...profiler.graphs.vision_blocks import MobileBottleneck

        out, mid, kernel, stride, squeeze = self.out, self.mid, self.kernel, self.stride, self.squeeze
        if _is_plain(self.act) and (self.gate == "hard_sigmoid" or not squeeze):
            return InvertedResidual(
                out, mid, kernel, stride, self.act, self.expands, self.groups, squeeze, self.shortcut
            )
        return MobileBottleneck(out, mid, kernel, stride, squeeze, self.expands, self.act, self.gate, self.shortcut)


@dataclass(frozen=True)
class Cell:
    """One block at one input shape.

    Attributes:
        key: canonical, unique within a space; equal computations in two spaces have equal keys.
        layer: the first layer of the space that uses the cell.
        kind: ``fixed`` in every architecture, or a ``choice``.
        input_shape, output_shape: NCHW, (N, features), tokens (N, L, C), a signal (N, C, L) or ids (N, L); where there
            are several inputs, all have one shape.
    """

    key: str
    layer: str
    kind: CellKind
    spec: BlockSpec
    input_shape: Shape
    output_shape: Shape

    @property
    def absent(self) -> bool:
        """An identity, or an input: there is nothing to execute, and the cost is exactly zero by construction."""
        return self.spec.block in ("identity", "input")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The builders that make the cell; more than one only for ``pooled_linear``. Imports ONNX."""
        return self.spec.blocks()

    @property
    def params(self) -> dict[str, str | int | float | bool]:
        """The block's parameters by name, and ``adds``: whether the shortcut is there at this shape."""
        spec = self.spec
        if spec.block in KINDS:
            return {"block": spec.block, **spec.values}
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

    def build(self, graph: GraphBuilder, x: str, *others: str) -> str:
        """Append the cell to a graph under construction; returns the name of its output."""
        if self.spec.inputs > 1:
            return cast("Join", self.blocks[0]).build(graph, x, *others)
        for block in self.blocks:
            x = block.build(graph, x)
        return x

    @property
    def input_dtype(self) -> str:
        """``int64`` for ids of tokens, else ``float32``."""
        return "int64" if self.spec.block == "token_embedding" else "float32"


def make_cell(layer: str, kind: CellKind, spec: BlockSpec, input_shape: Shape) -> Cell:
    """The cell of a block at an input shape (NCHW)."""
    return Cell(spec.key(input_shape), layer, kind, spec, input_shape, spec.output_shape(input_shape))


def _hwc(shape: Shape) -> str:
    """Height×width×channels of an image; tokens, signals and ids in their own order."""
    return "x".join(str(size) for size in ((*shape[2:], shape[1]) if len(shape) == 4 else shape[1:]))


def _told(name: str, value: Value) -> str:
    return f"{name}-{value}" if isinstance(value, str) else f"{name}{value:g}"


def _is_plain(act: AnyActivation) -> TypeGuard[Activation]:
    return act in PLAIN_ACTIVATIONS
