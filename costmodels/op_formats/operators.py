"""One operator at one shape, as formats name it and as a graph that the runtime can be asked about.

What an operator costs is asked in ``prices.py``; which operators a reader needs, each format says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from ...profiler.graphs.operators import GraphBuilder
from ...profiler.graphs.tensor_operators import concat, split
from ...profiler.graphs.vision_operators import batch_norm, valid_pool
from ...profiler.kernels.graph import Kernel
from ...profiler.workload import Workload, workload_from_model

Shape = tuple[int, ...]


class Operator(Protocol):
    """What is priced. Two operators with one key are the same."""

    @property
    def key(self) -> str:
        """Kind and shape as text, unique among all operators."""

    def workload(self) -> Workload:
        """The operator as a graph of its own."""

    def is_helper(self, kernel: Kernel) -> bool:
        """Whether a kernel of that graph only makes the operator look as it does inside a network."""


@dataclass(frozen=True)
class Convolution:
    """A convolution over one, two or three axes, with its bias and what the runtime may fuse into it.

    Attributes:
        size: of the input's spatial axes; ``kernel``, ``stride``, ``dilation`` have a number for each of them.
        pads: at the beginning of every axis, then at the end, as ONNX has them.
        residual: another value is added to the output.
    """

    batch: int
    in_channels: int
    size: Shape
    out_channels: int
    kernel: Shape
    stride: Shape
    pads: Shape
    dilation: Shape
    groups: int = 1
    bias: bool = True
    relu: bool = False
    residual: bool = False

    @classmethod
    def square(
        cls,
        batch: int,
        in_channels: int,
        side: int,
        out_channels: int,
        kernel: int,
        stride: int,
        *,
        groups: int = 1,
        relu: bool = False,
        residual: bool = False,
    ) -> Convolution:
        """Over a square map, with "same" padding."""
        return cls(
            batch, in_channels, (side,) * 2, out_channels, (kernel,) * 2, (stride,) * 2, (kernel // 2,) * 4, (1, 1),
            groups, relu=relu, residual=residual,
        )  # fmt: skip

    @property
    def key(self) -> str:
        texts = [_text((self.batch, self.in_channels, *self.size)), str(self.out_channels), f"k{_text(self.kernel)}"]
        texts += [f"s{_text(self.stride)}", f"p{_text(self.pads)}", f"d{_text(self.dilation)}", f"g{self.groups}"]
        extras = {"bias": self.bias, "relu": self.relu, "residual": self.residual}
        return "conv " + " ".join([*texts, *(name for name, has in extras.items() if has)])

    @property
    def output(self) -> Shape:
        """Of the output's spatial axes."""
        rank = len(self.size)
        return tuple(
            (self.size[axis] + self.pads[axis] + self.pads[rank + axis] - self.dilation[axis] * (k - 1) - 1)
            // self.stride[axis]
            + 1
            for axis, k in enumerate(self.kernel)
        )

    def workload(self) -> Workload:
        """Where something is added it comes from a depthwise 1×1 convolution.

        ONNX Runtime takes an addition into a convolution when both sides have its blocked layout, as in a network; what
        comes from outside has not.
        """
        graph = GraphBuilder("operator")
        made = (self.batch, self.out_channels, *self.output)
        other = ""
        if self.residual:
            other = graph.conv(graph.input(made, "other"), self.out_channels, groups=self.out_channels)
        y = self._conv(graph, graph.input((self.batch, self.in_channels, *self.size)), made)
        y = graph.add(y, other) if self.residual else y
        y = graph.activate(y, "relu") if self.relu else y
        return workload_from_model(self.key, "operator", graph.model(y), tuple(graph.weights))

    def _conv(self, graph: GraphBuilder, x: str, made: Shape) -> str:
        inner = self.in_channels // self.groups
        fan_in = inner
        for extent in self.kernel:
            fan_in *= extent
        inputs = [x, graph.weight((self.out_channels, inner, *self.kernel), fan_in=fan_in)]
        if self.bias:
            inputs.append(graph.weight((self.out_channels,)))
        attributes = {"kernel_shape": self.kernel, "strides": self.stride, "pads": self.pads}
        # Dilation 1 is ONNX's default, and left out as the other builders do: it would make another kernel of it.
        if set(self.dilation) != {1}:
            attributes["dilations"] = self.dilation
        return graph.node(
            "Conv", inputs, made, **{name: list(values) for name, values in attributes.items()}, group=self.groups
        )

    def is_helper(self, kernel: Kernel) -> bool:
        window, groups = (kernel.attribute.get(name) for name in ("kernel_shape", "group"))
        own = set(self.kernel) == {1} and self.groups > 1
        return self.residual and not own and set(str(window).split("x")) == {"1"} and groups == str(self.out_channels)


