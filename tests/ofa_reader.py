"""The smallest independent reader of Once-for-All's latency table, written from the grammar of its keys alone.

It shares nothing with edgecost: neither the space file nor the exporter. Only the MobileNetV3 variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

#: Channels at width 1.0 and 1.2: stem, first block, five stages, final expansion, feature mix.
CHANNELS = {
    1.0: (16, 16, 24, 40, 80, 112, 160, 960, 1280),
    1.2: (24, 24, 32, 48, 96, 136, 192, 1152, 1536),
}
STRIDES = (2, 2, 2, 1, 2)
SQUEEZES = (0, 1, 0, 1, 1)
SWISHES = (0, 0, 1, 1, 1)
KERNELS, EXPANSIONS, MOST = (3, 5, 7), (3, 4, 6), 4


def block_key(
    before: int, after: int, cin: int, cout: int, mid: int, kernel: int, stride: int, se: int, hs: int
) -> str:
    """Key of an inverted residual; ``before`` and ``after`` are sides of the square maps."""
    skip = int(stride == 1 and cin == cout)
    return (
        f"expanded_conv-input:{before}x{before}x{cin}-output:{after}x{after}x{cout}"
        f"-expand:{mid}-kernel:{kernel}-stride:{stride}-idskip:{skip}-se:{se}-hs:{hs}"
    )


def network_keys(
    ks: Sequence[int], e: Sequence[int], d: Sequence[int], resolution: int = 224, width: float = 1.0
) -> list[str]:
    """The rows that make up one network, in order."""
    stem, first, *stages, wide, mix = CHANNELS[width]
    side = (resolution + 1) // 2
    keys = [f"Conv-input:{resolution}x{resolution}x3-output:{side}x{side}x{stem}"]
    keys.append(block_key(side, side, stem, first, stem, 3, 1, 0, 0))
    cin = first
    for stage, cout in enumerate(stages):
        for place in range(d[stage]):
            stride = STRIDES[stage] if place == 0 else 1
            after = (side - 1) // stride + 1
            i = stage * MOST + place
            mid = cin * e[i]
            keys.append(block_key(side, after, cin, cout, mid, ks[i], stride, SQUEEZES[stage], SWISHES[stage]))
            cin, side = cout, after
    keys.append(f"Conv_1-input:{side}x{side}x{cin}-output:{side}x{side}x{wide}")
    keys.append(f"AvgPool2D-input:{side}x{side}x{wide}-output:1x1x{wide}")
    keys.append(f"Conv_2-input:1x1x{wide}-output:1x1x{mix}")
    keys.append(f"Logits-input:1x1x{mix}-output:1000")
    return keys


def space_keys(resolution: int = 224, width: float = 1.0) -> set[str]:
    """Every row that some network of the space needs."""
    places = len(STRIDES) * MOST
    return {
        key
        for kernel in KERNELS
        for expansion in EXPANSIONS
        for key in network_keys([kernel] * places, [expansion] * places, [MOST] * len(STRIDES), resolution, width)
    }


class OfaTable:
    """A table file, read with PyYAML's safe loader."""

    def __init__(self, path: Path) -> None:
        with open(path, encoding="utf-8") as file:
            self.rows: dict[str, dict[str, Any]] = yaml.safe_load(file)

    def total_ms(self, arch: Mapping[str, Sequence[float]], width: float = 1.0) -> float:
        """Sum of a network's rows; a missing row is a KeyError."""
        ks, e, d = ([int(value) for value in arch[name]] for name in ("ks", "e", "d"))
        total = 0.0
        for key in network_keys(ks, e, d, int(arch["r"][0]), width):
            mean = self.rows[key]["mean"]
            if not isinstance(mean, float):
                raise TypeError(f"{key}: mean {mean!r} is a {type(mean).__name__}")
            total += mean
        return total
