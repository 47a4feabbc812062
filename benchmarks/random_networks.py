"""Random networks of five unlike families, none of which a predictor has seen: what strangers bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgecost.costmodels.onboarding.cell_space import EDGES, NasBench201
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.graphs.blocks import Block, ConvBlock, GlobalPool, Linear
from edgecost.profiler.graphs.networks import ReferenceNetwork
from edgecost.profiler.graphs.sequence_blocks import EncoderLayer, PatchEmbedding, TokenHead
from edgecost.profiler.graphs.vision_blocks import BasicResidual, Bottleneck, Pool
from edgecost.profiler.workload import Workload

Random = np.random.Generator


def _pick(random: Random, *choices: int) -> int:
    return int(random.choice(choices))


def _nas_bench(random: Random, _name: str) -> Workload:
    space = NasBench201()
    convolutions = [space.op_names.index(op) for op in ("nor_conv_1x1", "nor_conv_3x3")]
    while True:
        cell = space.canonical(random.integers(0, len(space.op_names), (1, len(EDGES))))
        # A cell without a convolution between its input and its output is no network anybody would train.
        if np.isin(cell, convolutions).any():
            return space.build(cell[0])


def _resnet(random: Random, name: str) -> Workload:
    width, side = float(random.choice((0.65, 0.8, 1.0))), _pick(random, 128, 160, 192, 224)
    bottleneck = random.random() < 0.6
    blocks: list[Block] = [ConvBlock(64, 7, 2, "relu"), Pool("max", 3, 2)]
    for stage, channels in enumerate((256, 512, 1024, 2048) if bottleneck else (64, 128, 256, 512)):
        out = int(channels * width) // 8 * 8
        for layer in range(_pick(random, 1, 2, 3)):
            stride = 2 if stage and not layer else 1
            inner = max(8, int(out * float(random.choice((0.2, 0.25, 0.35)))) // 8 * 8)
            blocks.append(Bottleneck(out, inner, stride) if bottleneck else BasicResidual(out, stride))
    return _workload(name, [*blocks, GlobalPool(), Linear(1000)], side)


def _vit(random: Random, name: str) -> Workload:
    heads, patch, side = _pick(random, 2, 3, 4, 5, 6), _pick(random, 16, 16, 32), _pick(random, 160, 192, 224)
    width = 64 * heads
    layers = [
        EncoderLayer(heads, 64, int(width * float(random.choice((3.0, 3.5, 4.0)))), "gelu", "pre")
        for _ in range(_pick(random, *range(4, 13)))
    ]
    return _workload(name, [PatchEmbedding(width, patch), *layers, TokenHead(1000)], side)


def _workload(name: str, blocks: list[Block], side: int) -> Workload:
    labelled = tuple((f"{place}", block) for place, block in enumerate(blocks))
    return ReferenceNetwork(name, labelled, (1, 3, side, side)).workload()


def _of_space(space_name: str, *resolutions: int) -> Callable[[Random, str], Workload]:
    def make(random: Random, name: str) -> Workload:
        space = load_space(space_name, resolution=_pick(random, *resolutions))
        return space.build(space.sample(1, int(random.integers(1 << 30)))[0])

    return make


FAMILIES: Mapping[str, Callable[[Random, str], Workload]] = {
    "Once-for-All": _of_space("ofa-mobilenetv3", 160, 192, 224),
    "FBNet": _of_space("fbnet", 224),
    "NAS-Bench-201": _nas_bench,
    "ResNet": _resnet,
    "ViT": _vit,
}


def random_networks(count: int, seed: int) -> dict[str, list[Workload]]:
    """``count`` distinct networks of every family."""
    found = {}
    for place, (family, make) in enumerate(FAMILIES.items()):
        random, made = np.random.default_rng([seed, place]), dict[str, Workload]()
        while len(made) < count:
            one = make(random, f"{family}-{len(made)}")
            made.setdefault(one.graph_hash, one)
        found[family] = list(made.values())
    return found
