"""Reference networks, layer by layer from their papers' tables, as wholes and as the same blocks built alone.

They serve to set the sum of the parts beside the whole. Batch 1; weights are described, not held, so that BERT-base is
a few kilobytes until a runner loads it. Parameter counts agree with the published ones within 1 % (``tests``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..errors import UsageError
from ..workload import Workload, workload_from_model
from .blocks import Block, ConvBlock, GlobalPool, InvertedResidual, Linear
from .operators import Activation, GraphBuilder, Shape
from .sequence_blocks import EncoderLayer, PatchEmbedding, TokenEmbedding, TokenHead
from .vision_blocks import BasicResidual, Bottleneck, Convolution, MobileBottleneck, Pool

#: Classes of ImageNet-1k.
CLASSES = 1000
#: Word pieces of BERT's English vocabulary, lower case.
BERT_VOCABULARY = 30522


Blocks = tuple[tuple[str, Block], ...]


@dataclass(frozen=True)
class ReferenceNetwork:
    """A network as a chain of labelled blocks.

    Attributes:
        blocks: (label, block), in order; labels are unique.
        input_shape: of the only input that feeds the first block, NCHW or (N, tokens).
        input_dtype: ``float32``, or ``int64`` for token ids.
    """

    name: str
    blocks: Blocks
    input_shape: Shape
    input_dtype: str = "float32"

    def workload(self) -> Workload:
        """The whole network."""
        graph, values = self._build()
        return workload_from_model(self.name, "network", graph.model(values[-1]), tuple(graph.weights))

    def part_workloads(self) -> tuple[tuple[str, Workload], ...]:
        """Every block alone, (label, workload), with the input that it has within the network."""
        whole, values = self._build()
        parts = []
        for (label, block), source in zip(self.blocks, values, strict=False):  # the last value is the output
            graph = GraphBuilder(f"{self.name}/{label}")
            y = block.build(graph, graph.input(whole.shapes[source], dtype=whole.dtype(source)))
            parts.append((label, workload_from_model(graph.name, "block", graph.model(y), tuple(graph.weights))))
        return tuple(parts)

    def _build(self) -> tuple[GraphBuilder, list[str]]:
        graph = GraphBuilder(self.name)
        values = [graph.input(self.input_shape, dtype=self.input_dtype)]
        for _, block in self.blocks:
            values.append(block.build(graph, values[-1]))
        return graph, values


def mobilenet_v2(resolution: int = 224) -> ReferenceNetwork:
    """MobileNetV2 1.0 (Sandler et al., CVPR 2018, table 2): 3.50 M parameters."""
    layers: list[Block] = [ConvBlock(32, 3, 2, "relu6")]
    channels = 32
    for expand, out, repeats, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for stride in _strides(first, repeats):
            layers.append(InvertedResidual(out, expand * channels, 3, stride, "relu6", expands=expand > 1))
            channels = out
    layers.append(ConvBlock(1280, activation="relu6"))
    return _image_network("mobilenet_v2", layers, resolution)


def mobilenet_v3_large(resolution: int = 224) -> ReferenceNetwork:
    """MobileNetV3-Large 1.0 (Howard et al., ICCV 2019, table 1): 5.4 M parameters in the paper, 5.48 M as built."""
    layers: list[Block] = [ConvBlock(16, 3, 2, "hard_swish")]
    rows: tuple[tuple[int, int, int, bool, Activation, int], ...] = (
        (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hard_swish", 2), (3, 200, 80, False, "hard_swish", 1),
        (3, 184, 80, False, "hard_swish", 1), (3, 184, 80, False, "hard_swish", 1),
        (3, 480, 112, True, "hard_swish", 1), (3, 672, 112, True, "hard_swish", 1),
        (5, 672, 160, True, "hard_swish", 2), (5, 960, 160, True, "hard_swish", 1),
        (5, 960, 160, True, "hard_swish", 1),
    )  # fmt: skip
    channels = 16
    for kernel, mid, out, squeezed, activation, stride in rows:
        squeeze = _divisible(mid / 4) if squeezed else 0
        layers.append(InvertedResidual(out, mid, kernel, stride, activation, expands=mid != channels, squeeze=squeeze))
        channels = out
    layers.append(ConvBlock(960, activation="hard_swish"))
    return _image_network("mobilenet_v3_large", layers, resolution, ConvBlock(1280, activation="hard_swish"))


def resnet18(resolution: int = 224) -> ReferenceNetwork:
    """ResNet-18 (He et al., CVPR 2016, table 1): 11.7 M parameters."""
    blocks = [BasicResidual(out, s) for out, first in _RESNET_STAGES for s in _strides(first, 2)]
    return _image_network("resnet18", [*_resnet_stem(), *blocks], resolution)


def resnet50(resolution: int = 224) -> ReferenceNetwork:
    """ResNet-50 (He et al., CVPR 2016, table 1), strided in the 3×3 as everybody builds it: 25.6 M parameters."""
    stages = zip(_RESNET_STAGES, (3, 4, 6, 3), strict=True)
    blocks = [Bottleneck(4 * mid, mid, s) for (mid, first), repeats in stages for s in _strides(first, repeats)]
    return _image_network("resnet50", [*_resnet_stem(), *blocks], resolution)


#: (channels, first stride) of ResNet's four stages.
_RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def _resnet_stem() -> list[Block]:
    return [ConvBlock(64, 7, 2, "relu"), Pool("max", 3, 2)]


def efficientnet_b0(resolution: int = 224) -> ReferenceNetwork:
    """EfficientNet-B0 (Tan and Le, ICML 2019, table 1): 5.3 M parameters. Squeezes to a quarter of a block's input."""
    layers: list[Block] = [Convolution(32, 3, 2, "swish")]
    channels = 32
    for expand, kernel, out, repeats, first in (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ):  # fmt: skip
        for stride in _strides(first, repeats):
            layers.append(MobileBottleneck(out, expand * channels, kernel, stride, channels // 4, expands=expand > 1))
            channels = out
    layers.append(Convolution(1280, activation="swish"))
    return _image_network("efficientnet_b0", layers, resolution)


def vit(
    layers: int = 12, hidden: int = 192, heads: int = 3, *, patch: int = 16, resolution: int = 224, name: str = ""
) -> ReferenceNetwork:
    """Vision transformer (Dosovitskiy et al., ICLR 2021, figure 1); the defaults are DeiT's ViT-Ti/16."""
    encoder = EncoderLayer(heads, hidden // heads, 4 * hidden, norm="pre")
    blocks: Blocks = (
        ("patches", PatchEmbedding(hidden, patch)),
        *((f"layer{place}", encoder) for place in range(1, layers + 1)),
        ("head", TokenHead(CLASSES)),
    )
    return ReferenceNetwork(name or f"vit_{layers}x{hidden}_p{patch}", blocks, (1, 3, resolution, resolution))


def bert(
    layers: int = 12, hidden: int = 768, heads: int = 12, *, length: int = 128, name: str = ""
) -> ReferenceNetwork:
    """BERT with its pooler (Devlin et al., NAACL 2019, §3); the defaults are BERT-base. Small ones: Turc et al., 2019.

    Every token is seen: the mask of padded tokens, one addition a layer, is left out.
    """
    encoder = EncoderLayer(heads, hidden // heads, 4 * hidden)
    blocks: Blocks = (
        ("embedding", TokenEmbedding(BERT_VOCABULARY, 512, hidden, segments=2)),
        *((f"layer{place}", encoder) for place in range(1, layers + 1)),
        ("pooler", TokenHead(hidden, "pool")),
    )
    return ReferenceNetwork(name or f"bert_{layers}x{hidden}_l{length}", blocks, (1, length), "int64")


_NETWORKS: Mapping[str, Callable[[], ReferenceNetwork]] = {
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "efficientnet_b0": efficientnet_b0,
    "vit_tiny": partial(vit, 12, 192, 3, name="vit_tiny"),
    "vit_small": partial(vit, 12, 384, 6, name="vit_small"),
    "bert_tiny": partial(bert, 2, 128, 2, name="bert_tiny"),
    "bert_small": partial(bert, 4, 512, 8, name="bert_small"),
    "bert_base": partial(bert, 12, 768, 12, name="bert_base"),
}


def reference_network(name: str) -> ReferenceNetwork:
    """A reference network by name, at its standard size.

    Raises:
        UsageError: there is no network of that name.
    """
    if name not in _NETWORKS:
        raise UsageError(f"there is no reference network {name!r}", remedy=f"choose from {', '.join(_NETWORKS)}")
    return _NETWORKS[name]()


def _whole(name: str) -> Workload:
    return reference_network(name).workload()


#: Whole networks by name; ``reference_network`` gives their parts as well.
REFERENCE_NETWORKS: Mapping[str, Callable[[], Workload]] = {name: partial(_whole, name) for name in _NETWORKS}


def _image_network(name: str, layers: list[Block], resolution: int, *tail: Block) -> ReferenceNetwork:
    """Stem, blocks and global pool with their labels, then what stands before the classifier, and the classifier."""
    labels = ["stem", *(f"block{place}" for place in range(1, len(layers))), "pool"]
    labels += [f"tail{place}" for place in range(1, len(tail) + 1)] + ["classifier"]
    chain = [*layers, GlobalPool(), *tail, Linear(CLASSES)]
    return ReferenceNetwork(name, tuple(zip(labels, chain, strict=True)), (1, 3, resolution, resolution))


def _strides(first: int, repeats: int) -> tuple[int, ...]:
    return (first, *[1] * (repeats - 1))


def _divisible(channels: float) -> int:
    """The nearest multiple of 8 that is not more than 10 % below (MobileNet's published code)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
