"""Build convolutions over one or two axes, resizing, normalisation and channel gates beyond ``GraphBuilder``'s own.

Activations are channel first: (N, C, L) or (N, C, H, W). Every function returns the name of the new value.

Not in opset 17, and so not here: GroupNormalization (opset 18; written as exporters do, over InstanceNormalization),
antialiased Resize (opset 18), deformable convolution (opset 19).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from .operators import GraphBuilder, Shape
from .tensor_operators import AnyActivation, activate, binary, reduce_mean, reshape

#: The variance that normalisations add before they divide: PyTorch's default, which exporters copy.
EPSILON = 1e-5


def conv(
    graph: GraphBuilder,
    x: str,
    channels: int,
    *,
    kernel: int | Sequence[int],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: int | None = None,
    bias: bool = True,
    activation: AnyActivation = "",
) -> str:
    """Convolution over (N, C, L) or (N, C, H, W); ``kernel`` is one size, or one per axis.

    ``padding`` counts zeros at both ends of every axis; without it "same" padding, ``dilation * (kernel // 2)``.
    """
    n, c, *extent = graph.shapes[x]
    sizes = [kernel] * len(extent) if isinstance(kernel, int) else list(kernel)
    pads = [dilation * (size // 2) if padding is None else padding for size in sizes]
    out = [
        (length + 2 * p - dilation * (k - 1) - 1) // stride + 1
        for length, p, k in zip(extent, pads, sizes, strict=True)
    ]
    inputs = [x, graph.weight((channels, c // groups, *sizes), fan_in=c // groups * math.prod(sizes))]
    if bias:
        inputs.append(graph.weight((channels,)))
    y = graph.node(
        "Conv",
        inputs,
        (n, channels, *out),
        kernel_shape=sizes,
        strides=[stride] * len(extent),
        dilations=[dilation] * len(extent),
        pads=pads * 2,
        group=groups,
    )
    return activate(graph, y, activation)


def transposed_conv(
    graph: GraphBuilder, x: str, channels: int, *, kernel: int, stride: int, padding: int = 0, output_padding: int = 0
) -> str:
    """Transposed convolution with bias: upsampling by ``stride`` (Dumoulin and Visin, 2016, §4)."""
    n, c, *extent = graph.shapes[x]
    out = [(length - 1) * stride - 2 * padding + kernel + output_padding for length in extent]
    rank = len(extent)
    weight = graph.weight((c, channels, *[kernel] * rank), fan_in=max(2, c * kernel**rank // stride**rank))
    return graph.node(
        "ConvTranspose",
        [x, weight, graph.weight((channels,))],
        (n, channels, *out),
        kernel_shape=[kernel] * rank,
        strides=[stride] * rank,
        pads=[padding] * 2 * rank,
        output_padding=[output_padding] * rank,
    )


def resize(graph: GraphBuilder, x: str, size: Shape, mode: Literal["nearest", "linear"]) -> str:
    """Resize the spatial axes to ``size``, with the coordinates of PyTorch's ``interpolate(align_corners=False)``."""
    target = (*graph.shapes[x][:2], *size)
    coordinates = "asymmetric" if mode == "nearest" else "half_pixel"
    # The region of interest and the scales are left out: sizes decide.
    inputs = [x, "", "", graph.integers(*target)]
    return graph.node(
        "Resize", inputs, target, mode=mode, coordinate_transformation_mode=coordinates, nearest_mode="floor"
    )


def valid_pool(
    graph: GraphBuilder, x: str, *, kernel: int, stride: int, kind: Literal["max", "average"], ceil: bool = False
) -> str:
    """Pooling without padding over one or two axes; ``ceil`` lets a last, incomplete window count."""
    n, c, *extent = graph.shapes[x]
    out = [(length - kernel + (stride - 1 if ceil else 0)) // stride + 1 for length in extent]
    op, rank = ("MaxPool" if kind == "max" else "AveragePool"), len(extent)
    return graph.node(
        op,
        [x],
        (n, c, *out),
        kernel_shape=[kernel] * rank,
        strides=[stride] * rank,
        pads=[0] * 2 * rank,
        ceil_mode=int(ceil),
    )


def batch_norm(graph: GraphBuilder, x: str) -> str:
    """Batch normalisation that no convolution before it can take up: after an addition, a ReLU or a pool."""
    channels = graph.shapes[x][1]
    moving = [graph.weight((channels,)), graph.constant(np.ones(channels, np.float32))]  # a variance is not negative
    scale = graph.weight((channels,), spread=1.0)
    return graph.node(
        "BatchNormalization", [x, scale, graph.weight((channels,)), *moving], graph.shapes[x], epsilon=EPSILON
    )


def instance_norm(graph: GraphBuilder, x: str) -> str:
    """Instance normalisation (Ulyanov et al., 2016): each channel of each image by its own mean and variance."""
    channels = graph.shapes[x][1]
    scale = graph.weight((channels,), spread=1.0)
    return graph.node("InstanceNormalization", [x, scale, graph.weight((channels,))], graph.shapes[x], epsilon=EPSILON)


def group_norm(graph: GraphBuilder, x: str, groups: int) -> str:
    """Group normalisation (Wu and He, ECCV 2018, eq. 7), over InstanceNormalization as PyTorch exports it."""
    shape = graph.shapes[x]
    channels, rank = shape[1], len(shape)
    y = reshape(graph, x, (shape[0], groups, math.prod(shape[1:]) // groups))
    ones, zeros = (graph.constant(np.full(groups, value, np.float32)) for value in (1.0, 0.0))
    y = graph.node("InstanceNormalization", [y, ones, zeros], graph.shapes[y], epsilon=EPSILON)
    y = reshape(graph, y, shape)
    y = binary(graph, "Mul", y, graph.weight((channels, *[1] * (rank - 2)), spread=1.0))
    return binary(graph, "Add", y, graph.weight((channels, *[1] * (rank - 2))))


def channel_gate(
    graph: GraphBuilder, x: str, squeezed: int, *, inner: AnyActivation = "swish", gate: AnyActivation = "sigmoid"
) -> str:
    """Squeeze-and-excitation over (N, C, L) or (N, C, H, W) with its two activations stated.

    EfficientNet takes swish and sigmoid, ECAPA-TDNN relu and sigmoid. ``squeezed`` 0 is VoVNetV2's effective SE: one
    1×1 convolution and a hard sigmoid, no bottleneck (Lee and Park, CVPR 2020, §3.2); give ``gate`` "hard_sigmoid".
    """
    y = reduce_mean(graph, x, [-1]) if len(graph.shapes[x]) == 3 else graph.global_average_pool(x)
    if squeezed:
        y = conv(graph, y, squeezed, kernel=1, activation=inner)
    y = conv(graph, y, graph.shapes[x][1], kernel=1, activation=gate)
    return binary(graph, "Mul", x, y)


def efficient_channel_gate(graph: GraphBuilder, x: str, kernel: int = 3) -> str:
    """ECA (Wang et al., CVPR 2020, §3.2) over (N, C, H, W): a 1-D convolution across the channel means."""
    n, c, _, _ = graph.shapes[x]
    y = reshape(graph, graph.global_average_pool(x), (n, 1, c))
    y = conv(graph, y, 1, kernel=kernel, bias=False, activation="sigmoid")
    return binary(graph, "Mul", x, reshape(graph, y, (n, c, 1, 1)))
