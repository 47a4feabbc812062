"""What the benchmarks measure: kernels cut out of networks, single operators and small blocks, whole networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from edgecost.profiler.graphs.networks import ReferenceNetwork, mobilenet_v2, resnet18, vit
from edgecost.profiler.graphs.operators import GraphBuilder, Shape
from edgecost.profiler.graphs.sequence_blocks import SelfAttention
from edgecost.profiler.graphs.sequence_operators import dense, layer_norm, rms_norm
from edgecost.profiler.graphs.tensor_operators import gelu, matmul, reduce_mean, softmax, swish, transpose
from edgecost.profiler.graphs.vision_blocks import BasicResidual
from edgecost.profiler.graphs.vision_operators import conv, resize, transposed_conv
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.workload import Workload, workload_from_model

Item = TypeVar("Item")
#: Kernels that only rename a shape: no work, and on their own nothing but overhead.
WITHOUT_WORK = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")


def as_cut(profile: RuntimeProfile) -> RuntimeProfile:
    """The profile to measure cut-out kernels with: they are optimised already."""
    return replace(profile, graph_level="ORT_DISABLE_ALL")


def kernel_set(profile: RuntimeProfile, limit: int | None = None) -> list[Workload]:
    """The distinct kernels of MobileNetV2, ResNet-18 and two stacks of ViT layers; ``limit`` of them, evenly spread."""
    networks: Sequence[ReferenceNetwork] = (
        mobilenet_v2(), resnet18(), vit(2, 192, 3, name="vit_tiny_2"), vit(1, 384, 6, name="vit_small_1")
    )  # fmt: skip
    found: dict[str, Workload] = {}
    for network in networks:
        for kernel, alone in kernel_workloads(network.workload(), profile):
            if alone is not None and kernel.op not in WITHOUT_WORK:
                found.setdefault(alone.graph_hash, replace(alone, name=f"{network.name}: {alone.name}"))
    return thinned(list(found.values()), limit)


def thinned(items: list[Item], limit: int | None) -> list[Item]:
    """At most ``limit`` items, evenly spread over the list."""
    if limit is None or limit >= len(items):
        return items
    return [items[place * len(items) // limit] for place in range(limit)]


def operator_set(limit: int | None = None) -> list[Workload]:
    """Thirty operators and small blocks as ONNX writes them, before any runtime has fused or laid out anything."""
    made = []
    for name, shape, build in _OPERATORS:
        graph = GraphBuilder(name)
        output = build(graph, graph.input(shape))
        made.append(workload_from_model(name, "operator", graph.model(output), tuple(graph.weights)))
    return thinned(made, limit)


def _with_own_transpose(graph: GraphBuilder, x: str) -> str:
    return matmul(graph, x, transpose(graph, x, (0, 1, 3, 2)))


Build = Callable[[GraphBuilder, str], str]

_OPERATORS: tuple[tuple[str, Shape, Build], ...] = (
    ("conv 3x3/2 3→32 224", (1, 3, 224, 224), lambda g, x: g.conv(x, 32, kernel=3, stride=2, activation="relu")),
    ("conv 3x3 64→64 56", (1, 64, 56, 56), lambda g, x: g.conv(x, 64, kernel=3, activation="relu")),
    ("conv 3x3 128→128 28", (1, 128, 28, 28), lambda g, x: g.conv(x, 128, kernel=3, activation="relu")),
    ("conv 3x3 512→512 7", (1, 512, 7, 7), lambda g, x: g.conv(x, 512, kernel=3, activation="relu")),
    ("conv 5x5 32→32 28", (1, 32, 28, 28), lambda g, x: g.conv(x, 32, kernel=5)),
    ("conv 1x1 32→16 112", (1, 32, 112, 112), lambda g, x: g.conv(x, 16)),
    ("conv 1x1 96→24 56", (1, 96, 56, 56), lambda g, x: g.conv(x, 24)),
    ("conv 1x1 64→384 14", (1, 64, 14, 14), lambda g, x: g.conv(x, 384, activation="relu6")),
    ("conv 1x1 160→960 7", (1, 160, 7, 7), lambda g, x: g.conv(x, 960, activation="hard_swish")),
    ("conv 3x3 dilated 64→64 28", (1, 64, 28, 28), lambda g, x: conv(g, x, 64, kernel=3, dilation=2)),
    ("conv 3x3 in 4 groups 64→64 28", (1, 64, 28, 28), lambda g, x: conv(g, x, 64, kernel=3, groups=4)),
    ("depthwise 3x3 32 112", (1, 32, 112, 112), lambda g, x: g.depthwise(x, kernel=3, activation="relu6")),
    ("depthwise 3x3/2 96 112", (1, 96, 112, 112), lambda g, x: g.depthwise(x, kernel=3, stride=2)),
    ("depthwise 5x5 120 28", (1, 120, 28, 28), lambda g, x: g.depthwise(x, kernel=5, activation="hard_swish")),
    ("transposed conv 4x4/2 64→32 28", (1, 64, 28, 28), lambda g, x: transposed_conv(g, x, 32, kernel=4, stride=2)),
    ("max pool 3x3/2 64 112", (1, 64, 112, 112), lambda g, x: g.pool(x, kernel=3, stride=2, kind="max")),
    ("global average pool 1280 7", (1, 1280, 7, 7), lambda g, x: g.global_average_pool(x)),
    ("bilinear resize 64 28→56", (1, 64, 28, 28), lambda g, x: resize(g, x, (56, 56), "linear")),
    ("squeeze-and-excitation 120 28", (1, 120, 28, 28), lambda g, x: g.squeeze_excite(x, 32)),
    ("swish 96x56x56", (1, 96, 56, 56), swish),
    ("linear 1280→1000", (1, 1280), lambda g, x: g.linear(x, 1000)),
    ("dense 197x192→768", (1, 197, 192), lambda g, x: dense(g, x, 768)),
    ("product of 3x197x64 with its transpose", (1, 3, 197, 64), _with_own_transpose),
    ("softmax 3x197x197", (1, 3, 197, 197), softmax),
    ("layer normalisation 197x192", (1, 197, 192), layer_norm),
    ("root-mean-square normalisation 128x512", (1, 128, 512), rms_norm),
    ("gelu 197x768", (1, 197, 768), gelu),
    ("mean over tokens 197x768", (1, 197, 768), lambda g, x: reduce_mean(g, x, [1])),
    ("residual block 64 56", (1, 64, 56, 56), lambda g, x: BasicResidual(64).build(g, x)),
    ("attention 3 heads 197x192", (1, 197, 192), lambda g, x: SelfAttention(3, 64).build(g, x)),
)  # fmt: skip