@dataclass(frozen=True)
class Linear:
    """A fully connected layer on ``rows`` vectors."""

    rows: int
    in_features: int
    out_features: int

    @property
    def key(self) -> str:
        return f"linear {self.rows}x{self.in_features} {self.out_features}"

    def workload(self) -> Workload:
        graph = GraphBuilder("operator")
        y = graph.linear(graph.input((self.rows, self.in_features)), self.out_features)
        return workload_from_model(self.key, "operator", graph.model(y), tuple(graph.weights))

    def is_helper(self, kernel: Kernel) -> bool:
        return False


@dataclass(frozen=True)
class MapOperator:
    """Something that is done to square maps of one image and has no filters.

    Attributes:
        kind: maxpool, avgpool, global-avgpool, split, concat, add, addrelu, bn, bnrelu, relu, hswish, se or
            channelshuffle.
        channels: of each input.
        kernel, stride: of a pool.
    """

    kind: str
    side: int
    channels: Shape
    kernel: int = 1
    stride: int = 1

    @property
    def key(self) -> str:
        window = f" k{self.kernel} s{self.stride}" if self.kind in ("maxpool", "avgpool") else ""
        return f"{self.kind} {self.side} {_text(self.channels)}{window}"

    def workload(self) -> Workload:
        graph = GraphBuilder("operator")
        inputs = [graph.input((1, c, self.side, self.side), f"x{place}") for place, c in enumerate(self.channels)]
        outputs = self._build(graph, inputs)
        return workload_from_model(self.key, "operator", graph.model(*outputs), tuple(graph.weights))

    def _build(self, graph: GraphBuilder, inputs: list[str]) -> tuple[str, ...]:
        x, channels = inputs[0], self.channels[0]
        if self.kind in ("maxpool", "avgpool"):
            kind: Literal["max", "average"] = "max" if self.kind == "maxpool" else "average"
            # Windows of an even size are not padded where they occur in networks.
            make = graph.pool if self.kernel % 2 else partial(valid_pool, graph)
            return (make(x, kernel=self.kernel, stride=self.stride, kind=kind),)
        if self.kind == "split":
            return split(graph, x, [channels // 2, channels - channels // 2], 1)
        if self.kind == "concat":
            return (concat(graph, inputs, 1),)
        if self.kind in ("add", "addrelu"):
            y = graph.add(x, inputs[1])
            return (graph.activate(y, "relu" if self.kind == "addrelu" else ""),)
        if self.kind in ("bn", "bnrelu"):
            y = batch_norm(graph, x)
            return (graph.activate(y, "relu" if self.kind == "bnrelu" else ""),)
        return (self._of_one_map(graph, x, channels),)

    def _of_one_map(self, graph: GraphBuilder, x: str, channels: int) -> str:
        if self.kind == "relu":
            return graph.activate(x, "relu")
        if self.kind == "hswish":
            return graph.activate(x, "hard_swish")
        if self.kind == "se":
            return graph.squeeze_excite(x, max(1, channels // 4))
        if self.kind == "global-avgpool":
            return graph.global_average_pool(x)
        if self.kind == "channelshuffle":
            return graph.channel_shuffle(x, 2)
        raise ValueError(f"there is no operator {self.kind!r}")

    def is_helper(self, kernel: Kernel) -> bool:
        return False


@dataclass(frozen=True)
class NodeOperator:
    """One node of somebody's model, cut out. ``key`` is its signature."""

    key: str
    cut: Workload

    def workload(self) -> Workload:
        return self.cut

    def is_helper(self, kernel: Kernel) -> bool:
        return False


def _text(values: Shape) -> str:
    return "x".join(map(str, values))
