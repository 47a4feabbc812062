"""Kernels → numbers: the work terms of the roofline and the features of the trees, from the kernel's signature.

Its kind and its work come from ``kernel_work``, how its loops run from ``kernel_loops``. The one thing known here of a
device is the size of its core's cache; nothing knows a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..profiler.kernels.graph import Kernel
from ..profiler.kernels.views import of_one_element
from .composition import CORE_CACHE_BYTES
from .kernel_loops import Loops, loops_of
from .kernel_work import Work, filter_of, work_of

Floats = npt.NDArray[np.float64]

ACTIVATIONS = {"": 0, "Relu": 1, "Clip": 2, "HardSigmoid": 3, "HardSwish": 4, "Sigmoid": 5}
#: A kernel's data leave the cache between so many times its size and so many: what is read through in turn loses its
#: hits gradually. On a core with 2 MiB reorders slow down from 1.6 MB on, and by 5 MB they are as slow as they get.
LEAVES_FROM, LEFT_BY = 0.75, 2.5

#: Work terms of the roofline, in this order (``Work``, ``Loops``).
WORK = (
    "calls",
    "mega_flops",
    "input_megabytes",
    "output_megabytes",
    "weight_megabytes",
    "thousand_loops",
    "thousand_tiles",
    "full_mega_steps",
    "short_mega_steps",
    "single_mega_steps",
    "reloaded_megabytes",
    "split_megabytes",
    "simple_mega_activations",
    "costly_mega_activations",
    "beyond_core_megabytes",
)
#: Columns of the feature matrix, in this order. Logarithms are natural, of 1 + x; ``power`` is of two, up to 16.
FEATURES = (
    "log_flops",
    "log_input_bytes",
    "log_output_bytes",
    "log_weight_bytes",
    "log_intensity",
    "input_channels",
    "output_channels",
    "input_width",
    "output_width",
    "kernel_size",
    "stride",
    "groups",
    "activation",
    "operands",
    "channel_remainder_8",
    "channel_remainder_16",
    "log_all_bytes",
    "weight_share",
    "log_loops",
    "log_inner",
    "log_tiles",
    "full_share",
    "single_share",
    "log_smallest_input",
    "output_power",
    "input_power",
    "width_power",
    "turned",
    "log_depth",
    "log_pixels",
    "set_remainder",
    "log_window",
)


def work_matrix(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """Shape (kernels, len(WORK)), float64.

    Args:
        core_cache_bytes: second-level cache of the device; None for ``CORE_CACHE_BYTES``.
    """
    cache = core_cache_bytes or CORE_CACHE_BYTES
    rows = _each_once(kernels, lambda kernel: _terms(work_of(kernel), loops_of(kernel), cache))
    return np.array(rows, dtype=np.float64).reshape(len(kernels), len(WORK))


def feature_matrix(kernels: Sequence[Kernel]) -> Floats:
    """Shape (kernels, len(FEATURES)), float64."""
    return np.array(_each_once(kernels, _row), dtype=np.float64).reshape(len(kernels), len(FEATURES))


def _each_once(kernels: Sequence[Kernel], row: Callable[[Kernel], list[float]]) -> list[list[float]]:
    """A row for each, and one for all views; networks repeat their kernels, and short ones are measured as copies."""
    known: dict[Kernel, list[float]] = {}
    return [
        known[kernel] if kernel in known else known.setdefault(kernel, row(of_one_element(kernel)))
        for kernel in kernels
    ]


def _terms(work: Work, loops: Loops, cache: int) -> list[float]:
    moved = _moved_megabytes(work)
    left = (moved * 1e6 / cache - LEAVES_FROM) / (LEFT_BY - LEAVES_FROM)
    return [
        *work.terms(),
        loops.loops,
        loops.tiles,
        loops.full_steps,
        loops.short_steps,
        loops.single_steps,
        loops.reloaded_megabytes,
        loops.split_megabytes,
        loops.simple_activations,
        loops.costly_activations,
        moved * min(1.0, max(0.0, left)),
    ]


def _row(kernel: Kernel) -> list[float]:
    work = work_of(kernel)
    source, target = _nchw(kernel.inputs[0] if kernel.inputs else ()), _nchw(kernel.outputs[0])
    window, loops = filter_of(kernel), loops_of(kernel)
    moved = _moved_megabytes(work)
    steps = loops.full_steps + loops.short_steps + loops.single_steps
    return [
        math.log1p(work.mega_flops * 1e6),
        math.log1p(work.input_megabytes * 1e6),
        math.log1p(work.output_megabytes * 1e6),
        math.log1p(work.weight_megabytes * 1e6),
        math.log1p(work.mega_flops / moved) if moved else 0.0,
        source[1],
        target[1],
        source[3],
        target[3],
        window[-1] if window else 0,
        source[3] / target[3] if target[3] else 0.0,
        float(kernel.attribute.get("group", "1")),
        ACTIVATIONS.get(kernel.attribute.get("activation", ""), 6),
        len(kernel.inputs) + len(kernel.weights),
        target[1] % 8,
        target[1] % 16,
        math.log1p(moved * 1e6),
        work.weight_megabytes / moved if moved else 0.0,
        math.log1p(loops.loops * 1e3),
        math.log1p(loops.inner),
        math.log1p(loops.tiles * 1e3),
        loops.full_steps / steps if steps else 0.0,
        loops.single_steps / steps if steps else 0.0,
        math.log1p(min((math.prod(_shape(shape)) for shape in kernel.inputs), default=0)),
        _power(target[2] * target[3]),
        _power(source[2] * source[3]),
        _power(target[3]),
        float(kernel.attribute.get("transA", "0")) + 2 * float(kernel.attribute.get("transB", "0")),
        math.log1p(loops.depth),
        math.log1p(target[2] * target[3]),
        -(-target[1] // 16) % 4,
        math.log1p(_window(kernel)),
    ]


def _window(kernel: Kernel) -> float:
    """Elements of the window that a kernel says it has: of a pool, which has no filter, nothing else tells."""
    return math.prod(float(part) for part in kernel.attribute.get("kernel_shape", "0").split("x"))


def _moved_megabytes(work: Work) -> float:
    return work.input_megabytes + work.output_megabytes + work.weight_megabytes


def _power(extent: float) -> float:
    """By which power of two, up to 16, a vector's length divides it: rows of other lengths do not begin at a vector."""
    return math.log2(math.gcd(int(extent), 16))


def _shape(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    return shape if shape is not None else ()


def _nchw(shape: tuple[int, ...] | None) -> tuple[float, float, float, float]:
    """A shape as four numbers: vectors and matrices stand in the channel place, extra axes fold into the last."""
    dims = _shape(shape)
    if len(dims) >= 4:
        return (dims[0], dims[1], dims[2], math.prod(dims[3:]))
    if len(dims) == 3:
        return (dims[0], dims[2], 1, dims[1])
    if len(dims) == 2:
        return (dims[0], dims[1], 1, 1)
    return (1, dims[0] if dims else 1, 1, 1)
