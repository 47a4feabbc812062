"""DenseNAS's list, read as its search reads it: the cost of a network is a walk from its end to its beginning."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path

import pytest

from edgecost.costmodels.op_formats import OpFormat, op_format
from edgecost.costmodels.op_formats.contract import ChecksumPrices, OpFormatContract
from edgecost.costmodels.op_formats.request import Grid, Request

CHANNELS = [16, 24, 32, 40, 48, 56, 64, 72, 96, 112, 128, 160, 176, 192, 320, 352, 384]
SIDES = [112, 56, 28, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7, 7, 7]
#: Block → blocks that may read it, written down from the description; 17 is the last convolution.
TARGETS = {0: [1], 1: [2, 3, 4], 2: [3, 4, 5, 6], 3: [4, 5, 6, 7], 4: [5, 6, 7], 5: [6, 7, 8, 9], 6: [7, 8, 9, 10],
           7: [8, 9, 10], 8: [9, 10, 11, 12], 9: [10, 11, 12, 13], 10: [11, 12, 13], 11: [12, 13, 14, 15],
           12: [13, 14, 15, 16], 13: [14, 15, 16], 14: [15, 16, 17], 15: [16, 17], 16: [17]}  # fmt: skip
OPERATIONS = [(3, 3), (3, 6), (5, 3), (5, 6), (7, 3), (7, 6)]


class TestDenseNas(OpFormatContract):
    lost = "inverted_residual"

    def make_format(self) -> OpFormat:
        return op_format("densenas")


def checksum(key: str) -> float:
    class Named:
        def __init__(self) -> None:
            self.key = key

    return ChecksumPrices().latency_ms(Named())  # type: ignore[arg-type]  # only the key is looked at


def block_key(source: int, channels: int, side: int, kernel: int, expand: int, *, layer: bool) -> str:
    before, high = (channels, side) if layer else (CHANNELS[source], SIDES[source])
    adds = "-add" if before == channels and high == side else ""
    sizes = f"{high}x{high}x{before}-{side}x{side}x{channels}"
    return f"cell 1 inverted_residual-{sizes}-k{kernel}-s{high // side}-m{before * expand}{adds}-relu6"


@pytest.mark.parametrize("seed", range(50))
def test_a_path_through_the_super_network_costs_the_exact_sum(tmp_path: Path, seed: int) -> None:
    file = op_format("densenas").write(Request(ChecksumPrices()), tmp_path)[0]
    stem, blocks, last, classifier = ast.literal_eval(file.read_text().splitlines()[0])
    dice, block, path = random.Random(seed), 0, [0]
    total, expected = stem, checksum("cell 1 conv-224x224x3-112x112x16-k3-s2-relu6")
    expected += checksum("cell 1 inverted_residual-112x112x16-112x112x16-k3-s1-m16-noexpand-add-relu6")
    while (chosen := dice.choice(TARGETS[block])) != 17:
        sources = sorted((source for source, targets in TARGETS.items() if chosen in targets), reverse=True)
        heads, layers = blocks[chosen - 1]
        assert len(heads) == len(sources)
        kernel, expand = OPERATIONS[operation := dice.randrange(6)]
        total += heads[sources.index(block)][operation]
        expected += checksum(block_key(block, CHANNELS[chosen], SIDES[chosen], kernel, expand, layer=False))
        for layer in layers:
            operation = dice.randrange(7)
            total += layer[operation]
            if operation < 6:
                kernel, expand = OPERATIONS[operation]
                expected += checksum(block_key(chosen, CHANNELS[chosen], SIDES[chosen], kernel, expand, layer=True))
        path.append(block := chosen)
    sources = [16, 15, 14]
    total += last[sources.index(block)] + classifier
    expected += checksum(f"cell 1 conv-7x7x{CHANNELS[block]}-7x7x1984-k1-s1-relu6") + checksum("cell 1 dense-1984-100")
    assert total == expected


def test_the_list_has_the_shape_of_the_published_one(tmp_path: Path) -> None:
    request = Request(ChecksumPrices(), grid=Grid(batches=(32,)))
    file, side = op_format("densenas").write(request, tmp_path)
    assert len(file.read_text().splitlines()) == 1
    _, blocks, last, _ = ast.literal_eval(file.read_text())
    assert len(blocks) == 16
    assert [len(heads) for heads, _ in blocks] == [1, 1, 2, 3, 3, 4, 4, 3, 4, 4, 3, 4, 4, 3, 4, 4]
    assert {len(head) for heads, _ in blocks for head in heads} == {6}
    assert [len(layers) for _, layers in blocks] == [3] * 13 + [0] * 3
    assert {(len(layer), layer[6]) for _, layers in blocks for layer in layers} == {(7, 0.0)}
    assert len(last) == 3
    assert json.loads(side.read_text())["batch"] == 32
