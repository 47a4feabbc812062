"""Kernels and a law for them, for benchmarks that need a million rows: nothing here was measured.

Shapes are drawn as the plan of kernels draws them, from those of mobile networks. The law has what a table of shapes is
hard to learn from: blocks of channels that are filled or not, a cache that is left, a call that costs something, and
the noise of a measurement.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecost.costmodels.kernel_work import work_of
from edgecost.profiler.kernels.graph import Kernel

Floats = npt.NDArray[np.float64]

#: Standard deviation of a measurement, relative.
NOISE = 0.02
#: Channels that are computed at once, and bytes that a cache holds.
BLOCK, CACHE_MEGABYTES = 16, 1.0
#: A depthwise operation takes so many times as long as one of a product.
DEPTHWISE_TIMES = 6.0
MAPS = (7, 10, 14, 16, 20, 28, 32, 40, 56, 64, 80, 112)


def draw_kernels(count: int, seed: int) -> list[Kernel]:
    """Convolutions (pointwise, depthwise, spatial) and products, each a graph of its own."""
    generator = np.random.default_rng(seed)
    families = generator.choice(4, count, p=(0.4, 0.3, 0.15, 0.15)).tolist()
    inputs, outputs = np.exp(generator.uniform(np.log(4), np.log(1024), (2, count))).astype(int).tolist()
    maps = generator.choice(MAPS, count).tolist()
    windows, strides = generator.choice((3, 5, 7), count).tolist(), generator.choice((1, 2), count).tolist()
    return [_kernel(*row) for row in zip(families, inputs, outputs, maps, windows, strides, strict=True)]


def _kernel(family: int, given: int, made: int, size: int, window: int, stride: int) -> Kernel:
    if family == 3:
        return Kernel("Gemm", ((1, given),), ((made, given), (made,)), ((1, made),))
    behind = -(-size // stride)
    group, of_group, window = (given, 1, window) if family == 1 else (1, given, window if family == 2 else 1)
    made = given if family == 1 else made
    notes = (("group", str(group)), ("kernel_shape", f"{window}x{window}"), ("strides", f"{stride}x{stride}"))
    weights: tuple[tuple[int, ...], ...] = ((made, of_group, window, window), (made,))
    return Kernel("nchwc.Conv", ((1, given, size, size),), weights, ((1, made, behind, behind),), notes)


def law_ms(kernels: list[Kernel]) -> Floats:
    """What each kernel takes, without noise."""
    work = [work_of(kernel) for kernel in kernels]
    flops, inputs, made, held = np.array([one.terms()[1:] for one in work]).T
    channels = np.array([kernel.weights[0][0] for kernel in kernels])
    deep = np.array([kernel.attribute.get("group", "1") != "1" for kernel in kernels])
    slow = np.where(deep, DEPTHWISE_TIMES, 1.0)
    filled = channels / (-(-channels // BLOCK) * BLOCK)
    moved = inputs + made + held
    cold = 1.0 + 1.5 / (1.0 + (CACHE_MEGABYTES / moved) ** 3)
    return 0.002 + np.hypot(slow * flops * 2e-5 / filled, moved * cold * 0.04)


def measured_ms(kernels: list[Kernel], seed: int) -> Floats:
    """The law with the noise of a measurement."""
    return law_ms(kernels) * np.exp(NOISE * np.random.default_rng(seed).standard_normal(len(kernels)))
